"""`fedstats doctor`: everything that must be in order before a script can run, each with its remedy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.text import Text

from fedstats._progress import roll_call
from fedstats.cli._checks import Check, Checkup
from fedstats.cli._output import console
from fedstats.cli._probe import Line, measure
from fedstats.cli.keys import SiteFile
from transport.errors import TransportError
from transport.grpc_mesh import connect

#: What stands for the script's hash: doctors meet doctors only.
_SPEC = hashlib.sha256(b"fedstats doctor").digest()
#: Seconds by which two clocks may differ. Certificates are issued with ten minutes' allowance.
_CLOCK_TOLERANCE = 300.0


def doctor(
    site: SiteFile = Path("site.toml"),
    wait: Annotated[
        float,
        typer.Option(min=0, help="Seconds to wait for the other sites' doctors; 0: look at this site only."),
    ] = 60.0,
) -> None:
    """Check this site, and with the other sites' doctors the way to each of them.

    Run it at all sites at the same time. Exit code 1 if anything is not in order.
    """
    checkup = Checkup(site)
    failed = 0
    for check in _all(checkup, wait):
        _print(check)
        failed += not check.ok
    if failed:
        console.print(f"\n[bold red]{failed} of the checks failed[/]; each line says what to do.")
        raise typer.Exit(1)
    console.print("\n[bold green]All is in order.[/]")


def _all(checkup: Checkup, wait: float) -> Iterator[Check]:
    healthy = True
    for check in checkup.local():
        healthy &= check.ok
        yield check
    if healthy and wait:
        yield from _meet(checkup, wait)


def _meet(checkup: Checkup, wait: float) -> Iterator[Check]:
    """Join the other doctors in a session, and measure the way to each."""
    seen: dict[str, str] = {}
    site, manifest = checkup.site, checkup.manifest
    peers = [name for name in manifest.names if name != site.name]
    with roll_call(peers, wait) as tell:

        def note(peer: str, event: str) -> None:
            seen[peer] = event
            tell(peer, event)

        try:
            mesh = connect(
                checkup.keys,
                manifest,
                _SPEC,
                package_version=version("fedstats"),
                timeout=wait,
                listen=site.listen,
                on_progress=note,
            )
        except TransportError as error:
            failure: TransportError | None = error
        else:
            failure = None
            lines = measure(mesh)
            mesh.close()
    if failure is not None:
        for peer in peers:
            if peer in seen:
                yield Check(f"peer {peer}", True, seen[peer])
            else:
                yield Check(
                    f"peer {peer}", False, "not reached: run `fedstats doctor` there now, and open its port"
                )
        yield Check("session", False, str(failure))
        return
    yield Check("session", True, f"signed by all; fedstats {version('fedstats')} at every site")
    for peer in peers:
        yield _judge(lines[peer])


def _judge(line: Line) -> Check:
    found = (
        f"round trip {1000 * line.round_trip:.1f} ms, {decimal(int(line.bandwidth))}/s, "
        f"clock {round(line.clock, 1) + 0:+.1f} s"
    )
    if abs(line.clock) > _CLOCK_TOLERANCE:
        return Check(
            f"peer {line.peer}", False, f"{found}: set this site's or its clock, by NTP for instance"
        )
    return Check(f"peer {line.peer}", True, found)


def _print(check: Check) -> None:
    mark = ("ok  ", "green") if check.ok else ("FAIL", "bold red")
    console.print(Text.assemble(mark, "  ", (f"{check.what:20}", "bold"), check.detail), soft_wrap=True)
