"""Exact samples of the discrete Gaussian distribution, by the million.

The probability of an integer x is proportional to exp(−x²/2σ²) [1]_, for any rational σ². Floating-point
noise betrays what it hides, by the very numbers that can occur [2]_; here the distribution is exact, given
uniform random bits, and all arithmetic that decides anything is one of integers.

A magnitude is drawn in two parts, 2^k·a + b: its upper part a from a table of cumulative probabilities
proportional to exp(−(2^k·a)²/2σ²), its lower part b uniformly; and is accepted with the probability that is
missing, exp(−b(2^(k+1)·a + b)/2σ²), which is close to 1. A sign is drawn too, and −0 rejected. The table has
64 bits, of the infinitely many of each probability. Where these do not decide, which happens once in 2^52
samples, more bits are drawn, and compared with an enclosure of the probability that is as narrow as need be;
so are the coins of acceptance, where doubles, with an ample margin for their rounding, do not decide. So
samples are at no distance from the distribution, whatever the length of the table, and nothing is added to a
δ for them.

References
----------
.. [1] C. Canonne, G. Kamath and T. Steinke, "The Discrete Gaussian for Differential Privacy", NeurIPS 2020.
.. [2] I. Mironov, "On Significance of the Least Significant Bits for Differential Privacy", CCS 2012.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.exponentials import Enclosure, exp_minus

#: Returns so many uniform random bytes.
Entropy: TypeAlias = Callable[[int], bytes]

#: Largest variance: samples stay far below 2^63.
MAX_VARIANCE = 1 << 112
#: Standard deviation of the upper part at least, once there is a lower one: tables have some 1,300 to 2,600
#: entries.
_UPPER = 128
#: Samples that are drawn at a time, few enough to stay in a core's cache.
_LOT = 1 << 15
#: Doubles that are closer than this do not decide. Their error is below 2^−49.
_MARGIN = 2.0**-44


class DiscreteGaussian:
    """The discrete Gaussian distribution about 0.

    Parameters
    ----------
    variance
        σ², a positive rational. The distribution's own variance is never larger, and for σ ≥ 1 the same to
        1e-6 and better.

    Raises
    ------
    ValueError
        It is not positive, or larger than `MAX_VARIANCE`.
    """

    def __init__(self, variance: Fraction) -> None:
        if not 0 < variance <= MAX_VARIANCE:
            raise ValueError(f"the variance of noise is positive, and 2^112 at most, not {variance}")
        self.variance = variance
        self._shift = 0
        while variance >= _UPPER**2 << 2 * (self._shift + 1):
            self._shift += 1
        self._rate = Fraction(4**self._shift) / (2 * variance)
        self._table = _table(self._rate)

    def sample(self, size: int, entropy: Entropy = secrets.token_bytes) -> NDArray[np.int64]:
        """Draw independent samples.

        Parameters
        ----------
        size
            How many.
        entropy
            Where random bytes come from: the operating system. Anything else is for tests.

        Returns
        -------
        ndarray
            Shape ``(size,)``, int64.
        """
        lots = []
        missing = size
        while missing > 0:
            # Rarely more than a fiftieth are rejected, or half where all are about 0.
            lots.append(self._lot(min(_LOT, missing + missing // 50 + 16), entropy)[:missing])
            missing -= len(lots[-1])
        return np.concatenate(lots) if lots else np.empty(0, np.int64)

    def _lot(self, size: int, entropy: Entropy) -> NDArray[np.int64]:
        """Draw so many candidates, and return those that are accepted."""
        words = np.frombuffer(entropy(24 * size), "<u8").reshape(3, size)
        upper = np.searchsorted(self._table, words[0], side="right").astype(np.int64)
        undecided = self._table[np.maximum(upper - 1, 0)] == words[0]
        for place in np.flatnonzero(undecided):
            upper[place] = _resolved(self._rate, int(words[0][place]), entropy)
        negative = (words[1] & np.uint64(1)).astype(np.bool_)
        lower = ((words[1] >> np.uint64(1)) & np.uint64((1 << self._shift) - 1)).astype(np.int64)
        magnitude = (upper << self._shift) + lower
        accepted = ~(negative & (magnitude == 0))
        if self._shift:
            accepted &= self._coins(upper, lower, words[2], entropy)
        return np.asarray(np.where(negative, -magnitude, magnitude)[accepted])

    def _coins(
        self, upper: NDArray[np.int64], lower: NDArray[np.int64], words: NDArray[np.uint64], entropy: Entropy
    ) -> NDArray[np.bool_]:
        """Toss a coin for each candidate that falls true with probability exp(−b(2^(k+1)·a + b)/2σ²)."""
        a, b = upper.astype(np.float64), lower.astype(np.float64)
        chance = np.exp(-b * (a * 2.0 ** (self._shift + 1) + b) / float(2 * self.variance))
        gap = chance - (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
        falls = gap > 0
        for place in np.flatnonzero(np.abs(gap) <= _MARGIN):
            its = int(lower[place])
            exponent = Fraction(its * ((int(upper[place]) << (self._shift + 1)) + its)) / (2 * self.variance)
            falls[place] = _is_below(exponent, int(words[place]), entropy)
        return np.asarray(falls, np.bool_)

    def __repr__(self) -> str:
        return f"DiscreteGaussian({self.variance})"


def _cumulated(rate: Fraction, bits: int) -> list[Enclosure]:
    """Enclose the probabilities that the upper part is at most 0, 1, 2, …, in units of 2^−bits.

    The weight of a is exp(−rate·a²). The list ends where all that lie beyond have less than a unit.
    """
    work = bits + 64
    one = 1 << work
    step, square = exp_minus(rate, work), exp_minus(2 * rate, work)
    weight, ratio = Enclosure(one, one), step
    sums = [Enclosure(0, 0)]
    for a in range(1, 1 << 40):
        sums.append(Enclosure(sums[-1].low + weight.low, sums[-1].high + weight.high))
        # Σ exp(−rate·j²) over j ≥ a is at most exp(−rate·(a − 1)²) / (exp(rate·(2a − 1)) − 1).
        beyond = -(-weight.high * rate.denominator // (rate.numerator * (2 * a - 1)))
        if beyond < one >> (bits + 2):
            break
        weight = _product(weight, ratio, work)
        ratio = _product(ratio, square, work)
    least, most = sums[-1].low, sums[-1].high + beyond
    return [
        Enclosure((its.low << bits) // most, min(-(-(its.high << bits) // least), 1 << bits))
        for its in sums[1:]
    ]


def _product(a: Enclosure, b: Enclosure, work: int) -> Enclosure:
    return Enclosure((a.low * b.low) >> work, -((-a.high * b.high) >> work))


@lru_cache(maxsize=64)
def _table(rate: Fraction) -> NDArray[np.uint64]:
    """Return the first 64 bits of each cumulated probability, the last of which is as good as 1."""
    bits = 128
    while True:
        cumulated = _cumulated(rate, bits)
        entries = [min(its.low >> (bits - 64), (1 << 64) - 1) for its in cumulated]
        if all(its.high <= (entry + 1) << (bits - 64) for its, entry in zip(cumulated, entries, strict=True)):
            return np.array(entries, np.uint64)
        bits += 64


def _resolved(rate: Fraction, word: int, entropy: Entropy) -> int:
    """Return the upper part that a uniform number selects, of which the first 64 bits do not decide."""
    bits = 64
    while True:
        word, bits = word << 64 | int.from_bytes(entropy(8), "little"), bits + 64
        for a, its in enumerate(_cumulated(rate, bits)):
            if word < its.high:
                if word < its.low:
                    return a
                break  # between: it takes more bits


def _is_below(exponent: Fraction, word: int, entropy: Entropy) -> bool:
    """Tell whether a uniform number, of which the first 64 bits are given, is below exp(−exponent)."""
    bits = 64
    while True:
        its = exp_minus(exponent, bits)
        if word < its.low:
            return True
        if word >= its.high:
            return False
        word, bits = word << 64 | int.from_bytes(entropy(8), "little"), bits + 64
