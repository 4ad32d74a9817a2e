"""Secret floats against NumPy: errors over many magnitudes, zeros, undefined results, refusals, costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from engine_helpers import compute, compute_alike, secret_of, spent
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import floating as fl
from protocols.engine import Engine
from protocols.fixed import Format
from protocols.floating import SecretFloat, fixed, floating, maximum, minimum, sqrt, where
from protocols.long import sum_long
from protocols.reveal import reveal

#: Relative error of one operation that is stated, and of opening with so many digits.
ERROR = 2.0**-40
DIGITS = 44

Formula = Callable[..., Any]


def secret(engine: Engine, values: Any) -> SecretFloat:
    """Share numbers of which party a holds all, exactly, and make them floats."""
    array = np.asarray(values, float)
    held = array if engine.point == 1 else np.zeros(array.shape)
    return floating(sum_long(engine, held, bound=2.0**70, fraction=140))


def computed(n: int, formulas: dict[str, Formula], *operands: Any) -> dict[str, Any]:
    """Compute formulas of secrets, and open them together."""

    def program(engine: Engine) -> Any:
        secrets = [secret(engine, x) for x in operands]
        return reveal(engine, {name: f(*secrets) for name, f in formulas.items()}, digits=DIGITS)

    return compute_alike(n, program)


def assert_close(found: Any, expected: Any, scale: Any = None, error: float = ERROR) -> None:
    """Require a relative error, to the results or to something larger; NaN and infinite are undefined."""
    expected = np.asarray(expected)
    undefined = ~np.isfinite(expected)
    np.testing.assert_array_equal(np.isnan(found), undefined)
    scale = np.abs(expected) if scale is None else np.broadcast_to(scale, expected.shape)
    excess = np.abs(found - expected) > error * scale
    assert not np.any(excess & ~undefined), (found, expected)


X = np.array([1.5, -2.25, 0.0, 2.0**-60, 2.0**60, -3e17, 8.0, 1 / 3, -1.0, 1e-12])
Y = np.array([3.0, -2.25, 0.0, -(2.0**-60), 2.0**-20, 7.7, 0.0, -1e9, 4.0, 1e-12])

FORMULAS: dict[str, Formula] = {
    "x": lambda x, y: x,
    "product": lambda x, y: x * y,
    "quotient": lambda x, y: x / y,
    "root": lambda x, y: sqrt(x),
    "negative": lambda x, y: -x,
    "absolute": lambda x, y: abs(x),
    "cube": lambda x, y: x**3,
    "inverse": lambda x, y: y**-1,
    "power": lambda x, y: y**1.5,
    "public": lambda x, y: 0.1 * x / 7,
    "public inverse": lambda x, y: 2 / y,
    "larger": lambda x, y: maximum(x, y),
    "smaller": lambda x, y: minimum(x, y),
    "powers": lambda x, y: (x * x * x * x) / (y * y * y),
}


@pytest.mark.parametrize("n", [3, 5])
def test_operations_keep_a_relative_error(n):
    found = computed(n, FORMULAS, X, Y)
    with np.errstate(all="ignore"):
        for name, formula in FORMULAS.items():
            assert_close(found[name], formula(X, Y))


@pytest.mark.parametrize("n", [4, pytest.param(10, marks=pytest.mark.slow)])
def test_sums_have_an_error_relative_to_the_larger_operand(n):
    found = computed(n, {"difference": lambda x, y: x - y, "quotient": lambda x, y: x / y}, X, Y)
    assert_close(found["difference"], X - Y, np.maximum(np.abs(X), np.abs(Y)))
    np.testing.assert_array_equal(found["difference"][[1, 2, 9]], 0)  # what is alike leaves exactly nothing
    with np.errstate(all="ignore"):
        assert_close(found["quotient"], X / Y)


def test_zeros_are_negligible_beside_numbers_of_any_magnitude():
    x = np.array([2.0**-60, 2.0**60, 0.0, 0.0])

    def program(engine: Engine) -> Any:
        s = secret(engine, x)
        tiny, zero = s * s * s * s * s * s * s * s, s[2:3]
        for _ in range(3):
            tiny = tiny * 2.0**-100
        found = {"tiny": tiny + zero, "beside": zero - tiny, "nothing": (zero + zero) * s, "ratio": zero / s}
        return reveal(engine, found, digits=DIGITS)

    found = compute_alike(3, program)
    assert_close(found["tiny"], x**8 * 2.0**-300)
    assert_close(found["beside"], -(x**8) * 2.0**-300)
    np.testing.assert_array_equal(found["nothing"], 0)
    np.testing.assert_array_equal(found["ratio"], [0, 0, np.nan, np.nan])


def test_comparisons():
    def program(engine: Engine) -> Any:
        x, y = secret(engine, X), secret(engine, Y)
        nothing = x / (x - x)
        found = {
            "<": x < y,
            ">": x > y,
            "<=": x <= y,
            ">=": x >= y,
            "public": x > 1.0,
            "undefined": nothing <= 1,
        }
        return reveal(engine, found)

    found = compute_alike(3, program)
    expected = {"<": X < Y, ">": X > Y, "<=": X <= Y, ">=": X >= Y, "public": X > 1, "undefined": -np.inf > X}
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_one_formula_for_both_kinds():
    def welch(m1: Any, v1: Any, m2: Any, v2: Any) -> Any:
        return (m1 - m2) / sqrt(v1 / 12 + v2 / 7)

    def guarded(m1: Any, v1: Any, m2: Any, v2: Any) -> Any:
        return where(v1 > v2, m1 / v1, 0 * m1)

    operands = [
        np.array(z) for z in ([1.5, 1e-9, -3e6], [2.0, 1e-20, 0.0], [1.25, 2e-9, 5.0], [0.5, 1e-19, 1e9])
    ]
    found = computed(3, {"t": welch, "g": guarded}, *operands)
    assert_close(found["t"], welch(*operands), error=2.0**-38)
    with np.errstate(all="ignore"):
        assert_close(found["g"], guarded(*operands))


def test_shapes_and_sums():
    x = np.array([[1.0, -2.0, 3.5], [1e6, 0.0, -1e6]])

    def program(engine: Engine) -> Any:
        s = secret(engine, x)
        found = {
            "index": s[1, ::2],
            "reshape": s.reshape(-1),
            "T": s.T,
            "broadcast": s * s[0],
            "column": s / s[:, :1],
            "total": s.sum(),
            "rows": s.sum(axis=1),
            "columns": s.sum(axis=0),
            "stack": fl.stack([s, 2 * s]),
            "concatenate": fl.concatenate([s, s[:1] / s[1:]]),
            "empty": s[:0] * 2,
            "empty sum": s[:0].sum(axis=0),
        }
        assert repr(s) == "<SecretFloat of shape (2, 3)>"
        return reveal(engine, found, digits=DIGITS)

    found = compute_alike(3, program)
    with np.errstate(all="ignore"):
        expected = {
            "index": x[1, ::2],
            "reshape": x.reshape(-1),
            "T": x.T,
            "broadcast": x * x[0],
            "column": x / x[:, :1],
            "stack": np.stack([x, 2 * x]),
            "concatenate": np.concatenate([x, x[:1] / x[1:]]),
            "empty": x[:0],
            "empty sum": np.zeros(3),
        }
    for name, value in expected.items():
        assert found[name].shape == value.shape
        assert_close(found[name], value)
    assert_close(found["total"], x.sum(), 1e6)
    assert_close(found["rows"], x.sum(axis=1), 1e6)
    assert_close(found["columns"], x.sum(axis=0), 1e6)


@settings(max_examples=6, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-(2.0**60), 2.0**60, allow_subnormal=False), st.integers(-60, 60), st.booleans()),
        min_size=1,
        max_size=5,
    )
)
def test_random_magnitudes(cases):
    x = np.array([m for m, _, _ in cases])
    y = np.array([(-1.0) ** s * 2.0**e for _, e, s in cases])
    # As shared.
    x = np.round(x * 2.0**60) / 2.0**60
    found = computed(
        3, {"q": lambda x, y: x / y, "s": lambda x, y: x + y, "h": lambda x, y: sqrt(x * x)}, x, y
    )
    assert_close(found["q"], x / y)
    assert_close(found["s"], x + y, np.maximum(np.abs(x), np.abs(y)))
    assert_close(found["h"], np.abs(x))


def test_fixed_point_and_other_results_open_together():
    def program(engine: Engine) -> Any:
        x = secret_of(engine, [3 << 20, -5, 0], Format(20, 1 << 40))
        f = floating(x)
        return reveal(engine, {"a": f, "b": x, "c": 1 / f, "d": x < 0}, digits=30)

    found = compute_alike(3, program)
    np.testing.assert_array_equal(found["a"], [3, -5 * 2.0**-20, 0])
    np.testing.assert_array_equal(found["b"], [3, -5 * 2.0**-20, 0])
    assert_close(found["c"], [1 / 3, -(2.0**20) / 5, np.inf], error=2.0**-30)
    np.testing.assert_array_equal(found["d"], [0, 1, 0])


@pytest.mark.parametrize("n", [3, 5])
def test_back_to_fixed_point(n):
    x = np.array([1.5, -1e6, 0.0, 2.0**-40, -(2.0**-70), 2.0**-100, 3.0, 2.0**60, 7e-9])

    def program(engine: Engine) -> Any:
        s = secret(engine, x)
        costs, found = [], []
        for y, least in ((s, None), (s[:5], 2.0**-70), (s - s * 0.5, None)):
            cost, z = spent(engine, partial(fixed, y, bound=2.0**60, fraction=70, least=least))
            costs.append(cost.rounds)
            found.append(floating(z))
        with pytest.raises(ValueError, match="last place"):
            fixed(s, bound=1, fraction=10, least=2.0**-11)
        return costs, reveal(engine, {str(i): y for i, y in enumerate(found)}, digits=DIGITS)

    costs, found = compute_alike(n, program)
    unit = {3: 3, 5: 7}[n] * 2.0**-70
    for y, expected in zip(found.values(), (x, x[:5], x / 2), strict=True):
        assert np.all(np.abs(y - expected) <= unit + ERROR * np.abs(expected))
    if n == 3:
        assert costs == [12, 5, 25]


def test_what_is_opened_has_the_stated_digits():
    x = np.array([1 / 3, 2 / 3, -1 / 7, 1e10 / 9])

    def program(engine: Engine) -> Any:
        return reveal(engine, {"x": secret(engine, x)}, digits=10)["x"]

    m, _ = np.frexp(compute_alike(3, program))
    np.testing.assert_array_equal(m, np.round(np.frexp(x)[0] * 1024) / 1024)


def test_refusals():
    def program(engine: Engine) -> Any:
        x = secret(engine, [1.0, 2.0])
        before = engine.party.mesh.traffic.copy()
        for wrong in (lambda: bool(x), lambda: np.asarray(x), lambda: x == 1.0):
            with pytest.raises(TypeError):
                wrong()
        for bad in (np.nan, np.inf):
            with pytest.raises(ValueError, match="finite"):
                x * bad
        with pytest.raises(ValueError, match="half"):
            x**0.3
        with pytest.raises(ValueError, match="bits"):
            reveal(engine, {"x": x}, digits=60)
        assert engine.party.mesh.traffic == before

    compute(3, program)


#: Rounds for three and for five parties; bytes that party a sends for an entry, for three.
COSTS = {
    "floating": (15, 17, 1940),
    "floating wide": (17, 19, 3570),
    "times": (1, 1, 161),
    "quotient": (7, 7, 1122),
    "sqrt": (7, 7, 1122),
    "plus": (11, 14, 950),
    "normalise": (13, 15, 1450),
    "root of a quotient": (20, 22, 2570),
    "less": (22, 27, 1090),
    "where": (2, 2, 200),
    "reveal": (21, 23, 1020),
    "power of two": (0, 0, 0),
}


@pytest.mark.parametrize("n", [3, 5])
def test_costs(n):
    size = 200

    def program(engine: Engine) -> Any:
        numbers = np.arange(1.0, size + 1)
        x = sum_long(engine, numbers if engine.point == 1 else 0 * numbers, bound=2.0**64, fraction=64)
        wide, bit = x * x * x * x, x > 5.0
        f = floating(x)
        total, ratio = f + f, f / f
        actions: dict[str, Callable[[], Any]] = {
            "floating": lambda: floating(x),
            "floating wide": lambda: floating(wide),
            "times": lambda: f * f,
            "quotient": lambda: f / f,
            "sqrt": lambda: sqrt(f),
            "plus": lambda: f + ratio,
            "normalise": total.normalised,
            "root of a quotient": lambda: sqrt(ratio),
            "less": lambda: f < total,
            "where": lambda: where(bit, f, total),
            "reveal": lambda: reveal(engine, {"f": f}),
            "power of two": lambda: -0.25 * f,
        }
        costs = {name: spent(engine, action)[0] for name, action in actions.items()}
        return {name: (cost.rounds, cost.bytes_sent / size) for name, cost in costs.items()}

    found = compute(n, program)["a"]
    assert {name: rounds for name, (rounds, _) in found.items()} == {
        name: expected[0 if n == 3 else 1] for name, expected in COSTS.items()
    }
    if n == 3:
        for name, (_, _, most) in COSTS.items():
            assert most * 0.9 <= found[name][1] <= most, name
