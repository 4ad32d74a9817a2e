"""Ordinal regression over the rows of all sites: proportional odds, and ordered probit.

A response of ordered levels is at most its k-th level with probability F(θ_k − x'β), where F is the logistic
or the normal distribution and the thresholds θ increase [1]_. In β and θ the likelihood is concave [2]_, so
Newton's method finds its maximum as long as no step crosses two thresholds; these are public, so such a step
is shortened without asking the rows. Information and score are sums over rows, see `_newton`.

References
----------
.. [1] P. McCullagh, "Regression models for ordinal data", Journal of the Royal Statistical Society B 42,
   1980, 109–142.
.. [2] J. W. Pratt, "Concavity of the log likelihood", Journal of the American Statistical Association 76,
   1981, 103–106.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from scipy import special

from fedstats import design
from fedstats.disclosure import Disclose
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.formula import Coding
from fedstats.regression import _levels, _newton, _rows
from fedstats.regression._estimates import MaximumLikelihoodResult
from fedstats.regression._rows import Clusters, CovType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.design import Design

Distribution: TypeAlias = Literal["logit", "probit"]

DECLARATION, CLUSTER_DECLARATION = _levels.declarations("ordinal")

#: A probability is no smaller than this, so that its logarithm is finite.
_TINY = 1e-300


class _Shape(NamedTuple):
    """A symmetric distribution: its function, its quantiles, its density and the density's derivative."""

    cdf: Callable[[Array], Array]
    quantile: Callable[[Array], Array]
    density: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def _logistic(x: Array) -> Array:
    return np.asarray(special.expit(x) * special.expit(-x))


def _logistic_slope(x: Array) -> Array:
    return _logistic(x) * (special.expit(-x) - special.expit(x))


def _normal(x: Array) -> Array:
    return np.asarray(np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))


def _normal_slope(x: Array) -> Array:
    # Beyond 40 the density is 0; thresholds at infinity must not make it NaN.
    return -np.clip(x, -40, 40) * _normal(x)


_SHAPES: Mapping[str, _Shape] = {
    "logit": _Shape(special.expit, special.logit, _logistic, _logistic_slope),
    "probit": _Shape(special.ndtr, special.ndtri, _normal, _normal_slope),
}


