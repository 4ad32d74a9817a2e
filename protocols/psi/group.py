"""The group of prime order in edwards25519: items as its elements, and secret exponents on all cores.

Elements are 32 bytes, by libsodium through PyNaCl. Its multiplication refuses what is not the canonical
encoding of an element of the subgroup of order 2^252 + 27742317777372353535851937790883648493, other than
those of small order; so what a peer sent is checked where it is used.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from nacl import bindings
from nacl.exceptions import RuntimeError as SodiumError
from numpy.typing import NDArray

from protocols.errors import CodecError

#: Shape ``(size, 32)``, uint8.
Points = NDArray[np.uint8]

POINT = 32
#: Elements that a thread takes at a time.
_CHUNK = 256


def hash_to_group(items: Sequence[bytes], domain: bytes) -> Points:
    """Return items as elements of the group, as a random oracle would.

    Each is the sum of two images of Elligator's map of halves of SHA-512, as RFC 9380 has it (with another
    hash to the field).

    Parameters
    ----------
    items
        What is hashed.
    domain
        What tells this use from any other, such as a session's identifier.
    """
    prefix = hashlib.sha512(len(domain).to_bytes(8, "little") + domain).digest()

    def one(item: bytes) -> bytes:
        digest = hashlib.sha512(prefix + item).digest()
        halves = map(bindings.crypto_core_ed25519_from_uniform, (digest[:POINT], digest[POINT:]))
        return bindings.crypto_core_ed25519_add(*halves)

    return _each(one, items)


class Exponent:
    """A secret exponent, uniform among those that have an inverse."""

    def __init__(self, scalar: bytes | None = None) -> None:
        self._scalar = scalar or _uniform()

    def __mul__(self, other: Exponent) -> Exponent:
        """Return the exponent that does what both do."""
        return Exponent(bindings.crypto_core_ed25519_scalar_mul(self._scalar, other._scalar))

    def power(self, points: Points, *, peer: str | None = None) -> Points:
        """Return each element, raised to this exponent.

        Parameters
        ----------
        points
            The elements.
        peer
            Whose they are; it is blamed for what is none.

        Raises
        ------
        CodecError
            One is not the encoding of an element of the group.
        """

        def one(point: bytes) -> bytes:
            return bindings.crypto_scalarmult_ed25519_noclamp(self._scalar, point)

        try:
            return _each(one, [row.tobytes() for row in points])
        except SodiumError:
            whose = "an element" if peer is None else f"what {peer} sent"
            raise CodecError(
                f"{whose} is not in the group of prime order: it runs a damaged or hostile version", peer=peer
            ) from None

    def __repr__(self) -> str:
        return "<Exponent>"


def order(points: Points) -> NDArray[np.int64]:
    """Return the positions that sort elements by their bytes.

    Under a secret exponent this is an order that tells nothing of the one before.
    """
    return np.lexsort(points.T[::-1]).astype(np.int64)


def places(points: Points, among: Points) -> NDArray[np.int64]:
    """Return where each element stands in a sorted list; −1 where it does not."""
    known = {row.tobytes(): place for place, row in enumerate(among)}
    return np.array([known.get(row.tobytes(), -1) for row in points], np.int64)


def _uniform() -> bytes:
    while not any(scalar := bindings.crypto_core_ed25519_scalar_reduce(secrets.token_bytes(64))):
        pass
    return scalar


def _each(function: Callable[[bytes], bytes], items: Sequence[bytes]) -> Points:
    """Apply a function of libsodium, which lets go of the interpreter, to many items on all cores."""

    def part(start: int) -> bytes:
        return b"".join(map(function, items[start : start + _CHUNK]))

    starts: Iterable[int] = range(0, len(items), _CHUNK)
    if len(items) <= _CHUNK:
        data = b"".join(map(part, starts))
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            data = b"".join(pool.map(part, starts))
    return np.frombuffer(data, np.uint8).reshape(-1, POINT)
