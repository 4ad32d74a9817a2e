"""Negative binomial regression over the rows of all sites, with the dispersion estimated.

The count y has mean μ = exp(x'β) and variance μ + α·μ² (NB2) [1]_. β and log α are estimated together by
Newton's method, from the Poisson model's β and the moment estimate of α: far from the maximum with the
expected information of β and the squared scores of log α, which are positive; near it with the observed
information, whose inverse is the covariance.

References
----------
.. [1] A. C. Cameron, P. K. Trivedi, "Regression Analysis of Count Data", 2nd edition, Cambridge University
   Press 2013, section 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
from scipy.special import polygamma, psi

from fedstats import design
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.formula import INTERCEPT
from fedstats.regression import _newton, _rows
from fedstats.regression._equations import scalars
from fedstats.regression._estimates import MaximumLikelihoodResult
from fedstats.regression._families import NegativeBinomial, Poisson
from fedstats.regression._glm_results import FittedModel
from fedstats.regression._glm_rows import GLMRows, check_mean, maximise_from, units
from fedstats.regression._links import LINKS
from fedstats.regression._rows import Clusters, CovType

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.design import Design

ALPHA = "alpha"

_OPENED: Mapping[str, str] = {
    "null model": "Σy of the response y",
    "dispersion": "Σ[(y − μ)² − y] and Σμ², by the mean of y, of the Poisson model and of that of a constant",
    "fit": "log-likelihoods of the model and of that of a constant",
}
DECLARATION = Declaration(
    "negativebinomial",
    aggregate={**design.AGGREGATE, **_rows.AGGREGATE, **_newton.AGGREGATE, **_OPENED},
    result={**design.AGGREGATE, **_rows.RESULT, **_newton.RESULT, **_OPENED},
    published=design.PUBLISHED,
)
CLUSTER_DECLARATION = replace(
    DECLARATION,
    aggregate={**DECLARATION.aggregate, **_rows.CLUSTERS, **_rows.OVER_SITES},
    result={**DECLARATION.result, **_rows.CLUSTERS},
)

#: Of log α, so that nothing overflows where a step went astray.
_LARGEST = 30.0


@dataclass(frozen=True, eq=False, repr=False)
class _Counts:
    """This site's rows of the model: a `_newton.Likelihood` of coefficients, then log α."""

    of_means: GLMRows

    is_restricted = False

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.of_means.names, ALPHA)

    def means(self, params: Array) -> tuple[Array, float]:
        """Return the means, and 1 / α."""
        eta = self.of_means.linear(params[:-1])
        size = float(np.exp(-np.clip(params[-1], -_LARGEST, _LARGEST)))
        return self.of_means.link.to_means(eta)[0], size

    def per_row(self, params: Array) -> tuple[Array, Array]:
        """Return the scores of each row for its linear predictor, and for 1 / α."""
        y, (mu, r) = self.of_means.y, self.means(params)
        total = r + mu
        return (y - mu) * r / total, psi(y + r) - psi(r) + np.log(r / total) + 1 - (r + y) / total

    def scores(self, params: Array) -> Array:
        of_eta, of_r = self.per_row(params)
        r = self.means(params)[1]
        stacked = np.column_stack([self.of_means.Z * of_eta[:, np.newaxis], -r * of_r])
        return np.asarray(stacked / self.of_means.weight_unit)

    def system(self, params: Array, *, near: bool) -> tuple[Array, Array]:
        y, (mu, r), Z = self.of_means.y, self.means(params), self.of_means.Z
        _, of_r = self.per_row(params)
        total, unit = r + mu, self.of_means.weight_unit
        if near:
            of_mean = mu * r * (r + y) / total**2
            cross = Z.T @ (r * (y - mu) * mu / total**2)
            bend = polygamma(1, y + r) - polygamma(1, r) + 1 / r - 2 / total + (r + y) / total**2
            of_alpha = -(r**2 * bend + r * of_r)
        else:
            of_mean, cross, of_alpha = mu * r / total, np.zeros(Z.shape[1]), (r * of_r) ** 2
        A = np.block(
            [
                [Z.T @ (of_mean[:, np.newaxis] * Z), cross[:, np.newaxis]],
                [cross[np.newaxis], np.array([[of_alpha.sum()]])],
            ]
        )
        return A / unit, self.scores(params).sum(axis=0)

    def rows(self, params: Array) -> Array:
        mu, r = self.means(params)
        return NegativeBinomial(1 / r).loglike(self.of_means.y, mu, self.of_means.weights, 1.0)

    def within(self, params: Array, step: Array) -> Array:  # noqa: ARG002  (all parameters are possible)
        return step


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class NegativeBinomialResult(MaximumLikelihoodResult):
    """A fitted negative binomial regression, in the names of statsmodels; the same at every site.

    The last of ``params`` is ``"alpha"``: the variance is μ + α·μ².

    Attributes
    ----------
    model
        How rows are coded, for `predict`.
    """

    model: FittedModel = field(repr=False)

    @property
    def df_model(self) -> int:
        """Model degrees of freedom: terms but one, for the constant."""
        return len(self.params) - 2

    @property
    def df_resid(self) -> int:
        """Residual degrees of freedom, α not counted."""
        return self.nobs - len(self.params) + 1

    @property
    def alpha(self) -> float:
        """The dispersion α."""
        return float(self.params[ALPHA])

    def _of_terms(self) -> pd.Series[float]:
        return self.params.drop(ALPHA)

    def ratios(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return rate ratios, the exponentials of the estimates, with confidence intervals.

        Parameters
        ----------
        alpha
            Level of the intervals: 1 − alpha.

        Returns
        -------
        pandas.DataFrame
            By term but the intercept: columns ``ratio``, ``lower``, ``upper``, ``pvalue``.
        """
        return self._ratios(alpha).iloc[:-1].drop(index=INTERCEPT, errors="ignore")

    def predict(self, frame: pd.DataFrame) -> pd.Series[float]:
        """Predict the mean count of rows of this site; nothing is sent.

        Parameters
        ----------
        frame
            Has every column on the right of the formula, and of offset and exposure.

        Returns
        -------
        pandas.Series
            Predictions by the frame's index; NaN where a column is missing.
        """
        eta = self.model.linear(frame, np.asarray(self.params, np.float64)[:-1])
        return pd.Series(np.exp(eta), index=frame.index, name=self.response)

    def _title(self) -> str:
        return "Negative binomial regression"

    def _facts(self) -> list[tuple[str, object]]:
        return [("Pseudo R²", self.prsquared)]


def negativebinomial(
    formula: str,
    cohort: Cohort,
    *,
    offset: str | None = None,
    exposure: str | None = None,
    cov_type: CovType = "nonrobust",
    groups: str | None = None,
    missing: design.Missing = "drop",
    maxiter: int = 50,
    disclose: Disclose = "result",
) -> NegativeBinomialResult:
    """Fit a negative binomial regression (NB2) to the rows of all sites, its dispersion included.

    Parameters
    ----------
    formula
        ``"response ~ terms"``, see `ols`; the response is a count.
    cohort, offset, exposure, cov_type, groups, missing, maxiter, disclose
        See `glm`; there the dispersion can be given.

    Returns
    -------
    NegativeBinomialResult
        With the names of statsmodels' results.

    Raises
    ------
    DataError, RemoteError, EstimationError
        As `glm`; or the response varies no more than a Poisson model explains.

    Notes
    -----
    **Leakage.** As of `glm`, of the Poisson models with which the iterations start too; also how much more
    than these explain the response varies.

    Cost: with ``"aggregate"`` about 50 rounds; with ``"result"``, for three sites, about 450.

    Examples
    --------
    >>> fit = fs.negativebinomial("visits ~ age + C(arm)", cohort, exposure="days")  # doctest: +SKIP
    >>> fit.alpha, fit.ratios()  # doctest: +SKIP
    """
    declaration = DECLARATION if groups is None else CLUSTER_DECLARATION

    def check() -> None:
        _rows.check_cov_type(cohort, cov_type, groups)
        _rows.check_maxiter(maxiter)

    def check_rows(y: Array | None, further: Mapping[str, Array]) -> None:
        Poisson().check(cast(Array, y), formula.split("~")[0].strip())
        _rows.check_positive(further, "exposure")

    with cohort.federation.analysis(declaration, disclose) as run:
        part = design.agree_design(
            run,
            cohort,
            formula,
            call=f"{offset=}, {exposure=}, {cov_type=}, {groups=}, {missing=}, {maxiter=}",
            needs_response=True,
            missing=missing,
            check=check,
            further={"offset": offset, "exposure": exposure},
            needed=() if groups is None else (groups,),
            check_rows=check_rows,
        )
        if not part.names:
            raise DataError(f"formula {formula!r} has no terms on its right")
        clusters = None if groups is None else Clusters.of(cohort, groups, part.rows)
        return _fit(run, part, cov_type, clusters, maxiter)


def _fit(
    run: Analysis, part: Design, cov_type: CovType, clusters: Clusters | None, maxiter: int
) -> NegativeBinomialResult:
    y, log = cast(Array, part.y), LINKS["log"]
    matrix = _rows.framed(run, part, sums={"null model": np.array([y.sum()])})
    offset = part.further.get("offset", np.zeros_like(y)) + np.log(part.further.get("exposure", 1.0))
    mean = float(matrix.sums["null model"][0]) / matrix.n
    check_mean(mean, Poisson(), log, str(part.response_name))
    its_units = units(mean, 1.0, None, Poisson(), log)
    rows = GLMRows(matrix.Z, y, np.ones_like(y), offset, Poisson(), log, part.names, **its_units)
    null = replace(rows, Z=np.ones((len(y), 1)), names=(INTERCEPT,))

    parts = count()
    has_offset = bool(part.further)
    at_null = log.to_linear(np.array([mean]))
    if has_offset:
        at_null = maximise_from(run, null, mean, has_offset, maxiter, parts).params
    poisson = [maximise_from(run, rows, mean, has_offset, maxiter, parts).params, at_null]
    starts = _with_dispersion(run, [rows, null], poisson, str(part.response_name))
    found, found_null = (
        _newton.maximise(run, _Counts(model), start, maxiter=maxiter, parts=parts)
        for model, start in zip((rows, null), starts, strict=True)
    )
    counts = _Counts(rows)
    likelihoods = [counts.rows(found.params).sum(), _Counts(null).rows(found_null.params).sum()]
    alpha = float(np.exp(found.params[-1]))
    p = len(part.names)
    to_terms = np.eye(p + 1)
    to_terms[:p, :p], to_terms[p, p] = matrix.to_terms, alpha  # the slope of α for log α
    is_robust = cov_type != "nonrobust"
    covariance = _rows.robust_covariance(
        run,
        matrix,
        counts.system(found.params, near=True)[0],
        counts.names,
        scores=counts.scores(found.params) if is_robust else None,
        clusters=clusters,
        combinations=to_terms,
        scale=1.0 if is_robust else 1 / rows.weight_unit,
        recent=found.recent,
        sums={"fit": np.array(likelihoods)},
    )
    llf, llnull = covariance.sums["fit"].tolist()
    estimates = np.append(matrix.to_terms @ found.params[:-1], alpha)
    return NegativeBinomialResult(
        **run.finish(),
        formula=part.coding.formula.text,
        response=str(part.response_name),
        cov_type=cov_type,
        params=pd.Series(estimates, index=list(counts.names), name="coef"),
        bse=pd.Series(np.sqrt(covariance.variances), index=list(counts.names), name="std err"),
        nobs=matrix.n,
        n_missing=matrix.dropped,
        llf=llf,
        llnull=llnull,
        iterations=found.iterations,
        covariance=covariance.matrix,
        model=FittedModel(NegativeBinomial(alpha), log, part.coding, part.further_expressions),
    )


def _with_dispersion(
    run: Analysis, models: list[GLMRows], poisson: list[Array], response: str
) -> Iterator[Array]:
    """Append the moment estimate of log α to the estimates of Poisson models.

    Raises
    ------
    EstimationError
        The response varies no more than a Poisson model says, so that the likelihood has no maximum at α > 0.
    """
    sums: list[float] = []
    for model, params in zip(models, poisson, strict=True):
        mu = model.link.to_means(model.linear(params))[0]
        sums += [((model.y - mu) ** 2 - model.y).sum(), (mu**2).sum()]
    opened = scalars(run, "dispersion", np.array(sums) / models[0].weight_unit)
    for params, (excess, squares) in zip(poisson, opened.reshape(-1, 2), strict=True):
        if excess <= 0:
            raise EstimationError(
                f"the response {response!r} varies no more than a Poisson model explains, so that alpha is "
                "0: use poisson"
            )
        yield np.append(params, np.log(excess / squares))
