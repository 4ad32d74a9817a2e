"""Row sets that were analysed before: against learning a few rows from two analyses that differ by them.

A site remembers, for each analysis and the columns it used, which of its rows took part: as hashes under a
key of its own, in a file of its own (SQLite). Another analysis of the same name and columns is refused where
the site's rows differ from those of an earlier one by some, but fewer than the rule `min_difference` says.
The same rows again tell nothing new.

A row is known by its id, and by which of the columns it misses; where the cohort has no id, by its values in
these columns. 128 bits stand for that, made by fast hashes that everybody knows; then AES-256 encrypts them
all at once under the site's key, and half of each block is kept. A script that alters ids or values goes
unnoticed: against that there are approvals. So do analyses that come to nearly the same by other functions or
columns.

A file of another form than this, as an earlier version has left, is refused, and not written to: whether its
analyses shall count no longer is for the steward to say, who then keeps it under another name.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from fedstats._database import Database
from transport.identity import read_private, write_private

#: Form of the file. In form 0, rows were hashed otherwise: equal rows would not look alike.
_FORM = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS row_sets (fingerprint BLOB PRIMARY KEY, members BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS analyses (
    name TEXT NOT NULL, columns TEXT NOT NULL, fingerprint BLOB NOT NULL, time TEXT NOT NULL,
    PRIMARY KEY (name, columns, fingerprint)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, eq=False)
class RowSet:
    """The rows of one site in one analysis.

    Attributes
    ----------
    analysis
        Its name.
    columns
        The columns that it uses, sorted.
    members
        Keyed hashes of the rows, sorted; no row is there twice.
    """

    analysis: str
    columns: tuple[str, ...]
    members: NDArray[np.uint64]

    @property
    def fingerprint(self) -> bytes:
        """Hash of the rows alone."""
        return hashlib.sha256(self.members.astype("<u8").tobytes()).digest()


class RowSets:
    """What a site remembers of its row sets.

    Parameters
    ----------
    path
        The file; None to remember within the session only.
    key
        32 secret bytes, under which rows are hashed.
    """

    def __init__(self, path: Path | None, key: bytes) -> None:
        self._key = key
        self._base = Database(path, _TABLES, "what it remembers of its row sets", _FORM)

    @classmethod
    def open(cls, path: Path, key_file: Path) -> RowSets:
        """Open a site's file, with the key beside its identity key; both are made where there are none."""
        if not key_file.exists():
            write_private(key_file, secrets.token_hex(32).encode())
        return cls(path, bytes.fromhex(read_private(key_file).decode("ascii")))

    @classmethod
    def in_memory(cls) -> RowSets:
        """Remember within one session, as a simulated site does."""
        return cls(None, secrets.token_bytes(32))

    def hashed(self, analysis: str, columns: Iterable[str], rows: NDArray[np.uint64]) -> RowSet:
        """Return a row set, given what tells its rows apart, by `by_id` or `by_value`."""
        # Each block by itself, as equal rows must look alike.
        cipher = Cipher(algorithms.AES256(self._key), modes.ECB())  # noqa: S305
        blocks = np.frombuffer(cipher.encryptor().update(rows.astype("<u8").tobytes()), "<u8")
        members = np.sort(blocks[::2])
        new = np.diff(members, prepend=~members[:1]) != 0
        return RowSet(analysis, tuple(sorted(columns)), members[new])

    def near(self, row_set: RowSet, least: int) -> str | None:
        """Return when an analysis of nearly the same rows took place; None if none did.

        Parameters
        ----------
        row_set
            What is about to be analysed.
        least
            How many rows must differ, where any do.
        """
        with self._base.usable():
            earlier = self._base.execute(
                "SELECT time, members FROM analyses JOIN row_sets USING (fingerprint) "
                "WHERE name = ? AND columns = ? AND fingerprint != ? ORDER BY time DESC",
                (row_set.analysis, _text(row_set.columns), row_set.fingerprint),
            )
            for time, members in earlier:
                if _difference(row_set.members, np.frombuffer(members, "<u8")) < least:
                    return str(time)
        return None

    def remember(self, row_set: RowSet) -> None:
        """Note that a row set is analysed; returns when it is on the disk."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        members = row_set.members.astype("<u8").tobytes()
        with self._base.alone():
            self._base.execute("INSERT OR IGNORE INTO row_sets VALUES (?, ?)", (row_set.fingerprint, members))
            self._base.execute(
                "INSERT OR IGNORE INTO analyses VALUES (?, ?, ?, ?)",
                (row_set.analysis, _text(row_set.columns), row_set.fingerprint, now),
            )

    def close(self) -> None:
        """Close the file."""
        self._base.close()


def by_id(ids: Sequence[bytes] | NDArray[np.object_], missing: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return what tells rows apart, shape ``(rows, 2)``: their ids, and which columns each of them misses."""
    gaps = np.packbits(missing, axis=1)
    words = np.zeros((len(gaps), gaps.shape[1] // 8 + 1), "<u8")
    words.view(np.uint8)[:, : gaps.shape[1]] = gaps
    whose = pd.util.hash_array(np.asarray(ids, object), categorize=False)
    return np.column_stack([whose, pd.util.hash_pandas_object(pd.DataFrame(words), index=False)])


def by_value(frame: pd.DataFrame) -> NDArray[np.uint64]:
    """Return what tells rows without ids apart, likewise: their values, and which it is of equal ones."""
    alike = frame.apply(lambda its: its.astype(float) if pd.api.types.is_numeric_dtype(its) else its)
    hashes = pd.util.hash_pandas_object(alike, index=False)
    return np.column_stack([hashes, hashes.groupby(hashes).cumcount()]).astype(np.uint64)


def _difference(one: NDArray[np.uint64], two: NDArray[np.uint64]) -> int:
    """Return how many rows were added, or left out, whichever is more."""
    common = len(np.intersect1d(one, two, assume_unique=True))
    return max(len(one), len(two)) - common


def _text(columns: Sequence[str]) -> str:
    return "\x1f".join(columns)
