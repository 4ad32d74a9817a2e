"""A site's rows of a generalised linear model: information, scores and likelihood, and where to start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.formula import INTERCEPT
from fedstats.regression import _newton
from fedstats.regression._equations import Recent, solve
from fedstats.regression._families import Family
from fedstats.regression._links import Link, Means

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedstats.analysis import Analysis

#: Largest information or score of a row, in units of the model of a constant.
_LARGEST = 2.0**70


@dataclass(frozen=True, eq=False, repr=False)
class GLMRows:
    """This site's rows of a generalised linear model: a `_newton.Likelihood`.

    Attributes
    ----------
    eta_unit
        Public unit of the linear predictor, in which its parameters are measured.
    weight_unit
        Public unit of the information of a row.
    square
        Public unit of squares of the response, for families whose deviance is measured in it.
    """

    Z: Array
    y: Array
    weights: Array
    offset: Array
    family: Family
    link: Link
    names: tuple[str, ...]
    eta_unit: float
    weight_unit: float
    square: float

    @property
    def is_restricted(self) -> bool:
        within = self.link.lower >= self.family.lower and self.link.upper <= self.family.upper
        return self.link.positive_only or not within

    def linear(self, params: Array) -> Array:
        return self.eta_unit * (self.Z @ params) + self.offset

    def means(self, eta: Array) -> Means:
        mu, slope, curve = self.link.to_means(eta)
        return self.family.clip(mu), slope, curve

    def per_row(self, eta: Array, *, observed: bool) -> tuple[Array, Array]:
        """Return the information and the score of each row for its linear predictor, in their units."""
        mu, slope, curve = self.means(eta)
        V, V_slope = self.family.variance(mu)
        information = slope**2 / V
        residual = (self.y - mu) / V
        if observed and self.link.name != self.family.canonical:
            information = information - residual * (curve - slope**2 * V_slope / V)
        weights = self.weights / self.weight_unit
        # Cut off where a step went astray, so that sums stay finite.
        return _cut(weights * information), _cut(weights * residual * slope / self.eta_unit)

    def system(self, params: Array, *, near: bool) -> tuple[Array, Array]:
        information, score = self.per_row(self.linear(params), observed=near)
        return self.information(information), self.Z.T @ score

    def information(self, per_row: Array) -> Array:
        return self.Z.T @ (per_row[:, np.newaxis] * self.Z)

    def rows(self, params: Array) -> Array:
        return self.loglike(self.linear(params), self.square)

    def loglike(self, eta: Array, scale: float) -> Array:
        """Return the log-likelihood of each row, −inf where its linear predictor is impossible."""
        possible = self.possible(eta)
        # Where it is not, any possible mean will do for what is then replaced.
        mu = np.where(possible, self.means(np.where(possible, eta, 1.0))[0], 0.5)
        return np.where(possible, self.family.loglike(self.y, mu, self.weights, scale), -np.inf)

    def possible(self, eta: Array) -> NDArray[np.bool_]:
        if not self.is_restricted:
            return np.isfinite(eta)
        inside = eta > 0 if self.link.positive_only else np.isfinite(eta)
        mu = self.link.to_means(np.where(inside, eta, 1.0))[0]
        return np.asarray(inside & (mu > self.family.lower) & (mu < self.family.upper))

    def within(self, params: Array, step: Array) -> Array:  # noqa: ARG002  (what is possible, the rows tell)
        return step

    def first_system(self, mean: float) -> tuple[Array, Array]:
        """Return the weighted least squares problem whose solution is the first step of the iteration."""
        lower, upper = bounds(self.family, self.link)
        mu = self.family.start(self.y, mean)
        if np.isfinite(lower):
            mu = np.maximum(mu, lower + (mean - lower) / 10)
        if np.isfinite(upper):
            mu = np.minimum(mu, upper - (upper - mean) / 10)
        eta = self.link.to_linear(mu)
        information, score = self.per_row(eta, observed=False)
        target = information * (eta - self.offset) / self.eta_unit + score
        return self.information(information), self.Z.T @ target


def bounds(family: Family, link: Link) -> tuple[float, float]:
    """Return between which means are possible."""
    return max(link.lower, family.lower), min(link.upper, family.upper)


def _cut(x: Array) -> Array:
    return np.asarray(np.clip(x, -_LARGEST, _LARGEST))


def check_mean(mean: float, family: Family, link: Link, response: str) -> None:
    """Raise EstimationError unless the mean of the response is a possible one."""
    lower, upper = bounds(family, link)
    if not lower < mean < upper:
        raise EstimationError(
            f"the mean of the response {response!r} over all sites is not between {lower:g} and {upper:g}: "
            f"no finite estimates exist with the {family.name} family and the link {link.name!r}"
        )


def units(mean: float, weight: float, size: float | None, family: Family, link: Link) -> dict[str, float]:
    """Return public units in which parameters, information and squares of any response are about 1.

    Parameters
    ----------
    mean, weight
        Of the response, and of its weights.
    size
        Of the response, where the linear predictor is measured in its unit.
    """
    eta = link.to_linear(np.array([mean]))
    at_mean = np.array([mean])
    return {
        "eta_unit": 1.0 if size is None else float(np.abs(link.to_linear(np.array(size)))),
        "weight_unit": weight * float(link.to_means(eta)[1][0] ** 2 / family.variance(at_mean)[0][0]),
        "square": 1.0 if family.name != "gaussian" else (size or mean) ** 2,
    }


def maximise_from(
    run: Analysis, rows: GLMRows, mean: float, has_offset: bool, maxiter: int, parts: Iterator[int]
) -> _newton.Maximum:
    """Maximise the likelihood of rows whose pooled mean response is known; see `_newton.maximise`."""
    recent = Recent()
    start = _start(run, rows, mean, has_offset, parts, recent)
    return _newton.maximise(run, rows, start, maxiter=maxiter, parts=parts, recent=recent)


def _start(
    run: Analysis, rows: GLMRows, mean: float, has_offset: bool, parts: Iterator[int], recent: Recent
) -> Array:
    """Return estimates to start from: the first ones of iteratively reweighted least squares."""
    A, b = rows.first_system(mean)
    first = solve(run, "steps", A, b, rows.names, part=next(parts), recent=recent)
    if not rows.is_restricted:
        return first
    start = first
    if rows.names[0] == INTERCEPT and not has_offset:
        # The null model is possible, and so is some point on the way from there.
        start = np.zeros_like(first)
        start[0] = rows.link.to_linear(np.array([mean]))[0] / rows.eta_unit
        return start + _newton.shortened(run, rows, start, first - start, parts)
    impossible = np.count_nonzero(np.isinf(rows.rows(start)))
    if _newton.reaches(run, "gains", np.array([float(impossible)]), 0.5, next(parts))[0]:
        raise EstimationError(
            f"no starting values: with the link {rows.link.name!r} the means of some rows are impossible; "
            "change the link, or add an intercept"
        )
    return start
