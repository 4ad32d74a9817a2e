"""Groups of linked patients, and their moments as tests take them: the sizes public, the rest secret."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fedstats import levels as level_sets
from fedstats.errors import DataError
from fedstats.hypotests._groups import Groups, check_labels, open_enough
from fedstats.hypotests._moments import GroupMoments
from fedstats.hypotests._result import Options, call_text, check_options
from fedstats.vertical import joined
from fedstats.vertical.joined import PUBLISHED
from fedstats.vertical.moments import power_sums
from protocols.floating import floating
from protocols.long import concatenate, multiply

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.vertical.cohort import VerticalCohort

__all__ = ["PUBLISHED", "grouped"]


def grouped(
    run: Analysis,
    cohort: VerticalCohort,
    column: str,
    by: str,
    groups: Sequence[str] | None,
    options: Options,
) -> tuple[Groups, pd.Series[int], GroupMoments]:
    """Return the groups, their sizes, and their moments on shares.

    Parameters
    ----------
    run
        The analysis, at its start.
    cohort, column, by
        The linked columns; that of the numbers, and that of the groups.
    groups
        Two levels of `by`; its only two by default.
    options
        All others, which must be the same at every site.

    Raises
    ------
    DataError
        A column cannot be used, or there are not two groups.
    PolicyError
        A group has fewer than `min_cell` patients.
    """

    def check() -> list[str]:
        check_options(options)
        if isinstance(groups, str):
            raise DataError(f"groups is a list of levels of {by!r}")
        if not isinstance(by, str) or not isinstance(column, str) or by == column:
            raise DataError("column and by are the names of two columns")
        cohort.schema.require_numeric(column)
        cohort.schema.require(by)
        return [column, by]

    variables = joined.agree(
        run,
        f"{column!r}, by={by!r}, groups={groups!r}, {call_text(options)}",
        check,
        cohort.owners.__getitem__,
        lambda name: (joined.number if name == column else joined.indicators)(cohort, name),
    )
    levels = variables.levels[by]
    labels = levels if groups is None else tuple(level_sets.canonical(level) for level in groups)
    check_labels(by, labels, levels, 2)
    places = [variables.groups[by][levels.index(label)] for label in labels]
    with run.on_shares() as engine:
        counts, _, sums = power_sums(engine, cohort, variables, variables.groups[column], places, 2)
        run.decide_joint(counts.sum())
        opened = open_enough(run, "group sizes", counts[:, 0], labels)
    part = Groups(by, labels, tuple(np.empty(0) for _ in labels))
    n = opened.astype(np.float64)
    size = opened.astype(object)
    place = variables.groups[column][0]
    unit, centre = float(variables.frame.unit[place]), float(variables.frame.centre[place])
    with run.on_shares():
        first, second = sums[0, :, 0], sums[1, :, 0]
        distance = first * int(opened.sum()) - first.sum() * size
        scatter = second * size - multiply(first, first)
        found = floating(concatenate([first, distance, scatter]))
        scaled = (found / np.concatenate([n, n * n.sum(), n * (n - 1)])).reshape(3, len(n))
        moments = GroupMoments(n, scaled[0] * unit + centre, scaled[1] * unit, scaled[2] * (unit * unit))
    return part, part.series(opened, "nobs"), moments
