"""Sorting secrets against NumPy: orders, ties, payloads, ranks, quantiles, costs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from engine_helpers import SIZES, compute, compute_alike, secret_of, spent
from hypothesis import given, settings
from hypothesis import strategies as st
from transport_helpers import connect_all

from protocols import sort
from protocols.engine import Engine
from protocols.errors import PrecisionError
from protocols.fixed import Format
from protocols.inputs import share, sum_shares
from protocols.party import Party
from protocols.quantile import quantile_cells
from protocols.reveal import reveal
from protocols.secret import SecretArray, public
from protocols.shuffle import shuffle
from protocols.testing import run_meshes
from transport.loopback import loopback_federation


def vector(engine: Engine, values: Any) -> Any:
    return secret_of(engine, np.array(values, object), Format(0, 2**62))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("size", [0, 1, 2, 50])
def test_orders(n, size):
    x = np.random.default_rng(size).integers(-9, 9, size) * 2**57  # with ties
    beside = np.arange(size) % 3

    def program(engine: Engine) -> Any:
        key, column = vector(engine, x), public(engine, beside)
        up = sort.sort_by(key, column)
        down = sort.sort_by(key, column, descending=True)
        return reveal(engine, {"key": up[0], "beside": up[1], "down": down[0], "beside down": down[1]})

    found = compute_alike(n, program)
    up, down = np.argsort(x, kind="stable"), np.argsort(-x, kind="stable")
    np.testing.assert_equal(
        found, {"key": x[up], "beside": beside[up], "down": x[down], "beside down": beside[down]}
    )


@pytest.mark.parametrize("n", [3, 5])
def test_lists_are_sorted_each_by_itself(n):
    lists = [0, 1, 40, 7, 0, 33]
    x = np.random.default_rng(1).integers(-9, 9, sum(lists)) * 2**57
    bounds = np.cumsum([0, *lists])
    order = np.concatenate(
        [start + np.argsort(x[start:end], kind="stable") for start, end in pairwise(bounds)]
    )

    def program(engine: Engine) -> Any:
        key, column = vector(engine, x), public(engine, np.arange(len(x)))
        every = sort.sort_by(key, column, lists=lists)
        some = sort.sort_by(key, column, lists=lists, ranks=[0, 3, 41])
        with pytest.raises(ValueError, match="another number of rows"):
            sort.sort_by(key, lists=[80])
        return reveal(engine, {"key": every[0], "beside": every[1], "some": some[1]})

    found = compute_alike(n, program)
    np.testing.assert_equal(found, {"key": x[order], "beside": order, "some": order[[0, 3, 41]]})


def test_lists_take_the_rounds_of_the_longest_one():
    x = np.random.default_rng(2).integers(-9, 9, 300)

    def program(engine: Engine) -> Any:
        one = spent(engine, lambda: sort.sort_by(vector(engine, x[:30])))[0]
        many = spent(engine, lambda: sort.sort_by(vector(engine, x), lists=[30] * 10))[0]
        assert many.rounds == one.rounds
        return many.rounds

    compute_alike(3, program)


@settings(max_examples=10)
@given(x=st.lists(st.integers(-(2**62), 2**62) | st.integers(-2, 2), min_size=1, max_size=90), data=st.data())
def test_parts_of_an_order(x, data):
    k = data.draw(st.integers(0, len(x)))
    ranks = data.draw(st.lists(st.integers(-len(x), len(x) - 1), max_size=4))

    def program(engine: Engine) -> Any:
        key = vector(engine, x)
        return reveal(
            engine,
            {
                "sort": sort.sort(key),
                "argsort": sort.argsort(key, descending=True),
                "top": sort.top_k(key, k)[0],
                "argmax": sort.argmax(key),
                "argmin": sort.argmin(key),
                "ranks": sort.sort_by(key, ranks=ranks)[0],
                "merge": sort.merge([sort.sort(key), key[:1], key[:0]]),
            },
        )

    array = np.array(x)
    np.testing.assert_equal(
        compute_alike(3, program),
        {
            "sort": np.sort(array),
            "argsort": np.argsort(-array, kind="stable"),
            "top": np.sort(array)[::-1][:k],
            "argmax": np.argmax(array),
            "argmin": np.argmin(array),
            "ranks": np.sort(array)[np.array(ranks, int)],
            "merge": np.sort([*x, x[0]]),
        },
    )


@settings(max_examples=10)
@given(
    x=st.lists(st.floats(-100, 100), min_size=1, max_size=60),
    q=st.lists(st.fractions(0, 1, max_denominator=20), min_size=1, max_size=3),
)
def test_quantiles(x, q):
    def program(engine: Engine) -> Any:
        secret = share(engine, np.array(x), bound=100, fraction=30)[0]
        return sort.quantiles(secret, q).reveal("quantiles")

    found = compute_alike(3, program)
    np.testing.assert_allclose(found, np.quantile(x, [float(one) for one in q]), rtol=0, atol=1e-7)


@pytest.mark.parametrize("n", [3, 5])
def test_quantiles_stay_within_the_bound_that_they_state(n):
    bound = 2**40 - 1

    def program(engine: Engine) -> Any:
        secret = secret_of(engine, [bound] * 4, Format(20, bound))
        found = sort.quantiles(secret, [0.25, 0.4, 0.7] * 50)
        integers = SecretArray(engine, found.shares, Format(0, 2**60)).reveal("integers")
        assert np.max(integers) > bound  # rounded upwards
        assert np.max(integers) <= (found.format.bound or 0)
        return (found > 0).reveal("positive")

    assert np.all(compute_alike(n, program) == 1)


@settings(max_examples=15)
@given(
    n=st.sampled_from([3, 5]),
    counts=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    q=st.lists(st.fractions("1/50", 1, max_denominator=50), min_size=1, max_size=3),
)
def test_quantiles_of_counts(n, counts, q):
    def program(engine: Engine) -> Any:
        cost, found = spent(engine, lambda: quantile_cells(sum_shares(engine, np.array(counts), bound=3), q))
        if n == 3:
            assert cost.rounds <= 1 + 9 + 2 * (3 * n * len(counts) * 50).bit_length().bit_length() + 2
        return found.reveal("cells")

    cumulative = n * np.cumsum(counts)
    expected = [int(np.sum(cumulative * one.denominator < cumulative[-1] * one.numerator)) for one in q]
    assert compute_alike(n, program).tolist() == expected


def test_what_makes_no_sense():
    def program(engine: Engine) -> None:
        x = vector(engine, [1, 2, 3])
        for refused, message in (
            (lambda: sort.sort(x.reshape(1, 3)), "vectors"),
            (lambda: sort.sort_by(x, x[:2]), "same length"),
            (lambda: sort.top_k(x, 4), "no 4 largest"),
            (lambda: sort.quantiles(x, [1.5]), "levels"),
            (lambda: sort.quantiles(x[:0], [0.5]), "some entries"),
            (lambda: quantile_cells(x, [0]), "above 0"),
            (lambda: quantile_cells(x[:0], [0.5]), "one cell"),
        ):
            with pytest.raises(ValueError, match=message):
                refused()
        with pytest.raises(IndexError):
            sort.sort_by(x, ranks=[3])
        before = engine.party.mesh.traffic.copy()
        with pytest.raises(TypeError, match="rescale"):
            sort.quantiles(x, [0.3])
        assert engine.party.mesh.traffic == before

    compute_alike(3, program)


@pytest.mark.parametrize("n", [3, 5, pytest.param(10, marks=pytest.mark.slow)])
def test_keys_that_leave_no_room_for_row_numbers(n):
    """As long as keys can be masked at all they are sorted, ties in the order of their rows."""

    def program(engine: Engine) -> Any:
        largest = 2 ** (engine.room - 1) - 1
        x = [largest, -largest, 0, largest, -largest, 5, largest]
        key = secret_of(engine, x, Format(0, largest))
        cost, (up, rows) = spent(engine, lambda: sort.sort_by(key, public(engine, np.arange(7))))
        down = sort.sort_by(key, public(engine, np.arange(7)), descending=True)[1]
        found = reveal(engine, {"up": up, "rows": rows, "down": down})
        assert found["up"].tolist() == sorted(x)
        return found["rows"], found["down"], cost.rounds

    rows, down, rounds = compute_alike(n, program)
    assert rows.tolist() == [1, 4, 2, 5, 0, 3, 6]
    assert down.tolist() == [0, 3, 6, 5, 2, 1, 4]
    # A shuffle, the bits of row numbers and of keys, and one level.
    assert n != 3 or rounds == 3 + (3 + 2) + (3 + 7) + 8


def test_keys_that_cannot_be_masked_are_refused_before_anything_is_sent():
    def program(engine: Engine) -> bool:
        keys = secret_of(engine, [0] * 3, Format(0, 2**84))
        before = engine.party.mesh.traffic.copy()
        with pytest.raises(PrecisionError, match="tighten"):
            sort.sort(keys)
        return engine.party.mesh.traffic == before

    assert compute_alike(3, program)


@pytest.mark.parametrize("n", SIZES)
def test_shuffled_rows_are_all_there(n):
    def program(engine: Engine) -> Any:
        rows = vector(engine, np.arange(60).reshape(20, 3))
        cost, shuffled = spent(engine, lambda: shuffle(engine, rows.shares))
        assert cost.rounds == {3: 3, 4: 4, 5: 10, 7: 35, 10: 210}[n]
        return rows._with(shuffled).reveal("rows")

    found = compute_alike(n, program)
    assert found.tolist() != np.arange(60).reshape(20, 3).tolist()
    assert sorted(found.tolist()) == np.arange(60).reshape(20, 3).tolist()


def test_arranging_takes_few_comparisons():
    order = np.random.default_rng(3).permutation(10_000)
    asked: list[int] = []

    def smaller(i: Any, j: Any) -> Any:
        asked.append(len(i))
        return order[i] < order[j]

    found = sort.arrange([len(order)], np.arange(len(order)), smaller)
    np.testing.assert_equal(order[found], np.arange(len(order)))
    assert len(asked) <= 8
    assert sum(asked) < 350_000
    asked.clear()
    assert order[sort.arrange([len(order)], np.array([5_000]), smaller)].tolist() == [5_000]
    assert sum(asked) < 120_000


def test_orders_over_grpc(tmp_path):
    x = np.random.default_rng(8).integers(-9, 9, 200)

    def program(party: Party) -> Any:
        engine = Engine(party)
        key = share(engine, x, bound=9)[0]
        return reveal(engine, {"sorted": sort.sort(key), "below": key < 3})

    meshes = connect_all(loopback_federation("abc", tmp_path))
    for found in run_meshes(meshes, program).values():
        np.testing.assert_equal(found, {"sorted": np.sort(x), "below": x < 3})


def test_costs():
    def program(engine: Engine) -> None:
        x = vector(engine, np.zeros(1000, int))
        cost, _ = spent(engine, lambda: sort.sort(x))
        # A shuffle, the bits of 74-bit keys, and some levels of a comparison opened.
        assert (cost.rounds - 3 - 10) % 8 == 0
        assert cost.rounds <= 3 + 10 + 8 * 8
        assert cost.bytes_sent < 1000 * 1500

    compute(3, program)
