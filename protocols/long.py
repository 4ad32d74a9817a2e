"""`LongArray`: secret fixed-point numbers modulo a long Q, for statistics whose ranges nobody chooses.

The 126 bits of F_p hold a product of two measurements, not n·Σx⁴. Modulo a Q of some 1,250 bits (`crt`), sums
of powers of numbers up to 2^64 with 64 fractional bits are exact, and so is what is computed of them by sums
and products: nothing is rounded, and nobody needs to know how large anything is. A number takes 168 bytes;
this is for pooled sums, not for rows.

**Formats.** As with `fixed.Format`, an integer m stands for m·2^−f, and f and a bound on |m| are public. A
sum has the finer fraction of its operands, a product the sum of both: exact. Public floats are taken as the
fractions that they are. What might not fit is refused before anything is sent; `rescale` drops fractional
bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from operator import index
from typing import Any, NoReturn, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols import field
from protocols.adder import all_pieces, carry_pieces
from protocols.bits import Bits, pieces
from protocols.bits import concatenate as join_planes
from protocols.compare import BIT
from protocols.convert import to_field
from protocols.crt import Residues, Ring, ring
from protocols.dealing import deal
from protocols.engine import Engine
from protocols.errors import PrecisionError, RangeError
from protocols.fixed import Format
from protocols.masked import addends, length_of
from protocols.secret import SecretArray
from protocols.wide import (
    Masked,
    Modulo,
    Pending,
    Round,
    capacity,
    lift,
    multiplied,
    multiplied_matrices,
    open_masked,
)

#: The ring of numbers that are shared as long ones: Q has 21 primes.
LONG: Ring = ring(1200)


#: Pairs of factors whose products are summed, and the fraction to which the sum is rounded; None: not at all.
Products: TypeAlias = "tuple[Sequence[tuple[LongArray, LongArray]], int | None]"


@dataclass(frozen=True)
class LongFormat:
    """How shared integers are read: m stands for m·2^−fraction, and |m| ≤ bound. Both are public."""

    fraction: int
    bound: int

    @classmethod
    def of(cls, bound: float, fraction: int) -> LongFormat:
        """Return the format of numbers up to a magnitude, with so many fractional bits."""
        if not (math.isfinite(bound) and bound >= 0 and fraction >= 0):
            raise ValueError("a public bound is finite and not negative, and so are fractional bits")
        return cls(fraction, math.ceil(Fraction(bound) * (1 << fraction)))

    @property
    def magnitude(self) -> float:
        """Largest number; infinite beyond the largest float."""
        try:
            return float(Fraction(self.bound, 1 << self.fraction))
        except OverflowError:
            return math.inf

    def finer(self, fraction: int) -> LongFormat:
        """Return the format with so many fractional bits, no fewer."""
        return LongFormat(fraction, self.bound << (fraction - self.fraction))

    def plus(self, other: LongFormat) -> LongFormat:
        """Return the format of a sum; both have the same fractional bits."""
        return LongFormat(self.fraction, self.bound + other.bound)

    def times(self, other: LongFormat, terms: int = 1) -> LongFormat:
        """Return the format of a sum of so many products."""
        return LongFormat(self.fraction + other.fraction, terms * self.bound * other.bound)

    def rounded(self, engine: Engine, fraction: int) -> LongFormat:
        """Return the format after masked rounding to fewer fractional bits."""
        return LongFormat(fraction, (self.bound >> (self.fraction - fraction)) + engine.prss.count // 2 + 2)


class LongArray:
    """Shares of an array of numbers modulo a long Q, one party's part of it.

    Parameters
    ----------
    engine
        The computation that it belongs to.
    shares
        Shape ``(primes, *shape)``: this party's shares, of degree t.
    format
        How the shared integers are read.
    on
        The ring that they are residues in.

    Raises
    ------
    PrecisionError
        Numbers up to the bound are too long to be masked in this ring.

    Notes
    -----
    **Broadcasting**, indexing and shapes are NumPy's; sums and public factors are local, and everything is
    exact. A product of secrets, matrix products included, takes one round and a number of the *result* to
    each peer.
    """

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]  # as NumPy's arrays

    def __init__(
        self,
        engine: Engine,
        shares: Residues,
        format: LongFormat,  # noqa: A002
        on: Ring = LONG,
    ) -> None:
        if shares.dtype != np.uint64 or shares.ndim < 1 or len(shares) != len(on):
            raise ValueError("shares are residues, of shape (primes, *shape)")
        require_room(engine, on, format)
        self.engine = engine
        self.shares = shares
        self.format = format
        self.on = on

    # --- Shape ---------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self.shares.shape[1:]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.shares.ndim - 1

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def T(self) -> LongArray:  # noqa: N802  (NumPy's name)
        """Axes in reverse order."""
        return self.transpose()

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a secret scalar has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[LongArray]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> LongArray:
        items = index if isinstance(index, tuple) else (index,)
        return self._with(self.shares[(slice(None), *items)])

    def reshape(self, *shape: Any) -> LongArray:
        """Return the entries in another shape."""
        wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        like = np.broadcast_to(np.False_, self.shape).reshape(wanted)
        return self._with(self.shares.reshape(len(self.on), *like.shape))

    def ravel(self) -> LongArray:
        """Return the entries in a row."""
        return self.reshape(self.size)

    def transpose(self, *axes: int) -> LongArray:
        """Permute the axes; reverse them by default."""
        order = [range(self.ndim)[axis] for axis in axes] or range(self.ndim)[::-1]
        return self._with(self.shares.transpose(0, *(axis + 1 for axis in order)))

    def broadcast_to(self, shape: tuple[int, ...]) -> LongArray:
        """Return a read-only view with repeated entries."""
        return self._with(spread(self.shares, shape))

    # --- Formats -------------------------------------------------------------------------------------

    def assume(self, bound: float) -> LongArray:
        """Return the same numbers with a tighter public bound, which the caller knows to hold."""
        return self._with(self.shares, LongFormat.of(bound, self.format.fraction))

    def rescale(self, fraction: int) -> LongArray:
        """Return the numbers with so many fractional bits: more for nothing, fewer by rounding.

        Notes
        -----
        **Accuracy.** Rounding is unbiased, with an error below (C(n, t) + 1)/2 units in the last place.
        **Leakage.** Nothing; see `wide.open_masked`. **Cost.** One round to round.
        """
        if fraction == self.format.fraction:
            return self
        if fraction > self.format.fraction:
            return self._with(
                self._scaled(1 << (fraction - self.format.fraction)), self.format.finer(fraction)
            )
        drop = self.format.fraction - fraction
        bits = mask_bits(self.engine, self.on, self.format, drop)
        masked = open_masked(self.engine, "rescale", self.on, unbiased(self, drop), bits)
        shares = masked.shifted(self.engine, self.on, drop)
        return self._with(shares, self.format.rounded(self.engine, fraction))

    # --- Sums ----------------------------------------------------------------------------------------

    def __add__(self, other: LongArray | ArrayLike) -> LongArray:
        left, right = _aligned(self, other)
        return left._with(self.on.add(*_spread(left, right)), left.format.plus(right.format))

    __radd__ = __add__

    def __sub__(self, other: LongArray | ArrayLike) -> LongArray:
        left, right = _aligned(self, other)
        return left._with(self.on.sub(*_spread(left, right)), left.format.plus(right.format))

    def __rsub__(self, other: ArrayLike) -> LongArray:
        return -self + other

    def __neg__(self) -> LongArray:
        return self._with(self.on.sub(np.zeros_like(self.shares), self.shares))

    def sum(self, axis: int | tuple[int, ...] | None = None) -> LongArray:
        """Return sums over axes, over all by default. Local."""
        axes = range(self.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        wanted = sorted({range(self.ndim)[one] for one in axes})
        kept = [one for one in range(self.ndim) if one not in wanted]
        moved = self.transpose(*kept, *wanted) if self.ndim else self
        shape = tuple(self.shape[one] for one in kept)
        terms = math.prod(self.shape[one] for one in wanted)
        shares = self.on.sum(moved.shares.reshape(len(self.on), *shape, terms))
        return self._with(shares, LongFormat(self.format.fraction, self.format.bound * terms))

    # --- Products ------------------------------------------------------------------------------------

    def __mul__(self, other: LongArray | ArrayLike) -> LongArray:
        if isinstance(other, LongArray):
            return multiply(self, other)
        factor = public(self.engine, other, self.on)
        return self._with(self.on.mul(*_spread(self, factor)), self.format.times(factor.format))

    __rmul__ = __mul__

    def __matmul__(self, other: LongArray | ArrayLike) -> LongArray:
        if isinstance(other, LongArray):
            return matmul(self, other)
        return _matrix_product(self, public(self.engine, other, self.on))

    def __rmatmul__(self, other: ArrayLike) -> LongArray:
        return _matrix_product(public(self.engine, other, self.on), self)

    # --- Comparisons ---------------------------------------------------------------------------------

    def __lt__(self, other: LongArray | ArrayLike) -> SecretArray:
        return negative(self - other)

    def __gt__(self, other: LongArray | ArrayLike) -> SecretArray:
        return negative(-self + other)

    def __le__(self, other: LongArray | ArrayLike) -> SecretArray:
        return complement(self > other)

    def __ge__(self, other: LongArray | ArrayLike) -> SecretArray:
        return complement(self < other)

    def __eq__(self, other: LongArray | ArrayLike) -> SecretArray:  # type: ignore[override]  # as NumPy's
        return is_zero(self - other)

    def __ne__(self, other: LongArray | ArrayLike) -> SecretArray:  # type: ignore[override]
        return complement(self == other)

    # --- Helpers -------------------------------------------------------------------------------------

    def _with(self, shares: Residues, format: LongFormat | None = None) -> LongArray:  # noqa: A002
        return LongArray(self.engine, shares, format or self.format, self.on)

    def _scaled(self, factor: int) -> Residues:
        return self.on.scale(self.shares, self.on.constant(factor))

    # --- What would leak or mislead ------------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TypeError("a secret is no array of numbers; compute on it as it is")

    def __bool__(self) -> NoReturn:
        raise TypeError("a secret cannot decide what the program does; use select")

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("shares are secret and belong to a session: they cannot be copied or stored")

    def __repr__(self) -> str:
        return f"<LongArray of shape {self.shape}>"


# --- Numbers in --------------------------------------------------------------------------------------


def share_long(engine: Engine, x: ArrayLike, *, bound: float, fraction: int, on: Ring = LONG) -> LongArray:
    """Share every party's array with all.

    Parameters
    ----------
    engine
        The computation.
    x
        This party's array, of the same shape at every party: floats, integers, or objects, Python integers
        and fractions.
    bound
        Public: what no |x| exceeds at any party.
    fraction
        Fractional bits, public. Floats are rounded to the nearest multiple of 2^−fraction, ties to even.
    on
        The ring.

    Returns
    -------
    LongArray
        Shape ``(n, *shape)``: the parties' arrays in the order of the roster.

    Raises
    ------
    RangeError
        An entry is NaN, infinite or beyond the bound. Nothing was sent.
    ShapeMismatch
        A peer shares an array of another shape.

    Notes
    -----
    **Leakage.** Nothing; see `dealing.deal`.

    **Cost.** One round. Each party sends n − 1 − t peers one number an entry: one for three parties.
    """
    return share_several(engine, [(x, bound, fraction)], on=on)[0]


def share_several(
    engine: Engine, parts: Sequence[tuple[ArrayLike, float, int]], *, on: Ring = LONG
) -> list[LongArray]:
    """Share several arrays in one round, each with its own bound and fraction; see `share_long`."""
    arrays = [np.asarray(x) for x, _, _ in parts]
    formats = [LongFormat.of(bound, fraction) for _, bound, fraction in parts]
    integers = [np.empty(0, object)]
    for array, reading, (_, bound, fraction) in zip(arrays, formats, parts, strict=True):
        require_room(engine, on, reading)
        integers.append(encode(array, bound, fraction).reshape(-1))
    values = on.residues(np.concatenate(integers))
    size = values.shape[1]
    dealt = deal(engine, engine.step("share"), range(engine.n), values, size, Modulo(on))()
    engine.party.mesh.traffic.rounds += size > 0 and not engine.full
    shares = np.split(dealt.swapaxes(0, 1), np.cumsum([array.size for array in arrays])[:-1], axis=2)
    return [
        LongArray(engine, part.reshape(len(on), engine.n, *array.shape), reading, on)
        for part, array, reading in zip(shares, arrays, formats, strict=True)
    ]


def sum_long(engine: Engine, x: ArrayLike, *, bound: float, fraction: int, on: Ring = LONG) -> LongArray:
    """Return the sum of all parties' arrays, still secret; see `share_long`. The sum is local."""
    return share_long(engine, x, bound=bound, fraction=fraction, on=on).sum(axis=0)


