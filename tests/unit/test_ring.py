from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import ring
from protocols.errors import RangeError
from protocols.ring import EXACT, FIXED128, Z64, Ring

LARGEST = float(np.finfo(float).max)
RINGS = [EXACT, FIXED128, Ring(2, 30), Ring(3, 64), Ring(3, 150), Ring(1, 20)]

finite = st.floats(allow_nan=False, allow_infinity=False)


def to_integer(limbs) -> int:
    """Return an element as the signed integer that it stands for."""
    return int.from_bytes(limbs.tobytes(), "little", signed=True)


def to_limbs(integer: int, limbs: int) -> np.ndarray:
    return np.frombuffer(integer.to_bytes(8 * limbs, "little", signed=True), np.uint64).reshape(1, limbs)


def nearest_float(value: Fraction) -> float:
    """Return the nearest float, ties to even: Python divides integers correctly rounded."""
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def decode_one(integer: int, kind: Ring) -> float:
    return float(ring.decode(to_limbs(integer, kind.limbs), kind)[0])


@pytest.mark.parametrize("kind", RINGS, ids=str)
@given(st.data())
def test_encode_rounds_to_nearest_even(kind, data):
    bound = kind.bound(1)
    x = data.draw(
        finite.filter(lambda x: abs(x) < bound) | st.floats(-2, 2) | st.floats(-(2.0**-60), 2.0**-60)
    )
    element = ring.encode(np.array([x]), kind)
    assert element.shape == (1, kind.limbs)
    assert to_integer(element[0]) == round(Fraction(x) * 2**kind.fraction)


@pytest.mark.parametrize("kind", RINGS, ids=str)
@given(st.data())
def test_decode_rounds_to_nearest_even(kind, data):
    bits = data.draw(st.integers(1, 64 * kind.limbs - 1))
    integer = data.draw(st.integers(-(2**bits), 2**bits - 1))
    # Half of the cases near a tie: 54 leading bits, then nothing, or one unit more or less.
    if data.draw(st.booleans()) and bits > 55:
        integer = (integer >> (bits - 54) << (bits - 54)) + data.draw(st.integers(-1, 1))
    integer = max(min(integer, 2 ** (64 * kind.limbs - 1) - 1), -(2 ** (64 * kind.limbs - 1)))
    assert decode_one(integer, kind) == nearest_float(Fraction(integer, 2**kind.fraction))


@given(finite)
def test_exact_carries_every_float(x):
    assert ring.decode(ring.encode(np.array([x]), EXACT), EXACT)[0] == x


@pytest.mark.parametrize(
    "x", [0.0, -0.0, 5e-324, -5e-324, 2.0**-1022, 2.0**-1022 - 2.0**-1074, LARGEST, -LARGEST, 1.0, -1.0]
)
def test_edges_of_float64(x):
    element = ring.encode(np.array([x]), EXACT)
    assert Fraction(to_integer(element[0]), 2**1088) == Fraction(x)
    assert ring.decode(element, EXACT)[0] == x


@pytest.mark.parametrize(
    ("x", "units"),
    [
        (2.0**-64, 1),
        (2.0**-65, 0),
        (3 * 2.0**-65, 2),
        (5 * 2.0**-65, 2),
        (-(2.0**-65), 0),
        (-3 * 2.0**-65, -2),
        (2.0**-65 + 2.0**-117, 1),
        (2.0**-66, 0),
        (5e-324, 0),
        (1 - 2.0**-53, 2**64 - 2**11),
        (-1.0, -(2**64)),
        (2.0**62, 2**126),
    ],
)
def test_ties_and_edges_of_fixed128(x, units):
    assert to_integer(ring.encode(np.array([x]), FIXED128)[0]) == units


@pytest.mark.parametrize("kind", [EXACT, FIXED128], ids=str)
def test_decoding_of_the_extremes(kind):
    bits = 64 * kind.limbs - 1
    for integer in (0, 1, -1, 2**bits - 1, -(2**bits), 2**64 - 1, -(2**64), 2**53 + 1, -(2**53) - 1):
        assert decode_one(integer, kind) == nearest_float(Fraction(integer, 2**kind.fraction))


def test_below_the_subnormals_is_rounded_once():
    half = 2 ** (1088 - 1075)  # half of the smallest subnormal number
    for integer in (half - 1, half, half + 1, 2 * half, 3 * half - 1, 3 * half, 3 * half + 1, 5 * half, 1):
        for signed in (integer, -integer):
            assert decode_one(signed, EXACT) == nearest_float(Fraction(signed, 2**1088))


