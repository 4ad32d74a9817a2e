"""Pooled statistics and GWAS over sites that may not pool their rows.

Every site runs the same script, and every call returns the same result at every site::

    import fedstats as fs

    with fs.join() as federation:
        cohort = federation.cohort("patients.csv")
        print(fs.describe(cohort, by="arm"))
        print(fs.ols("sbp ~ age + C(sex) + arm", cohort))
"""

from fedstats._guard import check_siblings

check_siblings()

from fedstats import gwas  # noqa: E402  (nothing may be imported before the check)
from fedstats.check import CheckResult, check  # noqa: E402
from fedstats.cohort import Cohort  # noqa: E402
from fedstats.correlation import CorrelationResult, CovarianceResult, corr, cov  # noqa: E402
from fedstats.describe import DescribeResult, describe  # noqa: E402
from fedstats.errors import (  # noqa: E402
    DataError,
    DisclosureError,
    EstimationError,
    FedStatsError,
    PolicyError,
    ProtocolError,
    RemoteError,
    TransportError,
)
from fedstats.federation import Federation  # noqa: E402
from fedstats.histograms import HistogramResult, histogram  # noqa: E402
from fedstats.hypotests import (  # noqa: E402
    AnovaResult,
    BinomialResult,
    Chi2Result,
    ConfidenceInterval,
    FTestResult,
    HypothesisTest,
    KruskalResult,
    MannWhitneyResult,
    ProportionsResult,
    RatioResult,
    TTestResult,
    anova,
    anova_welch,
    binomtest,
    chi2_contingency,
    cochran_mantel_haenszel,
    f_oneway,
    fisher_exact,
    kruskal,
    ks_2samp,
    levene,
    mannwhitneyu,
    mcnemar,
    multipletests,
    odds_ratio,
    proportions_ztest,
    relative_risk,
    ttest_1samp,
    ttest_ind,
    ttest_rel,
    wilcoxon,
)
from fedstats.intervals import IntervalResult, mean_ci, var_ci  # noqa: E402
from fedstats.meta import CombinedPvalues, MetaResult, combine_pvalues, meta_analysis  # noqa: E402
from fedstats.missing import MissingPatternResult, missing_pattern  # noqa: E402
from fedstats.mixed import GLMMResult, LMMResult, glmm, lmm  # noqa: E402
from fedstats.multivariate import PCAResult, pca  # noqa: E402
from fedstats.quantiles import QuantileResult, iqr, median, quantile  # noqa: E402
from fedstats.regression import (  # noqa: E402
    GLMResult,
    MNLogitResult,
    NegativeBinomialResult,
    OLSResult,
    OrdinalResult,
    ResidualsResult,
    glm,
    logit,
    mnlogit,
    negativebinomial,
    ols,
    ordinal,
    poisson,
    residuals,
    wls,
)
from fedstats.session import join  # noqa: E402
from fedstats.simulate import simulate  # noqa: E402
from fedstats.survival import (  # noqa: E402
    AalenJohansenResult,
    CoxResult,
    KaplanMeierResult,
    LogRankResult,
    NelsonAalenResult,
    RMSTResult,
    aalen_johansen,
    coxph,
    kaplan_meier,
    logrank,
    nelson_aalen,
    rmst,
)
from fedstats.table1 import Table1Result, table1  # noqa: E402
from fedstats.tables import CrosstabResult, ValueCountsResult, crosstab, value_counts  # noqa: E402

__all__ = [
    "AalenJohansenResult",
    "AnovaResult",
    "BinomialResult",
    "CheckResult",
    "Chi2Result",
    "Cohort",
    "CombinedPvalues",
    "ConfidenceInterval",
    "CorrelationResult",
    "CovarianceResult",
    "CoxResult",
    "CrosstabResult",
    "DataError",
    "DescribeResult",
    "DisclosureError",
    "EstimationError",
    "FTestResult",
    "FedStatsError",
    "Federation",
    "GLMMResult",
    "GLMResult",
    "HistogramResult",
    "HypothesisTest",
    "IntervalResult",
    "KaplanMeierResult",
    "KruskalResult",
    "LMMResult",
    "LogRankResult",
    "MNLogitResult",
    "MannWhitneyResult",
    "MetaResult",
    "MissingPatternResult",
    "NegativeBinomialResult",
    "NelsonAalenResult",
    "OLSResult",
    "OrdinalResult",
    "PCAResult",
    "PolicyError",
    "ProportionsResult",
    "ProtocolError",
    "QuantileResult",
    "RMSTResult",
    "RatioResult",
    "RemoteError",
    "ResidualsResult",
    "TTestResult",
    "Table1Result",
    "TransportError",
    "ValueCountsResult",
    "aalen_johansen",
    "anova",
    "anova_welch",
    "binomtest",
    "check",
    "chi2_contingency",
    "cochran_mantel_haenszel",
    "combine_pvalues",
    "corr",
    "cov",
    "coxph",
    "crosstab",
    "describe",
    "f_oneway",
    "fisher_exact",
    "glm",
    "glmm",
    "gwas",
    "histogram",
    "iqr",
    "join",
    "kaplan_meier",
    "kruskal",
    "ks_2samp",
    "levene",
    "lmm",
    "logit",
    "logrank",
    "mannwhitneyu",
    "mcnemar",
    "mean_ci",
    "median",
    "meta_analysis",
    "missing_pattern",
    "mnlogit",
    "multipletests",
    "negativebinomial",
    "nelson_aalen",
    "odds_ratio",
    "ols",
    "ordinal",
    "pca",
    "poisson",
    "proportions_ztest",
    "quantile",
    "relative_risk",
    "residuals",
    "rmst",
    "simulate",
    "table1",
    "ttest_1samp",
    "ttest_ind",
    "ttest_rel",
    "value_counts",
    "var_ci",
    "wilcoxon",
    "wls",
]
