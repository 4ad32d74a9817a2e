"""The sums of a block of variants, and what is made of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstats.gwas import linear_kernel
from fedstats.gwas.linear_kernel import block_sums, columns, solve


def panel(samples: int, variants: int, terms: int, seed: int):
    random = np.random.default_rng(seed)
    calls = random.integers(-1, 3, (variants, samples)).astype(np.int8)
    q, _ = np.linalg.qr(np.column_stack([np.ones(samples), random.normal(size=(samples, terms))]))
    q = q * np.sign(q[0, 0]) * np.sqrt(samples)
    r = q[:, -1]
    return calls, q[:, :-1], r


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_sums_are_what_they_say(samples: int, variants: int, terms: int, seed: int) -> None:
    calls, Q, r = panel(max(samples, terms + 2), variants, terms, seed)
    g, m = np.where(calls < 0, 0, calls).astype(float), (calls < 0).astype(float)
    targets = np.column_stack([Q, r])
    expected = np.column_stack([(g * g).sum(axis=1), g @ targets, m @ targets])
    found = block_sums(lambda part: calls[part], variants, Q, r)
    assert found.shape == (variants, columns(terms))
    np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("memory", [1, 1000, 1 << 20])
def test_sums_do_not_depend_on_memory_or_sites(monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    calls, Q, r = panel(60, 25, 3, seed=1)
    whole = block_sums(lambda part: calls[part], 25, Q, r)
    monkeypatch.setattr(linear_kernel, "MEMORY", memory)
    parts = [slice(0, 7), slice(7, 7), slice(7, 60)]
    summed = sum(block_sums(lambda rows, s=s: calls[rows, s], 25, Q[s], r[s]) for s in parts)
    np.testing.assert_allclose(summed, whole, atol=1e-10)


def test_variants_without_variation_have_no_estimate_and_no_warning() -> None:
    calls, Q, r = panel(50, 4, 2, seed=2)
    calls[0], calls[1] = 0, -1
    calls[2] = np.where(calls[2] < 0, -1, 2)
    found = solve(block_sums(lambda part: calls[part], 4, Q, r), 50)
    assert np.isnan(found.beta[:3]).all()
    assert np.isfinite(found.beta[3])
    assert found.frequency[0] == 0.0
    assert np.isnan(found.frequency[1])
    assert found.frequency[2] == 1.0
    assert found.missing_rate[1] == 1.0


def test_a_perfect_fit_has_no_error() -> None:
    calls = np.random.default_rng(3).integers(0, 3, (1, 40)).astype(np.int8)
    r = calls[0] - calls[0].mean()
    r = r * np.sqrt(40 / (r @ r))
    found = solve(block_sums(lambda part: calls[part], 1, np.ones((40, 1)), r), 40)
    assert found.standard_error[0] < 1e-7
