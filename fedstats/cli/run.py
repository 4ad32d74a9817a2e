"""`fedstats run`: one script, at this site."""

from __future__ import annotations

import logging
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from fedstats.cli._output import errors, exit_code, print_error
from fedstats.errors import DataError, FedStatsError
from fedstats.session import SITE_VARIABLE
from fedstats.site import Site


def run(
    script: Annotated[Path, typer.Argument(help="The analysis, the same file at every site.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Passed to the script.", metavar="[ARGUMENTS]…")
    ] = None,
    site: Annotated[Path, typer.Option("--site", help="This site's site.toml.", metavar="FILE")] = Path(
        "site.toml"
    ),
    show_traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where in the script an error arose.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log connections to standard error.")
    ] = False,
) -> None:
    """Run an analysis script at this site; its `fs.join()` then needs no argument.

    Options that are not listed here are the script's own, and so is everything after `--`.

    Exit codes: 0 done, 10 this site's data, 11 another site's data, 12 a policy forbids it,
    13 the data do not determine the estimate, 14 a protocol failed, 15 the network, a key or a peer
    failed, 130 stopped with Ctrl-C; 1 any other error in the script.
    """
    if not script.is_file():
        raise DataError(f"there is no script {script}: give the path of a Python file")
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    os.environ[SITE_VARIABLE] = str(Site.load(site).path)
    sys.argv = [str(script), *(arguments or [])]
    sys.path.insert(0, str(script.resolve().parent))
    try:
        runpy.run_path(str(script), run_name="__main__")
    except FedStatsError as error:
        if show_traceback:
            _print_traceback(error, script)
        else:
            print_error(error)
        raise typer.Exit(exit_code(error)) from error
    except Exception as error:
        _print_traceback(error, script)
        raise typer.Exit(1) from error


def _print_traceback(error: Exception, script: Path) -> None:
    """Print a traceback that begins in the script, as Python would have without this command."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename != str(script):
        frame = frame.tb_next
    lines = traceback.format_exception(error.with_traceback(frame or error.__traceback__))
    errors.print("".join(lines), end="", markup=False, highlight=False, soft_wrap=True)
