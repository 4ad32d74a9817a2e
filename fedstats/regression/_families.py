"""Families of generalised linear models: variance, deviance and likelihood, row by row, as in statsmodels.

A row of weight w has variance φ·V(μ)/w. Of the binomial family, w is the number of trials and the response
the proportion of successes, as in R; the likelihood is then that of the number of successes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import special
from scipy.special import gammaln, xlogy

from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.regression._links import LINKS, Link

_EPS = float(np.finfo(float).eps)


@dataclass(frozen=True)
class Family:
    """A family of distributions.

    Attributes
    ----------
    name
        As users write it.
    default_link
        Name of its link, unless another is given.
    canonical
        Name of the link at which observed and expected information are the same.
    lower, upper
        Its means are between.
    has_bounds
        Whether the response may lie on these bounds.
    has_scale
        Whether φ is estimated, by Pearson's statistic, and not 1.
    """

    name: ClassVar[str]
    default_link: ClassVar[str]
    canonical: ClassVar[str] = ""
    lower: ClassVar[float] = 0.0
    upper: ClassVar[float] = np.inf
    has_bounds: ClassVar[bool] = False
    has_scale: ClassVar[bool] = True

    def variance(self, mu: Array) -> tuple[Array, Array]:
        """Return V(μ) and dV/dμ."""
        raise NotImplementedError

    def deviance(self, y: Array, mu: Array) -> Array:
        """Return the deviance of each row at weight 1."""
        raise NotImplementedError

    def loglike(self, y: Array, mu: Array, weights: Array, scale: float) -> Array:
        """Return the log-likelihood of each row."""
        raise NotImplementedError

    def start(self, y: Array, mean: float) -> Array:
        """Return means to start from, given the pooled one."""
        return (y + mean) / 2

    def clip(self, mu: Array) -> Array:
        """Return means off their bounds by a rounding error, where they are rounded onto them."""
        return mu

    def check(self, y: Array, name: str) -> None:
        """Raise DataError if a response cannot be of this family."""
        inside = (y >= self.lower) & (y <= self.upper) if self.has_bounds else y > self.lower
        bad = int(np.count_nonzero(~inside))
        if bad:
            between = {
                (True, np.inf): "0 or more",
                (True, 1.0): "between 0 and 1",
                (False, np.inf): "positive",
            }[self.has_bounds, self.upper]
            raise DataError(
                f"the response {name!r} is not {between} in {bad} rows of this site: the {self.name} family "
                "needs that"
            )


class Gaussian(Family):
    """Normal, of constant variance."""

    name = "gaussian"
    default_link = canonical = "identity"
    lower = -np.inf

    def variance(self, mu: Array) -> tuple[Array, Array]:
        return np.ones_like(mu), np.zeros_like(mu)

    def deviance(self, y: Array, mu: Array) -> Array:
        return np.asarray((y - mu) ** 2)

    def loglike(self, y: Array, mu: Array, weights: Array, scale: float) -> Array:
        return np.asarray(-weights * (y - mu) ** 2 / scale - np.log(2 * np.pi * scale / weights)) / 2


class Binomial(Family):
    """Proportions of successes; 0 or 1 of single trials."""

    name = "binomial"
    default_link = canonical = "logit"
    upper = 1.0
    has_bounds = True
    has_scale = False

    def variance(self, mu: Array) -> tuple[Array, Array]:
        return mu * (1 - mu), 1 - 2 * mu

    def deviance(self, y: Array, mu: Array) -> Array:
        return np.asarray(2 * (xlogy(y, y) - xlogy(y, mu) + xlogy(1 - y, 1 - y) - xlogy(1 - y, 1 - mu)))

    def loglike(self, y: Array, mu: Array, weights: Array, scale: float) -> Array:  # noqa: ARG002  (φ is 1)
        hits, misses = weights * y, weights * (1 - y)
        ways = gammaln(weights + 1) - gammaln(hits + 1) - gammaln(misses + 1)
        return np.asarray(ways + xlogy(hits, mu) + xlogy(misses, 1 - mu))

    def start(self, y: Array, mean: float) -> Array:  # noqa: ARG002
        return (y + 0.5) / 2

    def clip(self, mu: Array) -> Array:
        return np.asarray(np.clip(mu, _EPS, 1 - _EPS))


class Poisson(Family):
    """Counts whose variance is their mean."""

    name = "poisson"
    default_link = canonical = "log"
    has_bounds = True
    has_scale = False

    def variance(self, mu: Array) -> tuple[Array, Array]:
        return mu, np.ones_like(mu)

    def deviance(self, y: Array, mu: Array) -> Array:
        return np.asarray(2 * (xlogy(y, y) - xlogy(y, mu) - (y - mu)))

    def loglike(self, y: Array, mu: Array, weights: Array, scale: float) -> Array:
        return np.asarray(weights / scale * (xlogy(y, mu) - mu - gammaln(y + 1)))


class Gamma(Family):
    """Positive, of constant coefficient of variation."""

    name = "gamma"
    default_link = canonical = "inverse_power"

    def variance(self, mu: Array) -> tuple[Array, Array]:
        return mu**2, 2 * mu

    def deviance(self, y: Array, mu: Array) -> Array:
        return np.asarray(2 * ((y - mu) / mu - np.log(y / mu)))

    def loglike(self, y: Array, mu: Array, weights: Array, scale: float) -> Array:
        shape = weights / scale
        return np.asarray(shape * np.log(shape * y / mu) - shape * y / mu - gammaln(shape) - np.log(y))


class InverseGaussian(Family):
    """Positive, of a variance that grows with the third power of the mean."""

    name = "inverse_gaussian"
    default_link = canonical = "inverse_squared"

    def variance(self, mu: Array) -> tuple[Array, Array]:
        return mu**3, 3 * mu**2

    def deviance(self, y: Array, mu: Array) -> Array:
        return np.asarray((y - mu) ** 2 / (y * mu**2))

    def loglike(self, y: Array, mu: Array, weights: Array, scale: float) -> Array:
        spread = scale / weights
        return np.asarray(-((y - mu) ** 2) / (spread * y * mu**2) - np.log(2 * np.pi * spread * y**3)) / 2


@dataclass(frozen=True)
class NegativeBinomial(Family):
    """Counts of variance μ + α·μ² (NB2), α given."""

    name = "negative_binomial"
    default_link = "log"
    has_bounds = True
    has_scale = False

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < np.inf:
            raise DataError(f"alpha must be a positive number, not {self.alpha!r}")

    def variance(self, mu: Array) -> tuple[Array, Array]:
        return mu + self.alpha * mu**2, 1 + 2 * self.alpha * mu

    def deviance(self, y: Array, mu: Array) -> Array:
        size = 1 / self.alpha
        return np.asarray(2 * (xlogy(y, y) - xlogy(y, mu) - (y + size) * np.log((y + size) / (mu + size))))

    def loglike(self, y: Array, mu: Array, weights: Array, scale: float) -> Array:
        size = 1 / self.alpha
        rows = xlogy(y, self.alpha * mu) - (y + size) * np.log1p(self.alpha * mu)
        return np.asarray(weights / scale * (rows + gammaln(y + size) - gammaln(size) - gammaln(y + 1)))


@dataclass(frozen=True)
class Tweedie(Family):
    """Zeros and positive numbers, of variance φ·μ^p; sums of a Poisson number of gamma variables."""

    name = "tweedie"
    default_link = "log"
    has_bounds = True

    var_power: float = 1.5

    def __post_init__(self) -> None:
        if not 1 < self.var_power < 2:
            raise DataError(
                f"var_power must lie between 1 and 2, not at {self.var_power!r}; at 0, 1, 2 and 3 are the "
                "families gaussian, poisson, gamma and inverse_gaussian"
            )

    def variance(self, mu: Array) -> tuple[Array, Array]:
        return mu**self.var_power, self.var_power * mu ** (self.var_power - 1)

    def deviance(self, y: Array, mu: Array) -> Array:
        p = self.var_power
        terms = y ** (2 - p) / (1 - p) - (2 - p) / (1 - p) * y * mu ** (1 - p) + mu ** (2 - p)
        return np.asarray(2 / (2 - p) * terms)

    def loglike(self, y: Array, mu: Array, weights: Array, scale: float) -> Array:
        """Return the density by Wright's generalised Bessel function (Dunn and Smyth 2005)."""
        p, spread = self.var_power, scale / weights
        rows = (y * mu ** (1 - p) / (1 - p) - mu ** (2 - p) / (2 - p)) / spread
        some = y > 0
        power = (2 - p) / (1 - p)
        x = ((p - 1) * spread[some] / y[some]) ** power / ((2 - p) * spread[some])
        rows[some] += _log_wright_bessel(-power, x) - np.log(y[some])
        return np.asarray(rows)


