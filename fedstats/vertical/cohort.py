"""A site's columns, linked with those that other sites have of the same patients."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import schema as schemas
from fedstats._read import check_names, read_table
from fedstats.cohort import LARGEST_ON_SHARES, read_ids, to_numbers, to_texts
from fedstats.disclosure import Declaration
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.levels import canonical
from fedstats.linkage import encoding
from fedstats.linkage.schema import Similar
from fedstats.rowsets import by_id
from fedstats.schema import Kind, Schema
from fedstats.vertical import similar
from fedstats.vertical.alignment import Alignment
from fedstats.vertical.keys import link_keys
from protocols.psi.intersection import Sizes

if TYPE_CHECKING:
    from fedstats.federation import Federation

DECLARATION = Declaration(
    "link",
    result={
        "set sizes": "how many patients each site has, how many any selection of sites has in common, and "
        "how many there are"
    },
    published={"schema": "names and kinds of the columns of each site's table, and which identify patients"},
)


class VerticalCohort:
    """This site's columns, and where its patients stand in a common list; made by `Federation.cohort`.

    Nobody knows which patients of one site another one has: whether a site has one of the list is a secret
    bit, and the list names them at random, or is that of one site, see `alignment`.

    Attributes
    ----------
    federation
        The session it belongs to.
    schema
        Columns of all sites, and their kinds.
    owners
        The site that has each column.
    holders
        Sites that have a table, sorted; patients must be in all of them to be counted.
    alignment
        Where rows stand in the list.
    size
        How many places the list has.
    positions
        Where this site's rows stand among its own places.
    sizes
        How many patients sites have in common.
    ids
        Identifier of each row of this site in its genotype files, or None.
    """

    def __init__(
        self,
        federation: Federation,
        frame: pd.DataFrame,
        owners: Mapping[str, str],
        schema: Schema,
        holders: tuple[str, ...],
        alignment: Alignment,
        keys: Sequence[bytes],
        ids: NDArray[np.object_] | None,
    ) -> None:
        self.federation = federation
        self.schema = Schema(schema.kinds, schema.unusable, partial(federation.asked, self))
        self.owners = dict(owners)
        self.holders = holders
        self.alignment = alignment
        self.size = alignment.size
        self.positions = alignment.positions
        self.sizes: Sizes = alignment.sizes
        self.ids = ids
        self._frame = frame
        self._keys = keys

    @classmethod
    def link(
        cls,
        federation: Federation,
        source: str | os.PathLike[str] | pd.DataFrame | None,
        on: str | Sequence[str] | Similar,
        id: str | None = None,  # noqa: A002  (the word that the column has in every cohort)
    ) -> VerticalCohort:
        """Link this site's rows with those of the others; see `Federation.cohort`.

        Cost: 3·n + 3 rounds for n sites. Of rows that are alike, see `similar.link`.
        """
        names = _columns(on)
        mine: list[_Table] = []

        def local() -> Mapping[str, Any]:
            if not names or not all(isinstance(name, str) and name for name in names):
                raise DataError("on= names the column that identifies patients, or several")
            table = _Table.empty(on) if source is None else _load(federation, source, on, id)
            mine.append(table)
            run.joins_rows(table.keys)
            if 0 < len(table.keys) < federation.shared_policy.min_cell:
                raise DataError(
                    f"a table of fewer than {federation.shared_policy.min_cell} patients (min_cell) is not "
                    "linked, as the sizes would tell whom others have: use more rows"
                )
            kinds = {name: schemas.kind_of(table.frame[name]) for name in table.frame.columns}
            digest = hashlib.sha256(repr((on if isinstance(on, Similar) else names, id)).encode()).hexdigest()
            rows = {} if table.compared is None else {"rows": len(table.keys)}
            return {**schemas.to_metadata(kinds), "call": digest, "holds": source is not None, **rows}

        declaration = similar.DECLARATION if isinstance(on, Similar) else DECLARATION
        with federation.analysis(declaration, "result") as run:
            told = run.agree("schema", local)
            if any(its.get("call") != told[federation.site]["call"] for its in told.values()):
                raise DataError(
                    "the sites do not name the same columns in on= and id=: run the same script everywhere"
                )
            [table] = mine
            owners, schema = _owners({site: schemas.from_metadata(site, its) for site, its in told.items()})
            holders = tuple(site for site, its in told.items() if its.get("holds") is True)
            if len(holders) < 2:
                raise DataError("columns are linked where two sites have a table at least")
            if isinstance(on, Similar) and table.compared is not None:
                alignment = similar.link(run, on, table.compared, holders, told)
            else:
                alignment = Alignment.of(run.link("set sizes", table.keys), run.sites)
                if not alignment.size:
                    raise DataError("no table has a row with identifiers: look at the columns that on= names")
            run.finish()
        return cls(federation, table.frame, owners, schema, holders, alignment, table.keys, table.ids)

    def __len__(self) -> int:
        """Return the number of rows of this site that can be linked."""
        return len(self._frame)

    def __repr__(self) -> str:
        columns = "\n".join(
            f"  {name}: {kind}, at {self.owners[name]}" for name, kind in self.schema.kinds.items()
        )
        return f"<VerticalCohort of {self.sizes.union} patients at {', '.join(self.holders)}\n{columns}\n>"

    @property
    def is_holder(self) -> bool:
        """Whether this site has a table."""
        return self.federation.site in self.holders

    def listed_by(self, site: str) -> VerticalCohort:
        """Return the same cohort with a list in which a site knows where its rows stand; see `alignment`."""
        its = copy(self)
        its.alignment = self.alignment.listed_by(site)
        its.size = its.alignment.size
        return its

    def is_mine(self, name: str) -> bool:
        """Whether this site has a column."""
        return self.owners[name] == self.federation.site

    def numbers(self, name: str, largest: float = LARGEST_ON_SHARES) -> Array:
        """Return this site's values of a numeric column of its own, NaN where missing."""
        self.schema.require_numeric(name)
        return to_numbers(self._frame[name], name, largest)

    def texts(self, name: str) -> NDArray[np.object_]:
        """Return this site's values of a categorical column of its own as levels, None where missing."""
        kind = self.schema.require(name)
        if kind.is_numeric:
            self.federation.divided(name, 0.0)
        return to_texts(self._frame[name], name, kind)

    def categories(self, name: str) -> list[str] | None:
        """Return the categories of a column of this site in the order of its dtype, if it has that dtype."""
        dtype = self._frame[name].dtype
        if not isinstance(dtype, pd.CategoricalDtype):
            return None
        return [canonical(value) for value in dtype.categories]

    def identities(self, names: Sequence[str]) -> NDArray[np.uint64]:
        """Return what tells this site's rows apart in an analysis, see `fedstats.rowsets`."""
        mine = [name for name in names if self.is_mine(name)]
        return by_id(self._keys, self._frame[mine].isna().to_numpy(dtype=bool))


