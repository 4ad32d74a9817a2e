"""Cholesky factors of pooled matrices of cross-products, and the columns that stand in their way."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from fedstats.errors import EstimationError
from fedstats.expressions import Array

#: A column is aliased if what is left of it, after projection on the columns before it, is less than
#: this part of its centred length; as in R's lm.
TOLERANCE = 1e-7


def symmetric(upper: Array, p: int) -> Array:
    """Return the symmetric matrix of which the upper triangle is given, row by row."""
    matrix = np.zeros((p, p))
    matrix[np.triu_indices(p)] = upper
    return matrix + np.triu(matrix, 1).T


def cholesky(gram: Array, names: tuple[str, ...], *, singular: str = "the design is singular") -> Array:
    """Return the upper triangular R with R'R = gram, or name the columns that are combinations of others.

    Columns are taken in their order, and one that adds nothing to those before it is set aside; `singular`
    says in an error what it spoils.

    Raises
    ------
    EstimationError
        Some columns are combinations of others.
    """
    p = len(names)
    scale = np.sqrt(np.diag(gram))
    rest = gram / np.outer(scale, scale)
    factor = np.zeros((p, p))
    aliased: list[int] = []
    for j in range(p):
        if rest[j, j] <= TOLERANCE**2:
            aliased.append(j)
            continue
        factor[j, j:] = rest[j, j:] / np.sqrt(rest[j, j])
        rest = rest - np.outer(factor[j], factor[j])
    refuse_aliases(factor, aliased, names, singular)
    return factor * scale


def refuse_aliases(
    factor: Array, aliased: list[int], names: tuple[str, ...], singular: str = "the design is singular"
) -> None:
    """Raise EstimationError if columns are aliased, naming for each the others that make it up.

    Parameters
    ----------
    factor
        Upper triangular factor in which the rows of aliased columns are of no account.
    aliased
        Positions of these columns.
    names
        Of all columns.
    singular
        What the error says first.
    """
    if not aliased:
        return
    kept = [j for j in range(len(names)) if j not in aliased]
    combinations: Array = np.asarray(
        solve_triangular(factor[np.ix_(kept, kept)], factor[np.ix_(kept, aliased)])
    )
    said = "; ".join(
        f"{names[j]!r} is a combination of "
        + ", ".join(repr(names[i]) for i, weight in zip(kept, weights, strict=True) if abs(weight) > 1e-4)
        for j, weights in zip(aliased, combinations.T, strict=True)
    )
    raise EstimationError(f"{singular}: {said}; leave out one of each")
