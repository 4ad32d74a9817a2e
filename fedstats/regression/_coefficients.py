"""What estimates by term come to, and their standard errors, where no likelihood stands behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from fedstats import _plot, _table, design
from fedstats._moments import Frame
from fedstats.expressions import Array
from fedstats.formula import Coding
from fedstats.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def to_terms(columns: Frame, unit: float) -> Array:
    """Return L with β = L·b, for coefficients b of a constant and framed columns, of a response in a unit."""
    L = np.diag(np.append(1.0, 1 / columns.unit))
    L[0, 1:] = -columns.centre / columns.unit
    return L * unit


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class LinearResult(Result):
    """Coefficients of terms, by which rows are predicted; the same at every site.

    Attributes
    ----------
    formula, response
        What was fitted.
    params
        Estimates by term: the intercept, then the formula's order.
    nobs, n_missing
        Rows of all sites that were used, and that were left out for a missing value.
    coding
        How rows are coded, for `predict`.
    """

    formula: str
    response: str
    params: pd.Series[float]
    nobs: int
    n_missing: int
    coding: Coding = field(repr=False)

    def predict(self, frame: pd.DataFrame) -> pd.Series[float]:
        """Predict the response of rows of this site; nothing is sent.

        Parameters
        ----------
        frame
            Has every column on the right of the formula.

        Returns
        -------
        pandas.Series
            Predictions by the frame's index; NaN where a column is missing.

        Raises
        ------
        DataError
            A column is absent, of another type, or has a level that the fit did not.
        """
        positions, X = design.code_new_rows(self.coding, frame)
        predicted = np.full(len(frame), np.nan)
        predicted[positions] = self._mean(X @ self.params.to_numpy())
        return pd.Series(predicted, index=frame.index, name=self.response)

    def _mean(self, linear: Array) -> Array:
        """Return what linear predictors predict."""
        return linear

    def _text(self, title: str, pairs: Sequence[tuple[str, object]]) -> str:
        """Return a title, what belongs to all models and to this one, and the table of coefficients."""
        always: list[tuple[str, object]] = [
            ("Response", self.response),
            ("Rows", self.nobs),
            ("Rows left out (missing)", self.n_missing),
            ("Sites", len(self.sites)),
        ]
        lines = [
            title,
            "",
            *_table.pair_lines([*always, *pairs], digits=5),
            "",
            *_table.frame_lines(self.to_frame(), digits=5),
            "",
            f"Cost: {self.cost}",
        ]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CoefficientResult(LinearResult):
    """Coefficients with standard errors; the same at every site.

    Attributes
    ----------
    bse
        Standard errors by term.
    """

    bse: pd.Series[float]

    @property
    def df_resid(self) -> int:
        """Residual degrees of freedom."""
        return self.nobs - len(self.params)

    @property
    def use_t(self) -> bool:
        """Whether p-values and intervals are of Student's t; of the normal distribution otherwise."""
        return False

    @property
    def tvalues(self) -> pd.Series[float]:
        """Estimates divided by their standard errors."""
        return (self.params / self.bse).rename("t" if self.use_t else "z")

    @property
    def pvalues(self) -> pd.Series[float]:
        """Two-sided p-values that a coefficient is 0."""
        magnitude = np.abs(self.tvalues.to_numpy())
        p = 2 * (stats.t.sf(magnitude, self.df_resid) if self.use_t else stats.norm.sf(magnitude))
        return pd.Series(p, index=self.params.index, name="P>|t|" if self.use_t else "P>|z|")

    def conf_int(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return confidence intervals of level 1 − alpha, columns 0 (lower) and 1 (upper)."""
        if not 0 < alpha < 1:
            raise ValueError("alpha lies between 0 and 1")
        quantile = stats.t.isf(alpha / 2, self.df_resid) if self.use_t else stats.norm.isf(alpha / 2)
        return pd.DataFrame({0: self.params - quantile * self.bse, 1: self.params + quantile * self.bse})

    def to_frame(self) -> pd.DataFrame:
        """Return the coefficients: estimate, standard error, statistic, p-value, 95 % interval."""
        interval = self.conf_int().set_axis(["[0.025", "0.975]"], axis=1)
        return pd.concat([self.params, self.bse, self.tvalues, self.pvalues, interval], axis=1)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the coefficients of terms but the constant with their 95 % intervals.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        return _plot.coefficients(ax, self.params, self.conf_int())
