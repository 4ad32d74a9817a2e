"""Dealing: some parties share what they hold, sending fewer shares than there are parties.

Of the n shares of a value, t are drawn from the streams that the dealer shares with t of its peers: they
know theirs already. With the value, these determine the polynomial of degree t, whose other shares are
sent [1]_.

References
----------
.. [1] R. Cramer, I. Damgård and Y. Ishai, "Share Conversion, Pseudorandom Secret-Sharing and
   Applications to Secure Computation", TCC 2005.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols import codec, field, shamir
from protocols.engine import Engine
from protocols.mersenne import Elements
from protocols.prg import Stream
from protocols.stripes import unpack
from transport.base import Buffer

#: Numbers of some ring, in a row.
Numbers: TypeAlias = NDArray[np.uint64]


@dataclass(frozen=True)
class Kind:
    """What is dealt: elements of the field, unless said otherwise.

    Attributes
    ----------
    entry
        Shape of an entry.
    draw
        Returns the next so many numbers of a stream, uniform.
    complete
        Returns all n shares of the polynomials with these values, and these t shares by point.
    unpack
        Returns the numbers of a peer's message at a step, so many of them, or refuses it.
    """

    entry: tuple[int, ...]
    draw: Callable[[Stream, int], Numbers]
    complete: Callable[[Numbers, Mapping[int, Numbers], int], Sequence[Numbers] | Numbers]
    unpack: Callable[[str, str, Buffer, int], Numbers]


def draw(stream: Stream, size: int) -> Elements:
    """Return the next elements of a stream, uniform in the field."""
    words = field.empty(size)
    stream.fill(words)
    return field.from_random_words(words)


ELEMENTS = Kind((2,), draw, shamir.complete, unpack)


def deal(
    engine: Engine,
    step: str,
    dealers: Sequence[int],
    values: Numbers | None,
    size: int,
    kind: Kind = ELEMENTS,
) -> Callable[[], Numbers]:
    """Share what some parties hold: send now, and receive later.

    Parameters
    ----------
    engine
        The computation.
    step
        The step's name, fresh.
    dealers
        Positions in the roster, from 0, of those who deal.
    values
        Shape ``(size, *entry)``: this party's numbers if it deals.
    size
        How many numbers each dealer shares.
    kind
        Of what ring they are.

    Returns
    -------
    callable
        Receives, and returns this party's shares, of shape ``(len(dealers), size, *entry)``. What else
        belongs to the same round is sent before it is called.

    Notes
    -----
    **Leakage.** Nothing: the polynomial is the value and t uniform shares, so any t shares are uniform
    and independent of the value (as far as AES-128 and HKDF-SHA256 are pseudorandom).

    **Cost.** One round, which the caller counts. A dealer sends n − 1 − t peers one number an entry: one for
    three parties.
    """
    party = engine.party
    shares = np.empty((len(dealers), size, *kind.entry), np.uint64)
    awaited: list[tuple[int, str]] = []
    for position, dealer in enumerate(dealers):
        name = party.roster[dealer]
        streams = party.streams(f"{step}/{name}")
        drawing = [(dealer + k) % engine.n + 1 for k in range(1, engine.t + 1)]
        if dealer == party.index and values is not None:
            drawn = {point: kind.draw(streams[party.roster[point - 1]], size) for point in drawing}
            dealt = kind.complete(values, drawn, engine.n)
            shares[position] = dealt[dealer]
            for point, share in enumerate(dealt, start=1):
                if point not in (engine.point, *drawing):
                    party.send(party.roster[point - 1], step, codec.encode(share))
        elif engine.point in drawing:
            shares[position] = kind.draw(streams[name], size)
        else:
            awaited.append((position, name))

    def receive() -> Numbers:
        for position, name in awaited:
            shares[position] = kind.unpack(name, step, party.recv(name, step), size)
        return shares

    return receive
