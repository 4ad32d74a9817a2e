"""Compiled kernels of `bits`: numbers turned on their side, so that one word holds one bit of 64 numbers.

A *plane* is the bits of one place value, those of numbers 64·w to 64·w + 63 in word w, lowest bit first. A
logical operation on two planes works on 64 numbers at once, and numbers of any length waste nothing.

No kernel branches on a secret, or looks anything up by it. Everything here trusts its arguments.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.mersenne import kernel

Words = NDArray[np.uint64]

#: Words worked on at a time, few enough for several such rows to stay in a core's nearest cache.
_BLOCK = 1 << 10
_0 = np.uint64(0)
#: Shift and mask of each of the six steps of a transposition.
_SHIFTS = np.array([32, 16, 8, 4, 2, 1], np.uint64)
_MASKS = np.array(
    [
        0x00000000FFFFFFFF,
        0x0000FFFF0000FFFF,
        0x00FF00FF00FF00FF,
        0x0F0F0F0F0F0F0F0F,
        0x3333333333333333,
        0x5555555555555555,
    ],
    np.uint64,
)


@kernel
def to_planes(out: Words, numbers: Words) -> None:
    """Write the low bits of all numbers as planes; see `gather_planes`."""
    gather_planes(out, numbers, np.arange(len(numbers)))


@kernel
def gather_planes(out: Words, numbers: Words, index: NDArray[np.intp]) -> None:
    """Write the low bits of some numbers as planes.

    Parameters
    ----------
    out
        Shape ``(planes, ⌈size/64⌉)``.
    numbers
        Shape ``(…, limbs)``, with 64·limbs ≥ planes.
    index
        Shape ``(size,)``: which numbers. It is public.
    """
    planes, size = len(out), len(index)
    square = np.zeros(64, np.uint64)
    for word in range(out.shape[1]):
        start = 64 * word
        count = min(64, size - start)
        for first in range(0, planes, 64):
            limb = first // 64
            for i in range(count):
                square[i] = numbers[index[start + i], limb]
            square[count:] = _0
            _transpose(square)
            for plane in range(first, min(first + 64, planes)):
                out[plane, word] = square[plane - first]


@kernel
def from_planes(out: Words, planes: Words) -> None:
    """Write the numbers whose low bits are planes; the inverse of `to_planes`.

    Parameters
    ----------
    out
        Shape ``(size, limbs)``, with 64·limbs ≥ planes.
    planes
        Shape ``(planes, ⌈size/64⌉)``.
    """
    size, limbs = out.shape
    square = np.zeros(64, np.uint64)
    for word in range(planes.shape[1]):
        start = 64 * word
        for limb in range(limbs):
            count = max(min(64, len(planes) - 64 * limb), 0)
            for plane in range(count):
                square[plane] = planes[64 * limb + plane, word]
            square[count:] = _0
            _transpose(square)
            for i in range(min(64, size - start)):
                out[start + i, limb] = square[i]


@kernel
def _transpose(square: Words) -> None:
    """Exchange bit j of word i with bit i of word j, by halves, quarters and so on.

    H. S. Warren, "Hacker's Delight", 2nd ed., Addison-Wesley, 2012, section 7-3.
    """
    for step in range(6):
        shift, mask = _SHIFTS[step], _MASKS[step]
        distance = 32 >> step
        for start in range(0, 64, 2 * distance):
            for i in range(start, start + distance):
                swapped = ((square[i] >> shift) ^ square[i + distance]) & mask
                square[i] ^= swapped << shift
                square[i + distance] ^= swapped


@kernel
def product(out: Words, x: Words, y: Words, table: NDArray[np.bool_]) -> None:
    """Write ⊕ x[a] & y[b] over all a and b that a table names.

    Parameters
    ----------
    out
        Shape ``(size,)``.
    x, y
        Shape ``(k, size)``.
    table
        Shape ``(k, k)``.
    """
    for start in range(0, len(out), _BLOCK):
        stop = min(start + _BLOCK, len(out))
        for i in range(start, stop):
            out[i] = _0
        for a in range(len(x)):
            for b in range(len(y)):
                if table[a, b]:
                    for i in range(start, stop):
                        out[i] ^= x[a, i] & y[b, i]
