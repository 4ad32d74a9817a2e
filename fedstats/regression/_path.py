"""Penalised quadratic problems in public: a grid of penalties, the minimisers, and which of them is chosen.

A problem is ½ b'Ab − c'b + l1·Σ|b| + l2/2·Σb², with A a covariance matrix of standardised columns. All folds
and penalties are minimised at once: coordinate descent [1]_ finds which coefficients are zero, and the
others then follow exactly from a system of equations.

References
----------
.. [1] J. Friedman, T. Hastie, R. Tibshirani, "Regularization Paths for Generalized Linear Models via
   Coordinate Descent", Journal of Statistical Software 33 (1), 2010.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedstats.errors import EstimationError
from fedstats.expressions import Array

#: Sweeps between two looks at whether the zeros are found, and how many looks are taken.
_SWEEPS, _LOOKS = 10, 400
#: A gradient may exceed its bound by this share of the largest one, for rounding.
_SLACK = 1e-10


@dataclass(frozen=True)
class Curve:
    """Errors of cross-validation by alpha, and the alphas that rules choose.

    Attributes
    ----------
    alphas
        From the largest on, shape ``(alphas,)``.
    mean, se
        Mean error over all held-out rows, and its standard error over folds.
    """

    alphas: Array
    mean: Array
    se: Array

    @property
    def best(self) -> int:
        """Position of the smallest mean error; of the larger alpha where several are as good."""
        return int(np.argmin(self.mean))

    @property
    def within_one_se(self) -> int:
        """Position of the largest alpha whose error is within a standard error of the smallest."""
        return int(np.argmax(self.mean <= self.mean[self.best] + self.se[self.best]))


def curve_of(alphas: Array, errors: Array, sizes: Array) -> Curve:
    """Return the curve of summed errors of each fold and alpha, shape ``(folds, alphas)``, as cv.glmnet does.

    Parameters
    ----------
    alphas
        Of the columns.
    errors
        Sums over held-out rows.
    sizes
        Held-out rows of each fold.
    """
    total = float(sizes.sum())
    mean = errors.sum(axis=0) / total
    spread = np.square(errors / sizes[:, np.newaxis] - mean)
    return Curve(alphas, mean, np.sqrt(sizes @ spread / total / (len(sizes) - 1)))


def minimise(A: Array, c: Array, l1: Array, l2: Array) -> Array:
    """Return the minimisers of m problems.

    Parameters
    ----------
    A, c
        Shapes ``(m, p, p)`` and ``(m, p)``.
    l1, l2
        Penalties, shape ``(m,)``.

    Returns
    -------
    ndarray
        Shape ``(m, p)``, exact up to rounding: zeros are zeros.

    Raises
    ------
    EstimationError
        The penalties are too small to decide among collinear columns.
    """
    ridge = A + l2[:, np.newaxis, np.newaxis] * np.eye(A.shape[1])
    try:
        if not l1.any():
            return np.asarray(np.linalg.solve(ridge, c[..., np.newaxis])[..., 0])
        found = np.zeros_like(c)
        left = np.arange(len(c))
        for _ in range(_LOOKS):
            found[left] = _descend(ridge[left], c[left], l1[left], found[left])
            exact = [_exact(ridge[i], c[i], l1[i], found[i]) for i in left]
            for i, solution in zip(left, exact, strict=True):
                if solution is not None:
                    found[i] = solution
            left = left[[solution is None for solution in exact]]
            if not left.size:
                return found
    except np.linalg.LinAlgError:
        pass
    raise EstimationError(
        "the coefficients are not determined: columns depend on one another, and the smallest alpha is too "
        "small to choose among them; leave columns out, or use larger alphas"
    )


def _descend(A: Array, c: Array, l1: Array, b: Array) -> Array:
    """Return what some sweeps of coordinate descent make of coefficients."""
    b = b.copy()
    gradient = c - np.einsum("mij,mj->mi", A, b)
    for _ in range(_SWEEPS):
        for j in range(A.shape[1]):
            diagonal = A[:, j, j]
            value = gradient[:, j] + diagonal * b[:, j]
            new = np.sign(value) * np.maximum(np.abs(value) - l1, 0.0) / np.where(diagonal > 0, diagonal, 1.0)
            gradient -= A[:, :, j] * (new - b[:, j])[:, np.newaxis]
            b[:, j] = new
    return b


def _exact(A: Array, c: Array, l1: float, b: Array) -> Array | None:
    """Return the minimiser if these are its zeros and signs, else None."""
    active = np.flatnonzero(b)
    sign = np.sign(b[active])
    solution = np.zeros_like(b)
    solution[active] = np.linalg.solve(A[np.ix_(active, active)], c[active] - l1 * sign)
    gradient = np.abs(c - A @ solution)
    allowed = l1 + _SLACK * max(float(np.abs(c).max(initial=0.0)), l1)
    fits = (np.sign(solution[active]) == sign).all() and (np.delete(gradient, active) <= allowed).all()
    return solution if fits else None
