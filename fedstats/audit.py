"""The audit log: what a site's sessions did, in a file that cannot be changed without being seen.

One entry a line, canonical JSON (RFC 8785), signed by the site's identity key. Each names the SHA-256 of the
line before it, so that the last entry, the *head*, vouches for all. At a session's start and end, and before
anything is charged to a privacy budget, the sites tell each other their heads, and countersign those of the
others: a log that was cut off, or put back from an older copy, is noticed by the sites that have seen more
of it.

What an analysis may open is on the disk before it opens anything; what it then opens is written before it
does, and on the disk by the next such entry. So a process that is killed loses nothing, and a machine that
stops at most how far the last analysis came. Entries hold names, labels, modes and sizes; never a value or a
key, and no count of rows but how many were left out for want of consent.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedstats._canonical import canonical, parse
from fedstats.errors import DataError, PolicyError, ProtocolError, translated
from protocols.party import Party
from protocols.publish import publish
from transport.identity import Identity, verify

try:
    import fcntl
except ImportError:  # no POSIX: one process at a time is then a matter of discipline
    fcntl = None  # type: ignore[assignment]

_FORMAT = 1
_ENTRY = b"fedstats/audit/entry/1"
_HEAD = b"fedstats/audit/head/1"
_WITNESS = b"fedstats/audit/witness/1"
_NOTHING = "0" * 64
#: How the file is opened: by system calls alone, as there are entries of every step of an analysis.
_APPENDING = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
_KEYS = {"number", "time", "event", "body", "previous", "signature"}
#: Longest message with heads that is accepted from a site.
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Head:
    """An entry's number, and the SHA-256 of its line."""

    number: int = 0
    digest: str = _NOTHING


@dataclass(frozen=True)
class Entry:
    """One entry of a log.

    Attributes
    ----------
    head
        Its number and hash.
    time
        When it was written, in UTC.
    event
        What it tells of: ``"session.start"``, ``"reveal"``, …
    body
        The particulars.
    """

    head: Head
    time: str
    event: str
    body: Mapping[str, Any]


class Audit:
    """A site's log, to be written to.

    Parameters
    ----------
    path
        The file; made, readable by its owner alone, when the first entry is written.
    identity
        The site's key.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        self.path = path
        self.identity = identity
        self._head = Head()
        self._size = -1

    def append(self, event: str, **body: Any) -> Head:
        """Write an entry, and return when it and all before it are on the disk.

        Raises
        ------
        DataError
            The file cannot be written, or does not end in an entry.
        """
        head = self.note(event, **body)
        self.sync()
        return head

    def note(self, event: str, **body: Any) -> Head:
        """Write an entry, which outlives this process, but not yet a machine that stops; see `sync`."""
        with self._reporting(), self._locked() as (file, size):
            if size != self._size:
                self._catch_up(file, size)
            if not self._head.number:
                self._write(file, "log.begin", self._opening())
                if os.name == "posix":
                    _synced(self.path.parent)
            return self._write(file, event, body)

    def sync(self) -> None:
        """Return when all entries are on the disk."""
        with self._reporting():
            _synced(self.path)

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"cannot write the audit log {self.path} ({error.strerror}), and nothing is opened without "
                "it: make room, or correct its permissions"
            ) from error

    def entries(self) -> list[Entry]:
        """Return all entries, checked; see `read`."""
        if not self.path.exists():
            return []
        return read(self.path, self.identity.public).sound()

    def _opening(self) -> dict[str, Any]:
        return {"format": _FORMAT, "site": self.identity.name, "key": self.identity.public.hex()}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[tuple[int, int]]:
        """Open the file, alone among the processes of this site; give its descriptor and its size."""
        file = os.open(self.path, _APPENDING, 0o600)
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
            yield file, os.fstat(file).st_size
        finally:
            os.close(file)

    def _catch_up(self, file: int, size: int) -> None:
        """Find the head, as another process or an earlier session has left it.

        An entry of which only a part is there was never acted on: the machine stopped. It is removed.
        """
        tail, reach = b"", 1 << 12
        with os.fdopen(file, "rb", closefd=False) as reader:
            while tail.count(b"\n") < 2 and len(tail) < size:
                reach *= 2
                reader.seek(max(0, size - reach))
                tail = reader.read()
        torn = len(tail) - (tail.rfind(b"\n") + 1)
        if torn:
            os.ftruncate(file, size - torn)
        lines = tail[: len(tail) - torn].splitlines()
        self._size = size - torn
        self._head = Head()
        if lines:
            entry = _entry(lines[-1], self.identity.public)
            if entry is None:
                raise DataError(
                    f"the last entry of the audit log {self.path} is not one that this site signed: see "
                    "`fedstats audit verify`, and put the true file back"
                )
            self._head = entry.head

    def _write(self, file: int, event: str, body: Mapping[str, Any]) -> Head:
        entry: dict[str, Any] = {
            "number": self._head.number + 1,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": event,
            "body": body,
            "previous": self._head.digest,
        }
        signed = canonical(entry)
        signature = self.identity.sign(_ENTRY, signed).hex()
        # In canonical JSON the signature stands before the time, the last of the keys.
        before, after = signed.rsplit(b',"time":', 1)
        line = before + f',"signature":"{signature}","time":'.encode() + after
        left = line + b"\n"
        while left:
            left = left[os.write(file, left) :]
        self._size += len(line) + 1
        self._head = Head(entry["number"], hashlib.sha256(line).hexdigest())
        return self._head


def _synced(path: Path) -> None:
    """Return when a file, or which files a folder has, is on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


