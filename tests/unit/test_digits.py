"""Where numbers begin: places, mantissas, signs and parities against Python's integers; exact rounding."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from engine_helpers import compute_alike, exactly

from protocols.crt import Ring
from protocols.digits import DIGITS, SHORT, leading_digits, rounded_digits
from protocols.engine import Engine
from protocols.long import LONG, LongArray, sum_long
from protocols.reveal import compose, reveal


def shared(engine: Engine, integers: list[int], bound: int, on: Ring) -> LongArray:
    """Share integers that party a holds."""
    held = integers if engine.point == 1 else [0] * len(integers)
    return sum_long(engine, np.array(held, object), bound=bound, fraction=0, on=on).assume(bound)


def near(bits: int) -> list[int]:
    """Return powers of two up to so many bits and their neighbours, of both signs, and zero."""
    edges = {(1 << b) + d for b in range(bits) for d in (-1, 0, 1)} | {(1 << bits) - 1}
    return sorted({sign * edge for edge in edges for sign in (1, -1) if edge < 1 << bits})


@pytest.mark.parametrize(
    ("n", "bits", "on"), [(3, 5, LONG), (3, 66, SHORT), (3, 700, LONG), (4, 9, SHORT), (5, 66, SHORT)]
)
def test_leading_digits(n, bits, on):
    integers = near(bits)
    integers = [*integers[:: max(1, len(integers) // 300)], 0]
    secret = on is SHORT
    exponents = [(7 * k) % 40 - 20 for k in range(len(integers))]

    def program(engine: Engine) -> Any:
        x = shared(engine, integers, (1 << bits) - 1, on)
        e = shared(engine, exponents, 20, SHORT) if secret else -13
        found = leading_digits(x, e, 0)
        return {name: exactly(getattr(found, name)) for name in vars(found)}

    found = compute_alike(n, program)
    for k, v in enumerate(integers):
        m, place = found["mantissa"][k], int(found["place"][k])
        e = exponents[k] if secret else -13
        assert abs(m * 2**place - v) <= Fraction(max(1, abs(v)), 2**50)
        assert place in (abs(v).bit_length(), abs(v).bit_length() + 1) or v == 0 == place
        assert found["nonzero"][k] == (v != 0)
        assert found["below"][k] == (v < 0)
        assert found["exponent"][k] == (e if v else 0)
        assert found["odd"][k] == (v != 0 and (place + e) % 2)


def test_noise_counts_as_zero():
    integers = [1, -1, 3, -3, 7, -7, 8, -8, 16, -16, 1 << 60]

    def program(engine: Engine) -> Any:
        found = leading_digits(shared(engine, integers, 1 << 60, SHORT), 0, 4)
        return exactly(found.nonzero), exactly(found.mantissa * 1)

    nonzero, mantissa = compute_alike(3, program)
    assert all(nonzero[:4] == 0)
    assert all(nonzero[-5:] == 1)
    assert all(abs(mantissa[:4]) < Fraction(1, 1 << 60))


@pytest.mark.parametrize(
    ("n", "digits"), [(3, 1), (3, 10), (3, 30), (5, 52), pytest.param(10, 24, marks=pytest.mark.slow)]
)
def test_rounding_is_exact(n, digits):
    rng = np.random.default_rng(digits)
    drawn = [int(x) for x in rng.integers(-(1 << 62), 1 << 62, 20)]
    # Negative numbers need more bits than are kept.
    integers = [v for v in [*near(DIGITS)[::5], *drawn, 0, 3 << 20] if v >= 0 or -v >> (digits + 1)]
    exponents = [int(e) for e in rng.integers(-1000, 1000, len(integers))]
    undefined = [k % 7 == 3 for k in range(len(integers))]

    def program(engine: Engine) -> Any:
        x, e = shared(engine, integers, 1 << DIGITS, SHORT), shared(engine, exponents, 1000, SHORT)
        u = shared(engine, [3 * one for one in undefined], 5, SHORT)
        given, bare = (rounded_digits(x, e, count, 0, digits) for count in (u, None))
        opened = reveal(engine, {"given": given, "bare": bare})
        return compose(opened["given"], digits), compose(opened["bare"], digits)

    def expected(v: int, e: int) -> float:
        if not v:
            return 0.0
        unit = Fraction(2) ** (abs(v).bit_length() - digits)
        nearest = (
            (abs(v) / unit + Fraction(1, 2)).__floor__()
            if v > 0
            else (abs(v) / unit - Fraction(1, 2)).__ceil__()
        )
        magnitude = nearest * unit * Fraction(2) ** (e - DIGITS)
        return float(magnitude) if v > 0 else -float(magnitude)

    given, bare = compute_alike(n, program)
    wanted = [expected(v, e) for v, e in zip(integers, exponents, strict=True)]
    np.testing.assert_array_equal(bare, wanted)
    np.testing.assert_array_equal(given, np.where(undefined, np.nan, wanted))
