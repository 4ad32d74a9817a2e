"""Arithmetic modulo many primes against Python's integers."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import crt, transform

RING = crt.ring(700)
Q = RING.modulus
numbers = st.one_of(
    st.sampled_from([0, 1, 2, Q - 1, Q - 2, Q >> 1, 1 << 64, (1 << 64) - 1]), st.integers(0, Q - 1)
)


def residues(values: Any) -> crt.Residues:
    return RING.residues(np.array(values, object))


def integers(found: crt.Residues) -> Any:
    return RING.integers(found).tolist()


def matrix(rows: int, columns: int, seed: int) -> np.ndarray:
    source = random.Random(seed)
    return np.array([[source.randrange(Q) for _ in range(columns)] for _ in range(rows)], object)


@given(st.lists(numbers, min_size=1, max_size=8), numbers)
def test_arithmetic(a, b):
    x, y = residues(a), residues([b] * len(a))
    assert integers(x) == a
    assert integers(RING.add(x, y)) == [(value + b) % Q for value in a]
    assert integers(RING.sub(x, y)) == [(value - b) % Q for value in a]
    assert integers(RING.mul(x, y)) == [value * b % Q for value in a]
    assert integers(RING.scale(x, RING.constant(b))) == [value * b % Q for value in a]
    assert integers(RING.shift(x, -b)) == [(value - b) % Q for value in a]
    assert RING.canonical(x)
    assert not RING.canonical(x + np.uint64(1 << 60))


@given(st.lists(st.integers(0, 1 << 900), min_size=1, max_size=5), st.lists(numbers, min_size=1, max_size=20))
def test_integers_as_words(values, weights):
    words = crt.to_words(values)
    assert crt.from_words(words) == values
    assert integers(RING.of_words(words)) == [value % Q for value in values]
    found = RING.weighted_prefixes(words, residues(weights))
    expected = [sum(w * (value >> 64 * level) for level, w in enumerate(weights)) % Q for value in values]
    assert integers(found) == expected
    for bits in (0, 1, 63, 64, 65, 300, 2000):
        assert crt.from_words(crt.shift_words(words, bits)) == [value >> bits for value in values]


@pytest.mark.parametrize("size", [1, 2, 17, 40])
def test_matrices(size):
    a, b = matrix(3, size, 1), matrix(size, 2, 2)
    assert integers(RING.matmul(residues(a), residues(b))) == (a @ b % Q).tolist()
    square = matrix(size, size, 3)
    inverse, _ = RING.invert(residues(square))
    assert integers(RING.matmul(inverse, residues(square))) == np.eye(size, dtype=int).tolist()


@pytest.mark.parametrize("terms", [0, 1, 16, 17, 300])
def test_sums_of_many_terms(terms):
    a = np.array([[Q - 1 - k for k in range(terms)] for _ in range(3)], object).reshape(3, terms)
    assert integers(RING.sum(residues(a))) == [sum(row) % Q for row in a.tolist()]


def test_stacks_of_matrices():
    a, b = matrix(6, 4, 7).reshape(2, 3, 4), matrix(8, 5, 8).reshape(2, 4, 5)
    assert integers(RING.matmul(residues(a), residues(b))) == (a @ b % Q).tolist()


@given(st.lists(st.integers(0, 1 << 100), min_size=1, max_size=5))
def test_powers_of_two(values):
    words = crt.to_words(values)
    powers, inverses = (RING.powers_of_two(words, negative=negative) for negative in (False, True))
    for p, row in zip(RING.primes, powers.tolist(), strict=True):
        assert row == [pow(2, value, p) for value in values]
    assert integers(RING.mul(powers, inverses)) == [1] * len(values)


def test_determinants_and_pivots():
    a = [[0, 2, 1], [3, 0, 0], [0, 0, 5]]
    inverse, determinant = RING.invert(residues(a))
    assert RING.integers(determinant[:, np.newaxis])[0] == -30 % Q
    assert integers(RING.matmul(residues(a), inverse)) == np.eye(3, dtype=int).tolist()
    with pytest.raises(ZeroDivisionError):
        RING.invert(residues([[1, 2], [2, 4]]))


def test_inverses_and_fractions():
    assert integers(RING.mul(RING.inverses(residues([3, Q - 1, 0])), residues([3, Q - 1, 0]))) == [1, 1, 0]
    third = RING.constant(1, 3)
    assert integers(RING.scale(residues([6, 9]), third)) == [2, 3]


@given(st.integers(0, 1 << 300))
def test_prefixes_and_rotations(value):
    p = RING.primes[0]
    out = np.empty(150, np.uint64)
    crt.bit_prefixes(out, crt.to_words([value])[0], 60, np.uint64(p))
    assert out[: value.bit_length() - 60 if value.bit_length() > 60 else 0].tolist() == [
        (value >> (60 + j)) % p for j in range(min(150, max(0, value.bit_length() - 60)))
    ]


@pytest.mark.parametrize("size", [1, 2, 15, 16, 33, 1000])
def test_cyclic_convolutions(size):
    p = transform.PRIME
    source = random.Random(size)
    a, b = ([source.choice([p - 1, source.randrange(p)]) for _ in range(size)] for _ in range(2))
    found = transform.convolve(np.array(a, np.uint64), np.array(b, np.uint64)).tolist()
    for k in (*range(min(size, 40)), size - 1):
        assert found[k] == sum(a[j] * b[(k - j) % size] for j in range(size)) % p


def test_a_convolution_has_a_longest_length():
    assert (transform.PRIME - 1) % transform.LONGEST == 0
    assert pow(2, transform.PRIME - 1, transform.PRIME) == 1
    with pytest.raises(ValueError, match="too long"):
        transform.convolve(*np.zeros((2, transform.LONGEST // 2 + 1), np.uint64))


def test_minors():
    size = 4
    a = matrix(size, size, 5)
    found = integers(RING.matmul(residues(a), RING.minors(residues(a))))
    for i in range(size):
        for j in range(size):
            rows = [*range(j), i]
            minor = a[rows][:, : j + 1].tolist()
            expected = RING.integers(RING.invert(residues(minor))[1][:, np.newaxis])[0] if i >= j else 0
            assert found[i][j] == expected
    with pytest.raises(ZeroDivisionError):
        RING.minors(residues([[0, 1], [1, 0]]))


def test_the_primes():
    primes = crt.ring(20_000).primes
    assert len(set(primes)) == len(primes)
    assert all(pow(2, p - 1, p) == 1 and p > (1 << 60) - (1 << 18) for p in primes)
    assert crt.ring(20_000).modulus.bit_length() > 20_000


def test_random_words_become_numbers():
    words = np.random.default_rng(0).integers(0, 1 << 63, (len(RING), 1000, 2)).astype(np.uint64) * np.uint64(
        2
    )
    found = RING.from_random(words)
    low, high = (int(word) for word in words[3, 7])
    assert int(found[3, 7]) == ((high & ((1 << 60) - 1)) << 64 | low) % RING.primes[3]
