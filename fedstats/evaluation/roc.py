"""The ROC curve of a score over the rows of all sites, and the area below it, from ranks that nobody sees.

All sites' rows are sorted on shares (`fedstats._ranks`). Of each row it is then known, on shares, how many
cases and how many others have a lower score, half of those with the same one included: its *placements*.
The area is the mean placement of cases among the others, which is U / (n₁·n₀) of Mann and Whitney, and its
variance follows from those of the placements [1]_. The points of the curve are rows at equal steps in rank.

References
----------
.. [1] E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the Areas under Two or More Correlated
   Receiver Operating Characteristic Curves: A Nonparametric Approach", Biometrics 44, 1988.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as field_
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fedstats import _plot, _ranks, _table
from fedstats.disclosure import Declaration
from fedstats.errors import DataError
from fedstats.evaluation import _scores
from fedstats.evaluation._scores import Score
from fedstats.quantiles import OnlyResult
from fedstats.results import Result
from protocols import field, scan
from protocols.compare import negative
from protocols.floating import SecretFloat, floating
from protocols.secret import SecretArray, concatenate, inner, multiply, select, stack

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "roc",
    result={
        **_scores.OUTCOMES,
        "area": "twice the number of pairs of a case and another in which the case scores higher, those with "
        "equal scores counted half",
        "variance": "the variance of the area",
        "curve": "at each point, how many cases and how many rows score lower",
    },
    published={**_scores.PUBLISHED, **_ranks.PUBLISHED},
)


def roc(
    cohort: Cohort,
    *,
    score: Score,
    outcome: str,
    points: int = 20,
    disclose: OnlyResult = "result",
) -> ROCResult:
    """Compute the ROC curve of a score, and the area under it with DeLong's standard error.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    score
        Higher for cases: a column, or an array with a number for each row of this site's cohort, as from a
        result's ``predict``. Rows where it or the outcome is missing are left out.
    outcome
        Column of 0 and 1, which are the cases.
    points
        Into how many parts the rows are cut by the points of the curve; fewer where parts would have
        fewer than ``min_cell`` rows. For thresholds of your own there is `operating_points`.
    disclose
        ``"result"``, the only mode: ranks have no sums that could be told instead.

    Returns
    -------
    ROCResult
        ``auc`` is exact, ties counted half.

    Raises
    ------
    DataError
        A column cannot be used, or scores are not as many as rows.
    RemoteError
        The same at another site.
    PolicyError
        One of the outcomes has fewer than `min_cell` rows.

    Notes
    -----
    **Leakage.** Every site learns how many rows have each outcome, the area and its standard
    error, and at each point of the curve the numbers of cases and of all rows with lower scores; no scores.
    Of each other site it learns its number of rows, rounded up by an eighth at most. A coalition of t sites
    learns the same.

    Cost: for 1,000 rows and three sites some 230 rounds.

    Examples
    --------
    >>> fs.roc(cohort, score=fit.predict(rows), outcome="died").auc  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:

        def check(_: object) -> None:
            if not (isinstance(points, int) and points > 0):
                raise DataError(f"points is a number, 1 at least, not {points!r}")

        rows = _scores.agree(run, cohort, score, outcome, call=f"points={points!r}", check=check)
        lengths = _ranks.agree_lengths(run, len(rows.score))
        n0, n1 = _scores.open_outcomes(run, rows)
        n = n0 + n1
        least = run.federation.shared_policy.min_cell
        parts = min(points, n // least)
        with run.on_shares() as engine:
            shared = _ranks.share(engine, lengths, _ranks.keys(rows.score), [rows.outcome])
            ranking = _ranks.rank(shared.key, *shared.columns, count=n)
            before, through = _cases_below(ranking)
            pairs, variance = _area(ranking, before + through, n0, n1)
            results: dict[str, SecretArray | SecretFloat] = {"area": pairs, "variance": variance}
            if parts > 1:
                cuts = np.round(np.arange(1, parts) * n / parts).astype(np.intp)
                doubled = (ranking.doubled - ranking.block - 1)[cuts]
                results["curve"] = _shown(before[cuts], doubled, least)
        opened = run.reveal(results)
        below = opened.get("curve", np.zeros((2, 0), np.int64))
        cases, rank = below[:, below[1] >= 0] / [[1], [2]]
        return ROCResult(
            **run.finish(),
            outcome=outcome,
            nobs=n,
            cases=n1,
            auc=float(opened["area"]) / (2 * n0 * n1),
            bse=float(np.sqrt(opened["variance"])),
            fpr=np.concatenate([[1.0], 1 - (rank - cases) / n0, [0.0]])[::-1],
            tpr=np.concatenate([[1.0], 1 - cases / n1, [0.0]])[::-1],
        )


def _cases_below(ranking: _ranks.Ranking) -> tuple[SecretArray, SecretArray]:
    """Return of each row how many cases have a lower score, and how many a lower or equal one."""
    (case,), n = ranking.columns, ranking.count
    through = scan.running_sum(case)
    # Of a block of equal scores the first row knows what is before it, and the last what is up to its end.
    ends = np.ones((1, 2), np.uint64) * np.array([1, 0], np.uint64)
    is_last = ranking.last_of_block
    is_first = SecretArray(is_last.engine, np.concatenate([ends, is_last.shares[:-1]]), is_last.format)
    begins = stack([is_first, is_last[::-1]])
    own = multiply(begins, stack([through - case, through[::-1]]))
    found = scan.segmented((1 - begins).assume(1), own.assume(n), bound=n)
    return found[0], found[1, ::-1]


def _area(ranking: _ranks.Ranking, cases: SecretArray, n0: int, n1: int) -> tuple[SecretArray, SecretFloat]:
    """Return twice the number of pairs in which the case scores higher, and the variance of the area.

    Parameters
    ----------
    ranking
        Of all rows, with the bits of cases.
    cases
        Of each row, twice its placement among cases.
    n0, n1
        Numbers of others and of cases.
    """
    (case,), n = ranking.columns, ranking.count
    placements = stack([ranking.doubled - 1 - cases, cases]).assume(2 * n)
    own = multiply(stack([case, 1 - case]), placements).assume(2 * n)
    total = own.sum(axis=1)
    sizes, others = np.array([n1, n0], object), np.array([n0, n1], object)
    # Exact: n·Σx² − (Σx)² of either outcome.
    spread = floating(inner(own, placements) * sizes - multiply(total, total))
    parts = spread * (1 / (4 * sizes**2 * (sizes - 1) * others**2)).astype(np.float64)
    return total[0], parts.sum()


def _shown(cases: SecretArray, doubled: SecretArray, least: int) -> SecretArray:
    """Return points of the curve, −1 for those fewer than `least` rows after the one before."""
    start = SecretArray(doubled.engine, field.zeros((1,)), doubled.format)
    gap = doubled - concatenate([start, doubled[:-1]])
    return select(negative(gap - 2 * least), -1, stack([cases, doubled]))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ROCResult(Result):
    """An ROC curve and the area under it; the same at every site.

    Attributes
    ----------
    outcome
        The column.
    nobs, cases
        Rows of all sites, and how many of them are cases.
    auc
        Chance that a case scores higher than another, ties counted half.
    bse
        DeLong's standard error of it.
    fpr, tpr
        Points of the curve, ascending from (0, 0) to (1, 1): share of others and of cases that score at
        least as high as a row.
    """

    outcome: str
    nobs: int
    cases: int
    auc: float
    bse: float
    fpr: NDArray[np.float64] = field_(repr=False)
    tpr: NDArray[np.float64] = field_(repr=False)

    def conf_int(self, alpha: float = 0.05) -> tuple[float, float]:
        """Return a confidence interval of the area, of level 1 − alpha, within 0 and 1."""
        if not 0 < alpha < 1:
            raise ValueError("alpha lies between 0 and 1")
        reach = float(stats.norm.isf(alpha / 2)) * self.bse
        return max(0.0, self.auc - reach), min(1.0, self.auc + reach)

    def to_frame(self) -> pd.DataFrame:
        """Return the points of the curve, columns ``fpr`` and ``tpr``."""
        return pd.DataFrame({"fpr": self.fpr, "tpr": self.tpr})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the curve.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        axes = _plot.axes(ax, (4.6, 4.6))
        axes.plot([0, 1], [0, 1], color="#6b7280", linewidth=0.9, linestyle=(0, (5, 4)))
        axes.plot(self.fpr, self.tpr, color="#1d3f66", marker=".")
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.set_title(f"{self.outcome}: area {self.auc:.3f}")
        axes.set_aspect("equal")
        return axes

    def summary(self) -> str:
        """Return area and curve as text."""
        low, high = self.conf_int()
        pairs: list[tuple[str, object]] = [
            ("Rows", self.nobs),
            ("Cases", self.cases),
            ("Sites", len(self.sites)),
            ("Area under the curve", self.auc),
            ("Standard error", self.bse),
            ("95 % interval", f"{low:.4f} to {high:.4f}"),
        ]
        head = [f"ROC curve of {self.outcome}", "", *_table.pair_lines(pairs, digits=5), ""]
        return "\n".join([*head, *_table.frame_lines(self.to_frame(), digits=4), "", f"Cost: {self.cost}"])
