"""Where a variant's saddle points are looked for on shares, guessed from what has been opened of it.

On shares nobody knows h, what the covariates leave of a variant, and so nobody can search for the point t
where K'(t) = U (`logistic_kernel`). Known are U and V, and they say nearly where it lies. The guess is the
saddle point of a variant in Hardy–Weinberg proportions that has this V, in samples of one risk φ, and of
which only the mean is taken out: h = g − 2p. Samples and risk are such that Σw and Σwμ are those of the null
model.

It counts the rarer allele. Whether a variant counts that one is not known in public, and if it does not, its
two tails change places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Beyond this a saddle point is not looked for: all carriers would have to be cases, or nearly.
FARTHEST: Final = 12.0
#: Nor is one of a larger t·|U|: of P values far below 1e-200.
LARGEST: Final = 1200.0
#: Largest halves of both ranges. A series converges as far as the next pole of the logistic function: at a
#: distance of π / h or more, and farther where t takes probabilities away from one half.
WIDEST: Final = np.array([[1.9], [3.0]])
#: Steps by which the logarithm of a guess is found between −9 and the end.
STEPS: Final = 50
END: Final = 5.0


@dataclass(frozen=True)
class Ranges:
    """Ranges of t of variants, the likelier tail first and then the other: ``(2, variants)``.

    Attributes
    ----------
    target
        |U|, shape ``(variants,)``.
    centre, radius
        Middle and half of each range; all of it is above zero.
    rises
        Whether the likelier tail is that of more copies of the rarer allele among cases.
    """

    target: Floats
    centre: Floats
    radius: Floats
    rises: bool

    @property
    def longest(self) -> Floats:
        """The larger centre of each variant."""
        return np.asarray(self.centre.max(axis=0))

    def take(self, which: NDArray[np.bool_] | slice) -> Ranges:
        """Return those of some variants."""
        return Ranges(self.target[which], self.centre[:, which], self.radius[:, which], self.rises)


def ranges(
    target: Floats, variance: Floats, haploid: NDArray[np.bool_], weight: float, risk: float
) -> tuple[NDArray[np.bool_], Ranges]:
    """Return which variants can have saddle points on shares, and the ranges of these.

    Parameters
    ----------
    target, variance
        |U| and V.
    haploid
        Whether calls are 0 and 2 alone.
    weight, risk
        Σw, and Σwμ / Σw.

    Notes
    -----
    All sites compute with these numbers on shares, and must hold the same ones to the last bit, whatever
    their processors make of logarithms: so ranges are rounded to a few bits.
    """
    draws = weight / (risk * (1 - risk))
    spread = np.minimum(variance / weight, np.where(haploid, 0.9999, 0.4999))
    # 2p(1 − p), or 4p(1 − p) of calls of 0 and 2.
    p = (1 - np.sqrt(1 - np.where(haploid, 1.0, 2.0) * spread)) / 2
    copies = np.array([0.0, 1.0, 2.0])[:, np.newaxis]
    chance = np.where(haploid, np.stack([1 - p, 0 * p, p]), np.stack([(1 - p) ** 2, 2 * p * (1 - p), p**2]))
    h = copies - 2 * p
    number = draws * chance * (variance / weight / spread)

    def point(sign: float) -> Floats:
        """Return t of the tail on one side, infinite if there is none."""
        low, high = np.full(len(target), -9.0), np.full(len(target), END)
        for _ in range(STEPS):
            middle = (low + high) / 2
            u = np.exp(middle) * sign * h
            below = (number * sign * h * (_tilted(u, risk) - risk)).sum(axis=0) < target
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.where(high == END, np.inf, np.exp((low + high) / 2))

    # Few cases make the sum skew to where they are among carriers.
    rises = risk < 0.5
    first, second = (point(sign) for sign in ((1.0, -1.0) if rises else (-1.0, 1.0)))
    usable = (first < FARTHEST) & (first * target < LARGEST)
    low = 0.65 * np.stack([first, np.minimum(first, second)])[:, usable]
    high = np.stack([1.8 * first, 1.5 * np.maximum(first, second)])[:, usable]
    low, high = _coarse(low), _coarse(np.minimum(high, low + 2 * WIDEST))
    return usable, Ranges(target[usable], (low + high) / 2, (high - low) / 2, rises)


def _tilted(u: Floats, risk: float) -> Floats:
    """Return φe^u / (1 − φ + φe^u)."""
    return np.asarray(risk / (risk + (1 - risk) * np.exp(np.clip(-u, -500, 500))))


def _coarse(x: Floats) -> Floats:
    """Round to 8 bits."""
    mantissa, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.rint(mantissa * 256), exponent - 8))
