"""Tables of counts over the rows of all sites: of one column's levels, or of several columns' combinations.

Each site counts its rows; the sums are formed as shares. Which of them are small is decided there, and only
the others are opened; see `_cells` for the rule of suppression, in all its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _cells, _plot, _table
from fedstats._cells import Counts, lines_of, open_cells, with_margins
from fedstats._selection import PUBLISHED, Wanted, check_distinct, select
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.results import Result
from fedstats.vertical import tables as linked
from fedstats.vertical.cohort import VerticalCohort

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.cohort import Cohort

VALUE_COUNTS = Declaration(
    "value_counts", aggregate=_cells.AGGREGATE, result=_cells.RESULT, published=PUBLISHED
)
CROSSTAB = Declaration("crosstab", aggregate=_cells.AGGREGATE, result=_cells.RESULT, published=PUBLISHED)

#: Largest table, margins included: beyond it most cells are small, and choosing what to hide takes long.
MAX_CELLS = 2_000
#: Name of the margins.
ALL = "All"


def value_counts(
    cohort: Cohort, column: str, *, dropna: bool = True, disclose: Disclose = "result"
) -> ValueCountsResult:
    """Count the rows of all sites that have each level of a column.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    column
        A column of categories or whole numbers.
    dropna
        Whether to leave out rows where it is missing, instead of counting them.
    disclose
        ``"result"``: small counts stay hidden. ``"aggregate"``: all counts are opened to the sites; the
        result shows the same.

    Raises
    ------
    DataError
        The column does not exist, has no level, or levels that would identify rows.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** Every site learns which levels each site has, and over all sites the size class of each count
    (0, below the federation's ``min_cell``, or neither), and the counts that are not suppressed:
    neither small, nor needed so that no small one follows from the total. `fedstats._cells` states the rule
    and its limits. A coalition of t sites learns no more in result mode, but what it infers from its own
    rows. In aggregate mode all counts are opened.

    Cost: 18 rounds for three sites; four in aggregate mode.

    Examples
    --------
    >>> fs.value_counts(cohort, "stage").to_frame()  # doctest: +SKIP
    """
    with cohort.federation.analysis(VALUE_COUNTS, disclose) as run:
        chosen = select(
            run, cohort, f"column={column!r}, dropna={dropna!r}", lambda _: Wanted(categorical=[column])
        )
        levels: list[Any] = list(chosen.levels[column])
        counts = chosen.table([column])
        if not dropna:
            counts = np.append(counts, np.count_nonzero(chosen.codes[column] < 0))
            levels.append(np.nan)
        opened = open_cells(run, with_margins(counts), lines_of([len(counts) + 1]))
        return ValueCountsResult(
            **run.finish(),
            column=column,
            levels=tuple(levels),
            min_cell=run.federation.shared_policy.min_cell,
            counts=opened,
        )


def crosstab(
    cohort: Cohort | VerticalCohort, columns: Sequence[str], *, disclose: Disclose = "result"
) -> CrosstabResult:
    """Count the rows of all sites that have each combination of levels, with margins of every order.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    columns
        Two or more columns of categories or whole numbers; the last one's levels are the frame's columns.
        Rows where one of them is missing are left out.
    disclose
        As for `value_counts`.

    Raises
    ------
    DataError
        As for `value_counts`; or the table has more than 2,000 cells, margins included.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** As for `value_counts`, of all cells and margins.

    Cost: 18 rounds for three sites; four in aggregate mode. Some 300 bytes a cell in result mode.

    Examples
    --------
    >>> fs.crosstab(cohort, ["arm", "sex", "stage"]).to_frame()  # doctest: +SKIP
    """

    def wanted(_: object) -> Wanted:
        names = check_distinct(columns, "columns")
        if len(names) < 2:
            raise DataError("a crosstab has two columns at least: for one there is value_counts")
        return Wanted(categorical=names)

    if isinstance(cohort, VerticalCohort):
        return linked.crosstab(cohort, columns, disclose)
    with cohort.federation.analysis(CROSSTAB, disclose) as run:
        chosen = select(run, cohort, f"columns={columns!r}", wanted)
        names = list(columns)
        levels = tuple(chosen.levels[name] for name in names)
        shape = shape_of(names, levels)
        table = with_margins(chosen.table(names))
        opened = open_cells(run, table.ravel(), lines_of(shape)).reshape(*shape)
        return CrosstabResult(
            **run.finish(),
            columns=tuple(names),
            levels=levels,
            min_cell=run.federation.shared_policy.min_cell,
            counts=opened,
        )


def shape_of(names: Sequence[str], levels: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """Return the shape of a table with its margins, refusing one that is too large."""
    shape = tuple(len(its) + 1 for its in levels)
    if np.prod([float(extent) for extent in shape]) > MAX_CELLS:
        raise DataError(
            f"the table of {', '.join(map(repr, names))} has {' × '.join(map(str, shape))} cells, "
            f"margins included, more than {MAX_CELLS:,}: group levels, or leave out a column"
        )
    return shape


def nullable(counts: Counts) -> pd.arrays.IntegerArray:
    """Return counts as pandas has them, missing where they are suppressed."""
    return pd.arrays.IntegerArray(counts.shown.ravel().copy(), counts.hidden.ravel().copy())


def suppression_line(counts: Counts, min_cell: int) -> list[str]:
    """Return what a summary says of suppressed counts, if there are any."""
    many = int(np.count_nonzero(counts.hidden))
    return ["", f"{many} suppressed (–): below {min_cell}, or needed to hide such a count"] if many else []


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ValueCountsResult(Result):
    """Counts of a column's levels, the same at every site.

    Attributes
    ----------
    column
        Its name.
    levels
        The levels of all sites in their agreed order; NaN at the end for missing values, if counted.
    min_cell
        Smaller counts are suppressed.
    counts
        The counts, with their total at the end.
    """

    column: str
    levels: tuple[Any, ...]
    min_cell: int
    counts: Counts = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return ``count`` and ``proportion`` of each level, missing where suppressed."""
        shown = pd.Series(nullable(self.counts[:-1]), index=pd.Index(self.levels, name=self.column))
        frame = shown.to_frame("count")
        if not self.counts.hidden[-1] and self.counts.shown[-1]:
            frame["proportion"] = frame["count"].astype("Float64") / int(self.counts.shown[-1])
        else:
            frame["proportion"] = pd.array([pd.NA] * len(frame), "Float64")
        return frame

    @property
    def total(self) -> int | None:
        """Number of rows counted, or None where it is suppressed."""
        return None if self.counts.hidden[-1] else int(self.counts.shown[-1])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw a bar for each level; suppressed ones have none."""
        target = _plot.axes(ax)
        frame = self.to_frame()
        heights = frame["count"].astype("Float64").fillna(0.0).to_numpy(float)
        target.bar([str(level) for level in self.levels], heights)
        target.set_xlabel(self.column)
        target.set_ylabel("rows")
        return target

    def summary(self) -> str:
        """Return the table as text."""
        return "\n".join(
            [
                f"Counts of {self.column} over {len(self.sites)} sites",
                "",
                *_table.frame_lines(self.to_frame(), digits=4),
                *suppression_line(self.counts, self.min_cell),
                "",
                f"Cost: {self.cost}",
            ]
        )


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CrosstabResult(Result):
    """Counts of combinations of levels, the same at every site.

    Attributes
    ----------
    columns
        Their names, one for each way of the table.
    levels
        The levels of each.
    min_cell
        Smaller counts are suppressed.
    counts
        The counts, margins last along each way.
    """

    columns: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    min_cell: int
    counts: Counts = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return the table as `pandas.crosstab` has it with margins; missing where suppressed."""
        *rows, across = [(*levels, ALL) for levels in self.levels]
        index = (
            pd.Index(rows[0], name=self.columns[0])
            if len(rows) == 1
            else pd.MultiIndex.from_product(rows, names=self.columns[:-1])
        )
        flat = self.counts.reshape(len(index), len(across))
        columns = {
            level: nullable(Counts(flat.shown[:, number], flat.hidden[:, number]))
            for number, level in enumerate(across)
        }
        return pd.DataFrame(columns, index=index).rename_axis(columns=self.columns[-1])

    def proportions(self, of: str | None = None) -> pd.DataFrame:
        """Return counts as parts of their margin.

        Parameters
        ----------
        of
            The column within whose levels the parts add up to 1; by default they are parts of all rows.
        """
        if of is not None and of not in self.columns:
            raise DataError(f"of is one of {', '.join(map(repr, self.columns))}")
        values = np.where(self.counts.hidden, np.nan, self.counts.shown)
        whole = values
        for axis, name in enumerate(self.columns):
            if name != of:
                whole = np.take(whole, [-1], axis=axis)
        with np.errstate(invalid="ignore", divide="ignore"):
            parts: NDArray[np.float64] = values / whole
        frame = self.to_frame()
        return pd.DataFrame(parts.reshape(frame.shape), index=frame.index, columns=frame.columns)

    def summary(self) -> str:
        """Return the table as text."""
        return "\n".join(
            [
                f"Counts of {' × '.join(self.columns)} over {len(self.sites)} sites",
                "",
                *_table.frame_lines(self.to_frame()),
                *suppression_line(self.counts, self.min_cell),
                "",
                f"Cost: {self.cost}",
            ]
        )
