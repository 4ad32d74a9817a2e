"""The table of significant deficits of heterozygotes against the exact test, and decisions on shares."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from engine_helpers import compute_alike, secret_of

from fedstats.gwas._deficits import Ends
from fedstats.gwas._hardy_weinberg import mid_p
from fedstats.gwas.deficits_shares import near_equilibrium
from protocols.engine import Engine
from protocols.fixed import Format


def genotypes(n: int, threshold: float, random: np.random.Generator, copies: int, each: int) -> np.ndarray:
    """Return numbers of rare alleles and of carriers of two, many of them near the ends."""
    r = np.unique(np.rint(np.exp(random.uniform(0, np.log(n), copies))).astype(np.int64))[:, np.newaxis]
    mean, spread = r**2 / (4 * n), r * (2 * n - r) / (2 * n) ** 1.5 / np.sqrt(2)
    far = np.sqrt(-2 * np.log(threshold)) * random.uniform(-1.5, 1.5, (len(r), each))
    few = random.integers(0, 16, (len(r), each))
    x = np.where(random.random(few.shape) < 0.3, few, np.rint(mean + spread * far)).astype(np.int64)
    x = np.clip(x, 0, r // 2)
    return np.stack([np.broadcast_to(r, x.shape).ravel(), x.ravel()])


def exact(n: int, r: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.asarray(mid_p(r - 2 * x, x, n - r + x))


@pytest.mark.parametrize(
    ("n", "threshold"),
    [
        *product([200, 1_000, 20_000, 500_000], [0.05, 1e-3, 1e-6, 1e-8]),
        *product([1_000, 500_000], [1e-12]),
    ],
)
def test_table(n: int, threshold: float) -> None:
    """Within the factors that `gwas.screen` states, of all samples and of some without a call."""
    ends = Ends.of(n, threshold)
    assert np.all(np.diff(ends.knots) > 0)
    assert ends.knots[0] == 0
    random = np.random.default_rng(n)
    for part, strict in ((1.0, True), (0.95, True), (0.9, False)):
        called = round(part * n)
        r, x = genotypes(called, threshold, random, 400, 40)
        alleles = 2 * called
        varying = r * (alleles - r) / alleles
        y = varying / np.sqrt(2 * n) * (6 * n - alleles) / (4 * n)
        line = np.searchsorted(ends.knots, y, side="right") - 1
        upper, lower = ends.intercepts[:, line] + ends.slopes[:, line] * y
        deficit = varying - (r - 2 * x)
        decided = (deficit >= upper) | (deficit <= lower)
        p = exact(called, r, x)
        factor = 2.0 if strict and n >= 1000 and threshold >= 1e-8 else 5.0
        assert decided[p < threshold / factor].all()
        assert not decided[p > threshold * factor].any()
        assert 0.05 < decided.mean() < 0.95


@pytest.mark.parametrize(("parties", "n"), [(3, 300), (3, 1_000_000), (5, 20_000), (7, 500_000)])
def test_decisions_on_shares(parties: int, n: int) -> None:
    threshold = 1e-6
    random = np.random.default_rng(parties)
    r, x = genotypes(round(0.99 * n), threshold, random, 60, 10)
    alleles = np.full(r.shape, 2 * round(0.99 * n))
    copies = np.where(random.random(r.size) < 0.5, r, alleles - r)
    p = exact(round(0.99 * n), r, x)

    def program(engine: Engine) -> Any:
        a, nu, h = (
            secret_of(engine, its.astype(object), Format(0, 2 * n)) for its in (copies, alleles, r - 2 * x)
        )
        return near_equilibrium(engine, a, nu, h, n, Ends.of(n, threshold)).reveal("near")

    near = compute_alike(parties, program).all(axis=1)
    factor = 3.0 if n < 1000 else 2.0
    assert (p < threshold / factor).sum() > 50
    assert not near[p < threshold / factor].any()
    assert near[p > threshold * factor].all()
