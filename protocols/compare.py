"""Comparisons of secrets: shared bits that say which is larger, and what is chosen by them.

x < y if x − y is negative, which is the carry that its masked opening leaves (`masked`): no bit of the
difference is computed but its sign. Integers and fixed-point numbers alike, exact, over the whole range that
their public bounds allow; fractions are aligned first, and public floats rounded to the secret's fraction.

For three parties and numbers of 64 bits, a comparison takes ten rounds and about 75 bytes from each.
"""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import ArrayLike

from protocols import field
from protocols.adder import all_pieces, carry_pieces
from protocols.bits import concatenate as join_planes
from protocols.bits import pieces
from protocols.bitslice import Words
from protocols.convert import to_field
from protocols.engine import Engine
from protocols.fixed import Format
from protocols.masked import complement_addends, length_of
from protocols.mersenne import Elements
from protocols.secret import SecretArray, concatenate, select, stack

#: Entries compared at a time, few enough for a message to stay below a mebibyte or two.
BLOCK = 1 << 17
#: How shared bits are read.
BIT = Format(0, 1)

Operand = SecretArray | ArrayLike


def negative(x: SecretArray) -> SecretArray:
    """Return 1 where x < 0, else 0.

    Parameters
    ----------
    x
        Integers or fixed-point numbers, of m − 1 bits by their public bound.

    Returns
    -------
    SecretArray
        Bits over F_p, of the shape of x.

    Raises
    ------
    PrecisionError
        The bound leaves no room for the mask. Nothing was sent.
    Disagreement
        A party sent a wrong share in the masked opening.

    Notes
    -----
    **Leakage.** Nothing, to t passive colluders: x is opened under a mask of statistical distance 2^−κ, and
    all that follows is uniform; see `masked`, `bits` and `convert`.

    **Cost.** 4 + ⌈log2(m − 1)⌉ rounds for three parties: 10 for 64 bits and sign. Everybody sends each peer
    an element, and one peer another one and 3m bits; party 1 sends m bits more. For n parties, add
    ⌈log2(t + 1)⌉ − 1 rounds for the conversion and those of `adder.carry_save`.
    """
    length = length_of(x.engine, x.format)
    return _bitwise(x, lambda shares: sign_pieces(x.engine, shares, length))


def is_zero(x: SecretArray) -> SecretArray:
    """Return 1 where x = 0, else 0.

    As `negative`, but for the cost: 3 + ⌈log2 m⌉ rounds for three parties, and m bits instead of 3m.
    """
    length = length_of(x.engine, x.format)
    return _bitwise(x, lambda shares: zero_pieces(x.engine, shares, length))


def sign_pieces(engine: Engine, shares: Elements, length: int) -> Words:
    """Return pieces of the sign of numbers of so many bits, one plane; see `negative`."""
    x, y = complement_addends(engine, shares, length)
    # The sign's plane of the sum; as complement, it is 1 for numbers below 0.
    return pieces(x[-1:] ^ y[-1:]) ^ carry_pieces(x[:-1], y[:-1])


def zero_pieces(engine: Engine, shares: Elements, length: int) -> Words:
    """Return pieces of whether numbers of so many bits are 0, one plane; see `is_zero`."""
    x, y = complement_addends(engine, shares, length)
    # They add up to 2^(m − 1) − 1, or to −1 with one top plane flipped: each is the other's complement.
    either = x ^ y
    return all_pieces(join_planes([either[:-1], ~either[-1:]]))


def _bitwise(x: SecretArray, circuit: Callable[[Elements], Words]) -> SecretArray:
    """Return the bits that a circuit makes of entries, some at a time."""
    shares, flat = field.empty(x.size), x.flat()
    for start in range(0, x.size, BLOCK):
        part = flat[start : start + BLOCK]
        shares[start : start + BLOCK] = to_field(x.engine, circuit(part), len(part))[0]
    return SecretArray(x.engine, shares.reshape(x.shares.shape), BIT)


# --- Operators ---------------------------------------------------------------------------------------


def less(x: Operand, y: Operand) -> SecretArray:
    """Return 1 where x < y, else 0; at least one of them is secret. See `negative`."""
    return negative(_difference(x, y))


