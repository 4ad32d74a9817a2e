"""The exact mid-P value against the whole distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import gammaln

from fedstats.gwas._hardy_weinberg import mid_p


def of_one(het: int, one: int, two: int) -> float:
    return float(mid_p(np.array([het]), np.array([one]), np.array([two]))[0])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 80), st.integers(0, 300), st.integers(0, 60))
def test_whole_distribution(het: int, one: int, two: int) -> None:
    n, rare = het + one + two, het + 2 * min(one, two)
    if not n:
        assert np.isnan(of_one(het, one, two))
        return
    h = np.arange(rare % 2, rare + 1, 2)
    rarer = (rare - h) // 2
    log = h * np.log(2) - gammaln(h + 1) - gammaln(rarer + 1) - gammaln(n - h - rarer + 1)
    p = np.exp(log - log.max()) / np.exp(log - log.max()).sum()
    observed = p[h == het][0]
    equal = np.isclose(p, observed, rtol=1e-9, atol=0)
    expected = p[(p < observed) & ~equal].sum() + p[equal].sum() / 2
    assert of_one(het, one, two) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("counts", [(0, 100_000, 100_000), (200_000, 0, 0)])
def test_extremes_of_many_samples(counts: tuple[int, int, int]) -> None:
    assert of_one(*counts) == 0.0


def test_many_samples_in_equilibrium() -> None:
    """Where n is large, the χ² test is as good."""
    het, one, two = 241_000, 159_500, 89_500
    n, copies = het + one + two, het + 2 * one
    expected = copies * (2 * n - copies) / (2 * n)
    statistic = n * (1 - het / expected) ** 2
    assert of_one(het, one, two) == pytest.approx(stats.chi2.sf(statistic, 1), rel=1e-2)
    assert of_one(1, 0, 10**6) == 0.5
