"""Three peer processes on loopback, under mutual TLS, that wait for orders and report what they took.

A benchmark module serves as such a process when it is run with a directory and a name: it calls `serve`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from transport.base import Mesh
from transport.grpc_mesh import connect
from transport.loopback import loopback_federation
from transport.manifest import Manifest
from transport.sitekeys import SiteKeys

NAMES = ("a", "b", "c")
#: Seconds, rounds, bytes sent of one process, and how many of the seconds were spent on what knows no input.
Report = tuple[float, int, int, float]


def serve(
    prepare: Callable[[Mesh], Callable[[str], Callable[[], object]]],
    offline: Callable[[], float] = lambda: 0.0,
) -> None:
    """Be one of the processes: for each line of standard input, do what it orders and report on it.

    `prepare` gets the mesh, and returns what turns an order into an action. Only the action is timed.
    `offline` returns the seconds spent so far on what knows no input.
    """
    directory, name = Path(sys.argv[1]), sys.argv[2]
    mesh = connect(
        SiteKeys.load(directory / name),
        Manifest.load(directory / "federation.toml"),
        bytes(32),
        package_version="benchmark",
    )
    actions = prepare(mesh)
    for line in sys.stdin:
        action = actions(line.strip())
        before, drawn, start = mesh.traffic.copy(), offline(), time.perf_counter()
        action()
        seconds, spent = time.perf_counter() - start, mesh.traffic - before
        print(json.dumps([seconds, spent.rounds, spent.bytes_sent, offline() - drawn]), flush=True)
    mesh.close()


class Processes:
    """The processes, seen from the benchmark."""

    def __init__(self, module: str, directory: Path) -> None:
        loopback_federation(NAMES, directory)
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", module, directory, name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[1],
            )
            for name in NAMES
        ]

    def run(self, order: str) -> list[Report]:
        """Let every process carry out an order; return their reports."""
        for process in self._processes:
            assert process.stdin
            process.stdin.write(order + "\n")
            process.stdin.flush()
        return [tuple(json.loads(process.stdout.readline())) for process in self._processes if process.stdout]

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            assert process.stdin
            process.stdin.close()
        for process in self._processes:
            with process:  # waits, and closes what is left open
                pass


@contextmanager
def processes(module: str, directory: Path) -> Iterator[Processes]:
    """Start the processes that `module` serves, and end them afterwards."""
    started = Processes(module, directory)
    try:
        yield started
    finally:
        started.close()
