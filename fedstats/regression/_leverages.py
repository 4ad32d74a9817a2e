"""Leverages: how much a row's own response moves its fit, for robust covariances in small samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_triangular

from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.regression._cholesky import cholesky, symmetric

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What `without_leverage` opens; there is no result mode, in which nobody could know leverages.
AGGREGATE: Mapping[str, str] = {
    "leverages": "Σwzz' of the model matrix, with the weights w of the last iteration; how many rows have "
    "leverage 1"
}
#: The power of 1 − h by which squares of scores are divided.
EXPONENTS: Mapping[str, int] = {"HC2": 1, "HC3": 2}
#: A row's leverage is 1 if it is closer than this.
_LEVERAGE = 1e-10


def without_leverage(
    run: Analysis, scores: Array, Z: Array, weights: Array, names: tuple[str, ...], cov_type: str
) -> Array:
    """Return the scores of rows, divided by √(1 − h) for HC2 and by 1 − h for HC3.

    Parameters
    ----------
    run
        The analysis, past `agree`. Its declaration includes `AGGREGATE`.
    scores, Z
        Of this site's rows, shape ``(rows, p)``.
    weights
        Of the rows, in the expected information.
    names
        Of the terms.
    cov_type
        Which of the two.

    Raises
    ------
    EstimationError
        Rows determine a term alone. Raised at every site alike.

    Notes
    -----
    **Cost.** Two sums.

    References
    ----------
    A. Zeileis, "Object-Oriented Computation of Sandwich Estimators", Journal of Statistical Software 16 (9),
    2006.
    """
    p = len(names)
    upper = np.triu_indices(p)
    pooled = run.sum("leverages", (Z.T @ (weights[:, np.newaxis] * Z))[upper], part=0)
    factor = cholesky(symmetric(pooled, p), names)
    root = solve_triangular(factor, (np.sqrt(weights)[:, np.newaxis] * Z).T, trans=1)
    slack = 1 - np.square(root).sum(axis=0)
    alone = int(run.sum("leverages", np.array([np.count_nonzero(slack < _LEVERAGE)]), part=1)[0])
    if alone:
        raise EstimationError(
            f"{cov_type} is not defined: {alone} rows determine a term alone (leverage 1); merge rare "
            "levels, or use HC1"
        )
    return np.asarray(scores / slack[:, np.newaxis] ** (EXPONENTS[cov_type] / 2))
