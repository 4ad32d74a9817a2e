"""Systems of equations with secret coefficients against NumPy and exact fractions; refusals; costs."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from engine_helpers import compute, compute_alike, secret_of, spent
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.engine import Engine
from protocols.errors import PrecisionError, SingularError
from protocols.fixed import Format
from protocols.linalg import inverse, solve

UNIT = 30


def of_floats(engine: Engine, values: Any, bound: float = 64.0) -> Any:
    """Share an array of numbers with `UNIT` fractional bits."""
    scaled = np.round(np.asarray(values) * 2.0**UNIT).astype(np.int64).astype(object)
    return secret_of(engine, scaled, Format.of(bound, UNIT))


def exact_solution(left: list[list[int]], right: list[int]) -> list[Fraction]:
    """Solve by elimination in fractions."""
    rows = [[Fraction(x) for x in (*row, y)] for row, y in zip(left, right, strict=True)]
    for i in range(len(rows)):
        pivot = next(r for r in range(i, len(rows)) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for r in range(len(rows)):
            if r != i:
                rows[r] = [x - rows[r][i] * y for x, y in zip(rows[r], rows[i], strict=True)]
    return [row[-1] for row in rows]


def gram(k: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(4 * k + 3, k))
    return x.T @ x / len(x)


@pytest.mark.parametrize("n", [3, 4, 5])
@pytest.mark.parametrize(("k", "columns"), [(1, 1), (2, 3), (5, 1)])
@pytest.mark.parametrize("definite", [True, False])
def test_solutions(n, k, columns, definite):
    rng = np.random.default_rng(k)
    a = gram(k) if definite else rng.normal(size=(k, k)) - 3 * np.eye(k)
    b = rng.normal(size=(k, columns))
    if columns == 1:
        b = b[:, 0]

    def program(engine: Engine) -> Any:
        x = solve(of_floats(engine, a), of_floats(engine, b), bound=100, fraction=45, definite=definite)
        assert x.shape == b.shape
        assert x.format.fraction == 45
        return x.reveal("x")

    np.testing.assert_allclose(compute_alike(n, program), np.linalg.solve(a, b), rtol=0, atol=1e-7)


@settings(max_examples=12)
@given(st.data())
def test_integers_against_fractions(data):
    k = data.draw(st.integers(1, 4))
    entries = st.integers(-50, 50)
    left = data.draw(st.lists(st.lists(entries, min_size=k, max_size=k), min_size=k, max_size=k))
    right = data.draw(st.lists(entries, min_size=k, max_size=k))
    regular = abs(round(np.linalg.det(np.array(left, float)))) > 0

    def program(engine: Engine) -> Any:
        a, b = (secret_of(engine, v, Format(0, 50)) for v in (left, right))
        try:
            return solve(a, b, bound=2e6 * 50, fraction=40).reveal("x").tolist()
        except SingularError:
            return None

    found = compute_alike(3, program)
    if not regular:
        # With a right side within its columns' reach a singular system may look solvable.
        assert found is None or max(map(abs, found)) < 5e9
        return
    for x, exact in zip(found, exact_solution(left, right), strict=True):
        assert abs(Fraction(x) - exact) <= abs(exact) * Fraction(1, 10**6) + Fraction(1, 10**9)


@pytest.mark.parametrize("n", [3, 7])
def test_an_inverse_of_badly_scaled_columns(n):
    scale = np.array([1e-3, 1.0, 1e3, 30.0])
    a = np.round(gram(4, 3) * np.outer(scale, scale) * 2.0**40) / 2.0**40

    def program(engine: Engine) -> Any:
        integers = (a * 2.0**40).astype(np.int64).astype(object)
        shared = secret_of(engine, integers, Format.of(2**23, 40))
        return inverse(shared, bound=2**22, fraction=50, definite=True).reveal("inverse")

    found, expected = compute_alike(n, program), np.linalg.inv(a)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("definite", [True, False])
@pytest.mark.parametrize(
    "a",
    [
        np.zeros((2, 2)),
        np.ones((3, 3)),
        np.outer([1, 2, 3], [1, 2, 3]) + np.diag([1, 0, 0]),
        np.array([[1, 1], [1, 1 + 2.0**-28]]),
    ],
    ids=["zero", "rank one", "rank two", "nearly singular"],
)
def test_singular_matrices_are_refused(a, definite):
    def program(engine: Engine) -> str:
        with pytest.raises(SingularError) as caught:
            inverse(of_floats(engine, a), bound=1000, fraction=40, definite=definite)
        return str(caught.value)

    assert set(compute(3, program).values()) == {compute(3, program)["a"]}


def test_a_matrix_that_is_not_definite_is_refused_or_solved():
    a = np.diag([1.0, -1.0])

    def program(engine: Engine) -> Any:
        shared = of_floats(engine, a)
        with pytest.raises(SingularError):
            inverse(shared, bound=4, fraction=40, definite=True)
        return inverse(shared, bound=4, fraction=40).reveal("x")

    np.testing.assert_allclose(compute_alike(3, program), a, atol=1e-8)


def test_a_right_side_much_smaller_than_the_coefficients():
    def program(engine: Engine) -> Any:
        a = secret_of(engine, [[3 << 70, 1], [1, 1 << 70]], Format(0, 1 << 72))
        b = secret_of(engine, [3 << 40, 1 << 40], Format(50, 1 << 42))
        return solve(a.assume(2.0**72), b, bound=1, fraction=56, definite=True).reveal("x")

    np.testing.assert_allclose(compute_alike(3, program), 0, atol=1e-15)


def test_what_is_refused_before_anything_is_sent():
    def program(engine: Engine) -> Any:
        a = of_floats(engine, np.eye(2))
        wide = secret_of(engine, np.eye(2, dtype=int), Format(0, 1 << engine.room))
        elements = secret_of(engine, np.eye(2, dtype=int))
        before = engine.party.mesh.traffic.copy()
        for wrong in (a[0], a[:1], a[:0, :0]):
            with pytest.raises(ValueError, match="no system"):
                inverse(wrong, bound=1, fraction=3)
        with pytest.raises(ValueError, match="fractional"):
            inverse(a, bound=1, fraction=57)
        with pytest.raises(PrecisionError, match="tighten"):
            inverse(wide, bound=1, fraction=3)
        with pytest.raises(PrecisionError, match="assume"):
            inverse(elements, bound=1, fraction=3)
        with pytest.raises(PrecisionError):
            inverse(a, bound=2.0**90, fraction=50)
        return engine.party.mesh.traffic == before

    assert compute_alike(3, program)


@pytest.mark.parametrize(("n", "rounds"), [(3, 20), (4, 21), (5, 24)])
def test_rounds(n, rounds):
    def program(engine: Engine) -> int:
        a = of_floats(engine, gram(2))
        cost, _ = spent(engine, lambda: inverse(a, bound=100, fraction=40, definite=True))
        return cost.rounds

    assert compute_alike(n, program) == rounds


@pytest.mark.slow
def test_a_hundred_unknowns():
    a, b = gram(100), np.arange(100.0) / 10

    def program(engine: Engine) -> Any:
        return solve(
            of_floats(engine, a), of_floats(engine, b), bound=1e4, fraction=40, definite=True
        ).reveal("x")

    np.testing.assert_allclose(compute_alike(3, program), np.linalg.solve(a, b), atol=1e-5)
