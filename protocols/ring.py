"""Fixed-point numbers in Z_2^(64·limbs), in which sums are exact and do not depend on their order.

A float64 is an integer times a power of two. Scaled by 2^fraction and rounded to an integer it becomes
an element of the ring, in two's complement; sums of elements carry no rounding at all, and converting
the total back rounds it once. With enough limbs nothing is rounded on the way in either: `EXACT` is the
superaccumulator of Kulisch [1]_, wide enough for every float64 there is.

Arrays of elements have one axis more than the values: the limbs, uint64, least significant first.

References
----------
.. [1] U. Kulisch, "Computer Arithmetic and Validity", 2nd ed., de Gruyter, 2013, chapter 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols import limbs
from protocols.errors import RangeError


@dataclass(frozen=True)
class Ring:
    """Integers modulo 2^(64·limbs), read as signed multiples of 2^-fraction.

    Attributes
    ----------
    limbs
        Words of an element.
    fraction
        Fractional bits, fewer than the ring has.
    """

    limbs: int
    fraction: int

    def __post_init__(self) -> None:
        if self.limbs < 1 or not 0 <= self.fraction < 64 * self.limbs:
            raise ValueError("a ring has a limb or more, and fewer fractional bits than bits")

    def bound(self, parties: int) -> float:
        """Return what every |x| must stay under, so that a sum over `parties` cannot wrap around."""
        integer_bits = 64 * self.limbs - 1 - self.fraction
        try:
            return math.ldexp(1 / parties, integer_bits)
        except OverflowError:
            return math.inf


#: For integers: int64 as it is.
Z64 = Ring(1, 0)
#: For bulk data of known bounds: 16 bytes a value, the sum exact to 2^-64 for each party, and
#: magnitudes to 2^63 divided by the number of parties.
FIXED128 = Ring(2, 64)
#: For statistics: 272 bytes a value, every finite float64, sums exact and rounded once. The span
#: from 2^-1074 to 2^1024 takes 2,098 bits; a sign and 2^63 parties fit in the rest of 2,176.
EXACT = Ring(34, 1088)


def check(x: NDArray[Any], ring: Ring, *, parties: int) -> NDArray[Any]:
    """Return values as the dtype that a ring carries, or refuse them.

    Parameters
    ----------
    x
        Shape ``(size,)``: integers or booleans for `Z64`, floats for any other ring.
    ring
        Where they are to be encoded.
    parties
        How many such arrays are to be summed.

    Returns
    -------
    ndarray
        The values as contiguous int64 for `Z64`, float64 for any other ring.

    Raises
    ------
    RangeError
        An entry is NaN, infinite or so large that a sum over the parties might wrap around. The
        message counts such entries and tells the flat index of the first, and no value.
    """
    values: NDArray[Any]
    if ring == Z64:
        limit = np.iinfo(np.int64).max // parties
        if x.dtype == np.uint64:
            refused = x > np.uint64(limit)
        else:
            x = x.astype(np.int64, copy=False)
            refused = (x > limit) | (x < -limit)
        count, first = int(np.count_nonzero(refused)), int(refused.argmax()) if x.size else 0
        values, why = np.ascontiguousarray(x, np.int64), f"they are beyond {limit:.4g} in magnitude"
    else:
        values = np.ascontiguousarray(x, np.float64)
        bound = ring.bound(parties)
        count, first = limbs.refused(values, bound)
        why = "they are NaN or infinite"
        if math.isfinite(bound):
            why += f", or not below {bound:.4g} in magnitude"
    if count:
        raise RangeError(
            f"{count} of {x.size} values cannot be summed, the first at flat index {first}: {why}; "
            "nothing was sent"
        )
    return values


def encode(x: NDArray[Any], ring: Ring, *, parties: int = 1) -> NDArray[np.uint64]:
    """Return values as elements of a ring.

    Parameters
    ----------
    x
        Shape ``(size,)``: integers or booleans for `Z64`; floats for any other ring, rounded to the
        nearest multiple of 2^-fraction, ties to even.
    ring
        Where to encode.
    parties
        How many such arrays are to be summed.

    Returns
    -------
    ndarray
        Shape ``(size, limbs)``.

    Raises
    ------
    RangeError
        See `check`.
    """
    values = check(x, ring, parties=parties)
    out = np.empty((values.size, ring.limbs), np.uint64)
    encode_into(out, values, ring)
    return out


def encode_into(out: NDArray[np.uint64], values: NDArray[Any], ring: Ring) -> None:
    """Encode what `check` returned into an array of shape ``(size, limbs)``; see `encode`."""
    if ring == Z64:
        out[:, 0] = values.view(np.uint64)
    elif ring == FIXED128:
        limbs.encode_fixed128(out, values)
    else:
        limbs.encode(out, values.view(np.uint64), ring.fraction)


def decode(elements: NDArray[np.uint64], ring: Ring) -> NDArray[Any]:
    """Return elements of a ring as numbers.

    Parameters
    ----------
    elements
        Shape ``(size, limbs)``.
    ring
        What they are elements of.

    Returns
    -------
    ndarray
        Shape ``(size,)``: int64 for `Z64`; for any other ring float64, correctly rounded to nearest,
        ties to even. Magnitudes beyond the largest float become infinite, as in IEEE 754.
    """
    if ring == Z64:
        return elements[:, 0].view(np.int64)
    out = np.empty(len(elements))
    if ring == FIXED128:
        limbs.decode_fixed128(out, elements)
    else:
        limbs.decode(out, elements, ring.fraction)
    return out


def add_into(total: NDArray[np.uint64], other: NDArray[np.uint64]) -> None:
    """Add elements of shape ``(size, limbs)`` in place."""
    limbs.add(total, other)


def sub_into(total: NDArray[np.uint64], other: NDArray[np.uint64]) -> None:
    """Subtract elements of shape ``(size, limbs)`` in place."""
    limbs.sub(total, other)
