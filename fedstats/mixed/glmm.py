"""Logistic regression with a random intercept, of the rows of all sites, by Laplace's approximation.

Given the coefficients and the standard deviation of the intercepts, clusters are independent, so the
approximated log-likelihood is a sum over clusters, each of which lies within one site. Its pooled value and
derivatives are opened at every step of Newton's method (`_maximum`), nothing else.

References
----------
N. E. Breslow and D. G. Clayton, "Approximate Inference in Generalized Linear Mixed Models", JASA 88, 1993.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _frames, design
from fedstats._complete import complete_rows
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.mixed._blocks import Complex
from fedstats.mixed._clusters import CLUSTERS, clusters_of, open_clusters
from fedstats.mixed._maximum import minimise
from fedstats.mixed._results import GLMMResult
from fedstats.regression._cholesky import cholesky

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "glmm",
    aggregate={
        **design.AGGREGATE,
        **_frames.AGGREGATE,
        **CLUSTERS,
        "responses": "number of rows whose response is 1",
        "log-likelihood": "at each step, with first derivatives there and beside it",
    },
    published=design.PUBLISHED,
)

#: Newton's steps to a cluster's intercept, and when they end.
_MOST_STEPS, _CONVERGED = 100, 1e-13


def glmm(
    formula: str,
    cohort: Cohort,
    *,
    groups: str | None = None,
    missing: design.Missing = "drop",
    disclose: Disclose = "aggregate",
) -> GLMMResult:
    """Fit a logistic regression with a random intercept to the rows of all sites.

    Parameters
    ----------
    formula
        Response, of values 0 and 1 or truth values, and fixed effects, as for `ols`.
    cohort
        The rows.
    groups
        Column of clusters, each within one site: the same value at two sites means two clusters. By default
        each site is one cluster.
    missing
        As for `ols`.
    disclose
        ``"aggregate"``, the one mode: the pooled log-likelihood is opened at every step, with derivatives.

    Returns
    -------
    GLMMResult
        Fixed effects, variance of the intercepts, likelihood.

    Raises
    ------
    DataError
        The formula, or a column, cannot be used; says which and what to do.
    RemoteError
        The same at another site.
    EstimationError
        There are fewer than two clusters, all responses are the same, or the estimates do not converge.

    Notes
    -----
    Laplace's approximation is that of lme4's `glmer`; standard errors are from second derivatives with the
    standard deviation of the intercepts among the parameters.

    **Leakage.** Every site learns, of the rows of all sites together: how many are complete, and how many are
    not; the number of clusters; how many responses are 1; coarse sums that locate the columns; and the
    log-likelihood with its first derivatives at each step and at points beside it, which tell its second
    derivatives. Of each single site it learns which levels of the categorical columns occur there. A
    coalition of t sites learns the same of the other sites.

    Cost: 15 rounds and two a step, some 10 as a rule; 550 bytes for each of (2k + 1)·k points of a step, for
    k − 1 terms.

    Examples
    --------
    >>> fs.glmm("died ~ age + arm", cohort, groups="ward").params  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        part = design.agree_design(
            run,
            cohort,
            formula,
            call=f"groups={groups!r}, missing={missing!r}",
            needs_response=True,
            missing=missing,
            check=lambda: complete_rows(cohort, [groups], missing),
        )
        if not part.names:
            raise DataError(f"formula {formula!r} has no terms on its right")
        y = cast(Array, part.y)
        n, n_missing = _frames.open_rows(run, len(part.X), len(cohort) - len(part.X))
        cluster = clusters_of(cohort, groups, part.rows)
        n_groups = open_clusters(run, cluster, "the site" if groups is None else groups)
        other = np.count_nonzero((y != 0) & (y != 1))
        ones, others = run.sum("responses", np.array([np.count_nonzero(y == 1), other])).tolist()
        if others:
            raise EstimationError(f"the response {part.response_name!r} has values that are neither 0 nor 1")
        if ones in (0, n):
            raise EstimationError(f"the response {part.response_name!r} is the same in all rows of all sites")
        p, intercept = len(part.names), int(part.has_intercept)
        frame = _frames.pooled_frame(run, part.X[:, intercept:], part.names[intercept:], n)
        if not intercept:
            frame.centre[:] = 0.0
        X = np.column_stack([np.ones((len(y), intercept)), frame.apply(part.X[:, intercept:])])
        start = np.append(np.zeros(p), 1.0)
        if intercept:
            start[0] = np.log(ones / (n - ones))
        model = _Laplace.of(run, X, y, cluster)
        found, value, curvature, _ = minimise(model, start)
        factor = cholesky(curvature, (*part.names, "the standard deviation of intercepts"))
        inverse = np.linalg.solve(factor, np.eye(p + 1))
        unframing = np.diag(np.concatenate([np.ones(intercept), 1 / frame.unit]))
        if intercept:
            unframing[0, 1:] = -frame.centre / frame.unit
        return GLMMResult(
            **run.finish(),
            formula=part.coding.formula.text,
            groups=groups,
            params=pd.Series(unframing @ found[:p], index=list(part.names), name="coef"),
            covariance=unframing @ (inverse @ inverse.T)[:p, :p] @ unframing.T,
            cov_re=pd.DataFrame([[found[p] ** 2]], index=["Intercept"], columns=["Intercept"]),
            llf=-value,
            nobs=n,
            n_missing=n_missing,
            n_groups=n_groups,
            coding=part.coding,
        )


