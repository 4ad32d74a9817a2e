"""`fedstats doctor`: everything that must be in order before a script can run, each with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.text import Text

from fedstats.cli._checks import Check, Checkup
from fedstats.cli._output import console, errors
from fedstats.cli.keys import SiteFile
from transport.probe import PeerReport, Status, probe

#: Seconds by which two clocks may differ. Certificates are issued with ten minutes' allowance.
_CLOCK_TOLERANCE = 300.0


def doctor(
    site: SiteFile = Path("site.toml"),
    wait: Annotated[
        float,
        typer.Option(min=0, help="Seconds to wait for the other sites' doctors; 0: look at this site only."),
    ] = 60.0,
) -> None:
    """Check this site, and the way to each of the others.

    Run it at all sites at the same time, or while the others run an analysis. Exit code 1 if
    anything is not in order.
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
    yield from checkup.local()
    if not (checkup.can_connect and wait):
        return
    with errors.status(f"waiting up to {wait:g} s for the other sites"):
        reports = probe(
            checkup.keys,
            checkup.manifest,
            package_version=version("fedstats"),
            patience=wait,
            listen=checkup.address,
        )
    yield from map(_judge, reports)


def _judge(report: PeerReport) -> Check:
    """Put what was found out about a peer into one line."""
    what = f"peer {report.peer}"
    if report.status is not Status.OK:
        return Check(what, False, f"{report.status}: {report.remedy}")
    found = [f"fedstats {report.package}"]
    if report.round_trip is not None:
        found.append(f"round trip {1000 * report.round_trip:.1f} ms")
    if report.bandwidth is not None:
        found.append(f"{decimal(int(report.bandwidth))}/s")
    if report.clock_offset is not None:
        found.append(f"clock {round(report.clock_offset, 1) + 0:+.1f} s")
        if abs(report.clock_offset) > _CLOCK_TOLERANCE:
            return Check(what, False, f"{', '.join(found)}: set the clock that is wrong, by NTP for instance")
    return Check(what, True, ", ".join(found))


def _print(check: Check) -> None:
    mark = ("ok  ", "green") if check.ok else ("FAIL", "bold red")
    console.print(Text.assemble(mark, "  ", (f"{check.what:20}", "bold"), check.detail), soft_wrap=True)
