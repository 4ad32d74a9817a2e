"""Inversions counted on shares against all pairs compared."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from engine_helpers import compute_alike, secret_of, spent

from fedstats import _pairs
from protocols.compare import BIT
from protocols.engine import Engine
from protocols.fixed import Format
from protocols.secret import stack


@pytest.mark.parametrize(("n", "size"), [(3, 1), (3, 2), (3, 37), (3, 64), (5, 9)])
def test_inversions(n: int, size: int) -> None:
    chance = np.random.default_rng(size)
    rank = chance.permutation(size)
    earlier, later = chance.integers(0, 2, size), chance.choice([-1, 1], size)

    def program(engine: Engine) -> Any:
        bits = _pairs.place_bits(engine, size)
        opened = stack(bits).reveal("places")
        digits = [secret_of(engine, bit[rank], BIT) for bit in opened]
        weights = [secret_of(engine, weight, Format(0, 1)) for weight in (earlier, later)]
        cost, found = spent(engine, lambda: _pairs.inversions(*weights, digits))
        # For each bit two products, a shuffle, and the positions.
        assert cost.rounds == len(bits) * (3 + math.comb(n, (n - 1) // 2))
        return {"places": opened, "inversions": found.reveal("inversions")}

    found = compute_alike(n, program)
    np.testing.assert_array_equal(2.0 ** np.arange(len(found["places"]))[::-1] @ found["places"], range(size))
    pairs = np.triu(earlier[:, None] * later, 1) * (rank[:, None] > rank)
    expected = np.zeros(size, int)
    expected[rank] = pairs.sum(axis=0) + pairs.sum(axis=1)
    np.testing.assert_array_equal(found["inversions"], expected)


def test_inversions_of_many_lists() -> None:
    sizes = [5, 1, 64, 37]
    chance = np.random.default_rng(0)
    ranks = [chance.permutation(size) for size in sizes]
    places = np.concatenate(
        [start + rank for start, rank in zip(np.cumsum([0, *sizes]), ranks, strict=False)]
    )

    def program(engine: Engine) -> Any:
        bits = _pairs.place_bits(engine, *sizes)
        digits = [secret_of(engine, bit[places], BIT) for bit in stack(bits).reveal("places")]
        once = secret_of(engine, np.ones(sum(sizes), int), Format(0, 1))
        cost, found = spent(engine, lambda: _pairs.inversions(once, once, digits, sizes))
        assert cost.rounds == 6 * (3 + 3)
        return found.reveal("inversions")

    expected = []
    for rank in ranks:
        pairs = np.triu(rank[:, None] > rank, 1)
        expected.append((pairs.sum(axis=0) + pairs.sum(axis=1))[np.argsort(rank)])
    np.testing.assert_array_equal(compute_alike(3, program), np.concatenate(expected))
