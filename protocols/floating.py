"""`SecretFloat`: secret numbers of any magnitude, for formulas whose ranges nobody chooses.

A number is m·2^e with a secret mantissa m and a secret exponent e, both shared modulo a Q of five primes.
What statistics are made of, ratios and roots of sums of powers, is so computed with one relative error over
the whole range, as with floats, and by the same formulas:

    (m1 - m2) / sqrt(v1 / n1 + v2 / n2)

runs on arrays of NumPy and on secret floats alike, with `sqrt`, `where`, `maximum` and `minimum` from here.

**Accuracy.** For 3 to 10 parties: one product, quotient or square root is off by less than 2^−40 of the
result, a sum by less than 2^−52 of its larger operand; of the largest term, where sums are added up.
Differences smaller than that are zero. Mantissas are normalised when a divisor or a root needs it, not
before.

**Undefined.** x/0 and √−1 are NaN when they are revealed, and so is all that is computed from them, but for
what `where` does not choose; comparisons with them are 0. That is all that is learnt: on shares nothing
branches.

**Security.** Whatever is opened within is hidden by uniform masks, or to a statistical distance of 2^−κ each,
κ = `Engine.security`, from any t passive colluders. Openings of degree t, of leading digits, exponents,
comparisons and results, are checked as by `opening`; those of products, of degree 2t, cannot be.

**Rounds.** Thirteen normalise a number, seven more divide or take a root, eleven add: one after the other
they count, in one array they do not. So `stack` what is alike, take roots of what `floating` made before it
is divided, since it is normalised, and do in `LongArray` what is made of sums and products alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, NoReturn, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols import float_arithmetic as arithmetic
from protocols import long
from protocols.compare import BIT
from protocols.digits import (
    DIGITS,
    OCTAVES,
    SHORT,
    Leading,
    leading_digits,
    noise_bits,
    read,
    rounded_digits,
    unit,
)
from protocols.engine import Engine
from protocols.long import LongArray, LongFormat, jointly, lengthen
from protocols.secret import SecretArray

#: Optional parts of a number.
_FLAGS = ("nonzero", "below", "odd", "undefined")


class SecretFloat:
    """Shares of an array of floating-point numbers, one party's part of it.

    Made by `floating` of other secrets, or `constant` of public numbers, and by arithmetic.

    Parameters
    ----------
    mantissa, exponent
        m, with `DIGITS` fractional bits, |m| ≤ 1 but for rounding; and e.
    reach
        Public: largest |e| of numbers other than zero.
    zero
        Public: the exponent of zeros is no larger. They are negligible beside any other number.
    octaves
        Public: |m| ≥ 2^−octaves, or it is zero. None if that is not known, as for sums; the following parts
        are then None, too.
    nonzero
        Secret bits.
    below, odd
        Of normalised numbers; see `digits.Leading`.
    undefined
        Secret: for how many reasons a number is not defined. None if there can be none.

    Notes
    -----
    **Broadcasting**, indexing and shapes are NumPy's. **Public operands** are numbers and arrays, taken as
    float64.
    """

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]  # as NumPy's arrays

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
        odd: LongArray | None = None,
        undefined: LongArray | None = None,
    ) -> None:
        shape = mantissa.shape

        def full(part: LongArray | None) -> LongArray | None:
            return part if part is None or part.shape == shape else part.broadcast_to(shape)

        self.engine = mantissa.engine
        self.mantissa = mantissa
        self.exponent = exponent if exponent.shape == shape else exponent.broadcast_to(shape)
        self.reach = reach
        self.zero = zero
        self.octaves = octaves
        self.nonzero, self.below, self.odd = (full(one) for one in (nonzero, below, odd))
        self.undefined = full(undefined)
        self._normal: SecretFloat | None = None if odd is None else self

    # --- Shape ---------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self.mantissa.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.mantissa.ndim

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.mantissa.size

    @property
    def T(self) -> SecretFloat:  # noqa: N802  (NumPy's name)
        """Axes in reverse order."""
        return self.transpose()

    def __len__(self) -> int:
        return len(self.mantissa)

    def __iter__(self) -> Iterator[SecretFloat]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> SecretFloat:
        return self._each(lambda part: part[index])

    def reshape(self, *shape: Any) -> SecretFloat:
        """Return the entries in another shape."""
        return self._each(lambda part: part.reshape(*shape))

    def ravel(self) -> SecretFloat:
        """Return the entries in a row."""
        return self.reshape(self.size)

    def transpose(self, *axes: int) -> SecretFloat:
        """Permute the axes; reverse them by default."""
        return self._each(lambda part: part.transpose(*axes))

    def broadcast_to(self, shape: tuple[int, ...]) -> SecretFloat:
        """Return a read-only view with repeated entries."""
        return self._each(lambda part: part.broadcast_to(shape))

    # --- Arithmetic ----------------------------------------------------------------------------------

    def __neg__(self) -> SecretFloat:
        return self.replace(mantissa=-self.mantissa)

    def __abs__(self) -> SecretFloat:
        x = self.normalised()
        (mantissa,) = jointly("absolute", ([(x.mantissa, 1 - 2 * arithmetic.given(x.below))], None))
        return x.replace(mantissa=unit(mantissa))

    def __add__(self, other: Any) -> SecretFloat:
        return arithmetic.plus(self, self._operand(other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> SecretFloat:
        return arithmetic.plus(self, -self._operand(other))

    def __rsub__(self, other: Any) -> SecretFloat:
        return arithmetic.plus(self._operand(other), -self)

    def __mul__(self, other: Any) -> SecretFloat:
        if isinstance(other, SecretFloat):
            return arithmetic.times(self, other)
        return self._scaled(_fractions(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> SecretFloat:
        if isinstance(other, SecretFloat):
            return arithmetic.quotient(self, other)
        divisors = _fractions(other)
        if not divisors.all():
            raise ZeroDivisionError("a public divisor is zero")
        return self._scaled(np.asarray(1 / divisors, object))

    def __rtruediv__(self, other: Any) -> SecretFloat:
        return arithmetic.quotient(self._operand(other), self)

    def __pow__(self, power: float) -> SecretFloat:
        """Return a public power, of a whole or half number."""
        twice = round(2 * power)
        if twice != 2 * power:
            raise ValueError("powers are those of whole and half numbers")
        if twice < 0:
            return 1 / self**-power
        result = self.sqrt() if twice & 1 else None
        square, rest = self, twice >> 1
        while rest:
            if rest & 1:
                result = square if result is None else result * square
            rest >>= 1
            square = square * square if rest else square
        return self._operand(np.ones(self.shape)) if result is None else result

    def sqrt(self) -> SecretFloat:
        """Return the square root; see `float_arithmetic.square_root`."""
        return arithmetic.square_root(self)

    def reciprocal(self) -> SecretFloat:
        """Return 1/x; see `float_arithmetic.quotient`."""
        return 1 / self

    def square(self) -> SecretFloat:
        """Return x·x."""
        return self * self

    def sum(self, axis: int | None = None) -> SecretFloat:
        """Return the sums over an axis, over all entries by default.

        They are added up in pairs, pairs of pairs and so on: ⌈log2 m⌉ times the rounds of one sum for m
        terms.
        """
        rest = self.ravel() if axis is None else self._first(axis)
        if not len(rest):
            return constant(self.engine, np.zeros(rest.shape[1:]))
        while len(rest) > 1:
            half = len(rest) // 2
            joined = rest[:half] + rest[half : 2 * half]
            rest = concatenate([joined, rest[2 * half :]]) if len(rest) % 2 else joined
        return rest[0]

    # --- Comparisons ---------------------------------------------------------------------------------

    def __lt__(self, other: Any) -> SecretArray:
        return arithmetic.less(self, self._operand(other))

    def __gt__(self, other: Any) -> SecretArray:
        return arithmetic.less(self._operand(other), self)

    def __le__(self, other: Any) -> SecretArray:
        return arithmetic.less(self, self._operand(other), equal=True)

    def __ge__(self, other: Any) -> SecretArray:
        return arithmetic.less(self._operand(other), self, equal=True)

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("secret floats are rounded: compare their difference with a tolerance")

    # --- Other forms ---------------------------------------------------------------------------------

    def normalised(self) -> SecretFloat:
        """Return the same numbers with ¼ ≤ |m| ≤ 1, or m = 0, and all parts; see `digits.leading_digits`."""
        if self._normal is None:
            found = leading_digits(self.mantissa, self.exponent, noise_bits(self.engine))
            self._normal = _assembled(found, DIGITS, self.reach, self.undefined)
        return self._normal

    def normalised_with(self, other: SecretFloat) -> tuple[SecretFloat, SecretFloat]:
        """Normalise two arrays in the same rounds."""
        if self is not other and self._normal is None and other._normal is None:
            both = concatenate([self.ravel(), other.ravel()]).normalised()
            for one, part in ((self, both[: self.size]), (other, both[self.size :])):
                one._normal = part.reshape(one.shape)
                one._normal.undefined = one.undefined
        return self.normalised(), other.normalised()

    def lowered(self, reach: int) -> SecretFloat:
        """Return the same numbers, the exponents of zeros so far below −reach that they are negligible."""
        x = self if self.octaves is not None else self.normalised()
        fall = max(0, x.zero + reach)
        exponent = x.exponent - (1 - arithmetic.given(x.nonzero)) * fall
        return x.replace(exponent=exponent, zero=x.zero - fall)

    def replace(self, **changes: Any) -> SecretFloat:
        """Return the numbers with some parts changed; what only a normalised number has is lost."""
        kept = {name: getattr(self, name) for name in ("mantissa", "exponent", "reach", "zero", "octaves")}
        kept |= {"nonzero": self.nonzero, "undefined": self.undefined}
        return SecretFloat(**(kept | changes))

    def _each(self, view: Callable[[LongArray], LongArray]) -> SecretFloat:
        """Return what a change of shape makes of all parts."""
        flags = {name: getattr(self, name) for name in _FLAGS}
        return SecretFloat(
            view(self.mantissa),
            view(self.exponent),
            reach=self.reach,
            zero=self.zero,
            octaves=self.octaves,
            **{name: None if part is None else view(part) for name, part in flags.items()},
        )

    def _operand(self, other: Any) -> SecretFloat:
        return other if isinstance(other, SecretFloat) else constant(self.engine, other)

    def _scaled(self, factors: NDArray[np.object_]) -> SecretFloat:
        """Multiply by public fractions: powers of two locally, others in one round."""
        powers = [_power_of_two(factor) for factor in factors.ravel().tolist()]
        shape = np.broadcast_shapes(self.shape, factors.shape)
        if any(power is None for power in powers):
            return arithmetic.times(self, _of_fractions(self.engine, factors))
        rises = np.array(powers, object).reshape(factors.shape)
        signs = np.array([1 if factor > 0 else -1 for factor in factors.ravel()], np.int64)
        far = max((abs(rise) for rise in powers if rise is not None), default=0)
        return self.broadcast_to(shape).replace(
            mantissa=unit(self.mantissa * signs.reshape(factors.shape)),
            exponent=self.exponent + rises,
            reach=self.reach + far,
            zero=self.zero + far,
        )

    def _first(self, axis: int) -> SecretFloat:
        first = range(self.ndim)[axis]
        return self.transpose(first, *(other for other in range(self.ndim) if other != first))

    # --- What would leak or mislead ------------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TypeError("a secret is no array of numbers; reveal it, or compute on it as it is")

    def __bool__(self) -> NoReturn:
        raise TypeError("a secret cannot decide what the program does; use where")

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("shares are secret and belong to a session: they cannot be copied or stored")

    def __repr__(self) -> str:
        return f"<SecretFloat of shape {self.shape}>"


# --- Numbers in and out ------------------------------------------------------------------------------


def floating(x: LongArray | SecretArray) -> SecretFloat:
    """Return fixed-point numbers as floats; zero is exact.

    Notes
    -----
    **Leakage**, **Accuracy**, **Cost**: see `digits.leading_digits`; 15 to 17 rounds for three parties and
    numbers of 128 to 1,000 bits, and one more for numbers over F_p.
    """
    if isinstance(x, SecretArray):
        x = lengthen(x, SHORT)
    return _assembled(leading_digits(x, -x.format.fraction, 0), 0, x.format.fraction, None)


def constant(engine: Engine, values: ArrayLike) -> SecretFloat:
    """Return public numbers as secret floats. Local."""
    return _of_fractions(engine, _fractions(values))


def fixed(x: SecretFloat, *, bound: float, fraction: int, least: float | None = None) -> LongArray:
    """Return floats as long fixed-point numbers; see `float_arithmetic.to_fixed_point`."""
    return arithmetic.to_fixed_point(x, bound=bound, fraction=fraction, least=least)


def inverse_root_power(x: SecretFloat, *, least: float, fraction: int) -> LongArray:
    """Return powers of two near 1/√x of positive numbers; see `float_arithmetic.inverse_root_power`."""
    return arithmetic.inverse_root_power(x, least=least, fraction=fraction)


def rounded(arrays: Sequence[SecretFloat], digits: Sequence[int]) -> SecretArray:
    """Return secret integers that make up arrays in a row, each rounded to its bits, for `reveal` to open.

    **Leakage** and **Cost**: see `digits.rounded_digits`; what is opened depends on the numbers, and not on
    how they were computed.
    """
    if not all(0 < one <= 52 for one in digits):
        raise ValueError("floats are opened with between 1 and 52 bits")
    x = concatenate([array.ravel() for array in arrays])
    each = np.repeat(digits, [array.size for array in arrays])
    return rounded_digits(x.mantissa, x.exponent, x.undefined, noise_bits(x.engine), each)


def _assembled(found: Leading, lower: int, reach: int, undefined: LongArray | None) -> SecretFloat:
    """Put a number together of what was found, its exponent less a public number."""
    reach = reach + found.place.format.bound + lower
    zero = _zero_exponent(reach)
    exponent = found.exponent + found.place - lower * found.nonzero - zero * (1 - found.nonzero)
    return SecretFloat(
        found.mantissa,
        read(exponent, LongFormat(0, zero)),
        reach=reach,
        zero=-zero,
        octaves=OCTAVES,
        nonzero=found.nonzero,
        below=found.below,
        odd=found.odd,
        undefined=undefined,
    )


def _zero_exponent(reach: int) -> int:
    """Return −e for zeros, a power of two: so low that they are negligible beside products of others."""
    return 1 << max(13, (4 * (reach + DIGITS)).bit_length())


def _fractions(values: ArrayLike) -> NDArray[np.object_]:
    """Return public numbers as fractions."""
    array = np.asarray(values, float)
    if not np.all(np.isfinite(array)):
        raise ValueError("public numbers are finite")
    out = np.empty(array.size, object)
    out[:] = [Fraction(value) for value in array.ravel().tolist()]
    return out.reshape(array.shape)


def _power_of_two(value: Fraction) -> int | None:
    """Return e for 2^e and −2^e, None for other fractions."""
    numerator = abs(value.numerator)
    if not numerator or numerator & (numerator - 1) or value.denominator & (value.denominator - 1):
        return None
    return numerator.bit_length() - value.denominator.bit_length()


def _of_fractions(engine: Engine, values: NDArray[np.object_]) -> SecretFloat:
    """Return public fractions, rounded to `DIGITS` bits."""
    parts = []
    for value in values.ravel().tolist():
        e = abs(value.numerator).bit_length() - value.denominator.bit_length() + 1
        m = value / Fraction(2) ** e  # between ¼ and 1
        parts.append((round(m * (1 << DIGITS)), e))
    reach = max((abs(e) for m, e in parts if m), default=0)
    zero = _zero_exponent(reach)

    def of(numbers: list[int], fraction: int, bound: int) -> LongArray:
        array = np.array(numbers, object).reshape(values.shape)
        return LongArray(engine, SHORT.residues(array), LongFormat(fraction, bound), SHORT)

    return SecretFloat(
        of([m for m, _ in parts], DIGITS, 1 << DIGITS),
        of([e if m else -zero for m, e in parts], 0, zero),
        reach=reach,
        zero=-zero,
        octaves=OCTAVES,
        nonzero=of([m != 0 for m, _ in parts], 0, 1),
        below=of([m < 0 for m, _ in parts], 0, 1),
        odd=of([m != 0 and e % 2 for m, e in parts], 0, 1),
    )


# --- Several arrays ----------------------------------------------------------------------------------


def select(condition: SecretArray, x: SecretFloat, y: SecretFloat) -> SecretFloat:
    """Return x where a secret bit is 1, and y where it is 0.

    Notes
    -----
    **Leakage.** Nothing; see `wide.lift` and `wide.Round`. **Cost.** Two rounds.
    """
    if condition.format != BIT:
        raise ValueError("a condition is an array of secret bits")
    shape = np.broadcast_shapes(condition.shape, x.shape, y.shape)
    bit = lengthen(condition, SHORT).broadcast_to(shape)
    parts = _common([x.broadcast_to(shape), y.broadcast_to(shape)])
    moves = jointly("select", *(([(bit, a - b)], None) for a, b in parts.values()))
    chosen = {
        name: read(b + move, LongFormat(move.format.fraction, max(a.format.bound, b.format.bound)))
        for (name, (a, b)), move in zip(parts.items(), moves, strict=True)
    }
    return SecretFloat(**chosen, **_ranges([x, y]))  # type: ignore[arg-type]


def concatenate(arrays: Sequence[SecretFloat], axis: int = 0) -> SecretFloat:
    """Join arrays along an axis."""
    joined = {name: long.concatenate(parts, axis) for name, parts in _common(arrays).items()}
    return SecretFloat(**joined, **_ranges(arrays))  # type: ignore[arg-type]


def stack(arrays: Sequence[SecretFloat], axis: int = 0) -> SecretFloat:
    """Join arrays along a new axis."""
    joined = {name: long.stack(parts, axis) for name, parts in _common(arrays).items()}
    return SecretFloat(**joined, **_ranges(arrays))  # type: ignore[arg-type]


def parts(x: SecretFloat, sizes: Mapping[str, int]) -> dict[str, SecretFloat]:
    """Cut a vector into pieces with labels, one after the other."""
    ends = np.cumsum(list(sizes.values())).tolist()
    return {label: x[end - size : end] for (label, size), end in zip(sizes.items(), ends, strict=True)}


def _common(arrays: Sequence[SecretFloat]) -> dict[str, list[LongArray]]:
    """Return the parts that all arrays have; a count of reasons, if any has one."""
    parts = {name: [getattr(one, name) for one in arrays] for name in ("mantissa", "exponent", *_FLAGS)}
    if any(part is not None for part in parts["undefined"]):
        parts["undefined"] = [
            0 * one.exponent if part is None else part
            for one, part in zip(arrays, parts["undefined"], strict=True)
        ]
    return {name: found for name, found in parts.items() if all(part is not None for part in found)}


def _ranges(arrays: Sequence[SecretFloat]) -> dict[str, int | None]:
    """Return the public ranges of arrays taken together."""
    octaves = [one.octaves for one in arrays if one.octaves is not None]
    return {
        "reach": max(one.reach for one in arrays),
        "zero": max(one.zero for one in arrays),
        "octaves": max(octaves) if len(octaves) == len(arrays) else None,
    }


# --- For both kinds ----------------------------------------------------------------------------------


def sqrt(x: Any) -> Any:
    """Return √x of secret floats, or as NumPy does."""
    return x.sqrt() if isinstance(x, SecretFloat) else np.sqrt(x)


def where(condition: Any, x: Any, y: Any) -> Any:
    """Return x where a condition holds, else y: of a secret condition secret floats, or as NumPy does."""
    if not isinstance(condition, SecretArray):
        return np.where(condition, x, y)
    left, right = (one if isinstance(one, SecretFloat) else constant(condition.engine, one) for one in (x, y))
    return select(condition, left, right)


def maximum(x: Any, y: Any) -> Any:
    """Return the larger one: of secret floats, or as NumPy does."""
    return where(x < y, y, x) if _any_secret(x, y) else np.maximum(x, y)


def minimum(x: Any, y: Any) -> Any:
    """Return the smaller one: of secret floats, or as NumPy does."""
    return where(x > y, y, x) if _any_secret(x, y) else np.minimum(x, y)


def _any_secret(x: Any, y: Any) -> bool:
    return isinstance(x, SecretFloat) or isinstance(y, SecretFloat)
