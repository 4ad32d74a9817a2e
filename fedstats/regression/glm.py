"""Generalised linear models over the rows of all sites, by iteratively reweighted least squares.

Every step of Newton's method needs the information matrix and the score, which are sums over rows, and so
over sites: see `_newton`. Far from the maximum the expected information is used, which is Fisher's scoring
and so iteratively reweighted least squares [1]_; near it the observed one, with which convergence is
quadratic for every link.

Rounds with ``disclose="aggregate"``: one to agree, two each for the number of rows, for the null model, for
each step and for the covariance, four for the columns' frame, two or four for the deviance and the
log-likelihood, one to confirm.

References
----------
.. [1] P. McCullagh, J. A. Nelder, "Generalized Linear Models", 2nd edition, Chapman and Hall 1989.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pandas as pd

from fedstats import design
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array, Expression
from fedstats.formula import INTERCEPT, Coding
from fedstats.regression import _newton, _rows
from fedstats.regression._equations import scalars, solve
from fedstats.regression._estimates import MaximumLikelihoodResult
from fedstats.regression._families import Family, Gaussian, family_of, link_of
from fedstats.regression._links import Link, Means
from fedstats.regression._rows import Clusters, CovType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.design import Design

_FIT = "deviance, Pearson's statistic, the null model's deviance, and log-likelihoods of both models"
DECLARATION = Declaration(
    "glm",
    aggregate={
        **design.AGGREGATE,
        **_rows.AGGREGATE,
        "null model": "Σw and Σwy of the response y with the weights w, from which the model of a constant "
        "follows, unless there is an offset",
        **_newton.AGGREGATE,
        "fit": _FIT,
    },
    result={
        **design.AGGREGATE,
        **_rows.RESULT,
        "null model": "Σw and Σwy of the response y with the weights w, from which the model of a constant "
        "follows, unless there is an offset",
        **_newton.RESULT,
        "fit": _FIT,
    },
    published=design.PUBLISHED,
)
CLUSTER_DECLARATION = replace(
    DECLARATION,
    aggregate={**DECLARATION.aggregate, **_rows.CLUSTERS, **_rows.OVER_SITES},
    result={**DECLARATION.result, **_rows.CLUSTERS},
)


#: Largest information or score of a row, in units of the model of a constant.
_LARGEST = 2.0**70


@dataclass(frozen=True, eq=False, repr=False)
class _Rows:
    """This site's rows of a generalised linear model: a `_newton.Likelihood`.

    Attributes
    ----------
    eta_unit
        Public unit of the linear predictor, in which its parameters are measured.
    weight_unit
        Public unit of the information of a row.
    square
        Public unit of squares of the response, for families whose deviance is measured in it.
    """

    Z: Array
    y: Array
    weights: Array
    offset: Array
    family: Family
    link: Link
    names: tuple[str, ...]
    eta_unit: float
    weight_unit: float
    square: float

    @property
    def is_restricted(self) -> bool:
        within = self.link.lower >= self.family.lower and self.link.upper <= self.family.upper
        return self.link.positive_only or not within

    def linear(self, params: Array) -> Array:
        return self.eta_unit * (self.Z @ params) + self.offset

    def means(self, eta: Array) -> Means:
        mu, slope, curve = self.link.to_means(eta)
        return self.family.clip(mu), slope, curve

    def per_row(self, eta: Array, *, observed: bool) -> tuple[Array, Array]:
        """Return the information and the score of each row for its linear predictor, in their units."""
        mu, slope, curve = self.means(eta)
        V, V_slope = self.family.variance(mu)
        information = slope**2 / V
        residual = (self.y - mu) / V
        if observed and self.link.name != self.family.canonical:
            information = information - residual * (curve - slope**2 * V_slope / V)
        weights = self.weights / self.weight_unit
        # Cut off where a step went astray, so that sums stay finite.
        return _cut(weights * information), _cut(weights * residual * slope / self.eta_unit)

    def system(self, params: Array, *, near: bool) -> tuple[Array, Array]:
        information, score = self.per_row(self.linear(params), observed=near)
        return self.information(information), self.Z.T @ score

    def information(self, per_row: Array) -> Array:
        return self.Z.T @ (per_row[:, np.newaxis] * self.Z)

    def rows(self, params: Array) -> Array:
        return self.loglike(self.linear(params), self.square)

    def loglike(self, eta: Array, scale: float) -> Array:
        """Return the log-likelihood of each row, −inf where its linear predictor is impossible."""
        possible = self.possible(eta)
        # Where it is not, any possible mean will do for what is then replaced.
        mu = np.where(possible, self.means(np.where(possible, eta, 1.0))[0], 0.5)
        return np.where(possible, self.family.loglike(self.y, mu, self.weights, scale), -np.inf)

    def possible(self, eta: Array) -> NDArray[np.bool_]:
        if not self.is_restricted:
            return np.isfinite(eta)
        inside = eta > 0 if self.link.positive_only else np.isfinite(eta)
        mu = self.link.to_means(np.where(inside, eta, 1.0))[0]
        return np.asarray(inside & (mu > self.family.lower) & (mu < self.family.upper))

    def within(self, params: Array, step: Array) -> Array:  # noqa: ARG002  (what is possible, the rows tell)
        return step

    def first_system(self, mean: float) -> tuple[Array, Array]:
        """Return the weighted least squares problem whose solution is the first step of the iteration."""
        lower, upper = bounds(self.family, self.link)
        mu = self.family.start(self.y, mean)
        if np.isfinite(lower):
            mu = np.maximum(mu, lower + (mean - lower) / 10)
        if np.isfinite(upper):
            mu = np.minimum(mu, upper - (upper - mean) / 10)
        eta = self.link.to_linear(mu)
        information, score = self.per_row(eta, observed=False)
        target = information * (eta - self.offset) / self.eta_unit + score
        return self.information(information), self.Z.T @ target


def bounds(family: Family, link: Link) -> tuple[float, float]:
    """Return between which means are possible."""
    return max(link.lower, family.lower), min(link.upper, family.upper)


def _cut(x: Array) -> Array:
    return np.asarray(np.clip(x, -_LARGEST, _LARGEST))


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
        interval = self.conf_int(alpha)
        columns = {"ratio": self.params, "lower": interval[0], "upper": interval[1]}
        frame = pd.DataFrame({name: np.exp(values) for name, values in columns.items()})
        return frame.assign(pvalue=self.pvalues).drop(index=INTERCEPT, errors="ignore")

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


def glm(
    formula: str,
    cohort: Cohort,
    *,
    family: str = "gaussian",
    link: str | None = None,
    offset: str | None = None,
    exposure: str | None = None,
    weights: str | None = None,
    alpha: float = 1.0,
    var_power: float = 1.5,
    cov_type: CovType = "nonrobust",
    groups: str | None = None,
    missing: design.Missing = "drop",
    maxiter: int = 50,
    disclose: Disclose = "result",
) -> GLMResult:
    """Fit a generalised linear model to the rows of all sites by maximum likelihood.

    Parameters
    ----------
    formula
        ``"response ~ terms"``, see `ols`.
    cohort
        The rows, see `Federation.cohort`.
    family
        ``"gaussian"``, ``"binomial"``, ``"poisson"``, ``"gamma"``, ``"inverse_gaussian"``,
        ``"negative_binomial"`` (of given ``alpha``) or ``"tweedie"`` (of given ``var_power``).
    link
        ``"identity"``, ``"log"``, ``"logit"``, ``"probit"``, ``"cauchy"``, ``"cloglog"``, ``"loglog"``,
        ``"inverse_power"``, ``"inverse_squared"`` or ``"sqrt"``; by default the family's own, which is
        statsmodels'.
    offset
        A column, or an expression as in formulas, that is added to the linear predictor.
    exposure
        The same, whose logarithm is added; only with the logarithmic link.
    weights
        A column, or an expression: a row of weight w has variance φ·V(μ)/w, which are R's ``weights`` and
        statsmodels' ``var_weights``. For the binomial family, the number of trials of which the response is
        the proportion of successes.
    alpha
        Of the negative binomial family, whose variance is μ + alpha·μ²; `negativebinomial` estimates it.
    var_power
        Of the Tweedie family, whose variance is φ·μ^var_power, between 1 and 2.
    cov_type
        Covariance of the estimates: the classical one, or one that is robust against a wrong variance,
        ``"HC0"`` for independent rows and ``"cluster"`` for ``groups`` of rows.
    groups
        The column that says which rows belong together. Equal values at two sites are two clusters, unless
        the column's levels were declared (``federation.cohort(…, levels=)``): then a level is one cluster
        over all sites, which takes ``disclose="aggregate"``.
    missing
        ``"drop"`` leaves out rows with a missing value in any column that is used, and counts them in
        ``n_missing``; ``"raise"`` refuses them.
    maxiter
        How many iterations are taken at most.
    disclose
        ``"result"``: sites open the estimates of each iteration, and what the result holds.
        ``"aggregate"``: they open pooled information matrices and scores.

    Returns
    -------
    GLMResult
        With the names of statsmodels' results.

    Raises
    ------
    DataError
        The formula, or a column that is used, cannot be used; says which and what to do.
    RemoteError
        The same at another site.
    EstimationError
        The design is singular, terms separate the response, the iterations do not converge, there are too few
        rows or one cluster only. Names the terms.

    Notes
    -----
    **Leakage.** Of the rows of all sites together: how many are complete and how many are not; the sum of
    the response and of the weights; what the result holds. With ``"result"`` also the estimates at each
    iteration, the coarse frame of each column, and, where it must be asked, whether a step makes the
    likelihood fall and whether rows contradict separation. With ``"aggregate"`` also sums and squares of
    columns, and the information matrix and the score at each iteration: weighted cross-products of all
    columns of the model matrix. Of each single site: which levels of the categorical columns occur there.
    A coalition of t sites learns with ``"aggregate"`` the same sums over the other n − t sites, by
    subtracting its own, and with ``"result"`` nothing more if t < n/2.

    Cost: with ``"aggregate"`` 16 rounds and two for each iteration, two more for families with a scale.

    Examples
    --------
    >>> fit = fs.glm("deaths ~ age + C(sex)", cohort, family="poisson", exposure="years")  # doctest: +SKIP
    >>> fit.ratios()  # doctest: +SKIP
    """
    declaration = DECLARATION if groups is None else CLUSTER_DECLARATION
    chosen: list[tuple[Family, Link]] = []

    def check() -> None:
        its = family_of(family, alpha=alpha, var_power=var_power)
        chosen.append((its, link_of(its, link)))
        _rows.check_cov_type(cov_type, groups)
        _rows.check_clusters(cohort, groups, disclose)
        if exposure is not None and chosen[0][1].name != "log":
            raise DataError("exposure= goes with the logarithmic link: use offset= with others")
        _rows.check_maxiter(maxiter)

    def check_rows(y: Array | None, further: Mapping[str, Array]) -> None:
        chosen[0][0].check(cast(Array, y), formula.split("~")[0].strip())
        for name in ("weights", "exposure"):
            _rows.check_positive(further, name)

    further = {"offset": offset, "exposure": exposure, "weights": weights}
    options = {**further, "alpha": alpha, "var_power": var_power, "cov_type": cov_type, "groups": groups}
    with cohort.federation.analysis(declaration, disclose) as run:
        part = design.agree_design(
            run,
            cohort,
            formula,
            call=f"{family=}, {link=}, {options}, {missing=}, {maxiter=}",
            needs_response=True,
            missing=missing,
            check=check,
            further=further,
            needed=() if groups is None else (groups,),
            check_rows=check_rows,
        )
        if not part.names:
            raise DataError(f"formula {formula!r} has no terms on its right")
        [(its_family, its_link)] = chosen
        clusters = None if groups is None else Clusters.of(cohort, groups, part.rows)
        return _fit(run, part, its_family, its_link, cov_type, clusters, maxiter)


def _fit(
    run: Analysis,
    part: Design,
    family: Family,
    link: Link,
    cov_type: CovType,
    clusters: Clusters | None,
    maxiter: int,
) -> GLMResult:
    matrix = _rows.framed(run, part, with_response=link.has_unit)
    y = cast(Array, part.y)
    weights = part.further.get("weights", np.ones_like(y))
    offset = part.further.get("offset", np.zeros_like(y)) + np.log(part.further.get("exposure", 1.0))
    has_offset = bool(part.further.keys() & {"offset", "exposure"})
    total, sum_ = scalars(run, "null model", np.array([weights.sum(), weights @ y])).tolist()
    mean = sum_ / total
    _check_mean(mean, family, link, str(part.response_name))
    units = _units(mean, total / matrix.n, matrix.size, family, link)
    rows = _Rows(matrix.Z, y, weights, offset, family, link, part.names, **units)
    null = replace(rows, Z=np.ones((len(y), 1)), names=(INTERCEPT,))

    parts = count()
    at_null = link.to_linear(np.array([mean])) / rows.eta_unit
    if has_offset:
        start = _start(run, null, mean, has_offset, parts)
        at_null = _newton.maximise(run, null, start, maxiter=maxiter, parts=parts).params
    start = _start(run, rows, mean, has_offset, parts)
    found = _newton.maximise(run, rows, start, maxiter=maxiter, parts=parts)

    fit = _fit_statistics(run, rows, null, found.params, at_null, matrix.n)
    is_robust = cov_type != "nonrobust"
    information, score = rows.per_row(rows.linear(found.params), observed=is_robust)
    covariance = _rows.robust_covariance(
        run,
        matrix,
        rows.information(information),
        part.names,
        scores=rows.Z * score[:, np.newaxis] if is_robust else None,
        clusters=clusters,
        combinations=matrix.to_terms,
        scale=rows.eta_unit**2 if is_robust else fit["scale"] / rows.weight_unit,
    )
    terms = list(part.names)
    return GLMResult(
        **run.finish(),
        **fit,
        formula=part.coding.formula.text,
        response=str(part.response_name),
        family=family.name,
        link=link.name,
        cov_type=cov_type,
        params=pd.Series(rows.eta_unit * (matrix.to_terms @ found.params), index=terms, name="coef"),
        bse=pd.Series(np.sqrt(covariance.variances), index=terms, name="std err"),
        nobs=matrix.n,
        n_missing=matrix.dropped,
        iterations=found.iterations,
        covariance=covariance.matrix,
        model=FittedModel(family, link, part.coding, part.further_expressions),
    )


def _check_mean(mean: float, family: Family, link: Link, response: str) -> None:
    """Raise EstimationError unless the mean of the response is a possible one."""
    lower, upper = bounds(family, link)
    if not lower < mean < upper:
        raise EstimationError(
            f"the mean of the response {response!r} over all sites is not between {lower:g} and {upper:g}: "
            f"no finite estimates exist with the {family.name} family and the link {link.name!r}"
        )


def _units(mean: float, weight: float, size: float | None, family: Family, link: Link) -> dict[str, float]:
    """Return public units in which parameters, information and squares of any response are about 1.

    Parameters
    ----------
    mean, weight
        Of the response, and of its weights.
    size
        Of the response, where the linear predictor is measured in its unit.
    """
    eta = link.to_linear(np.array([mean]))
    at_mean = np.array([mean])
    return {
        "eta_unit": 1.0 if size is None else float(np.abs(link.to_linear(np.array(size)))),
        "weight_unit": weight * float(link.to_means(eta)[1][0] ** 2 / family.variance(at_mean)[0][0]),
        "square": 1.0 if family.name != "gaussian" else (size or mean) ** 2,
    }


def _start(run: Analysis, rows: _Rows, mean: float, has_offset: bool, parts: Iterator[int]) -> Array:
    """Return estimates to start from: the first ones of iteratively reweighted least squares."""
    A, b = rows.first_system(mean)
    first = solve(run, "steps", A, b, rows.names, part=next(parts))
    if not rows.is_restricted:
        return first
    start = first
    if rows.names[0] == INTERCEPT and not has_offset:
        # The null model is possible, and so is some point on the way from there.
        start = np.zeros_like(first)
        start[0] = rows.link.to_linear(np.array([mean]))[0] / rows.eta_unit
        return start + _newton.shortened(run, rows, start, first - start, parts)
    impossible = np.count_nonzero(np.isinf(rows.rows(start)))
    if _newton.reaches(run, "gains", np.array([float(impossible)]), 0.5, next(parts))[0]:
        raise EstimationError(
            f"no starting values: with the link {rows.link.name!r} the means of some rows are impossible; "
            "change the link, or add an intercept"
        )
    return start


def _fit_statistics(
    run: Analysis, rows: _Rows, null: _Rows, params: Array, at_null: Array, n: int
) -> dict[str, Any]:
    """Open how well the model and the null model fit."""
    y, weights, family = rows.y, rows.weights, rows.family
    eta, eta_null = rows.linear(params), null.linear(at_null)
    mu, mu_null = rows.means(eta)[0], rows.means(eta_null)[0]
    sums = np.array(
        [
            weights @ family.deviance(y, mu),
            weights @ ((y - mu) ** 2 / family.variance(mu)[0]),
            weights @ family.deviance(y, mu_null),
        ]
    )

    def likelihoods(scale: float, scale_of_null: float) -> Array:
        return np.array([rows.loglike(eta, scale).sum(), rows.loglike(eta_null, scale_of_null).sum()])

    if not family.has_scale:
        opened = scalars(run, "fit", np.concatenate([sums, likelihoods(1.0, 1.0)]))
        deviance, pearson, null_deviance, llf, llnull = opened
        scale = 1.0
    else:
        deviance, pearson, null_deviance = rows.square * scalars(run, "fit", sums / rows.square, part=0)
        scale = pearson / (n - len(params))
        # As in statsmodels: a linear model's likelihood is the largest over φ.
        concentrated = isinstance(family, Gaussian) and rows.link.name == "identity"
        llf, llnull = scalars(run, "fit", likelihoods(pearson / n if concentrated else scale, scale), part=1)
    return {
        "deviance": float(deviance),
        "null_deviance": float(null_deviance),
        "pearson_chi2": float(pearson),
        "scale": float(scale),
        "llf": float(llf),
        "llnull": float(llnull),
    }


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
        Expressions of offset and exposure, as far as there are any.
    """

    family: Family
    link: Link
    coding: Coding
    further: Mapping[str, Expression]

    def linear(self, frame: pd.DataFrame, params: NDArray[np.float64]) -> Array:
        """Return the linear predictor of each row of a frame, NaN where a column is missing."""
        eta = np.full(len(frame), np.nan)
        positions, X = design.code_new_rows(self.coding, frame)
        eta[positions] = X @ params
        for name in ("offset", "exposure"):
            if name in self.further:
                values = design.evaluate_new_rows(self.coding, self.further[name], frame)
                eta += values if name == "offset" else np.log(values)
        return eta
