"""The privacy budget: what differentially private releases have taken from each of a site's data sets.

A file of the site's own (SQLite), written through to the disk. Before a release the site *reserves* its
cost; once the release is open, the reservation is *spent*; where the sites do not agree, and so nothing is
opened, it is *returned*. A reservation whose end is unknown, because the process was killed, counts as spent:
the ledger may say more than was released, never less.

Costs are the ρ of zero-concentrated differential privacy (Bun, Steinke 2016), which add up, as exact
fractions.

Each reservation holds the hash of the one before it, and is in the audit log, whose head the other sites
countersign before the release is opened: a ledger that was put back from an older copy, alone or with the
log, is noticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from fedstats._canonical import canonical
from fedstats._database import Database
from fedstats.errors import BudgetError, DataError

if TYPE_CHECKING:
    from fedstats.audit import Entry

State: TypeAlias = Literal["reserved", "spent", "returned"]

_TABLE = """
CREATE TABLE IF NOT EXISTS reservations (
    number INTEGER PRIMARY KEY, time TEXT NOT NULL, data TEXT NOT NULL, analysis TEXT NOT NULL,
    rho TEXT NOT NULL, digest TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('reserved', 'spent', 'returned'))
)
"""
_NOTHING = "0" * 64


@dataclass(frozen=True)
class Reservation:
    """One release's cost for one data set.

    Attributes
    ----------
    number
        Its place in the ledger, from 1.
    time
        When it was made, in UTC.
    data
        The data set, by the name under which `site.toml` registers it.
    analysis
        The release: the analysis and its number in the session.
    rho
        The cost.
    digest
        SHA-256 of all of this and the reservation before it.
    state
        ``"reserved"``, ``"spent"`` or ``"returned"``. The first two count.
    """

    number: int
    time: str
    data: str
    analysis: str
    rho: Fraction
    digest: str
    state: State


class Ledger:
    """What a site has spent.

    Parameters
    ----------
    path
        The file; None to count within this session only, as a simulated site does.
    limits
        ρ that may be spent of each data set, in all. Of one that is not there, any: it is counted all the
        same.
    """

    def __init__(self, path: Path | None, limits: Mapping[str, Fraction] | None = None) -> None:
        self.limits = dict(limits or {})
        self._path = path
        self._base = Database(path, _TABLE, "its privacy budget")

    def reserve(self, data: str, analysis: str, rho: Fraction) -> Reservation:
        """Set the cost of a release aside; returns when that is on the disk.

        Raises
        ------
        BudgetError
            What is left of the data set's budget does not suffice.
        """
        if rho <= 0:
            raise ValueError("a release costs more than nothing")
        with self._base.alone():
            last = self._last()
            left = self._left(data)
            if left is not None and rho > left:
                raise BudgetError(
                    f"{analysis} costs rho = {_decimal(rho)}, and of this site's budget of "
                    f"{_decimal(self.limits[data])} for {data!r} there is {_decimal(left)} left: ask for "
                    "less, or let the steward change [budget] in site.toml"
                )
            made = _reservation(last, data, analysis, rho)
            self._base.execute(
                "INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?)",
                (made.number, made.time, made.data, made.analysis, str(made.rho), made.digest, made.state),
            )
        return made

    def settle(self, reservation: Reservation, state: State) -> None:
        """Say what became of a reservation: ``"spent"``, or ``"returned"`` where nothing was opened."""
        with self._base.alone():
            self._base.execute(
                "UPDATE reservations SET state = ? WHERE number = ? AND state = 'reserved'",
                (state, reservation.number),
            )

    def reservations(self) -> list[Reservation]:
        """Return all reservations, in their order."""
        with self._base.usable():
            rows = self._base.execute("SELECT * FROM reservations ORDER BY number").fetchall()
        return [_read(row) for row in rows]

    def spent(self, data: str) -> Fraction:
        """Return what counts against a data set's budget: what is spent or reserved."""
        return sum(
            (its.rho for its in self.reservations() if its.data == data and its.state != "returned"),
            Fraction(0),
        )

    def left(self, data: str) -> Fraction | None:
        """Return what is left of a data set's budget; None if it has no limit."""
        with self._base.usable():
            return self._left(data)

    def check(self, log: Sequence[Entry]) -> None:
        """Compare the ledger with the audit log of the same site.

        Raises
        ------
        DataError
            A reservation is not as it was made, or the ledger lacks one that the log holds.
        """
        held = self.reservations()
        before = None
        for its in held:
            if its.digest != _digest(before, its):
                raise DataError(
                    f"reservation {its.number} of {self._path} is not as it was made, or the one before it "
                    "is gone: put the true file back"
                )
            before = its
        digests = {its.number: its.digest for its in held}
        for entry in log:
            if entry.event == "budget.reserved":
                number, digest = entry.body["number"], entry.body["digest"]
                if digests.get(number) != digest:
                    raise DataError(
                        f"{self._path} lacks reservation {number}, which the audit log holds of "
                        f"{entry.time}: it was put back from an older copy; put the newest one back"
                    )
        returned = {entry.body["number"] for entry in log if entry.event == "budget.returned"}
        for its in held:
            if its.state == "returned" and its.number not in returned:
                raise DataError(
                    f"reservation {its.number} of {self._path} counts as returned, and the audit log knows "
                    "nothing of it: put the true file back"
                )

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def _left(self, data: str) -> Fraction | None:
        limit = self.limits.get(data)
        return None if limit is None else limit - self.spent(data)

    def _last(self) -> Reservation | None:
        row = self._base.execute("SELECT * FROM reservations ORDER BY number DESC LIMIT 1").fetchone()
        return None if row is None else _read(row)


def _read(row: tuple[Any, ...]) -> Reservation:
    number, time, data, analysis, rho, digest, state = row
    return Reservation(number, time, data, analysis, Fraction(rho), digest, state)


def _reservation(before: Reservation | None, data: str, analysis: str, rho: Fraction) -> Reservation:
    number = 1 if before is None else before.number + 1
    time = datetime.now(UTC).isoformat(timespec="seconds")
    made = Reservation(number, time, data, analysis, rho, "", "reserved")
    return Reservation(number, time, data, analysis, rho, _digest(before, made), "reserved")


def _digest(before: Reservation | None, its: Reservation) -> str:
    content = {
        "number": its.number,
        "time": its.time,
        "data": its.data,
        "analysis": its.analysis,
        "rho": str(its.rho),
        "previous": _NOTHING if before is None else before.digest,
    }
    return hashlib.sha256(canonical(content)).hexdigest()


def _decimal(rho: Fraction) -> str:
    return f"{float(rho):.6g}"
