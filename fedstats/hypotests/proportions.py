"""Proportions over the rows of all sites: one of them, with exact tests and intervals, and two compared.

A proportion and the number of rows that it is of are counts, and these are what is opened: none of them is
smaller than `min_cell`, which the result mode decides on shares.

References
----------
.. [1] E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", Journal of the
   American Statistical Association 22, 1927.
.. [2] R. G. Newcombe, "Interval Estimation for the Difference Between Independent Proportions", Statistics in
   Medicine 17, 1998.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from scipy import stats

from fedstats import levels as level_sets
from fedstats.disclosure import Declaration, Disclose
from fedstats.hypotests import _tables
from fedstats.hypotests._groups import open_enough
from fedstats.hypotests._result import Alternative, ConfidenceInterval, HypothesisTest, interval, tail

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

IntervalMethod: TypeAlias = Literal["exact", "wilson", "wilsoncc"]
DifferenceMethod: TypeAlias = Literal["newcombe", "wald", "agresti-caffo"]

_IF_ENOUGH = "; of each below min_cell, only that"
BINOMIAL = Declaration(
    "binomtest",
    aggregate={"counts": "numbers of rows with the event and without"},
    result={"counts": f"numbers of rows with the event and without{_IF_ENOUGH}"},
    published=_tables.PUBLISHED,
)
TWO = Declaration(
    "proportions_ztest",
    aggregate={"counts": "numbers of rows with the event and without, by group"},
    result={"counts": f"numbers of rows with the event and without, by group{_IF_ENOUGH}"},
    published=_tables.PUBLISHED,
)


def binomtest(
    cohort: Cohort,
    outcome: str,
    *,
    event: object,
    p: float = 0.5,
    alternative: Alternative = "two-sided",
    disclose: Disclose = "result",
) -> BinomialResult:
    """Return how frequent an event is, and test whether it has a given probability.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    outcome, event
        Column of categories, and the level of it that is counted against all others.
    p, alternative
        As for `scipy.stats.binomtest`.
    disclose
        Either mode opens the two counts, ``"result"`` once it is known on shares that neither is small.

    Returns
    -------
    BinomialResult
        As `scipy.stats.binomtest` has it: ``statistic`` is the proportion.

    Raises
    ------
    DataError
        The column or level does not exist or cannot be used, or p is no probability.
    RemoteError
        The same at another site.
    PolicyError
        Fewer than `min_cell` rows have the event, or have it not.

    Notes
    -----
    **Leakage.** Every site learns both counts, and of each other site which levels it has. A coalition of t
    sites can subtract its own rows.

    **Cost.** For three sites 18 rounds and 3 kB; 4 rounds in the aggregate mode.
    """
    with cohort.federation.analysis(BINOMIAL, disclose) as run:
        part = _tables.agree(
            run,
            cohort,
            [outcome],
            options={
                "event": (level_sets.canonical(event), None),
                "p": (p, "probability"),
                "alternative": (alternative, Alternative),
            },
        )
        table, case = part.table([outcome]), _tables.level_of(part, outcome, event)
        happened = f"{outcome} = {part.levels[outcome][case]}"
        counts = np.array([table[case], table.sum() - table[case]])
        opened = open_enough(run, "counts", counts, [happened, f"not {happened}"])
        k, n = int(opened[0]), int(opened.sum())
        found = stats.binomtest(k, n, float(p), alternative)
        return BinomialResult(
            **run.finish(),
            title=f"Proportion of {happened}",
            statistic=float(found.statistic),
            pvalue=float(found.pvalue),
            alternative=alternative,
            nobs=_tables.all_rows(n),
            k=k,
            n=n,
        )


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class BinomialResult(HypothesisTest):
    """A proportion.

    Attributes
    ----------
    k, n
        How many rows have the event, and how many there are.
    """

    k: int
    n: int

    def proportion_ci(
        self, confidence_level: float = 0.95, method: IntervalMethod = "exact"
    ) -> ConfidenceInterval:
        """Return a confidence interval, by Clopper and Pearson (exact), or by Wilson, corrected or not."""
        found = stats.binomtest(self.k, self.n, alternative=self.alternative)
        limits = found.proportion_ci(confidence_level, method)
        return ConfidenceInterval(float(limits.low), float(limits.high))

    @property
    def figures(self) -> dict[str, float]:
        """The numbers of the test by their names, with Wilson's interval."""
        low, high = self.proportion_ci(method="wilson")
        return {
            "proportion": self.statistic,
            "95% low": low,
            "95% high": high,
            "k": self.k,
            "n": self.n,
            "pvalue": self.pvalue,
        }


