"""The Breslow–Day test: whether the odds ratio of two groups is the same in all strata.

What it compares with are the counts that the common odds ratio of Mantel and Haenszel makes, given the
margins of each stratum: roots of quadratic equations, solved on shares in the result mode.

References
----------
.. [1] N. E. Breslow and N. E. Day, "Statistical Methods in Cancer Research. Volume I: The Analysis of
   Case-Control Studies", IARC Scientific Publications 32, 1980, section 4.4.
.. [2] R. E. Tarone, "On Heterogeneity Tests Based on Efficient Scores", Biometrika 72, 1985.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.hypotests import _tables
from fedstats.hypotests._moments import Numbers, open_results
from fedstats.hypotests._result import HypothesisTest
from protocols.floating import sqrt, where

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "breslow_day",
    aggregate=_tables.AGGREGATE,
    result={
        **_tables.RESULT,
        "statistic": "χ² of the test that the odds ratio is the same in all strata",
    },
    published=_tables.PUBLISHED,
)


def breslow_day(
    cohort: Cohort,
    outcome: str,
    *,
    event: object,
    by: str,
    strata: str,
    groups: Sequence[str] | None = None,
    adjust: bool = True,
    disclose: Disclose = "result",
) -> BreslowDayResult:
    """Test whether the odds ratio of an event in two groups is the same within all strata of a third column.

    Parameters
    ----------
    cohort, outcome, event, by, groups, strata
        As for `cochran_mantel_haenszel`.
    adjust
        Whether to adjust as Tarone does for having estimated the common odds ratio as Mantel and Haenszel do.
    disclose
        ``"result"``: the statistic is opened. ``"aggregate"``: the tables of all strata.

    Returns
    -------
    BreslowDayResult
        ``statistic`` is χ² with a degree of freedom less than there are strata, as `test_equal_odds` of
        statsmodels' `StratifiedTable` has it.

    Raises
    ------
    DataError
        A column or level does not exist or cannot be used, there are not two groups, or only one stratum.
    RemoteError
        The same at another site.
    PolicyError
        A stratum, a group, the event or its absence has fewer than `min_cell` rows.
    EstimationError
        The common odds ratio is 0 or infinite; or a stratum has one of the groups only, or in all of its rows
        the event or in none.

    Notes
    -----
    **Leakage.** Every site learns the number of rows, and χ² to 30 significant bits; of each other site which
    levels it has. A coalition of t sites learns no more. With ``disclose="aggregate"`` all learn the tables,
    and a coalition those of the other sites.

    **Cost.** For three sites about 560 rounds and 110 kB a stratum; 4 rounds in the aggregate mode.
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        part = _tables.agree_two_by_two(
            run,
            cohort,
            outcome,
            event=event,
            by=by,
            groups=groups,
            strata=strata,
            options={"adjust": (adjust, bool)},
        )
        count = len(part.counts)
        if count < 2:
            raise DataError(
                f"column {strata!r} has {count} level over all sites: there is nothing to compare"
            )
        table, n = _tables.pool(run, part.counts, part.names)
        if run.disclose == "aggregate":
            with np.errstate(divide="ignore", invalid="ignore"):
                statistic = _breslow_day(table, adjust=adjust)
        else:
            with run.on_shares():
                statistic = _breslow_day(table, adjust=adjust)
        found = float(open_results(run, {"statistic": statistic})["statistic"])
        if not np.isfinite(found):
            raise EstimationError(
                f"a stratum of {strata!r} has one group only, or the event in all rows or in none, or the "
                "common odds ratio is 0 or infinite: merge rare levels"
            )
        return BreslowDayResult(
            **run.finish(),
            title=f"Breslow–Day test of equal odds of {outcome} by {by} within {strata}",
            statistic=found,
            pvalue=float(stats.chi2.sf(found, count - 1)),
            df=count - 1,
            nobs=_tables.all_rows(n),
        )


def _breslow_day(table: Numbers, *, adjust: bool) -> Numbers:
    a, b, c, d = (table[:, i, j] for i in range(2) for j in range(2))
    group, events, rest, n = a + b, a + c, d - a, a + b + c + d
    x = _tables.floats(
        _tables.stacked([a * d, b * c, group * events, rest, group + events, a, group, events, n])
    )
    R, S = (x[:2] / x[8]).sum(axis=1)  # the common odds ratio is R / S
    # The count e of the first cell with e·(rest + e)·S = (group − e)·(events − e)·R, where rest = d − a.
    linear, constant = S * x[3] + R * x[4], R * x[2]
    root = sqrt(linear * linear + (S - R) * constant * 4.0)
    # Of the two forms of the root that is taken, the one in which nothing cancels.
    positive = linear > 0
    expected = where(positive, constant * 2.0, root - linear) / where(positive, linear + root, (S - R) * 2.0)
    cells = [expected, x[6] - expected, x[7] - expected, x[3] + expected]
    precision = sum((1 / cell for cell in cells[1:]), 1 / cells[0])
    off = x[5] - expected
    statistic = (off * off * precision).sum()
    if adjust:
        total = off.sum()
        statistic = statistic - total * total / (1 / precision).sum()
    return statistic


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class BreslowDayResult(HypothesisTest):
    """A test of equal odds ratios.

    Attributes
    ----------
    df
        Degrees of freedom.
    """

    df: int

    @property
    def figures(self) -> dict[str, float]:
        """The numbers of the test by their names."""
        return {"statistic": self.statistic, "df": self.df, "pvalue": self.pvalue}
