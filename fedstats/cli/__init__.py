"""The command `fedstats`: enrolment, check-up, and running scripts.

Results of commands go to standard output, errors and progress to standard error. One file for each
group of commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from fedstats.cli import approve, audit, budget, demo, doctor, federation, keys, run, verify
from fedstats.cli._output import console, reporting

app = typer.Typer(
    name="fedstats",
    help="Pooled statistics over sites that may not pool their rows.",
    epilog="Begin with `fedstats demo`, or see the tutorial in README.md.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # it would show local variables, and those are data
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init", rich_help_panel="Enrolment")(keys.init)
app.command("rotate", rich_help_panel="Enrolment")(keys.rotate)
app.add_typer(federation.app, name="federation", rich_help_panel="Enrolment")
app.command("doctor", rich_help_panel="Running")(doctor.doctor)
app.command(
    "run",
    rich_help_panel="Running",
    context_settings={"ignore_unknown_options": True},
)(run.run)
app.command("approve", rich_help_panel="Stewardship")(approve.approve)
app.add_typer(audit.app, name="audit", rich_help_panel="Stewardship")
app.add_typer(budget.app, name="budget", rich_help_panel="Stewardship")
app.add_typer(verify.app, name="verify", rich_help_panel="Stewardship")
app.command("demo", rich_help_panel="Running")(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        console.print(f"fedstats {version('fedstats')}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Pooled statistics over sites that may not pool their rows."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: `arguments`, or those of the process."""
    with reporting():
        app(arguments)
