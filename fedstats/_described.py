"""What a Table 1 shows of columns by group: what is opened for it, and how the groups compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _balance
from fedstats import _ranks as ranks
from fedstats._balance import Comparison
from fedstats._cells import Counts, lines_of, open_cells, with_margins
from fedstats._counts import open_counts
from fedstats._means import means_and_variances
from fedstats._selection import Selection, check_distinct
from fedstats.errors import DataError
from fedstats.quantiles import find_quantiles, ordered
from fedstats.schema import Kind, Schema
from fedstats.tables import ALL
from protocols.secret import concatenate, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: Kinds that a table describes by default.
_DESCRIBED = (Kind.BOOL, Kind.INTEGER, Kind.FLOAT, Kind.CATEGORICAL)
_QUARTILES = (0.25, 0.5, 0.75)

#: Which rows are in each group.
Groups = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Plan:
    """Which columns are described, and how."""

    columns: tuple[str, ...]
    numeric: tuple[str, ...]
    nonnormal: tuple[str, ...]
    ranked: tuple[str, ...]
    categorical: tuple[str, ...]
    skipped: Mapping[str, str]

    @classmethod
    def build(
        cls,
        schema: Schema,
        columns: Sequence[str] | None,
        by: str | None,
        categorical: Sequence[str],
        nonnormal: Sequence[str],
        ranked: Sequence[str],
        disclose: str,
    ) -> Plan:
        """Return what a call asks for, see `table1`; DataError if it cannot be done."""
        if not isinstance(by, str | None):
            raise DataError("by is the name of one column: make one of several columns before, at every site")
        skipped: dict[str, str] = {}
        if columns is None:
            names = [name for name, kind in schema.kinds.items() if name != by and kind in _DESCRIBED]
            skipped |= schema.unusable
        else:
            names = check_distinct(columns, "columns")
        kinds = {name: schema.require(name) for name in names}
        for name, kind in kinds.items():
            if kind not in _DESCRIBED or name == by:
                what = "makes the groups" if name == by else f"is {kind}"
                raise DataError(f"column {name!r} {what} and cannot be described: leave it out")
        if not names:
            raise DataError("there is no column to describe")
        as_categories = [
            name for name in names if name in categorical or kinds[name] in (Kind.CATEGORICAL, Kind.BOOL)
        ]
        numeric = [name for name in names if name not in as_categories]
        for what, given in (("categorical", categorical), ("nonnormal", nonnormal), ("ranked", ranked)):
            if isinstance(given, str) or not set(given) <= set(names if what == "categorical" else numeric):
                which = "columns" if what == "categorical" else "numeric columns"
                raise DataError(f"{what} is a list of {which} of the table")
        if (nonnormal or ranked) and disclose == "aggregate":
            raise DataError("quartiles and ranks need disclose='result': leave out nonnormal and ranked")
        if ranked and by is None:
            raise DataError("ranked columns are compared between groups: give by, or leave out ranked")
        return cls(
            tuple(names), tuple(numeric), tuple(nonnormal), tuple(ranked), tuple(as_categories), skipped
        )


def numbers(run: Analysis, plan: Plan, chosen: Selection, groups: Groups) -> pd.DataFrame:
    """Open what describes numeric columns, in each group, and in all rows as ``All`` at the end."""
    names = [*groups, ALL] if len(groups) > 1 else list(groups)
    index = pd.MultiIndex.from_product([plan.numeric, names], names=["column", "group"])
    frame = pd.DataFrame(np.nan, index, ["count", "mean", "var", "q1", "median", "q3"])
    if not plan.numeric:
        return frame
    enough = run.federation.shared_policy.min_cell
    values = [ordered(chosen.numbers[name][mask]) for name in plan.numeric for mask in groups.values()]
    n = open_counts(run, "numbers of values", np.array([len(x) for x in values]), enough)
    n = np.where(n < max(enough, 2), -1, n)
    used = np.flatnonzero(n > 0)
    moments = np.full((len(n), 3), np.nan)
    moments[used, 0] = n[used]
    moments[used, 1:] = np.stack(
        means_and_variances(run, [values[which] for which in used.tolist()], n[used]), axis=1
    )
    for name, its in zip(plan.numeric, moments.reshape(len(plan.numeric), -1, 3), strict=True):
        rows = [*its, _balance.pooled(*its.T)] if len(groups) > 1 else its
        frame.loc[name, ["count", "mean", "var"]] = np.array(rows)
    if plan.nonnormal:
        within = np.logical_or.reduce(list(groups.values()))
        wanted = [(name, group) for name in plan.nonnormal for group in names]
        sets = [ordered(chosen.numbers[name][groups.get(group, within)]) for name, group in wanted]
        rows = frame.index.get_indexer(pd.MultiIndex.from_tuples(wanted))
        number = frame["count"].fillna(-1).to_numpy(np.int64)[rows]
        frame.iloc[rows, 3:] = find_quantiles(run, sets, number, np.array(_QUARTILES))
    return frame


def counted(run: Analysis, plan: Plan, chosen: Selection, groups: Groups) -> dict[str, Counts]:
    """Open the counts of categories, shape ``(levels + 1, groups + 1)`` for each column, all in one go."""
    tables, lines, start = [], [], 0
    for name in plan.categorical:
        codes = chosen.codes[name]
        size = len(chosen.levels[name])
        by_group = [np.bincount(codes[mask & (codes >= 0)], minlength=size) for mask in groups.values()]
        table = with_margins(np.array(by_group, np.int64).T)
        lines += [line.shifted(start) for line in lines_of(table.shape)]
        tables.append(table)
        start += table.size
    if not tables:
        return {}
    opened = open_cells(run, np.concatenate([table.ravel() for table in tables]), lines)
    ends = np.cumsum([0, *(table.size for table in tables)]).tolist()
    return {
        name: opened[first:end].reshape(*table.shape)
        for name, table, (first, end) in zip(plan.categorical, tables, pairwise(ends), strict=True)
    }


def ranked(
    run: Analysis, plan: Plan, chosen: Selection, groups: Groups, numeric: pd.DataFrame
) -> dict[str, Comparison]:
    """Compare groups by ranks, in the columns of which this is asked for and that have values enough."""
    if not plan.ranked or len(groups) < 2:
        return {}
    rows = np.logical_or.reduce(list(groups.values()))
    lengths = ranks.agree_lengths(run, int(rows.sum()))
    group = np.select(list(groups.values()), np.arange(len(groups)), -1)
    n = pd.DataFrame({name: numeric["count"][name].loc[list(groups)] for name in plan.ranked}).T
    n = n.dropna().astype(np.int64)
    sums, ties = [], []
    for part in ranks.at_a_time(len(n), sum(lengths)):
        lists, counts = [], n.iloc[part].sum(axis=1).tolist()
        for name in n.index[part]:
            x = chosen.numbers[name]
            used = rows & ~np.isnan(x)
            members = group[used] == np.arange(len(groups) - 1)[:, np.newaxis]
            lists.append(np.concatenate([ranks.keys(x[used])[np.newaxis], members.astype(np.int64)]))
        with run.on_shares() as engine:
            shared = ranks.share_lists(engine, lengths, lists)
            sizes = [sum(lengths)] * len(lists)
            ranking = ranks.rank_lists(shared.key, *shared.columns, sizes=sizes, counts=counts)
            *its, cubes = ranking.products(
                *((member, ranking.doubled) for member in ranking.columns), (ranking.block, ranking.block)
            )
            sums.append(stack(its, axis=1))
            ties.append(cubes - np.array(counts))
    if not sums:
        return {}
    opened = run.reveal({"rank sums": concatenate(sums), "ties": concatenate(ties)})
    return {
        name: _balance.kruskal_wallis(its, rank_sums / 2, float(tied))
        for name, its, rank_sums, tied in zip(
            n.index, n.to_numpy(np.float64), opened["rank sums"], opened["ties"], strict=True
        )
    }


def compared(
    plan: Plan, numeric: pd.DataFrame, counts: Mapping[str, Counts], by_ranks: Mapping[str, Comparison]
) -> pd.DataFrame:
    """Return ``test, statistic, pvalue, smd`` of each column's groups, where nothing of them is hidden."""
    rows = {}
    for name in plan.columns:
        found, smd = _balance.NONE, np.nan
        if name in counts:
            table = counts[name].shown[:-1, :-1]
            if table.shape[1] > 1 and not counts[name].hidden[:-1, :-1].any():
                found, smd = _balance.chi_squared(table), _balance.difference_of_proportions(table)
        else:
            n, mean, var = numeric.loc[name, ["count", "mean", "var"]].to_numpy(float)[:-1].T
            if len(n) > 1 and not np.isnan(n).any():
                smd = _balance.difference_of_means(mean, var)
                if name not in (*plan.nonnormal, *plan.ranked):
                    found = _balance.analysis_of_variance(n, mean, var)
            found = by_ranks.get(name, found)
        rows[name] = (found.test, found.statistic, found.pvalue, smd)
    return pd.DataFrame.from_dict(rows, "index", columns=["test", "statistic", "pvalue", "smd"])
