"""Newton's method on a criterion that is pooled at many points at once.

A criterion is analytic, and each site can compute its part at complex points. Its derivative in a direction
is the imaginary part at a point that is moved a tiny imaginary way in that direction, exact to the last
digits, for nothing is subtracted [1]_. Second derivatives are differences of first ones. All points that a
step needs go into one secure sum, so a step takes one.

References
----------
.. [1] W. Squire and G. Trapp, "Using Complex Variables to Estimate Derivatives of Real Functions", SIAM
   Review 40, 1998.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedstats.errors import EstimationError
from fedstats.expressions import Array

#: Values of the criterion at points, shape ``(points,)``, given these, ``(points, parameters)``, and the
#: number of the step.
Pooled = Callable[[NDArray[np.complex128], int], NDArray[np.complex128]]

#: The imaginary way, and the distance of first derivatives for second ones.
IMAGINARY, APART = 1e-30, 1e-5
#: A step is small if no parameter changes by this part of it, or of 1.
CONVERGED = 1e-9
MOST_STEPS, MOST_HALVES = 60, 20
#: The least curvature that is followed, as a part of the greatest.
FLAT = 1e-10


def minimise(pooled: Pooled, start: Array) -> tuple[Array, float, Array, int]:
    """Find a minimum of a pooled criterion.

    Returns
    -------
    tuple
        Where it is, its value and second derivatives there, and the number of secure sums.

    Raises
    ------
    EstimationError
        There is none, or it was not found.
    """
    here, sums = np.array(start, np.float64), 0
    points = _around(here)
    value, gradient, curvature = _derivatives(pooled(points, sums), len(here))
    for _ in range(MOST_STEPS):
        step = _step(gradient, curvature)
        if (np.abs(step) <= CONVERGED * np.maximum(np.abs(here), 1.0)).all():
            return here + step, value, curvature, sums + 1
        for _ in range(MOST_HALVES):
            sums += 1
            found = _derivatives(pooled(_around(here + step), sums), len(here))
            # Rounding may lift a minimum that has been reached.
            if found[0] <= value + 1e-10 * max(abs(value), 1.0):
                break
            step = step / 2
        else:
            break
        here = here + step
        value, gradient, curvature = found
    raise EstimationError(
        "the estimates do not converge: the data may say too little of the random effects, or a column may "
        "separate the response; use fewer terms"
    )


def _around(here: Array) -> NDArray[np.complex128]:
    """Return the points of a value, of first derivatives, and of those at both sides in each direction."""
    k = len(here)
    offsets = np.concatenate([np.zeros((1, k)), *(np.stack([unit, -unit]) for unit in APART * np.eye(k))])
    moved = offsets[:, np.newaxis] + 1j * IMAGINARY * np.eye(k)
    return np.asarray(here + moved.reshape(-1, k))


def _derivatives(values: NDArray[np.complex128], k: int) -> tuple[float, Array, Array]:
    slopes = values.imag.reshape(2 * k + 1, k) / IMAGINARY
    curvature = (slopes[1::2] - slopes[2::2]) / (2 * APART)
    return float(values[0].real), slopes[0], (curvature + curvature.T) / 2


def _step(gradient: Array, curvature: Array) -> Array:
    """Return Newton's step; where the criterion does not curve upwards, down its slope as if it did."""
    size, directions = np.linalg.eigh(curvature)
    size = np.maximum(np.abs(size), FLAT * max(np.abs(size).max(), 1.0))
    return np.asarray(-directions @ ((directions.T @ gradient) / size))
