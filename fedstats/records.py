"""What a site keeps of its sessions, beside its `site.toml`: the audit log, approvals, row sets.

A simulated site keeps nothing. All of it is this site's own: no other site reads it, and each file is
readable by its owner alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from typing import Any

from fedstats.approval import Approvals, Spec
from fedstats.audit import Audit, exchange_heads
from fedstats.errors import FedStatsError, PolicyError
from fedstats.ledger import Ledger
from fedstats.policy import SitePolicy
from fedstats.rowsets import RowSets
from fedstats.site import Site
from protocols.party import Party
from transport.identity import Identity
from transport.manifest import Manifest

_log = logging.getLogger("fedstats.records")


@dataclass(frozen=True)
class Script:
    """The running script: its name, for people, and its SHA-256; no name where there is none."""

    name: str | None
    sha256: bytes


class Records:
    """What one site keeps of one session.

    Parameters
    ----------
    site
        Its `site.toml`.
    identity
        Its key.
    manifest
        The federation.
    script
        What runs.
    """

    def __init__(self, site: Site, identity: Identity, manifest: Manifest, script: Script) -> None:
        self.site = site
        self.manifest = manifest
        self.script = script
        self.identity = identity
        self.audit = Audit(site.audit, identity)
        self.spec = Spec(script.sha256.hex(), version("fedstats"), manifest.names, manifest.hash.hex())
        self._keys = {card.name: card.identity for card in manifest.peers}
        self._approvals = Approvals(site.approvals, identity)
        self._worker = ThreadPoolExecutor(1, "fedstats-audit")  # its thread begins when it is needed
        self._session = ""
        self._ended = False

    def row_sets(self) -> RowSets:
        """Return what the site remembers of its row sets."""
        return RowSets.open(self.site.row_sets, self.site.keys / "rowsets.key")

    def ledger(self) -> Ledger:
        """Return what was spent of the site's privacy budget."""
        return Ledger(self.site.ledger, self.site.budget)

    def log(self, event: str, **body: Any) -> None:
        """Write to the audit log; returns when it is on the disk."""
        self.audit.append(event, **body)

    def note(self, event: str, **body: Any) -> None:
        """Write to the audit log; on the disk after the next `log`, or `syncing`."""
        self.audit.note(event, **body)

    @contextmanager
    def syncing(self) -> Iterator[None]:
        """Bring the audit log to the disk while a block runs, which ends when both are done."""
        synced = self._worker.submit(self.audit.sync)
        try:
            yield
        finally:
            synced.exception()  # waits; what the block raises comes first
        synced.result()

    def check_approval(self, *, today: date | None = None) -> None:
        """Raise PolicyError unless the steward lets the script run; asked again before every analysis."""
        mode = self.site.policy.approval
        if mode == "deny":
            raise PolicyError(
                "this site's rule approval = deny lets no script run: its steward can change [policy] in "
                "site.toml"
            )
        if mode == "approve":
            if self.script.name is None:
                raise PolicyError(
                    "this site's rule is approval = approve, and what is typed into a notebook or a shell "
                    "cannot be approved: put it into a script"
                )
            self._approvals.check(self.spec, self.script.name, today=today)

    def begin(self, party: Party) -> None:
        """Log the session's start, and have the other sites countersign the log's head.

        Raises
        ------
        PolicyError
            The steward does not let the script run; see `check_approval`.
        DataError, PolicyError, ProtocolError
            The ledger of the privacy budget is not as the log has it; or see `exchange_heads`.
        """
        self._session = party.mesh.session.id.hex()
        self.log("session.start", **self.facts())
        try:
            self.check_approval()
        except PolicyError as error:
            self.log("refusal", hash=self.spec.hash, error=type(error).__name__, message=str(error))
            raise
        with closing(self.ledger()) as ledger:
            ledger.check(self.audit.entries())
        self.witness(party, "start")

    def witness(self, party: Party, when: str) -> None:
        """Have the other sites countersign the head of the audit log; see `exchange_heads`."""
        exchange_heads(party, self.audit, when, self._keys)

    def facts(self) -> dict[str, Any]:
        """Return what there is to say of the session: which, by whom, under which rules."""
        return {
            "session": self._session,
            "federation": self.manifest.name,
            "epoch": self.manifest.epoch,
            "script_name": self.script.name,
            "hash": self.spec.hash,
            "policy": _stated(self.site.policy),
            "shared_policy": dict(self.manifest.policy),
            **asdict(self.spec),
        }

    def end(self, party: Party, outcome: str = "done") -> None:
        """Log the session's end, once; countersigned by the others where it went well."""
        if self._ended:
            return
        self._ended = True
        self.log("session.end", session=party.mesh.session.id.hex(), outcome=outcome)
        if outcome != "done":
            return
        try:
            self.witness(party, "end")
        except FedStatsError as error:
            # The results are there, and stand: what is missing is that others vouch for the log's end.
            _log.warning("the other sites did not countersign the end of the audit log: %s", error)
            self.log("session.unwitnessed", error=type(error).__name__)


def _stated(policy: SitePolicy) -> Mapping[str, Any]:
    """Return the rules that differ from the defaults."""
    default = SitePolicy()
    return {rule: value for rule, value in asdict(policy).items() if value != getattr(default, rule)}
