"""Inverses refined from those of similar matrices, against NumPy; matrices that are not similar; costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_helpers import compute, compute_alike, spent

from protocols.engine import Engine
from protocols.long import LongArray, narrow, sum_long
from protocols.refine import LARGEST, refined_inverse


def gram(k: int) -> np.ndarray:
    x = np.random.default_rng(k).normal(size=(4 * k + 3, k))
    x[:, -1] += 30 * x[:, 0]  # nearly a combination of others
    x /= np.sqrt(np.square(x).mean(axis=0))
    return x.T @ x / len(x)


def shared(engine: Engine, matrix: np.ndarray, bound: float, fraction: int) -> LongArray:
    ours = matrix if engine.point == 1 else np.zeros_like(matrix)
    return sum_long(engine, ours, bound=bound, fraction=fraction).assume(bound)


def refined(engine: Engine, A: np.ndarray, X: np.ndarray, **options: Any) -> LongArray | None:
    return refined_inverse(
        shared(engine, A, options.get("bound", 2.0**100), 200), shared(engine, X, 2.0**23, 40)
    )


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize(("k", "eigenvalue"), [(1, 0.3), (2, -0.25), (7, 0.2), (7, 0.0)])
def test_inverses_of_similar_matrices(n, k, eigenvalue):
    before, change = gram(k), gram(k)
    change[:] = np.linalg.cholesky(before) @ np.diag(np.linspace(eigenvalue / 2, eigenvalue, k))
    A = before - change @ np.linalg.cholesky(before).T  # A = (I − E)·before with these eigenvalues of E

    def program(engine: Engine) -> Any:
        found = refined(engine, A, np.linalg.inv(before))
        assert found is not None
        assert found.format.fraction == 72
        return narrow(found, bound=2.0**16, fraction=50).reveal("x")

    x = compute_alike(n, program)
    expected = np.linalg.inv(A)
    assert np.abs(x - expected).max() < 2.0**-31 * np.abs(expected).max()


@pytest.mark.parametrize("passes", [1, 3])
def test_fewer_passes(passes):
    A = gram(3)

    def program(engine: Engine) -> Any:
        matrix, inverse = shared(engine, 0.8 * A, 2.0**10, 100), shared(engine, np.linalg.inv(A), 2.0**23, 40)
        cost, found = spent(engine, lambda: refined_inverse(matrix, inverse, passes=passes))
        assert cost.rounds == 6 + passes
        return narrow(matrix @ found, bound=2.0, fraction=50).reveal("x")

    np.testing.assert_allclose(compute_alike(3, program), (1 - 0.2**2**passes) * np.eye(3), atol=2.0**-31)


@pytest.mark.parametrize("factor", [1.8, 0.2, -1.0, 2.0**60, 0.0])
def test_other_matrices_are_refused(factor):
    A = gram(4)
    assert compute(3, lambda engine: refined(engine, factor * A, np.linalg.inv(A))) == dict.fromkeys("abc")


def test_an_inverse_is_not_refined_for_ever():
    A = gram(3)

    def program(engine: Engine) -> float:
        matrix, inverse = shared(engine, A, 2.0**10, 100), shared(engine, np.linalg.inv(A), 2.0**23, 40)
        for count in range(10):
            found = refined_inverse(matrix, inverse)
            if found is None:
                return count
            inverse = found
        raise AssertionError

    assert set(compute(3, program).values()) == {np.log2(LARGEST / 2**23) // 2 + 1}


def test_cost():
    A = gram(6)

    def program(engine: Engine) -> tuple[Any, Any]:
        matrix, inverse = shared(engine, A, 2.0**10, 100), shared(engine, np.linalg.inv(A), 2.0**23, 40)
        near, _ = spent(engine, lambda: refined_inverse(matrix, inverse))
        far, _ = spent(engine, lambda: refined_inverse(matrix * 9, inverse))
        return near, far

    for near, far in compute(3, program).values():
        assert (near.rounds, far.rounds) == (12, 6)
        assert near.bytes_sent < 2 * 36 * (3 * 168 + 11 * 40) + 12 * 2 * 100
