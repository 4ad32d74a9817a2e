"""Penalised quadratic problems on shares against coordinate descent in public."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import numpy as np
import pytest
from engine_helpers import compute_alike
from sklearn.datasets import load_breast_cancer

from fedstats.errors import EstimationError
from fedstats.regression import _exchange
from fedstats.regression._exchange import Problems, minimise
from protocols.engine import Engine
from protocols.errors import ProtocolError
from protocols.secret import SecretArray, public


class Revealer:
    """Opens what an analysis would, and notes labels."""

    def __init__(self) -> None:
        self.labels: list[str] = []

    def reveal(self, results: Mapping[str, SecretArray], part: int | None = None) -> dict[str, Any]:
        self.labels += results
        return {label: secret.reveal(f"{label}/{part}") for label, secret in results.items()}


def solved(A: np.ndarray, c: np.ndarray, l1: np.ndarray, l2: np.ndarray, n: int = 3) -> Any:
    """Return minimisers, signs, and how often it was looked whether states are settled."""

    def program(engine: Engine) -> Any:
        run = Revealer()
        problems = Problems(
            public(engine, A, 36).assume(1.1),
            public(engine, c, 36).assume(1.1),
            l1,
            l2,
            float(np.linalg.norm(A, axis=(1, 2)).max()),
        )
        x, states = minimise(run, problems, count())  # type: ignore[arg-type]
        assert set(run.labels) == {*_exchange.RESULT}
        return x.reveal("x"), states.sign.reveal("sign"), run.labels.count("settled")

    return compute_alike(n, program)


def violation(A: np.ndarray, c: np.ndarray, l1: np.ndarray, l2: np.ndarray, x: np.ndarray) -> float:
    """Return by how much the conditions of a minimum are missed."""
    gradient = c - np.einsum("kij,kj->ki", A, x) - l2 * x
    off = np.where(x != 0, np.abs(gradient - l1 * np.sign(x)), np.maximum(np.abs(gradient) - l1, 0))
    return float(off.max())


def test_nearly_collinear_columns_for_which_exchanges_of_all_would_cycle() -> None:
    """Radius, perimeter and area of a nucleus; the correlation matrix has an eigenvalue of 0.0003."""
    data = load_breast_cancer()
    Z = (data.data[:, :10] - data.data[:, :10].mean(axis=0)) / data.data[:, :10].std(axis=0)
    y = data.target - data.target.mean()
    kept = [np.arange(len(y)) % 3 != k for k in (0, 1, 3)]
    alphas = np.geomspace(0.3, 5e-4, 10)
    A = np.repeat([Z[rows].T @ Z[rows] / rows.sum() / 1.1 for rows in kept], 10, axis=0)
    c = np.repeat([Z[rows].T @ y[rows] / rows.sum() for rows in kept], 10, axis=0)
    l1 = np.tile(alphas, 3)[:, np.newaxis] * np.ones(10)
    x, sign, looks = solved(A, c, l1, 0 * l1)
    assert violation(A, c, l1, 0 * l1, x) < 1e-6
    np.testing.assert_array_equal(np.sign(x), sign)
    assert 1 <= looks < 40


def test_coefficients_without_penalty_are_never_zero_and_penalties_may_leave_nothing() -> None:
    chance = np.random.default_rng(0)
    X = chance.normal(size=(40, 4))
    A, c = (X.T @ X / 60)[np.newaxis].repeat(3, axis=0), np.array([[0.4, 0.3, -0.2, 1e-9]] * 3)
    l1 = np.array([[0.0, 0.1, 0.1, 0.1], [0.0, 1e9, 1e9, 1e9], [0.0, 0.0, 0.0, 0.0]])
    l2 = np.array([[0.0, 0.2, 0.2, 0.2], [0.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]])
    x, _, _ = solved(A, c, l1, l2, n=4)
    assert violation(A, c, l1, l2, x) < 1e-8
    assert np.count_nonzero(x[1]) == 1
    np.testing.assert_allclose(x[2], np.linalg.solve(A[2] + 0.5 * np.eye(4), c[2]), rtol=1e-7)


@pytest.mark.parametrize(
    ("least", "c", "message"),
    [
        (2.0**-24, 1.0, "are not determined: columns depend on one another"),
        (0.02, 1.0, "exceeds 16 stand"),
    ],
)
def test_what_is_not_determined_is_refused(least: float, c: float, message: str) -> None:
    A, zeros = np.diag([1.0, least])[np.newaxis], np.zeros((1, 2))
    with pytest.raises((EstimationError, ProtocolError), match=message):
        solved(A, np.array([[1.0, c]]), zeros, zeros)
