"""Secure sum of ten million floats by three processes over gRPC, beside the same sum in the clear.

The plain all-reduce moves the same float64 arrays over the same mesh by the same algorithm
(reduce-scatter, then all-gather) with nothing encoded and nothing masked, so that the ratio of the two
is the price of privacy.

    python -m pytest benchmarks/bench_sum.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.compare import compare
from benchmarks.processes import Processes, Report, processes, serve
from protocols.party import Party
from protocols.ring import FIXED128
from protocols.sum import secure_sum
from transport.base import Mesh

SIZE = 10_000_000
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


def actions(mesh: Mesh) -> Callable[[str], Callable[[], object]]:
    """Return what turns the name of a sum into a run of it on this process's array."""
    party = Party(mesh)
    x = np.random.default_rng(party.index).normal(size=SIZE)
    numbers = count()
    return lambda order: partial(SUMS[order], party, f"sum {next(numbers)}", x)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with processes("benchmarks.bench_sum", tmp_path_factory.mktemp("federation")) as started:
        yield started


@pytest.mark.timeout(300)
def test_secure_sum(benchmark: Any, federation: Processes) -> None:
    reports: list[Report] = []

    def secure() -> None:
        reports[:] = federation.run("masked")

    compare(benchmark, secure, "all-reduce in the clear", lambda: federation.run("plain"), turns=TURNS)
    most_bytes = max(sent for _, _, sent, _ in reports)
    benchmark.extra_info |= {
        "rounds": reports[0][1],
        "bytes": most_bytes,
        "bytes_over_input": round(most_bytes / (8 * SIZE), 3),
    }


if __name__ == "__main__":
    serve(actions)
