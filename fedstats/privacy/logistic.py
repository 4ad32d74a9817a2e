"""Logistic regression with differential privacy: Newton's method on noisy gradients and curvatures.

Every iteration opens the gradient and the Fisher information at the present coefficients, with noise;
whatever is computed of these is private, and so is the next point, by adaptive composition. That is the
double noise of [1]_ in its simplest form. Newton's method forgets where it came from: what the last
gradient's noise does remains, so half of the loss is spent on the last iteration, and the rest evenly on
those before.

A row with terms x adds (y − p)·x to the gradient and 4p(1 − p)·xx' to the information, each at most what its
columns allow. Before both are joined the gradient is multiplied by 4, so that the noise in it is hardly more
than if it were opened alone.

References
----------
.. [1] A. Ganesh, M. Haghifam, T. Steinke and A. Thakurta, "Faster Differentially Private Convex Optimization
   via
   Second-Order Methods", NeurIPS 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import special

from fedstats.disclosure import Declaration
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.privacy import _call
from fedstats.privacy._call import Integers
from fedstats.privacy._model import UNIT, Model, PrivateModel, fitted, pairs_squared, ridge, symmetric
from fedstats.privacy.accounting import Number

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "privacy.logit",
    noised={"derivatives": "gradient and Fisher information at the coefficients of each iteration"},
    published=_call.PUBLISHED,
)

#: How often the gradient counts.
WEIGHT: Final = 4
#: Longest step of a coefficient, in its scaled column.
LONGEST = 3.0


def squared_sensitivity(columns: int) -> int:
    """Return the squared norm of what a row adds, of so many columns with the intercept."""
    return (WEIGHT**2 * columns + pairs_squared(columns)) * UNIT**4


def log_odds(X: Integers, beta: Array) -> Array:
    """Return the log odds of rows, each the same whatever other rows there are.

    A matrix product rounds a row's depending on its neighbours: adding a row could change what others add.
    """
    eta = np.zeros(len(X))
    for column, its in zip(X.T, beta, strict=True):
        eta += column * its
    return eta / UNIT


def contributions(X: Integers, events: Array, beta: Array) -> Integers:
    """Return what rows add in all to the gradient, times `WEIGHT`, and to four times the information."""
    chance = special.expit(log_odds(X, beta))
    residual = np.clip(np.rint((events - chance) * UNIT), -UNIT, UNIT).astype(np.int64)
    # Rounding towards a whole number never makes |4p(1 − p)·x| more than |x|.
    weighted = np.rint(4 * (chance * (1 - chance))[:, np.newaxis] * X).astype(np.int64)
    upper = (weighted.T @ X)[np.triu_indices(X.shape[1])]
    return np.concatenate([WEIGHT * (X.T @ residual), upper]).astype(np.int64)


def losses(rho: Fraction, iterations: int) -> list[Fraction]:
    """Return what each iteration costs: the last one a half, the others alike."""
    if iterations == 1:
        return [rho]
    return [rho / (2 * (iterations - 1))] * (iterations - 1) + [rho / 2]


def logit(
    formula: str,
    cohort: Cohort,
    *,
    bounds: Mapping[str, tuple[float, float]],
    iterations: int = 6,
    rho: Number | None = None,
    epsilon: Number | None = None,
    delta: Number | None = None,
    level: float = 0.95,
) -> PrivateModel:
    """Fit a logistic regression to the rows of all sites, with differential privacy.

    Parameters
    ----------
    formula
        Such as ``"event ~ age + C(arm)"``: a response of 0 and 1, of which other values count as missing; an
        intercept, numeric columns, and categories whose levels were declared. Rows with a missing value are
        left out.
    cohort
        The rows, see `Federation.cohort`.
    bounds
        Of each numeric column on the right. Known beforehand, not from these rows; values beyond are clipped.
    iterations
        How many; decided beforehand, as convergence would tell of rows. `PrivateModel.converged` says whether
        there were enough, by what was opened, and `PrivateModel.reliable` whether intervals can be trusted.
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
    **Leakage.** In each iteration gradient and information with noise: together ρ-zCDP for adding or removing
    a row, also for a coalition of t sites that knows its own rows and noise.

    **Cost.** Two rounds, and two an iteration; p + p(p + 1)/2 numbers each for p terms.

    Examples
    --------
    >>> limits = {"age": (18, 100)}
    >>> fs.privacy.logit("dead ~ age + C(arm)", cohort, bounds=limits, rho=0.5).summary()  # doctest: +SKIP
    """
    asked = _call.Loss(rho, epsilon, delta)

    def local() -> Model:
        _call.check_level(level)
        if not (isinstance(iterations, int) and 1 <= iterations <= 100):
            raise DataError("iterations is a whole number from 1 to 100")
        return Model.of(cohort, formula, bounds, as_signs)

    with cohort.federation.analysis(DECLARATION, "noised") as run:
        call = f"{formula!r}, bounds={bounds!r}, iterations={iterations!r}, level={level!r}"
        model, its = _call.agree_call(run, cohort, call, asked, local)
        terms, events = len(model.names), (model.y > 0).astype(np.float64)
        beta, covariance = np.zeros(terms), np.zeros((terms, terms))
        for number, part in enumerate(losses(its, iterations)):
            noisy = run.release(
                "derivatives",
                contributions(model.X, events, beta),
                squared_sensitivity=squared_sensitivity(model.columns),
                rho=part,
                part=number,
            )
            if number == 0:
                nobs = float(noisy.sums[terms]) / UNIT**2  # 4p(1 − p) is 1 where nothing is known yet
            before = covariance
            step, covariance, added = newton(noisy.sums / UNIT**2, noisy.variance / UNIT**4, terms)
            beta = beta + np.clip(step, -LONGEST, LONGEST)
            if not np.isfinite(beta).all():
                raise EstimationError("noise drowns the rows: spend more, or use more rows")
        L = model.unscaled()
        params, bse = fitted(model.names, L @ beta, L @ covariance @ L.T)
        return PrivateModel(
            **run.finish(),
            rho=its,
            level=level,
            title="Logistic regression",
            formula=formula,
            params=params,
            bse=bse,
            nobs=nobs,
            ridge=added,
            converged=has_converged(step, covariance + before),
            covariance=L @ covariance @ L.T,
        )


def as_signs(y: Array) -> Array:
    """Return −1 for 0, 1 for 1, and NaN for anything else."""
    return np.where(y == 1, 1.0, np.where(y == 0, -1.0, np.nan))


def has_converged(step: Array, covariance: Array) -> bool:
    """Tell whether a step is no longer than noise makes it, from a point to one whose covariances add up."""
    return bool((np.abs(step) <= 3 * np.sqrt(np.diag(covariance))).all())


def newton(noisy: Array, variance: float, terms: int) -> tuple[Array, Array, float]:
    """Return a step, the covariance of where it leads, and the ridge, from noisy derivatives.

    To first order the covariance is that of sampling, the inverse of the information, and of the noise in the
    gradient and in what the information multiplies.
    """
    gradient, information = noisy[:terms] / WEIGHT, symmetric(noisy[terms:], terms) / 4
    of_gradient, of_information = variance / WEIGHT**2, variance / 16
    if information[0, 0] <= 3 * np.sqrt(of_information):
        raise EstimationError("noise drowns the number of rows: spend more, or use more rows")
    added = ridge(information, of_information)
    inverse = np.linalg.inv(information + added * np.eye(terms))
    step = inverse @ gradient
    noise = (of_gradient + of_information * (step @ step)) * np.eye(terms)
    noise += of_information * (np.outer(step, step) - np.diag(step**2))
    return step, np.asarray(inverse + inverse @ noise @ inverse, np.float64), added
