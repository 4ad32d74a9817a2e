"""Where a long secret integer begins: its highest bit, found in few rounds, and as secret as it is.

Let D > 0 be an integer of up to thousands of bits. For every position j from 60 on, a secret δ_j is wanted,
1 for one j with 1 < D / 2^j < 2s + 2 and 0 for all others; s = t + 1. Bits of D would take a carry chain, of
rounds logarithmic in the length. Instead:

1. D is opened as c = D + s_1 + … + s_s, where s_i is known to party i for i ≤ t, and s_(t+1) to all parties
   from t + 1 on: any t miss one. All these ⌊s_i / 2^j⌋ are shared beforehand, and so is, at once,

       L_j = ⌊c / 2^j⌋ − Σ ⌊s_i / 2^j⌋ = ⌊D / 2^j + F_j⌋,    0 ≤ F_j < s,

   where F_j is the sum of the fractions. As j decreases, D / 2^j + F_j doubles, less an integer of at most s.
2. So there is exactly one j at which L_j first gets beyond a = s + 1: there it is one of a, …, 2a − 1, and
   L_(j+1) one of ⌊a/2⌋, …, a − 1. With uniform u and w,

       Y_j = u_j·∏(L_j − v) + w_j·∏(L_(j+1) − v')

   over these v and v' is 0 for this j, and uniform for all others.
3. The Y_j are rotated by a secret number of places, ρ, and opened: one zero, at a uniform place, among
   uniform numbers. As ρ is shared as a vector of bits with a single 1, its rotation by the place is δ.

That opened vector says nothing of D, whatever else is known of the masks. An integer that is zero or negative
has no such j; this is seen.

The summands are those of `masked`. One zero among random multiples, its place hidden, is how Damgård, Geisler
and Krøigaard [1]_ compare numbers; theirs are permuted, these are rotated, so that the place can be used.

References
----------
.. [1] I. Damgård, M. Geisler and M. Krøigaard, "Efficient and Secure Comparison for On-Line Auctions",
   ACISP 2007.
"""

from __future__ import annotations

import numpy as np

from protocols.crt import Residues, Ring, bit_prefixes, convolve, from_words, ring, to_words
from protocols.dealing import deal
from protocols.engine import Engine
from protocols.wide import Modulo, Pending, Round, at_point, products, uniform

#: One prime: everything is found modulo it, wrongly with a probability of about 2^−60 a position.
SMALL: Ring = ring(0)
#: Lowest position. Integers are scaled so that their highest bit is above it.
LOWEST = 60


