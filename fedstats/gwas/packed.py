"""Sums over samples, straight from genotypes packed two bits each.

A byte holds four samples, so for each column of numbers there are but 256 things that a byte can add to
the sum of genotype times number. They are tabulated, byte by byte of a row, and a block of variants then
looks up and adds: the "method of four Russians" [1]_, in float64, without decoding anything.
Missing calls are few and are visited one by one. Genotypes are counted by counting bits.

References
----------
.. [1] V. L. Arlazarov, E. A. Dinic, M. A. Kronrod, I. A. Faradžev, "On economical construction of the
   transitive closure of an oriented graph", Soviet Mathematics Doklady 11, 1970, 1209–1210.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedstats.gwas._vectors import WIDTH, add_two, put_sum
from fedstats.gwas.members import PER_WORD, Members, Numbers

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

#: Copies of allele 1 that the four codes stand for, −1 for no call.
_COPIES: Final = np.array([2, -1, 1, 0], np.int8)
#: The lower bit of each genotype of a word.
_LOW: Final = np.uint64(0x5555555555555555)
#: Words of each row that are transposed at a time: a cache line.
_TILE: Final = 8


class Ploidy:
    """What the chromosome of a variant means for its calls; a column of these is an array of int8."""

    DIPLOID: Final = 0
    #: Heterozygous calls of men are errors.
    X: Final = 1
    #: The same, and there are no calls but of men.
    Y: Final = 2


class PackedBlock:
    """Variants of one file, read so that all count their effect allele.

    Parameters
    ----------
    packed
        Rows of a .bed file, shape ``(variants of the file, bytes)``.
    rows
        Which of them, in the order wanted.
    flip
        One boolean a row: count allele 2.
    ploidy
        One of `Ploidy` a row.
    members
        The samples that take part.

    Attributes
    ----------
    counts
        Shape ``(variants, 3)``: members with one copy, with two, and without a call.
    """

    def __init__(
        self,
        packed: NDArray[np.uint8],
        rows: Integers,
        flip: NDArray[np.bool_],
        ploidy: NDArray[np.int8],
        members: Members,
    ) -> None:
        self.counts = np.empty((rows.size, 3), np.int64)
        self._mask = members.mask
        self._samples = members.samples
        self._words = np.empty((rows.size, members.words), np.uint64)
        _orient(packed, rows, flip, ploidy, members.males, members.mask, self._words, self.counts)

    def __len__(self) -> int:
        return len(self._words)

    def moments(self) -> Floats:
        """Return missing calls, Σg and Σg² over calls: shape ``(variants, 3)``."""
        one, two, missing = self.counts.T
        return np.column_stack([missing, one + 2 * two, one + 4 * two]).astype(np.float64)

    def calls(self, which: Integers | slice = slice(None)) -> NDArray[np.int8]:
        """Decode the members' genotypes, −1 where missing: shape ``(variants, members)``."""
        rows = np.arange(len(self))[which]
        calls = np.empty((rows.size, self._samples.size), np.int8)
        _decode(self._words, rows, self._samples, _COPIES, calls)
        return calls

    def hard_calls(self) -> NDArray[np.int8]:
        """Return `calls` of all variants."""
        return self.calls()

    def products(self, numbers: Numbers, *, squared: bool = False) -> Floats:
        """Return Σ g·x over calls, or Σ g²·x, for every column x: shape ``(variants, columns)``."""
        groups = len(numbers.vectors)
        sums = np.zeros((groups, len(self), WIDTH))
        if sums.size:
            _look_up(self._words, numbers.vectors, 4.0 if squared else 2.0, sums)
        return sums.transpose(1, 0, 2).reshape(len(self), groups * WIDTH)[:, : numbers.columns]

    def of_missing(self, which: Integers, numbers: Numbers) -> Floats:
        """Return Σ x over missing calls for every column x, of some variants: ``(which, columns)``."""
        groups = len(numbers.vectors)
        sums = np.zeros((groups, which.size, WIDTH))
        if sums.size:
            _add_missing(self._words, which, self.counts[which, 2], self._mask, numbers.vectors, sums)
        return sums.transpose(1, 0, 2).reshape(which.size, groups * WIDTH)[:, : numbers.columns]

    def squares_of_missing(self, which: Integers, numbers: Numbers) -> tuple[Floats, Floats]:
        """Return what `of_missing` does, and the sums of `Numbers.pairs`, shape ``(which, pairs)``."""
        sums = np.zeros((which.size, numbers.columns))
        products = np.zeros((which.size, numbers.pairs[0].size))
        missing = self.counts[which, 2]
        _visit(self._words, which, missing, self._mask, numbers.rows, numbers.terms, sums, products)
        return sums, products


