"""Counts with differential privacy: histograms, tables of one column and of several.

A row is in one cell at most, so that it changes one count by 1. Small counts need no hiding: noise does that.
Counts are reported as they come, which may be below 0 and are no whole numbers: rounding them up to 0 would
make sums of them too large.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.disclosure import Declaration
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.histograms import MAX_BINS
from fedstats.privacy import _call
from fedstats.privacy._call import Integers
from fedstats.privacy._result import PrivateTable, quantile_of
from fedstats.privacy.accounting import Number
from fedstats.tables import ALL

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

NOISED = {"counts": "number of rows in each cell"}
HISTOGRAM = Declaration("privacy.histogram", noised=NOISED, published=_call.PUBLISHED)
CROSSTAB = Declaration("privacy.crosstab", noised=NOISED, published=_call.PUBLISHED)
VALUE_COUNTS = Declaration("privacy.value_counts", noised=NOISED, published=_call.PUBLISHED)

#: A row adds 1 to one count.
SQUARED_SENSITIVITY = 1
#: Most cells of a table.
MAX_CELLS = 1 << 20


def histogram(
    cohort: Cohort,
    column: str,
    bins: Sequence[float],
    *,
    by: str | None = None,
    rho: Number | None = None,
    epsilon: Number | None = None,
    delta: Number | None = None,
    level: float = 0.95,
) -> PrivateTable:
    """Count the values of a column in bins, over the rows of all sites, with differential privacy.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    column
        A numeric column; missing values are left out.
    bins
        The edges, ascending, as for `fedstats.histogram`; −inf and inf may be edges. They are known
        beforehand, not from these rows.
    by
        Column of groups, whose levels were declared. Groups cost nothing: a row is in one.
    rho, epsilon, delta
        What it may cost: ρ, or ε with δ. See `fedstats.privacy`.
    level
        Of the confidence intervals: of the counts of these rows, so that they account for the noise alone.

    Returns
    -------
    PrivateTable
        ``count``, ``low`` and ``high`` of each bin, or group and bin.

    Raises
    ------
    DataError
        The column is not numeric, the bins are none, or `by` has no declared levels.
    PolicyError
        A site's rule or budget forbids it.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** The counts with noise: ρ-zCDP for adding or removing a row, also for a coalition of t sites
    that knows its own rows and noise.

    **Cost.** Four rounds; one number for each cell.

    Examples
    --------
    >>> fs.privacy.histogram(cohort, "age", [0, 18, 40, 65, 120], rho=0.01).to_frame()  # doctest: +SKIP
    """
    asked = _call.Loss(rho, epsilon, delta)

    def local() -> tuple[Array, tuple[str, ...], Integers]:
        _call.check_level(level)
        edges = edges_of(bins)
        cohort.federation.divided(column, float(np.diff(edges).min()))
        groups, group = _call.grouped(cohort, by)
        values = _call.numbers(cohort, column)
        return edges, groups, np.array([in_bins(values[group == code], edges) for code in range(len(groups))])

    with cohort.federation.analysis(HISTOGRAM, "noised") as run:
        call = f"column={column!r}, bins={_call.written(bins)}, by={by!r}, level={level!r}"
        (edges, groups, counts), its = _call.agree_call(run, cohort, call, asked, local)
        noisy = run.release("counts", counts, squared_sensitivity=SQUARED_SENSITIVITY, rho=its)
        intervals = pd.IntervalIndex.from_breaks(edges, closed="left", name=column)
        index = (
            intervals if by is None else pd.MultiIndex.from_product([groups, intervals], names=[by, column])
        )
        return PrivateTable(
            **run.finish(),
            rho=its,
            level=level,
            title=f"Histogram of {column}" + (f" by {by}" if by else ""),
            frame=with_interval(noisy.sums.ravel(), noisy.variance, level, index),
            noise=float(np.sqrt(noisy.variance)),
        )


def value_counts(
    cohort: Cohort,
    column: str,
    *,
    rho: Number | None = None,
    epsilon: Number | None = None,
    delta: Number | None = None,
    level: float = 0.95,
) -> PrivateTable:
    """Count the rows of all sites that have each declared level of a column; see `crosstab`.

    Returns
    -------
    PrivateTable
        ``count``, ``low`` and ``high`` of each level.
    """
    asked = _call.Loss(rho, epsilon, delta)

    def local() -> tuple[tuple[str, ...], Integers]:
        _call.check_level(level)
        levels = _call.declared(cohort, column)
        return levels, in_cells([_call.codes(cohort, column, levels)], (len(levels),))

    with cohort.federation.analysis(VALUE_COUNTS, "noised") as run:
        (levels, counts), its = _call.agree_call(
            run, cohort, f"column={column!r}, level={level!r}", asked, local
        )
        noisy = run.release("counts", counts, squared_sensitivity=SQUARED_SENSITIVITY, rho=its)
        return PrivateTable(
            **run.finish(),
            rho=its,
            level=level,
            title=f"Counts of {column}",
            frame=with_interval(noisy.sums, noisy.variance, level, pd.Index(levels, name=column)),
            noise=float(np.sqrt(noisy.variance)),
        )


def crosstab(
    cohort: Cohort,
    columns: Sequence[str],
    *,
    rho: Number | None = None,
    epsilon: Number | None = None,
    delta: Number | None = None,
    level: float = 0.95,
) -> PrivateTable:
    """Count the rows of all sites that have each combination of levels, with differential privacy.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    columns
        Two or more columns whose levels were declared, or of truth values. Rows where one is missing are left
        out.
    rho, epsilon, delta
        What it may cost: ρ, or ε with δ. See `fedstats.privacy`.
    level
        Of the confidence intervals: of the counts of these rows, so that they account for the noise alone.

    Returns
    -------
    PrivateTable
        ``count``, ``low`` and ``high`` of each combination, with margins that are sums of the cells.

    Raises
    ------
    DataError
        A column has no declared levels, or the table more than a million cells.
    PolicyError
        A site's rule or budget forbids it.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** The counts with noise: ρ-zCDP for adding or removing a row, also for a coalition of t sites
    that knows its own rows and noise.

    **Cost.** Four rounds; one number for each cell.

    Examples
    --------
    >>> fs.privacy.crosstab(cohort, ["arm", "stage"], epsilon=1, delta=1e-6).to_frame()  # doctest: +SKIP
    """
    asked = _call.Loss(rho, epsilon, delta)

    def local() -> tuple[list[str], list[tuple[str, ...]], Integers]:
        _call.check_level(level)
        names = _call.columns_of(columns)
        if len(names) < 2:
            raise DataError("a crosstab has two columns at least: for one there is value_counts")
        levels, table = tabulated(cohort, names)
        return names, levels, table

    with cohort.federation.analysis(CROSSTAB, "noised") as run:
        call = f"columns={columns!r}, level={level!r}"
        (names, levels, table), its = _call.agree_call(run, cohort, call, asked, local)
        noisy = run.release("counts", table, squared_sensitivity=SQUARED_SENSITIVITY, rho=its)
        counts, summed = noisy.sums, np.ones(table.shape)
        for axis in range(len(names)):
            counts = np.concatenate([counts, counts.sum(axis=axis, keepdims=True)], axis=axis)
            summed = np.concatenate([summed, summed.sum(axis=axis, keepdims=True)], axis=axis)
        index = pd.MultiIndex.from_tuples(product(*[(*its, ALL) for its in levels]), names=names)
        variance = noisy.variance * summed.ravel()
        return PrivateTable(
            **run.finish(),
            rho=its,
            level=level,
            title=f"Counts of {' × '.join(names)}",
            frame=with_interval(counts.ravel(), variance, level, index),
            noise=float(np.sqrt(noisy.variance)),
        )


def tabulated(cohort: Cohort, names: Sequence[str]) -> tuple[list[tuple[str, ...]], Integers]:
    """Return the declared levels of columns, and this site's counts of their combinations."""
    levels = [_call.declared(cohort, name) for name in names]
    shape = tuple(map(len, levels))
    if np.prod([float(extent) for extent in shape]) > MAX_CELLS:
        raise DataError(
            f"the table of {', '.join(map(repr, names))} has {' × '.join(map(str, shape))} cells, more than "
            f"{MAX_CELLS:,}: group levels, or leave out a column"
        )
    return levels, in_cells(
        [_call.codes(cohort, name, its) for name, its in zip(names, levels, strict=True)], shape
    )


