"""Adjugates of secret correlation matrices against NumPy, and their rounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from engine_helpers import compute_alike, secret_of, spent

from protocols.adjugate import adjugate
from protocols.engine import Engine
from protocols.fixed import Format

UNIT = 40


def correlations(k: int) -> np.ndarray:
    """Far from singular, near to it, and singular."""
    random = np.random.default_rng(k)
    x = random.normal(size=(5, 3 * k, k))
    x[1, :, 1] = x[1, :, 0] + 0.05 * x[1, :, 1]
    x[2, :, 0] = -x[2, :, 1]
    x[3] = x[3, :, :1]
    return np.stack([np.corrcoef(one, rowvar=False) for one in x])


@pytest.mark.parametrize(("n", "k"), [(3, 2), (3, 3), (3, 4), (3, 7), (4, 3), (5, 5), (7, 3)])
def test_cofactors(n: int, k: int) -> None:
    M = correlations(k)

    def program(engine: Engine) -> Any:
        shared = secret_of(
            engine, np.round(M * 2.0**UNIT).astype(np.int64).astype(object), Format.of(1.01, UNIT)
        )
        cost, found = spent(engine, lambda: adjugate(shared))
        return found.reveal("adjugate"), cost.rounds, found.format.fraction

    found, rounds, fraction = compute_alike(n, program)
    assert fraction >= 33
    expected = np.empty_like(M)
    for i, j in np.ndindex(k, k):
        minor = np.delete(np.delete(M, j, axis=1), i, axis=2)
        expected[:, i, j] = (-1) ** (i + j) * np.linalg.det(minor)
    units = math.comb(k, k // 2) ** 2 * (math.comb(n, (n - 1) // 2) + 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=units * 2.0**-fraction)
    # The matrix is rounded first, where it has more digits than its minors.
    assert rounds == {2: 0, 3: 1}.get(k, 2 * (k - 2)) + (fraction < UNIT)