@dataclass(frozen=True, eq=False, repr=False)
class _Grades:
    """This site's rows of the model: a `_newton.Likelihood` of slopes, then thresholds."""

    Z: Array
    codes: NDArray[np.intp]
    shape: _Shape
    names: tuple[str, ...]

    is_restricted = False

    @property
    def slopes(self) -> int:
        return int(self.Z.shape[1])

    def ends(self, params: Array) -> tuple[Array, Array, Array]:
        """Return what is below and above each row's response, in F's argument, and its probability."""
        eta = self.Z @ params[: self.slopes]
        thresholds = np.concatenate([[-np.inf], params[self.slopes :], [np.inf]])
        low, high = thresholds[self.codes] - eta, thresholds[self.codes + 1] - eta
        # By symmetry, both on the side where F does not round to 1.
        upper = low > 0
        a, b = np.where(upper, -high, low), np.where(upper, -low, high)
        return low, high, np.maximum(self.shape.cdf(b) - self.shape.cdf(a), _TINY)

    def moves(self) -> tuple[Array, Array]:
        """Return how both ends move with the parameters, shapes ``(rows, parameters)``."""
        p = len(self.names)
        columns = np.arange(p - self.slopes)
        at = self.codes[:, np.newaxis]
        return (
            np.hstack([-self.Z, (at - 1 == columns).astype(np.float64)]),
            np.hstack([-self.Z, (at == columns).astype(np.float64)]),
        )

    def scores(self, params: Array) -> Array:
        low, high, share = self.ends(params)
        by_low, by_high = self.moves()
        at_low, at_high = self.shape.density(low) / share, self.shape.density(high) / share
        return at_high[:, np.newaxis] * by_high - at_low[:, np.newaxis] * by_low

    def system(self, params: Array, *, near: bool) -> tuple[Array, Array]:  # noqa: ARG002  (it is concave)
        low, high, share = self.ends(params)
        by_low, by_high = self.moves()
        at_low, at_high = self.shape.density(low) / share, self.shape.density(high) / share
        bend_low, bend_high = self.shape.slope(low) / share, self.shape.slope(high) / share
        cross = by_low.T @ ((at_low * at_high)[:, np.newaxis] * by_high)
        A = (
            by_high.T @ ((at_high**2 - bend_high)[:, np.newaxis] * by_high)
            + by_low.T @ ((at_low**2 + bend_low)[:, np.newaxis] * by_low)
            - cross
            - cross.T
        )
        return A, by_high.T @ at_high - by_low.T @ at_low

    def rows(self, params: Array) -> Array:
        return np.log(self.ends(params)[2])

    def within(self, params: Array, step: Array) -> Array:
        """Return the step, halved until the thresholds increase."""
        while len(params) - self.slopes > 1 and (np.diff((params + step)[self.slopes :]) <= 0).any():
            step = step / 2
        return step


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class OrdinalResult(MaximumLikelihoodResult):
    """A fitted ordinal regression; the same at every site.

    ``params`` are the slopes by term, and then the thresholds, named ``"low/high"`` by the levels between
    which they lie; as R's ``polr`` has them. statsmodels' OrderedModel has the first threshold and the
    logarithms of the differences instead.

    Attributes
    ----------
    levels
        Of the response, from low to high.
    link
        ``"logit"`` or ``"probit"``.
    coding
        How rows are coded, for `predict`.
    """

    levels: tuple[str, ...]
    link: Distribution
    coding: Coding = field(repr=False)

    @property
    def df_model(self) -> int:
        """Model degrees of freedom: slopes."""
        return len(self.params) - (len(self.levels) - 1)

    @property
    def thresholds(self) -> pd.Series[float]:
        """The thresholds alone."""
        return self.params.iloc[self.df_model :]

    def _of_terms(self) -> pd.Series[float]:
        return self.params.iloc[: self.df_model]

    def ratios(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return odds ratios of a higher level, with confidence intervals of level 1 − alpha.

        Returns
        -------
        pandas.DataFrame
            By term: columns ``ratio``, ``lower``, ``upper``, ``pvalue``.

        Raises
        ------
        ValueError
            The link is not logit.
        """
        if self.link != "logit":
            raise ValueError(f"exponentials of estimates mean nothing with the link {self.link!r}")
        return self._ratios(alpha).iloc[: self.df_model]

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Predict the probability of each level for rows of this site; nothing is sent.

        Parameters
        ----------
        frame
            Has every column on the right of the formula.

        Returns
        -------
        pandas.DataFrame
            A column for each level; NaN where a column of the frame is missing.
        """
        positions, X = design.code_new_rows(self.coding, frame)
        estimates = np.asarray(self.params, np.float64)
        eta = X[:, 1:] @ estimates[: self.df_model]
        below = _SHAPES[self.link].cdf(estimates[self.df_model :] - eta[:, np.newaxis])
        shares = np.full((len(frame), len(self.levels)), np.nan)
        shares[positions] = np.diff(below, axis=1, prepend=0.0, append=1.0)
        return pd.DataFrame(shares, index=frame.index, columns=list(self.levels))

    def _title(self) -> str:
        return "Ordinal regression"

    def _facts(self) -> list[tuple[str, object]]:
        return [("Levels", " < ".join(self.levels)), ("Link", self.link), ("Pseudo R²", self.prsquared)]


def ordinal(
    formula: str,
    cohort: Cohort,
    *,
    link: Distribution = "logit",
    cov_type: CovType = "nonrobust",
    groups: str | None = None,
    missing: design.Missing = "drop",
    maxiter: int = 50,
    disclose: Disclose = "result",
) -> OrdinalResult:
    """Fit an ordinal regression to the rows of all sites by maximum likelihood.

    Parameters
    ----------
    formula
        ``"response ~ terms"``, see `ols`. The response is a column, whose values are taken as ordered
        categories: numbers by size, others in the order in which their levels were declared by
        ``federation.cohort(…, levels=)``, or that of a categorical dtype if it is the same at every site.
    cohort
        The rows, see `Federation.cohort`.
    link
        ``"logit"`` for proportional odds, ``"probit"`` for the normal distribution.
    cov_type, groups, missing, maxiter, disclose
        See `glm`.

    Returns
    -------
    OrdinalResult
        With the names of statsmodels' results.

    Raises
    ------
    DataError, RemoteError, EstimationError
        As `glm`; or the levels have no order, or one of them has no row.

    Notes
    -----
    **Leakage.** As of `glm`, but instead of the sum of the response how many rows of all sites have each of
    its levels. Of each single site: which levels of the response and of other categorical columns occur.

    Cost: with ``"aggregate"`` 14 rounds and two for each iteration; with ``"result"``, for three sites,
    about 130 rounds and 20 for each iteration, 45 more where the information changes by half.

    Examples
    --------
    >>> fit = fs.ordinal("pain ~ age + C(arm)", cohort)  # doctest: +SKIP
    >>> fit.ratios()  # doctest: +SKIP
    """
    declaration = DECLARATION if groups is None else CLUSTER_DECLARATION
    with cohort.federation.analysis(declaration, disclose) as run:
        part = _levels.agree(
            run,
            cohort,
            formula,
            cov_type=cov_type,
            groups=groups,
            missing=missing,
            maxiter=maxiter,
            link=link,
            links=tuple(_SHAPES),
        )
        if len(part.names) == 1:
            raise DataError(f"formula {formula!r} has no terms on its right")
        clusters = None if groups is None else Clusters.of(cohort, groups, part.rows)
        return _fit(run, part, link, cov_type, clusters, maxiter)


def _fit(
    run: Analysis,
    part: Design,
    link: Distribution,
    cov_type: CovType,
    clusters: Clusters | None,
    maxiter: int,
) -> OrdinalResult:
    cuts = [f"{low}/{high}" for low, high in pairwise(part.levels)]
    names = (*part.names[1:], *cuts)
    slopes = len(part.names) - 1
    matrix = _rows.framed(run, part, parameters=len(names))
    codes, counted = _levels.counts(run, part)
    shape = _SHAPES[link]
    rows = _Grades(matrix.Z[:, 1:], codes, shape, names)
    start = np.concatenate([np.zeros(slopes), shape.quantile(np.cumsum(counted)[:-1] / matrix.n)])
    found = _newton.maximise(run, rows, start, maxiter=maxiter, parts=count())
    to_terms = np.eye(len(names))
    to_terms[:slopes, :slopes] = matrix.to_terms[1:, 1:]
    to_terms[slopes:, :slopes] = -matrix.to_terms[0, 1:]  # thresholds take the frame's centres up
    covariance = _rows.robust_covariance(
        run,
        matrix,
        rows.system(found.params, near=True)[0],
        names,
        scores=None if cov_type == "nonrobust" else rows.scores(found.params),
        clusters=clusters,
        combinations=to_terms,
        recent=found.recent,
        sums={"fit": np.array([rows.rows(found.params).sum()])},
    )
    return OrdinalResult(
        **run.finish(),
        formula=part.coding.formula.text,
        response=str(part.response_name),
        cov_type=cov_type,
        params=pd.Series(to_terms @ found.params, index=list(names), name="coef"),
        bse=pd.Series(np.sqrt(covariance.variances), index=list(names), name="std err"),
        nobs=matrix.n,
        n_missing=matrix.dropped,
        llf=float(covariance.sums["fit"][0]),
        llnull=float(special.xlogy(counted, counted / matrix.n).sum()),
        iterations=found.iterations,
        covariance=covariance.matrix,
        levels=part.levels,
        link=link,
        coding=part.coding,
    )
