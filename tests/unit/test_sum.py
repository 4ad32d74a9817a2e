from __future__ import annotations

import itertools
import json
import math
import runpy
import time
from collections import deque
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import codec
from protocols.errors import CodecError, LabelReused, RangeError, ShapeMismatch
from protocols.party import Party
from protocols.ring import EXACT, FIXED128, Z64, Ring
from protocols.sum import cost, secure_sum
from protocols.testing import run_parties
from transport.base import Channel, Mesh, Session
from transport.errors import StepMismatch
from transport.memory import LinkModel

VECTORS = Path(__file__).parents[1] / "vectors"
KNOWN = json.loads((VECTORS / "sum.json").read_text("utf-8"))
RINGS = [EXACT, FIXED128]
#: Few enough elements a message that small arrays take several.
TINY = 34 * 8 * 4


def sum_of(inputs: dict[str, np.ndarray], ring: Ring | None = None, **options: Any) -> np.ndarray:
    """Return the sum of the parties' inputs, the same bits at each."""
    results = run_parties(
        list(inputs), lambda party: secure_sum(party, "total", inputs[party.me], ring=ring), **options
    )
    assert len({(result.tobytes(), result.shape, result.dtype) for result in results.values()}) == 1
    return next(iter(results.values()))


def nearest_sum(terms: tuple[float, ...]) -> float:
    total = sum(map(Fraction, terms), Fraction(0))
    try:
        return total.numerator / total.denominator
    except OverflowError:
        return math.inf if total > 0 else -math.inf


class ScriptedChannel(Channel):
    def __init__(self, peer: str, incoming: list[bytes]) -> None:
        self.peer = peer
        self.incoming = deque(incoming)
        self.sent: list[tuple[str, str]] = []

    def send(self, step, payload):
        self.sent.append((step, bytes(payload).hex()))

    def recv(self, step):
        return self.incoming.popleft()


class ScriptedMesh(Mesh):
    """A mesh whose peers have said already what they will ever say."""

    def __init__(self, me: str, session: Session, incoming: dict[str, list[bytes]]) -> None:
        super().__init__(me, tuple(sorted([me, *incoming])), session, 0.0)
        self.channels = {peer: ScriptedChannel(peer, messages) for peer, messages in incoming.items()}

    def channel(self, peer):
        return self.channels[peer]

    def abort(self, code, origin=None): ...

    def close(self): ...


def scripted(
    case: dict[str, Any], me: str, alter=lambda peer, messages: messages
) -> tuple[ScriptedMesh, Any]:
    """Return a mesh on which `me` meets the peers of a known answer, and its own input."""
    peers = sorted(set(case["inputs"]) - {me})
    keys = {peer: "-".join(sorted((me, peer))).encode().ljust(32, b".") for peer in peers}
    incoming = {
        peer: alter(peer, [bytes.fromhex(case["scatter"][peer][me]), bytes.fromhex(case["gather"][peer])])
        for peer in peers
    }
    whole = case["ring"] == [1, 0]
    x = np.array(case["inputs"][me], np.int64 if whole else np.float64).reshape(case["shape"])
    return ScriptedMesh(me, Session(bytes.fromhex(KNOWN["session"]), keys), incoming), x


def ring_of(case: dict[str, Any]) -> Ring:
    return Ring(*case["ring"])


def test_known_answers_are_those_of_the_reference():
    reference = runpy.run_path(str(VECTORS / "sum_reference.py"))
    assert json.loads(json.dumps(reference["vectors"]())) == KNOWN


@pytest.mark.parametrize(
    ("case", "me"),
    [pytest.param(case, me, id=f"{case['name']}: {me}") for case in KNOWN["cases"] for me in case["inputs"]],
)
def test_known_answers(case, me):
    mesh, x = scripted(case, me)
    result = secure_sum(Party(mesh), case["label"], x, ring=ring_of(case))
    assert result.ravel().tolist() == case["result"]
    assert result.shape == tuple(case["shape"])
    for peer, channel in mesh.channels.items():
        steps = [f"{case['label']}/scatter", f"{case['label']}/gather"]
        assert channel.sent == list(zip(steps, [case["scatter"][me][peer], case["gather"][me]], strict=True))


