"""Tables of counts of linked columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedstats import _cells
from fedstats._cells import lines_of, open_cells, with_margins
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.vertical import halves, joined
from fedstats.vertical.joined import PUBLISHED, Variables
from protocols.secret import SecretArray

if TYPE_CHECKING:
    from fedstats.tables import CrosstabResult
    from fedstats.vertical.cohort import VerticalCohort
    from protocols.engine import Engine

CROSSTAB = Declaration("vertical.crosstab", result=_cells.RESULT, published=PUBLISHED)


def crosstab(cohort: VerticalCohort, columns: Sequence[str], disclose: Disclose) -> CrosstabResult:
    """Count combinations of levels of linked columns; see `fedstats.crosstab`.

    Notes
    -----
    **Cost.** Some 20 rounds for three parties. Of three columns or more, a number for each patient and
    combination of all but one of them.
    """
    from fedstats.tables import CrosstabResult, shape_of

    def check() -> list[str]:
        names = list(columns)
        if isinstance(columns, str) or len(names) < 2 or len(set(names)) != len(names):
            raise DataError("a crosstab has two columns at least, each named once")
        for name in names:
            cohort.schema.require(name)
        return names

    with cohort.federation.analysis(CROSSTAB, disclose) as run:
        variables = joined.agree(
            run,
            f"columns={columns!r}",
            check,
            cohort.owners.__getitem__,
            lambda name: joined.indicators(cohort, name),
        )
        names = list(columns)
        levels = tuple(variables.levels[name] for name in names)
        shape = shape_of(names, levels)
        with run.on_shares() as engine:
            groups = [variables.groups[name] for name in names]
            cells = (halves.table if halves.are_there(engine, cohort) else _table)(
                engine, cohort, variables, groups
            )
            run.decide_joint(cells.sum())
            counts = _margins(tuple(map(len, levels))) @ cells
        opened = open_cells(run, counts, lines_of(shape)).reshape(*shape)
        return CrosstabResult(
            **run.finish(),
            columns=tuple(names),
            levels=levels,
            min_cell=run.federation.shared_policy.min_cell,
            counts=opened,
        )


def _table(
    engine: Engine, cohort: VerticalCohort, variables: Variables, columns: Sequence[Sequence[int]]
) -> SecretArray:
    """Return `halves.table` of columns of any number of sites."""
    member = joined.spread(engine, cohort, variables, bound=1, fraction=0)
    rows = joined.counting(engine, cohort, variables, [range(len(variables.names))])
    *others, last = (member[np.array(places)] for places in columns)
    for its in others:
        pairs = rows.reshape(len(rows), 1, -1) * its.reshape(1, len(its), -1)
        rows = pairs.reshape(-1, cohort.size).assume(1)  # combinations of levels so far, for each patient
    return joined.products(rows, last).ravel()


def _margins(shape: tuple[int, ...]) -> np.ndarray:
    """Return the matrix that takes the cells of a table to those of the table with margins."""
    cells = int(np.prod(shape))
    return np.stack(
        [with_margins(one.reshape(shape)).ravel() for one in np.eye(cells, dtype=np.int64)], axis=1
    )
