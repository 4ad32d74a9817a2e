"""Reciprocals, quotients and roots against NumPy: errors over the whole range, refusals, costs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from engine_helpers import SIZES, compute_alike, secret_of, spent
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.divide import NEAR, Divisor, divide, divide_by_sqrt, inverse_sqrt, joined, reciprocal, sqrt
from protocols.engine import Engine
from protocols.errors import PrecisionError
from protocols.fixed import Format
from protocols.functions import log_of

#: Relative error that is documented, by the number of parties.
ERROR = dict.fromkeys((3, 4, 5, 7, 10), 1e-9)


def spread(bits: int, count: int = 60, seed: int = 0) -> list[int]:
    """Return integers of all lengths up to so many bits, powers of two and their neighbours too."""
    rng = np.random.default_rng(seed)
    edges = [value for b in range(bits) for value in (2**b - 1, 2**b, 2**b + 1)]
    values = edges + [int(2.0 ** rng.uniform(0, bits)) for _ in range(count)]
    return sorted({value for value in values if 0 < value <= 2**bits - 1} | {2**bits - 1})


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    ("bits", "fraction"), [(20, 20), (60, 20), pytest.param(40, 0, marks=pytest.mark.slow), (12, 30)]
)
def test_relative_errors_over_the_whole_range(n, bits, fraction):
    integers = spread(bits, count=20)

    def program(engine: Engine) -> Any:
        x = secret_of(engine, integers, Format(fraction, 2**bits - 1))
        found = {"r": reciprocal(x), "s": sqrt(x), "i": inverse_sqrt(x)}
        return {name: y.reveal(name).astype(float) for name, y in found.items()}

    found, x = compute_alike(n, program), np.array(integers, float) * 2.0**-fraction
    for name, expected in (("r", 1 / x), ("s", np.sqrt(x)), ("i", 1 / np.sqrt(x))):
        assert np.max(np.abs(found[name] / expected - 1)) < ERROR[n]


@pytest.mark.parametrize("n", [3, 5])
def test_divisors_that_are_normalised_once(n):
    b, a = np.array([3.0, 0.001, 900.0]), np.array([[1.5, 0.0009, 10.0], [-3.0, 0.0, -900.0]])

    def program(engine: Engine) -> Any:
        below, above = (
            secret_of(engine, np.rint(x * 2**20).astype(int).tolist(), Format.of(1024, 20)) for x in (b, a)
        )
        divisor = Divisor(below)
        found = divisor.into(above, bound=1, fraction=34)
        cost, scaled = spent(engine, lambda: divisor[[2, 0]].scaled(above[:, [2, 0]], bound=1, fraction=30))
        both = joined([divisor.normal, divisor[1:].normal])
        return cost.rounds, found.reveal("found"), scaled.reveal("scaled"), log_of(both).reveal("logarithms")

    rounds, found, scaled, logarithms = compute_alike(n, program)
    exact = np.rint(a * 2**20) / np.rint(b * 2**20)
    np.testing.assert_allclose(found, exact, atol=1e-8)
    assert rounds == 1
    assert np.all(np.abs(scaled) <= np.abs(exact[:, [2, 0]]) + 1e-8)
    assert np.all(np.abs(scaled) >= np.abs(exact[:, [2, 0]]) / 2 - 1e-8)
    expected = np.log(np.rint(b * 2**20) / 2**20)
    np.testing.assert_allclose(logarithms, [*expected, *expected[1:]], atol=4e-9)


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("change", [0.01, NEAR])
def test_divisors_that_are_nearly_others(n, change):
    b = np.geomspace(2.0**-8, 2.0**9.5, 40)
    near = b * np.exp(np.linspace(-change, change, 40) * (1 - 1e-3))
    b, near, a = (np.rint(x * 2**20).astype(np.int64) for x in (b, near, b / 3))

    def program(engine: Engine) -> Any:
        below, other, above = (secret_of(engine, x, Format.of(1024, 20)) for x in (b, near, a))
        first = Divisor(below)
        first.y  # noqa: B018
        cost, second = spent(engine, lambda: first.near(other, change))
        found = second.into(above, bound=1, fraction=30)
        logarithms = log_of(joined([second.normal, first.normal[:2]]))
        return (
            cost.rounds,
            found.reveal("found"),
            second[:4].scaled(above[:4], bound=1, fraction=30).reveal("scaled"),
            logarithms.reveal("logarithms"),
        )

    rounds, found, scaled, logarithms = compute_alike(n, program)
    tolerance = {3: 1e-9, 5: 2e-9, 10: 3e-8}[n]
    np.testing.assert_allclose(found, a / near, atol=tolerance)
    expected = np.log(np.concatenate([near, b[:2]]) / 2**20)
    np.testing.assert_allclose(logarithms, expected, atol=8 * tolerance)
    assert np.all(scaled <= (a / near)[:4] * math.exp(change) + tolerance)
    assert rounds <= (6 if n == 3 else 9)


@pytest.mark.parametrize("side", [-1, 1])
def test_divisors_that_go_further_and_further(side):
    """Each is near to the last, and all are far from the first: what was normalised does for some of them."""
    b = np.geomspace(2.0**-8, 2.0**9, 40)
    each = [np.rint(b * np.exp(side * change) * 2**20).astype(np.int64) for change in (0, 0.19, 0.27, 0.4)]

    def program(engine: Engine) -> Any:
        first, second, third, fourth = (secret_of(engine, x, Format.of(1024, 20)) for x in each)
        divisor = Divisor(first).near(second, 0.19)
        assert not divisor.reaches(0.19)
        divisor = divisor.near(third, 0.0801)
        with pytest.raises(ValueError, match="from those that were normalised"):
            divisor.near(fourth, 0.1301)
        return divisor.into(first, bound=2, fraction=30).reveal("q"), log_of(divisor.normal).reveal("log")

    found, logarithms = compute_alike(3, program)
    np.testing.assert_allclose(found, each[0] / each[2], atol=4e-9)
    np.testing.assert_allclose(logarithms, np.log(each[2] / 2**20), atol=8e-9)


def test_divisors_that_are_not_nearly_others_are_refused():
    def program(engine: Engine) -> None:
        divisor = Divisor(secret_of(engine, np.array([3, 4]), Format.of(8, 0)))
        with pytest.raises(ValueError, match="differ from them by a factor"):
            divisor.near(secret_of(engine, np.array([3, 4]), Format.of(8, 0)), 2 * NEAR)
        with pytest.raises(ValueError, match="have their format"):
            divisor.near(secret_of(engine, np.array([3, 4]), Format.of(9, 0)), NEAR)

    compute_alike(3, program)


@settings(max_examples=15)
@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.booleans()), min_size=1, max_size=6))
def test_quotients(cases):
    a, b, negative = (np.array(column) for column in zip(*cases, strict=True))
    b = np.round(b * np.where(negative, -1, 1) * 2.0**30)
    a = np.round(np.clip(a, -200 * np.abs(b) / 2**30, 200 * np.abs(b) / 2**30) * 2.0**30)

    def program(engine: Engine) -> Any:
        x = secret_of(engine, a.astype(np.int64).astype(object), Format.of(1e3, 30))
        y = secret_of(engine, b.astype(np.int64).astype(object), Format.of(1e3, 30))
        return divide(x, y, bound=201, fraction=30, signed=True).reveal("q")

    assert np.max(np.abs(compute_alike(3, program) - a / b)) < 201e-9 + 8 * 2.0**-30


@pytest.mark.parametrize("n", [3, 5])
def test_one_divisor_of_several_numbers(n):
    """Its reciprocal, with fewer bits, leaves room for quotients that are too large otherwise."""
    b = np.array([1, 300, 2**20, 2**38])

    def program(engine: Engine) -> Any:
        divisor = Divisor(secret_of(engine, b, Format(20, 1 << 38)))
        cost, small = spent(
            engine, lambda: divisor.into(secret_of(engine, b // 3, Format(20, 1 << 38)), bound=1, fraction=30)
        )
        ones = secret_of(engine, np.ones(4, int), Format(0, 1))
        with pytest.raises(PrecisionError, match=r"quotients up to 1\.04858e"):
            divisor.into(ones, bound=2.0**20, fraction=30)
        again, large = spent(engine, lambda: divisor.into(ones, bound=2.0**20, fraction=30, digits=26))
        # One round to shorten, two products.
        assert (again.rounds, cost.rounds > 20) == (3, True)
        return small.reveal("small"), large.reveal("large")

    small, large = compute_alike(n, program)
    assert np.abs(small - (b // 3) / b).max() < 1e-8
    assert np.abs(large / (2.0**20 / b) - 1)[:3].max() < 30 * 2.0**-26


@pytest.mark.parametrize("n", [3, 5, 7, 10])
def test_quotients_by_roots(n):
    x = np.array(spread(40, 20))
    a = np.round(np.sqrt(x * 2.0**20) * np.linspace(-3, 3, len(x)))

    def program(engine: Engine) -> Any:
        left = secret_of(engine, a.astype(np.int64).astype(object), Format(20, 2**33))
        right = secret_of(engine, x.astype(object), Format(20, 2**40 - 1))
        return divide_by_sqrt(left, right, bound=4, fraction=28).reveal("q")

    units = 2.0**-28 * (math.comb(n, (n - 1) // 2) + 2)
    np.testing.assert_allclose(compute_alike(n, program), a / np.sqrt(x * 2.0**20), rtol=1e-9, atol=2 * units)


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("ratio", [1.0, 2.0, 3.5, 100.0])
def test_public_bounds_of_divisors(n, ratio):
    x = np.linspace(10 / ratio, 10, 40)
    integers = np.floor(x * 2.0**30).astype(np.int64)
    x = integers * 2.0**-30

    def program(engine: Engine) -> Any:
        shared = secret_of(engine, integers.astype(object), Format.of(10, 30))
        least = math.floor(x.min() * 2**20) / 2**20
        cost, y = spent(engine, lambda: reciprocal(shared, least=least))
        q = divide(shared * 2 - 1, shared, bound=2.5, fraction=36, least=least)
        minus = reciprocal(-shared, least=least, signed=True)
        return cost.rounds, y.reveal("y"), q.reveal("q"), minus.reveal("minus")

    rounds, y, q, minus = compute_alike(n, program)
    np.testing.assert_allclose(y, 1 / x, rtol=ERROR[n])
    np.testing.assert_allclose(minus, -1 / x, rtol=ERROR[n])
    np.testing.assert_allclose(q, 2 - 1 / x, rtol=0, atol=3 * ERROR[n])
    assert rounds <= (10 if ratio < 8 else 30)


@pytest.mark.parametrize("n", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_operators(n):
    a, b = np.array([[1.5], [-300.25]]), np.array([2, -3, 700])

    def program(engine: Engine) -> Any:
        x = secret_of(engine, (a * 2**20).astype(np.int64).astype(object), Format.of(2**9, 20))
        y = secret_of(engine, b, Format(0, 1000))
        free, exact = spent(engine, lambda: x / np.array([4.0, -0.5, 1]))
        once, third = spent(engine, lambda: x / np.array([3, -0.7, 1000]))
        assert exact.format.bound == 8 * (x.format.bound or 0)  # 2^20 fractional bits, and two more
        assert (free.rounds, exact.format.fraction) == (0, 22)
        assert (once.rounds, third.format.fraction) == (1, 20)
        found = {"exact": exact, "third": third, "secret": x / y, "integers": y / y[::-1], "left": 6 / y}
        found["half"] = y / 2
        return {name: value.reveal(name) for name, value in found.items()}

    found = compute_alike(n, program)
    np.testing.assert_array_equal(found["exact"], a / [4.0, -0.5, 1])
    np.testing.assert_array_equal(found["half"], b / 2)
    units = 2.0**-20 * (math.comb(n, (n - 1) // 2) + 2)
    np.testing.assert_allclose(found["third"], a / [3, -0.7, 1000], rtol=0, atol=2 * units)
    np.testing.assert_allclose(found["secret"], a / b, rtol=1e-9, atol=2 * units)
    np.testing.assert_allclose(found["integers"], b / b[::-1], rtol=1e-9, atol=2 * units)
    np.testing.assert_allclose(found["left"], 6 / b, rtol=1e-9, atol=2 * units)


def test_what_operators_refuse():
    def program(engine: Engine) -> Any:
        x = secret_of(engine, [3, 5], Format(20, 1 << 40))
        whole, residue = secret_of(engine, [3], Format(0, 9)), secret_of(engine, [3])
        before = engine.party.mesh.traffic.copy()
        for wrong in (0, 0.0, math.nan, math.inf, [1, 0]):
            with pytest.raises(ZeroDivisionError, match="divisor"):
                x / wrong
        with pytest.raises(TypeError, match="rescale"):
            whole / 3
        with pytest.raises(TypeError, match="divide by"):
            x / "3"
        with pytest.raises(PrecisionError, match=r"call divide\(a, b"):
            x / x
        with pytest.raises(PrecisionError, match="assume"):
            x / residue
        with pytest.raises(PrecisionError, match="tighten"):
            whole / 2.0**-130
        return engine.party.mesh.traffic == before

    assert compute_alike(3, program)


@pytest.mark.parametrize("n", [3, 7])
def test_the_root_of_zero(n):
    root = compute_alike(n, lambda e: sqrt(secret_of(e, [0, 4], Format(0, 2**20))).reveal("root"))
    np.testing.assert_allclose(root, [0, 2], atol=1e-8 if n == 3 else 1e-7)


def test_refusals():
    def program(engine: Engine) -> Any:
        x = secret_of(engine, [1, 2], Format(10, 2**20))
        residue = secret_of(engine, [1, 2])
        wide = secret_of(engine, [1, 2], Format(0, 1 << engine.room))
        before = engine.party.mesh.traffic.copy()
        for operation in (reciprocal, sqrt, inverse_sqrt):
            for wrong in (residue, wide):
                with pytest.raises(PrecisionError):
                    operation(wrong)
        with pytest.raises(PrecisionError, match="fractional bits at most"):
            divide(x, x, bound=2.0**20, fraction=30)
        with pytest.raises(ValueError, match="least"):
            reciprocal(x, least=0)
        return engine.party.mesh.traffic == before

    assert compute_alike(3, program)


@pytest.mark.parametrize(
    ("n", "rounds"),
    [
        (3, {"reciprocal": 25, "tight": 4, "divide": 26, "sqrt": 31, "inverse sqrt": 30, "by a root": 31}),
        (7, {"reciprocal": 30, "tight": 6, "divide": 31, "sqrt": 37, "inverse sqrt": 36, "by a root": 37}),
    ],
)
def test_costs(n, rounds):
    def program(engine: Engine) -> Any:
        x = secret_of(engine, np.arange(1, 1001), Format(20, 2**60))
        found = {}
        for name, action in {
            "reciprocal": lambda: reciprocal(x),
            "tight": lambda: reciprocal(x.assume(1.0), least=0.5),
            "divide": lambda: divide(x, x, bound=4, fraction=30),
            "sqrt": lambda: sqrt(x),
            "inverse sqrt": lambda: inverse_sqrt(x),
            "by a root": lambda: divide_by_sqrt(x, x, bound=4, fraction=30),
        }.items():
            cost, _ = spent(engine, action)
            found[name] = cost.rounds
        return found

    assert compute_alike(n, program) == rounds
