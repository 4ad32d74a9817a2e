"""The Kaplan–Meier estimate of survival, of the rows of all sites.

The estimate is a function of the pooled numbers at risk and of events at every time, both sums over rows. In
the aggregate mode they are opened at the times of events. In the result mode they stay shared: quotients and
running products are computed on shares, over the whole grid whose extent alone is known, and the
curve is opened at the declared times where enough are at risk. Quantiles, and the limits of their intervals,
are the times at which the curve and its own limits first reach a level [1]_; of each the first is found on
shares, and is all that is opened.

References
----------
.. [1] R. Brookmeyer and J. Crowley, "A Confidence Interval for the Median Survival Time", Biometrics 38,
   1982.

E. L. Kaplan and P. Meier, "Nonparametric Estimation from Incomplete Observations", JASA 53, 1958;
J. D. Kalbfleisch and R. L. Prentice, "The Statistical Analysis of Failure Time Data", 2002, section 1.4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fedstats import _table
from fedstats._listed import listed, listed_if_given
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.survival._estimate import CURVES, Curve, at_events, at_times, log_log_interval
from fedstats.survival._prefix import (
    Numbers,
    before,
    cumulative_product,
    shared_sums_of_products,
    sums_of_products,
)
from fedstats.survival._results import DEFAULT_TIMES, Curves, at_risk_table, check_alpha, stacked
from fedstats.survival._risk import AGGREGATE, RiskTable, opened_counts
from fedstats.survival._times import GROUPS, GROUPS_ON_SHARES, PUBLISHED, ROWS, Codes, Times, agree_times
from protocols.compare import is_zero, negative
from protocols.fixed import Format
from protocols.functions import log
from protocols.scan import running_sum
from protocols.secret import SecretArray, concatenate, select, stack

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "kaplan_meier",
    aggregate={**ROWS, **GROUPS, **AGGREGATE},
    result={
        **ROWS,
        **GROUPS_ON_SHARES,
        **CURVES,
        "quantiles": "the times at which each group's survival, and the limits of its interval, reach each "
        "of the levels, if they do while at least min_cell rows are at risk",
    },
    published=PUBLISHED,
)

#: Survival that misses a level by less than this has reached it: rounding must not move a quantile.
TOLERANCE = 2.0**-30
#: On shares, intervals of quantiles begin where survival has fallen by this much.
FALLEN = 2.0**-20


def kaplan_meier(
    cohort: Cohort,
    *,
    duration: str,
    event: str,
    by: str | None = None,
    entry: str | None = None,
    times: float | Sequence[float] | None = None,
    quantiles: float | Sequence[float] = 0.5,
    alpha: float = 0.05,
    unit: float | None = None,
    grid: Sequence[float] | None = None,
    disclose: Disclose = "result",
) -> KaplanMeierResult:
    """Estimate survival by the Kaplan–Meier method over the rows of all sites.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    duration, event
        Columns: the time at which a row's observation ends, and whether that is an event (1) or censoring
        (0).
    by
        Column of groups.
    entry
        Column of times from which rows are observed (left truncation); from the start by default.
    times
        One or more times of the table of numbers at risk; in the result mode also of the curve. 20 spread
        over the grid by default.
    quantiles
        One or more levels p of quantiles: the first time at which survival is 1 − p or less.
    alpha
        Confidence intervals have level 1 − alpha.
    unit, grid
        The grid of times: multiples of a unit, 1 by default, or a list of all times that can occur.
    disclose
        ``"result"``: the curve at `times` is opened, and quantiles. ``"aggregate"``: the pooled numbers
        of events at every time are, and those at risk at the times of events.

    Returns
    -------
    KaplanMeierResult
        Survival, Greenwood's standard error, log-log interval, by group; quantiles and their intervals;
        numbers at risk.

    Raises
    ------
    DataError
        A column cannot be used, times are negative, infinite or not on the grid, rows leave before they
        enter, or events are not coded as 0 and 1.
    RemoteError
        The same at another site.
    EstimationError
        There are no rows, or no events.

    Notes
    -----
    **Leakage.** Every site learns pooled numbers of rows and events, and, to a power of two, how many sites'
    latest times are how large; of each group its number of rows unless it is small. ``"result"`` adds
    survival, Greenwood's sum and the number at risk at `times`, but where fewer than the federation's
    ``min_cell`` rows are at risk, and the times of `quantiles` and of the limits of their intervals. Each is
    some row's event time, as a median is. Close `times` let counts between them be worked out.
    ``"aggregate"`` adds numbers of events at every time, single ones included, and numbers at risk at these
    times and at `times`. Groups of fewer than ``min_cell`` rows have no estimates. A coalition of t sites
    learns nothing more with ``"result"``; with ``"aggregate"`` it learns the same counts over the other
    sites.

    Cost: 10 rounds with ``"aggregate"``, and 16 bytes for every time of the grid and group. With ``"result"``
    185 to 225 rounds, and 4 kB for every time of the grid and group, 2 kB more for each further quantile.

    Examples
    --------
    >>> fs.kaplan_meier(cohort, duration="time", event="status", by="arm").median  # doctest: +SKIP
    """
    levels = listed(quantiles)
    with cohort.federation.analysis(DECLARATION, disclose) as run:

        def check() -> None:
            check_alpha(alpha)
            if not levels or not all(0 < p < 1 for p in levels):
                raise DataError("quantiles lie between 0 and 1")

        local = agree_times(
            run,
            cohort,
            duration=duration,
            event=event,
            entry=entry,
            by=by,
            call=f"times={listed_if_given(times)!r}, quantiles={levels!r}, alpha={alpha!r}",
            unit=unit,
            grid=grid,
            check=check,
        )
        at = local.grid.chosen(times, local.size, DEFAULT_TIMES)
        enough = run.federation.shared_policy.min_cell
        kept = local.n_rows >= enough
        if disclose == "aggregate":
            counts = opened_counts(run, local, kept, at, shared=False)
            curves = at_events(counts, local, estimate)
            at_risk = counts.at_risk(at)
            frames = [_frame(curve, alpha) for curve in curves]
            found = _public_quantiles(frames, levels)
        else:
            more = partial(_shared_quantiles, levels=levels, alpha=alpha, enough=enough)
            curves, at_risk, opened = at_times(run, local, kept, at, enough, 1, estimate, more)
            frames = [_frame(curve, alpha) for curve in curves]
            found = _opened_quantiles(opened, local, kept, levels)
        return KaplanMeierResult(
            **run.finish(),
            by=by,
            disclose=disclose,
            nobs=local.nobs,
            n_missing=local.n_missing,
            n_events=local.n_events,
            min_cell=enough,
            frame=stacked(frames, local.levels, [by] if by else []),
            at_risk=at_risk_table(local, by, at, at_risk),
            quantiles=pd.concat(found, keys=local.levels, names=[by, "quantile"]) if by else found[0],
        )


# --- The estimate, of public numbers or of shares -----------------------------------------------------


def survival(table: RiskTable[Numbers]) -> Numbers:
    """Return S(t) = ∏ (1 − d/n) over the times up to t, at every time of the grid."""
    return cumulative_product(1 - table.all_hazard)


def estimate(table: RiskTable[Numbers], at: Codes) -> tuple[Numbers, Any]:
    """Return S and Greenwood's sum Σ d/(n(n − d)), see `Estimator`.

    The sum telescopes to at most 1, and 1 more where all that are at risk die.
    """
    greenwood = sums_of_products(table.all_hazard, table.per_survivor, at, bound=3)
    return survival(table)[:, np.newaxis, at], greenwood[:, np.newaxis]


def _frame(curve: Curve, alpha: float) -> pd.DataFrame:
    """Return the table of one group, with numbers that rounding has moved set right."""
    S, V = curve.value, curve.variance
    gone, whole = S < TOLERANCE, S > 1 - TOLERANCE
    S = np.where(gone, 0.0, np.where(whole, 1.0, S))
    V = np.where(gone, np.nan, np.where(whole, 0.0, V))
    lower, upper = log_log_interval(S, V, alpha)
    return curve.frame({"survival": S, "std_err": S * np.sqrt(V), "lower": lower, "upper": upper})


# --- Quantiles ----------------------------------------------------------------------------------------


def _public_quantiles(frames: list[pd.DataFrame], levels: Sequence[float]) -> list[pd.DataFrame]:
    """Return quantiles with their limits, where those of the curve pass the level."""

    def passes(frame: pd.DataFrame, column: str, level: float) -> float:
        reached = np.flatnonzero(frame[column].to_numpy(float) <= level + TOLERANCE)
        return float(frame.index[reached[0]]) if len(reached) else np.nan

    columns = ("survival", "lower", "upper")
    return [
        _quantile_frame([[passes(frame, column, 1 - p) for column in columns] for p in levels], levels)
        for frame in frames
    ]


def _shared_quantiles(
    table: RiskTable[SecretArray], levels: Sequence[float], alpha: float, enough: int
) -> dict[str, SecretArray]:
    """Return 1 more than the position where a curve falls to each level, 0 if too few are at risk then.

    The curves are survival, and the lower and the upper limits; shape ``(3, levels, groups)``.
    """
    S = survival(table)
    limits = np.array([*(1 - p + TOLERANCE for p in levels), TOLERANCE, 1 - FALLEN])
    signs = negative(
        concatenate([-S + limits[:, np.newaxis, np.newaxis], (table.n - enough).reshape(1, *S.shape)])
    )
    above, left, whole, few = signs[:-3], signs[-3], signs[-2], signs[-1]
    passed = _limits_passed(table, S, above, (left - whole).assume(1), levels, alpha)
    not_yet = is_zero(running_sum(passed))
    not_yet = concatenate([above.reshape(1, *above.shape), not_yet])
    falls = (before(not_yet, 1) - not_yet) * (1 - few)
    return {"quantiles": (falls * np.arange(1, falls.shape[-1] + 1)).sum(axis=-1)}


def _limits_passed(
    table: RiskTable[SecretArray],
    S: SecretArray,
    above: SecretArray,
    inside: SecretArray,
    levels: Sequence[float],
    alpha: float,
) -> SecretArray:
    """Return bits that say where the lower and the upper limit are not above each level.

    With L = −log S, V the variance of log S and c = −log of the level, the level lies within the limits where
    (L·log(L/c))² < z²·V.

    Parameters
    ----------
    table, S
        Of all times of the grid; survival.
    above
        Bits that say where S is above each level, shape ``(levels, groups, size)``.
    inside
        Bits that say where S has limits.
    levels, alpha
        Levels p of quantiles; the limits have level 1 − alpha.
    """
    engine, z = S.engine, float(stats.norm.isf(alpha / 2))
    log_c = np.log(-np.log1p(-np.array(levels)))[:, np.newaxis, np.newaxis]
    # Where S has limits, L is from 2^−20 to 20.8.
    most = (64 + 21 * np.abs(log_c).max()) / min(z, 1.0)
    octaves = math.ceil(math.log2(most))
    digits = (engine.room - 8 - octaves) // 2
    L = (-log(select(inside, S, 0.5))).assume(21).rescale(digits)
    own = (L * log(L).assume(21).rescale(digits)).assume(64)
    distance = ((own - L * log_c) * (1 / z)).assume(most)
    distance = distance.rescale(min(digits, (engine.room - 4) // 2 - octaves))
    whole = SecretArray(engine, distance.shares)
    square = SecretArray(engine, (whole * whole).shares, Format.of(most**2, 2 * distance.format.fraction))
    V = shared_sums_of_products(table.all_hazard, table.per_survivor, np.arange(S.shape[-1]), bound=3)
    outside = 1 - negative(square - V.rescale(square.format.fraction))
    higher = above * outside
    return (stack([1 - higher, outside - higher]) * inside).assume(1)


def _opened_quantiles(
    opened: dict[str, NDArray[Any]], times: Times, kept: NDArray[np.bool_], levels: Sequence[float]
) -> list[pd.DataFrame]:
    """Return quantiles with their limits, of their positions on the grid."""
    places = np.zeros((len(kept), len(levels), 3), np.int64)
    if opened:
        places[kept] = opened["quantiles"].T
    time = np.where(places > 0, times.grid.times(np.maximum(places - 1, 0)), np.nan)
    return [_quantile_frame(rows.tolist(), levels) for rows in time]


def _quantile_frame(rows: list[list[float]], levels: Sequence[float]) -> pd.DataFrame:
    index = pd.Index(list(levels), name="quantile", dtype=float)
    return pd.DataFrame(rows, index=index, columns=["time", "lower", "upper"], dtype=float)


# --- Result -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class KaplanMeierResult(Curves):
    """Kaplan–Meier estimates; the same at every site. See `Curves` for what is common.

    Attributes
    ----------
    frame
        By group and time: ``survival``; ``std_err`` (Greenwood); ``lower, upper`` (log-log); ``at_risk``; in
        the aggregate mode, where the times are those of events, also ``events``.
    quantiles
        By group and level: ``time``, and ``lower, upper``, its log-log interval; missing if not reached, or
        in the result mode with too few at risk.
    """

    quantiles: pd.DataFrame = field(repr=False)

    _title: ClassVar[str] = "Kaplan–Meier estimate"
    _estimate: ClassVar[str] = "survival"
    _start: ClassVar[float] = 1.0

    @property
    def median(self) -> pd.Series[float] | float:
        """Median time, by group if there are groups; missing if survival stays above one half."""
        time = self.quantiles["time"]
        if 0.5 not in time.index.get_level_values("quantile"):
            raise ValueError("the median was not asked for: give quantiles=0.5")
        return time.xs(0.5, level="quantile").rename("median") if self.by else float(time.loc[0.5])

    def _notes(self) -> list[str]:
        return ["Quantiles", *_table.frame_lines(self.quantiles, digits=5)]
