"""A site's rows together with the schema that all sites agreed on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import levels as level_sets
from fedstats import schema as schemas
from fedstats._read import check_names, read_table
from fedstats.disclosure import Declaration
from fedstats.errors import DataError
from fedstats.rowsets import by_id, by_value
from fedstats.schema import Kind, Schema

if TYPE_CHECKING:
    from fedstats.federation import Federation

DECLARATION = Declaration(
    "cohort",
    aggregate={},
    published={
        "schema": "names and kinds of the columns of each site's table; a digest of the declared levels"
    },
)

#: Largest magnitude that is accepted: sums over any number of rows stay finite. On shares, numbers have fewer
#: bits.
LARGEST = 1e290
LARGEST_ON_SHARES = 2.0**60


def largest(disclose: str | None) -> float:
    """Return the largest magnitude of values that an analysis in a disclosure mode accepts."""
    return LARGEST if disclose in (None, "aggregate") else LARGEST_ON_SHARES


class Cohort:
    """This site's rows with the agreed schema; made by `Federation.cohort`.

    Its rows never leave the site, and its repr shows the schema only.

    Attributes
    ----------
    federation
        The session it belongs to.
    schema
        What the sites agreed on.
    ids
        Identifier of each row, or None.
    declared_levels
        The levels that were declared, by column.
    source
        The file that its rows were read from; None if the script gave them.
    """

    def __init__(
        self,
        federation: Federation,
        frame: pd.DataFrame,
        schema: Schema,
        ids: NDArray[np.object_] | None,
        declared_levels: Mapping[str, tuple[str, ...]],
        source: Path | None = None,
    ) -> None:
        self.federation = federation
        self.schema = replace(schema, asked=partial(federation.asked, self))
        self.ids = ids
        self.declared_levels = declared_levels
        self.source = source
        self._frame = frame

    @classmethod
    def agree(
        cls,
        federation: Federation,
        source: str | os.PathLike[str] | pd.DataFrame,
        *,
        id: str | None = None,  # noqa: A002  (the word that the column has in every cohort)
        levels: Mapping[str, Sequence[str]],
    ) -> Cohort:
        """Read this site's table and agree on the schema; see `Federation.cohort`.

        Cost: one round.
        """
        mine: list[tuple[pd.DataFrame, NDArray[np.object_] | None, dict[str, tuple[str, ...]]]] = []

        def local() -> Mapping[str, Any]:
            declared = _declared(levels)
            frame, ids = _load(federation, source, id, declared)
            mine.append((frame, ids, declared))
            kinds = {name: _kind(frame[name], declared=name in declared) for name in frame.columns}
            return {**schemas.to_metadata(kinds), "call": _fingerprint(id, declared)}

        with federation.analysis(DECLARATION) as run:
            told = run.agree("schema", local)
        differing = sorted(
            site for site, its in told.items() if its.get("call") != told[federation.site]["call"]
        )
        if differing:
            raise DataError(
                f"the sites do not declare the same id and levels: site {', '.join(differing)} differs from "
                f"site {federation.site}; run the same script everywhere"
            )
        schema = Schema.merge({site: schemas.from_metadata(site, its) for site, its in told.items()})
        [(frame, ids, declared)] = mine
        for name in declared:
            schema.require(name)
        file = None if isinstance(source, pd.DataFrame) else federation.locate(source)
        return cls(federation, frame, schema, ids, declared, file)

    def __len__(self) -> int:
        """Return the number of rows of this site."""
        return len(self._frame)

    def __repr__(self) -> str:
        columns = "\n".join(f"  {name}: {kind}" for name, kind in self.schema.kinds.items())
        unusable = "".join(f"\n  {name}: unusable" for name in self.schema.unusable)
        return f"<Cohort at {', '.join(self.federation.sites)}\n{columns}{unusable}\n>"

    @property
    def rows(self) -> pd.DataFrame:
        """This site's rows, for what is computed here alone; not to be changed."""
        return self._frame

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that can be used at every site."""
        return tuple(self.schema.kinds)

    def missing(self, name: str) -> NDArray[np.bool_]:
        """Return where this site's values of a column are missing."""
        self.schema.require(name)
        return self._frame[name].isna().to_numpy(dtype=bool)

    def numbers(self, name: str, largest: float = LARGEST) -> NDArray[np.float64]:
        """Return this site's values of a numeric column, NaN where missing.

        Parameters
        ----------
        name
            The column.
        largest
            What no magnitude may exceed, see `largest`.

        Raises
        ------
        DataError
            The column is not numeric, or holds values that are infinite or too large.
        """
        self.schema.require_numeric(name)
        return to_numbers(self._frame[name], name, largest)

    def texts(self, name: str, *, strict: bool = True) -> NDArray[np.object_]:
        """Return this site's values of a categorical column as levels, None where missing.

        Parameters
        ----------
        name
            The column.
        strict
            Whether levels that were not declared are an error, which would tell of single rows.

        Raises
        ------
        DataError
            The column is of dates, or, if its levels were declared and `strict`, has others.
        """
        kind = self.schema.require(name)
        if kind.is_numeric:
            self.federation.divided(name, 0.0)
        texts = to_texts(self._frame[name], name, kind)
        if strict and name in self.declared_levels:
            undeclared = set(texts) - {None, *self.declared_levels[name]}
            if undeclared:
                raise DataError(
                    f"column {name!r} has {len(undeclared)} levels that were not declared: add them to "
                    "levels=, or recode them at this site"
                )
        return texts

    def days(self, name: str) -> NDArray[np.float64]:
        """Return this site's values of a column of dates as days since 1970, NaN where missing."""
        if self.schema.require(name) not in (Kind.DATETIME, Kind.EMPTY):
            raise DataError(f"column {name!r} holds no dates")
        moments = pd.to_datetime(self._frame[name], errors="coerce", utc=True)
        return np.asarray((moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1), np.float64)

    def identities(self, names: Sequence[str]) -> NDArray[np.uint64]:
        """Return what tells this site's rows apart in an analysis of some columns, see `fedstats.rowsets`.

        With ids, the id and which of the columns are missing; else the values, and which of equal rows.
        """
        frame = self._frame[list(names)]
        return by_value(frame) if self.ids is None else by_id(self.ids, frame.isna().to_numpy(dtype=bool))

    def categories(self, name: str) -> list[str] | None:
        """Return the categories of a column in the order of its dtype, if it has that dtype."""
        dtype = self._frame[name].dtype
        if not isinstance(dtype, pd.CategoricalDtype):
            return None
        return [level_sets.canonical(value) for value in dtype.categories]


