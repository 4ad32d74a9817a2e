"""How curves are opened: every step of them, or what they are at declared times.

An estimator is a function of the table of risk and of positions on the grid. The same function serves both
modes: on opened counts, where its value at every event is kept, and on shares, where only its values at the
declared times come out, and only where enough rows are at risk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fedstats.expressions import Array
from fedstats.survival._prefix import Numbers
from fedstats.survival._risk import Counts, RiskTable, shared_table
from fedstats.survival._times import Codes, Times
from protocols.floating import SecretFloat, floating, where
from protocols.long import LongArray, lengthen, stack
from protocols.secret import SecretArray

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What `at_times` opens.
CURVES: Mapping[str, str] = {
    "curve": "the estimate and its variance in each group at the declared times, where at least min_cell "
    "rows are at risk",
    "at risk": "the number at risk in each group, likewise",
}


class Estimator(Protocol):
    """Value and variance at positions of the grid, of shape ``(groups, curves, positions)`` each.

    On shares a `SecretArray` and, of sums of products, a `LongArray`.
    """

    def __call__(self, table: RiskTable[Numbers], at: Codes) -> tuple[Numbers, Any]: ...


@dataclass(frozen=True, eq=False, repr=False)
class Curve:
    """One curve of one group.

    Attributes
    ----------
    group, number
        Which group's, and which of its curves.
    time
        The times at which it is known.
    at_risk, events
        Numbers at risk just before them, NaN if not told; events then, None in the result mode.
    value, variance
        What the estimator says; NaN where it is not told.
    """

    group: int
    number: int
    time: Array
    at_risk: Array
    events: Codes | None
    value: Array
    variance: Array

    def frame(self, columns: Mapping[str, Any]) -> pd.DataFrame:
        """Return a table by time: numbers at risk, events if known, and further columns."""
        counts: dict[str, Any] = {"at_risk": pd.array(self.at_risk).astype("Int64")}
        if self.events is not None:
            counts["events"] = self.events
        return pd.DataFrame(counts | dict(columns), index=pd.Index(self.time, name="time"))


def at_events(counts: Counts, times: Times, estimator: Estimator) -> list[Curve]:
    """Return each group's curves at the times of its events, of opened counts."""
    value, variance = estimator(counts.table(), np.arange(times.size))
    curves = []
    for group, its in enumerate(counts.d):
        where = np.flatnonzero(its.sum(axis=0))
        for number in range(value.shape[1]):
            events = its[number] if value.shape[1] == len(its) else its.sum(axis=0)
            curves.append(
                Curve(
                    group,
                    number,
                    times.grid.times(where),
                    counts.n[group, where].astype(np.float64),
                    events[where],
                    value[group, number, where],
                    variance[group, number, where],
                )
            )
    return curves


def at_times(
    run: Analysis,
    times: Times,
    kept: NDArray[np.bool_],
    at: Codes,
    enough: int,
    curves: int,
    estimator: Estimator,
    more: Callable[[RiskTable[SecretArray]], dict[str, SecretArray]] = lambda _: {},
) -> tuple[list[Curve], Array, dict[str, NDArray[Any]]]:
    """Compute curves on shares and open them at declared times.

    Parameters
    ----------
    run, times
        The analysis, and this site's rows.
    kept
        Groups that are large enough.
    at
        Positions of the declared times.
    enough
        Fewest rows at risk for which anything is opened.
    curves
        How many curves a group has.
    estimator
        What is estimated.
    more
        Further results, by label, opened with the curves.

    Returns
    -------
    tuple
        The curves, the numbers at risk ``(groups, positions)``, NaN where they are not told, and what `more`
        opened.
    """
    values = np.full((2, len(kept), curves, len(at)), np.nan)
    at_risk = np.full((len(kept), len(at)), np.nan)
    opened: dict[str, NDArray[Any]] = {}
    if kept.any():
        with run.on_shares():
            table = shared_table(run, times, kept)
            few = table.n[:, at] < enough
            curve = visible_floats(few[:, np.newaxis], *estimator(table, at))
            opened = run.reveal({"curve": curve, "at risk": (1 - few) * table.n[:, at], **more(table)})
        at_risk[kept] = np.where(opened["at risk"] == 0, np.nan, opened["at risk"])
        values[:, kept] = opened["curve"]
        values[:, np.isnan(at_risk)[:, np.newaxis].repeat(curves, axis=1)] = np.nan
    time = times.grid.times(at)
    found = [
        Curve(group, number, time, at_risk[group], None, values[0, group, number], values[1, group, number])
        for group in range(len(kept))
        for number in range(curves)
    ]
    return found, at_risk, opened


def visible_floats(few: SecretArray, value: SecretArray, variance: LongArray) -> SecretFloat:
    """Return values and variances, stacked, as they are opened: to so many digits, however small they are.

    Where a secret bit says that few are at risk they are 0.
    """
    shown: SecretFloat = where(few, 0.0, floating(stack([lengthen(value), variance])))
    return shown


def log_log_interval(probability: Array, variance: Array, alpha: float) -> tuple[Array, Array]:
    """Return limits that are symmetric for log(−log p); missing where p is 0 or 1.

    Parameters
    ----------
    probability
        Estimates of p.
    variance
        Variance of log p.
    alpha
        The limits have level 1 − alpha.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        width = stats.norm.isf(alpha / 2) * np.sqrt(variance) / np.abs(np.log(probability))
        inside = (probability > 0) & (probability < 1)
        lower, upper = probability ** np.exp(width), probability ** np.exp(-width)
    return np.where(inside, lower, np.nan), np.where(inside, upper, np.nan)
