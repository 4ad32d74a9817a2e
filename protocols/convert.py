"""From bits to numbers: the pieces of a shared bit become shares of 0 or 1, over F_p or modulo a long Q.

Exclusive or of bits a, b is a + b − 2ab. To need few products, the n pieces of a bit are first brought
to t + 1 summands: those of parties 1, …, t, and one that all the others know. Any t parties miss one.

Where t = 1 there are two, a known to party 1 and b known to parties 2 and 3 among others. Party 1 splits a
into a_2 + a_3 for these two. As both know b, each takes its part of a + b − 2ab by itself: it changes the
sign of a_i where b is 1, and party 2 adds b. What they have then is a sum, and they deal it. That is half of
what a product sends; that one party knows what two others need is used much as by Mohassel and Rindal [1]_.

References
----------
.. [1] P. Mohassel and P. Rindal, "ABY3: A Mixed Protocol Framework for Machine Learning", CCS 2018.
"""

from __future__ import annotations

import numpy as np

from protocols import codec
from protocols.bits import hide, receive
from protocols.bitslice import Words
from protocols.dealing import deal
from protocols.domain import FIELD, Domain
from protocols.engine import Engine
from protocols.mersenne import Elements


def to_field(engine: Engine, ours: Words, size: int) -> Elements:
    """Return shares over F_p, of degree t, of the bits that the parties' pieces add up to.

    Returns
    -------
    ndarray
        Shape ``(planes, size, 2)``; see `convert`.
    """
    return convert(engine, ours, size, FIELD).reshape(len(ours), size, 2)


def convert(engine: Engine, ours: Words, size: int, on: Domain) -> Words:
    """Return shares, of degree t, of the bits that the parties' pieces add up to.

    Parameters
    ----------
    engine
        The computation.
    ours
        Shape ``(planes, ⌈size/64⌉)``: our pieces. They are masked in place.
    size
        Bits in a plane.
    on
        Where the bits are to be shared.

    Returns
    -------
    ndarray
        The bits of all planes in a row.

    Notes
    -----
    1. All hide their pieces under pairwise masks, which cancel in the sum. Parties from t + 1 on tell each
       other theirs, and so know the sum of them; parties 1, …, t share theirs.
    2. For t = 1, parties 2 and 3 deal what makes up the bit. Otherwise the t + 1 shared bits are joined in
       pairs, then pairs of pairs, by products.

    **Leakage.** Nothing. Of the pieces, t colluders either miss one among 1, …, t, or, being these, the sum
    of the others; what they see is uniform and independent of the bit by the masks between honest parties.
    All that is dealt is uniform, a_2 and a_3 each by itself. For products see `reshare.reshare`.

    **Cost.** Two rounds for three or four parties; 1 + ⌈log2(t + 1)⌉ for others. A bit, for three: a
    number to one peer. In general, parties 1, …, t send n − 1 − t peers a number, the others a bit to
    each other, and then everybody sends t numbers to each peer. For t = n − 1, 2(n − 1) rounds, and
    between any two parties 4 bytes one way and a number the other.
    """
    if not len(ours) * size:
        return on.of_bits(ours, size)
    step = engine.step("convert")
    if engine.full:
        return _by_transfer(engine, step, ours, size, on)
    hide(engine, step, ours)
    join = _two_summands if engine.t == 1 else _many_summands
    return join(engine, step, ours, size, on)


def _two_summands(engine: Engine, step: str, ours: Words, size: int, on: Domain) -> Words:
    """Do what `convert` does, for t = 1."""
    party, bits = engine.party, len(ours) * size
    first, second, third = party.roster[:3]
    streams = party.streams(f"{step}/{second}")
    part: Words | None = None
    if party.me == first:
        split = on.sub(on.of_bits(ours, size), on.draw(streams[second], bits))
        party.send(third, step, codec.encode(split))
    else:
        _tell(engine, step, ours)
        if party.me == second:
            part = on.draw(streams[first], bits)
        elif party.me == third:
            part = on.unpack(first, step, party.recv(first, step), bits)
        known = on.of_bits(_told(engine, step, ours), size)
        if part is not None:
            part = on.flip(part, known)
            part = on.add(part, known) if party.me == second else part
    party.mesh.traffic.rounds += 1
    dealt = deal(engine, engine.step("summands"), (1, 2), part, bits, on)()
    party.mesh.traffic.rounds += 1
    return on.add(dealt[0], dealt[1])


def _by_transfer(engine: Engine, step: str, ours: Words, size: int, on: Domain) -> Words:
    """Do what `convert` does, for t = n − 1: the exclusive or of parties 1, …, i, one party after the other.

    Party i + 1 knows its bit b, and the others have summands of what there is so far, a: it chooses by b
    among the numbers that they give, and so all get summands of a·b, and a + b − 2ab.
    """
    party = engine.party
    total = on.of_bits(ours, size) if party.index == 0 else on.of_bits(np.zeros_like(ours), size)
    own = on.of_bits(ours, size)
    for index, chooser in enumerate(party.roster[1:], start=1):
        before = party.roster[:index]
        both = on.chosen(engine, f"{step}/{index}", own, total, [chooser], before)
        if party.index == index:
            total = own
        total = on.sub(total, on.add(both, both))
    return on.from_summands(engine, total)


def _many_summands(engine: Engine, step: str, ours: Words, size: int, on: Domain) -> Words:
    """Do what `convert` does, for any t."""
    bits, t = len(ours) * size, engine.t
    if engine.point <= t:
        dealt = deal(engine, step, range(t), on.of_bits(ours, size), bits, on)()
        last = np.zeros_like(dealt[0])
    else:
        receive_dealt = deal(engine, step, range(t), None, bits, on)
        _tell(engine, step, ours)
        dealt = receive_dealt()
        group = tuple(range(t + 1, engine.n + 1))
        last = on.known(engine, group, on.of_bits(_told(engine, step, ours), size))
    engine.party.mesh.traffic.rounds += 1
    summands = np.concatenate([dealt, last[np.newaxis]])
    while len(summands) > 1:
        even = len(summands) // 2 * 2
        joined = on.exclusive_or(engine, summands[:even:2], summands[1:even:2])
        summands = np.concatenate([joined, summands[even:]])
    (bit,) = summands
    return np.asarray(bit)


def _tell(engine: Engine, step: str, ours: Words) -> None:
    """Send our pieces to the other parties from t + 1 on."""
    message = codec.encode(ours)
    for peer in engine.party.roster[engine.t :]:
        if peer != engine.party.me:
            engine.party.send(peer, step, message)


def _told(engine: Engine, step: str, ours: Words) -> Words:
    """Return the sum of the pieces of all parties from t + 1 on."""
    total = ours
    for peer in engine.party.roster[engine.t :]:
        if peer != engine.party.me:
            total = total ^ receive(engine, peer, step, ours.shape)
    return total
