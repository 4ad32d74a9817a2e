"""Cholesky factors of secret matrices against NumPy; refusals that tell one bit; costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_helpers import compute, compute_alike, secret_of, spent
from transport_helpers import connect_all

from protocols.cholesky import cholesky
from protocols.engine import Engine
from protocols.errors import PrecisionError, SingularError
from protocols.fixed import Format
from protocols.party import Party
from protocols.testing import run_meshes
from transport.loopback import loopback_federation

UNIT = 30


def of_floats(engine: Engine, values: Any, bound: float = 8.0) -> Any:
    """Share an array of numbers with `UNIT` fractional bits."""
    scaled = np.round(np.asarray(values) * 2.0**UNIT).astype(np.int64).astype(object)
    return secret_of(engine, scaled, Format.of(bound, UNIT))


def gram(k: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(4 * k + 3, k))
    return np.round(x.T @ x / len(x) * 2.0**UNIT) / 2.0**UNIT


@pytest.mark.parametrize("n", [3, 4, 5, 7])
@pytest.mark.parametrize("k", [1, 2, 6])
def test_factors(n, k):
    a = gram(k, k)

    def program(engine: Engine) -> Any:
        lower = cholesky(of_floats(engine, a), least=2.0**-20, fraction=34)
        assert lower.format.fraction == 34
        return lower.reveal("factor")

    found = compute_alike(n, program)
    np.testing.assert_allclose(found, np.linalg.cholesky(a), rtol=0, atol=1e-7 if n == 7 else 1e-8)
    assert np.array_equal(np.triu(found, 1), np.zeros((k, k)))


def test_only_the_lower_triangle_is_read_and_columns_may_be_badly_scaled():
    scale = np.array([0.1, 1.0, 100.0, 7.0])
    a = gram(4, 3) * np.outer(scale, scale)
    a = np.round(a * 2.0**UNIT) / 2.0**UNIT

    def program(engine: Engine) -> Any:
        spoilt = a + np.triu(np.ones((4, 4)), 1)
        shared = of_floats(engine, spoilt, 2.0**15)
        return cholesky(shared, least=2.0**-24, fraction=30).reveal("factor")

    np.testing.assert_allclose(compute_alike(3, program), np.linalg.cholesky(a), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize(
    "a",
    [
        np.zeros((2, 2)),
        np.ones((3, 3)),
        np.diag([1.0, -1.0, 1.0]),
        np.array([[0.0, 1.0], [1.0, 0.0]]),
        np.diag([1.0, 1.0, 2.0**-11]),
        np.array([[1, 1], [1, 1 + 2.0**-28]]),
    ],
    ids=["zero", "rank one", "indefinite", "no pivot", "small pivot", "nearly singular"],
)
def test_all_that_is_said_of_a_refused_matrix_is_that_it_is_refused(a):
    def program(engine: Engine) -> tuple[str, int, int]:
        shared = of_floats(engine, a)

        def refused() -> str:
            with pytest.raises(SingularError) as caught:
                cholesky(shared, least=2.0**-10, fraction=30)
            return str(caught.value)

        cost, message = spent(engine, refused)
        return message, cost.rounds, cost.bytes_sent

    ours = compute(3, program)
    message, rounds, sent = ours["a"]
    assert all(told == (message, rounds, told[2]) for told in ours.values())
    assert "pivot is below" in message
    # As many messages as for a matrix that is refused for another reason.
    other = compute(3, lambda engine: program_of(engine, np.eye(len(a)) * 2.0**-12))["a"]
    assert (rounds, sent) == other


def program_of(engine: Engine, a: np.ndarray) -> tuple[int, int]:
    """Return what it costs to refuse a matrix."""

    def refused() -> None:
        with pytest.raises(SingularError):
            cholesky(shared, least=2.0**-10, fraction=30)

    shared = of_floats(engine, a)
    cost, _ = spent(engine, refused)
    return cost.rounds, cost.bytes_sent


def test_a_pivot_just_above_the_least_passes():
    def program(engine: Engine) -> Any:
        a = np.diag([1.0, 2.0**-10 * (1 + 2.0**-18)])
        return cholesky(of_floats(engine, a), least=2.0**-10, fraction=34).reveal("factor")

    np.testing.assert_allclose(np.diag(compute_alike(3, program)), [1, 2.0**-5 * (1 + 2.0**-19)], rtol=1e-7)


def test_what_is_refused_before_anything_is_sent():
    def program(engine: Engine) -> Any:
        a = of_floats(engine, np.eye(2))
        elements = secret_of(engine, np.eye(2, dtype=int))
        wide = secret_of(engine, np.eye(2, dtype=int), Format(0, 1 << engine.room))
        before = engine.party.mesh.traffic.copy()
        for wrong in (a[0], a[:1], a[:0, :0]):
            with pytest.raises(ValueError, match="no Cholesky factor"):
                cholesky(wrong, least=0.1, fraction=3)
        for least in (0.0, 2.0**-31, 9.0):
            with pytest.raises(ValueError, match="least pivot"):
                cholesky(a, least=least, fraction=3)
        for wrong, fraction in ((elements, 3), (wide, 3), (a, 60), (a, 130)):
            with pytest.raises(PrecisionError):
                cholesky(wrong, least=0.1, fraction=fraction)
        return engine.party.mesh.traffic == before

    assert compute_alike(3, program)


@pytest.mark.parametrize(("n", "k", "rounds"), [(3, 2, 62), (3, 8, 64), (5, 2, 68)])
def test_rounds(n, k, rounds):
    def program(engine: Engine) -> int:
        a = of_floats(engine, gram(k))
        return spent(engine, lambda: cholesky(a, least=2.0**-20, fraction=30))[0].rounds

    assert compute_alike(n, program) == rounds


def test_over_grpc(tmp_path):
    a = gram(3)

    def program(party: Party) -> Any:
        return cholesky(of_floats(Engine(party), a), least=2.0**-20, fraction=34).reveal("factor")

    meshes = connect_all(loopback_federation("abc", tmp_path))
    for found in run_meshes(meshes, program).values():
        np.testing.assert_allclose(found, np.linalg.cholesky(a), rtol=0, atol=1e-8)


@pytest.mark.slow
def test_a_hundred_columns():
    a = gram(100)

    def program(engine: Engine) -> Any:
        return cholesky(of_floats(engine, a), least=2.0**-10, fraction=30).reveal("factor")

    found = compute(3, program, timeout=300)["a"]
    np.testing.assert_allclose(found, np.linalg.cholesky(a), rtol=0, atol=1e-7)
