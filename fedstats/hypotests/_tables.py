"""Tables of counts for tests: pooled, opened or secret, and none whose totals are too small.

What may not be small are the margins that a test names, such as the rows of each group. In the result mode
that is decided on shares; single cells may be small there, as long as what is opened is a statistic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _selection
from fedstats import levels as level_sets
from fedstats._counts import MOST
from fedstats._selection import Selection, Wanted
from fedstats.errors import DataError, PolicyError
from fedstats.hypotests._moments import Numbers
from fedstats.hypotests._result import Options, call_text, check_options
from fedstats.schema import Schema
from protocols.floating import floating
from protocols.inputs import sum_shares
from protocols.secret import stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

#: What `pool` opens, and `agree` publishes; part of the declaration of every test that calls them.
AGGREGATE: Mapping[str, str] = {"table": "all counts, small ones too"}
RESULT: Mapping[str, str] = {
    "margins": "whether there are min_cell rows of each level, decided on shares",
    "rows": "number of rows; 0 if there are fewer than min_cell",
}
PUBLISHED = _selection.PUBLISHED


def agree(run: Analysis, cohort: Cohort, columns: Sequence[str], *, options: Options) -> Selection:
    """Agree with the other sites on columns of categories; see `_selection.select`."""

    def wanted(schema: Schema) -> Wanted:
        check_options(options)
        _selection.check_distinct(columns, "the columns of a table")
        for name in columns:
            schema.require(name)
        return Wanted(categorical=columns)

    return _selection.select(run, cohort, f"{list(columns)!r}, {call_text(options)}", wanted)


def level_of(part: Selection, column: str, level: object) -> int:
    """Return the position of a level, which may be given as text, number or truth value."""
    text = level_sets.canonical(level)
    if text not in part.levels[column]:
        raise DataError(
            f"column {column!r} has no level {text!r}; the levels are "
            f"{', '.join(map(repr, part.levels[column]))}"
        )
    return part.levels[column].index(text)


def two_groups(part: Selection, by: str, groups: Sequence[str] | None) -> list[int]:
    """Return the positions of the two levels that are compared, of a column's only two by default."""
    chosen = part.levels[by] if groups is None else groups
    if isinstance(chosen, str) or len(set(chosen)) != 2 or len(chosen) != 2:
        raise DataError(
            f"two groups are compared; {by!r} makes {', '.join(map(repr, part.levels[by]))}: choose two by "
            "groups=[…]"
        )
    return [level_of(part, by, level) for level in chosen]


@dataclass(frozen=True, eq=False, repr=False)
class TwoByTwo:
    """This site's counts of an event in two groups.

    Attributes
    ----------
    counts
        Shape ``(2, 2)``, or ``(strata, 2, 2)``: a row for each group, the event before its absence.
    names
        What the margins count, one axis after the other.
    labels
        The two groups.
    """

    counts: NDArray[np.int64]
    names: tuple[str, ...]
    labels: tuple[str, str]


def agree_two_by_two(
    run: Analysis,
    cohort: Cohort,
    outcome: str,
    *,
    event: object,
    by: str,
    groups: Sequence[str] | None,
    options: Options,
    strata: str | None = None,
) -> TwoByTwo:
    """Agree on an outcome, the event among its levels, the column of groups, and strata if there are any.

    Raises
    ------
    DataError
        See `_selection.select`; or there is no such level, or there are not two groups.
    """
    columns = [by, outcome] if strata is None else [strata, by, outcome]
    asked: Options = {**options, "event": (level_sets.canonical(event), None), "groups": (groups, None)}
    part = agree(run, cohort, columns, options=asked)
    chosen, case = two_groups(part, by, groups), level_of(part, outcome, event)
    table = part.table(columns)[..., chosen, :]
    cases = table[..., case]
    labels = [part.levels[by][group] for group in chosen]
    happened = f"{outcome} = {part.levels[outcome][case]}"
    return TwoByTwo(
        np.stack([cases, table.sum(axis=-1) - cases], axis=-1),
        (
            *([] if strata is None else [f"{strata} = {level}" for level in part.levels[strata]]),
            *[f"{by} = {label}" for label in labels],
            happened,
            f"not {happened}",
        ),
        (labels[0], labels[1]),
    )


def pool(run: Analysis, counts: NDArray[np.int64], names: Sequence[str]) -> tuple[Numbers, int]:
    """Return pooled counts, opened or secret, and the number of rows; margins of the table are large enough.

    Parameters
    ----------
    run
        The analysis, past `agree`. Its declaration includes `AGGREGATE` and `RESULT`.
    counts
        This site's table.
    names
        What the margins count, one axis after the other.

    Raises
    ------
    PolicyError
        A margin has fewer than `min_cell` rows. Raised at every site alike, naming it.

    Notes
    -----
    **Leakage.** `AGGREGATE` or `RESULT`. **Cost.** Two rounds in the
    aggregate mode; in the result mode 14 for three parties.
    """
    least = run.federation.shared_policy.min_cell
    sums = np.concatenate([_margins(counts.shape), np.ones((1, counts.size), np.int64)])
    table: Numbers
    if run.disclose == "aggregate":
        table = run.sum("table", counts)
        margins = sums @ table.ravel()
        enough, n = margins[:-1] >= least, int(margins[-1])
    else:
        with run.on_shares() as engine:
            table = sum_shares(engine, counts, bound=MOST)
            secret = sums @ table.ravel()
            large = secret >= least
            opened = {"margins": large[:-1], "rows": secret[-1] * large[-1]}
        found = run.reveal(opened)
        enough, n = found["margins"] == 1, int(found["rows"])
        table = table.assume(n)
    few = [name for name, is_large in zip(names, enough.tolist(), strict=True) if not is_large]
    if few:
        raise PolicyError(
            f"{run.declaration.name}: fewer than {least} rows (min_cell) over all sites where "
            f"{', '.join(few)}: leave it out, or merge rare levels"
        )
    return table, n


def _margins(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return which cells each margin adds up, of each axis in turn."""
    places = np.indices(shape).reshape(len(shape), -1)
    return np.concatenate(
        [(places[axis] == np.arange(length)[:, np.newaxis]) for axis, length in enumerate(shape)]
    ).astype(np.int64)


def all_rows(n: int) -> pd.Series[int]:
    """Return a number of rows as `HypothesisTest` has it, of tests that tell those of no group."""
    return pd.Series([n], index=pd.Index(["all"]), name="nobs")


def stacked(parts: Sequence[Numbers]) -> Numbers:
    """Join arrays of whole numbers along a new axis."""
    return np.stack(parts) if isinstance(parts[0], np.ndarray) else stack(parts)


def floats(x: Numbers) -> Numbers:
    """Return whole numbers as floats; secret ones as secret floats."""
    return x.astype(np.float64) if isinstance(x, np.ndarray) else floating(x)
