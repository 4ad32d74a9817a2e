"""The Cochran–Mantel–Haenszel test: an event in two groups, stratum by stratum, over the rows of all sites.

Sums over strata of products of counts divided by the stratum's size: in the result mode each division is made
on shares, and only the test and the common odds ratio are opened.

References
----------
.. [1] N. Mantel and W. Haenszel, "Statistical Aspects of the Analysis of Data From Retrospective Studies of
   Disease", Journal of the National Cancer Institute 22, 1959.
.. [2] J. Robins, N. Breslow and S. Greenland, "Estimators of the Mantel–Haenszel Variance Consistent in Both
   Sparse Data and Large-Strata Limiting Models", Biometrics 42, 1986.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import EstimationError
from fedstats.hypotests import _tables
from fedstats.hypotests._moments import Numbers, open_results
from fedstats.hypotests._ratio import RatioResult, require_ratio
from protocols.floating import sqrt

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "cochran_mantel_haenszel",
    aggregate=_tables.AGGREGATE,
    result={
        **_tables.RESULT,
        "statistic": "χ² of the test that the odds ratio is 1 in all strata",
        "odds ratio": "the common odds ratio",
        "standard error": "standard error of its logarithm",
    },
    published=_tables.PUBLISHED,
)


def cochran_mantel_haenszel(
    cohort: Cohort,
    outcome: str,
    *,
    event: object,
    by: str,
    strata: str,
    groups: Sequence[str] | None = None,
    correction: bool = False,
    disclose: Disclose = "result",
) -> RatioResult:
    """Test whether an event is as frequent in two groups, within the strata of a third column.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    outcome, event
        Column of categories, and the level of it that is counted against all others.
    by, groups
        Column of the groups, and two levels of it, the odds of the first being divided by those of the
        second. By default its only two.
    strata
        Column of strata. Rows where any of the three columns is missing are left out.
    correction
        Whether to correct for continuity.
    disclose
        ``"result"``: what the result holds is opened. ``"aggregate"``: the tables of all strata.

    Returns
    -------
    RatioResult
        ``statistic`` is χ² with one degree of freedom, ``ratio`` the common odds ratio of Mantel and Haenszel
        with the standard error of Robins, Breslow and Greenland; as `StratifiedTable` of statsmodels has
        them.

    Raises
    ------
    DataError
        A column or level does not exist or cannot be used, or there are not two groups.
    RemoteError
        The same at another site.
    PolicyError
        A stratum, a group, the event or its absence has fewer than `min_cell` rows.
    EstimationError
        The odds ratio is 0 or infinite; or a stratum has a single row.

    Notes
    -----
    **Leakage.** Every site learns the number of rows, χ², the common odds ratio and its standard error, to 30
    significant bits; of each other site which levels it has. A coalition of t sites learns no more. With
    ``disclose="aggregate"`` all learn the tables, and a coalition those of the other sites.

    **Cost.** For three sites about 280 rounds and 100 kB a stratum; 4 rounds in the aggregate mode.
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
            options={"correction": (correction, bool)},
        )
        table, n = _tables.pool(run, part.counts, part.names)
        if run.disclose == "aggregate":
            with np.errstate(divide="ignore", invalid="ignore"):
                results = _mantel_haenszel(table, correction)
        else:
            with run.on_shares():
                results = _mantel_haenszel(table, correction)
        opened = open_results(run, results)
        ratio, error = require_ratio(opened["odds ratio"], opened["standard error"])
        statistic = float(opened["statistic"])
        if not np.isfinite(statistic):
            raise EstimationError(f"a stratum of {strata!r} has a single row: merge rare levels")
        return RatioResult(
            **run.finish(),
            title=f"Cochran–Mantel–Haenszel test of {outcome} by {by} within {strata}",
            statistic=statistic,
            pvalue=float(stats.chi2.sf(statistic, 1)),
            nobs=_tables.all_rows(n),
            name="odds ratio",
            ratio=ratio,
            log_error=error,
        )


def _mantel_haenszel(table: Numbers, correction: bool) -> dict[str, Numbers]:
    a, b, c, d = (table[:, i, j] for i in range(2) for j in range(2))
    n, cross, back = a + b + c + d, a * d, b * c
    # Differences of products are taken of whole numbers, and do not cancel. All become floats together, and
    # are divided together: rounds count.
    whole = [cross - back, cross, back, a + d, b + c, (a + b) * (c + d), (a + c) * (b + d), n, n - 1]
    x = _tables.floats(_tables.stacked(whole))
    parts, size = x[:5] / x[7], x[7]
    excess, r, s, *_ = parts.sum(axis=1)
    variance = (x[5] * x[6] / (size * size * x[8])).sum()
    off = abs(excess) - 0.5 if correction else excess
    # Σ pr, Σ qr, Σ ps and Σ qs, of r = ad/n, s = bc/n, p = (a + d)/n and q = (b + c)/n.
    pr, qr, ps, qs = (parts[[3, 4, 3, 4]] * parts[[1, 1, 2, 2]]).sum(axis=1)
    squared = (pr * s * s + (ps + qr) * r * s + qs * r * r) / (2 * r * r * s * s)
    return {
        "statistic": off * off / variance,
        "odds ratio": r / s,
        "standard error": sqrt(squared),
    }
