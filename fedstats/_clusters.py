"""Clusters of rows within sites; which row belongs to which is nobody else's business.

Mixed models, and robust errors of survival, need the rows of a cluster at one site. Equal values at two sites
may be one cluster, of which each site has a part, or two that sites have numbered by themselves; only the
user knows. Unless they are said to be the latter, it is made sure that there are none: every site shares a
number of 62 bits for each of its clusters, made of the value by a hash function, and as many others that no
value has as hide how many clusters it has. They are sorted on shares, and whether any two neighbours are
alike is all that is opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats.errors import DataError, EstimationError
from protocols.compare import is_zero
from protocols.inputs import share
from protocols.sort import sort

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

#: What `open_clusters` opens, and what `robust_clusters` does.
CLUSTERS: Mapping[str, str] = {"clusters": "the number of clusters, and whether any has two rows or more"}
COUNT: Mapping[str, str] = {"clusters": "the number of clusters"}
#: What is opened beside, unless sites have numbered their clusters by themselves.
CROSSING: Mapping[str, str] = {"crossing clusters": "whether any cluster has rows at two sites, and no more"}
#: Bits of the numbers that stand for clusters: two of 10⁵ are alike with a probability of 10⁻⁹.
_BITS = 62


def check_groups(run: Analysis, cohort: Cohort, groups: str | None, local_groups: bool) -> None:
    """Raise DataError unless the clusters of sites can be compared, if they are to be."""
    if local_groups and groups is None:
        raise DataError("local_groups=True is about a column of clusters: name one, or leave it out")
    if groups is None:
        return
    cohort.schema.require(groups)
    cohort.texts(groups)
    if not local_groups and len(run.sites) < 3 and not run.federation.shared_policy.full:
        raise DataError(
            f"whether a cluster of {groups!r} has rows at both sites cannot be found out in secret by two: "
            "if there is none, say local_groups=True; or invite a third site"
        )


def clusters_of(cohort: Cohort, groups: str | None, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the number of each row's cluster at this site, from 0; without a column the site is one."""
    if groups is None:
        return np.zeros(len(rows), np.int64)
    return np.unique(cohort.texts(groups)[rows].astype(str), return_inverse=True)[1].astype(np.int64)


def open_clusters(run: Analysis, cluster: NDArray[np.int64], name: str) -> int:
    """Return the number of clusters of all sites, of which there are two, one of them with several rows.

    Cost: one sum of integers.
    """
    sizes = np.bincount(cluster)
    own = np.array([len(sizes), int((sizes > 1).any())])
    count, repeated = run.sum("clusters", own).tolist()
    if count < 2:
        raise EstimationError(f"{name!r} is one cluster over all sites: no variance between clusters")
    if not repeated:
        raise EstimationError(f"no cluster of {name!r} has two rows: its variance is that of the errors")
    return int(count)


def robust_clusters(
    run: Analysis, cohort: Cohort, groups: str, rows: NDArray[np.intp], local_groups: bool
) -> tuple[NDArray[np.int64], int]:
    """Return the cluster of each row that is used, from 0, and the number of clusters of all sites.

    Parameters
    ----------
    run, cohort
        The analysis, past `check_groups`. Its declaration includes `COUNT` and `CROSSING`.
    groups, local_groups
        Column of clusters, and whether sites have numbered them by themselves.
    rows
        Positions in the cohort of the rows that are used.

    Raises
    ------
    EstimationError
        There is only one cluster, or one has rows at two sites.

    Notes
    -----
    **Cost.** One sum of integers, and unless the clusters are local that of `refuse_crossing`.
    """
    cluster = clusters_of(cohort, groups, rows)
    count = int(run.sum("clusters", np.array([cluster.max(initial=-1) + 1]))[0])
    if count < 2:
        raise EstimationError(
            f"{groups!r} is one cluster over all sites: robust errors need two at least, so leave it out"
        )
    if not local_groups:
        refuse_crossing(run, cohort.texts(groups)[rows], groups, count)
    return cluster, count


def refuse_crossing(run: Analysis, values: NDArray[np.object_], name: str, count: int) -> None:
    """Raise EstimationError at all sites if a value occurs at two of them.

    Parameters
    ----------
    run
        The analysis, past `agree`. Its declaration includes `CROSSING`.
    values
        This site's clusters, with or without repetition.
    name
        Of their column.
    count
        The number of clusters of all sites.

    Notes
    -----
    **Leakage.** `CROSSING`. **Cost.** 50 rounds for three sites and 30 clusters, 75 for 1,000, 90 for 3,000
    and 300 for 30,000, and 1 to 1.5 kB for each of n·count numbers.
    """
    own = np.unique(values.astype(str)).tolist()
    # Padded, so that nobody learns how many are whose.
    spare = (f"{run.federation.site}/{number}" for number in range(count - len(own)))
    numbers = np.concatenate([_numbers("cluster", own), _numbers("none", spare)])
    with run.on_shares() as engine:
        ordered = sort(share(engine, numbers, bound=2.0**_BITS).reshape(len(run.sites) * count))
        alike = is_zero(ordered[1:] - ordered[:-1])
        crossing = alike.sum() > 0
    if run.reveal({"crossing clusters": crossing})["crossing clusters"]:
        raise EstimationError(
            f"a value of {name!r} occurs at two sites, and a cluster's rows must be at one: where sites have "
            "numbered their clusters by themselves, so that equal values are different clusters, say "
            "local_groups=True; otherwise leave the cluster out at one of them"
        )


def _numbers(kind: str, values: Iterable[str]) -> NDArray[np.int64]:
    """Return a number of 62 bits for each value."""
    digests = (hashlib.blake2b(value.encode(), digest_size=8, person=kind.encode()) for value in values)
    return np.array([int.from_bytes(one.digest(), "big") >> (64 - _BITS) for one in digests], np.int64)
