"""A few oblivious transfers of random keys, on the curve of Ed25519 (Chou and Orlandi [1]_).

The sender publishes A = a·G. For a choice c the receiver publishes B = b·G + c·A and keeps H(b·A). The
sender keeps H(a·B) and H(a·(B − A)): the receiver has the first if c = 0, the second if c = 1. To have the
other one, it would have to compute a·A. B is uniform whatever c is. Against passive parties this is all
that is needed; points are checked to lie in the group of prime order, of which libsodium's encoding is
canonical.

References
----------
.. [1] T. Chou and C. Orlandi, "The Simplest Protocol for Oblivious Transfer", LATINCRYPT 2015.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from nacl import bindings as sodium

from protocols.errors import CodecError

POINT = 32
KEY = 32


class Sender:
    """The party that gets both keys of each transfer.

    Parameters
    ----------
    entropy
        Returns so many random bytes.
    context
        Names session, parties and direction: hashed with every key.
    """

    def __init__(self, entropy: Callable[[int], bytes], context: bytes) -> None:
        self._context = context
        self._secret, self.message = _keypair(entropy)

    def keys(self, points: bytes, count: int, peer: str) -> list[tuple[bytes, bytes]]:
        """Return both keys of each transfer, from the receiver's message."""
        found = []
        for number, point in enumerate(_points(points, count, peer)):
            other = sodium.crypto_core_ed25519_sub(point, self.message)
            found.append(
                (
                    _hash(self._context, number, self.message, point, _times(self._secret, point, peer)),
                    _hash(self._context, number, self.message, point, _times(self._secret, other, peer)),
                )
            )
        return found


class Receiver:
    """The party that gets one key of each transfer.

    Parameters
    ----------
    entropy, context
        As for `Sender`.
    choices
        Which key it wants of each.
    """

    def __init__(self, entropy: Callable[[int], bytes], context: bytes, choices: Sequence[int]) -> None:
        self._entropy, self._context, self._choices = entropy, context, choices

    def receive(self, message: bytes, peer: str) -> tuple[bytes, list[bytes]]:
        """Return our message and the chosen keys, from the sender's message."""
        (theirs,) = _points(message, 1, peer)
        points, keys = [], []
        for number, choice in enumerate(self._choices):
            secret, point = _keypair(self._entropy)
            both = point, sodium.crypto_core_ed25519_add(point, theirs)
            points.append(both[choice])
            keys.append(_hash(self._context, number, theirs, both[choice], _times(secret, theirs, peer)))
        return b"".join(points), keys


def _keypair(entropy: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """Return a uniform scalar other than 0, and its multiple of the base point."""
    while True:
        scalar = sodium.crypto_core_ed25519_scalar_reduce(entropy(64))
        if any(scalar):
            return scalar, sodium.crypto_scalarmult_ed25519_base_noclamp(scalar)


def _times(scalar: bytes, point: bytes, peer: str) -> bytes:
    """Return a multiple of a point, which no honest party's messages make the neutral one."""
    try:
        product: bytes = sodium.crypto_scalarmult_ed25519_noclamp(scalar, point)
    except Exception as error:  # libsodium's own error, for the neutral point
        raise CodecError(f"site {peer} sent a point whose multiples are neutral", peer=peer) from error
    return product


def _points(message: bytes, count: int, peer: str) -> list[bytes]:
    """Return a peer's points, all of them of the group of prime order."""
    if len(message) != POINT * count:
        raise CodecError(f"site {peer} sent no {count} points", peer=peer)
    points = [message[at : at + POINT] for at in range(0, len(message), POINT)]
    if not all(sodium.crypto_core_ed25519_is_valid_point(point) for point in points):
        raise CodecError(f"site {peer} sent what is no point of the group of prime order", peer=peer)
    return points


def _hash(context: bytes, number: int, *points: bytes) -> bytes:
    digest = hashlib.sha256(b"fedstats v1 base transfer\x00" + len(context).to_bytes(4, "little") + context)
    digest.update(number.to_bytes(4, "little"))
    for point in points:
        digest.update(point)
    return digest.digest()
