"""What makes two rows of different sites those of one patient: identifiers, written alike everywhere.

Two sites seldom write a name in the same way. Texts lose case, accents, blanks and punctuation, but for what
parts digits, as in 1-12 and 11-2; numbers lose their leading zeros, and dates become those of ISO 8601. A
column of truth values, also of such in words, is one of 1 and 0. Of several columns all must agree. A row
that misses one of them is of nobody.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.errors import DataError
from fedstats.levels import canonical
from fedstats.schema import Kind, kind_of

#: Letters that are written as two where they cannot be typed, or that are no letter with an accent.
_SPELT = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "æ": "ae", "ø": "oe", "å": "aa", "œ": "oe", "ł": "l", "đ": "d"}
)
#: Truth values, as `normalised` leaves them, and as they are compared.
_TRUTH = {"true": "1", "false": "0", "": ""}


def normalised(text: str) -> str:
    """Return a text as it is compared: small letters and digits, without accents or leading zeros."""
    lower = unicodedata.normalize("NFC", text).casefold().translate(_SPELT)
    bare = unicodedata.normalize("NFKD", "".join(lower.split()))
    parted = re.sub(r"(?<=\d)[\W_]+(?=\d)", "·", bare)
    letters = "".join(one for one in parted if one.isalnum() or one == "·")
    return letters.lstrip("0") or letters[:1]


def link_keys(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[list[bytes], NDArray[np.intp]]:
    """Return the key of each row that has one, and the positions of these rows.

    Parameters
    ----------
    frame
        This site's rows.
    columns
        What identifies a patient.

    Raises
    ------
    DataError
        A column does not exist, or a key is there twice. No key is named.
    """
    check_columns(frame, columns)
    parts = [written(frame[name]) for name in columns]
    there = np.flatnonzero(np.logical_and.reduce([[bool(text) for text in part] for part in parts]))
    rows = there.astype(np.intp)
    keys = keys_of(parts, rows)
    repeated = len(keys) - len(set(keys))
    if repeated:
        raise DataError(
            f"{repeated} rows have the identifiers of a row before, as they are compared "
            f"({', '.join(columns)}): merge or leave out such rows, or name more columns in on="
        )
    return keys, rows


def check_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise DataError if a column by which patients are linked does not exist."""
    absent = [name for name in columns if name not in frame]
    if absent:
        raise DataError(
            f"there is no column {', '.join(map(repr, absent))} by which patients could be linked"
        )


def keys_of(parts: Sequence[Sequence[str]], rows: NDArray[np.intp]) -> list[bytes]:
    """Return the key of each of some rows, of the columns as they are compared."""
    return ["\x1f".join(part[row] for part in parts).encode() for row in rows.tolist()]


def written(values: pd.Series) -> list[str]:
    """Return values as they are compared; "" where they are missing."""
    if kind_of(values) is Kind.DATETIME:
        # Of a time with a zone the day is that of its own clock.
        return [
            "" if pd.isna(its) else pd.Timestamp(its).date().isoformat().replace("-", "") for its in values
        ]
    texts = ["" if pd.isna(value) else normalised(canonical(value)) for value in values]
    return [_TRUTH[text] for text in texts] if _TRUTH.keys() >= set(texts) else texts
