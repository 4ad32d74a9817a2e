"""What a penalised regression returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np
import pandas as pd
from scipy.special import expit

from fedstats import _plot
from fedstats.expressions import Array
from fedstats.regression._coefficients import LinearResult
from fedstats.regression._path import Curve
from fedstats.regression._penalty import Rule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Family: TypeAlias = Literal["gaussian", "binomial"]

_ERROR = {"gaussian": "mean squared error", "binomial": "mean deviance"}


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PenalizedResult(LinearResult):
    """A ridge, lasso or elastic net regression; the same at every site.

    Attributes
    ----------
    family
        What was fitted; `params` are in the units of the columns.
    alpha, l1_ratio
        The penalty, and the share of it that is absolute values.
    rule
        How alpha was chosen: ``"min"``, ``"1se"``, or None if it was given.
    curve
        Errors of cross-validation, or None without it; `cv_frame` shows them.
    cv
        How rows were held out, or None.
    path
        Coefficients for every alpha, a column for each term; None where only the chosen alpha's were opened.
    """

    family: Family
    alpha: float
    l1_ratio: float
    rule: Rule | None
    curve: Curve | None
    cv: int | str | None
    path: pd.DataFrame | None

    @property
    def n_nonzero(self) -> int:
        """How many coefficients besides the intercept are not zero."""
        return int(np.count_nonzero(self.params.iloc[1:]))

    @property
    def alpha_min(self) -> float | None:
        """The alpha with the smallest error of cross-validation."""
        return None if self.curve is None else float(self.curve.alphas[self.curve.best])

    @property
    def alpha_1se(self) -> float | None:
        """The largest alpha whose error is within a standard error of the smallest."""
        return None if self.curve is None else float(self.curve.alphas[self.curve.within_one_se])

    def _mean(self, linear: Array) -> Array:
        return np.asarray(expit(linear)) if self.family == "binomial" else linear

    def cv_frame(self) -> pd.DataFrame:
        """Return the errors of cross-validation, a row for each alpha.

        Raises
        ------
        ValueError
            There are none: alpha was given.
        """
        if self.curve is None:
            raise ValueError("alpha was given: there was no cross-validation")
        return pd.DataFrame(
            {"mean": self.curve.mean, "se": self.curve.se}, index=pd.Index(self.curve.alphas, name="alpha")
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the coefficients, a row for each term."""
        return self.params.to_frame()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the error of cross-validation by alpha, with the chosen alphas.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        ValueError
            There was no cross-validation.
        """
        table = self.cv_frame()
        axes = _plot.axes(ax)
        axes.errorbar(table.index, table["mean"], table["se"], fmt=".", color="#1d3f66", ecolor="#7ba3cc")
        for alpha in (self.alpha_min, self.alpha_1se):
            axes.axvline(cast(float, alpha), color="#6b7280", linewidth=0.9, linestyle=(0, (5, 4)))
        axes.set_xscale("log")
        axes.set_xlabel("alpha (left line: smallest error; right line: within one standard error)")
        axes.set_ylabel(f"{_ERROR[self.family]} of held-out rows")
        return axes

    def summary(self) -> str:
        """Return the fit as text."""
        pairs: list[tuple[str, object]] = [
            ("Family", self.family),
            ("Alpha", self.alpha),
            ("Share of l1", self.l1_ratio),
            ("Coefficients not zero", f"{self.n_nonzero} of {len(self.params) - 1}"),
        ]
        if self.curve is not None:
            chosen = int(np.flatnonzero(self.curve.alphas == self.alpha)[0])
            folds = "each site in turn" if self.cv == "sites" else f"{self.cv} folds within sites"
            pairs += [
                ("Held out", folds),
                ("Rule", str(self.rule)),
                (f"Error ({_ERROR[self.family]})", float(self.curve.mean[chosen])),
                ("Its standard error", float(self.curve.se[chosen])),
            ]
        return self._text(f"Penalised regression: {self.formula}", pairs)
