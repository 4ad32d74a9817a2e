"""Regression over the rows of all sites."""

from fedstats.regression._glm_results import GLMResult
from fedstats.regression._results import OLSResult
from fedstats.regression.glm import glm
from fedstats.regression.mnlogit import MNLogitResult, mnlogit
from fedstats.regression.named import logit, poisson
from fedstats.regression.negativebinomial import NegativeBinomialResult, negativebinomial
from fedstats.regression.ols import ols
from fedstats.regression.ordinal import OrdinalResult, ordinal
from fedstats.regression.residuals import ResidualsResult, residuals
from fedstats.regression.wls import wls

__all__ = [
    "GLMResult",
    "MNLogitResult",
    "NegativeBinomialResult",
    "OLSResult",
    "OrdinalResult",
    "ResidualsResult",
    "glm",
    "logit",
    "mnlogit",
    "negativebinomial",
    "ols",
    "ordinal",
    "poisson",
    "residuals",
    "wls",
]
