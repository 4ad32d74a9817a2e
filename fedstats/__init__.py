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
from fedstats.evaluation import (  # noqa: E402
    BrierResult,
    CalibrationResult,
    ROCResult,
    brier,
    calibration,
    roc,
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
from fedstats.missing import MissingPatternResult, missing_pattern  # noqa: E402
from fedstats.quantiles import QuantileResult, iqr, median, quantile  # noqa: E402
from fedstats.regression import (  # noqa: E402
    GEEResult,
    GLMResult,
    MNLogitResult,
    NegativeBinomialResult,
    OLSResult,
    OrdinalResult,
    PenalizedResult,
    QuantRegResult,
    ResidualsResult,
    elastic_net,
    gee,
    glm,
    lasso,
    logit,
    mnlogit,
    negativebinomial,
    ols,
    ordinal,
    poisson,
    quantreg,
    residuals,
    ridge,
    wls,
)
from fedstats.session import join  # noqa: E402
from fedstats.simulate import simulate  # noqa: E402
from fedstats.table1 import Table1Result, table1  # noqa: E402
from fedstats.tables import CrosstabResult, ValueCountsResult, crosstab, value_counts  # noqa: E402

__all__ = [
    "AnovaResult",
    "BinomialResult",
    "BrierResult",
    "CalibrationResult",
    "CheckResult",
    "Chi2Result",
    "Cohort",
    "ConfidenceInterval",
    "CorrelationResult",
    "CovarianceResult",
    "CrosstabResult",
    "DataError",
    "DescribeResult",
    "DisclosureError",
    "EstimationError",
    "FTestResult",
    "FedStatsError",
    "Federation",
    "GEEResult",
    "GLMResult",
    "HistogramResult",
    "HypothesisTest",
    "IntervalResult",
    "KruskalResult",
    "MNLogitResult",
    "MannWhitneyResult",
    "MissingPatternResult",
    "NegativeBinomialResult",
    "OLSResult",
    "OrdinalResult",
    "PenalizedResult",
    "PolicyError",
    "ProportionsResult",
    "ProtocolError",
    "QuantRegResult",
    "QuantileResult",
    "ROCResult",
    "RatioResult",
    "RemoteError",
    "ResidualsResult",
    "TTestResult",
    "Table1Result",
    "TransportError",
    "ValueCountsResult",
    "anova",
    "anova_welch",
    "binomtest",
    "brier",
    "calibration",
    "check",
    "chi2_contingency",
    "cochran_mantel_haenszel",
    "corr",
    "cov",
    "crosstab",
    "describe",
    "elastic_net",
    "f_oneway",
    "fisher_exact",
    "gee",
    "glm",
    "gwas",
    "histogram",
    "iqr",
    "join",
    "kruskal",
    "ks_2samp",
    "lasso",
    "levene",
    "logit",
    "mannwhitneyu",
    "mcnemar",
    "mean_ci",
    "median",
    "missing_pattern",
    "mnlogit",
    "multipletests",
    "negativebinomial",
    "odds_ratio",
    "ols",
    "ordinal",
    "poisson",
    "proportions_ztest",
    "quantile",
    "quantreg",
    "relative_risk",
    "residuals",
    "ridge",
    "roc",
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