def edges_of(bins: object) -> Array:
    """Return the edges of bins, or refuse what are none."""
    try:
        edges = np.asarray(bins, np.float64)
    except (TypeError, ValueError):
        edges = np.empty(0)
    if edges.ndim != 1 or not 2 <= len(edges) <= MAX_BINS + 1 or not (np.diff(edges) > 0).all():
        raise DataError(
            f"bins are two to {MAX_BINS + 1:,} edges in ascending order, known without looking at rows"
        )
    return edges


def in_bins(values: Array, edges: Array) -> Integers:
    """Count values in bins, each with its lower edge and the last one with both; NaN is in none."""
    inside = (values >= edges[0]) & (values <= edges[-1])
    which = np.minimum(np.searchsorted(edges, values[inside], side="right") - 1, len(edges) - 2)
    return np.bincount(which, minlength=len(edges) - 1).astype(np.int64)


def in_cells(codes: Sequence[Integers], shape: tuple[int, ...]) -> Integers:
    """Count rows in the cells of a table; a row with a missing value is in none."""
    stacked = np.stack(codes)
    cells = np.ravel_multi_index(tuple(stacked[:, (stacked >= 0).all(axis=0)]), shape)
    return np.bincount(cells, minlength=int(np.prod(shape))).astype(np.int64).reshape(shape)


def with_interval(
    counts: Array, variance: float | NDArray[np.float64], level: float, index: pd.Index
) -> pd.DataFrame:
    """Return counts with the intervals of what they would be without noise, from 0 on."""
    reach = quantile_of(level) * np.sqrt(variance)
    columns = {
        "count": counts,
        "low": np.maximum(counts - reach, 0.0),
        "high": np.maximum(counts + reach, 0.0),
    }
    return pd.DataFrame(columns, index=index)
