"""`fedstats approve`: let a script run at this site, or no longer."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fedstats.approval import Approval, Approvals, Spec
from fedstats.audit import Audit
from fedstats.cli._output import console
from fedstats.cli.keys import SiteFile
from fedstats.errors import DataError
from fedstats.site import Site
from transport.manifest import Manifest
from transport.sitekeys import SiteKeys


def approve(
    script: Annotated[
        Path | None, typer.Argument(help="The script, as it will run.", show_default=False)
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="The last day (UTC).")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show what is approved.")] = False,
    revoke: Annotated[
        str | None, typer.Option(metavar="HASH", help="Take an approval back, also while the script runs.")
    ] = None,
    site: SiteFile = Path("site.toml"),
) -> None:
    """Let a script run at this site, where its rule is approval = "approve".

    Read the script first. The approval is for these bytes, this version of fedstats, and these sites and
    rules of the federation: if any of them changes, it does not hold. Modules that the script imports are not
    covered.
    """
    if (script is not None) + list_ + (revoke is not None) != 1:
        raise typer.BadParameter("give a script, --list or --revoke HASH: one of them")
    config = Site.load(site)
    identity = SiteKeys.load(config.keys).identity
    approvals = Approvals(config.approvals, identity)
    audit = Audit(config.audit, identity)
    if list_:
        _show(approvals.load())
    elif revoke is not None:
        gone = approvals.revoke(revoke)
        audit.append("approval.revoked", name=gone.name, hash=gone.spec.hash)
        console.print(f"{gone.name} ({gone.spec.hash[:12]}…) is not approved any more.", highlight=False)
    elif script is not None:
        approval = _approval(script, config, until.date() if until else None)
        audit.append("approval.given", hash=approval.spec.hash, **approval.to_dict())
        approvals.add(approval)
        end = f"until {approval.until}" if approval.until else "until it is revoked"
        console.print(
            f"{approval.name} is approved {end}: {approval.spec.hash}", highlight=False, soft_wrap=True
        )
        if config.policy.approval != "approve":
            console.print(
                f'Note that this site\'s rule is approval = {config.policy.approval}: set it to "approve" in '
                f"[policy] of {config.path.name} for approvals to count.",
                soft_wrap=True,
                markup=False,
            )


def _approval(script: Path, config: Site, until: date | None) -> Approval:
    now = datetime.now(UTC)
    if until is not None and until < now.date():
        raise DataError(f"--until {until} is over: give a day to come")
    try:
        data = script.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {script} ({error.strerror}): give the path of a Python file") from error
    manifest = Manifest.load(config.federation)
    manifest.verify()
    digest = hashlib.sha256(data).hexdigest()
    spec = Spec(digest, version("fedstats"), manifest.names, manifest.hash.hex())
    return Approval(script.name, spec, now.isoformat(timespec="seconds"), until)


def _show(approvals: list[Approval]) -> None:
    today = datetime.now(UTC).date()
    table = Table(box=None, pad_edge=False)
    for column in ("script", "hash", "given", "until", "fedstats", "sites"):
        table.add_column(column)
    for its in approvals:
        until = "revoked" if its.until is None else f"{its.until}{' (ended)' if its.has_ended(today) else ''}"
        table.add_row(
            its.name, its.spec.hash[:12], its.given[:10], until, its.spec.package, ", ".join(its.spec.roster)
        )
    console.print(table, highlight=False, markup=False)
