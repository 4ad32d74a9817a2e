"""`fedstats verify`: check what sites have signed, years later and without them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedstats.bundle import check_same, load
from fedstats.cli._output import console
from transport.manifest import Manifest

app = typer.Typer(no_args_is_help=True, help="Check what sites have signed.")


@app.callback()
def _group() -> None:
    """Check what sites have signed."""


@app.command()
def bundle(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="BUNDLE…", help="What `result.save` wrote, at one site or several."),
    ],
    federation: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The federation's manifest of that time, which lists the keys."),
    ] = None,
) -> None:
    """Check that result bundles are as their sites signed them, and that several hold the same result.

    Without --federation, the signature is checked against the key in the bundle: that nothing was changed,
    not who signed.
    """
    bundles = [load(path) for path in paths]
    manifest = None
    if federation is not None:
        manifest = Manifest.load(federation)
        manifest.verify()
    for its in bundles:
        if manifest is not None:
            its.check_federation(manifest)
        session, result = its.content["session"], its.content["result"]
        who = "" if manifest is not None else f", whose key would be {its.key.hex()} (see --federation)"
        console.print(
            f"[bold green]Valid[/]: {its.path}, signed by site [bold]{its.site}[/]{who}", soft_wrap=True
        )
        console.print(
            f"  {result['analysis']} ({result['call']}), disclose={result['disclose']!r}, over "
            f"{', '.join(result['sites'])}\n"
            f"  script {session['script_name']}, SHA-256 {session['script']}\n"
            f"  federation {session['federation']}, epoch {session['epoch']}; fedstats {session['package']}; "
            f"{its.content['time']}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    check_same(bundles)
    if len(bundles) > 1:
        console.print(f"All {len(bundles)} hold the same result.")
