"""Noise for differential privacy with no curator: each party adds a part of it to its own numbers.

A sum over all parties gets noise of variance σ² although nobody is trusted to draw it, and nobody knows it.
Each of n parties adds discrete Gaussian noise of variance σ²/(n − t − d) to its integers before they are
summed. Then any t parties may pool the noise that they drew, or draw none, and d others drop out: the noise
of those that are left still has variance σ² and more.

Sums of discrete Gaussians are not discrete Gaussians, but nearly [1]_. Let m parties add noise of variance s²
to vectors of d integers whose sum changes by Δ at most, in Euclidean norm, when a row is added or removed.
What is opened is ρ-zCDP with √(2ρ) = Δ/(√m·s) + τ√d, where τ = 10·Σ exp(−2π²s²·k/(k + 1)) over k = 1 … m − 1.
With s ≥ `LEAST`, τ is below 2^−3500 for any number of parties; `site_variance` accounts for it all the same.

References
----------
.. [1] P. Kairouz, Z. Liu and T. Steinke, "The Distributed Discrete Gaussian Mechanism for Federated Learning
   with Secure Aggregation", ICML 2021, theorem 1.
.. [2] M. Bun and T. Steinke, "Concentrated Differential Privacy: Simplifications, Extensions, and Lower
   Bounds",
   TCC 2016.
"""

from __future__ import annotations

import secrets
from fractions import Fraction
from functools import lru_cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from protocols.discrete_gaussian import DiscreteGaussian, Entropy

#: Least standard deviation of a party's noise, in units of the integers: multiply these beforehand where it
#: is less.
LEAST = 16


def honest(parties: int, colluders: int, dropouts: int = 0) -> int:
    """Return by how many parties' noise a sum is protected whatever happens: n − t − d.

    Raises
    ------
    ValueError
        Nobody is left.
    """
    left = parties - colluders - dropouts
    if left < 1 or colluders < 0 or dropouts < 0:
        raise ValueError(f"{colluders} colluders and {dropouts} drop-outs of {parties} parties leave nobody")
    return left


def charge(squared_sensitivity: Fraction, variance: Fraction, honest: int, dimension: int) -> Fraction:
    """Return what opening a sum costs at most: the ρ of zero-concentrated differential privacy [2]_.

    Parameters
    ----------
    squared_sensitivity
        Δ²: largest squared Euclidean distance of the sums, with one row and without it.
    variance
        Of each party's noise, s² ≥ `LEAST`².
    honest
        How many parties' noise counts, m.
    dimension
        How many integers are summed, d.
    """
    if variance < LEAST**2:
        raise ValueError(f"the bound asks for a standard deviation of {LEAST} at least")
    exact = squared_sensitivity / (2 * honest * variance)
    # π² / ln 2 > 14, k/(k + 1) ≥ ½ and s ≥ LEAST: each of the m − 1 summands of τ is below 2^−(14·LEAST²).
    excess = Fraction(10 * (honest - 1), 1 << (14 * LEAST**2))
    # ½(a + b)² for a² = 2·exact and b² = τ²d.
    return exact + excess * _root_above(2 * exact * dimension) + excess * excess * dimension / 2


@lru_cache(maxsize=256)
def site_variance(squared_sensitivity: Fraction, rho: Fraction, honest: int, dimension: int) -> Fraction:
    """Return the variance of each party's noise with which opening a sum costs ρ at most.

    It is Δ²/(2ρm), and a part in 2^40 more for what sums of discrete Gaussians cost beyond Gaussians.

    Raises
    ------
    ValueError
        Its root is below `LEAST`: multiply the integers.
    """
    variance = squared_sensitivity / (2 * rho * honest) * (1 + Fraction(1, 1 << 40))
    if charge(squared_sensitivity, variance, honest, dimension) > rho:
        raise ValueError(f"no noise makes a sum of {dimension} numbers cost {rho}")
    return variance


def add_noise(
    values: NDArray[np.int64], variance: Fraction, entropy: Entropy = secrets.token_bytes
) -> NDArray[np.int64]:
    """Return integers with this party's noise, which is known to nobody else and forgotten here.

    Parameters
    ----------
    values
        This party's summands, before anybody has seen them.
    variance
        See `site_variance`.
    entropy
        Where random bytes come from; anything but the operating system is for tests.

    Notes
    -----
    **Leakage.** None: nothing is sent.

    **Cost.** No rounds; 0.15 s for 1e6 values.
    """
    noise = DiscreteGaussian(variance).sample(values.size, entropy)
    return values + noise.reshape(values.shape)


def _root_above(x: Fraction) -> Fraction:
    """Return a number that is at least √x, and larger by a part in 2^60 or so."""
    scale = 1 << max(0, 64 - (x.numerator.bit_length() - x.denominator.bit_length()) // 2)
    return Fraction(isqrt(x.numerator * scale * scale // x.denominator) + 1, scale)
