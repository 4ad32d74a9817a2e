"""Table 1 of a study: what its groups of patients are like, over the rows of all sites.

Numbers by mean and standard deviation, or by median and quartiles; categories by counts, of which small ones
stay hidden (`_cells`). Tests and standardised differences follow from what is shown, but for tests of ranks.

A group with fewer than `min_cell` rows is left out of the table, and of its column for all rows: beside the
other groups, that would describe it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _balance, _cells, _means, _table
from fedstats._balance import Comparison
from fedstats._cells import Counts, lines_of, open_cells, with_margins
from fedstats._counts import open_counts
from fedstats._means import means_and_variances
from fedstats._selection import PUBLISHED, Selection, Wanted, check_distinct, select
from fedstats.cohort import largest
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, PolicyError
from fedstats.quantiles import find_quantiles, grouped, ordered
from fedstats.results import Result
from fedstats.schema import Kind, Schema
from fedstats.tables import ALL, nullable

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
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
        **_cells.RESULT,
    },
    published=PUBLISHED,
)

#: Kinds that a table describes by default.
_DESCRIBED = (Kind.BOOL, Kind.INTEGER, Kind.FLOAT, Kind.CATEGORICAL)
_QUARTILES = (0.25, 0.5, 0.75)


def table1(
    cohort: Cohort,
    columns: Sequence[str] | None = None,
    *,
    by: str | None = None,
    categorical: Sequence[str] = (),
    nonnormal: Sequence[str] = (),
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
        Columns that are described by median and quartiles too.
    disclose
        ``"result"``: what the table shows is opened. ``"aggregate"``: pooled sums and all counts are; the
        result shows the same. `nonnormal` then has to be empty.

    Returns
    -------
    Table1Result
        Groups with fewer rows than the federation's ``min_cell`` are left out, statistics of fewer values and
        small counts are hidden, and so is what they would follow from. Tests are those of scipy: Student's
        t-test, one-way analysis of variance, χ² with Yates' correction for two by two; none where counts are
        hidden, and none of `nonnormal` columns.

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

    Cost: some 90 rounds for three sites, and 180 to 290 more with `nonnormal`; 12 in aggregate mode.

    Examples
    --------
    >>> print(fs.table1(cohort, by="arm", nonnormal=["bili"]).summary())  # doctest: +SKIP
    """
    plans: list[_Plan] = []

    def wanted(schema: Schema) -> Wanted:
        plan = _Plan.build(schema, columns, by, categorical, nonnormal, disclose)
        for name in plan.numeric:
            cohort.numbers(name, largest(disclose))
        plans.append(plan)
        return Wanted(plan.numeric or [], [*([] if by is None else [by]), *plan.categorical])

    call = f"columns={columns!r}, by={by!r}, categorical={categorical!r}, nonnormal={nonnormal!r}"
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        chosen = select(run, cohort, call, wanted)
        [plan] = plans
        enough = run.federation.shared_policy.min_cell
        masks = _masks(chosen, by, len(cohort))
        sizes = open_counts(run, "group sizes", np.array([mask.sum() for mask in masks.values()]), enough)
        groups = [group for group, size in zip(masks, sizes.tolist(), strict=True) if size >= enough]
        if not groups:
            raise PolicyError(f"table1: every group has fewer than {enough} rows (min_cell) over all sites")
        kept = {group: masks[group] for group in groups}
        numbers = _numbers(run, plan, chosen, kept)
        counts = _counted(run, plan, chosen, list(kept.values()))
        comparisons = {name: _compared(name, plan, numbers, counts) for name in plan.columns}
        return Table1Result(
            **run.finish(),
            by=by,
            columns=plan.columns,
            nonnormal=tuple(nonnormal),
            skipped=plan.skipped,
            sizes=pd.Series(sizes[sizes >= enough], index=pd.Index(groups, name=by), name="rows"),
            left_out=tuple(group for group in masks if group not in kept),
            min_cell=enough,
            levels={name: chosen.levels[name] for name in plan.categorical},
            numeric=numbers,
            counts=counts,
            tests=pd.DataFrame.from_dict(
                comparisons, "index", columns=["test", "statistic", "pvalue", "smd"]
            ),
        )


@dataclass(frozen=True)
class _Plan:
    """Which columns are described, and how."""

    columns: tuple[str, ...]
    numeric: tuple[str, ...]
    nonnormal: tuple[str, ...]
    categorical: tuple[str, ...]
    skipped: Mapping[str, str]

    @classmethod
    def build(
        cls,
        schema: Schema,
        columns: Sequence[str] | None,
        by: str | None,
        categorical: Sequence[str],
        nonnormal: Sequence[str],
        disclose: str,
    ) -> _Plan:
        if not isinstance(by, str | None):
            raise DataError("by is the name of one column: make one of several columns before, at every site")
        skipped: dict[str, str] = {}
        if columns is None:
            names = [name for name, kind in schema.kinds.items() if name != by and kind in _DESCRIBED]
            skipped |= schema.unusable
        else:
            names = check_distinct(columns, "columns")
        kinds = {name: schema.require(name) for name in names}
        for name, kind in kinds.items():
            if kind not in _DESCRIBED or name == by:
                what = "makes the groups" if name == by else f"is {kind}"
                raise DataError(f"column {name!r} {what} and cannot be described: leave it out")
        if not names:
            raise DataError("there is no column to describe")
        as_categories = [
            name for name in names if name in categorical or kinds[name] in (Kind.CATEGORICAL, Kind.BOOL)
        ]
        numeric = [name for name in names if name not in as_categories]
        for what, given, known in (("categorical", categorical, names), ("nonnormal", nonnormal, numeric)):
            if isinstance(given, str) or not set(given) <= set(known):
                raise DataError(
                    f"{what} is a list of {'numeric ' * (what == 'nonnormal')}columns of the table"
                )
        if nonnormal and disclose == "aggregate":
            raise DataError(
                "medians and quartiles are found with disclose='result' only: leave out nonnormal"
            )
        return cls(tuple(names), tuple(numeric), tuple(nonnormal), tuple(as_categories), skipped)


