"""The Kruskal–Wallis H test over the rows of all sites: Mann–Whitney's for several groups.

References
----------
.. [1] W. H. Kruskal and W. A. Wallis, "Use of Ranks in One-Criterion Variance Analysis", Journal of the
   American Statistical Association 47, 1952.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.hypotests import _groups, _ranked
from fedstats.hypotests._result import HypothesisTest

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "kruskal",
    result={
        "group sizes": _groups.SIZES_IF_ENOUGH,
        "rank sums": "twice the sum of each group's ranks but the last one's, which follows",
        "ties": _ranked.TIES,
    },
    published=_ranked.PUBLISHED,
)


def kruskal(
    cohort: Cohort,
    column: str,
    *,
    by: str,
    groups: Sequence[str] | None = None,
    disclose: Disclose = "result",
) -> KruskalResult:
    """Test whether values tend to be as large in all groups.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    column
        The numbers. Rows where it or `by` is missing are left out.
    by
        Column of the groups.
    groups
        The levels of `by` that are compared; all of them by default.
    disclose
        ``"result"``, the only mode: ranks have no sums that could be told instead.

    Returns
    -------
    KruskalResult
        As `scipy.stats.kruskal` has it; with the mean rank of each group.

    Raises
    ------
    DataError
        A column does not exist or cannot be used, or there are fewer than two groups.
    RemoteError
        The same at another site.
    PolicyError
        A group has fewer than `min_cell` rows.
    EstimationError
        All values are equal.

    Notes
    -----
    **Leakage.** Every site learns the group sizes, the sum of ranks of each group, and how many values are
    equal, as Σ(t³ − t); of each other site which levels of `by` it has, and its number of rows, rounded up by
    an eighth at most. A coalition of t sites learns no more, but can leave its own rows out of the group
    sizes.

    **Cost.** As `mannwhitneyu`, and a column more in the shuffle for each group beyond two.
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        part = _groups.agree(run, cohort, column, by=by, groups=groups, options={})
        lengths, sizes = _ranked.open_lengths_and_sizes(run, part)
        n = int(sizes.sum())
        with run.on_shares() as engine:
            ranking = _ranked.rank(engine, lengths, part, n)
            rank_sums, ties = ranking.sums(*ranking.columns)
        opened = run.reveal({"rank sums": rank_sums, "ties": ties})
        h, mean_ranks = h_statistic(
            np.asarray(sizes, np.float64), opened["rank sums"] / 2, opened["ties"].item()
        )
        if not np.isfinite(h):
            raise EstimationError("all values are equal: there is nothing to test")
        df = len(sizes) - 1
        return KruskalResult(
            **run.finish(),
            title=f"Kruskal–Wallis H test of {column} by {by}",
            statistic=h,
            pvalue=float(stats.chi2.sf(h, df)),
            df=df,
            nobs=sizes,
            mean_ranks=part.series(mean_ranks, "mean rank"),
        )


def h_statistic(sizes: Array, rank_sums: Array, ties: float) -> tuple[float, Array]:
    """Return H, corrected for ties, and the mean ranks of the groups.

    Parameters
    ----------
    sizes
        Rows of each group.
    rank_sums
        Of the groups but the last one.
    ties
        Σ(t³ − t) over blocks of t equal values.

    Returns
    -------
    tuple
        H is NaN if all values are equal.
    """
    n = float(sizes.sum())
    unequal = 1 - ties / (n**3 - n)
    mean_ranks = np.append(rank_sums, n * (n + 1) / 2 - rank_sums.sum()) / sizes
    h = 12 / (n * (n + 1)) * float(sizes @ (mean_ranks - (n + 1) / 2) ** 2)
    return h / unequal if unequal > 0 else float("nan"), mean_ranks


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class KruskalResult(HypothesisTest):
    """A Kruskal–Wallis H test.

    Attributes
    ----------
    df
        Degrees of freedom.
    mean_ranks
        By group.
    """

    df: int
    mean_ranks: pd.Series[float] = field(repr=False)

    @property
    def figures(self) -> dict[str, float]:
        """The numbers of the test by their names."""
        return {"statistic": self.statistic, "df": self.df, "pvalue": self.pvalue}

    def by_group(self) -> pd.DataFrame:
        """Return size and mean rank of each group."""
        return pd.DataFrame({"nobs": self.nobs, "mean rank": self.mean_ranks})
