"""Genotypes standardised by their pooled frequency, as float32."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Variants that are standardised at a time.
PORTION: Final = 256


class Standard:
    """How variants are standardised: (g − mean) / √(mean(1 − mean/2)), 0 where missing.

    Parameters
    ----------
    mean
        Σg / calls of each variant over all sites, between 0 and 2.
    """

    def __init__(self, mean: Floats) -> None:
        self.mean = mean
        self._scale = (1 / np.sqrt(mean * (1 - mean / 2))).astype(np.float32)
        self._shift = (mean * self._scale).astype(np.float32)

    def apply(self, calls: NDArray[np.int8], part: slice) -> NDArray[np.float32]:
        """Standardise calls, −1 where missing, of consecutive variants: shape ``(variants, samples)``."""
        found = np.empty(calls.shape, np.float32)
        _scale(calls, self._scale[part], self._shift[part], found)
        return found

    def portions(self, calls: NDArray[np.int8], part: slice) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Do the same for a few variants at a time, to save memory; and say where they are among `calls`."""
        for start in range(0, len(calls), PORTION):
            few = slice(start, min(start + PORTION, len(calls)))
            yield few, self.apply(calls[few], slice(part.start + few.start, part.start + few.stop))

    def take(self, which: NDArray[np.int64]) -> Standard:
        """Return some of the variants."""
        return Standard(self.mean[which])


@njit(cache=True, nogil=True)
def _scale(
    calls: NDArray[np.int8],
    scale: NDArray[np.float32],
    shift: NDArray[np.float32],
    found: NDArray[np.float32],
) -> None:
    for i in range(calls.shape[0]):
        for j in range(calls.shape[1]):
            call = calls[i, j]
            found[i, j] = np.float32(call) * scale[i] - shift[i] if call >= 0 else np.float32(0)
