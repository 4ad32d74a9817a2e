"""`fedstats audit`: check, read and copy this site's audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from fedstats.audit import Audit, Entry, Reading, missing_heads, read
from fedstats.cli._output import console
from fedstats.cli.keys import SiteFile
from fedstats.errors import DataError
from fedstats.site import Site
from transport.manifest import Manifest
from transport.sitekeys import SiteKeys

app = typer.Typer(no_args_is_help=True, help="Check, read and copy the audit log.")


@app.command()
def verify(
    logs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="LOG…", help="Logs or exports; this site's own by default.", show_default=False
        ),
    ] = None,
    peer: Annotated[
        list[Path] | None,
        typer.Option(metavar="LOG", help="Export of another site's log, which has seen this one's heads."),
    ] = None,
    site: SiteFile = Path("site.toml"),
) -> None:
    """Check every signature of a log, and that no entry was edited, deleted, moved or cut off.

    The keys are those of the federation's manifest. Exit code 10 if anything is wrong: each is named.
    """
    config = Site.load(site)
    wrong = []
    for path in logs or [config.audit]:
        owner, reading = _reading(path, config)
        _print(owner, reading)
        problems = list(reading.problems)
        for other in peer or []:
            witness, its = _reading(other, config)
            gone = missing_heads(reading.entries, owner, its.sound(), _key(config, owner))
            problems += [f"{what}: site {witness} has countersigned it" for what in gone]
        for problem in problems:
            console.print(f"  [bold red]{path.name}[/]: {problem}", soft_wrap=True, highlight=False)
        wrong += problems
    if wrong:
        raise DataError(
            f"{len(wrong)} things are wrong: keep this copy, put a true one back, and find out who could "
            "write to the file"
        )


@app.command()
def show(
    last: Annotated[int, typer.Option(min=1, help="How many entries, the newest.")] = 50,
    event: Annotated[
        str | None, typer.Option(help="Only events that begin so: reveal, session, refusal…")
    ] = None,
    site: SiteFile = Path("site.toml"),
) -> None:
    """Show the newest entries of this site's log, once it has been checked."""
    config = Site.load(site)
    _, reading = _reading(config.audit, config)
    table = Table(box=None, pad_edge=False)
    for column in ("entry", "time", "event", ""):
        table.add_column(column, overflow="fold")
    chosen = [entry for entry in reading.sound() if event is None or entry.event.startswith(event)]
    for entry in chosen[-last:]:
        table.add_row(str(entry.head.number), entry.time[:19], entry.event, _shown(entry))
    console.print(table, highlight=False, markup=False)


@app.command()
def export(
    output: Annotated[Path, typer.Argument(help="The copy to write.")],
    site: SiteFile = Path("site.toml"),
) -> None:
    """Copy this site's log for an auditor or another site, once it has been checked.

    The copy is what `fedstats audit verify` reads: an entry a line, JSON.
    """
    config = Site.load(site)
    _, reading = _reading(config.audit, config)
    entries = reading.sound()
    if output.exists():
        raise DataError(f"{output} exists, and nothing is overwritten: choose another file")
    output.write_bytes(config.audit.read_bytes())
    console.print(f"Wrote {len(entries)} entries to {output}.", soft_wrap=True)


@app.command()
def accept(
    name: Annotated[str, typer.Argument(metavar="SITE", help="The site whose log is lost.")],
    site: SiteFile = Path("site.toml"),
) -> None:
    """Accept that another site has lost its audit log, although this site has countersigned more of it."""
    config = Site.load(site)
    Manifest.load(config.federation).card(name)
    Audit(config.audit, SiteKeys.load(config.keys).identity).append("peer.accepted", site=name)
    console.print(f"Accepted, and logged, that site [bold]{name}[/] begins its audit log anew.")


def _reading(path: Path, config: Site) -> tuple[str, Reading]:
    """Return whose log it is, by the key that signed its entries, and what it holds."""
    if path.resolve() == config.audit:
        return config.name, read(path, _key(config, config.name))
    manifest = Manifest.load(config.federation)
    for card in manifest.peers:
        reading = read(path, card.identity)
        if reading.entries:
            return card.name, reading
    raise DataError(
        f"no entry of {path} was signed by a site of federation {manifest.name}: is it a log of theirs?"
    )


def _key(config: Site, name: str) -> bytes:
    return (
        SiteKeys.load(config.keys).identity.public
        if name == config.name
        else Manifest.load(config.federation).card(name).identity
    )


def _print(owner: str, reading: Reading) -> None:
    entries = reading.entries
    span = f", {entries[0].time[:10]} to {entries[-1].time[:10]}" if entries else ""
    mark = "[bold red]not as it was written[/]" if reading.problems else "[bold green]as it was written[/]"
    console.print(f"Audit log of site [bold]{owner}[/]: {len(entries)} entries{span}, {mark}.")
    for note in reading.notes:
        console.print(f"  {note}", soft_wrap=True, highlight=False)


def _shown(entry: Entry) -> str:
    """Return the particulars of an entry in a line; hashes and signatures are left to the file."""
    return ", ".join(f"{key} {_short(value)}" for key, value in entry.body.items() if value not in (None, []))


def _short(value: Any) -> str:
    match value:
        case dict():
            return "/".join(value)
        case list():
            return "/".join(map(str, value))
        case str() if len(value) == 64:
            return f"{value[:12]}…"
    return str(value)
