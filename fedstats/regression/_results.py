"""What a linear regression returns, in the names of statsmodels."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from scipy import stats

from fedstats import _table, design
from fedstats.formula import Coding
from fedstats.regression._estimates import Estimates

CovType: TypeAlias = Literal["nonrobust", "HC0", "HC1", "HC2", "HC3", "cluster"]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class OLSResult(Estimates):
    """A fitted linear model, in the names of statsmodels; the same at every site.

    Attributes
    ----------
    df_resid
        Residual degrees of freedom.
    k_constant
        1 if the terms span a constant, by an intercept or implicitly as ``0 + C(arm)`` does, else 0;
        R² is then about the mean, and about 0 otherwise.
    ssr, centered_tss, uncentered_tss
        Sums of squares: of the residuals, of the response about its mean, and about 0. In the result mode one
        of the latter two is NaN: the one that R² does not use.
    condition_number
        Of the model matrix, as it is: large where units differ. NaN in the result mode.
    wald
        Wald's statistic that all coefficients but the intercept are 0, if robust types could test that.
    coding
        How rows are coded, for `predict`.
    weights
        The weights, as they were given; None if all rows count alike.
    sum_log_weights
        Σ log w over all rows.
    clusters
        How many there are over all sites; None without clusters.
    """

    df_resid: int
    k_constant: int
    ssr: float
    centered_tss: float
    uncentered_tss: float
    condition_number: float
    wald: float | None
    coding: Coding = field(repr=False)
    weights: str | None = None
    sum_log_weights: float = 0.0
    clusters: int | None = None

    @property
    def df_resid_inference(self) -> int:
        """Degrees of freedom of the errors in `f_pvalue`: clusters less one, if there are any."""
        return self.df_resid if self.clusters is None else self.clusters - 1

    @property
    def df_model(self) -> int:
        """Model degrees of freedom, the constant not counted."""
        return len(self.params) - self.k_constant

    @property
    def use_t(self) -> bool:
        """Whether p-values and intervals are of Student's t; of the normal distribution otherwise."""
        return self.cov_type == "nonrobust"

    def _errors(self) -> Any:
        return stats.t(self.df_resid) if self.use_t else stats.norm

    @property
    def scale(self) -> float:
        """Estimated variance of the errors: ssr / df_resid."""
        return self.ssr / self.df_resid

    mse_resid = scale

    @property
    def ess(self) -> float:
        """Sum of squares that the model explains."""
        return (self.centered_tss if self.k_constant else self.uncentered_tss) - self.ssr

    @property
    def mse_model(self) -> float:
        """Explained sum of squares by degree of freedom: ess / df_model."""
        return self.ess / self.df_model if self.df_model else float("nan")

    @property
    def rsquared(self) -> float:
        """Share of the response's sum of squares that the model explains."""
        return 1.0 - self.ssr / (self.centered_tss if self.k_constant else self.uncentered_tss)

    @property
    def rsquared_adj(self) -> float:
        """R² adjusted for the number of terms."""
        return 1.0 - (self.nobs - self.k_constant) / self.df_resid * (1.0 - self.rsquared)

    @cached_property
    def fvalue(self) -> float:
        """F statistic that all coefficients but the constant's are 0; robust types take Wald's form.

        NaN where there is nothing to test, and for robust types with an implicit constant.
        """
        if self.df_model == 0:
            return float("nan")
        if self.cov_type == "nonrobust":
            return self.mse_model / self.mse_resid if self.mse_resid else float("inf")
        return float("nan") if self.wald is None else self.wald / self.df_model

    @property
    def f_pvalue(self) -> float:
        """p-value of `fvalue`."""
        return (
            float(stats.f.sf(self.fvalue, self.df_model, self.df_resid_inference))
            if self.df_model
            else float("nan")
        )

    @property
    def llf(self) -> float:
        """Log-likelihood with normal errors."""
        if self.ssr == 0:
            return float("inf")
        half = self.nobs / 2
        of_errors = -half * (float(np.log(2 * np.pi)) + float(np.log(self.ssr / self.nobs)) + 1.0)
        return of_errors + self.sum_log_weights / 2

    @property
    def aic(self) -> float:
        """Akaike's information criterion, the error variance not counted."""
        return -2 * self.llf + 2 * len(self.params)

    @property
    def bic(self) -> float:
        """Bayesian information criterion, the error variance not counted."""
        return -2 * self.llf + float(np.log(self.nobs)) * len(self.params)

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
        predicted[positions] = X @ self.params.to_numpy()
        return pd.Series(predicted, index=frame.index, name=self.response)

    def summary(self) -> str:
        """Return the fit as text."""
        pairs: list[tuple[str, object]] = [
            ("Response", self.response),
            ("Rows", self.nobs),
            ("Rows left out (missing)", self.n_missing),
            ("Sites", len(self.sites)),
            ("Residual df", self.df_resid),
            ("Model df", self.df_model),
            ("Covariance", self.cov_type),
            *([] if self.weights is None else [("Weights", self.weights)]),
            *([] if self.clusters is None else [("Clusters", self.clusters)]),
            ("R²" if self.k_constant else "R² (about 0)", self.rsquared),
            ("Adjusted R²", self.rsquared_adj),
            ("F", self.fvalue),
            ("P(F)", self.f_pvalue),
            ("Log-likelihood", self.llf),
            ("AIC", self.aic),
            ("BIC", self.bic),
        ]
        lines = [
            f"{'Ordinary' if self.weights is None else 'Weighted'} least squares: {self.formula}",
            "",
            *_table.pair_lines(pairs, digits=5),
            "",
            *_table.frame_lines(self.to_frame(), digits=5),
            "",
            f"Cost: {self.cost}",
        ]
        return "\n".join(lines)
