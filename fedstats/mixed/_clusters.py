"""Clusters of rows within sites; which row belongs to which is nobody else's business."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats.errors import EstimationError

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

CLUSTERS: Mapping[str, str] = {"clusters": "the number of clusters, and whether any has two rows or more"}


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
