"""What the benchmarks of computations on shares have in common: actions, their timing, and MPyC's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import Processes, Report
from protocols.engine import Engine
from protocols.party import Party
from protocols.secret import SecretArray
from transport.base import Mesh

TURNS = 7

Action = Callable[[], SecretArray]
Actions = Mapping[str, Callable[[Engine, int], Action]]


def normal(engine: Engine, shape: tuple[int, ...]) -> Any:
    """Return this party's own numbers."""
    return np.random.default_rng(engine.point).normal(size=shape)


def actions(known: Actions, mesh: Mesh) -> Callable[[str], Action]:
    """Return what turns an order, such as ``"product 1000"``, into an action whose inputs are shared."""
    engine = Engine(Party(mesh))
    prepared: dict[str, Action] = {}

    def prepare(order: str) -> Action:
        if order not in prepared:
            prepared.clear()
            name, size = order.split()
            prepared[order] = known[name](engine, int(size))
        engine.confirm()  # all start together
        return prepared[order]

    return prepare


def mpyc_seconds(program: str, what: str, size: int) -> float:
    """Return the seconds of MPyC's first party in a run of three processes."""
    script = Path(__file__).with_name(program)
    command = [sys.executable, "-W", "ignore", script, "-M3", "--no-log", what, str(size)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure(
    benchmark: Any, federation: Processes, order: str, peer_seconds: float, peer: str = "MPyC, scaled up"
) -> None:
    """Run an order several times, and count the seconds that its slowest process reports."""
    reports: list[list[Report]] = []
    benchmark.pedantic(lambda: reports.append(federation.run(order)), rounds=TURNS, warmup_rounds=2)
    seconds = sorted(max(report)[0] for report in reports[2:])
    median = seconds[len(seconds) // 2]
    benchmark.extra_info |= {
        "rounds": reports[0][0][1],
        "bytes": reports[0][0][2],
        "seconds": median,
        "fastest": seconds[0],
        "peer": peer,
        "peer_seconds": peer_seconds,
        "ratio": median / peer_seconds,
    }
