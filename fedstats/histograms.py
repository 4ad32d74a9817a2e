"""Histograms over the rows of all sites: bins that all sites share, counts of which small ones stay hidden.

Bins are given, or derived on shares without telling the smallest or the largest value: they divide the
range between two order statistics that have many values beyond them, of which as many digits are opened as
the width of a bin calls for. What lies beyond is counted in two bins without an end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fedstats import _cells, _plot, _table
from fedstats._cells import Counts, lines_of, open_cells, with_margins
from fedstats._counts import open_counts
from fedstats._selection import PUBLISHED, Wanted, select
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.quantiles import RESULT as QUANTILES
from fedstats.quantiles import grouped, narrowed, ordered
from fedstats.results import Result
from fedstats.schema import Schema
from fedstats.tables import ALL, nullable, suppression_line
from protocols.bisection import Places

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

GIVEN = Declaration("histogram", aggregate=_cells.AGGREGATE, result=_cells.RESULT, published=PUBLISHED)
DERIVED = Declaration(
    "histogram",
    result={
        **_cells.RESULT,
        "numbers of values": QUANTILES["numbers of values"],
        "range": "two order statistics, each with 2·min_cell values and a hundredth of all beyond it, to a "
        "quarter of a bin's width",
    },
    published=PUBLISHED,
)

#: Most bins.
MAX_BINS = 1_000


def histogram(
    cohort: Cohort,
    column: str,
    bins: int | Sequence[float] = 20,
    *,
    by: str | None = None,
    disclose: Disclose = "result",
) -> HistogramResult:
    """Count the values of a column in bins, over the rows of all sites.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    column
        A numeric column; missing values are left out.
    bins
        The edges, ascending: each bin holds its lower edge, the last one both, as with `numpy.histogram`, and
        values beyond are left out; −inf and inf may be edges. Or a number of bins of the same width: they
        are laid between two order statistics, and two further bins hold what is beyond.
    by
        Column of groups, each with its own counts in the same bins.
    disclose
        ``"result"``: small counts stay hidden. ``"aggregate"``: all counts are opened to the sites; the
        result shows the same. Bins are then to be given.

    Raises
    ------
    DataError
        The column is not numeric or has infinite values, or the bins are none.
    EstimationError
        There are too few values to derive bins from.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** As for `crosstab`, of the bins' counts. Where bins are derived, also the number of values,
    and two order statistics to a quarter of a bin's width, of which neither is among the 2·``min_cell``
    smallest or largest values.

    Cost: 18 rounds for three sites; four in aggregate mode. Deriving bins takes some 13 rounds for each 11
    bits of the range's ends: 40 to 80.

    Examples
    --------
    >>> fs.histogram(cohort, "age", bins=[0, 18, 40, 65, 120], by="sex").to_frame()  # doctest: +SKIP
    """
    number = int(bins) if isinstance(bins, (int, np.integer)) else None

    def wanted(_: Schema) -> Wanted:
        if number is not None:
            if not 1 <= number <= MAX_BINS:
                raise DataError(f"bins is a number from 1 to {MAX_BINS:,}, or a list of edges")
            if disclose == "aggregate":
                raise DataError("bins are derived with disclose='result' only: give their edges")
        else:
            _check_edges(bins)
        if not isinstance(column, str) or not isinstance(by, str | None):
            raise DataError("column and by are the names of one column each")
        cohort.federation.divided(column, float(np.diff(bins).min()) if number is None else 0.0)
        return Wanted([column], [] if by is None else [by])

    declaration = GIVEN if number is None or disclose == "aggregate" else DERIVED
    with cohort.federation.analysis(declaration, disclose) as run:
        call = f"column={column!r}, bins={number or bins!r}, by={by!r}"
        chosen = select(run, cohort, call, wanted)
        values = chosen.numbers[column]
        used = ~np.isnan(values) if by is None else ~np.isnan(values) & (chosen.codes[by] >= 0)
        edges = (
            np.asarray(bins, np.float64) if number is None else _derived(run, ordered(values[used]), number)
        )
        levels = () if by is None else chosen.levels[by]
        rows = [used & mine for mine in grouped(chosen, by).values()]
        counts = np.array([np.histogram(values[mine], edges)[0] for mine in rows], np.int64)
        table = with_margins(counts) if by is not None else with_margins(counts[0])
        opened = open_cells(run, table.ravel(), lines_of(table.shape))
        return HistogramResult(
            **run.finish(),
            column=column,
            by=by,
            levels=levels,
            min_cell=run.federation.shared_policy.min_cell,
            edges=edges,
            counts=opened.reshape(-1, len(edges)),
        )


def _check_edges(bins: object) -> None:
    try:
        edges = np.asarray(bins, np.float64)
    except (TypeError, ValueError):
        edges = np.empty(0)
    if edges.ndim != 1 or not 2 <= len(edges) <= MAX_BINS + 1 or not (np.diff(edges) > 0).all():
        raise DataError(f"bins is a number, or two to {MAX_BINS + 1:,} edges in ascending order")


def _derived(run: Analysis, values: Array, bins: int) -> Array:
    """Return the edges of so many bins of one width, and of one more on either side."""
    enough = run.federation.shared_policy.min_cell
    number = int(open_counts(run, "numbers of values", np.array([len(values)]), enough)[0])
    beyond = max(2 * enough, number // 100)
    if number < 2 * beyond + 2:
        raise EstimationError(
            f"fewer than {4 * enough + 2} values over all sites are too few to derive bins from: give edges"
        )
    places = Places(np.array([beyond, number - 1 - beyond]), np.zeros(2))
    for least, most in narrowed(run, [values, values], places, "range"):
        with np.errstate(over="ignore", invalid="ignore"):
            width = (least[1] - most[0]) / bins
            if (most - least <= width / 4).all():
                break
    low, high = float(least[0]), float(most[1])
    if not low < high:  # half of all values and more are the same
        low, high = low - 0.5, high + 0.5
    return np.concatenate([[-np.inf], np.linspace(low, high, bins + 1), [np.inf]])


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class HistogramResult(Result):
    """Counts of values in bins, the same at every site.

    Attributes
    ----------
    column
        Its name.
    by
        The grouping column, or None.
    levels
        The groups.
    min_cell
        Smaller counts are suppressed.
    edges
        Edges of the bins, infinite where a bin has no end.
    counts
        Shape ``(groups + 1, bins + 1)``, margins last; without groups ``(1, bins + 1)``.
    """

    column: str
    by: str | None
    levels: tuple[str, ...]
    min_cell: int
    edges: Array = field(repr=False)
    counts: Counts = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each bin, an interval: ``count``, or a column for each group and for all rows."""
        bins = pd.IntervalIndex.from_breaks(self.edges, closed="left", name=self.column)
        names = ["count"] if self.by is None else [*self.levels, ALL]
        columns = {
            name: nullable(Counts(self.counts.shown[row, :-1], self.counts.hidden[row, :-1]))
            for row, name in enumerate(names)
        }
        return pd.DataFrame(columns, index=bins)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the bins that have two ends, stacked by group; suppressed counts are not drawn."""
        target = _plot.axes(ax)
        frame = self.to_frame().astype("Float64").fillna(0.0)
        closed = np.isfinite(self.edges[:-1]) & np.isfinite(self.edges[1:])
        left, width = self.edges[:-1][closed], np.diff(self.edges)[closed]
        below = np.zeros(len(left))
        for name in frame.columns[: len(self.levels) or 1]:
            heights = frame[name].to_numpy(float)[closed]
            target.bar(left, heights, width, below, align="edge", edgecolor="white", label=str(name))
            below += heights
        target.set_xlabel(self.column)
        target.set_ylabel("rows")
        if self.by is not None:
            target.legend(title=self.by)
        return target

    def summary(self) -> str:
        """Return the table as text."""
        over = f"over {len(self.sites)} sites" + (f", by {self.by}" if self.by else "")
        frame = self.to_frame()
        frame.index = pd.Index([f"[{its.left:.6g}, {its.right:.6g})" for its in frame.index])
        lines = [f"Histogram of {self.column} {over}", "", *_table.frame_lines(frame)]
        return "\n".join([*lines, *suppression_line(self.counts, self.min_cell), "", f"Cost: {self.cost}"])