def encode(array: NDArray[Any], bound: float, fraction: int) -> NDArray[np.object_]:
    """Return round(x·2^fraction), ties to even, of a party's own values, or refuse them."""
    largest = math.floor(Fraction(bound) * (1 << fraction))
    out = np.empty(array.shape, object)
    refused = []
    for position, value in enumerate(array.ravel().tolist()):
        try:
            integer = _nearest(value, fraction)
        except (OverflowError, ValueError):  # infinite, or NaN
            refused.append(position)
            continue
        if abs(integer) > largest:
            refused.append(position)
        out.flat[position] = integer
    if refused:
        raise RangeError(
            f"{len(refused)} of {array.size} values are NaN, infinite or beyond the public bound {bound:g}, "
            f"the first at flat index {refused[0]}; nothing was sent"
        )
    return out


def _nearest(value: float | Fraction, fraction: int) -> int:
    """Return round(value·2^fraction) of a float, a fraction or an integer."""
    if isinstance(value, Fraction):
        return round(value * (1 << fraction))
    if isinstance(value, float):
        numerator, denominator = value.as_integer_ratio()
        drop = denominator.bit_length() - 1 - fraction  # the denominator is a power of two
        if drop <= 0:
            return numerator << -drop
        quotient, twice_rest = numerator >> drop, (numerator & ((1 << drop) - 1)) << 1
        return quotient + (twice_rest > 1 << drop or (twice_rest == 1 << drop and quotient & 1))
    return index(value) << fraction


