"""One-way analysis of variance over the rows of all sites, Fisher's and Welch's.

References
----------
.. [1] B. L. Welch, "On the Comparison of Several Mean Values: An Alternative Approach", Biometrika 38, 1951.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import EstimationError
from fedstats.hypotests import _groups, _moments
from fedstats.hypotests._moments import GroupMoments, Numbers
from fedstats.hypotests._result import HypothesisTest

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.hypotests._groups import Groups

DECLARATION = Declaration(
    "f_oneway",
    aggregate={"group sizes": _groups.SIZES, **_moments.AGGREGATE},
    result={
        "group sizes": _groups.SIZES_IF_ENOUGH,
        "means": "mean of each group",
        "statistic": "F",
    },
    published=_groups.PUBLISHED,
)
WELCH = Declaration(
    "anova_welch",
    aggregate=DECLARATION.aggregate,
    result={**DECLARATION.result, "df": "degrees of freedom of the denominator"},
    published=_groups.PUBLISHED,
)


def f_oneway(
    cohort: Cohort,
    column: str,
    *,
    by: str,
    groups: Sequence[str] | None = None,
    disclose: Disclose = "result",
) -> FTestResult:
    """Compare the means of several groups with the same variance.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    column
        The numbers. Rows where it or `by` is missing are left out.
    by
        Column of the groups.
    groups
        The levels of `by` that are compared; all of them by default.
    disclose
        ``"result"``: what the result holds is opened. ``"aggregate"``: sums and sums of squares of each
        group.

    Returns
    -------
    FTestResult
        As `scipy.stats.f_oneway` has it.

    Raises
    ------
    DataError
        A column does not exist or cannot be used, or there are fewer than two groups.
    RemoteError
        The same at another site.
    PolicyError
        A group has fewer than `min_cell` rows.
    EstimationError
        Values do not vary within the groups.

    Notes
    -----
    **Leakage.** Every site learns the group sizes, the means and F, to 30 significant bits, hence the pooled
    variance; of each other site which levels of `by` it has. A coalition of t sites learns no more in the
    result mode, and can leave its own rows out of what it learns. With ``disclose="aggregate"`` all sums are
    exact.

    **Cost.** For three sites and two groups about 110 rounds and 130 kB, and 20 rounds more for each doubling
    of the groups; 8 rounds in the aggregate mode.
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        part = _groups.agree(run, cohort, column, by=by, groups=groups, options={}, is_shared=True)
        sizes = _groups.open_sizes(run, part)
        title = f"One-way analysis of variance of {column} by {by}"
        return finished(run, part, sizes, fisher, title)


def anova_welch(
    cohort: Cohort,
    column: str,
    *,
    by: str,
    groups: Sequence[str] | None = None,
    disclose: Disclose = "result",
) -> FTestResult:
    """Compare the means of several groups, each with its own variance, by Welch's approximation.

    Parameters
    ----------
    cohort, column, by, groups, disclose
        As for `f_oneway`.

    Returns
    -------
    FTestResult
        As ``anova_oneway(use_var="unequal")`` of statsmodels has it, or R's ``oneway.test``.

    Raises
    ------
    DataError, RemoteError, PolicyError
        As `f_oneway`.
    EstimationError
        Values of a group do not vary.

    Notes
    -----
    **Leakage.** As `f_oneway`, and the degrees of freedom of the denominator. **Cost.** For three sites and
    two groups about 250 rounds and 210 kB, and 70 rounds more for each doubling of the groups; 8 rounds in
    the aggregate mode.
    """
    with cohort.federation.analysis(WELCH, disclose) as run:
        part = _groups.agree(run, cohort, column, by=by, groups=groups, options={}, is_shared=True)
        sizes = _groups.open_sizes(run, part)
        title = f"Welch's analysis of variance of {column} by {by}"
        return finished(run, part, sizes, _welch, title)


def fisher(x: GroupMoments) -> dict[str, Numbers]:
    """Return F of equal variances."""
    groups, total = len(x.n), x.n.sum()
    between = (x.n * (x.distance * x.distance)).sum() / (groups - 1)
    within = ((x.n - 1) * x.var).sum() / (total - groups)
    return {"statistic": between / within}


def _welch(x: GroupMoments) -> dict[str, Numbers]:
    groups = len(x.n)
    weight = x.n / x.var
    total = weight.sum()
    off = x.distance - (weight * x.distance).sum() / total
    rest = 1 - weight / total
    spread = (rest * rest / (x.n - 1)).sum()
    between = (weight * off * off).sum() / (groups - 1)
    return {
        "statistic": between / (1 + 2 * (groups - 2) / (groups**2 - 1) * spread),
        "df": (groups**2 - 1) / 3 / spread,
    }


def finished(
    run: Analysis,
    part: Groups,
    sizes: pd.Series[int],
    formula: Callable[[GroupMoments], dict[str, Numbers]],
    title: str,
) -> FTestResult:
    """Return the result of comparing means by a formula."""
    found = _moments.moments(run, part, sizes)
    with np.errstate(divide="ignore", invalid="ignore"):
        results = formula(found)
    opened = _moments.open_results(run, {"means": found.mean, **results})
    statistic, df = float(opened["statistic"]), len(sizes) - 1
    within = float(opened["df"]) if "df" in opened else float(sizes.sum() - len(sizes))
    if not (np.isfinite(statistic) and within > 0):
        raise EstimationError("values do not vary within the groups: there is nothing to test")
    return FTestResult(
        **run.finish(),
        title=title,
        statistic=statistic,
        pvalue=float(stats.f.sf(statistic, df, within)),
        nobs=sizes,
        df=(float(df), within),
        means=part.series(opened["means"], "mean"),
    )


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FTestResult(HypothesisTest):
    """A comparison of several means.

    Attributes
    ----------
    df
        Degrees of freedom of numerator and denominator.
    means
        By group; of distances from the centre for Levene's test.
    """

    df: tuple[float, float]
    means: pd.Series[float] = field(repr=False)

    @property
    def figures(self) -> dict[str, float]:
        """The numbers of the test by their names."""
        return {
            "statistic": self.statistic,
            "df_num": self.df[0],
            "df_denom": self.df[1],
            "pvalue": self.pvalue,
        }

    def by_group(self) -> pd.DataFrame:
        """Return size and mean of each group."""
        return pd.DataFrame({"nobs": self.nobs, "mean": self.means})
