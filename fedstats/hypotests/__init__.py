"""Hypothesis tests over the rows of all sites, in the names of scipy.stats."""

from fedstats.hypotests._result import ConfidenceInterval, HypothesisTest
from fedstats.hypotests.kruskal import kruskal
from fedstats.hypotests.ks import ks_2samp
from fedstats.hypotests.mannwhitney import mannwhitneyu
from fedstats.hypotests.wilcoxon import wilcoxon

__all__ = [
    "ConfidenceInterval",
    "HypothesisTest",
    "kruskal",
    "ks_2samp",
    "mannwhitneyu",
    "wilcoxon",
]
