"""`SecretArray`: an array of shared numbers, computed with as with NumPy's.

Sums, public factors, slices and shapes are local. A product of secrets costs one round and one element an
entry of the *result*, inner and matrix products included, and rounds fixed-point numbers in the same round
(`reshare`). Where all but one may collude it costs a triple and one round more (`beaver`). Nothing here
opens an unmasked value but `open` and `reveal`, which say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols import beaver, field, mersenne
from protocols.engine import Engine
from protocols.errors import PrecisionError
from protocols.fixed import Format
from protocols.mersenne import Elements
from protocols.opening import open_shares
from protocols.reshare import Local, fits, offset_for, reshare
from protocols.reveal import reveal


class SecretArray:
    """Shares of an array of numbers, one party's part of it.

    Parameters
    ----------
    engine
        The computation that it belongs to.
    shares
        Shape ``(*shape, 2)``: this party's shares, of degree t.
    format
        How the shared integers are read; elements of the field by default.

    Notes
    -----
    **Broadcasting** and indexing are NumPy's; indices are public. **Public operands** are numbers and
    arrays: integers and booleans exact, floats rounded to fixed point. **Formats**: a sum has the finer
    fraction of its operands, a product the finer one of its factors; fractions beyond that are rounded
    away with an error below (C(n, t) + 1)/2 units in the last place, unbiased. **Comparisons** give secret
    bits (`compare`), by which `select` chooses.
    """

    #: NumPy's operators leave the operation to ours.
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]  # as NumPy's arrays

    def __init__(self, engine: Engine, shares: Elements, format: Format | None = None) -> None:  # noqa: A002
        if shares.dtype != np.uint64 or shares.ndim < 1 or shares.shape[-1] != 2:
            raise ValueError("shares are field elements, of shape (*shape, 2)")
        self.engine = engine
        self.shares = shares
        self.format = format or Format()

    # --- Shape ---------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self.shares.shape[:-1]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.shares.ndim - 1

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.shares.size // 2

    @property
    def T(self) -> SecretArray:  # noqa: N802  (NumPy's name)
        """Axes in reverse order."""
        return self.transpose()

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a secret scalar has no length")
        return self.shape[0]

    def __getitem__(self, index: Any) -> SecretArray:
        items = index if isinstance(index, tuple) else (index,)
        if not any(item is Ellipsis for item in items):
            items = (*items, Ellipsis)
        return self._with(self.shares[(*items, slice(None))])

    def reshape(self, *shape: Any) -> SecretArray:
        """Return the entries in another shape."""
        wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        like = np.broadcast_to(np.False_, self.shape).reshape(wanted)
        return self._with(self.shares.reshape(*like.shape, 2))

    def ravel(self) -> SecretArray:
        """Return the entries in a row."""
        return self.reshape(self.size)

    def transpose(self, *axes: int) -> SecretArray:
        """Permute the axes; reverse them by default."""
        order = [range(self.ndim)[axis] for axis in axes] or range(self.ndim)[::-1]
        return self._with(self.shares.transpose(*order, self.ndim))

    def broadcast_to(self, shape: tuple[int, ...]) -> SecretArray:
        """Return a read-only view with repeated entries."""
        return self._with(np.broadcast_to(self.shares, (*shape, 2)))

    # --- Formats -------------------------------------------------------------------------------------

    def assume(self, bound: float) -> SecretArray:
        """Return the same numbers with a tighter public bound, which the caller knows to hold."""
        return self._with(self.shares, Format.of(bound, self.format.fraction))

    def rescale(self, fraction: int) -> SecretArray:
        """Return the numbers with so many fractional bits: more for nothing, fewer as `truncate` does."""
        more = fraction - self.format.fraction
        if more < 0:
            return truncate(self, -more)
        format_ = self.format.finer(more)
        return self._with(field.mul(self.shares, _element(1 << more)), format_) if more else self

    # --- Sums ----------------------------------------------------------------------------------------

    def __add__(self, other: SecretArray | ArrayLike) -> SecretArray:
        left, right = _aligned(self, other)
        return left._with(field.add(left.shares, right.shares), left.format.plus(right.format))

    __radd__ = __add__

    def __sub__(self, other: SecretArray | ArrayLike) -> SecretArray:
        left, right = _aligned(self, other)
        return left._with(field.sub(left.shares, right.shares), left.format.plus(right.format))

    def __rsub__(self, other: ArrayLike) -> SecretArray:
        return -self + other

    def __neg__(self) -> SecretArray:
        return self._with(field.neg(self.shares))

    def sum(self, axis: int | tuple[int, ...] | None = None) -> SecretArray:
        """Return sums over axes, over all by default. Local."""
        shares = field.sum(self.shares, axis)
        terms = self.size // (shares.size // 2) if shares.size else 0
        bound = None if self.format.bound is None else self.format.bound * terms
        return self._with(shares, Format(self.format.fraction, bound))

    # --- Products ------------------------------------------------------------------------------------

    def __mul__(self, other: SecretArray | ArrayLike) -> SecretArray:
        if isinstance(other, SecretArray):
            return multiply(self, other)
        return _public_product(self, other, field.mul, 1)

    __rmul__ = __mul__

    def __matmul__(self, other: SecretArray | ArrayLike) -> SecretArray:
        if isinstance(other, SecretArray):
            return matmul(self, other)
        return _public_product(self, other, field.matmul, self.shape[-1])

    def __rmatmul__(self, other: ArrayLike) -> SecretArray:
        return _public_product(self, other, lambda a, b: field.matmul(b, a), np.shape(other)[-1])

    def dot(self, other: SecretArray | ArrayLike) -> SecretArray:
        """Return the product of vectors or matrices, as ``@`` does."""
        return self @ other

    # --- Quotients -----------------------------------------------------------------------------------

    def __truediv__(self, other: SecretArray | ArrayLike) -> SecretArray:
        """Divide by secrets (`divide.quotient`), or by public numbers.

        Notes
        -----
        A public power of two costs nothing: the fraction gets more bits. Other public numbers are multiplied
        by, as their reciprocals: one rounding.
        """
        if isinstance(other, SecretArray):
            return _quotient(self, other)
        return _public_quotient(self, other)

    def __rtruediv__(self, other: ArrayLike) -> SecretArray:
        return _quotient(public(self.engine, other, self.format.fraction), self)

    # --- Comparisons ---------------------------------------------------------------------------------

    def __lt__(self, other: SecretArray | ArrayLike) -> SecretArray:
        return compare.less(self, other)

    def __le__(self, other: SecretArray | ArrayLike) -> SecretArray:
        return compare.less_equal(self, other)

    def __gt__(self, other: SecretArray | ArrayLike) -> SecretArray:
        return compare.greater(self, other)

    def __ge__(self, other: SecretArray | ArrayLike) -> SecretArray:
        return compare.greater_equal(self, other)

    def __eq__(self, other: SecretArray | ArrayLike) -> SecretArray:  # type: ignore[override]  # as NumPy's
        return compare.equal(self, other)

    def __ne__(self, other: SecretArray | ArrayLike) -> SecretArray:  # type: ignore[override]
        return compare.not_equal(self, other)

    def __abs__(self) -> SecretArray:
        return compare.absolute(self)

    def max(self, axis: int | None = None) -> SecretArray:
        """Return the largest entries along an axis, of all by default; see `compare.largest`."""
        return compare.largest(self, axis)

    def min(self, axis: int | None = None) -> SecretArray:
        """Return the smallest entries along an axis, of all by default; see `compare.smallest`."""
        return compare.smallest(self, axis)

    # --- Opening -------------------------------------------------------------------------------------

    def open(self) -> Elements:
        """Publish the entries as field elements, within a protocol: masked values only.

        Returns
        -------
        ndarray
            Shape ``(*shape, 2)``.

        Raises
        ------
        Disagreement
            A party sent a wrong share; see `opening.open_shares`. One round.
        """
        return open_shares(self.engine, "open", self.flat()).reshape(self.shares.shape)

    def reveal(self, label: str) -> NDArray[Any]:
        """Open a result: the only way out; see `reveal`."""
        return reveal(self.engine, {label: self})[label]

    def flat(self) -> Elements:
        """Return this party's shares in a row, of shape ``(size, 2)``, contiguous."""
        return np.require(self.shares, np.uint64, ("C", "W")).reshape(-1, 2)

    def _with(self, shares: Elements, format: Format | None = None) -> SecretArray:  # noqa: A002
        return SecretArray(self.engine, shares, format or self.format)

    # --- What would leak or mislead ------------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TypeError("a secret is no array of numbers; reveal it, or compute on it as it is")

    def __bool__(self) -> NoReturn:
        raise TypeError("a secret cannot decide what the program does; use select")

    def __contains__(self, item: object) -> NoReturn:
        raise TypeError(
            "whether a secret contains something is a secret itself; compare, and add up the bits"
        )

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("shares are secret and belong to a session: they cannot be copied or stored")

    def __repr__(self) -> str:
        return f"<SecretArray of shape {self.shape}>"


