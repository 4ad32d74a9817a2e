"""Consent: rows of people who have withdrawn it are gone before anything else sees them.

A site says in the ``[consent]`` table of its `site.toml` where that is written: in a list of ids, in a column
of its tables, or in both. Every cohort is read through it, and the audit log says how many rows it left
out. Whoever withdraws between two sessions, or in the middle of one, is in none of the cohorts made
afterwards.

What a script reads for itself, without a cohort, passes it by: against that there are approvals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import levels
from fedstats._toml import place, unknown
from fedstats.errors import DataError, PolicyError

_KEYS = ("withdrawn", "column", "value")


@dataclass(frozen=True)
class Consent:
    """Where it is written whose rows may be used.

    Attributes
    ----------
    withdrawn
        A text file of ids, one a line: rows that are left out. Cohorts then need an id. Leading zeros make no
        difference, as a script may have read ids as numbers: better one row too few than one too many.
    column
        A column of every table that says whether a row may be used. It is no variable: it is taken out.
    value
        What stands in it where a row may be used. Rows that say anything else, or nothing, are left out.
    """

    withdrawn: Path | None = None
    column: str | None = None
    value: str | None = None

    @classmethod
    def from_table(cls, table: Mapping[str, object], folder: Path, where: str, text: str) -> Self:
        """Read a ``[consent]`` table.

        Parameters
        ----------
        table
            The table.
        folder
            What the path in it is relative to.
        where, text
            The file and what stands in it, for errors.

        Raises
        ------
        PolicyError
            A key is unknown or of the wrong kind, or `column` and `value` do not stand together.
        """
        for key, value in table.items():
            at = place(where, text, key, "consent")
            if key not in _KEYS:
                raise PolicyError(f"{at}: {unknown('consent', 'key', key, _KEYS)}")
            allowed = (str, bool, int) if key == "value" else (str,)
            if not isinstance(value, allowed) or value == "":
                kinds = "a text, a whole number, true or false" if key == "value" else "a text"
                raise PolicyError(f"{at}: {key!r} in [consent] must be {kinds}")
        if not table:
            raise PolicyError(f"{where}: [consent] says nothing: name a list, or a column, or leave it out")
        texts = {key: levels.canonical(value) for key, value in table.items()}
        if ("column" in texts) != ("value" in texts):
            raise PolicyError(
                f"{where}: 'column' and 'value' in [consent] go together: the column that says whether a row "
                "may be used, and what stands there if it may"
            )
        path = texts.get("withdrawn")
        return cls(
            None if path is None else folder / Path(path).expanduser(),
            texts.get("column"),
            texts.get("value"),
        )

    def kept(self, frame: pd.DataFrame, id_column: str | None) -> pd.DataFrame:
        """Return the rows that may be used, without the column that says so.

        Raises
        ------
        DataError
            The list cannot be read, the table lacks the column, or the cohort has no id.
        """
        may = np.ones(len(frame), np.bool_)
        if self.withdrawn is not None:
            if id_column is None or id_column not in frame:
                raise DataError(
                    "this site keeps a list of ids that have withdrawn consent, by which rows of a cohort "
                    "must be found: fed.cohort(..., id='column')"
                )
            ids = np.char.lstrip(_texts(frame[id_column]), "0")
            may &= ~np.isin(ids, self._listed(self.withdrawn))
        if self.column is not None:
            if self.column not in frame:
                raise DataError(
                    f"this site's consent is written in column {self.column!r}, which the table lacks: leave "
                    "the column in it"
                )
            may &= _texts(frame[self.column]) == self.value
            frame = frame.drop(columns=self.column)
        return frame[may]

    def _listed(self, path: Path) -> list[str]:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            raise DataError(
                f"cannot read {path}, the list of ids that have withdrawn consent ({why}): nothing is used "
                "without it; put it back, or correct [consent] in site.toml"
            ) from None
        return [line.strip().lstrip("0") for line in lines if line.strip()]


def _texts(values: pd.Series[Any]) -> NDArray[np.str_]:
    """Return values as levels have them, without blanks around; "" where they are missing."""
    return np.array(["" if text is None else text.strip() for text in levels.as_text(values)], np.str_)
