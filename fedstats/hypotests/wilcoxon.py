"""The Wilcoxon signed-rank test over the rows of all sites: ranks of differences that nobody sees.

References
----------
.. [1] F. Wilcoxon, "Individual Comparisons by Ranking Methods", Biometrics Bulletin 1, 1945.
.. [2] J. W. Pratt, "Remarks on Zeros and Ties in the Wilcoxon Signed Rank Procedures", Journal of the
   American Statistical Association 54, 1959.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy import stats

from fedstats import _ranks as ranks
from fedstats._counts import MOST
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import EstimationError
from fedstats.hypotests import _groups, _ranked
from fedstats.hypotests._result import Alternative, HypothesisTest, tail
from fedstats.hypotests.mannwhitney import RankMethod
from protocols.inputs import sum_shares

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

ZeroMethod: TypeAlias = Literal["wilcox", "pratt", "zsplit"]

DECLARATION = Declaration(
    "wilcoxon",
    result={
        "differences": "number of differences that are not 0; if it is below min_cell, only that",
        "zeros": "number of differences that are 0",
        "statistic": "twice the sum of the ranks of positive differences",
        "ties": _ranked.TIES,
    },
    published=_ranked.PUBLISHED,
)

#: Without ties and zeros, p-values are exact for so many rows at most; as in scipy.
SMALL = 50


def wilcoxon(
    cohort: Cohort,
    column: str,
    other: str | None = None,
    *,
    zero_method: ZeroMethod = "wilcox",
    correction: bool = False,
    alternative: Alternative = "two-sided",
    method: RankMethod = "auto",
    disclose: Disclose = "result",
) -> HypothesisTest:
    """Test whether a column, or the difference of two, is distributed symmetrically about 0.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    column, other
        The numbers are those of column, less those of other if it is given. Rows where one is missing are
        left out.
    zero_method, correction, alternative, method
        As for `scipy.stats.wilcoxon`; but where there are ties or zeros, ``"auto"`` is asymptotic, however
        few rows there are.
    disclose
        ``"result"``, the only mode: ranks have no sums that could be told instead.

    Returns
    -------
    HypothesisTest
        ``statistic`` is the smaller one of the sums of ranks of positive and of negative differences; of the
        positive ones if the alternative is one-sided.

    Raises
    ------
    DataError
        A column does not exist or cannot be used.
    RemoteError
        The same at another site.
    PolicyError
        There are fewer than `min_cell` differences that are not 0.
    EstimationError
        ``method="exact"`` where some differences are 0 or equal.

    Notes
    -----
    **Leakage.** Every site learns the numbers of differences and of zeros, the sum of ranks, and how many
    differences are equal, as Σ(t³ − t); of each other site its number of rows, rounded up by an eighth at
    most. A coalition of t sites learns no more, but can leave its own rows out of the counts.

    **Cost.** As `mannwhitneyu`.
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        part = _groups.agree_differences(
            run,
            cohort,
            column,
            other,
            options={
                "correction": (correction, bool),
                "zero_method": (zero_method, ZeroMethod),
                "alternative": (alternative, Alternative),
                "method": (method, RankMethod),
            },
        )
        [d] = part.rows
        kept = d[d != 0] if zero_method == "wilcox" else d
        lengths = ranks.agree_lengths(run, len(kept))
        unequal = np.array([np.count_nonzero(d)])
        [changed] = _groups.open_enough(run, "differences", unequal, part.labels).tolist()
        with run.on_shares() as engine:
            zero = sum_shares(engine, len(d) - unequal, bound=MOST)
        zeros = run.reveal({"zeros": zero})["zeros"].item()
        count = changed if zero_method == "wilcox" else changed + zeros
        with run.on_shares() as engine:
            rows = ranks.share(engine, lengths, ranks.keys(np.abs(kept)), [(kept > 0).astype(np.int64)])
            ranking = ranks.rank(rows.key, *rows.columns, count=count)
            rank_sum, ties = ranking.sums(*ranking.columns)
        opened = run.reveal({"statistic": rank_sum, "ties": ties})
        found = _SignedRanks.of(
            opened["statistic"].item() / 2, opened["ties"].item(), count, zeros, zero_method
        )
        return HypothesisTest(
            **run.finish(),
            title=f"Wilcoxon signed-rank test of {part.labels[0]}",
            statistic=found.plus if alternative != "two-sided" else min(found.plus, found.minus),
            pvalue=found.pvalue(correction, alternative, method),
            alternative=alternative,
            nobs=part.series(np.array([changed + zeros]), "nobs"),
        )


@dataclass(frozen=True)
class _SignedRanks:
    """Sums of ranks, and what is known of them if the hypothesis is true; formulas as in scipy.

    Attributes
    ----------
    plus, minus
        Sums of the ranks of positive and of negative differences; of zeros, half each with ``"zsplit"``.
    mean, deviation
        Of plus, under the hypothesis.
    count
        Rows that were ranked.
    distinct
        Whether no differences are 0 and none equal.
    """

    plus: float
    minus: float
    mean: float
    deviation: float
    count: int
    distinct: bool

    @classmethod
    def of(cls, plus: float, ties: int, count: int, zeros: int, zero_method: ZeroMethod) -> _SignedRanks:
        ranked_zeros = 0 if zero_method == "wilcox" else zeros
        below = ranked_zeros * (ranked_zeros + 1) / 2  # sum of the zeros' ranks
        minus = count * (count + 1) / 2 - plus - below
        mean = count * (count + 1) / 4
        squares = count * (count + 1) * (2 * count + 1)
        if zero_method == "pratt":
            mean -= below / 2
            squares -= zeros * (zeros + 1) * (2 * zeros + 1)
            ties -= zeros**3 - zeros
        if zero_method == "zsplit":
            plus, minus = plus + below / 2, minus + below / 2
        return cls(plus, minus, mean, np.sqrt((squares - ties / 2) / 24), count, not (ties or zeros))

    def pvalue(self, correction: bool, alternative: Alternative, method: RankMethod) -> float:
        """Return the p-value."""
        if method == "exact" or (method == "auto" and self.distinct and self.count <= SMALL):
            if not self.distinct:
                raise EstimationError(
                    "some differences are equal or 0, and the exact distribution is for distinct ones: use "
                    "method='asymptotic'"
                )
            return self._exact(alternative)
        z = (self.plus - self.mean) / self.deviation
        if correction:
            side = {"greater": 1.0, "less": -1.0}.get(alternative, float(np.sign(z)))
            z -= side * 0.5 / self.deviation
        return tail(z, stats.norm, alternative=alternative)

    def _exact(self, alternative: Alternative) -> float:
        """Return scipy's exact p-value, for which any differences with this sum of ranks will do."""
        differences, left = -np.arange(1.0, self.count + 1), self.plus
        for place in range(self.count - 1, -1, -1):
            if place + 1 <= left:
                differences[place] *= -1
                left -= place + 1
        return float(stats.wilcoxon(differences, alternative=alternative, method="exact").pvalue)
