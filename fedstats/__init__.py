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
    ConfidenceInterval,
    FTestResult,
    HypothesisTest,
    TTestResult,
    anova_welch,
    f_oneway,
    kruskal,
    ks_2samp,
    mannwhitneyu,
    ttest_1samp,
    ttest_ind,
    ttest_rel,
    wilcoxon,
)
from fedstats.regression import OLSResult, ols  # noqa: E402
from fedstats.session import join  # noqa: E402
from fedstats.simulate import simulate  # noqa: E402

__all__ = [
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
    "OLSResult",
    "PolicyError",
    "ProtocolError",
    "RemoteError",
    "TTestResult",
    "TransportError",
    "anova_welch",
    "describe",
    "f_oneway",
    "gwas",
    "join",
    "kruskal",
    "ks_2samp",
    "mannwhitneyu",
    "ols",
    "simulate",
    "ttest_1samp",
    "ttest_ind",
    "ttest_rel",
    "wilcoxon",
]
