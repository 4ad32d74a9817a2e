"""Sums of powers that neither cancel nor overflow, and the moments that follow from them.

A first pass sums values and magnitudes. They give a centre near the mean and a unit, a power of two
near the mean magnitude. The second pass sums powers of (x − centre) / unit. The centre need not be
the exact mean: what it misses is known from the first power and corrected for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedstats.expressions import Array


@dataclass(frozen=True)
class Frame:
    """Where, and in which unit, variables are measured from; the same at every site.

    Attributes
    ----------
    centre, unit
        Shape ``(variables,)``. Units are powers of two, so that dividing by them is exact.
    """

    centre: Array
    unit: Array

    @classmethod
    def of(cls, count: Array, total: Array, magnitude: Array) -> Frame:
        """Return the frame that pooled counts, sums and sums of magnitudes suggest.

        Parameters
        ----------
        count, total, magnitude
            n, Σx and Σ|x| of each variable. Variables without values are measured from 0 in units of 1.
        """
        n = np.maximum(count, 1.0)
        exponent = np.clip(np.frexp(magnitude / n)[1], -1000, 1000)
        return cls(total / n, np.where(magnitude > 0, np.ldexp(1.0, exponent), 1.0))

    def __getitem__(self, which: slice) -> Frame:
        """Return the frame of some of the variables."""
        return Frame(self.centre[which].copy(), self.unit[which].copy())

    def apply(self, x: Array) -> Array:
        """Return (x − centre) / unit along the last axis."""
        return (x - self.centre) / self.unit


def location_sums(x: Array) -> Array:
    """Return [Σx, Σ|x|] over the rows, shape ``(2, variables)``."""
    return np.stack([x.sum(axis=0), np.abs(x).sum(axis=0)])


def power_sums(x: Array, order: int) -> Array:
    """Return [Σx, Σx², …] over the rows, shape ``(order, variables)``."""
    power = np.ones_like(x)
    sums = np.empty((order, *x.shape[1:]))
    for k in range(order):
        power = power * x
        sums[k] = power.sum(axis=0)
    return sums


@dataclass(frozen=True)
class Moments:
    """Moments of variables, NaN where there are too few values; as pandas defines them.

    Attributes
    ----------
    mean, var, std
        ``var`` and ``std`` with denominator n − 1.
    skew, kurtosis
        Corrected for bias; 0 for constants. Kurtosis is the excess. NaN unless sums to the
        fourth power were given.
    """

    mean: NDArray[np.float64]
    var: NDArray[np.float64]
    std: NDArray[np.float64]
    skew: NDArray[np.float64]
    kurtosis: NDArray[np.float64]


def moments(count: Array, sums: Array, frame: Frame) -> Moments:
    """Return the moments that follow from pooled `power_sums` in a frame.

    Parameters
    ----------
    count
        n of each variable.
    sums
        Shape ``(order, variables)``, of order 2 or 4.
    frame
        The frame they were measured in.
    """
    n = np.where(count > 0, count, np.nan)
    missing = np.full_like(n, np.nan)
    raw = [*(sums / n), missing, missing][:4]
    off = raw[0]
    m2 = np.maximum(raw[1] - off**2, 0.0)
    # A constant leaves the rounding of its centre, at most a few units in the last place.
    rounding = 4 * np.finfo(float).eps * np.maximum(np.abs(frame.centre) / frame.unit, 1.0)
    is_constant = m2 <= rounding**2
    m2 = np.where(is_constant, 0.0, m2)
    m3 = raw[2] - 3 * off * raw[1] + 2 * off**3
    m4 = raw[3] - 4 * off * raw[2] + 6 * off**2 * raw[1] - 3 * off**4
    with np.errstate(all="ignore"):
        variance = np.where(n > 1, m2 * n / (n - 1), np.nan)
        skew = np.sqrt(n * (n - 1)) / (n - 2) * m3 / m2**1.5
        kurtosis = (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * (m4 / m2**2 - 3) + 6)
        return Moments(
            mean=frame.centre + frame.unit * off,
            var=frame.unit * (frame.unit * variance),
            std=frame.unit * np.sqrt(variance),
            skew=np.where(n > 2, np.where(is_constant, 0.0 * m3, skew), np.nan),
            kurtosis=np.where(n > 3, np.where(is_constant, 0.0 * m4, kurtosis), np.nan),
        )
