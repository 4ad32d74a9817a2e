"""What mixed models return, in the names of statsmodels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fedstats import _plot, _table
from fedstats._normal_tests import NormalTests
from fedstats.errors import DisclosureError
from fedstats.expressions import Array
from fedstats.formula import Coding
from fedstats.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class MixedResult(NormalTests, Result):
    """What linear and generalised mixed models have in common; the same at every site.

    Attributes
    ----------
    formula, groups
        What was fitted; without `groups` each site was a cluster.
    params
        Fixed effects.
    variances, covariance
        Of the fixed effects; the matrix is None in the result mode.
    cov_re
        Covariance matrix of the random effects of a cluster.
    llf
        Log-likelihood.
    singular
        Whether random effects have a variance of 0, or a correlation of ±1: the likelihood is largest at the
        boundary of what is possible.
    nobs, n_missing, n_groups
        Rows of all sites that were used, that were left out for a missing value, and clusters.
    steps
        Of Newton's method.
    coding
        How rows are coded.
    """

    formula: str
    groups: str | None
    params: pd.Series[float]
    variances: Array = field(repr=False)
    covariance: Array | None = field(repr=False)
    cov_re: pd.DataFrame
    llf: float
    singular: bool
    nobs: int
    n_missing: int
    n_groups: int
    steps: int
    coding: Coding = field(repr=False)

    @property
    def bse(self) -> pd.Series[float]:
        """Standard errors of the fixed effects."""
        return pd.Series(np.sqrt(self.variances), index=self.params.index, name="std err")

    def cov_params(self) -> pd.DataFrame:
        """Return the covariance matrix of the fixed effects.

        Raises
        ------
        DisclosureError
            It was not opened.
        """
        if self.covariance is None:
            raise DisclosureError(
                "disclose='result' opens no covariances, only variances (bse): fit with disclose='aggregate'"
            )
        return pd.DataFrame(self.covariance.copy(), index=self.params.index, columns=self.params.index)

    def to_frame(self) -> pd.DataFrame:
        """Return the fixed effects: estimate, standard error, statistic, p-value, 95 % interval."""
        interval = self.conf_int().set_axis(["[0.025", "0.975]"], axis=1)
        return pd.concat([self.params, self.bse, self.zvalues, self.pvalues, interval], axis=1)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the coefficients of terms but the constant with their 95 % intervals.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        return _plot.coefficients(ax, self.params, self.conf_int())

    def _lines(self, title: str, pairs: list[tuple[str, object]]) -> str:
        lines = [
            f"{title}: {self.formula}, by {self.groups or 'site'}",
            "",
            *_table.pair_lines(pairs, digits=5),
        ]
        lines += ["", *_table.frame_lines(self.to_frame(), digits=5)]
        lines += ["", "Covariance of random effects", *_table.frame_lines(self.cov_re, digits=5)]
        if self.singular:
            lines += ["", "The fit is singular: a variance of random effects is 0, or a correlation is ±1."]
        return "\n".join([*lines, "", f"Cost: {self.cost}"])

    def _pairs(self) -> list[tuple[str, object]]:
        return [
            ("Rows", self.nobs),
            ("Rows left out (missing)", self.n_missing),
            ("Clusters", self.n_groups),
            ("Sites", len(self.sites)),
        ]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class LMMResult(MixedResult):
    """A fitted linear mixed model; see `MixedResult` for what is common.

    Attributes
    ----------
    reml
        Whether the likelihood was restricted.
    scale
        Variance of the errors.
    site_var
        Variance of the sites' intercepts; None if there are none beside those of clusters.
    """

    reml: bool
    scale: float
    site_var: float | None

    @property
    def icc(self) -> float:
        """Share of the variance that is between clusters, and sites, where the slopes' columns are 0."""
        between = float(self.cov_re.to_numpy()[0, 0]) + (self.site_var or 0.0)
        return between / (between + self.scale)

    def summary(self) -> str:
        """Return the fit as text."""
        pairs = [
            *self._pairs(),
            ("Method", "REML" if self.reml else "ML"),
            ("Error variance", self.scale),
            ("Log-likelihood", self.llf),
            ("Between clusters", self.icc),
        ]
        if self.site_var is not None:
            pairs.append(("Variance of sites", self.site_var))
        return self._lines("Linear mixed model", pairs)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class GLMMResult(MixedResult):
    """A fitted logistic regression with a random intercept; see `MixedResult` for what is common."""

    def odds_ratios(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return odds ratios within clusters: ``odds_ratio, lower, upper`` of level 1 − alpha."""
        return self.ratios("odds_ratio", alpha)

    @property
    def aic(self) -> float:
        """Akaike's information criterion."""
        return -2 * self.llf + 2 * (len(self.params) + 1)

    def summary(self) -> str:
        """Return the fit as text."""
        pairs = [*self._pairs(), ("Log-likelihood (Laplace)", self.llf), ("AIC", self.aic)]
        return self._lines("Logistic regression with random intercepts", pairs)
