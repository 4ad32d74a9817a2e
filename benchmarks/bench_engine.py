"""Products, comparisons and sorting by three processes over gRPC, beside MPyC's processes.

Seconds are those of the slowest process, from everything shared to everything shared, with all random
masks drawn within them. MPyC does the same on fewer elements, and its time is scaled up to ours.

    python -m pytest benchmarks/bench_engine.py
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.decompose import normalizer
from protocols.engine import Engine
from protocols.inputs import share
from protocols.party import Party
from protocols.secret import SecretArray
from protocols.sort import sort
from protocols.testing import run_parties
from transport.grpc_mesh import connect
from transport.loopback import loopback_federation
from transport.manifest import Manifest
from transport.memory import LinkModel
from transport.sitekeys import SiteKeys

NAMES = ("a", "b", "c")
FRACTION = 20
TURNS = 7
#: A wide-area network: 20 ms, 100 Mbit/s.
WIDE_AREA = LinkModel(latency=0.02, bandwidth=12.5e6)

Action = Callable[[], SecretArray]


def product(engine: Engine, size: int) -> Action:
    """Fixed-point products, rounded."""
    x, y, *_ = share(engine, normal(engine, (size,)), bound=100, fraction=FRACTION)
    return lambda: x * y


def matrix_product(engine: Engine, size: int) -> Action:
    """A matrix of 1000 by `size` times one of `size` by `size`, rounded."""
    x, y, *_ = share(engine, normal(engine, (1000, size)), bound=100, fraction=FRACTION)
    return lambda: x @ y[:size]


def comparison(engine: Engine, size: int) -> Action:
    """Integers of 63 bits and a sign: which ones are smaller."""
    x, y, *_ = share(engine, integers(engine, size), bound=2**63 - 1)
    return lambda: x < y


def highest_bit(engine: Engine, size: int) -> Action:
    """Powers of two that bring integers of up to 63 bits to full length."""
    x, *_ = share(engine, np.abs(integers(engine, size)), bound=2**63 - 1)
    return lambda: normalizer(x)


def sorting(engine: Engine, size: int) -> Action:
    """Integers of 63 bits and a sign, sorted."""
    x, *_ = share(engine, integers(engine, size), bound=2**63 - 1)
    return lambda: sort(x)


ACTIONS: dict[str, Callable[[Engine, int], Action]] = {
    "product": product,
    "matrix": matrix_product,
    "comparison": comparison,
    "normalizer": highest_bit,
    "sort": sorting,
}


def normal(engine: Engine, shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(engine.point).normal(size=shape)


def integers(engine: Engine, size: int) -> Any:
    return np.random.default_rng(engine.point).integers(1 - 2**63, 2**63, size)


def peer(directory: Path, name: str) -> None:
    """Serve one process: for each line of standard input, do what it names and report on it."""
    mesh = connect(
        SiteKeys.load(directory / name),
        Manifest.load(directory / "federation.toml"),
        bytes(32),
        package_version="benchmark",
    )
    engine = Engine(Party(mesh))
    prepared: dict[str, Action] = {}
    for line in sys.stdin:
        order = line.strip()
        if order not in prepared:
            action, size = order.split()
            prepared = {order: ACTIONS[action](engine, int(size))}
        engine.confirm()  # all start together
        before, start = mesh.traffic.copy(), time.perf_counter()
        prepared[order]()
        seconds, spent = time.perf_counter() - start, mesh.traffic - before
        print(json.dumps([seconds, spent.rounds, spent.bytes_sent]), flush=True)
    mesh.close()


class Federation:
    """Three processes on loopback that wait for orders."""

    def __init__(self, directory: Path) -> None:
        loopback_federation(NAMES, directory)
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.bench_engine", directory, name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[1],
            )
            for name in NAMES
        ]

    def run(self, order: str) -> list[tuple[float, int, int]]:
        """Run one order; return the seconds, rounds and bytes sent of each process."""
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
    yield processes
    processes.close()


def mpyc_seconds(what: str, size: int) -> float:
    """Return the seconds of MPyC's first party in a run of three processes."""
    program = Path(__file__).with_name("mpyc_operations.py")
    command = [sys.executable, "-W", "ignore", program, "-M3", "--no-log", what, str(size)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(answer.stdout)


def measure(benchmark: Any, federation: Federation, order: str, peer_seconds: float) -> None:
    """Run an order several times, and count the seconds that its slowest process reports."""
    reports: list[list[tuple[float, int, int]]] = []
    benchmark.pedantic(lambda: reports.append(federation.run(order)), rounds=TURNS, warmup_rounds=2)
    seconds = sorted(max(report)[0] for report in reports[2:])
    median = seconds[len(seconds) // 2]
    benchmark.extra_info |= {
        "rounds": reports[0][0][1],
        "bytes": reports[0][0][2],
        "seconds": median,
        "fastest": seconds[0],
        "peer": "MPyC",
        "peer_seconds": peer_seconds,
        "ratio": median / peer_seconds,
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_fixed_point_product(benchmark: Any, federation: Federation, size: int) -> None:
    fewer = 500
    measure(benchmark, federation, f"product {size}", mpyc_seconds("product", fewer) * size / fewer)
    benchmark.extra_info["ns_an_element"] = benchmark.extra_info["seconds"] / size * 1e9


@pytest.mark.timeout(300)
def test_matrix_product(benchmark: Any, federation: Federation) -> None:
    # MPyC multiplies ten rows; the other 990 cost as much each.
    measure(benchmark, federation, "matrix 100", mpyc_seconds("matrix", 100) * 100)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_comparison(benchmark: Any, federation: Federation, size: int) -> None:
    fewer = 200
    measure(benchmark, federation, f"comparison {size}", mpyc_seconds("comparison", fewer) * size / fewer)
    benchmark.extra_info["ns_an_element"] = benchmark.extra_info["seconds"] / size * 1e9


@pytest.mark.timeout(300)
def test_normalizer(benchmark: Any, federation: Federation) -> None:
    size, fewer = 100_000, 20  # MPyC takes the bits of each number, of which the highest would be found
    measure(benchmark, federation, f"normalizer {size}", mpyc_seconds("normalizer", fewer) * size / fewer)
    benchmark.extra_info["ns_an_element"] = benchmark.extra_info["seconds"] / size * 1e9


@pytest.mark.timeout(300)
def test_sort(benchmark: Any, federation: Federation) -> None:
    # Batcher's network, which MPyC takes, has about n·(log2 n)^2 / 4 comparisons.
    size, fewer = 10_000, 64
    longer = size * math.log2(size) ** 2 / (fewer * math.log2(fewer) ** 2)
    measure(benchmark, federation, f"sort {size}", mpyc_seconds("sort", fewer) * longer)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("n", [3, 5, 7, 10])
@pytest.mark.parametrize("network", ["memory", "wide area"])
@pytest.mark.parametrize("what", ["product", "comparison"])
def test_by_parties(benchmark: Any, what: str, n: int, network: str) -> None:
    """Threads of one process share its cores, which flatters no n: each party's part is about 1/n."""
    size = 50_000
    spent: dict[str, Any] = {}

    def program(party: Party) -> None:
        engine = Engine(party)
        action = ACTIONS[what](engine, size)
        engine.confirm()
        before, start = party.mesh.traffic.copy(), time.perf_counter()
        action()
        traffic = party.mesh.traffic - before
        spent[party.me] = (time.perf_counter() - start, traffic.rounds, traffic.bytes_sent)

    model = WIDE_AREA if network == "wide area" else None
    benchmark.pedantic(
        lambda: run_parties("abcdefghij"[:n], program, model=model, timeout=120), rounds=3, warmup_rounds=1
    )
    seconds, rounds, sent = max(spent.values())
    benchmark.extra_info |= {"rounds": rounds, "bytes": sent, "seconds": seconds, "parties": n}


if __name__ == "__main__":
    peer(Path(sys.argv[1]), sys.argv[2])
