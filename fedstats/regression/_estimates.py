"""What follows from estimates and their standard errors, in public and in the names of statsmodels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from fedstats import _plot, _table
from fedstats.errors import DisclosureError
from fedstats.expressions import Array
from fedstats.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Estimates(Result):
    """Estimates with standard errors; the same at every site.

    Attributes
    ----------
    formula, response, cov_type
        What was fitted.
    params, bse
        Estimates and their standard errors by term: the intercept, then the formula's order.
    nobs, n_missing
        Rows of all sites that were used, and that were left out for a missing value.
    covariance
        Covariance matrix of the estimates, labelled by `cov_params`; None in the result mode.
    """

    formula: str
    response: str
    cov_type: str
    params: pd.Series[float]
    bse: pd.Series[float]
    nobs: int
    n_missing: int
    covariance: Array | None = field(repr=False)

    @property
    def use_t(self) -> bool:
        """Whether p-values and intervals are of Student's t; of the normal distribution otherwise."""
        return False

    def _errors(self) -> Any:
        """Return the distribution of estimates divided by their standard errors, if nothing is there."""
        return stats.norm

    @property
    def tvalues(self) -> pd.Series[float]:
        """Estimates divided by their standard errors."""
        return (self.params / self.bse).rename("t" if self.use_t else "z")

    @property
    def pvalues(self) -> pd.Series[float]:
        """Two-sided p-values that a parameter is 0."""
        p = 2 * self._errors().sf(np.abs(self.tvalues.to_numpy()))
        return pd.Series(p, index=self.params.index, name="P>|t|" if self.use_t else "P>|z|")

    def conf_int(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return confidence intervals of level 1 − alpha, columns 0 (lower) and 1 (upper)."""
        if not 0 < alpha < 1:
            raise ValueError("alpha lies between 0 and 1")
        reach = self._errors().isf(alpha / 2) * self.bse
        return pd.DataFrame({0: self.params - reach, 1: self.params + reach})

    def cov_params(self) -> pd.DataFrame:
        """Return the covariance matrix of the estimates.

        Raises
        ------
        DisclosureError
            It was not opened: with the estimates it would tell cross-products of the columns.
        """
        if self.covariance is None:
            raise DisclosureError(
                "disclose='result' opens no covariances, only variances (bse): fit with disclose='aggregate'"
            )
        return pd.DataFrame(self.covariance.copy(), index=self.params.index, columns=self.params.index)

    def to_frame(self) -> pd.DataFrame:
        """Return the estimates: estimate, standard error, statistic, p-value, 95 % interval."""
        interval = self.conf_int().set_axis(["[0.025", "0.975]"], axis=1)
        return pd.concat([self.params, self.bse, self.tvalues, self.pvalues, interval], axis=1)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the coefficients of terms but the constant with their 95 % intervals.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        return _plot.coefficients(ax, self._of_terms(), self.conf_int())

    def _of_terms(self) -> pd.Series[float]:
        """Return the estimates that are coefficients of terms."""
        return self.params


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class MaximumLikelihoodResult(Estimates):
    """Estimates that maximise a likelihood; the same at every site.

    Attributes
    ----------
    llf, llnull
        Log-likelihoods: of the model, and of the model of a constant alone.
    iterations
        How many steps of Newton's method were taken.
    """

    llf: float
    llnull: float
    iterations: int

    @property
    def df_model(self) -> int:
        """Model degrees of freedom: terms but one, for the constant."""
        return len(self.params) - 1

    @property
    def df_resid(self) -> int:
        """Residual degrees of freedom."""
        return self.nobs - len(self.params)

    @property
    def aic(self) -> float:
        """Akaike's information criterion, φ not counted."""
        return -2 * self.llf + 2 * len(self.params)

    @property
    def bic(self) -> float:
        """Bayesian information criterion, φ not counted."""
        return -2 * self.llf + float(np.log(self.nobs)) * len(self.params)

    @property
    def llr(self) -> float:
        """Likelihood ratio statistic against the model of a constant alone."""
        return 2 * (self.llf - self.llnull)

    @property
    def llr_pvalue(self) -> float:
        """p-value of `llr`, by the chi-squared distribution of `df_model` degrees of freedom."""
        return float(stats.chi2.sf(self.llr, self.df_model)) if self.df_model else float("nan")

    @property
    def prsquared(self) -> float:
        """McFadden's pseudo R²: 1 − llf / llnull."""
        return 1 - self.llf / self.llnull

    def _ratios(self, alpha: float) -> pd.DataFrame:
        """Return exponentials of the estimates with confidence intervals and p-values."""
        interval = self.conf_int(alpha)
        columns = {"ratio": self.params, "lower": interval[0], "upper": interval[1]}
        frame = pd.DataFrame({name: np.exp(values) for name, values in columns.items()})
        return frame.assign(pvalue=self.pvalues)

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
            ("Iterations", self.iterations),
            *self._facts(),
            ("Log-likelihood", self.llf),
            ("of a constant", self.llnull),
            ("AIC", self.aic),
            ("BIC", self.bic),
        ]
        lines = [
            f"{self._title()}: {self.formula}",
            "",
            *_table.pair_lines(pairs, digits=5),
            "",
            *_table.frame_lines(self.to_frame(), digits=5),
            "",
            f"Cost: {self.cost}",
        ]
        return "\n".join(lines)

    def _title(self) -> str:
        """Name the kind of model, for the summary."""
        raise NotImplementedError

    def _facts(self) -> list[tuple[str, object]]:
        """Return what the summary says of this kind of model alone."""
        return []
