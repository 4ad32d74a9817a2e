"""Functions of fixed-point numbers: exponential, logarithm, logistic; normal distribution and quantiles.

Each is brought to a short interval exactly, by powers of two, and is there a Chebyshev series: truncated
where it is below the precision, and of as many rounds as its degree has bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from protocols import field
from protocols.bits import pieces
from protocols.compare import BIT, negative
from protocols.convert import to_field
from protocols.decompose import decompose, power_of_two
from protocols.divide import Normal, normalized, reciprocal
from protocols.engine import Engine
from protocols.errors import PrecisionError
from protocols.fixed import Format
from protocols.secret import SecretArray, concatenate, known_product, multiply, public, select, truncate
from protocols.series import EXP2, LOG, LOG_BEYOND, NORMAL, QUANTILE

#: Natural logarithm of 2, the same at all parties.
LOG2 = 0.6931471805599453
#: Largest |x| of which e^x is taken: it is 7e10.
LARGEST = 25
#: Largest |x| of which the normal distribution is given: beyond it is 0 or 1 to 2^−33.
LARGEST_NORMAL = 6.5
#: Least probability in a tail of which the normal quantile is given: it is 6.3.
LEAST_TAIL = 2.0**-32


def exp(x: SecretArray) -> SecretArray:
    """Return e^x, for |x| up to its public bound, of at most 25.

    Returns
    -------
    SecretArray
        With a relative error below 2^−33 + (C + 1)·2^(1 − P), P = 38, 37, 35 for 3, 5 and 10 parties, besides
        what |x|·2^−37 and the last places of x and of the result make.

    Raises
    ------
    PrecisionError
        The bound is larger. Nothing was sent.

    Notes
    -----
    e^x = 2^(e + v), with e the integer below x·log2(e): its bits make the power, an exact product.

    **Leakage.** Nothing, for numbers within the bound; see `decompose` and `reshare`.

    **Cost.** 20 rounds for three parties.
    """
    engine, largest = x.engine, _exponent_bound(x)
    digits, offset = _digits(engine), math.ceil(largest / LOG2 + 1)
    width = (2 * offset).bit_length()
    exponent = _scaled(x, 1 / LOG2, digits) + offset
    bits = _planes(exponent, digits, width)
    whole = SecretArray(engine, (bits @ (1 << np.arange(width))).shares, Format(0, 2 * offset))
    v = SecretArray(engine, (exponent - whole).shares, Format.of(1, digits))
    mantissa = _series(2 * v - 1, EXP2)
    power = power_of_two(bits, 1 << (2 * offset))
    fraction = mantissa.format.fraction + offset
    return known_product(mantissa, power, Format.of(math.exp(largest) * 1.01, fraction))


def log(x: SecretArray) -> SecretArray:
    """Return the natural logarithm of positive numbers.

    Returns
    -------
    SecretArray
        With an absolute error below 2^−33 + (C + 1)·2^(3 − P), P as for `exp`.

    Notes
    -----
    log x = log d + e·log 2 for x = d·2^e with ½ ≤ d < 1.

    **Leakage.** Nothing, for positive numbers; of others results are without meaning, and may exceed what
    masks hide. **Cost.** 25 rounds for three parties and up to 64 bits.
    """
    engine = x.engine
    if x.format.bound is None or x.format.bound.bit_length() > engine.room - 4:
        raise PrecisionError(f"logarithms are provided for numbers of up to {engine.room - 4} bits")
    return log_of(normalized(x))


def log_of(x: Normal) -> SecretArray:
    """Return `log` of numbers that are normalised already: 6 rounds, or 7 where they are nearly so."""
    d = x.d.rescale(_digits(x.d.engine)).assume(1.001 * x.beyond)
    if x.beyond > 1:
        return _series(2 * d - 1.75, LOG_BEYOND, x.exponent, LOG2)
    return _series(4 * d - 3, LOG, x.exponent, LOG2)


def logistic(x: SecretArray) -> SecretArray:
    """Return 1 / (1 + e^−x), for |x| up to its public bound, of at most 25.

    Returns
    -------
    SecretArray
        With an absolute error below 2^−31 + (C + 1)·2^(2 − P), P as for `exp`, and what the last place of x
        makes.

    Notes
    -----
    With e^−|x| the divisor is between 1 and 2, and need not be normalised.

    **Leakage.** Nothing, for numbers within the bound. **Cost.** 38 rounds for three parties.
    """
    largest, below = _exponent_bound(x), negative(x)
    falling = exp(select(below, x, -x).assume(largest))
    digits = _digits(x.engine)
    small = truncate(falling.assume(1.01), falling.format.fraction - digits)
    upper = reciprocal((1 + small).assume(2), least=1)
    return select(below, 1 - upper, upper).assume(1.01)


def normal_cdf(x: SecretArray) -> SecretArray:
    """Return the standard normal distribution function, for |x| up to its public bound, of at most 6.5.

    Returns
    -------
    SecretArray
        With an absolute error below 2^−33 + 16·(C + 1)·2^(1 − P), P as for `exp`, besides what the last place
        of x makes. Beyond its bound x is to be clipped (`compare.minimum`).

    Raises
    ------
    PrecisionError
        The bound is larger. Nothing was sent.

    Notes
    -----
    One Chebyshev series for all x: Φ is entire. **Leakage.** Nothing, for numbers within the bound.

    **Cost.** 8 rounds, 45 products an entry.
    """
    largest = x.format.magnitude
    if not largest <= LARGEST_NORMAL:
        raise PrecisionError(
            f"the normal distribution is given for |x| up to {LARGEST_NORMAL}: clip x, and say so (`assume`)"
        )
    z = _scaled(x, 1 / LARGEST_NORMAL, _digits(x.engine)).assume(1.001)
    series = [0.5] + [0.0] * (2 * len(NORMAL) - 1)
    series[1::2] = NORMAL
    return _series(z, series).assume(1.001)


def normal_quantile(p: SecretArray, *, least: float) -> SecretArray:
    """Return x with Φ(x) = p, Φ the standard normal distribution function.

    Parameters
    ----------
    p
        Probabilities, with fractional bits down to `least`.
    least
        Public: what neither p nor 1 − p is below, 2^−32 or more.

    Returns
    -------
    SecretArray
        With an absolute error below 2^−31 + 16·(C + 1)·2^(1 − P), P as for `exp`, besides what the last place
        of p makes: that of x is larger in the tails, by 1/φ(x).

    Raises
    ------
    PrecisionError
        p has no public bound, too many bits, or too few. Nothing was sent.

    Notes
    -----
    x is a smooth function of the logarithm of the nearer tail, p or 1 − p: a Chebyshev series of it.

    **Leakage.** Nothing, for probabilities within the stated range; of others results are without meaning,
    and may exceed what masks hide. **Cost.** 45 rounds for three parties.
    """
    if not LEAST_TAIL <= least < 0.5:
        raise ValueError("the least probability of a tail is 2^−32 at least, and below one half")
    if p.format.bound is None or 2.0**-p.format.fraction > least:
        raise PrecisionError(f"probabilities down to {least:g} need more fractional bits, and a public bound")
    above = negative(0.5 - p)
    tail = select(above, 1 - p, p).assume(0.5)
    z = _scaled(log(tail) + 16.5 * LOG2, 1 / (15.5 * LOG2), _digits(p.engine)).assume(1.001)
    x = _series(z, QUANTILE)
    return select(above, -x, x).assume(math.ceil(16 * -special.ndtri(least) + 1) / 16)


# --- Series ------------------------------------------------------------------------------------------


def chebyshev(z: SecretArray, degree: int) -> SecretArray:
    """Return Chebyshev's polynomials T_1(z), …, T_degree(z) on a new first axis, for −1 ≤ z ≤ 1.

    Every round doubles the degrees at hand, by T_(m + j) = 2·T_m·T_j − T_(m − j) [1]_.

    Parameters
    ----------
    z
        Of any shape. Its last places count for T_k as k² of them where |z| is near 1.
    degree
        One at least.

    Notes
    -----
    **Leakage.** Nothing; see `reshare`. **Cost.** ⌈log2 degree⌉ rounds, degree − 1 products an entry.

    References
    ----------
    .. [1] M. S. Paterson and L. J. Stockmeyer, "On the Number of Nonscalar Multiplications Necessary to
       Evaluate Polynomials", SIAM Journal on Computing 2, 1973.
    """
    known = z.reshape(1, *z.shape).assume(1.001)
    one = public(z.engine, np.ones((1, *z.shape), np.int64)).rescale(z.format.fraction)
    while len(known) < degree:
        m = len(known)
        count = min(m, degree - m)
        lower = concatenate([known[: m - 1][::-1], one])[:count]
        higher = multiply(known[m - 1 :], known[:count]) * 2 - lower
        known = concatenate([known, higher.assume(1.001)])
    return known


def _series(
    z: SecretArray, coefficients: Sequence[float], whole: SecretArray | None = None, unit: float = 0.0
) -> SecretArray:
    """Return Σ c_k·T_k(z) + whole·unit for −1 ≤ z ≤ 1 and secret integers, rounded once."""
    digits, engine = z.format.fraction, z.engine
    known = chebyshev(z, len(coefficients) - 1)
    places = digits - 3
    total = field.add(field.from_ints(_integer(coefficients[0], digits + places)), field.zeros(z.shape))
    for coefficient, power in zip(coefficients[1:], known.shares, strict=True):
        total = field.add(total, field.mul(power, field.from_ints(_integer(coefficient, places))))
    largest = math.fsum(map(abs, coefficients))
    if whole is not None:
        factor = field.from_ints(_integer(unit, digits + places))
        total = field.add(total, field.mul(whole.shares, factor))
        largest += whole.format.magnitude * unit
    return truncate(SecretArray(engine, total, Format.of(largest, digits + places)), places)


def _integer(value: float, bits: int) -> NDArray[np.object_]:
    """Return a public number times 2^bits, as an integer."""
    numerator, denominator = value.as_integer_ratio()
    return np.array(((numerator << (bits + 1)) // denominator + 1) >> 1, object)


# --- Bits --------------------------------------------------------------------------------------------


def _digits(engine: Engine) -> int:
    """Return P, the fractional bits with which a series is computed."""
    return (engine.room - 2) // 2 - 3


def _exponent_bound(x: SecretArray) -> float:
    """Return the largest |x| of exponents, or refuse them."""
    if not x.format.magnitude <= LARGEST:
        raise PrecisionError(f"e^x is provided for |x| up to {LARGEST}: tighten the public bound (`assume`)")
    return x.format.magnitude


def _scaled(x: SecretArray, factor: float, digits: int) -> SecretArray:
    """Return x times a public number, with so many fractional bits."""
    x = x.rescale(min(x.format.fraction, digits))
    places = min(60, x.engine.room - 4 - (x.format.bound or 0).bit_length())
    shares = field.mul(x.shares, field.from_ints(_integer(factor, places)))
    exact = SecretArray(x.engine, shares, Format.of(x.format.magnitude * factor, x.format.fraction + places))
    return exact.rescale(digits)


def _planes(x: SecretArray, start: int, count: int) -> SecretArray:
    """Return some of the bits of numbers that are not negative, lowest first, on a new last axis."""
    planes = decompose(x.engine, x.flat(), start + count + 1)[start : start + count]
    shares = to_field(x.engine, pieces(planes), x.size).swapaxes(0, 1)
    return SecretArray(x.engine, shares.reshape(*x.shape, count, 2), BIT)
