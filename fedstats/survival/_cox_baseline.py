"""The cumulative baseline hazard of a proportional hazards model, computed on shares at declared times.

An event that leaves the weights W of its risk set adds 1/W, with Efron's ties d / (d·W − k·D) for the k-th of
d events of weights D. The sums W and D of successive risk sets are never opened: reciprocals are taken of
shares, for all events at once, and what they add up to until a declared time is opened if enough rows are at
risk then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fedstats.expressions import Array
from fedstats.survival._cox_rows import Rows
from fedstats.survival._times import Codes, Times
from protocols.floating import fixed, floating, where
from protocols.inputs import sum_shares
from protocols.long import sum_long

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What `opened_baseline` opens.
RESULT: Mapping[str, str] = {
    "baseline": "the cumulative baseline hazard in each stratum at the declared times, where at least "
    "min_cell rows are at risk",
    "at risk": "the number at risk in each stratum, likewise",
}

#: Weights are shared up to these bounds, with so many fractional bits; so are reciprocals of their sums.
SMALLEST, LARGEST, FRACTION = 2.0**-60, 2.0**100, 110


def opened_baseline(
    run: Analysis, rows: Rows, times: Times, beta: Array, at: Codes, enough: int, *, is_efron: bool
) -> tuple[Array, Array]:
    """Open the cumulative hazard of rows with z = 0, and numbers at risk.

    Parameters
    ----------
    run
        The analysis, in the result mode. Its declaration includes `RESULT`.
    rows, times
        This site's rows.
    beta
        The estimates.
    at
        Positions of the declared times.
    enough
        Fewest rows at risk for which anything is opened.
    is_efron
        Whether tied events leave the risk set one after the other, in part.

    Returns
    -------
    tuple of ndarray
        Both of shape ``(strata, positions)``, NaN where they are not told.

    Notes
    -----
    **Cost.** 90 rounds for three parties, and 4 kB for each event.
    """
    cells = rows.cells
    weights = np.maximum(rows.weights(beta), SMALLEST)[np.newaxis]
    own = np.concatenate([rows.at_risk(weights), rows.dying(weights)])
    cell = cells.repeated
    d, k = (cells.events[cell], cells.place) if is_efron else (np.ones_like(cell), np.zeros_like(cell))
    strata = np.arange(len(times.n_rows))[:, np.newaxis, np.newaxis]
    counts = (cells.stratum[cell] == strata) & (cells.position[cell] <= at[:, np.newaxis])
    with run.on_shares() as engine:
        at_risk, dying = sum_long(engine, own, bound=LARGEST, fraction=FRACTION)
        remaining = at_risk[cell] * d - dying[cell] * k
        added = fixed(1 / floating(remaining), bound=LARGEST, fraction=FRACTION) * d
        n = sum_shares(engine, times.at_risk()[:, at], bound=times.nobs).assume(times.nobs)
        few = n < enough
        hazard = floating((counts.reshape(-1, len(cell)).astype(np.int64) @ added).reshape(n.shape))
        opened = run.reveal({"baseline": where(few, 0.0, hazard), "at risk": (1 - few) * n})
    shown = opened["at risk"] > 0
    return np.where(shown, opened["baseline"], np.nan), np.where(shown, opened["at risk"], np.nan)