# Kernels ---------------------------------------------------------------------------------------------

_Y: Final = Ploidy.Y


@njit(cache=True, nogil=True)
def _ones(word: np.uint64) -> np.uint64:
    """Count the bits of a word."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit(cache=True, nogil=True)
def _orient(
    packed: NDArray[np.uint8],
    rows: Integers,
    flip: NDArray[np.bool_],
    ploidy: NDArray[np.int8],
    males: Words,
    mask: Words,
    words: Words,
    counts: Integers,
) -> None:
    """Copy rows, exchanging alleles and removing impossible calls, and count what the members have."""
    one = np.uint64(1)
    for i in range(rows.size):
        row = words[i]
        row[-1] = 0
        row.view(np.uint8)[: packed.shape[1]] = packed[rows[i]]
        het = two = missing = np.uint64(0)
        for w in range(row.size):
            word = row[w]
            if flip[i]:
                alike = ~(word ^ (word >> one)) & _LOW
                word ^= alike | alike << one
            if ploidy[i]:
                wrong = (word >> one) & ~word & males[w]
                word ^= wrong | wrong << one
                if ploidy[i] == _Y:
                    others = ~males[w] & _LOW
                    word = (word & (males[w] | males[w] << one)) | others
            row[w] = word
            low, high = word & mask[w], (word >> one) & mask[w]
            het += _ones(high & ~low)
            two += _ones(mask[w] & ~high & ~low)
            missing += _ones(low & ~high)
        counts[i, 0], counts[i, 1], counts[i, 2] = het, two, missing


@njit(cache=True, nogil=True)
def _decode(
    words: Words, rows: Integers, samples: Integers, copies: NDArray[np.int8], calls: NDArray[np.int8]
) -> None:
    """Write copies of the effect allele of some variants and samples."""
    # A row decoded whole stays in the nearest cache, from which picking is cheap.
    decoded = np.empty(PER_WORD * words.shape[1], np.int8)
    for n in range(rows.size):
        row = words[rows[n]]
        for w in range(row.size):
            for s in range(PER_WORD):
                decoded[PER_WORD * w + s] = copies[(row[w] >> np.uint64(2 * s)) & np.uint64(3)]
        for k in range(samples.size):
            calls[n, k] = decoded[samples[k]]


@njit(cache=True, nogil=True)
def _look_up(words: Words, spread: Floats, two: float, sums: Floats) -> None:
    """Add Σ g·x, with `two` for two copies.

    Two bytes of all variants at a time: both tables stay in the nearest cache.
    """
    variants = words.shape[0]
    table = np.empty((512, WIDTH))
    scaled = np.zeros((3, WIDTH))
    # Longer rows than the variants need, as rows a power of two apart compete for the same cache lines.
    across = np.empty((8 * _TILE, -(-variants // 8) + 8), np.uint64)
    tile = across.view(np.uint8)
    for start in range(0, words.shape[1], _TILE):
        width = min(_TILE, words.shape[1] - start)
        _turn(words, start, width, across)
        for v in range(spread.shape[0]):
            for b in range(0, 8 * width, 2):
                sample = PER_WORD * start + 4 * b
                _tabulate(table, 0, spread[v], sample, two, scaled)
                _tabulate(table, 256, spread[v], sample + 4, two, scaled)
                first, second = tile[b], tile[b + 1]
                for i in range(variants):
                    add_two(sums[v], i, table, np.int64(first[i]), np.int64(256) + np.int64(second[i]))


@njit(cache=True, nogil=True)
def _turn(words: Words, start: int, width: int, across: Words) -> None:
    """Transpose bytes: eight words of eight variants become words of each byte of the eight variants."""
    for i in range(0, words.shape[0], 8):
        last = words.shape[0] - 1  # repeated where there are no more
        for w in range(width):
            c = start + w
            a0, a1 = words[i, c], words[min(i + 1, last), c]
            a2, a3 = words[min(i + 2, last), c], words[min(i + 3, last), c]
            a4, a5 = words[min(i + 4, last), c], words[min(i + 5, last), c]
            a6, a7 = words[min(i + 6, last), c], words[min(i + 7, last), c]
            a0, a4 = _exchange(a0, a4, 32, 0x00000000FFFFFFFF)
            a1, a5 = _exchange(a1, a5, 32, 0x00000000FFFFFFFF)
            a2, a6 = _exchange(a2, a6, 32, 0x00000000FFFFFFFF)
            a3, a7 = _exchange(a3, a7, 32, 0x00000000FFFFFFFF)
            a0, a2 = _exchange(a0, a2, 16, 0x0000FFFF0000FFFF)
            a1, a3 = _exchange(a1, a3, 16, 0x0000FFFF0000FFFF)
            a4, a6 = _exchange(a4, a6, 16, 0x0000FFFF0000FFFF)
            a5, a7 = _exchange(a5, a7, 16, 0x0000FFFF0000FFFF)
            a0, a1 = _exchange(a0, a1, 8, 0x00FF00FF00FF00FF)
            a2, a3 = _exchange(a2, a3, 8, 0x00FF00FF00FF00FF)
            a4, a5 = _exchange(a4, a5, 8, 0x00FF00FF00FF00FF)
            a6, a7 = _exchange(a6, a7, 8, 0x00FF00FF00FF00FF)
            b, k = 8 * w, i // 8
            across[b, k], across[b + 1, k], across[b + 2, k], across[b + 3, k] = a0, a1, a2, a3
            across[b + 4, k], across[b + 5, k], across[b + 6, k], across[b + 7, k] = a4, a5, a6, a7


@njit(cache=True, nogil=True)
def _exchange(a: np.uint64, b: np.uint64, shift: int, mask: int) -> tuple[np.uint64, np.uint64]:
    """Exchange the upper parts of a with the lower parts of b."""
    t = ((a >> np.uint64(shift)) ^ b) & np.uint64(mask)
    return a ^ (t << np.uint64(shift)), b ^ t


@njit(cache=True, nogil=True)
def _tabulate(table: Floats, base: int, numbers: Floats, sample: int, two: float, scaled: Floats) -> None:
    """Write what each of 256 bytes adds: `two`, 0 (missing), 1 or 0 times each of its samples' numbers."""
    table[base] = 0.0
    size = 1
    for s in range(4):
        for k in range(WIDTH):
            scaled[0, k] = two * numbers[sample + s, k]
            scaled[2, k] = numbers[sample + s, k]
        for e in range(size):
            # Codes 01 and 11 add nothing; code 00 comes last, in the place of what the others start from.
            put_sum(table, base + 2 * size + e, table, base + e, scaled, 2)
            put_sum(table, base + size + e, table, base + e, scaled, 1)
            put_sum(table, base + 3 * size + e, table, base + e, scaled, 1)
            put_sum(table, base + e, table, base + e, scaled, 0)
        size *= 4