def _masks(chosen: Selection, by: str | None, rows: int) -> dict[str, NDArray[np.bool_]]:
    """Return which rows are in each group; in one of all rows if there is no grouping column."""
    return {ALL: np.ones(rows, np.bool_)} if by is None else grouped(chosen, by)


def _numbers(
    run: Analysis, plan: _Plan, chosen: Selection, masks: Mapping[str, NDArray[np.bool_]]
) -> pd.DataFrame:
    """Open what describes numeric columns, in each group, and in all rows as ``All`` at the end."""
    names = [*masks, ALL] if len(masks) > 1 else list(masks)
    index = pd.MultiIndex.from_product([plan.numeric, names], names=["column", "group"])
    frame = pd.DataFrame(np.nan, index, ["count", "mean", "var", "q1", "median", "q3"])
    if not plan.numeric:
        return frame
    enough = run.federation.shared_policy.min_cell
    values = [ordered(chosen.numbers[name][mask]) for name in plan.numeric for mask in masks.values()]
    n = open_counts(run, "numbers of values", np.array([len(x) for x in values]), enough)
    n = np.where(n < max(enough, 2), -1, n)
    used = np.flatnonzero(n > 0)
    moments = np.full((len(n), 3), np.nan)
    moments[used, 0] = n[used]
    moments[used, 1:] = np.stack(
        means_and_variances(run, [values[which] for which in used.tolist()], n[used]), axis=1
    )
    for name, its in zip(plan.numeric, moments.reshape(len(plan.numeric), -1, 3), strict=True):
        rows = [*its, _balance.pooled(*its.T)] if len(masks) > 1 else its
        frame.loc[name, ["count", "mean", "var"]] = np.array(rows)
    if plan.nonnormal:
        within = np.logical_or.reduce(list(masks.values()))
        wanted = [(name, group) for name in plan.nonnormal for group in names]
        sets = [ordered(chosen.numbers[name][masks.get(group, within)]) for name, group in wanted]
        rows = frame.index.get_indexer(pd.MultiIndex.from_tuples(wanted))
        number = frame["count"].fillna(-1).to_numpy(np.int64)[rows]
        frame.iloc[rows, 3:] = find_quantiles(run, sets, number, np.array(_QUARTILES))
    return frame


def _counted(
    run: Analysis, plan: _Plan, chosen: Selection, masks: Sequence[NDArray[np.bool_]]
) -> dict[str, Counts]:
    """Open the counts of categories, shape ``(levels + 1, groups + 1)`` for each column, all in one go."""
    tables, lines, start = [], [], 0
    for name in plan.categorical:
        codes = chosen.codes[name]
        size = len(chosen.levels[name])
        by_group = [np.bincount(codes[mask & (codes >= 0)], minlength=size) for mask in masks]
        table = with_margins(np.array(by_group, np.int64).T)
        lines += [line.shifted(start) for line in lines_of(table.shape)]
        tables.append(table)
        start += table.size
    if not tables:
        return {}
    opened = open_cells(run, np.concatenate([table.ravel() for table in tables]), lines)
    ends = np.cumsum([0, *(table.size for table in tables)]).tolist()
    return {
        name: opened[first:end].reshape(*table.shape)
        for name, table, (first, end) in zip(plan.categorical, tables, pairwise(ends), strict=True)
    }


def _compared(
    name: str, plan: _Plan, numeric: pd.DataFrame, counts: Mapping[str, Counts]
) -> tuple[str, float, float, float]:
    """Return test, statistic, P value and standardised difference of a column's groups."""
    found, smd = _balance.NONE, np.nan
    if name in plan.categorical:
        table = counts[name].shown[:-1, :-1]
        if table.shape[1] > 1 and not counts[name].hidden[:-1, :-1].any():
            found, smd = _balance.chi_squared(table), _balance.difference_of_proportions(table)
    else:
        n, mean, var = numeric.loc[name, ["count", "mean", "var"]].to_numpy(float)[:-1].T
        if len(n) > 1 and not np.isnan(n).any():
            found, smd = (
                _balance.analysis_of_variance(n, mean, var),
                _balance.difference_of_means(mean, var),
            )
    return (*_fields(found), smd)


def _fields(found: Comparison) -> tuple[str, float, float]:
    return found.test, found.statistic, found.pvalue


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