# --- Products of secrets -----------------------------------------------------------------------------


def multiply(x: SecretArray, y: SecretArray) -> SecretArray:
    """Return x·y, entry by entry, rounded to the finer fraction of the two.

    Raises
    ------
    PrecisionError
        The products might not fit. Nothing was sent.

    Notes
    -----
    **Leakage.** Nothing; see `reshare`. **Cost.** One round; an element an entry to each peer.
    """
    shape = np.broadcast_shapes(x.shape, y.shape)
    left, right = (z.flat() if z.size == 1 else z.broadcast_to(shape).flat() for z in (x, y))

    return _reshared("multiply", x, y, 1, shape, lambda: _entrywise(x.engine, left, right))


def matmul(
    x: SecretArray,
    y: SecretArray,
    *,
    bound: float | None = None,
    fraction: int | None = None,
    entries: tuple[NDArray[np.intp], ...] | None = None,
) -> SecretArray:
    """Return x @ y, by the rules of `numpy.matmul`, rounded to the finer fraction of the two.

    Parameters
    ----------
    x, y
        The matrices.
    bound
        As for `inner`.
    fraction
        Fractional bits of the result, where it is to have others.
    entries
        Indices of those entries of the product that are wanted, such as ``np.triu_indices(k)`` where it is
        symmetric; all by default.

    Raises
    ------
    PrecisionError
        The products might not fit. Nothing was sent.

    Notes
    -----
    **Leakage.** Nothing; see `reshare`. **Cost.** One round; an element an entry of the result to each
    peer, whatever the length of the inner products.
    """
    terms = x.shape[-1] if x.ndim else 0

    def wanted(product: Elements) -> Elements:
        return product if entries is None else product[entries]

    by = (
        lambda a, b: wanted(field.matmul(a, b)),
        lambda engine, a, b: wanted(beaver.matmul(engine, a, b)),
    )
    return _products("matmul", x, y, terms, by, bound, fraction)


