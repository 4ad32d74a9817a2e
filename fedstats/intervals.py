"""Means and variances with confidence intervals, over the rows of all sites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from fedstats import _means, _plot, _table
from fedstats._counts import open_counts
from fedstats._means import means_and_variances
from fedstats._selection import PUBLISHED, Wanted, check_distinct, select
from fedstats.cohort import largest
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.quantiles import grouped
from fedstats.results import Result
from fedstats.schema import Schema

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.cohort import Cohort

_NUMBERS = "number of values of each column, in each group"
MEAN = Declaration(
    "mean_ci",
    aggregate={"numbers of values": _NUMBERS, **_means.AGGREGATE},
    result={"numbers of values": f"{_NUMBERS}; of fewer than min_cell, that it is so", **_means.RESULT},
    published=PUBLISHED,
)
VAR = Declaration("var_ci", aggregate=MEAN.aggregate, result=MEAN.result, published=PUBLISHED)

#: Makes the ends of intervals at a level, of counts, means and variances.
Ends = Callable[[Array, Array, Array, float], tuple[Array, Array]]


def mean_ci(
    cohort: Cohort,
    columns: str | Sequence[str],
    *,
    by: str | None = None,
    level: float = 0.95,
    disclose: Disclose = "result",
) -> IntervalResult:
    """Compute means with confidence intervals by Student's t, over the rows of all sites.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    columns
        One or more numeric columns; missing values are left out.
    by
        Column of groups; rows where it is missing belong to none.
    level
        Of the interval.
    disclose
        ``"result"``: numbers of values, means and variances are opened. ``"aggregate"``: pooled sums are.

    Raises
    ------
    DataError
        A column does not exist, is not numeric, has values that are infinite or too large; or the level is
        none.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** For each column and group, over all sites together, the number of values, their mean and
    variance; of fewer than the federation's ``min_cell`` values only that they are fewer. In aggregate mode
    the sums that these follow from, and small numbers too. A coalition of t sites learns the same, and can
    subtract its own rows.

    Cost: 61 rounds for three sites; eight in aggregate mode.

    Examples
    --------
    >>> fs.mean_ci(cohort, ["age", "bmi"], by="arm").to_frame()  # doctest: +SKIP
    """
    return _computed(cohort, columns, by, level, MEAN, disclose, "mean", _around_means)


def var_ci(
    cohort: Cohort,
    columns: str | Sequence[str],
    *,
    by: str | None = None,
    level: float = 0.95,
    disclose: Disclose = "result",
) -> IntervalResult:
    """Compute variances with confidence intervals by χ², which are those of normal values; see `mean_ci`."""
    return _computed(cohort, columns, by, level, VAR, disclose, "var", _around_variances)


def _around_means(n: Array, mean: Array, var: Array, level: float) -> tuple[Array, Array]:
    half = stats.t.ppf((1 + level) / 2, n - 1) * np.sqrt(var / n)
    return mean - half, mean + half


def _around_variances(n: Array, _: Array, var: Array, level: float) -> tuple[Array, Array]:
    upper, lower = (stats.chi2.ppf(part, n - 1) for part in ((1 + level) / 2, (1 - level) / 2))
    return (n - 1) * var / upper, (n - 1) * var / lower


def _computed(
    cohort: Cohort,
    columns: str | Sequence[str],
    by: str | None,
    level: float,
    declaration: Declaration,
    disclose: Disclose,
    statistic: str,
    ends: Ends,
) -> IntervalResult:
    def wanted(_: Schema) -> Wanted:
        names = check_distinct([columns] if isinstance(columns, str) else columns, "columns")
        if not (isinstance(level, float) and 0 < level < 1):
            raise DataError("level is a number between 0 and 1, such as 0.95")
        if not isinstance(by, str | None):
            raise DataError("by is the name of one column: make one of several columns before, at every site")
        for name in names:
            cohort.numbers(name, largest(disclose))
        return Wanted(names, [] if by is None else [by])

    with cohort.federation.analysis(declaration, disclose) as run:
        chosen = select(run, cohort, f"columns={columns!r}, by={by!r}, level={level!r}", wanted)
        groups = grouped(chosen, by)
        values = [x[rows & ~np.isnan(x)] for rows in groups.values() for x in chosen.numbers.values()]
        enough = run.federation.shared_policy.min_cell
        numbers = open_counts(run, "numbers of values", np.array([len(x) for x in values]), enough)
        used = np.flatnonzero(numbers >= max(enough, 2))
        mean, var = means_and_variances(run, [values[which] for which in used.tolist()], numbers[used])
        index = (
            pd.Index(chosen.numbers, name="column")
            if by is None
            else pd.MultiIndex.from_product([groups, chosen.numbers], names=[by, "column"])
        )
        hidden = (numbers != 0) & (numbers < enough)
        frame = pd.DataFrame({"count": pd.arrays.IntegerArray(numbers, hidden)}, index)
        frame[[statistic, "low", "high"]] = np.nan
        low, high = ends(numbers[used].astype(np.float64), mean, var, level)
        frame.iloc[used, 1:] = np.stack([mean if statistic == "mean" else var, low, high], axis=1)
        return IntervalResult(
            **run.finish(), statistic=statistic, by=by, level=level, min_cell=enough, frame=frame
        )


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class IntervalResult(Result):
    """A statistic of columns with confidence intervals, the same at every site.

    Attributes
    ----------
    statistic
        ``"mean"`` or ``"var"``.
    by
        The grouping column, or None.
    level
        Of the intervals.
    min_cell
        Fewer values have no statistic.
    frame
        The table; `to_frame` returns a copy.
    """

    statistic: str
    by: str | None
    level: float
    min_cell: int
    frame: pd.DataFrame = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return ``count``, ``mean`` or ``var``, ``low`` and ``high`` of each column, or group and column."""
        return self.frame.copy()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw each statistic with its interval."""
        target = _plot.axes(ax)
        frame = self.frame[::-1]
        places, middle = np.arange(len(frame)), frame[self.statistic].to_numpy()
        reach = np.abs(frame[["low", "high"]].to_numpy().T - middle)
        target.errorbar(middle, places, xerr=reach, fmt="o", capsize=3)
        labels = [" ".join(key) if isinstance(key, tuple) else key for key in frame.index]
        target.set_yticks(places, labels)
        target.set_xlabel(f"{self.statistic}, with its {self.level:.0%} confidence interval")
        return target

    def summary(self) -> str:
        """Return the table as text."""
        over = f"over {len(self.sites)} sites" + (f", by {self.by}" if self.by else "")
        what = {"mean": "Means", "var": "Variances"}[self.statistic]
        lines = [f"{what} with {self.level:.0%} confidence intervals {over}", ""]
        lines += _table.frame_lines(self.frame)
        if self.frame[self.statistic].isna().any():
            lines += ["", f"– suppressed: fewer than {self.min_cell} values"]
        return "\n".join([*lines, "", f"Cost: {self.cost}"])
