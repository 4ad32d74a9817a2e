"""Link functions of generalised linear models, as functions of the linear predictor.

Newton's method needs the mean μ(η) and its first two derivatives, so these are what a link gives, beside
the link η(μ) itself for starting values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import special

from fedstats.expressions import Array

#: μ, dμ/dη and d²μ/dη².
Means: TypeAlias = tuple[Array, Array, Array]

#: Linear predictors of logarithmic links are cut off here: cubes of their exponentials stay finite.
_LARGEST = 200.0


@dataclass(frozen=True)
class Link:
    """A link function.

    Attributes
    ----------
    name
        As statsmodels names its class, in lower case.
    to_linear
        η(μ).
    to_means
        μ(η) with its derivatives, for η in the domain.
    lower, upper
        Bounds of the means that it gives.
    positive_only
        Whether only positive η are in its domain.
    """

    name: str
    to_linear: Callable[[Array], Array]
    to_means: Callable[[Array], Means]
    lower: float = -np.inf
    upper: float = np.inf
    positive_only: bool = False

    @property
    def has_unit(self) -> bool:
        """Whether η is measured in a unit of the response, and not in one of its own."""
        return self.name in ("identity", "inverse_power", "inverse_squared", "sqrt")


def _identity(eta: Array) -> Means:
    return eta, np.ones_like(eta), np.zeros_like(eta)


def _log(eta: Array) -> Means:
    mu = np.exp(np.clip(eta, -_LARGEST, _LARGEST))
    return mu, mu, mu


def _logit(eta: Array) -> Means:
    mu = special.expit(eta)
    slope = mu * special.expit(-eta)
    return mu, slope, slope * special.expit(-eta) - slope * mu


def _probit(eta: Array) -> Means:
    density = np.exp(-(eta**2) / 2) / np.sqrt(2 * np.pi)
    return special.ndtr(eta), density, -eta * density


def _cauchy(eta: Array) -> Means:
    density = 1 / (np.pi * (1 + eta**2))
    return 0.5 + np.arctan(eta) / np.pi, density, -2 * np.pi * eta * density**2


def _cloglog(eta: Array) -> Means:
    rate = np.exp(np.minimum(eta, _LARGEST))
    slope = rate * np.exp(-rate)
    return -np.expm1(-rate), slope, slope * (1 - rate)


def _loglog(eta: Array) -> Means:
    rate = np.exp(np.minimum(-eta, _LARGEST))
    slope = rate * np.exp(-rate)
    return np.exp(-rate), slope, slope * (rate - 1)


def _inverse_power(eta: Array) -> Means:
    return 1 / eta, -1 / eta**2, 2 / eta**3


def _inverse_squared(eta: Array) -> Means:
    mu = 1 / np.sqrt(eta)
    return mu, -mu / eta / 2, 0.75 * mu / eta**2


def _sqrt(eta: Array) -> Means:
    return eta**2, 2 * eta, np.full_like(eta, 2.0)


LINKS: Mapping[str, Link] = {
    link.name: link
    for link in (
        Link("identity", lambda mu: mu, _identity),
        Link("log", np.log, _log, lower=0),
        Link("logit", special.logit, _logit, lower=0, upper=1),
        Link("probit", special.ndtri, _probit, lower=0, upper=1),
        Link("cauchy", lambda mu: np.tan(np.pi * (mu - 0.5)), _cauchy, lower=0, upper=1),
        Link("cloglog", lambda mu: np.log(-np.log1p(-mu)), _cloglog, lower=0, upper=1),
        Link("loglog", lambda mu: -np.log(-np.log(mu)), _loglog, lower=0, upper=1),
        Link("inverse_power", lambda mu: 1 / mu, _inverse_power, lower=0, positive_only=True),
        Link("inverse_squared", lambda mu: mu**-2.0, _inverse_squared, lower=0, positive_only=True),
        Link("sqrt", np.sqrt, _sqrt, lower=0, positive_only=True),
    )
}
