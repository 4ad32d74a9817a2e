"""What a coalition sees of a comparison, or of a sort, does not depend on the secrets.

Every coalition of t parties takes what its members received and strips the masks that it knows. What remains
of shared bits must be uniform words, of dealt elements uniform numbers, and of the masked opening numbers
that are uniform but for their highest bits. Chi-square tests decide, at level ALPHA; sessions are derived
from fixed secrets, so the outcome is the same in every run. Variants that leak must fail the same tests.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from engine_helpers import NAMES, elements
from scipy import stats

from protocols import bits, codec, field, prss, sort
from protocols.decompose import bit_length
from protocols.engine import Engine
from protocols.fixed import Format
from protocols.mersenne import Elements
from protocols.party import Party
from protocols.prg import Seed
from protocols.prss import Prss
from protocols.secret import SecretArray
from protocols.shamir import interpolate
from protocols.shuffle import shuffle
from protocols.testing import Message, record_parties
from transport.memory import memory_meshes

#: Chance of refusing a protocol that is sound, for each test of uniformity.
ALPHA = 1e-4
SECRET = b"a fixed secret for all sessions "
SIZE = 4096
READING = Format(0, 2**40)


def is_uniform(data: np.ndarray) -> bool:
    """Test the bytes and the pairs of a byte's nibble with its neighbour's."""
    pairs = (data[:-1] & 0xF0) | (data[1:] >> 4)
    pvalues = [stats.chisquare(np.bincount(part, minlength=256)).pvalue for part in (data, pairs)]
    return min(pvalues) > ALPHA / len(pvalues)


def engine_of(party: Party) -> Engine:
    """Return an engine whose keys are the same in every run."""
    drawn = itertools.count()
    return Engine(
        party,
        entropy=lambda size: hashlib.sha256(f"{party.me} {next(drawn)}".encode()).digest()[:size],
    )


def shared(engine: Engine, value: int) -> SecretArray:
    """Share a constant array by polynomials that are known: all that is random comes from the protocol."""
    point = elements([engine.point] * SIZE)
    shares = field.add(elements([value] * SIZE), field.mul(point, point) if engine.t > 1 else point)
    return SecretArray(engine, shares, READING)


class View:
    """What a coalition holds after a run: all its members' messages, streams and keys."""

    def __init__(self, n: int, coalition: tuple[str, ...], action: Callable[[SecretArray], Any], value: int):
        engines: dict[str, Engine] = {}

        def program(party: Party) -> None:
            engines[party.me] = engine_of(party)
            action(shared(engines[party.me], value))

        _, views = record_parties(NAMES[:n], program, secret=SECRET)
        self.n = n
        self.coalition = coalition
        self.members = [NAMES.index(name) + 1 for name in coalition]
        self.messages = {name: [m for m in views[name] if "keys" not in m.step] for name in coalition}
        self.sessions = {name: mesh.session for name, mesh in memory_meshes(NAMES[:n], secret=SECRET).items()}
        keys = {held.subset: held.key for name in coalition for held in engines[name].prss.holdings}
        self.known = Prss(n, self.members[0], keys, self.sessions[coalition[0]].id)

    def foreign(self, *kinds: str) -> list[Message]:
        """Return what came from outside the coalition in steps of some kinds; what all got alike once."""
        received = {
            (message.sender, message.step, bytes(message.payload)): message
            for messages in self.messages.values()
            for message in messages
            if message.step.split()[-1] in kinds and message.sender not in self.coalition
        }
        return list(received.values())

    def words(self, *kinds: str) -> np.ndarray:
        """Return the words of such messages, without the masks that members share with the sender."""
        parts = [np.zeros(0, np.uint64)]
        for message in self.foreign(*kinds):
            words = codec.decode(message.payload).copy()
            if words.shape == (SIZE, 2):
                continue  # elements, dealt in the same step
            mask = np.empty_like(words)
            for member in self.coalition:
                session = self.sessions[member]
                Seed(session.keys[message.sender], session.id).stream(message.step).fill(mask)
                words ^= mask
            parts.append(words.reshape(-1))
        return np.concatenate(parts)

    def opened(self) -> Elements:
        """Return the masked opening, without the summands of its mask that the coalition knows."""
        others = self.foreign("masked")
        prefix, number = others[0].step.split()[0].rsplit("/", 1)
        points = [NAMES.index(message.sender) + 1 for message in others]
        opened = interpolate([codec.decode(message.payload) for message in others], points)
        for _, summand in self.known.summands(f"{prefix}/{int(number) - 1} mask", SIZE, self.known.bits):
            opened = field.sub(opened, summand)
        return opened


