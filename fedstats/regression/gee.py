"""Generalised estimating equations over the rows of all sites, with clusters within sites.

A step of Fisher's scoring solves one pooled system: a site contributes Σ D'V⁻¹D and Σ D'V⁻¹(y − μ) over its
clusters, whose rows it all holds. The working correlation is a moment of Pearson residuals, and follows from
two pooled sums before each step. Standard errors are the robust ones [1]_.

References
----------
.. [1] K.-Y. Liang, S. L. Zeger, "Longitudinal Data Analysis Using Generalized Linear Models", Biometrika 73,
   1986.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _frames, design
from fedstats._moments import Frame
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.regression._coefficients import CoefficientResult, to_terms
from fedstats.regression._equations import Recent, covariance, scalars, solve
from fedstats.regression._families import Family, family_of, link_of
from fedstats.regression._links import LINKS, Link

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

CovStruct: TypeAlias = Literal["independence", "exchangeable"]

_CLUSTERS = {"clusters": "the numbers of clusters, and of pairs of rows within them"}
_MOMENTS = {
    "moments": "at each step Σr² of the Pearson residuals r, and Σrr' over pairs of rows within clusters, "
    "from which scale and working correlation follow; how many clusters are too large for this"
}
DECLARATION = Declaration(
    "gee",
    aggregate={
        **design.AGGREGATE,
        **_frames.AGGREGATE,
        **_CLUSTERS,
        **_MOMENTS,
        "steps": "at each step Σ D'V⁻¹D and Σ D'V⁻¹(y − μ) over clusters",
        "covariance": "the first of these at the estimates, and Σss' of the clusters' terms s of the second",
    },
    result={
        **design.AGGREGATE,
        **_frames.RESULT,
        **_CLUSTERS,
        **_MOMENTS,
        "steps": "the change of the coefficients at each step, and whether its matrix is near to that of the "
        "one before",
        "covariance": "variances of the estimates",
    },
    published=design.PUBLISHED,
)

#: Steps end when coefficients change by less than this; the correlation has then settled too.
_TOLERANCE = 1e-10
_STEPS = 60
#: Coefficients of framed columns beyond this are on their way to infinity.
_LARGEST = 1e4


def gee(
    formula: str,
    cohort: Cohort,
    *,
    groups: str,
    family: str = "gaussian",
    link: str | None = None,
    alpha: float = 1.0,
    var_power: float = 1.5,
    cov_struct: CovStruct = "independence",
    missing: design.Missing = "drop",
    disclose: Disclose = "result",
) -> GEEResult:
    """Fit a marginal model of clustered rows by generalised estimating equations.

    Parameters
    ----------
    formula
        As for `ols`, with an intercept.
    cohort
        The rows, see `Federation.cohort`.
    groups
        Column of the clusters, such as a patient's number in a table of visits. A cluster lies within a
        site: equal values at two sites are two clusters. Rows where it is missing are left out.
    family, link, alpha, var_power
        As for `glm`.
    cov_struct
        Working correlation within clusters: none, or the same for all pairs.
    missing
        As for `ols`.
    disclose
        ``"result"``: coefficients are opened at every step; ``"aggregate"``: the pooled sums that they are
        made of.

    Returns
    -------
    GEEResult
        With the names of statsmodels' `GEE`, and its robust standard errors.

    Raises
    ------
    DataError
        The formula, or a column that it uses, cannot be used; says which and what to do.
    RemoteError
        The same at another site.
    EstimationError
        The design is singular, there are too few rows or clusters, or no convergence.

    Notes
    -----
    **Leakage.** Every site learns how many rows and clusters there are, and pairs of rows
    within them; scale and working correlation, and coefficients, at every step; and the variances of the
    estimates. In the aggregate mode also the sums that these are made of, over all sites together. Of each
    single site it learns which levels of the categorical columns occur there. A coalition of t sites learns
    the same of the other n − t.

    Cost: for three sites some 60 rounds a step in the result mode, and four in the aggregate mode.

    Examples
    --------
    >>> fs.gee("seizures ~ treat", cohort, groups="patient", family="poisson").bse  # doctest: +SKIP
    """
    chosen: list[tuple[Family, Link]] = []
    with cohort.federation.analysis(DECLARATION, disclose) as run:

        def check() -> None:
            its = family_of(family, alpha=alpha, var_power=var_power)
            chosen.append((its, link_of(its, link)))
            if cov_struct not in get_args(CovStruct):
                raise DataError(
                    f"cov_struct must be one of {', '.join(get_args(CovStruct))}, not {cov_struct!r}"
                )
            cohort.schema.require(groups)
            cohort.texts(groups)

        def check_rows(y: Array | None, _: Mapping[str, Array]) -> None:
            chosen[0][0].check(cast(Array, y), formula.split("~")[0].strip())

        part = design.agree_design(
            run,
            cohort,
            formula,
            call=f"{groups=}, {family=}, {link=}, {alpha=}, {var_power=}, {cov_struct=}, {missing=}",
            needs_response=True,
            missing=missing,
            check=check,
            needed=(groups,),
            check_rows=check_rows,
        )
        if not part.has_intercept or len(part.names) < 2:
            raise DataError(f"a model for gee has an intercept and terms: change {formula!r}")
        y, [(its, its_link)] = cast(Array, part.y), chosen
        n, dropped = _frames.open_rows(run, len(y), part.dropped)
        p = len(part.names)
        if n <= p:
            raise EstimationError(
                f"{n} complete rows over all sites cannot determine {p} terms: use fewer terms"
            )
        run.check_rows(n, p)
        both = np.column_stack([part.X[:, 1:], y])
        frame = _frames.pooled_frame(run, both, (*part.names[1:], str(part.response_name)), n)
        linear = family == "gaussian" and its_link.name == "identity"
        response = frame[p - 1 :] if linear else Frame(np.zeros(1), np.ones(1))
        rows = _Rows.of(
            np.column_stack([np.ones(len(y)), frame[: p - 1].apply(part.X[:, 1:])]),
            response.apply(y[:, np.newaxis])[:, 0],
            cohort.texts(groups)[part.rows],
            its,
            its_link,
            max(float(frame.centre[-1]), float(frame.unit[-1]) / 8),
        )
        clusters, pairs = run.sum("clusters", np.array([len(rows.sizes), rows.pairs])).tolist()
        if clusters <= p:
            raise EstimationError(f"{clusters} clusters over all sites are too few for {p} terms")
        if cov_struct == "exchangeable" and pairs <= p:
            raise EstimationError(
                f"{pairs} pairs of rows within clusters are too few for a correlation: use independence"
            )
        exchangeable = cov_struct == "exchangeable"
        recent = Recent()
        b, correlation, scale, steps = _scoring(
            run, rows, part.names, n, pairs if exchangeable else None, recent
        )
        unit, centre = float(response.unit[0]), float(response.centre[0])
        L = to_terms(frame[: p - 1], unit)
        params = L @ b
        params[0] += centre
        A, scores = rows.equations(b, correlation)
        meat = scores.T @ scores
        found = covariance(run, "covariance", A, part.names, meat=meat, combinations=L, recent=recent)
        return GEEResult(
            **run.finish(),
            formula=part.coding.formula.text,
            response=str(part.response_name),
            groups=groups,
            family=family,
            link=its_link.name,
            cov_struct=cov_struct,
            params=pd.Series(params, index=list(part.names), name="coef"),
            bse=pd.Series(np.sqrt(found.variances), index=list(part.names), name="std err"),
            nobs=n,
            n_missing=dropped,
            n_clusters=clusters,
            dep_params=correlation,
            scale=scale * unit**2 if its.has_scale else 1.0,
            iterations=steps,
            coding=part.coding,
        )


@dataclass(frozen=True, eq=False, repr=False)
class _Rows:
    """This site's framed rows, those of a cluster one after the other; its repr shows none.

    Attributes
    ----------
    Z, y
        Model matrix and response.
    starts, sizes
        Where clusters begin, and how many rows they have.
    family, link
        Of the responses.
    mean
        Roughly the mean response, to start from.
    """

    Z: Array
    y: Array
    starts: NDArray[np.intp]
    sizes: NDArray[np.intp]
    family: Family
    link: Link
    mean: float

    @classmethod
    def of(
        cls, Z: Array, y: Array, cluster: NDArray[np.object_], family: Family, link: Link, mean: float
    ) -> _Rows:
        codes, _ = pd.factorize(cluster)
        order = np.argsort(codes, kind="stable")
        sizes = np.bincount(codes).astype(np.intp)
        return cls(Z[order], y[order], np.cumsum(sizes) - sizes, sizes, family, link, mean)

    @property
    def pairs(self) -> int:
        """Pairs of rows within clusters."""
        return int((self.sizes * (self.sizes - 1) // 2).sum())

    def sums(self, x: Array) -> Array:
        """Return sums over the rows of each cluster."""
        return np.add.reduceat(x, self.starts, axis=0) if len(self.starts) else x[:0]

    def standardised(self, eta: Array) -> tuple[Array, Array]:
        """Return dμ/dη and residuals, both in units of standard deviations."""
        mu, slope, _ = self.link.to_means(eta)
        mu = self.family.clip(mu)
        deviation = np.sqrt(self.family.variance(mu)[0])
        return slope / deviation, (self.y - mu) / deviation

    def start(self) -> tuple[Array, Array]:
        """Return the weighted normal equations of the linear predictors that responses suggest."""
        eta = self.link.to_linear(self.family.start(self.y, self.mean))
        slope, residual = self.standardised(eta)
        D = self.Z * slope[:, np.newaxis]
        return D.T @ D, D.T @ (residual + eta * slope)

    def equations(self, b: Array, correlation: float) -> tuple[Array, Array]:
        """Return Σ D'V⁻¹D, and D'V⁻¹(y − μ) of each cluster, shape ``(clusters, p)``."""
        slope, residual = self.standardised(self.Z @ b)
        D = self.Z * slope[:, np.newaxis]
        of_d, of_residual = self.sums(D), self.sums(residual)
        rest = 1 - correlation
        shared = correlation / (rest * (1 + correlation * (self.sizes - 1)))
        A = D.T @ D / rest - (of_d.T * shared) @ of_d
        scores = self.sums(D * residual[:, np.newaxis]) / rest
        return A, scores - of_d * (shared * of_residual)[:, np.newaxis]

    def moments(self, b: Array, correlation: float) -> Array:
        """Return Σr², Σrr' over pairs within clusters, and how many clusters are too large for this."""
        residual = self.standardised(self.Z @ b)[1]
        squares = residual @ residual
        products = (np.square(self.sums(residual)).sum() - squares) / 2
        return np.array([squares, products, np.count_nonzero(correlation * (self.sizes - 1) <= -1)])


