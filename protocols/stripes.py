"""Long arrays in messages of moderate length: while one is on its way, the next is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from protocols import codec, field
from protocols.errors import CodecError, ShapeMismatch
from protocols.mersenne import Elements
from protocols.party import Party
from transport.base import Buffer

#: Elements in a message, of one mebibyte.
STRIPE = 1 << 16
#: Messages to a peer that may be on their way at once: enough for 200 MB/s at 20 ms.
AHEAD = 4
#: Elements worked on at a time, few enough for several such arrays to stay in a core's cache.
BLOCK = 1 << 13


def cut(start: int, stop: int, length: int) -> list[slice]:
    """Return the pieces of a range, each of a length, the last one apart."""
    return [slice(at, min(at + length, stop)) for at in range(start, stop, length)]


def broadcast(
    party: Party, step: str, size: int, produce: Callable[[slice], Elements]
) -> Iterator[tuple[slice, list[Elements]]]:
    """Send every peer the same elements, and receive theirs: one round, however many messages.

    Parameters
    ----------
    party
        This party.
    step
        The step's name.
    size
        Length of every party's array. An empty one takes no message and no round.
    produce
        Returns our elements of a stripe.

    Yields
    ------
    tuple
        A stripe, and every party's elements of it in the order of the roster. Those of peers are
        canonical, and read-only.
    """
    sent: deque[tuple[slice, Elements]] = deque()

    def receive() -> tuple[slice, list[Elements]]:
        stripe, own = sent.popleft()
        parts = [
            own if name == party.me else unpack(name, step, party.recv(name, step), len(own))
            for name in party.roster
        ]
        return stripe, parts

    for stripe in cut(0, size, STRIPE):
        own = produce(stripe)
        message = codec.encode(own)
        for peer in party.peers:
            party.send(peer, step, message)
        sent.append((stripe, own))
        if len(sent) > AHEAD:
            yield receive()
    while sent:
        yield receive()
    party.mesh.traffic.rounds += size > 0


def unpack(peer: str, step: str, message: Buffer, size: int) -> Elements:
    """Return the elements of a peer's message, held against what no honest party sends."""
    elements = codec.decode(message, peer=peer)
    if not isinstance(elements, np.ndarray) or elements.dtype != np.uint64 or elements.shape[1:] != (2,):
        raise CodecError(f"site {peer} sent no field elements at step {step!r}", peer=peer)
    if len(elements) != size:
        raise ShapeMismatch(
            f"at step {step!r} site {peer} sent {len(elements)} elements where {size} are due: the sites "
            "do not compute on arrays of the same shape",
            peer=peer,
        )
    if not field.is_canonical(elements):
        raise CodecError(f"site {peer} sent a number that is no field element at step {step!r}", peer=peer)
    return elements
