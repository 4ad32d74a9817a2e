"""The Nelson–Aalen estimate of the cumulative hazard, of the rows of all sites.

Disclosure is that of `kaplan_meier`: counts at the times of events, or the estimate at declared times.

References
----------
W. Nelson, "Theory and Applications of Hazard Plotting for Censored Failure Data", Technometrics 14, 1972;
O. Aalen, "Nonparametric Inference for a Family of Counting Processes", Annals of Statistics 6, 1978.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from scipy import stats

from fedstats._listed import listed_if_given
from fedstats.disclosure import Declaration, Disclose
from fedstats.survival._estimate import CURVES, Curve, at_events, at_times
from fedstats.survival._prefix import Numbers, cumulative_sum, sums_of_products
from fedstats.survival._results import DEFAULT_TIMES, Curves, at_risk_table, check_alpha, stacked
from fedstats.survival._risk import AGGREGATE, RiskTable, opened_counts
from fedstats.survival._times import GROUPS, GROUPS_ON_SHARES, PUBLISHED, ROWS, Codes, agree_times

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "nelson_aalen",
    aggregate={**ROWS, **GROUPS, **AGGREGATE},
    result={**ROWS, **GROUPS_ON_SHARES, **CURVES},
    published=PUBLISHED,
)

#: A hazard below this is 0 but for the last place of shares.
_NOTHING = 2.0**-30


def nelson_aalen(
    cohort: Cohort,
    *,
    duration: str,
    event: str,
    by: str | None = None,
    entry: str | None = None,
    times: float | Sequence[float] | None = None,
    alpha: float = 0.05,
    unit: float | None = None,
    grid: Sequence[float] | None = None,
    disclose: Disclose = "result",
) -> NelsonAalenResult:
    """Estimate the cumulative hazard over the rows of all sites: Σ d/n, with tied events as one jump.

    Parameters
    ----------
    cohort, duration, event, by, entry, times, alpha, unit, grid
        As for `kaplan_meier`.
    disclose
        ``"result"``: the curve at `times` is opened. ``"aggregate"``: the pooled numbers of events at every
        time are, and those at risk at the times of events.

    Returns
    -------
    NelsonAalenResult
        Cumulative hazard, standard error √Σ d/n² (Poisson's), log interval, by group; numbers at risk.

    Raises
    ------
    DataError, RemoteError, EstimationError
        As for `kaplan_meier`.

    Notes
    -----
    **Leakage.** As for `kaplan_meier`, without quantiles; variances are those of the hazard.

    Cost: 10 rounds with ``"aggregate"``, 85 to 100 with ``"result"``; bytes as for `kaplan_meier`.

    Examples
    --------
    >>> fs.nelson_aalen(cohort, duration="time", event="status").plot()  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        local = agree_times(
            run,
            cohort,
            duration=duration,
            event=event,
            entry=entry,
            by=by,
            call=f"times={listed_if_given(times)!r}, alpha={alpha!r}",
            unit=unit,
            grid=grid,
            check=lambda: check_alpha(alpha),
        )
        at = local.grid.chosen(times, local.size, DEFAULT_TIMES)
        enough = run.federation.shared_policy.min_cell
        kept = local.n_rows >= enough
        if disclose == "aggregate":
            counts = opened_counts(run, local, kept, at, shared=False)
            curves, at_risk = at_events(counts, local, estimate), counts.at_risk(at)
        else:
            curves, at_risk, _ = at_times(run, local, kept, at, enough, 1, estimate)
        return NelsonAalenResult(
            **run.finish(),
            by=by,
            disclose=disclose,
            nobs=local.nobs,
            n_missing=local.n_missing,
            n_events=local.n_events,
            min_cell=enough,
            frame=stacked([_frame(curve, alpha) for curve in curves], local.levels, [by] if by else []),
            at_risk=at_risk_table(local, by, at, at_risk),
        )


def estimate(table: RiskTable[Numbers], at: Codes) -> tuple[Numbers, Any]:
    """Return Σ d/n and Σ d/n² up to positions, see `Estimator`."""
    hazard = table.all_hazard
    variance = sums_of_products(hazard, table.per_row, at, bound=3)
    return cumulative_sum(hazard)[:, np.newaxis, at], variance[:, np.newaxis]


def _frame(curve: Curve, alpha: float) -> pd.DataFrame:
    none = curve.value < _NOTHING
    H, V = (np.where(none, 0.0, numbers) for numbers in (curve.value, curve.variance))
    error = np.sqrt(V)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.exp(stats.norm.isf(alpha / 2) * error / H)
    limits = {"lower": H / factor, "upper": H * factor}
    return curve.frame({"cumulative_hazard": H, "std_err": error, **limits})


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class NelsonAalenResult(Curves):
    """Nelson–Aalen estimates; the same at every site. See `Curves` for what is common.

    Attributes
    ----------
    frame
        By group and time: ``cumulative_hazard, std_err``; ``lower, upper`` (log); ``at_risk``; in the
        aggregate mode, where the times are those of events, also ``events``.
    """

    _title: ClassVar[str] = "Nelson–Aalen estimate"
    _estimate: ClassVar[str] = "cumulative_hazard"
    _start: ClassVar[float] = 0.0
