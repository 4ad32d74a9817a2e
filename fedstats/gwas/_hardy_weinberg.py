"""Exact tests of Hardy–Weinberg equilibrium with the mid-P value.

Given the numbers of copies of both alleles, the number of heterozygotes has a known distribution under
equilibrium. The P value is the probability of all numbers that are less likely than the observed one, plus
half of that of those as likely [1]_ [2]_. Neighbouring probabilities have simple ratios, so a sum from
the mode outwards takes some tens of steps for a variant near equilibrium, and ends where terms vanish.

References
----------
.. [1] J. E. Wigginton, D. J. Cutler, G. R. Abecasis, "A note on exact tests of Hardy-Weinberg equilibrium",
   American Journal of Human Genetics 76, 2005, 887–893.
.. [2] J. Graffelman, V. Moreno, "The mid p-value in exact tests for Hardy-Weinberg equilibrium", Statistical
   Applications in Genetics and Molecular Biology 12, 2013, 433–448.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Smaller P values of rates are taken for this one.
_SMALLEST: Final = 1e-300
#: Probabilities that differ by less than this part are taken as equal, as they may by rounding alone.
_EQUAL: Final = 1e-9


@njit(cache=True, nogil=True)
def mid_p(heterozygotes: Integers, one: Integers, two: Integers) -> NDArray[np.float64]:
    """Return the exact mid-P value of each variant.

    Parameters
    ----------
    heterozygotes, one, two
        Numbers of heterozygotes and of both kinds of homozygotes.

    Returns
    -------
    ndarray
        One half where the copies allow for one number of heterozygotes only, NaN without genotypes, 0 where
        it underflows.
    """
    found = np.empty(heterozygotes.size)
    for v in range(heterozygotes.size):
        observed = heterozygotes[v]
        n = observed + one[v] + two[v]
        rare = observed + 2 * min(one[v], two[v])
        if n == 0:
            found[v] = np.nan
            continue
        mode = rare * (2 * n - rare) // (2 * n)
        if (mode - rare) % 2:
            mode += 1
        # Down and up from the mode, whose probability is taken as 1, until nothing is added any more.
        at_observed = _relative(observed, mode, rare, n)
        total, less, equal = 0.0, 0.0, 0.0
        for step in (-2, 2):
            h, probability = mode, 1.0
            if step == 2:
                probability *= _ratio(h, step, rare, n)
                h += step
            while 0 <= h <= rare:
                total += probability
                if probability < at_observed * (1 - _EQUAL):
                    less += probability
                elif probability <= at_observed * (1 + _EQUAL):
                    equal += probability
                following = probability * _ratio(h, step, rare, n)
                # What is left sums to less than the last term times the number of terms.
                if following <= 0.0 or (following * n < 1e-17 * total and following * n < 1e-14 * less):
                    break
                probability = following
                h += step
        found[v] = (less + 0.5 * equal) / total
    return found


def mid_p_of_rates(samples: Floats, frequency: Floats, heterozygotes: Floats) -> Floats:
    """Return mid-P values that rounded rates make, between those of whole numbers, by their logarithms.

    Parameters
    ----------
    samples
        How many have a call.
    frequency
        Of either allele.
    heterozygotes
        Over those expected; NaN where the P value is to be.
    """
    found = np.full(samples.shape, np.nan)
    known = np.flatnonzero(~np.isnan(heterozygotes))
    n, p = np.rint(samples[known]), frequency[known]
    p = np.minimum(p, 1 - p)
    rare = np.rint(2 * n * p)
    # Carriers of two copies.
    two = (rare - heterozygotes[known] * 2 * n * p * (1 - p)) / 2
    below = np.clip(np.floor(two), 0, np.maximum(rare // 2 - 1, 0))
    above = np.minimum(below + 1, rare // 2)
    logs = []
    for x in (below, above):
        counts = (its.astype(np.int64) for its in (rare - 2 * x, x, n - rare + x))
        logs.append(np.log(np.maximum(mid_p(*counts), _SMALLEST)))
    found[known] = np.exp(logs[0] + np.clip(two - below, 0, 1) * (logs[1] - logs[0]))
    return found


@njit(cache=True, nogil=True)
def _ratio(h: int, step: int, rare: int, n: int) -> float:
    """P(h + step) / P(h)."""
    if step < 0:
        return h * (h - 1.0) / ((rare - h + 2.0) * (2.0 * n - rare - h + 2.0))
    return (rare - h) * (2.0 * n - rare - h) / ((h + 2.0) * (h + 1.0))


@njit(cache=True, nogil=True)
def _relative(observed: int, mode: int, rare: int, n: int) -> float:
    """P(observed) / P(mode)."""
    probability, h = 1.0, mode
    step = 2 if observed > mode else -2
    while h != observed and probability > 0.0:
        probability *= _ratio(h, step, rare, n)
        h += step
    return probability
