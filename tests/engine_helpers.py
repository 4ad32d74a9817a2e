"""Helpers of the engine's tests: computations among threads, elements from Python integers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from protocols import field
from protocols.engine import Engine
from protocols.field import P
from protocols.fixed import Format
from protocols.long import LongArray
from protocols.mersenne import Elements
from protocols.secret import SecretArray
from protocols.testing import run_parties
from protocols.wide import Round
from transport.base import Traffic

NAMES = "abcdefghij"
#: Numbers of parties for protocols that take long: ten are left to `make test-all`.
SIZES = [3, 4, 5, 7, pytest.param(10, marks=pytest.mark.slow)]
EDGES = [0, 1, 2, P - 1, P - 2, P >> 1, (P >> 1) + 1, 2**63, 2**64 - 1, 2**64, 2**126, 2**126 - 1]

#: Residues, the awkward ones often.
residues = st.one_of(st.sampled_from(EDGES), st.integers(0, P - 1))


def elements(values: Any) -> Elements:
    """Return the elements of Python integers, from nested lists or an array."""
    return field.from_ints(np.array(values, object))


def integers(array: Elements) -> Any:
    """Return elements as nested lists of Python integers."""
    return field.to_ints(array).tolist()


def random_residues(count: int, seed: int = 0) -> list[int]:
    """Return reproducible residues."""
    rng = np.random.default_rng(seed)
    return [int.from_bytes(rng.bytes(20), "little") % P for _ in range(count)]


def compute(n: int, program: Callable[[Engine], Any], **options: Any) -> dict[str, Any]:
    """Run a program of n parties over the mesh in memory, and return what each got."""
    return run_parties(NAMES[:n], lambda party: program(Engine(party)), **options)


def compute_alike(n: int, program: Callable[[Engine], Any]) -> Any:
    """Run a program whose result all parties must get alike, and return it."""
    results = list(compute(n, program).values())
    for other in results[1:]:
        np.testing.assert_equal(other, results[0])
    return results[0]


def secret_of(engine: Engine, values: Any, reading: Format | None = None) -> SecretArray:
    """Share known values with random polynomials: for tests, without a message or a dealer."""
    constant = SecretArray(engine, elements(values))
    blank = engine.prss.uniform(engine.step("test"), constant.size)
    # Σ r_A·f_A(x) − r = x·(…) has the value 0 at 0, once everybody knows r.
    hidden = SecretArray(engine, blank.reshape(constant.shares.shape))
    return SecretArray(engine, field.add(hidden.shares, field.sub(constant.shares, hidden.open())), reading)


def spent(engine: Engine, action: Callable[[], Any]) -> tuple[Traffic, Any]:
    """Return what an action cost this party, and what it returned."""
    before = engine.party.mesh.traffic.copy()
    result = action()
    return engine.party.mesh.traffic - before, result


def exactly(x: LongArray) -> Any:
    """Open numbers modulo Q, and return them as fractions: for tests only."""
    step = Round(x.engine, "test")
    opened = step.open(x.on, x.shares)
    step.run()
    modulus = x.on.modulus
    signed = [int(v) - modulus * (2 * int(v) > modulus) for v in x.on.integers(opened.value).ravel()]
    assert all(abs(v) <= x.format.bound for v in signed)
    out = np.empty(x.size, object)
    out[:] = [Fraction(v, 1 << x.format.fraction) for v in signed]
    return out.reshape(x.shape)
