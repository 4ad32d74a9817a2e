"""Regression over the rows of all sites."""

from fedstats.regression._results import OLSResult
from fedstats.regression.ols import ols

__all__ = ["OLSResult", "ols"]
