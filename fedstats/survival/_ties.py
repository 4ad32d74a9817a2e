"""Sums over tied events, as Chebyshev series in a variable that is a quotient of sums of weights.

Of d events that are tied in a risk set and have the share ρ of its weights, 0 < ρ ≤ 1, those that were gone
before the k-th are κ = k/d of them, k = 0, …, d − 1. Efron's likelihood and its derivatives are made of

    F_j = Σ κ^j / (1 − κρ),    G_j = Σ κ^j / (1 − κρ)²    and    Σ log(1 − κρ).

As functions of ρ they have their poles at 1/κ, from d/(d − 1) on: near the end of the interval if there are
many. The variable

    y = ((2q − 1)·ρ − q) / (q − ρ),    q = 1 + 2^−m,    between −1 and 1,

takes them to where |y| ≥ 1 + 2^(1 − m), if 4^m is about d: as far as they can be from both ends. With
u = 1/(q − ρ), which is as steep as they are,

    1/(1 − κρ) = u·2q(q − 1) / (c_0 + c_1·y),    c_0 = 2q − 1 − κq,    c_1 = 1 − κq,

and u is linear in y. So F_j / u, G_j / u² and the logarithms are series of some tens of terms for hundreds of
events, and all of their terms are known from Chebyshev's own series [1]_ for 1 / (1 + e·y).

Every party must use the same coefficients to the last bit. They are made by sums, products, quotients and
square roots alone, which IEEE 754 rounds alike everywhere, in an order that nothing changes.

References
----------
.. [1] J. C. Mason and D. C. Handscomb, "Chebyshev Polynomials", Chapman & Hall 2003, section 5.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fedstats.expressions import Array
from fedstats.survival._times import Codes

#: What the terms that are left out of a series add up to, as part of its first one.
ACCURACY = 2.0**-28
#: Places of events that are worked on at a time.
BLOCK = 4096
#: The series of a cell: F_0/(d·u), F_1/(d·u), G_0/(d·u²), G_1/(d·u²), G_2/(d·u²), u, u² and Σ log(1 − κρ).
FUNCTIONS = 8


@dataclass(frozen=True, eq=False, repr=False)
class Ties:
    """Public coefficients for the tied events of some cells.

    Attributes
    ----------
    events
        d, of each cell.
    octaves
        m.
    coefficients
        Of the series, from degree 0 on, shape ``(cells, FUNCTIONS, degrees)``; of the last one without its
        constant term.
    constants
        That term, which machines may round differently.
    """

    events: Codes
    octaves: int
    coefficients: Array
    constants: Array

    @classmethod
    def of(cls, events: Codes) -> Ties:
        """Return what belongs to cells of so many events, two at least."""
        octaves = _octaves(int(events.max()))
        degree = _degree(octaves, int(events.max()))
        different, which = np.unique(events, return_inverse=True)
        found = [_series(d, octaves, degree) for d in different.tolist()]
        coefficients, constants = (np.array(part)[which] for part in zip(*found, strict=True))
        return cls(events, octaves, coefficients, constants)

    @property
    def degree(self) -> int:
        """Highest degree of the series."""
        return int(self.coefficients.shape[2]) - 1

    @property
    def largest(self) -> int:
        """Return the largest d."""
        return int(self.events.max())


def _octaves(most: int) -> int:
    """Return m for up to so many events: 4^m is within a factor of 2 of d − 1."""
    return (most - 1).bit_length() // 2


def _degree(octaves: int, most: int) -> int:
    """Return the degree of series that are as accurate as they should be."""
    q = 1 + 2.0**-octaves
    e = np.array([1.0, 1 - q * (most - 1) / most]) / np.array([2 * q - 1, 2 * q - 1 - q * (most - 1) / most])
    s = np.sqrt(1 - e * e)
    ratio = float(np.max(np.abs(e) / (1 + s)))
    # Terms of 1/(1 + e·y)² decrease by the ratio, but for a factor that grows as their number.
    term, degree = 2.0, 0
    while term * (1 + degree) > ACCURACY * (1 - ratio):
        term *= ratio
        degree += 1
    return degree


@lru_cache(maxsize=4096)
def _series(d: int, octaves: int, degree: int) -> tuple[Array, float]:
    """Return the coefficients of a cell of d events, and the constant term of its logarithms."""
    q = 1 + 2.0**-octaves
    slope, before = 2 * q * (q - 1), 2 * q - 1
    out = np.zeros((FUNCTIONS, degree + 1))
    constant = 0.0
    n = np.arange(1, degree + 1)
    of_whole = _logarithms(np.array([1.0]) / before, n)[0]
    for start in range(0, d, BLOCK):
        kappa = np.arange(start, min(start + BLOCK, d)) / d
        c = before - kappa * q
        e = (1 - kappa * q) / c
        s = np.sqrt(1 - e * e)
        inverse = _powers(-e / (1 + s), n) * 2
        inverse[:, 0] = 1.0
        inverse *= (slope / (c * s))[:, np.newaxis]
        squares = (
            inverse * (slope / (c * (s * s)))[:, np.newaxis] * (1 + s[:, np.newaxis] * np.arange(degree + 1))
        )
        weights = np.ones(len(kappa))
        for j in range(3):
            if j < 2:
                out[j] += _total(inverse * weights[:, np.newaxis])
            out[2 + j] += _total(squares * weights[:, np.newaxis])
            weights = weights * kappa
        out[7, 1:] += _total(_logarithms(e, n) - of_whole)
        constant += float((np.log(c / before) + np.log((1 + s) / 2)).sum()) - len(kappa) * float(
            np.log((1 + np.sqrt(1 - 1 / before**2)) / 2)
        )
    out[:5] /= d
    # u = (y + 2q − 1) / (2q(q − 1)), and y² = (T_2 + 1)/2.
    out[5, :2] = before / slope, 1 / slope
    out[6, :3] = (before * before + 0.5) / slope**2, 2 * before / slope**2, 0.5 / slope**2
    return out, constant


def _powers(g: Array, n: Codes) -> Array:
    """Return g^n, preceded by a column of ones."""
    factors = np.broadcast_to(g[:, np.newaxis], (len(g), len(n)))
    return np.concatenate([np.ones((len(g), 1)), np.cumprod(factors, axis=1)], axis=1)


def _logarithms(e: Array, n: Codes) -> Array:
    """Return the terms of log(1 + e·y) from degree 1 on."""
    return _powers(-e / (1 + np.sqrt(1 - e * e)), n)[:, 1:] * (-2.0 / n)


def _total(terms: Array) -> Array:
    """Return sums over the first axis, one after the other."""
    return np.asarray(np.cumsum(terms, axis=0)[-1])
