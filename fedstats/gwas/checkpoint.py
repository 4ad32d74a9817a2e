"""What a long scan has finished, kept at each site, so that it goes on after whatever has ended it.

A checkpoint is a file of one site: a head that says which scan of which input it belongs to, and then the
results of finished blocks as they were opened to all sites, in order. Each block carries a digest of itself
and of all blocks before it. No share, no site's summand and no row is in the file; digests of this site's
rows and genotypes are, and stay here.

When the scan is run again, each site holds the head against what it is given now, and tells the others the
digests of the blocks that it has. All go on after the last block that every site has alike: whoever stopped
a block earlier, or lost the file, sends the others back to there.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.errors import DataError, ProtocolError
from fedstats.gwas import _ahead
from fedstats.gwas.genotypes import Genotypes
from fedstats.gwas.reconcile import Reconciled
from protocols import codec

try:
    import fcntl
except ImportError:  # no POSIX: nobody is kept from running a scan twice at a time
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

#: What `agree_checkpoint` publishes; part of the declaration of every method that calls it.
PUBLISHED: Mapping[str, str] = {
    "checkpoint": "digests of the opened results of finished blocks that each site has kept (only with "
    "checkpoint=)",
}

_MAGIC: Final = b"fedstats checkpoint 1\n"
#: Length and digest of a record.
_FRAME: Final = struct.Struct("<Q32s")
#: Bytes of a digest that is sent.
_SENT: Final = 16
#: Records that a site may have: some thirty million variants.
_MOST_BYTES: Final = 1 << 20

#: What a head says, and how a difference is put.
_DIFFERENCES: Final = {
    "analysis": "another analysis",
    "call": "other options, trait or covariates",
    "sites": "other sites",
    "version": "another version of fedstats",
    "blocks": "blocks of another size",
    "variants": "another list of variants",
    "rows": "other rows of this site's table",
    "genotypes": "other genotypes of this site",
}


def agree_checkpoint(
    run: Analysis,
    path: str | os.PathLike[str] | None,
    genotypes: Genotypes,
    cohort: Cohort,
    samples: NDArray[np.int64],
    shared: Reconciled,
) -> Checkpoint:
    """Open this site's checkpoint, and agree with the other sites where to go on.

    Parameters
    ----------
    run
        The analysis, when it has asked for all columns and agreed on its call. Its declaration includes
        `PUBLISHED`.
    path
        The file, made if need be; None to keep nothing. All sites give one, or none does.
    genotypes, cohort, samples
        This site's input, and which sample each row of the cohort is.
    shared
        The variants.

    Returns
    -------
    Checkpoint
        To be used in a ``with`` block, which holds the file against other processes.

    Raises
    ------
    DataError
        The file belongs to another scan or to other input, or is no checkpoint, or another process uses it.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** Digests of what all sites have been told.

    Cost: one round, none without a path. The genotype file is read once, to know it again.
    """
    if path is None:
        return Checkpoint(None, [])
    mine: list[_File] = []

    def local() -> Mapping[str, Any]:
        columns = sorted(run.federation.asked_columns.get(cohort, ()))
        head = {
            "analysis": run.declaration.name,
            "call": run.call or "",
            "sites": list(run.sites),
            "version": version("fedstats"),
            "blocks": _ahead.BLOCK,
            "variants": _digest(shared.variants),
            "rows": _digest(cohort.rows[columns].assign(**{"\0id": cohort.ids}), samples.tobytes()),
            "genotypes": _contents(genotypes),
        }
        mine.append(_File.open(Path(path), head))
        return {"blocks": b"".join(digest[:_SENT] for digest in mine[0].digests)}

    try:
        told = run.agree("checkpoint", local, max_bytes=_MOST_BYTES)
        common = _common([_split(site, its.get("blocks")) for site, its in told.items()])
        [file] = mine
        return Checkpoint(file, file.cut(common))
    except BaseException:
        for file in mine:
            file.close()
        raise


class Checkpoint:
    """Finished blocks of a scan; without a file, none, and nothing is kept.

    Parameters
    ----------
    file
        Where to keep what is finished.
    records
        What is finished: the name of the stage and what it opened.
    """

    def __init__(self, file: _File | None, records: Sequence[Mapping[str, Any]]) -> None:
        self._file = file
        self._records = records

    def finished(self, stage: str) -> list[dict[str, Any]]:
        """Return what the finished blocks of a stage had, in order."""
        return [its["block"] for its in self._records if its["stage"] == stage]

    def keep(self, stage: str, block: Mapping[str, Any]) -> None:
        """Keep a block: arrays, numbers and texts that all sites have been told. It is on the disk then."""
        if self._file is not None:
            self._file.append({"stage": stage, "block": dict(block)})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


@dataclass(frozen=True)
class _Record:
    """What a file holds: a value, the digest of it and of all blocks before it, and where it ends."""

    value: dict[str, Any]
    digest: bytes
    end: int


class _File:
    """A head and blocks in a file, of which whatever a crash has torn is not read."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        self._records: list[_Record] = []

    @classmethod
    def open(cls, path: Path, head: dict[str, Any]) -> Self:
        """Open a file, or begin one; DataError if it has another head."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        except OSError as error:
            raise DataError(f"cannot open the checkpoint {path}: {error.strerror}") from error
        opened = cls(path, file)
        try:
            opened._lock()
            opened._read()
            opened._check(head)
        except BaseException:
            opened.close()
            raise
        return opened

    @property
    def digests(self) -> list[bytes]:
        """Return the digests of the blocks."""
        return [record.digest for record in self._records[1:]]

    def cut(self, blocks: int) -> list[dict[str, Any]]:
        """Keep the head and so many blocks, and return these."""
        del self._records[blocks + 1 :]
        self._file.truncate(self._records[-1].end)
        return [record.value for record in self._records[1:]]

    def append(self, value: dict[str, Any]) -> None:
        """Write a record behind the others."""
        payload = codec.encode(value)
        digest = self._digest(payload)
        try:
            self._file.seek(self._records[-1].end if self._records else len(_MAGIC))
            self._file.write(_FRAME.pack(len(payload), digest) + payload)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DataError(
                f"cannot write the checkpoint {self._path}: {error.strerror}; make room, and run the same "
                "script again: it goes on from here"
            ) from error
        # The results themselves are the caller's: here they need not be held twice.
        self._records.append(_Record({}, digest, self._file.tell()))

    def close(self) -> None:
        """Let other processes use it."""
        with suppress(OSError):
            self._file.close()

    def _lock(self) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise DataError(
                    f"another scan uses the checkpoint {self._path}: give each a file of its own"
                ) from None

    def _read(self) -> None:
        """Read all whole records."""
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)
        start = self._file.read(len(_MAGIC))
        if not _MAGIC.startswith(start):
            raise DataError(f"{self._path} is no checkpoint: give another path")
        if start != _MAGIC:
            self._file.truncate(0)
            self._file.seek(0)
            self._file.write(_MAGIC)
        while len(frame := self._file.read(_FRAME.size)) == _FRAME.size:
            length, digest = _FRAME.unpack(frame)
            payload = self._file.read(min(length, size))
            if len(payload) != length or self._digest(payload) != digest:
                break
            self._records.append(_Record(codec.decode(payload), digest, self._file.tell()))

    def _check(self, head: dict[str, Any]) -> None:
        """Refuse a file of another scan; write the head if there is none."""
        if not self._records:
            self.append(head)
            return
        then = self._records[0].value
        for name, what in _DIFFERENCES.items():
            if then.get(name) != head[name]:
                raise DataError(
                    f"the checkpoint {self._path} was written for {what}: give another path, or delete the "
                    "file to begin anew"
                )

    def _digest(self, payload: bytes) -> bytes:
        # Blocks' digests are told to the other sites: the head, of this site alone, has no part in them.
        before = self._records[-1].digest if len(self._records) > 1 else b""
        return hashlib.sha256(before + payload).digest()


def _split(site: str, blocks: Any) -> list[bytes]:
    """Return the digests that a site has sent."""
    if not isinstance(blocks, bytes) or len(blocks) % _SENT:
        raise ProtocolError(f"site {site} sent no digests of its checkpoint", site=site)
    return [blocks[at : at + _SENT] for at in range(0, len(blocks), _SENT)]


def _common(lists: Sequence[Sequence[bytes]]) -> int:
    """Return with how many digests all lists begin alike."""
    return sum(1 for _ in takewhile(lambda its: len(set(its)) == 1, zip(*lists, strict=False)))


def _digest(frame: pd.DataFrame, more: bytes = b"") -> bytes:
    """Return a digest of a table's names and values, and of what goes with it."""
    digest = hashlib.sha256("\0".join(map(str, frame.columns)).encode())
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    digest.update(more)
    return digest.digest()


def _contents(genotypes: Genotypes) -> bytes:
    """Return a digest of the genotype file, of its variants and of its samples' sexes."""
    with genotypes.file.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(genotypes.table.fingerprint())
    digest.update(genotypes.file.samples["sex"].to_numpy(np.int64).tobytes())
    return digest.digest()
