"""Regression over the rows of all sites."""

from fedstats.regression._results import OLSResult
from fedstats.regression.glm import GLMResult, glm
from fedstats.regression.mnlogit import MNLogitResult, mnlogit
from fedstats.regression.named import logit, poisson
from fedstats.regression.ols import ols
from fedstats.regression.ordinal import OrdinalResult, ordinal
from fedstats.regression.wls import wls

__all__ = [
    "GLMResult",
    "MNLogitResult",
    "OLSResult",
    "OrdinalResult",
    "glm",
    "logit",
    "mnlogit",
    "ols",
    "ordinal",
    "poisson",
    "wls",
]
