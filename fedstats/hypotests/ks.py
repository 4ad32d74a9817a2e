"""The two-sample Kolmogorov–Smirnov test over the rows of all sites.

In the order of all values, the two empirical distribution functions are running counts, and these are local
sums of shares. Their difference counts at the last of each block of equal values. Multiplied by both group
sizes it is a whole number, and the largest one is opened.

References
----------
.. [1] J. L. Hodges, "The Significance Probability of the Smirnov Two-Sample Test", Arkiv för Matematik 3,
   1958.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy import stats

from fedstats.disclosure import Declaration, Disclose
from fedstats.hypotests import _groups, _ranked
from fedstats.hypotests._result import Alternative, HypothesisTest
from protocols.scan import running_sum
from protocols.secret import concatenate

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

KSMethod: TypeAlias = Literal["auto", "exact", "asymp"]

DECLARATION = Declaration(
    "ks_2samp",
    result={
        "group sizes": _groups.SIZES_IF_ENOUGH,
        "statistic": "the largest difference of the distribution functions, times both group sizes",
    },
    published=_ranked.PUBLISHED,
)


def ks_2samp(
    cohort: Cohort,
    column: str,
    *,
    by: str,
    groups: Sequence[str] | None = None,
    alternative: Alternative = "two-sided",
    method: KSMethod = "auto",
    disclose: Disclose = "result",
) -> HypothesisTest:
    """Test whether two groups have the same distribution.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    column
        The numbers. Rows where it or `by` is missing are left out.
    by
        Column of the groups.
    groups
        Two levels of `by`, the first of which is compared with the second. By default its only two.
    alternative, method
        As for `scipy.stats.ks_2samp`.
    disclose
        ``"result"``, the only mode: ranks have no sums that could be told instead.

    Returns
    -------
    HypothesisTest
        ``statistic`` is the distance of the two distribution functions. Where it is attained is a value of a
        row, and not told.

    Raises
    ------
    DataError
        A column does not exist or cannot be used, or there are not two groups.
    RemoteError
        The same at another site.
    PolicyError
        A group has fewer than `min_cell` rows.

    Notes
    -----
    **Leakage.** Every site learns the two group sizes and the distance; of each other site which levels of
    `by` it has, and its number of rows, rounded up by an eighth at most. A coalition of t sites learns no
    more, but can leave its own rows out of the group sizes.

    **Cost.** As `mannwhitneyu`, and ⌈log2 2n⌉ comparisons one after the other, about 10 rounds each.
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        part = _groups.agree(
            run,
            cohort,
            column,
            by=by,
            groups=groups,
            options={
                "alternative": (alternative, Alternative),
                "method": (method, KSMethod),
            },
            exactly=2,
        )
        lengths, sizes = _ranked.open_lengths_and_sizes(run, part)
        n1, n2 = sizes.tolist()
        with run.on_shares() as engine:
            ranking = _ranked.rank(engine, lengths, part, n1 + n2)
            first = running_sum(ranking.columns[0]).assume(n1)
            both = np.arange(1, n1 + n2 + 1)
            # n1·n2·(F1 − F2) = n2·c1 − n1·c2 of the counts c1 + c2 = 1, 2, …
            difference = (first * (n1 + n2) - n1 * both).assume(n1 * n2) * ranking.last_of_block
            sides = {"greater": [difference], "less": [-difference]}.get(
                alternative, [difference, -difference]
            )
            largest = concatenate(sides).max()
        distance = int(run.reveal({"statistic": largest})["statistic"])
        # Any samples of these sizes at this distance have scipy's p-value: one block of equal values up to
        # where it is attained, and one after.
        i, j = _attained(distance if alternative != "less" else -distance, n1, n2)
        one, other = np.arange(n1) >= i, np.arange(n2) >= j
        found = stats.ks_2samp(one.astype(float), other.astype(float), alternative=alternative, method=method)
        return HypothesisTest(
            **run.finish(),
            title=f"Kolmogorov–Smirnov test of {column} by {by}",
            statistic=distance / (n1 * n2),
            pvalue=float(found.pvalue),
            alternative=alternative,
            nobs=sizes,
        )


def _attained(difference: int, n1: int, n2: int) -> tuple[int, int]:
    """Return counts i ≤ n1 and j ≤ n2 with n2·i − n1·j = ± the difference; both are if the sign is."""
    i = np.arange(n1 + 1)
    j, rest = np.divmod(n2 * i - difference, n1)
    [*_, place] = np.flatnonzero((rest == 0) & (j >= 0) & (j <= n2))
    return int(i[place]), int(j[place])
