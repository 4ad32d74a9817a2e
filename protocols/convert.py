"""From bits to the field: the pieces of a shared bit become shares of 0 or 1 over F_p.

Exclusive or of bits a, b in F_p is a + b − 2ab. To need few products, the n pieces of a bit are first brought
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

from protocols import codec, field, mersenne
from protocols.bits import hide, receive
from protocols.bitslice import Words
from protocols.dealing import FIELD, deal
from protocols.engine import Engine
from protocols.mersenne import Elements, kernel
from protocols.prss import coefficient
from protocols.reshare import reshare
from protocols.stripes import unpack

_0 = np.uint64(0)
_TOP = np.uint64((1 << 63) - 1)


def to_field(engine: Engine, ours: Words, size: int) -> Elements:
    """Return shares over F_p, of degree t, of the bits that the parties' pieces add up to.

    Parameters
    ----------
    engine
        The computation.
    ours
        Shape ``(planes, ⌈size/64⌉)``: our pieces. They are masked in place.
    size
        Bits in a plane.

    Returns
    -------
    ndarray
        Shape ``(planes, size, 2)``.

    Notes
    -----
    1. All hide their pieces under pairwise masks, which cancel in the sum. Parties from t + 1 on tell each
       other theirs, and so know the sum of them; parties 1, …, t share theirs over F_p.
    2. For t = 1, parties 2 and 3 deal what makes up the bit. Otherwise the t + 1 shared bits are joined in
       pairs, then pairs of pairs, by products.

    **Leakage.** Nothing. Of the pieces, t colluders either miss one among 1, …, t, or, being these, the sum
    of the others; what they see is uniform and independent of the bit by the masks between honest parties.
    All that is dealt is uniform, a_2 and a_3 each by itself. For products see `reshare.reshare`.

    **Cost.** Two rounds for three or four parties; 1 + ⌈log2(t + 1)⌉ for others. A bit, for three: an element
    to one peer. In general, parties 1, …, t send n − 1 − t peers an element, the others a bit to each other,
    and then everybody sends t elements to each peer.
    """
    planes = len(ours)
    if not planes * size:
        return field.zeros((planes, size))
    step = engine.step("convert")
    hide(engine, step, ours)
    convert = _two_summands if engine.t == 1 else _many_summands
    return convert(engine, step, ours, size).reshape(planes, size, 2)


def _two_summands(engine: Engine, step: str, ours: Words, size: int) -> Elements:
    """Do what `to_field` does, for t = 1."""
    party, bits = engine.party, len(ours) * size
    first, second, third = party.roster[:3]
    streams = party.streams(f"{step}/{second}")
    part: Elements | None = None
    if party.me == first:
        split = field.sub(_elements(ours, size), FIELD.draw(streams[second], bits))
        party.send(third, step, codec.encode(split))
    else:
        _tell(engine, step, ours)
        if party.me == second:
            part = FIELD.draw(streams[first], bits)
        elif party.me == third:
            part = unpack(first, step, party.recv(first, step), bits).copy()
        known = _elements(_told(engine, step, ours), size)
        if part is not None:
            _change_sign(part, known)
            part = field.add(part, known) if party.me == second else part
    party.mesh.traffic.rounds += 1
    dealt = deal(engine, engine.step("summands"), (1, 2), part, bits)()
    party.mesh.traffic.rounds += 1
    return field.add(dealt[0], dealt[1])


def _many_summands(engine: Engine, step: str, ours: Words, size: int) -> Elements:
    """Do what `to_field` does, for any t."""
    bits, t = len(ours) * size, engine.t
    if engine.point <= t:
        dealt = deal(engine, step, range(t), _elements(ours, size), bits)()
        last = field.zeros(bits)
    else:
        receive_dealt = deal(engine, step, range(t), None, bits)
        _tell(engine, step, ours)
        dealt = receive_dealt()
        lift = coefficient(tuple(range(t + 1, engine.n + 1)), engine.n, engine.point)
        known = _elements(_told(engine, step, ours), size)
        last = field.mul(known, field.from_ints(np.array(lift, object)))
    engine.party.mesh.traffic.rounds += 1
    summands = np.concatenate([dealt, last[np.newaxis]])
    while len(summands) > 1:
        even = len(summands) // 2 * 2
        left, right = (summands[start:even:2].reshape(-1, 2) for start in (0, 1))

        def local(entries: slice, out: Elements, a: Elements = left, b: Elements = right) -> None:
            _exclusive_or(out, a[entries], b[entries])

        joined = reshare(engine, "exclusive or", len(left), local)
        summands = np.concatenate([joined.reshape(-1, bits, 2), summands[even:]])
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


def _elements(planes: Words, size: int) -> Elements:
    """Return the bits of planes as elements in a row."""
    out = field.zeros((len(planes), size))
    out[..., 0] = np.unpackbits(planes.view(np.uint8), axis=1, count=size, bitorder="little")
    return out.reshape(-1, 2)


@kernel
def _change_sign(a: Elements, bits: Elements) -> None:
    """Change the sign of a where a bit is 1, in place: p − a is a with its 127 bits flipped."""
    for i in range(len(a)):
        flip = _0 - bits[i, 0]
        a[i, 0], a[i, 1] = mersenne.fold(a[i, 0] ^ flip, (a[i, 1] ^ flip) & _TOP)


@kernel
def _exclusive_or(out: Elements, a: Elements, b: Elements) -> None:
    """Write a + b − 2ab, the exclusive or of bits."""
    for i in range(len(out)):
        p0, p1 = mersenne.times(a[i, 0], a[i, 1], b[i, 0], b[i, 1])
        p0, p1 = mersenne.plus(p0, p1, p0, p1)
        s0, s1 = mersenne.plus(a[i, 0], a[i, 1], b[i, 0], b[i, 1])
        out[i, 0], out[i, 1] = mersenne.minus(s0, s1, p0, p1)
