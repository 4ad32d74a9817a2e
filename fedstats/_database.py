"""Small databases (SQLite) that a site keeps beside its `site.toml`: durable, and its owner's alone."""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedstats.errors import DataError

#: Seconds that a process waits for another one of this site to finish with the file.
_PATIENCE = 30.0


class Database:
    """One file, or one session's memory.

    A commit is on the disk when it returns (WAL, synchronous FULL). Of one session, and so of one thread at a
    time; other processes of the site may have the same file open.

    Parameters
    ----------
    path
        The file; None for memory.
    tables
        SQL that makes the tables where there are none.
    purpose
        What it is for, as errors say it.
    written
        The number of the form in which it is written, kept in the file (``user_version``).

    Raises
    ------
    DataError
        The file cannot be used, or is written in another form: it is left as it is.
    """

    def __init__(self, path: Path | None, tables: str, purpose: str, written: int = 0) -> None:
        self._path = path
        self._purpose = purpose
        with self.usable():
            if path is not None:
                # Made here, as SQLite would let others read it; never replaced, as others may have it open.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._base = sqlite3.connect(
                path or ":memory:", check_same_thread=False, isolation_level=None, timeout=_PATIENCE
            )
            weakref.finalize(self, self._base.close)  # unless somebody closes it, it ends with its owner
            self._base.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
        try:
            with self.alone():
                self._require(written)
                for statement in tables.split(";"):
                    self._base.execute(statement)
                self._base.execute(f"PRAGMA user_version = {written}")
        except DataError:
            self.close()
            raise

    def _require(self, written: int) -> None:
        """Raise DataError if there are tables already, in another form than this."""
        [tables], [found] = (
            self._base.execute(its).fetchone()
            for its in ("SELECT count(*) FROM sqlite_master", "PRAGMA user_version")
        )
        if tables and found != written:
            raise DataError(
                f"{self._path}, in which this site keeps {self._purpose}, is written in form {found}, and "
                f"this version of fedstats reads form {written}: use the version that wrote it; or keep the "
                "file under another name, so that a new one is begun, in which nothing of it counts"
            )

    def execute(self, sql: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self._base.execute(sql, values)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Run a block in one transaction, alone among the processes of this site."""
        with self.usable(), self._base:
            self._base.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def usable(self) -> Iterator[None]:
        """Raise what SQLite raises within a block as DataError."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise DataError(
                f"cannot use {self._path}, in which this site keeps {self._purpose} ({error}): close "
                "whatever else uses it, make room, or put back a copy that is sound"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._base.close()
