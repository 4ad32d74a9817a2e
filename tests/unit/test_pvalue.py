"""P values of Student's t, where they are numbers and where only their logarithms are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstats.gwas._pvalue import neg_log10_p

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "student_t.json").read_text())


def test_agrees_with_40_digit_integrals() -> None:
    t, df, expected = np.array(VECTORS["rows"], float).T
    np.testing.assert_allclose(neg_log10_p(t, df), expected, rtol=1e-11, atol=0)
    for most, tolerance in ((1e6, 1e-11), (1e9, 1e-9)):
        number = (expected < 300) & (df <= most)
        np.testing.assert_allclose(10 ** -neg_log10_p(t, df)[number], 10 ** -expected[number], rtol=tolerance)
    assert (10 ** -neg_log10_p(t, df)[expected > 330] == 0).all()


def test_closed_forms() -> None:
    """Cauchy at one degree of freedom; p = 1 - t/sqrt(2 + t²) at two."""
    t = np.logspace(-6, 8, 200)
    one = 2 / np.pi * np.arctan(1 / t)
    root = np.sqrt(2 + t**2)
    two = 2 / (root * (root + t))
    np.testing.assert_allclose(10 ** -neg_log10_p(t, 1), one, rtol=1e-12)
    np.testing.assert_allclose(10 ** -neg_log10_p(t, 2), two, rtol=1e-12)
    np.testing.assert_allclose(neg_log10_p(t, 2)[t > 1], -np.log10(two[t > 1]), rtol=1e-12)


def test_the_branches_meet() -> None:
    """No step where SciPy hands over to the continued fraction, or at p = 1/2."""
    for t in (np.linspace(36.5, 37.5, 2001), np.linspace(0.6, 0.8, 2001)):
        slope = np.diff(neg_log10_p(t, 1e5)) / np.diff(t)
        assert (slope > 0).all()
        np.testing.assert_allclose(slope[1:], slope[:-1], rtol=1e-3)


@given(st.floats(0, 1e300), st.floats(0, 1e300), st.floats(1, 1e9))
def test_grows_with_t(one: float, two: float, df: float) -> None:
    low, high = neg_log10_p(np.sort([one, two]), df)
    assert 0 <= low <= high * (1 + 1e-10) < np.inf


def test_the_sign_of_t_does_not_matter() -> None:
    t = np.array([0.3, 5.0, 400.0])
    np.testing.assert_array_equal(neg_log10_p(t, 50), neg_log10_p(-t, 50))


def test_special_values() -> None:
    assert np.isnan(neg_log10_p(np.nan, 10))
    assert np.isnan(10 ** -neg_log10_p(np.nan, 10))
    assert neg_log10_p(np.inf, 10) == np.inf
    assert 10 ** -neg_log10_p(-np.inf, 10) == 0
    assert neg_log10_p(0.0, 10) == 0
    assert np.signbit(neg_log10_p(0.0, 10)) == np.False_


@pytest.mark.parametrize("shape", [(), (0,), (3, 2)])
def test_shapes_broadcast(shape: tuple[int, ...]) -> None:
    assert neg_log10_p(np.ones(shape), 3.0).shape == shape
    assert neg_log10_p(1.0, np.full(shape, 3.0)).shape == shape
