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
from fedstats.cohort import Cohort  # noqa: E402
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
from fedstats.regression import OLSResult, ols  # noqa: E402
from fedstats.session import join  # noqa: E402
from fedstats.simulate import simulate  # noqa: E402

__all__ = [
    "AnovaResult",
    "BinomialResult",
    "Chi2Result",
    "Cohort",
    "ConfidenceInterval",
    "DataError",
    "DescribeResult",
    "DisclosureError",
    "EstimationError",
    "FTestResult",
    "FedStatsError",
    "Federation",
    "HypothesisTest",
    "KruskalResult",
    "MannWhitneyResult",
    "OLSResult",
    "PolicyError",
    "ProportionsResult",
    "ProtocolError",
    "RatioResult",
    "RemoteError",
    "TTestResult",
    "TransportError",
    "anova",
    "anova_welch",
    "binomtest",
    "chi2_contingency",
    "cochran_mantel_haenszel",
    "describe",
    "f_oneway",
    "fisher_exact",
    "gwas",
    "join",
    "kruskal",
    "ks_2samp",
    "mannwhitneyu",
    "mcnemar",
    "multipletests",
    "odds_ratio",
    "ols",
    "proportions_ztest",
    "relative_risk",
    "simulate",
    "ttest_1samp",
    "ttest_ind",
    "ttest_rel",
    "wilcoxon",
]
