"""`SecretFloat`: secret numbers of any magnitude, for formulas whose ranges nobody chooses.

A number is m·2^e with a secret mantissa m and a secret exponent e. What statistics are made of, ratios and
roots of sums of powers, is so computed with one relative error over the whole range, as with floats, and by the
same formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NoReturn, SupportsIndex

import numpy as np
from numpy.polynomial import chebyshev, polynomial
from numpy.typing import ArrayLike, NDArray

from protocols import field, long
from protocols.adder import add, suffix_all_pieces
from protocols.bits import pieces
from protocols.compare import BIT
from protocols.convert import to_field
from protocols.crt import Ring, ring
from protocols.dealing import deal
from protocols.engine import Engine
from protocols.errors import PrecisionError
from protocols.fixed import Format
from protocols.long import LongArray, LongFormat, complement_addends, jointly, lengthen, negative
from protocols.secret import SecretArray
from protocols.wide import Domain, at_point, draw_masks, open_masked, products

#: The ring of mantissas and exponents: five primes.
SHORT: Ring = ring(294)
#: Fractional bits of mantissas.
DIGITS = 64
#: Positions that are converted to SHORT together.
GROUP = 32
#: What iterations leave out is below 2^−ACCURACY.
ACCURACY = 46
#: Mantissas of products are normalised when they might be below 2^−LOOSE.
LOOSE = 8
#: Bits between mantissa and exponent where both are opened as one integer.
SPARE = 4
#: Degree of the polynomial that inverse square roots begin with.
DEGREE = 7
#: The binomial series of (1 − e)^(−½), in 128ths.
SERIES = (128, 64, 48, 40, 35)

_ALL = np.uint64((1 << 64) - 1)

Operand = "SecretFloat | ArrayLike"


class SecretFloat:
    """Numbers m·2^e, one party's part of them."""

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        mantissa: LongArray,
        exponent: LongArray,
        *,
        reach: int,
        zero: int,
        octaves: int | None = None,
        nonzero: LongArray | None = None,
        below: LongArray | None = None,
        defined: LongArray | None = None,
    ) -> None:
        self.engine = mantissa.engine
        self.mantissa = mantissa
        self.exponent = exponent
        self.reach = reach
        self.zero = zero
        self.octaves = octaves
        self.nonzero = nonzero
        self.below = below
        self.defined = defined
        self._normal: SecretFloat | None = None

    # --- Shape ---------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.mantissa.shape

    @property
    def ndim(self) -> int:
        return self.mantissa.ndim

    @property
    def size(self) -> int:
        return self.mantissa.size

    def __len__(self) -> int:
        return len(self.mantissa)

    def __getitem__(self, index: Any) -> SecretFloat:
        return self._each(lambda part: part[index])

    def reshape(self, *shape: Any) -> SecretFloat:
        return self._each(lambda part: part.reshape(*shape))

    def ravel(self) -> SecretFloat:
        return self.reshape(self.size)

    def transpose(self, *axes: int) -> SecretFloat:
        return self._each(lambda part: part.transpose(*axes))

    @property
    def T(self) -> SecretFloat:  # noqa: N802
        return self.transpose()

    def broadcast_to(self, shape: tuple[int, ...]) -> SecretFloat:
        return self._each(lambda part: part.broadcast_to(shape))

    def _each(self, view: Callable[[LongArray], LongArray]) -> SecretFloat:
        def of(part: LongArray | None) -> LongArray | None:
            return None if part is None else view(part)

        return SecretFloat(
            view(self.mantissa),
            view(self.exponent),
            reach=self.reach,
            zero=self.zero,
            octaves=self.octaves,
            nonzero=of(self.nonzero),
            below=of(self.below),
            defined=of(self.defined),
        )

    # --- Arithmetic ----------------------------------------------------------------------------------

    def __neg__(self) -> SecretFloat:
        flipped = self._each(lambda part: part)
        flipped.mantissa = -self.mantissa
        flipped.below = None
        return flipped

    def __abs__(self) -> SecretFloat:
        return absolute(self)

    def __add__(self, other: Any) -> SecretFloat:
        return plus(self, _operand(self, other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> SecretFloat:
        return plus(self, -_operand(self, other))

    def __rsub__(self, other: Any) -> SecretFloat:
        return plus(_operand(self, other), -self)

    def __mul__(self, other: Any) -> SecretFloat:
        return times(self, _operand(self, other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> SecretFloat:
        return times(self, _operand(self, other).reciprocal())

    def __rtruediv__(self, other: Any) -> SecretFloat:
        return times(_operand(self, other), self.reciprocal())

    def __pow__(self, power: float) -> SecretFloat:
        twice = round(2 * power)
        if twice != 2 * power:
            raise ValueError("powers are those of whole and half numbers")
        if twice < 0:
            return (self**-power).reciprocal()
        whole, half = divmod(twice, 2)
        result = self.sqrt() if half else None
        square = self
        while whole:
            if whole & 1:
                result = square if result is None else result * square
            whole >>= 1
            if whole:
                square = square * square
        return _operand(self, np.ones(self.shape)) if result is None else result

    def reciprocal(self) -> SecretFloat:
        return reciprocal(self)

    def sqrt(self) -> SecretFloat:
        return square_root(self)

    def square(self) -> SecretFloat:
        return self * self

    def sum(self, axis: int | None = None) -> SecretFloat:
        rest = self.ravel() if axis is None else _axis_first(self, axis)
        if not len(rest):
            return constant(self.engine, np.zeros(rest.shape[1:]))
        while len(rest) > 1:
            half = len(rest) // 2
            joined = rest[:half] + rest[half : 2 * half]
            rest = concatenate([joined, rest[2 * half :]]) if len(rest) % 2 else joined
        return rest[0]

    # --- Comparisons ---------------------------------------------------------------------------------

    def __lt__(self, other: Any) -> SecretArray:
        return less(self, _operand(self, other))

    def __gt__(self, other: Any) -> SecretArray:
        return less(_operand(self, other), self)

    def __le__(self, other: Any) -> SecretArray:
        return less(self, _operand(self, other), equal=True)

    def __ge__(self, other: Any) -> SecretArray:
        return less(_operand(self, other), self, equal=True)

    def __eq__(self, other: object) -> NoReturn:  # type: ignore[override]
        raise TypeError("secret floats are rounded: compare their difference with a tolerance")

    # --- What would leak or mislead ------------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TypeError("a secret is no array of numbers; reveal it, or compute on it as it is")

    def __bool__(self) -> NoReturn:
        raise TypeError("a secret cannot decide what the program does; use where")

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("shares are secret and belong to a session: they cannot be copied or stored")

    def __repr__(self) -> str:
        return f"<SecretFloat of shape {self.shape}>"

    def normalised(self) -> SecretFloat:
        """Return the same numbers with ½ ≤ |m| ≤ 1, or m = 0."""
        if self._normal is None:
            self._normal = self if self.octaves == 1 and self.below is not None else _renormalised(self)
        return self._normal

    def loose(self) -> SecretFloat:
        """Return the same numbers with a public least |m|."""
        return self if self.octaves is not None else self.normalised()


# --- Numbers in --------------------------------------------------------------------------------------


def floating(x: LongArray | SecretArray) -> SecretFloat:
    """Return numbers as floats."""
    if isinstance(x, SecretArray):
        x = lengthen(x, SHORT)
    found = _leading(x, 0)
    return _normal_form(found, None, x.format.fraction)


def constant(engine: Engine, values: ArrayLike) -> SecretFloat:
    """Return public numbers as floats."""
    array = np.asarray(values, float)
    if not np.all(np.isfinite(array)):
        raise ValueError("public numbers are finite")
    m, e = np.frexp(array)
    reach = int(np.max(np.abs(e), initial=0))
    zero = _zero_exponent(reach)
    integers = np.ldexp(m, 53).astype(np.int64).astype(object) << (DIGITS - 53)
    exponents = np.where(m == 0, -zero, e)

    def of(numbers: Any, fraction: int, bound: int) -> LongArray:
        shares = SHORT.residues(np.array(numbers, object).reshape(array.shape))
        return LongArray(engine, shares, LongFormat(fraction, bound), SHORT)

    return SecretFloat(
        of(integers, DIGITS, 1 << DIGITS),
        of(exponents, 0, zero),
        reach=reach,
        zero=-zero,
        octaves=1,
        nonzero=of((m != 0).astype(int), 0, 1),
        below=of((m < 0).astype(int), 0, 1),
    )


# --- Normalising -------------------------------------------------------------------------------------


@dataclass
class _Found:
    """Where numbers begin, and their leading digits."""

    mantissa: LongArray
    place: LongArray
    nonzero: LongArray
    below: LongArray


def _leading(x: LongArray, noise: int, extra: LongArray | None = None) -> tuple[_Found, LongArray | None]:
    engine = x.engine
    doubled = x * 2
    masked = open_masked(engine, "leading", x.on, doubled.shares, doubled.format.bound.bit_length())
    planes = ~add(*complement_addends(doubled, masked))
    sign = ~planes[-1:]
    magnitude = planes[:-1] ^ type(sign)(engine, np.broadcast_to(sign.rows, planes[:-1].rows.shape))
    count = len(magnitude)
    cut = min(noise, count - 1)
    clear = suffix_all_pieces(~magnitude[cut:])
    highest = clear.copy()
    highest[:-1] ^= clear[1:]
    if engine.point == 1:
        highest[-1:] ^= _ALL
    groups = -(-count // GROUP)
    positions = np.arange(cut, count)
    chosen = [np.flatnonzero(positions // GROUP == a) for a in range(groups)]
    chosen += [np.flatnonzero(positions % GROUP == b) for b in range(GROUP)]
    ours = np.zeros((groups + GROUP + 1, clear.shape[1]), np.uint64)
    for row, which in zip(ours, chosen, strict=False):
        np.bitwise_xor.reduce(highest[which], axis=0, out=row)
    ours[-1] = pieces(sign)[0]
    bits = SecretArray(engine, to_field(engine, ours, x.size), BIT)
    digits = lengthen(bits, SHORT).reshape(groups + GROUP + 1, *x.shape)
    coarse, fine, below = digits[:groups], digits[groups:-1], digits[-1]
    nonzero = coarse.sum(axis=0).assume(1)
    steps = np.arange(groups) * GROUP
    place = _weighted(coarse, steps) + _weighted(fine, np.arange(GROUP))
    place = LongArray(engine, place.shares, LongFormat(0, count), SHORT)

    levels = []
    for a in range(groups):
        drop = GROUP * a - DIGITS
        level = masked.shifted(engine, SHORT, max(0, drop))
        levels.append(SHORT.scale(level, SHORT.constant(1 << max(0, -drop))))
    # One term of the sum is not 0.
    prefixes = LongArray(engine, np.stack(levels, axis=1), LongFormat(DIGITS, 1), SHORT)
    bound = LongFormat(DIGITS + GROUP, (1 << (DIGITS + GROUP)) + engine.prss.count)
    wanted = [([(coarse[a], prefixes[a]) for a in range(groups)], None), ([(nonzero, below)], None)]
    if extra is not None:
        wanted.append(([(nonzero, extra)], None))
    prefix, below, *rest = jointly("leading digits", *wanted)
    prefix = LongArray(engine, prefix.shares, bound, SHORT)
    power = _weighted(fine, [1 << (GROUP - 1 - b) for b in range(GROUP)])
    scaled = LongArray(engine, power.shares, LongFormat(0, 1 << (GROUP - 1)), SHORT)
    (mantissa,) = jointly("mantissa", ([(prefix, scaled)], DIGITS))
    mantissa = _bounded(mantissa)
    return _Found(mantissa, place, nonzero, below), rest[0] if rest else None


def _weighted(bits: LongArray, weights: Any) -> LongArray:
    """Return sums of bits with public weights."""
    column = np.array(weights, object).reshape(-1, *[1] * (bits.ndim - 1))
    return (bits * column).sum(axis=0)


def _bounded(mantissa: LongArray, magnitude: int = 1) -> LongArray:
    """State that mantissas are up to 1, but for rounding."""
    bound = (magnitude << DIGITS) + mantissa.engine.prss.count + 2
    return LongArray(mantissa.engine, mantissa.shares, LongFormat(DIGITS, bound), SHORT)


def _normal_form(found: Any, old: SecretFloat | None, fraction: int) -> SecretFloat:
    one, extra = found
    reach = one.place.format.bound + fraction + (0 if old is None else old.reach)
    zero = _zero_exponent(reach)
    exponent = one.place - one.nonzero * fraction + (one.nonzero - 1) * zero
    if extra is not None:
        exponent = exponent + extra
    exponent = LongArray(exponent.engine, exponent.shares, LongFormat(0, zero), SHORT)
    return SecretFloat(
        one.mantissa,
        exponent,
        reach=reach,
        zero=-zero,
        octaves=1,
        nonzero=one.nonzero,
        below=one.below,
        defined=None if old is None else old.defined,
    )


def _zero_exponent(reach: int) -> int:
    """Return −e for zeros: so low that they are negligible beside any other number."""
    return 1 << max(13, (4 * (reach + DIGITS)).bit_length())


def _renormalised(x: SecretFloat) -> SecretFloat:
    noise = x.engine.prss.count.bit_length() + 4
    # A zero's exponent is no number of the usual range.
    return _normal_form(_leading(x.mantissa, noise, x.exponent), x, DIGITS)


# --- Operations --------------------------------------------------------------------------------------


def times(x: SecretFloat, y: SecretFloat) -> SecretFloat:
    if x.octaves is None and y.octaves is None:
        y = y.normalised()
    if (x.octaves or 0) + (y.octaves or 0) > LOOSE:
        x, y = (z.normalised() if (z.octaves or 0) > 1 else z for z in (x, y))
    octaves = None if x.octaves is None or y.octaves is None else x.octaves + y.octaves
    wanted: list[Any] = [([(x.mantissa, y.mantissa)], DIGITS)]
    names = []
    for name in ("nonzero", "defined"):
        one, other = getattr(x, name), getattr(y, name)
        if one is not None and other is not None:
            wanted.append(([(one, other)], None))
            names.append(name)
    mantissa, *flags = jointly("times", *wanted)
    found = dict(zip(names, flags, strict=True))
    shape = mantissa.shape
    defined = found.get("defined", x.defined if y.defined is None else y.defined)
    return SecretFloat(
        _bounded(mantissa),
        (x.exponent + y.exponent).broadcast_to(shape),
        reach=x.reach + y.reach,
        zero=max(x.zero + y.reach, x.reach + y.zero),
        octaves=octaves,
        nonzero=found.get("nonzero"),
        defined=None if defined is None else defined.broadcast_to(shape),
    )


def reciprocal(x: SecretFloat) -> SecretFloat:
    x = x.loose()
    if x.nonzero is None:
        x = x.normalised()
    k = x.octaves or 0
    (square,) = jointly("square", ([(x.mantissa, x.mantissa)], DIGITS))
    least = Fraction(1, 1 << (2 * k))
    tau = (1 + least) / (1 - least)
    slope = 2 / (1 - least)
    z = _linear(square, -slope, tau).assume(1.01)
    # 1/m = m·(1/m²)
    y = _linear(x.mantissa, slope / tau, Fraction(0))
    while tau < 1 << ACCURACY:
        after = 2 * tau**2 - 1
        alpha = 1 + 1 / after
        growth = _linear(z, alpha / tau, alpha, False)
        wanted: list[Any] = [([(y, growth)], DIGITS)]
        if after < 1 << ACCURACY:
            wanted.append(([(z, z)], DIGITS))
        y, *rest = jointly("reciprocal", *wanted)
        y = y.assume(2.0 ** (k + 1))
        if rest:
            z = (rest[0] * 2 - 1).assume(1.01)
        tau = after
    # y is between 1 and 2^k, for zeros 0.
    mantissa = LongArray(x.engine, y.shares, LongFormat(DIGITS + k, y.format.bound), SHORT).rescale(DIGITS)
    assert x.nonzero is not None
    defined = x.nonzero if x.defined is None else jointly("defined", ([(x.defined, x.nonzero)], None))[0]
    exponent = -x.exponent + k
    return SecretFloat(
        _bounded(mantissa),
        exponent,
        reach=x.reach + k,
        zero=-_zero_exponent(0),
        octaves=k,
        nonzero=x.nonzero,
        defined=defined,
    )


def _linear(x: LongArray, factor: Fraction, plus_: Fraction, round_: bool = True) -> LongArray:
    """Return x·factor + plus with public numbers, to 52 bits more than x has."""
    bits = 52
    scaled = x * round(factor * (1 << bits))
    total = LongArray(
        x.engine, scaled.shares, LongFormat(x.format.fraction + bits, scaled.format.bound), SHORT
    )
    places = total.format.fraction
    shares = SHORT.shift(total.shares, round(plus_ * (1 << places)))
    bound = total.format.bound + abs(round(plus_ * (1 << places)))
    result = LongArray(x.engine, shares, LongFormat(places, bound), SHORT)
    return result.rescale(x.format.fraction) if round_ else result


def square_root(x: SecretFloat) -> SecretFloat:
    x = x.normalised()
    assert x.below is not None
    odd = parity(x.exponent)
    (both,) = jointly("sides", ([(odd, x.below)], None))
    # (1 − odd/2)·(1 − below), in halves.
    factor = LongArray(
        x.engine, (2 - odd - 2 * x.below + both).shares, LongFormat(1, 2), SHORT
    )
    (m,) = jointly("even", ([(x.mantissa, factor)], DIGITS))
    m = m.assume(1.001)
    powers = [m]
    while len(powers) <= DEGREE:
        top = len(powers)
        more = min(top, DEGREE + 1 - top)
        powers += [p.assume(1.001) for p in jointly("powers", *(([(powers[-1], powers[j])], DIGITS) for j in range(more)))]
    coefficients = _inverse_root_polynomial()
    y = _combined([None, *powers[:-1]], coefficients).assume(2.1)
    g = _combined(powers, coefficients).assume(1.1)
    (gy,) = jointly("residual", ([(g, y)], DIGITS))
    e = (1 - gy).assume(0.01)
    (e2,) = jointly("residual", ([(e, e)], DIGITS))
    e3, e4 = jointly("residual", ([(e, e2)], DIGITS), ([(e2, e2)], DIGITS))
    series = e2 * SERIES[2] + e * SERIES[1] + e3 * SERIES[3] + e4 * SERIES[4] + SERIES[0]
    series = LongArray(x.engine, series.shares, LongFormat.of(1.1, DIGITS + 7), SHORT)
    (root,) = jointly("root", ([(g, series)], DIGITS))
    defined = 1 - x.below
    defined = LongArray(x.engine, defined.shares, LongFormat(0, 1), SHORT)
    if x.defined is not None:
        (defined,) = jointly("defined", ([(defined, x.defined)], None))
    exponent = x.exponent + odd
    half = SHORT.scale(exponent.shares, SHORT.constant(1, 2))
    return SecretFloat(
        _bounded(root),
        LongArray(x.engine, half, LongFormat(0, exponent.format.bound // 2 + 1), SHORT),
        reach=x.reach // 2 + 1,
        zero=x.zero // 2 + 1,
        octaves=1,
        nonzero=x.nonzero,
        defined=defined,
    )


def _inverse_root_polynomial() -> list[Fraction]:
    z = chebyshev.chebpts1(DEGREE + 1)
    m = 0.625 + 0.375 * z
    c = polynomial.polyfit(m, m**-0.5, DEGREE)
    return [Fraction(round(one * (1 << 30)), 1 << 30) for one in c.tolist()]


def _combined(powers: Sequence[LongArray | None], coefficients: Sequence[Fraction]) -> LongArray:
    """Return Σ c_k·x_k exactly, where None stands for 1."""
    total: LongArray | None = None
    for power, c in zip(powers, coefficients, strict=True):
        if power is None:
            continue
        scaled = power * int(c * (1 << 30))
        term = LongArray(power.engine, scaled.shares, LongFormat(power.format.fraction + 30, scaled.format.bound), SHORT)
        total = term if total is None else total + term
    assert total is not None
    if powers[0] is None:
        total = total + float(coefficients[0])
    return total


def plus(x: SecretFloat, y: SecretFloat) -> SecretFloat:
    shape = np.broadcast_shapes(x.shape, y.shape)
    x, y = (z.broadcast_to(shape) for z in (x, y))
    margin = DIGITS + 2
    if x.zero > -y.reach - margin or y.zero > -x.reach - margin:
        raise PrecisionError("exponents reach too far")
    engine = x.engine
    d = x.exponent - y.exponent
    tests = negative(long.stack([d, d + DIGITS, DIGITS - d]))
    s, o1, o2 = lengthen(tests, SHORT)
    powers = power_of_two(long.stack([DIGITS - d, d + DIGITS]))
    one = LongFormat(0, 1)
    c1 = LongArray(engine, (1 - s - o2).shares, one, SHORT)
    c2 = LongArray(engine, (s - o1).shares, one, SHORT)
    p1, p2 = (LongArray(engine, powers[i], one, SHORT) for i in range(2))
    wanted: list[Any] = [
        ([(c1, p1), (c2, p2)], None),
        ([(s, y.mantissa - x.mantissa)], None),
        ([(s, y.exponent - x.exponent)], None),
    ]
    if x.defined is not None and y.defined is not None:
        wanted.append(([(x.defined, y.defined)], None))
    unit, move, rise, *rest = jointly("align", *wanted)
    unit = LongArray(engine, unit.shares, LongFormat(DIGITS + 1, 1 << DIGITS), SHORT)
    large = _bounded(x.mantissa + move)
    small = _bounded(y.mantissa - move)
    half = LongArray(engine, large.on.scale(large.shares, large.on.constant(1 << DIGITS)), LongFormat(2 * DIGITS + 1, large.format.bound << DIGITS), SHORT)
    (mantissa,) = _rounded_sum(small, unit, half)
    exponent = x.exponent + rise + 1
    bound = max(x.exponent.format.bound, y.exponent.format.bound) + 1
    if rest:
        defined = rest[0]
    else:
        defined = x.defined if y.defined is None else y.defined
    return SecretFloat(
        _bounded(mantissa),
        LongArray(engine, exponent.shares, LongFormat(0, bound), SHORT),
        reach=max(x.reach, y.reach) + 1,
        zero=max(x.zero, y.zero) + 1,
        defined=defined,
    )


def _rounded_sum(small: LongArray, unit: LongArray, half: LongArray) -> list[LongArray]:
    one = LongArray(small.engine, np.ones_like(small.shares), LongFormat(0, 1), SHORT)
    return jointly("sum", ([(small, unit), (half, one)], DIGITS))


def less(x: SecretFloat, y: SecretFloat, equal: bool = False) -> SecretArray:
    d = plus(x, -y)
    noise = 1 << (d.engine.prss.count.bit_length() + 3)
    unit = LongArray(d.engine, SHORT.shift(np.zeros_like(d.mantissa.shares), noise), LongFormat(DIGITS, noise), SHORT)
    below = negative(d.mantissa - unit) if equal else negative(d.mantissa + unit)
    if d.defined is not None:
        defined = long.narrow(d.defined, bound=1, fraction=0)
        product = below * defined
        below = SecretArray(d.engine, product.shares, BIT)
    return below


def select(condition: SecretArray, x: SecretFloat, y: SecretFloat) -> SecretFloat:
    """Return x where a secret bit is 1, and y where it is 0."""
    if condition.format != BIT:
        raise ValueError("a condition is an array of secret bits")
    shape = np.broadcast_shapes(condition.shape, x.shape, y.shape)
    x, y = (z.broadcast_to(shape) for z in (x, y))
    bit = lengthen(condition, SHORT).broadcast_to(shape)
    one = LongArray(x.engine, np.ones_like(bit.shares), LongFormat(0, 1), SHORT)
    parts: dict[str, tuple[LongArray, LongArray]] = {
        "mantissa": (x.mantissa, y.mantissa),
        "exponent": (x.exponent, y.exponent),
    }
    for name in ("nonzero", "below", "defined"):
        a, b = getattr(x, name), getattr(y, name)
        if name == "defined" and (a is not None or b is not None):
            a, b = a if a is not None else one, b if b is not None else one
        if a is not None and b is not None:
            parts[name] = a, b
    chosen = jointly("select", *(([(bit, a - b)], None) for a, b in parts.values()))
    found = {}
    for (name, (a, b)), moved in zip(parts.items(), chosen, strict=True):
        total = b + moved
        found[name] = LongArray(
            x.engine, total.shares, LongFormat(total.format.fraction, max(a.format.bound, b.format.bound)), SHORT
        )
    octaves = None if x.octaves is None or y.octaves is None else max(x.octaves, y.octaves)
    return SecretFloat(
        reach=max(x.reach, y.reach), zero=max(x.zero, y.zero), octaves=octaves, **found
    )


def absolute(x: SecretFloat) -> SecretFloat:
    x = x.normalised()
    assert x.below is not None
    (m,) = jointly("absolute", ([(x.mantissa, 1 - 2 * x.below)], None))
    result = x._each(lambda part: part)
    result.mantissa = _bounded(m)
    result.below = x.below * 0
    return result


def parity(x: LongArray) -> LongArray:
    """Return the lowest bit of integers."""
    one, other = complement_addends(x)
    ours = pieces(~(one[:1] ^ other[:1]))
    bits = to_field(x.engine, ours, x.size)[0]
    return lengthen(SecretArray(x.engine, bits.reshape(*x.shape, 2), BIT), SHORT)


def power_of_two(x: LongArray) -> Any:
    """Return shares of 2^x modulo every prime, for integers of either sign."""
    engine, on, domain, size = x.engine, x.on, Domain(x.on), x.size
    bits = x.format.bound.bit_length()
    summands = draw_masks(engine, engine.step("power mask"), on, size, bits, 1 << bits)
    last = tuple(range(engine.t + 1, engine.n + 1))
    known = [0] * size
    for held, words in summands:
        if held.leads or held.subset == last:
            for i, row in enumerate(words.tolist()):
                known[i] += sum(word << (64 * l) for l, word in enumerate(row))
    factors = np.array([[pow(2, -s, p) for s in known] for p in on.primes], np.uint64)
    step = engine.step("deal powers")
    receive = deal(engine, step, range(engine.t), factors if engine.point <= engine.t else None, size, domain)
    dealt = list(receive())
    engine.party.mesh.traffic.rounds += 1
    masked = open_masked(engine, "exponent", on, x.shares, bits, summands)
    if engine.point > engine.t:
        dealt.append(on.scale(factors, at_point(engine.n, last, engine.point, on)))
    else:
        dealt.append(np.zeros_like(factors))
    (power,) = products(engine, "power", on, dealt)
    opened = [
        sum(word << (64 * l) for l, word in enumerate(row)) - masked.offset for row in masked.opened.tolist()
    ]
    scale = np.array([[pow(2, c, p) for c in opened] for p in on.primes], np.uint64)
    return on.mul(power, scale).reshape(len(on), *x.shape).swapaxes(0, 1)


def _operand(x: SecretFloat, other: Any) -> SecretFloat:
    return other if isinstance(other, SecretFloat) else constant(x.engine, other)


def _axis_first(x: SecretFloat, axis: int) -> SecretFloat:
    first = range(x.ndim)[axis]
    return x.transpose(first, *(other for other in range(x.ndim) if other != first))


def concatenate(arrays: Sequence[SecretFloat], axis: int = 0) -> SecretFloat:
    return _joined(arrays, lambda parts: long.concatenate(parts, axis))


def stack(arrays: Sequence[SecretFloat], axis: int = 0) -> SecretFloat:
    return _joined(arrays, lambda parts: long.stack(parts, axis))


def _joined(arrays: Sequence[SecretFloat], join: Callable[[list[LongArray]], LongArray]) -> SecretFloat:
    def of(name: str) -> LongArray | None:
        parts = [getattr(array, name) for array in arrays]
        if name == "defined" and any(part is not None for part in parts):
            parts = [
                LongArray(a.engine, np.ones_like(a.mantissa.shares), LongFormat(0, 1), SHORT) if p is None else p
                for a, p in zip(arrays, parts, strict=True)
            ]
        return None if any(part is None for part in parts) else join(parts)

    octaves = [array.octaves for array in arrays]
    return SecretFloat(
        of("mantissa"),  # type: ignore[arg-type]
        of("exponent"),  # type: ignore[arg-type]
        reach=max(a.reach for a in arrays),
        zero=max(a.zero for a in arrays),
        octaves=None if any(o is None for o in octaves) else max(octaves),  # type: ignore[type-var]
        nonzero=of("nonzero"),
        below=of("below"),
        defined=of("defined"),
    )


# --- Numbers out -------------------------------------------------------------------------------------


def rounded(arrays: Sequence[SecretFloat], digits: int) -> SecretArray:
    """Return secret integers that make up arrays in a row, rounded, ready to be opened.

    Parameters
    ----------
    arrays
        Of any shapes.
    digits
        Bits of the rounded mantissas.

    Returns
    -------
    SecretArray
        Shape ``(size,)``: m·2^digits + e·2^(digits + SPARE), with ½ ≤ |m| ≤ 1, and m = 2 for what is undefined;
        see `compose`.
    """
    if not 0 < digits <= 52:
        raise ValueError("floats are opened with between 1 and 52 bits")
    x = _renormalised(concatenate([array.ravel() for array in arrays]))
    engine, nonzero = x.engine, x.nonzero
    assert nonzero is not None
    if x.defined is not None:
        (nonzero,) = jointly("defined", ([(nonzero, x.defined)], None))
    exponent = LongArray(
        engine, x.exponent.shares, LongFormat(0, x.reach), SHORT
    )  # that of zeros is multiplied by 0
    packed = x.mantissa + exponent * (1 << SPARE)
    (packed,) = jointly("rounded", ([(packed, nonzero)], None))
    if x.defined is not None:
        packed = packed + (1 - x.defined) * 2
    drop = DIGITS - digits
    packed = packed + 0.5**(digits + 1)
    packed = LongArray(engine, packed.shares, LongFormat(DIGITS, packed.format.bound), SHORT)
    masked = open_masked(engine, "round", SHORT, packed.shares, packed.format.bound.bit_length())
    one, other = complement_addends(packed, masked)
    low = pieces(~add(one[:drop], other[:drop]))
    weights = np.array([1 << bit for bit in range(drop)], object)
    rest = weights @ SecretArray(engine, to_field(engine, low, x.size))
    upper = field.sub(masked.fixed_point(engine, 0, Format()).shares, rest.shares)
    shares = field.mul(upper, field.from_ints(np.array(pow(1 << drop, -1, field.P), object)))
    return SecretArray(engine, shares, Format(0, packed.format.bound >> drop))


def compose(opened: NDArray[Any], digits: int) -> NDArray[np.float64]:
    """Return the floats that opened integers make up; see `rounded`. Undefined ones are NaN."""
    half = 1 << (digits + SPARE - 1)
    out = np.empty(opened.shape)
    for position, value in enumerate(opened.ravel().tolist()):
        exponent, mantissa = divmod(int(value) + half, 2 * half)
        mantissa -= half
        beyond = mantissa > 1 << digits
        with np.errstate(over="ignore", under="ignore"):
            out.flat[position] = math.nan if beyond else np.ldexp(float(mantissa), exponent - digits)
    return out




# --- For both kinds ----------------------------------------------------------------------------------


def sqrt(x: Any) -> Any:
    """Return √x of secret floats, or as NumPy does."""
    return x.sqrt() if isinstance(x, SecretFloat) else np.sqrt(x)


def where(condition: Any, x: Any, y: Any) -> Any:
    """Return x where a condition holds, else y: secret, or as NumPy does."""
    if not isinstance(condition, SecretArray):
        return np.where(condition, x, y)
    like = x if isinstance(x, SecretFloat) else y
    if not isinstance(like, SecretFloat):
        like = constant(condition.engine, 0.0)
    return select(condition, _operand(like, x), _operand(like, y))


def maximum(x: Any, y: Any) -> Any:
    """Return the larger one: secret, or as NumPy does."""
    if not (isinstance(x, SecretFloat) or isinstance(y, SecretFloat)):
        return np.maximum(x, y)
    return where(x < y, y, x)


def minimum(x: Any, y: Any) -> Any:
    """Return the smaller one: secret, or as NumPy does."""
    if not (isinstance(x, SecretFloat) or isinstance(y, SecretFloat)):
        return np.minimum(x, y)
    return where(y < x, y, x)
