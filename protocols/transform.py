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
    product = spectrum(a)
    multiply_into(product, spectrum(b), np.uint64(PRIME))
    return of_spectrum(product, len(a))


def spectrum(a: Residues) -> Residues:
    """Return what is multiplied entry by entry where vectors are convolved: linear, so of shares as well."""
    size = len(a)
    length = 1 << max(1, (2 * size - 2).bit_length())
    if length > LONGEST:
        raise ValueError(f"vectors of {size} terms are too long to be convolved")
    padded = np.zeros(length, np.uint64)
    padded[:size] = a
    transform(padded, _roots(length)[0], np.uint64(PRIME))
    return padded


def of_spectrum(product: Residues, size: int) -> Residues:
    """Return the convolution of vectors of a length, of the product of their spectra. Linear, too."""
    padded = product.copy()
    length = len(padded)
    invert(padded, _roots(length)[1], np.uint64(pow(length, -1, PRIME)), np.uint64(PRIME))
    wrapped: Residues = padded[:size].copy()
    wrapped[: length - size] += padded[size : 2 * size]
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
def transform(row: Residues, roots: Residues, p: np.uint64) -> None:
    """Replace a row by its transform, in the order of reversed bits (decimation in frequency)."""
    length = len(row)
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


@kernel
def multiply_into(row: Residues, other: Residues, p: np.uint64) -> None:
    """Multiply a row by another in place."""
    for k in range(len(row)):
        row[k] = times(row[k], other[k], p)


@kernel
def invert(row: Residues, inverses: Residues, scale: np.uint64, p: np.uint64) -> None:
    """Undo `transform`, from the order that it leaves (decimation in time)."""
    length = len(row)
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
    for k in range(length):
        row[k] = times(row[k], scale, p)
