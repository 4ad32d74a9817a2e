"""The restricted mean survival time: the area under the Kaplan–Meier curve up to a horizon.

In the result mode the curve stays shared, its area with it: only the means and their variances are opened.

References
----------
P. Royston and M. K. B. Parmar, "Restricted Mean Survival Time", BMC Medical Research Methodology 13, 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from fedstats import _table
from fedstats._listed import listed
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.results import Result
from fedstats.survival._estimate import visible_floats
from fedstats.survival._prefix import (
    ONE,
    Numbers,
    cumulative_product,
    remaining_sum,
    sums_of_products,
)
from fedstats.survival._results import check_alpha
from fedstats.survival._risk import AGGREGATE, RiskTable, opened_counts, shared_table
from fedstats.survival._times import GROUPS, GROUPS_ON_SHARES, PUBLISHED, ROWS, Times, agree_times
from protocols.secret import SecretArray

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "rmst",
    aggregate={**ROWS, **GROUPS, **AGGREGATE},
    result={
        **ROWS,
        **GROUPS_ON_SHARES,
        "restricted means": "the restricted mean of each group and its variance, where at least min_cell "
        "rows are at risk at the horizon",
    },
    published=PUBLISHED,
)


def rmst(
    cohort: Cohort,
    *,
    duration: str,
    event: str,
    tau: float,
    by: str | None = None,
    entry: str | None = None,
    alpha: float = 0.05,
    unit: float | None = None,
    grid: Sequence[float] | None = None,
    disclose: Disclose = "result",
) -> RMSTResult:
    """Estimate restricted mean survival times over the rows of all sites, and compare them.

    Parameters
    ----------
    cohort, duration, event, by, entry, alpha, unit, grid
        As for `kaplan_meier`.
    tau
        The horizon: the area under the survival curve is taken from 0 to it.
    disclose
        ``"result"``: means and variances are opened. ``"aggregate"``: the pooled numbers of events at every
        time are, and those at risk at the times of events.

    Returns
    -------
    RMSTResult
        Mean, standard error, normal interval by group; differences from the first group with p-values.

    Raises
    ------
    DataError, RemoteError, EstimationError
        As for `kaplan_meier`; or the horizon lies outside the grid.

    Notes
    -----
    **Leakage.** Pooled numbers of rows and events as for `kaplan_meier`, and with ``"result"`` each group's
    mean and variance, but where fewer than ``min_cell`` rows are at risk at the horizon; with ``"aggregate"``
    as for `kaplan_meier`.

    Cost: 10 rounds with ``"aggregate"``, 95 to 115 with ``"result"``; bytes as for `kaplan_meier`.

    Examples
    --------
    >>> fs.rmst(cohort, duration="time", event="status", tau=365, by="arm").to_frame()  # doctest: +SKIP
    """
    horizons = listed(tau)
    with cohort.federation.analysis(DECLARATION, disclose) as run:

        def check() -> None:
            check_alpha(alpha)
            if not (len(horizons) == 1 and 0 < horizons[0] < np.inf):
                raise DataError("tau is a positive time: the horizon of the mean")

        local = agree_times(
            run,
            cohort,
            duration=duration,
            event=event,
            entry=entry,
            by=by,
            call=f"tau={horizons!r}, alpha={alpha!r}",
            unit=unit,
            grid=grid,
            check=check,
        )
        [tau] = horizons
        first, last = local.grid.times(np.array([0, local.size - 1])).tolist()
        if not first < tau <= last * (1 + 1e-12):
            raise DataError(
                f"tau={tau:g} is outside the grid of times, which goes from {first:g} to {last:g}"
            )
        enough = run.federation.shared_policy.min_cell
        kept = local.n_rows >= enough
        start, widths = _widths(local, tau)
        at = local.grid.chosen([tau], local.size, 1)
        values = np.full((2, len(kept)), np.nan)
        if disclose == "aggregate":
            counts = opened_counts(run, local, kept, at, shared=False)
            told = counts.n[:, at[0]] >= enough
            values[:, told] = np.stack(areas(counts.table(), widths))[:, told]
        elif kept.any():
            with run.on_shares():
                table = shared_table(run, local, kept)
                few = table.n[:, at[0]] < enough
                opened = run.reveal({"restricted means": visible_floats(few, *areas(table, widths))})
            mean, variance = opened["restricted means"]
            values[:, kept] = np.where(mean == 0, np.nan, [mean, variance])
        return RMSTResult(
            **run.finish(),
            by=by,
            tau=tau,
            alpha=alpha,
            nobs=local.nobs,
            n_missing=local.n_missing,
            n_events=local.n_events,
            min_cell=enough,
            mean=pd.Series(start + tau * values[0], index=_names(local, by), name="rmst"),
            # On shares, a variance of 0 may be rounded below it.
            std_err=pd.Series(tau * np.sqrt(values[1].clip(0)), index=_names(local, by), name="std_err"),
        )


def areas(table: RiskTable[Numbers], widths: Array) -> tuple[Numbers, Any]:
    """Return Σ S·w and Σ A²·d/(n(n − d)) of each group, where A is the area from a time on.

    Parameters
    ----------
    table
        Numbers at risk and events.
    widths
        How long each time of the grid lasts, as parts of the horizon; 0 beyond it.
    """
    hazard = table.all_hazard
    area = _part(remaining_sum(cumulative_product(1 - hazard) * widths))
    weighted = _part(area * area) * hazard
    end = np.flatnonzero(widths)[-1:]  # beyond the horizon there are rounding errors alone
    return area[..., 0], sums_of_products(weighted, table.per_survivor, end, bound=3)[..., 0]


def _part(x: Numbers) -> Numbers:
    """Return numbers of which it is known that they are 1 at most."""
    return x.assume(ONE) if isinstance(x, SecretArray) else x


def _widths(times: Times, tau: float) -> tuple[float, Array]:
    """Return the time before the grid begins, and how long each of its times lasts as part of the horizon."""
    edges = np.minimum(np.append(times.grid.times(np.arange(times.size)), np.inf), tau)
    return float(edges[0]), np.diff(edges) / tau


def _names(times: Times, by: str | None) -> pd.Index[str]:
    return pd.Index(times.levels if by else ["all rows"], name=by)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RMSTResult(Result):
    """Restricted mean survival times; the same at every site.

    Attributes
    ----------
    by, tau, alpha
        The grouping column or None, the horizon, and the error level of the intervals.
    nobs, n_missing, n_events
        Rows of all sites that were used, that were left out for a missing value, and events.
    min_cell
        Groups with fewer rows at risk at the horizon have no mean.
    mean, std_err
        By group.
    """

    by: str | None
    tau: float
    alpha: float
    nobs: int
    n_missing: int
    n_events: int
    min_cell: int
    mean: pd.Series[float] = field(repr=False)
    std_err: pd.Series[float] = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return ``rmst, std_err, lower, upper`` by group."""
        width = stats.norm.isf(self.alpha / 2) * self.std_err
        limits = pd.DataFrame({"lower": self.mean - width, "upper": self.mean + width})
        return pd.concat([self.mean, self.std_err, limits], axis=1)

    def differences(self) -> pd.DataFrame:
        """Return each group's difference from the first: ``difference, std_err, lower, upper, pvalue``."""
        difference = (self.mean - self.mean.iloc[0]).iloc[1:].rename("difference")
        error = ((self.std_err**2 + self.std_err.iloc[0] ** 2) ** 0.5).iloc[1:]
        width = stats.norm.isf(self.alpha / 2) * error
        return pd.DataFrame(
            {
                "difference": difference,
                "std_err": error,
                "lower": difference - width,
                "upper": difference + width,
                "pvalue": 2 * stats.norm.sf(np.abs(difference / error)),
            }
        )

    def summary(self) -> str:
        """Return means and differences as text."""
        pairs: list[tuple[str, object]] = [
            ("Rows", self.nobs),
            ("Rows left out (missing)", self.n_missing),
            ("Events", self.n_events),
            ("Sites", len(self.sites)),
        ]
        by = f", by {self.by}" if self.by else ""
        lines = [f"Restricted mean survival time up to {self.tau:g}{by}", "", *_table.pair_lines(pairs)]
        lines += ["", *_table.frame_lines(self.to_frame(), digits=5)]
        if len(self.mean) > 1:
            first = f"Difference from {self.mean.index[0]}"
            lines += ["", first, *_table.frame_lines(self.differences(), digits=5)]
        return "\n".join([*lines, "", f"Cost: {self.cost}"])
