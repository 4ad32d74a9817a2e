"""Tables of counts of linked columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedstats import _cells
from fedstats._cells import lines_of, open_cells, with_margins
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.vertical import joined
from fedstats.vertical.joined import PUBLISHED

if TYPE_CHECKING:
    from fedstats.tables import CrosstabResult
    from fedstats.vertical.cohort import VerticalCohort

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
            member = joined.spread(engine, cohort, variables, bound=1, fraction=0)
            counting = joined.counting(engine, cohort, variables, [range(len(variables.names))])
            run.decide_joint(counting.sum())
            rows = counting  # combinations of levels so far, for each patient
            for name in names[:-1]:
                its = member[np.array(variables.groups[name])]
                pairs = rows.reshape(len(rows), 1, -1) * its.reshape(1, len(its), -1)
                rows = pairs.reshape(-1, cohort.size).assume(1)
            inner = joined.products(rows, member[np.array(variables.groups[names[-1]])]).ravel()
            counts = _margins(tuple(map(len, levels))) @ inner
        opened = open_cells(run, counts, lines_of(shape)).reshape(*shape)
        return CrosstabResult(
            **run.finish(),
            columns=tuple(names),
            levels=levels,
            min_cell=run.federation.shared_policy.min_cell,
            counts=opened,
        )


def _margins(shape: tuple[int, ...]) -> np.ndarray:
    """Return the matrix that takes the cells of a table to those of the table with margins."""
    cells = int(np.prod(shape))
    return np.stack(
        [with_margins(one.reshape(shape)).ravel() for one in np.eye(cells, dtype=np.int64)], axis=1
    )
