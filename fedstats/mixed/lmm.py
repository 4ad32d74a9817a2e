"""Linear mixed models of the rows of all sites, by (restricted) maximum likelihood.

A site's rows are independent of other sites' given the coefficients, so the likelihood at given variance
components is a function of pooled sums: of the cross-products that its random effects leave of each site
(`_blocks`), and of log-determinants. They are opened at every step of Newton's method (`_maximum`), with
their derivatives: as in `ols`, every regression among the columns follows from them, and nothing of a single
cluster or site.

References
----------
D. Bates, M. Mächler, B. Bolker and S. Walker, "Fitting Linear Mixed-Effects Models Using lme4", Journal of
Statistical Software 67, 2015; C. Luo et al., "DLMM as a Lossless One-Shot Algorithm for Collaborative
Multi-Site Distributed Linear Mixed Models", Nature Communications 13, 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _frames, design
from fedstats._complete import complete_rows
from fedstats._moments import Frame
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.mixed._blocks import Blocks, Complex
from fedstats.mixed._clusters import CLUSTERS, clusters_of, open_clusters
from fedstats.mixed._maximum import minimise
from fedstats.mixed._results import LMMResult
from fedstats.regression._cholesky import cholesky

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "lmm",
    aggregate={
        **design.AGGREGATE,
        **_frames.AGGREGATE,
        **CLUSTERS,
        "weighted products": "cross-products of the columns and the response, weighted by the inverse of "
        "their covariance at the variance components of each step; log-determinants; derivatives of both",
    },
    published=design.PUBLISHED,
)


def lmm(
    formula: str,
    cohort: Cohort,
    *,
    groups: str | None = None,
    slopes: Sequence[str] = (),
    site: bool = False,
    reml: bool = True,
    missing: design.Missing = "drop",
    disclose: Disclose = "aggregate",
) -> LMMResult:
    """Fit a linear mixed model to the rows of all sites.

    Parameters
    ----------
    formula
        Response and fixed effects, as for `ols`.
    cohort
        The rows.
    groups
        Column of clusters, each within one site: the same value at two sites means two clusters. By default
        each site is one cluster.
    slopes
        Columns whose effect varies between clusters, besides the intercept; with all covariances.
    site
        Whether sites have an intercept of their own beside that of clusters within them.
    reml
        Restricted maximum likelihood, or maximum likelihood.
    missing
        As for `ols`.
    disclose
        ``"aggregate"``, the one mode: weighted pooled cross-products are opened to every site.

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
        The design is singular, there are fewer than two clusters, or too few rows.

    Notes
    -----
    **Leakage.** Every site learns, of the rows of all sites together: how many are complete, and how many are
    not; the number of clusters; coarse sums that locate the columns; and at each step cross-products of all
    columns, weighted by the inverse covariance of clusters, so every regression among them. Of each single
    site it learns which levels of the categorical columns occur there. A coalition of t sites learns the same
    sums over the other sites.

    Cost: 9 rounds and two a step, some 10 as a rule; 140·(p + 2)² bytes for each of (2k + 1)·k points of a
    step, with p terms and k variance parameters.

    Examples
    --------
    >>> fs.lmm("weight ~ time", cohort, groups="pig", slopes=["time"]).cov_re  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:

        def check() -> NDArray[np.bool_]:
            if isinstance(slopes, str):
                raise DataError(f"slopes is a list of columns: [{slopes!r}]")
            if site and groups is None:
                raise DataError("site=True adds an intercept of the site to that of clusters: give groups")
            return complete_rows(cohort, [groups, *slopes], missing, numeric=slopes)

        part = design.agree_design(
            run,
            cohort,
            formula,
            call=f"groups={groups!r}, slopes={list(slopes)!r}, site={site!r}, reml={reml!r}, "
            f"missing={missing!r}",
            needs_response=True,
            missing=missing,
            check=check,
        )
        if not part.names:
            raise DataError(f"formula {formula!r} has no terms on its right")
        n, n_missing = _frames.open_rows(run, len(part.X), len(cohort) - len(part.X))
        cluster = clusters_of(cohort, groups, part.rows)
        n_groups = open_clusters(run, cluster, "the site" if groups is None else groups)
        p, k = len(part.names), (len(slopes) + 1) * (len(slopes) + 2) // 2 + site
        if n <= p + k:
            raise EstimationError(f"{n} complete rows over all sites cannot determine {p + k} parameters")

        intercept = int(part.has_intercept)
        varying = np.column_stack(
            [np.zeros((len(part.X), 0)), *(cohort.numbers(name)[part.rows] for name in slopes)]
        )
        columns = np.column_stack([part.X[:, intercept:], cast(Array, part.y), varying])
        names = (*part.names[intercept:], str(part.response_name), *slopes)
        frame = _frames.pooled_frame(run, columns, names, n)
        if not intercept:
            frame.centre[: p + 1] = 0.0
        framed = frame.apply(columns)
        X = np.column_stack([np.ones((len(framed), intercept)), framed[:, : p - intercept]])
        y, Z = framed[:, p - intercept], framed[:, p - intercept + 1 :]
        Z = np.column_stack([np.ones(len(Z)), Z])
        model = _Likelihood(run, Blocks.of(X, y, Z, cluster), n, part.names, Z.shape[1], site, reml)
        start = np.zeros(k)
        start[model.diagonal] = 1.0
        theta, _, _, steps = minimise(model, start)
        found = model.at(theta, steps)
        return _result(run, part, frame, found, model, n, n_missing, n_groups, groups, list(slopes))


@dataclass(frozen=True, eq=False, repr=False)
class _Fitted:
    """Estimates in the frame, given the variance components."""

    beta: Array
    covariance: Array
    scale: float
    factor: Array
    site: float
    criterion: float


