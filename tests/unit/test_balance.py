"""Tests and differences of a Table 1, from its figures, against scipy and published definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fedstats._balance import (
    NONE,
    analysis_of_variance,
    chi_squared,
    difference_of_means,
    difference_of_proportions,
    kruskal_wallis,
    pooled,
)

GROUPS = [np.random.default_rng(seed).normal(seed, 1 + seed, 10 + 5 * seed) for seed in range(3)]


def figures(groups: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([float(len(x)) for x in groups]),
        np.array([x.mean() for x in groups]),
        np.array([x.var(ddof=1) for x in groups]),
    )


def test_pooled() -> None:
    together = np.concatenate(GROUPS)
    assert pooled(*figures(GROUPS)) == pytest.approx((len(together), together.mean(), together.var(ddof=1)))


def test_analysis_of_variance() -> None:
    found, expected = analysis_of_variance(*figures(GROUPS)), stats.f_oneway(*GROUPS)
    assert (found.test, found.statistic, found.pvalue) == ("ANOVA", *(pytest.approx(x) for x in expected))


def test_two_groups_are_compared_by_t() -> None:
    found, expected = analysis_of_variance(*figures(GROUPS[:2])), stats.ttest_ind(*GROUPS[:2])
    assert found.test == "t-test"
    assert (found.statistic, found.pvalue) == pytest.approx((expected.statistic, expected.pvalue))


def test_kruskal_wallis() -> None:
    groups = [np.round(x) for x in GROUPS]
    together = np.concatenate(groups)
    n, ranks = np.array([float(len(x)) for x in groups]), stats.rankdata(together)
    sums = np.add.reduceat(ranks, [0, 10, 25])
    ties = float((np.unique(together, return_counts=True)[1] ** 3).sum() - len(together))
    found, expected = kruskal_wallis(n, sums[:-1], ties), stats.kruskal(*groups)
    assert (found.statistic, found.pvalue) == pytest.approx((expected.statistic, expected.pvalue))
    assert kruskal_wallis(np.array([3.0, 2.0]), np.array([9.0]), 120.0) == NONE


def test_groups_without_spread_are_not_compared() -> None:
    assert analysis_of_variance(*figures([np.ones(9), np.ones(8)])) == NONE


@pytest.mark.parametrize(
    "table", [[[20, 30], [40, 25]], [[10, 20, 30], [0, 0, 0], [25, 20, 9]], [[2, 9], [9, 3]]]
)
def test_chi_squared(table: list[list[int]]) -> None:
    counts = np.array(table)
    found, expected = chi_squared(counts), stats.chi2_contingency(counts[counts.any(axis=1)])
    assert (found.statistic, found.pvalue) == pytest.approx((expected.statistic, expected.pvalue))
    assert ("counts below 5" in found.test) == (expected.expected_freq.min() < 5)


def test_one_level_is_not_compared() -> None:
    assert chi_squared(np.array([[9, 8], [0, 0]])) == NONE


def test_differences_of_means() -> None:
    _, mean, var = figures(GROUPS)
    each = [abs(mean[a] - mean[b]) / np.sqrt((var[a] + var[b]) / 2) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert difference_of_means(mean, var) == pytest.approx(max(each))
    assert np.isnan(difference_of_means(mean[:1], var[:1]))


def test_difference_of_two_proportions() -> None:
    """With two levels it is the usual (p − q) / √((p(1 − p) + q(1 − q)) / 2)."""
    p, q = 30 / 50, 15 / 60
    expected = abs(p - q) / np.sqrt((p * (1 - p) + q * (1 - q)) / 2)
    assert difference_of_proportions(np.array([[30, 15], [20, 45]])) == pytest.approx(expected)
    assert difference_of_proportions(np.array([[30, 15], [0, 0], [20, 45]])) == pytest.approx(expected)


def test_difference_of_several_proportions() -> None:
    """It does not depend on which level is left out, unlike a sum of differences."""
    table = np.array([[10, 30], [20, 20], [30, 12]])
    found = [difference_of_proportions(table[list(order)]) for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1))]
    assert found == pytest.approx([found[0]] * 3)
    assert found[0] > 0.3
    assert difference_of_proportions(np.array([[10, 20], [20, 40], [5, 10]])) == pytest.approx(0, abs=1e-7)