@pytest.mark.parametrize("kind", RINGS, ids=str)
@given(st.data())
def test_addition_and_subtraction_modulo(kind, data):
    size = 64 * kind.limbs
    edges = st.sampled_from([0, 1, 2**64 - 1, 2**64, 2 ** (size - 1), 2**size - 1])
    words = edges.map(lambda n: n % 2**size) | st.integers(0, 2**size - 1)
    a, b = data.draw(words), data.draw(words)
    left = np.frombuffer(a.to_bytes(size // 8, "little"), np.uint64).reshape(1, -1)
    right = np.frombuffer(b.to_bytes(size // 8, "little"), np.uint64).reshape(1, -1)
    total = left.copy()
    ring.add_into(total, right)
    assert int.from_bytes(total.tobytes(), "little") == (a + b) % 2**size
    ring.sub_into(total, right)
    assert (total == left).all()
    ring.sub_into(total, right)
    assert int.from_bytes(total.tobytes(), "little") == (a - b) % 2**size


@given(st.lists(finite, min_size=1, max_size=30))
def test_sums_in_exact_are_those_of_fsum(terms):
    total = np.zeros((1, EXACT.limbs), np.uint64)
    for term in terms:
        ring.add_into(total, ring.encode(np.array([term]), EXACT))
    assert ring.decode(total, EXACT)[0] == nearest_float(sum(map(Fraction, terms), Fraction(0)))


def test_cancellation_leaves_the_last_bit():
    terms = np.array([1e308, 1e308, 5e-324, 1.0, -1e308, -1.0, -1e308])
    total = np.zeros((1, EXACT.limbs), np.uint64)
    for element in ring.encode(terms, EXACT):
        ring.add_into(total, element.reshape(1, -1))
    assert ring.decode(total, EXACT)[0] == 5e-324


def test_a_sum_beyond_the_largest_float_is_infinite():
    total = ring.encode(np.array([LARGEST, -LARGEST]), EXACT)
    ring.add_into(total, total.copy())
    assert ring.decode(total, EXACT).tolist() == [math.inf, -math.inf]


@pytest.mark.parametrize("parties", [1, 2, 3, 7, 30, 1000])
def test_values_below_the_bound_never_wrap(parties):
    x = math.nextafter(FIXED128.bound(parties), 0)
    for signed in (x, -x):
        total = np.zeros((1, 2), np.uint64)
        for _ in range(parties):
            ring.add_into(total, ring.encode(np.array([signed]), FIXED128, parties=parties))
        assert to_integer(total[0]) == parties * Fraction(signed) * 2**64
    with pytest.raises(RangeError, match="flat index 0"):
        ring.encode(np.array([FIXED128.bound(parties)]), FIXED128, parties=parties)
    assert EXACT.bound(parties) == math.inf


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
@pytest.mark.parametrize("parties", [1, 2, 3, 30])
def test_integers_below_the_bound_never_wrap(parties, dtype):
    limit = (2**63 - 1) // parties
    assert ring.check(np.array([limit], dtype), Z64, parties=parties).dtype == np.int64
    with pytest.raises(RangeError, match="1 of 2 values cannot be summed, the first at flat index 1"):
        ring.check(np.array([0, limit + 1], np.uint64).astype(dtype), Z64, parties=parties + (parties == 1))
    ring.check(np.array([-limit]), Z64, parties=parties)
    with pytest.raises(RangeError):
        ring.check(np.array([-limit - 1]), Z64, parties=parties)


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i4", "u4", "i8", "u8"])
def test_integers_as_they_are(dtype):
    x = np.array([0, 1, 1], dtype)
    assert ring.decode(ring.encode(x, Z64), Z64).tolist() == [0, 1, 1]


@pytest.mark.parametrize("kind", [EXACT, FIXED128], ids=str)
@pytest.mark.parametrize("wrong", [math.nan, -math.nan, math.inf, -math.inf])
def test_refusals_count_and_locate_and_quote_nothing(kind, wrong):
    x = np.full(9, 123.456)
    x[[4, 7]] = wrong
    with pytest.raises(
        RangeError, match="2 of 9 values cannot be summed, the first at flat index 4"
    ) as caught:
        ring.encode(x, kind)
    assert "123" not in str(caught.value)


@pytest.mark.parametrize(("limbs", "fraction"), [(0, 0), (1, 64), (2, -1)])
def test_rings_that_are_none(limbs, fraction):
    with pytest.raises(ValueError, match="a ring has"):
        Ring(limbs, fraction)


@pytest.mark.parametrize("kind", [EXACT, FIXED128, Z64], ids=str)
def test_empty_arrays(kind):
    empty = np.empty(0, np.int64 if kind == Z64 else np.float64)
    assert ring.decode(ring.encode(empty, kind), kind).shape == (0,)