def inner(
    x: SecretArray, y: SecretArray, *, bound: float | None = None, fraction: int | None = None
) -> SecretArray:
    """Return inner products over the last axis, the others broadcast, at the cost of `matmul`.

    Parameters
    ----------
    x, y
        Shapes that broadcast.
    bound
        Public: what no |inner product| exceeds, where that is less than the entries' own bounds make.
    fraction
        Fractional bits of the result, where it is to have others.
    """
    terms = np.broadcast_shapes(x.shape, y.shape)[-1]
    return _products("inner", x, y, terms, (field.dot, beaver.inner), bound, fraction)


def known_product(
    x: SecretArray,
    y: SecretArray,
    reading: Format | None = None,
    *,
    drop: int = 0,
    taken_from: int | None = None,
) -> SecretArray:
    """Return x·y / 2^drop of integers of which more is known than their bounds say: one round.

    Parameters
    ----------
    x, y
        Of the same shape.
    reading
        How the result is read, and its bound; as x by default.
    drop
        Bits to drop.
    taken_from
        An integer c, for (c − x·y) / 2^drop: a small difference of what is too large to be masked.

    Raises
    ------
    PrecisionError
        The product cannot be masked. Nothing was sent.

    Notes
    -----
    **Leakage.** Nothing, if what the caller knows is true; see `reshare`. **Cost.** As `multiply`.
    """
    engine, reading = x.engine, reading or x.format
    if drop and not fits(engine, (reading.bound or 0) << drop, drop):
        raise PrecisionError(
            f"products of {((reading.bound or 0) << drop).bit_length()} bits cannot be masked among "
            f"{engine.n} parties with security {engine.security}: tighten the public bounds (`assume`)"
        )
    products = _entrywise(engine, x.flat(), y.flat())
    minuend = None if taken_from is None else _element(taken_from).reshape(1, 2)

    def local(entries: slice, out: Elements) -> None:
        products(entries, out)
        if minuend is not None:
            mersenne.sub(out, minuend, out)

    shares = reshare(engine, "known product", x.size, local, drop=drop)
    slack = engine.prss.count // 2 + 2 if drop else 0
    grown = None if reading.bound is None else reading.bound + slack
    return SecretArray(engine, shares.reshape(x.shares.shape), Format(reading.fraction, grown))


