"""Levels of categorical columns: as text, told to the other sites, and merged to one order.

A level is a value that a site holds, so telling it is a disclosure: levels are exchanged only for
the columns that an analysis uses, and a column whose levels would identify rows is refused.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.errors import DataError, ProtocolError
from fedstats.schema import Kind

#: Columns of more levels than this are refused, and so are columns of more than `FEW_LEVELS` with
#: fewer than three rows a level, unless their levels were declared.
MAX_LEVELS = 40
FEW_LEVELS = 10
ROWS_PER_LEVEL = 3
_ORDERED_AS_NUMBERS = (Kind.INTEGER, Kind.FLOAT)


def canonical(value: object) -> str:
    """Return the text of a level: whole numbers without a fraction, however they are stored."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return str(value)


def as_text(values: pd.Series[Any]) -> NDArray[np.object_]:
    """Return a column as text, with None where a value is missing."""
    codes, uniques = pd.factorize(values)
    # The last entry is what the code of missing values, -1, points at.
    texts = np.array([*map(canonical, uniques), None], dtype=object)
    return np.asarray(texts[codes], dtype=object)


def used(texts: Iterable[str], kind: Kind | None = None) -> list[str]:
    """Return the distinct levels of a column without missing values, sorted: numbers as such."""
    return sorted(set(texts), key=float if kind in _ORDERED_AS_NUMBERS else None)


def check_tellable(column: str, levels: Sequence[str], rows: int, kind: Kind) -> None:
    """Refuse to tell levels that look like the values of single rows, or that cannot be shown.

    Raises
    ------
    DataError
        Naming the column and the remedy, and no level.
    """
    if not all(map(str.isprintable, levels)):
        raise DataError(f"column {column!r} has levels with line breaks or control characters: recode them")
    remedy = f"declare them by federation.cohort(…, levels={{{column!r}: […]}}), or group them"
    if len(levels) > MAX_LEVELS or (len(levels) > FEW_LEVELS and len(levels) * ROWS_PER_LEVEL > rows):
        raise DataError(
            f"column {column!r} has {len(levels)} levels in {rows} rows of this site, which could identify "
            f"rows, so they are not told to other sites: {remedy}"
        )
    if kind is Kind.FLOAT and not all(level.lstrip("-").isdigit() for level in levels):
        raise DataError(
            f"column {column!r} is used as a category and holds measurements, not whole numbers; "
            f"its values are not told to other sites: {remedy}"
        )


def to_metadata(levels: Sequence[str], categories: Sequence[str] | None) -> dict[str, Any]:
    """Return a column's levels as a site tells them to the others.

    Parameters
    ----------
    levels
        The levels that its rows have.
    categories
        All categories of its dtype in their order, if it has that dtype. Only a digest of them is
        told: equal digests let every site use the order it holds itself.
    """
    order = "" if categories is None else hashlib.sha256("\x00".join(categories).encode()).hexdigest()
    return {"levels": list(levels), "order": order}


def merge(
    column: str, told: Mapping[str, Any], kind: Kind, categories: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the levels of all sites, in the order that every site arrives at.

    That order is the one of the categorical dtype if it is the same at every site, numerical for
    numbers, and alphabetical otherwise.

    Parameters
    ----------
    column
        Its name.
    told
        For each site, for each column, what it told by `to_metadata`; trusted in nothing.
    kind
        The agreed kind.
    categories
        As this site gave them to `to_metadata`.

    Raises
    ------
    ProtocolError
        A site told something that is no such list.
    """
    levels: set[str] = set()
    orders: set[str] = set()
    for site, said in told.items():
        entry = _entry(said, column, kind)
        if entry is None:
            raise ProtocolError(f"site {site} sent no valid levels of column {column!r}", site=site)
        levels.update(entry[0])
        orders.add(entry[1])
    if categories is not None and len(orders) == 1:
        return tuple(level for level in categories if level in levels)
    if kind in _ORDERED_AS_NUMBERS:
        return tuple(sorted(levels, key=float))
    return tuple(sorted(levels))


def _entry(told: object, column: str, kind: Kind) -> tuple[list[str], str] | None:
    """Return the levels and the order's digest that a site told of a column, or None if it is no such."""
    match told:
        case {**columns}:
            pass
        case _:
            return None
    match columns.get(column):
        case {"levels": list() as levels, "order": str() as order} if all(map(_is_level, levels)):
            if len(levels) > MAX_LEVELS:
                return None
            if kind in _ORDERED_AS_NUMBERS and not all(map(_is_number, levels)):
                return None
            return levels, order
    return None


def _is_level(value: object) -> bool:
    """Tell whether a value is a text that can be shown: a terminal obeys control characters."""
    return isinstance(value, str) and value.isprintable()


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
