"""Two-sided P values of Student's t, and their logarithms where the P value itself underflows.

With x = df / (df + t²) and y = 1 − x, the P value is the regularised incomplete beta function

    p = I_x(df/2, 1/2) = 1 − I_y(1/2, df/2).

SciPy evaluates it where it is a number of normal size. Below that, in the far tail, x is small against
the mean of the beta distribution, and Lentz's method on the continued fraction converges in some tens
of steps; what stands before the fraction is taken in logarithms.

References
----------
.. [1] NIST Digital Library of Mathematical Functions, https://dlmf.nist.gov/8.17.E22
.. [2] Press W. H. et al. (2007), Numerical Recipes, 3rd ed., §5.2 (Lentz) and §6.4.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

#: Below this the P value comes from the continued fraction: well above the subnormal numbers.
_SMALLEST: Final = 1e-280

#: Degrees of freedom above which x = 1/(1 + t²/df) has lost too many digits of 1 − x.
_MANY: Final = 1e5

#: The fraction's relative accuracy, and the steps in which it is always reached in the tail.
_TOLERANCE: Final = 1e-15
_MAX_STEPS: Final = 1000


def neg_log10_p(t: ArrayLike, df: ArrayLike) -> Floats:
    """−log10 of the two-sided P value of Student's t, however small the P value.

    Parameters
    ----------
    t
        Statistics of any shape; NaN gives NaN, ±inf gives inf.
    df
        Degrees of freedom, at least 1; broadcast against `t`.

    Returns
    -------
    ndarray of float64
        Relative error below 1e-10 for df up to 1e9.
    """
    t, df = np.broadcast_arrays(np.abs(np.asarray(t, np.float64)), np.asarray(df, np.float64))
    result = np.empty(t.shape)
    # Near p = 1 the complement has the precision; t = 0.6 is short of the median for every df.
    near_one = t < 0.6
    result[near_one] = -np.log1p(-_complement(t[near_one], df[near_one])) / np.log(10)
    rest = np.flatnonzero(~near_one)
    t, df = t.flat[rest], df.flat[rest]
    p = _upper(t, df)
    tail = p < _SMALLEST
    result.flat[rest[~tail]] = -np.log10(p[~tail])
    result.flat[rest[tail]] = -_log_tail(t[tail], df[tail]) / np.log(10)
    return result


def _complement(t: Floats, df: Floats) -> Floats:
    """Return 1 − p, for small t."""
    return np.asarray(special.betainc(0.5, df / 2, t**2 / (df + t**2)))


def _upper(t: Floats, df: Floats) -> Floats:
    """Return p itself, 0 where it underflows."""
    with np.errstate(over="ignore"):
        ratio = (t / np.sqrt(df)) ** 2
    p: Floats = np.asarray(special.betainc(df / 2, 0.5, 1 / (1 + ratio)), np.float64)
    # The rounding of x costs p a relative error of about df · 1e-16; the form in y avoids it, at ten
    # times the price.
    many = df > _MANY
    p[many] = special.betaincc(0.5, df[many] / 2, 1 / (1 + 1 / ratio[many]))
    return p


def _log_tail(t: Floats, df: Floats) -> Floats:
    """Return log p in the far tail: log(x^a y^b / (a B(a, b))) plus that of the continued fraction."""
    a, b = df / 2, 0.5
    root = t / np.sqrt(df)
    with np.errstate(over="ignore"):
        minus_log_x = np.where(root < 1e8, np.log1p(root**2), 2 * np.log(root))
    x = np.exp(-minus_log_x)
    log_y = -np.log1p(root**-2.0)
    # B(a, 1/2) = √π Γ(a) / Γ(a + 1/2): as a ratio it keeps digits that log-gammas of a large a cancel.
    log_beta = np.log(np.pi) / 2 - np.log(special.poch(a, b))
    log_front = -a * minus_log_x + b * log_y - np.log(a) - log_beta
    return np.asarray(log_front + np.log(_fraction(a, b, x)))


def _fraction(a: Floats, b: float, x: Floats) -> Floats:
    """1/(1 + d₁/(1 + d₂/(1 + …))) of DLMF 8.17.22, by Lentz's method from the front.

    In the tail x is far below (a+1)/(a+b+2), where it converges within some tens of steps.
    """
    c = np.ones_like(x)
    d = 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MAX_STEPS):
        for coefficient in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + coefficient * d)
            c = 1 + coefficient / c
            value = value * (c * d)
        if np.all(np.abs(c * d - 1) < _TOLERANCE):
            break
    return value
