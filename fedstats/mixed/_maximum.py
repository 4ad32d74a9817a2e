"""Newton's method for variance components: a likelihood of which only steps need to be known.

Between two steps nothing else is asked than whether the criterion rose, and that only where Newton's method
may go astray: after a step that is no shorter than half the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

import numpy as np

from fedstats.errors import EstimationError
from fedstats.expressions import Array

#: What a criterion remembers of a point.
Found = TypeVar("Found")

#: The search ends after a step of this size, relative to the largest parameter, or if the next one would be
#: of that size.
TOLERANCE, PRECISION = 1e-8, 1e-11
#: Parameters of less than this count as if they were this large.
LITTLE = 0.01
#: Steps so small are not compared: what they gain drowns in the rounding of a likelihood.
SMALL = 1e-4
MOST_STEPS, MOST_HALVES = 60, 12
#: In which parts steps are damped.
DAMPINGS = 2.0 ** np.array([-10, -8, -6, -4, -2, 0])
#: Longest step, relative to the largest parameter and 1. Less than that: at 0, where the criterion is as
#: large on both sides, a search would never leave again.
FARTHEST = 0.9


class Criterion(Protocol[Found]):
    """−2 log likelihood as a function of parameters; the same answers at every site."""

    def evaluate(self, theta: Array) -> Found:
        """Compute what the methods below need at a point."""

    def step(self, found: Found, dampings: Array) -> Array:
        """Return a step along which the criterion falls.

        To second derivatives the least of the given parts of another matrix is added, one that is positive
        definite everywhere, that makes the sum positive definite; where none does, that matrix is used alone.
        """

    def is_worse(self, found: Found, before: Found) -> bool:
        """Return whether the criterion is larger than it was before."""


def minimise(criterion: Criterion[Found], start: Array) -> tuple[Array, int]:
    """Return where a criterion is least, and the number of steps.

    Raises
    ------
    EstimationError
        It was not found in so many steps.
    """
    here, last = np.array(start, np.float64), np.inf
    found = criterion.evaluate(here)
    for number in range(1, MOST_STEPS + 1):
        largest = float(np.abs(here).max())
        step = criterion.step(found, _dampings(last / max(1.0, largest)))
        size = float(np.abs(step).max())
        reach = max(largest, LITTLE)
        # Convergence is quadratic by now: the next step would be about this long.
        expected = size**3 / last**2
        if size <= TOLERANCE * reach or (size < SMALL and expected <= PRECISION * reach):
            return here + step, number
        step = step * min(1.0, FARTHEST * max(1.0, largest) / size)
        size = float(np.abs(step).max())  # as taken: between two that are cut off it might go to and fro
        for _ in range(MOST_HALVES):
            tried = criterion.evaluate(here + step)
            if size < max(SMALL, last / 2) or not criterion.is_worse(tried, found):
                break
            step = step / 2
        else:
            break
        here, found, last = here + step, tried, size
    raise EstimationError(
        "the variance components do not converge: the data may say too little of the random effects; use "
        "fewer slopes, or fewer terms"
    )


def _dampings(size: float) -> Array:
    """Return in which parts steps are damped after one of this size: the first one fully."""
    if not np.isfinite(size):
        return DAMPINGS[-1:]
    least = np.ldexp(np.rint(np.ldexp(DAMPINGS[0] * min(1.0, size), 30)), -30)
    return np.append(least, DAMPINGS)


def numbers() -> Iterator[int]:
    """Return numbers for what is opened at each step."""
    return iter(range(1 << 30))