def proportions_ztest(
    cohort: Cohort,
    outcome: str,
    *,
    event: object,
    by: str,
    groups: Sequence[str] | None = None,
    alternative: Alternative = "two-sided",
    disclose: Disclose = "result",
) -> ProportionsResult:
    """Compare how frequent an event is in two groups, by the normal approximation.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    outcome, event
        Column of categories, and the level of it that is counted against all others.
    by, groups
        Column of the groups, and two levels of it, the second being subtracted from the first. By default its
        only two. Rows where either column is missing are left out.
    alternative
        ``"greater"``: the first group has the greater proportion.
    disclose
        Either mode opens the four counts, ``"result"`` once it is known on shares that none of them is small.

    Returns
    -------
    ProportionsResult
        ``statistic`` is z with the pooled variance, as statsmodels' ``proportions_ztest`` has it.

    Raises
    ------
    DataError
        A column or level does not exist or cannot be used, or there are not two groups.
    RemoteError
        The same at another site.
    PolicyError
        One of the counts is below `min_cell`.

    Notes
    -----
    **Leakage.** Every site learns the four counts, of which the proportions are made, and of each other site
    which levels it has. A coalition of t sites can subtract its own rows.

    **Cost.** For three sites 18 rounds and 3 kB; 4 rounds in the aggregate mode.
    """
    with cohort.federation.analysis(TWO, disclose) as run:
        part = _tables.agree_two_by_two(
            run,
            cohort,
            outcome,
            event=event,
            by=by,
            groups=groups,
            options={"alternative": (alternative, Alternative)},
        )
        names = [f"{group} and {what}" for group in part.names[:2] for what in part.names[2:]]
        table = open_enough(run, "counts", part.counts.ravel(), names).reshape(2, 2)
        sizes = table.sum(axis=1)
        proportions = table[:, 0] / sizes
        pooled = table[:, 0].sum() / sizes.sum()
        z = (proportions[0] - proportions[1]) / np.sqrt(pooled * (1 - pooled) * (1 / sizes).sum())
        index = pd.Index(part.labels, name=by)
        return ProportionsResult(
            **run.finish(),
            title=f"Proportions of {part.names[2]} by {by}",
            statistic=float(z),
            pvalue=tail(z, stats.norm, alternative=alternative),
            alternative=alternative,
            nobs=pd.Series(sizes, index=index, name="nobs"),
            proportions=pd.Series(proportions, index=index, name="proportion"),
        )


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ProportionsResult(HypothesisTest):
    """Two proportions compared.

    Attributes
    ----------
    proportions
        By group.
    """

    proportions: pd.Series[float] = field(repr=False)

    @property
    def difference(self) -> float:
        """The first group's proportion less the second's."""
        return float(self.proportions.iloc[0] - self.proportions.iloc[1])

    def confidence_interval(
        self, confidence_level: float = 0.95, method: DifferenceMethod = "newcombe"
    ) -> ConfidenceInterval:
        """Return the two-sided confidence interval of the difference.

        Newcombe's is made of Wilson's intervals, and is the default of statsmodels'
        ``confint_proportions_2indep``; Wald's is the plain normal one; that of Agresti and Caffo adds a row
        with and one without the event first.
        """
        if method not in get_args(DifferenceMethod):
            raise ValueError(f"method must be one of {', '.join(get_args(DifferenceMethod))}")
        p, n = self.proportions.to_numpy(), self.nobs.to_numpy(np.float64)
        if method == "newcombe":
            limits = [
                stats.binomtest(round(share * size), int(size)).proportion_ci(confidence_level, "wilson")
                for share, size in zip(p, n, strict=True)
            ]
            down = np.hypot(p[0] - limits[0].low, limits[1].high - p[1])
            up = np.hypot(limits[0].high - p[0], p[1] - limits[1].low)
            return ConfidenceInterval(float(self.difference - down), float(self.difference + up))
        if method == "agresti-caffo":
            p, n = (p * n + 1) / (n + 2), n + 2
        error = float(np.sqrt((p * (1 - p) / n).sum()))
        return interval(float(p[0] - p[1]), error, confidence_level, stats.norm, alternative="two-sided")

    @property
    def figures(self) -> dict[str, float]:
        """The numbers of the test by their names, with Newcombe's interval."""
        low, high = self.confidence_interval()
        return {
            "statistic": self.statistic,
            "pvalue": self.pvalue,
            "difference": self.difference,
            "95% low": low,
            "95% high": high,
        }

    def by_group(self) -> pd.DataFrame:
        """Return size and proportion of each group."""
        return pd.DataFrame({"nobs": self.nobs, "proportion": self.proportions})
