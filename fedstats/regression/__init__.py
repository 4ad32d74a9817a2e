"""Regression over the rows of all sites."""

from fedstats.regression._glm_results import GLMResult
from fedstats.regression._penalized_results import PenalizedResult
from fedstats.regression._results import OLSResult
from fedstats.regression.gee import GEEResult, gee
from fedstats.regression.glm import glm
from fedstats.regression.mnlogit import MNLogitResult, mnlogit
from fedstats.regression.named import logit, poisson
from fedstats.regression.negativebinomial import NegativeBinomialResult, negativebinomial
from fedstats.regression.ols import ols
from fedstats.regression.ordinal import OrdinalResult, ordinal
from fedstats.regression.penalized import elastic_net, lasso, ridge
from fedstats.regression.quantreg import QuantRegResult, quantreg
from fedstats.regression.residuals import ResidualsResult, residuals
from fedstats.regression.wls import wls

__all__ = [
    "GEEResult",
    "GLMResult",
    "MNLogitResult",
    "NegativeBinomialResult",
    "OLSResult",
    "OrdinalResult",
    "PenalizedResult",
    "QuantRegResult",
    "ResidualsResult",
    "elastic_net",
    "gee",
    "glm",
    "lasso",
    "logit",
    "mnlogit",
    "negativebinomial",
    "ols",
    "ordinal",
    "poisson",
    "quantreg",
    "residuals",
    "ridge",
    "wls",
]
