"""From bits to the field: the pieces of a shared bit become shares of 0 or 1 over F_p.

Exclusive or of bits a, b in F_p is a + b − 2ab. To need few products, the n pieces of a bit are first brought
to t + 1 summands: those of parties 1, …, t, and one that all the others know. Any t parties miss one.
"""

from __future__ import annotations

import numpy as np

from protocols import codec, field, mersenne
from protocols.bits import hide, receive
from protocols.bitslice import Words
from protocols.dealing import deal
from protocols.engine import Engine
from protocols.mersenne import Elements, kernel
from protocols.prss import coefficient
from protocols.reshare import reshare


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
    1. All hide their pieces under pairwise masks, which cancel in the sum. Parties 1, …, t deal theirs over
       F_p; the others tell each other, and share the sum, which they all know, without a message.
    2. The t + 1 shared bits are joined in pairs, then pairs of pairs.

    **Leakage.** Nothing. Of the pieces, t colluders either miss one among 1, …, t, or, being these, the sum
    of the others; what they see is uniform and independent of the bit by the masks between honest parties.
    For step 2 see `reshare.reshare`.

    **Cost.** 1 + ⌈log2(t + 1)⌉ rounds: two for three parties. For each bit, parties 1, …, t send n − 1 − t
    peers an element, the others a bit to each other, and in step 2 everybody t elements to each peer.
    """
    planes = len(ours)
    step = engine.step("convert")
    party, t = engine.party, engine.t
    hide(engine, step, ours)
    group = range(t + 1, engine.n + 1)
    if engine.point in group:
        receive_dealt = deal(engine, step, range(t), None, planes * size)
        for point in group:
            if point != engine.point:
                party.send(party.roster[point - 1], step, codec.encode(ours))
        dealt = receive_dealt()
        known = ours
        for point in group:
            if point != engine.point:
                known = known ^ receive(engine, party.roster[point - 1], step, ours.shape)
        lift = coefficient(tuple(group), engine.n, engine.point)
        last = field.mul(_elements(known, size), field.from_ints(np.array(lift, object)))
    else:
        dealt = deal(engine, step, range(t), _elements(ours, size), planes * size)()
        last = field.zeros(planes * size)
    party.mesh.traffic.rounds += planes * size > 0
    summands = [*dealt, last]
    while len(summands) > 1:
        odd = summands[len(summands) // 2 * 2 :]
        left, right = (np.concatenate(summands[start : len(summands) - len(odd) : 2]) for start in (0, 1))

        def local(entries: slice, out: Elements, a: Elements = left, b: Elements = right) -> None:
            _exclusive_or(out, a[entries], b[entries])

        joined = reshare(engine, "exclusive or", len(left), local)
        summands = [*joined.reshape(-1, planes * size, 2), *odd]
    (shares,) = summands
    return np.asarray(shares).reshape(planes, size, 2)


def _elements(planes: Words, size: int) -> Elements:
    """Return the bits of planes as elements in a row."""
    out = field.zeros((len(planes), size))
    out[..., 0] = np.unpackbits(planes.view(np.uint8), axis=1, count=size, bitorder="little")
    return out.reshape(-1, 2)


@kernel
def _exclusive_or(out: Elements, a: Elements, b: Elements) -> None:
    """Write a + b − 2ab, the exclusive or of bits."""
    for i in range(len(out)):
        p0, p1 = mersenne.times(a[i, 0], a[i, 1], b[i, 0], b[i, 1])
        p0, p1 = mersenne.plus(p0, p1, p0, p1)
        s0, s1 = mersenne.plus(a[i, 0], a[i, 1], b[i, 0], b[i, 1])
        out[i, 0], out[i, 1] = mersenne.minus(s0, s1, p0, p1)