def public(engine: Engine, values: ArrayLike, on: Ring = LONG) -> LongArray:
    """Return public numbers, exactly as they are, as an array like any other: each share is the number.

    Integers have no fractional bits, floats as many as the finest of them needs.
    """
    if isinstance(values, (LongArray, SecretArray)):
        raise TypeError(
            "secrets of different kinds do not mix: bring one to the other (`narrow`, `lengthen`)"
        )
    array = np.asarray(values)
    ratios = [value.as_integer_ratio() for value in array.ravel().tolist()]
    fraction = max((denominator.bit_length() - 1 for _, denominator in ratios), default=0)
    integers = np.empty(len(ratios), object)
    integers[:] = [(numerator << fraction) // denominator for numerator, denominator in ratios]
    largest = max((abs(integer) for integer in integers), default=0)
    format_ = LongFormat(fraction, largest)
    require_room(engine, on, format_)
    return LongArray(engine, on.residues(integers.reshape(array.shape)), format_, on)


# --- Products of secrets -----------------------------------------------------------------------------


def multiply(x: LongArray, y: LongArray, fraction: int | None = None) -> LongArray:
    """Return x·y, entry by entry: exact, or rounded to so many fractional bits in the same round.

    Raises
    ------
    PrecisionError
        The products might not fit. Nothing was sent.

    Notes
    -----
    **Leakage.** Nothing; see `wide.Round`. **Cost.** One round; a number an entry to each peer.
    """
    return jointly("multiply", ([(x, y)], fraction))[0]


def jointly(operation: str, *wanted: Products) -> list[LongArray]:
    """Return several sums of products in one round, each exact or rounded to so many fractional bits.

    Parameters
    ----------
    operation
        For the step's name.
    wanted
        For each result, pairs of factors whose products are of the same fraction, and the fraction to which
        their sum is rounded; None for an exact one.
    """
    first = wanted[0][0][0][0]
    engine, step = first.engine, Round(first.engine, operation)
    products = iter(_products(engine, operation, [pair for pairs, _ in wanted for pair in pairs]))
    finish: list[Callable[[], LongArray]] = [
        _pending(step, engine, [next(products) for _ in pairs], fraction) for pairs, fraction in wanted
    ]
    step.run()
    return [settle() for settle in finish]


def _pending(
    step: Round, engine: Engine, products: list[LongArray], fraction: int | None
) -> Callable[[], LongArray]:
    """Put a sum of products, of degree 2t, into a round, and return what reads it afterwards."""
    total = products[0]
    for one in products[1:]:
        total = total + one
    on, format_ = total.on, total.format
    if fraction is None:
        reshared: Pending[Residues] = step.reshare(on, total.shares)
        return lambda: LongArray(engine, reshared.value, format_, on)
    drop = format_.fraction - fraction
    reading = format_.rounded(engine, fraction)
    masked = step.mask(on, unbiased(total, drop), mask_bits(engine, on, format_, drop))
    return lambda: LongArray(engine, masked.value.shifted(engine, on, drop), reading, on)


def _products(
    engine: Engine, operation: str, pairs: Sequence[tuple[LongArray, LongArray]]
) -> list[LongArray]:
    """Return products whose shares are of degree 2t: not to be computed with before they are reshared."""
    found: dict[int, LongArray] = {}
    for on in dict.fromkeys(x.on for x, _ in pairs):
        at = [number for number, (x, _) in enumerate(pairs) if x.on is on]
        for number in at:
            _same_engine(*pairs[number])
        made = multiplied(engine, operation, on, [_spread(*pairs[number]) for number in at])
        for number, shares in zip(at, made, strict=True):
            x, y = pairs[number]
            found[number] = x._with(shares, x.format.times(y.format))
    return [found[number] for number in range(len(pairs))]


def matmul(x: LongArray, y: LongArray, fraction: int | None = None) -> LongArray:
    """Return x @ y, by the rules of `numpy.matmul`: exact, or rounded to so many fractional bits.

    **Leakage.** Nothing; see `wide.Round`. **Cost.** One round; a number an entry of the result to each peer,
    whatever the length of the inner products.
    """
    _same_engine(x, y)
    product = _matrix_product(x, y, partial(multiplied_matrices, x.engine, "matmul", x.on))
    step = Round(x.engine, "matmul")
    settle = _pending(step, x.engine, [product], fraction)
    step.run()
    return settle()


def _matrix_product(
    x: LongArray, y: LongArray, by: Callable[[Residues, Residues], Residues] | None = None
) -> LongArray:
    if not x.ndim or not y.ndim:
        raise ValueError("matmul has no meaning for scalars")
    left = x if x.ndim > 1 else x.reshape(1, -1)
    right = y if y.ndim > 1 else y.reshape(-1, 1)
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(f"cannot multiply matrices of shapes {x.shape} and {y.shape}")
    stack = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left, right = (z.broadcast_to((*stack, *z.shape[-2:])) for z in (left, right))
    shares = (by or x.on.matmul)(left.shares, right.shares)
    shape = (*stack, *left.shape[-2:-1][: x.ndim > 1], *right.shape[-1:][: y.ndim > 1])
    format_ = x.format.times(y.format, left.shape[-1])
    return LongArray(x.engine, shares.reshape(len(x.on), *shape), format_, x.on)


# --- To F_p and back ---------------------------------------------------------------------------------


def narrow(x: LongArray, *, bound: float, fraction: int) -> SecretArray:
    """Return numbers as an array over F_p.

    Parameters
    ----------
    x
        The numbers.
    bound
        Public: what no |x| exceeds.
    fraction
        Fractional bits: fewer than x has are rounded away, as by `LongArray.rescale`.

    Notes
    -----
    **Leakage.** Nothing, whether the bound holds or not; see `wide.open_masked`. **Cost.** One round.
    """
    engine = x.engine
    drop = max(0, x.format.fraction - fraction)
    slack = engine.prss.count // 2 + 2 if drop else 0
    reading = Format(fraction, Format.of(bound, fraction).bound + slack)  # type: ignore[operator]
    bits = mask_bits(engine, x.on, x.format, drop)
    masked = open_masked(engine, "narrow", x.on, unbiased(x, drop), bits)
    narrowed = masked.fixed_point(engine, drop, Format())
    more = field.from_ints(np.array(1 << max(0, fraction - x.format.fraction), object))
    return SecretArray(engine, field.mul(narrowed.shares, more), reading)


def lengthen(x: SecretArray, on: Ring = LONG) -> LongArray:
    """Return numbers over F_p as long ones, exactly.

    Raises
    ------
    PrecisionError
        They have no public bound, or leave no room for a mask. Nothing was sent.

    Notes
    -----
    **Leakage.** Nothing; see `wide.lift`. **Cost.** One round; an element an entry to each peer.
    """
    length_of(x.engine, x.format)
    shares = lift(x.engine, on, x.flat()).reshape(len(on), *x.shape)
    return LongArray(x.engine, shares, LongFormat(x.format.fraction, x.format.bound or 0), on)


def carried(x: LongArray, on: Ring) -> LongArray:
    """Return the same numbers in another ring. One round; as `lengthen`."""
    masked = open_masked(x.engine, "carry", x.on, x.shares, x.format.bound.bit_length())
    return LongArray(x.engine, masked.shifted(x.engine, on, 0), x.format, on)


# --- Bits --------------------------------------------------------------------------------------------


def negative(x: LongArray) -> SecretArray:
    """Return 1 where x < 0, else 0, over F_p.

    Notes
    -----
    **Leakage.** Nothing, to t passive colluders; see `compare.negative`, whose protocol this is.

    **Cost.** 4 + ⌈log2 m⌉ rounds for three parties and bounds of m bits.
    """
    return masked_negative(x.engine, _opened(x))


def masked_negative(engine: Engine, masked: Masked) -> SecretArray:
    """Return `negative` of integers that are opened under masks already."""
    one, other = complement_addends(engine, masked)
    sign = pieces(one[-1:] ^ other[-1:]) ^ carry_pieces(one[:-1], other[:-1])
    size = len(masked.opened)
    return SecretArray(engine, to_field(engine, sign, size)[0].reshape(*masked.shape, 2), BIT)


def is_zero(x: LongArray) -> SecretArray:
    """Return 1 where x = 0, else 0, over F_p; as `negative`, and a round less."""
    one, other = complement_addends(x.engine, _opened(x))
    either = one ^ other
    equal = all_pieces(join_planes([either[:-1], ~either[-1:]]))
    return SecretArray(x.engine, to_field(x.engine, equal, x.size)[0].reshape(*x.shape, 2), BIT)


def _opened(x: LongArray) -> Masked:
    return open_masked(x.engine, "masked", x.on, x.shares, x.format.bound.bit_length())


def complement_addends(engine: Engine, masked: Masked) -> tuple[Bits, Bits]:
    """Return shared numbers that add up to −1 − (v + 2^(m − 1)) modulo 2^m; see `masked.complement_addends`.

    `masked` is what `wide.open_masked` made of numbers up to 2^(m − 1).
    """
    length = masked.offset.bit_length()
    limbs = -(-length // 64)
    opened = np.ascontiguousarray(masked.opened[:, :limbs])
    return addends(engine, opened, masked.known(engine, limbs), length)


# --- Helpers -----------------------------------------------------------------------------------------


def concatenate(arrays: Sequence[LongArray], axis: int = 0) -> LongArray:
    """Join arrays along an axis, with the finest fraction among them."""
    return _joined(arrays, lambda parts: np.concatenate(parts, range(arrays[0].ndim)[axis] + 1))


def cumsum(x: LongArray) -> LongArray:
    """Return the running sums along the last axis. Local."""
    size, shares, reach = x.shape[-1], x.shares.copy(), 1
    while reach < size:
        shares[..., reach:] = x.on.add(shares[..., reach:], shares[..., :-reach])
        reach *= 2
    return LongArray(x.engine, shares, LongFormat(x.format.fraction, size * x.format.bound), x.on)


def stack(arrays: Sequence[LongArray], axis: int = 0) -> LongArray:
    """Join arrays along a new axis, with the finest fraction among them."""
    return _joined(arrays, lambda parts: np.stack(parts, range(arrays[0].ndim + 1)[axis] + 1))


def _joined(arrays: Sequence[LongArray], join: Callable[[list[Residues]], Residues]) -> LongArray:
    fraction = max(array.format.fraction for array in arrays)
    scaled = [array.rescale(fraction) for array in arrays]
    for one in scaled[1:]:
        _same_engine(scaled[0], one)
    bound = max(one.format.bound for one in scaled)
    return scaled[0]._with(join([one.shares for one in scaled]), LongFormat(fraction, bound))


def require_room(engine: Engine, on: Ring, reading: LongFormat) -> None:
    """Refuse numbers that could not be masked, before anything is sent."""
    length = reading.bound.bit_length()
    if length > capacity(engine, on):
        raise PrecisionError(
            f"numbers of {length} bits, {reading.fraction} of them fractional, where {engine.n} parties can "
            f"mask {capacity(engine, on)} with security {engine.security}: tighten the public bounds "
            "(`assume`), or carry fewer fractional bits (`rescale`)"
        )


def mask_bits(engine: Engine, on: Ring, reading: LongFormat, drop: int) -> int:
    """Return b with |v| ≤ 2^b for `unbiased` integers v, which are to lose so many bits; or refuse them."""
    most = reading.bound + (engine.prss.count << drop)
    require_room(engine, on, LongFormat(reading.fraction, most))
    return most.bit_length()


def unbiased(x: LongArray, drop: int) -> Residues:
    """Return shares of v less what dropping so many bits under a mask adds to it on average."""
    return x.on.shift(x.shares, -((x.engine.prss.count - 1) * ((1 << drop) - 1) // 2))


def complement(bit: SecretArray) -> SecretArray:
    """Return 1 − bit, known to be a bit. Local."""
    return SecretArray(bit.engine, (1 - bit).shares, BIT)


def spread(shares: Residues, shape: tuple[int, ...]) -> Residues:
    """Broadcast the axes of the values to a shape."""
    missing = len(shape) - (shares.ndim - 1)
    return np.broadcast_to(
        shares.reshape(len(shares), *[1] * missing, *shares.shape[1:]), (len(shares), *shape)
    )


def _spread(x: LongArray, y: LongArray) -> tuple[Residues, Residues]:
    if x.shape == y.shape:
        return x.shares, y.shares
    shape = np.broadcast_shapes(x.shape, y.shape)
    return spread(x.shares, shape), spread(y.shares, shape)


def _aligned(x: LongArray, other: LongArray | ArrayLike) -> tuple[LongArray, LongArray]:
    """Return both operands of a sum with the same fractional bits."""
    y = other if isinstance(other, LongArray) else public(x.engine, other, x.on)
    _same_engine(x, y)
    fraction = max(x.format.fraction, y.format.fraction)
    return x.rescale(fraction), y.rescale(fraction)


def _same_engine(x: LongArray, y: LongArray) -> None:
    if x.engine is not y.engine:
        raise ValueError("secrets of different computations cannot be combined")
    if x.on is not y.on:
        raise ValueError("numbers of different rings cannot be combined")
