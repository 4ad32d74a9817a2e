"""Sums over samples, straight from genotypes packed two bits each.

A genotype is the sum of two bits: whether there is a copy, and whether there are two. So for each column of
numbers there are but 256 things that a bit each of eight samples can add to the sum of genotype times number.
They are tabulated, eight samples after eight, and a block of variants then looks up and adds: the "method of
four Russians" [1]_, in float64, without decoding anything; either bit looks in the same table.
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

from fedstats.gwas._vectors import WIDTH, add_four, put_sum
from fedstats.gwas.members import PER_WORD, Members, Numbers

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

#: Copies of allele 1 that the four codes stand for, −1 for no call.
_COPIES: Final = np.array([2, -1, 1, 0], np.int8)
#: The lower bit of each genotype of a word.
_LOW: Final = np.uint64(0x5555555555555555)
#: The lower half of 32 bits, and where the upper one begins.
_HALF: Final = np.uint64(0xFFFF)
_HALVES: Final = np.uint64(16)
#: Words of each row that are transposed at a time: two cache lines.
_TILE: Final = 16


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
            _look_up(self._words, numbers.vectors, 3.0 if squared else 1.0, sums)
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
        # Byte by byte, which the compiler turns into a copy; an assignment of slices it does not.
        of_row, of_file = row.view(np.uint8), packed[rows[i]]
        for b in range(of_file.size):
            of_row[b] = of_file[b]
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
def _look_up(words: Words, vectors: Floats, second: float, sums: Floats) -> None:
    """Add Σ x over samples with a copy, and `second` times Σ x over those with two.

    Sixteen samples of all variants at a time: their two tables of four columns stay in the nearest cache.
    """
    table = np.empty((512 if second == 1.0 else 1024, WIDTH))
    of_two = np.int64(len(table) - 512)
    # Longer rows than the variants need, as rows a power of two apart compete for the same cache lines.
    across = np.empty((2 * _TILE, len(words) + 16), np.uint32)
    for start in range(0, words.shape[1], _TILE):
        width = min(_TILE, words.shape[1] - start)
        _turn(words, start, width, across)
        for v in range(vectors.shape[0]):
            for k in range(2 * width):
                sample = PER_WORD * start + 8 * k + 16 * (k // 2)
                _tabulate(table, 0, vectors[v], sample, 1.0)
                _tabulate(table, 256, vectors[v], sample + 4, 1.0)
                if second != 1.0:
                    _tabulate(table, 512, vectors[v], sample, second)
                    _tabulate(table, 768, vectors[v], sample + 4, second)
                row = across[k]
                for i in range(words.shape[0]):
                    once, twice = np.int64(row[i] & _HALF), np.int64(row[i] >> _HALVES)
                    a, b = once & 255, 256 + (once >> 8)
                    c, d = of_two + (twice & 255), of_two + 256 + (twice >> 8)
                    add_four(sums[v], i, table, a, b, c, d)


@njit(cache=True, nogil=True)
def _turn(words: Words, start: int, width: int, across: NDArray[np.uint32]) -> None:
    """Put side by side what the variants have of the same sixteen samples.

    The lower half of an entry says who has a copy, the upper half who has two. In either, the bits of samples
    0, 16, 1, 17, … of a word follow one another.
    """
    # Word after word, so that those of many variants are on their way from memory at a time.
    for w in range(width):
        lower, upper = across[2 * w], across[2 * w + 1]
        for i in range(words.shape[0]):
            # 00 is two copies, 10 is one: no copy where the lower bit is set, and no second where either is.
            once = ~words[i, start + w]
            twice = once & (once >> np.uint64(1)) & _LOW
            once &= _LOW
            once, twice = once | once >> np.uint64(31), twice | twice >> np.uint64(31)
            lower[i] = once & _HALF | (twice & _HALF) << _HALVES
            upper[i] = (once >> _HALVES) & _HALF | ((twice >> _HALVES) & _HALF) << _HALVES


@njit(cache=True, nogil=True)
def _tabulate(table: Floats, base: int, numbers: Floats, sample: int, factor: float) -> None:
    """Write what each of 256 bytes adds: the sum of its samples' numbers, times a factor."""
    number = np.empty((1, WIDTH))
    table[base] = 0.0
    size = 1
    for s in range(8):
        for k in range(WIDTH):
            number[0, k] = factor * numbers[sample + (s >> 1) + 16 * (s & 1), k]
        for e in range(size):
            put_sum(table, base + size + e, table, base + e, number, 0)
        size *= 2


@njit(cache=True, nogil=True)
def _lowest(word: np.uint64) -> np.int64:
    """Return the place of the lowest bit that is set."""
    return np.int64(_ones((word & (~word + np.uint64(1))) - np.uint64(1)))


@njit(cache=True, nogil=True)
def _list_missing(row: Words, mask: Words, places: Integers, lacking: Words, samples: Integers) -> int:
    """Write where a variant lacks calls, and return how often it does."""
    # Most words lack none: those that do are listed first, without a branch that cannot be foreseen.
    words = 0
    for w in range(mask.size):
        bits = row[w] & ~(row[w] >> np.uint64(1)) & mask[w]
        places[words], lacking[words] = w, bits
        words += bits != 0
    size = 0
    for k in range(words):
        bits = lacking[k]
        while bits:
            samples[size] = PER_WORD * places[k] + (_lowest(bits) >> 1)
            size += 1
            bits &= bits - np.uint64(1)
    return size


@njit(cache=True, nogil=True)
def _add_missing(
    words: Words, which: Integers, missing: Integers, mask: Words, vectors: Floats, sums: Floats
) -> None:
    """Add Σ x over missing calls, which are listed first: their numbers then come while others are added."""
    samples = np.empty(missing.max(), np.int64)
    places, lacking = np.empty(mask.size + 1, np.int64), np.empty(mask.size + 1, np.uint64)
    for n in range(which.size):
        size = _list_missing(words[which[n]], mask, places, lacking, samples)
        fours = size - size % 4
        for v in range(vectors.shape[0]):
            x = vectors[v]
            for k in range(0, fours, 4):
                add_four(sums[v], n, x, samples[k], samples[k + 1], samples[k + 2], samples[k + 3])
            for k in range(fours, size):
                put_sum(sums[v], n, sums[v], n, x, samples[k])


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
    places, lacking = np.empty(mask.size + 1, np.int64), np.empty(mask.size + 1, np.uint64)
    side_by_side = np.empty((columns, most))
    for n in range(which.size):
        size = _list_missing(words[which[n]], mask, places, lacking, samples)
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
