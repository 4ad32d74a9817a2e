"""Genotypes standardised by their pooled frequency, as float32."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Standard:
    """How variants are standardised: (g − mean) / √(mean(1 − mean/2)), 0 where missing.

    Parameters
    ----------
    mean
        Σg / calls of each variant over all sites, between 0 and 2.
    """

    def __init__(self, mean: Floats) -> None:
        self.mean = mean
        spread = np.sqrt(mean * (1 - mean / 2))
        values = (np.arange(3) - mean[:, np.newaxis]) / spread[:, np.newaxis]
        self._table = np.column_stack([np.zeros_like(mean), values]).astype(np.float32)

    def apply(self, calls: NDArray[np.int8], part: slice) -> NDArray[np.float32]:
        """Standardise calls, −1 where missing, of consecutive variants: shape ``(variants, samples)``."""
        found = np.empty(calls.shape, np.float32)
        _look_up(calls, self._table[part], found)
        return found

    def take(self, which: NDArray[np.int64]) -> Standard:
        """Return some of the variants."""
        return Standard(self.mean[which])


@njit(cache=True, nogil=True)
def _look_up(calls: NDArray[np.int8], table: NDArray[np.float32], found: NDArray[np.float32]) -> None:
    for i in range(calls.shape[0]):
        for j in range(calls.shape[1]):
            found[i, j] = table[i, calls[i, j] + 1]
