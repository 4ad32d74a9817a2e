"""What a coalition sees of a secure sum is uniform, but for the sum itself.

Every coalition of n − 2 parties takes what its members received and strips the masks that it knows.
Of each other party's array, words that are uniform must remain. Chi-square tests over their bytes
decide, at level ALPHA; sessions are derived from fixed secrets, so the outcome is the same in every
run. Variants of the protocol that leak, each by a plausible mistake, must fail the same tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from protocols import codec, ring
from protocols.errors import LabelReused
from protocols.party import Party
from protocols.prg import Seed, Stream
from protocols.ring import EXACT, FIXED128, Z64, Ring
from protocols.sum import secure_sum
from protocols.testing import record_parties, run_parties
from transport.memory import memory_meshes

#: Chance of refusing a protocol that is sound, for each test of uniformity.
ALPHA = 1e-4
SECRET = b"a fixed secret for all sessions "
BYTES = 1 << 17

Inputs = dict[str, np.ndarray]


def is_uniform(words: np.ndarray) -> bool:
    """Test the bytes, the pairs of a byte's nibble with its neighbour's, and the bits' balance by place."""
    data = np.ascontiguousarray(words).reshape(-1).view(np.uint8)
    pairs = (data[:-1] & 0xF0) | (data[1:] >> 4)
    bits = np.unpackbits(data).reshape(-1, 64).sum(0)
    balance = stats.chi2.sf(np.sum((bits - data.size / 16) ** 2 / (data.size / 32)), 64)
    pvalues = [
        stats.chisquare(np.bincount(data, minlength=256)).pvalue,
        stats.chisquare(np.bincount(pairs, minlength=256)).pvalue,
        balance,
    ]
    return min(pvalues) > ALPHA / len(pvalues)


def same_distribution(one: np.ndarray, other: np.ndarray) -> bool:
    """Test whether the bytes of two arrays come from one distribution."""
    table = [np.bincount(words.reshape(-1).view(np.uint8), minlength=256) for words in (one, other)]
    return bool(stats.chi2_contingency(table).pvalue > ALPHA)


