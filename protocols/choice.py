"""Private choices: which sums over all parties are the largest, told with noise on shares.

Let scores s_i be magnitudes of sums over all parties. The place i of the largest s_i + N_i is opened, or of
the k largest, and nothing else: the noise protects the choice, and no number leaves. Nobody knows the noise:
**every party adds its own**, of full strength, before anything is opened. Let ε be what a choice may cost,
and every score change by Δ at most when a row is added or removed; a party's noise is Gumbel's, times 2Δ/ε.

**One party's noise.** With Gumbel noise the place of the largest is chosen with a probability proportional
to exp(ε·s_i/2Δ), which is the exponential mechanism; and the places of the k largest are those that it
chooses one after the other, each among the ones that are left [1]_. From one table to its neighbour the
weights change by factors exp(±ε/2) at most, and what they are divided by is the same for all: the privacy
loss L of a choice lies in an interval of length ε. Hence K(α) = log E exp(αL), under the neighbour, has
K(0) = K(1) = 0, and K'' ≤ ε²/4, as a variance in such an interval. So K(α) ≤ α(α − 1)ε²/8: a choice is
ε²/8-zCDP [2]_, and k of them cost ρ = k·ε²/8.

**Several parties' noises.** Let some party be honest, and fix the noises of all others, whoever knows them.
They shift the scores of both tables by the same numbers, which leaves Δ as it is: the choices, given these
noises, are those of the mechanism above. The noises do not depend on the rows. So the choice, together with
all the other parties' noises, is as private as one party's noise makes it.

**The grid.** Noise is rounded down to 2^−53 of its strength, and scores are whole multiples of that, so that
the order is that of the exact noise unless two of the k + 1 largest are within 2^−53. Seen as arrivals of
Poisson processes at times exp(−s_i − N_i), the (j + 1)th largest follows the jth one so closely with
probability j·2^−53 at most. And no noise goes beyond 64 times its strength, where exact noise would once in
2^92. So the choices differ from those of exact noise in a statistical distance of k(k + 1)/2 · 2^−53 or so,
which is below `DISTANCE` for k ≤ `MOST`: no more than what the masks of each secret number have (`Engine`).
It counts towards δ, (1 + e^ε) times; masks, which only sites see, do not.

References
----------
.. [1] D. Durfee and R. Rogers, "Practical Differentially Private Top-k Selection with Pay-what-you-get
   Composition", NeurIPS 2019, lemma 4.2.
.. [2] M. Cesar and R. Rogers, "Bounding, Concentrating, and Truncating: Unifying Privacy Loss Composition for
   Data Analytics", ALT 2021, lemma 3.4.
"""

from __future__ import annotations

import secrets
from fractions import Fraction
from math import isqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.discrete_gaussian import Entropy
from protocols.engine import Engine
from protocols.gumbel import BITS, gumbel
from protocols.gumbel import MOST as LARGEST
from protocols.inputs import sum_shares
from protocols.secret import SecretArray, public
from protocols.sort import top_k

#: Largest k.
MOST: Final = 100
#: Statistical distance of choices from those of exact noise, at most.
DISTANCE: Final = 2.0**-40
#: Sums count up to so many times the strength of the noise: far beyond, noise changes no choice.
REACH: Final = 1 << 19


def weight(sensitivity: int, rho: Fraction, k: int) -> int:
    """Return how many units of the noise's grid a unit of the scores has: ⌊2^53·√(2ρ/k)/Δ⌋.

    With √(2ρ/k) = ε/2. Rounded down, the choices cost ρ at most.

    Raises
    ------
    ValueError
        Noise is so strong that a unit of the scores has none, or k is not between 1 and `MOST`.
    """
    found = isqrt(int(2 * rho * (1 << 2 * BITS) / (k * sensitivity**2))) if 1 <= k <= MOST else 0
    if not found:
        raise ValueError(f"no {k} choices cost {rho}")
    return found


def largest(
    engine: Engine,
    values: NDArray[np.int64],
    k: int,
    its_weight: int,
    entropy: Entropy = secrets.token_bytes,
) -> SecretArray:
    """Return the secret places of the k sums of largest magnitude, with noise, the largest first.

    Parameters
    ----------
    engine
        The computation.
    values
        Shape ``(size,)``, the same at every party: this party's summands. Beyond `REACH` they are clipped,
        which brings no two of them farther apart.
    k
        How many, public; no more than there are sums.
    its_weight
        See `weight`.
    entropy
        Where this party's noise comes from; anything but the operating system is for tests.

    Notes
    -----
    **Leakage.** None before the places are opened; and then see above: ρ-zCDP, whatever any t parties pool.

    **Cost.** Two rounds for sums and noise, a comparison and a product for magnitudes (`compare.absolute`),
    and `sort.top_k`. For ten of 10,000 sums and three parties 68 rounds, and 640 bytes a sum from each.
    """
    most = max(1, (REACH << BITS) // (its_weight * engine.n))
    most = min(most, (1 << 62) // engine.n)
    sums = sum_shares(engine, np.clip(values, -most, most), bound=most)
    noise = sum_shares(engine, gumbel(values.size, entropy), bound=LARGEST << BITS)
    noisy = abs(sums) * its_weight + noise
    return top_k(noisy, k, public(engine, np.arange(values.size)))[1]