def select(condition: SecretArray, x: SecretArray | ArrayLike, y: SecretArray | ArrayLike) -> SecretArray:
    """Return x where a secret condition is 1, and y where it is 0, for the cost of one product.

    Parameters
    ----------
    condition
        Secret integers 0 and 1.
    x, y
        Of any shape that broadcasts with it.
    """
    if condition.format != Format(0, 1):
        raise ValueError("a condition is an array of secret bits")
    left = x if isinstance(x, SecretArray) else public(condition.engine, x)
    left, right = _aligned(left, y)
    chosen = right + condition * (left - right)
    return chosen._with(chosen.shares, left.format.union(right.format))


def truncate(x: SecretArray, drop: int) -> SecretArray:
    """Return x with `drop` fractional bits fewer.

    Notes
    -----
    **Leakage.** Nothing: x is opened under a mask of statistical distance 2^−κ; see `reshare`, whose
    step 3 this is. **Cost.** One round; an element an entry to each peer. The opening is of degree t and
    checked, unlike that of a product.
    """
    engine = x.engine
    format_ = x.format.rounded(engine, drop)
    step = engine.step("truncate")
    mask, shifted = engine.prss.bounded(step, x.size, bits=engine.prss.bits, drop=drop)
    offset, excess = (_element(number) for number in offset_for(engine, drop))
    opened = open_shares(engine, "truncate", field.add(field.add(x.flat(), offset), mask))
    shares = field.sub(field.shift_right(opened, drop), field.add(shifted, excess))
    return x._with(shares.reshape(x.shares.shape), format_)


def _products(
    operation: str,
    x: SecretArray,
    y: SecretArray,
    terms: int,
    by: tuple[Callable[[Elements, Elements], Elements], Callable[[Engine, Elements, Elements], Elements]],
    bound: float | None = None,
    fraction: int | None = None,
) -> SecretArray:
    """Reshare what is made of the shares: locally, or by triples; see `matmul` for `bound` and `fraction`."""
    local, by_triples = by
    engine = x.engine
    # Products of shares tell the shape; with triples, products of zeros do.
    made = local(*(np.zeros_like(z.shares) if engine.full else z.shares for z in (x, y)))

    def products() -> Local:
        return _copying(by_triples(engine, x.shares, y.shares) if engine.full else made)

    return _reshared(operation, x, y, terms, made.shape[:-1], products, bound, fraction)


def _reshared(
    operation: str,
    x: SecretArray,
    y: SecretArray,
    terms: int,
    shape: tuple[int, ...],
    products: Callable[[], Local],
    bound: float | None = None,
    fraction: int | None = None,
) -> SecretArray:
    """Bring sums of products back to degree t, and to the given or the finer fraction of their factors."""
    _same_engine(x, y)
    finest = x.format.fraction + y.format.fraction
    drop = finest - (max(x.format.fraction, y.format.fraction) if fraction is None else fraction)
    exact = x.format.times(y.format, terms) if bound is None else Format.of(bound, finest)
    format_ = exact.rounded(x.engine, drop)
    shares = reshare(x.engine, operation, math.prod(shape), products(), drop=drop)
    return SecretArray(x.engine, shares.reshape(*shape, 2), format_)


def _entrywise(engine: Engine, left: Elements, right: Elements) -> Local:
    """Return what writes products of shares, one of which may be a single number."""
    if engine.full:
        both = (np.ascontiguousarray(z) for z in np.broadcast_arrays(left, right))
        return _copying(beaver.multiply(engine, *both))

    def local(entries: slice, out: Elements) -> None:
        a, b = (z if len(z) == 1 else z[entries] for z in (left, right))
        mersenne.mul(out, a, b)

    return local


def _copying(products: Elements) -> Local:
    flat = products.reshape(-1, 2)

    def local(entries: slice, out: Elements) -> None:
        out[:] = flat[entries]

    return local


# --- Public numbers ----------------------------------------------------------------------------------


def public(engine: Engine, values: ArrayLike, fraction: int = 0) -> SecretArray:
    """Return public numbers as an array like any other: each party's share is the number itself.

    Parameters
    ----------
    engine
        The computation.
    values
        Integers, booleans, or floats, which are rounded to the nearest multiple of 2^−fraction.
    fraction
        Fractional bits.
    """
    array = np.asarray(values)
    if array.dtype.kind == "f":
        bound = float(np.max(np.abs(array), initial=0.0))
        if not fraction:
            raise TypeError("floats need fractional bits: rescale the secret operand first")
        format_ = Format.of(bound, fraction)
        return SecretArray(engine, field.from_floats(array, fraction, bound), format_)
    largest = max(abs(int(array.min())), abs(int(array.max()))) if array.size else 0
    return SecretArray(engine, field.from_ints(array), Format(0, largest)).rescale(fraction)


