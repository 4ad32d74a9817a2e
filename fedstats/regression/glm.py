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

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
import pandas as pd

from fedstats import design
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.formula import INTERCEPT
from fedstats.regression import _leverages, _newton, _rows
from fedstats.regression._equations import scalars
from fedstats.regression._families import Family, Gaussian, family_of, link_of
from fedstats.regression._glm_results import FittedModel, GLMResult
from fedstats.regression._glm_rows import GLMRows, check_mean, maximise_from, units
from fedstats.regression._leverages import EXPONENTS, without_leverage
from fedstats.regression._links import Link
from fedstats.regression._results import CovType
from fedstats.regression._rows import Clusters
from fedstats.vertical import generalised as linked
from fedstats.vertical.cohort import VerticalCohort

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.design import Design

_OPENED: Mapping[str, str] = {
    "null model": "Σw and Σwy of the response y with the weights w: the model of a constant, or where its "
    "iterations start if there is an offset",
    "fit": "deviance, Pearson's statistic, the null model's deviance, and log-likelihoods of both models",
}
DECLARATION = Declaration(
    "glm",
    aggregate={**design.AGGREGATE, **_rows.AGGREGATE, **_newton.AGGREGATE, **_OPENED},
    result={**design.AGGREGATE, **_rows.RESULT, **_newton.RESULT, **_OPENED},
    published=design.PUBLISHED,
)
LEVERAGE_DECLARATION = replace(DECLARATION, aggregate={**DECLARATION.aggregate, **_leverages.AGGREGATE})
CLUSTER_DECLARATION = replace(
    DECLARATION,
    aggregate={**DECLARATION.aggregate, **_rows.CLUSTERS, **_rows.OVER_SITES},
    result={**DECLARATION.result, **_rows.CLUSTERS},
)

#: A formula with two columns of counts as its response, as in R.
_CBIND = re.compile(r"\s*cbind\(([^,()]+),([^,()]+)\)\s*~(.*)", re.DOTALL)
#: A fit whose deviance is less than this part of the null model's is one without error.
_EXACT = 1e-18


