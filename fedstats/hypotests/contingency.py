"""Tests of independence in tables of counts: the chi-squared test, and Fisher's exact test of four cells.

In the result mode the table stays secret. Differences from what independence expects are computed exactly, as
whole numbers n·O − R·C of the cell and its two margins; only the statistic is rounded, and opened.

References
----------
.. [1] K. Pearson, "On the Criterion that a Given System of Deviations … Can be Reasonably Supposed to have
   Arisen from Random Sampling", Philosophical Magazine 50, 1900.
.. [2] F. Yates, "Contingency Tables Involving Small Numbers and the χ² Test", Supplement to the Journal of
   the Royal Statistical Society 1, 1934.
.. [3] R. A. Fisher, "The Logic of Inductive Inference", Journal of the Royal Statistical Society 98, 1935.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.hypotests import _tables
from fedstats.hypotests._moments import Numbers
from fedstats.hypotests._result import Alternative, HypothesisTest
from protocols.floating import maximum

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

CHI2 = Declaration(
    "chi2_contingency",
    aggregate=_tables.AGGREGATE,
    result={
        **_tables.RESULT,
        "statistic": "χ²",
        "few expected": "whether a cell is expected to have fewer than 5 rows",
    },
    published=_tables.PUBLISHED,
)
FISHER = Declaration(
    "fisher_exact",
    aggregate=_tables.AGGREGATE,
    result={**_tables.RESULT, "cells": "the four counts, which the p-value tells anyway"},
    published=_tables.PUBLISHED,
)

#: χ² is approximate where a cell is expected to have fewer rows.
FEW = 5


def chi2_contingency(
    cohort: Cohort,
    row: str,
    column: str,
    *,
    correction: bool = True,
    disclose: Disclose = "result",
) -> Chi2Result:
    """Test whether two columns of categories are independent.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    row, column
        The categories. Rows where either is missing are left out.
    correction
        Whether tables of four cells have Yates's correction for continuity.
    disclose
        ``"result"``: the statistic is opened. ``"aggregate"``: the table.

    Returns
    -------
    Chi2Result
        As `scipy.stats.chi2_contingency` has it.

    Raises
    ------
    DataError
        A column does not exist, has levels that would identify rows, or only one level.
    RemoteError
        The same at another site.
    PolicyError
        A level has fewer than `min_cell` rows.

    Notes
    -----
    **Leakage.** Every site learns the number of rows, χ² to 30 significant bits, and whether a cell is
    expected to have fewer than five rows; of each other site which levels it has. A coalition of t sites
    learns no more. With ``disclose="aggregate"`` all learn the table, and a coalition the table of the other
    sites.

    **Cost.** For three sites about 150 rounds and 20 kB for each cell; 4 rounds in the aggregate mode.
    """
    with cohort.federation.analysis(CHI2, disclose) as run:
        part = _tables.agree(run, cohort, [row, column], options={"correction": (correction, bool)})
        shape = [len(part.levels[name]) for name in (row, column)]
        for name, levels in zip((row, column), shape, strict=True):
            if levels < 2:
                raise DataError(
                    f"column {name!r} has {levels} level over all sites, and is independent of all"
                )
        names = [f"{name} = {level}" for name in (row, column) for level in part.levels[name]]
        table, n = _tables.pool(run, part.table([row, column]), names)
        rows, columns = table.sum(axis=1), table.sum(axis=0)
        expected: NDArray[np.float64] | None = None
        df = (shape[0] - 1) * (shape[1] - 1)
        if run.disclose == "aggregate":
            independent = np.outer(rows, columns)
            expected = independent / n
            few = bool((expected < FEW).any())
            statistic = float(chi2(n * table - independent, independent, n, yates=correction and df == 1))
        else:
            with run.on_shares():
                independent = (rows[:, np.newaxis] * columns).assume(n * n)
                is_few = (independent < FEW * n).sum() > 0
                difference = (n * table - independent).assume(n * n)
                found = chi2(difference, independent, n, yates=correction and df == 1)
            opened = run.reveal({"statistic": found, "few expected": is_few})
            statistic, few = float(opened["statistic"]), bool(opened["few expected"])
        return Chi2Result(
            **run.finish(),
            title=f"χ² test of independence of {row} and {column}",
            statistic=statistic,
            pvalue=float(stats.chi2.sf(statistic, df)),
            nobs=_tables.all_rows(n),
            dof=df,
            few_expected=few,
            expected_freq=expected,
        )


def chi2(difference: Numbers, independent: Numbers, n: int, *, yates: bool) -> Numbers:
    """Return Σ (O − E)² / E of n·(O − E) and n·E; with Yates's correction by ½, but not beyond 0."""
    off = _tables.floats(difference)
    if yates:
        off = maximum(abs(off) - n / 2, 0.0)
    return (off * off / _tables.floats(independent)).sum() / n


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Chi2Result(HypothesisTest):
    """A χ² test of independence.

    Attributes
    ----------
    dof
        Degrees of freedom.
    few_expected
        Whether a cell is expected to have fewer than five rows; the p-value is then approximate.
    expected_freq
        Expected counts; None where the table was not opened.
    """

    dof: int
    few_expected: bool
    expected_freq: NDArray[np.float64] | None = field(repr=False)

    @property
    def figures(self) -> dict[str, float]:
        """The numbers of the test by their names."""
        return {"statistic": self.statistic, "dof": self.dof, "pvalue": self.pvalue}

    def summary(self) -> str:
        """Return the test as text."""
        text = super().summary()
        if self.few_expected:
            text += f"\nA cell is expected to have fewer than {FEW} rows: the p-value is approximate."
        return text


