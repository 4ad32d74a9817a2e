"""Bits of secrets against Python's: all of them, the highest, powers of two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_helpers import SIZES, compute_alike, secret_of, spent
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import decompose
from protocols.engine import Engine
from protocols.errors import PrecisionError
from protocols.field import HALF
from protocols.fixed import Format
from protocols.reveal import reveal
from protocols.secret import SecretArray


def found_for(n: int, x: Any, bound: int) -> Any:
    def program(engine: Engine) -> Any:
        secret = secret_of(engine, np.array(x, object), Format(0, bound))
        negated = -secret
        results = {
            "bits": decompose.bits(negated),
            "length": decompose.bit_length(secret),
            "zeros": decompose.leading_zeros(secret),
            "power": decompose.normalizer(secret)[0],
        }
        assert results["length"].format.bound == bound.bit_length()
        return reveal(engine, results)

    return compute_alike(n, program)


def check(found: Any, x: list[int], bound: int) -> None:
    top = bound.bit_length()
    zeros = [top - v.bit_length() if v else 0 for v in x]
    assert found["bits"].tolist() == [[-v >> place & 1 for place in range(top + 1)] for v in x]
    assert found["length"].tolist() == [v.bit_length() for v in x]
    width = max(top - 1, 0).bit_length()
    assert found["zeros"].tolist() == [[s >> place & 1 for place in range(width)] for s in zeros]
    assert found["power"].tolist() == [1 << s for s in zeros]


@pytest.mark.parametrize("n", SIZES)
def test_edges(n):
    for bound in (5, 2**63 - 1):
        x = [0, 1, 2, 3, 4, bound, bound - 1, bound // 2, bound // 3]
        x = [v for v in x if v <= bound]
        check(found_for(n, x, bound), x, bound)


@settings(max_examples=20)
@given(bits=st.integers(0, 84), data=st.data())
def test_numbers_of_any_length(bits, data):
    bound = (1 << bits) - 1
    x = [*data.draw(st.lists(st.integers(0, bound), max_size=4)), 0, bound]
    check(found_for(3, x, bound), x, bound)


@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (0, 2)])
def test_shapes(shape):
    x = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    found = found_for(3, x, 7)
    assert found["bits"].shape == (*shape, 4)
    assert found["zeros"].shape == (*shape, 2)
    assert found["length"].shape == found["power"].shape == shape


def test_fixed_point_numbers_are_normalized():
    x = np.array([0.001, 0.7, 1.0, 1023.5, 512.0])

    def program(engine: Engine) -> Any:
        secret = secret_of(engine, np.rint(x * 2**20).astype(int), Format.of(1024, 20))
        power, _ = decompose.normalizer(secret)
        return SecretArray(engine, (secret * power).shares, Format(20, 2**31)).reveal("normalized")

    normalized = compute_alike(3, program)
    assert np.all((normalized >= 1024) & (normalized < 2048))


def test_powers_of_two():
    def program(engine: Engine) -> Any:
        exponent = secret_of(engine, [[0, 0, 0], [1, 0, 1], [1, 1, 1]], Format(0, 1))
        with pytest.raises(PrecisionError, match="beyond"):
            decompose.power_of_two(exponent, HALF + 1)
        return decompose.power_of_two(exponent, 2**7).reveal("powers")

    assert compute_alike(3, program).tolist() == [1, 32, 128]


def test_numbers_that_cannot_be_masked_are_refused():
    def program(engine: Engine) -> bool:
        x = secret_of(engine, [1], Format(0, 1 << (engine.room - 1)))
        before = engine.party.mesh.traffic.copy()
        for refused in (decompose.bits, decompose.bit_length, decompose.leading_zeros, decompose.normalizer):
            with pytest.raises(PrecisionError, match="tighten"):
                refused(x)
        return engine.party.mesh.traffic == before

    assert compute_alike(3, program)


@pytest.mark.parametrize(("n", "more"), [(3, 0), (4, 0), (5, 2), (7, 3)])
def test_costs(n, more):
    def program(engine: Engine) -> None:
        x = secret_of(engine, [1, 2, 3], Format(0, 2**64 - 1))
        for action, rounds in (
            (decompose.bits, 11),
            (decompose.bit_length, 16),
            (decompose.leading_zeros, 16),
            (decompose.normalizer, 19),
        ):
            cost, _ = spent(engine, lambda action=action: action(x))
            assert cost.rounds == rounds + more

    compute_alike(n, program)