def _log_wright_bessel(a: float, x: Array) -> Array:
    if hasattr(special, "log_wright_bessel"):  # SciPy 1.14
        return np.asarray(special.log_wright_bessel(a, 0.0, x))
    return np.log(special.wright_bessel(a, 0.0, x))


_PLAIN: Mapping[str, type[Family]] = {
    family.name: family for family in (Gaussian, Binomial, Poisson, Gamma, InverseGaussian)
}


def family_of(name: str, *, alpha: float = 1.0, var_power: float = 1.5) -> Family:
    """Return a family by its name.

    Raises
    ------
    DataError
        There is no such family, or its parameter is out of range.
    """
    if name == NegativeBinomial.name:
        return NegativeBinomial(alpha)
    if name == Tweedie.name:
        return Tweedie(var_power)
    if name not in _PLAIN:
        known = ", ".join([*_PLAIN, NegativeBinomial.name, Tweedie.name])
        raise DataError(f"there is no family {name!r}; the families are {known}")
    return _PLAIN[name]()


def link_of(family: Family, name: str | None) -> Link:
    """Return a link by its name, or the family's own for None.

    Raises
    ------
    DataError
        There is no such link.
    """
    link = LINKS.get(family.default_link if name is None else name)
    if link is None:
        raise DataError(f"there is no link {name!r}; the links are {', '.join(LINKS)}")
    return link
