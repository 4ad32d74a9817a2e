"""Peers of one process, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

Returned = TypeVar("Returned")


def run_peers(
    programs: Mapping[str, Callable[[], Returned]],
    *,
    is_echo: Callable[[BaseException], bool] = lambda _: False,
    stop: Callable[[], object] = lambda: None,
) -> dict[str, Returned]:
    """Run each peer's program in a thread of its own, and wait for all.

    Parameters
    ----------
    programs
        What each peer runs. It must close or abort its mesh when it ends.
    is_echo
        Tells whether an error only reports that another peer failed.
    stop
        Ends what the programs wait for; called when the caller is interrupted (Ctrl-C).

    Returns
    -------
    dict
        What each program returned, in the order of `programs`.

    Raises
    ------
    BaseException
        The first error that is not an echo, or else the first, with a note that names the peer.
    """
    returned: dict[str, Returned] = {}
    failed: list[tuple[str, BaseException]] = []
    # No program begins before every thread has: Ctrl-C may come while one is being started, and such
    # a thread could not be joined.
    begin, cancelled = threading.Event(), threading.Event()
    # `Thread.join` would do, but a join that Ctrl-C interrupts leaves a thread that can no longer be
    # joined (python/cpython#90882, until 3.13).
    ended = {name: threading.Event() for name in programs}

    def run(name: str) -> None:
        begin.wait()
        try:
            if not cancelled.is_set():
                returned[name] = programs[name]()
        except BaseException as error:  # noqa: BLE001  (re-raised below, in the caller's thread)
            failed.append((name, error))
        finally:
            ended[name].set()

    threads = {name: threading.Thread(target=run, args=(name,), name=f"peer {name}") for name in programs}
    try:
        for thread in threads.values():
            thread.start()
        begin.set()
        for event in ended.values():
            # A signal that comes just before the wait begins is only looked at when it is over.
            while not event.wait(1.0):
                pass
    except BaseException:
        if not begin.is_set():
            cancelled.set()
        begin.set()  # once more, if Ctrl-C came before it had told every thread
        stop()
        raise
    finally:
        for name, thread in threads.items():
            if thread.ident is not None:
                ended[name].wait()
                thread.join()
    if failed:
        name, error = min(failed, key=lambda failure: is_echo(failure[1]))
        error.add_note(f"raised at {name}")
        raise error
    return {name: returned[name] for name in programs}
