"""Pooled orthonormalisation of a model matrix, the numerical ground of linear methods.

The sites hold blocks of rows of X and compute Q and R with X = Q R, Q'Q = N·I over the rows of all
sites, by CholeskyQR2 [1]_: a Cholesky factor of X'X, and a second one of what the first left.
X'X is a sum over rows, so each pass is one secure sum. Columns are centred and scaled before, and
the second pass removes the loss of the first: Q is orthonormal to the last digits as long as the
centred and scaled columns have a condition number below about 1e7, and beyond that the columns
at fault are named.

References
----------
.. [1] Y. Yamamoto, Y. Nakatsukasa, Y. Yanagisawa, T. Fukaya, "Roundoff error analysis of the
   CholeskyQR2 algorithm", Electronic Transactions on Numerical Analysis 44, 2015, 306–326.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_triangular

from fedstats._moments import Frame, location_sums
from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.regression._cholesky import TOLERANCE, cholesky, refuse_aliases, symmetric

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What `orthonormalise` opens; part of the declaration of every method that calls it.
AGGREGATE: Mapping[str, str] = {
    "column sums": "numbers of complete rows and of dropped rows; Σx and Σ|x| of every column of the model "
    "matrix and of every response",
    "cross-products": "Σxx' of the centred and scaled columns of the model matrix",
    "orthonormal products": "Σqq' of the orthonormalised columns q, their products with the centred "
    "responses, and sums and sums of squares of these",
}

#: A column is constant if its centred length is less than this part of its length.
CONSTANT = 1e-13


@dataclass(frozen=True, eq=False, repr=False)
class Orthonormal:
    """A model matrix X = Q R, and responses in terms of it; its repr shows no row.

    Attributes
    ----------
    n, dropped
        Complete rows of all sites, and rows that were left out for a missing value.
    Q
        This site's rows, shape ``(rows, p)``; over all sites Q'Q = n·I.
    R
        Upper triangular, shape ``(p, p)``.
    Y
        This site's responses, centred and scaled, shape ``(rows, k)``.
    frame
        Centres and units of the responses.
    projections
        Q'Y / n over all sites, shape ``(p, k)``: the coefficients of Y on Q.
    mean
        Σq / n over all sites, shape ``(p,)``; with weights w Σq√w / n.
    y_sums
        ΣY and ΣY² over all sites, shape ``(2, k)``; with weights ΣY√w and ΣY².
    """

    n: int
    dropped: int
    Q: Array
    R: Array
    Y: Array
    frame: Frame
    projections: Array
    mean: Array
    y_sums: Array

    def solve(self, on_q: Array) -> Array:
        """Turn coefficients on Q into coefficients on X."""
        return np.asarray(solve_triangular(self.R, on_q))


def orthonormalise(
    run: Analysis,
    X: Array,
    names: tuple[str, ...],
    Y: Array,
    *,
    has_intercept: bool,
    dropped: int = 0,
    root: Array | None = None,
) -> Orthonormal:
    """Orthonormalise a model matrix over the rows of all sites.

    Parameters
    ----------
    run
        The analysis, past `agree`. Its declaration includes `AGGREGATE`.
    X
        This site's rows, shape ``(rows, p)``, p ≥ 1; finite.
    names
        Names of the columns.
    Y
        Responses, shape ``(rows, k)``; k may be 0.
    has_intercept
        Whether the first column is constant 1; the others are then centred.
    dropped
        How many rows this site left out, to be summed along.
    root
        Square roots of weights of the rows, whose mean over all sites is 1. Each row of X, of Y and of the
        constant is multiplied by its own before anything else; shape ``(rows,)``.

    Raises
    ------
    EstimationError
        There are no more rows than columns, or a column is constant or a combination of others.
        Raised at every site alike, naming the columns.

    Notes
    -----
    **Leakage.** `AGGREGATE`: (2 + 2p + 2k) + p(p + 1)/2 + (p(p + 1)/2 + p + pk + 2k) numbers.

    Cost: three sums.
    """
    p, k = X.shape[1], Y.shape[1]
    both = np.hstack([X, Y])
    opened = run.sum("column sums", np.concatenate([[len(X), dropped], location_sums(both).ravel()]))
    n, dropped = int(opened[0]), int(opened[1])
    if n <= p:
        raise EstimationError(f"{n} complete rows over all sites cannot determine {p} terms: use fewer terms")
    run.check_rows(n, p)
    total, magnitude = opened[2:].reshape(2, p + k)
    pooled = Frame.of(np.full(p + k, float(n)), total, magnitude)
    columns, responses = pooled[:p], pooled[p:]
    if has_intercept:
        columns.centre[0], columns.unit[0] = 0.0, 1.0
    else:
        columns.centre[:] = 0.0
    ones = np.ones(len(X)) if root is None else root
    A, B = ones[:, np.newaxis] * columns.apply(X), ones[:, np.newaxis] * responses.apply(Y)

    upper = np.triu_indices(p)
    gram = symmetric(run.sum("cross-products", (A.T @ A)[upper]), p) / n
    _refuse_constants(gram, columns, names, has_intercept=has_intercept)
    first = cholesky(gram, names)
    Q = solve_triangular(first, A.T, trans="T").T

    sums = [(Q.T @ Q)[upper], ones @ Q, (Q.T @ B).ravel(), ones @ B, np.square(B).sum(axis=0)]
    opened = run.sum("orthonormal products", np.concatenate(sums)) / n
    ends = np.cumsum([part.size for part in sums])[:-1]
    square, mean, products, *y_moments = np.split(opened, ends)
    second = cholesky(symmetric(square, p), names)
    triangle = second @ first
    # The first pass knows the length of what is left of a column to 1e-8 at best, the second exactly.
    left = np.diag(triangle) / np.linalg.norm(triangle, axis=0)
    refuse_aliases(triangle, np.flatnonzero(left <= TOLERANCE).tolist(), names)
    return Orthonormal(
        n=n,
        dropped=dropped,
        Q=solve_triangular(second, Q.T, trans="T").T,
        R=triangle @ _uncentring(columns),
        Y=B,
        frame=responses,
        projections=solve_triangular(second, products.reshape(p, k), trans="T"),
        mean=solve_triangular(second, mean, trans="T"),
        y_sums=n * np.stack(y_moments),
    )


def _uncentring(columns: Frame) -> Array:
    """Return the upper triangular T with X = A T, where A are the centred and scaled columns."""
    T = np.diag(columns.unit)
    T[0, 1:] = columns.centre[1:]
    return T


def _refuse_constants(gram: Array, columns: Frame, names: tuple[str, ...], *, has_intercept: bool) -> None:
    """Raise EstimationError for columns that are zero, or constant beside the intercept."""
    length = np.hypot(columns.centre / columns.unit, np.sqrt(np.diag(gram)))
    flat = np.sqrt(np.diag(gram)) <= CONSTANT * length
    if flat.any():
        which = ", ".join(repr(name) for name, is_flat in zip(names, flat, strict=True) if is_flat)
        what = "the same value" if has_intercept else "the value 0"
        raise EstimationError(
            f"the design is singular: {which} has {what} in all rows of all sites; leave it out, or merge "
            "levels that no row has"
        )
