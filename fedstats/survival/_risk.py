"""The pooled table of numbers at risk and events at every time of the grid, public or shared.

All estimators of this package are functions of it. In the aggregate mode its numbers are opened at the times
of events. In the result mode nothing of it is: d/n and the reciprocals of n and n − d are computed on shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

import numpy as np
from numpy.typing import NDArray

from fedstats.survival._prefix import ONE, Numbers, finest
from fedstats.survival._times import Codes, Times
from protocols.compare import is_zero
from protocols.divide import reciprocal
from protocols.inputs import sum_shares
from protocols.secret import SecretArray, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What `opened_table` opens in the aggregate mode.
AGGREGATE: Mapping[str, str] = {
    "events": "numbers of events in each group at each time of the grid, by kind of event",
    "at risk": "numbers at risk in each group at the times of its events, at those of all groups' events "
    "where groups are compared, and at declared times",
}


@dataclass(frozen=True, eq=False, repr=False)
class RiskTable(Generic[Numbers]):
    """What estimators are made of, over the whole grid.

    Attributes
    ----------
    n
        Numbers at risk, shape ``(groups, size)``; public ones are 0 where they were not opened.
    d
        Events, shape ``(groups, causes, size)``.
    hazard
        d/n, likewise; 0 where nobody is at risk.
    per_row, per_survivor
        1/n and 1/(n − d) with the events of all causes, 1 where the denominator is 0; public ones are 0
        where there is no event.
    """

    n: Numbers
    d: Numbers
    hazard: Numbers
    per_row: Numbers
    per_survivor: Numbers

    @property
    def all_hazard(self) -> Numbers:
        """Return d/n of all causes together, shape ``(groups, size)``."""
        total: Numbers = self.hazard.sum(axis=1)
        return total


@dataclass(frozen=True, eq=False, repr=False)
class Counts:
    """Opened numbers.

    Attributes
    ----------
    d
        Events, shape ``(groups, causes, size)``.
    n
        Numbers at risk, shape ``(groups, size)``, −1 where they were not opened.
    """

    d: Codes
    n: Codes

    def at_risk(self, at: Codes) -> NDArray[np.float64]:
        """Return numbers at risk at some positions, NaN where they were not opened."""
        return np.where(self.n < 0, np.nan, self.n)[:, at]

    def table(self) -> RiskTable[NDArray[np.float64]]:
        """Return the table of floats."""
        n = np.maximum(self.n, 0).astype(np.float64)
        d = self.d.astype(np.float64)
        total = d.sum(axis=1)
        happens = (total > 0) & (n > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            per_row = np.where(happens, 1.0 / n, 0.0)
            hazard = np.where(happens[:, np.newaxis], d / n[:, np.newaxis], 0.0)
            per_survivor = np.where(happens, 1.0 / np.maximum(n - total, 1.0), 0.0)
        return RiskTable(n, d, hazard, per_row, per_survivor)


def opened_counts(run: Analysis, times: Times, kept: NDArray[np.bool_], at: Codes, *, shared: bool) -> Counts:
    """Open the table at the times of events.

    Parameters
    ----------
    run, times
        The analysis, and this site's rows.
    kept
        Groups that are large enough, the only ones of which anything is opened.
    at
        Further positions at which numbers at risk are opened.
    shared
        Whether each group's numbers at risk are opened at the times of all groups' events.
    """
    d = np.zeros((len(kept), len(times.causes), times.size), np.int64)
    d[kept] = run.sum("events", times.events()[kept])
    wanted = d.sum(axis=1) > 0
    if shared:
        wanted |= wanted.any(axis=0)
    wanted[:, at] = True
    wanted &= kept[:, np.newaxis]
    n = np.full(wanted.shape, -1, np.int64)
    n[wanted] = run.sum("at risk", times.at_risk()[wanted])
    return Counts(d, n)


def shared_table(run: Analysis, times: Times, kept: NDArray[np.bool_]) -> RiskTable[SecretArray]:
    """Share the table of the groups that are large enough, and divide; some 40 rounds."""
    engine, rows = run.engine, times.nobs
    events = times.events()[kept]
    both = sum_shares(
        engine, np.concatenate([events, times.at_risk()[kept][:, np.newaxis]], axis=1), bound=rows
    )
    d, n = (part.assume(rows) for part in (both[:, :-1], both[:, -1]))
    parts = stack([n, (n - d.sum(axis=1)).assume(rows)])
    inverse = reciprocal((parts + is_zero(parts)).assume(rows), least=1)
    # Whole numbers times reciprocals are exact: where there is no event, d/n is 0 without a rounding.
    exact = d * inverse[0][:, np.newaxis]
    hazard = exact.assume(ONE).rescale(finest(engine))
    short = inverse.assume(ONE).rescale(finest(engine))
    return RiskTable(n, d, hazard, short[0], short[1])
