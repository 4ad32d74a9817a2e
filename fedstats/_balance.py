"""How groups of a Table 1 differ, from what the table shows: tests, and standardised mean differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fedstats.expressions import Array
from fedstats.hypotests._moments import GroupMoments
from fedstats.hypotests.contingency import FEW, chi2
from fedstats.hypotests.kruskal import h_statistic
from fedstats.hypotests.oneway import fisher


@dataclass(frozen=True)
class Comparison:
    """A test of whether groups differ; NaN where it could not be made."""

    test: str
    statistic: float
    pvalue: float


NONE = Comparison("", np.nan, np.nan)


def pooled(n: Array, mean: Array, var: Array) -> tuple[float, float, float]:
    """Return number, mean and variance of the rows of all groups together; NaN if one of them is unknown."""
    count = float(n.sum())
    centre = float(n @ mean / count)
    squares = float(((n - 1) * var + n * (mean - centre) ** 2).sum())
    return count, centre, squares / (count - 1)


def analysis_of_variance(n: Array, mean: Array, var: Array) -> Comparison:
    """Return the one-way analysis of variance; for two groups Student's t-test, which is the same."""
    count, centre, _ = pooled(n, mean, var)
    groups = len(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        f = float(fisher(GroupMoments(n, mean, mean - centre, var))["statistic"])
    if not np.isfinite(f):
        return NONE
    pvalue = float(stats.f.sf(f, groups - 1, count - groups))
    if groups > 2:
        return Comparison("ANOVA", f, pvalue)
    return Comparison("t-test", float(np.sign(mean[0] - mean[1]) * np.sqrt(f)), pvalue)


def kruskal_wallis(n: Array, rank_sums: Array, ties: float) -> Comparison:
    """Return the Kruskal–Wallis test, of what `h_statistic` takes.

    For two groups it is the Mann–Whitney test without a correction for continuity.
    """
    h, _ = h_statistic(n, rank_sums, ties)
    return Comparison("Kruskal–Wallis", h, float(stats.chi2.sf(h, len(n) - 1))) if np.isfinite(h) else NONE


def chi_squared(table: NDArray[np.int64]) -> Comparison:
    """Return Pearson's χ² test of levels by groups, with Yates' correction for two by two as in scipy."""
    used = table[table.any(axis=1)][:, table.any(axis=0)]
    if min(used.shape) < 2:
        return NONE
    n, df = int(used.sum()), (used.shape[0] - 1) * (used.shape[1] - 1)
    independent = np.outer(used.sum(axis=1), used.sum(axis=0))
    statistic = float(chi2(n * used - independent, independent, n, yates=df == 1))
    is_rough = independent.min() < FEW * n
    name = f"chi-squared, counts below {FEW} expected" if is_rough else "chi-squared"
    return Comparison(name, statistic, float(stats.chi2.sf(statistic, df)))


def difference_of_means(mean: Array, var: Array) -> float:
    """Return the largest standardised difference |m₁ − m₂| / √((s₁² + s₂²)/2) between two groups."""

    def of(a: int, b: int) -> float:
        return float(np.abs(mean[a] - mean[b]) / np.sqrt((var[a] + var[b]) / 2))

    with np.errstate(invalid="ignore", divide="ignore"):
        return _largest(len(mean), of)


def difference_of_proportions(table: NDArray[np.int64]) -> float:
    """Return the largest standardised difference between the proportions of levels in two groups [1]_.

    References
    ----------
    .. [1] D. Yang and J. E. Dalton, "A Unified Approach to Measuring the Effect Size between Two Groups Using
       SAS", SAS Global Forum 2012, paper 335.
    """
    with np.errstate(invalid="ignore"):
        parts = table / table.sum(axis=0)
    parts = parts[table.any(axis=1)][1:]

    def of(a: int, b: int) -> float:
        p, q = parts[:, a], parts[:, b]
        if not np.isfinite([p, q]).all():
            return np.nan
        spread = (np.diag(p + q) - np.outer(p, p) - np.outer(q, q)) / 2
        return float(np.sqrt(max((p - q) @ np.linalg.pinv(spread, hermitian=True) @ (p - q), 0.0)))

    return _largest(table.shape[1], of)


def _largest(groups: int, of: Callable[[int, int], float]) -> float:
    return float(np.max([of(a, b) for a, b in combinations(range(groups), 2)])) if groups > 1 else np.nan
