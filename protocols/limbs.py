"""Compiled kernels of `ring`: integers of many 64-bit words, in two's complement.

Arrays of integers have shape ``(size, limbs)``, least significant limb first. Two limbs are by far the
commonest case for long arrays and have kernels of their own where that pays. Everything here trusts its
arguments: shapes, dtypes and ranges are the callers' to check.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numba
import numpy as np
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Floats = NDArray[np.float64]

kernel = numba.njit(nogil=True, cache=True)

# Words mixed with signed literals would become floats: every constant below is a word of its own.
_0, _1, _11, _52, _63, _64 = (np.uint64(constant) for constant in (0, 1, 11, 52, 63, 64))
_HIDDEN_BIT = np.uint64(1 << 52)
_POWERS = np.ldexp(1.0, -np.arange(64))


@intrinsic
def _count_leading_zeros(typing_context: Any, word: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.ctlz(arguments[0], cgutils.false_bit)

    return numba.types.uint64(numba.types.uint64), generate


#: The number of zero bits above the highest set one, 64 for zero: one instruction, which NumPy lacks.
_leading_zeros = cast("Callable[[np.uint64], np.uint64]", _count_leading_zeros)


@kernel
def add(total: Words, other: Words) -> None:
    """Add in place, modulo 2^(64·limbs)."""
    size, limbs = total.shape
    if limbs == 2:
        for i in range(size):
            low = total[i, 0] + other[i, 0]
            total[i, 1] += other[i, 1] + np.uint64(low < other[i, 0])
            total[i, 0] = low
        return
    for i in range(size):
        carry = _0
        for j in range(limbs):
            partial = total[i, j] + other[i, j]
            word = partial + carry
            carry = np.uint64(partial < other[i, j]) | np.uint64(word < partial)
            total[i, j] = word


@kernel
def sub(total: Words, other: Words) -> None:
    """Subtract in place, modulo 2^(64·limbs)."""
    size, limbs = total.shape
    if limbs == 2:
        for i in range(size):
            low = total[i, 0]
            total[i, 0] = low - other[i, 0]
            total[i, 1] -= other[i, 1] + np.uint64(low < other[i, 0])
        return
    for i in range(size):
        borrow = _0
        for j in range(limbs):
            word = total[i, j]
            partial = word - other[i, j]
            total[i, j] = partial - borrow
            borrow = np.uint64(word < other[i, j]) | np.uint64(partial < borrow)


@kernel
def encode(out: Words, bits: Words, fraction: int) -> None:
    """Write round(x·2^fraction), ties to even, of floats given as their bits."""
    size, limbs = out.shape
    if limbs == 2:
        for i in range(size):
            mantissa, position = _significand(bits[i], fraction)
            low, high = _shift_to_even(mantissa, np.uint64(np.int64(max(1, min(-position, 63))))), _0
            if position >= 0:
                offset = np.uint64(position & 63)
                low, high = mantissa << offset, (mantissa >> _1) >> (_63 - offset)
                if position >= 64:
                    low, high = _0, low
            sign = bits[i] >> _63
            low = (low ^ (_0 - sign)) + sign
            out[i, 0], out[i, 1] = low, (high ^ (_0 - sign)) + (sign & np.uint64(low == _0))
        return
    for i in range(size):
        mantissa, position = _significand(bits[i], fraction)
        out[i, :] = _0
        if position >= 0:
            limb, offset = position >> 6, np.uint64(position & 63)
            out[i, limb] = mantissa << offset
            if offset > _11:
                out[i, limb + 1] = mantissa >> (_64 - offset)
        else:
            out[i, 0] = _shift_to_even(mantissa, np.uint64(np.int64(min(-position, 63))))

        if bits[i] >> _63:
            carry = _1
            for j in range(limbs):
                out[i, j] = ~out[i, j] + carry
                carry &= np.uint64(out[i, j] == _0)


@kernel
def _significand(bits: np.uint64, fraction: int) -> tuple[np.uint64, int]:
    """Return the significand of a float, and the position of its last bit in x·2^fraction."""
    mantissa = bits & (_HIDDEN_BIT - _1)
    exponent = int(bits >> _52) & 0x7FF
    if exponent:
        mantissa |= _HIDDEN_BIT
    else:  # zero and the subnormal numbers
        exponent = 1
    return mantissa, exponent - 1075 + fraction


@kernel
def encode_fixed128(out: Words, x: Floats) -> None:
    """Do what `encode` does, for two limbs, 64 fractional bits and |x| < 2^63."""
    for i in range(len(x)):
        magnitude = abs(x[i])
        high = np.uint64(magnitude)
        # Exact up to the rounding; a fraction that rounds has 12 zeros ahead of it and cannot carry.
        low = np.uint64(np.rint((magnitude - np.float64(high)) * 2.0**64))
        flip = _0 - np.uint64(x[i] < 0)
        low = (low ^ flip) - flip
        out[i, 0] = low
        out[i, 1] = (high ^ flip) + (np.uint64(low == _0) & flip)


@kernel
def decode(out: Floats, integers: Words, fraction: int) -> None:
    """Write integers·2^-fraction, rounded once to the nearest float64, ties to even."""
    size, limbs = integers.shape
    magnitude = np.empty(limbs, np.uint64)
    for i in range(size):
        negative = integers[i, limbs - 1] >> _63
        carry, top = negative, 0
        for j in range(limbs):
            word = (integers[i, j] ^ (_0 - negative)) + carry
            carry &= np.uint64(word == _0)
            magnitude[j] = word
            if word:
                top = j

        # The 64 bits from the highest set one on; the last also stands for all that is below.
        zeros = _leading_zeros(magnitude[top])
        window = magnitude[top] << (zeros & _63)
        rest = _0
        if top and zeros:
            window |= magnitude[top - 1] >> (_64 - zeros)
            rest = magnitude[top - 1] << zeros
        elif top:
            rest = magnitude[top - 1]
        for j in range(top - 1):
            rest |= magnitude[j]
        window |= np.uint64(rest != _0)

        # Dropping what float64 cannot hold at this magnitude leaves 53 bits or fewer: no second rounding.
        exponent = 64 * top - int(zeros) - fraction
        dropped = max(11, -1074 - exponent)
        if dropped > 64:
            value = 0.0
        elif dropped == 64:
            value = math.ldexp(np.float64(window > (_1 << _63)), -1074)
        else:
            kept = _shift_to_even(window, np.uint64(dropped))
            value = math.ldexp(np.float64(kept), exponent + dropped)
        out[i] = -value if negative else value


@kernel
def decode_fixed128(out: Floats, integers: Words) -> None:
    """Do what `decode` does, for two limbs and 64 fractional bits."""
    for i in range(len(out)):
        low, high = integers[i, 0], integers[i, 1]
        flip = _0 - (high >> _63)
        low = (low ^ flip) - flip
        high = (high ^ flip) + (np.uint64(low == _0) & flip)
        if high:
            zeros = _leading_zeros(high)
            window = (high << zeros) | ((low >> _1) >> (_63 - zeros))
            window |= np.uint64((low << zeros) != _0)
            value = np.float64(window) * _POWERS[zeros]
        else:
            value = np.float64(low) * 2.0**-64
        out[i] = -value if flip else value


@kernel
def _shift_to_even(word: np.uint64, shift: np.uint64) -> np.uint64:
    """Return round(word / 2^shift), ties to even, for 0 < shift < 64."""
    quotient = word >> shift
    remainder = word - (quotient << shift)
    half = _1 << (shift - _1)
    odd = quotient & _1
    return quotient + np.uint64(remainder > half or (remainder == half and odd == _1))


@kernel
def refused(x: Floats, bound: float) -> tuple[int, int]:
    """Return how many values are not below `bound` in magnitude (NaN is not), and where the first is."""
    count, first = 0, -1
    for i in range(len(x)):
        if not abs(x[i]) < bound:
            if not count:
                first = i
            count += 1
    return count, first
