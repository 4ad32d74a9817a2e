"""Descriptive statistics of columns over the rows of all sites.

Counts; sums, which locate each column; and powers of the deviations, which are then free of cancellation.
Groups of too few rows take no part in the second and third. In the aggregate mode each is a secure sum. In
the result mode small counts are hidden on shares, columns are located coarsely (`_frames.secret_frame`), and
what is opened of the powers are the moments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _table
from fedstats import levels as level_sets
from fedstats._counts import MOST, open_counts
from fedstats._frames import secret_frame
from fedstats._moments import (
    Frame,
    Moments,
    location_sums,
    moments,
    moments_of_ratios,
    power_sums,
    secret_ratios,
)
from fedstats.cohort import largest
from fedstats.design import check_same_call
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.results import Result
from fedstats.schema import Kind
from fedstats.vertical import moments as linked
from fedstats.vertical.cohort import VerticalCohort
from protocols.long import sum_long

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "describe",
    aggregate={
        "counts": "number of values and of missing values of each column, in each group",
        "sums": "Σx and Σ|x| of each numeric column, in each group that is large enough",
        "central powers": "Σd, Σd², Σd³ and Σd⁴ of the deviations d from the mean, likewise",
    },
    result={
        "counts": "number of values and of missing values of each column, in each group that is large "
        "enough; of others, that they are smaller",
        "column units": "n³ times the variance of each numeric column, in each of these groups, to one bit",
        "column centres": "their means, to the power of two nearest to the standard deviation",
        "moments": "mean, variance, skewness and kurtosis, to 40 significant bits",
    },
    published={"columns": "the text of the call, and which levels of the grouping column a site's rows have"},
)

_STATISTICS = ("mean", "std", "var", "skew", "kurtosis")
#: Significant bits of opened moments: enough to subtract 3 from a kurtosis.
MOMENT_DIGITS = 40
#: Unusable columns that an error quotes.
_SHOWN = 3


def describe(
    cohort: Cohort | VerticalCohort,
    columns: Sequence[str] | None = None,
    *,
    by: str | None = None,
    disclose: Disclose = "result",
) -> DescribeResult:
    """Describe columns over the rows of all sites.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    columns
        Columns to describe. By default all that every site can use; the others are listed in the
        result's `skipped`.
    by
        Column of groups; rows where it is missing belong to none.
    disclose
        ``"result"``: what is described is opened, and no count of fewer rows than the federation's
        ``min_cell``. ``"aggregate"``: all counts and pooled sums of powers are opened.

    Returns
    -------
    DescribeResult
        Count and missing for every column, ``<NA>`` where they are hidden; mean, std, var, skew and kurtosis
        for numeric ones, as pandas defines them: denominator n − 1, skewness corrected for bias, excess
        kurtosis.

    Raises
    ------
    DataError
        A column does not exist or cannot be used, has infinite values, or `by` has levels that
        would identify rows.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** Every site learns, over all sites together, what the result shows, moments to 40 significant
    bits. Where a group has fewer values of a column than the federation's ``min_cell``, it learns just that;
    with ``disclose="aggregate"`` also how many. Of each single site it learns which levels `by` has there.
    A coalition of t < n/2 sites, or of n − 1 with a dishonest majority, learns no more in the result mode,
    but can subtract its own rows from what it learns: exactly so in the aggregate mode, which opens the sums
    of the first four powers.
    Descriptions of groups that differ by few rows allow such differences too.

    **Cost.** For three sites about 135 rounds, and 40 kB for each column and group. In the aggregate mode
    eight rounds; each site sends less than 2 kB for each column and group, and half a kB to each other site.

    Examples
    --------
    >>> fs.describe(cohort, ["age", "sbp"], by="arm").to_frame()  # doctest: +SKIP
    """
    if isinstance(cohort, VerticalCohort):
        return linked.describe(cohort, columns, by, disclose)
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        mine: list[_Local] = []

        def local() -> Mapping[str, Any]:
            part = _Local.build(cohort, columns, by, largest(disclose))
            mine.append(part)
            return {"call": f"columns={columns!r}, by={by!r}", "levels": part.told_levels()}

        told = run.agree("columns", local, max_bytes=1 << 20)
        check_same_call(told, run.federation.site)
        [part] = mine
        levels = part.merge_levels(told)
        groups = part.group_masks(levels)

        values, missing = part.counts(groups)
        enough = run.federation.shared_policy.min_cell
        counts = open_counts(run, "counts", values, enough, along=missing[np.newaxis])
        numeric = np.array([name in part.numbers for name in part.columns])
        summed = (counts[0] >= enough) & numeric  # (groups, columns)
        pooled = _moments_of_sums if disclose == "aggregate" else _moments_on_shares
        found = pooled(run, part.cells(groups, summed), counts[0][summed])

        table = _frame(part, levels, counts, by)
        for name in _STATISTICS:
            cells = np.full(summed.shape, np.nan)
            cells[summed] = getattr(found, name)
            table[name] = cells.ravel()
        few = (counts[0] != 0) & (counts[0] < enough) & numeric
        return DescribeResult(
            **run.finish(),
            by=by,
            min_cell=enough,
            suppressed=int(few.sum()),
            skipped=part.skipped,
            frame=table,
        )


def _moments_of_sums(run: Analysis, values: list[Array], n: NDArray[np.int64]) -> Moments:
    """Return the moments of variables with n values each over all sites, opening their sums of powers."""
    count = n.astype(np.float64)
    total, magnitude = run.sum("sums", _stacked(values, location_sums, 2))
    frame = Frame.of(count, total, magnitude)
    return moments(count, run.sum("central powers", _powers(values, frame)), frame)


def _moments_on_shares(run: Analysis, values: list[Array], n: NDArray[np.int64]) -> Moments:
    """Return the moments of variables with n values each over all sites, opening nothing else of note."""
    if not values:
        return moments(np.zeros(0), np.zeros((4, 0)), Frame(np.zeros(0), np.zeros(0)))
    frame, constant, _ = secret_frame(run, values, n)
    with run.on_shares() as engine:
        powers = sum_long(engine, _powers(values, frame), bound=MOST**3, fraction=100)
        ratios = secret_ratios(n, powers)
    opened = run.reveal({"moments": ratios}, digits=MOMENT_DIGITS)["moments"]
    opened[1][constant] = 0.0  # not the rounding of its sums
    return moments_of_ratios(n, opened, frame)


def _powers(values: list[Array], frame: Frame) -> Array:
    """Return this site's sums of powers of the values in their frames, shape ``(4, variables)``."""
    deviations = [
        (x - centre) / unit for x, centre, unit in zip(values, frame.centre, frame.unit, strict=True)
    ]
    return _stacked(deviations, lambda d: power_sums(d, 4), 4)


