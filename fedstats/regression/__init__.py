"""Regression over the rows of all sites."""

from fedstats.regression._results import OLSResult
from fedstats.regression.glm import GLMResult, glm
from fedstats.regression.named import logit, poisson
from fedstats.regression.ols import ols

__all__ = ["GLMResult", "OLSResult", "glm", "logit", "ols", "poisson"]
