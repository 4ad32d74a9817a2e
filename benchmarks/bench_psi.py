"""Private set intersection of two parties with 100,000 items each, half of them in common; similar records.

python -m pytest benchmarks/bench_psi.py

Of records that are alike, 1,000 × 1,000 filters of 1,024 bits are compared, by three parties of whom two have
records.

OpenMined's PSI (``pip install openmined-psi``), which hides the sets in the same way on the curve P-256, is
measured beside it where it is installed.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from benchmarks.on_shares import over_wide_area
from protocols.engine import Engine
from protocols.linkage.matching import Blocks, best_matches
from protocols.party import Party
from protocols.psi.intersection import cardinality, intersection, universe
from protocols.testing import run_parties
from transport.base import Traffic

ITEMS = 100_000
SETS = {
    "a": [b"person %d" % number for number in range(ITEMS)],
    "b": [b"person %d" % number for number in range(ITEMS // 2, ITEMS // 2 + ITEMS)],
}


def openmined_seconds() -> float | None:
    """Return the seconds of OpenMined's protocol, client and server one after the other."""
    if find_spec("private_set_intersection") is None:
        return None
    import private_set_intersection.python as psi

    texts = {name: [item.decode() for item in items] for name, items in SETS.items()}
    start = time.perf_counter()
    client, server = psi.client.CreateWithNewKey(True), psi.server.CreateWithNewKey(True)
    setup = server.CreateSetupMessage(1e-9, ITEMS, texts["b"], psi.DataStructure.GCS)
    response = server.ProcessRequest(client.CreateRequest(texts["a"]))
    assert len(client.GetIntersection(setup, response)) == ITEMS // 2
    return time.perf_counter() - start


@pytest.mark.timeout(600)
@pytest.mark.parametrize("protocol", [intersection, cardinality, universe])
def test_psi(benchmark: Any, protocol: Any) -> None:
    traffic: list[Traffic] = []

    def program(party: Party) -> None:
        protocol(party, "link", SETS[party.me])
        traffic.append(party.mesh.traffic)

    benchmark.pedantic(lambda: run_parties("ab", program, timeout=300.0), rounds=1)
    rounds, sent = traffic[0].rounds, max(its.bytes_sent for its in traffic)
    benchmark.extra_info |= {
        "rounds": rounds,
        "bytes": sent,
        "wide_area": over_wide_area(benchmark.stats.stats.median, rounds, sent),
    }
    if protocol is intersection and (peer := openmined_seconds()) is not None:
        benchmark.extra_info |= {
            "peer": "OpenMined PSI, P-256",
            "peer_seconds": peer,
            "ratio": benchmark.stats.stats.median / peer,
        }


@pytest.mark.timeout(600)
def test_linkage(benchmark: Any) -> None:
    random = np.random.default_rng(1)
    one = (random.random((1, 1_000, 1_024)) < 0.2).astype(np.uint8)
    other = one ^ (random.random(one.shape) < 0.02)
    blocks = Blocks(0, 1, 1, *(its.shape[1] for its in (one, other)))
    traffic: list[Traffic] = []

    def program(party: Party) -> None:
        mine = {"a": one, "b": other}.get(party.me, one[:, :0])
        links = best_matches(Engine(party), mine, blocks, (4, 5))
        assert links.sum().reveal("links") == len(one[0])
        traffic.append(party.mesh.traffic)

    benchmark.pedantic(lambda: run_parties("abc", program, timeout=300.0), rounds=1)
    rounds, sent = traffic[0].rounds, max(its.bytes_sent for its in traffic)
    benchmark.extra_info |= {
        "rounds": rounds,
        "bytes": sent,
        "wide_area": over_wide_area(benchmark.stats.stats.median, rounds, sent),
    }
