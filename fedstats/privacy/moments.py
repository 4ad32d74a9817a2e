"""Means and variances with differential privacy: three noisy sums of each column.

A value is clipped to its bounds and becomes an integer z between −U and U. A row adds (U, z, z²/U − U/2) to
the sums of each column, a vector of squared norm 9/4·U² at most, the largest at the bounds. Number of values,
mean and variance follow from the noisy sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import pandas as pd

from fedstats.disclosure import Declaration
from fedstats.expressions import Array
from fedstats.privacy import _call
from fedstats.privacy._call import Bounds, Integers
from fedstats.privacy._result import PrivateTable, quantile_of
from fedstats.privacy.accounting import Number

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

#: Bounds of one column, or of each by its name.
Limits: TypeAlias = tuple[float, float] | Mapping[str, tuple[float, float]]

DECLARATION = Declaration(
    "privacy.mean",
    noised={"sums": "number of values, Σx and Σx² of the clipped values of each column, in each group"},
    published=_call.PUBLISHED,
)

#: Columns of the table.
FIGURES: Final = ("count", "mean", "low", "high", "var", "var_low", "var_high")
#: The integer that stands for a bound.
UNIT: Final = 1 << 20


def squared_sensitivity(columns: int) -> int:
    """Return the squared norm of what a row adds to the sums of so many columns, at most."""
    return columns * 9 * UNIT**2 // 4


def contributions(z: Integers) -> Integers:
    """Return what values add to the sums, one a row: ``(values, 3)``."""
    squares = (z * z + UNIT // 2) // UNIT
    return np.column_stack([np.full_like(z, UNIT), z, squares - UNIT // 2])


def mean(
    cohort: Cohort,
    columns: str | Sequence[str],
    *,
    bounds: Limits,
    by: str | None = None,
    rho: Number | None = None,
    epsilon: Number | None = None,
    delta: Number | None = None,
    level: float = 0.95,
) -> PrivateTable:
    """Estimate means and variances over the rows of all sites, with differential privacy.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    columns
        One or more numeric columns; missing values are left out, others clipped to the bounds.
    bounds
        Of all columns, ``(0, 120)``, or of each by its name. Known beforehand, not from these rows: tight
        ones make little noise, and clip.
    by
        Column of groups, whose levels were declared. Groups cost nothing: a row is in one.
    rho, epsilon, delta
        What it may cost: ρ, or ε with δ. See `fedstats.privacy`.
    level
        Of the confidence intervals.

    Returns
    -------
    PrivateTable
        ``count``, ``mean``, ``low``, ``high``, ``var``, ``var_low``, ``var_high`` of each column, or group
        and column. Intervals are for the mean and variance of clipped values in the population that rows are
        drawn from, and account for that and for the noise; those of variances are wide on purpose, whatever
        the distribution. NaN where noise drowns the number of values.

    Raises
    ------
    DataError
        A column is not numeric, has no sound bounds, or `by` no declared levels.
    PolicyError
        A site's rule or budget forbids it.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** The number of values, their sum and sum of squares, with noise: ρ-zCDP for adding or removing
    a row, also for a coalition of t sites that knows its own rows and noise.

    **Cost.** Four rounds; three numbers for each group and column.

    Examples
    --------
    >>> fs.privacy.mean(cohort, "age", bounds=(18, 100), by="arm", rho=0.01).to_frame()  # doctest: +SKIP
    """
    asked = _call.Loss(rho, epsilon, delta)

    def local() -> tuple[list[str], list[Bounds], tuple[str, ...], Integers]:
        _call.check_level(level)
        names = _call.columns_of(columns)
        limits = [Bounds.of(bounds, name) for name in names]
        groups, group = _call.grouped(cohort, by)
        sums = np.zeros((len(groups), len(names), 3), np.int64)
        for number, name in enumerate(names):
            z, used = limits[number].scaled(_call.numbers(cohort, name), UNIT)
            mine = contributions(z)
            for code in range(len(groups)):
                sums[code, number] = mine[used & (group == code)].sum(axis=0)
        return names, limits, groups, sums

    with cohort.federation.analysis(DECLARATION, "noised") as run:
        call = f"columns={columns!r}, bounds={bounds!r}, by={by!r}, level={level!r}"
        (names, limits, groups, sums), its = _call.agree_call(run, cohort, call, asked, local)
        noisy = run.release("sums", sums, squared_sensitivity=squared_sensitivity(len(names)), rho=its)
        estimates = [
            estimate(noisy.sums[code, number] / UNIT, noisy.variance / UNIT**2, limits[number], level)
            for code in range(len(groups))
            for number in range(len(names))
        ]
        index = (
            pd.Index(names, name="column")
            if by is None
            else pd.MultiIndex.from_product([groups, names], names=[by, "column"])
        )
        return PrivateTable(
            **run.finish(),
            rho=its,
            level=level,
            title="Means and variances" + (f" by {by}" if by else ""),
            frame=pd.DataFrame(np.array(estimates), index, columns=list(FIGURES)),
            noise=float(np.sqrt(noisy.variance)) / UNIT,
        )


def estimate(sums: Array, variance: float, bounds: Bounds, level: float) -> tuple[float, ...]:
    """Return `FIGURES` of a column, from noisy sums in units of a row.

    Let N, S and T be the sums: m = S/N and q = T/N + ½ estimate the mean of z and of z². To first order the
    noise in m is (e_S − m·e_N)/N, and that in q − m² is (e_T − 2m·e_S + (2m² − q + ½)·e_N)/N. Sampling adds
    v/n, and at most v((1 + |m|)² − v)/n, since (z − m)² lies between 0 and (1 + |m|)².
    """
    count = float(sums[0])
    reach, whole = quantile_of(level), bounds.half**2
    if count <= 3 * np.sqrt(variance) or count < 2:
        return (count, np.nan, bounds.low, bounds.high, np.nan, 0.0, whole)
    m = float(np.clip(sums[1] / count, -1, 1))
    q = float(np.clip(sums[2] / count + 0.5, m * m, 1))
    v = q - m * m
    of_mean = np.sqrt(variance * (1 + m * m) / count**2 + v / count)
    noise = variance * (1 + 4 * m * m + (2 * m * m - q + 0.5) ** 2) / count**2
    of_var = np.sqrt(noise + max(v * ((1 + abs(m)) ** 2 - v), 0.0) / count)
    low, high = np.clip([m - reach * of_mean, m + reach * of_mean], -1, 1) * bounds.half + bounds.centre
    var_low, var_high = np.clip([v - reach * of_var, v + reach * of_var], 0, 1) * whole
    return (
        count,
        m * bounds.half + bounds.centre,
        low,
        high,
        v * whole * count / (count - 1),
        var_low,
        var_high,
    )
