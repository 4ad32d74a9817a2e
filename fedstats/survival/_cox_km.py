"""One minus survival just before each event, by Kaplan and Meier: a function of time that can be tested.

A test of proportional hazards by this one weighs early and late events alike, however many rows are censored
between them [1]_. It is made of the numbers at risk, of all strata together as in R's ``cox.zph``. In the
aggregate mode they are opened. In the result mode they stay shared, and so does the function, by which means
over risk sets are multiplied on shares.

References
----------
.. [1] P. M. Grambsch and T. M. Therneau, "Proportional Hazards Tests and Diagnostics Based on Weighted
   Residuals", Biometrika 81, 1994.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fedstats.expressions import Array
from fedstats.survival._cox_rows import Cells
from fedstats.survival._prefix import ONE, before, cumulative_product, finest
from fedstats.survival._times import Codes, Times
from protocols.divide import reciprocal
from protocols.inputs import sum_shares
from protocols.secret import SecretArray

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What `opened` opens.
AGGREGATE: Mapping[str, str] = {"at risk": "numbers of rows at risk at each time of an event, in all strata"}


def opened(run: Analysis, times: Times, cells: Cells) -> Array:
    """Return 1 − S(t−) at each cell. One sum."""
    own, died, index = _counts(times, cells)
    survival = np.cumprod(1 - died / run.sum("at risk", own))
    return np.asarray(1 - before(survival, 1)[index], np.float64)


def on_shares(run: Analysis, times: Times, cells: Cells) -> SecretArray:
    """Return 1 − S(t−) at each cell, secret.

    Some 30 rounds, and one for each doubling of the number of times of events.
    """
    own, died, index = _counts(times, cells)
    with run.on_shares() as engine:
        n = sum_shares(engine, own, bound=times.nobs).assume(times.nobs)
        hazard = (reciprocal(n, least=1) * died).assume(ONE).rescale(finest(engine))
        return (1 - before(cumulative_product(1 - hazard), 1)).assume(ONE)[index]


def _counts(times: Times, cells: Cells) -> tuple[Codes, Codes, Codes]:
    """Return at each time of events this site's rows at risk and all events; and which time a cell has."""
    position, index = np.unique(cells.position, return_inverse=True)
    died = np.bincount(index, weights=cells.events).astype(np.int64)
    entered, left = (np.searchsorted(np.sort(when), position) for when in (times.start, times.stop))
    return (entered - left).astype(np.int64), died, index


def secretly_weighted(x: SecretArray, weights: SecretArray, bound: float | None) -> SecretArray:
    """Return x times secret weights along the last axis, with as many fractional bits as x.

    The products are within a bound, by default that of x.
    """
    octaves = math.frexp(x.format.magnitude * weights.format.magnitude)[1]
    digits = (x.engine.room - 4 - octaves) // 2
    short, by = (y.rescale(min(digits, y.format.fraction)) for y in (x, weights))
    product = (short * by).assume(x.format.magnitude if bound is None else bound)
    return product.rescale(x.format.fraction)
