"""Pseudorandom secret sharing: shares of random numbers that nobody knows, without a message.

For every set A of n − t parties there is a key that its members hold and the other t parties do not. From
it they draw the same r_A, and r = Σ r_A is shared by

    Σ_A r_A · f_A(x),    f_A(x) = ∏_{j ∉ A} (1 − x/j),

of degree t and with the value r at 0 [1]_. Party i evaluates it at i with what it knows, for f_A(i) = 0
whenever i ∉ A. Any t parties miss at least one key, that of the set of all others.

The coefficients f_A(i) are taken modulo p. Multiplied up to integers, as one might to save products, they
would make r a multiple of known numbers in part, and its low bits would hide nothing.

Each r_A is itself known to whoever needs it, so any function of it can be shared in the same way:
Σ ⌊r_A / 2^f⌋ for truncation, the bits of r_A for comparison.

References
----------
.. [1] R. Cramer, I. Damgård and Y. Ishai, "Share Conversion, Pseudorandom Secret-Sharing and
   Applications to Secure Computation", TCC 2005, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import TypeAlias

from protocols import field as fp
from protocols.errors import CodecError, LabelReused
from protocols.mersenne import Elements
from protocols.party import Party
from protocols.prg import Seed, Stream
from protocols.shamir import lagrange

#: Points of the members of a set, increasing.
Subset: TypeAlias = tuple[int, ...]

KEY_BYTES = 32


def subsets(n: int, t: int) -> list[Subset]:
    """Return all sets of n − t of the parties 1, …, n, in lexicographic order."""
    return list(combinations(range(1, n + 1), n - t))


def coefficient(subset: Subset, n: int, at: int) -> int:
    """Return f_A(at): the polynomial that is 1 at 0 and 0 at all parties outside A."""
    outside = (j for j in range(1, n + 1) if j not in subset)
    return lagrange((0, *outside), at)[0]


def mask_bits(n: int, t: int) -> int:
    """Return the bits of the largest r_A whose sum, and one such number more, stay below p."""
    return 127 - math.comb(n, t).bit_length()


def agree_keys(party: Party, label: str, t: int, entropy: Callable[[int], bytes]) -> Mapping[Subset, bytes]:
    """Give every set of n − t parties a key of its own.

    The first member of a set draws its key and sends it to the others. Contributions of all members
    would gain nothing: a key protects its set only while all its members are honest, and a member who
    is not could publish it as well as choose it.

    Parameters
    ----------
    party
        This party.
    label
        The step's name, the same at every party and used once in a session.
    t
        How many parties are outside each set.
    entropy
        Returns so many random bytes: the system's CSPRNG.

    Returns
    -------
    mapping
        The keys of the sets that this party is a member of, C(n − 1, t) of them.

    Raises
    ------
    CodecError
        A peer sent what no honest party sends.

    Notes
    -----
    **Cost.** One round, none for t = n − 1. Party i draws C(n − i, t) keys and sends each to n − t − 1 peers.
    """
    party.claim(label)
    if t == party.n - 1:  # every party is a set of its own
        return {(party.index + 1,): entropy(KEY_BYTES)}
    ours = [subset for subset in subsets(party.n, t) if party.index + 1 in subset]
    keys = {subset: entropy(KEY_BYTES) for subset in ours if subset[0] == party.index + 1}

    def shared_with(peer: str, drawn_by: int) -> list[Subset]:
        point = party.roster.index(peer) + 1
        return [subset for subset in ours if subset[0] == drawn_by and point in subset]

    received = party.mesh.exchange(
        label,
        {
            peer: b"".join(keys[subset] for subset in shared_with(peer, party.index + 1))
            for peer in party.peers
        },
    )
    for peer, message in received.items():
        expected = shared_with(peer, party.roster.index(peer) + 1)
        data = bytes(message)
        if len(data) != KEY_BYTES * len(expected):
            raise CodecError(f"site {peer} sent no keys at step {label!r}", peer=peer)
        for position, subset in enumerate(expected):
            keys[subset] = data[position * KEY_BYTES : (position + 1) * KEY_BYTES]
    return {subset: keys[subset] for subset in ours}


@dataclass(frozen=True)
class Holding:
    """A set that this party is a member of.

    Attributes
    ----------
    subset
        Its members.
    coefficient
        f_A at this party's point.
    leads
        Whether this party is its first member, the one that adds r_A where it must be added once.
    key
        The set's key.
    seed
        Of the streams that its members share.
    """

    subset: Subset
    coefficient: int
    leads: bool
    key: bytes = field(repr=False)
    seed: Seed


class Prss:
    """One party's part in the pseudorandom sharings of a session.

    Parameters
    ----------
    n
        Number of parties.
    point
        This party, counted from 1.
    keys
        Keys of all the sets that it is a member of; see `agree_keys`.
    session
        The session's identifier.

    Attributes
    ----------
    holdings
        These sets.
    count
        C(n, t), the number of summands of every r.
    bits
        Bits of the largest bounded summands; see `mask_bits`.
    """

    def __init__(self, n: int, point: int, keys: Mapping[Subset, bytes], session: bytes) -> None:
        self.holdings = tuple(
            Holding(subset, coefficient(subset, n, point), subset[0] == point, key, Seed(key, session))
            for subset, key in keys.items()
        )
        t = n - len(self.holdings[0].subset)
        self.count = math.comb(n, t)
        self.bits = mask_bits(n, t)
        self._labels: set[str] = set()

    def streams(self, label: str) -> list[tuple[Holding, Stream]]:
        """Use up a label, and return for each set the stream of random words that its members share.

        Raises
        ------
        LabelReused
            The label was used before.
        """
        if label in self._labels:
            raise LabelReused(f"label {label!r} was used before in this session; give each step its own")
        self._labels.add(label)
        return [(held, held.seed.stream(label)) for held in self.holdings]

    def summands(self, label: str, size: int, bits: int) -> Iterator[tuple[Holding, Elements]]:
        """Use up a label, and yield each set with its r_A: what this party knows of a bounded mask.

        Parameters
        ----------
        label
            Used once.
        size
            How many numbers.
        bits
            Each r_A is uniform on 0 … 2^bits − 1; with 127 bits, in the field (see
            `field.from_random_words`).

        Yields
        ------
        tuple
            The set and an array of shape ``(size, 2)``.
        """
        for held, stream in self.streams(label):
            words = fp.empty(size)
            stream.fill(words)
            yield held, fp.from_random_words(words, bits)

    def uniform(self, label: str, size: int) -> Elements:
        """Use up a label, and return shares, of degree t, of uniform elements that nobody knows."""
        return self.bounded(label, size, bits=127, drop=0)[0]

    def bounded(self, label: str, size: int, *, bits: int, drop: int) -> tuple[Elements, Elements]:
        """Use up a label, and return shares of r = Σ r_A and of Σ ⌊r_A / 2^drop⌋, both of degree t.

        Parameters
        ----------
        label, size, bits
            As for `summands`. At most `Prss.bits` keep the sum r from wrapping around.
        drop
            How far to shift.

        Returns
        -------
        tuple of ndarray
            Each of shape ``(size, 2)``.

        Notes
        -----
        To t parties, who know all summands but one, r is uniform on an interval of 2^bits integers.

        **Cost.** No message. C(n − 1, t) random elements an entry.
        """
        whole, shifted = fp.zeros(size), fp.zeros(size)
        for held, summand in self.summands(label, size, bits):
            fp.add_scaled(whole, summand, held.coefficient)
            fp.add_scaled(shifted, fp.shift_right(summand, drop), held.coefficient)
        return whole, shifted

    def __repr__(self) -> str:
        return f"<Prss of {len(self.holdings)} sets>"
