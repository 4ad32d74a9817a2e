"""Long integers as their residues modulo many primes of 60 bits: the arithmetic of small dense systems.

Sums and products modulo Q = ∏ p_i are those of the residues, prime by prime, however long Q is: for 2,000
bits some twenty times faster than on Python's integers. Shamir's scheme works modulo Q as it does modulo
each p_i. Where an integer is opened under a mask, the Chinese remainder theorem gives it back.

An array of numbers has the shape of the values and one axis before, of the primes: ``(primes, *shape)``,
uint64, canonical. The primes are those just below 2^60, of the form 2^60 − c with a small c, so that a
number is reduced by adding c times its bits from the 60th on to those below.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.mersenne import kernel, multiply_words

#: Residues, of shape ``(primes, *shape)``; or 64-bit words, of shape ``(size, words)``, the lowest first.
Residues: TypeAlias = NDArray[np.uint64]

BITS = 60
#: Witnesses that tell every composite below 2^64 (Sorenson and Webster, Math. Comp. 86, 2017).
WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)

_0, _1, _4, _60, _64 = (np.uint64(constant) for constant in (0, 1, 4, 60, 64))
_LOW = np.uint64((1 << BITS) - 1)
_TERMS = 16  # products below 2^120 that add up to less than 2^124


class Ring:
    """The integers modulo a product of primes.

    Parameters
    ----------
    primes
        Distinct primes 2^60 − c, c < 2^18.

    Attributes
    ----------
    primes, modulus
        The primes p_i, and Q.
    """

    def __init__(self, primes: tuple[int, ...]) -> None:
        self.primes = primes
        self.modulus = prod(self.primes)
        self._p = np.array(self.primes, np.uint64)
        cofactors = [self.modulus // prime for prime in self.primes]
        inverses = [pow(c % p, -1, p) for c, p in zip(cofactors, self.primes, strict=True)]
        self._inverses = np.array(inverses, np.uint64)
        words = to_words([*cofactors, self.modulus << 12])  # room for a sum of 2^12 primes' parts
        self._cofactor_words = words[:-1].copy()
        self._modulus_words = to_words([self.modulus, self.modulus << 12])[0]

    def __len__(self) -> int:
        return len(self.primes)

    # --- Numbers in and out --------------------------------------------------------------------------

    def constant(self, value: int, denominator: int = 1) -> Residues:
        """Return an integer, or a fraction, as a single number of shape ``(primes,)``."""
        if denominator == 1:
            return np.array([value % p for p in self.primes], np.uint64)
        return np.array([value * pow(denominator, -1, p) % p for p in self.primes], np.uint64)

    def residues(self, integers: NDArray[np.object_]) -> Residues:
        """Return the residues of Python integers of any size and sign."""
        flat = [int(value) % self.modulus for value in integers.ravel().tolist()]
        return self.of_words(to_words(flat)).reshape(len(self), *integers.shape)

    def of_words(self, words: Residues) -> Residues:
        """Return the residues, of shape ``(primes, size)``, of integers given as words."""
        return self.weighted_prefixes(words, np.ones((len(self), 1), np.uint64))

    def weighted_prefixes(self, words: Residues, weights: Residues) -> Residues:
        """Return Σ_l w_l·⌊x / 2^(64·l)⌋, of shape ``(primes, size)``, for integers x given as words.

        `weights` has shape ``(primes, levels)``.
        """
        factors = np.empty((len(self), words.shape[1]), np.uint64)
        prefix_weights(factors, np.ascontiguousarray(weights), self._p)
        out = np.empty((len(self), len(words)), np.uint64)
        combine_words(out, words, factors, self._p)
        return out

    def words(self, residues: Residues) -> Residues:
        """Return the integers in 0 … Q − 1 that numbers of shape ``(primes, size)`` stand for, as words.

        The Chinese remainder theorem: x = Σ t_i·Q/p_i modulo Q, with t_i = x·(Q/p_i)⁻¹ modulo p_i.
        """
        parts = self.scale(residues, self._inverses)
        out = np.zeros((residues.shape[1], self._cofactor_words.shape[1]), np.uint64)
        join(out, parts, self._cofactor_words, self._modulus_words, self._p)
        return out

    def integers(self, residues: Residues) -> NDArray[np.object_]:
        """Return the integers in 0 … Q − 1 that numbers stand for, in an array of objects."""
        integers = from_words(self.words(residues.reshape(len(self), -1)))
        return np.array(integers, object).reshape(residues.shape[1:])

    def canonical(self, residues: Residues) -> bool:
        """Return whether every residue is less than its prime."""
        return bool(np.all(residues < self._spread(self._p, residues)))

    # --- Arithmetic ----------------------------------------------------------------------------------

    def add(self, a: Residues, b: Residues) -> Residues:
        """Return a + b."""
        return self._sum(a, b, False)

    def sub(self, a: Residues, b: Residues) -> Residues:
        """Return a − b."""
        return self._sum(a, b, True)

    def mul(self, a: Residues, b: Residues) -> Residues:
        """Return a·b; the axes of the values broadcast."""
        a, b = _alike(a, b)
        out, rows = np.empty(a.shape, np.uint64), len(self.primes)
        multiply(out.reshape(rows, -1), a.reshape(rows, -1), b.reshape(rows, -1), self._p)
        return out

    def scale(self, a: Residues, factor: Residues) -> Residues:
        """Return a times a single number."""
        out, rows = np.empty(a.shape, np.uint64), len(self.primes)
        multiply_each(out.reshape(rows, -1), np.ascontiguousarray(a).reshape(rows, -1), factor, self._p)
        return out

    def shift(self, a: Residues, constant: int) -> Residues:
        """Return a plus one integer."""
        out, rows = np.empty(a.shape, np.uint64), len(self.primes)
        addend = self.constant(constant)
        add_each(out.reshape(rows, -1), np.ascontiguousarray(a).reshape(rows, -1), addend, self._p)
        return out

    def sum(self, a: Residues) -> Residues:
        """Return sums over the last axis."""
        while a.shape[-1] > _TERMS:  # as many as stay below 2^64
            short = -a.shape[-1] % _TERMS
            a = np.concatenate([a, np.zeros((*a.shape[:-1], short), np.uint64)], axis=-1)
            a = self.sum(a.reshape(*a.shape[:-1], a.shape[-1] // _TERMS, _TERMS))
        total: Residues = a.sum(axis=-1, dtype=np.uint64)
        reduced: Residues = total % self._spread(self._p, total)
        return reduced

    def matmul(self, a: Residues, b: Residues) -> Residues:
        """Return products of matrices, ``(primes, …, r, k)`` and ``(primes, …, k, c)``, of equal stacks."""
        stack, inner = a.shape[1:-2], a.shape[-1]
        out = np.empty((*a.shape[:-1], b.shape[-1]), np.uint64)
        primes = np.repeat(self._p, prod(stack))
        multiply_matrices(
            out.reshape(len(primes), *out.shape[-2:]),
            np.ascontiguousarray(a).reshape(len(primes), -1, inner),
            np.ascontiguousarray(b.swapaxes(-2, -1)).reshape(len(primes), -1, inner),
            primes,
        )
        return out

    def inverses(self, a: Residues) -> Residues:
        """Return 1/a, entry by entry; 0 for 0 modulo one of the primes."""
        out = np.empty(a.shape, np.uint64)
        reciprocals(out.reshape(len(self), -1), np.ascontiguousarray(a).reshape(len(self), -1), self._p)
        return out

    def invert(self, a: Residues) -> tuple[Residues, Residues]:
        """Return the inverse of a matrix and its determinant, of shapes ``(primes, k, k)`` and ``(primes,)``.

        Raises
        ------
        ZeroDivisionError
            It is singular modulo one of the primes.
        """
        inverse, determinant = np.empty_like(a), np.empty(len(self), np.uint64)
        if not invert_matrices(inverse, determinant, np.ascontiguousarray(a), self._p):
            raise ZeroDivisionError("a matrix without inverse")
        return inverse, determinant

    def minors(self, a: Residues) -> Residues:
        """Return the upper triangular V that makes minors of a·V.

        Its entry (i, j) is the minor of rows 1, …, j − 1, i and columns 1, …, j: 0 above the diagonal, and on
        it a leading one.

        Raises
        ------
        ZeroDivisionError
            A leading minor is zero modulo one of the primes.
        """
        out = np.empty_like(a)
        if not make_minors(out, np.ascontiguousarray(a), self._p):
            raise ZeroDivisionError("a leading minor that is zero")
        return out

    def powers_of_two(self, exponents: Residues, *, negative: bool = False) -> Residues:
        """Return 2^x, or 2^−x, of shape ``(primes, size)``, for integers x given as words."""
        out = np.empty((len(self), len(exponents)), np.uint64)
        base = self.constant(1, 2) if negative else self.constant(2)
        exponentials(out, np.ascontiguousarray(exponents), base, self._p)
        return out

    def from_random(self, words: Residues) -> Residues:
        """Make numbers of random words, of shape ``(primes, size, 2)``; each is within 2^−64 of uniform."""
        out = np.empty(words.shape[:2], np.uint64)
        fold_random(out, words, self._p)
        return out

    def _sum(self, a: Residues, b: Residues, negate: bool) -> Residues:
        """Return a + b or a − b; the axes of the values broadcast."""
        a, b = _alike(a, b)
        out, rows = np.empty(a.shape, np.uint64), len(self.primes)
        add(out.reshape(rows, -1), a.reshape(rows, -1), b.reshape(rows, -1), self._p, negate)
        return out

    def _spread(self, numbers: Residues, like: Residues) -> Residues:
        """Return one number, of shape ``(primes,)``, in a shape that broadcasts with others."""
        return numbers.reshape(-1, *[1] * (like.ndim - 1))


@lru_cache(maxsize=32)
def ring(bits: int) -> Ring:
    """Return the ring of the largest primes whose modulus has more than so many bits."""
    primes = [_prime_below((1 << BITS) + 1)]
    while len(primes) <= bits // (BITS - 1):
        primes.append(_prime_below(primes[-1]))
    return Ring(tuple(primes))


def to_words(integers: Sequence[int]) -> Residues:
    """Return integers, not negative, as words of shape ``(size, words)``, the lowest first."""
    width = max((value.bit_length() for value in integers), default=0) // 64 + 1
    data = b"".join(value.to_bytes(8 * width, "little") for value in integers)
    return np.frombuffer(data, np.uint64).reshape(len(integers), width)


def from_words(words: Residues) -> list[int]:
    """Return the integers that words make up."""
    width = 8 * words.shape[1]
    data = words.tobytes()
    return [int.from_bytes(data[at : at + width], "little") for at in range(0, len(data), width)]


def shift_words(words: Residues, bits: int) -> Residues:
    """Return ⌊x / 2^bits⌋ of integers given as words."""
    skip, rest = divmod(bits, 64)
    kept = words[:, skip:] if skip < words.shape[1] else np.zeros((len(words), 1), np.uint64)
    if not rest:
        return kept
    shifted: Residues = kept >> np.uint64(rest)
    shifted[:, :-1] |= kept[:, 1:] << np.uint64(64 - rest)
    return shifted


def _alike(a: Residues, b: Residues) -> tuple[Residues, Residues]:
    """Return arrays in C order whose axes are broadcast against each other."""
    if a.shape != b.shape:
        a, b = np.broadcast_arrays(a, b)
    return np.ascontiguousarray(a), np.ascontiguousarray(b)


@lru_cache(maxsize=1024)
def _prime_below(number: int) -> int:
    """Return the largest prime below an odd number."""
    return next(candidate for candidate in count(number - 2, -2) if _is_prime(candidate))


def _is_prime(candidate: int) -> bool:
    """Decide by the test of Miller and Rabin, for numbers below 2^64 without error."""
    if any(candidate % witness == 0 for witness in WITNESSES):
        return candidate in WITNESSES
    exponent = candidate - 1
    twos = (exponent & -exponent).bit_length() - 1
    for witness in WITNESSES:
        x = pow(witness, exponent >> twos, candidate)
        if x in (1, exponent):
            continue
        for _ in range(twos - 1):
            x = x * x % candidate
            if x == exponent:
                break
        else:
            return False
    return True


# --- Kernels -----------------------------------------------------------------------------------------


@kernel
def fold(low: np.uint64, high: np.uint64, p: np.uint64) -> np.uint64:
    """Return a number below 2^124 modulo p = 2^60 − c, for c below 2^18."""
    c = _LOW - p + _1
    first, carried = multiply_words((high << _4) | (low >> _60), c)
    first += low & _LOW
    carried += np.uint64(first < (low & _LOW))
    total = ((carried << _4) | (first >> _60)) * c + (first & _LOW)
    return total - p * np.uint64(total >= p)


@kernel
def times(a: np.uint64, b: np.uint64, p: np.uint64) -> np.uint64:
    """Return a·b modulo p."""
    low, high = multiply_words(a, b)
    return fold(low, high, p)


@kernel
def fold_sum(total: np.uint64, a: np.uint64, b: np.uint64, p: np.uint64) -> np.uint64:
    """Return total + a·b modulo p."""
    low, high = multiply_words(a, b)
    low += total
    return fold(low, high + np.uint64(low < total), p)


@kernel
def reciprocal(a: np.uint64, p: np.uint64) -> np.uint64:
    """Return a^(p − 2) modulo p."""
    result, square, exponent = _1, a, p - _1 - _1
    while exponent:
        if exponent & _1:
            result = times(result, square, p)
        square = times(square, square, p)
        exponent >>= _1
    return result


@kernel
def dot(a: Residues, b: Residues, p: np.uint64) -> np.uint64:
    """Return an inner product modulo p, reduced once every sixteen terms."""
    low, high = _0, _0
    for k in range(len(a)):
        product = multiply_words(a[k], b[k])
        low += product[0]
        high += product[1] + np.uint64(low < product[0])
        if k % _TERMS == _TERMS - 2:  # one term is what was reduced before
            low, high = fold(low, high, p), _0
    return fold(low, high, p)


@kernel
def add(out: Residues, a: Residues, b: Residues, primes: Residues, negate: bool) -> None:
    """Write sums, or differences, entry by entry."""
    for i in range(len(primes)):
        p = primes[i]
        for k in range(out.shape[1]):
            total = a[i, k] + (p - b[i, k] if negate else b[i, k])
            out[i, k] = total - p * np.uint64(total >= p)


@kernel
def multiply(out: Residues, a: Residues, b: Residues, primes: Residues) -> None:
    """Write products, entry by entry."""
    for i in range(len(primes)):
        for k in range(out.shape[1]):
            out[i, k] = times(a[i, k], b[i, k], primes[i])


@kernel
def multiply_each(out: Residues, a: Residues, factor: Residues, primes: Residues) -> None:
    """Write all entries times one number."""
    for i in range(len(primes)):
        for k in range(out.shape[1]):
            out[i, k] = times(a[i, k], factor[i], primes[i])


@kernel
def add_each(out: Residues, a: Residues, addend: Residues, primes: Residues) -> None:
    """Write all entries plus one number."""
    for i in range(len(primes)):
        for k in range(out.shape[1]):
            total = a[i, k] + addend[i]
            out[i, k] = total - primes[i] * np.uint64(total >= primes[i])


@kernel
def reciprocals(out: Residues, a: Residues, primes: Residues) -> None:
    """Write inverses, entry by entry."""
    for i in range(len(primes)):
        for k in range(out.shape[1]):
            out[i, k] = reciprocal(a[i, k], primes[i])


@kernel
def exponentials(out: Residues, exponents: Residues, base: Residues, primes: Residues) -> None:
    """Write powers of a number, for integers given as words. They may be secret: nothing branches on them."""
    for i in range(len(primes)):
        factor = base[i] - _1
        for k in range(out.shape[1]):
            power = _1
            for position in range(64 * exponents.shape[1] - 1, -1, -1):
                bit = (exponents[k, position // 64] >> np.uint64(position % 64)) & _1
                power = times(times(power, power, primes[i]), _1 + bit * factor, primes[i])
            out[i, k] = power


@kernel
def multiply_matrices(out: Residues, a: Residues, b: Residues, primes: Residues) -> None:
    """Write a·bᵀ for every prime."""
    for i in range(len(primes)):
        for r in range(out.shape[1]):
            for c in range(out.shape[2]):
                out[i, r, c] = dot(a[i, r], b[i, c], primes[i])


@kernel
def invert_matrices(out: Residues, determinant: Residues, a: Residues, primes: Residues) -> bool:
    """Write inverses and determinants by Gauss–Jordan elimination; return whether there are any.

    The matrices are public: pivots are searched and values branched on.
    """
    size = a.shape[1]
    for i in range(len(primes)):
        p = primes[i]
        rows = np.zeros((size, 2 * size), np.uint64)
        rows[:, :size] = a[i]
        for r in range(size):
            rows[r, size + r] = _1
        determinant[i] = _1
        for column in range(size):
            pivot = column
            while pivot < size and rows[pivot, column] == _0:
                pivot += 1
            if pivot == size:
                return False
            if pivot != column:
                for k in range(2 * size):
                    rows[pivot, k], rows[column, k] = rows[column, k], rows[pivot, k]
                determinant[i] = p - determinant[i]
            determinant[i] = times(determinant[i], rows[column, column], p)
            inverse = reciprocal(rows[column, column], p)
            for k in range(column, 2 * size):
                rows[column, k] = times(rows[column, k], inverse, p)
            for r in range(size):
                if r != column and rows[r, column] != _0:
                    factor = p - rows[r, column]
                    for k in range(column, 2 * size):
                        rows[r, k] = fold_sum(rows[r, k], rows[column, k], factor, p)
        out[i] = rows[:, size:]
    return True


@kernel
def make_minors(out: Residues, a: Residues, primes: Residues) -> bool:
    """Write the matrices of `Ring.minors`; return whether there are any.

    Columns are reduced as Gauss would, without exchanging any, and each then multiplied by the pivots of
    those before. The matrices are public.
    """
    size = a.shape[1]
    for i in range(len(primes)):
        p = primes[i]
        columns = a[i].T.copy()
        steps = np.zeros((size, size), np.uint64)
        for r in range(size):
            steps[r, r] = _1
        for j in range(size):
            if columns[j, j] == _0:
                return False
            inverse = reciprocal(columns[j, j], p)
            for r in range(j + 1, size):
                factor = p - times(columns[r, j], inverse, p)
                for k in range(j, size):
                    columns[r, k] = fold_sum(columns[r, k], columns[j, k], factor, p)
                for k in range(j + 1):
                    steps[r, k] = fold_sum(steps[r, k], steps[j, k], factor, p)
        before = _1
        for j in range(size):
            for k in range(size):
                out[i, k, j] = times(steps[j, k], before, p)
            before = times(before, columns[j, j], p)
    return True


@kernel
def prefix_weights(weights: Residues, levels: Residues, primes: Residues) -> None:
    """Write the v with Σ_l w_l·⌊x / 2^(64·l)⌋ = Σ_m v_m·x_m for the words x_m of any integer x.

    A word x_m counts 2^(64·(m − l)) in ⌊x / 2^(64·l)⌋ for l ≤ m, so v_m = 2^64·v_(m − 1) + w_m. `weights` has
    shape ``(primes, words)``, `levels` with the w_l ``(primes, levels)``.
    """
    for i in range(len(primes)):
        total = _0
        for m in range(weights.shape[1]):
            total = fold(_0, total, primes[i])  # times 2^64
            if m < levels.shape[1]:
                total += levels[i, m]
                total -= primes[i] * np.uint64(total >= primes[i])
            weights[i, m] = total


@kernel
def combine_words(out: Residues, words: Residues, weights: Residues, primes: Residues) -> None:
    """Write Σ_m v_m·x_m modulo every p, for integers x given as words, of shape ``(size, words)``."""
    for i in range(len(primes)):
        p = primes[i]
        beyond = fold(_0, _LOW - p + _1, p)  # 2^124, as 2^60 is c
        for k in range(len(words)):
            low, high, top = _0, _0, _0
            for m in range(words.shape[1]):
                product = multiply_words(words[k, m], weights[i, m])
                low += product[0]
                carried = product[1] + np.uint64(low < product[0])
                high += carried
                top += np.uint64(high < carried)
            rest = times((top << _4) | (high >> _60), beyond, p)
            total = fold(low, high & _LOW, p) + rest
            out[i, k] = total - p * np.uint64(total >= p)


@kernel
def join(out: Residues, parts: Residues, cofactors: Residues, modulus: Residues, primes: Residues) -> None:
    """Write Σ t_i·c_i modulo Q, as words, for c_i = Q / p_i.

    Q is to be subtracted ⌊Σ t_i / p_i⌋ times. The quotients are added up with 60 bits each, rounded down:
    once too few at most, which shows in the result.
    """
    width = out.shape[1]
    for k in range(len(out)):
        times_, fraction = _0, _0
        for i in range(len(primes)):
            # t / p is t·(1 + c/p) / 2^60, of which c·t/p / 2^60 is less than 2^−42.
            c = _LOW - primes[i] + _1
            high = multiply_words(parts[i, k], c << _4)[1]  # ⌊c·t / 2^60⌋
            fraction += parts[i, k] + high
            times_ += fraction >> _60
            fraction &= _LOW
        for w in range(width):
            out[k, w] = _0
        for i in range(len(primes)):
            carry = _0
            for w in range(width):
                low, high = multiply_words(parts[i, k], cofactors[i, w])
                low += carry
                high += np.uint64(low < carry)
                out[k, w] += low
                carry = high + np.uint64(out[k, w] < low)
        subtract(out[k], modulus, times_)
        larger = True
        for w in range(width):
            if out[k, w] != modulus[w]:
                larger = out[k, w] > modulus[w]
        if larger:
            subtract(out[k], modulus, _1)


@kernel
def subtract(total: Residues, words: Residues, factor: np.uint64) -> None:
    """Subtract a multiple of an integer, both given as words, in place."""
    borrow = _0
    for w in range(len(total)):
        low, high = multiply_words(words[w], factor)
        low += borrow
        high += np.uint64(low < borrow)
        borrow = high + np.uint64(total[w] < low)
        total[w] -= low


@kernel
def bit_prefixes(out: Residues, words: Residues, start: int, p: np.uint64) -> None:
    """Write ⌊x / 2^(start + j)⌋ modulo p for every j < len(out), for one integer x given as words."""
    prefix = _0
    for position in range(64 * len(words) - 1, start - 1, -1):
        word, bit = position // 64, np.uint64(position % 64)
        prefix = fold((prefix << _1) | ((words[word] >> bit) & _1), _0, p)
        if position - start < len(out):
            out[position - start] = prefix


@kernel
def fold_random(out: Residues, words: Residues, primes: Residues) -> None:
    """Write 124 random bits modulo every p."""
    for i in range(len(primes)):
        for k in range(out.shape[1]):
            out[i, k] = fold(words[i, k, 0], words[i, k, 1] & _LOW, primes[i])
