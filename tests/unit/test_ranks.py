"""Secret ranks against scipy's `rankdata`, and the scans they are made by against loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_helpers import compute_alike, secret_of, spent
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedstats import _ranks as ranks
from protocols import inputs, scan
from protocols.engine import Engine
from protocols.fixed import Format
from protocols.reveal import reveal

AWKWARD = [0.0, -0.0, 5e-324, -5e-324, 1.0, 1.0 + 2**-52, -1e290, 1e290, 2.0**53, -1.0, 0.1, 1 / 3]


@given(st.lists(st.sampled_from(AWKWARD) | st.floats(-1e290, 1e290), max_size=30))
def test_keys_have_the_order_of_values(x):
    values = np.array(x, np.float64)
    key = ranks.keys(values)
    np.testing.assert_array_equal(values[:, None] < values, key[:, None] < key)
    np.testing.assert_array_equal(values[:, None] == values, key[:, None] == key)
    assert (np.abs(key.astype(object)) < ranks.LARGEST_KEY).all()


@pytest.mark.parametrize("rows", [0, 1, 16, 17, 31, 32, 33, 1000, 99_999])
def test_padding_hides_the_number_of_rows_at_the_cost_of_an_eighth(rows):
    told = ranks.padded(rows)
    assert max(rows, 16) <= told <= max(16, rows * 1.125)
    assert told == ranks.padded(told)
    assert np.unique([ranks.padded(near) for near in range(60_000, 64_000)]).size <= 3


@settings(max_examples=15)
@given(
    g=st.lists(st.lists(st.booleans(), min_size=5, max_size=5), max_size=40),
    seed=st.integers(0, 99),
)
def test_scan(g, seed):
    bits = np.array(g, int).reshape(-1, 5).T
    u = np.random.default_rng(seed).integers(-9, 9, bits.shape)

    def program(engine: Engine) -> Any:
        go_on, numbers = secret_of(engine, bits, Format(0, 1)), secret_of(engine, u, Format(0, 9))
        cost, v = spent(engine, lambda: scan.segmented(go_on, numbers, bound=9 * 40))
        assert cost.rounds <= 2 * max(bits.shape[1], 1).bit_length() - 2
        return reveal(engine, {"v": v, "sum": scan.running_sum(numbers)})

    found = compute_alike(3, program)
    expected = np.zeros_like(u)
    for i in range(u.shape[1]):
        expected[:, i] = u[:, i] + (bits[:, i] * expected[:, i - 1] if i else 0)
    np.testing.assert_array_equal(found["v"], expected)
    np.testing.assert_array_equal(found["sum"], u.cumsum(axis=1))


@pytest.mark.parametrize("n", [3, 5, pytest.param(10, marks=pytest.mark.slow)])
def test_ranks_with_ties_and_padding(n):
    chance = np.random.default_rng(n)
    sizes = chance.integers(0, 30, n).tolist()
    x = [chance.choice([*AWKWARD, 7.5, *chance.normal(size=3)], size) for size in sizes]
    group = [chance.integers(0, 2, size) for size in sizes]
    lengths = [ranks.padded(size) for size in sizes]
    total = sum(sizes)

    def program(engine: Engine) -> Any:
        me = engine.party.index
        rows = ranks.share(engine, lengths, ranks.keys(x[me]), [group[me]])
        found = ranks.rank(rows.key, *rows.columns, count=total)
        sums, ties = found.sums(found.columns[0])
        return reveal(
            engine,
            {
                "group": found.columns[0],
                "doubled": found.doubled,
                "block": found.block,
                "last": found.last_of_block,
                "sums": sums,
                "ties": ties,
            },
        )

    found = compute_alike(n, program)
    values, groups = np.concatenate(x), np.concatenate(group)
    order = np.argsort(values, kind="stable")
    midranks = stats.rankdata(values)
    _, counts = np.unique(values, return_counts=True)
    np.testing.assert_array_equal(found["group"], groups[order])
    np.testing.assert_array_equal(found["doubled"], 2 * midranks[order])
    np.testing.assert_array_equal(found["block"], np.repeat(counts, counts))
    np.testing.assert_array_equal(np.flatnonzero(found["last"]), np.cumsum(counts) - 1)
    assert found["sums"].tolist() == [2 * midranks[groups == 1].sum()]
    assert found["ties"].tolist() == [(counts**3 - counts).sum()]


def test_two_variables_are_ranked_in_the_same_order_of_rows():
    chance = np.random.default_rng(0)
    x, y = (chance.integers(0, 9, (3, 20)).astype(float) for _ in range(2))

    def program(engine: Engine) -> Any:
        me = engine.party.index
        rows = ranks.share(engine, [20, 20, 20], ranks.keys(x[me]), [ranks.keys(y[me])])
        first = ranks.rank(rows.key, *rows.columns, count=60)
        second = ranks.rank(first.columns[0], first.doubled, count=60)
        return reveal(engine, {"products": (second.columns[0] @ second.doubled).assume(1 << 40)})

    expected = 4 * stats.rankdata(x) @ stats.rankdata(y)
    assert compute_alike(3, program)["products"] == expected


def test_many_lists_are_ranked_each_by_itself():
    """Of padded pairs of values, each list with a number of rows of its own."""
    chance = np.random.default_rng(4)
    sizes = np.array([[3, 9], [0, 16], [5, 1]])  # of each party, in each of two lists
    values = [[chance.integers(0, 4, (2, size)).astype(float) for size in row] for row in sizes]
    counts = sizes.sum(axis=0)

    def program(engine: Engine) -> Any:
        own = [ranks.keys(x) for x in values[engine.party.index]]
        rows = ranks.share_lists(engine, [16, 16, 16], own)
        first = ranks.rank_lists(rows.key, *rows.columns, sizes=[48, 48], counts=counts.tolist())
        lists = {"sizes": counts.tolist(), "counts": counts.tolist()}
        second = ranks.rank_lists(first.columns[0], first.doubled, **lists)
        assert second.count == counts.sum()
        joint, cubes = second.products((second.columns[0], second.doubled), (second.block, second.block))
        sums = {"joint": joint, "cubes": cubes, "squares": second.by_list(second.block)}
        return reveal(engine, {**sums, "doubled": second.doubled})

    found = compute_alike(3, program)
    doubled = []
    for number, (joint, cubes, squares) in enumerate(
        zip(found["joint"], found["cubes"], found["squares"], strict=True)
    ):
        x, y = np.concatenate([row[number] for row in values], axis=1)
        doubled.append(np.sort(2 * stats.rankdata(y)))
        assert joint == 4 * stats.rankdata(x) @ stats.rankdata(y)
        ties = np.unique(y, return_counts=True)[1]
        assert (cubes, squares) == ((ties**3).sum(), (ties**2).sum())
    np.testing.assert_array_equal(found["doubled"], np.concatenate(doubled))


def test_parties_share_rows_of_their_own_number():
    lengths = [3, 0, 2]

    def program(engine: Engine) -> Any:
        rows = np.full((lengths[engine.party.index], 2), engine.point)
        with pytest.raises(ValueError, match="as it said"):
            inputs.share_rows(engine, rows, [4, 4, 4], bound=9)
        cost, shared = spent(engine, lambda: inputs.share_rows(engine, rows, lengths, bound=9))
        assert cost.rounds == 1
        return shared.reveal("rows")

    np.testing.assert_array_equal(compute_alike(3, program), np.repeat([[1, 1], [3, 3]], [3, 2], axis=0))
