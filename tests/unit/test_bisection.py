"""Quantiles found digit by digit, against numpy on everybody's values."""

from __future__ import annotations

import numpy as np
import pytest
from engine_helpers import compute, compute_alike, spent
from hypothesis import given
from hypothesis import strategies as st

from protocols.bisection import BITS, Places, next_digits, to_floats, to_words, widths

floats = st.floats(allow_nan=False, allow_infinity=True)


@given(floats, floats)
def test_words_are_in_the_order_of_floats(x: float, y: float) -> None:
    a, b = to_words(np.array([x, y]))
    assert (a < b, a == b) == (x < y, x == y)
    assert to_floats(to_words(np.array([x])))[0] == x


def test_words_beyond_infinity_are_infinity() -> None:
    assert to_floats(np.array([0, 2**64 - 1], np.uint64)).tolist() == [-np.inf, np.inf]


def search(engine, values, places: Places) -> np.ndarray:
    prefix, done = np.zeros(len(places.rank), np.uint64), 0
    for width in widths(engine, len(prefix)):
        digits = next_digits(engine, values, places, prefix, done, width).reveal(f"digit {done}")
        prefix = prefix << np.uint64(width) | digits.astype(np.uint64)
        done += width
    assert done == BITS
    return to_floats(prefix)


AWKWARD = [
    [[1.0, 2.0, 3.0], [], [10.0]],
    [[0.0, -0.0], [0.0], [0.0, 5.0]],
    [[-1e290, 1e290], [-1e-300], [1e-300, 3.0]],
    [[-5.0], [-5.0, -5.0], [7.0]],
    [[-1.0, 1.0], [1e-17, -3.0], [0.3]],
]


@pytest.mark.parametrize("values", AWKWARD, ids=range(len(AWKWARD)))
def test_three_parties(values: list[list[float]]) -> None:
    pooled = np.sort(np.concatenate(values))
    rank = np.repeat(np.arange(len(pooled) - 1), 3)
    weight = np.tile([0.0, 0.25, 1 / 3], len(pooled) - 1)

    def program(engine):
        mine = np.sort(values[engine.point - 1])
        return search(engine, [mine] * len(rank), Places(rank, weight))

    found = compute_alike(3, program)
    a, b = pooled[rank], pooled[rank + 1]
    np.testing.assert_array_equal(found[weight == 0], a[weight == 0])
    np.testing.assert_array_equal(found[a == b], a[a == b])
    size = np.maximum(np.abs(a), np.abs(b))
    assert (np.abs(found - (a + weight * (b - a))) <= 4e-16 * size).all()


def test_random_values_of_five_parties() -> None:
    chance = np.random.default_rng(5)
    values = [np.sort(np.round(chance.normal(size=size), 2)) for size in (40, 3, 0, 25, 33)]
    pooled = np.concatenate(values)
    q = np.array([0.1, 0.25, 0.5, 0.77])
    place = q * (len(pooled) - 1)
    places = Places(np.floor(place).astype(np.int64), place % 1)
    found = compute_alike(5, lambda engine: search(engine, [values[engine.point - 1]] * 4, places))
    np.testing.assert_allclose(found, np.quantile(pooled, q), rtol=1e-15)


def test_the_more_quantiles_the_shorter_the_steps() -> None:
    assert compute(3, lambda engine: widths(engine, 1))["a"] == [10] + [9] * 6
    assert compute(3, lambda engine: widths(engine, 20))["a"] == [6] * 9 + [5] * 2
    assert set(compute(3, lambda engine: widths(engine, 10**6))["a"]) == {2}
    assert max(compute(5, lambda engine: widths(engine, 20))["a"]) == 3


@pytest.mark.parametrize(("weight", "rounds", "volume"), [(0.5, 16, 950), (0.0, 11, 95)])
def test_cost_is_what_the_docstring_says(weight: float, rounds: int, volume: int) -> None:
    places = Places(np.array([30]), np.array([weight]))

    def program(engine):
        mine = [np.arange(20.0)]
        return spent(engine, lambda: next_digits(engine, mine, places, np.zeros(1, np.uint64), 0, 11))[0]

    for cost in compute(3, program).values():
        assert cost.rounds == rounds
        assert 0.7 * volume < cost.bytes_sent / 2047 < 1.2 * volume
