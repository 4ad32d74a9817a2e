"""Measures the way to each peer: round trip, bandwidth, and how the clocks compare.

Every pair of sites measures alone: all sites walk through the pairs in the same order, and the
first of a pair asks, the second answers, then the other way round. What is sent is nonce and zeros.
"""

from __future__ import annotations

import statistics
import struct
import time
from dataclasses import dataclass
from itertools import combinations

from transport.base import Channel, Mesh

#: Small messages by which the round trip is measured, and the size in bytes of the large one.
ECHOES = 9
LOAD = 4 << 20

_CLOCK = struct.Struct(">d")


@dataclass(frozen=True)
class Line:
    """What was measured between this site and one peer.

    Attributes
    ----------
    peer
        The peer's name.
    round_trip
        Seconds, the median of `ECHOES`.
    bandwidth
        Bytes a second from this site to the peer.
    clock
        Seconds by which the peer's clock is ahead of this site's.
    """

    peer: str
    round_trip: float
    bandwidth: float
    clock: float


def measure(mesh: Mesh) -> dict[str, Line]:
    """Measure the way to every peer; called at all sites of the mesh at once."""
    lines = {}
    for pair in combinations(mesh.roster, 2):
        for asking, answering in (pair, pair[::-1]):
            step = f"probe {asking} {answering}"
            if mesh.me == asking:
                lines[answering] = _ask(mesh.channel(answering), step)
            elif mesh.me == answering:
                _answer(mesh.channel(asking), step)
    return lines


def _ask(channel: Channel, step: str) -> Line:
    trips, offsets = [], []
    for _ in range(ECHOES):
        sent, begun = time.time(), time.perf_counter()
        channel.send(step, b"")
        (theirs,) = _CLOCK.unpack(channel.recv(step))
        trips.append(time.perf_counter() - begun)
        offsets.append(theirs - (sent + trips[-1] / 2))
    round_trip = statistics.median(trips)
    begun = time.perf_counter()
    channel.send(step, bytes(LOAD))
    channel.recv(step)
    seconds = max(time.perf_counter() - begun - round_trip, 1e-6)
    # The quickest echo was delayed least, so its clock is the best known.
    return Line(channel.peer, round_trip, LOAD / seconds, offsets[trips.index(min(trips))])


def _answer(channel: Channel, step: str) -> None:
    for _ in range(ECHOES + 1):
        channel.recv(step)
        channel.send(step, _CLOCK.pack(time.time()))
