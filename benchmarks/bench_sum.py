"""Secure sum of ten million floats by three processes over gRPC, beside the same sum in the clear.

The plain all-reduce moves the same float64 arrays over the same mesh by the same algorithm
(reduce-scatter, then all-gather) with nothing encoded and nothing masked, so that the ratio of the two
is the price of privacy.

    python -m pytest benchmarks/bench_sum.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.compare import compare
from protocols.party import Party
from protocols.ring import FIXED128
from protocols.sum import secure_sum
from transport.grpc_mesh import connect
from transport.loopback import loopback_federation
from transport.manifest import Manifest
from transport.sitekeys import SiteKeys

SIZE = 10_000_000
NAMES = ("a", "b", "c")
TURNS = 7

Floats = NDArray[np.float64]


def masked(party: Party, label: str, x: Floats) -> Floats:
    return secure_sum(party, label, x, ring=FIXED128)  # type: ignore[return-value]


def plain(party: Party, label: str, x: Floats, step: int = 1 << 19) -> Floats:
    """All-reduce in the clear, in messages of 4 MiB, one block ahead of what is awaited."""
    total = x.copy()
    parts = dict(zip(party.roster, np.array_split(total, party.n), strict=True))
    blocks = -(-max(map(len, parts.values())) // step)

    def block(name: str, number: int) -> Floats:
        return parts[name][number * step : (number + 1) * step]

    for number in range(blocks + 2):
        if number < blocks:
            for peer in party.peers:
                party.send(peer, label, block(peer, number).tobytes())
        if 1 <= number <= blocks:
            own = block(party.me, number - 1)
            for peer in party.peers:
                own += np.frombuffer(party.recv(peer, label))
            for peer in party.peers:
                party.send(peer, label, own)
        if number >= 2:
            for peer in party.peers:
                block(peer, number - 2)[:] = np.frombuffer(party.recv(peer, label))
    party.mesh.traffic.rounds += 2
    return total


SUMS: dict[str, Callable[[Party, str, Floats], Floats]] = {"masked": masked, "plain": plain}


def peer(directory: Path, name: str) -> None:
    """Serve one process: for each line of standard input, run the sum that it names and report on it."""
    mesh = connect(
        SiteKeys.load(directory / name),
        Manifest.load(directory / "federation.toml"),
        bytes(32),
        package_version="benchmark",
    )
    party = Party(mesh)
    x = np.random.default_rng(NAMES.index(name)).normal(size=SIZE)
    for number, order in enumerate(sys.stdin):
        before, start = mesh.traffic.copy(), time.perf_counter()
        SUMS[order.strip()](party, f"sum {number}", x)
        seconds, spent = time.perf_counter() - start, mesh.traffic - before
        print(json.dumps([seconds, spent.rounds, spent.bytes_sent]), flush=True)
    mesh.close()


class Federation:
    """Three processes on loopback that wait for orders."""

    def __init__(self, directory: Path) -> None:
        loopback_federation(NAMES, directory)
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.bench_sum", directory, name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[1],
            )
            for name in NAMES
        ]

    def run(self, order: str) -> list[tuple[float, int, int]]:
        """Run one sum; return the seconds, rounds and bytes sent of each process."""
        for process in self.processes:
            assert process.stdin
            process.stdin.write(order + "\n")
            process.stdin.flush()
        return [tuple(json.loads(process.stdout.readline())) for process in self.processes if process.stdout]

    def close(self) -> None:
        for process in self.processes:
            assert process.stdin
            process.stdin.close()
        for process in self.processes:
            with process:  # waits, and closes what is left open
                pass


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    processes = Federation(tmp_path_factory.mktemp("federation"))
    for order in SUMS:
        processes.run(order)  # compiles, connects, warms up
    yield processes
    processes.close()


@pytest.mark.timeout(300)
def test_secure_sum(benchmark: Any, federation: Federation) -> None:
    reports: list[tuple[float, int, int]] = []

    def secure() -> None:
        reports[:] = federation.run("masked")

    compare(benchmark, secure, "all-reduce in the clear", lambda: federation.run("plain"), turns=TURNS)
    most_bytes = max(sent for _, _, sent in reports)
    benchmark.extra_info |= {
        "rounds": reports[0][1],
        "bytes": most_bytes,
        "bytes_over_input": round(most_bytes / (8 * SIZE), 3),
    }


if __name__ == "__main__":
    peer(Path(sys.argv[1]), sys.argv[2])
