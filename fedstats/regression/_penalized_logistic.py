"""Penalised logistic regression by Newton's steps on pooled sums, for all folds and penalties at once.

Each step minimises the quadratic approximation of the loss with the penalty as it is [1]_; a step that makes
the objective larger is halved. Fits that have converged take no part in the next step.

References
----------
.. [1] J. D. Lee, Y. Sun, M. A. Saunders, "Proximal Newton-Type Methods for Minimizing Composite Functions",
   SIAM Journal on Optimization 24 (3), 2014.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.regression._path import curve_of, minimise
from fedstats.regression._penalty import Fitted, Penalty

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What `fit` opens.
AGGREGATE: Mapping[str, str] = {
    "standardisation": "rows and cases of each fold; Σz, Σz² and Σzy of the scaled columns z and outcomes y",
    "steps": "for each fold left out and each alpha, at each step: Σwxx', Σx(y − μ) with the fitted μ and "
    "w = μ(1 − μ), and the deviance, over all other rows",
    "held-out deviance": "for each alpha, the deviance over each fold's rows of all sites",
}

#: Coefficients of standardised columns have converged if a step changes them by less than this.
_TOLERANCE = 1e-8
_STEPS = 100


def check_outcome(y: Array, name: str) -> None:
    """Raise DataError unless outcomes are 0 or 1."""
    if not np.isin(y, (0.0, 1.0)).all():
        raise DataError(
            f"{name!r} has values other than 0 and 1 at this site: a binomial response is an indicator, such "
            "as I(stage > 2)"
        )


def fit(
    run: Analysis, Z: Array, y: Array, fold: NDArray[np.intp], folds: int, n: int, penalty: Penalty
) -> Fitted:
    """Fit for every alpha, to all rows and without each fold.

    Parameters
    ----------
    run
        The analysis. Its declaration includes `AGGREGATE`.
    Z, y
        This site's framed columns and outcomes.
    fold, folds
        Fold of each row, and how many there are; one means that no row is ever held out.
    n
        Rows of all sites.
    penalty
        What is asked for.

    Raises
    ------
    EstimationError
        The outcome is the same in all rows, or no convergence.
    """
    by_fold = [np.bincount(fold, weights, folds) for weights in (np.ones_like(y), y)]
    sums = [*by_fold, Z.sum(axis=0), np.square(Z).sum(axis=0), Z.T @ y]
    opened = run.sum("standardisation", np.concatenate(sums))
    sizes, cases, total, squares, products = np.split(opened, np.cumsum([part.size for part in sums])[:-1])
    rate = float(cases.sum()) / n
    if not 0 < rate < 1:
        raise EstimationError("the outcome has the same value in all rows of all sites")
    left = np.stack([n - sizes, n * rate - cases])
    if folds > 1 and not ((left[1] > 0) & (left[1] < left[0])).all():
        raise EstimationError("the outcome has the same value in all rows outside of a fold: use fewer folds")
    mean = total / n
    scale = np.sqrt(squares / n - mean**2)
    alphas = penalty.grid(float(np.abs((products / n - mean * rate) / scale).max()), Z.shape[1])
    X = np.column_stack([np.ones(len(Z)), (Z - mean) / scale])
    rows = [fold != k for k in range(folds)] if folds > 1 else []
    rows.append(np.ones(len(Z), bool))
    count = np.append(left[0] if folds > 1 else [], n)

    b = _newton(run, X, y, rows, count, alphas, rate, penalty)
    curve = None
    if folds > 1:
        held = [(X[fold == k], y[fold == k]) for k in range(folds)]
        deviance = [[_deviance(*rows, one) for one in its] for rows, its in zip(held, b[:-1], strict=True)]
        curve = curve_of(alphas, run.sum("held-out deviance", np.array(deviance)), sizes)
    slopes = b[-1, :, 1:] / scale
    coefficients = np.column_stack([b[-1, :, 0] - slopes @ mean, slopes])
    return Fitted(alphas, coefficients, 0 if curve is None else penalty.choose(curve), curve)


def _newton(
    run: Analysis,
    X: Array,
    y: Array,
    rows: list[NDArray[np.bool_]],
    count: Array,
    alphas: Array,
    rate: float,
    penalty: Penalty,
) -> Array:
    """Return coefficients of the standardised columns, shape ``(fits, alphas, q)``, intercept first."""
    q, m = X.shape[1], len(alphas)
    which = np.repeat(np.arange(len(rows)), m)
    l1, l2 = penalty.split(np.tile(alphas, len(rows)), 1.0)
    b = np.zeros((len(which), q))
    b[:, 0] = np.log(rate / (1 - rate))
    before, least = b.copy(), np.full(len(which), np.inf)
    mine = [(X[mask], y[mask]) for mask in rows]
    active = np.arange(len(which))
    for step in range(_STEPS):
        its = zip([mine[fit] for fit in which[active].tolist()], b[active], strict=True)
        local = np.stack([_sums(fit, coefficients) for fit, coefficients in its])
        opened = run.sum("steps", local, part=step) / count[which[active], np.newaxis]
        now = b[active]
        absolute, square = np.abs(now[:, 1:]).sum(axis=1), np.square(now[:, 1:]).sum(axis=1)
        objective = opened[:, -1] / 2 + l1[active] * absolute + l2[active] / 2 * square
        worse = objective > least[active] + 1e-12 * np.abs(objective)
        b[active[worse]] = (now[worse] + before[active[worse]]) / 2
        good, sums = active[~worse], opened[~worse]
        before[good], least[good] = b[good], objective[~worse]
        b[good] = _minimised(sums, b[good], l1[good], l2[good])
        change = np.abs(b[active] - now).max(axis=1)
        active = active[worse | (change > _TOLERANCE)]
        if not active.size:
            return b.reshape(len(rows), m, q)
    raise EstimationError(
        f"{active.size} of {len(which)} fits did not converge in {_STEPS} steps: use larger alphas"
    )


def _sums(rows: tuple[Array, Array], b: Array) -> Array:
    """Return Σwxx' (its upper triangle), Σx(y − μ) and the deviance, over rows (X, y)."""
    X, y = rows
    mu = expit(X @ b)
    information = (X.T * (mu * (1 - mu))) @ X
    return np.concatenate([information[np.triu_indices(X.shape[1])], X.T @ (y - mu), [_deviance(X, y, b)]])


def _deviance(X: Array, y: Array, b: Array) -> float:
    linear = X @ b
    return float(2 * (np.logaddexp(0, linear) - y * linear).sum())


def _minimised(sums: Array, b: Array, l1: Array, l2: Array) -> Array:
    """Return what minimises the approximations at b, of which the intercept follows from the others."""
    q = b.shape[1]
    upper = np.triu_indices(q)
    H = np.zeros((len(b), q, q))
    H[:, upper[0], upper[1]] = H[:, upper[1], upper[0]] = sums[:, : len(upper[0])]
    right = np.einsum("mij,mj->mi", H, b) + sums[:, len(upper[0]) : -1]
    ratio = H[:, 0, 1:] / H[:, :1, 0]
    A = H[:, 1:, 1:] - ratio[:, :, np.newaxis] * H[:, :1, 1:]
    slopes = minimise(A, right[:, 1:] - ratio * right[:, :1], l1, l2)
    intercept = right[:, :1] / H[:, :1, 0] - np.einsum("mi,mi->m", ratio, slopes)[:, np.newaxis]
    return np.column_stack([intercept, slopes])
