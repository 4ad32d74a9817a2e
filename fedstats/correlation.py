"""Correlation and covariance matrices over the rows of all sites, pair by pair complete as pandas has them.

For two columns x and y, over the rows where neither is missing, all follows from n, Σx, Σy, Σx², Σy² and
Σxy, in a frame in which both are of the order of 1. These are matrix products of the columns with gaps
filled by 0 and of the flags of what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fedstats import _plot, _rank_correlations, _table
from fedstats._counts import MOST, open_counts
from fedstats._frames import secret_frame
from fedstats._moments import Frame, location_sums
from fedstats._rank_correlations import kendall, spearman
from fedstats._ranks import agree_lengths
from fedstats._selection import PUBLISHED, Wanted, check_distinct, select
from fedstats.cohort import largest
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.results import Result
from fedstats.schema import Schema
from fedstats.vertical import pairs as linked
from fedstats.vertical.cohort import VerticalCohort
from protocols.floating import floating, sqrt
from protocols.long import LongArray, concatenate, lengthen, multiply, stack, sum_long

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

Method: TypeAlias = Literal["pearson", "spearman", "kendall"]

_NUMBERS = "numbers of rows where neither column of a pair is missing"
_AGGREGATE = {
    "numbers of rows": _NUMBERS,
    "column sums": "Σx and Σ|x| of every column",
    "products": "Σx, Σx² and Σxy of the centred and scaled columns, over the rows of each pair",
}
_RESULT = {
    "numbers of rows": f"{_NUMBERS}; of fewer than min_cell, that it is so",
    "column units": "n³ times the variance of every column, to one significant bit",
    "column centres": "the mean of every column, to the power of two nearest to its standard deviation",
}
CORR = Declaration(
    "corr",
    aggregate=_AGGREGATE,
    result={**_RESULT, "correlations": "correlation of each pair, to 30 significant bits"},
    published=PUBLISHED,
)
COV = Declaration(
    "cov",
    aggregate=_AGGREGATE,
    result={**_RESULT, "covariances": "covariance of each pair, to 30 significant bits"},
    published=PUBLISHED,
)

#: Of ranks, by method.
OF_RANKS = {
    method: Declaration(
        "corr",
        result={"numbers of rows": _RESULT["numbers of rows"], **opened},
        published={**PUBLISHED, **_rank_correlations.PUBLISHED},
    )
    for method, opened in (("spearman", _rank_correlations.SPEARMAN), ("kendall", _rank_correlations.KENDALL))
}

#: Fractional bits of sums of products.
_FRACTION = 100
#: Columns whose variance over a pair's rows is a smaller part of that over all rows do not vary.
_CONSTANT = 1e-13


def corr(
    cohort: Cohort | VerticalCohort,
    columns: Sequence[str] | None = None,
    *,
    method: Method = "pearson",
    disclose: Disclose = "result",
) -> CorrelationResult:
    """Compute correlations of columns over the rows of all sites, by Pearson, Spearman or Kendall.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    columns
        Two or more numeric columns; all by default. Each pair is taken over the rows where neither is
        missing.
    method
        ``"pearson"``; or of ranks, which ties share: ``"spearman"``, or ``"kendall"``, tau-b.
    disclose
        ``"result"``: the correlations are opened. ``"aggregate"``: the pooled sums are from which they
        follow; ranks have none.

    Returns
    -------
    CorrelationResult
        NaN for pairs with fewer rows than the federation's ``min_cell``, and of columns that do not vary: as
        of pandas, with themselves too, but by Kendall.

    Raises
    ------
    DataError
        A column does not exist, is not numeric, or has values that are infinite or too large.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** Over all sites together: for each pair of columns the number of rows, if it is not small, and
    the correlation; by Pearson, for each column its standard deviation to a power of two, and its mean to a
    multiple of that; by Kendall, tau's normal statistic too. Where ranks are used, each site's number of rows
    is told, rounded up by an eighth at most. In aggregate mode sums, sums of squares and of products. A
    coalition of t sites learns the same, and can subtract its own rows from sums.

    **Cost.** 148 rounds for three sites; eight in aggregate mode. Of ranks, for 1,000 rows, some 250 rounds,
    and 2 MB from each site for each pair of columns; by Kendall some 370 and 7.5 MB. These rounds are for as
    many pairs as have 262,144 rows together, and as many again for further ones; and by Spearman, for columns
    without a correlation with any other, of which it is to be told whether they vary.

    Examples
    --------
    >>> fs.corr(cohort, ["age", "bmi", "ldl"]).to_frame()  # doctest: +SKIP
    """
    declaration = OF_RANKS.get(method, CORR)
    return CorrelationResult(method=method, **_computed(cohort, columns, declaration, method, disclose))


def cov(
    cohort: Cohort | VerticalCohort,
    columns: Sequence[str] | None = None,
    *,
    disclose: Disclose = "result",
) -> CovarianceResult:
    """Compute covariances of columns, with denominator n − 1; see `corr`. 115 rounds for three sites."""
    return CovarianceResult(**_computed(cohort, columns, COV, "pearson", disclose))


def _computed(
    cohort: Cohort | VerticalCohort,
    columns: Sequence[str] | None,
    declaration: Declaration,
    method: str,
    disclose: Disclose,
) -> dict[str, Any]:
    """Return the fields of the result."""
    if isinstance(cohort, VerticalCohort):
        return linked.correlations(cohort, columns, declaration, method, disclose)

    def wanted(schema: Schema) -> Wanted:
        if method not in get_args(Method):
            raise DataError(f"method must be one of {', '.join(get_args(Method))}, not {method!r}")
        numeric = [name for name, kind in schema.kinds.items() if kind.is_numeric]
        names = numeric if columns is None else check_distinct(columns, "columns")
        if len(names) < 2:
            raise DataError("a correlation is one of two numeric columns or more")
        for name in names:
            cohort.numbers(name, largest(None if method in OF_RANKS else disclose))
        return Wanted(names)

    with cohort.federation.analysis(declaration, disclose) as run:
        chosen = select(run, cohort, f"columns={columns!r}, method={method!r}", wanted)
        names = list(chosen.numbers)
        x = np.stack([chosen.numbers[name] for name in names], axis=1)
        enough = run.federation.shared_policy.min_cell
        flags = (~np.isnan(x)).astype(np.int64)
        upper = np.triu_indices(len(names))
        numbers = open_counts(run, "numbers of rows", (flags.T @ flags)[upper], enough)
        n = np.zeros((len(names), len(names)), np.int64)
        n[upper] = np.where(numbers < max(enough, 2), 0, numbers)
        n = np.maximum(n, n.T)
        matrices: dict[str, pd.DataFrame] = {}
        index = pd.Index(names, name="column")
        if method in OF_RANKS:
            matrix, z = _of_ranks(run, method, x, n)
            if z is not None:
                matrices["zvalues"] = pd.DataFrame(z, index, names)
        else:
            matrix = np.full(n.shape, np.nan)
            usable = np.flatnonzero(np.diag(n))
            if len(usable):
                part = np.ix_(usable, usable)
                matrix[part] = _matrix(run, x[:, usable], n[part], is_covariance=declaration is COV)
        return {
            **run.finish(),
            **matrices,
            "min_cell": enough,
            "numbers": pd.DataFrame(n, index, names, dtype="Int64").mask(n == 0),
            "matrix": pd.DataFrame(matrix, index, names),
        }


def _of_ranks(run: Analysis, method: str, x: Array, n: NDArray[np.int64]) -> tuple[Array, Array | None]:
    """Return the matrix of rank correlations, NaN for pairs of which n is 0, and Kendall's statistics."""
    one, other = np.nonzero(np.triu(n, 1))
    pairs = list(zip(one.tolist(), other.tolist(), strict=True))
    matrix, z = np.where(np.diag(np.diag(n)) > 0, 1.0, np.nan), None
    of_ranks = method == "spearman"
    lengths = agree_lengths(run, len(x)) if pairs or (of_ranks and np.diag(n).any()) else []
    if of_ranks:
        found = spearman(run, x, lengths, pairs, n[one, other])
    else:
        found, statistics = kendall(run, x, lengths, pairs, n[one, other])
        z = np.full(matrix.shape, np.nan)
        z[one, other] = z[other, one] = statistics
    matrix[one, other] = matrix[other, one] = np.clip(found, -1, 1)
    if of_ranks:
        # One that has a correlation varies. Kendall's of a column with itself is 1, as pandas has it.
        alone = np.flatnonzero(np.count_nonzero(~np.isnan(matrix), axis=0) == 1)
        itself = spearman(run, x, lengths, [(its, its) for its in alone.tolist()], np.diag(n)[alone], part=1)
        matrix[alone, alone] = np.where(np.isnan(itself), np.nan, 1.0)
    return matrix, z


