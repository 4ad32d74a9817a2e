"""From shares of degree 2t back to degree t, dropping low bits on the way: one opening for both.

The product of two shares is a share of the product, of degree 2t. So is any sum of such products, which
is why an inner product or a matrix product costs one resharing an entry however many terms it has.

The protocol joins the multiplication of Damgård and Nielsen [1]_, the non-interactive randomness of
Cramer, Damgård and Ishai [2]_ and the probabilistic truncation of Catrina and Saxena [3]_. Let z be the
integer that is shared, |z| ≤ 2^(L − 1), and d the number of bits to drop.

1. The sets of parties draw r_A, uniform in [0, 2^b), so that r = Σ r_A is shared with degree t, and so is
   r' = Σ ⌊r_A / 2^d⌋, at no cost (`prss`).
2. Party i turns its share into a summand of the secret, λ_i·z_i, by its Lagrange coefficient, and adds
   the r_A of the sets that it leads. It hides the result under the masks that it shares with each peer,
   which cancel in the sum [4]_, and sends it to all.
3. Everybody adds up all n messages to c = z + h + r, where h is a public offset that makes it positive. By
   the choice of b nothing wraps around modulo p, and ⌊c / 2^d⌋ − r' less a constant is a share of z / 2^d.

References
----------
.. [1] I. Damgård and J. B. Nielsen, "Scalable and Unconditionally Secure Multiparty Computation",
   CRYPTO 2007.
.. [2] R. Cramer, I. Damgård and Y. Ishai, "Share Conversion, Pseudorandom Secret-Sharing and
   Applications to Secure Computation", TCC 2005.
.. [3] O. Catrina and A. Saxena, "Secure Computation with Fixed-Point Numbers", FC 2010, section 3.
.. [4] K. Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning",
   CCS 2017, section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from protocols import field, mersenne
from protocols.engine import Engine
from protocols.mersenne import Elements
from protocols.stripes import BLOCK, STRIPE, broadcast, cut

#: ``local(entries, out)`` writes our shares of these entries.
Local: TypeAlias = Callable[[slice, Elements], None]


def reshare(
    engine: Engine,
    operation: str,
    size: int,
    local: Local,
    *,
    drop: int = 0,
) -> Elements:
    """Return fresh shares, of degree t, of numbers shared with degree 2t, divided by 2^drop.

    Parameters
    ----------
    engine
        The computation.
    operation
        What is computed, for the step's name.
    size
        How many numbers.
    local
        Writes our shares, of any degree below n; of degree t where all but one may collude (`beaver`).
    drop
        Bits to drop. With 0 the numbers are any elements; otherwise they are integers of a magnitude
        that `fits` says can be masked.

    Returns
    -------
    ndarray
        Shape ``(size, 2)``. With `drop`, an entry differs from z / 2^drop by less than (C + 1)/2, with
        C = C(n, t): by nothing on average (up to 2^−drop/2), and by √((C + 1)/12) as a standard deviation.

    Notes
    -----
    **Leakage.** Nothing. What t colluders see of the others is uniform but for its sum c, since the
    masks between any two honest parties are unknown to them; and c hides z under the summand r_A of the
    set of all others: perfectly if `drop` is 0 (r_A uniform in the field), to a statistical distance of
    2^−κ otherwise. The new shares are as random as r is. All this as far as AES-128 and HKDF-SHA256 are
    pseudorandom, and against passive parties: a party that sends a wrong message changes the result by
    what it chooses, and n messages of degree 2t leave nothing to check that by. Telling the peers
    different things is noticed when transcripts are compared.

    **Cost.** One round. Each party sends each peer one element an entry, and draws C(n − 1, t) + n − 1
    random elements for it. (A zero sharing of degree 2t instead of pairwise masks would take
    t·C(n − 1, t) in place of the n − 1: 504 for 9 with ten parties.)
    """
    if engine.full and not drop:  # of degree n − 1 they are, and fresh
        out = field.empty(size)
        local(slice(0, size), out)
        return out
    party = engine.party
    step = engine.step(operation)
    bits = engine.prss.bits if drop else 127
    offset, excess = (_single(number) for number in offset_for(engine, drop))
    weight = _single(engine.weight)
    kept = field.zeros(size)

    def mask(stripe: slice) -> Elements:
        label = f"{step}/{stripe.start // STRIPE}"
        pairwise = party.streams(label)
        summands = [
            (held.leads, _single(held.coefficient), stream) for held, stream in engine.prss.streams(label)
        ]
        masked = field.empty(stripe.stop - stripe.start)
        scratch = field.empty(min(BLOCK, len(masked)))
        for entries in cut(stripe.start, stripe.stop, BLOCK):
            part = masked[entries.start - stripe.start : entries.stop - stripe.start]
            words = scratch[: len(part)]
            local(entries, part)
            mersenne.mul(part, part, weight)
            if party.index == 0:
                mersenne.add(part, part, offset)
            for leads, coefficient, stream in summands:
                stream.fill(words)
                mersenne.blind(part, kept[entries], words, coefficient, bits, drop, leads)
            for peer, stream in pairwise.items():
                stream.fill(words)
                mersenne.add_random(part, words, party.me > peer)
        return masked

    for stripe, parts in broadcast(party, step, size, mask):
        opened = parts[0].copy()
        for part in parts[1:]:
            mersenne.add(opened, opened, part)
        party.absorb(step, opened.data)
        mersenne.unblind(kept[stripe], opened, drop, excess)
    return kept


def offset_for(engine: Engine, drop: int) -> tuple[int, int]:
    """Return the offset h that is added before the shift, and what is to be subtracted after it.

    A shift rounds down, by (1 − 2^−drop)/2 on average, since r_A and c are uniform in their low bits. That
    is C times too little in r' against once in c; h makes up for the difference, to half a dropped bit.
    """
    if not drop:
        return 0, 0
    positive = 1 << (engine.room - 1)
    return positive - (engine.prss.count - 1) * ((1 << drop) - 1) // 2, positive >> drop


def fits(engine: Engine, bound: int, drop: int) -> bool:
    """Return whether numbers up to this magnitude can be masked and rid of so many bits."""
    return drop < engine.room - 1 and bound + (engine.prss.count << drop) <= 1 << (engine.room - 1)


@lru_cache(maxsize=1024)
def _single(value: int) -> Elements:
    """Return one element: the same array each time, not to be written to."""
    return field.from_ints(np.array([value], object))
