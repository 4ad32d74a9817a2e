"""Long numbers against Python's fractions: exactness, shapes, refusals, conversions, costs."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from engine_helpers import compute, compute_alike, exactly, spent
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import long
from protocols.engine import Engine
from protocols.errors import PrecisionError, RangeError
from protocols.long import LONG, LongArray, lengthen, multiply, narrow, share_long, sum_long
from protocols.secret import SecretArray


def fractions(values: Any) -> Any:
    """Return numbers as fractions."""
    array = np.asarray(values)
    out = np.empty(array.size, object)
    out[:] = [Fraction(v) for v in array.ravel().tolist()]
    return out.reshape(array.shape)


def shared(engine: Engine, values: Any, bound: float = 2.0**64, fraction: int = 64) -> LongArray:
    """Share numbers of which party a holds all, as one array."""
    array = np.asarray(values, float)
    return sum_long(engine, array if engine.point == 1 else 0 * array, bound=bound, fraction=fraction)


numbers = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 2.0**-60, -(2.0**60), 2.0**63, 0.5]), st.floats(-1e6, 1e6)
)


@settings(max_examples=8, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=6), st.lists(numbers, min_size=1, max_size=1))
def test_statistics_are_exact(x, y):
    def program(engine: Engine) -> Any:
        a, b = shared(engine, x, fraction=128), shared(engine, y, fraction=128)
        n = len(x)
        found = {
            "sum": a + b,
            "difference": 3 - a - b * 0.1,
            "variance": n * (a * a).sum() - a.sum() * a.sum(),
            "product": a * b,
            "outer": a.reshape(-1, 1) @ a.reshape(1, -1),
            "inner": a @ a,
        }
        return {name: exactly(value) for name, value in found.items()}

    found = compute_alike(3, program)
    # As shared: rounded to 2^−128, of which these floats are multiples or tiny.
    a, b = (np.array([Fraction(round(Fraction(v) * 2**128), 2**128) for v in z], object) for z in (x, y))
    expected = {
        "sum": a + b,
        "difference": 3 - a - b * Fraction(0.1),
        "variance": len(x) * (a * a).sum() - a.sum() ** 2,
        "product": a * b,
        "outer": np.outer(a, a),
        "inner": a @ a,
    }
    for name, value in expected.items():
        assert np.all(found[name] == value), name


@pytest.mark.parametrize("n", [3, 4, 5, 10])
def test_fourth_powers_of_large_numbers_with_many_places(n):
    x = np.array([2.0**63, -(2.0**40) / 3, 2.0**-60, 0.0])

    def program(engine: Engine) -> Any:
        a = share_long(engine, x, bound=2.0**64, fraction=64)
        deviation = n * a - a.sum(axis=0)
        return exactly((deviation * deviation * deviation * deviation).sum(axis=0)), exactly(a)

    fourth, a = compute_alike(n, program)
    deviation = n * a - a.sum(axis=0)
    assert np.all(fourth == (deviation**4).sum(axis=0))


def test_shapes():
    x = np.arange(24.0).reshape(2, 3, 4)

    def program(engine: Engine) -> Any:
        a = shared(engine, x)
        views = {
            "index": a[1, ..., ::2],
            "new": a[:, np.newaxis, 0],
            "reshape": a.reshape(6, -1),
            "T": a.T,
            "transpose": a.transpose(1, 0, 2),
            "broadcast": a[0, 0].broadcast_to((2, 4)),
            "sum": a.sum(),
            "sum axes": a.sum(axis=(0, -1)),
            "ravel": a.ravel(),
            "concatenate": long.concatenate([a, a * 0.5], axis=-1),
            "stack": long.stack([a, -a], axis=1),
            "matmul": a @ a.transpose(0, 2, 1),
            "vector": a @ a[0, 0],
            "public": np.ones((5, 3)) @ a,
            "empty": a[:0] * a[:0],
            "empty sum": a[:0].sum(axis=0),
        }
        assert (len(a), a.ndim, a.size) == (2, 3, 24)
        return {name: exactly(view) for name, view in views.items()}

    found, f = compute_alike(3, program), fractions(x)
    expected = {
        "index": f[1, ..., ::2],
        "new": f[:, np.newaxis, 0],
        "reshape": f.reshape(6, -1),
        "T": f.T,
        "transpose": f.transpose(1, 0, 2),
        "broadcast": np.broadcast_to(f[0, 0], (2, 4)),
        "sum": f.sum(),
        "sum axes": f.sum(axis=(0, -1)),
        "ravel": f.ravel(),
        "concatenate": np.concatenate([f, f / 2], axis=-1),
        "stack": np.stack([f, -f], axis=1),
        "matmul": x @ x.transpose(0, 2, 1),
        "vector": x @ x[0, 0],
        "public": np.ones((5, 3)) @ x,
        "empty": f[:0],
        "empty sum": np.zeros((3, 4)),
    }
    for name, value in expected.items():
        assert found[name].shape == np.shape(value), name
        assert np.all(found[name] == value), name


@pytest.mark.parametrize("n", [3, 5, 10])
def test_to_the_field_and_back(n):
    x = np.array([1.0, -1.5, 2.0**16, -(2.0**16), 2.0**-40, 0.0])

    def program(engine: Engine) -> Any:
        a = shared(engine, x, fraction=50)
        short = narrow(a, bound=2.0**16, fraction=30)
        exact = narrow(a, bound=2.0**16, fraction=50)
        back = exactly(lengthen(exact))
        rounded = exactly(a.rescale(8))
        product = exactly(multiply(a, a, fraction=64))
        return short.reveal("short"), exact.reveal("exact"), back, rounded, product, engine.prss.count

    short, exact, back, rounded, product, count = compute_alike(n, program)
    assert np.max(np.abs(short - x)) < (count + 1) / 2 * 2.0**-30
    np.testing.assert_array_equal(exact, x)
    assert np.all(back == fractions(x))
    assert np.max(np.abs(rounded - fractions(x))) < (count + 1) / 2 * 2.0**-8
    assert np.max(np.abs(product - fractions(x) ** 2)) < (count + 1) / 2 * 2.0**-64


def test_rounding_is_unbiased():
    def program(engine: Engine) -> Any:
        return exactly(shared(engine, np.full(4000, 0.5)).rescale(0))

    values = compute_alike(3, program).astype(float)
    assert abs(values.mean() - 0.5) < 0.05  # five standard errors
    assert set(values) <= {-1.0, 0.0, 1.0, 2.0}


@pytest.mark.parametrize("n", [3, 4, 5])
def test_comparisons(n):
    x = np.array([0.0, 2.0**-64, -(2.0**-64), 2.0**64, -(2.0**64), 1.0, 5.0])

    def program(engine: Engine) -> Any:
        a = shared(engine, x)
        found = {"<": a < 1, ">": a > 0.0, "<=": a <= a[5], ">=": a >= 1.0, "==": a == 0, "!=": a != a[5]}
        return {name: value.reveal(name) for name, value in found.items()}

    found = compute_alike(n, program)
    expected = {"<": x < 1, ">": x > 0, "<=": x <= 1, ">=": x >= 1, "==": x == 0, "!=": x != 1}
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


BAD: list[tuple[Any, float, int]] = [
    ([1.0, np.nan], 2.0, 10),
    ([np.inf, 1.0], 2.0, 10),
    ([1.0, -2.1], 2.0, 10),
    ([1 << 70], 2.0**64, 0),
]


@pytest.mark.parametrize(("values", "bound", "fraction"), BAD)
def test_local_values_that_are_refused(values, bound, fraction):
    def program(engine: Engine) -> Any:
        before = engine.party.mesh.traffic.copy()
        with pytest.raises(RangeError, match="nothing was sent"):
            share_long(engine, np.array(values), bound=bound, fraction=fraction)
        assert engine.party.mesh.traffic == before

    compute(3, program)


def test_what_does_not_fit_is_refused_before_anything_is_sent():
    def program(engine: Engine) -> Any:
        a = shared(engine, [1.0, 2.0])
        before = engine.party.mesh.traffic.copy()
        with pytest.raises(PrecisionError, match="rescale"):
            a * 2.0**1000 * 2.0**1000
        with pytest.raises(PrecisionError):
            share_long(engine, np.ones(2), bound=2.0**600, fraction=700)
        with pytest.raises(PrecisionError):
            a * 1e-300 * 1e-300 + 1
        wide = long.LongFormat(0, 1 << (long.capacity(engine, LONG) // 2 + 1))
        with pytest.raises(PrecisionError):
            LongArray(engine, a.shares, wide) * LongArray(engine, a.shares, wide)
        with pytest.raises(PrecisionError):
            lengthen(SecretArray(engine, engine.prss.uniform("x", 2)))
        with pytest.raises(TypeError):
            a + SecretArray(engine, engine.prss.uniform("y", 2))
        with pytest.raises(TypeError):
            bool(a[0])
        with pytest.raises(TypeError):
            np.asarray(a)
        assert repr(a) == "<LongArray of shape (2,)>"
        assert engine.party.mesh.traffic == before

    compute(3, program)


def test_costs():
    def program(engine: Engine) -> Any:
        x = np.ones(1000)
        a = shared(engine, x)
        found = {}
        for name, action in {
            "share": lambda: share_long(engine, x, bound=1, fraction=64),
            "product": lambda: a * a,
            "matrix product": lambda: a.reshape(10, 100) @ a.reshape(100, 10),
            "narrow": lambda: narrow(a, bound=1, fraction=30),
            "negative": lambda: a < 0,
            "zero": lambda: a == 0,
        }.items():
            cost, _ = spent(engine, action)
            found[name] = cost.rounds, cost.bytes_sent
        return found

    found = compute(3, program)["a"]
    number = 8 * len(LONG)
    assert number == 168
    expected = {
        "share": (1, 1000 * number),
        "product": (1, 2000 * number),
        "matrix product": (1, 200 * number),
        "narrow": (1, 2000 * number),
        "negative": (12, 2000 * number + 82_000),
        "zero": (11, 2000 * number + 50_000),
    }
    for name, (rounds, bytes_) in expected.items():
        assert found[name][0] == rounds, name
        assert bytes_ * 0.9 <= found[name][1] <= bytes_ + 1000, (name, found[name])
