"""Compiled kernels of `field`: arithmetic modulo p = 2^127 − 1.

An element is a pair of uint64, low and high, always canonical: less than p. Because 2^127 ≡ 1, a
number is reduced by adding its bits from the 127th on to those below. Arrays of elements are contiguous,
of shape ``(size, 2)`` where nothing else is said. Everything here trusts its arguments: shapes, dtypes and
canonicity are the callers' to check.

No kernel branches on the value of an element, or looks anything up by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

Elements: TypeAlias = NDArray[np.uint64]
#: Low and high word of one element, in a kernel.
Element: TypeAlias = tuple[np.uint64, np.uint64]
#: An unreduced sum of products, 320 bits, least significant word first.
Wide: TypeAlias = tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]

kernel = numba.njit(nogil=True, cache=True)

# Words mixed with signed literals would become floats: every constant below is a word of its own.
_0, _1, _63, _64 = (np.uint64(constant) for constant in (0, 1, 63, 64))
_ALL = np.uint64((1 << 64) - 1)
#: High word of p, and of the bits that stay where they are in a reduction.
_TOP = np.uint64((1 << 63) - 1)
_tuple_of: Any = types.UniTuple
_PAIR = _tuple_of(types.uint64, 2)
_WIDE = _tuple_of(types.uint64, 5)


@intrinsic
def _multiply_words(typing_context: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        product = _wide_product(builder, *arguments)
        return context.make_tuple(builder, signature.return_type, _words(builder, product, 2))

    return _PAIR(types.uint64, types.uint64), generate


@intrinsic
def _multiply_accumulate(
    typing_context: Any,  # noqa: ARG001
    total: Any,  # noqa: ARG001
    a0: Any,  # noqa: ARG001
    a1: Any,  # noqa: ARG001
    b0: Any,  # noqa: ARG001
    b1: Any,  # noqa: ARG001
) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, a0, a1, b0, b1 = arguments
        wide = ir.IntType(320)

        def at(word: int, value: Any) -> Any:
            return builder.shl(builder.zext(value, wide), ir.Constant(wide, 64 * word))

        outer = builder.or_(at(0, _wide_product(builder, a0, b0)), at(2, _wide_product(builder, a1, b1)))
        # High words are below 2^63, so the middle products add up to less than 2^128.
        middle = builder.add(_wide_product(builder, a0, b1), _wide_product(builder, a1, b0))
        result = builder.add(outer, at(1, middle))
        for word in range(5):
            result = builder.add(result, at(word, builder.extract_value(total, word)))
        return context.make_tuple(builder, signature.return_type, _words(builder, result, 5))

    return _WIDE(_WIDE, *[types.uint64] * 4), generate


def _wide_product(builder: Any, a: Any, b: Any) -> Any:
    double = ir.IntType(128)
    return builder.mul(builder.zext(a, double), builder.zext(b, double))


def _words(builder: Any, value: Any, count: int) -> list[Any]:
    word = ir.IntType(64)
    return [builder.trunc(builder.lshr(value, ir.Constant(value.type, 64 * i)), word) for i in range(count)]


#: The whole product of two words: one instruction, which NumPy lacks.
multiply_words = cast("Callable[[np.uint64, np.uint64], Element]", _multiply_words)
#: A 320-bit total plus the product of two elements: a chain of additions with carry, which NumPy lacks.
multiply_accumulate = cast(
    "Callable[[Wide, np.uint64, np.uint64, np.uint64, np.uint64], Wide]", _multiply_accumulate
)


# --- One element -------------------------------------------------------------------------------------


@kernel
def fold(low: np.uint64, high: np.uint64) -> Element:
    """Return a number below 2^128 − 1 modulo p."""
    first = low + (high >> _63)
    second = (high & _TOP) + np.uint64(first < low)
    keep = np.uint64((first == _ALL) & (second == _TOP)) - _1  # all zeros for p itself, else all ones
    return first & keep, second & keep


@kernel
def plus(a0: np.uint64, a1: np.uint64, b0: np.uint64, b1: np.uint64) -> Element:
    """Return a + b."""
    low = a0 + b0
    return fold(low, a1 + b1 + np.uint64(low < a0))


@kernel
def minus(a0: np.uint64, a1: np.uint64, b0: np.uint64, b1: np.uint64) -> Element:
    """Return a − b. As p is all ones, p − b is b with its 127 bits flipped."""
    return plus(a0, a1, ~b0, ~b1 & _TOP)


@kernel
def times(a0: np.uint64, a1: np.uint64, b0: np.uint64, b1: np.uint64) -> Element:
    """Return a·b: four products of words, then the part from 2^128 on comes in doubled."""
    w0, low_carry = multiply_words(a0, b0)
    x0, x1 = multiply_words(a0, b1)
    y0, y1 = multiply_words(a1, b0)
    z0, z1 = multiply_words(a1, b1)
    middle = x0 + y0
    middle_carry = x1 + y1 + np.uint64(middle < x0)
    w1 = low_carry + middle
    partial = z0 + middle_carry
    w2 = partial + np.uint64(w1 < middle)
    w3 = z1 + np.uint64(partial < z0) + np.uint64(w2 < partial)
    # w0 … w3 hold the product, below (2^127 − 1)^2; its bits from the 127th on are those of `upper`.
    upper0 = (w2 << _1) | (w1 >> _63)
    upper1 = (w3 << _1) | (w2 >> _63)
    low = w0 + upper0
    return fold(low, (w1 & _TOP) + upper1 + np.uint64(low < w0))


@kernel
def reduce_wide(total: Wide) -> Element:
    """Return a 320-bit sum of products modulo p, the sum of fewer than 2^63 of them."""
    w0, w1, w2, w3, w4 = total
    low = fold(w0, w1)  # 2^127 for 2^128 − 1, which the addition below takes in all the same
    middle = fold((w2 << _1), (w3 << _1) | (w2 >> _63))  # 2^128 ≡ 2
    high = fold((w4 << _1) | (w3 >> _63), _0)  # bit 255 has the weight 2^255 ≡ 2
    high = plus(high[0], high[1], high[0], high[1])
    result = plus(low[0], low[1], middle[0], middle[1])
    return plus(result[0], result[1], high[0], high[1])


@kernel
def power(a0: np.uint64, a1: np.uint64, exponent: Element) -> Element:
    """Return a^exponent, for a public exponent below 2^127, from its highest bit down."""
    result = _1, _0
    for word in (exponent[1], exponent[0]):
        for bit in range(64):
            result = times(result[0], result[1], result[0], result[1])
            if (word >> (_63 - np.uint64(bit))) & _1:
                result = times(result[0], result[1], a0, a1)
    return result


@kernel
def shifted(a0: np.uint64, a1: np.uint64, bits: int) -> Element:
    """Return ⌊a / 2^bits⌋ of a as an integer in 0 … p − 1, for 0 ≤ bits < 127."""
    rest = np.uint64(bits & 63)
    if bits >= 64:
        return a1 >> rest, _0
    return (a0 >> rest) | ((a1 << _1) << (_63 - rest)), a1 >> rest


# --- Arrays, entry by entry --------------------------------------------------------------------------


@kernel
def add(out: Elements, a: Elements, b: Elements) -> None:
    """Write a + b; one of size 1 stands for the same element everywhere."""
    step_a, step_b = int(len(a) > 1), int(len(b) > 1)
    for i in range(len(out)):
        j, k = i * step_a, i * step_b
        out[i, 0], out[i, 1] = plus(a[j, 0], a[j, 1], b[k, 0], b[k, 1])


@kernel
def sub(out: Elements, a: Elements, b: Elements) -> None:
    """Write a − b; one of size 1 stands for the same element everywhere."""
    step_a, step_b = int(len(a) > 1), int(len(b) > 1)
    for i in range(len(out)):
        j, k = i * step_a, i * step_b
        out[i, 0], out[i, 1] = minus(a[j, 0], a[j, 1], b[k, 0], b[k, 1])


@kernel
def mul(out: Elements, a: Elements, b: Elements) -> None:
    """Write a·b; one of size 1 stands for the same element everywhere."""
    if len(a) == 1:
        a, b = b, a
    if len(b) == 1:
        b0, b1 = b[0, 0], b[0, 1]
        for i in range(len(out)):
            out[i, 0], out[i, 1] = times(a[i, 0], a[i, 1], b0, b1)
    else:
        for i in range(len(out)):
            out[i, 0], out[i, 1] = times(a[i, 0], a[i, 1], b[i, 0], b[i, 1])


@kernel
def add_scaled(total: Elements, a: Elements, factor: Elements) -> None:
    """Add factor·a in place; `factor` has size 1."""
    f0, f1 = factor[0, 0], factor[0, 1]
    for i in range(len(total)):
        product = times(a[i, 0], a[i, 1], f0, f1)
        total[i, 0], total[i, 1] = plus(total[i, 0], total[i, 1], product[0], product[1])


@kernel
def lines(out: Elements, values: Elements, given: Elements, point: int, reciprocal: Elements) -> None:
    """Write what the lines with `values` at 0 and `given` at a point are at 1, 2, … but for this point.

    `out` has shape ``(points, size, 2)``; `reciprocal` is that of the point, and has size 1.
    """
    r0, r1 = reciprocal[0, 0], reciprocal[0, 1]
    for i in range(len(values)):
        x0, x1 = values[i, 0], values[i, 1]
        s0, s1 = minus(given[i, 0], given[i, 1], x0, x1)
        s0, s1 = times(s0, s1, r0, r1)
        for k in range(len(out)):
            x0, x1 = plus(x0, x1, s0, s1)
            if k + 1 == point:
                x0, x1 = plus(x0, x1, s0, s1)
            out[k, i, 0], out[k, i, 1] = x0, x1


@kernel
def powers(out: Elements, a: Elements, low: np.uint64, high: np.uint64) -> None:
    """Write a^(low + 2^64·high)."""
    for i in range(len(out)):
        out[i, 0], out[i, 1] = power(a[i, 0], a[i, 1], (low, high))


@kernel
def invert(out: Elements, a: Elements) -> None:
    """Write a^(−1), for a without zeros: all prefix products, one inversion, and back again."""
    size = len(a)
    running = _1, _0
    for i in range(size):
        out[i, 0], out[i, 1] = running
        running = times(running[0], running[1], a[i, 0], a[i, 1])
    inverse = power(running[0], running[1], (_ALL - _1 - _1, _TOP))  # p − 2
    for i in range(size - 1, -1, -1):
        out[i, 0], out[i, 1] = times(out[i, 0], out[i, 1], inverse[0], inverse[1])
        inverse = times(inverse[0], inverse[1], a[i, 0], a[i, 1])


@kernel
def shift_right(out: Elements, a: Elements, bits: int) -> None:
    """Write ⌊a / 2^bits⌋ of a as an integer in 0 … p − 1, for 0 ≤ bits < 127."""
    for i in range(len(out)):
        out[i, 0], out[i, 1] = shifted(a[i, 0], a[i, 1], bits)


@kernel
def to_signed(out: Elements, a: Elements) -> None:
    """Write the integers in −(p − 1)/2 … (p − 1)/2 that elements stand for, in two's complement."""
    for i in range(len(out)):
        negative = a[i, 1] >> np.uint64(62)
        # a − p = a + 1 − 2^127, and 2^127 to 2^128 are the sign's bits.
        low = a[i, 0] + negative
        carry = np.uint64(low < negative)
        out[i, 0] = low
        out[i, 1] = a[i, 1] + carry + (negative << _63)


