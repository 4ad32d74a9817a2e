"""Cumulative incidences of competing events by Aalen and Johansen, of the rows of all sites.

Each kind of event adds S(t−)·d_k/n to its incidence, where S is the survival of all kinds together.
Disclosure is that of `kaplan_meier`: counts at the times of events, or the estimates at declared times.

References
----------
O. O. Aalen and S. Johansen, "An Empirical Transition Matrix for Non-Homogeneous Markov Chains Based on
Censored Observations", Scandinavian Journal of Statistics 5, 1978; E. Marubini and M. G. Valsecchi,
"Analysing Survival Data from Clinical Trials and Observational Studies", 1995, section 10.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from fedstats import levels as level_sets
from fedstats._listed import listed_if_given
from fedstats.disclosure import Declaration, Disclose
from fedstats.survival._estimate import CURVES, Curve, at_events, at_times, log_log_interval
from fedstats.survival._prefix import (
    ONE,
    Numbers,
    before,
    cumulative_product,
    cumulative_sum,
    exact,
    sums_of_products,
)
from fedstats.survival._results import DEFAULT_TIMES, Curves, at_risk_table, check_alpha, stacked
from fedstats.survival._risk import AGGREGATE, RiskTable, opened_counts
from fedstats.survival._times import GROUPS, GROUPS_ON_SHARES, PUBLISHED, ROWS, Codes, agree_times
from protocols.secret import SecretArray

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "aalen_johansen",
    aggregate={**ROWS, **GROUPS, **AGGREGATE},
    result={**ROWS, **GROUPS_ON_SHARES, **CURVES},
    published={**PUBLISHED, "times": PUBLISHED["times"] + ", and which kinds of events"},
)

#: An incidence below this is 0 but for the last place of shares.
_NOTHING = 2.0**-28


def aalen_johansen(
    cohort: Cohort,
    *,
    duration: str,
    event: str,
    censored: object = 0,
    by: str | None = None,
    entry: str | None = None,
    times: float | Sequence[float] | None = None,
    alpha: float = 0.05,
    unit: float | None = None,
    grid: Sequence[float] | None = None,
    disclose: Disclose = "result",
) -> AalenJohansenResult:
    """Estimate cumulative incidences of competing events over the rows of all sites.

    Parameters
    ----------
    cohort, duration, by, entry, times, alpha, unit, grid
        As for `kaplan_meier`.
    event
        Column of the kind of event that ended a row's observation: texts, or whole numbers.
    censored
        The value of `event` that means censored.
    disclose
        ``"result"``: the curves at `times` are opened. ``"aggregate"``: the pooled numbers of events of each
        kind at every time are, and those at risk at the times of events.

    Returns
    -------
    AalenJohansenResult
        Incidence, standard error (of the delta method; the infinitesimal jackknife's is the same), log-log
        interval, by group and kind of event; numbers at risk.

    Raises
    ------
    DataError, RemoteError, EstimationError
        As for `kaplan_meier`; or no row is censored as said.

    Notes
    -----
    **Leakage.** As for `kaplan_meier`, without quantiles, for each kind of event. Of each site it is told
    which kinds of events it has.

    Cost: 10 rounds with ``"aggregate"``, 110 to 130 with ``"result"``; bytes as for `kaplan_meier`, for every
    kind of event.

    Examples
    --------
    >>> fs.aalen_johansen(cohort, duration="time", event="cause", censored="none")  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        local = agree_times(
            run,
            cohort,
            duration=duration,
            event=event,
            entry=entry,
            by=by,
            call=f"times={listed_if_given(times)!r}, alpha={alpha!r}, censored={censored!r}",
            unit=unit,
            grid=grid,
            censored=level_sets.canonical(censored),
            check=lambda: check_alpha(alpha),
        )
        at = local.grid.chosen(times, local.size, DEFAULT_TIMES)
        enough = run.federation.shared_policy.min_cell
        kept = local.n_rows >= enough
        if disclose == "aggregate":
            counts = opened_counts(run, local, kept, at, shared=False)
            curves, at_risk = at_events(counts, local, estimate), counts.at_risk(at)
        else:
            curves, at_risk, _ = at_times(run, local, kept, at, enough, len(local.causes), estimate)
        keys = [
            (local.levels[curve.group], local.causes[curve.number]) if by else local.causes[curve.number]
            for curve in curves
        ]
        return AalenJohansenResult(
            **run.finish(),
            by=by,
            disclose=disclose,
            nobs=local.nobs,
            n_missing=local.n_missing,
            n_events=local.n_events,
            min_cell=enough,
            frame=stacked([_frame(curve, alpha) for curve in curves], keys, [by, event] if by else [event]),
            at_risk=at_risk_table(local, by, at, at_risk),
        )


def estimate(table: RiskTable[Numbers], at: Codes) -> tuple[Numbers, Any]:
    """Return F_k = Σ S(t−)·h_k and its variance, h_k = d_k/n, h = Σ h_k; see `Estimator`.

    By the delta method from the multinomial (co)variances of the h_k at each time, with m_k = S(t−)·h_k:

        Var F_k(t) = Σ m_k·(S(t−) − m_k)/n − 2·Σ (F_k(t) − F_k)·m_k/n + Σ (F_k(t) − F_k)²·h/(n − d)

    over the times up to t; powers of F_k(t) are taken out of the sums.
    """
    hazard = table.all_hazard
    S = before(cumulative_product(1 - hazard), 1)[:, np.newaxis]
    m = _probability(S * table.hazard)
    F = _probability(cumulative_sum(m))
    single = m * (S - m + 2 * F)
    once = hazard[:, np.newaxis] * F
    twice = once * F
    per_row, per_survivor = table.per_row[:, np.newaxis], table.per_survivor[:, np.newaxis]
    a = sums_of_products(single, per_row, at, bound=4)
    b = sums_of_products(m, per_row, at, bound=3)
    c = sums_of_products(twice, per_survivor, at, bound=3)
    d = sums_of_products(once, per_survivor, at, bound=3)
    e = sums_of_products(hazard, table.per_survivor, at, bound=3)[:, np.newaxis]
    end = exact(F[..., at])
    return F[..., at], a + c + end * (end * e - 2 * (b + d))


def _probability(x: Numbers) -> Numbers:
    """Return numbers of which it is known that they are 1 at most."""
    return x.assume(ONE) if isinstance(x, SecretArray) else x


def _frame(curve: Curve, alpha: float) -> pd.DataFrame:
    none = curve.value < _NOTHING
    F, V = np.where(none, 0.0, curve.value), np.where(none, 0.0, np.maximum(curve.variance, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        lower, upper = log_log_interval(F, V / F**2, alpha)
    limits = {"lower": lower, "upper": upper}
    return curve.frame({"cumulative_incidence": F, "std_err": np.sqrt(V), **limits})


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class AalenJohansenResult(Curves):
    """Cumulative incidences; the same at every site. See `Curves` for what is common.

    Attributes
    ----------
    frame
        By group, kind of event and time: ``cumulative_incidence, std_err``; ``lower, upper`` (log-log);
        ``at_risk``; in the aggregate mode, where the times are those of events, also ``events``.
    """

    _title: ClassVar[str] = "Cumulative incidence (Aalen–Johansen)"
    _estimate: ClassVar[str] = "cumulative_incidence"
    _start: ClassVar[float] = 0.0
