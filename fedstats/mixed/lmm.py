"""Linear mixed models of the rows of all sites, by (restricted) maximum likelihood.

A site's rows are independent of other sites' given the coefficients, so the likelihood at given variance
components is a function of pooled sums: of the cross-products that its random effects leave of each site
(`_blocks`), and of log-determinants. The variance components are found by Newton's method (`_maximum`). In
the aggregate mode the sums are opened at every step (`_profile`); in the result mode they stay shares, of
which only the next variance components are opened (`_profile_shares`), so that every site computes its part
for them exactly.

References
----------
D. Bates, M. Mächler, B. Bolker and S. Walker, "Fitting Linear Mixed-Effects Models Using lme4", Journal of
Statistical Software 67, 2015; C. Luo et al., "DLMM as a Lossless One-Shot Algorithm for Collaborative
Multi-Site Distributed Linear Mixed Models", Nature Communications 13, 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from fedstats import _frames, design
from fedstats._clusters import (
    CLUSTERS,
    CROSSING,
    check_groups,
    clusters_of,
    open_clusters,
    refuse_crossing,
)
from fedstats._moments import Frame
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.mixed._blocks import Blocks
from fedstats.mixed._components import SINGULAR, Components
from fedstats.mixed._maximum import minimise
from fedstats.mixed._profile import Likelihood, OpenLikelihood, Rows
from fedstats.mixed._profile_shares import SharedLikelihood
from fedstats.mixed._results import LMMResult

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

_PRODUCTS = (
    "cross-products of the columns and the response, weighted by the inverse of their covariance at the "
    "variance components of each step; log-determinants; derivatives of both"
)
DECLARATION = Declaration(
    "lmm",
    aggregate={
        **design.AGGREGATE,
        **_frames.AGGREGATE,
        **CLUSTERS,
        **CROSSING,
        "weighted products": _PRODUCTS,
    },
    result={
        **design.AGGREGATE,
        **_frames.RESULT,
        **CLUSTERS,
        **CROSSING,
        "variance parameters": "each step towards the variance components, as parts of the error variance",
        "gains": "after a step that is no shorter than half the last one: whether the likelihood fell",
        "fixed effects": "the coefficients",
        "error variance": "the sum of squares that it is made of",
        "variances": "of the coefficients, as parts of the error variance",
        "log-likelihood": "log-determinants, which with the error variance make the log-likelihood",
    },
    published=design.PUBLISHED,
)


def lmm(
    formula: str,
    cohort: Cohort,
    *,
    groups: str | None = None,
    local_groups: bool = False,
    slopes: Sequence[str] = (),
    site: bool = False,
    reml: bool = True,
    missing: design.Missing = "drop",
    disclose: Disclose = "result",
) -> LMMResult:
    """Fit a linear mixed model to the rows of all sites.

    Parameters
    ----------
    formula
        Response and fixed effects, as for `ols`.
    cohort
        The rows.
    groups
        Column of clusters, each within one site. By default each site is one cluster.
    local_groups
        Whether sites have numbered their clusters by themselves, so that equal values at two sites are two
        clusters. Otherwise a value that occurs at two sites is refused; which one it is, nobody is told.
    slopes
        Columns whose effect varies between clusters, besides the intercept; with all covariances.
    site
        Whether sites have an intercept of their own beside that of clusters within them.
    reml
        Restricted maximum likelihood, or maximum likelihood.
    missing
        As for `ols`.
    disclose
        ``"result"``: estimates are opened, with each step towards the variance components.
        ``"aggregate"``: weighted pooled cross-products are.

    Returns
    -------
    LMMResult
        Fixed effects, variance components, likelihood.

    Raises
    ------
    DataError
        The formula, or a column, cannot be used; says which and what to do.
    RemoteError
        The same at another site.
    EstimationError
        The design is singular, there are fewer than two clusters, one of them has rows at two sites, or there
        are too few rows.

    Notes
    -----
    Where the likelihood is largest at the boundary of what is possible, as with a variance of 0, the fit is
    `LMMResult.singular`, as in lme4.

    **Leakage.** Every site learns, of the rows of all sites together: how many are complete, and how many are
    not; the number of clusters, and that none has rows at two sites; coarse sums that locate the columns.
    ``"result"`` adds the variance components at each step, whether a long step made the likelihood fall, the
    coefficients and their variances, the error variance and the log-likelihood; nothing that these are made
    of. ``"aggregate"`` adds at each step cross-products of all columns, weighted by the inverse covariance of
    clusters, so every regression among them. Of each single site it is learnt which levels of the categorical
    columns occur there. A coalition of t sites learns nothing more with ``"result"``; with ``"aggregate"``
    the same sums over the other sites.

    Cost: for three sites, with ``"aggregate"`` 11 rounds and two a step, and with ``"result"`` some 350 and
    160 a step, and 120 more where a long step is compared; there are 5 to 10 steps as a rule. A step takes
    70·(p + 2)² bytes, or 4 kB·(p + 2)², for each of 1 + 2k + k² matrices, with p terms and k variance
    parameters. That no cluster has rows at two sites takes 50 rounds for 30 clusters at three sites, 75 for
    1,000, 90 for 3,000 and 300 for 30,000, and 1 to 1.5 kB for each cluster and site.

    Examples
    --------
    >>> fs.lmm("weight ~ time", cohort, groups="pig", slopes=["time"]).cov_re  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:

        def check() -> None:
            if isinstance(slopes, str):
                raise DataError(f"slopes is a list of columns: [{slopes!r}]")
            if site and groups is None:
                raise DataError("site=True adds an intercept of the site to that of clusters: give groups")
            check_groups(run, cohort, groups, local_groups)
            for name in slopes:
                cohort.schema.require_numeric(name)

        part = design.agree_design(
            run,
            cohort,
            formula,
            call=f"groups={groups!r}, local_groups={local_groups!r}, slopes={list(slopes)!r}, site={site!r}, "
            f"reml={reml!r}, missing={missing!r}",
            needs_response=True,
            missing=missing,
            check=check,
            needed=slopes if groups is None else (groups, *slopes),
        )
        if not part.names:
            raise DataError(f"formula {formula!r} has no terms on its right")
        n, n_missing = _frames.open_rows(run, len(part.X), part.dropped)
        cluster = clusters_of(cohort, groups, part.rows)
        n_groups = open_clusters(run, cluster, "the site" if groups is None else groups)
        if groups is not None and not local_groups:
            refuse_crossing(run, cohort.texts(groups)[part.rows], groups, n_groups)
        components = Components(1 + len(slopes), site)
        p, k = len(part.names), components.size
        if n <= p + k:
            raise EstimationError(f"{n} complete rows over all sites cannot determine {p + k} parameters")
        run.check_rows(n, p + k)

        first = int(part.has_intercept)
        varying = np.column_stack(
            [np.zeros((len(part.X), 0)), *(cohort.numbers(name)[part.rows] for name in slopes)]
        )
        columns = np.column_stack([part.X[:, first:], cast(Array, part.y), varying])
        names = (*part.names[first:], str(part.response_name), *slopes)
        frame = _frames.pooled_frame(run, columns, names, n)
        if not first:
            frame.centre[: p + 1] = 0.0
        framed = frame.apply(columns)
        X = np.column_stack([np.ones((len(framed), first)), framed[:, : p - first]])
        y, Z = framed[:, p - first], framed[:, p - first + 1 :]
        Z = np.column_stack([np.ones(len(Z)), Z])
        rows = Rows(Blocks.of(X, y, Z, cluster), components, part.names, n, reml)
        likelihood = OpenLikelihood if disclose == "aggregate" else SharedLikelihood
        model: Likelihood[Any] = likelihood(run, rows)
        theta, steps = minimise(model, components.start())
        terms, response, own = frame[: p - first], frame[p - first : p - first + 1], frame[p - first + 1 :]
        L = _to_terms(terms, first)
        found = model.fitted(theta, L)
        unit = float(response.unit[0])
        params = unit * (L @ found.beta)
        if first:
            params[0] += float(response.centre[0])
        # Variances are parts of that of the errors, which is in the square of the response's unit.
        scale = unit**2 * found.scale
        between = _to_terms(own, 1) @ components.factor(theta)
        deviance = rows.df * (np.log(2 * np.pi * scale) + 1) + found.logdets
        if reml:
            deviance += 2 * np.log(terms.unit).sum()
        labels = ["Intercept", *slopes]
        return LMMResult(
            **run.finish(),
            formula=part.coding.formula.text,
            groups=groups,
            reml=reml,
            params=pd.Series(params, index=list(part.names), name="coef"),
            variances=scale * found.variances,
            covariance=None if found.matrix is None else scale * found.matrix,
            cov_re=pd.DataFrame(scale * between @ between.T, index=labels, columns=labels),
            site_var=scale * float(theta[-1]) ** 2 if site else None,
            scale=scale,
            llf=-float(deviance) / 2,
            singular=bool((np.abs(theta[components.diagonal]) < SINGULAR).any()),
            nobs=n,
            n_missing=n_missing,
            n_groups=n_groups,
            steps=steps,
            coding=part.coding,
        )


def _to_terms(frame: Frame, intercept: int) -> Array:
    """Return the matrix that takes coefficients of framed columns to those of the columns."""
    matrix = np.diag(np.concatenate([np.ones(intercept), 1 / frame.unit]))
    if intercept:
        matrix[0, 1:] = -frame.centre / frame.unit
    return matrix
