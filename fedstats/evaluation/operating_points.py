"""Sensitivity, specificity and predictive values of a score at thresholds that are given.

The score calls a row positive if it is at least the threshold. The sites count rows of either outcome above,
below and between thresholds, so that small numbers do not follow from differences (`fedstats._cells`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fedstats import _cells, _plot, _table
from fedstats._cells import Line
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.evaluation import _scores
from fedstats.evaluation._scores import Score
from fedstats.expressions import Array
from fedstats.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "operating_points",
    aggregate={**_scores.OUTCOMES, **_cells.AGGREGATE},
    result={**_scores.OUTCOMES, **_cells.RESULT},
    published=_scores.PUBLISHED,
)
#: Each rate with what it counts, and among what.
RATES = {
    "sensitivity": ("tp", ("tp", "fn")),
    "specificity": ("tn", ("tn", "fp")),
    "ppv": ("tp", ("tp", "fp")),
    "npv": ("tn", ("tn", "fn")),
}


def operating_points(
    cohort: Cohort,
    *,
    score: Score,
    outcome: str,
    thresholds: Sequence[float],
    disclose: Disclose = "result",
) -> OperatingPointsResult:
    """Compute how well a score tells cases from others at given thresholds.

    Parameters
    ----------
    cohort, score, outcome
        As for `roc`.
    thresholds
        Scores from which on a row is called positive, all different.
    disclose
        ``"result"``: counts are opened that are large enough, and from which no small ones follow.
        ``"aggregate"``: all counts.

    Returns
    -------
    OperatingPointsResult
        NaN where counts are suppressed.

    Raises
    ------
    DataError
        A column cannot be used, scores are not as many as rows, or thresholds are no different numbers.
    RemoteError
        The same at another site.
    PolicyError
        One of the outcomes has fewer than `min_cell` rows.

    Notes
    -----
    **Leakage.** Every site learns how many rows have each outcome, and of each outcome how many score above
    and below each threshold, and between it and the next one; of small counts, and of those from which they
    would follow, only whether they are 0, small or neither. A coalition of t sites learns the same, and can
    subtract its own rows.

    Cost: 36 rounds for three sites; six in the aggregate mode.

    Examples
    --------
    >>> fs.operating_points(cohort, score="risk", outcome="died", thresholds=[0.1, 0.2])  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        cuts = np.array([])

        def check(_: object) -> None:
            nonlocal cuts
            try:
                cuts = np.sort(np.asarray(thresholds, np.float64))
            except (TypeError, ValueError):
                raise DataError(f"thresholds are numbers, not {thresholds!r}") from None
            if cuts.ndim != 1 or not cuts.size or not np.isfinite(cuts).all() or (np.diff(cuts) == 0).any():
                raise DataError(f"thresholds are different finite numbers, not {thresholds!r}")

        rows = _scores.agree(run, cohort, score, outcome, call=f"thresholds={thresholds!r}", check=check)
        totals = _scores.open_outcomes(run, rows)
        counts = [_counts(rows.score[rows.outcome == kind], cuts) for kind in (0, 1)]
        length = len(counts[0])
        lines = [line.shifted(kind * length) for kind in (0, 1) for line in _lines(len(cuts))]
        opened = _cells.open_cells(run, np.concatenate(counts), lines)
        shown = np.where(opened.hidden, np.nan, opened.shown).reshape(2, length)
        above, below = shown[:, 1 : 1 + len(cuts)], shown[:, 1 + len(cuts) : 1 + 2 * len(cuts)]
        table = pd.DataFrame(
            {"tp": above[1], "fp": above[0], "fn": below[1], "tn": below[0]},
            index=pd.Index(cuts, name="threshold"),
        )
        return OperatingPointsResult(
            **run.finish(), outcome=outcome, nobs=sum(totals), cases=totals[1], counts=table
        )