def _matrix(run: Analysis, x: Array, n: NDArray[np.int64], *, is_covariance: bool) -> Array:
    """Return the matrix of columns that have values enough; NaN for pairs that have not, of which n is 0."""
    there = ~np.isnan(x)
    own = np.diag(n)
    values = [column[its] for column, its in zip(x.T, there.T, strict=True)]
    if run.disclose == "aggregate":
        total, magnitude = run.sum("column sums", np.stack([location_sums(v) for v in values], axis=1))
        frame = Frame.of(own.astype(np.float64), total, magnitude)
        varies = np.ones(len(own), np.bool_)
    else:
        frame, constant, _ = secret_frame(run, values, own)
        varies = ~constant
    z = np.where(there & varies, frame.apply(x), 0.0)
    flags = there.astype(np.float64)
    one, other = (which[n[np.triu_indices(len(n))] > 0] for which in np.triu_indices(len(n)))
    count = n[one, other]
    # Σx, Σy, Σx², Σy², Σxy over the rows of each pair.
    first, second, product = z.T @ flags, (z**2).T @ flags, z.T @ z
    sums = np.stack(
        [
            m[pair]
            for m, pair in zip(
                (first, first, second, second, product),
                ((one, other), (other, one), (one, other), (other, one), (one, other)),
                strict=True,
            )
        ]
    )
    opening = _opened if run.disclose == "aggregate" else _on_shares
    found = opening(run, sums, count, is_covariance)
    if is_covariance:
        found = found * frame.unit[one] * frame.unit[other]
    else:
        found = np.where(one == other, np.where(np.isnan(found), np.nan, 1.0), np.clip(found, -1, 1))
    matrix = np.full(n.shape, np.nan)
    matrix[one, other] = matrix[other, one] = found
    return matrix


