"""Logistic and Poisson regression: the generalised linear models that have a name of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedstats import design
from fedstats.disclosure import Disclose
from fedstats.regression._glm_results import GLMResult
from fedstats.regression._results import CovType
from fedstats.regression.glm import glm

if TYPE_CHECKING:
    from fedstats.cohort import Cohort
    from fedstats.vertical.cohort import VerticalCohort


def logit(
    formula: str,
    cohort: Cohort | VerticalCohort,
    *,
    offset: str | None = None,
    cov_type: CovType = "nonrobust",
    groups: str | None = None,
    missing: design.Missing = "drop",
    maxiter: int = 50,
    disclose: Disclose = "result",
) -> GLMResult:
    """Fit a logistic regression to the rows of all sites: `glm` with the binomial family.

    Parameters
    ----------
    formula
        ``"response ~ terms"``, see `ols`; the response is 0 or 1, or a truth value.
    cohort, offset, cov_type, groups, missing, maxiter, disclose
        See `glm`, as for errors, leakage and cost.

    Returns
    -------
    GLMResult
        Its `ratios` are odds ratios.

    Examples
    --------
    >>> fit = fs.logit("dead ~ age + C(arm)", cohort)  # doctest: +SKIP
    >>> fit.ratios()  # doctest: +SKIP
    """
    return glm(
        formula,
        cohort,
        family="binomial",
        offset=offset,
        cov_type=cov_type,
        groups=groups,
        missing=missing,
        maxiter=maxiter,
        disclose=disclose,
    )


def poisson(
    formula: str,
    cohort: Cohort | VerticalCohort,
    *,
    offset: str | None = None,
    exposure: str | None = None,
    cov_type: CovType = "nonrobust",
    groups: str | None = None,
    missing: design.Missing = "drop",
    maxiter: int = 50,
    disclose: Disclose = "result",
) -> GLMResult:
    """Fit a Poisson regression to the rows of all sites: `glm` with the Poisson family.

    Parameters
    ----------
    formula
        ``"response ~ terms"``, see `ols`; the response is a count.
    cohort, offset, exposure, cov_type, groups, missing, maxiter, disclose
        See `glm`, as for errors, leakage and cost.

    Returns
    -------
    GLMResult
        Its `ratios` are rate ratios.

    Examples
    --------
    >>> fit = fs.poisson("falls ~ age + C(ward)", cohort, exposure="days")  # doctest: +SKIP
    >>> fit.ratios()  # doctest: +SKIP
    """
    return glm(
        formula,
        cohort,
        family="poisson",
        offset=offset,
        exposure=exposure,
        cov_type=cov_type,
        groups=groups,
        missing=missing,
        maxiter=maxiter,
        disclose=disclose,
    )
