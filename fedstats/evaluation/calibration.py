"""Calibration of predicted probabilities over the rows of all sites: in groups, and by a line.

Rows are grouped by quantiles of the scores (`fedstats.quantiles`) or between given edges; what the groups
hold are sums over rows. Calibration in the large and the calibration slope [1]_ are logistic regressions on
the logit of the score, with the logit as offset and with a coefficient, whose Newton steps solve one pooled
system together.

References
----------
.. [1] E. W. Steyerberg, "Clinical Prediction Models", 2nd edition, Springer 2019, section 15.3.
.. [2] D. W. Hosmer, S. Lemeshow, "Goodness of Fit Tests for the Multiple Logistic Regression Model",
   Communications in Statistics 9, 1980.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit, logit

from fedstats import _plot, _table
from fedstats._counts import open_counts
from fedstats.disclosure import Declaration
from fedstats.errors import DataError, EstimationError, PolicyError
from fedstats.evaluation import _scores
from fedstats.evaluation._scores import Score, Scored
from fedstats.expressions import Array
from fedstats.quantiles import OnlyResult, find_quantiles
from fedstats.regression._equations import Recent, covariance, scalars, solve
from fedstats.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

_QUANTILES = {"quantiles": "the quantiles of the scores between which rows are grouped, digit by digit"}
_OTHERS = {
    "groups": "numbers of rows and of cases in each group; of fewer rows than min_cell, that they are",
    "expected": "the sum of the scores in each group",
    "steps": "calibration slope and intercepts at each step of their computation, and whether the "
    "information is near to that at the one before",
    "covariance": "their variances",
}
DECLARATION = Declaration(
    "calibration", result={**_scores.OUTCOMES, **_QUANTILES, **_OTHERS}, published=_scores.PUBLISHED
)
WITH_EDGES = Declaration("calibration", result={**_scores.OUTCOMES, **_OTHERS}, published=_scores.PUBLISHED)

#: The two models' parameters, and when their steps have converged.
_NAMES = ("intercept", "slope", "intercept in the large")
_TOLERANCE, _STEPS = 1e-7, 30


def calibration(
    cohort: Cohort,
    *,
    score: Score,
    outcome: str,
    groups: int = 10,
    edges: Sequence[float] | None = None,
    disclose: OnlyResult = "result",
) -> CalibrationResult:
    """Compare predicted probabilities with outcomes, in groups and by calibration slope and intercept.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    score
        Probabilities between 0 and 1: a column, or an array with one for each row of this site's
        cohort, as from a result's ``predict``. Rows where it or the outcome is missing are left out.
    outcome
        Column of 0 and 1.
    groups
        Number of groups of about as many rows, cut as by `pandas.qcut`; equal scores stay together.
    edges
        Scores between which rows are grouped instead, each in the group that it ends.
    disclose
        ``"result"``, the only mode.

    Returns
    -------
    CalibrationResult

    Raises
    ------
    DataError
        A column cannot be used, or a score is no probability between 0 and 1.
    RemoteError
        The same at another site.
    PolicyError
        A group, or one of the outcomes, has fewer than `min_cell` rows.
    EstimationError
        The scores separate the outcomes, so that there is no slope.

    Notes
    -----
    **Leakage.** Every site learns the edges of the groups, which are scores of patients or
    between two, and for each group the numbers of rows and of cases and the sum of the scores; slope and
    intercepts at each step, and their variances. A coalition of t sites learns the same.

    Cost: for three sites some 1,100 rounds.

    Examples
    --------
    >>> fs.calibration(cohort, score=fit.predict(rows), outcome="died").slope  # doctest: +SKIP
    """
    declaration = DECLARATION if edges is None else WITH_EDGES
    with cohort.federation.analysis(declaration, disclose) as run:

        def check(values: Array) -> None:
            _check(groups, edges)
            outside = int(np.count_nonzero((values <= 0) | (values >= 1)))
            if outside:
                raise DataError(
                    f"scores of {outside} rows of this site are no probabilities between 0 and 1, both "
                    "excluded: their logit is infinite"
                )

        call = f"groups={groups!r}, edges={None if edges is None else list(edges)!r}"
        rows = _scores.agree(run, cohort, score, outcome, call=call, check=check)
        without, cases = _scores.open_outcomes(run, rows)
        n = without + cases
        cuts = (
            np.sort(np.asarray(edges, np.float64)) if edges is not None else _quantiles(run, rows, n, groups)
        )
        table = _grouped(run, rows, cuts)
        line = _line(run, rows, cases / n)
        return CalibrationResult(
            **run.finish(),
            outcome=outcome,
            nobs=n,
            cases=cases,
            groups=table,
            intercept=line.estimates[0],
            slope=line.estimates[1],
            in_the_large=line.estimates[2],
            intercept_bse=line.errors[0],
            slope_bse=line.errors[1],
            in_the_large_bse=line.errors[2],
        )


def _check(groups: int, edges: Sequence[float] | None) -> None:
    if not (isinstance(groups, int) and groups > 1):
        raise DataError(f"groups is a number, 2 at least, not {groups!r}")
    if edges is not None:
        cuts = np.asarray(edges, np.float64)
        inside = cuts.ndim == 1 and len(cuts) and ((cuts > 0) & (cuts < 1)).all()
        if not inside or len(np.unique(cuts)) < len(cuts):
            raise DataError("edges are distinct probabilities between 0 and 1, of which groups are between")


def _quantiles(run: Analysis, rows: Scored, n: int, groups: int) -> Array:
    """Return the scores that cut all rows into so many groups; fewer where they are equal."""
    levels = np.arange(1, groups) / groups
    (cuts,) = find_quantiles(run, [np.sort(rows.score)], np.array([n]), levels)
    if np.isnan(cuts).any():
        raise PolicyError(
            f"{groups} groups of {n} rows over all sites would have fewer than min_cell: use fewer groups"
        )
    return np.unique(cuts)


def _grouped(run: Analysis, rows: Scored, cuts: Array) -> pd.DataFrame:
    """Return rows, cases and expected cases of each group that has any rows."""
    group = np.searchsorted(cuts, rows.score)
    size = len(cuts) + 1
    count = np.bincount(group, minlength=size)
    of_cases = np.bincount(group, rows.outcome, size).astype(np.int64)
    least = run.federation.shared_policy.min_cell
    total, cases = open_counts(run, "groups", count, least, along=of_cases[np.newaxis])
    few = (total != 0) & (total < least)
    if few.any():
        raise PolicyError(
            f"{int(few.sum())} of {size} groups of scores have fewer than {least} rows over all sites "
            "(min_cell): use fewer groups, or wider edges"
        )
    sums = np.bincount(group, rows.score, size).astype(np.float64)  # of integers where there are no rows
    expected = scalars(run, "expected", sums)
    bounds = [0.0, *cuts.tolist(), 1.0]
    table = pd.DataFrame(
        {"above": bounds[:-1], "to": bounds[1:], "rows": total, "cases": cases, "expected": expected}
    )
    return table[table["rows"] > 0].reset_index(drop=True)


class _Line(NamedTuple):
    """Estimates and standard errors in the order of `_NAMES`."""

    estimates: list[float]
    errors: list[float]


def _line(run: Analysis, rows: Scored, rate: float) -> _Line:
    """Fit both logistic models at once: their information matrices stand on one diagonal."""
    linear, y = logit(rows.score), rows.outcome
    X = np.column_stack([np.ones(len(y)), linear])
    b = np.array([logit(rate), 0.0, 0.0])
    step, recent = np.full(3, np.inf), Recent()
    for part in range(_STEPS):
        mu, offset_mu = expit(X @ b[:2]), expit(linear + b[2])
        A = np.zeros((3, 3))
        A[:2, :2] = (X.T * (mu * (1 - mu))) @ X
        A[2, 2] = (offset_mu * (1 - offset_mu)).sum()
        if np.abs(step).max() < _TOLERANCE:
            found = covariance(run, "covariance", A, _NAMES, recent=recent)
            return _Line(b.tolist(), np.sqrt(found.variances).tolist())
        score = np.append(X.T @ (y - mu), (y - offset_mu).sum())
        step = solve(run, "steps", A, score, _NAMES, part=part, recent=recent)
        b = b + step
        if not np.abs(b).max() < 100:
            break
    raise EstimationError("the scores separate the outcomes, or nearly so: there is no calibration slope")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CalibrationResult(Result):
    """How predicted probabilities agree with outcomes; the same at every site.

    Attributes
    ----------
    outcome
        The column.
    nobs, cases
        Rows of all sites, and how many of them are cases.
    groups
        By group of scores, ``above`` and up ``to`` which: ``rows``, ``cases``, and ``expected`` cases.
    intercept, slope
        Of a logistic regression of the outcome on the logit of the score: 0 and 1 if calibrated.
    in_the_large
        The intercept if the slope is 1.
    intercept_bse, slope_bse, in_the_large_bse
        Their standard errors.
    """

    outcome: str
    nobs: int
    cases: int
    groups: pd.DataFrame = field(repr=False)
    intercept: float
    slope: float
    in_the_large: float
    intercept_bse: float
    slope_bse: float
    in_the_large_bse: float

    @property
    def hosmer_lemeshow(self) -> float:
        """Hosmer and Lemeshow's statistic over the groups."""
        expected, n = self.groups["expected"], self.groups["rows"]
        return float(((self.groups["cases"] - expected) ** 2 / (expected * (1 - expected / n))).sum())

    def pvalue(self, *, external: bool = False) -> float:
        """Return the p-value of `hosmer_lemeshow`.

        Parameters
        ----------
        external
            Whether the scores were fitted to other rows than these: degrees of freedom are then as many
            as groups, and two fewer otherwise.
        """
        df = len(self.groups) - (0 if external else 2)
        return float(stats.chi2.sf(self.hosmer_lemeshow, df)) if df > 0 else float("nan")

    def to_frame(self) -> pd.DataFrame:
        """Return the groups, with observed and predicted rates."""
        table = self.groups
        return table.assign(
            observed=table["cases"] / table["rows"], predicted=table["expected"] / table["rows"]
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw observed against predicted rates.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        axes, table = _plot.axes(ax, (4.6, 4.6)), self.to_frame()
        axes.plot([0, 1], [0, 1], color="#6b7280", linewidth=0.9, linestyle=(0, (5, 4)))
        axes.plot(table["predicted"], table["observed"], color="#1d3f66", marker=".")
        axes.set_xlabel("predicted rate")
        axes.set_ylabel("observed rate")
        axes.set_title(f"{self.outcome}: slope {self.slope:.2f}, in the large {self.in_the_large:+.2f}")
        return axes

    def summary(self) -> str:
        """Return slope, intercepts and groups as text."""
        pairs: list[tuple[str, object]] = [
            ("Rows", self.nobs),
            ("Cases", self.cases),
            ("Sites", len(self.sites)),
            ("Hosmer–Lemeshow", self.hosmer_lemeshow),
            ("Slope", self.slope),
            ("Its standard error", self.slope_bse),
            ("In the large", self.in_the_large),
            ("Its standard error", self.in_the_large_bse),
        ]
        head = [f"Calibration of {self.outcome}", "", *_table.pair_lines(pairs, digits=5), ""]
        return "\n".join([*head, *_table.frame_lines(self.to_frame(), digits=4), "", f"Cost: {self.cost}"])
