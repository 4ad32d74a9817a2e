"""A site's rows as they are compared: fields as they are written everywhere, their parts, then filters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.errors import DataError
from fedstats.levels import canonical
from fedstats.linkage.schema import Comparison, Similar
from fedstats.schema import Kind, kind_of
from fedstats.vertical.keys import check_columns, keys_of, written
from protocols.linkage import filters
from protocols.linkage.filters import Filters, Token

#: Year, month and day, any digit of which may be mistaken; and years that are not.
_DATE, _YEARS = re.compile(r"\s*(\d{4})\D*(\d{2})\D*(\d{2})\s*"), ("18", "19", "20", "21")
#: Part of a column's dates that may have other years; of more, the day may come first.
_ODD = 0.1
#: Stands for the ends of a text.
_END = "\x03"


@dataclass(frozen=True, eq=False, repr=False)
class Written:
    """Rows that can be linked, as they are compared.

    Attributes
    ----------
    fields
        For each field the texts, "" where missing.
    blocks
        For each row what must agree.
    rows
        Positions of these rows in their table.
    """

    fields: list[list[str]]
    blocks: list[bytes]
    rows: NDArray[np.intp]

    def keys(self) -> list[bytes]:
        """Return what tells the rows apart."""
        return [
            b"\x1f".join([block, *(text.encode() for text in texts)])
            for block, *texts in zip(self.blocks, *self.fields, strict=True)
        ]


def write(frame: pd.DataFrame, on: Similar) -> Written:
    """Return the rows that have something to be compared, and what must agree.

    Raises
    ------
    DataError
        A column does not exist, dates are none, or two rows are written alike. No value is named.
    """
    check_columns(frame, on.columns)
    fields = [_texts(frame[name], name, how) for name, how in on.fields]
    blocks = [written(frame[name]) for name in on.block]
    there = np.array([any(texts) for texts in zip(*fields, strict=True)], np.bool_)
    for block in blocks:
        there &= np.array([bool(text) for text in block], np.bool_)
    rows = np.flatnonzero(there).astype(np.intp)
    found = Written(
        [[texts[row] for row in rows] for texts in fields],
        keys_of(blocks, rows),
        rows,
    )
    repeated = len(rows) - len(set(found.keys()))
    if repeated:
        raise DataError(
            f"{repeated} rows are written like a row before, as they are compared "
            f"({', '.join(on.columns)}): merge or leave out such rows, or name more fields"
        )
    return found


def encode(fields: Sequence[Sequence[str]], on: Similar) -> Filters:
    """Return the filters of rows, given their fields as `Written` has them."""
    named = [(name, how, hashes) for (name, how), hashes in zip(on.fields, on.hashes, strict=True)]
    records = [
        [
            Token(name, part, hashes)
            for (name, how, hashes), text in zip(named, texts, strict=True)
            for part in parts(text, how)
        ]
        for texts in zip(*fields, strict=True)
    ]
    return filters.encode(records, bits=on.bits, key=on.key.encode())


def parts(text: str, how: Comparison) -> list[str]:
    """Return the parts of a field by which it is compared, each once; none of what is missing."""
    if not text:
        return []
    if how == "exact":
        return [text]
    if how == "date":
        return [f"{place}:{digit}" for place, digit in enumerate(text)]
    ended = f"{_END}{text}{_END}"
    return list(dict.fromkeys(ended[place : place + 2] for place in range(len(ended) - 1)))


def _texts(values: pd.Series, name: str, how: Comparison) -> list[str]:
    if how != "date" or kind_of(values) is Kind.DATETIME:
        return written(values)
    found = [None if pd.isna(value) else _DATE.fullmatch(canonical(value)) for value in values]
    digits = ["" if its is None else "".join(its.groups()) for its in found]
    none = sum(not date and not pd.isna(value) for date, value in zip(digits, values, strict=True))
    odd = sum(bool(date) and not date.startswith(_YEARS) for date in digits)
    if none or odd > _ODD * len(digits):
        raise DataError(
            f"{none or odd} values of column {name!r} are no dates as 1990-01-31: correct them, or set them "
            "to missing"
        )
    return digits
