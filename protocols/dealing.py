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

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from protocols import codec
from protocols.domain import FIELD, Domain
from protocols.engine import Engine
from protocols.mersenne import Elements


def deal(
    engine: Engine,
    step: str,
    dealers: Sequence[int],
    values: Elements | None,
    size: int,
    on: Domain = FIELD,
) -> Callable[[], Elements]:
    """Share what some parties hold: send now, and receive later, see `parts`.

    Returns
    -------
    callable
        Receives, and returns this party's shares, of shape ``(len(dealers), size, 2)``.
    """
    receive = parts(engine, step, dealers, values, size, on)
    return lambda: np.stack(list(receive()))


def parts(
    engine: Engine,
    step: str,
    dealers: Sequence[int],
    values: Elements | None,
    size: int,
    on: Domain = FIELD,
) -> Callable[[], Iterator[Elements]]:
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
        Shape ``(size, 2)``, or what stands for it in another domain: this party's numbers if it deals.
    size
        How many numbers each dealer shares.
    on
        Where they are shared.

    Returns
    -------
    callable
        Receives, and yields this party's shares of one dealer's numbers after the other's, each of shape
        ``(size, 2)``. What else belongs to the same round is sent before it is called.

    Notes
    -----
    **Leakage.** Nothing: the polynomial is the value and t uniform shares, so any t shares are uniform
    and independent of the value (as far as AES-128 and HKDF-SHA256 are pseudorandom).

    **Cost.** One round, which the caller counts. A dealer sends n − 1 − t peers one element an entry: one for
    three parties.
    """
    party = engine.party
    shares: dict[int, Elements] = {}
    awaited: dict[int, str] = {}
    for position, dealer in enumerate(dealers):
        name = party.roster[dealer]
        streams = party.streams(f"{step}/{name}")
        drawing = [(dealer + k) % engine.n + 1 for k in range(1, engine.t + 1)]
        if dealer == party.index and values is not None:
            drawn = {point: on.draw(streams[party.roster[point - 1]], size) for point in drawing}
            dealt = on.complete(values, drawn, engine.n)
            shares[position] = dealt[dealer]
            for point, share in enumerate(dealt, start=1):
                if point not in (engine.point, *drawing):
                    party.send(party.roster[point - 1], step, codec.encode(share))
        elif engine.point in drawing:
            shares[position] = on.draw(streams[name], size)
        else:
            awaited[position] = name

    def receive() -> Iterator[Elements]:
        for position in range(len(dealers)):
            if position in awaited:
                name = awaited[position]
                yield on.unpack(name, step, party.recv(name, step), size)
            else:
                yield shares.pop(position)

    return receive
