"""Regression over the rows of all sites."""

from fedstats.regression._penalized_results import PenalizedResult
from fedstats.regression._results import OLSResult
from fedstats.regression.gee import GEEResult, gee
from fedstats.regression.ols import ols
from fedstats.regression.penalized import elastic_net, lasso, ridge
from fedstats.regression.quantreg import QuantRegResult, quantreg

__all__ = [
    "GEEResult",
    "OLSResult",
    "PenalizedResult",
    "QuantRegResult",
    "elastic_net",
    "gee",
    "lasso",
    "ols",
    "quantreg",
    "ridge",
]
