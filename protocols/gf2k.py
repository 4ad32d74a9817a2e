"""The fields GF(2^k), just large enough to give every party a point: how bits are shared among n parties.

A bit is shared by Shamir's scheme over GF(2^k), the value at 0 of a polynomial of degree t. Everything that
parties do with shares is linear over GF(2) but for one product, so all this module makes is tables: which
words of a share to join. `bits` applies them to words, 64 bits at a time.

An element is an integer of k bits, the coefficients of a polynomial in ω; party i stands at element i. The
lowest coefficient φ is a linear map to GF(2) with φ(1) = 1. Of summands in GF(2^k) whose sum is a bit it
therefore makes summands in GF(2) of the same bit: one bit a party instead of k [1]_.

References
----------
.. [1] R. Cramer, I. Damgård and Y. Ishai, "Share Conversion, Pseudorandom Secret-Sharing and
   Applications to Secure Computation", TCC 2005, for conversions between schemes and fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from protocols.prss import Subset, subsets

#: An irreducible polynomial for each k, as its coefficients' bits.
MODULI = {2: 0b111, 3: 0b1011, 4: 0b10011, 5: 0b100101}


def degree_for(n: int) -> int:
    """Return the least k such that GF(2^k) has n elements other than 0."""
    return max(2, n.bit_length())


def times(a: int, b: int, k: int) -> int:
    """Return a·b in GF(2^k)."""
    product = 0
    for bit in range(k):
        if b >> bit & 1:
            product ^= a << bit
    for bit in range(2 * k - 2, k - 1, -1):
        if product >> bit & 1:
            product ^= MODULI[k] << (bit - k)
    return product


def inverse(a: int, k: int) -> int:
    """Return a^(−1) = a^(2^k − 2)."""
    result = 1
    for _ in range((1 << k) - 2):
        result = times(result, a, k)
    return result


def lagrange(points: Iterable[int], own: int, at: int, k: int) -> int:
    """Return the polynomial that is 1 at `own` and 0 at all other points, at a point."""
    result = 1
    for other in points:
        if other != own:
            result = times(result, times(at ^ other, inverse(own ^ other, k), k), k)
    return result


@dataclass(frozen=True)
class Scheme:
    """One party's tables for bits shared among n parties with degree t.

    Attributes
    ----------
    k
        Bits, and so words, of a share.
    windows
        For each party, a set of n − t parties that it belongs to: itself and those after it, in a circle.
    lifts
        For every set A of n − t parties, f_A at this party's point: its share of a 1 that A knows.
    summand
        ``φ(λ·ω^a)`` for each word a: what makes a share of degree below n this party's summand of the bit.
    product
        ``φ(λ·ω^a·ω^b)`` for words a and b: the same for the product of two shares.
    """

    k: int
    windows: tuple[Subset, ...]
    lifts: dict[Subset, int]
    summand: NDArray[np.bool_]
    product: NDArray[np.bool_]


@lru_cache
def scheme(n: int, t: int, point: int) -> Scheme:
    """Return the tables of one of n parties, which stands at a point from 1."""
    k = degree_for(n)
    weight = lagrange(range(1, n + 1), point, 0, k)
    summand = [times(weight, 1 << a, k) & 1 for a in range(k)]
    product = [[times(weight, times(1 << a, 1 << b, k), k) & 1 for b in range(k)] for a in range(k)]
    return Scheme(
        k,
        tuple(tuple(sorted((i + j) % n + 1 for j in range(n - t))) for i in range(n)),
        {subset: _lift(subset, n, point, k) for subset in subsets(n, t)},
        np.array(summand, bool),
        np.array(product, bool),
    )


def _lift(subset: Subset, n: int, point: int, k: int) -> int:
    """Return f_A(point), the polynomial that is 1 at 0 and 0 at all parties outside A."""
    return lagrange((0, *(j for j in range(1, n + 1) if j not in subset)), 0, point, k)
