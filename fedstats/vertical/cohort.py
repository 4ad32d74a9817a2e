"""A site's columns, linked with those that other sites have of the same patients."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
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
from fedstats.rowsets import by_id
from fedstats.schema import Kind, Schema
from fedstats.vertical.keys import link_keys
from protocols.psi.intersection import Sizes, Universe

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

    Nobody knows which patients of one site another one has: the list names them at random, and whether a
    site has one of them is a secret bit.

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
    size
        How many patients the list has.
    positions
        Where this site's rows stand in it.
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
        universe: Universe,
        keys: Sequence[bytes],
        ids: NDArray[np.object_] | None,
    ) -> None:
        self.federation = federation
        self.schema = Schema(schema.kinds, schema.unusable, partial(federation.asked, self))
        self.owners = dict(owners)
        self.holders = holders
        self.size = universe.size
        self.positions = universe.positions
        self.sizes: Sizes = universe.sizes
        self.ids = ids
        self._frame = frame
        self._keys = keys

    @classmethod
    def link(
        cls,
        federation: Federation,
        source: str | os.PathLike[str] | pd.DataFrame | None,
        on: str | Sequence[str],
        id: str | None = None,  # noqa: A002  (the word that the column has in every cohort)
    ) -> VerticalCohort:
        """Link this site's rows with those of the others; see `Federation.cohort`.

        Cost: 3·n + 3 rounds for n sites.
        """
        names = [on] if isinstance(on, str) else list(on)
        mine: list[tuple[pd.DataFrame, list[bytes], NDArray[np.object_] | None]] = []

        def local() -> Mapping[str, Any]:
            if not names or not all(isinstance(name, str) and name for name in names):
                raise DataError("on= names the column that identifies patients, or several")
            if source is None:
                mine.append((pd.DataFrame(), [], None))
            else:
                mine.append(_load(federation, source, names, id))
            frame, keys, _ = mine[0]
            run.joins_rows(keys)
            if 0 < len(keys) < federation.shared_policy.min_cell:
                raise DataError(
                    f"a table of fewer than {federation.shared_policy.min_cell} patients (min_cell) is not "
                    "linked, as the sizes would tell whom others have: use more rows"
                )
            kinds = {name: schemas.kind_of(frame[name]) for name in frame.columns}
            digest = hashlib.sha256(repr((names, id)).encode()).hexdigest()
            return {**schemas.to_metadata(kinds), "call": digest, "holds": source is not None}

        with federation.analysis(DECLARATION, "result") as run:
            told = run.agree("schema", local)
            if any(its.get("call") != told[federation.site]["call"] for its in told.values()):
                raise DataError(
                    "the sites do not name the same columns in on= and id=: run the same script everywhere"
                )
            [(frame, keys, ids)] = mine
            owners, schema = _owners({site: schemas.from_metadata(site, its) for site, its in told.items()})
            holders = tuple(site for site, its in told.items() if its.get("holds") is True)
            if len(holders) < 2:
                raise DataError("columns are linked where two sites have a table at least")
            universe = run.link("set sizes", keys)
            if not universe.size:
                raise DataError("no table has a row with identifiers: look at the columns that on= names")
            run.finish()
        return cls(federation, frame, owners, schema, holders, universe, keys, ids)

    def __len__(self) -> int:
        """Return the number of rows of this site that can be linked."""
        return len(self._frame)

    def __repr__(self) -> str:
        columns = "\n".join(
            f"  {name}: {kind}, at {self.owners[name]}" for name, kind in self.schema.kinds.items()
        )
        return f"<VerticalCohort of {self.size} patients at {', '.join(self.holders)}\n{columns}\n>"

    @property
    def is_holder(self) -> bool:
        """Whether this site has a table."""
        return self.federation.site in self.holders

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


def _load(
    federation: Federation,
    source: str | os.PathLike[str] | pd.DataFrame,
    on: Sequence[str],
    id_column: str | None,
) -> tuple[pd.DataFrame, list[bytes], NDArray[np.object_] | None]:
    """Return this site's rows that have identifiers, without these; their keys, and ids if it has some."""
    if isinstance(source, pd.DataFrame):
        frame, where = source.copy(), "data frame"
    else:
        path = federation.locate(source)
        frame, where = read_table(path, {*on, *([id_column] if id_column else [])}), str(path)
    check_names(frame.columns.tolist(), where)
    if federation.consent is not None:
        given = federation.consent.kept(frame, on[0] if len(on) == 1 else None)
        federation.log("consent", excluded=len(frame) - len(given))
        frame = given
    keys, there = link_keys(frame, on)
    named = frame.iloc[there]
    ids = None if id_column is None or id_column not in frame else read_ids(named, id_column, where)
    columns = [name for name in frame.columns if name not in (*on, id_column)]
    return named[columns].reset_index(drop=True), keys, ids


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
