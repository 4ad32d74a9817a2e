"""Thinning out variants in linkage disequilibrium, by pooled correlations of near neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedstats.gwas._standard import Standard
from fedstats.gwas.genotypes import Genotypes
from fedstats.gwas.reconcile import Reconciled
from protocols.ring import FIXED128

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Variants whose products with their neighbours are computed and opened together.
BLOCK: Final = 256


def thin(
    run: Analysis,
    genotypes: Genotypes,
    samples: Integers,
    shared: Reconciled,
    standard: Standard,
    *,
    r2: float,
    window: int,
) -> Integers:
    """Choose variants of which no two near neighbours are closely correlated.

    Of two that are, the one with the rarer minor allele goes.

    Parameters
    ----------
    run
        The analysis, which declares ``"neighbours"``.
    genotypes, samples
        This site's file, and the samples that take part.
    shared, standard
        The variants, in the order of the genome.
    r2
        Highest squared correlation.
    window
        How many variants further on count as near, on the same chromosome.

    Returns
    -------
    ndarray of int64
        Which variants stay, ascending; the same at every site.
    """
    site = run.federation.site
    index, flip = shared.index[site], shared.flip[site]
    size = len(shared)
    # Column 0 holds each variant's product with itself, column k that with the k-th one further on.
    band = np.zeros((size, window + 1))
    for number, start in enumerate(range(0, size, BLOCK)):
        stop, end = min(start + BLOCK, size), min(start + BLOCK + window, size)
        calls = genotypes.file.read(index[start:end], samples, flip=flip[start:end])
        X = standard.apply(calls, slice(start, end))
        products = np.pad(X[: stop - start] @ X.T, ((0, 0), (0, window)))
        diagonals = np.arange(stop - start)[:, np.newaxis] + np.arange(window + 1)
        mine = np.take_along_axis(products, diagonals, axis=1).astype(np.float64)
        band[start:stop] = run.sum("neighbours", mine, ring=FIXED128, part=number)
    chromosome = np.unique(shared.variants["chromosome"].to_numpy(str), return_inverse=True)[1]
    frequency = np.minimum(standard.mean, 2 - standard.mean)
    return np.flatnonzero(_choose(band, chromosome.astype(np.int64), frequency, r2))


@njit(cache=True)
def _choose(band: Floats, chromosome: Integers, frequency: Floats, r2: float) -> NDArray[np.bool_]:
    size, width = band.shape
    kept = np.ones(size, np.bool_)
    for i in range(size):
        for k in range(1, min(width, size - i)):
            if not kept[i]:
                break
            j = i + k
            near = kept[j] and chromosome[i] == chromosome[j]
            if near and band[i, k] ** 2 > r2 * band[i, 0] * band[j, 0]:
                kept[j if frequency[j] <= frequency[i] else i] = False
    return kept
