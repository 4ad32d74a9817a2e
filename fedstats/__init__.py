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

from fedstats import gwas  # noqa: E402
from fedstats.check import CheckResult, check  # noqa: E402
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
from fedstats.histograms import HistogramResult, histogram  # noqa: E402
from fedstats.missing import MissingPatternResult, missing_pattern  # noqa: E402
from fedstats.quantiles import QuantileResult, iqr, median, quantile  # noqa: E402
from fedstats.regression import (  # noqa: E402
    OLSResult,
    PenalizedResult,
    QuantRegResult,
    elastic_net,
    lasso,
    ols,
    quantreg,
    ridge,
)
from fedstats.session import join  # noqa: E402
from fedstats.simulate import simulate  # noqa: E402
from fedstats.tables import CrosstabResult, ValueCountsResult, crosstab, value_counts  # noqa: E402

__all__ = [
    "CheckResult",
    "Cohort",
    "CrosstabResult",
    "DataError",
    "DescribeResult",
    "DisclosureError",
    "EstimationError",
    "FedStatsError",
    "Federation",
    "HistogramResult",
    "MissingPatternResult",
    "OLSResult",
    "PenalizedResult",
    "PolicyError",
    "ProtocolError",
    "QuantRegResult",
    "QuantileResult",
    "RemoteError",
    "TransportError",
    "ValueCountsResult",
    "check",
    "crosstab",
    "describe",
    "elastic_net",
    "gwas",
    "histogram",
    "iqr",
    "join",
    "lasso",
    "median",
    "missing_pattern",
    "ols",
    "quantile",
    "quantreg",
    "ridge",
    "simulate",
    "value_counts",
]