def _counts(score: Array, cuts: Array) -> NDArray[np.int64]:
    """Return how many scores there are, at least each cut, below each, and between successive ones.

    Of m cuts these are 1, m, m and m − 1 numbers.
    """
    parts = np.bincount(np.searchsorted(cuts, score, side="right"), minlength=len(cuts) + 1)
    below = np.cumsum(parts)[:-1]
    return np.concatenate([[len(score)], len(score) - below, below, parts[1:-1]]).astype(np.int64)


def _lines(cuts: int) -> list[Line]:
    """Return which of these counts are totals of which others."""
    above, below = 1 + np.arange(cuts), 1 + cuts + np.arange(cuts)
    between = 1 + 2 * cuts + np.arange(cuts - 1)
    return [
        *[Line(0, np.array(parts)) for parts in zip(above, below, strict=True)],
        *[Line(int(k), np.array(parts)) for k, *parts in zip(above, above[1:], between, strict=False)],
        *[Line(int(k), np.array(parts)) for k, *parts in zip(below[1:], below, between, strict=False)],
    ]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class OperatingPointsResult(Result):
    """How well a score tells cases from others at some thresholds; the same at every site.

    Attributes
    ----------
    outcome
        The column.
    nobs, cases
        Rows of all sites, and how many of them have outcome 1.
    counts
        Columns ``tp``, ``fp``, ``fn`` and ``tn`` by threshold, ascending; NaN where suppressed.
    """

    outcome: str
    nobs: int
    cases: int
    counts: pd.DataFrame = field(repr=False)

    def conf_int(self, rate: str, alpha: float = 0.05) -> pd.DataFrame:
        """Return Wilson's confidence intervals of level 1 − alpha, columns ``low`` and ``high``.

        Parameters
        ----------
        rate
            ``"sensitivity"``, ``"specificity"``, ``"ppv"`` or ``"npv"``.
        alpha
            Chance of missing it.
        """
        if rate not in RATES:
            raise ValueError(f"rate must be one of {', '.join(RATES)}, not {rate!r}")
        if not 0 < alpha < 1:
            raise ValueError("alpha lies between 0 and 1")
        part, size = self._of(rate)
        z2 = float(stats.norm.isf(alpha / 2)) ** 2
        centre = (part + z2 / 2) / (size + z2)
        reach = np.sqrt(z2 * (part * (size - part) / size + z2 / 4)) / (size + z2)
        return pd.DataFrame({"low": centre - reach, "high": centre + reach})

    def to_frame(self) -> pd.DataFrame:
        """Return rates, columns ``sensitivity``, ``specificity``, ``ppv`` and ``npv``, and counts."""
        rates = {name: part / size for name in RATES for part, size in [self._of(name)]}
        return pd.concat([pd.DataFrame(rates), self.counts], axis=1)

    def summary(self) -> str:
        """Return rates and counts as text."""
        pairs: list[tuple[str, object]] = [
            ("Rows", self.nobs),
            ("Cases", self.cases),
            ("Sites", len(self.sites)),
        ]
        head = [f"Operating points for {self.outcome}", "", *_table.pair_lines(pairs), ""]
        table = self.to_frame()
        table.index = table.index.map("{:g}".format)
        return "\n".join([*head, *_table.frame_lines(table), "", f"Cost: {self.cost}"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the rates by threshold with their 95 % intervals.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        target = _plot.axes(ax)
        table = self.to_frame()
        for number, rate in enumerate(RATES):
            ends = self.conf_int(rate)
            target.plot(table.index, table[rate], "o-", color=f"C{number}", markersize=4, label=rate)
            target.vlines(table.index, ends["low"], ends["high"], color=f"C{number}", alpha=0.4)
        target.set_ylim(0, 1.02)
        target.set_xlabel(f"threshold of the score for {self.outcome}")
        target.legend(frameon=False)
        return target

    def _of(self, rate: str) -> tuple[pd.Series[float], pd.Series[float]]:
        counted, among = RATES[rate]
        size = self.counts[among[0]] + self.counts[among[1]]
        return self.counts[counted], size.where(size > 0)
