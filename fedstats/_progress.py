"""What a person at a terminal sees while a script waits for other sites, or works for long.

Both are drawn on standard error, and vanish when they are done. Where nobody watches, waiting is
logged instead, and work is silent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from fedstats.federation import Federation

_log = logging.getLogger("fedstats.session")


class Advance(Protocol):
    """Called when part of the work is done."""

    def __call__(self, steps: int = 1) -> None:
        """Note that `steps` more steps are done."""


def somebody_watches() -> bool:
    """Tell whether standard error is a terminal."""
    return Console(stderr=True).is_terminal


@contextmanager
def progress(federation: Federation, description: str, total: int) -> Iterator[Advance]:
    """Draw a progress bar: description, fraction, bytes sent, time left.

    Parameters
    ----------
    federation
        The session. Nothing is drawn unless its `show_progress` is set and somebody watches.
    description
        What is going on, such as ``"gwas.linear"``.
    total
        How many steps the work has.

    Yields
    ------
    Advance
        To be called after each step.

    Examples
    --------
    >>> with progress(federation, "gwas.linear", total=len(blocks)) as advance:
    ...     for block in blocks:
    ...         scan(block)
    ...         advance()
    """
    console = Console(stderr=True)
    if not (federation.show_progress and console.is_terminal):
        yield _ignore
        return
    before = federation.traffic.bytes_sent
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", style="bold"),
        BarColumn(bar_width=32),
        TaskProgressColumn(),
        TextColumn("{task.fields[sent]} sent", style="cyan"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task(description, total=total, sent=decimal(0))

        def advance(steps: int = 1) -> None:
            bar.update(task, advance=steps, sent=decimal(federation.traffic.bytes_sent - before))

        yield advance


def _ignore(steps: int = 1) -> None:
    """Draw nothing."""


@contextmanager
def roll_call(peers: Iterable[str], timeout: float) -> Iterator[Callable[[str, str], None]]:
    """Show which sites are still awaited, while a session is being joined.

    Parameters
    ----------
    peers
        The other sites.
    timeout
        Seconds for which they are awaited.

    Yields
    ------
    callable
        To be told a site's name and what happened to its connection, from any thread, and also
        after the block is over.
    """
    missing = dict.fromkeys(peers)
    console = Console(stderr=True)
    status = console.status("", spinner="dots") if console.is_terminal else None

    def show() -> None:
        if status is not None:
            names = ", ".join(missing) or "the handshake"
            status.update(f"waiting up to {timeout:g} s for [bold]{names}[/]")

    def tell(peer: str, event: str) -> None:
        _log.info("site %s: %s", peer, event)
        if event == "connected":
            missing.pop(peer, None)
            show()

    if status is None:
        _log.info("waiting up to %g s for %s", timeout, ", ".join(missing))
        yield tell
        return
    with status:
        show()
        yield tell
