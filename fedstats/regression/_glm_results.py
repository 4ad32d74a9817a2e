"""What a generalised linear model returns, in the names of statsmodels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np
import pandas as pd

from fedstats import design
from fedstats.expressions import Array, Expression
from fedstats.formula import INTERCEPT, Coding
from fedstats.regression._estimates import MaximumLikelihoodResult
from fedstats.regression._families import Family
from fedstats.regression._links import Link

if TYPE_CHECKING:
    from numpy.typing import NDArray


ResidualKind: TypeAlias = Literal["deviance", "pearson", "response"]


@dataclass(frozen=True, eq=False, repr=False)
class FittedModel:
    """How a fitted model turns rows into linear predictors and means: no row of any site is in it.

    Attributes
    ----------
    family, link
        Of the model.
    coding
        Of the terms.
    further
        Expressions of offset, exposure and weights, as far as there are any.
    """

    family: Family
    link: Link
    coding: Coding
    further: Mapping[str, Expression]

    @property
    def columns(self) -> list[str]:
        """Every column that is used, the response's included."""
        further = [name for expression in self.further.values() for name in expression.columns]
        return list(dict.fromkeys([*self.coding.formula.columns, *further]))

    def linear(self, frame: pd.DataFrame, params: NDArray[np.float64]) -> Array:
        """Return the linear predictor of each row of a frame, NaN where a column is missing.

        Raises
        ------
        DataError
            A column is absent, of another type, or has a level that the fit did not.
        """
        eta = np.full(len(frame), np.nan)
        positions, X = design.code_new_rows(self.coding, frame)
        eta[positions] = X @ params
        for name in ("offset", "exposure"):
            if name in self.further:
                values = design.evaluate_new_rows(self.coding, self.further[name], frame)
                with np.errstate(divide="ignore", invalid="ignore"):
                    eta += values if name == "offset" else np.log(values)
        return eta

    def residuals(
        self, frame: pd.DataFrame, params: NDArray[np.float64], kind: ResidualKind
    ) -> tuple[Array, Array]:
        """Return linear predictors and residuals of a frame's rows, NaN where a column is missing.

        Raises
        ------
        DataError
            See `linear`; or a response cannot be of the family.
        """
        eta = self.linear(frame, params)
        response = cast(Expression, self.coding.formula.response)
        y = design.evaluate_new_rows(self.coding, response, frame)
        self.family.check(y[~np.isnan(y)], response.text)
        w = np.ones(len(frame))
        if "weights" in self.further:
            w = design.evaluate_new_rows(self.coding, self.further["weights"], frame)
        with np.errstate(invalid="ignore"):
            mu = self.family.clip(self.link.to_means(eta)[0])
            if kind == "response":
                return eta, y - mu
            if kind == "pearson":
                return eta, (y - mu) * np.sqrt(w / self.family.variance(mu)[0])
            # Rounding must not make the smallest deviances negative.
            deviance = np.maximum(w * self.family.deviance(y, mu), 0.0)
            return eta, np.sign(y - mu) * np.sqrt(deviance)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class GLMResult(MaximumLikelihoodResult):
    """A fitted generalised linear model, in the names of statsmodels; the same at every site.

    Attributes
    ----------
    family, link
        Their names.
    scale
        φ: Pearson's statistic by residual degrees of freedom, or 1 for families without it.
    deviance, null_deviance
        Of the model, and of the model of a constant alone.
    pearson_chi2
        Pearson's statistic.
    model
        Family and link, and how rows are coded, for `predict`.
    """

    family: str
    link: str
    scale: float
    deviance: float
    null_deviance: float
    pearson_chi2: float
    model: FittedModel = field(repr=False)

    @property
    def bic_deviance(self) -> float:
        """Bayesian information criterion from the deviance."""
        return self.deviance - self.df_resid * float(np.log(self.nobs))

    def pseudo_rsquared(self, kind: Literal["cs", "mcf"] = "cs") -> float:
        """Return Cox and Snell's (``"cs"``) or McFadden's (``"mcf"``) pseudo R²."""
        if kind == "mcf":
            return self.prsquared
        return 1 - float(np.exp((self.llnull - self.llf) * 2 / self.nobs))

    def ratios(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return the exponentials of the estimates with confidence intervals.

        They are odds ratios with the logit link, and rate or mean ratios with the logarithmic one.

        Parameters
        ----------
        alpha
            Level of the intervals: 1 − alpha.

        Returns
        -------
        pandas.DataFrame
            By term but the intercept: columns ``ratio``, ``lower``, ``upper``, ``pvalue``.

        Raises
        ------
        ValueError
            The link is neither logit nor log.
        """
        if self.link not in ("logit", "log"):
            raise ValueError(f"exponentials of estimates mean nothing with the link {self.link!r}")
        return self._ratios(alpha).drop(index=INTERCEPT, errors="ignore")

    def predict(self, frame: pd.DataFrame, which: Literal["mean", "linear"] = "mean") -> pd.Series[float]:
        """Predict rows of this site; nothing is sent.

        Parameters
        ----------
        frame
            Has every column on the right of the formula, and of offset and exposure.
        which
            ``"mean"`` of the response, or ``"linear"`` for the linear predictor.

        Returns
        -------
        pandas.Series
            Predictions by the frame's index; NaN where a column is missing.

        Raises
        ------
        DataError
            A column is absent, of another type, or has a level that the fit did not.
        """
        if which not in ("mean", "linear"):
            raise ValueError(f"which is 'mean' or 'linear', not {which!r}")
        eta = self.model.linear(frame, np.asarray(self.params, np.float64))
        values = eta if which == "linear" else self.model.link.to_means(eta)[0]
        return pd.Series(values, index=frame.index, name=self.response)

    def _title(self) -> str:
        return "Generalised linear model"

    def _facts(self) -> list[tuple[str, object]]:
        return [
            ("Family", self.family),
            ("Link", self.link),
            ("Scale", self.scale),
            ("Deviance", self.deviance),
            ("of a constant", self.null_deviance),
            ("Pearson χ²", self.pearson_chi2),
        ]
