"""Exact samples of the Gumbel distribution on a grid so fine that no two of them meet.

The noise of private choices (`choice`). X = −log(−log U) for a uniform U, of which ⌊X·2^53⌋ is returned.
Doubles decide nothing that they do not know: a sample is drawn in two parts. The cell of 2^−12 that X lies in
follows from 64 bits of U. Its position there is drawn uniformly, and accepted with the probability that is
missing of the density exp(−x − exp(−x)), which is close to 1. Where doubles, with an ample margin for their
rounding and for the bits that were not drawn, decide neither cell nor acceptance, more bits are drawn and
compared with enclosures that are as narrow as need be, as for `discrete_gaussian`.
"""

from __future__ import annotations

import secrets
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.discrete_gaussian import Entropy
from protocols.exponentials import Enclosure, exp_minus

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

#: Samples are multiples of 2^−53, rounded down.
BITS: Final = 53
#: No sample is larger in magnitude; one in e^64, or 2^92, would be.
MOST: Final = 64
#: Cells have 2^−12, and positions in them the bits below.
_CELL: Final = 12
_WITHIN: Final = BITS - _CELL
#: Doubles that are closer than this do not decide. The error of X is below 2^−46, that of chances below
#: 2^−46 too.
_MARGIN: Final = 2.0**-43


def gumbel(size: int, entropy: Entropy = secrets.token_bytes) -> Integers:
    """Draw independent samples of the standard Gumbel distribution, in units of 2^−`BITS`, rounded down.

    Parameters
    ----------
    size
        How many.
    entropy
        Where random bytes come from: the operating system. Anything else is for tests.

    Returns
    -------
    ndarray
        Shape ``(size,)``, int64, up to `MOST` · 2^`BITS` in magnitude.
    """
    cell = _cells(np.frombuffer(entropy(8 * size), "<u8").astype(np.uint64), entropy)
    within = np.zeros(size, np.int64)
    left = np.arange(size)
    while left.size:
        words = np.frombuffer(entropy(16 * left.size), "<u8").reshape(2, -1)
        within[left] = (words[0] >> np.uint64(64 - _WITHIN)).astype(np.int64)
        left = left[~_coins(cell[left], within[left], words[1], entropy)]
    return (cell << _WITHIN) + within


def _cells(words: Words, entropy: Entropy) -> Integers:
    """Return the cells of X for uniform numbers of which the first 64 bits are given."""
    below, above = words.astype(np.float64), np.invert(words).astype(np.float64)
    # U lies between two numbers: each is given by how far it is from 0 and from 1, in units of 2^−64.
    least, most = _x(below, above + 1), _x(below + 1, above)
    cell, other = (np.floor(np.ldexp(x, _CELL)).astype(np.int64) for x in (least - _MARGIN, most + _MARGIN))
    for place in np.flatnonzero(cell != other):
        cell[place] = _resolved(int(words[place]), entropy)
    return np.clip(cell, -MOST << _CELL, (MOST << _CELL) - 1)


def _x(from_zero: Floats, from_one: Floats) -> Floats:
    """Return −log(−log u)."""
    with np.errstate(divide="ignore"):
        log = np.where(
            from_zero < from_one,
            np.log(np.ldexp(from_zero, -64)),
            np.log1p(-np.minimum(np.ldexp(from_one, -64), 0.75)),
        )
        return np.clip(-np.log(-log), -2.0 * MOST, 2.0 * MOST)


def _coins(cell: Integers, within: Integers, words: Words, entropy: Entropy) -> NDArray[np.bool_]:
    """Toss a coin for each position x in a cell from l to h: does it fall exp(l − x + exp(−h) − exp(−x))."""
    rest = np.ldexp(((1 << _WITHIN) - within).astype(np.float64), -BITS)
    exponent = np.ldexp(within.astype(np.float64), -BITS)
    exponent += np.exp(-np.ldexp((cell + 1).astype(np.float64), -_CELL)) * np.expm1(rest)
    gap = np.exp(-exponent) - np.ldexp((words >> np.uint64(11)).astype(np.float64), -53)
    falls = gap > 0
    for place in np.flatnonzero(np.abs(gap) <= _MARGIN):
        falls[place] = _falls(int(cell[place]), int(within[place]), int(words[place]), entropy)
    return np.asarray(falls, np.bool_)


# --- Where doubles do not decide ---------------------------------------------------------------------


def _resolved(word: int, entropy: Entropy) -> int:
    """Return the cell of X for a uniform number of which the first 64 bits do not decide it."""
    bits = 64
    while True:
        word, bits = word << 64 | int.from_bytes(entropy(8), "little"), bits + 64
        low, high = -2 * MOST << _CELL, 2 * MOST << _CELL
        while high - low > 1:
            middle = (low + high) // 2
            chance = _cumulated(Fraction(middle, 1 << _CELL), bits)
            if chance.low <= word < chance.high:
                break  # between: it takes more bits
            low, high = (middle, high) if word >= chance.high else (low, middle)
        else:
            return low


def _falls(cell: int, within: int, word: int, entropy: Entropy) -> bool:
    """Toss the coin of a position and a number of which the bits that were drawn do not decide."""
    bits, position = 64, within
    while True:
        more, position = bits - 64 + _WITHIN + 64, position << 64 | int.from_bytes(entropy(8), "little")
        word, bits = word << 64 | int.from_bytes(entropy(8), "little"), bits + 64
        start, end = Fraction(cell, 1 << _CELL), Fraction(cell + 1, 1 << _CELL)
        x = [start + Fraction(position + one, 1 << (more + _CELL)) for one in (0, 1)]
        work = bits + 64
        far, near, last = _power(x[1], work), _power(x[0], work), _power(end, work)
        least = x[0] - start + Fraction(max(far.low - last.high, 0), 1 << work)
        most = x[1] - start + Fraction(near.high - last.low, 1 << work)
        if word < exp_minus(most, bits).low:
            return True
        if word >= exp_minus(least, bits).high:
            return False


def _cumulated(x: Fraction, bits: int) -> Enclosure:
    """Enclose exp(−exp(−x)), the probability of X ≤ x."""
    inner, work = _power(x, bits + 64), bits + 64
    ends = [exp_minus(Fraction(end, 1 << work), bits) for end in (inner.high, inner.low)]
    return Enclosure(ends[0].low, ends[1].high)


def _power(x: Fraction, bits: int) -> Enclosure:
    """Enclose exp(−x) for an x of either sign."""
    if x >= 0:
        return exp_minus(x, bits)
    work = bits + 4 * MOST + 64
    its = exp_minus(-x, work)
    return Enclosure((1 << (work + bits)) // its.high, -(-(1 << (work + bits)) // its.low))