CASES = [(3, tuple(name)) for name in "abc"] + [(5, tuple(pair)) for pair in ("ab", "bd", "de")]
VALUES = [0, -1, 2**40]


def compare(x: SecretArray) -> SecretArray:
    return x < 0


@pytest.mark.parametrize(("n", "coalition"), CASES)
@pytest.mark.parametrize("value", VALUES)
def test_shared_bits_look_uniform(n, coalition, value):
    assert is_uniform(View(n, coalition, compare, value).words("and").view(np.uint8))


@pytest.mark.parametrize(("n", "coalition"), CASES)
@pytest.mark.parametrize("value", VALUES)
def test_the_masked_opening_is_uniform_but_for_its_highest_bits(n, coalition, value):
    opened = View(n, coalition, compare, value).opened()
    # The summand that is not known has at least 120 bits; a carry out of v reaches the last with 2^−40.
    assert is_uniform(np.ascontiguousarray(opened.view(np.uint8)[:, :15]).reshape(-1))


@pytest.mark.parametrize(("n", "coalition"), CASES)
def test_what_is_dealt_and_told_in_conversions_is_uniform(n, coalition):
    view = View(n, coalition, compare, -1)
    numbers = [codec.decode(message.payload) for message in view.foreign("convert", "summands", "or")]
    dealt = np.concatenate([a for a in numbers if a.shape == (SIZE, 2)])
    assert is_uniform(np.ascontiguousarray(dealt.view(np.uint8)[:, :15]).reshape(-1))
    told = view.words("convert")
    if told.size:
        assert abs(np.bitwise_count(told).sum() / (64 * told.size) - 0.5) < 4 / np.sqrt(64 * told.size)


@pytest.mark.parametrize("coalition", ["a", "b", "c"])
def test_what_is_dealt_as_bits_is_uniform(coalition):
    # Bits of c − s_1, under a stream that only one other party knows.
    view = View(3, (coalition,), compare, 7)
    dealt = unstripped(view, "addends")
    assert bool(dealt.size) == (coalition == "b")
    assert not dealt.size or is_uniform(dealt.view(np.uint8))


@pytest.mark.parametrize("coalition", ["a", "b", "c"])
def test_bits_in_long_circuits_look_uniform(coalition):
    assert is_uniform(View(3, (coalition,), bit_length, 5).words("and").view(np.uint8))


# --- Variants that leak ------------------------------------------------------------------------------


def no_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bits, "hide", lambda engine, step, ours: None)
    monkeypatch.setattr(View, "words", unstripped)


def masks_of_the_receiver_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def hide(engine: Engine, step: str, ours: np.ndarray) -> None:
        party = engine.party
        streams = party.streams(step)
        follower = party.roster[engine.point % engine.n]
        mask = np.empty_like(ours)
        streams[follower].fill(mask)
        ours ^= mask

    monkeypatch.setattr(bits, "hide", hide)


def unstripped(view: View, *kinds: str) -> np.ndarray:
    """Return the words of messages as they were received."""
    parts = [codec.decode(message.payload).reshape(-1) for message in view.foreign(*kinds)]
    return np.concatenate([np.zeros(0, np.uint64), *parts])


