"""Linear regression with differential privacy, from noisy cross-products.

The upper triangle of Σaa' is opened with noise, where a is a row's terms and response, scaled to [−1, 1]: all
of its entries at once, which costs less than matrix and vector apart. Where noise might make the matrix
singular, as much is added to its diagonal as lifts its smallest eigenvalue above the noise [1]_; that is
decided by the noisy matrix itself, and costs nothing. Intervals account for the noise to first order: of X'X
+ E and X'y + e the estimate errs by (X'X)⁻¹(e − Eβ) [2]_.

References
----------
.. [1] Y.-X. Wang, "Revisiting Differentially Private Linear Regression: Optimal and Adaptive Prediction &
   Estimation in Unbounded Domain", UAI 2018.
.. [2] C. Ferrando, S. Wang and D. Sheldon, "Parametric Bootstrap for Differentially Private Confidence
   Intervals", AISTATS 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fedstats.disclosure import Declaration
from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.privacy import _call
from fedstats.privacy._call import Integers
from fedstats.privacy._model import UNIT, Model, PrivateModel, fitted, pairs_squared, ridge, symmetric
from fedstats.privacy.accounting import Number

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "privacy.ols",
    noised={"cross-products": "sums of products of all pairs of the clipped columns, response and intercept"},
    published=_call.PUBLISHED,
)


def squared_sensitivity(columns: int) -> int:
    """Return the squared norm of what a row adds, of so many columns with the intercept."""
    return pairs_squared(columns + 1) * UNIT**4


def contributions(X: Integers, y: Integers) -> Integers:
    """Return what rows add to the cross-products in all: the upper triangle, row by row."""
    rows = np.column_stack([X, y])
    return np.asarray((rows.T @ rows)[np.triu_indices(rows.shape[1])], np.int64)


def ols(
    formula: str,
    cohort: Cohort,
    *,
    bounds: Mapping[str, tuple[float, float]],
    rho: Number | None = None,
    epsilon: Number | None = None,
    delta: Number | None = None,
    level: float = 0.95,
) -> PrivateModel:
    """Fit a linear model to the rows of all sites, with differential privacy.

    Parameters
    ----------
    formula
        Such as ``"sbp ~ age + C(arm)"``: an intercept, numeric columns, and categories whose levels were
        declared. Rows with a missing value are left out.
    cohort
        The rows, see `Federation.cohort`.
    bounds
        Of each numeric column and of the response. Known beforehand, not from these rows; values beyond are
        clipped.
    rho, epsilon, delta
        What it may cost: ρ, or ε with δ. See `fedstats.privacy`.
    level
        Of the confidence intervals.

    Raises
    ------
    DataError
        The formula or the bounds cannot be used, or a category has no declared levels.
    PolicyError
        A site's rule or budget forbids it.
    RemoteError
        The same at another site.
    EstimationError
        Noise drowns the number of rows.

    Notes
    -----
    **Leakage.** Cross-products of the columns, clipped, with noise: ρ-zCDP for adding or removing a row, also
    for a coalition of t sites that knows its own rows and noise.

    **Cost.** Four rounds; (p + 1)(p + 2)/2 numbers for p terms.

    Examples
    --------
    >>> limits = {"sbp": (80, 220), "age": (18, 100)}
    >>> fs.privacy.ols("sbp ~ age + C(arm)", cohort, bounds=limits, rho=0.1).summary()  # doctest: +SKIP
    """
    asked = _call.Loss(rho, epsilon, delta)

    def local() -> Model:
        _call.check_level(level)
        return Model.of(cohort, formula, bounds)

    with cohort.federation.analysis(DECLARATION, "noised") as run:
        call = f"{formula!r}, bounds={bounds!r}, level={level!r}"
        model, its = _call.agree_call(run, cohort, call, asked, local)
        noisy = run.release(
            "cross-products",
            contributions(model.X, model.y),
            squared_sensitivity=squared_sensitivity(model.columns),
            rho=its,
        )
        variance = noisy.variance / UNIT**4
        found, covariance, added, nobs = estimate(noisy.sums / UNIT**2, variance, len(model.names))
        L = model.unscaled()
        params, bse = fitted(model.names, L @ found, L @ covariance @ L.T)
        params.iloc[0] += model.response.centre
        return PrivateModel(
            **run.finish(),
            rho=its,
            level=level,
            title="Least squares",
            formula=formula,
            params=params,
            bse=bse,
            nobs=nobs,
            ridge=added,
            covariance=L @ covariance @ L.T,
        )


def estimate(upper: Array, variance: float, terms: int) -> tuple[Array, Array, float, float]:
    """Return coefficients, their covariance, the ridge and the number of rows, from noisy cross-products."""
    matrix = symmetric(upper, terms + 1)
    A, b, yy = matrix[:terms, :terms], matrix[:terms, terms], matrix[terms, terms]
    nobs = float(A[0, 0])
    if nobs <= max(terms, 3 * np.sqrt(variance)):
        raise EstimationError("noise drowns the number of rows: spend more, or use more rows")
    added = ridge(A, variance)
    inverse = np.linalg.inv(A + added * np.eye(terms))
    beta = inverse @ b
    squares = max(float(yy - 2 * beta @ b + beta @ A @ beta), 0.0)
    # Entries of e − Eβ: E is symmetric, so that E_jk and E_kj are one.
    noise = variance * ((1 + beta @ beta) * np.eye(terms) + np.outer(beta, beta) - np.diag(beta**2))
    sampling = squares / max(nobs - terms, 1.0) * inverse
    return beta, np.asarray(sampling + inverse @ noise @ inverse, np.float64), added, nobs