# --- Reading -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """What a log holds, and what is wrong with it.

    Attributes
    ----------
    path
        The file.
    entries
        Those that the site signed, in the order of the file.
    problems
        What was edited, deleted, put elsewhere or cut off: entry by entry.
    notes
        What need not be wrong.
    """

    path: Path
    entries: list[Entry]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def sound(self) -> list[Entry]:
        """Return the entries, or raise the DataError that says what is wrong."""
        if self.problems:
            raise DataError(f"{self.path} is not as it was written: {'; '.join(self.problems)}")
        return self.entries


def read(path: Path, key: bytes) -> Reading:
    """Read a log and check every entry, and that they follow each other.

    Parameters
    ----------
    path
        The log, or an export of it.
    key
        The public identity key of the site.

    Raises
    ------
    DataError
        The file cannot be read. What is wrong inside is in the result.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the audit log {path} ({error.strerror})") from error
    lines = data.split(b"\n")
    reading = Reading(path, [])
    if lines.pop():
        reading.problems.append(f"line {len(lines) + 1} ends in the middle of an entry: it was cut off there")
    found = [_entry(line, key) for line in lines]
    present = {entry.head.number for entry in found if entry is not None}
    before, broken = Head(), False
    for position, (line, entry) in enumerate(zip(lines, found, strict=True), start=1):
        if entry is None:
            before, broken = Head(before.number + 1, hashlib.sha256(line).hexdigest()), True
            reading.problems.append(
                f"entry {before.number} (line {position}) was edited: its signature is not that of the site "
                "on what it says"
            )
            continue
        reading.entries.append(entry)
        reading.problems.extend(_misplaced(entry, line, before, broken, position, present))
        before, broken = entry.head, False
    reading.notes.extend(_open_end(reading.entries))
    return reading


def _misplaced(
    entry: Entry, line: bytes, before: Head, broken: bool, position: int, present: set[int]
) -> Iterator[str]:
    """Yield what is wrong with where an entry stands."""
    number, due = entry.head.number, before.number + 1
    if number > due:
        absent = [other for other in range(due, number) if other not in present]
        if absent:
            which = f"entry {due} was" if number == due + 1 else f"entries {due} to {number - 1} were"
            yield f"{which} deleted before line {position}"
        else:
            yield f"entry {number} (line {position}) was moved: it stands before entry {due}"
    elif number < due:
        yield f"entry {number} (line {position}) was moved: it stands behind entry {before.number}"
    elif parse(line)["previous"] != before.digest and not broken:
        yield (
            f"entry {number} (line {position}) does not follow the entry {before.number} before it: the log "
            "was put back from an older copy and written on, and the entries in between are lost"
        )


def _open_end(entries: Sequence[Entry]) -> Iterator[str]:
    opened = None
    for entry in entries:
        if entry.event == "session.start":
            opened = entry
        elif entry.event == "session.end":
            opened = None
    if opened is not None:
        yield (
            f"the session of entry {opened.head.number} has no end: it runs, it was killed, or entries "
            f"after {entries[-1].head.number} were cut off; logs of other sites tell (--peer)"
        )


def _entry(line: bytes, key: bytes) -> Entry | None:
    """Return the entry of a line, or None if the site did not sign it."""
    try:
        content = parse(line)
        if content.keys() != _KEYS or type(content["number"]) is not int:
            return None
        signed = {name: its for name, its in content.items() if name != "signature"}
        if not verify(key, _ENTRY, canonical(signed), bytes.fromhex(content["signature"])):
            return None
    except (ValueError, TypeError, AttributeError):
        return None
    head = Head(content["number"], hashlib.sha256(line).hexdigest())
    return Entry(head, content["time"], content["event"], content["body"])


# --- Heads -------------------------------------------------------------------------------------------


def seen(entries: Sequence[Entry]) -> dict[str, Head]:
    """Return the last head of each other site that a log holds."""
    heads: dict[str, Head] = {}
    for entry in entries:
        if entry.event == "session.heads":
            for site, its in entry.body["heads"].items():
                heads[site] = Head(its["number"], its["digest"])
        elif entry.event == "peer.accepted":
            heads.pop(entry.body["site"], None)
    return heads


