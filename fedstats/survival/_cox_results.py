"""What a proportional hazards model returns, in the names of statsmodels and lifelines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from fedstats import _plot, _table, design
from fedstats._normal_tests import NormalTests
from fedstats.expressions import Array
from fedstats.formula import Coding
from fedstats.levels import canonical
from fedstats.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CoxResult(NormalTests, Result):
    """A fitted proportional hazards model; the same at every site.

    Attributes
    ----------
    formula, duration, event, strata, ties, robust
        What was fitted.
    params
        Estimates by term: logarithms of hazard ratios.
    variances, covariance
        Of the estimates; the matrix is None in the result mode. Sandwiches if `robust`.
    nobs, n_missing, n_events
        Rows of all sites that were used, that were left out for a missing value, and events.
    n_clusters
        Clusters of all sites; None without.
    steps
        Of Newton's method.
    llf, llnull
        Log partial likelihood at the estimates, and without covariates.
    ph_test
        Tests of proportional hazards by term, and of all together: ``statistic, df, pvalue``; None unless
        asked for.
    concordance, concordance_std_err
        Harrell's, of the linear predictor; NaN unless asked for.
    baseline
        By stratum and time ``cumulative_hazard, survival`` of rows with the covariates `reference`: at all
        times of events, of a stratum without any 0 at the first time of one in others; or in the result mode
        at the declared times, None without, with ``at_risk``, and missing where too few are.
    reference
        The pooled mean of each covariate; in the result mode near it.
    coding
        How rows are coded, for `predict`.
    """

    formula: str
    duration: str
    event: str
    strata: str | None
    ties: str
    robust: bool
    params: pd.Series[float]
    variances: Array = field(repr=False)
    covariance: Array | None = field(repr=False)
    nobs: int
    n_missing: int
    n_events: int
    n_clusters: int | None = None
    steps: int
    llf: float
    llnull: float
    ph_test: pd.DataFrame | None = field(repr=False)
    concordance: float
    concordance_std_err: float
    baseline: pd.DataFrame | None = field(repr=False)
    reference: pd.Series[float] = field(repr=False)
    coding: Coding = field(repr=False)

    @property
    def bse(self) -> pd.Series[float]:
        """Standard errors."""
        return pd.Series(np.sqrt(self.variances), index=self.params.index, name="std err")

    def hazard_ratios(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return hazard ratios with their intervals of level 1 − alpha: ``hazard_ratio, lower, upper``."""
        return self.ratios("hazard_ratio", alpha)

    def cov_params(self) -> pd.DataFrame:
        """Return the covariance matrix of the estimates.

        Raises
        ------
        ValueError
            It was not opened: ``disclose="result"`` tells the variances alone.
        """
        if self.covariance is None:
            raise ValueError("disclose='result' opens variances alone; use disclose='aggregate'")
        return pd.DataFrame(self.covariance.copy(), index=self.params.index, columns=self.params.index)

    @property
    def llr(self) -> float:
        """Likelihood ratio statistic that all coefficients are 0."""
        return 2 * (self.llf - self.llnull)

    @property
    def llr_pvalue(self) -> float:
        """p-value of `llr`."""
        return float(stats.chi2.sf(self.llr, len(self.params)))

    @property
    def aic(self) -> float:
        """Akaike's information criterion of the partial likelihood."""
        return -2 * self.llf + 2 * len(self.params)

    def predict(self, frame: pd.DataFrame) -> pd.Series[float]:
        """Return log hazard ratios x'β of rows of this site; nothing is sent.

        Parameters
        ----------
        frame
            Has every column of the formula.

        Returns
        -------
        pandas.Series
            By the frame's index; NaN where a column is missing.

        Raises
        ------
        DataError
            A column is absent, of another type, or has a level that the fit did not.
        """
        positions, X = design.code_new_rows(self.coding, frame)
        predicted = np.full(len(frame), np.nan)
        predicted[positions] = X[:, X.shape[1] - len(self.params) :] @ self.params.to_numpy()
        return pd.Series(predicted, index=frame.index, name="log hazard ratio")

    def predict_survival(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return survival of rows of this site at the times of `baseline`; nothing is sent.

        Parameters
        ----------
        frame
            Has every column of the formula, and that of the strata.

        Returns
        -------
        pandas.DataFrame
            A row for each time and a column for each row of the frame: exp(−H·e^((x − reference)'β)), missing
            where a column is, where the baseline is not told, or for a stratum that the fit did not have.
            Survival is 1 in a stratum without an event, and after the last one stays as it is, however short
            it was followed.

        Raises
        ------
        DataError
            As of `predict`.
        ValueError
            The baseline hazard was not opened.
        """
        if self.baseline is None:
            raise ValueError("the baseline hazard was not opened: give times to coxph")
        at_reference = self.reference.to_numpy() @ self.params.to_numpy()
        ratio = np.exp(self.predict(frame).to_numpy() - at_reference)
        hazard = self.baseline["cumulative_hazard"]
        if self.strata is None:
            of_rows = pd.DataFrame(dict.fromkeys(range(len(frame)), hazard))
        else:
            wide = hazard.reset_index().pivot_table("cumulative_hazard", "time", self.strata, dropna=False)
            if "at_risk" not in self.baseline:  # steps at the events of each stratum
                wide = wide.ffill().fillna(0.0)
            levels = [None if pd.isna(value) else canonical(value) for value in frame[self.strata]]
            of_rows = wide.reindex(columns=levels)
        survival = np.exp(-of_rows.to_numpy(float) * ratio)
        return pd.DataFrame(survival, index=of_rows.index, columns=frame.index)

    def to_frame(self) -> pd.DataFrame:
        """Return the coefficients: estimate, hazard ratio, standard error, statistic, p-value, interval."""
        interval = self.conf_int().set_axis(["[0.025", "0.975]"], axis=1)
        ratio = self.hazard_ratios()["hazard_ratio"].rename("exp(coef)")
        return pd.concat([self.params, ratio, self.bse, self.zvalues, self.pvalues, interval], axis=1)

    def summary(self) -> str:
        """Return the fit as text."""
        pairs: list[tuple[str, object]] = [
            ("Duration", self.duration),
            ("Event", self.event),
            ("Ties", self.ties),
            ("Rows", self.nobs),
            ("Rows left out (missing)", self.n_missing),
            ("Events", self.n_events),
            ("Sites", len(self.sites)),
            *([] if self.n_clusters is None else [("Clusters", self.n_clusters)]),
            ("Covariance", "sandwich" if self.robust else "model"),
            ("Log-likelihood", self.llf),
            ("Likelihood ratio (χ²)", self.llr),
            ("df", len(self.params)),
            ("P(χ²)", self.llr_pvalue),
        ]
        if not np.isnan(self.concordance):
            pairs.append(("Concordance", self.concordance))
            pairs.append(("Its standard error", self.concordance_std_err))
        strata = f", stratified by {self.strata}" if self.strata else ""
        lines = [f"Proportional hazards: {self.formula}{strata}", "", *_table.pair_lines(pairs, digits=5)]
        lines += ["", *_table.frame_lines(self.to_frame(), digits=5)]
        if self.ph_test is not None:
            lines += ["", "Proportionality", *_table.frame_lines(self.ph_test, digits=5)]
        return "\n".join([*lines, "", f"Cost: {self.cost}"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the hazard ratios with their intervals, on a logarithmic axis.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        return _plot.intervals(ax, self.hazard_ratios(), "hazard ratio", nothing=1.0, log=True)
