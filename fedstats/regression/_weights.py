"""Weights of rows in least squares, scaled so that their mean over all sites is 1.

A weighted fit is then an unweighted one of rows that are multiplied by the square roots of their weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from fedstats.expressions import Array
from fedstats.regression._equations import scalars

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What `Weighting.of` opens, in either mode.
OPENED: Mapping[str, str] = {"weights": "number of complete rows; Σw and Σ log w of their weights w"}


@dataclass(frozen=True, eq=False, repr=False)
class Weighting:
    """How rows are weighted; its repr shows none.

    Attributes
    ----------
    text
        The weights, as they were given; None if all rows count alike.
    root
        Square roots of the scaled weights of this site's rows.
    mean, sum_log
        Of all weights, as they are: their mean, and the sum of their logarithms.
    """

    text: str | None
    root: Array
    mean: float
    sum_log: float

    @classmethod
    def none(cls, rows: int) -> Self:
        """Return the weighting in which all rows count alike."""
        return cls(None, np.ones(rows), 1.0, 0.0)

    @classmethod
    def of(cls, run: Analysis, text: str, weights: Array) -> Self:
        """Return the weighting by positive weights of this site's rows."""
        sums = np.array([weights.sum(), np.log(weights).sum(), float(len(weights))])
        total, sum_log, n = scalars(run, "weights", sums).tolist()
        mean = total / max(round(n), 1)
        return cls(text, np.sqrt(weights / mean) if n else weights, mean, sum_log)
