"""`fedstats demo`: three sites on this machine, and the proof that they get the pooled result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedstats.cli._output import errors


def demo(
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where results and plots go.")] = Path(
        "fedstats-demo"
    ),
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures for machines, too.")
    ] = None,
    samples: Annotated[int, typer.Option(min=100, help="Genotyped volunteers, over all sites.")] = 3000,
    variants: Annotated[int, typer.Option(min=200, help="Variants of the genome-wide scan.")] = 20_000,
) -> None:
    """Run three sites on this machine: a clinical table, a GWAS, and the comparison with pooled data.

    Each site is a process of its own, with its own keys and rows; they speak mutual TLS over the
    loopback interface. Needs `pip install 'fedstats[demo]'`.
    """
    from fedstats.demo.play import play
    from fedstats.demo.stage import SiteFailed

    try:
        play(output, samples=samples, variants=variants, json=json)
    except SiteFailed as error:
        errors.print(f"{error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    except ModuleNotFoundError as error:
        errors.print(f"the demonstration needs {error.name}: pip install 'fedstats[demo]'", markup=False)
        raise typer.Exit(1) from error
