"""The variance of effects between sites, by maximum likelihood, restricted or not, for a meta-analysis.

Estimates y of k sites have variances v + τ². Newton's method finds the τ² at which the likelihood is largest.
All is measured in units of v̄, the harmonic mean of v; then no v is below 1/k, and with weights

    w = (1 + τ²) / (v + τ²)

between 0 and k everything is of the order of 1, however large τ² becomes. One formula serves for public
numbers and for `LongArray`, on which sums and products are exact and only quotients go through floats.

References
----------
.. [1] W. Viechtbauer, "Bias and Efficiency of Meta-Analytic Variance Estimators in the Random-Effects Model",
   Journal of Educational and Behavioral Statistics 30, 2005.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from protocols.floating import SecretFloat, fixed, floating
from protocols.long import LongArray, concatenate, lengthen, multiply, negative, stack

#: Steps, of which the first ones are Fisher's scoring: it does not leap beyond a maximum.
MOST_STEPS, SCORING_STEPS = 60, 2
#: Fractional bits on shares, and bounds of standardised estimates, and of variances and steps.
FRACTION, ESTIMATES, VARIANCES = 160, 2.0**130, 2.0**300
#: Added to a curvature, so that none is 0.
LEAST = 2.0**-100


def likeliest(
    y: Any, v: Any, start: Any, *, restricted: bool, tolerance: float, decide: Callable[[Any, int], bool]
) -> Any:
    """Return the likeliest variance between sites, in units of v̄; None if steps do not become small.

    Parameters
    ----------
    y, v
        Estimates, about any number near them, and their variances, standardised: arrays, or on shares secret
        floats.
    start
        Where to begin, shape ``(1,)``.
    restricted
        Whether the likelihood is the restricted one.
    tolerance
        How small the last step is, as part of 1 + τ².
    decide
        Opens a condition, given the number of the step.

    Notes
    -----
    **Cost.** On shares 140 rounds a step for three parties. There are 3 to 8 as a rule.
    """
    k = y.shape[0]
    y, v, tau2 = (_exact(x, bound) for x, bound in ((y, ESTIMATES), (v, VARIANCES), (start, VARIANCES)))
    for number in range(MOST_STEPS):
        damping = 1.0 if number < SCORING_STEPS else 0.125
        before, tau2 = tau2, _next(y, v, tau2, k, restricted, damping)
        step, small = tau2 - before, tolerance * (1 + tau2)
        if decide(_is_negative(_times(step, step) - _times(small, small)), number):
            return floating(tau2) if isinstance(tau2, LongArray) else tau2
    return None


def _next(y: Any, v: Any, tau2: Any, k: int, restricted: bool, damping: float) -> Any:
    """Return the next variance, 0 at least.

    With R = y·Σw − Σwy, score and information are, but for a common factor,

        Σw·Σw²R²/(1 + τ²) − (Σw)⁴ + Σw²·(Σw)²    and    Σw²·(Σw)³ − 2·Σw³·(Σw)² + (Σw²)²·Σw

    for the restricted likelihood; for the other the former lacks its last term, the latter its last two.
    The observed information takes the place of the expected one unless it is less than a part of it.
    """
    scale = 1 + tau2
    found = _quotients(_joined([scale] * k + [0 * tau2 + 1]), _joined([v + tau2, scale]), 1.01 * k)
    w, per_scale = found[:k], found[k:]
    w2 = _times(w, w)
    w3 = _times(w2, w)
    one, two, three, weighted = (_total(x) for x in (w, w2, w3, _times(w, y)))
    R = _times(y, one) - weighted
    R2 = _times(w2, R)
    squares, cubes, slope = _total(_times(R2, R)), _total(_times(_times(w3, R), R)), _total(R2)
    square = _times(one, one)
    score = _times(_times(per_scale, one), squares) - _times(square, square)
    information = _times(_times(two, one), square)
    if restricted:
        score = score + _times(two, square)
        information = information - 2 * _times(three, square) + _times(_times(two, two), one)
    observed = 2 * _times(per_scale, _times(one, cubes) - _times(slope, slope)) - information
    curvature = _larger(observed, damping * information) + LEAST
    found = _larger(tau2 + _times(scale, _quotients(score, curvature, VARIANCES)), 0 * tau2)
    return found.assume(VARIANCES) if isinstance(found, LongArray) else found


# --- For both kinds of numbers ------------------------------------------------------------------------


def _exact(x: Any, bound: float) -> Any:
    return fixed(x, bound=bound, fraction=FRACTION) if isinstance(x, SecretFloat) else x


def _times(x: Any, y: Any) -> Any:
    return multiply(x, y, FRACTION) if isinstance(x, LongArray) else x * y


def _joined(parts: list[Any]) -> Any:
    return concatenate(parts) if isinstance(parts[0], LongArray) else np.concatenate(parts)


def _total(x: Any) -> Any:
    return x.sum(axis=0).reshape(1)


def _quotients(x: Any, y: Any, bound: float) -> Any:
    """Return x/y, which is known to be within a bound."""
    if not isinstance(x, LongArray):
        return x / y
    both = floating(stack([x, y]))
    return fixed(both[0] / both[1], bound=bound, fraction=FRACTION)


def _is_negative(x: Any) -> Any:
    return negative(x) if isinstance(x, LongArray) else x < 0


def _larger(x: Any, y: Any) -> Any:
    if not isinstance(x, LongArray):
        return np.maximum(x, y)
    return x + multiply(lengthen(negative(x - y)), y - x)