def _public_product(
    x: SecretArray, other: ArrayLike, product: Callable[[Elements, Elements], Elements], terms: int
) -> SecretArray:
    """Multiply by public numbers: integers locally, floats with one rounding.

    A factor gets so many fractional bits that its rounding error times x is within a unit of the result's
    last place; or as many as can be masked, though not fewer than x has.
    """
    factor = np.asarray(other)
    fraction = 0
    if factor.dtype.kind == "f" and x.format.bound is not None and x.format.fraction:
        exponent = math.frexp(float(np.max(np.abs(factor), initial=0.0)))[1]
        length = (x.format.bound * terms).bit_length()
        fraction = max(x.format.fraction, min(length, x.engine.room - 3 - length - exponent))
    right = public(x.engine, factor, fraction)
    exact = x._with(product(x.shares, right.shares), x.format.times(right.format, terms))
    return truncate(exact, fraction) if fraction else exact


def _quotient(x: SecretArray, y: SecretArray) -> SecretArray:
    from protocols import divide  # it builds on comparisons, which build on this

    return divide.quotient(x, y)


def _public_quotient(x: SecretArray, other: ArrayLike) -> SecretArray:
    """Divide by public numbers."""
    divisor = np.asarray(other)
    if divisor.dtype.kind not in "biuf":
        raise TypeError(f"cannot divide by {divisor.dtype} numbers")
    divisor = divisor.astype(np.float64)
    if not np.all(np.isfinite(divisor) & (divisor != 0)):
        raise ZeroDivisionError("a public divisor is zero, infinite or not a number")
    mantissas, exponents = np.frexp(divisor)
    if divisor.size and np.all(np.abs(mantissas) == 0.5) and x.format.bound is not None:
        # ±2^e: the integers are multiplied by 2^(most − e), and read with `most` fractional bits more.
        places = (exponents - 1).ravel().tolist()
        most = max(0, *places)
        signs = np.sign(mantissas).astype(int).ravel().tolist()
        factors = [sign << (most - place) for sign, place in zip(signs, places, strict=True)]
        exact = x * np.array(factors, object).reshape(divisor.shape)
        return exact._with(exact.shares, Format(x.format.fraction + most, exact.format.bound))
    return x * (1 / divisor)


def uniform(engine: Engine, shape: tuple[int, ...]) -> SecretArray:
    """Return uniform elements of the field that nobody knows. Local; see `prss`."""
    shares = engine.prss.uniform(engine.step("uniform"), math.prod(shape))
    return SecretArray(engine, shares.reshape(*shape, 2))


# --- Several arrays ----------------------------------------------------------------------------------


def concatenate(arrays: Sequence[SecretArray], axis: int = 0) -> SecretArray:
    """Join arrays along an axis, with the finest fraction among them."""
    return _joined(arrays, lambda parts: np.concatenate(parts, range(arrays[0].ndim)[axis]))


def stack(arrays: Sequence[SecretArray], axis: int = 0) -> SecretArray:
    """Join arrays along a new axis, with the finest fraction among them."""
    return _joined(arrays, lambda parts: np.stack(parts, range(arrays[0].ndim + 1)[axis]))


def _joined(arrays: Sequence[SecretArray], join: Callable[[list[Elements]], Elements]) -> SecretArray:
    fraction = max(array.format.fraction for array in arrays)
    scaled = [array.rescale(fraction) for array in arrays]
    format_ = scaled[0].format
    for one in scaled[1:]:
        _same_engine(scaled[0], one)
        format_ = format_.union(one.format)
    return scaled[0]._with(join([one.shares for one in scaled]), format_)


# --- Helpers -----------------------------------------------------------------------------------------


def _aligned(x: SecretArray, other: SecretArray | ArrayLike) -> tuple[SecretArray, SecretArray]:
    """Return both operands of a sum as secrets with the same fractional bits."""
    y = other if isinstance(other, SecretArray) else public(x.engine, other, x.format.fraction)
    _same_engine(x, y)
    fraction = max(x.format.fraction, y.format.fraction)
    return x.rescale(fraction), y.rescale(fraction)


def _same_engine(x: SecretArray, y: SecretArray) -> None:
    if x.engine is not y.engine:
        raise ValueError("secrets of different computations cannot be combined")


def _element(value: int) -> Elements:
    return field.from_ints(np.array(value, object))


# The operators' other half builds on all of the above.
from protocols import compare  # noqa: E402
