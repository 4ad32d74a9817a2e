"""Multinomial logistic regression over the rows of all sites.

Each level of the response but the first has coefficients of its own, β_k, and the probability of level k is
proportional to exp(x'β_k), with β = 0 for the first. The likelihood is concave, so Newton's method
finds its maximum [1]_; information and score are sums over rows, see `_newton`.

References
----------
.. [1] A. Agresti, "Categorical Data Analysis", 3rd edition, Wiley 2013, section 8.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from fedstats import design
from fedstats.disclosure import Disclose
from fedstats.expressions import Array
from fedstats.formula import INTERCEPT, Coding
from fedstats.regression import _levels, _newton, _rows
from fedstats.regression._estimates import MaximumLikelihoodResult
from fedstats.regression._rows import Clusters, CovType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.design import Design

DECLARATION, CLUSTER_DECLARATION = _levels.declarations("mnlogit")


@dataclass(frozen=True, eq=False, repr=False)
class _Choices:
    """This site's rows of the model: a `_newton.Likelihood` of coefficients level by level."""

    Z: Array
    codes: NDArray[np.intp]
    levels: tuple[str, ...]
    terms: tuple[str, ...]

    is_restricted = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{level}: {term}" for level in self.levels[1:] for term in self.terms)

    def log_shares(self, params: Array) -> Array:
        """Return log-probabilities, shape ``(rows, levels)``."""
        return _log_shares(self.Z, params)

    def residuals(self, params: Array) -> tuple[Array, Array]:
        """Return probabilities of the levels but the first, and what the responses differ by from them."""
        shares = np.exp(self.log_shares(params))[:, 1:]
        chosen = self.codes[:, np.newaxis] == np.arange(1, len(self.levels))
        return shares, chosen - shares

    def system(self, params: Array, *, near: bool) -> tuple[Array, Array]:  # noqa: ARG002  (the two are one)
        shares, residuals = self.residuals(params)
        p, others = self.Z.shape[1], shares.shape[1]
        A = np.empty((others, p, others, p))
        for k in range(others):
            for m in range(k, others):
                weights = shares[:, k] * ((k == m) - shares[:, m])
                A[k, :, m] = A[m, :, k] = self.Z.T @ (weights[:, np.newaxis] * self.Z)
        return A.reshape(others * p, others * p), (residuals.T @ self.Z).ravel()

    def scores(self, params: Array) -> Array:
        _, residuals = self.residuals(params)
        return (residuals[:, :, np.newaxis] * self.Z[:, np.newaxis]).reshape(len(self.Z), -1)

    def rows(self, params: Array) -> Array:
        return self.log_shares(params)[np.arange(len(self.Z)), self.codes]

    def within(self, params: Array, step: Array) -> Array:  # noqa: ARG002  (all parameters are possible)
        return step


