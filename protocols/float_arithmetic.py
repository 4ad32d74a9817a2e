"""Arithmetic of secret floats: sums, products, quotients, square roots, comparisons.

A sum first brings its operands to the larger exponent, by a secret power of two; it is not normalised, and
what cancels is lost, as with floats. Quotients and roots are polynomials in the mantissa, Chebyshev's, which
need no more than a public range: ¼ to 1 after normalising, less after some products.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import chebyshev, polynomial

from protocols import compare
from protocols.adder import carry_pieces
from protocols.bits import pieces
from protocols.convert import convert
from protocols.crt import Residues, Ring, to_words
from protocols.dealing import deal
from protocols.digits import BIT, DIGITS, OCTAVES, SHORT, noise_bits, read, unit
from protocols.engine import Engine
from protocols.long import (
    LONG,
    LongArray,
    LongFormat,
    Products,
    carried,
    complement_addends,
    is_zero,
    jointly,
    negative,
    stack,
)
from protocols.secret import SecretArray
from protocols.wide import Masked, Modulo, at_point, draw_masks, products, send_masked

if TYPE_CHECKING:
    from protocols.floating import SecretFloat

#: What polynomials leave out is below 2^−ACCURACY.
ACCURACY = 46
#: Mantissas of products and quotients may be as small as 2^−LOOSE, those of divisors as 2^−DIVISOR.
LOOSE, DIVISOR = 10, 6
#: Bits of public factors.
FACTOR = 52
#: Degree of the polynomial that inverse square roots begin with, and bits of its coefficients.
DEGREE, COEFFICIENT = 7, 30


def times(x: SecretFloat, y: SecretFloat) -> SecretFloat:
    """Return x·y.

    **Accuracy.** Relative error below (C + 1)·2^(o − 1 − DIGITS) for mantissas that multiply to 2^−o or more:
    o = 4 for normalised operands, `LOOSE` at most. **Leakage.** Nothing; see `wide.Round`.

    **Cost.** One round. Both operands are normalised first where both came from sums, and where the product
    of mantissas could get too small.
    """
    if x.octaves is None and y.octaves is None:
        x, y = x.normalised_with(y)
    if (x.octaves or 0) + (y.octaves or 0) > LOOSE:
        x, y = _tightened(x, y)
    wanted: list[Products] = [([(x.mantissa, y.mantissa)], DIGITS)]
    if x.nonzero is not None and y.nonzero is not None:
        wanted.append(([(x.nonzero, y.nonzero)], None))
    mantissa, *nonzero = jointly("times", *wanted)
    return x.replace(
        mantissa=unit(mantissa),
        exponent=x.exponent + y.exponent,
        reach=x.reach + y.reach,
        zero=max(x.zero + y.reach, x.reach + y.zero),
        octaves=(x.octaves or 0) + (y.octaves or 0) if nonzero else None,
        nonzero=nonzero[0] if nonzero else None,
        undefined=_total(x.undefined, y.undefined),
    )


def quotient(x: SecretFloat, y: SecretFloat) -> SecretFloat:
    """Return x/y; undefined for y = 0.

    Let s = m² for the mantissa m of y; z linear in s, and −1 to 1 over the range of s; τ_k what T_k(z) is at
    s = 0. Chebyshev's polynomial y_k of degree k − 1 in s has the residual 1 − s·y_k = T_k(z) / τ_k. As
    T_2k = 2·T_k² − 1, it is y_2k = (1 + 1/τ_2k)·y_k·(1 + T_k / τ_k), as in `linalg`. The quotient of
    mantissas is m_x·m·y_k: m is a factor once, so that its sign needs no thought.

    **Accuracy.** Relative error below 2^−ACCURACY + (C + 1)·(2^(2p + 4) + 2^o)·2^−DIGITS, where the mantissa
    of y is 2^−p or more, p ≤ `DIVISOR`, and both multiply to 2^−o or more, o ≤ `LOOSE`: with normalised
    operands 2^−46 + (C + 1)·2^−55. **Leakage.** Nothing; of a divisor of zero, 1 is taken instead.

    **Cost.** 7 rounds for a normalised divisor, 12 for p = 6. It is normalised first where it came from a
    sum, and both operands where mantissas could be too small.
    """
    if y.octaves is None:
        y = y.normalised()
    if (y.octaves or 0) > DIVISOR or (x.octaves or 0) + (y.octaves or 0) > LOOSE:
        x, y = _tightened(x, y)
    octaves, nonzero = y.octaves or 0, given(y.nonzero)
    m = unit(y.mantissa + (1 - nonzero))
    square, top, exponent = jointly(
        "quotient", ([(m, m)], DIGITS), ([(x.mantissa, m)], DIGITS), ([(nonzero, y.exponent)], None)
    )
    least = Fraction(1, 1 << (2 * octaves))
    tau, slope = (1 + least) / (1 - least), 2 / (1 - least)
    z, ratio = _linear(square, -slope, tau), _linear(top, slope / tau, Fraction(0))
    start = True
    while tau < 1 << ACCURACY:
        after = 2 * tau**2 - 1
        alpha, last = 1 + 1 / after, after >= 1 << ACCURACY
        # (1 + 1/τ_2k)·(1 + T_k / τ_k); z itself is not rounded, and so is taken as what it is in s.
        growth = _linear(square, -alpha * slope / tau, 2 * alpha) if start else _linear(z, alpha / tau, alpha)
        wanted: list[Products] = [([(ratio, growth)], DIGITS - octaves if last else DIGITS)]
        if not last:
            wanted.append(([(z, z)], DIGITS))
        ratio, *doubled = jointly("quotient", *wanted)
        ratio = ratio.assume(2.0 ** (octaves + 1))
        z = (doubled[0] * 2 - 1).assume(1.01) if doubled else z
        tau, start = after, False
    return x.replace(
        mantissa=unit(read(ratio, LongFormat(DIGITS, ratio.format.bound))),
        exponent=x.exponent - read(exponent, LongFormat(0, y.reach)) + octaves,
        reach=x.reach + y.reach + octaves,
        zero=x.zero + y.reach + octaves,
        octaves=None if x.octaves is None else x.octaves + octaves,
        nonzero=x.nonzero,
        undefined=_total(x.undefined, y.undefined, 1 - nonzero),
    )


def square_root(x: SecretFloat) -> SecretFloat:
    """Return √x, 0 for 0; undefined for negative numbers.

    For a mantissa m between 1/5 and 1, Chebyshev's polynomial y of degree 7 approximates 1/√m. Of what is
    left, e = 1 − m·y², a cubic polynomial does for (1 − e)^(−½), and √m is the product of it with m·y. An odd
    exponent is made even by a factor of √½.

    **Accuracy.** Relative error below 2^−43 + (C + 1)·2^−56. **Leakage.** Nothing; of zero and negative
    numbers, 1 is taken instead. **Cost.** 7 rounds, and what normalises x if it was computed.
    """
    x = x.normalised()
    engine, below, odd = x.engine, given(x.below), given(x.odd)
    positive = read(given(x.nonzero) - below, BIT)
    product, both = jointly("positive", ([(x.mantissa, positive)], None), ([(positive, odd)], None))
    factor = positive - _rounded_multiple(read(both, BIT), 1 - math.sqrt(0.5))
    z = _scaled(unit(product + (1 - positive)), Fraction(5, 2)) - 1.5
    series = [read(z, LongFormat(DIGITS + 1, (1 << (DIGITS + 1)) + (engine.prss.count << 4)))]  # T_1, T_2, …
    while len(series) <= DEGREE:
        top = len(series)
        more = min(top, DEGREE + 1 - top)
        doubled = jointly("powers", *(([(series[-1], series[j])], DIGITS) for j in range(more)))
        lower: list[LongArray | int] = [*series[: top - 1][::-1], 1]
        series += [(2 * t - lower[j]).rescale(DIGITS + 1).assume(1.001) for j, t in enumerate(doubled)]
    y, g = _root_polynomials(series)
    gy, g = jointly("residual", ([(g, y)], DIGITS), ([(g, factor)], DIGITS))
    e = (1 - 5 * gy).assume(2 * _residual())
    e2, ge = jointly("residual", ([(e, e)], DIGITS), ([(g, e)], DIGITS))
    c = _residual_coefficients()
    low = _rounded_multiple(e, c[1]) + _rounded_multiple(e2, c[2]) + c[0]
    (mantissa,) = jointly("root", ([(g, low), (ge, _rounded_multiple(e2, c[3]))], DIGITS))
    exponent = x.exponent + odd
    half = SHORT.scale(exponent.shares, SHORT.constant(1, 2))
    return x.replace(
        mantissa=unit(mantissa),
        exponent=LongArray(engine, half, LongFormat(0, exponent.format.bound // 2 + 1), SHORT),
        reach=x.reach // 2 + 1,
        zero=x.zero // 2 + 1,
        octaves=OCTAVES,
        nonzero=x.nonzero,
        undefined=_total(x.undefined, below),
    )


def plus(x: SecretFloat, y: SecretFloat) -> SecretFloat:
    """Return x + y, not normalised.

    **Accuracy.** Below (C + 1)·2^(2 − DIGITS) times the larger operand, for normalised ones; where an operand
    is itself a sum, times its largest term. **Leakage.** Nothing; see `power_of_two` and `wide.Round`.

    **Cost.** 11 rounds for three or four parties, 14 for five.
    """
    shape = np.broadcast_shapes(x.shape, y.shape)
    x, y = (z.broadcast_to(shape) for z in _comparable(x, y))
    engine = x.engine
    (swapped, far, farther), powers = _shifts(x.exponent - y.exponent)
    shift, move, rise = jointly(
        "align",
        ([(read(1 - swapped - farther, BIT), powers[0]), (read(swapped - far, BIT), powers[1])], None),
        ([(swapped, y.mantissa - x.mantissa)], None),
        ([(swapped, y.exponent - x.exponent)], None),
    )
    # In halves, so that the sum is no larger than 1.
    shift = read(shift, LongFormat(DIGITS + 1, 1 << DIGITS))
    half = LongArray(engine, np.ones_like(shift.shares), LongFormat(1, 1), SHORT).rescale(DIGITS + 1)
    larger, smaller = unit(x.mantissa + move), unit(y.mantissa - move)
    (mantissa,) = jointly("sum", ([(smaller, shift), (larger, half)], DIGITS))
    bound = max(x.exponent.format.bound, y.exponent.format.bound) + 1
    return x.replace(
        mantissa=unit(mantissa),
        exponent=read(x.exponent + rise + 1, LongFormat(0, bound)),
        reach=max(x.reach, y.reach) + 1,
        zero=max(x.zero, y.zero) + 1,
        octaves=None,
        nonzero=None,
        undefined=_total(x.undefined, y.undefined),
    )


def less(x: SecretFloat, y: SecretFloat, *, equal: bool = False) -> SecretArray:
    """Return 1 where x < y, or with `equal` x ≤ y; and 0 where either is undefined.

    Numbers count as equal that differ by no more than (C + 1)·2^(5 − DIGITS) times the power of two above the
    larger one.

    **Leakage.** Nothing. **Cost.** 22 rounds for three parties; some 7 more where something may be undefined.
    """
    difference = plus(x, -y)
    noise = 1 << (noise_bits(x.engine) - 1)
    shares = SHORT.shift(difference.mantissa.shares, -noise if equal else noise)
    bound = difference.mantissa.format.bound + noise
    found = negative(LongArray(x.engine, shares, LongFormat(DIGITS, bound), SHORT))
    if difference.undefined is None:
        return found
    return SecretArray(x.engine, (found * is_zero(difference.undefined)).shares, compare.BIT)


def to_fixed_point(x: SecretFloat, *, bound: float, fraction: int, least: float | None) -> LongArray:
    """Return floats as long fixed-point numbers: the mantissa times a secret power of two, rounded.

    Parameters
    ----------
    x
        Numbers that are defined.
    bound
        Public: what no |x| exceeds.
    fraction
        Fractional bits.
    least
        Public, and no less than 2^−fraction: what no |x| is below, but for zeros. Saves more than half of the
        rounds.

    Notes
    -----
    **Accuracy.** That of x, and (C + 3)/2 units in the last place. **Leakage.** Nothing, for numbers within
    the stated range; others, and those that are undefined, may exceed what masks hide. **Cost.** For three
    parties 5 rounds with `least`, 12 without, and what normalises x if it came from a sum.
    """
    x = x if x.octaves is not None else x.normalised()
    largest_power = LongFormat.of(bound * 2.0 ** (x.octaves or 0), fraction)
    if least is None:
        mantissa, power = x.mantissa, _power_or_zero(x.exponent + fraction)
    elif least < 2.0**-fraction:
        raise ValueError("the least number is no smaller than the last place")
    else:
        nonzero = given(x.nonzero)
        mantissa, exponent = jointly(
            "nonzero", ([(x.mantissa, nonzero)], None), ([(x.exponent, nonzero)], None)
        )
        power = power_of_two(read(exponent, LongFormat(0, x.reach)) + fraction, LONG)
    wide = carried(mantissa, LONG)
    (product,) = jointly("fixed point", ([(wide, read(power, largest_power))], fraction))
    reading = LongFormat.of(bound, fraction)
    return read(product, LongFormat(fraction, reading.bound + x.engine.prss.count // 2 + 2))


def inverse_root_power(x: SecretFloat, *, least: float, fraction: int) -> LongArray:
    """Return powers of two S with S²·x between ⅛ and 1, exact long numbers.

    Parameters
    ----------
    x
        Positive numbers, none of them beyond 4^fraction, as `floating` makes them.
    least
        Public: what no x is below.
    fraction
        Fractional bits.

    Notes
    -----
    **Leakage.** Nothing, within the stated range. **Cost.** Two rounds for three parties.
    """
    exponent = x.exponent + given(x.odd)
    reach = x.reach // 2 + 1
    half = LongArray(
        x.engine, SHORT.scale(exponent.shares, SHORT.constant(1, 2)), LongFormat(0, reach), SHORT
    )
    power = power_of_two(fraction - half, LONG)
    return read(power, LongFormat.of(2 / math.sqrt(least), fraction))


# --- Powers of two -----------------------------------------------------------------------------------


def power_of_two(x: LongArray, on: Ring) -> LongArray:
    """Return 2^x in a ring, for integers of either sign; as elements, their size is up to the caller.

    x is opened as c = x + h + s_1 + … + s_(t+1), each s_i known to a party or to the last ones, as in
    `masked`. They share 2^(−s_i), and the product of these with 2^(c − h) is 2^x.

    **Leakage.** Nothing: the opening is masked to a statistical distance of 2^−κ, and checked.

    **Cost.** 1 + ⌈log2(t + 1)⌉ rounds.
    """
    masked, factors = _open_exponents(x, on, 0)
    return LongArray(x.engine, _powers(x.engine, masked, factors, on).reshape(len(on), *x.shape), BIT, on)


def _power_or_zero(x: LongArray) -> LongArray:
    """Return 2^x in `LONG`, and 0 for negative x."""
    engine = x.engine
    masked, factors = _open_exponents(x, LONG, 0)
    below = _negative_bits(engine, masked, LONG).reshape(x.shape)
    power = LongArray(engine, _powers(engine, masked, factors, LONG).reshape(len(LONG), *x.shape), BIT, LONG)
    return jointly("power or zero", ([(power, read(1 - below, BIT))], None))[0]


def _open_exponents(x: LongArray, on: Ring, skip: int) -> tuple[Masked, list[Residues]]:
    """Open integers under a mask, and deal powers of the summands of all but the first, in the same round."""
    engine, size = x.engine, x.size
    bits = x.format.bound.bit_length()
    streams = engine.prss.streams(engine.step("exponent mask"))
    summands = draw_masks(engine, streams, x.on, size, bits, 1 << bits)
    unopened = Masked((size,), np.zeros((size, 0), np.uint64), 0, summands)
    inverse = on.powers_of_two(unopened.known(engine, summands[0][1].shape[1] + 1)[skip:], negative=True)
    ours = inverse if engine.point <= engine.t else None
    receive = deal(engine, engine.step("powers"), range(engine.t), ours, size - skip, Modulo(on))
    finish = send_masked(engine, "exponent", x.on, x.shares.reshape(len(x.on), size), bits, summands)
    factors = list(receive())
    last = tuple(range(engine.t + 1, engine.n + 1))
    factor = at_point(engine.n, last, engine.point, on) if engine.point > engine.t else on.constant(0)
    return finish(), [*factors, on.scale(inverse, factor)]


def _powers(engine: Engine, masked: Masked, factors: list[Residues], on: Ring) -> Residues:
    """Return shares of the powers, in a row."""
    (power,) = products(engine, "power", on, factors)
    skip, words = len(masked.opened) - power.shape[1], masked.summands[0][1].shape[1] + 1
    opened = on.powers_of_two(masked.opened[skip:, :words])
    lower = on.powers_of_two(to_words([masked.offset]), negative=True)[:, 0]
    return on.scale(on.mul(power, opened), lower)


def _shifts(d: LongArray) -> tuple[LongArray, LongArray]:
    """Return whether d < 0, d < −DIGITS and d > DIGITS, and 2^(DIGITS − d) and 2^(DIGITS + d)."""
    engine, flat = d.engine, d.ravel()
    masked, factors = _open_exponents(stack([flat, flat + DIGITS, DIGITS - flat]), SHORT, d.size)
    below = _negative_bits(engine, masked, SHORT).reshape(3, *d.shape)
    powers = _powers(engine, masked, factors, SHORT).reshape(len(SHORT), 2, *d.shape)
    return below, LongArray(engine, powers[:, ::-1], BIT, SHORT)


def _negative_bits(engine: Engine, masked: Masked, on: Ring) -> LongArray:
    """Return in a ring whether integers that are opened under masks are negative, in a row."""
    one, other = complement_addends(engine, masked)
    sign = pieces(one[-1:] ^ other[-1:]) ^ carry_pieces(one[:-1], other[:-1])
    return LongArray(engine, convert(engine, sign, len(masked.opened), Modulo(on)), BIT, on)


# --- Helpers -----------------------------------------------------------------------------------------


def _total(*counts: LongArray | None) -> LongArray | None:
    """Return how many reasons there are for a number not to be defined; None for none at all. Local."""
    total = None
    for count in counts:
        if count is not None:
            total = count if total is None else total + count
    return total


def _comparable(x: SecretFloat, y: SecretFloat) -> tuple[SecretFloat, SecretFloat]:
    """Lower the exponents of zeros so that they are negligible beside all other numbers."""
    margin = 2 * DIGITS
    return (
        x if x.zero <= -y.reach - margin else x.lowered(y.reach + margin),
        y if y.zero <= -x.reach - margin else y.lowered(x.reach + margin),
    )


def _tightened(x: SecretFloat, y: SecretFloat) -> tuple[SecretFloat, SecretFloat]:
    """Normalise two numbers together, but for sums, whose errors are not relative to themselves."""
    if x.octaves is None or y.octaves is None:
        return (x if x.octaves is None else x.normalised()), (y if y.octaves is None else y.normalised())
    return x.normalised_with(y)


def given(part: LongArray | None) -> LongArray:
    """Return a part that only some numbers have."""
    if part is None:
        raise ValueError("the number is not normalised")
    return part


def _scaled(x: LongArray, factor: Fraction) -> LongArray:
    """Return x times a fraction whose denominator is a power of two. Local."""
    scaled = x * factor.numerator
    bits = factor.denominator.bit_length() - 1
    return read(scaled, LongFormat(scaled.format.fraction + bits, scaled.format.bound))


def _linear(x: LongArray, factor: Fraction, constant: Fraction) -> LongArray:
    """Return x·factor + constant, with `FACTOR` more fractional bits. Local."""
    whole = 1 << FACTOR
    scaled = _scaled(x, Fraction(round(factor * whole), whole)).rescale(x.format.fraction + FACTOR)
    addend = round(constant * (1 << scaled.format.fraction))
    shares = x.on.shift(scaled.shares, addend)
    return LongArray(
        x.engine, shares, LongFormat(scaled.format.fraction, scaled.format.bound + abs(addend)), x.on
    )


def _rounded_multiple(x: LongArray, factor: float) -> LongArray:
    """Return x times a public number, rounded to `FACTOR` fractional bits. Local."""
    return _scaled(x, Fraction(1, 1 << FACTOR)) * round(factor * (1 << FACTOR))


def _root_polynomials(series: list[LongArray]) -> tuple[LongArray, LongArray]:
    """Return y/5 and m·y of T_1, T_2, …, exactly: m·T_k = (3·T_k + T_(k+1) + T_|k−1|) / 5. Local."""
    y = _root_coefficients()
    g = [0] * (len(y) + 1)
    for k, one in enumerate(y):
        g[k] += 3 * one
        for neighbour in (k + 1, abs(k - 1)):
            g[neighbour] += one
    return _combined(series, y).assume(0.46), _combined(series, g).assume(1.01)


def _combined(series: Sequence[LongArray], coefficients: Sequence[int]) -> LongArray:
    """Return Σ c_k·T_k, exactly, of T_1, T_2, …; the c_k have `COEFFICIENT` fractional bits. Local."""
    total = series[0] * coefficients[1]
    for term, c in zip(series[1:], coefficients[2:], strict=False):
        total = total + term * c
    return _scaled(total, Fraction(1, 1 << COEFFICIENT)) + coefficients[0] / (1 << COEFFICIENT)


@lru_cache
def _root_coefficients() -> tuple[int, ...]:
    """Return the Chebyshev coefficients of 1/(5√m) in z = (5m − 3)/2, with `COEFFICIENT` fractional bits."""
    nodes = chebyshev.chebpts1(DEGREE + 1)
    found = chebyshev.chebfit(nodes, ((2 * nodes + 3) / 5) ** -0.5 / 5, DEGREE)
    return tuple(round(c * (1 << COEFFICIENT)) for c in found.tolist())


@lru_cache
def _residual() -> float:
    """Return the largest |1 − m·y²|."""
    z = np.linspace(-1, 1, 10001)
    y = 5 * chebyshev.chebval(z, [c / (1 << COEFFICIENT) for c in _root_coefficients()])
    return float(np.max(np.abs(1 - (2 * z + 3) / 5 * y**2)))


@lru_cache
def _residual_coefficients() -> tuple[float, ...]:
    """Return the cubic polynomial in e for (1 − e)^(−½) over the range of residuals."""
    e = _residual() * chebyshev.chebpts1(4)
    return tuple(polynomial.polyfit(e, (1 - e) ** -0.5, 3).tolist())
