"""Tests and intervals of estimates that are normal about what they estimate, by term."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats


class NormalTests:
    """What follows from estimates and their standard errors; a part of results."""

    params: pd.Series[float]

    @property
    def bse(self) -> pd.Series[float]:
        """Standard errors."""
        raise NotImplementedError

    @property
    def zvalues(self) -> pd.Series[float]:
        """Estimates divided by their standard errors."""
        return (self.params / self.bse).rename("z")

    @property
    def pvalues(self) -> pd.Series[float]:
        """Two-sided p-values of the normal distribution that a coefficient is 0."""
        p = 2 * stats.norm.sf(np.abs(self.zvalues.to_numpy()))
        return pd.Series(p, index=self.params.index, name="P>|z|")

    def conf_int(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return confidence intervals of level 1 − alpha, columns 0 (lower) and 1 (upper)."""
        if not 0 < alpha < 1:
            raise ValueError("alpha lies between 0 and 1")
        width = stats.norm.isf(alpha / 2) * self.bse
        return pd.DataFrame({0: self.params - width, 1: self.params + width})

    def ratios(self, name: str, alpha: float) -> pd.DataFrame:
        """Return exponentials of the estimates as `name`, with ``lower, upper`` of level 1 − alpha."""
        limits = self.conf_int(alpha)
        columns = {name: self.params, "lower": limits[0], "upper": limits[1]}
        values = {column: np.exp(its.to_numpy()) for column, its in columns.items()}
        return pd.DataFrame(values, index=self.params.index)
