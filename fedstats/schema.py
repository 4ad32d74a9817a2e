"""The agreed schema: which columns every site has, and of which kind.

Each site tells the others the names and kinds of its columns, once, when a cohort is made. Sites
differ in harmless ways: a whole-number column is read as float where a value is missing, and a
column without any value has no kind at all. Those are reconciled. Other differences are kept and
reported by the first analysis that uses the column, at every site alike, since all of them know
all schemas.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pandas as pd

from fedstats.errors import DataError, ProtocolError

#: Most columns of a table, and longest column name in characters.
MAX_COLUMNS = 100_000
MAX_NAME = 1_000


class Kind(StrEnum):
    """What a column holds."""

    BOOL = "bool"
    INTEGER = "integer"
    FLOAT = "float"
    CATEGORICAL = "categorical"
    DATETIME = "datetime"
    #: No value at all at this site: fits whatever the other sites have.
    EMPTY = "empty"
    #: Values of several types, or of one that no analysis can use.
    UNSUPPORTED = "unsupported"

    @property
    def is_numeric(self) -> bool:
        """Whether the column can stand in arithmetic."""
        return self in _NUMERIC


#: From the narrowest to the widest.
_NUMERIC = (Kind.BOOL, Kind.INTEGER, Kind.FLOAT)

_INFERRED = {
    "boolean": Kind.BOOL,
    "integer": Kind.INTEGER,
    "floating": Kind.FLOAT,
    "mixed-integer-float": Kind.FLOAT,
    "decimal": Kind.FLOAT,
    "string": Kind.CATEGORICAL,
    "categorical": Kind.CATEGORICAL,
    "datetime": Kind.DATETIME,
    "datetime64": Kind.DATETIME,
    "date": Kind.DATETIME,
    "empty": Kind.EMPTY,
}


def kind_of(values: pd.Series[Any]) -> Kind:
    """Return the kind of a column, judged by its values where the dtype does not tell."""
    if values.isna().all():
        return Kind.EMPTY
    return _INFERRED.get(pd.api.types.infer_dtype(values, skipna=True), Kind.UNSUPPORTED)


def _nobody(name: str) -> None:
    """Note nothing."""


@dataclass(frozen=True)
class Schema:
    """What the sites agreed on.

    Attributes
    ----------
    kinds
        Kind of each column that can be used at every site. In the order of the tables if all sites
        have the same, else sorted by name.
    unusable
        For each other column, why it cannot be used, and what to do.
    asked
        Told the name of every column that is asked for: what a site's rules on columns hang on.
    """

    kinds: Mapping[str, Kind]
    unusable: Mapping[str, str]
    asked: Callable[[str], None] = field(default=_nobody, repr=False, compare=False)

    @classmethod
    def merge(cls, tables: Mapping[str, Mapping[str, Kind]]) -> Schema:
        """Reconcile the sites' tables.

        Parameters
        ----------
        tables
            For each site, the kind of each of its columns.
        """
        orders = {tuple(table) for table in tables.values()}
        names = (
            orders.pop()
            if len(orders) == 1
            else sorted({name for table in tables.values() for name in table})
        )
        kinds: dict[str, Kind] = {}
        unusable: dict[str, str] = {}
        for name in names:
            agreed = _reconcile(name, {site: table.get(name) for site, table in tables.items()})
            if isinstance(agreed, Kind):
                kinds[name] = agreed
            else:
                unusable[name] = agreed
        return cls(kinds, unusable)

    def require(self, name: str) -> Kind:
        """Return the kind of a column, or raise the DataError that says why it cannot be used."""
        if name in self.kinds:
            self.asked(name)
            return self.kinds[name]
        if name in self.unusable:
            raise DataError(self.unusable[name])
        similar = difflib.get_close_matches(name, self.kinds, n=3)
        hint = (
            f"did you mean {' or '.join(map(repr, similar))}?"
            if similar
            else (
                f"the columns are {', '.join(map(repr, list(self.kinds)[:20]))}"
                + (", …" if len(self.kinds) > 20 else "")
            )
        )
        raise DataError(f"no site has a column {name!r}; {hint}")

    def require_numeric(self, name: str) -> Kind:
        """Return the kind of a column that must be a number, or have no value anywhere."""
        kind = self.require(name)
        if not (kind.is_numeric or kind is Kind.EMPTY):
            raise DataError(
                f"column {name!r} is {kind}, a number is needed: convert it at every site, or leave it out"
            )
        return kind


def _reconcile(name: str, kinds: Mapping[str, Kind | None]) -> Kind | str:
    """Return the common kind of a column, or why there is none."""
    absent = [site for site, kind in kinds.items() if kind is None]
    if absent:
        return (
            f"column {name!r} does not exist at {_sites(absent)}: add it there (it may be empty), "
            "or leave it out of the analysis"
        )
    mixed = [site for site, kind in kinds.items() if kind is Kind.UNSUPPORTED]
    if mixed:
        return (
            f"column {name!r} at {_sites(mixed)} holds values of several types, or of one that cannot be "
            "analysed: make them all numbers, text or dates there"
        )
    held = {kind for kind in kinds.values() if kind is not None} - {Kind.EMPTY}
    if not held:
        return Kind.EMPTY
    if held <= set(_NUMERIC):
        return max(held, key=_NUMERIC.index)
    if len(held) == 1:
        return held.pop()
    by_kind = {kind: [site for site, its in kinds.items() if its is kind] for kind in sorted(held)}
    said = ", ".join(f"{kind} at {_sites(sites)}" for kind, sites in by_kind.items())
    return (
        f"column {name!r} is {said}: convert it to one type, or make it categorical everywhere by "
        f"federation.cohort(…, levels={{{name!r}: […]}})"
    )


def _sites(names: list[str]) -> str:
    return f"site {names[0]}" if len(names) == 1 else f"sites {', '.join(names)}"


def to_metadata(table: Mapping[str, Kind]) -> dict[str, Any]:
    """Return a site's names and kinds as it tells them to the others."""
    return {"names": list(table), "kinds": [str(kind) for kind in table.values()]}


def from_metadata(site: str, metadata: Mapping[str, Any]) -> dict[str, Kind]:
    """Read what another site told, trusting nothing of it.

    Raises
    ------
    ProtocolError
        It is not what `to_metadata` makes of any table.
    """
    names, kinds = metadata.get("names"), metadata.get("kinds")
    if (
        isinstance(names, list)
        and isinstance(kinds, list)
        and len(names) == len(kinds) <= MAX_COLUMNS
        and all(isinstance(name, str) and len(name) <= MAX_NAME for name in names)
        and len(set(names)) == len(names)
        and all(isinstance(kind, str) and kind in set(Kind) for kind in kinds)
    ):
        return dict(zip(names, map(Kind, kinds), strict=True))
    raise ProtocolError(f"site {site} sent no valid schema", site=site)
