"""Student's and Welch's t-tests over the rows of all sites.

References
----------
.. [1] Student, "The Probable Error of a Mean", Biometrika 6, 1908.
.. [2] B. L. Welch, "The Generalization of 'Student's' Problem when Several Different Population Variances are
   Involved", Biometrika 34, 1947.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
from scipy import stats

from fedstats.disclosure import Declaration, Disclose
from fedstats.hypotests import _groups, _moments
from fedstats.hypotests._moments import GroupMoments, Numbers
from fedstats.hypotests._result import (
    Alternative,
    ConfidenceInterval,
    HypothesisTest,
    Options,
    interval,
    tail,
)
from fedstats.vertical import groups as linked
from fedstats.vertical.cohort import VerticalCohort
from protocols.floating import sqrt

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.hypotests._groups import Groups

_MEANS = "mean of each group"
_ERROR = "standard error of the difference"

STUDENT = Declaration(
    "ttest_ind",
    aggregate={"group sizes": _groups.SIZES, **_moments.AGGREGATE},
    result={
        "group sizes": _groups.SIZES_IF_ENOUGH,
        "means": _MEANS,
        "difference": "difference of the means",
        "standard error": _ERROR,
    },
    published=_groups.PUBLISHED,
)
WELCH = Declaration(
    "ttest_ind",
    aggregate=STUDENT.aggregate,
    result={**STUDENT.result, "df": "degrees of freedom, by Welch's formula"},
    published=_groups.PUBLISHED,
)
ONE = Declaration(
    "ttest_1samp",
    aggregate=STUDENT.aggregate,
    result={
        "group sizes": "number of rows; if it is below min_cell, only that",
        "means": "the mean",
        "difference": "the mean less popmean",
        "standard error": "standard error of the mean",
    },
    published=_groups.PUBLISHED,
)
PAIRED = Declaration("ttest_rel", ONE.aggregate, ONE.result, published=_groups.PUBLISHED)


def ttest_ind(
    cohort: Cohort | VerticalCohort,
    column: str,
    *,
    by: str,
    groups: Sequence[str] | None = None,
    equal_var: bool = True,
    alternative: Alternative = "two-sided",
    disclose: Disclose = "result",
) -> TTestResult:
    """Compare the means of two groups.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    column
        The numbers. Rows where it or `by` is missing are left out.
    by
        Column of the groups.
    groups
        Two levels of `by`; the difference is that of the first from the second. By default its only two.
    equal_var
        Whether both groups have the same variance (Student's test) or each its own (Welch's).
    alternative
        ``"greater"``: the first group's mean is the larger one.
    disclose
        ``"result"``: what the result holds is opened. ``"aggregate"``: sums and sums of squares of each
        group.

    Returns
    -------
    TTestResult
        As `scipy.stats.ttest_ind` has it.

    Raises
    ------
    DataError
        A column does not exist or cannot be used, or there are not two groups.
    RemoteError
        The same at another site.
    PolicyError
        A group has fewer than `min_cell` rows.
    EstimationError
        Values do not vary within the groups.

    Notes
    -----
    **Leakage.** Every site learns the group sizes, means, their difference, its standard error, and Welch's
    degrees of freedom, from which both variances follow, to 30 significant bits; of each other site which
    levels of `by` it has. A coalition of t sites learns no more in the result mode, and can leave its own
    rows out of what it learns. With ``disclose="aggregate"`` all sums are exact.

    **Cost.** For three sites about 110 rounds and 130 kB, 40 rounds more by Welch's formula; 8 rounds in the
    aggregate mode.

    Examples
    --------
    >>> test = fs.ttest_ind(cohort, "sbp", by="arm", equal_var=False)  # doctest: +SKIP
    >>> test.pvalue, test.confidence_interval(0.95)  # doctest: +SKIP
    """
    if isinstance(cohort, VerticalCohort):
        return _of_linked(cohort, column, by, groups, equal_var, alternative, disclose)
    with cohort.federation.analysis(STUDENT if equal_var else WELCH, disclose) as run:
        part = _groups.agree(
            run,
            cohort,
            column,
            by=by,
            groups=groups,
            options={"equal_var": (equal_var, bool), "alternative": (alternative, Alternative)},
            exactly=2,
            is_shared=True,
        )
        sizes = _groups.open_sizes(run, part)
        found = _moments.moments(run, part, sizes)
        formula = _student if equal_var else _welch
        name = "Student's t-test" if equal_var else "Welch's t-test"
        results = {"difference": found.distance[0] - found.distance[1], **formula(found)}
        return _finished(
            run, part, sizes, found, results, title=f"{name} of {column} by {by}", alternative=alternative
        )


def ttest_1samp(
    cohort: Cohort,
    column: str,
    popmean: float,
    *,
    alternative: Alternative = "two-sided",
    disclose: Disclose = "result",
) -> TTestResult:
    """Compare the mean of a column with a number.

    Parameters
    ----------
    cohort, column
        The rows, see `Federation.cohort`, and the numbers. Rows where they are missing are left out.
    popmean
        The number.
    alternative
        ``"greater"``: the mean is above it.
    disclose
        As for `ttest_ind`.

    Returns
    -------
    TTestResult
        As `scipy.stats.ttest_1samp` has it; ``estimate`` is the mean.

    Raises
    ------
    DataError, RemoteError, PolicyError, EstimationError
        As `ttest_ind`.

    Notes
    -----
    **Leakage.** Every site learns the number of rows, the mean, its difference from `popmean` and its
    standard error, to 30 significant bits. A coalition of t sites learns no more in the result mode, and can
    leave its own rows out of these. With ``disclose="aggregate"`` all sums are exact.

    **Cost.** For three sites 82 rounds and 110 kB; 8 rounds in the aggregate mode.
    """
    with cohort.federation.analysis(ONE, disclose) as run:
        part = _groups.agree_differences(
            run,
            cohort,
            column,
            None,
            options={"popmean": (popmean, float), "alternative": (alternative, Alternative)},
            is_shared=True,
        )
        title = f"t-test of {column} against {popmean:g}"
        return _one_sample(run, part, float(popmean), title, alternative)


def ttest_rel(
    cohort: Cohort,
    column: str,
    other: str,
    *,
    alternative: Alternative = "two-sided",
    disclose: Disclose = "result",
) -> TTestResult:
    """Compare the means of two columns, row by row: a t-test of their differences against 0.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    column, other
        The numbers, the second being subtracted from the first. Rows where either is missing are left out.
    alternative
        ``"greater"``: the first column's mean is the larger one.
    disclose
        As for `ttest_ind`.

    Returns
    -------
    TTestResult
        As `scipy.stats.ttest_rel` has it; ``estimate`` is the mean difference.

    Raises
    ------
    DataError, RemoteError, PolicyError, EstimationError
        As `ttest_ind`.

    Notes
    -----
    **Leakage.** Every site learns the number of rows, the mean difference and its standard error, to 30
    significant bits; a coalition of t sites what it does by `ttest_1samp`. **Cost.** As `ttest_1samp`.
    """
    with cohort.federation.analysis(PAIRED, disclose) as run:
        part = _groups.agree_differences(
            run, cohort, column, other, options={"alternative": (alternative, Alternative)}, is_shared=True
        )
        return _one_sample(run, part, 0.0, f"Paired t-test of {part.labels[0]}", alternative)


def _of_linked(
    cohort: VerticalCohort,
    column: str,
    by: str,
    groups: Sequence[str] | None,
    equal_var: bool,
    alternative: Alternative,
    disclose: Disclose,
) -> TTestResult:
    """Compare two groups of linked patients."""
    declared = STUDENT if equal_var else WELCH
    declaration = Declaration("vertical.ttest_ind", result=declared.result, published=linked.PUBLISHED)
    with cohort.federation.analysis(declaration, disclose) as run:
        options: Options = {"equal_var": (equal_var, bool), "alternative": (alternative, Alternative)}
        part, sizes, found = linked.grouped(run, cohort, column, by, groups, options)
        results = {
            "difference": found.distance[0] - found.distance[1],
            **(_student if equal_var else _welch)(found),
        }
        name = "Student's t-test" if equal_var else "Welch's t-test"
        return _finished(
            run, part, sizes, found, results, title=f"{name} of {column} by {by}", alternative=alternative
        )


def _one_sample(
    run: Analysis, part: Groups, popmean: float, title: str, alternative: Alternative
) -> TTestResult:
    sizes = _groups.open_sizes(run, part)
    found = _moments.moments(run, part, sizes, about=popmean)
    results = {"difference": found.distance[0], "standard error": sqrt(found.var[0] / found.n[0])}
    return _finished(run, part, sizes, found, results, title=title, alternative=alternative, popmean=popmean)


def _student(x: GroupMoments) -> dict[str, Numbers]:
    pooled = ((x.n - 1) * x.var).sum() / (x.n.sum() - 2)
    return {"standard error": sqrt(pooled * (1 / x.n).sum())}


def _welch(x: GroupMoments) -> dict[str, Numbers]:
    errors = x.var / x.n
    total = errors.sum()
    return {"standard error": sqrt(total), "df": total * total / (errors * errors / (x.n - 1)).sum()}


def _finished(
    run: Analysis,
    part: Groups,
    sizes: pd.Series[int],
    found: GroupMoments,
    results: dict[str, Numbers],
    *,
    title: str,
    alternative: Alternative,
    popmean: float = 0.0,
) -> TTestResult:
    opened = _moments.open_results(run, {"means": found.mean, **results})
    difference, error = float(opened["difference"]), float(opened["standard error"])
    _moments.require_spread(error)
    df = float(opened["df"]) if "df" in opened else float(sizes.sum() - len(sizes))
    statistic = difference / error
    return TTestResult(
        **run.finish(),
        title=title,
        statistic=statistic,
        pvalue=tail(statistic, stats.t, df, alternative=alternative),
        alternative=alternative,
        nobs=sizes,
        df=df,
        means=part.series(opened["means"], "mean"),
        estimate=difference + popmean,
        standard_error=error,
    )


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class TTestResult(HypothesisTest):
    """A t-test.

    Attributes
    ----------
    df
        Degrees of freedom.
    means
        By group.
    estimate
        What the confidence interval is of: the difference of the means, or the mean of a single group.
    standard_error
        Its standard error.
    """

    df: float
    means: pd.Series[float] = field(repr=False)
    estimate: float
    standard_error: float

    def confidence_interval(self, confidence_level: float = 0.95) -> ConfidenceInterval:
        """Return the confidence interval of the estimate, one-sided if the alternative is."""
        return interval(
            self.estimate,
            self.standard_error,
            confidence_level,
            stats.t,
            self.df,
            alternative=self.alternative,
        )

    @property
    def figures(self) -> dict[str, float]:
        """The numbers of the test by their names."""
        low, high = self.confidence_interval()
        return {
            "statistic": self.statistic,
            "df": self.df,
            "pvalue": self.pvalue,
            "estimate": self.estimate,
            "standard error": self.standard_error,
            "95% low": low,
            "95% high": high,
        }

    def by_group(self) -> pd.DataFrame:
        """Return size and mean of each group."""
        return pd.DataFrame({"nobs": self.nobs, "mean": self.means})
