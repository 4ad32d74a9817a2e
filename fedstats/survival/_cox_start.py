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
#: A variance is no more than rounding errors if it is less than this part of the largest square.
_ROUNDING = 1e-10


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
    model = OpenModel(_Alone(), rows, names, is_efron)
    beta = np.zeros(len(names))
    origin = model.evaluate(beta, 0)
    found = origin
    for number in range(1, _STEPS + 1):
        step = np.linalg.lstsq(found.information, found.score, rcond=1e-9)[0]
        if np.abs(spread * step).max() < _NEAR:
            return _parabola(rows, found)
        beta = beta + step
        if not np.max(rows.z @ beta) <= largest:
            break
        found = model.evaluate(beta, number)
    return _parabola(rows, origin)


def _parabola(rows: Rows, found: Evaluation) -> tuple[Array, Array]:
    """Return the expansion; of covariates that do not vary here, no rounding errors."""
    A, b = found.information.copy(), found.information @ found.beta + found.score
    largest = np.square(rows.z).max(axis=0) * rows.cells.events.sum()
    empty = np.diag(A) <= _ROUNDING * largest
    A[empty], A[:, empty], b[empty] = 0.0, 0.0, 0.0
    return A, b
