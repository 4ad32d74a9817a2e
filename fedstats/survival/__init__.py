"""Survival analysis over the rows of all sites."""

from fedstats.survival._cox_results import CoxResult
from fedstats.survival.aalen_johansen import AalenJohansenResult, aalen_johansen
from fedstats.survival.concordance import ConcordanceResult, concordance
from fedstats.survival.coxph import coxph
from fedstats.survival.kaplan_meier import KaplanMeierResult, kaplan_meier
from fedstats.survival.logrank import LogRankResult, logrank
from fedstats.survival.nelson_aalen import NelsonAalenResult, nelson_aalen
from fedstats.survival.rmst import RMSTResult, rmst

__all__ = [
    "AalenJohansenResult",
    "ConcordanceResult",
    "CoxResult",
    "KaplanMeierResult",
    "LogRankResult",
    "NelsonAalenResult",
    "RMSTResult",
    "aalen_johansen",
    "concordance",
    "coxph",
    "kaplan_meier",
    "logrank",
    "nelson_aalen",
    "rmst",
]
