"""Where Newton's method starts on shares: near the estimates, as if every site were a stratum.

Each site expands its own partial likelihood to the second order: around its own estimates, roughly, if it
finds any, and around 0 if not. The sum of these parabolas has its maximum near the pooled estimates, and
its matrix is near the pooled information. Neither what a site finds nor that it finds it is told.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedstats.expressions import Array
from fedstats.survival._cox_open import Evaluation, OpenModel
from fedstats.survival._cox_rows import Rows
from protocols.ring import Ring

#: How many steps a site takes, and after a step of which size, in standard deviations, it takes no more.
_STEPS, _NEAR = 6, 0.05
#: A site with many rows begins with one of so many of them.
_MANY, _THINNED = 4000, 4
#: Weights below e to this are not to be summed: where a site is far from the centre, all of its may be.
_LEAST = -100.0
#: Directions count as without variation if they have less of it than this times the site's part of all
#: events, in the unit of `part_of_inverse`.
_LEAST_VALUE = 2.0**-20
#: A sum of variances is no more than rounding errors if it is less than this part of the means' squares.
_ROUNDING = 1e-10
#: So many events, times sites and covariates, do for the mean of the sites' inverses to be near; a site's own
#: inverse is of no use if it has fewer than some for each covariate.
ENOUGH, _SOME = 32, 10


class _Alone:
    """Stands for an analysis of one site."""

    def sum(
        self,
        label: str,  # noqa: ARG002
        values: NDArray[Any],
        *,
        ring: Ring | None = None,  # noqa: ARG002
        part: int | None = None,  # noqa: ARG002
    ) -> NDArray[Any]:
        return values


def own_expansion(
    rows: Rows, names: tuple[str, ...], *, is_efron: bool, spread: Array, largest: float
) -> tuple[Array, Array]:
    """Return A and b of this site's parabola −x'Ax/2 + b'x.

    Parameters
    ----------
    rows
        This site's, with the cells of its own events.
    names
        The covariates.
    is_efron, spread, largest
        As in `SharedModel`.
    """
    if not len(rows.cells):
        return np.zeros((len(names), len(names))), np.zeros(len(names))
    beta = np.zeros(len(names))
    if len(rows.z) > _MANY:
        near = _near(rows.every(_THINNED), names, beta, is_efron=is_efron, spread=spread, largest=largest)
        beta = beta if near is None else near.beta + _step(near)
    found = _near(rows, names, beta, is_efron=is_efron, spread=spread, largest=largest)
    if found is None:
        found = OpenModel(_Alone(), rows, names, is_efron).evaluate(np.zeros(len(names)), 0)
    return _parabola(rows, found)


def part_of_inverse(A: Array, events: int, pooled: int) -> Array:
    """Return this site's summand of what may be near to the inverse of the sum of all sites' A.

    Where sites are alike, A is about s times the sum, s the site's part of all events, and Σ s²·A⁻¹ is off by
    no more than the second order of how they differ. It is positive semidefinite, and 0 along what does not
    vary here.

    Parameters
    ----------
    A
        The matrix of the site's parabola, in a unit that makes all entries of the sum 1 at most.
    events, pooled
        This site's number of events, and that of all sites.
    """
    if events < _SOME * len(A):
        return np.zeros_like(A)
    share = events / pooled
    values, vectors = np.linalg.eigh(A)
    reciprocals = np.zeros_like(values)
    np.divide(share**2, values, out=reciprocals, where=values > share * _LEAST_VALUE)
    return np.asarray((vectors * reciprocals) @ vectors.T)


def _near(
    rows: Rows, names: tuple[str, ...], beta: Array, *, is_efron: bool, spread: Array, largest: float
) -> Evaluation | None:
    """Take Newton's steps from β, and return the evaluation from which one is small; None if none is."""
    if not len(rows.cells):
        return None
    model = OpenModel(_Alone(), rows, names, is_efron)
    for number in range(_STEPS + 1):
        predictors = rows.z @ beta
        if not (np.max(predictors) <= largest and np.min(predictors) >= _LEAST):
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            found = model.evaluate(beta, number)
        if not np.isfinite(found.information).all():  # weights that rows take along when they enter late
            return None
        step = _step(found)
        if np.abs(spread * step).max() < _NEAR:
            return found
        beta = beta + step
    return None


def _step(found: Evaluation) -> Array:
    """Return Newton's step, none along what does not vary."""
    return np.asarray(np.linalg.lstsq(found.information, found.score, rcond=1e-9)[0])


def _parabola(rows: Rows, found: Evaluation) -> tuple[Array, Array]:
    """Return the expansion; of covariates that do not vary here, no rounding errors."""
    A, b = found.information.copy(), found.information @ found.beta + found.score
    squares = np.diag(found.risk.products(np.ones(len(rows.cells))))
    empty = np.diag(A) <= _ROUNDING * squares
    A[empty], A[:, empty], b[empty] = 0.0, 0.0, 0.0
    return A, b
