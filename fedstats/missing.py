"""Which values are missing together, over the rows of all sites.

The rows of each pattern are counted, and for each column those where it is missing and where it is not. As
the second are sums of the first, small counts are suppressed in all of them at once (`_cells`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _cells, _plot, _table
from fedstats._cells import Counts, Line, open_cells
from fedstats._counts import MOST
from fedstats._selection import check_distinct
from fedstats.design import check_same_call
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.results import Result
from fedstats.tables import nullable, suppression_line
from protocols.inputs import sum_shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "missing_pattern",
    aggregate={"incomplete columns": "number of missing values of each column", **_cells.AGGREGATE},
    result={"incomplete columns": "whether each column has missing values at all", **_cells.RESULT},
    published={"columns": "the text of the call"},
)

#: Most incomplete columns of which patterns are counted: they have 2^10.
MAX_COLUMNS = 10


def missing_pattern(
    cohort: Cohort, columns: Sequence[str] | None = None, *, disclose: Disclose = "result"
) -> MissingPatternResult:
    """Count which values are missing together, over the rows of all sites.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    columns
        The columns; all that every site can use by default.
    disclose
        ``"result"``: small counts stay hidden. ``"aggregate"``: all counts are opened to the sites; the
        result shows the same.

    Returns
    -------
    MissingPatternResult
        Missing values of each column, and rows of each pattern: of the latter only where ten columns at most
        have missing values.

    Raises
    ------
    DataError
        A column does not exist or cannot be used.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** Over all sites together: which columns have missing values; and for the counts, as for
    `value_counts`, the size class of each, and those that are not suppressed.

    Cost: 31 rounds for three sites; six in aggregate mode.

    Examples
    --------
    >>> fs.missing_pattern(cohort, ["age", "bmi", "ldl"]).to_frame()  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        mine: list[dict[str, NDArray[np.bool_]]] = []

        def local() -> Mapping[str, Any]:
            names = list(cohort.columns) if columns is None else check_distinct(columns, "columns")
            if not names:
                raise DataError("there is no column that every site can use")
            mine.append({name: cohort.missing(name) for name in names})
            return {"call": f"columns={columns!r}"}

        check_same_call(run.agree("columns", local), run.federation.site)
        [gaps] = mine
        incomplete = _incomplete(run, gaps)
        table = (
            np.stack([gaps[name] for name in incomplete], axis=1) if incomplete else np.zeros((0, 0), bool)
        )
        rows = len(cohort)
        counts = np.concatenate([table.sum(axis=0), rows - table.sum(axis=0), [rows]]).astype(np.int64)
        k = len(incomplete)
        lines = [Line(2 * k, np.array([column, k + column])) for column in range(k)]
        patterns = np.zeros((0, k), np.bool_)  # not counted
        if 0 < k <= MAX_COLUMNS:
            patterns = (np.arange(1 << k)[:, np.newaxis] >> np.arange(k) & 1).astype(np.bool_)
            codes = table @ (1 << np.arange(k))
            counts = np.concatenate([counts, np.bincount(codes, minlength=1 << k)])
            for column in range(k):
                where = np.flatnonzero(patterns[:, column]), np.flatnonzero(~patterns[:, column])
                lines += [
                    Line(at, 2 * k + 1 + parts) for at, parts in zip((column, k + column), where, strict=True)
                ]
        opened = open_cells(run, counts, lines)
        return MissingPatternResult(
            **run.finish(),
            columns=tuple(gaps),
            incomplete=tuple(incomplete),
            min_cell=run.federation.shared_policy.min_cell,
            missing=opened[:k],
            rows=opened[2 * k : 2 * k + 1],
            patterns=patterns,
            counts=opened[2 * k + 1 :],
        )


def _incomplete(run: Analysis, gaps: Mapping[str, NDArray[np.bool_]]) -> list[str]:
    """Return the columns that have missing values at some site."""
    counts = np.array([gap.sum() for gap in gaps.values()], np.int64)
    if run.disclose == "aggregate":
        found = run.sum("incomplete columns", counts)
    else:
        with run.on_shares() as engine:
            some = sum_shares(engine, counts, bound=MOST) > 0
        found = run.reveal({"incomplete columns": some})["incomplete columns"]
    return [name for name, many in zip(gaps, found.tolist(), strict=True) if many]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class MissingPatternResult(Result):
    """Which values are missing together, the same at every site.

    Attributes
    ----------
    columns
        All columns that were looked at.
    incomplete
        Those that have missing values.
    min_cell
        Smaller counts are suppressed.
    missing
        Missing values of each incomplete column.
    rows
        The number of rows.
    patterns
        Shape ``(patterns, incomplete)``: where values are missing.
    counts
        Rows of each pattern.
    """

    columns: tuple[str, ...]
    incomplete: tuple[str, ...]
    min_cell: int
    missing: Counts = field(repr=False)
    rows: Counts = field(repr=False)
    patterns: NDArray[np.bool_] = field(repr=False)
    counts: Counts = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return ``missing`` and ``proportion`` for each column; missing where suppressed."""
        frame = pd.DataFrame(
            {"missing": nullable(self.missing)}, index=pd.Index(self.incomplete, name="column")
        )
        frame = frame.reindex(list(self.columns), fill_value=0)
        whole = pd.NA if self.rows.hidden[0] else int(self.rows.shown[0])
        return frame.assign(proportion=frame["missing"].astype("Float64") / whole)

    def patterns_frame(self) -> pd.DataFrame:
        """Return the patterns that occur, most rows first: ``rows``, and for each column if it is missing."""
        flags = {name: self.patterns[:, column] for column, name in enumerate(self.incomplete)}
        frame = pd.DataFrame({"rows": nullable(self.counts)}).assign(**flags)
        occurring = frame[(frame["rows"] != 0).fillna(value=True).astype(bool)]
        return occurring.sort_values("rows", ascending=False, kind="stable", ignore_index=True)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the part of each column that is missing; suppressed ones are not drawn."""
        target = _plot.axes(ax)
        parts = self.to_frame()["proportion"].fillna(0.0).to_numpy(float)
        target.barh(list(self.columns), parts)
        target.invert_yaxis()
        target.set_xlabel("part of the rows where it is missing")
        return target

    def summary(self) -> str:
        """Return both tables as text."""
        frame = self.patterns_frame()
        shown = frame.map(lambda value: {True: "missing", False: "."}.get(value, value))
        shown["rows"] = frame["rows"]
        patterns = (
            ["", f"Patterns: more than {MAX_COLUMNS} incomplete columns; name those to be compared"]
            if len(self.incomplete) > MAX_COLUMNS
            else ["", *_table.frame_lines(shown)]
        )
        return "\n".join(
            [
                f"Missing values over {len(self.sites)} sites",
                "",
                *_table.frame_lines(self.to_frame(), digits=4),
                *(patterns if self.incomplete else []),
                *suppression_line(self.counts, self.min_cell),
                "",
                f"Cost: {self.cost}",
            ]
        )
