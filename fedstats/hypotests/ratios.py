"""The odds ratio and the relative risk of an event in two groups, over the rows of all sites.

References
----------
.. [1] B. Woolf, "On Estimating the Relation Between Blood Group and Disease", Annals of Human Genetics 19,
   1955.
.. [2] D. Katz, J. Baptista, S. P. Azen and M. C. Pike, "Obtaining Confidence Intervals for the Risk Ratio in
   Cohort Studies", Biometrics 34, 1978.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from fedstats.disclosure import Declaration, Disclose
from fedstats.hypotests import _tables
from fedstats.hypotests._moments import Numbers, open_results
from fedstats.hypotests._ratio import RatioResult, require_ratio
from fedstats.hypotests._result import Alternative, tail
from protocols.floating import sqrt

if TYPE_CHECKING:
    from fedstats.cohort import Cohort


def _declaration(name: str) -> Declaration:
    return Declaration(
        name.replace(" ", "_"),
        aggregate=_tables.AGGREGATE,
        result={
            **_tables.RESULT,
            "ratio": f"the {name}",
            "standard error": "standard error of its logarithm",
        },
        published=_tables.PUBLISHED,
    )


ODDS = _declaration("odds ratio")
RISK = _declaration("relative risk")


def odds_ratio(
    cohort: Cohort,
    outcome: str,
    *,
    event: object,
    by: str,
    groups: Sequence[str] | None = None,
    alternative: Alternative = "two-sided",
    disclose: Disclose = "result",
) -> RatioResult:
    """Return the odds of an event in one group divided by those in another.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    outcome, event
        Column of categories, and the level of it that is counted against all others.
    by, groups
        Column of the groups, and two levels of it, the odds of the first being divided by those of the
        second. By default its only two. Rows where either column is missing are left out.
    alternative
        ``"greater"``: the ratio is above 1.
    disclose
        ``"result"``: what the result holds is opened. ``"aggregate"``: the four counts.

    Returns
    -------
    RatioResult
        ``ratio`` is that of the sample, with Woolf's confidence interval, as
        ``scipy.stats.contingency.odds_ratio(…, kind="sample")`` has them. ``statistic`` is its logarithm
        divided by the standard error (Wald's test).

    Raises
    ------
    DataError
        A column or level does not exist or cannot be used, or there are not two groups.
    RemoteError
        The same at another site.
    PolicyError
        A group, the event or its absence has fewer than `min_cell` rows.
    EstimationError
        The ratio is 0 or infinite.

    Notes
    -----
    **Leakage.** Every site learns the number of rows, the ratio and its standard error to 30 significant
    bits, which leave few possibilities for the four counts; of each other site which levels it has. A
    coalition of t sites learns no more. With ``disclose="aggregate"`` all learn the table, and a coalition
    that of the other sites.

    **Cost.** For three sites about 120 rounds and 60 kB; 4 rounds in the aggregate mode.
    """
    return _ratio(cohort, outcome, event, by, groups, alternative, disclose, "odds ratio", ODDS, _odds)


def relative_risk(
    cohort: Cohort,
    outcome: str,
    *,
    event: object,
    by: str,
    groups: Sequence[str] | None = None,
    alternative: Alternative = "two-sided",
    disclose: Disclose = "result",
) -> RatioResult:
    """Return the frequency of an event in one group divided by that in another.

    Parameters
    ----------
    cohort, outcome, event, by, groups, alternative, disclose
        As for `odds_ratio`.

    Returns
    -------
    RatioResult
        ``ratio`` is the relative risk, with the confidence interval of Katz, as
        ``scipy.stats.contingency.relative_risk`` has them. ``statistic`` is Wald's, as for `odds_ratio`.

    Raises
    ------
    DataError, RemoteError, PolicyError, EstimationError
        As `odds_ratio`.

    Notes
    -----
    **Leakage** and **Cost** are those of `odds_ratio`.
    """
    return _ratio(cohort, outcome, event, by, groups, alternative, disclose, "relative risk", RISK, _risks)


def _ratio(
    cohort: Cohort,
    outcome: str,
    event: object,
    by: str,
    groups: Sequence[str] | None,
    alternative: Alternative,
    disclose: Disclose,
    name: str,
    declaration: Declaration,
    formula: Callable[[Numbers], dict[str, Numbers]],
) -> RatioResult:
    with cohort.federation.analysis(declaration, disclose) as run:
        part = _tables.agree_two_by_two(
            run,
            cohort,
            outcome,
            event=event,
            by=by,
            groups=groups,
            options={"alternative": (alternative, Alternative)},
        )
        table, n = _tables.pool(run, part.counts, part.names)
        if run.disclose == "aggregate":
            with np.errstate(divide="ignore", invalid="ignore"):
                results = formula(table)
        else:
            with run.on_shares():
                results = formula(table)
        opened = open_results(run, results)
        ratio, error = require_ratio(opened["ratio"], opened["standard error"])
        z = float(np.log(ratio)) / error
        return RatioResult(
            **run.finish(),
            title=f"{name.capitalize()} of {part.names[2]}, {by} {part.labels[0]} : {part.labels[1]}",
            statistic=z,
            pvalue=tail(z, stats.norm, alternative=alternative),
            alternative=alternative,
            nobs=_tables.all_rows(n),
            name=name,
            ratio=ratio,
            log_error=error,
        )


def _odds(table: Numbers) -> dict[str, Numbers]:
    cells = _tables.floats(table)
    products = _tables.floats(table[0] * table[1, ::-1])
    return {"ratio": products[0] / products[1], "standard error": sqrt((1 / cells).sum())}


def _risks(table: Numbers) -> dict[str, Numbers]:
    events, groups = table[:, 0], table.sum(axis=1)
    products = _tables.floats(events * groups[::-1])
    # 1/a − 1/n = (n − a) / (a·n) of each group.
    squared = (_tables.floats(table[:, 1]) / _tables.floats(events * groups)).sum()
    return {"ratio": products[0] / products[1], "standard error": sqrt(squared)}
