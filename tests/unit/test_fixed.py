"""Fixed-point numbers: errors within their bounds, and refusals before anything is sent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from engine_helpers import compute_alike, secret_of, spent
from hypothesis import given
from hypothesis import strategies as st

from protocols import field
from protocols.engine import Engine
from protocols.errors import PrecisionError, RangeError, ShapeMismatch
from protocols.field import HALF
from protocols.fixed import Format, fraction_for
from protocols.inputs import share, sum_shares
from protocols.reshare import fits
from protocols.secret import concatenate, inner, public, reveal, select, truncate
from protocols.stripes import STRIPE

SIZES = [3, 4, 5, 7, 10]
SHARED = 24  # bytes of a message's header


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("drop", [1, 20, 64, 70])
def test_a_rounded_product_is_off_by_what_is_documented(n, drop):
    rng = np.random.default_rng(drop)
    count = math.comb(n, (n - 1) // 2)
    bound = 2 ** ((127 - 40 - count.bit_length() - 2) // 2)
    a, b = ([int(x) for x in rng.uniform(-bound, bound, 400)] for _ in range(2))
    a[:4], b[:4] = [0, bound, -bound, bound], [5, bound, bound, -bound]

    def program(engine: Engine) -> Any:
        x, y = (secret_of(engine, v, Format(drop, bound)) for v in (a, b))
        if not fits(engine, bound * bound, drop):
            with pytest.raises(PrecisionError):
                x * y
            return None
        z = x * y
        assert z.format.fraction == drop
        opened = (z.open(), truncate(secret_of(engine, a, Format(drop, bound)), drop).open())
        return [field.to_signed_ints(part).tolist() for part in opened]

    found = compute_alike(n, program)
    if found is None:
        assert drop >= 64
        return
    exact = ([x * y for x, y in zip(a, b, strict=True)], a)
    for rounded, numbers in zip(found, exact, strict=True):
        errors = [(m << drop) - number for m, number in zip(rounded, numbers, strict=True)]
        assert 2 * max(map(abs, errors)) < (count + 1) << drop
        units = np.array(errors, float) / 2.0**drop
        assert abs(units.mean()) < 5 * math.sqrt((count + 1) / 12 / len(a)) + 2.0**-drop / 2


@given(
    n=st.sampled_from([3, 4]),
    a=st.lists(st.floats(-1000, 1000), min_size=1, max_size=5),
    b=st.floats(-1000, 1000),
)
def test_arithmetic_of_floats(n, a, b):
    def program(engine: Engine) -> Any:
        x = share(engine, np.array(a), bound=1000, fraction=30)[0]
        y = share(engine, np.array(b), bound=1000, fraction=30)[0]
        return reveal(
            engine,
            {"+": x + y, "-": b - x, "*": x * y, "k": x * b, "tiny": x * (b * 1e-12), "1": 3 * x - 0.25},
        )

    found, array = compute_alike(n, program), np.array(a)
    ulp = 2.0**-30
    np.testing.assert_allclose(found["+"], array + b, rtol=0, atol=2 * ulp)
    np.testing.assert_allclose(found["-"], b - array, rtol=0, atol=2 * ulp)
    np.testing.assert_allclose(found["*"], array * b, rtol=0, atol=1003 * ulp)
    np.testing.assert_allclose(found["k"], array * b, rtol=0, atol=1003 * ulp)
    np.testing.assert_allclose(found["tiny"], array * (b * 1e-12), rtol=0, atol=4 * ulp)
    np.testing.assert_allclose(found["1"], 3 * array - 0.25, rtol=0, atol=4 * ulp)


def test_formats_follow_what_is_computed():
    def program(engine: Engine) -> Any:
        x = secret_of(engine, [3, -5], Format(20, 2**24))
        k = secret_of(engine, [2, 7], Format(0, 8))
        assert (x + 1).format == Format(20, 2**24 + 2**20)
        assert (x + k).format == Format(20, 2**24 + 8 * 2**20)
        assert (x * k).format == Format(20, 8 * 2**24)  # nothing to round
        assert (k * k).format == Format(0, 64)
        assert (k @ k).format == Format(0, 128)
        assert k.sum().format == Format(0, 16)
        assert (x * x).format == Format(20, 2**28 + 3)
        assert (x @ x).format == Format(20, 2**29 + 3)
        assert (x * 4).format == Format(20, 2**26)
        assert (-x)[0].format == x.format
        assert x.rescale(22).format == Format(22, 2**26)
        assert x.rescale(18).format == Format(18, 2**22 + 3)
        assert concatenate([x, k]).format == Format(20, 2**24)
        assert x.assume(1.5).format == Format(20, 3 * 2**19)
        assert x.format.magnitude == 16
        condition = secret_of(engine, [0, 1], Format(0, 1))
        assert select(condition, x, k).format == Format(20, 2**24)
        assert public(engine, [0.5, -0.75], 2).format == Format(2, 3)
        return inner(x, x).reveal("xx")

    assert compute_alike(3, program) == pytest.approx(0, abs=2 * 2.0**-20)


def test_products_that_might_not_fit_are_refused_before_anything_is_sent():
    def program(engine: Engine) -> Any:
        largest = 1 << (engine.room - 1)
        slack = engine.prss.count << 20
        edge = math.isqrt(largest - slack)
        x = secret_of(engine, [edge, -edge], Format(20, edge))
        y = secret_of(engine, [edge, -edge], Format(20, edge + 1))
        found = (x * x).reveal("at the edge")
        for refused in (
            lambda: y * y,
            lambda: x @ x,
            lambda: inner(x, x),
            lambda: x * (2.0 * edge / 2**20),
            lambda: truncate(secret_of(engine, [1], Format(20, largest)), 20),
            lambda: public(engine, HALF) + 1,
            lambda: public(engine, HALF) * 2,
            lambda: public(engine, [HALF, HALF]).sum(),
            lambda: secret_of(engine, [1], Format(0, 2**63)) * secret_of(engine, [1], Format(0, 2**63)),
        ):
            with pytest.raises(PrecisionError, match="tighten the public bounds") as caught:
                refused()
            assert str(edge) not in str(caught.value)
        before = engine.party.mesh.traffic.copy()
        with pytest.raises(PrecisionError):
            y * y
        assert engine.party.mesh.traffic == before
        return found, float(edge) ** 2 / 2**40

    found, expected = compute_alike(3, program)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("n", SIZES)
def test_fractions_chosen_from_bounds(n):
    def program(engine: Engine) -> Any:
        chosen = [fraction_for(engine, *case) for case in ((1.0,), (1000.0,))]
        chosen.append(fraction_for(engine, 2.0, terms=10_000))
        one = share(engine, np.full(10_000, 2.0), bound=2.0, fraction=chosen[2])[0]
        with pytest.raises(PrecisionError, match="scale"):
            fraction_for(engine, 1e30)
        return chosen, (one @ one).reveal("inner")

    (unit, thousands, long), value = compute_alike(n, program)
    assert unit > long
    assert unit > thousands
    assert unit >= {3: 41, 4: 41, 5: 40, 7: 39, 10: 38}[n]
    assert value == pytest.approx(40_000, abs=1e-6 * n**4)


def test_formats_that_make_no_sense():
    with pytest.raises(ValueError, match="need a bound"):
        Format(3)
    with pytest.raises(PrecisionError, match="may not fit"):
        Format(0, HALF + 1)
    with pytest.raises(ValueError, match="finite"):
        Format.of(math.inf, 3)


@pytest.mark.parametrize("n", SIZES)
def test_shared_inputs_and_their_sum(n):
    t = (n - 1) // 2

    def program(engine: Engine) -> Any:
        i = engine.party.index
        floats = np.array([[0.5, -2.25], [i, -i], [1e-6, 1e3]])
        cost, x = spent(engine, lambda: share(engine, floats, bound=1e3, fraction=30))
        assert cost.rounds == 1
        assert cost.bytes_sent == (n - 1 - t) * (16 * 6 + SHARED)
        assert x.shape == (n, 3, 2)
        whole = sum_shares(engine, np.array([2**62, -i, True]), bound=2**62)
        assert whole.format == Format(0, n * 2**62)
        none = sum_shares(engine, np.zeros((0, 3)), bound=1, fraction=3)
        return reveal(engine, {"x": x, "sum": x.sum(0), "whole": whole, "none": none})

    found = compute_alike(n, program)
    np.testing.assert_array_equal(found["x"][:, 1, 0], np.arange(n))
    np.testing.assert_allclose(found["sum"][:, 1], [-2.25 * n, -n * (n - 1) / 2, 1e3 * n], atol=1e-8)
    assert found["whole"].tolist() == [n * 2**62, -n * (n - 1) // 2, n]
    assert found["none"].shape == (0, 3)


@pytest.mark.parametrize(
    ("values", "options", "error"),
    [
        (np.array([1.0, np.nan]), {"bound": 5, "fraction": 3}, RangeError),
        (np.array([1.0, 5.01]), {"bound": 5, "fraction": 3}, RangeError),
        (np.array([1.0, 5.5], np.float16), {"bound": 5, "fraction": 3}, RangeError),
        (np.array([1, -6]), {"bound": 5}, RangeError),
        (np.array([1, 6], np.uint8), {"bound": 5.9}, RangeError),
        (np.array([-(2**63)]), {"bound": 2**63 - 1}, RangeError),
        (np.array([2**62 + 1]), {"bound": 2**62}, RangeError),
        (np.array([2**64 - 1], np.uint64), {"bound": 2**63}, RangeError),
        (np.array([2**90 + 1, 0], object), {"bound": 2**90}, RangeError),
        (np.array([True]), {"bound": 0.5}, RangeError),
        (np.array([1.0, 2.0]), {"bound": 5}, TypeError),
        (np.array([1, 0.7], object), {"bound": 5}, TypeError),
        (np.array([1, 0.7], object), {"bound": 5, "fraction": 3}, TypeError),
    ],
)
def test_inputs_that_are_refused(values, options, error):
    def program(engine: Engine) -> Any:
        before = engine.party.mesh.traffic.copy()
        with pytest.raises(error):
            share(engine, values, **options)
        return engine.party.mesh.traffic == before

    assert compute_alike(3, program)


def test_inputs_in_several_messages():
    numbers = np.arange(5 * STRIPE + 3) - 1000

    def program(engine: Engine) -> Any:
        cost, x = spent(engine, lambda: share(engine, numbers * engine.point, bound=2**40))
        assert (cost.rounds, cost.bytes_sent) == (1, 16 * len(numbers) + 6 * SHARED)
        whole = sum_shares(engine, numbers.reshape(1, -1) / 4, bound=2**40, fraction=2)
        return reveal(engine, {"x": x, "whole": whole})

    found = compute_alike(3, program)
    np.testing.assert_array_equal(found["x"], numbers * [[1], [2], [3]])
    np.testing.assert_array_equal(found["whole"], [numbers * 0.75])


def test_inputs_of_other_shapes_are_named():
    with pytest.raises(ShapeMismatch, match="are due"):
        compute_alike(3, lambda engine: share(engine, np.zeros(engine.point, int), bound=1))
