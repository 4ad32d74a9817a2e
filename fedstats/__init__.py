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
from fedstats.regression import OLSResult, ols  # noqa: E402
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

__all__ = [
    "AalenJohansenResult",
    "Cohort",
    "CoxResult",
    "DataError",
    "DescribeResult",
    "DisclosureError",
    "EstimationError",
    "FedStatsError",
    "Federation",
    "KaplanMeierResult",
    "LogRankResult",
    "NelsonAalenResult",
    "OLSResult",
    "PolicyError",
    "ProtocolError",
    "RMSTResult",
    "RemoteError",
    "TransportError",
    "aalen_johansen",
    "coxph",
    "describe",
    "gwas",
    "join",
    "kaplan_meier",
    "logrank",
    "nelson_aalen",
    "ols",
    "rmst",
    "simulate",
]