@dataclass(frozen=True, eq=False, repr=False)
class _Laplace:
    """−log likelihood of the coefficients and of the standard deviation of intercepts.

    Attributes
    ----------
    X, y
        This site's rows, cluster by cluster.
    starts, sizes
        Where clusters begin, and how many rows they have.
    """

    run: Analysis
    X: Array
    y: Array
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, run: Analysis, X: Array, y: Array, cluster: NDArray[np.int64]) -> _Laplace:
        """Sort the rows by cluster."""
        order = np.argsort(cluster, kind="stable")
        starts = np.flatnonzero(np.diff(cluster[order], prepend=-1))
        return cls(run, X[order], y[order], starts, np.diff(np.append(starts, len(y))))

    def __call__(self, points: Complex, number: int) -> Complex:
        """Return the criterion at points; see `_maximum.Pooled`."""
        own = np.array([self._own(point) for point in points])
        unit = np.abs(points.imag).max()
        real, derivative = self.run.sum("log-likelihood", np.stack([own.real, own.imag / unit]), part=number)
        return np.asarray(real + 1j * unit * derivative)

    def _own(self, point: Complex) -> complex:
        """Return this site's part: over clusters −g(u) + ½ log g''(u) at the u where g is largest.

        g(u) is the log-likelihood given an intercept σ·u, less u²/2. The largest is found in real numbers;
        one step more, in complex ones, moves it as its derivative says.
        """
        if not len(self.y):
            return 0j
        u: Array = np.zeros(len(self.starts))
        real = point.real
        for _ in range(_MOST_STEPS):
            gradient, curvature = self._slopes(real, u)
            step = gradient / curvature
            u = u + np.clip(step, -2, 2)
            if np.abs(step).max() < _CONVERGED:
                break
        gradient, curvature = self._slopes(point, u)
        moved = u + gradient / curvature
        _, curvature = self._slopes(point, moved)
        eta = self._predictors(point, moved)
        loglik = (self.y * eta - _log1p_exp(eta)).sum() - (moved**2).sum() / 2
        return complex(np.log(curvature).sum() / 2 - loglik)

    def _predictors(self, point: Complex | Array, u: Complex | Array) -> Complex:
        return np.asarray(self.X @ point[:-1] + point[-1] * np.repeat(u, self.sizes))

    def _slopes(self, point: Complex | Array, u: Complex | Array) -> tuple[Complex, Complex]:
        """Return g' and −g'' of each cluster."""
        mean = 1 / (1 + np.exp(-self._predictors(point, u)))
        gradient = point[-1] * np.add.reduceat(self.y - mean, self.starts) - u
        return gradient, 1 + point[-1] ** 2 * np.add.reduceat(mean * (1 - mean), self.starts)


def _log1p_exp(x: Complex) -> Complex:
    """Return log(1 + e^x) without overflow."""
    large = x.real > 0
    return np.asarray(np.where(large, x, 0) + np.log1p(np.exp(np.where(large, -x, x))))