def _scoring(
    run: Analysis, rows: _Rows, names: tuple[str, ...], n: int, pairs: int | None, recent: Recent
) -> tuple[Array, float, float, int]:
    """Return coefficients, working correlation, scale and number of steps; without pairs, no correlation."""
    p = len(names)
    b = solve(run, "steps", *rows.start(), names, part=0, recent=recent)
    step = np.full(p, np.inf)
    correlation = 0.0
    for part in range(1, _STEPS):
        squares, products, too_large = scalars(run, "moments", rows.moments(b, correlation), part=part)
        scale = float(squares) / (n - p)
        if not scale > 0:
            raise EstimationError("the model predicts every response exactly: no variance can be estimated")
        if too_large:
            raise EstimationError(
                f"the working correlation {correlation:.3g} is impossible in clusters as large as these: use "
                "independence"
            )
        if pairs is not None:
            correlation = float(products) / scale / (pairs - p)
        if np.abs(step).max() < _TOLERANCE:
            return b, correlation, scale, part
        A, scores = rows.equations(b, correlation)
        step = solve(run, "steps", A, scores.sum(axis=0), names, part=part, recent=recent)
        b = b + step
        if not np.abs(b).max() < _LARGEST:
            break
    raise EstimationError(
        "the estimating equations did not converge: leave out terms that separate the response"
    )


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class GEEResult(CoefficientResult):
    """A marginal model of clustered rows, in the names of statsmodels; the same at every site.

    Attributes
    ----------
    groups, family, link, cov_struct
        What was asked for.
    n_clusters
        Of all sites.
    dep_params
        The working correlation; 0 for independence.
    scale
        Estimated dispersion; 1 for binomial, Poisson and negative binomial responses.
    iterations
        How many steps were taken.
    """

    groups: str
    family: str
    link: str
    cov_struct: CovStruct
    n_clusters: int
    dep_params: float
    scale: float
    iterations: int

    def _mean(self, linear: Array) -> Array:
        return LINKS[self.link].to_means(linear)[0]

    def summary(self) -> str:
        """Return the fit as text."""
        pairs: list[tuple[str, object]] = [
            ("Clusters", self.n_clusters),
            ("Family", self.family),
            ("Link", self.link),
            ("Working structure", self.cov_struct),
            ("Working correlation", self.dep_params),
            ("Scale", self.scale),
            ("Covariance", "robust"),
        ]
        return self._text(f"Generalised estimating equations: {self.formula}, by {self.groups}", pairs)