@pytest.mark.parametrize("leak", [no_masks, masks_of_the_receiver_alone], ids=lambda leak: leak.__name__)
@pytest.mark.parametrize("coalition", ["a", "b", "c"])
def test_bits_that_are_not_hidden_are_noticed(leak, coalition, monkeypatch):
    leak(monkeypatch)
    assert not is_uniform(
        View(3, (coalition,), lambda x: bit_length(x * 0 + 5), 0).words("and").view(np.uint8)
    )


@pytest.mark.parametrize("coalition", ["a", "b", "c"])
def test_a_mask_too_short_for_the_range_is_noticed(coalition, monkeypatch):
    monkeypatch.setattr(prss, "mask_bits", lambda n, t: 60)
    monkeypatch.setattr("protocols.masked.length_of", lambda engine, reading: 41)
    monkeypatch.setattr("protocols.compare.length_of", lambda engine, reading: 41)
    opened = View(3, (coalition,), compare, 0).opened()
    assert not is_uniform(np.ascontiguousarray(opened.view(np.uint8)[:, :15]).reshape(-1))


# --- Sorting -----------------------------------------------------------------------------------------

ORDERS = list(itertools.permutations(range(3)))
RUNS = 120


def disclosed_orders(values: list[int], lists: tuple[int, ...] | None = None) -> np.ndarray:
    """Return how often each order of three shuffled rows was opened; of each of several lists, jointly."""
    found: list[tuple[int, ...]] = []

    def program(party: Party) -> None:
        engine = engine_of(party)
        x = SecretArray(engine, elements(values), READING)
        for _ in range(RUNS):
            sort.sort_by(x, lists=lists)

    arrange = sort.arrange

    def note(*arguments: Any) -> Any:
        result = arrange(*arguments)
        found.append(tuple(result.tolist()))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sort, "arrange", note)
        record_parties("abc", program, secret=SECRET)
    if lists is None:
        return np.array([found.count(order) for order in ORDERS])
    each = [(order[:3], tuple(np.array(order[3:]) - 3)) for order in found]
    return np.array([[each.count((one, other)) for other in ORDERS] for one in ORDERS])


@pytest.mark.parametrize("values", [[1, 2, 3], [3, 2, 1], [5, 5, 5]])
def test_every_order_of_the_shuffled_rows_is_as_likely(values):
    assert stats.chisquare(disclosed_orders(values) / 3).pvalue > ALPHA


def test_every_order_of_a_list_is_as_likely_whatever_that_of_another():
    orders = disclosed_orders([1, 2, 3, 3, 2, 1], (3, 3))
    assert orders.sum() == 3 * RUNS
    assert stats.chisquare(orders.ravel() / 3).pvalue > ALPHA


def test_lists_in_one_order_are_noticed(monkeypatch):
    def together(engine, rows, lists):
        pairs = np.stack([rows[:3], rows[3:]], axis=1).reshape(3, -1, 2)
        apart = shuffle(engine, pairs).reshape(3, 2, -1, 2)
        return np.concatenate([apart[:, 0], apart[:, 1]])

    monkeypatch.setattr(sort, "shuffle", together)
    orders = disclosed_orders([1, 2, 3, 3, 2, 1], (3, 3))
    assert stats.chisquare(orders.ravel() / 3).pvalue < ALPHA


def test_equal_keys_without_row_numbers_are_noticed(monkeypatch):
    monkeypatch.setattr(
        sort,
        "_unique",
        lambda key, *_: [SecretArray(key.engine, key.shares, Format(0, key.format.bound))],
    )
    assert stats.chisquare(disclosed_orders([5, 5, 5]) / 3).pvalue < ALPHA


def test_rows_that_are_not_shuffled_are_noticed(monkeypatch):
    monkeypatch.setattr(sort, "shuffle", lambda engine, rows, **_: rows)
    assert stats.chisquare(disclosed_orders([1, 2, 3]) / 3).pvalue < ALPHA
