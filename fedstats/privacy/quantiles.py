"""Quantiles with differential privacy: a tree of noisy counts, from which all of them follow.

The range between the bounds is cut into cells, these are joined in pairs, the pairs in pairs and so on to
one. A row is counted in one cell of each size, so that every count needs noise for h + 1 of them if there are
2^h cells; but up to any point there are few large cells, and the counts constrain one another: those that
satisfy all constraints and are closest to the noisy ones are found in two passes [1]_. The variance of
numbers up to an edge is known exactly, and so is what a quantile may be, by the numbers that it leaves on
either side [2]_.

References
----------
.. [1] M. Hay, V. Rastogi, G. Miklau and D. Suciu, "Boosting the Accuracy of Differentially Private Histograms
   Through Consistency", VLDB 2010, theorem 3.
.. [2] R. S. Woodruff, "Confidence Intervals for Medians and Other Position Measures", Journal of the American
   Statistical Association 47, 1952.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fedstats.disclosure import Declaration
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.privacy import _call
from fedstats.privacy._call import Bounds, Integers
from fedstats.privacy._result import PrivateTable, quantile_of
from fedstats.privacy.accounting import Number
from fedstats.privacy.moments import Limits

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "privacy.quantile",
    noised={"counts": "numbers of values of each column, in cells of every size between the bounds"},
    published=_call.PUBLISHED,
)

#: Most halvings of the range.
MAX_DEPTH = 16


def squared_sensitivity(columns: int, depth: int) -> int:
    """Return the squared norm of what a row adds to the counts: 1 in a cell of each size, of each column."""
    return columns * (depth + 1)


def quantile(
    cohort: Cohort,
    columns: str | Sequence[str],
    q: float | Sequence[float] = 0.5,
    *,
    bounds: Limits,
    depth: int = 10,
    rho: Number | None = None,
    epsilon: Number | None = None,
    delta: Number | None = None,
    level: float = 0.95,
) -> PrivateTable:
    """Estimate quantiles over the rows of all sites, with differential privacy.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    columns
        One or more numeric columns; missing values are left out, others clipped to the bounds.
    q
        One or more levels, between 0 and 1. All cost as much as one.
    bounds
        Of all columns, ``(0, 120)``, or of each by its name. Known beforehand, not from these rows.
    depth
        How often the range between the bounds is halved: the cells have its 2^−depth th part.
    rho, epsilon, delta
        What it may cost: ρ, or ε with δ. See `fedstats.privacy`.
    level
        Of the confidence intervals.

    Returns
    -------
    PrivateTable
        ``quantile``, ``low`` and ``high`` of each column and level. Intervals are for the population that
        rows are drawn from; they account for that, for the noise, and for the width of a cell.

    Raises
    ------
    DataError
        A column is not numeric or has no sound bounds, or a level or the depth is none.
    PolicyError
        A site's rule or budget forbids it.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** The counts with noise: ρ-zCDP for adding or removing a row, also for a coalition of t sites
    that knows its own rows and noise.

    **Cost.** Four rounds; 2^(depth + 1) numbers for each column.

    Examples
    --------
    >>> fs.privacy.quantile(cohort, "age", [0.25, 0.5, 0.75], bounds=(0, 128), rho=0.01)  # doctest: +SKIP
    """
    asked = _call.Loss(rho, epsilon, delta)

    def local() -> tuple[list[str], list[float], list[Bounds], Integers]:
        _call.check_level(level)
        if not (isinstance(depth, int) and 1 <= depth <= MAX_DEPTH):
            raise DataError(f"depth is a whole number from 1 to {MAX_DEPTH}")
        wanted = [q] if isinstance(q, (int, float)) else list(q)
        if not wanted or not all(isinstance(one, (int, float)) and 0 <= one <= 1 for one in wanted):
            raise DataError("q is one level or a list of them, between 0 and 1")
        names = _call.columns_of(columns)
        limits = [Bounds.of(bounds, name) for name in names]
        trees = [
            tree(_call.numbers(cohort, name), its, depth) for name, its in zip(names, limits, strict=True)
        ]
        return names, [float(one) for one in wanted], limits, np.array(trees)

    with cohort.federation.analysis(DECLARATION, "noised") as run:
        call = (
            f"columns={columns!r}, q={_call.written(q)}, bounds={bounds!r}, depth={depth!r}, level={level!r}"
        )
        (names, wanted, limits, trees), its = _call.agree_call(run, cohort, call, asked, local)
        noisy = run.release(
            "counts", trees, squared_sensitivity=squared_sensitivity(len(names), depth), rho=its
        )
        rows = [
            estimate(consistent(counts, depth), noisy.variance, one, edges, level)
            for counts, edges in zip(noisy.sums, limits, strict=True)
            for one in wanted
        ]
        index = pd.MultiIndex.from_product([names, wanted], names=["column", "q"])
        return PrivateTable(
            **run.finish(),
            rho=its,
            level=level,
            title="Quantiles",
            frame=pd.DataFrame(np.array(rows), index, columns=["quantile", "low", "high"]),
            noise=float(np.sqrt(noisy.variance)),
        )


def tree(values: Array, bounds: Bounds, depth: int) -> Integers:
    """Count values in cells of every size: the whole range first, then its halves, and so on."""
    known = np.clip(values[~np.isnan(values)], bounds.low, bounds.high)
    place = (known - bounds.low) / 2 / bounds.half * 2**depth
    cells = np.clip(place.astype(np.int64), 0, 2**depth - 1)
    levels = [np.bincount(cells, minlength=2**depth).astype(np.int64)]
    for _ in range(depth):
        levels.append(levels[-1].reshape(-1, 2).sum(axis=1))
    return np.concatenate(levels[::-1])


def consistent(counts: Array, depth: int) -> Array:
    """Return the counts of the smallest cells that fit the noisy ones of all sizes best, by least squares."""
    levels = [counts[2**k - 1 : 2 ** (k + 1) - 1] for k in range(depth + 1)]
    best = levels[depth]
    ups = [best]
    for k in range(depth - 1, -1, -1):
        # Of what a cell's own count says, and the sum of its halves, with the variances that these have.
        weight = 2 * best_variance(depth - k - 1) / (1 + 2 * best_variance(depth - k - 1))
        best = weight * levels[k] + (1 - weight) * best.reshape(-1, 2).sum(axis=1)
        ups.append(best)
    for below in ups[-2::-1]:
        pairs = below.reshape(-1, 2)
        best = (pairs + (best - pairs.sum(axis=1))[:, np.newaxis] / 2).ravel()
    return best


def best_variance(height: int) -> float:
    """Return the variance of a cell's count given all that lie in it, in units of a noisy count's."""
    variance = 1.0
    for _ in range(height):
        variance = 2 * variance / (1 + 2 * variance)
    return variance


def edge_variances(depth: int, q: float) -> Array:
    """Return the variance of (number up to an edge) − q·(number in all), at every edge, in the same units.

    Let c be the fitted count of a cell and D the difference of the counts of its halves given all that lie in
    them, which is independent of c. The left half's fitted count is c/2 + D/2. Down to an edge, the part of c
    that it leaves below is its position in the cell, and so is the part of each D that takes part.
    """
    edges = np.arange(2**depth + 1)
    variance = (edges / 2**depth - q) ** 2 * best_variance(depth)
    for k in range(depth):
        width = 2 ** (depth - k)
        within = (edges % width) / width  # 0 at both ends of a cell, where its halves do not matter
        part = np.minimum(within, 1 - within)
        variance = variance + part**2 * 2 * best_variance(depth - k - 1)
    return np.asarray(variance)


def estimate(cells: Array, variance: float, q: float, bounds: Bounds, level: float) -> tuple[float, ...]:
    """Return a quantile and its interval, from the fitted counts of cells."""
    depth = len(cells).bit_length() - 1
    below = np.concatenate([[0.0], np.cumsum(cells)])
    total = below[-1]
    gap = below - q * total
    noise = variance * edge_variances(depth, q)
    reach = quantile_of(level) * np.sqrt(noise + max(total, 0.0) * q * (1 - q))
    edges = np.linspace(bounds.low, bounds.high, len(below))
    low = edges[max(int(np.argmax(gap + reach >= 0)) - 1, 0)] if (gap + reach >= 0).any() else bounds.high
    beyond = np.flatnonzero(gap - reach <= 0)
    high = edges[min(int(beyond[-1]) + 1, len(edges) - 1)] if beyond.size else bounds.low
    # The noisy numbers up to each edge need not ascend: midway between the least and the greatest that do.
    rising = (np.maximum.accumulate(gap) + np.minimum.accumulate(gap[::-1])[::-1]) / 2
    after = int(np.searchsorted(rising, 0.0, side="left"))
    if after == 0 or after == len(edges):
        middle = bounds.low if after == 0 else bounds.high
    else:
        step = rising[after] - rising[after - 1]
        middle = edges[after - 1] - rising[after - 1] / step * (edges[after] - edges[after - 1])
    return float(middle), float(min(low, middle)), float(max(high, middle))
