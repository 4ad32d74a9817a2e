"""Exact noise: its distribution, and the bits that decide it where the first ones do not."""

from __future__ import annotations

import math
import time
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from protocols import discrete_gaussian
from protocols.discrete_gaussian import DiscreteGaussian
from protocols.exponentials import exp_minus

#: One sampler for each of its ways: all but 0, a small table, the largest table, one with a lower part, many.
VARIANCES = [
    Fraction(1, 20),
    Fraction(2, 3),
    Fraction(9),
    Fraction(65_535),
    Fraction(65_536),
    Fraction(10**9),
]
#: Of the tests of fit: they are seeded, so that they do not fail by chance.
ALPHA = 1e-3
SAMPLES = 200_000


def seeded(seed: int) -> discrete_gaussian.Entropy:
    return np.random.default_rng(seed).bytes


def probabilities(variance: Fraction, reach: int) -> np.ndarray:
    """Of −reach … reach, as the definition has them."""
    x = np.arange(-reach, reach + 1, dtype=np.float64)
    weights = np.exp(-(x**2) / (2 * float(variance)))
    return weights / weights.sum()


def fit(samples: np.ndarray, variance: Fraction) -> float:
    """Return the p-value of the χ² test of fit, in cells of 50 samples or more."""
    reach = math.ceil(12 * math.sqrt(variance)) + 1
    expected = probabilities(variance, reach) * len(samples)
    observed = np.bincount(samples + reach, minlength=2 * reach + 1)
    cells = (np.cumsum(expected) // 50).astype(np.int64)
    cells = np.unique(cells, return_inverse=True)[1]
    sums = [np.bincount(cells, its) for its in (observed, expected)]
    sums = [np.append(its[:-2], its[-2:].sum()) for its in sums]
    statistic = ((sums[0] - sums[1]) ** 2 / sums[1]).sum()
    return float(stats.chi2.sf(statistic, len(sums[0]) - 1))


@pytest.mark.parametrize("variance", VARIANCES[1:-1], ids=str)
def test_samples_fit_the_distribution(variance: Fraction) -> None:
    assert fit(DiscreteGaussian(variance).sample(SAMPLES, seeded(1)), variance) > ALPHA


@pytest.mark.parametrize("variance", [Fraction(9), Fraction(65_536)], ids=str)
def test_samples_of_another_variance_would_not_fit(variance: Fraction) -> None:
    """The positive control: 2 % of the standard deviation are noticed."""
    samples = DiscreteGaussian(variance * Fraction(104, 100)).sample(SAMPLES, seeded(2))
    assert fit(samples, variance) < ALPHA


@pytest.mark.parametrize("variance", VARIANCES, ids=str)
def test_moments_and_tails_are_those_of_the_distribution(variance: Fraction) -> None:
    samples = DiscreteGaussian(variance).sample(1_000_000, seeded(3)).astype(np.float64)
    sigma = math.sqrt(variance)
    reach = min(math.ceil(12 * sigma) + 1, 1 << 20)
    if reach < 1 << 20:
        x, chance = np.arange(-reach, reach + 1), probabilities(variance, reach)
        second, fourth = chance @ x**2, chance @ x.astype(np.float64) ** 4
        beyond = [chance[np.abs(x) > z * sigma].sum() for z in (1, 2, 3, 4)]
    else:  # as good as continuous
        second, fourth = float(variance), 3 * float(variance) ** 2
        beyond = [2 * stats.norm.sf(z) for z in (1, 2, 3, 4)]
    n = len(samples)
    assert abs(samples.mean()) < 4 * math.sqrt(second / n)
    assert abs((samples**2).mean() - second) < 4 * math.sqrt((fourth - second**2) / n)
    for z, p in zip((1, 2, 3, 4), beyond, strict=True):
        observed = np.count_nonzero(np.abs(samples) > z * sigma)
        assert abs(observed - n * p) <= 4 * math.sqrt(n * p * (1 - p)) + 1


def test_production_draws_on_the_system() -> None:
    gaussian = DiscreteGaussian(Fraction(10**6))
    assert not np.array_equal(gaussian.sample(100), gaussian.sample(100))
    assert gaussian.sample(0).shape == (0,)


@given(
    st.fractions(0, 60, max_denominator=10**9),
    st.integers(8, 300),
)
def test_exponentials_are_enclosed(x: Fraction, bits: int) -> None:
    low, high = exp_minus(x, bits)
    with localcontext() as context:
        context.prec = 150
        exact = (-Decimal(x.numerator) / Decimal(x.denominator)).exp() * 2**bits
        assert low <= exact <= high
    assert 0 <= low <= high <= low + 2


def test_enclosures_of_great_and_no_exponents() -> None:
    assert exp_minus(Fraction(0), 64).high == 1 << 64
    assert exp_minus(Fraction(10**6), 64) == (0, 1)
    with pytest.raises(ValueError, match="negative"):
        exp_minus(Fraction(-1), 64)


@pytest.mark.parametrize("variance", [Fraction(9), Fraction(65_536)], ids=str)
def test_cumulated_probabilities_are_those_of_the_upper_part(variance: Fraction) -> None:
    gaussian = DiscreteGaussian(variance)
    a = np.arange(len(gaussian._table), dtype=np.float64)
    weights = np.exp(-float(gaussian._rate) * a**2)
    np.testing.assert_allclose(
        gaussian._table.astype(np.float64) / 2**64, np.cumsum(weights) / weights.sum(), rtol=1e-12
    )
    for bits in (100, 200):
        narrow = discrete_gaussian._cumulated(gaussian._rate, bits)
        assert all(high - low <= 2 for low, high in narrow)
        assert narrow[-1].high == 1 << bits


@pytest.mark.parametrize("entry", [0, 3, 10])
def test_words_that_do_not_decide_are_followed_by_more_bits(entry: int) -> None:
    """With zeros after a table's entry the number is below the probability, and with ones above."""
    gaussian = DiscreteGaussian(Fraction(9))
    word = int(gaussian._table[entry])
    lower = discrete_gaussian._resolved(gaussian._rate, word, lambda size: b"\x00" * size)
    upper = discrete_gaussian._resolved(gaussian._rate, word, lambda size: b"\xff" * size)
    place = int(np.searchsorted(gaussian._table, np.uint64(word)))
    assert lower == place
    assert upper > lower
    asked = count()

    def tied(size: int) -> bytes:
        """Give the entry as the first word of every sample, then zeros."""
        if next(asked):
            return b"\x00" * size
        words = np.zeros((3, size // 24), "<u8")
        words[0], words[1] = word, 0  # the sign: positive
        return words.tobytes()

    assert set(gaussian.sample(3, tied).tolist()) == {place}


def test_the_last_word_stands_for_all_that_lies_beyond() -> None:
    gaussian = DiscreteGaussian(Fraction(9))
    assert int(gaussian._table[-1]) == 2**64 - 1
    following = iter([b"\xff" * 8])
    near = discrete_gaussian._resolved(gaussian._rate, 2**64 - 1, bytes)
    far = discrete_gaussian._resolved(gaussian._rate, 2**64 - 1, lambda size: next(following, bytes(size)))
    assert 25 < near < far < 45


def test_coins_that_doubles_do_not_decide_are_decided() -> None:
    gaussian = DiscreteGaussian(Fraction(65_536))
    assert gaussian._shift == 1
    upper, lower = np.array([100, 100]), np.array([1, 1])
    exact = exp_minus(Fraction(401) / (2 * 65_536), 128).low
    words = np.array([exact >> 64, (exact >> 64) + 1], np.uint64)
    above = ((exact & (2**64 - 1)) + 5).to_bytes(8, "little")
    below = ((exact & (2**64 - 1)) - 5).to_bytes(8, "little")
    assert gaussian._coins(upper, lower, words, lambda _: below).tolist() == [True, False]
    assert gaussian._coins(upper, lower, words, lambda _: above).tolist() == [False, False]


@pytest.mark.parametrize("variance", [Fraction(0), Fraction(-1), Fraction(2**112 + 1)], ids=str)
def test_impossible_variances_are_refused(variance: Fraction) -> None:
    with pytest.raises(ValueError, match="variance of noise"):
        DiscreteGaussian(variance)


def test_a_million_samples_take_less_than_a_second() -> None:
    gaussian = DiscreteGaussian(Fraction(10**9))
    gaussian.sample(1000)
    start = time.thread_time()
    gaussian.sample(1_000_000)
    assert time.thread_time() - start < 1
