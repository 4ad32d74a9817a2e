"""What the benchmarks of computations on shares have in common: actions, their timing, and MPyC's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.processes import Processes, Report
from protocols import mersenne
from protocols.engine import Engine
from protocols.leading import Leader
from protocols.party import Party
from protocols.prg import Stream
from protocols.secret import SecretArray
from transport.base import Mesh

TURNS = 7
#: A wide-area network, in seconds and bytes a second: 20 ms, 100 Mbit/s.
LATENCY, BANDWIDTH = 0.02, 12.5e6
#: How SPU is run.
SPU = "SPU, ABY3, 64 bits"

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


def watch_offline() -> Callable[[], float]:
    """Time from now on, in this process, what knows no input and could be done before: masks and dealing.

    These are all pseudorandom streams, those shared with one peer and those shared in sets, their sums and
    shifts, and what `leading` deals. Masks that only hide bits count as online, all but their streams.
    """
    spent, depth = [0.0], [0]

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            depth[0] += 1
            start = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                depth[0] -= 1
                if not depth[0]:
                    spent[0] += time.perf_counter() - start

        return run

    drawn = ((Stream, "__init__"), (Stream, "fill"), (mersenne, "blind"), (mersenne, "add_random"))
    for owner, name in (*drawn, (Leader, "__init__")):
        setattr(owner, name, timed(getattr(owner, name)))
    return lambda: spent[0]


def over_wide_area(seconds: float, rounds: int, sent: int) -> float:
    """Return the seconds that this would take over a wide-area network, where nothing overlaps."""
    return seconds + rounds * LATENCY + sent / BANDWIDTH


def mpyc_seconds(program: str, what: str, size: int) -> float:
    """Return the seconds of MPyC's first party in a run of three processes."""
    script = Path(__file__).with_name(program)
    command = [sys.executable, "-W", "ignore", script, "-M3", "--no-log", what, str(size)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def spu_seconds(what: str, size: int) -> float:
    """Return the seconds of SPU's three parties, simulated in one process, sharing and opening included.

    The Python that has SPU may be another one, named by SPU_PYTHON: its dependencies are at odds with ours.
    """
    python = os.environ.get("SPU_PYTHON", sys.executable if find_spec("spu") else "")
    if not python:
        pytest.skip("SPU is not installed")
    command = [python, "-W", "ignore", Path(__file__).with_name("spu_operations.py"), what, str(size)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(answer.stdout.split()[-1])


def measure(
    benchmark: Any, federation: Processes, order: str, peer_seconds: float, peer: str = "MPyC, scaled up"
) -> None:
    """Run an order several times, and count the seconds that its slowest process reports."""
    reports: list[list[Report]] = []
    benchmark.pedantic(lambda: reports.append(federation.run(order)), rounds=TURNS, warmup_rounds=2)
    slowest = sorted(max(report) for report in reports[2:])
    median, rounds, sent, offline = slowest[len(slowest) // 2]
    benchmark.extra_info |= {
        "rounds": rounds,
        "bytes": sent,
        "seconds": median,
        "fastest": slowest[0][0],
        "offline": offline,
        "wide_area": over_wide_area(median, rounds, sent),
        "peer": peer,
        "peer_seconds": peer_seconds,
        "ratio": median / peer_seconds,
    }