@kernel
def from_signed(out: Elements, integers: Elements) -> None:
    """Write the elements of integers in two's complement, of magnitude below p."""
    for i in range(len(out)):
        negative = integers[i, 1] >> _63
        low = integers[i, 0] - negative
        borrow = np.uint64(integers[i, 0] < negative)
        out[i, 0] = low
        out[i, 1] = (integers[i, 1] - borrow) & _TOP


@kernel
def canonical(a: Elements) -> bool:
    """Return whether every element is less than p."""
    excess = _0  # has its topmost bit set if one is not, as p itself has after 1 is carried
    for i in range(len(a)):
        excess |= a[i, 1] | (a[i, 1] + np.uint64(a[i, 0] == _ALL))
    return bool(excess <= _TOP)


# --- Sums and products of matrices -------------------------------------------------------------------


@kernel
def cumulate(out: Elements, a: Elements) -> None:
    """Write running sums over the second axis of a, of shape ``(lists, size, 2)``."""
    for row in range(len(out)):
        low, high = _0, _0
        for i in range(out.shape[1]):
            low, high = plus(low, high, a[row, i, 0], a[row, i, 1])
            out[row, i, 0], out[row, i, 1] = low, high


@kernel
def sum_middle(out: Elements, a: Elements) -> None:
    """Write the sums of a, of shape (outer, terms, inner, 2), over its terms."""
    outer, terms, inner, _ = a.shape
    for i in range(outer):
        for k in range(inner):
            out[i, k] = _0
        for j in range(terms):
            for k in range(inner):
                out[i, k, 0], out[i, k, 1] = plus(out[i, k, 0], out[i, k, 1], a[i, j, k, 0], a[i, j, k, 1])


