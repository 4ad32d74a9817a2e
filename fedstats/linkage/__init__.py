"""Linking patients whose identifiers have typing errors: how they are compared, and how well that works.

`similar` says how, for ``fed.cohort(…, partition="vertical", on=…)``; `error_rates` tells beforehand, from a
site's own rows, how many links are missed or wrong at which threshold.
"""

from fedstats.linkage.rates import ErrorRates, error_rates
from fedstats.linkage.schema import Similar, similar

__all__ = ["ErrorRates", "Similar", "error_rates", "similar"]
