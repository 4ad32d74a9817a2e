"""How sets travel from party to party, until they are under the keys of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from protocols import codec
from protocols.errors import CodecError
from protocols.party import Party
from protocols.psi.group import POINT, Exponent, Points, order
from protocols.publish import publish


def publish_sizes(party: Party, label: str, size: int, most: int) -> list[int]:
    """Tell all how many items this party has; return how many each has, in the order of the roster.

    Raises
    ------
    CodecError
        A peer tells no number, or more than `most`.
    """
    sizes = []
    for name, told in publish(party, label, size).items():
        if type(told) is not int or not 0 <= told <= most:
            raise CodecError(f"{name} does not say how many items it has, or more than {most:,}", peer=name)
        sizes.append(told)
    return sizes


def gather(party: Party, label: str, points: Points, sizes: Sequence[int], key: Exponent) -> list[Points]:
    """Return every party's set under the exponents of all, sorted: nobody can tell which item is which.

    Parameters
    ----------
    party
        This party.
    label
        The step.
    points
        This party's set.
    sizes
        The size of each party's set, in the order of the roster.
    key
        This party's exponent.

    Returns
    -------
    list of ndarray
        In the order of the roster.

    Notes
    -----
    **Cost.** n rounds. Each party sends 32 bytes an item of all sets, and of one of them to all.
    """
    n, me = party.n, party.index
    after, before = party.roster[(me + 1) % n], party.roster[me - 1]
    party.claim(label)
    passing = _sorted(key.power(points))
    for hop in range(1, n):
        party.send(after, f"{label}.{hop}", codec.encode(passing))
        passing = _received(party, before, f"{label}.{hop}", sizes[(me - hop) % n])
        passing = _sorted(key.power(passing, peer=before))
    party.mesh.traffic.rounds += n - 1
    # What has come here last set out at the next party.
    sets = publish_sets(party, f"{label}.all", passing, [sizes[(place + 1) % n] for place in range(n)])
    return sets[-1:] + sets[:-1]


def circulate(
    party: Party, label: str, points: Points, sizes: Sequence[int], key: Exponent, of_others: Exponent
) -> Points:
    """Return this party's set under the exponents of all parties, in its own order, which others do not see.

    Parameters
    ----------
    party, label, points, sizes
        As for `gather`.
    key
        This party's exponent for its own set.
    of_others
        That for the sets of others. Whoever raises a set last before it comes home sees what its owner gets.

    Notes
    -----
    **Cost.** n rounds. Each party sends 32 bytes an item of all sets.
    """
    n, me = party.n, party.index
    after, before = party.roster[(me + 1) % n], party.roster[me - 1]
    party.claim(label)
    raised = key.power(points)
    hidden = order(raised)
    passing = raised[hidden]
    for hop in range(1, n + 1):
        party.send(after, f"{label}.{hop}", codec.encode(passing))
        passing = _received(party, before, f"{label}.{hop}", sizes[(me - hop) % n])
        if hop < n:
            passing = of_others.power(passing, peer=before)
    party.mesh.traffic.rounds += n
    own = np.empty_like(passing)
    own[hidden] = passing
    return own


def relay(party: Party, label: str, points: Points, key: Exponent) -> Points:
    """Return a set that all hold under the exponents of all, sorted, the same at every party.

    Notes
    -----
    **Cost.** n rounds, in which one party works at a time.
    """
    n, me = party.n, party.index
    party.claim(label)
    before = party.roster[me - 1] if me else None
    passing = _received(party, before, f"{label}.{me}", len(points)) if before else points
    passing = _sorted(key.power(passing, peer=before))
    if me < n - 1:
        party.send(party.roster[me + 1], f"{label}.{me + 1}", codec.encode(passing))
    party.mesh.traffic.rounds += n - 1
    last = [len(points) if place == n - 1 else 0 for place in range(n)]
    return publish_sets(party, f"{label}.all", passing if me == n - 1 else passing[:0], last)[-1]


def publish_sets(party: Party, label: str, points: Points, sizes: Sequence[int]) -> list[Points]:
    """Tell all a set; return each party's, in the order of the roster, which must have these sizes."""
    told = publish(party, label, points, max_bytes=POINT * max(sizes) + 256)
    return [_checked(its, name, size) for (name, its), size in zip(told.items(), sizes, strict=True)]


def _received(party: Party, peer: str, step: str, size: int) -> Points:
    return _checked(codec.decode(party.recv(peer, step), peer=peer), peer, size)


def _checked(told: object, peer: str, size: int) -> Points:
    if not isinstance(told, np.ndarray) or told.dtype != np.uint8 or told.shape != (size, POINT):
        raise CodecError(f"what {peer} sent is not a set of so many group elements as was told", peer=peer)
    return told


def _sorted(points: Points) -> Points:
    return points[order(points)]
