"""The χ² test of independence with differential privacy, which knows that the table has noise.

With noise, χ² does not have the χ² distribution when the columns are independent: it is larger, and more so
the smaller the table. The p-value is that of the statistic among those of tables that were drawn, noise and
all, from the independent probabilities that fit the noisy table best [1]_. The draws are made of what is
public, by numbers that follow from it, so that every site finds the same.

References
----------
.. [1] M. Gaboardi, H. Lim, R. Rogers and S. Vadhan, "Differentially Private Chi-Squared Hypothesis Testing:
   Goodness of Fit and Independence Testing", ICML 2016, algorithm MCIndep.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from fedstats import _table
from fedstats.disclosure import Declaration
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.privacy import _call
from fedstats.privacy._call import Integers
from fedstats.privacy._result import PrivateResult
from fedstats.privacy.accounting import Number
from fedstats.privacy.counts import NOISED, SQUARED_SENSITIVITY, tabulated, with_interval

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

DECLARATION = Declaration("privacy.chi2_contingency", noised=NOISED, published=_call.PUBLISHED)

#: Tables that are drawn: p-values are multiples of 1/(draws + 1).
DRAWS: Final = 9_999
#: Expected counts are never taken to be smaller.
_LEAST = 0.5


def chi2_contingency(
    cohort: Cohort,
    row: str,
    column: str,
    *,
    rho: Number | None = None,
    epsilon: Number | None = None,
    delta: Number | None = None,
    level: float = 0.95,
) -> PrivateTest:
    """Test whether two columns of categories are independent, with differential privacy.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    row, column
        Columns whose levels were declared, or of truth values. Rows where one is missing are left out.
    rho, epsilon, delta
        What it may cost: ρ, or ε with δ. See `fedstats.privacy`.
    level
        Of the confidence intervals of the counts.

    Raises
    ------
    DataError
        A column has no declared levels, or one level only.
    PolicyError
        A site's rule or budget forbids it.
    RemoteError
        The same at another site.
    EstimationError
        Noise drowns the number of rows.

    Notes
    -----
    **Leakage.** The table with noise: ρ-zCDP for adding or removing a row, also for a coalition of t sites
    that knows its own rows and noise.

    **Cost.** Four rounds; one number for each cell.

    Examples
    --------
    >>> fs.privacy.chi2_contingency(cohort, "arm", "response", rho=0.01).pvalue  # doctest: +SKIP
    """
    asked = _call.Loss(rho, epsilon, delta)

    def local() -> tuple[list[tuple[str, ...]], Integers]:
        _call.check_level(level)
        names = _call.columns_of([row, column])
        levels, table = tabulated(cohort, names)
        if min(map(len, levels)) < 2:
            raise DataError(
                "both columns need two declared levels at least: a constant is independent of everything"
            )
        return levels, table

    with cohort.federation.analysis(DECLARATION, "noised") as run:
        call = f"row={row!r}, column={column!r}, level={level!r}"
        (levels, table), its = _call.agree_call(run, cohort, call, asked, local)
        noisy = run.release("counts", table, squared_sensitivity=SQUARED_SENSITIVITY, rho=its)
        statistic, pvalue = by_simulation(noisy.sums, noisy.variance, DRAWS)
        index = pd.MultiIndex.from_product(levels, names=[row, column])
        return PrivateTest(
            **run.finish(),
            rho=its,
            level=level,
            title=f"χ² test of independence of {row} and {column}",
            statistic=statistic,
            pvalue=pvalue,
            dof=(len(levels[0]) - 1) * (len(levels[1]) - 1),
            counts=with_interval(noisy.sums.ravel(), noisy.variance, level, index),
        )


def by_simulation(table: Array, variance: float, draws: int) -> tuple[float, float]:
    """Return χ² of a noisy table, and its p-value by Monte Carlo.

    Raises
    ------
    EstimationError
        Noise drowns the number of rows.
    """
    total = float(table.sum())
    if total <= 3 * np.sqrt(variance * table.size) or total < 1:
        raise EstimationError("noise drowns the number of rows: spend more, or use more rows")
    statistic = float(chi2(table[np.newaxis])[0])
    rows, columns = (np.maximum(table.sum(axis=axis), _LEAST) for axis in (1, 0))
    chances = np.outer(rows / rows.sum(), columns / columns.sum())
    random = np.random.default_rng(list(hashlib.sha256(table.tobytes()).digest()))
    drawn = random.multinomial(round(total), chances.ravel(), draws).reshape(draws, *table.shape)
    beyond = chi2(drawn + random.normal(scale=np.sqrt(variance), size=drawn.shape)) >= statistic
    return statistic, float((1 + np.count_nonzero(beyond)) / (1 + draws))


def chi2(tables: Array) -> Array:
    """Return Σ (O − E)²/E of each of several tables, with expected counts of `_LEAST` at least."""
    rows, columns = tables.sum(axis=2, keepdims=True), tables.sum(axis=1, keepdims=True)
    total = np.maximum(tables.sum(axis=(1, 2), keepdims=True), 1.0)
    expected = np.maximum(rows, _LEAST) * np.maximum(columns, _LEAST) / total
    return np.asarray(((tables - expected) ** 2 / np.maximum(expected, _LEAST)).sum(axis=(1, 2)))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PrivateTest(PrivateResult):
    """A test on a noisy table; the same at every site.

    Attributes
    ----------
    title
        Which test, of which columns.
    statistic, pvalue
        χ² of the noisy table, and how often noisy tables of independent columns exceed it.
    dof
        Degrees of freedom that χ² would have without noise.
    counts
        The noisy table with confidence intervals.
    """

    title: str
    statistic: float
    pvalue: float
    dof: int
    counts: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return the numbers of the test as a single row."""
        return pd.DataFrame([{"statistic": self.statistic, "dof": self.dof, "pvalue": self.pvalue}])

    def summary(self) -> str:
        """Return the test as text."""
        figures = [("statistic", self.statistic), ("dof", self.dof), ("pvalue", self.pvalue)]
        lines = [self.title, "", *_table.pair_lines(figures), "", *_table.frame_lines(self.counts)]
        return "\n".join([*lines, *self._closing()])