def residuals(
    inputs: Inputs, kind: Ring, coalition: tuple[str, ...], label: str = "total"
) -> dict[str, np.ndarray]:
    """Return what the coalition holds of every other party's array once it has stripped its masks."""

    def program(party: Party) -> Any:
        return secure_sum(party, label, inputs[party.me], ring=kind)

    names = sorted(inputs)
    size = inputs[names[0]].size
    _, views = record_parties(names, program, secret=SECRET)
    sessions = {name: mesh.session for name, mesh in memory_meshes(names, secret=SECRET).items()}
    stripped = {}
    for other in sorted(set(names) - set(coalition)):
        known = np.zeros((size, kind.limbs), np.uint64)
        words = np.empty_like(known)
        for member in coalition:
            Seed(sessions[member].keys[other], sessions[member].id).stream(label).fill(words)
            (ring.add_into if other < member else ring.sub_into)(known, words)
        parts = []
        for member in coalition:
            (message,) = [m for m in views[member] if (m.sender, m.step) == (other, f"{label}/scatter")]
            part = codec.decode(message.payload)[3].copy()
            owner = names.index(member)
            ring.sub_into(part, known[owner * size // len(names) : (owner + 1) * size // len(names)])
            parts.append(part)
        stripped[other] = np.concatenate(parts)
    return stripped


def inputs_of(n: int, kind: Ring, value: float = 0) -> Inputs:
    """Return arrays that are as far from random as can be: constants."""
    dtype = np.int64 if kind == Z64 else np.float64
    size = BYTES // (8 * kind.limbs)
    return {f"s{number}": np.full(size, value * (number + 1), dtype) for number in range(n)}


CASES = [
    pytest.param(n, kind, coalition, id=f"{name}, {' '.join(coalition)} of {n}")
    for name, kind in (("Z64", Z64), ("FIXED128", FIXED128), ("EXACT", EXACT))
    for n in (3, 4)
    for coalition in itertools.combinations([f"s{number}" for number in range(n)], n - 2)
]


@pytest.mark.parametrize(("n", "kind", "coalition"), CASES)
@pytest.mark.parametrize("value", [0, -7])
def test_each_other_array_looks_uniform(n, kind, coalition, value):
    for words in residuals(inputs_of(n, kind, value), kind, coalition).values():
        assert is_uniform(words)


@pytest.mark.parametrize(("n", "kind", "coalition"), CASES)
def test_together_they_are_the_sum_and_nothing_more(n, kind, coalition):
    # The two honest arrays add up to their sum; the first alone, which is uniform, then tells the second.
    inputs = inputs_of(n, kind, 3)
    one, other = residuals(inputs, kind, coalition).values()
    ring.add_into(one, other)
    honest = [inputs[name] for name in sorted(set(inputs) - set(coalition))]
    assert set(ring.decode(one, kind)) == {honest[0][0] + honest[1][0]}


@pytest.mark.parametrize(("n", "kind", "coalition"), CASES)
def test_what_is_seen_does_not_depend_on_the_inputs(n, kind, coalition):
    # Two inputs of the same total, under labels of their own as in one session.
    flat = inputs_of(n, kind, 0)
    tilted = dict(flat)
    one, other = sorted(set(flat) - set(coalition))
    tilted[one], tilted[other] = flat[one] + 1000, flat[other] - 1000
    before = residuals(flat, kind, coalition, "first")
    after = residuals(tilted, kind, coalition, "second")
    for name in (one, other):
        assert same_distribution(before[name], after[name])
        assert is_uniform(after[name] - before[name])


@pytest.mark.parametrize("kind", [Z64, FIXED128, EXACT], ids=str)
@pytest.mark.parametrize("n", [2, 3])
def test_the_wire_carries_uniform_words_for_whoever_holds_no_key(n, kind):
    def program(party: Party) -> Any:
        return secure_sum(party, "total", inputs[party.me], ring=kind)

    inputs = inputs_of(n, kind, 1)
    _, views = record_parties(sorted(inputs), program, secret=SECRET)
    for view in views.values():
        for message in view:
            if message.step == "total/scatter":
                assert is_uniform(codec.decode(message.payload)[3])


def no_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stream, "fill", lambda self, out: out.fill(0))


def masks_of_the_low_half(monkeypatch: pytest.MonkeyPatch) -> None:
    fill = Stream.fill

    def forget_the_top(self: Stream, out: np.ndarray) -> None:
        fill(self, out)
        out &= np.uint64(2**32 - 1)

    monkeypatch.setattr(Stream, "fill", forget_the_top)


def masks_in_floating_point(monkeypatch: pytest.MonkeyPatch) -> None:
    fill = Stream.fill

    def gaussian(self: Stream, out: np.ndarray) -> None:
        fill(self, out)
        noise = 1e6 * stats.norm.isf((out / 2.0**64).clip(1e-9, 1 - 1e-9))
        out[:] = noise.astype(np.int64).view(np.uint64)

    monkeypatch.setattr(Stream, "fill", gaussian)


def one_word_for_a_whole_block(monkeypatch: pytest.MonkeyPatch) -> None:
    fill = Stream.fill

    def repeat(self: Stream, out: np.ndarray) -> None:
        word = np.empty(1, np.uint64)
        fill(self, word)
        out.fill(word[0])

    monkeypatch.setattr(Stream, "fill", repeat)


LEAKS = [no_masks, masks_of_the_low_half, masks_in_floating_point, one_word_for_a_whole_block]


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
@pytest.mark.parametrize("kind", [Z64, FIXED128, EXACT], ids=str)
def test_masks_that_do_not_hide_are_noticed(leak: Callable[..., None], kind: Ring, monkeypatch):
    leak(monkeypatch)
    for words in residuals(inputs_of(3, kind, 1), kind, ("s1",)).values():
        assert not is_uniform(words)


@pytest.mark.parametrize("kind", [Z64, FIXED128, EXACT], ids=str)
def test_masks_that_are_used_twice_are_noticed(kind, monkeypatch):
    stream = Seed.stream
    monkeypatch.setattr(Seed, "stream", lambda self, label: stream(self, ""))
    before = residuals(inputs_of(3, kind, 1), kind, ("s1",), "first")
    after = residuals(inputs_of(3, kind, 2), kind, ("s1",), "second")
    for name, words in before.items():
        assert is_uniform(words)
        assert not is_uniform(after[name] - words)


def test_no_label_of_a_session_makes_masks_twice(monkeypatch):
    made: list[bytes] = []
    init = Stream.__init__

    def note(self: Stream, material: bytes) -> None:
        made.append(material)
        init(self, material)

    monkeypatch.setattr(Stream, "__init__", note)

    def program(party: Party) -> None:
        for label in ("first", "second", "second", "third", "first"):
            try:
                secure_sum(party, label, np.ones(3))
            except LabelReused:
                assert label in ("first", "second")

    run_parties("abc", program)
    assert len(made) == 3 * 3 * 2  # labels, pairs, ends
    assert all(made.count(stream) == 2 for stream in made)


def test_nothing_shown_holds_a_value_or_a_key():
    secret_value = 1234567.890625

    def program(party: Party) -> list[str]:
        shown = [repr(party), repr(party.mesh), repr(party.mesh.session), repr(party.streams("other"))]
        for wrong in (np.array([secret_value, np.nan]), np.array([secret_value, np.inf])):
            with pytest.raises(Exception, match="cannot be summed") as caught:
                secure_sum(party, "total", wrong)
            shown.append(repr(caught.value))
        secure_sum(party, "total", np.array([secret_value]))
        return shown

    results, views = record_parties("abc", program, secret=SECRET)
    keys = [
        key for mesh in memory_meshes("abc", secret=SECRET).values() for key in mesh.session.keys.values()
    ]
    for text in [*itertools.chain(*results.values()), repr(views)]:
        assert "12345" not in text
        assert not any(key.hex() in text or repr(key) in text for key in keys)
