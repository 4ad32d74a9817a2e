"""Noise for differential privacy beside OpenDP's, and what an analysis with noise costs beside one without.

python -m pytest benchmarks/bench_privacy.py

The peer draws discrete Gaussian samples one by one. It is left out where it is not installed (pip install
opendp). Both are exact.
"""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedstats as fs
from benchmarks.bench_statistics import ROWS, cuts
from protocols import choice
from protocols.engine import Engine
from protocols.noise import add_noise
from protocols.party import Party
from protocols.testing import run_parties
from transport.base import Traffic

VALUES = 1_000_000
#: The peer is timed on so many, and its time multiplied.
OF_PEER = 20_000


@pytest.mark.parametrize("sigma", [20, 1_000_000])
def test_noise(benchmark: Any, sigma: int) -> None:
    """A million values of one site."""
    values, variance = np.zeros(VALUES, np.int64), Fraction(sigma) ** 2
    benchmark.pedantic(add_noise, args=(values, variance), rounds=5, warmup_rounds=1)
    found = benchmark.extra_info
    found["rounds"], found["bytes"] = 0, 0
    try:
        import opendp.prelude as dp
    except ImportError:
        return
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="i64")
    peer = dp.m.make_gaussian(*space, scale=float(sigma))
    start = time.perf_counter()
    peer(values[:OF_PEER].tolist())
    found["peer"] = "OpenDP"
    found["peer_seconds"] = (time.perf_counter() - start) * VALUES / OF_PEER
    found["ratio"] = benchmark.stats.stats.median / found["peer_seconds"]


@pytest.mark.parametrize("private", [False, True], ids=["exact", "private"])
@pytest.mark.parametrize("analysis", ["mean", "ols", "logit"])
def test_analysis(benchmark: Any, analysis: str, private: bool) -> None:
    """Three sites in one process; sums are opened, with noise and without."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({name: random.normal(size=ROWS) for name in ("x", "y", "z")})
    table["e"] = (random.random(ROWS) < 1 / (1 + np.exp(-table["x"]))).astype(float)
    parts = [table.iloc[rows] for rows in np.split(np.arange(ROWS), cuts(ROWS))]
    limits = dict.fromkeys(("x", "y", "z"), (-4.0, 4.0))
    P = fs.privacy
    calls = {
        ("mean", True): lambda c: P.mean(c, ["x", "y", "z"], bounds=limits, rho=0.1),
        ("mean", False): lambda c: fs.mean_ci(c, ["x", "y", "z"], disclose="aggregate"),
        ("ols", True): lambda c: P.ols("y ~ x + z", c, bounds=limits, rho=0.1),
        ("ols", False): lambda c: fs.ols("y ~ x + z", c, disclose="aggregate"),
        ("logit", True): lambda c: P.logit("e ~ x + z", c, bounds=limits, rho=0.1),
        ("logit", False): lambda c: fs.logit("e ~ x + z", c, disclose="aggregate"),
    }

    def program(federation: fs.Federation, rows: pd.DataFrame) -> Any:
        return calls[analysis, private](federation.cohort(rows)).cost

    cost = benchmark.pedantic(fs.simulate, args=(program, parts), rounds=3, warmup_rounds=1)[0]
    benchmark.extra_info["rounds"], benchmark.extra_info["bytes"] = cost.rounds, cost.bytes_sent


@pytest.mark.parametrize("variants", [1_000, 10_000])
def test_choice(benchmark: Any, variants: int) -> None:
    """Ten of so many sums, chosen on shares with noise by three parties in one process."""
    weight = choice.weight(1 << 15, Fraction(1), 10)
    sums = np.random.default_rng(0).integers(-(1 << 20), 1 << 20, variants)

    def program(party: Party) -> Traffic:
        choice.largest(Engine(party), sums, 10, weight).reveal("top")
        return party.mesh.traffic

    traffic = benchmark.pedantic(run_parties, args=("abc", program), rounds=3, warmup_rounds=1)["a"]
    benchmark.extra_info["rounds"], benchmark.extra_info["bytes"] = traffic.rounds, traffic.bytes_sent
