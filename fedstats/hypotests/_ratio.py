"""Ratios of odds or risks, and their intervals on the logarithmic scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from fedstats.errors import EstimationError
from fedstats.hypotests._result import ConfidenceInterval, HypothesisTest, interval


def require_ratio(ratio: ArrayLike, error: ArrayLike) -> tuple[float, float]:
    """Return a ratio and the standard error of its logarithm, or refuse those that are 0 or infinite."""
    found = float(np.asarray(ratio)), float(np.asarray(error))
    if not (0 < found[0] < np.inf and 0 < found[1] < np.inf):
        raise EstimationError(
            "the event happens to all rows of a group or to none, and the ratio is 0 or infinite: use "
            "fisher_exact"
        )
    return found


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RatioResult(HypothesisTest):
    """A ratio of odds or risks in two groups, and a test of whether it is 1.

    Attributes
    ----------
    name
        What the ratio is of.
    ratio
        The estimate.
    log_error
        Standard error of its logarithm.
    """

    name: str
    ratio: float
    log_error: float

    def confidence_interval(self, confidence_level: float = 0.95) -> ConfidenceInterval:
        """Return the confidence interval of the ratio: the normal one of its logarithm."""
        low, high = interval(
            float(np.log(self.ratio)),
            self.log_error,
            confidence_level,
            stats.norm,
            alternative=self.alternative,
        )
        return ConfidenceInterval(float(np.exp(low)), float(np.exp(high)))

    @property
    def figures(self) -> dict[str, float]:
        """The numbers of the test by their names."""
        low, high = self.confidence_interval()
        return {
            self.name: self.ratio,
            "95% low": low,
            "95% high": high,
            "statistic": self.statistic,
            "pvalue": self.pvalue,
        }
