"""Shuffling: rows of secrets in an order that nobody knows.

For every set of n − t parties in turn, its members permute the rows in an order that they draw from the key
they have in common, and share the result anew with all [1]_. Any t parties are strangers to one set at least,
and to its order; so is each of them to what all sets together make.

References
----------
.. [1] S. Laur, J. Willemson and B. Zhang, "Round-Efficient Oblivious Database Manipulation", ISC 2011,
   section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols import field
from protocols.dealing import deal
from protocols.engine import Engine
from protocols.mersenne import Elements
from protocols.prg import Stream
from protocols.prss import subsets
from protocols.shamir import lagrange
from protocols.switches import permute


def shuffle(engine: Engine, rows: Elements, *, lists: Sequence[int] | None = None) -> Elements:
    """Return fresh shares of rows in a random order.

    Parameters
    ----------
    engine
        The computation.
    rows
        Shape ``(size, columns, 2)``: our shares, of degree t.
    lists
        Public: lengths of lists of rows that stand one after the other. Each is shuffled within itself, in an
        order of its own. All rows are one list by default.

    Notes
    -----
    Of the members of a set, t + 1 suffice to share anew: each takes its share times its Lagrange coefficient,
    its summand of the secret, and deals that.

    **Leakage.** Nothing. Dealt shares are uniform (`dealing`), and to any t passive colluders the order is
    uniform, drawn from a key that they do not have.

    **Cost.** C(n, t) rounds: 3 for three parties, 10 for five, 35 for seven, 210 for ten. In each, t + 1
    parties send n − t − 1 peers an element for each entry. For t = n − 1 each party permutes by
    itself, at the price of `switches.permute`.
    """
    party, label = engine.party, engine.step("shuffle")
    streams = {held.subset: stream for held, stream in engine.prss.streams(label)}
    lists = [len(rows)] if lists is None else lists
    if engine.full:
        for point, name in enumerate(party.roster, start=1):
            own = streams.get((point,))
            rows = permute(engine, rows, name, None if own is None else random_order(own, lists))
        return rows
    for subset in subsets(engine.n, engine.t):
        dealing = subset[: engine.t + 1]
        summand = None
        if engine.point in dealing:
            weight = lagrange(dealing)[dealing.index(engine.point)]
            permuted = rows[random_order(streams[subset], lists)].reshape(-1, 2)
            summand = field.mul(permuted, field.from_ints(np.array(weight, object)))
        dealers = [point - 1 for point in dealing]
        dealt = deal(engine, engine.step("shuffle"), dealers, summand, rows.size // 2)()
        party.mesh.traffic.rounds += rows.size > 0
        rows = field.sum(dealt, axis=0).reshape(rows.shape)
    return rows


def random_order(stream: Stream, lists: Sequence[int]) -> NDArray[np.intp]:
    """Return random permutations of lists that stand one after the other: how numbers of 128 bits rank.

    Two of m in a list are alike with a probability of less than m²·2^−129: so far is that from uniform.
    """
    words = np.empty((2, sum(lists)), np.uint64)
    stream.fill(words)
    which = [np.repeat(np.arange(len(lists)), lists)] if len(lists) > 1 else []
    return np.lexsort((words[0], words[1], *which))