@dataclass(frozen=True, eq=False, repr=False)
class _Table:
    """This site's rows that have identifiers, without these.

    Attributes
    ----------
    frame
        The other columns.
    keys
        What tells the rows apart.
    ids
        See `VerticalCohort`.
    compared
        The rows as they are compared, where they are linked by likeness.
    """

    frame: pd.DataFrame
    keys: list[bytes]
    ids: NDArray[np.object_] | None
    compared: similar.Rows | None

    @classmethod
    def empty(cls, on: object) -> _Table:
        """Return what a site without a table has."""
        compared = similar.Rows(encoding.encode([], on), []) if isinstance(on, Similar) else None
        return cls(pd.DataFrame(), [], None, compared)


def _load(
    federation: Federation,
    source: str | os.PathLike[str] | pd.DataFrame,
    on: str | Sequence[str] | Similar,
    id_column: str | None,
) -> _Table:
    """Return this site's rows."""
    names = _columns(on)
    if isinstance(source, pd.DataFrame):
        frame, where = source.copy(), "data frame"
    else:
        path = federation.locate(source)
        frame, where = read_table(path, {*names, *([id_column] if id_column else [])}), str(path)
    check_names(frame.columns.tolist(), where)
    if federation.consent is not None:
        given = federation.consent.kept(frame, names[0] if len(names) == 1 else None)
        federation.log("consent", excluded=len(frame) - len(given))
        frame = given
    if isinstance(on, Similar):
        written = encoding.write(frame, on)
        keys, there = written.keys(), written.rows
        compared = similar.Rows(encoding.encode(written.fields, on), written.blocks)
    else:
        keys, there = link_keys(frame, names)
        compared = None
    named = frame.iloc[there]
    ids = None if id_column is None or id_column not in frame else read_ids(named, id_column, where)
    columns = [name for name in frame.columns if name not in (*names, id_column)]
    return _Table(named[columns].reset_index(drop=True), keys, ids, compared)


def _columns(on: str | Sequence[str] | Similar) -> list[str]:
    """Return the columns that identify patients."""
    if isinstance(on, Similar):
        return on.columns
    return [on] if isinstance(on, str) else list(on)


def _owners(tables: Mapping[str, Mapping[str, Kind]]) -> tuple[dict[str, str], Schema]:
    """Return which site has each column, refusing, at every site alike, those that two have."""
    owners: dict[str, str] = {}
    kinds: dict[str, Kind] = {}
    unusable: dict[str, str] = {}
    for site, table in tables.items():
        for name, kind in table.items():
            if name in owners:
                raise DataError(
                    f"column {name!r} is at site {owners[name]} and at site {site}: rename or drop one of "
                    "them, or name it in on="
                )
            owners[name] = site
            if kind is Kind.UNSUPPORTED:
                unusable[name] = f"column {name!r} of site {site} holds values that no analysis can use"
            else:
                kinds[name] = kind
    return owners, Schema(kinds, unusable)