def _stacked(values: list[Array], sums: Callable[[Array], Array], order: int) -> Array:
    """Return the sums of each array as columns, shape ``(order, arrays)``."""
    return np.stack([sums(x) for x in values], axis=1) if values else np.zeros((order, 0))


def _frame(part: _Local, levels: tuple[str, ...], counts: NDArray[np.int64], by: str | None) -> pd.DataFrame:
    index = (
        pd.Index(part.columns, name="column")
        if by is None
        else pd.MultiIndex.from_product([levels, part.columns], names=[by, "column"])
    )
    shown = pd.DataFrame(
        {"count": counts[0].ravel(), "missing": counts[1].ravel()}, index=index, dtype="Int64"
    )
    return shown.mask(shown < 0)


@dataclass(frozen=True, eq=False, repr=False)
class _Local:
    """This site's columns, checked."""

    cohort: Cohort
    columns: list[str]
    skipped: Mapping[str, str]
    by: str | None
    missing: NDArray[np.bool_]
    numbers: Mapping[str, Array]
    groups: NDArray[np.object_] | None

    @classmethod
    def build(cls, cohort: Cohort, columns: Sequence[str] | None, by: str | None, most: float) -> _Local:
        schema = cohort.schema
        if isinstance(columns, str):
            raise DataError(f"columns is a list of names: [{columns!r}]")
        if not (by is None or isinstance(by, str)):
            raise DataError("by is the name of one column: make one of several columns before, at every site")
        if columns is None:
            names, skipped = [name for name in schema.kinds if name != by], dict(schema.unusable)
        else:
            names, skipped = list(columns), {}
        if len(set(names)) != len(names):
            raise DataError("columns names a column more than once")
        kinds = {name: schema.require(name) for name in names}
        if not names:
            raise DataError("; ".join(["there is no column to describe", *list(skipped.values())[:_SHOWN]]))
        groups = None
        if by is not None:
            if schema.require(by) is Kind.EMPTY:
                raise DataError(f"column {by!r} has no value at any site and makes no groups")
            groups = cohort.texts(by)
        return cls(
            cohort,
            names,
            skipped,
            by,
            np.column_stack([cohort.missing(name) for name in names]),
            {name: cohort.numbers(name, most) for name, kind in kinds.items() if kind.is_numeric},
            groups,
        )

    def told_levels(self) -> dict[str, Any]:
        """Return the levels of the grouping column, as told to the other sites; {} if there is none."""
        if self.by is None or self.groups is None or self.by in self.cohort.declared_levels:
            return {}
        present = [text for text in self.groups if text is not None]
        levels = level_sets.used(present)
        kind = self.cohort.schema.require(self.by)
        level_sets.check_tellable(self.by, levels, len(present), kind)
        return {self.by: level_sets.to_metadata(levels, self.cohort.categories(self.by))}

    def merge_levels(self, told: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Return the groups of all sites, in their agreed order; () if there is no grouping column."""
        if self.by is None:
            return ()
        if self.by in self.cohort.declared_levels:
            return self.cohort.declared_levels[self.by]
        by_site = {site: its.get("levels") for site, its in told.items()}
        kind = self.cohort.schema.require(self.by)
        return level_sets.merge(self.by, by_site, kind, self.cohort.categories(self.by))

    def group_masks(self, levels: tuple[str, ...]) -> list[NDArray[np.bool_]]:
        """Return which rows belong to each group; all of them to one if there is no grouping column."""
        if self.groups is None:
            return [np.ones(len(self.cohort), dtype=bool)]
        return [np.asarray(self.groups == level, dtype=bool) for level in levels]

    def counts(self, groups: list[NDArray[np.bool_]]) -> NDArray[np.int64]:
        """Return numbers of values and of missing values, shape ``(2, groups, columns)``."""
        missing = np.array([self.missing[mask].sum(axis=0) for mask in groups], dtype=np.int64)
        rows = np.array([mask.sum() for mask in groups], dtype=np.int64)
        return np.stack([rows[:, np.newaxis] - missing, missing])

    def cells(self, groups: list[NDArray[np.bool_]], wanted: NDArray[np.bool_]) -> list[Array]:
        """Return the values of each wanted group and column, groups first."""
        return [
            self.numbers[self.columns[column]][groups[group] & ~self.missing[:, column]]
            for group, column in np.argwhere(wanted)
        ]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class DescribeResult(Result):
    """Descriptive statistics of columns, the same at every site.

    Attributes
    ----------
    by
        The grouping column, or None.
    min_cell
        Columns with fewer values in a group have no statistics.
    suppressed
        How many such there are.
    skipped
        Columns that were left out because not every site can use them, with the reason.
    frame
        The table; `to_frame` returns a copy.
    """

    by: str | None
    min_cell: int
    suppressed: int
    skipped: Mapping[str, str]
    frame: pd.DataFrame = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each column, or for each group and column.

        Columns are ``count, missing, mean, std, var, skew, kurtosis``; NaN where a column is not
        numeric, or has too few values.
        """
        return self.frame.copy()

    def summary(self) -> str:
        """Return the table as text."""
        over = f"over {len(self.sites)} sites" + (f", by {self.by}" if self.by else "")
        lines = [f"Description {over}", "", *_table.frame_lines(self.frame, digits=5)]
        if self.suppressed:
            lines += ["", f"{self.suppressed} without statistics: fewer than {self.min_cell} values"]
        lines += [f"Skipped: {reason}" for reason in self.skipped.values()]
        return "\n".join([*lines, "", f"Cost: {self.cost}"])