def greater(x: Operand, y: Operand) -> SecretArray:
    """Return 1 where x > y, else 0; see `negative`."""
    return negative(_difference(y, x))


def less_equal(x: Operand, y: Operand) -> SecretArray:
    """Return 1 where x ≤ y, else 0; see `negative`."""
    return complement(greater(x, y))


def greater_equal(x: Operand, y: Operand) -> SecretArray:
    """Return 1 where x ≥ y, else 0; see `negative`."""
    return complement(less(x, y))


def equal(x: Operand, y: Operand) -> SecretArray:
    """Return 1 where x = y, else 0; see `is_zero`."""
    return is_zero(_difference(x, y))


def not_equal(x: Operand, y: Operand) -> SecretArray:
    """Return 1 where x ≠ y, else 0; see `is_zero`."""
    return complement(equal(x, y))


def complement(bit: SecretArray) -> SecretArray:
    """Return 1 − bit, known to be a bit. Local."""
    return SecretArray(bit.engine, (1 - bit).shares, BIT)


def every(bits: SecretArray) -> SecretArray:
    """Return the conjunction of bits over the first axis, in ⌈log2⌉ rounds."""
    while len(bits) > 1:
        half = len(bits) // 2
        joined = bits[:half] * bits[half : 2 * half]
        joined = SecretArray(bits.engine, joined.shares, BIT)
        bits = concatenate([joined, bits[2 * half :]]) if len(bits) % 2 else joined
    return bits[0]


# --- What is chosen by them --------------------------------------------------------------------------


def sign(x: SecretArray) -> SecretArray:
    """Return −1, 0 or 1. Costs the rounds of `negative`, and twice its bytes."""
    sides = negative(stack([x, -x]))
    # The bound is 2, as the difference's: a bound of 1 is that of bits, which `select` takes.
    return sides[1] - sides[0]


def absolute(x: SecretArray) -> SecretArray:
    """Return |x|. Costs `negative` and a product."""
    return select(negative(x), -x, x)


def maximum(x: Operand, y: Operand) -> SecretArray:
    """Return the larger of x and y, entry by entry. Costs `negative` and a product."""
    return _chosen(less(x, y), y, x)


def minimum(x: Operand, y: Operand) -> SecretArray:
    """Return the smaller of x and y, entry by entry. Costs `negative` and a product."""
    return _chosen(less(x, y), x, y)


def largest(x: SecretArray, axis: int | None = None) -> SecretArray:
    """Return the maximum over an axis, over all entries by default.

    Notes
    -----
    **Cost.** A tournament: ⌈log2 m⌉ times the rounds of `maximum` for m entries, m − 1 comparisons.
    """
    return _tournament(x, axis, maximum)


def smallest(x: SecretArray, axis: int | None = None) -> SecretArray:
    """Return the minimum over an axis; see `largest`."""
    return _tournament(x, axis, minimum)


def _tournament(
    x: SecretArray, axis: int | None, better: Callable[[SecretArray, SecretArray], SecretArray]
) -> SecretArray:
    rest = x.ravel() if axis is None else _axis_first(x, axis)
    if not len(rest):
        raise ValueError("an empty axis has neither a largest nor a smallest entry")
    while len(rest) > 1:
        half = len(rest) // 2
        won = better(rest[:half], rest[half : 2 * half])
        rest = concatenate([won, rest[2 * half :]]) if len(rest) % 2 else won
    return rest[0]


def _axis_first(x: SecretArray, axis: int) -> SecretArray:
    first = range(x.ndim)[axis]
    return x.transpose(first, *(other for other in range(x.ndim) if other != first))


def _chosen(condition: SecretArray, x: Operand, y: Operand) -> SecretArray:
    """Select, also where only y is secret."""
    return select(condition, x, y) if isinstance(x, SecretArray) else select(complement(condition), y, x)


def _difference(x: Operand, y: Operand) -> SecretArray:
    """Return x − y of which one is secret."""
    if isinstance(x, SecretArray):
        return x - y
    if isinstance(y, SecretArray):
        return x - y
    raise TypeError("a comparison needs a secret operand")