def missing_heads(entries: Sequence[Entry], site: str, witness: Sequence[Entry], key: bytes) -> list[str]:
    """Return which heads that another site holds of a log are not in it.

    Parameters
    ----------
    entries
        The log.
    site, key
        Whose log it is, and its public key: only heads that it signed count.
    witness
        The other site's log.
    """
    digests = {entry.head.number: entry.head.digest for entry in entries}
    missing = []
    for entry in witness:
        its = entry.body["heads"].get(site) if entry.event == "session.heads" else None
        if its is None or digests.get(its["number"]) == its["digest"]:
            continue
        head = Head(its["number"], its["digest"])
        if verify(key, _HEAD, _said(entry.body["session"], site, head), bytes.fromhex(its["signature"])):
            wrong = "is another" if head.number in digests else "was cut off"
            missing.append(f"entry {head.number}, signed on {entry.time}, {wrong}")
    return missing


def exchange_heads(party: Party, audit: Audit, when: str, keys: Mapping[str, bytes]) -> None:
    """Tell the other sites the head of this site's log, and have each countersign it.

    Parameters
    ----------
    party
        The session.
    audit
        This site's log.
    when
        ``"start"`` or ``"end"`` of the session, or the analysis that is about to open something.
    keys
        Public identity keys of all sites.

    Raises
    ------
    DataError
        This site's log lacks an entry that another site has countersigned.
    PolicyError
        Another site's log lacks one.
    ProtocolError
        A signature is not that of its site.

    Notes
    -----
    **Leakage.** Every site learns how many entries the logs of the others have.

    **Cost.** Two rounds; each site sends some 300 bytes to each other, and 200 for each site.
    """
    session = party.mesh.session.id.hex()
    entries = audit.entries()
    digests = {entry.head.number: entry.head.digest for entry in entries}
    mine = entries[-1].head
    held = seen(entries)
    told = {
        "number": mine.number,
        "digest": mine.digest,
        "signature": audit.identity.sign(_HEAD, _said(session, party.me, mine)).hex(),
        "seen": {site: [its.number, its.digest] for site, its in held.items() if site in party.peers},
    }
    with translated():
        replies: Mapping[str, Any] = publish(party, f"audit.{when}.heads", told, max_bytes=_MAX_BYTES)
    heads, seen_by = {}, {}
    for site, reply in replies.items():
        heads[site], seen_by[site] = _read_head(session, site, reply, keys[site])
    for witness, its in seen_by.items():
        for site, head in its.items():
            if site == party.me:
                if digests.get(head.number) != head.digest:
                    raise DataError(
                        f"the audit log {audit.path} lacks entry {head.number} as site {witness} has "
                        "countersigned it: the log was cut off, or put back from an older copy; put the "
                        "newest one back, or have the other sites accept its loss by "
                        f"`fedstats audit accept {site}`"
                    )
            elif site in heads and heads[site].number < head.number:
                raise PolicyError(
                    f"site {site} shows an audit log of {heads[site].number} entries, and site {witness} has "
                    f"countersigned entry {head.number}: ask site {site} what became of its log, and if its "
                    f"loss is accepted, type `fedstats audit accept {site}` at the sites that hold more of it"
                )
    signed = {
        site: audit.identity.sign(_WITNESS, _said(session, site, head, party.me)).hex()
        for site, head in heads.items()
    }
    with translated():
        answers = publish(party, f"audit.{when}.witness", signed, max_bytes=_MAX_BYTES)
    witnesses = {}
    for site in party.peers:
        answer = answers[site]
        text = answer.get(party.me) if isinstance(answer, dict) else None
        if not _signed(keys[site], _WITNESS, _said(session, party.me, mine, site), text):
            raise _false(site)
        witnesses[site] = text
    audit.append(
        "session.heads",
        session=session,
        when=when,
        heads={
            site: {"number": head.number, "digest": head.digest, "signature": replies[site]["signature"]}
            for site, head in heads.items()
            if site != party.me
        },
        witnesses=witnesses,
    )


def _said(session: str, site: str, head: Head, witness: str | None = None) -> bytes:
    content = {"session": session, "site": site, "number": head.number, "digest": head.digest}
    return canonical(content if witness is None else content | {"witness": witness})


def _read_head(session: str, site: str, reply: Any, key: bytes) -> tuple[Head, dict[str, Head]]:
    """Return the head that a site tells, and those of others that it has seen."""
    match reply:
        case {
            "number": int(number),
            "digest": str(digest),
            "signature": signature,
            "seen": dict(its),
            **rest,
        }:
            head = Head(number, digest)
            held = {str(other): _pair(pair) for other, pair in its.items()}
            if (
                not rest
                and None not in held.values()
                and _signed(key, _HEAD, _said(session, site, head), signature)
            ):
                return head, {other: pair for other, pair in held.items() if pair is not None}
    raise _false(site)


def _pair(value: Any) -> Head | None:
    match value:
        case [int(number), str(digest)]:
            return Head(number, digest)
    return None


def _signed(key: bytes, domain: bytes, message: bytes, text: Any) -> bool:
    try:
        return isinstance(text, str) and verify(key, domain, message, bytes.fromhex(text))
    except ValueError:
        return False


def _false(site: str) -> ProtocolError:
    return ProtocolError(
        f"what site {site} says of the audit logs is malformed, or not signed by its identity key: it runs a "
        "damaged or hostile version of fedstats",
        site=site,
    )
