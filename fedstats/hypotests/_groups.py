"""The rows of a test: values of a column in the groups that another column makes, and how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _selection
from fedstats import levels as level_sets
from fedstats._counts import open_counts
from fedstats._selection import Wanted
from fedstats.cohort import largest
from fedstats.errors import DataError, PolicyError
from fedstats.expressions import Array
from fedstats.hypotests._result import Options, call_text, check_options
from fedstats.schema import Schema
from protocols.secret import SecretArray

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

#: What `agree` publishes and `open_sizes` opens; part of the declaration of every test that calls them.
PUBLISHED = _selection.PUBLISHED
SIZES = "number of rows of each group"
SIZES_IF_ENOUGH = "number of rows of each group; of one with fewer than min_cell, only that"


@dataclass(frozen=True, eq=False, repr=False)
class Groups:
    """This site's values, by group.

    Attributes
    ----------
    by
        The column that makes the groups; None if there is one group of all rows.
    labels
        The groups, the same at every site.
    rows
        For each group, its values at this site; none missing.
    """

    by: str | None
    labels: tuple[str, ...]
    rows: tuple[Array, ...]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Numbers of values at this site, by group."""
        return np.array([len(x) for x in self.rows], np.int64)

    def series(self, values: NDArray[np.generic], name: str) -> pd.Series:
        """Return numbers by group."""
        return pd.Series(values, index=pd.Index(self.labels, name=self.by), name=name)

    def __repr__(self) -> str:
        return f"<Groups {', '.join(self.labels)}>"


def agree(
    run: Analysis,
    cohort: Cohort,
    column: str,
    *,
    by: str,
    groups: Sequence[str] | None = None,
    options: Options,
    exactly: int | None = None,
    is_shared: bool = False,
) -> Groups:
    """Agree with the other sites on a column and its groups.

    Parameters
    ----------
    run
        The analysis, at its start.
    cohort, column, by
        The rows, the numbers, and the column of groups. Rows where either is missing are left out.
    groups
        The levels of `by` that make the groups; all of them by default.
    options
        All others, which must be the same at every site.
    exactly
        How many groups there must be; two at least if None.
    is_shared
        Whether values, or differences of two, are going to be shared: they must not be too large, see
        `cohort.largest`.

    Raises
    ------
    DataError
        See `_selection.select`; or there are not so many groups.
    """

    def wanted(schema: Schema) -> Wanted:
        check_options(options)
        if not isinstance(by, str) or not isinstance(column, str) or by == column:
            raise DataError("column and by are the names of two columns")
        if isinstance(groups, str):
            raise DataError(f"groups is a list of levels of {by!r}")
        require_numbers(schema, column)
        if is_shared:
            cohort.numbers(column, largest(run.disclose) / 2)
        return Wanted([column], [by])

    chosen = None if groups is None else [level_sets.canonical(level) for level in groups]
    call = f"{column!r}, by={by!r}, groups={chosen!r}, {call_text(options)}"
    part = _selection.select(run, cohort, call, wanted)
    levels = part.levels[by]
    labels = levels if chosen is None else tuple(chosen)
    check_labels(by, labels, levels, exactly)
    x, codes = part.numbers[column], part.codes[by]
    present = ~np.isnan(x)
    values = [x[present & (codes == levels.index(label))] for label in labels]
    return Groups(by, labels, tuple(values))


def agree_differences(
    run: Analysis,
    cohort: Cohort,
    column: str,
    other: str | None,
    *,
    options: Options,
    is_shared: bool = False,
) -> Groups:
    """Agree on a column, or on the differences of two; one group of all rows without missing values."""

    def wanted(schema: Schema) -> Wanted:
        check_options(options)
        if column == other:
            raise DataError(f"column {column!r} is compared with itself")
        names = [require_numbers(schema, name) for name in (column, other) if name is not None]
        for name in names if is_shared else []:
            cohort.numbers(name, largest(run.disclose) / 2)
        return Wanted(names)

    part = _selection.select(run, cohort, f"{column!r}, {other!r}, {call_text(options)}", wanted)
    x = part.numbers[column] if other is None else part.numbers[column] - part.numbers[other]
    label = column if other is None else f"{column} - {other}"
    return Groups(None, (label,), (x[~np.isnan(x)],))


def require_numbers(schema: Schema, name: str) -> str:
    """Return the name of a column of numbers, or refuse it."""
    if not isinstance(name, str):
        raise DataError("a column is given by its name")
    if not schema.require_numeric(name).is_numeric:
        raise DataError(f"column {name!r} has no value at any site")
    return name


def check_labels(by: str, labels: tuple[str, ...], levels: tuple[str, ...], exactly: int | None) -> None:
    """Refuse groups that are no levels of a column, or not as many as a test needs."""
    unknown = [label for label in labels if label not in levels]
    if unknown:
        raise DataError(
            f"column {by!r} has no level {', '.join(map(repr, unknown))}; the levels are "
            f"{', '.join(map(repr, levels))}"
        )
    if len(set(labels)) != len(labels):
        raise DataError("groups names a level more than once")
    if len(labels) < 2 or (exactly is not None and len(labels) != exactly):
        needed = "two groups or more" if exactly is None else f"exactly {exactly} groups"
        raise DataError(
            f"the test needs {needed}; {by!r} makes {len(labels)}: {', '.join(map(repr, labels))}"
            + ("" if exactly is None else "; choose them by groups=[…]")
        )


def open_sizes(run: Analysis, part: Groups) -> pd.Series[int]:
    """Return the numbers of rows of all sites, by group, each large enough to be told.

    Raises
    ------
    PolicyError
        A group has fewer than `min_cell` rows. Raised at every site alike, naming the groups.

    Notes
    -----
    **Leakage.** "group sizes": in the result mode a size below `min_cell` is not told.

    **Cost.** Two rounds in the aggregate mode; in the result mode 15 for three parties.
    """
    return part.series(open_enough(run, "group sizes", part.counts, part.labels), "nobs")


def open_enough(
    run: Analysis, label: str, counts: NDArray[np.int64] | SecretArray, names: Sequence[str]
) -> NDArray[np.int64]:
    """Return pooled counts, none below `min_cell`; see `open_sizes`."""
    least = run.federation.shared_policy.min_cell
    opened = open_counts(run, label, counts, least)
    few = [name for name, count in zip(names, opened.tolist(), strict=True) if count < least]
    if few:
        raise PolicyError(
            f"{run.declaration.name}: fewer than {least} rows (min_cell) over all sites in "
            f"{', '.join(map(repr, few))}: leave it out, or merge rare levels"
        )
    return opened
