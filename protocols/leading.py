"""Where long secret integers begin: their highest bits, found in few rounds, and as secret as they are.

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

from collections.abc import Sequence

import numpy as np

from protocols.crt import Residues, Ring, bit_prefixes, from_words, to_words
from protocols.dealing import deal
from protocols.engine import Engine
from protocols.transform import PRIME, convolve, of_spectrum, spectrum
from protocols.wide import SMALL, Modulo, Pending, Round, at_point, multiplied, products, uniform

#: Lowest position. Integers are scaled so that their highest bit is above it.
LOWEST = 60


class Leader:
    """Finds where integers begin. Creating it deals what is needed, which depends on no secret.

    Parameters
    ----------
    engine
        The computation.
    bits
        For each integer: it is less than 2^bits and, if positive, 2^64 or more.

    Notes
    -----
    Call `combine` until `ready`, `open`, then `find`.

    **Cost** for J = Σ (bits − 60) positions, s = t + 1. To create: one round, in which parties 1, …, t send
    n − 1 − t peers 2J numbers of 8 bytes and one more an integer. `combine`: ⌈log2 s⌉ rounds, t·J numbers.
    `open`: part of a round. `find`: ⌈log2(s + 2)⌉ + 1 rounds, about (3s/2 + 3)·J numbers.
    """

    def __init__(self, engine: Engine, bits: Sequence[int]) -> None:
        self._engine = engine
        self._sizes = [one - LOWEST for one in bits]
        s = engine.t + 1
        if 2 * s + 2 > 1 << (64 - LOWEST):
            raise ValueError(f"{engine.n} parties need a lower lowest position")
        widths = [(one + engine.security) // 64 + 1 for one in bits]
        summands, places = [0] * len(widths), [0] * len(widths)
        last = tuple(range(s, engine.n + 1))
        for held, stream in engine.prss.streams(engine.step("leading")):
            if held.leads or held.subset == last:
                for i, width in enumerate(widths):
                    words = np.empty((1, width + 2), np.uint64)
                    stream.fill(words)
                    summands[i] += from_words(words[:, :width])[0]
                    places[i] += from_words(words[:, width:])[0]
        known = np.concatenate([*self._prefixes(summands), *self._places(places)])
        step, domain = engine.step("deal leading"), Modulo(SMALL)
        values = known[np.newaxis] if engine.point < s else None
        dealt = deal(engine, step, range(engine.t), values, len(known), domain)()
        engine.party.mesh.traffic.rounds += not engine.full
        shares = [*dealt[:, 0], np.zeros_like(known)]
        if engine.point >= s:
            shares[-1] = SMALL.scale(known[np.newaxis], at_point(engine.n, last, engine.point, SMALL))[0]
        self._summands = summands if engine.point <= s else [0] * len(widths)
        count = sum(self._sizes) + len(self._sizes)
        self._levels = np.zeros((1, count), np.uint64)
        for share in shares:
            self._levels = SMALL.add(self._levels, share[np.newaxis, :count])
        self._rotations = [Pending(share[np.newaxis, count:]) for share in shares]

    @property
    def ready(self) -> bool:
        """Whether the parties' rotations are joined to one."""
        return len(self._rotations) == 1

    def combine(self, step: Round) -> None:
        """Join the rotations in pairs, in a round that the caller runs."""
        pairs = zip(self._rotations[::2], self._rotations[1::2], strict=False)
        joined = [step.reshare(SMALL, self._convolved("join", a.value, b.value)) for a, b in pairs]
        self._rotations = joined + self._rotations[len(self._rotations) & ~1 :]

    def open(self, step: Round, on: Ring, integers: Residues) -> Pending[Residues]:
        """Open integers, of shape ``(primes, size)``, under their masks, in a round that the caller runs."""
        return step.open(on, integers, plus=on.residues(np.array(self._summands, object)))

    def find(self, opened: Sequence[int]) -> list[Residues] | None:
        """Return δ of each integer in groups, or None if one is not positive.

        Parameters
        ----------
        opened
            What `open` opened.

        Returns
        -------
        list of ndarray
            Shares modulo `SMALL`, each of shape ``(1, 8·⌈bits/64⌉)``: entry q is Σ δ_j·2^(7 − i) over
            j = 8·q + i for i = 0, …, 7, so that it is below 2^8.
        """
        levels = SMALL.sub(np.concatenate(self._prefixes(opened))[np.newaxis], self._levels)
        parts = np.split(levels, np.cumsum([size + 1 for size in self._sizes])[:-1], axis=1)
        here, above = (
            np.concatenate([part[:, which] for part in parts], axis=1)
            for which in (slice(None, -1), slice(1, None))
        )
        least = self._engine.t + 2
        first = [SMALL.shift(here, -v) for v in range(least, 2 * least)]
        second = [SMALL.shift(above, -v) for v in range(least // 2, least)]
        masks = uniform(self._engine, SMALL, (2, sum(self._sizes)))
        ours, others = products(self._engine, "leading", SMALL, [*first, masks[:, 0]], [*second, masks[:, 1]])
        rotation = self._rotations[0].value
        step = Round(self._engine, "leading place")
        rotated = step.open(SMALL, self._convolved("rotate", rotation, SMALL.add(ours, others)))
        step.run()
        pairs = zip(self._parts(rotation), self._parts(rotated.value), strict=True)
        found = [_unrotated(bits, np.flatnonzero(vector == 0).tolist()) for bits, vector in pairs]
        return None if any(one is None for one in found) else [one for one in found if one is not None]

    def _prefixes(self, integers: Sequence[int]) -> list[Residues]:
        out = [np.zeros(size + 1, np.uint64) for size in self._sizes]
        for one, integer in zip(out, integers, strict=True):
            bit_prefixes(one, to_words([integer])[0], LOWEST, np.uint64(PRIME))
        return out

    def _places(self, places: Sequence[int]) -> list[Residues]:
        out = [np.zeros(size, np.uint64) for size in self._sizes]
        for one, place in zip(out, places, strict=True):
            one[place % len(one)] = 1
        return out

    def _parts(self, numbers: Residues) -> list[Residues]:
        """Return what belongs to each integer."""
        return np.split(numbers[0], np.cumsum(self._sizes)[:-1])

    def _convolved(self, operation: str, a: Residues, b: Residues) -> Residues:
        """Return convolutions of shares, to be put in a round; see `wide.multiplied`."""
        pairs = list(zip(self._parts(a), self._parts(b), strict=True))
        if not self._engine.full:
            return np.concatenate([convolve(*pair) for pair in pairs])[np.newaxis]
        spectra = [(spectrum(x), spectrum(y)) for x, y in pairs]
        products = multiplied(
            self._engine, operation, SMALL, [(x[np.newaxis], y[np.newaxis]) for x, y in spectra]
        )
        return np.concatenate(
            [of_spectrum(product[0], len(x)) for product, (x, _) in zip(products, pairs, strict=True)]
        )[np.newaxis]


def _unrotated(rotation: Residues, zeros: Sequence[int]) -> Residues | None:
    """Return δ in groups, from the bits of a rotation and the places of zeros; None if there are none."""
    if not zeros:
        return None
    size = len(rotation)
    delta = np.zeros((1, -(-(LOWEST + size) // 64) * 64), np.uint64)
    delta[:, LOWEST : LOWEST + size] = rotation[(zeros[0] - np.arange(size)) % size]
    digits = 2 ** np.arange(8, dtype=np.uint64)[::-1]
    return SMALL.sum(SMALL.mul(delta.reshape(1, -1, 8), digits))