@njit(cache=True, nogil=True)
def _lowest(word: np.uint64) -> np.int64:
    """Return the place of the lowest bit that is set."""
    return np.int64(_ones((word & (~word + np.uint64(1))) - np.uint64(1)))


@njit(cache=True, nogil=True)
def _list_missing(row: Words, mask: Words, samples: Integers) -> int:
    """Write where a variant lacks calls, and return how often it does."""
    size = 0
    for w in range(mask.size):
        word = row[w]
        left = word & ~(word >> np.uint64(1)) & mask[w]
        while left:
            samples[size] = PER_WORD * w + (_lowest(left) >> 1)
            size += 1
            left &= left - np.uint64(1)
    return size


@njit(cache=True, nogil=True)
def _add_missing(
    words: Words, which: Integers, missing: Integers, mask: Words, vectors: Floats, sums: Floats
) -> None:
    """Add Σ x over missing calls, which are listed first: their numbers then come while others are added."""
    samples = np.empty(missing.max(), np.int64)
    for n in range(which.size):
        size = _list_missing(words[which[n]], mask, samples)
        for v in range(vectors.shape[0]):
            for k in range(size):
                put_sum(sums[v], n, sums[v], n, vectors[v], samples[k])


# Sums over a handful of calls may be taken in any order, which lets the compiler take eight at a time.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _visit(
    words: Words,
    which: NDArray[np.int64],
    missing: NDArray[np.int64],
    mask: Words,
    numbers: Floats,
    terms: int,
    sums: Floats,
    products: Floats,
) -> None:
    """List the missing calls of a variant, put their numbers side by side, and sum those."""
    most = missing.max() if missing.size else 0
    columns = numbers.shape[1]
    samples = np.empty(most, np.int64)
    side_by_side = np.empty((columns, most))
    for n in range(which.size):
        size = _list_missing(words[which[n]], mask, samples)
        for a in range(columns):
            total = 0.0
            for k in range(size):
                number = numbers[samples[k], a]
                side_by_side[a, k] = number
                total += number
            sums[n, a] = total
        at = 0
        for a in range(columns):
            x = side_by_side[a]
            for b in range(a, columns if a < terms else a + 1):
                y = side_by_side[b]
                total = 0.0
                for k in range(size):
                    total += x[k] * y[k]
                products[n, at] = total
                at += 1