@pytest.mark.parametrize("case", KNOWN["cases"], ids=lambda case: case["name"])
@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"N",
        codec.encode([]),
        codec.encode([1, 0, ["x"], np.zeros((1, 1), np.uint64)]),
        codec.encode([1, 0, 4, np.zeros((1, 1), np.uint64)]),
        codec.encode(["1", 0, [4], np.zeros((1, 1), np.uint64)]),
        codec.encode(np.zeros(7)),
        codec.encode(np.zeros(1, np.uint8)),
        codec.encode(np.zeros((1, 1), np.int64)),
    ],
)
@pytest.mark.parametrize("step", [0, 1])
def test_what_no_honest_party_sends(case, junk, step):
    def alter(peer, messages):
        return messages if peer != "b" else [junk if step == place else m for place, m in enumerate(messages)]

    mesh, x = scripted(case, "a", alter)
    with pytest.raises(CodecError, match="site b") as caught:
        secure_sum(Party(mesh), case["label"], x, ring=ring_of(case))
    assert caught.value.peer == "b"


@pytest.mark.parametrize(
    "elements", [np.zeros((1, 1), np.int64), np.zeros((9, 1), np.uint64), np.zeros(2, np.uint64)]
)
def test_blocks_of_another_form(elements):
    def alter(peer, messages):
        return [codec.encode([1, 0, [4], elements]), messages[1]]

    mesh, x = scripted(KNOWN["cases"][0], "a", alter)
    with pytest.raises(CodecError, match="no block of a sum"):
        secure_sum(Party(mesh), "counts", x)


@settings(max_examples=30)
@given(st.data())
def test_floats_are_summed_exactly_and_rounded_once(data):
    n = data.draw(st.integers(2, 5))
    size = data.draw(st.integers(0, 7))
    column = st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * n)
    columns = data.draw(st.lists(column, min_size=size, max_size=size))
    inputs = {f"s{row}": np.array([column[row] for column in columns]) for row in range(n)}
    assert sum_of(inputs).tolist() == [nearest_sum(column) for column in columns]


@settings(max_examples=30)
@given(st.data())
def test_fixed_point_sums_are_exact_for_multiples_of_its_unit(data):
    n = data.draw(st.integers(2, 4))
    term = st.integers(-(2**53), 2**53).map(lambda units: units * 2.0**-60)
    columns = data.draw(st.lists(st.tuples(*[term] * n), max_size=5))
    inputs = {f"s{row}": np.array([column[row] for column in columns]) for row in range(n)}
    assert sum_of(inputs, FIXED128).tolist() == [nearest_sum(column) for column in columns]


@settings(max_examples=30)
@given(st.data())
def test_integers_are_summed_exactly(data):
    n = data.draw(st.integers(2, 5))
    limit = (2**63 - 1) // n
    columns = data.draw(st.lists(st.tuples(*[st.integers(-limit, limit)] * n), max_size=5))
    inputs = {f"s{row}": np.array([column[row] for column in columns], np.int64) for row in range(n)}
    result = sum_of(inputs)
    assert result.dtype == np.int64
    assert result.tolist() == [sum(column) for column in columns]


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i4", "u8", "f4", "f8"])
def test_dtypes(dtype):
    x = np.array([[0, 1], [1, 1]], dtype)
    result = sum_of({"a": x, "b": x, "c": np.asfortranarray(x)[::1]})
    assert result.tolist() == [[0, 3], [3, 3]]
    assert result.dtype == (np.float64 if dtype[0] == "f" else np.int64)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (2, 3, 4), (1, 1, 1, 1, 1)])
@pytest.mark.parametrize("ring", RINGS, ids=str)
def test_shapes(shape, ring):
    inputs = {name: np.random.default_rng(seed).normal(size=shape) for seed, name in enumerate("abcd")}
    result = sum_of(inputs, ring)
    assert result.shape == shape
    np.testing.assert_allclose(result, sum(inputs.values()), rtol=1e-15, atol=1e-15)


def test_inputs_are_not_altered_and_may_be_read_only():
    x = np.arange(10.0)[::2]
    x.flags.writeable = False
    assert sum_of({"a": x, "b": x}).tolist() == [0, 4, 8, 12, 16]


@pytest.mark.parametrize("ring", RINGS, ids=str)
def test_the_order_of_sites_changes_no_bit(ring):
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(4, 20)) * 10.0 ** rng.integers(-12, 12, size=(4, 20))
    results = {
        sum_of(dict(zip(order, rows, strict=True)), ring).tobytes()
        for order in itertools.permutations("abcd")
    }
    assert len(results) == 1


@pytest.mark.parametrize("ring", [EXACT, FIXED128, Z64], ids=str)
@pytest.mark.parametrize("n", [2, 3, 7])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 2), (101,)])
def test_cost_is_as_declared(ring, n, shape, monkeypatch):
    monkeypatch.setattr("protocols.sum.MESSAGE", TINY)

    def program(party):
        secure_sum(party, "total", np.zeros(shape, int if ring == Z64 else float), ring=ring)
        assert (party.mesh.traffic.rounds, party.mesh.traffic.bytes_sent) == cost(party, shape, ring)

    run_parties([f"s{number}" for number in range(n)], program)


