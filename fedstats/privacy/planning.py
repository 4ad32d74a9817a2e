"""What a private analysis would cost and how precise it would be, before anything is spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from typing import Final

import numpy as np
import pandas as pd

from fedstats import _table
from fedstats.errors import DataError
from fedstats.privacy import association, counts, linear, logistic, moments, quantiles, survival
from fedstats.privacy._call import Bounds, check_level
from fedstats.privacy._model import UNIT
from fedstats.privacy._result import quantile_of
from fedstats.privacy.accounting import Number, epsilon_for, loss
from fedstats.privacy.frequencies import FOR_CALLS
from protocols import choice

#: Named errors of what an analysis reports: standard deviations that are due to noise.
Errors = dict[str, float]


@dataclass(frozen=True)
class _Asked:
    """What a plan is of: the loss, by what the noise of all sites exceeds what it needs, and sizes."""

    rho: Fraction
    excess: float
    rows: float
    bounds: object
    columns: int
    depth: int
    times: int
    variants: int
    iterations: int
    spread: float
    k: int
    sites: int

    def noise(self, squared_sensitivity: float, part: Fraction = Fraction(1)) -> float:
        """Return the standard deviation of the noise of a release that takes a part of the loss."""
        return sqrt(squared_sensitivity / (2 * float(self.rho * part)) * self.excess)


def _mean(asked: _Asked) -> Errors:
    noise = asked.noise(moments.squared_sensitivity(asked.columns)) / moments.UNIT
    half = Bounds.of(asked.bounds, "bounds").half
    return {
        "count": noise,
        "mean, midway between the bounds": noise / asked.rows * half,
        "mean, at a bound": noise * sqrt(2) / asked.rows * half,
    }


def _counts(asked: _Asked) -> Errors:
    return {"count": asked.noise(counts.SQUARED_SENSITIVITY)}


def _quantile(asked: _Asked) -> Errors:
    noise = asked.noise(quantiles.squared_sensitivity(asked.columns, asked.depth))
    worst = {q: sqrt(quantiles.edge_variances(asked.depth, q).max()) for q in (0.5, 0.05)}
    return {
        f"part of the rows below the {q:g} quantile": noise * its / asked.rows for q, its in worst.items()
    }


def _kaplan_meier(asked: _Asked) -> Errors:
    noise = asked.noise(survival.SQUARED_SENSITIVITY)
    return {"events at a time": noise, "at risk at the first time": noise * sqrt(2 * asked.times + 1)}


def _frequencies(asked: _Asked) -> Errors:
    noise = asked.noise(asked.variants, 1 - FOR_CALLS)
    return {"number of people": asked.noise(1, FOR_CALLS), "frequency": noise / (2 * asked.rows)}


def _gwas_top(asked: _Asked) -> Errors:
    score = association.strength(asked.rho * (1 - association.FOR_MEAN), asked.k, asked.sites, 1.0)
    # With alleles of frequency ½, g has the variance ½.
    effect = score / (asked.rows / 2) * Bounds.of(asked.bounds, "bounds").half
    return {"score, scaled": score, "effect of a copy, as the score has it, at frequency ½": effect}


def _ols(asked: _Asked) -> Errors:
    noise = asked.noise(linear.squared_sensitivity(asked.columns)) / UNIT**2
    return {"count": noise, "slope, scaled": noise / (asked.rows * asked.spread**2)}


def _logit(asked: _Asked) -> Errors:
    last = logistic.losses(Fraction(1), asked.iterations)[-1]
    noise = asked.noise(logistic.squared_sensitivity(asked.columns), last) / UNIT**2 / logistic.WEIGHT
    return {"log odds ratio, scaled, at even odds": noise / (asked.rows * asked.spread**2 / 4)}


_ERRORS: Final[Mapping[str, Callable[[_Asked], Errors]]] = {
    "mean": _mean,
    "histogram": _counts,
    "value_counts": _counts,
    "crosstab": _counts,
    "chi2_contingency": _counts,
    "quantile": _quantile,
    "kaplan_meier": _kaplan_meier,
    "allele_frequencies": _frequencies,
    "gwas_top": _gwas_top,
    "ols": _ols,
    "logit": _logit,
}


@dataclass(frozen=True)
class Plan:
    """What an analysis would cost and how precise it would be.

    Attributes
    ----------
    analysis
        Its name.
    rho
        What it would take of each site's budget.
    level
        Of the margins.
    errors
        Standard deviations of what it reports, by name, as far as they are due to noise.
    """

    analysis: str
    rho: Fraction
    level: float
    errors: Mapping[str, float]

    def epsilon(self, delta: float = 1e-6) -> float:
        """Return ε for a δ, by which the same loss is called (ε, δ)-differential privacy."""
        return epsilon_for(self.rho, delta, _distance(self.analysis))

    def to_frame(self) -> pd.DataFrame:
        """Return ``noise``, the standard deviation, and ``margin``, how far intervals reach for it alone."""
        noise = pd.Series(dict(self.errors), name="noise")
        return pd.DataFrame({"noise": noise, "margin": quantile_of(self.level) * noise})

    def __str__(self) -> str:
        head = f"{self.analysis}: ρ = {float(self.rho):.4g}, (ε, δ) = ({self.epsilon():.3g}, 1e-06)"
        return "\n".join([head, "", *_table.frame_lines(self.to_frame(), digits=4)])


def plan(
    analysis: str,
    rows: float,
    *,
    rho: Number | None = None,
    epsilon: Number | None = None,
    delta: Number | None = None,
    sites: int = 3,
    colluders: int | None = None,
    bounds: tuple[float, float] = (-1.0, 1.0),
    columns: int = 1,
    depth: int = 10,
    times: int = 10,
    variants: int = 1,
    iterations: int = 6,
    k: int = 5,
    spread: float = 0.25,
    level: float = 0.95,
) -> Plan:
    """Tell what a private analysis would cost and how precise it would be. Nothing is sent or spent.

    Parameters
    ----------
    analysis
        The name of a function of this module: ``"mean"``.
    rows
        About how many rows all sites have together.
    rho, epsilon, delta
        What it may cost: ρ, or ε with δ.
    sites
        How many take part.
    colluders
        Against how many of them noise is drawn, if more than a half of all but one: what the federation's
        ``colluders`` says, or all but one where its ``security`` is ``"dishonest-majority"``.
    bounds
        Of the column of a mean, or of the trait of an association.
    columns
        How many columns are described; of models, how many are on the right, and the intercept.
    depth
        Of a quantile's tree.
    times
        Of a curve's grid.
    variants
        Of allele frequencies.
    iterations
        Of a logistic regression.
    k
        How many variants are chosen, of `gwas_top`; their effects are not estimated.
    spread
        Of models: standard deviation of a column as a part of half the distance of its bounds. Coefficients
        are scaled likewise, and columns taken to be uncorrelated.
    level
        Of the margins.

    Returns
    -------
    Plan

    Raises
    ------
    DataError
        There is no such analysis, or a number makes no sense.

    Examples
    --------
    >>> print(fs.privacy.plan("mean", 1000, bounds=(0, 120), rho=0.1))
    mean: ρ = 0.1, (ε, δ) = (2.14, 1e-06)
    <BLANKLINE>
                                      noise  margin
    ───────────────────────────────────────────────
    count                             4.108   8.051
    mean, midway between the bounds  0.2465  0.4831
    mean, at a bound                 0.3486  0.6832
    """
    check_level(level)
    if analysis not in _ERRORS:
        raise DataError(f"no private analysis is called {analysis!r}: they are {', '.join(_ERRORS)}")
    against = max(1, (sites - 1) // 2, colluders or 0)
    sizes = (rows, columns, times, variants, iterations, k, spread)
    if not 1 <= against < sites or min(sizes) <= 0 or not 1 <= depth <= quantiles.MAX_DEPTH:
        raise DataError("rows, columns and other sizes are positive, and colluders fewer than sites")
    asked = _Asked(
        loss(rho, epsilon, delta, _distance(analysis)),
        sites / (sites - against),
        rows,
        bounds,
        columns,
        depth,
        times,
        variants,
        iterations,
        spread,
        k,
        sites,
    )
    errors = {name: float(np.float64(its)) for name, its in _ERRORS[analysis](asked).items()}
    return Plan(analysis, asked.rho, level, errors)


def _distance(analysis: str) -> float:
    return choice.DISTANCE if analysis == "gwas_top" else 0.0
