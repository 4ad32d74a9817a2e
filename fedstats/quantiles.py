"""Quantiles of columns over the rows of all sites, exact, with nothing opened but them.

They are found digit by digit by counts that stay on shares (`protocols.bisection`). Before, the number of
values of each column and group is compared with `min_cell`, and opened if it is not below: ranks are public.

A quantile is an order statistic or lies between two of them, and so tells of single patients, most so at the
ends: one that fewer than `min_cell` values do not exceed, or are not exceeded by, is not computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _table
from fedstats._counts import open_counts
from fedstats._listed import listed
from fedstats._positions import Method, check_method, positions
from fedstats._selection import PUBLISHED, Selection, Wanted, check_distinct, select
from fedstats.disclosure import Declaration
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.results import Result
from fedstats.schema import Schema
from protocols import bisection

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

#: What a call opens; part of the declaration of every analysis that calls `find_quantiles`.
RESULT: Mapping[str, str] = {
    "numbers of values": "number of values of each column, in each group; of fewer than min_cell, that it "
    "is so",
    "quantiles": "the quantiles, digit by digit; 64 bits each in all",
}
DECLARATION = Declaration("quantile", result=RESULT, published=PUBLISHED)

#: The quantiles alone: `"result"` is the one mode.
OnlyResult = Literal["result"]


def quantile(
    cohort: Cohort,
    columns: str | Sequence[str],
    q: float | Sequence[float] = 0.5,
    *,
    by: str | None = None,
    method: Method = "linear",
    disclose: OnlyResult = "result",
) -> QuantileResult:
    """Compute quantiles of columns over the rows of all sites, as `numpy.quantile` of the pooled rows.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    columns
        One or more numeric columns; missing values are left out.
    q
        One or more levels, between 0 and 1.
    by
        Column of groups; rows where it is missing belong to none.
    method
        How to interpolate between neighbouring values, as for `numpy.quantile`: all of its methods.
    disclose
        ``"result"``: only the quantiles are opened. There is no cheaper way that opens more.

    Returns
    -------
    QuantileResult
        Number of values and quantiles of each column, or of each group and column. NaN where there are
        fewer values than the federation's ``min_cell``, or fewer than that up to the quantile or from it on:
        so no minimum and no maximum.

    Raises
    ------
    DataError
        A column does not exist, is not numeric or has infinite values, q or method is none, or `by` has
        levels that would identify rows.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** Every site learns which levels of `by` each site has, which columns and groups have fewer
    than ``min_cell`` values, how many the others have, and the quantiles: their 64 bits, hence an exact
    value of some patient where a quantile is one. Of two values between which it lies it learns nothing
    else. A coalition of t sites learns the same.

    Cost: for three sites and one quantile 144 rounds, and 4 MB sent by each; 109 rounds and 0.4 MB where it
    needs no interpolation. For 60 quantiles 252 rounds and 22 MB.

    Examples
    --------
    >>> fs.quantile(cohort, ["age", "bmi"], [0.25, 0.5, 0.75], by="arm").to_frame()  # doctest: +SKIP
    """
    levels, names = listed(q), [columns] if isinstance(columns, str) else columns
    return _computed(cohort, names, levels, by, method, disclose, f"quantile, q={levels!r}")


def median(
    cohort: Cohort,
    columns: str | Sequence[str],
    *,
    by: str | None = None,
    disclose: OnlyResult = "result",
) -> QuantileResult:
    """Compute medians; see `quantile`."""
    return quantile(cohort, columns, 0.5, by=by, disclose=disclose)


def iqr(
    cohort: Cohort,
    columns: str | Sequence[str],
    *,
    by: str | None = None,
    method: Method = "linear",
    disclose: OnlyResult = "result",
) -> QuantileResult:
    """Compute quartiles, and `QuantileResult.iqr` between them; see `quantile`. Both quartiles are opened."""
    return quantile(cohort, columns, [0.25, 0.75], by=by, method=method, disclose=disclose)


def _computed(
    cohort: Cohort,
    columns: Sequence[str],
    levels: tuple[float, ...],
    by: str | None,
    method: Method,
    disclose: str,
    call: str,
) -> QuantileResult:
    def wanted(_: Schema) -> Wanted:
        names = check_distinct(columns, "columns")
        if not levels or not all(0 <= level <= 1 for level in levels):
            raise DataError("q is one level or a list of them, between 0 and 1")
        if len(set(levels)) != len(levels):
            raise DataError("q names a level more than once")
        check_method(method)
        if not (by is None or isinstance(by, str)):
            raise DataError("by is the name of one column: make one of several columns before, at every site")
        return Wanted(names, [] if by is None else [by])

    with cohort.federation.analysis(DECLARATION, disclose) as run:
        call = f"{call}, columns={list(columns)!r}, by={by!r}, method={method!r}"
        chosen = select(run, cohort, call, wanted)
        groups = grouped(chosen, by)
        values = [ordered(x[rows]) for rows in groups.values() for x in chosen.numbers.values()]
        enough = run.federation.shared_policy.min_cell
        numbers = open_counts(run, "numbers of values", np.array([len(x) for x in values]), enough)
        found = find_quantiles(run, values, numbers, np.array(levels), method)
        index = (
            pd.Index(chosen.numbers, name="column")
            if by is None
            else pd.MultiIndex.from_product([groups, chosen.numbers], names=[by, "column"])
        )
        return QuantileResult(
            **run.finish(),
            by=by,
            q=levels,
            method=method,
            min_cell=enough,
            numbers=pd.Series(pd.arrays.IntegerArray(numbers, numbers < 0), index=index, name="count"),
            quantiles=pd.DataFrame(found, index=index, columns=list(levels)),
        )


def grouped(chosen: Selection, by: str | None) -> dict[str, NDArray[np.bool_]]:
    """Return which rows are in each group, in the order of levels; all of them if none groups."""
    if by is None:
        return {"": np.ones(len(next(iter(chosen.numbers.values()))), np.bool_)}
    return {level: chosen.codes[by] == code for code, level in enumerate(chosen.levels[by])}


def ordered(values: Array) -> Array:
    """Return the values that are not missing, in ascending order."""
    return np.sort(values[~np.isnan(values)])


def find_quantiles(
    run: Analysis, values: Sequence[Array], numbers: NDArray[np.int64], q: Array, method: Method = "linear"
) -> Array:
    """Open quantiles of many sets of values.

    Parameters
    ----------
    run
        The analysis; its declaration includes `RESULT`. Called once in an analysis.
    values
        This site's values of each set, in ascending order.
    numbers
        How many each set has over all sites, public; −1 where they are few.
    q, method
        As for `quantile`.

    Returns
    -------
    ndarray
        Shape ``(sets, len(q))``; NaN where there are too few values in all, or on a side of the quantile.
    """
    enough = run.federation.shared_policy.min_cell
    place = positions(np.maximum(numbers, 1)[:, np.newaxis].astype(np.float64), q, method)
    rank = np.floor(place).astype(np.int64)
    from_it_on = numbers[:, np.newaxis] - np.ceil(place).astype(np.int64)
    allowed = (rank + 1 >= enough) & (from_it_on >= enough)
    found = np.full(place.shape, np.nan)
    if allowed.any():
        chosen = [values[which] for which, _ in np.argwhere(allowed)]
        places = bisection.Places(rank[allowed], (place - rank)[allowed])
        for least, _ in narrowed(run, chosen, places):
            found[allowed] = least
    return found


def narrowed(
    run: Analysis, values: Sequence[Array], places: bisection.Places, label: str = "quantiles"
) -> Iterator[tuple[Array, Array]]:
    """Open quantiles digit by digit, and yield after each digit what they are not below and not above.

    Parameters
    ----------
    run
        The analysis, which declares `label`.
    values
        For each quantile this site's values in ascending order.
    places
        Where the quantiles lie.
    label
        What their digits are opened as. Those that the caller does not ask for stay secret.
    """
    prefix, done = np.zeros(len(values), np.uint64), 0
    for step, width in enumerate(bisection.widths(run.engine, len(values))):
        with run.on_shares() as engine:
            digits = bisection.next_digits(engine, values, places, prefix, done, width)
        prefix = prefix << np.uint64(width) | run.reveal({label: digits}, part=step)[label].astype(np.uint64)
        done += width
        rest = np.uint64(bisection.BITS - done)
        least = prefix << rest
        yield bisection.to_floats(least), bisection.to_floats(least | ((np.uint64(1) << rest) - np.uint64(1)))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class QuantileResult(Result):
    """Quantiles of columns, the same at every site.

    Attributes
    ----------
    by
        The grouping column, or None.
    q
        The levels.
    method
        How was interpolated.
    min_cell
        Fewer values, in all or on one side, have no quantile.
    numbers
        Number of values of each column, or group and column; missing where suppressed.
    quantiles
        A column for each level; NaN where suppressed.
    """

    by: str | None
    q: tuple[float, ...]
    method: str
    min_cell: int
    numbers: pd.Series[int] = field(repr=False)
    quantiles: pd.DataFrame = field(repr=False)

    def iqr(self) -> pd.Series[float]:
        """Return the range between the quartiles, if both were computed."""
        if not {0.25, 0.75} <= set(self.q):
            raise DataError("the interquartile range needs the levels 0.25 and 0.75")
        return (self.quantiles[0.75] - self.quantiles[0.25]).rename("iqr")

    def to_frame(self) -> pd.DataFrame:
        """Return ``count`` and a column for each level; and ``iqr`` after those of the quartiles alone."""
        frame = pd.concat([self.numbers, self.quantiles], axis=1)
        return frame.assign(iqr=self.iqr()) if self.q == (0.25, 0.75) else frame

    def summary(self) -> str:
        """Return the table as text."""
        over = f"over {len(self.sites)} sites" + (f", by {self.by}" if self.by else "")
        lines = [f"Quantiles ({self.method}) {over}", "", *_table.frame_lines(self.to_frame())]
        if self.quantiles.isna().any(axis=None):
            lines += ["", f"– suppressed: fewer than {self.min_cell} values, in all or on one side"]
        return "\n".join([*lines, "", f"Cost: {self.cost}"])