class Leader:
    """Finds where one integer begins. Creating it deals what is needed, which depends on no secret.

    Parameters
    ----------
    engine
        The computation.
    bits
        The integer is less than 2^bits and, if positive, 2^64 or more.

    Notes
    -----
    Call `combine` until `ready`, `open`, then `find`.

    **Cost** for J = bits − 60 positions, s = t + 1. To create: one round, in which parties 1, …, t send
    n − 1 − t peers 2J + 1 numbers of 8 bytes. `combine`: ⌈log2 s⌉ rounds, t·J numbers. `open`: part of a
    round. `find`: ⌈log2(s + 2)⌉ + 1 rounds, about (3s/2 + 3)·J numbers. `combine` and `find` take some J²
    products modulo a prime.
    """

    def __init__(self, engine: Engine, bits: int) -> None:
        self._engine = engine
        self._size = bits - LOWEST
        s = engine.t + 1
        if 2 * s + 2 > 1 << (64 - LOWEST):
            raise ValueError(f"{engine.n} parties need a lower lowest position")
        width = (bits + engine.security) // 64 + 1
        summand = place = 0
        last = tuple(range(s, engine.n + 1))
        for held, stream in engine.prss.streams(engine.step("leading")):
            if held.leads or held.subset == last:
                words = np.empty((1, width + 2), np.uint64)
                stream.fill(words)
                summand += from_words(words[:, :width])[0]
                place += from_words(words[:, width:])[0]
        known = np.concatenate([self._prefixes(summand, self._size + 1), self._place(place)])
        step, domain = engine.step("deal leading"), Modulo(SMALL)
        values = known[np.newaxis] if engine.point < s else None
        dealt = deal(engine, step, range(engine.t), values, len(known), domain)()
        engine.party.mesh.traffic.rounds += 1
        shares = [*dealt[:, 0], np.zeros_like(known)]
        if engine.point >= s:
            shares[-1] = SMALL.scale(known[np.newaxis], at_point(engine.n, last, engine.point, SMALL))[0]
        self._summand = summand if engine.point <= s else 0
        self._levels = np.zeros((1, self._size + 1), np.uint64)
        for share in shares:
            self._levels = SMALL.add(self._levels, share[np.newaxis, : self._size + 1])
        self._rotations = [Pending(share[np.newaxis, self._size + 1 :]) for share in shares]

    @property
    def ready(self) -> bool:
        """Whether the parties' rotations are joined to one."""
        return len(self._rotations) == 1

    def combine(self, step: Round) -> None:
        """Join the rotations in pairs, in a round that the caller runs."""
        pairs = zip(self._rotations[::2], self._rotations[1::2], strict=False)
        joined = [step.reshare(SMALL, _convolved(a.value, b.value)) for a, b in pairs]
        self._rotations = joined + self._rotations[len(self._rotations) & ~1 :]

    def open(self, step: Round, on: Ring, integer: Residues) -> Pending[Residues]:
        """Open the integer, of shape ``(primes, 1)``, under its mask, in a round that the caller runs."""
        return step.open(on, integer, plus=on.residues(np.array([self._summand], object)))

    def find(self, opened: int) -> Residues | None:
        """Return δ in groups, or None if the integer is not positive.

        Parameters
        ----------
        opened
            What `open` opened.

        Returns
        -------
        ndarray
            Shares modulo `SMALL`, of shape ``(1, 8·⌈bits/64⌉)``: entry q is Σ δ_j·2^(7 − i) over
            j = 8·q + i for i = 0, …, 7, so that it is below 2^8.
        """
        levels = SMALL.sub(self._prefixes(opened, self._size + 1)[np.newaxis], self._levels)
        here, above = levels[:, :-1], levels[:, 1:]
        least = self._engine.t + 2
        first = [SMALL.shift(here, -v) for v in range(least, 2 * least)]
        second = [SMALL.shift(above, -v) for v in range(least // 2, least)]
        masks = uniform(self._engine, SMALL, (2, self._size))
        ours, others = products(self._engine, "leading", SMALL, [*first, masks[:, 0]], [*second, masks[:, 1]])
        rotation = self._rotations[0].value
        step = Round(self._engine, "leading place")
        rotated = step.open(SMALL, _convolved(rotation, SMALL.add(ours, others)))
        step.run()
        zeros = np.flatnonzero(rotated.value[0] == 0)
        if not len(zeros):
            return None
        delta = np.zeros((1, -(-(LOWEST + self._size) // 64) * 64), np.uint64)
        delta[:, LOWEST : LOWEST + self._size] = rotation[:, (zeros[0] - np.arange(self._size)) % self._size]
        digits = 2 ** np.arange(8, dtype=np.uint64)[::-1]
        return SMALL.sum(SMALL.mul(delta.reshape(1, -1, 8), digits))

    def _prefixes(self, integer: int, count: int) -> Residues:
        out = np.zeros(count, np.uint64)
        bit_prefixes(out, to_words([integer])[0], LOWEST, np.uint64(SMALL.modulus))
        return out

    def _place(self, place: int) -> Residues:
        out = np.zeros(self._size, np.uint64)
        out[place % self._size] = 1
        return out


def _convolved(a: Residues, b: Residues) -> Residues:
    out = np.empty_like(a)
    convolve(out[0], np.ascontiguousarray(a[0]), np.ascontiguousarray(b[0]), np.uint64(SMALL.modulus))
    return out
