"""Factor analysis by maximum likelihood, of the rows of all sites.

The likelihood of a model with q factors, R = ΛΛ' + Ψ, is a function of the pooled correlations R alone. For
given uniquenesses Ψ the best loadings Λ follow from the q largest eigenvalues of Ψ^(−½)·R·Ψ^(−½), so that the
search is for the uniquenesses [1]_: a quasi-Newton method comes near them, and Newton's ends there. All of
this is public, once the correlations are.

There is no result mode. Loadings come out of dozens of eigenvalue problems one after the other, each of some
500 rounds a factor on shares; and were the steps opened, as those of a regression are, each would tell
another function of the correlations, and a few of them the correlations.

References
----------
.. [1] K. G. Jöreskog, "Some Contributions to Maximum Likelihood Factor Analysis", Psychometrika 32, 1967.
.. [2] H. F. Kaiser, "The Varimax Criterion for Analytic Rotation in Factor Analysis", Psychometrika 23, 1958.
.. [3] M. S. Bartlett, "Tests of Significance in Factor Analysis", British Journal of Psychology 3, 1950.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import pandas as pd
from scipy import optimize, stats

from fedstats import _frames, _plot, _table
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.multivariate._columns import (
    COVARIANCES,
    PUBLISHED,
    agree_columns,
    open_covariance,
    own_values,
)
from fedstats.regression._cholesky import cholesky
from fedstats.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.cohort import Cohort

Rotation: TypeAlias = Literal["varimax"]

DECLARATION = Declaration(
    "factor_analysis", aggregate={**_frames.AGGREGATE, **COVARIANCES}, published=PUBLISHED
)

#: Smallest uniqueness, as in R: at it a column is nearly its factors' alone (a Heywood case).
SMALLEST = 0.005
#: Most steps of Newton's method, and the change of a uniqueness's logarithm at which they end.
_STEPS, _CONVERGED = 50, 1e-12
#: Most rotations of all factors, and the change of one at which they end.
_ROTATIONS, _ROTATED = 10_000, 1e-13


def factor_analysis(
    cohort: Cohort,
    columns: Sequence[str],
    n_factors: int,
    *,
    rotation: Rotation | None = "varimax",
    n_starts: int = 1,
    disclose: Disclose = "aggregate",
) -> FactorAnalysisResult:
    """Fit a model of common factors to columns over the rows of all sites, by maximum likelihood.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`. Rows with a missing value in a column are left out.
    columns
        Three or more numeric columns. Their scales are of no account.
    n_factors
        How many factors: so many at most that the model has no more parameters than there are correlations.
    rotation
        ``"varimax"``, with Kaiser's normalisation [2]_; or None: factors are then those of decreasing
        canonical correlation with the columns.
    n_starts
        How many times uniquenesses are searched for: first from R's start, then from random ones, the same at
        every site. The best estimates count. One search finds the maximum nearby, of which there may be
        several.
    disclose
        ``"aggregate"``, the only mode: the pooled covariances are opened. Loadings would tell most of them.

    Returns
    -------
    FactorAnalysisResult
        Loadings, uniquenesses, the test that so many factors are enough; scores of own rows by `transform`.
        In the order and with the signs of R's ``factanal``.

    Raises
    ------
    DataError
        A column cannot be used, or there are too many factors for so many columns.
    RemoteError
        The same at another site.
    EstimationError
        A column is constant, or a combination of others; there are too few rows; the estimates do not
        converge.

    Notes
    -----
    **Leakage.** Every site learns, of the rows of all sites together: how many are complete, and how many are
    not; sums, and sums of squares and of products, of the columns, from which means and covariances follow. A
    coalition of t sites learns the same of the other sites.

    **Cost.** 10 rounds, and 140·p² bytes for p columns.

    Examples
    --------
    >>> fs.factor_analysis(cohort, ["pain", "sleep", "mood", "energy", "worry"], 2).loadings  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:

        def check() -> None:
            if rotation not in (None, "varimax"):
                raise DataError(f"rotation is 'varimax' or None, not {rotation!r}")
            for name, number in {"n_factors": n_factors, "n_starts": n_starts}.items():
                if type(number) is not int or number < 1:
                    raise DataError(f"{name} is a whole number from 1")
            if not isinstance(columns, str) and not _is_determined(len(columns), n_factors):
                raise DataError(f"{len(columns)} columns do not determine {n_factors} factors: use fewer")

        call = f"n_factors={n_factors!r}, rotation={rotation!r}, n_starts={n_starts!r}"
        part = agree_columns(run, cohort, columns, call=call, check=check)
        mean, covariance = open_covariance(run, part)
        spread = np.sqrt(np.diag(covariance))
        R = covariance / np.outer(spread, spread)
        cholesky(R, part.names, singular="the columns' correlations are singular")
        uniquenesses, loadings, misfit = _fitted(R, n_factors, n_starts)
        if rotation == "varimax" and n_factors > 1:
            loadings = _varimax(loadings)
        p, df = len(part.names), _freedom(len(part.names), n_factors)
        # Bartlett's correction of the likelihood ratio [3]_.
        statistic = (part.n - 1 - (2 * p + 5) / 6 - 2 * n_factors / 3) * misfit
        names, columns_ = [f"Factor{number + 1}" for number in range(n_factors)], list(part.names)
        return FactorAnalysisResult(
            **run.finish(),
            rotation=rotation,
            loadings=pd.DataFrame(_in_order(loadings), columns_, pd.Index(names, name="factor")),
            uniquenesses=pd.Series(uniquenesses, columns_, name="uniqueness"),
            statistic=float(statistic),
            df=df,
            pvalue=float(stats.chi2.sf(statistic, df)) if df else np.nan,
            correlations=pd.DataFrame(R, columns_, columns_),
            mean=pd.Series(part.frame.centre + part.frame.unit * mean, columns_, name="mean"),
            std=pd.Series(part.frame.unit * spread, columns_, name="std"),
            nobs=part.n,
            n_missing=part.n_missing,
        )


# --- Estimates ----------------------------------------------------------------------------------------


def _is_determined(columns: int, factors: int) -> bool:
    # The degrees of freedom are a parabola: beyond as many factors as columns, there are some again.
    return factors < columns and _freedom(columns, factors) >= 0


def _freedom(columns: int, factors: int) -> int:
    """Return the correlations that are left when parameters have been fitted."""
    return ((columns - factors) ** 2 - columns - factors) // 2


def _fitted(R: Array, q: int, starts: int) -> tuple[Array, Array, float]:
    """Return uniquenesses, loadings, and the least −2·log likelihood for each row, less that of R itself."""
    p, random = len(R), np.random.default_rng(0)
    first = (1 - q / (2 * p)) / np.diag(np.linalg.inv(R))
    found = [_searched(R, q, first)]
    found += [_searched(R, q, random.uniform(SMALLEST, 1.0, p)) for _ in range(1, starts)]
    value, x = min(
        ((value, x) for value, x in found if x is not None), key=itemgetter(0), default=(0.0, None)
    )
    if x is None:
        raise EstimationError(
            f"the estimates with {q} factors do not converge: use fewer, more n_starts, or columns that are "
            "correlated more"
        )
    root = np.exp(x / 2)
    values, vectors = np.linalg.eigh(R / np.outer(root, root))
    scale = np.sqrt(np.maximum(values[::-1][:q] - 1, 0.0))
    return np.exp(x), root[:, np.newaxis] * vectors[:, ::-1][:, :q] * scale, value


def _searched(R: Array, q: int, start: Array) -> tuple[float, Array | None]:
    """Return the misfit and x = log ψ of a minimum that is found from a start; None if none is."""
    least = float(np.log(SMALLEST))
    start = np.clip(np.log(start), least, 0.0)
    bounds = [(least, 0.0)] * len(R)
    x, _, _ = optimize.fmin_l_bfgs_b(lambda x: _misfit(R, x, q)[:2], start, bounds=bounds)
    for _ in range(_STEPS):
        value, gradient, hessian = _misfit(R, x, q)
        # At a bound that the gradient points out of, it stays.
        free = ~(((x <= least) & (gradient > 0)) | ((x >= 0) & (gradient < 0)))
        curvature = hessian[np.ix_(free, free)]
        # Where two eigenvalues meet, as all do if nothing is correlated, there is none.
        if not np.isfinite(curvature).all() or np.linalg.eigvalsh(curvature).min(initial=1.0) <= 0:
            break
        step = np.zeros(len(R))
        step[free] = -np.linalg.solve(curvature, gradient[free])
        further = np.clip(x + step, least, 0.0)
        change, x = np.abs(further - x).max(), further
        if change < _CONVERGED:
            return value, x
    return np.inf, None


def _misfit(R: Array, x: Array, q: int) -> tuple[float, Array, Array]:
    """Return Σ (θ − log θ − 1) over the eigenvalues θ of Ψ^(−½)·R·Ψ^(−½) but the q largest, at x = log ψ.

    With its first and second derivatives, of which the latter are not finite where eigenvalues meet.
    """
    root = np.exp(x / 2)
    values, vectors = np.linalg.eigh(R / np.outer(root, root))
    small, large = values[:-q], values[-q:]
    V, U = vectors[:, :-q], vectors[:, -q:]
    gradient = np.square(V) @ (1 - small)
    among = (V @ V.T) * ((V * small) @ V.T)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (1 - small)[:, np.newaxis] * (large + small[:, np.newaxis]) / (large - small[:, np.newaxis])
        between = np.einsum("im,jm,ik,jk,mk->ij", V, V, U, U, ratio, optimize=True)
    return float(np.sum(small - np.log(small) - 1)), gradient, among + between


def _varimax(loadings: Array) -> Array:
    """Return loadings rotated so that the squares in each column vary most; rows count alike."""
    length = np.sqrt(np.square(loadings).sum(axis=1, keepdims=True))
    # A column that has nothing to do with any factor has no direction.
    x = loadings / np.where(length > 0, length, 1.0)
    turn = np.eye(x.shape[1])
    for _ in range(_ROTATIONS):
        z, before = x @ turn, turn
        u, _, v = np.linalg.svd(x.T @ (z**3 - z * np.square(z).mean(axis=0)))
        turn = u @ v
        if np.abs(turn - before).max() < _ROTATED:
            break
    return np.asarray(loadings @ turn)


def _in_order(loadings: Array) -> Array:
    """Return factors by decreasing sum of squares, with positive sums: order and sign mean nothing."""
    ordered = loadings[:, np.argsort(-np.square(loadings).sum(axis=0), kind="stable")]
    return ordered * np.where(ordered.sum(axis=0) < 0, -1.0, 1.0)


# --- Result -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FactorAnalysisResult(Result):
    """A model of common factors; the same at every site.

    Attributes
    ----------
    rotation
        How factors were rotated.
    loadings
        A row for each column and a column for each factor: correlations, since factors are uncorrelated.
    uniquenesses
        Of each column, the share of its variance that is no factor's; 0.005 at least.
    statistic, df, pvalue
        Of the test that so many factors are enough; the p-value is NaN without degrees of freedom.
    correlations
        The pooled ones.
    mean, std
        Of the columns.
    nobs, n_missing
        Rows of all sites that were used, and that were left out for a missing value.
    """

    rotation: Rotation | None
    loadings: pd.DataFrame
    uniquenesses: pd.Series[float]
    statistic: float
    df: int
    pvalue: float
    correlations: pd.DataFrame = field(repr=False)
    mean: pd.Series[float] = field(repr=False)
    std: pd.Series[float] = field(repr=False)
    nobs: int
    n_missing: int

    @property
    def communalities(self) -> pd.Series[float]:
        """Of each column, the share of its variance that the factors make."""
        return (1 - self.uniquenesses).rename("communality")

    def variance(self) -> pd.DataFrame:
        """Return of each factor ``ss_loadings, proportion, cumulative``, of the variance of all columns."""
        squares = np.square(self.loadings).sum()
        share = squares / len(self.loadings)
        return pd.DataFrame({"ss_loadings": squares, "proportion": share, "cumulative": share.cumsum()})

    def transform(
        self, frame: pd.DataFrame, method: Literal["regression", "bartlett"] = "regression"
    ) -> pd.DataFrame:
        """Return scores of rows of this site; nothing is sent.

        Parameters
        ----------
        frame
            Has every column.
        method
            Thomson's scores, by regression of the factors on the columns; or Bartlett's, by weighted least
            squares, which are unbiased.

        Returns
        -------
        pandas.DataFrame
            By the frame's index; NaN where a column is missing.

        Raises
        ------
        DataError
            A column is absent, or there is no such method.
        """
        L = self.loadings.to_numpy()
        if method == "regression":
            weights = np.linalg.solve(self.correlations.to_numpy(), L)
        elif method == "bartlett":
            by_noise = L / self.uniquenesses.to_numpy()[:, np.newaxis]
            weights = by_noise @ np.linalg.inv(by_noise.T @ L)
        else:
            raise DataError(f"method is 'regression' or 'bartlett', not {method!r}")
        z = (own_values(frame, self.mean.index) - self.mean.to_numpy()) / self.std.to_numpy()
        return pd.DataFrame(z @ weights, index=frame.index, columns=self.loadings.columns)

    def to_frame(self) -> pd.DataFrame:
        """Return the loadings, with each column's uniqueness."""
        return self.loadings.assign(uniqueness=self.uniquenesses)

    def summary(self) -> str:
        """Return the model as text."""
        pairs: list[tuple[str, object]] = [
            ("Rows", self.nobs),
            ("Rows left out (missing)", self.n_missing),
            ("Factors", self.loadings.shape[1]),
            ("Rotation", self.rotation or "none"),
            ("Sites", len(self.sites)),
            ("Enough factors (χ²)", self.statistic),
            ("df", self.df),
            ("P(χ²)", self.pvalue),
        ]
        lines = ["Factor analysis by maximum likelihood", "", *_table.pair_lines(pairs, digits=5)]
        lines += ["", *_table.frame_lines(self.to_frame(), digits=5)]
        lines += ["", *_table.frame_lines(self.variance().T, digits=5)]
        heywood = [str(name) for name in self.uniquenesses.index[self.uniquenesses <= SMALLEST * 1.001]]
        if heywood:
            lines += ["", f"At the bound of {SMALLEST}: {', '.join(heywood)}. There may be too many factors."]
        return "\n".join([*lines, "", f"Cost: {self.cost}"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the loadings as colours.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        target = _plot.axes(ax, (4.4, 0.3 * len(self.loadings) + 1.4))
        _plot.matrix(target, self.loadings, 1.0)
        return target
