"""Ordinary least squares over the rows of all sites.

Sites orthonormalise the pooled model matrix X = Q R together (`orthonormalise`), which gives
the coefficients on Q, and then sum the residuals' squares and their products with Q. The latter would
be zero in exact arithmetic; they are one step of iterative refinement. With Q at hand, leverages are
local, so the robust covariances HC0–HC3 [1]_ take one more matrix in the same sum.

Rounds: one to agree, eight for the sums, one to confirm.

References
----------
.. [1] J. G. MacKinnon, H. White, "Some heteroskedasticity-consistent covariance matrix estimators with
   improved finite sample properties", Journal of Econometrics 29, 1985, 305–325.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast, get_args

import numpy as np
import pandas as pd

from fedstats import design
from fedstats._moments import moments
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.regression import _equations, _on_shares, _orthonormal, _rows, _weights
from fedstats.regression._results import CovType, OLSResult
from fedstats.regression._weights import Weighting
from fedstats.vertical import linear as linked
from fedstats.vertical.cohort import VerticalCohort

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.regression._orthonormal import Orthonormal

_RESIDUALS = (
    "Σr² of the residuals r, and Σqr with the orthonormalised columns q; without an intercept Σc² of what "
    "the columns leave of a constant"
)
DECLARATION = Declaration(
    "ols",
    aggregate={**design.AGGREGATE, **_orthonormal.AGGREGATE, "residuals": _RESIDUALS},
    result={**design.AGGREGATE, **_on_shares.RESULT, **_on_shares.WITHOUT_INTERCEPT},
    published=design.PUBLISHED,
)
ROBUST_DECLARATION = Declaration(
    "ols",
    aggregate={
        **DECLARATION.aggregate,
        "residuals": f"{_RESIDUALS}; Σwr²qq' with the weights w of the covariance type; how many rows "
        "have leverage 1",
    },
    result={**design.AGGREGATE, **_on_shares.ROBUST, **_on_shares.WITHOUT_INTERCEPT},
    published=design.PUBLISHED,
)
CLUSTER_DECLARATION = replace(
    ROBUST_DECLARATION,
    aggregate={**ROBUST_DECLARATION.aggregate, **_rows.CLUSTERS, **_rows.OVER_SITES},
    result={**ROBUST_DECLARATION.result, **_rows.CLUSTERS},
)

#: A row's leverage is 1 if it is closer than this.
_LEVERAGE = 1e-10
#: The columns span a constant if they leave less than this share of its squared length.
_SPANNED = 1e-16


def ols(
    formula: str,
    cohort: Cohort | VerticalCohort,
    *,
    cov_type: CovType = "nonrobust",
    groups: str | None = None,
    missing: design.Missing = "drop",
    disclose: Disclose = "result",
) -> OLSResult:
    """Fit a linear model by least squares to the rows of all sites.

    Parameters
    ----------
    formula
        Such as ``"sbp ~ age + C(sex) * arm"``. Terms are columns, ``C(column)`` with ``Treatment`` or
        ``Sum`` coding, arithmetic in ``I(…)``, log, log2, log10, log1p, exp, expm1, sqrt, abs, and
        ``center(x)`` and ``scale(x)``, which use mean and standard deviation (denominator n − 1) of
        all sites. Columns of truth values count as 0 and 1.
    cohort
        The rows, see `Federation.cohort`.
    cov_type
        Covariance of the estimates: the classical one, one that is robust to unequal variances
        (``"HC0"`` to ``"HC3"``), or one for ``"cluster"``s of rows that are not independent.
        Robust ones use the normal distribution for p-values and intervals, as statsmodels does.
    groups
        The column that says which rows are a cluster. Equal values at two sites are two clusters, unless the
        column's levels were declared (``federation.cohort(…, levels=)``): then a level is one cluster over
        all sites.
    missing
        ``"drop"`` leaves out rows with a missing value in a column of the formula and counts them in
        ``n_missing``; ``"raise"`` refuses them.
    disclose
        ``"result"``: pooled sums stay shared among the sites, and what the result holds is opened.
        ``"aggregate"``: pooled cross-products are opened to every site. That takes fewer rounds, and gives
        covariances and the condition number too; HC2 and HC3 need it.

    Returns
    -------
    OLSResult
        With the names of statsmodels' results.

    Raises
    ------
    DataError
        The formula, or a column that it uses, cannot be used; says which and what to do.
    RemoteError
        The same at another site.
    EstimationError
        The design is singular, has as many terms as there are rows, or the response is constant; HC2
        or HC3 is not defined because a term concerns a single row; or the columns' units make variances
        overflow.

    Notes
    -----
    **Leakage.** Every site learns, of the rows of all sites together, how many are complete and how many are
    not, the number of clusters, and what the result holds; of each single site, which levels of the
    categorical columns occur there. With ``"result"`` it learns beside that a coarse frame of each column:
    the mean to a power of two near the standard deviation, and that power. A coalition of t < n/2 sites,
    or of n − 1 with a dishonest majority, learns the same. With ``"aggregate"`` it learns sums and
    cross-products of all columns of the model matrix and of the response, so every regression among them; for
    robust covariances also the sums of weighted squared residuals by pairs of columns, and for clusters over
    sites their scores. A coalition of t sites learns the same sums over the other n − t sites, by subtracting
    its own; all but one learn the remaining site's. Indicator columns make some of these sums counts and sums
    of small groups: leave out rare levels.

    Cost: with ``"aggregate"`` ten rounds (15 with ``center`` or ``scale``, 12 with clusters). Each site sends
    at most 300 bytes for each number that is opened, p² + 6p + 7 of them for p terms, p(p + 1)/2 + 1 more for
    robust covariances and one more without an intercept, and half a kB to each other site. With
    ``"result"`` about 140 rounds for three sites, and 190 with robust covariances.

    Examples
    --------
    >>> fit = fs.ols("ltg ~ age + bmi", cohort)  # doctest: +SKIP
    >>> fit.params, fit.conf_int()  # doctest: +SKIP
    """
    if isinstance(cohort, VerticalCohort):
        if groups is not None:
            raise DataError("models of linked columns have no groups")
        return linked.ols(formula, cohort, cov_type, missing, disclose)
    return least_squares(formula, cohort, None, cov_type, groups, missing, disclose)


def least_squares(
    formula: str,
    cohort: Cohort,
    weights: str | None,
    cov_type: CovType,
    groups: str | None,
    missing: design.Missing,
    disclose: Disclose,
) -> OLSResult:
    """Fit a linear model, with weights if there are any; see `ols` and `wls`."""

    def check() -> None:
        _rows.require_cov_type(cov_type, get_args(CovType), disclose)
        _rows.check_groups(cohort, cov_type, groups)

    def check_rows(y: Array | None, further: Mapping[str, Array]) -> None:  # noqa: ARG001  (any y will do)
        _rows.check_positive(further, "weights")

    with cohort.federation.analysis(_declaration(cov_type, groups, weights), disclose) as run:
        part = design.agree_design(
            run,
            cohort,
            formula,
            call=f"{cov_type=}, {groups=}, {weights=}, {missing=}",
            needs_response=True,
            missing=missing,
            check=check,
            further={"weights": weights},
            needed=() if groups is None else (groups,),
            check_rows=check_rows,
        )
        if not part.names:
            raise DataError(f"formula {formula!r} has no terms on its right")
        how = Weighting.none(len(part.X))
        if weights is not None:
            how = Weighting.of(run, weights, part.further["weights"])
        clusters = None if groups is None else _rows.Clusters.of(cohort, groups, part.rows)
        if disclose == "result":
            return _on_shares.fit_on_shares(run, part, cov_type, how, clusters)
        y = cast(Array, part.y)
        basis = _orthonormal.orthonormalise(
            run,
            part.X,
            part.names,
            y[:, np.newaxis],
            has_intercept=part.has_intercept,
            dropped=part.dropped,
            root=how.root,
        )
        return _fit(run, part, basis, cov_type, how, clusters)


def _declaration(cov_type: str, groups: str | None, weights: str | None) -> Declaration:
    """Return what such a fit reveals."""
    declaration = DECLARATION if cov_type == "nonrobust" else ROBUST_DECLARATION
    if groups is not None:
        declaration = CLUSTER_DECLARATION
    if weights is None:
        return declaration
    return Declaration(
        "wls",
        aggregate={**declaration.aggregate, **_weights.OPENED},
        result={**declaration.result, **_weights.OPENED},
        published=declaration.published,
    )


def _fit(
    run: Analysis,
    part: design.Design,
    basis: Orthonormal,
    cov_type: CovType,
    how: Weighting,
    clusters: _rows.Clusters | None,
) -> OLSResult:
    """Solve and open the residual sums, given the orthonormal basis."""
    n, p = basis.n, len(part.names)
    unit, centre = basis.frame.unit[0], basis.frame.centre[0]
    y_var = moments(np.array([float(n)]), basis.y_sums, basis.frame).var[0]

    # The response was centred. An intercept takes that up in the coefficients; without one it must be
    # undone before projecting.
    shift = 0.0 if part.has_intercept else centre / unit
    target = basis.Y[:, 0] + shift * how.root
    on_q = basis.projections[:, 0] + shift * basis.mean
    residuals = target - basis.Q @ on_q
    of_constant = None if part.has_intercept else how.root - basis.Q @ basis.mean
    of_clusters, count = None, None
    if clusters is not None:
        of_clusters, count = _rows.meat_of(run, residuals[:, np.newaxis] * basis.Q, clusters)
    ssr, correction, left, meat = _residual_sums(
        run, basis, residuals, of_constant, cov_type, cast("Array | None", of_clusters)
    )
    if meat is not None:
        meat = meat * _rows.small_sample(cov_type, n, p, count)
    on_q = on_q + correction
    ssr = max(ssr - n * float(correction @ correction), 0.0)
    spans_constant = left < _SPANNED
    if spans_constant and y_var == 0:
        raise EstimationError(
            f"the response {part.response_name!r} has the same value in all rows of all sites"
        )

    df_resid = n - p
    with np.errstate(over="ignore", invalid="ignore"):
        params = basis.solve(unit * on_q + (centre - shift * unit) * basis.mean)
        scale = unit * (unit * ssr / df_resid)
        root = basis.solve(np.eye(p))
        covariance = root @ (np.eye(p) * scale / n if meat is None else unit * (unit * meat)) @ root.T
    if not (np.isfinite(scale) and np.isfinite(covariance).all()):
        raise EstimationError(
            "squares of the response or variances of the estimates are beyond what floating-point numbers "
            "can hold: change the units of the columns"
        )
    matrix = (covariance + covariance.T) / 2
    tested = slice(1, None) if part.has_intercept else slice(None)
    testable = cov_type != "nonrobust" and p > spans_constant == part.has_intercept
    return OLSResult(
        **run.finish(),
        formula=part.coding.formula.text,
        response=str(part.response_name),
        cov_type=cov_type,
        params=pd.Series(params, index=list(part.names), name="coef"),
        nobs=n,
        n_missing=basis.dropped,
        df_resid=df_resid,
        k_constant=int(spans_constant),
        ssr=how.mean * scale * df_resid,
        centered_tss=how.mean * y_var * (n - 1),
        uncentered_tss=how.mean * (y_var * (n - 1) + n * (centre + unit * basis.y_sums[0, 0] / n) ** 2),
        condition_number=float(np.linalg.cond(basis.R)),
        bse=pd.Series(np.sqrt(np.diag(matrix)), index=list(part.names), name="std err"),
        covariance=matrix,
        wald=_equations.wald(matrix[tested, tested], params[tested]) if testable else None,
        coding=part.coding,
        weights=how.text,
        sum_log_weights=how.sum_log,
        clusters=count,
    )


def _residual_sums(
    run: Analysis,
    basis: Orthonormal,
    residuals: Array,
    of_constant: Array | None,
    cov_type: CovType,
    of_clusters: Array | None,
) -> tuple[float, Array, float, Array | None]:
    """Open the sums over residuals of the response and, without intercept, of a constant.

    Returns
    -------
    tuple
        Σr², Σqr/n, Σc²/n (0 with an intercept) and, for robust types, the covariance of the
        coefficients on Q.
    """
    n, p = basis.n, basis.Q.shape[1]
    constants = [] if of_constant is None else [np.array([of_constant @ of_constant])]
    sums = [np.array([residuals @ residuals]), basis.Q.T @ residuals, *constants]
    upper = np.triu_indices(p)
    if cov_type != "nonrobust":
        slack = 1.0 - np.einsum("ij,ij->i", basis.Q, basis.Q) / n
        saturated = slack < _LEVERAGE
        exponent = {"HC2": 1, "HC3": 2}.get(cov_type, 0)
        # Residuals of saturated rows are zero: they take no part in HC0 and HC1.
        weights = np.where(saturated, 0.0, residuals**2 / np.where(saturated, 1.0, slack) ** exponent)
        of_rows = basis.Q.T @ (weights[:, np.newaxis] * basis.Q)
        meat = of_rows if of_clusters is None else of_clusters
        sums += [meat[upper], np.array([float(saturated.sum())])]
    opened = run.sum("residuals", np.concatenate(sums))
    ssr, correction, rest = float(opened[0]), opened[1 : p + 1] / n, opened[p + 1 :]
    left = 0.0
    if of_constant is not None:
        left, rest = float(rest[0]) / n, rest[1:]
    if cov_type == "nonrobust":
        return ssr, correction, left, None
    if rest[-1] and cov_type in ("HC2", "HC3"):
        raise EstimationError(
            f"{cov_type} is not defined: {int(rest[-1])} rows determine a term alone (leverage 1); "
            "merge rare levels, or use HC1"
        )
    meat = np.zeros((p, p))
    meat[upper] = rest[:-1]
    return ssr, correction, left, (meat + np.triu(meat, 1).T) / n / n
