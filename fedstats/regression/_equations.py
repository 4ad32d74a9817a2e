"""Pooled systems of equations, as every step of Newton's method solves one: only the solution must be known.

The sites hold summands of a positive definite matrix A and of a right side b. With ``disclose="aggregate"``
the sums are opened, and each site solves for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cho_solve

from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.regression._cholesky import cholesky, symmetric

if TYPE_CHECKING:
    from fedstats.analysis import Analysis


def solve(
    run: Analysis, label: str, A: Array, b: Array, names: tuple[str, ...], *, part: int | None = None
) -> Array:
    """Return the solution x of (ΣA) x = Σb, the sums over all sites; the same at every site.

    Parameters
    ----------
    run
        The analysis, past `agree`.
    label
        What it is declared as: in the aggregate mode A's upper triangle and b, in the result mode x.
    A
        This site's summand, shape ``(p, p)``, symmetric; the sum is positive definite.
    b
        This site's summand, shape ``(p,)`` or ``(p, m)``.
    names
        Of the p unknowns, for errors.
    part
        Number of the iteration.

    Returns
    -------
    ndarray
        Shaped as b.

    Raises
    ------
    EstimationError
        A is singular, or nearly so. Raised at every site alike, naming the unknowns at fault.

    Notes
    -----
    **Cost.** One sum in the aggregate mode.
    """
    p = len(names)
    upper = np.triu_indices(p)
    opened = run.sum(label, np.concatenate([A[upper], b.ravel()]), part=part)
    factor = _factor(opened[: len(upper[0])], names)
    return np.asarray(cho_solve((factor, False), opened[len(upper[0]) :].reshape(b.shape)))


@dataclass(frozen=True, eq=False, repr=False)
class Covariance:
    """A covariance matrix, or as much of it as is known.

    Attributes
    ----------
    variances
        Its diagonal, shape ``(q,)``.
    matrix
        All of it, shape ``(q, q)``; None where only the diagonal was opened.
    """

    variances: Array
    matrix: Array | None


def covariance(
    run: Analysis,
    label: str,
    A: Array,
    names: tuple[str, ...],
    *,
    meat: Array | None = None,
    combinations: Array | None = None,
) -> Covariance:
    """Return a covariance of pooled estimates: L (ΣA)⁻¹ (Σmeat) (ΣA)⁻¹ L', or L (ΣA)⁻¹ L' without a meat.

    Parameters
    ----------
    run, label, A, names
        As in `solve`; the aggregate mode opens the upper triangles of A and meat, the result mode the
        diagonal of what is returned.
    meat
        This site's summand of the inner matrix of a sandwich, shape ``(p, p)``, symmetric.
    combinations
        L, public, shape ``(q, p)``: which linear combinations of the estimates are asked for; all of them,
        one by one, by default.

    Raises
    ------
    EstimationError
        As `solve`.

    Notes
    -----
    **Cost.** One sum in the aggregate mode.
    """
    p = len(names)
    L = np.eye(p) if combinations is None else combinations
    upper = np.triu_indices(p)
    matrices = [A] if meat is None else [A, meat]
    opened = run.sum(label, np.concatenate([matrix[upper] for matrix in matrices]))
    rows = cho_solve((_factor(opened[: len(upper[0])], names), False), L.T).T  # L A⁻¹
    matrix = rows @ (L.T if meat is None else symmetric(opened[len(upper[0]) :], p) @ rows.T)
    matrix = (matrix + matrix.T) / 2
    return Covariance(np.diag(matrix).copy(), matrix)


def scalars(run: Analysis, label: str, values: Array, *, part: int | None = None) -> Array:
    """Return pooled sums that are results themselves, shape ``(k,)``: a log-likelihood, a deviance.

    Notes
    -----
    **Cost.** One sum in the aggregate mode.
    """
    return np.asarray(run.sum(label, values, part=part))


def _factor(upper: Array, names: tuple[str, ...]) -> Array:
    """Return the upper triangular R with R'R = A, given A's upper triangle."""
    A = symmetric(upper, len(names))
    empty = [name for name, square in zip(names, np.diag(A), strict=True) if not square > 0]
    if empty:
        raise EstimationError(
            f"the pooled rows say nothing of {', '.join(map(repr, empty))}: leave it out, or merge rare "
            "levels"
        )
    return cholesky(A, names)
