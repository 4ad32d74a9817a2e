"""Approvals: which scripts a site's steward lets run, each by a hash of all that makes up the analysis.

The hash covers the script's bytes, the version of fedstats, the sites and the federation's manifest. Whatever
of these changes, were it one byte, the approval does not hold for. Modules that the script imports are not
covered: a script that is to be approved should import none of its own.

The schema and the privacy loss have no place of their own in it. Both are of a run: the steward approves with
no other site at hand, and which tables a script asks for, of how many rows, what each release costs, and
which of them come about, is known when it has got there. What they follow from is covered, as it stands in
the script: names of files and columns, ``rho=`` and ``epsilon=``. What may change without the script is held
in check where it is used: all sites must agree on the kinds of columns as they are then, rules say which
columns any script may use, and the ledger lets no release cost more than is left of the budget in
`site.toml`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from fedstats._canonical import canonical, parse
from fedstats.errors import DataError, PolicyError
from transport.identity import Identity, verify, write_private

_DOMAIN = b"fedstats/approval/1"
#: What a changed part is called, in the order in which they are told.
_PARTS = {
    "script": "the script's bytes",
    "package": "the version of fedstats",
    "roster": "the sites",
    "manifest": "the federation's manifest",
}


@dataclass(frozen=True)
class Spec:
    """What an approval is for.

    Attributes
    ----------
    script
        SHA-256 of the script, hexadecimal.
    package
        Version of fedstats.
    roster
        Names of the sites.
    manifest
        Hash of the federation's manifest, hexadecimal.
    """

    script: str
    package: str
    roster: tuple[str, ...]
    manifest: str

    @property
    def hash(self) -> str:
        """SHA-256 of all of it, hexadecimal."""
        return hashlib.sha256(canonical(asdict(self))).hexdigest()


@dataclass(frozen=True)
class Approval:
    """One approval.

    Attributes
    ----------
    name
        The script's name, for people.
    spec
        What it is for.
    given
        When it was given, UTC.
    until
        The last day on which it holds (UTC); None for as long as it is not revoked.
    """

    name: str
    spec: Spec
    given: str
    until: date | None = None

    def has_ended(self, today: date) -> bool:
        """Tell whether its last day is over."""
        return self.until is not None and today > self.until

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        until = None if self.until is None else self.until.isoformat()
        return {"name": self.name, "spec": asdict(self.spec), "given": self.given, "until": until}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Approval:
        """Read what `to_dict` returned."""
        spec = Spec(**{**content["spec"], "roster": tuple(content["spec"]["roster"])})
        until = None if content["until"] is None else date.fromisoformat(content["until"])
        return cls(content["name"], spec, content["given"], until)


class Approvals:
    """The approvals of a site, in a file that its identity key signs.

    Parameters
    ----------
    path
        The file; no approval was given where there is none.
    identity
        The site's key.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        self.path = path
        self._identity = identity

    def load(self) -> list[Approval]:
        """Return all approvals, also those that have ended.

        Raises
        ------
        DataError
            The file was changed by other means than `fedstats approve`.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DataError(f"cannot read {self.path} ({error.strerror})") from error
        try:
            content = parse(data.rstrip(b"\n"))
            signature = bytes.fromhex(content["signature"])
            if verify(self._identity.public, _DOMAIN, canonical(content["approvals"]), signature):
                return [Approval.from_dict(its) for its in content["approvals"]]
        except (ValueError, TypeError, KeyError):
            pass
        raise DataError(
            f"{self.path} is not as `fedstats approve` wrote it, and approves nothing: remove it, and "
            "approve again what may run"
        )

    def add(self, approval: Approval) -> None:
        """Approve; an earlier approval of the same is replaced."""
        kept = [its for its in self.load() if its.spec != approval.spec]
        self._save([*kept, approval])

    def revoke(self, beginning: str) -> Approval:
        """Take back the approval whose hash begins like this, or whose script has this name.

        Raises
        ------
        DataError
            There is none, or more than one.
        """
        approvals = self.load()
        meant = [its for its in approvals if its.spec.hash.startswith(beginning) or its.name == beginning]
        if len(meant) != 1 or not beginning:
            raise DataError(
                f"{beginning!r} stands for {len(meant)} approvals: give the beginning of the hash of one, "
                "see `fedstats approve --list`"
            )
        self._save([its for its in approvals if its is not meant[0]])
        return meant[0]

    def check(self, spec: Spec, name: str, *, today: date | None = None) -> None:
        """Raise PolicyError unless a script is approved, saying what is missing."""
        day = today or datetime.now(UTC).date()
        approvals = self.load()
        exact = [its for its in approvals if its.spec == spec]
        if any(not its.has_ended(day) for its in exact):
            return
        how = f"ask this site's steward to read it and type `fedstats approve {name}`"
        if exact:
            raise PolicyError(f"the approval of {name} ended on {exact[0].until}: {how}")
        similar = [its for its in approvals if its.name == name or its.spec.script == spec.script]
        if similar:
            changed = _changed(similar[-1].spec, spec)
            raise PolicyError(
                f"{name} is not approved any more: {' and '.join(changed)} changed since it was approved on "
                f"{similar[-1].given[:10]}; {how}"
            )
        raise PolicyError(f"{name} is not approved at this site, whose rule is approval = approve: {how}")

    def _save(self, approvals: Sequence[Approval]) -> None:
        content = [its.to_dict() for its in approvals]
        signature = self._identity.sign(_DOMAIN, canonical(content)).hex()
        write_private(self.path, canonical({"approvals": content, "signature": signature}) + b"\n")


def _changed(before: Spec, now: Spec) -> list[str]:
    return [what for part, what in _PARTS.items() if getattr(before, part) != getattr(now, part)]
