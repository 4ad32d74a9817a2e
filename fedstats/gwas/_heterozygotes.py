"""Heterozygous calls of each sample, beside those that frequencies make expect."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Heterozygotes:
    """Counts of each sample over variants that are added block by block.

    Attributes
    ----------
    calls, observed
        Calls, and heterozygous ones among them.
    expected
        How many of the calls are expected to be heterozygous, by Hardy and Weinberg.
    """

    def __init__(self, samples: int) -> None:
        self.calls, self.observed, self.expected = np.zeros((3, samples))

    def add(self, calls: NDArray[np.int8], frequency: Floats) -> None:
        """Add variants, shape ``(variants, samples)``, −1 where missing, given their frequencies."""
        _add(calls, 2 * frequency * (1 - frequency), self.calls, self.observed, self.expected)

    def inbreeding(self) -> Floats:
        """Return 1 − observed / expected; NaN where none are expected."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(1 - self.observed / self.expected)


@njit(cache=True, nogil=True)
def _add(calls: NDArray[np.int8], chance: Floats, called: Floats, observed: Floats, expected: Floats) -> None:
    for v in range(calls.shape[0]):
        row = calls[v]
        for s in range(row.size):
            known = 1.0 if row[s] >= 0 else 0.0
            called[s] += known
            observed[s] += 1.0 if row[s] == 1 else 0.0
            expected[s] += known * chance[v]