@dataclass(eq=False, repr=False)
class _Likelihood:
    """−2 log likelihood as a function of the entries of Λ and τ, the error variance profiled out."""

    run: Analysis
    blocks: Blocks
    n: int
    names: tuple[str, ...]
    q: int
    has_site: bool
    reml: bool

    def __post_init__(self) -> None:
        self._lower = np.tril_indices(self.q)

    @property
    def diagonal(self) -> NDArray[np.intp]:
        """Positions of the diagonal of Λ, and of τ, among the parameters."""
        on = np.flatnonzero(self._lower[0] == self._lower[1])
        return np.append(on, len(self._lower[0])) if self.has_site else on

    @property
    def df(self) -> int:
        """Rows, less the terms for restricted likelihoods."""
        return self.n - len(self.names) if self.reml else self.n

    def __call__(self, points: Complex, number: int) -> Complex:
        """Return the criterion at points; see `_maximum.Pooled`."""
        pooled = self._pooled(points, number)
        if number == 0:
            p = len(self.names)
            cholesky(np.asarray(pooled[0][0].real[:p, :p]), self.names)  # names columns that are combinations
        return np.array([self._criterion(*sums)[0] for sums in pooled])

    def at(self, theta: Array, number: int) -> _Fitted:
        """Return the estimates at real parameters. One sum."""
        [(products, logdet)] = self._pooled(theta[np.newaxis].astype(np.complex128), number)
        p = len(self.names)
        criterion, scale, beta = self._criterion(products, logdet)
        factor = cholesky(np.asarray(products.real[:p, :p]), self.names)
        inverse = np.linalg.solve(factor, np.eye(p))
        matrix, site = self._components(theta)
        return _Fitted(
            beta.real,
            inverse @ inverse.T * scale.real,
            float(scale.real),
            matrix.real,
            float(np.real(site)),
            float(criterion.real),
        )

    def _components(self, theta: Complex | Array) -> tuple[Complex, complex]:
        size = len(self._lower[0])
        matrix = np.zeros((self.q, self.q), np.complex128)
        matrix[self._lower] = theta[:size]
        return matrix, complex(theta[size]) if self.has_site else 0j

    def _pooled(self, points: Complex, number: int) -> list[tuple[Complex, complex]]:
        """Open the weighted cross-products and log-determinants at points."""
        p = len(self.names)
        upper = np.triu_indices(p + 1)
        own = []
        for point in points:
            products, logdet = self.blocks.absorbed(*self._components(point))
            own.append(np.append(products[upper], logdet))
        values = np.array(own)
        # Imaginary parts are tiny derivatives; they are summed in a unit of their own.
        unit = np.abs(points.imag).max()
        derivative = values.imag / unit if unit else values.imag
        real, imaginary = self.run.sum("weighted products", np.stack([values.real, derivative]), part=number)
        pooled = real + 1j * unit * imaginary
        rebuilt = []
        for row in pooled:
            matrix = np.zeros((p + 1, p + 1), np.complex128)
            matrix[upper] = row[:-1]
            rebuilt.append((matrix + np.triu(matrix, 1).T, complex(row[-1])))
        return rebuilt

    def _criterion(self, products: Complex, logdet: complex) -> tuple[complex, complex, Complex]:
        """Return −2 log likelihood, the error variance and the coefficients."""
        p = len(self.names)
        A, b = products[:p, :p], products[:p, p]
        beta = np.linalg.solve(A, b)
        scale = (products[p, p] - b @ beta) / self.df
        value = self.df * (np.log(2 * np.pi * scale) + 1) + logdet
        if self.reml:
            value += np.log(np.linalg.det(A / self.n)) + p * np.log(self.n)
        return complex(value), complex(scale), np.asarray(beta, np.complex128)


def _result(
    run: Analysis,
    part: design.Design,
    frame: Frame,
    found: _Fitted,
    model: _Likelihood,
    n: int,
    n_missing: int,
    n_groups: int,
    groups: str | None,
    slopes: list[str],
) -> LMMResult:
    """Return the estimates in the units of the columns."""
    p, intercept = len(part.names), int(part.has_intercept)
    terms = slice(0, p - intercept)
    unit, centre = frame.unit[p - intercept], frame.centre[p - intercept]
    unframing = np.diag(np.concatenate([np.ones(intercept), 1 / frame.unit[terms]]))
    if intercept:
        unframing[0, 1:] = -frame.centre[terms] / frame.unit[terms]
    params = unit * (unframing @ found.beta)
    if intercept:
        params[0] += centre
    varying = slice(p - intercept + 1, None)
    moved = np.diag(np.concatenate([[1.0], 1 / frame.unit[varying]]))
    moved[0, 1:] = -frame.centre[varying] / frame.unit[varying]
    between = moved @ found.factor
    labels = ["Intercept", *slopes]
    criterion = found.criterion + 2 * model.df * np.log(unit)
    if model.reml:
        criterion += 2 * np.log(frame.unit[terms]).sum()
    return LMMResult(
        **run.finish(),
        formula=part.coding.formula.text,
        groups=groups,
        reml=model.reml,
        params=pd.Series(params, index=list(part.names), name="coef"),
        covariance=unit**2 * unframing @ found.covariance @ unframing.T,
        cov_re=pd.DataFrame(unit**2 * found.scale * between @ between.T, index=labels, columns=labels),
        site_var=unit**2 * found.scale * found.site**2 if model.has_site else None,
        scale=unit**2 * found.scale,
        llf=-criterion / 2,
        nobs=n,
        n_missing=n_missing,
        n_groups=n_groups,
        coding=part.coding,
    )