def _log_shares(X: Array, params: Array) -> Array:
    eta = X @ params.reshape(-1, X.shape[1]).T
    return np.asarray(special.log_softmax(np.column_stack([np.zeros(len(X)), eta]), axis=1))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class MNLogitResult(MaximumLikelihoodResult):
    """A fitted multinomial logistic regression; the same at every site.

    ``params``, ``bse`` and what follows from them are indexed by level of the response and term;
    ``params.unstack("level")`` is the table that statsmodels has.

    Attributes
    ----------
    levels
        Of the response; the first is the one that the others are compared with.
    coding
        How rows are coded, for `predict`.
    """

    levels: tuple[str, ...]
    coding: Coding = field(repr=False)

    @property
    def df_model(self) -> int:
        """Model degrees of freedom: all parameters but the constants."""
        return len(self.params) - (len(self.levels) - 1)

    def ratios(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return odds ratios against the first level, with confidence intervals of level 1 − alpha.

        Returns
        -------
        pandas.DataFrame
            By level and term but the intercept: columns ``ratio``, ``lower``, ``upper``, ``pvalue``.
        """
        return self._ratios(alpha).drop(index=INTERCEPT, level="term")

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Predict the probability of each level for rows of this site; nothing is sent.

        Parameters
        ----------
        frame
            Has every column on the right of the formula.

        Returns
        -------
        pandas.DataFrame
            A column for each level; NaN where a column of the frame is missing.
        """
        positions, X = design.code_new_rows(self.coding, frame)
        shares = np.full((len(frame), len(self.levels)), np.nan)
        shares[positions] = np.exp(_log_shares(X, np.asarray(self.params, np.float64)))
        return pd.DataFrame(shares, index=frame.index, columns=list(self.levels))

    def _title(self) -> str:
        return "Multinomial logistic regression"

    def _facts(self) -> list[tuple[str, object]]:
        return [("Levels", ", ".join(self.levels)), ("Pseudo R²", self.prsquared)]


def mnlogit(
    formula: str,
    cohort: Cohort,
    *,
    cov_type: CovType = "nonrobust",
    groups: str | None = None,
    missing: design.Missing = "drop",
    maxiter: int = 50,
    disclose: Disclose = "result",
) -> MNLogitResult:
    """Fit a multinomial logistic regression to the rows of all sites by maximum likelihood.

    Parameters
    ----------
    formula
        ``"response ~ terms"``, see `ols`. The response is a column, whose values are taken as categories; the
        first of them, in the order of levels, is what the others are compared with.
    cohort, cov_type, groups, missing, maxiter, disclose
        See `glm`.

    Returns
    -------
    MNLogitResult
        With the names of statsmodels' results.

    Raises
    ------
    DataError, RemoteError, EstimationError
        As `glm`; or a level of the response has no row.

    Notes
    -----
    **Leakage.** As of `glm`, but instead of the sum of the response how many rows of all sites have each of
    its levels. Of each single site: which levels of the response and of other categorical columns occur.

    Cost: with ``"aggregate"`` 14 rounds and two for each iteration; with ``"result"``, for three sites,
    about 130 rounds and 20 for each iteration, 45 more where the information changes by half.

    Examples
    --------
    >>> fit = fs.mnlogit("subtype ~ age + C(sex)", cohort)  # doctest: +SKIP
    >>> fit.ratios()  # doctest: +SKIP
    """
    declaration = DECLARATION if groups is None else CLUSTER_DECLARATION
    with cohort.federation.analysis(declaration, disclose) as run:
        part = _levels.agree(
            run, cohort, formula, cov_type=cov_type, groups=groups, missing=missing, maxiter=maxiter
        )
        clusters = None if groups is None else Clusters.of(cohort, groups, part.rows)
        return _fit(run, part, cov_type, clusters, maxiter)


def _fit(
    run: Analysis, part: Design, cov_type: CovType, clusters: Clusters | None, maxiter: int
) -> MNLogitResult:
    others, p = len(part.levels) - 1, len(part.names)
    matrix = _rows.framed(run, part, parameters=others * p)
    codes, counted = _levels.counts(run, part)
    rows = _Choices(matrix.Z, codes, part.levels, part.names)
    start = np.zeros((others, p))
    start[:, 0] = np.log(counted[1:] / counted[0])
    found = _newton.maximise(run, rows, start.ravel(), maxiter=maxiter, parts=count())
    to_terms = np.asarray(np.kron(np.eye(others), matrix.to_terms), np.float64)
    covariance = _rows.robust_covariance(
        run,
        matrix,
        rows.system(found.params, near=True)[0],
        rows.names,
        scores=None if cov_type == "nonrobust" else rows.scores(found.params),
        clusters=clusters,
        combinations=to_terms,
        recent=found.recent,
        sums={"fit": np.array([rows.rows(found.params).sum()])},
    )
    index = pd.MultiIndex.from_product([part.levels[1:], part.names], names=["level", "term"])
    return MNLogitResult(
        **run.finish(),
        formula=part.coding.formula.text,
        response=str(part.response_name),
        cov_type=cov_type,
        params=pd.Series(to_terms @ found.params, index=index, name="coef"),
        bse=pd.Series(np.sqrt(covariance.variances), index=index, name="std err"),
        nobs=matrix.n,
        n_missing=matrix.dropped,
        llf=float(covariance.sums["fit"][0]),
        llnull=float(special.xlogy(counted, counted / matrix.n).sum()),
        iterations=found.iterations,
        covariance=covariance.matrix,
        levels=part.levels,
        coding=part.coding,
    )