def glm(
    formula: str,
    cohort: Cohort | VerticalCohort,
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
        ``"response ~ terms"``, see `ols`; of binomial counts ``"cbind(successes, failures) ~ terms"``.
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
        Covariance of the estimates: the classical one, or one that is robust against a wrong variance, of
        independent rows ``"HC0"``, ``"HC1"`` with n/(n − p) for few rows, ``"HC2"`` and ``"HC3"`` with
        leverages, which take the aggregate mode, as R's sandwich has them; or ``"cluster"`` for ``groups`` of
        rows.
    groups
        The column that says which rows belong together. Equal values at two sites are two clusters, unless
        the column's levels were declared (``federation.cohort(…, levels=)``): then a level is one cluster
        over all sites.
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
    the response and of the weights; the number of clusters; what the result holds. With ``"result"`` also
    the estimates at each iteration, the coarse frame of each column, and, where it must be asked, whether a
    step makes the likelihood fall and whether rows contradict separation, and whether the information is
    near to that at the iteration before. With ``"aggregate"`` also sums
    and squares of columns, and the information matrix and the score at each iteration: weighted
    cross-products of all columns of the model matrix. Of each single site: which levels of the categorical
    columns occur there.
    A coalition of t sites learns with ``"aggregate"`` the same sums over the other n − t sites, by
    subtracting its own, and with ``"result"`` nothing more if t < n/2, or with a dishonest majority
    t < n.

    Cost: with ``"aggregate"`` 16 rounds and two for each iteration, two more for families with a scale. With
    ``"result"``, for three sites, about 150 rounds and 20 for each iteration, 45 more where the information
    changes by half; 8 MB in all for 20 columns.

    Examples
    --------
    >>> fit = fs.glm("deaths ~ age + C(sex)", cohort, family="poisson", exposure="years")  # doctest: +SKIP
    >>> fit.ratios()  # doctest: +SKIP
    """
    if isinstance(cohort, VerticalCohort):
        given = {"offset": offset, "exposure": exposure, "weights": weights, "groups": groups}
        if cov_type != "nonrobust" or any(its is not None for its in given.values()):
            raise DataError(f"models of linked columns have no {', '.join(given)}, and cov_type='nonrobust'")
        return linked.glm(formula, cohort, family, link, missing, maxiter, disclose)
    if family == "binomial" and weights is None:
        formula, weights = _proportion(formula)
    declaration = DECLARATION if groups is None else CLUSTER_DECLARATION
    if cov_type in EXPONENTS:
        declaration = LEVERAGE_DECLARATION
    chosen: list[tuple[Family, Link]] = []

    def check() -> None:
        its = family_of(family, alpha=alpha, var_power=var_power)
        chosen.append((its, link_of(its, link)))
        _rows.require_cov_type(cov_type, get_args(CovType), disclose)
        _rows.check_groups(cohort, cov_type, groups)
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


def _proportion(formula: str) -> tuple[str, str | None]:
    """Return the formula with the proportion of successes as its response, and the trials as its weights."""
    both = _CBIND.fullmatch(formula)
    if both is None:
        return formula, None
    successes, failures, terms = (text.strip() for text in both.groups())
    trials = f"{successes} + {failures}"
    return f"I({successes} / ({trials})) ~ {terms}", trials


def _fit(
    run: Analysis,
    part: Design,
    family: Family,
    link: Link,
    cov_type: CovType,
    clusters: Clusters | None,
    maxiter: int,
) -> GLMResult:
    y = cast(Array, part.y)
    weights = part.further.get("weights", np.ones_like(y))
    sums = {"null model": np.array([weights.sum(), weights @ y])}
    matrix = _rows.framed(run, part, with_response=link.has_unit, sums=sums)
    offset = part.further.get("offset", np.zeros_like(y)) + np.log(part.further.get("exposure", 1.0))
    has_offset = bool(part.further.keys() & {"offset", "exposure"})
    total, sum_ = matrix.sums["null model"].tolist()
    mean = sum_ / total
    check_mean(mean, family, link, str(part.response_name))
    its_units = units(mean, total / matrix.n, matrix.size, family, link)
    rows = GLMRows(matrix.Z, y, weights, offset, family, link, part.names, **its_units)
    null = replace(rows, Z=np.ones((len(y), 1)), names=(INTERCEPT,))

    parts = count()
    at_null = link.to_linear(np.array([mean])) / rows.eta_unit
    if has_offset:
        at_null = maximise_from(run, null, mean, has_offset, maxiter, parts).params
    found = maximise_from(run, rows, mean, has_offset, maxiter, parts)

    predictors = rows.linear(found.params), null.linear(at_null)
    is_robust = cov_type != "nonrobust"
    information, score = rows.per_row(predictors[0], observed=is_robust)
    scores = rows.Z * score[:, np.newaxis]
    if cov_type in EXPONENTS:
        weights_, _ = rows.per_row(predictors[0], observed=False)
        scores = without_leverage(run, scores, rows.Z, weights_, part.names, cov_type)
    few = _rows.small_sample(cov_type, matrix.n, len(part.names), None)
    covariance = _rows.robust_covariance(
        run,
        matrix,
        rows.information(information),
        part.names,
        scores=scores if is_robust else None,
        clusters=clusters,
        combinations=matrix.to_terms,
        recent=found.recent,
        sums={"fit": _fit_sums(rows, *predictors)},
    )
    fit = _fit_statistics(run, rows, *predictors, covariance.sums["fit"], p=len(part.names), n=matrix.n)
    covariance = covariance.times(few * rows.eta_unit**2 if is_robust else fit["scale"] / rows.weight_unit)
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


def _fit_sums(rows: GLMRows, eta: Array, eta_null: Array) -> Array:
    """Return this site's summands of what tells how well the model and the null model fit.

    That is the deviance and Pearson's statistic, and the deviance of the null model, in the unit of squares;
    and where φ is known, the log-likelihoods of both.
    """
    y, weights, family = rows.y, rows.weights, rows.family
    mu, mu_null = rows.means(eta)[0], rows.means(eta_null)[0]
    sums = np.array(
        [
            weights @ family.deviance(y, mu),
            weights @ ((y - mu) ** 2 / family.variance(mu)[0]),
            weights @ family.deviance(y, mu_null),
        ]
    )
    return sums / rows.square if family.has_scale else np.append(sums, _likelihoods(rows, eta, eta_null))


def _likelihoods(rows: GLMRows, eta: Array, eta_null: Array, *scales: float) -> Array:
    """Return this site's log-likelihoods of the model and of the null model."""
    of_model, of_null = scales or (1.0, 1.0)
    return np.array([rows.loglike(eta, of_model).sum(), rows.loglike(eta_null, of_null).sum()])


def _fit_statistics(
    run: Analysis, rows: GLMRows, eta: Array, eta_null: Array, sums: Array, *, p: int, n: int
) -> dict[str, Any]:
    """Return how well the model and the null model fit, from pooled `_fit_sums`."""
    deviance, pearson, null_deviance = rows.square * sums[:3] if rows.family.has_scale else sums[:3]
    scale = 1.0
    if not rows.family.has_scale:
        llf, llnull = sums[3:]
    else:
        scale = pearson / (n - p)
        if deviance <= _EXACT * null_deviance:
            raise EstimationError(
                "the terms explain the response without error: no variance is left to estimate"
            )
        # As in statsmodels: a linear model's likelihood is the largest over φ.
        concentrated = isinstance(rows.family, Gaussian) and rows.link.name == "identity"
        own = _likelihoods(rows, eta, eta_null, pearson / n if concentrated else scale, scale)
        llf, llnull = scalars(run, "fit", own, part=1)
    return {
        "deviance": float(deviance),
        "null_deviance": float(null_deviance),
        "pearson_chi2": float(pearson),
        "scale": float(scale),
        "llf": float(llf),
        "llnull": float(llnull),
    }
