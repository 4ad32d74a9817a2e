"""What several parties' sets have in common: items, their number, or a list under which that stays hidden.

All hash their items into a group of prime order, and all raise them to a secret exponent of their own, one
after the other: items are then equal where they were equal before, and tell nothing else [1]_, [2]_. Whoever
sees a set in an order that it does not know learns how many items are common [3]_; whoever has its own set
back in its own order learns which.

`universe` goes one step further [4]_. Nobody learns which items are common, not even of its own: all get the
same sorted list of random identifiers, one for each item that any party holds, and each knows where its own
stand. What is computed for each identifier by sharing secrets is then about the same item at every party.

Security is against parties that follow the protocol, up to n − 1 of which may pool what they see, if the
decisional Diffie–Hellman problem is hard in the group and its hash a random oracle. A party that does not
follow it can put in items that it does not hold, as with any such protocol: sets are as true as who tells
them.

References
----------
.. [1] C. Meadows, "A More Efficient Cryptographic Matchmaking Protocol for Use in the Absence of a
   Continuously Available Third Party", IEEE S&P 1986.
.. [2] B. Huberman, M. Franklin and T. Hogg, "Enhancing Privacy and Trust in Electronic Communities", EC 1999.
.. [3] E. De Cristofaro, P. Gasti and G. Tsudik, "Fast and Private Computation of Cardinality of Set
   Intersection and Union", CANS 2012.
.. [4] P. Buddhavarapu et al., "Private Matching for Compute", ePrint 2020/599: the protocol Private-ID, here
   for any number of parties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from protocols.errors import Disagreement, RangeError
from protocols.party import Party
from protocols.psi import rounds
from protocols.psi.group import Exponent, Points, hash_to_group, order, places

#: Most items that a party may have.
MAX_ITEMS = 5_000_000


@dataclass(frozen=True)
class Sizes:
    """How many items there are, the same at every party.

    Attributes
    ----------
    each
        Of each party, in the order of the roster.
    common
        That all parties have which have any.
    pairs
        That two parties have, by their places in the roster: symmetric, with `each` on the diagonal.
    union
        That any party has.
    """

    each: tuple[int, ...]
    common: int
    pairs: NDArray[np.int64]
    union: int


@dataclass(frozen=True, eq=False, repr=False)
class Universe:
    """A list of random identifiers, one for each item that any party holds.

    Attributes
    ----------
    size
        How many there are.
    positions
        Where each of this party's items stands in it.
    sizes
        How many items are common.
    """

    size: int
    positions: NDArray[np.int64]
    sizes: Sizes


def intersection(party: Party, label: str, items: Sequence[bytes]) -> NDArray[np.int64]:
    """Find the items that all parties have.

    Parameters
    ----------
    party
        This party.
    label
        The step's name, the same at every party and used once in a session.
    items
        This party's items; none twice.

    Returns
    -------
    ndarray
        Positions of the common items among this party's: in an order in which the items are the same at every
        party.

    Raises
    ------
    RangeError
        An item is there twice, or there are more than `MAX_ITEMS`. Nothing was sent.
    CodecError
        A peer sent something else than elements of the group.

    Notes
    -----
    **Leakage.** Every party learns which of its items every other party has, how many items each has, and how
    many any of them have in common.

    **Cost.** n + 2 rounds. Each party raises n·N elements for sets of N items, and sends 32·(2·n − 1)·N
    bytes.
    """
    prepared = _prepare(party, label, items)
    key = Exponent()
    own = rounds.circulate(party, f"{label}.own", prepared.points, prepared.sizes, key, key)
    sets = rounds.publish_sets(party, f"{label}.sets", own[order(own)], prepared.sizes)
    return places(reduce(_common, sets), own)


def cardinality(party: Party, label: str, items: Sequence[bytes]) -> Sizes:
    """Count the items that parties have in common.

    Parameters and errors are those of `intersection`.

    Notes
    -----
    **Leakage.** Every party learns how many items each has, and how many any selection of parties has in
    common (2ⁿ − 1 numbers); not which.

    **Cost.** n + 1 rounds; the rest is as for `intersection`, but 64·(n − 1)·N bytes.
    """
    prepared = _prepare(party, label, items)
    sets = rounds.gather(party, f"{label}.sets", prepared.points, prepared.sizes, Exponent())
    return _sizes(sets)


def universe(party: Party, label: str, items: Sequence[bytes]) -> Universe:
    """Agree on random identifiers for all items that any party has.

    Parameters and errors are those of `intersection`.

    Raises
    ------
    Disagreement
        An item of this party has no identifier: a peer did not follow the protocol.

    Notes
    -----
    **Leakage.** As of `cardinality`. Identifiers are elements under a second exponent of every party, and so
    cannot be matched with the sets that were compared, which is where one would see whose items are common.
    A set comes home under the second exponents of all parties but its owner's, who raises it to its own
    there: whoever had it in hand before lacks an exponent of what it would have to know.

    **Cost.** 3·n + 1 rounds. Each party raises (2·n + 1)·N elements for sets of N items, and those of the
    union.
    """
    prepared = _prepare(party, label, items)
    key, other = Exponent(), Exponent()
    sets = rounds.gather(party, f"{label}.sets", prepared.points, prepared.sizes, key)
    home = rounds.circulate(party, f"{label}.own", prepared.points, prepared.sizes, key, key * other)
    own = other.power(home, peer=party.roster[party.index - 1])
    union = np.unique(np.concatenate(sets), axis=0)
    identifiers = rounds.relay(party, f"{label}.union", union, other)
    positions = places(own, identifiers)
    if (positions < 0).any():
        raise Disagreement(
            f"step {label!r}: the common list lacks items of this party: a party did not follow the protocol"
        )
    return Universe(len(identifiers), positions, _sizes(sets))


@dataclass(frozen=True, eq=False, repr=False)
class _Prepared:
    points: Points
    sizes: list[int]


def _prepare(party: Party, label: str, items: Sequence[bytes]) -> _Prepared:
    """Check and hash this party's items, and tell how many there are."""
    if len(items) > MAX_ITEMS:
        raise RangeError(f"{len(items):,} items where {MAX_ITEMS:,} are allowed; nothing was sent")
    repeated = len(items) - len(set(items))
    if repeated:
        raise RangeError(f"{repeated} items are there before: each must be there once; nothing was sent")
    points = hash_to_group(items, party.mesh.session.id + label.encode())
    return _Prepared(points, rounds.publish_sizes(party, f"{label}.sizes", len(items), MAX_ITEMS))


def _sizes(sets: Sequence[Points]) -> Sizes:
    pairs = np.array([[len(_common(one, two)) for two in sets] for one in sets], np.int64)
    return Sizes(
        tuple(len(its) for its in sets),
        len(reduce(_common, [its for its in sets if len(its)] or [sets[0]])),
        pairs,
        len(np.unique(np.concatenate(sets), axis=0)),
    )


def _common(one: Points, two: Points) -> Points:
    """Return the elements of one sorted set that another one has too."""
    return one[places(one, two) >= 0]
