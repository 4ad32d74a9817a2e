"""k-means of the rows of all sites.

k-means++ takes rows for its first centres, which nobody must see. Here the first centres are chosen from
means of groups of rows: points are drawn at random from the columns' pooled means and standard deviations,
every row joins the nearest, and k-means++ runs on the groups' means, weighted by their sizes; so k-means‖
ends, too [1]_. Lloyd's iteration follows on the rows, each step of which opens sizes and means of the
clusters. A group of few rows is left out, and a cluster of few rows refused.

References
----------
.. [1] B. Bahmani et al., "Scalable K-Means++", PVLDB 5, 2012.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _frames, _plot, _table
from fedstats._counts import HIDDEN, MOST, is_few
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.multivariate._columns import (
    LOCATIONS,
    PUBLISHED,
    agree_columns,
    own_values,
    pooled_locations,
)
from fedstats.regression._equations import scalars
from fedstats.results import Result
from protocols.inputs import sum_shares
from protocols.secret import select

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

_STEPS = {
    "sizes": "the number of rows of each group at the start, and of each cluster at each step",
    "sums": "the sum of the rows of each of them that is large enough",
    "inertia": "Σ of squared distances from the clusters' centres",
}
DECLARATION = Declaration(
    "kmeans",
    aggregate={**_frames.AGGREGATE, **LOCATIONS, **_STEPS},
    result={**_frames.RESULT, **LOCATIONS, **_STEPS},
    published=PUBLISHED,
)

#: Points for each cluster, by which rows are grouped at the start; starts from the groups, of which the best
#: one is taken.
POINTS, STARTS = 12, 20
#: Steps end when no centre moves by this part of a standard deviation.
CONVERGED = 1e-7


def kmeans(
    cohort: Cohort,
    columns: Sequence[str],
    n_clusters: int,
    *,
    scale: bool = True,
    seed: int = 0,
    max_iter: int = 300,
    disclose: Disclose = "result",
) -> KMeansResult:
    """Group the rows of all sites in clusters around their means.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`. Rows with a missing value in a column are left out.
    columns
        Numeric columns.
    n_clusters
        How many clusters.
    scale
        Whether columns are divided by their standard deviations.
    seed
        Of the random points of the start, the same at every site.
    max_iter
        Most steps.
    disclose
        Sizes and sums of clusters are opened in either mode; ``"result"`` rounds sums to 30 bits, and does
        not open sizes below the federation's ``min_cell``.

    Returns
    -------
    KMeansResult
        Centres and sizes of the clusters, inertia; clusters of own rows by `predict`.

    Raises
    ------
    DataError
        A column cannot be used, or an option is no such number.
    RemoteError
        The same at another site.
    EstimationError
        A cluster has fewer than ``min_cell`` rows, or the steps do not end.

    Notes
    -----
    Like any k-means this finds a local optimum: from its centres, k-means of the pooled rows does not move.

    **Leakage.** Every site learns, of the rows of all sites together: how many are complete, and how many are
    not; means and variances of the columns; sizes and means of groups at the start, and of clusters at each
    step, of ``min_cell`` rows or more; and the inertia. Steps between which few rows change clusters tell
    their sum. A coalition of t sites learns the same of the other sites.

    Cost: with ``"aggregate"`` 21 rounds and four a step, with ``"result"`` about 250 and 60 a step; bytes of
    272·k·(p + 1) a step for k clusters and p columns.

    Examples
    --------
    >>> fs.kmeans(cohort, ["age", "bmi", "bp"], 3).centers  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:

        def check() -> None:
            numbers = {"n_clusters": n_clusters, "max_iter": max_iter}
            for name, number in numbers.items():
                if type(number) is not int or number < 1:
                    raise DataError(f"{name} is a whole number from 1")
            if type(seed) is not int or seed < 0:
                raise DataError("seed is a whole number from 0")

        call = f"n_clusters={n_clusters!r}, scale={scale!r}, seed={seed!r}, max_iter={max_iter!r}"
        part = agree_columns(run, cohort, columns, call=call, check=check)
        mean, std = pooled_locations(run, part)
        unit = std if scale else np.ones(len(std))
        x = (part.frame.centre - mean + part.frame.unit * part.z) / unit
        pooled = _Pooled(run, x, std / unit, run.federation.shared_policy.min_cell)
        random = np.random.default_rng(seed)
        centers = _start(pooled, n_clusters, random)
        for step in range(1, max_iter + 1):
            before = centers
            sizes, centers = pooled.means(before, step)
            if (sizes < pooled.least).any():
                raise EstimationError(
                    f"a cluster has fewer than {pooled.least} rows: use fewer clusters, or another seed"
                )
            if (np.abs(centers - before) <= CONVERGED * pooled.spread).all():
                break
        else:
            raise EstimationError(f"the clusters still change after {max_iter} steps: raise max_iter")
        inertia = float(scalars(run, "inertia", np.array([_distances(x, centers).min(axis=1).sum()]))[0])
        order = np.argsort(-sizes, kind="stable")
        names = pd.Index(range(n_clusters), name="cluster")
        return KMeansResult(
            **run.finish(),
            centers=pd.DataFrame(mean + unit * centers[order], index=names, columns=list(part.names)),
            sizes=pd.Series(sizes[order], index=names, name="size"),
            inertia=inertia,
            n_iter=step,
            unit=pd.Series(unit, index=list(part.names)),
            nobs=part.n,
            n_missing=part.n_missing,
        )


@dataclass(frozen=True, eq=False, repr=False)
class _Pooled:
    """Sizes and means of groups of rows, pooled.

    Attributes
    ----------
    x
        This site's rows, measured from the pooled means.
    spread
        Standard deviations of the columns of x.
    least
        The smallest group of which anything is opened.
    """

    run: Analysis
    x: Array
    spread: Array
    least: int

    def means(self, centers: Array, step: int) -> tuple[NDArray[np.int64], Array]:
        """Return sizes and means of the rows that are nearest to each centre; those centres of small ones."""
        nearest = _distances(self.x, centers).argmin(axis=1)
        sizes = self._sizes(np.bincount(nearest, minlength=len(centers)), step)
        large = np.flatnonzero(sizes >= self.least)
        own = (
            np.stack([self.x[nearest == group].sum(axis=0) for group in large]) if len(large) else centers[:0]
        )
        found = centers.copy()
        if len(large):
            sums = scalars(self.run, "sums", own.ravel(), part=step).reshape(own.shape)
            found[large] = sums / sizes[large, np.newaxis]
        return sizes, found

    def _sizes(self, own: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """Open numbers of rows; small ones not in the result mode."""
        if self.run.disclose == "aggregate":
            return np.asarray(self.run.sum("sizes", own, part=step))
        with self.run.on_shares() as engine:
            total = sum_shares(engine, own, bound=MOST)
            shown = select(is_few(total, self.least), HIDDEN, total)
        return np.asarray(self.run.reveal({"sizes": shown}, part=step)["sizes"])


def _distances(x: Array, centers: Array) -> Array:
    """Return squared distances of rows from centres, shape ``(rows, centres)``."""
    columns = [np.square(x - center).sum(axis=1) for center in centers]
    return np.stack(columns, axis=1)


def _start(pooled: _Pooled, count: int, random: np.random.Generator) -> Array:
    """Return first centres: the best k-means of the means of groups of rows, each begun by k-means++."""
    points = random.normal(size=(POINTS * count, pooled.x.shape[1])) * pooled.spread
    sizes, means = pooled.means(points, 0)
    large = sizes >= pooled.least
    weights, groups = sizes[large].astype(np.float64), means[large]
    if len(groups) < count:
        raise EstimationError(
            f"the rows make fewer than {count} groups of {pooled.least}: use fewer clusters"
        )
    best, least = groups[:count], np.inf
    for _ in range(STARTS):
        centers = groups[random.choice(len(groups), 1, p=weights / weights.sum())]
        while len(centers) < count:
            missed = weights * _distances(groups, centers).min(axis=1)
            missed = missed if missed.sum() > 0 else weights
            chosen = random.choice(len(groups), 1, p=missed / missed.sum())
            centers = np.concatenate([centers, groups[chosen]])
        for _ in range(100):
            nearest = _distances(groups, centers).argmin(axis=1)
            total = np.bincount(nearest, weights=weights, minlength=count)
            sums = np.stack(
                [np.bincount(nearest, weights=weights * g, minlength=count) for g in groups.T], axis=1
            )
            moved = np.where(total[:, np.newaxis] > 0, sums / np.maximum(total, 1.0)[:, np.newaxis], centers)
            if np.array_equal(moved, centers):
                break
            centers = moved
        value = float((weights * _distances(groups, centers).min(axis=1)).sum())
        if value < least:
            best, least = centers, value
    return best


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class KMeansResult(Result):
    """Clusters of rows, the largest first; the same at every site.

    Attributes
    ----------
    centers, sizes
        Means and numbers of rows of the clusters.
    inertia
        Σ of squared distances of the rows from their cluster's centre, in the units that were used.
    n_iter
        Steps on the rows.
    unit
        What columns were divided by.
    nobs, n_missing
        Rows of all sites that were used, and that were left out for a missing value.
    """

    centers: pd.DataFrame
    sizes: pd.Series[int]
    inertia: float
    n_iter: int
    unit: pd.Series[float]
    nobs: int
    n_missing: int

    def predict(self, frame: pd.DataFrame) -> pd.Series[int]:
        """Return the cluster of rows of this site, missing where a column is; nothing is sent.

        Raises
        ------
        DataError
            A column is absent.
        """
        x = own_values(frame, self.unit.index) / self.unit.to_numpy()
        complete = ~np.isnan(x).any(axis=1)
        nearest = _distances(x[complete], self.centers.to_numpy() / self.unit.to_numpy()).argmin(axis=1)
        clusters = pd.Series(pd.NA, index=frame.index, name="cluster", dtype="Int64")
        clusters.iloc[np.flatnonzero(complete)] = nearest
        return clusters

    def to_frame(self) -> pd.DataFrame:
        """Return size and centre of each cluster."""
        return pd.concat([self.sizes, self.centers], axis=1)

    def summary(self) -> str:
        """Return the clusters as text."""
        pairs: list[tuple[str, object]] = [
            ("Rows", self.nobs),
            ("Rows left out (missing)", self.n_missing),
            ("Inertia", self.inertia),
            ("Steps", self.n_iter),
        ]
        lines = [f"{len(self.sizes)} clusters by k-means over {len(self.sites)} sites", ""]
        lines += [*_table.pair_lines(pairs, digits=5), "", *_table.frame_lines(self.to_frame(), digits=5)]
        return "\n".join([*lines, "", f"Cost: {self.cost}"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw how far each cluster's centre lies from the mean of all rows, in the units that were used.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        mean = self.centers.mul(self.sizes, axis=0).sum() / self.sizes.sum()
        away = ((self.centers - mean) / self.unit).T
        target = _plot.axes(ax, (0.6 * away.shape[1] + 2.6, 0.3 * len(away) + 1.6))
        _plot.matrix(target, away, float(np.abs(away.to_numpy()).max()))
        target.set_xlabel("cluster")
        return target
