"""Cyclic convolutions modulo one prime of 60 bits, by number-theoretic transforms.

A convolution of thousands of terms takes a few hundred thousand products by transforms [1]_ where the plain
sum takes millions. The prime is such that 2^18 divides p − 1: it has roots of unity for every length up to
that, and is of the form that `crt.fold` reduces by.

References
----------
.. [1] J. M. Pollard, "The Fast Fourier Transform in a Finite Field", Mathematics of Computation 25, 1971.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count

import numpy as np

from protocols.crt import Residues, times
from protocols.mersenne import kernel

#: 2^60 − 2^18 + 1.
PRIME = (1 << 60) - (1 << 18) + 1
#: Longest transform.
LONGEST = 1 << 18


def convolve(a: Residues, b: Residues) -> Residues:
    """Return Σ_j a_j·b_(k − j) modulo `PRIME` of two vectors of the same length, indices modulo that length.

    Both are padded to a power of two that holds their product without wrapping, which is then wrapped.
    """
    size = len(a)
    length = 1 << max(1, (2 * size - 2).bit_length())
    if length > LONGEST:
        raise ValueError(f"vectors of {size} terms are too long to be convolved")
    padded = np.zeros((2, length), np.uint64)
    padded[0, :size], padded[1, :size] = a, b
    product(padded, *_roots(length), np.uint64(pow(length, -1, PRIME)), np.uint64(PRIME))
    wrapped: Residues = padded[0, :size] + padded[0, size : 2 * size]
    reduced: Residues = np.minimum(wrapped, wrapped - np.uint64(PRIME))  # below 0 is huge
    return reduced


@lru_cache(maxsize=32)
def _roots(length: int) -> tuple[Residues, Residues]:
    """Return the powers of a root of unity of this order, and of its inverse, half of them each."""
    generator = next(g for g in count(3) if pow(g, (PRIME - 1) // 2, PRIME) != 1)
    root = pow(generator, (PRIME - 1) // length, PRIME)
    out = np.empty((2, length // 2), np.uint64)
    for row, one in zip(out, (root, pow(root, -1, PRIME)), strict=True):
        powers(row, np.uint64(one), np.uint64(PRIME))
    return out[0], out[1]


# --- Kernels -----------------------------------------------------------------------------------------


@kernel
def powers(out: Residues, root: np.uint64, p: np.uint64) -> None:
    """Write the powers of a root, from the 0th on."""
    power = np.uint64(1)
    for k in range(len(out)):
        out[k] = power
        power = times(power, root, p)


@kernel
def product(both: Residues, roots: Residues, inverses: Residues, scale: np.uint64, p: np.uint64) -> None:
    """Write the convolution of two rows to the first one.

    Decimation in frequency leaves transforms in the order of reversed bits, from which decimation in time
    starts: nothing is put in order in between.
    """
    length = both.shape[1]
    for row in both:
        half = length // 2
        while half:
            stride = length // (2 * half)
            for start in range(0, length, 2 * half):
                for j in range(half):
                    u, v = row[start + j], row[start + j + half]
                    total = u + v
                    row[start + j] = total - p * np.uint64(total >= p)
                    row[start + j + half] = times(u + p - v, roots[j * stride], p)
            half //= 2
    row = both[0]
    for k in range(length):
        row[k] = times(times(row[k], both[1, k], p), scale, p)
    half = 1
    while half < length:
        stride = length // (2 * half)
        for start in range(0, length, 2 * half):
            for j in range(half):
                u, v = row[start + j], times(row[start + j + half], inverses[j * stride], p)
                total, difference = u + v, u + p - v
                row[start + j] = total - p * np.uint64(total >= p)
                row[start + j + half] = difference - p * np.uint64(difference >= p)
        half *= 2