@pytest.mark.parametrize("ring", RINGS, ids=str)
def test_many_messages_give_the_sum_of_one(ring, monkeypatch):
    inputs = {name: np.random.default_rng(seed).normal(size=500) for seed, name in enumerate("abc")}
    whole = sum_of(inputs, ring)
    monkeypatch.setattr("protocols.sum.MESSAGE", TINY)
    assert (sum_of(inputs, ring) == whole).all()


def test_long_arrays_do_not_wait_for_each_message(monkeypatch):
    monkeypatch.setattr("protocols.sum.MESSAGE", 64)
    latency, blocks = 0.2, 20

    def program(party):
        start = time.monotonic()
        secure_sum(party, "total", np.ones(3 * 4 * blocks), ring=FIXED128)
        assert party.mesh.traffic.messages_sent == 2 * 2 * blocks
        return time.monotonic() - start

    seconds = run_parties("abc", program, model=LinkModel(latency))
    assert max(seconds.values()) < 0.75 * blocks * latency  # one by one: 2 waits a block


def test_thirty_parties_send_no_more_than_three():
    size = 30_000
    expected = {name: float(value) for value, name in enumerate(f"s{number:02d}" for number in range(30))}

    def program(party):
        result = secure_sum(party, "total", np.full(size, expected[party.me]), ring=FIXED128)
        return result, party.mesh.traffic.bytes_sent / (8 * size)

    for result, ratio in run_parties(list(expected), program).values():
        assert (result == sum(expected.values())).all()
        assert ratio < 3.05  # 3·29/30 and headers; 2 for three parties


@pytest.mark.parametrize(
    ("x", "ring"),
    [
        ([0.0, math.nan], None),
        ([0.0, math.inf], None),
        ([0.0, -math.inf], FIXED128),
        ([0.0, 2.0**62], FIXED128),
        (np.array([0, 2**63 // 3 + 1]), None),
        (np.array([0, -(2**63)]), None),
        (np.array([0, 2**64 - 1], np.uint64), None),
    ],
)
def test_values_that_cannot_be_summed_are_refused_before_anything_is_sent(x, ring):
    def program(party):
        with pytest.raises(RangeError, match="1 of 2 values cannot be summed, the first at flat index 1"):
            secure_sum(party, "total", np.array(x), ring=ring)
        assert party.mesh.traffic.messages_sent == 0
        return secure_sum(party, "total", np.array([1]))  # nor was the label used up

    assert run_parties("abc", program)["a"] == [3]


@pytest.mark.parametrize(
    ("x", "ring", "error"),
    [
        (np.array(["1"]), None, TypeError),
        (np.array([1j]), None, TypeError),
        (np.array([None]), None, TypeError),
        (np.array([1]), FIXED128, ValueError),
        (np.array([1.0]), Z64, ValueError),
    ],
)
def test_arrays_that_cannot_be_summed(x, ring, error):
    def program(party):
        with pytest.raises(error):
            secure_sum(party, "total", x, ring=ring)
        assert party.mesh.traffic.messages_sent == 0

    run_parties("ab", program)


def test_a_label_is_never_used_twice():
    def program(party):
        secure_sum(party, "total", np.array([1.0]))
        sent = party.mesh.traffic.messages_sent
        with pytest.raises(LabelReused, match="total"):
            secure_sum(party, "total", np.array([2.0]))
        assert party.mesh.traffic.messages_sent == sent

    run_parties("abc", program)


@pytest.mark.parametrize(
    ("odd", "ring", "text"),
    [
        (np.zeros(3), FIXED128, r"floats of shape \(3,\) in 2 limbs"),
        (np.zeros((2, 1)), FIXED128, r"floats of shape \(2, 1\)"),
        (np.zeros(2), EXACT, "in 34 limbs"),
        (np.zeros(2, int), None, r"integers of shape \(2,\)"),
        (np.zeros(10**6), FIXED128, r"\(1000000,\)"),
    ],
)
def test_other_shapes_and_rings_are_named(odd, ring, text):
    def program(party):
        if party.me == "b":
            return secure_sum(party, "total", odd, ring=ring)
        return secure_sum(party, "total", np.full(2, 123.456), ring=FIXED128)

    with pytest.raises(ShapeMismatch, match=text) as caught:
        run_parties("abc", program)
    assert caught.value.peer in "abc"
    assert "(2,)" in str(caught.value)
    assert "123" not in str(caught.value)


def test_other_steps_are_named():
    def program(party):
        secure_sum(party, "glm.newton 3" if party.me == "b" else "gwas.block 12", np.zeros(2))

    with pytest.raises(StepMismatch, match=r"gwas\.block 12"):
        run_parties("abc", program)
