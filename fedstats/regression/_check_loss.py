"""The exact minimiser of the check loss over all sites, by Newton's method on ever less smoothing.

The check loss ρ(r) = r·(q − [r < 0]) is smoothed to q·r + h·log(1 + e^(−r/h)) [1]_, whose Newton steps are
pooled systems. With a step d, all |x'd| ≤ m·h, the step log(1 + m)/m·d makes the loss smaller for sure
[2]_, and it is nearly d once m is small: no loss need be compared. Then h is reduced, and the estimates are
moved along their derivative with respect to h. Once h is far below the residuals that are not 0, the
estimates are linear in h but for terms of e^(−|r|/h), so going on to h = 0 along the derivative gives the
vertex itself.

All of it stays shared but the steps, their derivative at the end of each stage, and the power of two above m.

References
----------
.. [1] J. L. Horowitz, "Bootstrap Methods for Median Regression Models", Econometrica 66 (6), 1998.
.. [2] T. Sun, Q. Tran-Dinh, "Generalized Self-Concordant Functions: A Recipe for Newton-Type Methods",
   Mathematical Programming 178, 2019, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from fedstats.errors import EstimationError
from fedstats.expressions import Array
from protocols import inputs, linalg
from protocols.compare import is_zero
from protocols.engine import Engine
from protocols.secret import SecretArray

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

RESULT: Mapping[str, str] = {
    "steps": "the steps of the coefficients",
    "derivatives": "the derivative of the coefficients by the smoothing, whenever this is reduced",
    "reach": "the power of two above the largest change of a prediction at each step, in terms of the "
    "smoothing",
}

#: The smoothing at first and at last, in units of the response, and its reduction from stage to stage.
FIRST, LAST, REDUCTION = 1.0, 1e-8, 0.2
#: A stage ends when predictions move by at most this part of the smoothing.
SETTLED = 0.5
#: Powers of two that the reach is told in.
REACH = np.arange(-1.0, 40.0)
#: Added to the diagonal: where several estimates are as good, the smoothed loss is flat between them.
RIDGE = 2.0**-20
#: Fractional bits of sums, and of solutions in units of the smoothing, which stay below the last.
FRACTION, DIGITS, LARGEST = 44, 36, 2.0**16
_STEPS = 400


def minimise(run: Analysis, Z: Array, y: Array, q: float, start: Array, n: int) -> tuple[Array, int]:
    """Return the coefficients that minimise the check loss, and the number of steps.

    Parameters
    ----------
    run
        The analysis, past `agree`. Its declaration includes `RESULT`.
    Z, y
        This site's framed columns, intercept first, and framed responses.
    q
        The quantile.
    start
        Coefficients to start from.
    n
        Rows of all sites.

    Raises
    ------
    EstimationError
        No convergence.

    Notes
    -----
    **Cost.** 35 rounds a step for three parties, some 50 steps.
    """
    b, h, step = start, FIRST, 0
    while True:
        with run.on_shares() as engine:
            secret = _solution(engine, *_system(Z, (y - Z @ b) / h, q), n)
        direction = run.reveal({"steps": secret[:, 0]}, part=step)["steps"]
        reach = _reach(run, np.abs(Z @ direction).max(initial=0.0), step)
        b = b + h * direction * (1.0 if reach < 1 else math.log1p(reach) / reach)
        step += 1
        if reach <= SETTLED:
            slope = run.reveal({"derivatives": secret[:, 1]}, part=step)["derivatives"]
            if h <= LAST:
                return b - h * slope, step
            smaller = max(h * REDUCTION, LAST)
            b, h = b + (smaller - h) * slope, smaller
        if step == _STEPS:
            raise EstimationError(
                f"the estimates were not found in {_STEPS} steps: scale columns, or use fewer"
            )


def _system(Z: Array, u: Array, q: float) -> tuple[Array, Array]:
    """Return this site's matrix and right sides, in units of h: of the step, and of the derivative by h."""
    below = expit(-u)
    weight = below * expit(u)
    return (Z.T * weight) @ Z, np.column_stack([Z.T @ (q - below), Z.T @ (-weight * u)])


def _solution(engine: Engine, A: Array, b: Array, n: int) -> SecretArray:
    """Return the secret solution of the pooled system, shape ``(p, 2)``."""
    p = len(A)
    # Framed columns have mean squares up to 4.4, and weights are a quarter at most.
    pooled = inputs.sum_shares(engine, np.hstack([A, b]), bound=2.2 * n, fraction=FRACTION)
    A_pooled = pooled[:, :p] + RIDGE * np.eye(p)
    return linalg.solve(A_pooled, pooled[:, p:], bound=LARGEST, fraction=DIGITS, definite=True)


def _reach(run: Analysis, largest: float, part: int) -> float:
    """Open the power of two above the largest of the sites' numbers, by a factor of 2 at most."""
    with run.on_shares() as engine:
        beyond = (largest > 2.0**REACH).astype(np.int64)
        nobody = is_zero(inputs.sum_shares(engine, beyond, bound=1))
    powers = run.reveal({"reach": nobody.sum()}, part=part)["reach"]
    return float(2.0 ** REACH[min(len(REACH) - int(powers), len(REACH) - 1)])