@kernel
def dot(a: Elements, b: Elements) -> Element:
    """Return the inner product of two arrays; products are added up unreduced, the total is reduced once."""
    total = (_0, _0, _0, _0, _0)
    for k in range(len(a)):
        total = multiply_accumulate(total, a[k, 0], a[k, 1], b[k, 0], b[k, 1])
    return reduce_wide(total)


@kernel
def matmul(out: Elements, a: Elements, b: Elements) -> None:
    """Write a·bᵀ for stacks a, of shape (count, rows, terms, 2), and b, (count, columns, terms, 2)."""
    count, rows, columns, _ = out.shape
    for s in range(count):
        for i in range(rows):
            for j in range(columns):
                out[s, i, j, 0], out[s, i, j, 1] = dot(a[s, i], b[s, j])


# --- Masks -------------------------------------------------------------------------------------------


@kernel
def truncate_random(words: Elements, bits: int) -> None:
    """Keep the low bits, 0 < bits ≤ 127, of random words in place. With 127 bits, p becomes 0."""
    low, high = _low_bits(bits)
    for i in range(len(words)):
        words[i, 0], words[i, 1] = fold(words[i, 0] & low, words[i, 1] & high)


@kernel
def add_random(total: Elements, words: Elements, negate: bool) -> None:
    """Add, or subtract, the elements that random words make."""
    flip = _ALL if negate else _0  # p − r is r with its 127 bits flipped
    for i in range(len(total)):
        r0, r1 = words[i, 0] ^ flip, (words[i, 1] ^ flip) & _TOP
        r0, r1 = fold(r0, r1)
        total[i, 0], total[i, 1] = plus(total[i, 0], total[i, 1], r0, r1)


