"""Kaplan–Meier curves with differential privacy, from noisy counts on a grid of times.

A row is in one cell: the interval of the grid in which it ends, by an event or without one. Numbers at risk
are sums of cells, so that everything follows from one noisy table in which a row changes one count by 1. The
curve is Kaplan's and Meier's of times that are rounded up to the grid, with events before censorings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fedstats import _plot, _table
from fedstats.disclosure import Declaration
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.privacy import _call
from fedstats.privacy._call import Integers
from fedstats.privacy._result import PrivateResult, quantile_of
from fedstats.privacy.accounting import Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "privacy.kaplan_meier",
    noised={"counts": "numbers of events and of censored rows in each interval of the grid, in each group"},
    published=_call.PUBLISHED,
)

#: A row adds 1 to one count.
SQUARED_SENSITIVITY = 1
#: Most times of a grid.
MAX_TIMES = 10_000


def kaplan_meier(
    cohort: Cohort,
    duration: str,
    event: str,
    grid: Sequence[float],
    *,
    by: str | None = None,
    rho: Number | None = None,
    epsilon: Number | None = None,
    delta: Number | None = None,
    level: float = 0.95,
) -> PrivateCurve:
    """Estimate survival curves over the rows of all sites, with differential privacy.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    duration, event
        Columns: the time of the event or of censoring, and whether it was an event: 0 or 1. Rows where either
        is missing, the time negative or the event anything else are left out.
    grid
        Times, ascending, from above 0 on, known beforehand: few of them make little noise. Rows that end
        later count as at risk throughout.
    by
        Column of groups, whose levels were declared. Groups cost nothing: a row is in one.
    rho, epsilon, delta
        What it may cost: ρ, or ε with δ. See `fedstats.privacy`.
    level
        Of the confidence intervals, which account for sampling and noise.

    Raises
    ------
    DataError
        A column is not numeric, the grid is none, or `by` has no declared levels.
    PolicyError
        A site's rule or budget forbids it.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** The counts with noise: ρ-zCDP for adding or removing a row, also for a coalition of t sites
    that knows its own rows and noise.

    **Cost.** Four rounds; two numbers for each time, and one, in each group.

    Examples
    --------
    >>> fs.privacy.kaplan_meier(cohort, "years", "dead", [1, 2, 3, 4], by="arm", rho=0.05)  # doctest: +SKIP
    """
    asked = _call.Loss(rho, epsilon, delta)

    def local() -> tuple[Array, tuple[str, ...], Integers]:
        _call.check_level(level)
        times = _grid(grid)
        groups, group = _call.grouped(cohort, by)
        durations, events = _call.numbers(cohort, duration), _call.numbers(cohort, event)
        of_groups = [tally(durations[group == g], events[group == g], times) for g in range(len(groups))]
        return times, groups, np.array(of_groups)

    with cohort.federation.analysis(DECLARATION, "noised") as run:
        call = f"{duration=}, {event=}, grid={_call.written(grid)}, {by=}, {level=}"
        (times, groups, counts), its = _call.agree_call(run, cohort, call, asked, local)
        noisy = run.release("counts", counts, squared_sensitivity=SQUARED_SENSITIVITY, rho=its)
        frames = [estimate(mine, noisy.variance, times, level) for mine in noisy.sums]
        frame = frames[0] if by is None else pd.concat(frames, keys=groups, names=[by, "time"])
        return PrivateCurve(
            **run.finish(),
            rho=its,
            level=level,
            by=by,
            duration=duration,
            frame=frame,
            noise=float(np.sqrt(noisy.variance)),
        )


def _grid(grid: object) -> Array:
    try:
        times = np.asarray(grid, np.float64)
    except (TypeError, ValueError):
        times = np.empty(0)
    ascending = times.ndim == 1 and 0 < len(times) <= MAX_TIMES and bool((np.diff(times) > 0).all())
    if not (ascending and times[0] > 0 and np.isfinite(times[-1])):
        raise DataError(f"grid is a list of 1 to {MAX_TIMES:,} finite times above 0, in ascending order")
    return times


def tally(durations: Array, events: Array, times: Array) -> Integers:
    """Count rows by interval and end: events, censored ones, and last those that go on beyond the grid."""
    used = (durations >= 0) & ((events == 0) | (events == 1))
    place = np.searchsorted(times, durations[used], side="left")
    happened = events[used] == 1
    cells = np.where(place == len(times), 2 * len(times), place + np.where(happened, 0, len(times)))
    return np.bincount(cells, minlength=2 * len(times) + 1).astype(np.int64)


def estimate(counts: Array, variance: float, times: Array, level: float) -> pd.DataFrame:
    """Return the curve with its interval, from noisy counts in the order of `tally`.

    log S(t) is the sum of log(n − d) − log n over the times up to t. Its variance is Greenwood's of sampling,
    and that of the noise: every cell adds the square of log S's derivative by it. A cell that ends at the
    j-th time is at risk at all before, so that its derivative is Σ 1/(n − d) − 1/n over these; a censored one
    counts at the j-th time too, and an event takes 1/n away there. From where noise drowns the number at risk
    on, nothing is known.
    """
    size = len(times)
    events, censored, beyond = counts[:size], counts[size : 2 * size], counts[2 * size]
    leaving = events + censored
    at_risk = beyond + np.cumsum(leaving[::-1])[::-1]
    # The number at risk at the j-th time is the sum of 2(size − j) + 1 cells.
    drowned = at_risk <= 3 * np.sqrt(variance * (2 * np.arange(size, 0, -1) + 1))
    known = np.logical_and.accumulate(~drowned)
    n = np.where(known, at_risk, np.nan)
    d = np.clip(events, 0.0, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        survival = np.cumprod(1 - d / n)
        slope = 1 / (n - d) - 1 / n
        upto = np.cumsum(slope)
        before = upto - slope
        greenwood = np.cumsum(d / (n * (n - d)))
        # Of cells that end at the time itself or before; those that end later have the derivative `upto`
        # each.
        own = np.cumsum(upto**2 + (before - 1 / n) ** 2)
        later = 2 * (size - np.arange(1, size + 1)) + 1
        error = np.sqrt(greenwood + variance * (own + later * upto**2))
        reach = quantile_of(level) * error
        low, high = survival * np.exp(-reach), np.minimum(survival * np.exp(reach), 1.0)
    gone = known & ~(survival > 0)
    low, high = np.where(gone, 0.0, low), np.where(gone, 1.0, high)
    columns = {"survival": survival, "low": low, "high": high, "at_risk": at_risk, "events": events}
    return pd.DataFrame(columns, index=pd.Index(times, name="time"))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PrivateCurve(PrivateResult):
    """Survival curves from noisy counts; the same at every site.

    Attributes
    ----------
    by
        The grouping column, or None.
    duration
        The column of times.
    frame
        ``survival``, ``low``, ``high``, ``at_risk`` and ``events`` by time, or group and time; NaN from where
        noise drowns the number at risk on.
    noise
        Standard deviation of the noise in each count.
    """

    by: str | None
    duration: str
    frame: pd.DataFrame = field(repr=False)
    noise: float

    def to_frame(self) -> pd.DataFrame:
        """Return the table."""
        return self.frame.copy()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the curves with their intervals."""
        target = _plot.axes(ax)
        curves = [("", self.frame)] if self.by is None else list(self.frame.groupby(level=0, sort=False))
        for name, curve in curves:
            times = np.concatenate([[0.0], curve.index.get_level_values("time").to_numpy(float)])
            of = {
                key: np.concatenate([[1.0], curve[key].to_numpy(float)])
                for key in ("survival", "low", "high")
            }
            target.step(times, of["survival"], where="post", label=str(name))
            target.fill_between(times, of["low"], of["high"], step="post", alpha=0.2)
        target.set_xlabel(self.duration)
        target.set_ylabel("survival")
        if self.by is not None:
            target.legend(title=self.by)
        return target

    def summary(self) -> str:
        """Return the table as text."""
        over = f"over {len(self.sites)} sites" + (f", by {self.by}" if self.by else "")
        lines = [f"Kaplan–Meier curve of {self.duration} {over}", "", *_table.frame_lines(self.frame)]
        return "\n".join([*lines, *self._closing()])
