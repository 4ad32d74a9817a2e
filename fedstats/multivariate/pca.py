"""Principal components of the rows of all sites.

In the aggregate mode the pooled covariances are opened. In the result mode they stay shared, and the
components are found one by one on shares: with C scaled to a trace of 1, squaring it and scaling it again
leaves of all its eigenvalues but the largest ever less; after m times B = C^(2^m) is v·v' but for
(λ₂/λ₁)^(2^m). Then v is B times a public vector, of length 1, λ = v'Cv, and C − λ·v·v' has the next
component.

All that has to be known of the scale is that the trace stays below 1 and near to it. The square of a matrix
of p rows and trace 1 has a trace t of 1/p at least, and Goldschmidt's product [1]_ of (1 + (1 − t)^(2^k))
approaches 1/t from below, at one round a factor. So a squaring takes 3 + ⌈log₂ 3.4p⌉ rounds.

References
----------
.. [1] R. E. Goldschmidt, "Applications of Division by Convergence", MSc thesis, MIT, 1964.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _frames, _table
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.multivariate._columns import (
    COVARIANCES,
    LOCATIONS,
    PUBLISHED,
    Columns,
    agree_columns,
    diagonal_of,
    open_covariance,
    open_locations,
    own_values,
    shared_covariance,
)
from fedstats.regression._equations import full
from fedstats.results import Result
from protocols.divide import divide, divide_by_sqrt
from protocols.fixed import Format
from protocols.floating import fixed, floating
from protocols.long import LongArray, multiply, narrow
from protocols.secret import SecretArray, concatenate, inner, known_product, matmul, stack

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "pca",
    aggregate={**_frames.AGGREGATE, **COVARIANCES},
    result={
        **_frames.RESULT,
        **LOCATIONS,
        "components": "the loadings and the variance of each component",
    },
    published=PUBLISHED,
)

#: Squarings for a component: what (λ₂/λ₁)^65536 leaves of the next one is below 2^−32 if λ₂ < 0.99966·λ₁.
SQUARINGS = 16
#: Fractional bits on shares, where there is room.
FRACTION = 36
#: What is added to the diagonal of a matrix of trace 1 at most before it is squared: more than its roundings,
#: which may be all that is left of it, and then have any sign. Its eigenvectors are the same.
SHIFT = 2.0**-24
#: Largest reciprocal of a standard deviation, as a power of two, and its fractional bits.
_SCALE, _SCALE_DIGITS = 51, 120
#: Fractional bits of a factor that only has to be the same for all entries of a matrix.
SCALE = 24
#: Room for the last places of numbers that are 1 at most.
LARGEST = 1.001


def pca(
    cohort: Cohort,
    columns: Sequence[str],
    n_components: int = 2,
    *,
    scale: bool = True,
    disclose: Disclose = "result",
) -> PCAResult:
    """Find the principal components of columns over the rows of all sites.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`. Rows with a missing value in a column are left out.
    columns
        Numeric columns.
    n_components
        How many components.
    scale
        Whether columns are divided by their standard deviations.
    disclose
        ``"result"``: loadings and variances of the components are opened, means and variances of the columns.
        ``"aggregate"``: the pooled covariances are.

    Returns
    -------
    PCAResult
        Loadings, explained variances and their shares; scores of own rows by `transform`.

    Raises
    ------
    DataError
        A column cannot be used, or there are fewer columns than components.
    RemoteError
        The same at another site.
    EstimationError
        A column is constant, or there are too few rows.

    Notes
    -----
    Components of equal variance are determined only together. On shares those of which the variances differ
    by less than a part in 3,000 come out mixed, and variances below 1e-8 of the total are roundings.

    **Leakage.** Every site learns, of the rows of all sites together: how many are complete, and how many are
    not; means and variances of the columns; loadings and variances of the components, and the total variance.
    All components together would tell the covariances: these are what ``"aggregate"`` opens. A coalition of t
    sites learns nothing more with ``"result"``; with ``"aggregate"`` the covariances of the other sites.

    Cost: 10 rounds with ``"aggregate"``, and 140·p² bytes for p columns; with ``"result"`` 149 rounds and
    1,000·p² bytes, and for each component 66 + 15·(3 + ⌈log₂ 3.4p⌉) rounds, as 246 with a hundred columns,
    and 600·p² bytes.

    Examples
    --------
    >>> fs.pca(cohort, ["age", "bmi", "bp", "ldl"]).components  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:

        def check() -> None:
            if type(n_components) is not int or not 0 < n_components <= len(columns):
                raise DataError(
                    f"n_components is a whole number from 1 to {len(columns)}, the number of columns"
                )

        part = agree_columns(
            run, cohort, columns, call=f"n_components={n_components!r}, scale={scale!r}", check=check
        )
        find = _open_components if disclose == "aggregate" else _components_on_shares
        loadings, variances, total, mean, std = find(run, part, n_components, scale)
        # A component's sign means nothing: its largest loading is positive.
        largest = loadings[np.arange(n_components), np.abs(loadings).argmax(axis=1)]
        names = pd.Index([f"PC{number}" for number in range(1, n_components + 1)], name="component")
        return PCAResult(
            **run.finish(),
            scale=scale,
            components=pd.DataFrame(
                loadings * np.sign(largest)[:, np.newaxis], index=names, columns=list(part.names)
            ),
            explained_variance=pd.Series(variances, index=names, name="variance"),
            total_variance=total,
            mean=pd.Series(mean, index=list(part.names), name="mean"),
            std=pd.Series(std, index=list(part.names), name="std"),
            nobs=part.n,
            n_missing=part.n_missing,
        )


def _open_components(
    run: Analysis, part: Columns, count: int, scale: bool
) -> tuple[Array, Array, float, Array, Array]:
    """Return loadings, variances, the total variance, means and standard deviations of opened covariances."""
    mean, covariance = open_covariance(run, part)
    spread = np.sqrt(np.diag(covariance))
    std = part.frame.unit * spread
    # In the units of the columns, or of their standard deviations.
    units = 1 / spread if scale else part.frame.unit
    matrix = covariance * np.outer(units, units)
    variances, vectors = np.linalg.eigh(matrix)
    location = part.frame.centre + part.frame.unit * mean
    return vectors[:, ::-1][:, :count].T, variances[::-1][:count], float(np.trace(matrix)), location, std


def _components_on_shares(
    run: Analysis, part: Columns, count: int, scale: bool
) -> tuple[Array, Array, float, Array, Array]:
    """Return the same, computed on shares."""
    p = len(part.names)
    means, covariance = shared_covariance(run, part)
    mean, std = open_locations(run, part, means, covariance)
    with run.on_shares():
        if scale:
            total = float(p)
            matrix = _correlations(covariance, p)
        else:
            # The variances have been opened, and so has their sum.
            total = float((std**2).sum())
            unit = part.frame.unit / np.sqrt(total)
            matrix = covariance * np.outer(unit, unit)[np.triu_indices(p)]
        fraction = min(FRACTION, run.engine.room - 43)  # quotients leave fewer from 11 sites on
        C = narrow(matrix * (1 / p) if scale else matrix, bound=LARGEST, fraction=fraction)
        vectors, values = [], []
        for _ in range(count):
            v, value, C = _component(C, p)
            vectors.append(v)
            values.append(value)
        found = {"components": concatenate([stack(vectors), stack(values).reshape(count, 1)], axis=1)}
    opened = run.reveal(found)["components"]
    return opened[:, :p], opened[:, p] * total, total, mean, std


def _correlations(covariance: LongArray, p: int) -> LongArray:
    """Return D^(−½) C D^(−½), with the diagonal D of C; of both the upper triangle."""
    left, right = np.triu_indices(p)
    root = floating(covariance[diagonal_of(p)]).sqrt()
    scale = fixed(1 / root, bound=2.0**_SCALE, fraction=_SCALE_DIGITS)
    return multiply(multiply(scale[left], scale[right]), covariance)


def _component(C: SecretArray, p: int) -> tuple[SecretArray, SecretArray, SecretArray]:
    """Return the first eigenvector of a matrix of trace 1 at most, its eigenvalue, and what it leaves.

    Of C, and of what it leaves, the upper triangle.
    """
    upper, diagonal, fraction = np.triu_indices(p), diagonal_of(p), C.format.fraction
    shifted = C + np.where(np.equal(*upper), SHIFT, 0.0)
    trace = _trace(shifted, diagonal)
    whole = full(divide(shifted, trace, bound=LARGEST, fraction=fraction).assume(LARGEST), p)
    for squarings in range(1, SQUARINGS + 1):
        B = matmul(whole, whole, bound=LARGEST, entries=upper).assume(LARGEST)
        if squarings < SQUARINGS:
            scale = _near_reciprocal(_trace(B, diagonal), p).broadcast_to(B.shape)
            B = known_product(B, scale, Format.of(LARGEST, fraction), drop=scale.format.fraction)
            whole = full(B.assume(LARGEST), p)
    # B is the eigenvector times a row. That with whole numbers is exact.
    numbers = np.random.default_rng(0).choice([-7, -5, -3, 3, 5, 7], p)
    octaves = math.ceil(math.log2(7 * math.sqrt(p)))
    image = full(B, p) @ numbers
    image = SecretArray(B.engine, image.shares, Format(fraction + octaves, image.format.bound))
    image = image.assume(1.0).rescale(fraction)
    square = inner(image, image, bound=1.0).reshape(1).assume(1.0)
    v = divide_by_sqrt(image, square, bound=LARGEST, fraction=fraction).assume(LARGEST)
    # The root of a small square is known to few digits: a step of Newton's method for 1/√(v'v) doubles them.
    longer = (3 - inner(v, v, bound=LARGEST, fraction=fraction - 1)) / 2
    v = (v * longer.assume(LARGEST)).assume(LARGEST)
    value = inner(v, matmul(full(C, p), v.reshape(p, 1), bound=LARGEST).assume(LARGEST)[:, 0], bound=LARGEST)
    value = value.assume(LARGEST)
    projector = (v[upper[0]] * v[upper[1]]).assume(LARGEST)
    return v, value, (C - value * projector).assume(LARGEST)


def _trace(B: SecretArray, diagonal: NDArray[np.intp]) -> SecretArray:
    return B[diagonal].sum().assume(LARGEST).reshape(1)


def _near_reciprocal(t: SecretArray, p: int) -> SecretArray:
    """Return y with 0.95 < t·y ≤ 1, but for roundings, of a trace between 0.9/p and 1.

    With e = 1 − t, the product of 1 + e^(2^k) for k < m is (1 − e^(2^m)) / t.
    """
    factors = math.ceil(math.log2(3.4 * p))
    e = (1 - t).assume(1.0).rescale(SCALE)
    y, e = 1 + e, (e * e).assume(1.0)
    for _ in range(1, factors):
        both = stack([e, y]) * stack([e, 1 + e])
        e, y = both[0].assume(1.0), both[1].assume(2.0**factors)
    return y


# --- Result -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PCAResult(Result):
    """Principal components; the same at every site.

    Attributes
    ----------
    scale
        Whether columns were divided by their standard deviations.
    components
        Loadings, a row of length 1 for each component.
    explained_variance, total_variance
        Variances of the components, and of all columns; columns that were scaled have variance 1.
    mean, std
        Of the columns.
    nobs, n_missing
        Rows of all sites that were used, and that were left out for a missing value.
    """

    scale: bool
    components: pd.DataFrame
    explained_variance: pd.Series[float]
    total_variance: float
    mean: pd.Series[float]
    std: pd.Series[float]
    nobs: int
    n_missing: int

    @property
    def explained_variance_ratio(self) -> pd.Series[float]:
        """Share of each component in the total variance."""
        return (self.explained_variance / self.total_variance).rename("share")

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return scores of rows of this site; nothing is sent.

        Parameters
        ----------
        frame
            Has every column.

        Raises
        ------
        DataError
            A column is absent.
        """
        centred = own_values(frame, self.mean.index) - self.mean.to_numpy()
        if self.scale:
            centred = centred / self.std.to_numpy()
        scores = centred @ self.components.to_numpy().T
        return pd.DataFrame(scores, index=frame.index, columns=self.components.index)

    def to_frame(self) -> pd.DataFrame:
        """Return variance, share and loadings of each component."""
        return pd.concat([self.explained_variance, self.explained_variance_ratio, self.components], axis=1)

    def summary(self) -> str:
        """Return the components as text."""
        pairs: list[tuple[str, object]] = [
            ("Rows", self.nobs),
            ("Rows left out (missing)", self.n_missing),
            ("Total variance", self.total_variance),
            ("Sites", len(self.sites)),
        ]
        lines = ["Principal components", "", *_table.pair_lines(pairs, digits=5)]
        lines += ["", *_table.frame_lines(self.to_frame().T, digits=5)]
        return "\n".join([*lines, "", f"Cost: {self.cost}"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the shares of the variance.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots()
        share = self.explained_variance_ratio
        ax.bar(list(share.index), share.to_numpy(), color="C0")
        ax.set_ylabel("share of the variance")
        return ax