def _opened(run: Analysis, sums: Array, n: NDArray[np.int64], is_covariance: bool) -> Array:
    x, y, xx, yy, xy = run.sum("products", sums)
    count = n.astype(np.float64)
    joint, x_alone, y_alone = count * xy - x * y, count * xx - x * x, count * yy - y * y
    if is_covariance:
        return np.asarray(joint / (count * (count - 1)))
    constant = np.minimum(x_alone, y_alone) <= _CONSTANT * count**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(constant, np.nan, joint / np.sqrt(x_alone * y_alone))


def _on_shares(run: Analysis, sums: Array, n: NDArray[np.int64], is_covariance: bool) -> Array:
    with run.on_shares() as engine:
        pooled = sum_long(engine, sums, bound=float(MOST) ** 2, fraction=_FRACTION)
    return open_pairs(run, pooled, n, is_covariance=is_covariance)


def open_pairs(run: Analysis, pooled: LongArray, n: NDArray[np.int64], *, is_covariance: bool) -> Array:
    """Open correlations or covariances of pairs of columns in their frames.

    Parameters
    ----------
    run
        The analysis, in the result mode.
    pooled
        Σx, Σy, Σx², Σy² and Σxy over the n rows of each pair, shape ``(5, pairs)``.
    n
        Numbers of rows, public.
    is_covariance
        Which of both is opened.
    """
    count = n.astype(object)
    with run.on_shares():
        x, y, xx, yy, xy = (pooled[one] for one in range(5))
        squares = multiply(stack([x, x, y]), stack([y, x, y]))
        joint = xy * count - squares[0]
        if is_covariance:
            label, secret = "covariances", floating(joint)
        else:
            alone = stack([xx * count - squares[1], yy * count - squares[2]])
            # What does not vary becomes 0, and the correlation NaN.
            alone = multiply(alone, lengthen(alone > _CONSTANT * n.astype(np.float64) ** 2))
            floats = floating(concatenate([joint.reshape(1, -1), alone]))
            roots = sqrt(floats[1:])
            label, secret = "correlations", floats[0] / (roots[0] * roots[1])
    opened = run.reveal({label: secret})[label]
    return opened / (n.astype(np.float64) * (n - 1)) if is_covariance else opened


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CovarianceResult(Result):
    """A matrix of covariances, the same at every site.

    Attributes
    ----------
    min_cell
        Pairs with fewer rows have none.
    numbers
        Rows of each pair; missing where suppressed.
    matrix
        The covariances; NaN where suppressed.
    """

    min_cell: int
    numbers: pd.DataFrame = field(repr=False)
    matrix: pd.DataFrame = field(repr=False)

    @property
    def _title(self) -> str:
        return "Covariances"

    def to_frame(self) -> pd.DataFrame:
        """Return the matrix."""
        return self.matrix.copy()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the matrix as colours, around 0."""
        target = _plot.axes(ax, (5.4, 4.8))
        most = float(np.nanmax(np.abs(self.matrix.to_numpy()), initial=0.0)) or 1.0
        _plot.matrix(target, self.matrix, most, rotation=45, ha="right")
        target.set_aspect("equal")
        return target

    def summary(self) -> str:
        """Return the matrix as text."""
        lines = [
            f"{self._title} over {len(self.sites)} sites",
            "",
            *_table.frame_lines(self.matrix, digits=5),
        ]
        if self.matrix.isna().any(axis=None):
            lines += ["", f"– fewer than {self.min_cell} rows, or a column that does not vary"]
        return "\n".join([*lines, "", f"Cost: {self.cost}"])


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CorrelationResult(CovarianceResult):
    """A matrix of correlations, the same at every site; see `CovarianceResult` for what is common.

    Attributes
    ----------
    method
        Whose correlations.
    zvalues
        By Kendall: tau divided by its standard error where both columns are independent. None otherwise.
    """

    method: Method = "pearson"
    zvalues: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def _title(self) -> str:
        of_ranks = {
            "spearman": "Spearman's rank correlations",
            "kendall": "Kendall's rank correlations (tau-b)",
        }
        return of_ranks.get(self.method, "Correlations")

    def pvalues(self) -> pd.DataFrame:
        """Return two-sided p-values of no correlation.

        By Student's t as `scipy.stats.pearsonr` and `spearmanr` have them; by the normal distribution with
        Kendall's correction for ties, as of `scipy.stats.kendalltau` with ``method="asymptotic"``.
        """
        if self.zvalues is not None:
            return 2 * self.zvalues.abs().apply(stats.norm.sf)
        r, n = self._of_pairs()
        with np.errstate(invalid="ignore", divide="ignore"):
            t = r * np.sqrt((n - 2) / (1 - r**2))
        p = 2 * stats.t.sf(np.abs(t), n - 2)
        return pd.DataFrame(p, self.matrix.index, self.matrix.columns)

    def conf_int(self, level: float = 0.95) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the lower and upper ends of confidence intervals by Fisher's z.

        Its variance is 1/(n − 3); of tau about 0.437/(n − 4) [1]_.

        References
        ----------
        .. [1] E. C. Fieller, H. O. Hartley and E. S. Pearson, "Tests for Rank Correlation Coefficients I",
           Biometrika 44, 1957.
        """
        r, n = self._of_pairs()
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = 0.437 / (n - 4) if self.method == "kendall" else 1 / (n - 3)
            half = stats.norm.ppf((1 + level) / 2) * np.sqrt(variance)
            low, high = (np.tanh(np.arctanh(r) + side * half) for side in (-1, 1))
        frames = [pd.DataFrame(end, self.matrix.index, self.matrix.columns) for end in (low, high)]
        return frames[0], frames[1]

    def _of_pairs(self) -> tuple[Array, Array]:
        """Return correlations and numbers of rows; NaN where suppressed."""
        return self.matrix.to_numpy(), self.numbers.astype("Float64").to_numpy(float, na_value=np.nan)
