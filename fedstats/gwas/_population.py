"""Genotypes of diverged populations with linkage between neighbouring variants.

Populations diverge from an ancestral frequency p by the Balding–Nichols model: a population's frequency
is Beta distributed with mean p and variance F_ST p(1 − p). Along a chromosome a haplotype carries a
uniform rank, and allele 1 wherever the rank lies below the population's frequency; from one variant to
the next the rank is kept, or by recombination drawn anew. Each variant so has exactly its population's
frequency and, in a population, Hardy–Weinberg proportions; the correlation of two variants falls off
geometrically with the variants between them, and is nil between blocks.

References
----------
.. [1] Balding D. J., Nichols R. A. (1995), "A method for quantifying differentiation between populations
       at multi-allelic loci and its implications for investigating identity and paternity",
       Genetica 96, 3-12.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import special

#: Standard deviation, on the logit scale, of the ancestral frequencies of one linkage block.
_FREQUENCY_SPREAD = 0.2


def ancestral_frequencies(
    block: NDArray[np.int64], minor: tuple[float, float], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw frequencies that are alike within a linkage block, as frequencies of linked variants are.

    Parameters
    ----------
    block : ndarray of int64, shape (variants,)
        Each variant's linkage block, from 0.
    minor
        Least and greatest frequency of allele 1; a block's centre is uniform between them.
    """
    centre = special.logit(rng.uniform(*minor, block.max() + 1))[block]
    spread = rng.normal(scale=_FREQUENCY_SPREAD, size=block.size)
    return np.asarray(np.clip(special.expit(centre + spread), *minor))


def balding_nichols(
    ancestral: NDArray[np.float64],
    block: NDArray[np.int64],
    populations: int,
    fst: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Draw each population's allele frequencies.

    Linked variants drift together: a population has one quantile of the Beta distribution a block.

    Parameters
    ----------
    ancestral : ndarray of float64, shape (variants,)
        Frequencies before the populations parted.
    block : ndarray of int64, shape (variants,)
        Each variant's linkage block, from 0.
    populations
        Number of populations.
    fst
        Wright's F_ST, in [0, 1).

    Returns
    -------
    ndarray of float64, shape (variants, populations)
    """
    quantile = rng.random((block.max() + 1, populations))[block]
    if fst == 0:
        return np.repeat(ancestral[:, None], populations, axis=1)
    scale = (1 - fst) / fst
    p = ancestral[:, None]
    return np.asarray(special.betaincinv(scale * p, scale * (1 - p), quantile))


def genotype_rows(
    frequencies: NDArray[np.float64],
    block: NDArray[np.int64],
    sizes: NDArray[np.int64],
    recombination: float,
    rng: np.random.Generator,
) -> Iterator[NDArray[np.int8]]:
    """Simulate genotypes, one variant at a time.

    Parameters
    ----------
    frequencies : ndarray of float64, shape (variants, populations)
        Frequencies of allele 1.
    block : ndarray of int64, shape (variants,)
        Each variant's linkage block, in order.
    sizes : ndarray of int64, shape (populations,)
        Samples of each population.
    recombination
        Probability, in [0, 1), that a haplotype's rank is drawn anew between neighbours in a block.

    Yields
    ------
    ndarray of int8, shape (samples,)
        Copies of allele 1, samples grouped by population. Every row is a new array.
    """
    ends = np.cumsum(sizes)
    n_samples = int(ends[-1])
    rank = np.empty((2, n_samples), np.float32)
    # Of so many haplotypes picked with replacement, each is picked at all with this probability.
    expected_picks = -np.log1p(-recombination) * rank.size
    last_block = -1
    for frequency, this_block in zip(frequencies.astype(np.float32), block.tolist(), strict=True):
        if this_block == last_block:
            picked = rng.integers(rank.size, size=rng.poisson(expected_picks), dtype=np.uint32)
            rank.put(picked, rng.random(picked.size, np.float32))
        else:
            rng.random(out=rank, dtype=np.float32)
        last_block = this_block
        row = np.empty(n_samples, np.int8)
        for start, end, threshold in zip(ends - sizes, ends, frequency, strict=True):
            carried = (rank[:, start:end] < threshold).view(np.int8)
            np.add(carried[0], carried[1], out=row[start:end])
        yield row
