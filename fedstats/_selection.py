"""The columns of one call: checked at each site, and agreed on by all of them in one round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedstats import levels as level_sets
from fedstats.cohort import require_rows
from fedstats.design import check_same_call
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.schema import Kind, Schema

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

#: What `select` publishes; part of the declaration of every analysis that calls it.
PUBLISHED: Mapping[str, str] = {
    "columns": "the text of the call, and which levels of its categorical columns a site's rows have "
    "(not of columns whose levels were declared)"
}


@dataclass(frozen=True)
class Wanted:
    """What a call uses: columns of numbers, and columns of categories, either in order."""

    numeric: Sequence[str] = ()
    categorical: Sequence[str] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """This site's rows of the columns of a call.

    Attributes
    ----------
    numbers
        For each numeric column its values, NaN where missing.
    codes
        For each categorical column the positions of the rows' levels, −1 where missing.
    levels
        For each categorical column the levels of all sites, in their agreed order.
    """

    numbers: Mapping[str, Array]
    codes: Mapping[str, NDArray[np.intp]]
    levels: Mapping[str, tuple[str, ...]]

    def table(self, columns: Sequence[str]) -> NDArray[np.int64]:
        """Return this site's counts of the levels' combinations; rows with a missing value are left out."""
        shape = tuple(len(self.levels[name]) for name in columns)
        codes = np.stack([self.codes[name] for name in columns])
        cells = np.ravel_multi_index(tuple(codes[:, (codes >= 0).all(axis=0)]), shape)
        return np.bincount(cells, minlength=int(np.prod(shape))).astype(np.int64).reshape(shape)


def select(run: Analysis, cohort: Cohort, call: str, wanted: Callable[[Schema], Wanted]) -> Selection:
    """Agree with the other sites on the columns of a call, and return this site's rows of them.

    Parameters
    ----------
    run
        The analysis, at its start. Its declaration includes `PUBLISHED`.
    cohort
        The rows.
    call
        Every option that all sites must give alike, as text.
    wanted
        Returns what is used, given the agreed schema. May raise DataError.

    Raises
    ------
    DataError
        A column does not exist, is of another kind, has values that are infinite, levels that would
        identify rows, or as a category no level at any site; or the sites ask for different analyses.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** `PUBLISHED`. Cost: one round.
    """
    mine: list[tuple[dict[str, Array], dict[str, NDArray[np.object_]]]] = []

    def local() -> Mapping[str, Any]:
        require_rows(cohort)
        columns = wanted(cohort.schema)
        numbers = {name: cohort.numbers(name) for name in columns.numeric}
        texts = {name: _texts(cohort, name) for name in columns.categorical}
        mine.append((numbers, texts))
        told = {
            name: _told(cohort, name, texts[name]) for name in texts if name not in cohort.declared_levels
        }
        return {"call": call, "levels": told}

    told = run.agree("columns", local, max_bytes=1 << 20)
    check_same_call(told, run.federation.site)
    [(numbers, texts)] = mine
    by_site = {site: its.get("levels") for site, its in told.items()}
    levels = {name: _merged(cohort, name, by_site) for name in texts}
    return Selection(numbers, {name: _codes(texts[name], levels[name]) for name in texts}, levels)


def check_distinct(names: Sequence[str], what: str) -> list[str]:
    """Return the names of columns as a list, or refuse what is none."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{what} is a list of names of columns")
    if not names:
        raise DataError(f"{what} names no column")
    if len(set(names)) != len(names):
        raise DataError(f"{what} names a column more than once")
    return list(names)


def _texts(cohort: Cohort, name: str) -> NDArray[np.object_]:
    if cohort.schema.require(name) is Kind.EMPTY:
        raise DataError(f"column {name!r} has no value at any site and makes no groups")
    return cohort.texts(name)


def _told(cohort: Cohort, name: str, texts: NDArray[np.object_]) -> dict[str, Any]:
    present = [text for text in texts if text is not None]
    levels = level_sets.used(present)
    level_sets.check_tellable(name, levels, len(present), cohort.schema.require(name))
    return level_sets.to_metadata(levels, cohort.categories(name))


def _merged(cohort: Cohort, name: str, told: Mapping[str, Any]) -> tuple[str, ...]:
    if name in cohort.declared_levels:
        return cohort.declared_levels[name]
    return level_sets.merge(name, told, cohort.schema.require(name), cohort.categories(name))


def _codes(texts: NDArray[np.object_], levels: tuple[str, ...]) -> NDArray[np.intp]:
    position = {None: -1} | {level: code for code, level in enumerate(levels)}
    return np.array([position[text] for text in texts], np.intp)
