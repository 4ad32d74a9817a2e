"""How commands speak: where they print, how they fail, and with which exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from fedstats.errors import (
    DataError,
    EstimationError,
    FedStatsError,
    PolicyError,
    ProtocolError,
    RemoteError,
    TransportError,
    translated,
)

#: For what a command is asked for.
console = Console()
#: For everything else: errors, progress, advice.
errors = Console(stderr=True)

#: Exit code of each class of error; 1 is any other failure, 2 a wrong command line.
EXIT_CODES: dict[type[FedStatsError], int] = {
    DataError: 10,
    RemoteError: 11,
    PolicyError: 12,
    EstimationError: 13,
    ProtocolError: 14,
    TransportError: 15,
}
#: What a shell reports of a program that Ctrl-C ended.
INTERRUPTED = 130


def exit_code(error: FedStatsError) -> int:
    """Return the exit code of an error: that of the nearest class in `EXIT_CODES`."""
    return next((EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES), 1)


@contextmanager
def reporting() -> Iterator[None]:
    """Print errors that fedstats raises on purpose as a message, not as a traceback, and exit."""
    try:
        with translated():
            yield
    except FedStatsError as error:
        print_error(error)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        errors.print("stopped", style="bold red")
        sys.exit(INTERRUPTED)


def print_error(error: BaseException) -> None:
    """Print class, message and notes of an error, as they are: without markup or line breaks."""
    line = Text.assemble((type(error).__name__, "bold red"), ": ", str(error))
    for note in getattr(error, "__notes__", ()):
        line.append(f"\n{note}")
    errors.print(line, soft_wrap=True)
