"""Hypothesis tests over the rows of all sites, in the names of scipy.stats."""

from fedstats.hypotests._ratio import RatioResult
from fedstats.hypotests._result import ConfidenceInterval, HypothesisTest
from fedstats.hypotests.anova import AnovaResult, anova
from fedstats.hypotests.breslow_day import BreslowDayResult, breslow_day
from fedstats.hypotests.contingency import Chi2Result, chi2_contingency, fisher_exact
from fedstats.hypotests.kendalltau import kendalltau
from fedstats.hypotests.kruskal import KruskalResult, kruskal
from fedstats.hypotests.ks import ks_2samp
from fedstats.hypotests.levene import levene
from fedstats.hypotests.mannwhitney import MannWhitneyResult, mannwhitneyu
from fedstats.hypotests.mantel_haenszel import cochran_mantel_haenszel
from fedstats.hypotests.mcnemar import mcnemar
from fedstats.hypotests.multitest import multipletests
from fedstats.hypotests.oneway import FTestResult, anova_welch, f_oneway
from fedstats.hypotests.proportions import BinomialResult, ProportionsResult, binomtest, proportions_ztest
from fedstats.hypotests.ratios import odds_ratio, relative_risk
from fedstats.hypotests.ttest import TTestResult, ttest_1samp, ttest_ind, ttest_rel
from fedstats.hypotests.wilcoxon import wilcoxon

__all__ = [
    "AnovaResult",
    "BinomialResult",
    "BreslowDayResult",
    "Chi2Result",
    "ConfidenceInterval",
    "FTestResult",
    "HypothesisTest",
    "KruskalResult",
    "MannWhitneyResult",
    "ProportionsResult",
    "RatioResult",
    "TTestResult",
    "anova",
    "anova_welch",
    "binomtest",
    "breslow_day",
    "chi2_contingency",
    "cochran_mantel_haenszel",
    "f_oneway",
    "fisher_exact",
    "kendalltau",
    "kruskal",
    "ks_2samp",
    "levene",
    "mannwhitneyu",
    "mcnemar",
    "multipletests",
    "odds_ratio",
    "proportions_ztest",
    "relative_risk",
    "ttest_1samp",
    "ttest_ind",
    "ttest_rel",
    "wilcoxon",
]