@kernel
def blind(
    masked: Elements, kept: Elements, words: Elements, coefficient: Elements, bits: int, drop: int, add: bool
) -> None:
    """Take r, the low bits of random words, into what is sent and into what is kept.

    ``masked += r`` if `add`, and ``kept += coefficient·⌊r / 2^drop⌋``; `coefficient` has size 1.
    """
    low, high = _low_bits(bits)
    c0, c1 = coefficient[0, 0], coefficient[0, 1]
    for i in range(len(masked)):
        r0, r1 = fold(words[i, 0] & low, words[i, 1] & high)
        if add:
            masked[i, 0], masked[i, 1] = plus(masked[i, 0], masked[i, 1], r0, r1)
        r0, r1 = shifted(r0, r1, drop)
        r0, r1 = times(r0, r1, c0, c1)
        kept[i, 0], kept[i, 1] = plus(kept[i, 0], kept[i, 1], r0, r1)


@kernel
def unblind(kept: Elements, opened: Elements, drop: int, constant: Elements) -> None:
    """Replace ``kept`` by ⌊opened / 2^drop⌋ − kept − constant; `constant` has size 1."""
    for i in range(len(kept)):
        q0, q1 = shifted(opened[i, 0], opened[i, 1], drop)
        q0, q1 = minus(q0, q1, kept[i, 0], kept[i, 1])
        kept[i, 0], kept[i, 1] = minus(q0, q1, constant[0, 0], constant[0, 1])


@kernel
def _low_bits(bits: int) -> Element:
    low = _ALL >> np.uint64(64 - min(bits, 64))
    high = _0 if bits <= 64 else _TOP >> np.uint64(127 - bits)
    return low, high