def fisher_exact(
    cohort: Cohort,
    outcome: str,
    *,
    by: str,
    event: object,
    groups: Sequence[str] | None = None,
    alternative: Alternative = "two-sided",
    disclose: Disclose = "result",
) -> HypothesisTest:
    """Test whether an event is as frequent in two groups, given the margins, without approximation.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    outcome, event
        Column of categories, and the level of it that is counted against all others.
    by, groups
        Column of the groups, and two levels of it; by default its only two.
    alternative
        ``"greater"``: the odds of the event are greater in the first group.
    disclose
        Either mode opens the table of four counts: the p-value tells it anyway. ``"result"`` does so once it
        is known on shares that no margin is small.

    Returns
    -------
    HypothesisTest
        As `scipy.stats.fisher_exact` has it: ``statistic`` is the odds ratio of the sample.

    Raises
    ------
    DataError
        A column or level does not exist or cannot be used.
    RemoteError
        The same at another site.
    PolicyError
        A group, the event or its absence has fewer than `min_cell` rows.

    Notes
    -----
    **Leakage.** Every site learns the four counts, and of each other site which levels it has. A coalition of
    t sites can subtract its own rows.

    **Cost.** For three sites 19 rounds and 3 kB; 4 rounds in the aggregate mode.
    """
    with cohort.federation.analysis(FISHER, disclose) as run:
        part = _tables.agree_two_by_two(
            run,
            cohort,
            outcome,
            event=event,
            by=by,
            groups=groups,
            options={"alternative": (alternative, Alternative)},
        )
        table, _ = _tables.pool(run, part.counts, part.names)
        if run.disclose == "result":
            table = run.reveal({"cells": table})["cells"]
        found = stats.fisher_exact(table, alternative=alternative)
        return HypothesisTest(
            **run.finish(),
            title=f"Fisher's exact test of {outcome} by {by}",
            statistic=float(found.statistic),
            pvalue=float(found.pvalue),
            alternative=alternative,
            nobs=pd.Series(table.sum(axis=1), index=pd.Index(part.labels, name=by), name="nobs"),
        )
