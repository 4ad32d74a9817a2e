"""Laplace's approximation of the likelihood of a logistic regression with a random intercept.

A cluster's log-likelihood given an intercept σ·u, with −u²/2 for u, is g(u). Its integral over u is about
exp(g(û)) / √h with û where g is largest and h = −g''(û) = 1 + σ²Σw, w = μ(1 − μ). Derivatives in the
coefficients and σ are exact ones of the approximation: û moves with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fedstats.expressions import Array

#: What the last parameter is.
DEVIATION = "the standard deviation of intercepts"
#: Newton's steps to a cluster's intercept, and when they end.
_MOST_STEPS, _CONVERGED = 100, 1e-13


class _Modes(NamedTuple):
    """Where clusters' likelihoods are largest: û, linear predictors of rows, and h."""

    u: Array
    eta: Array
    h: Array


@dataclass(frozen=True, eq=False, repr=False)
class Laplace:
    """This site's rows, cluster by cluster: a `_newton.Likelihood` of coefficients, then σ.

    Attributes
    ----------
    X, y
        Model matrix and response.
    starts, sizes
        Where clusters begin, and how many rows they have.
    terms
        Names of the columns of X.
    """

    X: Array
    y: Array
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    terms: tuple[str, ...]

    is_restricted = False

    @classmethod
    def of(cls, X: Array, y: Array, cluster: NDArray[np.int64], terms: tuple[str, ...]) -> Laplace:
        """Sort the rows by cluster."""
        order = np.argsort(cluster, kind="stable")
        starts = np.flatnonzero(np.diff(cluster[order], prepend=-1))
        return cls(X[order], y[order], starts, np.diff(np.append(starts, len(y))), terms)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.terms, DEVIATION)

    def rows(self, params: Array) -> Array:
        """Return the log-likelihood of each cluster."""
        u, eta, h = self._modes(params)
        return self._sums(self.y * eta - np.logaddexp(0, eta)) - u**2 / 2 - np.log(h) / 2

    def within(self, params: Array, step: Array) -> Array:
        """Return the step, shortened if it changes σ by more than itself and 1."""
        most = max(1.0, abs(params[-1]))
        return step * min(1.0, most / abs(step[-1])) if step[-1] else step

    def system(self, params: Array, *, near: bool) -> tuple[Array, Array]:
        """Return information and score; far from the maximum, what is positive definite everywhere."""
        sigma, p = params[-1], len(self.terms)
        last = np.eye(p + 1)[-1]
        u, eta, h = self._modes(params)
        mu = expit(eta)
        w = mu * (1 - mu)
        bend, bend2 = w * (1 - 2 * mu), w * (1 - 6 * w)  # w's derivatives in η
        a = np.column_stack([self.X, self._spread(u)])  # dη at a fixed û
        W, R, M = (self._sums(each)[:, np.newaxis] for each in (w, self.y - mu, bend))
        h = h[:, np.newaxis]
        wa = self._sums(w[:, np.newaxis] * a)
        du = (R * last - sigma * wa) / h
        moved = a + sigma * self._spread(du)
        of_bend = self._sums(bend[:, np.newaxis] * moved)
        dh = 2 * sigma * W * last + sigma**2 * of_bend
        score = a.T @ (self.y - mu) - (dh / h).sum(axis=0) / 2
        if not near:
            return self._scoring(sigma, w, W, h), score

        t = -(sigma**3) * M / (2 * h**2)  # what d²û is multiplied by, divided by h
        weights = self._spread(sigma * t[:, 0]) * bend + self._spread(sigma**2 / (2 * h[:, 0])) * bend2
        along = (
            -(t * (wa + sigma * W * du)).sum(axis=0)
            - (sigma * t * W * du).sum(axis=0)
            - (sigma * of_bend / h).sum(axis=0)
            - (sigma**2 * M * du / (2 * h)).sum(axis=0)
        )
        hessian = (
            -a.T @ (w[:, np.newaxis] * moved)
            + np.outer(last, (R * du).sum(axis=0))
            - moved.T @ (weights[:, np.newaxis] * moved)
            + np.outer(last, along)
            + np.outer(along, last)
            - np.outer(last, last) * (W / h).sum()
            + (dh / h).T @ (dh / h) / 2
        )
        return -(hessian + hessian.T) / 2, score

    def _scoring(self, sigma: float, w: Array, W: Array, h: Array) -> Array:
        """Return the information of a linear model with weights w, in which σ is apart from coefficients."""
        wX = self._sums(w[:, np.newaxis] * self.X)
        of_terms = (w[:, np.newaxis] * self.X).T @ self.X - (sigma**2 / h * wX).T @ wX
        share = W / h
        found = np.zeros((len(self.terms) + 1,) * 2)
        found[:-1, :-1] = of_terms
        found[-1, -1] = (share + 2 * sigma**2 * share**2).sum()
        return found

    def _modes(self, params: Array) -> _Modes:
        fixed, sigma = self.X @ params[:-1], params[-1]
        u: Array = np.zeros(len(self.starts))
        for _ in range(_MOST_STEPS):
            mu = expit(fixed + sigma * self._spread(u))
            h = 1 + sigma**2 * self._sums(mu * (1 - mu))
            step = (sigma * self._sums(self.y - mu) - u) / h
            u = u + np.clip(step, -2, 2)
            if np.abs(step).max(initial=0.0) < _CONVERGED:
                break
        eta = fixed + sigma * self._spread(u)
        mu = expit(eta)
        return _Modes(u, eta, 1 + sigma**2 * self._sums(mu * (1 - mu)))

    def _sums(self, x: Array) -> Array:
        """Return sums over the rows of each cluster."""
        return np.add.reduceat(x, self.starts, axis=0) if len(self.starts) else x[:0]

    def _spread(self, x: Array) -> Array:
        """Return what each row's cluster has."""
        return np.repeat(x, self.sizes, axis=0)
