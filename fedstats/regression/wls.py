"""Weighted least squares over the rows of all sites: `ols` of rows times the roots of their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedstats import design
from fedstats.disclosure import Disclose
from fedstats.regression._results import CovType, OLSResult
from fedstats.regression.ols import least_squares

if TYPE_CHECKING:
    from fedstats.cohort import Cohort


def wls(
    formula: str,
    cohort: Cohort,
    *,
    weights: str,
    cov_type: CovType = "nonrobust",
    groups: str | None = None,
    missing: design.Missing = "drop",
    disclose: Disclose = "result",
) -> OLSResult:
    """Fit a linear model by weighted least squares to the rows of all sites.

    Parameters
    ----------
    formula, cohort, cov_type, groups, missing, disclose
        See `ols`, as for errors.
    weights
        A column, or an expression as in formulas: a row of weight w has variance σ²/w. Only their ratios
        matter for the estimates.

    Returns
    -------
    OLSResult
        With the names of statsmodels' results; sums of squares are weighted.

    Notes
    -----
    **Leakage.** As of `ols`; also the sum of the weights and of their logarithms over the rows of all sites.

    Cost: that of `ols`, and two rounds more with ``"aggregate"``, about 40 with ``"result"``.

    Examples
    --------
    >>> fit = fs.wls("effect ~ dose", cohort, weights="1 / variance")  # doctest: +SKIP
    """
    return least_squares(formula, cohort, weights, cov_type, groups, missing, disclose)
