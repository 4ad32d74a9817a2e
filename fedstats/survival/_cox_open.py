"""Proportional hazards from opened sums over risk sets: the aggregate mode."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve

from fedstats.expressions import Array
from fedstats.regression._cholesky import cholesky, symmetric
from fedstats.survival._cox_rows import Rows, along
from fedstats.survival._times import Codes
from protocols.ring import FIXED128, Ring


class Sums(Protocol):
    """What sums are opened with: an analysis."""

    def sum(
        self, label: str, values: NDArray[Any], *, ring: Ring | None = None, part: int | None = None
    ) -> NDArray[Any]:
        """See `Analysis.sum`."""


@dataclass(frozen=True, eq=False, repr=False)
class Estimates:
    """What comes with the estimates, in the frame of the covariates.

    Attributes
    ----------
    variances, matrix
        Of the estimates; the matrix is None where it was not opened.
    null, loglik
        Log-likelihoods without covariates and at the estimates.
    hazards
        What each cell adds to the baseline hazard; None where it was not opened.
    """

    variances: Array
    matrix: Array | None
    null: float
    loglik: float
    hazards: Array | None


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """The partial likelihood at one β, as every site knows it.

    Attributes
    ----------
    beta
        Where.
    loglik, score, information
        Its logarithm, gradient and negative second derivatives.
    means
        Weighted mean covariates of the risk set of each event, shape ``(events, p)``.
    per_weight
        1 / Σw of the risk set of each event.
    """

    beta: Array
    loglik: float
    score: Array
    information: Array
    means: Array
    per_weight: Array


@dataclass(eq=False, repr=False)
class OpenModel:
    """The pooled partial likelihood, evaluated by opening sums.

    Parameters
    ----------
    run
        The analysis.
    rows, names
        This site's rows, and the covariates.
    is_efron
        Whether tied events leave the risk set one after the other, in part.
    """

    #: A step is small if no coefficient changes by this much, and predictors are not larger than that.
    tolerance: ClassVar[float] = 1e-10
    largest: ClassVar[float] = 30.0
    #: Every step is Newton's.
    is_newton: ClassVar[bool] = True

    run: Sums
    rows: Rows
    names: tuple[str, ...]
    is_efron: bool

    def __post_init__(self) -> None:
        cells = self.rows.cells
        self._cell = cells.repeated
        self._left = cells.place / cells.events[self._cell] if self.is_efron else np.zeros(len(self._cell))
        self._tied = np.flatnonzero(cells.events > 1) if self.is_efron else np.zeros(0, np.int64)
        own = self.rows.z[self.rows.died].sum(axis=0)
        self._event_sums = self.run.sum("event sums", own)
        self.spread = np.ones(len(self.names))

    def ranges(self, beta: Array) -> Codes:
        """Return 1 if a linear predictor of this site is too large, else 0."""
        return np.array([np.max(self.rows.z @ beta, initial=0.0) > self.largest], np.int64)

    def is_within(self, many: Codes) -> bool:
        """Tell whether `ranges`, added up over the sites, allow for an evaluation."""
        return not many[0]

    def step(self, beta: Array, number: int) -> Array:
        """Return Newton's step from β."""
        self._found = self.evaluate(beta, number)
        if number == 0:
            self._null = self._found.loglik
        factor = cholesky(self._found.information, self.names)
        self._inverse = np.asarray(cho_solve((factor, False), np.eye(len(self.names))))
        return np.asarray(cho_solve((factor, False), self._found.score))

    def finish(self) -> Estimates:
        """Return what is known at the last β."""
        hazards = self._by_cell(self._found.per_weight)
        return Estimates(
            np.diag(self._inverse).copy(), self._inverse, self._null, self._found.loglik, hazards
        )

    def sandwich(self, found: Estimates, clusters: NDArray[np.int64]) -> Estimates:
        """Return estimates with the sandwich covariance, given the cluster of each row."""
        matrix = self._inverse @ self.meat(self._found, clusters) @ self._inverse
        return replace(found, variances=np.diag(matrix).copy(), matrix=matrix)

    def proportionality(self, transform: Array) -> Array:
        """Return score statistics that g(t)·z has coefficient 0: of each covariate, and of all together.

        The score is that at the estimates, to the first order: steps end before its own is quite 0.
        """
        score, first, second = self.transformed(self._found, transform)
        slope = first @ self._inverse
        score = score - slope @ self._found.score
        rest = second - slope @ first
        cholesky(rest, tuple(f"the product of {name} with time" for name in self.names))
        return np.append(score**2 / np.diag(rest), score @ np.linalg.solve(rest, score))

    def evaluate(self, beta: Array, part: int) -> Evaluation:
        """Open what the likelihood at β is made of: two sums."""
        p = len(beta)
        weights = self.rows.weights(beta)
        own = self.rows.sums(weights, self._tied)
        opened = self.run.sum("risk sets", own, ring=FIXED128, part=part)
        S = opened[:, : len(self.rows.cells)]
        D = np.zeros_like(S)
        D[:, self._tied] = opened[:, len(self.rows.cells) :]
        remaining = S[:, self._cell] - self._left * D[:, self._cell]
        per_weight = 1.0 / remaining[0]
        means = (remaining[1:] * per_weight).T
        omega = self._hazards(weights, per_weight)
        upper = np.triu_indices(p)
        second = self.run.sum(
            "information", (self.rows.z.T @ (omega[:, np.newaxis] * self.rows.z))[upper], part=part
        )
        information = symmetric(second, p) - means.T @ means
        loglik = float(beta @ self._event_sums - np.log(remaining[0]).sum())
        return Evaluation(beta, loglik, self._event_sums - means.sum(axis=0), information, means, per_weight)

    def _by_cell(self, per_event: Array) -> Array:
        """Return sums over the events of each cell."""
        total = np.bincount(self._cell, weights=per_event, minlength=len(self.rows.cells))
        return np.asarray(total, np.float64)

    def _hazards(self, weights: Array, per_event: Array) -> Array:
        """Return w·∫dH of each row: what each event adds, less the part in which tied rows were gone."""
        jump, gone = self._by_cell(per_event), self._by_cell(self._left * per_event)
        hazard = along(self.rows.last, jump) - along(self.rows.first, jump)
        hazard[self.rows.died] -= gone[self.rows.where]
        return np.asarray(weights * hazard)

    def transformed(self, found: Evaluation, transform: Array) -> tuple[Array, Array, Array]:
        """Open score and information of the terms g(t)·z at their coefficient 0.

        Parameters
        ----------
        found
            At the estimate.
        transform
            g at each cell.

        Returns
        -------
        tuple
            Σ g·(z − mean) over events; Σ g·V and Σ g²·V over events, with the covariances V of risk sets.
        """
        p = len(found.beta)
        upper = np.triu_indices(p)
        weights, g = self.rows.weights(found.beta), transform[self._cell]
        z = self.rows.z
        own = [(transform[self.rows.where][:, np.newaxis] * z[self.rows.died]).sum(axis=0)]
        for power in (g, g**2):
            omega = self._hazards(weights, power * found.per_weight)
            own.append((z.T @ (omega[:, np.newaxis] * z))[upper])
        opened = self.run.sum("transformed terms", np.concatenate(own))
        events, once, twice = np.split(opened, np.cumsum([p, len(upper[0])]))
        score = events - g @ found.means
        first, second = (
            symmetric(part, p) - found.means.T @ (power[:, np.newaxis] * found.means)
            for part, power in ((once, g), (twice, g**2))
        )
        return score, first, second

    def meat(self, found: Evaluation, cluster: NDArray[np.int64]) -> Array:
        """Open Σ rr' of the score residuals r of clusters, given the cluster of each row."""
        rows, cells = self.rows, self.rows.cells
        p = len(found.beta)
        weights = rows.weights(found.beta)
        r = -rows.z * self._hazards(weights, found.per_weight)[:, np.newaxis]
        for k in range(p):
            weighted = found.per_weight * found.means[:, k]
            jump, gone = self._by_cell(weighted), self._by_cell(self._left * weighted)
            r[:, k] += weights * (along(rows.last, jump) - along(rows.first, jump))
            r[rows.died, k] -= weights[rows.died] * gone[rows.where]
            mean = self._by_cell(found.means[:, k]) / cells.events
            r[rows.died, k] += rows.z[rows.died, k] - mean[rows.where]
        sums = np.stack([np.bincount(cluster, weights=column) for column in r.T], axis=1) if len(r) else r
        upper = np.triu_indices(p)
        return symmetric(self.run.sum("score residuals", (sums.T @ sums)[upper]), p)
