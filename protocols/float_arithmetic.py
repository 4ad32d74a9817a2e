"""Arithmetic of secret floats: sums, products, quotients, square roots, comparisons.

A sum first brings its operands to the larger exponent, by a secret power of two; it is not normalised, and what
cancels is lost, as with floats. Quotients and roots are polynomials in the mantissa, Chebyshev's, which need no
more than a public range: ¼ to 1 after normalising, less after some products.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import chebyshev

from protocols.adder import carry_pieces
from protocols.bits import pieces
from protocols.compare import BIT
from protocols.convert import convert
from protocols.crt import Residues, Ring, to_words
from protocols.dealing import deal
from protocols.digits import DIGITS, SHORT, noise_bits, read, unit
from protocols.engine import Engine
from protocols.long import (
    LongArray,
    LongFormat,
    Products,
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
#: Mantissas may be as small as 2^−LOOSE before they are normalised again.
LOOSE = 8
#: Bits of public factors.
FACTOR = 52
#: Degree of the polynomial that inverse square roots begin with, and bits of its coefficients.
DEGREE, COEFFICIENT = 7, 30
#: The binomial series of (1 − e)^(−½), in 2048ths.
SERIES = (2048, 1024, 768, 640, 560, 504, 462, 429)

_BIT = LongFormat(0, 1)


def times(x: SecretFloat, y: SecretFloat) -> SecretFloat:
    """Return x·y.

    **Accuracy.** Relative error below (C + 1)·2^(o − 1 − DIGITS) for mantissas that multiply to 2^−o or more: o = 4
    for normalised operands, `LOOSE` at most. **Leakage.** Nothing; see `wide.Round`. **Cost.** One round, and what
    normalises both operands if neither is, or a product could get too small.
    """
    if x.octaves is None and y.octaves is None:
        x, y = x.normalised(), y.normalised()
    if (x.octaves or 0) + (y.octaves or 0) > LOOSE:
        x, y = (z if z.octaves is None else z.normalised() for z in (x, y))
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

    With s = m² for the mantissa m of y, z linear in s and −1 to 1 over the range of s, and τ_k = T_k(z) at s = 0,
    let y_k be Chebyshev's polynomial of degree k − 1 in s, with the residual 1 − s·y_k = T_k(z) / τ_k. By
    T_2k = 2·T_k² − 1 it is y_2k = (1 + 1/τ_2k)·y_k·(1 + T_k / τ_k), as in `linalg`. The quotient of mantissas is
    m_x·m·y_k: m is a factor once, so that its sign needs no thought.

    **Accuracy.** Relative error below 2^−ACCURACY + (C + 1)·2^(2o + 2 − DIGITS), where o are the octaves of both
    mantissas: 2^−46 + (C + 1)·2^−54 for normalised ones. **Leakage.** Nothing; of zero, 1 is taken as the divisor
    instead. **Cost.** 7 rounds, and what normalises y if it came from a sum, or mantissas could be too small.
    """
    y = y.loose()
    if (x.octaves or 0) + _least(y) > LOOSE // 2:
        x, y = (z if z.octaves is None else z.normalised() for z in (x, y))
    octaves, nonzero = _least(y), _given(y.nonzero)
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

    With an even exponent the mantissa m is between 1/8 and 1. In z = (9m − 5)/4, between −1 and 1, Chebyshev's
    polynomial y of degree 7 approximates 1/√m; with e = 1 − m·y², √m is m·y times the series of (1 − e)^(−½).

    **Accuracy.** Relative error below 2^−ACCURACY + (C + 1)·2^−55. **Leakage.** Nothing; of zero and negative
    numbers, 1 is taken instead. **Cost.** 8 rounds, and what normalises x if it was computed.
    """
    x = x.normalised()
    engine, below, root = x.engine, _given(x.below), _given(x.root)
    positive = read(_given(x.nonzero) - below, _BIT)
    (product,) = jointly("even", ([(x.mantissa, root)], None))
    m = read(product, LongFormat(DIGITS + 1, product.format.bound)) + (1 - positive)
    z = _scaled(m, Fraction(9, 4)) - 1.25
    series = [read(z, LongFormat(DIGITS + 3, (1 << (DIGITS + 3)) + (engine.prss.count << 6)))]  # T_1, T_2, …
    while len(series) <= DEGREE:
        top = len(series)
        more = min(top, DEGREE + 1 - top)
        doubled = jointly("powers", *(([(series[-1], series[j])], DIGITS) for j in range(more)))
        lower: list[LongArray | int] = [*series[: top - 1][::-1], 1]
        series += [(2 * t - lower[j]).rescale(DIGITS + 3).assume(1.001) for j, t in enumerate(doubled)]
    y, g = _root_polynomials(series)
    gy, g = jointly("residual", ([(g, y)], DIGITS), ([(g, positive)], None))
    e = (1 - gy * 9).assume(RESIDUAL)
    e2, ge = jointly("residual", ([(e, e)], DIGITS), ([(g, e)], DIGITS))
    e3, e4, ge3 = jointly("residual", ([(e, e2)], DIGITS), ([(e2, e2)], DIGITS), ([(ge, e2)], DIGITS))
    low = _combined([e, e2, e3, e4], SERIES[1:5]) + SERIES[0]
    high = _combined([e2, e3, e4], SERIES[5:])
    more_digits = ge3.rescale(g.format.fraction)
    (mantissa,) = jointly("root", ([(g, _thousandths(low)), (more_digits, _thousandths(high))], DIGITS))
    exponent = x.exponent + _given(x.odd)
    half = SHORT.scale(exponent.shares, SHORT.constant(1, 2))
    return x.replace(
        mantissa=unit(mantissa),
        exponent=LongArray(engine, half, LongFormat(0, exponent.format.bound // 2 + 1), SHORT),
        reach=x.reach // 2 + 1,
        zero=x.zero // 2 + 1,
        octaves=2,
        nonzero=x.nonzero,
        undefined=_total(x.undefined, below),
    )


def plus(x: SecretFloat, y: SecretFloat) -> SecretFloat:
    """Return x + y, not normalised.

    **Accuracy.** Below (C + 1)·2^(2 − DIGITS) times the larger operand, or rather times the power of two above it;
    if an operand is itself a sum, times that above its largest term. **Leakage.** Nothing. **Cost.** 11 rounds
    for three parties.
    """
    shape = np.broadcast_shapes(x.shape, y.shape)
    x, y = (z.broadcast_to(shape) for z in _comparable(x, y))
    engine = x.engine
    (swapped, far, farther), powers = _shifts(x.exponent - y.exponent)
    shift, move, rise = jointly(
        "align",
        ([(read(1 - swapped - farther, _BIT), powers[0]), (read(swapped - far, _BIT), powers[1])], None),
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
    return SecretArray(x.engine, (found * is_zero(difference.undefined)).shares, BIT)


# --- Powers of two -----------------------------------------------------------------------------------


def power_of_two(x: LongArray, on: Ring) -> Residues:
    """Return shares of 2^x modulo every prime of a ring, for integers of either sign.

    x is opened as c = x + h + s_1 + … + s_(t+1), each s_i known to a party or to the last ones, as in `masked`.
    They share 2^(−s_i), and the product of these with 2^(c − h) is 2^x.

    **Leakage.** Nothing: the opening is masked to a statistical distance of 2^−κ, and checked.

    **Cost.** 1 + ⌈log2(t + 1)⌉ rounds.
    """
    masked, factors = _open_exponents(x, on, 0)
    return _powers(x.engine, masked, factors, on).reshape(len(on), *x.shape)


def _open_exponents(x: LongArray, on: Ring, skip: int) -> tuple[Masked, list[Residues]]:
    """Open integers under a mask, and deal powers of the summands of all but the first, in the same round."""
    engine, size = x.engine, x.size
    bits = x.format.bound.bit_length()
    summands = draw_masks(engine, engine.step("exponent mask"), x.on, size, bits, 1 << bits)
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
    one, other = complement_addends(engine, masked)
    sign = pieces(one[-1:] ^ other[-1:]) ^ carry_pieces(one[:-1], other[:-1])
    bits = convert(engine, sign, 3 * d.size, Modulo(SHORT)).reshape(len(SHORT), 3, *d.shape)
    powers = _powers(engine, masked, factors, SHORT).reshape(len(SHORT), 2, *d.shape)
    return LongArray(engine, bits, _BIT, SHORT), LongArray(engine, powers[:, ::-1], _BIT, SHORT)


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


def _least(x: SecretFloat) -> int:
    assert x.octaves is not None
    return x.octaves


def _given(part: LongArray | None) -> LongArray:
    assert part is not None
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


def _thousandths(x: LongArray) -> LongArray:
    """Return x / 2048. Local."""
    return _scaled(x, Fraction(1, SERIES[0]))


def _combined(terms: Sequence[LongArray], factors: Sequence[int]) -> LongArray:
    """Return an exact sum of public multiples. Local."""
    total = terms[0] * factors[0]
    for term, factor in zip(terms[1:], factors[1:], strict=True):
        total = total + term * factor
    return total


@lru_cache
def _root_coefficients() -> tuple[int, ...]:
    """Return the Chebyshev coefficients of 1/(9√m) in z, times 2^COEFFICIENT."""
    nodes = chebyshev.chebpts1(DEGREE + 1)
    found = chebyshev.chebfit(nodes, ((4 * nodes + 5) / 9) ** -0.5 / 9, DEGREE)
    return tuple(round(c * (1 << COEFFICIENT)) for c in found.tolist())


def _root_polynomials(series: list[LongArray]) -> tuple[LongArray, LongArray]:
    """Return y/9 and m·y, exact, of T_1, T_2, …: m·T_k = (5·T_k + 2·(T_(k+1) + T_|k−1|)) / 9. Local."""
    c = _root_coefficients()
    count = len(c)
    g = [0] * (count + 1)
    for k, one in enumerate(c):
        g[k] += 5 * one
        for neighbour in (k + 1, abs(k - 1)):
            g[neighbour] += 2 * one
    y, g_ = (
        _scaled(_combined(series[: len(d) - 1], d[1:]), Fraction(1, 1 << COEFFICIENT))
        + Fraction(d[0], 1 << COEFFICIENT).__float__()
        for d in (c, g)
    )
    return y.assume(0.4), g_.assume(1.1)


@lru_cache
def _residual() -> float:
    """Return a bound on |1 − m·y²|."""
    z = np.linspace(-1, 1, 10001)
    y = chebyshev.chebval(z, [c * 9 / (1 << COEFFICIENT) for c in _root_coefficients()])
    return float(np.max(np.abs(1 - (4 * z + 5) / 9 * y**2)))


#: A bound on the residual e of a square root.
RESIDUAL = 2 * _residual()
