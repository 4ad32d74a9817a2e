"""Comparisons of secrets against Python's: values, shapes, ranges, costs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_helpers import NAMES, SIZES, compute_alike, secret_of, spent
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import compare
from protocols.engine import Engine
from protocols.errors import PrecisionError
from protocols.fixed import Format
from protocols.inputs import share
from protocols.reveal import reveal
from protocols.secret import SecretArray, select
from protocols.testing import run_parties

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "comparison.json").read_text())


def relations(engine: Engine, x: Any, y: Any) -> dict[str, Any]:
    return reveal(engine, {"<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y, "==": x == y, "!=": x != y})


def expected(x: Any, y: Any) -> dict[str, Any]:
    found = {"<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y, "==": x == y, "!=": x != y}
    return {name: np.asarray(value).astype(int) for name, value in found.items()}


@pytest.mark.parametrize("n", SIZES)
def test_all_relations_of_edges(n):
    bound = 2**40
    edges = [0, 1, -1, 2, bound, bound - 1, -bound, 1 - bound, 12345]
    x, y = (np.array(column, object) for column in zip(*[(a, b) for a in edges for b in edges], strict=True))

    def program(engine: Engine) -> Any:
        a, b = secret_of(engine, x, Format(0, bound)), secret_of(engine, y, Format(0, bound))
        return relations(engine, a, b)

    np.testing.assert_equal(compute_alike(n, program), expected(x, y))


@pytest.mark.parametrize("case", VECTORS["good"], ids=lambda case: f"{case['parties']}, {case['bound']}")
def test_known_answers(case):
    x, y = (np.array([int(value) for value in case[name]], object) for name in "xy")
    reading = Format(0, int(case["bound"]))

    def program(engine: Engine) -> Any:
        a, b = secret_of(engine, x, reading), secret_of(engine, y, reading)
        return reveal(engine, {"<": a < b, "==": a == b, "max": compare.maximum(a, b)})

    found = compute_alike(case["parties"], program)
    assert found["<"].tolist() == case["less"]
    assert found["=="].tolist() == case["equal"]
    assert found["max"].tolist() == [int(value) for value in case["maximum"]]


@pytest.mark.parametrize("case", VECTORS["bad"], ids=lambda case: f"{case['parties']}, {case['bound']}")
def test_known_refusals(case):
    bound = None if case["bound"] is None else int(case["bound"])

    def program(engine: Engine) -> Any:
        x = secret_of(engine, [1, 2], Format(0, bound))
        before = engine.party.mesh.traffic.copy()
        for refused in (
            lambda: x < 0,
            lambda: x == 0,
            lambda: abs(x),
            lambda: x.max(),
            lambda: compare.sign(x),
        ):
            with pytest.raises(PrecisionError, match="public bound"):
                refused()
        return engine.party.mesh.traffic == before

    assert compute_alike(case["parties"], program)


@settings(max_examples=15)
@given(
    n=st.sampled_from([3, 4, 5]),
    bits=st.integers(0, 77),
    data=st.data(),
)
def test_relations_of_integers_of_any_length(n, bits, data):
    bound = 2**bits
    numbers = st.lists(st.integers(-bound, bound), min_size=3, max_size=3)
    x, y = (np.array(data.draw(numbers), object) for _ in "xy")

    def program(engine: Engine) -> Any:
        a, b = secret_of(engine, x, Format(0, bound)), secret_of(engine, y, Format(0, bound))
        return relations(engine, a, b)

    np.testing.assert_equal(compute_alike(n, program), expected(x, y))


@settings(max_examples=15)
@given(values=st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=5), level=st.floats(-1e4, 1e4))
def test_fixed_point_numbers_and_public_ones(values, level):
    fraction = 24
    rounded = np.rint(np.array(values) * 2**fraction) / 2**fraction
    limit = np.rint(level * 2**fraction) / 2**fraction

    def program(engine: Engine) -> Any:
        x = share(engine, np.array(values), bound=1e4, fraction=fraction)[0]
        whole = x.rescale(30) < 3
        found = {"abs": abs(x), "sign": compare.sign(x), "clip": compare.minimum(5, compare.maximum(x, -2))}
        left, right = compare.less(level, x), compare.less(x, level)
        return relations(engine, x, level), reveal(engine, found | {"l": left, "r": right, "w": whole})

    found, chosen = compute_alike(3, program)
    np.testing.assert_equal(found, expected(rounded, limit))
    np.testing.assert_equal(chosen["abs"], np.abs(rounded))
    np.testing.assert_equal(chosen["sign"], np.sign(rounded))
    np.testing.assert_equal(chosen["clip"], np.clip(rounded, -2, 5))
    np.testing.assert_equal(chosen["l"], limit < rounded)
    np.testing.assert_equal(chosen["r"], rounded < limit)
    np.testing.assert_equal(chosen["w"], rounded < 3)


@pytest.mark.parametrize(
    ("left", "right"), [((3, 1), (1, 4)), ((2, 3), (3,)), ((0, 3), (3,)), ((), ()), ((130,), ())]
)
def test_shapes(left, right):
    rng = np.random.default_rng(1)
    x, y = rng.integers(-3, 3, left), rng.integers(-3, 3, right)

    def program(engine: Engine) -> Any:
        a, b = secret_of(engine, x, Format(0, 3)), secret_of(engine, y, Format(0, 3))
        public = reveal(engine, {"reflected": x < b, "public": a == y})
        larger = reveal(engine, {"max": compare.maximum(a, b), "min": compare.minimum(x, b)})
        return relations(engine, a, b), public, larger

    found, public, larger = compute_alike(3, program)
    np.testing.assert_equal(found, expected(x, y))
    np.testing.assert_equal(public, {"reflected": (x < y) * 1, "public": (x == y) * 1})
    np.testing.assert_equal(larger, {"max": np.maximum(x, y), "min": np.minimum(x, y)})


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_largest_and_smallest(axis):
    x = np.random.default_rng(2).integers(-50, 50, (5, 7))

    def program(engine: Engine) -> Any:
        a = secret_of(engine, x, Format(0, 50))
        assert a.max().format == a.format
        return reveal(engine, {"max": a.max(axis), "min": a.min(axis), "one": a[:1].max(0)})

    np.testing.assert_equal(compute_alike(3, program), {"max": x.max(axis), "min": x.min(axis), "one": x[0]})


def test_what_has_no_answer():
    def program(engine: Engine) -> None:
        x = secret_of(engine, np.zeros((0, 2), object), Format(0, 3))
        with pytest.raises(ValueError, match="an empty axis"):
            x.max(0)
        with pytest.raises(TypeError, match="needs a secret"):
            compare.less(1, 2)
        with pytest.raises(TypeError, match="cannot decide"):
            bool(secret_of(engine, 1, Format(0, 3)) < 2)

    compute_alike(3, program)


def test_bits_choose():
    def program(engine: Engine) -> Any:
        x = secret_of(engine, [5, -7, 0], Format(0, 9))
        bit = (x > -1) * (x < 3)
        assert bit.format == Format(0, 1)
        with pytest.raises(ValueError, match="secret bits"):
            select(compare.sign(x), x, 2 * x)
        return select(bit, x, 2 * x).reveal("chosen")

    assert compute_alike(4, program).tolist() == [10, -14, 0]


def test_long_arrays_are_compared_in_blocks(monkeypatch):
    monkeypatch.setattr(compare, "BLOCK", 64)
    x = np.arange(-100, 100)
    found = compute_alike(3, lambda e: (secret_of(e, x, Format(0, 100)) < 0).reveal("below"))
    np.testing.assert_equal(found, x < 0)


@pytest.mark.parametrize("n", SIZES)
def test_costs(n):
    t, size, header = (n - 1) // 2, 640, 24
    carry_save = {3: 0, 4: 0, 5: 1, 7: 2, 10: 3}[n]
    conversion = 1 + math.ceil(math.log2(t + 1))

    def program(engine: Engine) -> None:
        x = secret_of(engine, [1] * size, Format(0, 2**64 - 1))  # 64 bits and a sign
        below, _ = spent(engine, lambda: x < 0)
        assert below.rounds == 2 + carry_save + 6 + conversion
        zero, _ = spent(engine, lambda: x == 0)
        assert zero.rounds == 2 + carry_save + 6 + conversion
        if n == 3:
            # Opening and conversion, the adder's 64 + 62·2 + … bits, and what party 1 deals.
            words = size // 64
            adder = 64 + (2 * 64 - 2 - 6) - 1  # the last product is not shared anew
            dealt = (65 * words * 8 + header) * (engine.point == 1)
            told = (8 * words + header) * (engine.point != 1)
            expected = 3 * (16 * size + header) + adder * words * 8 + 6 * header + dealt + told
            assert below.bytes_sent == expected
            assert below.bytes_sent < 82 * size

    compute_alike(n, program)


def test_other_securities_leave_other_ranges():
    def program(party: Any) -> list[bool]:
        found = []
        for security, bits in ((40, 84), (60, 64)):
            engine = Engine(party, f"security {security}", security=security)
            x = secret_of(engine, [1 - 2**bits], Format(0, 2**bits - 1))
            found.append(bool((x < 0).reveal("sign")[0]))
            with pytest.raises(PrecisionError):
                SecretArray(engine, x.shares, Format(0, 2**bits)) < 0  # noqa: B015
        return found

    assert run_parties(NAMES[:3], program)["a"] == [True, True]
