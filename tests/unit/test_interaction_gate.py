"""The decision of a gated scan of interactions, of far more samples than there are in other tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_helpers import compute_alike
from scipy import stats

from fedstats.gwas import interaction_shares
from fedstats.gwas.interaction_shares import Contribution, Model
from protocols.engine import Engine

VARIANTS = 400


@pytest.mark.parametrize(("parties", "modifiers"), [(3, 1), (3, 4), (5, 2), (7, 1)])
@pytest.mark.parametrize("n", [300, 1_000_000])
def test_decisions(parties: int, modifiers: int, n: int) -> None:
    """From one copy to all of them; statistics within a thousandth of the threshold may go either way."""
    size, threshold = 1 + modifiers, 5e-8
    random = np.random.default_rng(parties + modifiers + n)
    df = n - 2 - 2 * modifiers
    length = np.exp(random.uniform(np.log(0.7), np.log(2 * n), VARIANTS))[:, np.newaxis]
    lengths = np.sqrt(np.clip(length * random.uniform(0.2, 1.5, (VARIANTS, size)), 0.5, 3.9 * n))
    x = random.normal(size=(VARIANTS, 3 * size, size)) + 0.4 * random.normal(size=(VARIANTS, 3 * size, 1))
    C = np.einsum("vai,vaj->vij", x, x)
    C /= np.sqrt(np.einsum("vii,vjj->vij", C, C))
    # t of all terms, of which those near the threshold are of interest.
    limit = float(stats.t.isf(threshold / 2, df))
    t = limit * (1 + random.choice([-0.3, -0.01, -0.002, 0.002, 0.01, 0.3], (VARIANTS, size)))
    inverse = np.linalg.inv(C)
    scaled = t * np.sqrt(np.einsum("vii->vi", inverse))
    b = scaled / np.sqrt(df + np.einsum("vi,vij,vj->v", scaled, C, scaled))[:, np.newaxis]
    u = np.einsum("vij,vj->vi", C, b)
    S = C * lengths[:, :, np.newaxis] * lengths[:, np.newaxis]
    upper = np.triu_indices(size)
    # One site has it all; nothing is left to covariates.
    products = np.stack([np.zeros_like(u), u * lengths], axis=2)
    least = size * interaction_shares.LEAST / interaction_shares.COLLINEAR
    determinant = np.linalg.det(C)
    tested = (lengths.min(axis=1) ** 2 > least) & (determinant > interaction_shares.COLLINEAR)

    def program(engine: Engine) -> Any:
        here = engine.party.index == 0
        lacking = np.zeros(VARIANTS, np.int64)
        mine = Contribution(S[:, upper[0], upper[1]] * here, products * here, lacking)
        return mine.pool(engine, Model(n, 1, df)).exceed(threshold).reveal("passing")[:, 0]

    passes = compute_alike(parties, program)
    expected = (t[:, 1:] > limit).any(axis=1) & tested
    assert 0.3 < tested.mean() < 1
    assert 10 < expected.sum() < tested.sum()
    np.testing.assert_array_equal(passes, expected)
