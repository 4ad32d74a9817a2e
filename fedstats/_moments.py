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
from protocols.floating import SecretFloat, floating, sqrt
from protocols.floating import stack as stack_floats
from protocols.long import LongArray, multiply, stack


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
        framed = x - self.centre
        framed /= self.unit
        return framed


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
    m2 = np.where(m2 <= rounding**2, 0.0, m2)
    m3 = raw[2] - 3 * off * raw[1] + 2 * off**3
    m4 = raw[3] - 4 * off * raw[2] + 6 * off**2 * raw[1] - 3 * off**4
    with np.errstate(all="ignore"):
        return _corrected(n, off, m2, m3 / m2**1.5, m4 / m2**2, frame)


def secret_ratios(count: NDArray[np.int64], sums: LongArray) -> SecretFloat:
    """Return on shares what `moments_of_ratios` makes moments of.

    Parameters
    ----------
    count
        n of each variable, public.
    sums
        Pooled `power_sums` in a frame, shape ``(4, variables)``.

    Returns
    -------
    SecretFloat
        Shape ``(4, variables)``: Σz, and of the central moments m_k n²·m₂, m₃ / m₂^1.5 and m₄ / m₂²; NaN
        where m₂ is 0.

    Notes
    -----
    **Cost.** About 70 rounds for three parties.
    """
    n = count.astype(object)
    s1, s2, s3, s4 = (sums[order] for order in range(4))
    first = multiply(stack([s1] * 3), stack([s1, s2, s3]))  # Σz times Σz, Σz², Σz³
    square, s12, s13 = (first[factor] for factor in range(3))
    second = multiply(stack([square] * 3), stack([s1, square, s2]))
    cube, quartic, mixed = (second[factor] for factor in range(3))
    m2 = s2 * n - square
    m3 = s3 * n**2 - s12 * (3 * n) + cube * 2
    m4 = s4 * n**3 - s13 * (4 * n**2) + mixed * (6 * n) - quartic * 3
    floats = floating(stack([s1, m2, m3, m4]))
    m2_floats = floats[1]
    skew, kurtosis = floats[2] / (m2_floats * sqrt(m2_floats)), floats[3] / (m2_floats * m2_floats)
    return stack_floats([floats[0], m2_floats, skew, kurtosis])


def moments_of_ratios(count: NDArray[np.int64], ratios: Array, frame: Frame) -> Moments:
    """Return the moments that opened `secret_ratios` stand for."""
    n = count.astype(np.float64)
    first, second, skew, kurtosis = ratios
    with np.errstate(all="ignore"):
        return _corrected(n, first / n, second / n**2, skew, kurtosis, frame)


def _corrected(n: Array, off: Array, m2: Array, skew: Array, kurtosis: Array, frame: Frame) -> Moments:
    """Return moments as pandas defines them, of plain ones in a frame."""
    variance = np.where(n > 1, m2 * n / (n - 1), np.nan)
    skew = np.sqrt(n * (n - 1)) / (n - 2) * np.where(m2 > 0, skew, 0.0 * m2)
    excess = (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * (kurtosis - 3) + 6)
    return Moments(
        mean=frame.centre + frame.unit * off,
        var=frame.unit * (frame.unit * variance),
        std=frame.unit * np.sqrt(variance),
        skew=np.where(n > 2, skew, np.nan),
        kurtosis=np.where(n > 3, np.where(m2 > 0, excess, 0.0 * m2), np.nan),
    )
