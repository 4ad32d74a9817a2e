"""Sums over samples from packed genotypes, and what is made of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstats.gwas import linear_kernel
from fedstats.gwas.members import Members, Numbers
from fedstats.gwas.packed import PackedBlock, Ploidy


def pack(calls: np.ndarray) -> np.ndarray:
    """Pack counts of allele 1 as a .bed file does, written apart from the code that is tested."""
    code = {2: 0b00, -1: 0b01, 1: 0b10, 0: 0b11}
    packed = np.zeros((len(calls), -(-calls.shape[1] // 4)), np.uint8)
    for variant, sample in np.ndindex(*calls.shape):
        packed[variant, sample // 4] |= code[int(calls[variant, sample])] << 2 * (sample % 4)
    return packed


def block_of(calls: np.ndarray, members: Members, flip: np.ndarray | None = None) -> PackedBlock:
    size = len(calls)
    flip = np.zeros(size, np.bool_) if flip is None else flip
    return PackedBlock(pack(calls), np.arange(size), flip, np.zeros(size, np.int8), members)


def all_of(samples: int) -> Members:
    return Members(np.arange(samples), np.zeros(samples, np.int64))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 150), st.integers(0, 19), st.integers(1, 19), st.integers(0, 2**32 - 1))
def test_sums_are_what_they_say(samples: int, variants: int, columns: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    calls = random.integers(-1, 3, (variants, samples)).astype(np.int8)
    chosen = random.permutation(samples)[: random.integers(0, samples + 1)]
    flip = random.random(variants) < 0.5
    rows = random.normal(size=(chosen.size, columns))
    terms = int(random.integers(0, columns + 1))
    members = Members(chosen, np.zeros(samples, np.int64))
    numbers = members.numbers(rows, terms)
    block = block_of(calls, members, flip)

    picked = calls[:, chosen].astype(float)
    m = picked < 0
    g = np.where(m, 0, np.where(flip[:, np.newaxis], 2 - picked, picked))
    expected = np.column_stack([m.sum(axis=1), g.sum(axis=1), (g * g).sum(axis=1)])
    np.testing.assert_array_equal(block.moments(), expected)
    np.testing.assert_allclose(block.products(numbers), g @ rows, atol=1e-10)
    np.testing.assert_allclose(block.products(numbers, squared=True), g**2 @ rows, atol=1e-10)
    which = random.permutation(variants)[: variants // 2 + 1]
    np.testing.assert_allclose(block.of_missing(which, numbers), m[which] @ rows, atol=1e-10)
    sums, squares = block.squares_of_missing(which, numbers)
    np.testing.assert_allclose(sums, m[which] @ rows, atol=1e-10)
    for number, variant in enumerate(which):
        lacking = rows[m[variant]]
        products = (lacking.T @ lacking)[numbers.pairs]
        np.testing.assert_allclose(squares[number], products, atol=1e-10)


@pytest.mark.parametrize("terms", [0, 2, 3])
def test_pairs_are_all_with_a_covariate_and_squares(terms: int) -> None:
    pairs = set(zip(*(its.tolist() for its in Numbers(np.zeros((4, 3)), terms).pairs), strict=True))
    assert pairs == {(a, b) for a in range(3) for b in range(a, 3) if a < terms or a == b}


def test_calls_that_a_chromosome_cannot_have() -> None:
    calls = np.array([[0, 1, 2, -1] * 3] * 3, np.int8)
    sex = np.repeat([1, 2, 0], 4)
    ploidy = np.array([Ploidy.DIPLOID, Ploidy.X, Ploidy.Y], np.int8)
    members = Members(np.arange(12), sex)
    block = PackedBlock(pack(calls), np.arange(3), np.zeros(3, np.bool_), ploidy, members)
    # copies of allele 1: one, two, missing
    np.testing.assert_array_equal(block.counts, [[3, 3, 3], [2, 3, 4], [0, 1, 10]])


def model(samples: int, terms: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    columns = np.column_stack([np.ones(samples), random.normal(size=(samples, terms + 1))])
    q, _ = np.linalg.qr(columns)
    return q[:, 1:-1] * np.sqrt(samples), q[:, -1:] * np.sqrt(samples)


def test_variants_without_variation_have_no_estimate_and_no_warning() -> None:
    calls = np.random.default_rng(2).integers(-1, 3, (5, 50)).astype(np.int8)
    calls[0], calls[1] = 0, -1
    calls[2] = np.where(calls[2] < 0, -1, 2)
    calls[4] = -1
    calls[4, :3] = [0, 1, 2]  # fewer calls than terms
    Q, R = model(50, 2, seed=2)
    members = all_of(50)
    numbers = members.numbers(np.hstack([Q, R]), 2)
    block = block_of(calls, members)
    sums = linear_kernel.first_sums(block, numbers)
    which = np.flatnonzero(sums[:, 0])
    of_missing, squares = block.squares_of_missing(which, numbers)
    lacking = linear_kernel.deficit(of_missing, squares, 50 - sums[which, 0], numbers)
    centred = linear_kernel.centre(sums, 50, which, of_missing)
    for deficit in (lacking, None):
        found = linear_kernel.solve(centred, which, deficit, 50, numbers)
        assert np.isnan(found.beta[:3]).all()
        assert np.isfinite(found.beta[3]).all()
        assert np.isnan(found.beta[4]).all() == (deficit is not None)  # as many calls as terms
        assert found.frequency[0] == 0.0
        assert np.isnan(found.frequency[1])
        assert found.frequency[2] == 1.0
        assert found.missing_rate[1] == 1.0


def test_a_perfect_fit_has_no_error() -> None:
    calls = np.random.default_rng(3).integers(0, 3, (1, 40)).astype(np.int8)
    r = calls[0] - calls[0].mean()
    members = all_of(40)
    numbers = members.numbers((r * np.sqrt(40 / (r @ r)))[:, np.newaxis], 0)
    sums = linear_kernel.first_sums(block_of(calls, members), numbers)
    none = np.zeros(0, np.int64)
    centred = linear_kernel.centre(sums, 40, none, np.zeros((0, 1)))
    assert linear_kernel.solve(centred, none, None, 40, numbers).standard_error[0, 0] < 1e-7