def require_rows(cohort: object) -> None:
    """Raise DataError unless a cohort has whole rows: linked columns have analyses of their own."""
    if not isinstance(cohort, Cohort):
        raise DataError(
            "this analysis needs whole rows at each site; of linked columns there are describe, corr, cov, "
            "ttest_ind, crosstab, ols, logit, glm, coxph, gwas.linear and gwas.logistic"
        )


def to_numbers(values: pd.Series[Any], name: str, largest: float = LARGEST) -> NDArray[np.float64]:
    """Return a numeric column as float64, NaN where missing, refusing what cannot be summed."""
    numbers: NDArray[np.float64] | None
    try:
        if not pd.api.types.is_numeric_dtype(values):
            values = pd.to_numeric(values)
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    except OverflowError:
        numbers = _floats(values)
    except (TypeError, ValueError):
        numbers = None
    if numbers is None:  # Raised outside of the handler: the cause would quote the value.
        raise DataError(f"column {name!r} holds values that are no numbers")
    beyond = int(np.count_nonzero(np.abs(numbers) > largest))
    if beyond:
        raise DataError(
            f"column {name!r} has {beyond} values that are infinite or beyond {largest:g} in magnitude: "
            "set them to missing, or change the unit"
        )
    return numbers


def _floats(values: pd.Series[Any]) -> NDArray[np.float64] | None:
    """Return numbers, infinite where whole ones are too large for a float; None if some are no numbers."""
    numbers = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        try:
            numbers[row] = np.nan if pd.isna(value) else float(value)
        except OverflowError:
            numbers[row] = np.inf if value > 0 else -np.inf
        except (TypeError, ValueError):
            return None
    return numbers


def to_texts(values: pd.Series[Any], name: str, kind: Kind) -> NDArray[np.object_]:
    """Return a column of an agreed kind as levels, None where missing."""
    if kind is Kind.DATETIME:
        raise DataError(f"column {name!r} is datetime and cannot be a category: group the dates first")
    if kind in (Kind.INTEGER, Kind.FLOAT):
        values = pd.Series(to_numbers(values, name))  # a bool here is 0 or 1 elsewhere
    return level_sets.as_text(values)


def _declared(levels: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    declared: dict[str, tuple[str, ...]] = {}
    for column, its in levels.items():
        texts = () if isinstance(its, str) else tuple(map(level_sets.canonical, its))
        if not texts or len(set(texts)) != len(texts):
            raise DataError(f"levels of column {column!r} must be a list of distinct values")
        declared[column] = texts
    return declared


def _fingerprint(id_column: str | None, declared: Mapping[str, tuple[str, ...]]) -> str:
    """Digest of what the script declares about the table, which must be the same at every site."""
    text = repr((id_column is not None, sorted(declared.items())))
    return hashlib.sha256(text.encode()).hexdigest()


def _load(
    federation: Federation,
    source: str | os.PathLike[str] | pd.DataFrame,
    id_column: str | None,
    declared: Mapping[str, tuple[str, ...]],
) -> tuple[pd.DataFrame, NDArray[np.object_] | None]:
    """Return this site's table without its id column, and the ids."""
    if isinstance(source, pd.DataFrame):
        frame, where = source.copy(), "data frame"
    else:
        path = federation.locate(source)
        frame, where = read_table(path, {*declared, *([id_column] if id_column else [])}), str(path)
    check_names(frame.columns.tolist(), where)
    if federation.consent is not None:
        given = federation.consent.kept(frame, id_column)
        federation.log("consent", excluded=len(frame) - len(given))
        frame = given
    ids = None
    if id_column is not None:
        ids = read_ids(frame, id_column, where)
        frame = frame.drop(columns=id_column)
    return frame.reset_index(drop=True), ids


def read_ids(frame: pd.DataFrame, column: str, where: str) -> NDArray[np.object_]:
    """Return the identifiers of rows, refusing those that are missing or not unique."""
    if column not in frame:
        raise DataError(f"{where}: there is no id column {column!r}")
    missing = int(frame[column].isna().sum())
    if missing:
        raise DataError(f"{where}: id column {column!r} has {missing} missing values")
    ids = level_sets.as_text(frame[column])
    repeated = len(ids) - len(set(ids))
    if repeated:
        raise DataError(
            f"{where}: id column {column!r} has {repeated} values that occur before; ids are unique"
        )
    return ids


def _kind(values: pd.Series[Any], *, declared: bool) -> Kind:
    """Return the kind of one of this site's columns, which is categorical if its levels are declared."""
    kind = schemas.kind_of(values)
    return Kind.CATEGORICAL if declared and kind is not Kind.EMPTY else kind
