"""Table 1 of a study: what its groups of patients are like, over the rows of all sites.

Numbers by mean and standard deviation, or by median and quartiles; categories by counts, of which small ones
stay hidden (`_cells`). Tests and standardised differences follow from what is shown, but for tests of ranks.

A group with fewer than `min_cell` rows is left out of the table, and of its column for all rows: beside the
other groups, that would describe it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fedstats import _cells, _described, _means, _plot, _table
from fedstats import _ranks as ranks
from fedstats._cells import Counts
from fedstats._counts import open_counts
from fedstats._described import Plan
from fedstats._selection import PUBLISHED, Wanted, select
from fedstats.cohort import largest
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, PolicyError
from fedstats.quantiles import grouped
from fedstats.results import Result
from fedstats.schema import Schema
from fedstats.tables import ALL, nullable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.cohort import Cohort

_SIZES = "number of rows of each group"
_VALUES = "number of values of each numeric column, in each group"
DECLARATION = Declaration(
    "table1",
    aggregate={"group sizes": _SIZES, "numbers of values": _VALUES, **_means.AGGREGATE, **_cells.AGGREGATE},
    result={
        "group sizes": f"{_SIZES}; of fewer than min_cell, that it is so",
        "numbers of values": f"{_VALUES}; of fewer than min_cell, that it is so",
        **_means.RESULT,
        "quantiles": "median and quartiles of each column that is not normal, in each group and in all rows",
        "rank sums": "twice the sum of each group's ranks but the last one's, of each ranked column",
        "ties": "Σ(t³ − t) over blocks of t equal values, of each ranked column",
        **_cells.RESULT,
    },
    published={**PUBLISHED, **ranks.PUBLISHED},
)


def table1(
    cohort: Cohort,
    columns: Sequence[str] | None = None,
    *,
    by: str | None = None,
    categorical: Sequence[str] = (),
    nonnormal: Sequence[str] = (),
    ranked: Sequence[str] = (),
    disclose: Disclose = "result",
) -> Table1Result:
    """Describe columns by group, as the first table of a study does, over the rows of all sites.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    columns
        Columns to describe, in their order; by default all numbers and categories that every site can use.
    by
        Column of groups; rows where it is missing are left out.
    categorical
        Columns of whole numbers that are categories.
    nonnormal
        Columns that are described by median and quartiles, and not compared by means.
    ranked
        Columns whose groups are compared by the Kruskal–Wallis test, for which all their values are sorted on
        shares: seconds for some 10,000 rows a column.
    disclose
        ``"result"``: what the table shows is opened. ``"aggregate"``: pooled sums and all counts are; the
        result shows the same. `nonnormal` and `ranked` then have to be empty.

    Returns
    -------
    Table1Result
        Groups with fewer rows than the federation's ``min_cell`` are left out, statistics of fewer values and
        small counts are hidden, and so is what they would follow from. Tests are those of scipy: Student's
        t-test, one-way analysis of variance, χ² with Yates' correction for two by two; none where counts are
        hidden.

    Raises
    ------
    DataError
        A column does not exist or cannot be used, or has levels that would identify rows.
    PolicyError
        No group is large enough.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** Every site learns, over all sites together, the size of each group, and for each column and
    group what the table shows of it: number of values, mean and variance, quartiles, counts. Of what is
    hidden it learns that it is small, or needed to hide what is. Of each site it learns which levels its
    columns have. A coalition of t sites learns the same, and can subtract its own rows.

    Cost: some 90 rounds for three sites, 180 to 290 more with `nonnormal`, and some 100 with
    `ranked`; 12 in aggregate mode.

    Examples
    --------
    >>> print(fs.table1(cohort, by="arm", nonnormal=["bili"]).summary())  # doctest: +SKIP
    """
    plans: list[Plan] = []

    def wanted(schema: Schema) -> Wanted:
        plan = Plan.build(schema, columns, by, categorical, nonnormal, ranked, disclose)
        for name in plan.numeric:
            cohort.numbers(name, largest(disclose))
        plans.append(plan)
        return Wanted(plan.numeric, [*([] if by is None else [by]), *plan.categorical])

    options = f"categorical={categorical!r}, nonnormal={nonnormal!r}, ranked={ranked!r}"
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        chosen = select(run, cohort, f"columns={columns!r}, by={by!r}, {options}", wanted)
        [plan] = plans
        enough = run.federation.shared_policy.min_cell
        every = {ALL: np.ones(len(cohort), np.bool_)} if by is None else grouped(chosen, by)
        sizes = open_counts(run, "group sizes", np.array([rows.sum() for rows in every.values()]), enough)
        large = sizes >= enough
        groups = {name: rows for (name, rows), is_large in zip(every.items(), large, strict=True) if is_large}
        if not groups:
            raise PolicyError(f"table1: every group has fewer than {enough} rows (min_cell) over all sites")
        numeric = _described.numbers(run, plan, chosen, groups)
        counts = _described.counted(run, plan, chosen, groups)
        by_ranks = _described.ranked(run, plan, chosen, groups, numeric)
        return Table1Result(
            **run.finish(),
            by=by,
            columns=plan.columns,
            nonnormal=plan.nonnormal,
            skipped=plan.skipped,
            sizes=pd.Series(sizes[large], index=pd.Index(groups, name=by), name="rows"),
            left_out=tuple(name for name in every if name not in groups),
            min_cell=enough,
            levels={name: chosen.levels[name] for name in plan.categorical},
            numeric=numeric,
            counts=counts,
            tests=_described.compared(plan, numeric, counts, by_ranks),
        )


# --- Result ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Table1Result(Result):
    """A Table 1, the same at every site.

    Attributes
    ----------
    by
        The grouping column, or None.
    columns
        The described columns, in their order.
    nonnormal
        Those that are described by median and quartiles.
    skipped
        Columns that not every site can use, with the reason.
    sizes
        Rows of each group.
    left_out
        Groups with fewer than `min_cell` rows.
    min_cell
        Smaller counts, and statistics of fewer values, are hidden.
    levels
        The levels of each categorical column.
    numeric
        By column and group: ``count, mean, var, q1, median, q3``; NaN where hidden or not asked for.
    counts
        Counts of each categorical column by level and group, margins last.
    tests
        By column: ``test, statistic, pvalue``, and ``smd``, the largest standardised mean difference
        between two groups.
    """

    by: str | None
    columns: tuple[str, ...]
    nonnormal: tuple[str, ...]
    skipped: Mapping[str, str]
    sizes: pd.Series[int]
    left_out: tuple[str, ...]
    min_cell: int
    levels: Mapping[str, tuple[str, ...]]
    numeric: pd.DataFrame = field(repr=False)
    counts: Mapping[str, Counts] = field(repr=False)
    tests: pd.DataFrame = field(repr=False)

    def crosstab(self, column: str) -> pd.DataFrame:
        """Return the counts of a categorical column by level and group, missing where hidden."""
        if column not in self.counts:
            raise DataError(f"{column!r} is no categorical column of the table")
        table = self.counts[column]
        names = [*self.sizes.index, ALL] if self.by is not None else [ALL, ""]
        frame = pd.DataFrame(
            {
                name: nullable(Counts(table.shown[:, number], table.hidden[:, number]))
                for number, name in enumerate(names)
            },
            index=pd.Index([*self.levels[column], ALL], name=column),
        )
        return frame if self.by is not None else frame[[ALL]]

    def to_frame(self) -> pd.DataFrame:
        """Return the table as it is printed, a text in each cell; a dash where hidden."""
        groups = list(self.sizes.index)
        names = [*groups, ALL] if len(groups) > 1 else groups
        sizes = [str(size) for size in self.sizes]
        rows = {("n", ""): [*sizes, str(self.sizes.sum())][: len(names)]}
        for column in self.columns:
            rows |= self._counts(column, names) if column in self.counts else self._numbers(column, names)
        frame = pd.DataFrame.from_dict(rows, "index", columns=names)
        frame.index = pd.MultiIndex.from_tuples(frame.index, names=["column", "level"])
        if len(groups) > 1:
            first = ~frame.index.get_level_values("column").duplicated()
            at = [
                column if is_first else None
                for column, is_first in zip(frame.index.get_level_values(0), first, strict=True)
            ]
            frame["P"] = ["" if c not in self.columns else _p_text(self.tests.loc[c, "pvalue"]) for c in at]
            frame["SMD"] = [
                "" if c not in self.columns else _table.number(float(self.tests.loc[c, "smd"]), 3) for c in at
            ]
        return frame

    def _numbers(self, column: str, names: Sequence[str]) -> dict[tuple[str, str], list[str]]:
        table = self.numeric.loc[column].loc[list(names)]
        if column in self.nonnormal:
            figures = table[["median", "q1", "q3"]].to_numpy(float)
            return {(column, "median [Q1, Q3]"): [_text("{} [{}, {}]", row) for row in figures.tolist()]}
        figures = np.stack([table["mean"], np.sqrt(table["var"])], axis=1)
        return {(column, "mean (SD)"): [_text("{} ({})", row) for row in figures.tolist()]}

    def _counts(self, column: str, names: Sequence[str]) -> dict[tuple[str, str], list[str]]:
        table = self.crosstab(column)[list(names)]
        return {
            (column, level): [_part(table.loc[level, name], table.loc[ALL, name]) for name in names]
            for level in self.levels[column]
        }

    def summary(self) -> str:
        """Return the table as text."""
        over = f"over {len(self.sites)} sites" + (f", by {self.by}" if self.by else "")
        frame = self.to_frame()
        frame.index = pd.Index([f"{column}, {level}" if level else column for column, level in frame.index])
        lines = [f"Table 1 {over}", "", *_table.frame_lines(frame)]
        notes = []
        if frame.map(lambda cell: cell == _DASH).any(axis=None):
            notes.append(f"– hidden: below {self.min_cell}, or needed to hide such a count, or none")
        if self.left_out:
            notes.append(f"Left out, with fewer than {self.min_cell} rows: {', '.join(self.left_out)}")
        used = [test for test in self.tests["test"].unique() if test]
        notes += [f"P: {', '.join(used)}; SMD: the largest between two groups"] if used else []
        notes += [f"Skipped: {reason}" for reason in self.skipped.values()]
        return "\n".join([*lines, *([""] if notes else []), *notes, "", f"Cost: {self.cost}"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw how far the groups are apart in each column, in standard deviations; 0.1 counts as little.

        Columns of which this is hidden have no point.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        ValueError
            There are no groups.
        """
        if len(self.sizes) < 2:
            raise ValueError("there are no groups to compare: give by= to table1")
        apart = self.tests["smd"].iloc[::-1]
        target = _plot.axes(ax, (6.4, 0.3 * len(apart) + 1.2))
        place = np.arange(len(apart))
        target.plot(apart.to_numpy(float), place, "o", color="#1d3f66")
        target.axvline(0.1, color="#6b7280", linewidth=0.9, linestyle=(0, (5, 4)))
        target.set_xlim(left=0)
        target.set_yticks(place, [str(name) for name in apart.index])
        target.set_xlabel("standardised mean difference, the largest between two groups")
        return target


_DASH = "–"


def _text(layout: str, figures: Sequence[float]) -> str:
    """Return figures laid out, or a dash if one of them is hidden."""
    return _DASH if np.isnan(figures).any() else layout.format(*(_table.number(one, 4) for one in figures))


def _p_text(value: float) -> str:
    return _DASH if np.isnan(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def _part(count: object, whole: object) -> str:
    """Return a count with its percentage, where they are shown."""
    if count is pd.NA:
        return _DASH
    return f"{count}" if whole is pd.NA or not whole else f"{count} ({100 * count / whole:.1f}%)"  # type: ignore[operator]
