"""Logistic regression with a random intercept, of the rows of all sites, by Laplace's approximation.

Given the coefficients and the standard deviation of the intercepts, clusters are independent, so the
approximated log-likelihood is a sum over clusters, each of which lies within one site (`_laplace`). It is
maximised by Newton's method like the likelihood of any other model (`regression._newton`).

References
----------
N. E. Breslow and D. G. Clayton, "Approximate Inference in Generalized Linear Mixed Models", JASA 88, 1993.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from fedstats import design
from fedstats._clusters import (
    CLUSTERS,
    CROSSING,
    check_groups,
    clusters_of,
    open_clusters,
    refuse_crossing,
)
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.mixed._components import SINGULAR
from fedstats.mixed._laplace import Laplace
from fedstats.mixed._results import GLMMResult
from fedstats.regression import _newton, _rows
from fedstats.regression._equations import covariance, scalars

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

_OPENED = {
    **CLUSTERS,
    **CROSSING,
    "responses": "the number of rows whose response is 1",
    "log-likelihood": "of the model",
}
DECLARATION = Declaration(
    "glmm",
    aggregate={**design.AGGREGATE, **_rows.AGGREGATE, **_newton.AGGREGATE, **_OPENED},
    result={**design.AGGREGATE, **_rows.RESULT, **_newton.RESULT, **_OPENED},
    published=design.PUBLISHED,
)


def glmm(
    formula: str,
    cohort: Cohort,
    *,
    groups: str | None = None,
    local_groups: bool = False,
    missing: design.Missing = "drop",
    maxiter: int = 50,
    disclose: Disclose = "result",
) -> GLMMResult:
    """Fit a logistic regression with a random intercept to the rows of all sites.

    Parameters
    ----------
    formula
        Response, of values 0 and 1 or truth values, and fixed effects, as for `ols`.
    cohort
        The rows.
    groups
        Column of clusters, each within one site. By default each site is one cluster.
    local_groups
        Whether sites have numbered their clusters by themselves, so that equal values at two sites are two
        clusters. Otherwise a value that occurs at two sites is refused; which one it is, nobody is told.
    missing
        As for `ols`.
    maxiter
        Most steps of Newton's method.
    disclose
        ``"result"``: estimates are opened at every step, and their variances. ``"aggregate"``: the pooled
        sums that they are made of.

    Returns
    -------
    GLMMResult
        Fixed effects, variance of the intercepts, likelihood.

    Raises
    ------
    DataError
        The formula, or a column, cannot be used; says which and what to do.
    RemoteError
        The same at another site.
    EstimationError
        There are fewer than two clusters, one of them has rows at two sites, all responses are the same, or
        the estimates are infinite or do not converge.

    Notes
    -----
    Laplace's approximation is that of lme4's `glmer`; standard errors are from second derivatives with the
    standard deviation of the intercepts among the parameters. Where that is 0, the fit is
    `GLMMResult.singular`.

    **Leakage.** Every site learns, of the rows of all sites together: how many are complete, and how many are
    not; the number of clusters, and that none has rows at two sites; how many responses are 1; coarse sums
    that locate the columns; the estimates at every step, their variances and the log-likelihood.
    ``"aggregate"`` adds the first and second derivatives of the log-likelihood at every step. Of each single
    site it is learnt which levels of the categorical columns occur there. A coalition of t sites learns
    nothing more with ``"result"``; with ``"aggregate"`` the same of the other sites.

    Cost: for three sites, with ``"aggregate"`` 18 rounds and two a step, and with ``"result"`` some 220 and
    90 a step; there are 6 to 8 steps as a rule. That no cluster has rows at two sites takes 50 rounds
    for 30 clusters at three sites, 75 for 1,000, 90 for 3,000 and 300 for 30,000, and 1 to 1.5 kB for each
    cluster and site.

    Examples
    --------
    >>> fs.glmm("died ~ age + arm", cohort, groups="ward").params  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:

        def check() -> None:
            _rows.check_maxiter(maxiter)
            check_groups(run, cohort, groups, local_groups)

        def check_rows(y: Array | None, _: Mapping[str, Array]) -> None:
            other = int(np.count_nonzero((y != 0) & (y != 1)))
            if other:
                raise DataError(
                    f"the response {formula.split('~')[0].strip()!r} is neither 0 nor 1 in {other} rows of "
                    "this site: code it so"
                )

        part = design.agree_design(
            run,
            cohort,
            formula,
            call=f"groups={groups!r}, local_groups={local_groups!r}, missing={missing!r}, "
            f"maxiter={maxiter!r}",
            needs_response=True,
            missing=missing,
            check=check,
            check_rows=check_rows,
            needed=() if groups is None else (groups,),
        )
        if not part.names:
            raise DataError(f"formula {formula!r} has no terms on its right")
        y = cast(Array, part.y)
        p = len(part.names)
        matrix = _rows.framed(run, part, parameters=p + 1)
        cluster = clusters_of(cohort, groups, part.rows)
        n_groups = open_clusters(run, cluster, "the site" if groups is None else groups)
        if groups is not None and not local_groups:
            refuse_crossing(run, cohort.texts(groups)[part.rows], groups, n_groups)
        ones = int(run.sum("responses", np.array([np.count_nonzero(y)]))[0])
        if ones in (0, matrix.n):
            raise EstimationError(f"the response {part.response_name!r} is the same in all rows of all sites")
        start = np.append(np.zeros(p), 1.0)
        if part.has_intercept:
            start[0] = np.log(ones / (matrix.n - ones))
        model = Laplace.of(matrix.Z, y, cluster, part.names)
        found = _newton.maximise(run, model, start, maxiter=maxiter, parts=count())
        information, _ = model.system(found.params, near=True)
        to_terms = np.column_stack([matrix.to_terms, np.zeros(p)])
        errors = covariance(run, "covariance", information, model.names, combinations=to_terms)
        loglik = scalars(run, "log-likelihood", np.array([model.rows(found.params).sum()]))
        deviation = float(found.params[-1])
        return GLMMResult(
            **run.finish(),
            formula=part.coding.formula.text,
            groups=groups,
            params=pd.Series(to_terms @ found.params, index=list(part.names), name="coef"),
            variances=errors.variances,
            covariance=errors.matrix,
            cov_re=pd.DataFrame([[deviation**2]], index=["Intercept"], columns=["Intercept"]),
            llf=float(loglik[0]),
            singular=abs(deviation) < SINGULAR,
            nobs=matrix.n,
            n_missing=matrix.dropped,
            n_groups=n_groups,
            steps=found.iterations,
            coding=part.coding,
        )
