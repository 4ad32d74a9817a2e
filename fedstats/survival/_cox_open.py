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
    risk
        What they are made of.
    """

    beta: Array
    loglik: float
    score: Array
    information: Array
    risk: CellMeans


@dataclass(frozen=True, eq=False, repr=False)
class CellMeans:
    """Weighted means over the risk sets of events, by the cell of these.

    When a part κ of its cell's events has left, the mean of a risk set is m − κ·h·o: with the mean m of all
    of it, o = Σw(z − m) over the events, and h = 1 / Σw of what remains. So sums over the events of a cell
    take no more of each event than κ and h.

    Attributes
    ----------
    events
        How many there are.
    means, off
        m and o, shape ``(cells, p)``; o is 0 where no event leaves before another.
    added, gone
        Σh, what a cell adds to the hazard, and Σκh, the part of it in which its own events were gone.
    gone_added, gone_twice
        Σκh² and Σκ²h².
    """

    events: Codes
    means: Array
    off: Array
    added: Array
    gone: Array
    gone_added: Array
    gone_twice: Array

    def total(self, g: Array) -> Array:
        """Return Σ g·mean over events, for g given by cell."""
        return np.asarray((g * self.events) @ self.means - (g * self.gone) @ self.off)

    def products(self, g: Array) -> Array:
        """Return Σ g·mean·mean' over events, for g given by cell."""
        m, o, g = self.means, self.off, g[:, np.newaxis]
        cross = m.T @ (g * self.gone[:, np.newaxis] * o)
        whole = m.T @ (g * self.events[:, np.newaxis] * m)
        return np.asarray(whole - cross - cross.T + o.T @ (g * self.gone_twice[:, np.newaxis] * o))

    @property
    def times_added(self) -> Array:
        """Σ h·mean of the events of each cell, shape ``(cells, p)``."""
        return np.asarray(self.added[:, np.newaxis] * self.means - self.gone_added[:, np.newaxis] * self.off)

    @property
    def times_gone(self) -> Array:
        """Σ κh·mean likewise."""
        return np.asarray(self.gone[:, np.newaxis] * self.means - self.gone_twice[:, np.newaxis] * self.off)

    @property
    def of_events(self) -> Array:
        """The mean over the risk sets of the events of each cell, shape ``(cells, p)``."""
        return np.asarray(self.means - (self.gone / self.events)[:, np.newaxis] * self.off)


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
        self._event_sums = self.run.sum("event sums", self.rows.over_events(1.0))
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
        variances, hazards = np.diag(self._inverse).copy(), self._found.risk.added
        return Estimates(variances, self._inverse, self._null, self._found.loglik, hazards)

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
        p, size = len(beta), len(self.rows.cells)
        weights = self.rows.weights(beta)
        own = self.rows.sums(weights, self._tied)
        opened = self.run.sum("risk sets", own, ring=FIXED128, part=part)
        W, S = opened[0, :size], opened[1:, :size].T
        dying = np.zeros(size)
        dying[self._tied] = opened[0, size:]
        remaining = W[self._cell] - self._left * dying[self._cell]
        risk = self._means(W, S, opened[:, size:], 1.0 / remaining)
        omega = self._hazards(weights, risk.added, risk.gone)
        upper = np.triu_indices(p)
        second = self.run.sum("information", self.rows.total_products(omega)[upper], part=part)
        every = np.ones(size)
        information = symmetric(second, p) - risk.products(every)
        loglik = float(beta @ self._event_sums - np.log(remaining).sum())
        return Evaluation(beta, loglik, self._event_sums - risk.total(every), information, risk)

    def _means(self, W: Array, S: Array, dying: Array, h: Array) -> CellMeans:
        """Return means over risk sets.

        Parameters
        ----------
        W, S
            Σw and Σwz of these, the latter of shape ``(cells, p)``.
        dying
            Both of the events of tied cells, shape ``(1 + p, tied cells)``.
        h
            1 / Σw of what remains for each event.
        """
        means = S / W[:, np.newaxis]
        off = np.zeros_like(means)
        off[self._tied] = dying[1:].T - dying[0][:, np.newaxis] * means[self._tied]
        gone = self._left * h
        sums = [self._by_cell(x) for x in (h, gone, gone * h, gone * gone)]
        return CellMeans(self.rows.cells.events, means, off, *sums)

    def _by_cell(self, per_event: Array) -> Array:
        """Return sums over the events of each cell."""
        total = np.bincount(self._cell, weights=per_event, minlength=len(self.rows.cells))
        return np.asarray(total, np.float64)

    def _hazards(self, weights: Array, added: Array, gone: Array) -> Array:
        """Return w·∫dH of each row: what each cell adds, less the part in which tied rows were gone."""
        hazard = along(self.rows.last, added) - along(self.rows.first, added)
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
        weights, risk = self.rows.weights(found.beta), found.risk
        powers = transform, transform**2
        own = [self.rows.over_events(transform[self.rows.where])]
        for g in powers:
            omega = self._hazards(weights, g * risk.added, g * risk.gone)
            own.append(self.rows.total_products(omega)[upper])
        opened = self.run.sum("transformed terms", np.concatenate(own))
        events, once, twice = np.split(opened, np.cumsum([p, len(upper[0])]))
        first, second = (
            symmetric(part, p) - risk.products(g) for part, g in zip((once, twice), powers, strict=True)
        )
        return events - risk.total(transform), first, second

    def meat(self, found: Evaluation, cluster: NDArray[np.int64]) -> Array:
        """Open Σ rr' of the score residuals r of clusters, given the cluster of each row."""
        rows, risk = self.rows, found.risk
        p = len(found.beta)
        weights = rows.weights(found.beta)
        r = -rows.z * self._hazards(weights, risk.added, risk.gone)[:, np.newaxis]
        for k, (added, gone) in enumerate(zip(risk.times_added.T, risk.times_gone.T, strict=True)):
            r[:, k] += self._hazards(weights, added, gone)
        r[rows.died] += rows.z[rows.died] - risk.of_events[rows.where]
        sums = np.stack([np.bincount(cluster, weights=column) for column in r.T], axis=1) if len(r) else r
        upper = np.triu_indices(p)
        return symmetric(self.run.sum("score residuals", (sums.T @ sums)[upper]), p)
