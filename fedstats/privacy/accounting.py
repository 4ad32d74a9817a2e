"""What noise costs: losses of privacy as exact fractions, and what they say in the language of ε and δ.

A release that is ρ-zCDP costs ρ; several cost the sum of theirs, whatever is decided between them [1]_.
Fractions add up without error, so budgets neither leak nor drift. ρ implies (ε, δ) for every δ at once: for
all α > 1

    δ ≤ exp((α − 1)(αρ − ε)) / (α − 1) · (1 − 1/α)^α,

and the least of these is what is reported [2]_. Any α gives a valid bound, so that searching for the best one
in floating point may cost a little, and risks nothing but rounding, which is taken up.

References
----------
.. [1] M. Bun and T. Steinke, "Concentrated Differential Privacy: Simplifications, Extensions, and Lower
   Bounds",
   TCC 2016.
.. [2] C. Canonne, G. Kamath and T. Steinke, "The Discrete Gaussian for Differential Privacy", NeurIPS 2020,
   proposition 12.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from numbers import Rational
from typing import TypeAlias

from scipy import optimize

from fedstats.errors import DataError

#: A privacy parameter: what is written, as in 0.1 or "1/3", is what is meant.
Number: TypeAlias = float | int | str | Decimal | Fraction

#: Largest ρ that is accepted: beyond it there is no privacy to speak of.
MOST_RHO = 100
#: Smallest ρ that is accepted: with less, there is nothing but noise.
LEAST_RHO = Fraction(1, 1 << 40)
#: ρ that follows from ε and δ is rounded down to a multiple of this.
_UNIT = Fraction(1, 1 << 60)
#: Any ε from here on allows `MOST_RHO`; floats can hold it.
_MOST_EPSILON = Fraction(10**300)
#: What rounding in floating point may take away from a bound.
_SLACK = 1e-9
#: An ε that is larger by less than this part than what a distance leaves is taken for that.
_SHORT = 0.01
#: Steps to an ε with a distance: more are taken only where there is next to none.
_MOST_STEPS = 30


def loss(
    rho: Number | None = None,
    epsilon: Number | None = None,
    delta: Number | None = None,
    distance: float = 0.0,
) -> Fraction:
    """Return what a call may cost as ρ, from what its caller has given.

    Parameters
    ----------
    rho
        ρ of zero-concentrated differential privacy. A float counts as the decimal number that it is written
        as.
    epsilon, delta
        Instead of ρ: the largest ρ that implies (ε, δ)-differential privacy.
    distance
        See `epsilon_for`.

    Raises
    ------
    DataError
        Neither or both are given, or they are not positive numbers; or ρ is beyond `LEAST_RHO` or `MOST_RHO`.
    """
    if (rho is None) == (epsilon is None) or (epsilon is None) != (delta is None):
        raise DataError("say what it may cost: rho=, or epsilon= with delta=")
    if rho is not None:
        found = _positive(rho, "rho")
        if found > MOST_RHO:
            raise DataError(f"rho is {MOST_RHO} at most: nothing is private beyond")
    else:
        assert epsilon is not None  # noqa: S101  (for the type checker)
        assert delta is not None  # noqa: S101
        least = float(min(_positive(epsilon, "epsilon"), _MOST_EPSILON))
        found = rho_for(least, _probability(delta), distance)
    if found < LEAST_RHO:
        raise DataError("rho is 2^−40 at least, also by epsilon and delta: with less, there is only noise")
    return found


def epsilon_for(rho: Fraction | float, delta: float, distance: float = 0.0) -> float:
    """Return the least ε for which ρ-zCDP is known to imply (ε, δ)-differential privacy.

    Parameters
    ----------
    rho, delta
        ρ and δ.
    distance
        How far, in statistical distance, what is released may be from something that is ρ-zCDP: of each of
        two neighbours, so that δ grows by (1 + e^ε) times that. Infinite where that alone is beyond δ.

    Raises
    ------
    DataError
        δ is not between 0 and 1.
    """
    found = _least_epsilon(float(rho), _probability(delta))
    if not distance:
        return found
    for _ in range(_MOST_STEPS):  # ε grows until what the distance adds to its δ fits
        left = delta - (1 + math.exp(min(found, 700.0))) * distance
        if left <= 0:
            break
        needed = _least_epsilon(float(rho), left)
        if needed <= found:
            return found
        found = needed * (1 + _SLACK)
    return math.inf


def _least_epsilon(its: float, bound: float) -> float:
    """Return the least ε of ρ-zCDP for a δ."""
    if its <= 0:
        return 0.0

    def at(log_excess: float) -> float:
        excess = math.exp(log_excess)  # α − 1
        # log(1 − 1/α), without cancellation where α is large.
        tail = -math.log1p(math.exp(-log_excess))
        return its * (1 + excess) + (-math.log(bound) - math.log1p(excess)) / excess + tail

    best = optimize.minimize_scalar(at, bounds=(-30.0, 60.0), method="bounded", options={"xatol": 1e-10})
    starts = [at(math.log(max(math.sqrt(-math.log(bound) / its), 1e-12))), float(best.fun)]
    return max(0.0, min(starts)) * (1 + _SLACK)


def delta_for(rho: Fraction | float, epsilon: float) -> float:
    """Return the least δ for which ρ-zCDP is known to imply (ε, δ)-differential privacy."""
    its = float(rho)
    if its <= 0:
        return 0.0

    def at(log_excess: float) -> float:
        excess = math.exp(log_excess)
        alpha = 1 + excess
        tail = -math.log1p(math.exp(-log_excess))
        return excess * (its * alpha - epsilon) - log_excess + alpha * tail  # its logarithm

    best = optimize.minimize_scalar(at, bounds=(-30.0, 60.0), method="bounded", options={"xatol": 1e-10})
    start = max((epsilon + its) / (2 * its) - 1, 1e-12)  # the best for large ε
    logarithm = min(float(best.fun), at(math.log(start)))
    return min(1.0, math.exp(min(logarithm, 0.0)) * (1 + _SLACK))


def rho_for(epsilon: float, delta: float, distance: float = 0.0) -> Fraction:
    """Return the largest ρ, a multiple of 2^−60, for which ρ-zCDP is known to imply (ε, δ).

    `distance` is that of `epsilon_for`. With one, ε has an end for every δ, beyond which no ρ goes.

    Raises
    ------
    DataError
        There is none, or ε is beyond that end; or δ is not between 0 and 1.
    """
    low, high = 0, int(MOST_RHO / _UNIT)
    if epsilon_for(high * _UNIT, delta, distance) <= epsilon:
        return Fraction(MOST_RHO)
    while high - low > max(1, low >> 40):
        middle = (low + high) // 2
        if epsilon_for(middle * _UNIT, delta, distance) <= epsilon:
            low = middle
        else:
            high = middle
    if not low:
        raise DataError(
            f"epsilon = {epsilon:g} with delta = {delta:g} leaves room for no answer: ask for more of either"
        )
    reached = epsilon_for(low * _UNIT, delta, distance)
    if distance and reached < (1 - _SHORT) * epsilon:
        raise DataError(
            f"epsilon = {epsilon:g} is out of reach with delta = {delta:g}: by what is released besides, the "
            f"largest is {reached:.4g}; ask for that, for a larger delta, or by rho"
        )
    return low * _UNIT


def _positive(value: Number, name: str) -> Fraction:
    """Return a number as the fraction that is written."""
    try:
        text = repr(value) if isinstance(value, float) else value
        found = Fraction(value) if isinstance(value, Rational | Decimal) else Fraction(str(text))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        found = Fraction(0)
    if found <= 0 or isinstance(value, bool):
        raise DataError(f"{name} is a positive number, as 0.1 or '1/10', not {value!r}")
    return found


def _probability(delta: Number) -> float:
    exact = _positive(delta, "delta")
    found = float(exact) if exact < 1 else 1.0
    if not 0 < found < 1:
        raise DataError("delta lies between 0 and 1: far below one part of the number of rows, as 1e-6")
    return found
