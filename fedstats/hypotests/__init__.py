"""Hypothesis tests over the rows of all sites, in the names of scipy.stats."""

from fedstats.hypotests._result import ConfidenceInterval, HypothesisTest
from fedstats.hypotests.kruskal import kruskal
from fedstats.hypotests.ks import ks_2samp
from fedstats.hypotests.mannwhitney import mannwhitneyu
from fedstats.hypotests.oneway import FTestResult, anova_welch, f_oneway
from fedstats.hypotests.ttest import TTestResult, ttest_1samp, ttest_ind, ttest_rel
from fedstats.hypotests.wilcoxon import wilcoxon

__all__ = [
    "ConfidenceInterval",
    "FTestResult",
    "HypothesisTest",
    "TTestResult",
    "anova_welch",
    "f_oneway",
    "kruskal",
    "ks_2samp",
    "mannwhitneyu",
    "ttest_1samp",
    "ttest_ind",
    "ttest_rel",
    "wilcoxon",
]
