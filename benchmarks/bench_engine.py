"""Products, comparisons and sorting by three processes over gRPC, beside MPyC's processes and SPU.

Seconds are those of the slowest process, from everything shared to everything shared, with all random
masks drawn within them; how many of them these take is told apart. MPyC does the same on fewer elements, and
its time is scaled up to ours.

    python -m pytest benchmarks/bench_engine.py
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from benchmarks.bench_linalg import ACTIONS as NUMBERS
from benchmarks.on_shares import (
    SPU,
    Action,
    Actions,
    actions,
    measure,
    mpyc_seconds,
    normal,
    over_wide_area,
    spu_seconds,
    watch_offline,
)
from benchmarks.processes import Processes, processes, serve
from protocols.decompose import normalizer
from protocols.engine import Engine
from protocols.inputs import share
from protocols.party import Party
from protocols.sort import sort
from protocols.testing import run_parties

of_mpyc = partial(mpyc_seconds, "mpyc_operations.py")
FRACTION = 20


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


ACTIONS: Actions = {
    "product": product,
    "matrix": matrix_product,
    "comparison": comparison,
    "normalizer": highest_bit,
    "sort": sorting,
}


def integers(engine: Engine, size: int) -> Any:
    return np.random.default_rng(engine.point).integers(1 - 2**63, 2**63, size)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with processes("benchmarks.bench_engine", tmp_path_factory.mktemp("federation")) as started:
        yield started


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_fixed_point_product(benchmark: Any, federation: Processes, size: int) -> None:
    fewer = 500
    measure(
        benchmark,
        federation,
        f"product {size}",
        of_mpyc("product", fewer) * size / fewer,
    )
    benchmark.extra_info["ns_an_element"] = benchmark.extra_info["seconds"] / size * 1e9


@pytest.mark.timeout(300)
def test_matrix_product(benchmark: Any, federation: Processes) -> None:
    # MPyC multiplies ten rows; the other 990 cost as much each.
    measure(benchmark, federation, "matrix 100", of_mpyc("matrix", 100) * 100)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_comparison(benchmark: Any, federation: Processes, size: int) -> None:
    fewer = 200
    measure(
        benchmark,
        federation,
        f"comparison {size}",
        of_mpyc("comparison", fewer) * size / fewer,
    )
    benchmark.extra_info["ns_an_element"] = benchmark.extra_info["seconds"] / size * 1e9


@pytest.mark.timeout(300)
def test_normalizer(benchmark: Any, federation: Processes) -> None:
    size, fewer = 100_000, 20  # MPyC takes the bits of each number, of which the highest would be found
    measure(
        benchmark,
        federation,
        f"normalizer {size}",
        of_mpyc("normalizer", fewer) * size / fewer,
    )
    benchmark.extra_info["ns_an_element"] = benchmark.extra_info["seconds"] / size * 1e9


@pytest.mark.timeout(300)
def test_sort(benchmark: Any, federation: Processes) -> None:
    # Batcher's network, which MPyC takes, has about n·(log2 n)^2 / 4 comparisons.
    size, fewer = 10_000, 64
    longer = size * math.log2(size) ** 2 / (fewer * math.log2(fewer) ** 2)
    measure(benchmark, federation, f"sort {size}", of_mpyc("sort", fewer) * longer)


#: How many elements, or columns, of each operation are compared by the number of parties.
SIZES = {"product": 50_000, "comparison": 50_000, "divide": 5_000, "solve": 10, "cholesky": 10}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("n", [3, 5, 7, 10])
@pytest.mark.parametrize("what", SIZES)
def test_by_parties(benchmark: Any, what: str, n: int) -> None:
    """Threads of one process share its cores, which flatters no n: each party's part is about 1/n."""
    spent: dict[str, Any] = {}

    def program(party: Party) -> None:
        engine = Engine(party)
        action = (ACTIONS | NUMBERS)[what](engine, SIZES[what])
        engine.confirm()
        before, start = party.mesh.traffic.copy(), time.perf_counter()
        action()
        traffic = party.mesh.traffic - before
        spent[party.me] = (time.perf_counter() - start, traffic.rounds, traffic.bytes_sent)

    benchmark.pedantic(lambda: run_parties("abcdefghij"[:n], program, timeout=300), rounds=3, warmup_rounds=1)
    seconds, rounds, sent = max(spent.values())
    benchmark.extra_info |= {
        "rounds": rounds,
        "bytes": max(sent for *_, sent in spent.values()),
        "seconds": seconds,
        "wide_area": over_wide_area(seconds, rounds, sent),
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("what", "size"), [("product", 1_000_000), ("comparison", 1_000_000), ("matrix", 100), ("sort", 10_000)]
)
def test_beside_spu(benchmark: Any, federation: Processes, what: str, size: int) -> None:
    measure(benchmark, federation, f"{what} {size}", spu_seconds(what, size), SPU)


if __name__ == "__main__":
    serve(partial(actions, ACTIONS), watch_offline())
