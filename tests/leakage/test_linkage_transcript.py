"""What a party sees of linkage does not tell two data sets of equal sizes apart.

A party takes everything that it received, and everything that it can put together of it with its own shares:
what is opened in a step. How often each byte is there, and each pair of neighbouring
halves of bytes, must not depend on the records, whether all of them are equal or none is like any other.
Variants that open what they must not are the positive controls; that single openings are uniform is what
`test_comparison_transcript` and `test_engine_transcript` test.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats

from protocols import codec
from protocols.engine import Engine
from protocols.linkage import matching
from protocols.linkage.matching import Blocks, best_matches
from protocols.mersenne import Elements
from protocols.party import Party
from protocols.shamir import interpolate
from protocols.testing import Message, record_parties

#: Chance of refusing a protocol that is sound, for each pair of data sets and each way to look.
ALPHA = 1e-4
BLOCKS = Blocks(0, 1, 3, 6, 5)
SIZE, BITS = (3, 6, 64), 64


def records(alike: bool) -> dict[str, np.ndarray]:
    """Return filters of a and b: all equal and full of bits; or such that the later ones are more alike."""
    if alike:
        return {"a": np.ones(SIZE, np.uint8), "b": np.ones((3, 5, BITS), np.uint8)}
    place, number = np.arange(BITS), np.arange(6)[:, np.newaxis]
    one, other = place < 60 - 2 * number, place < 10 + 4 * number[:5]
    return {name: np.stack([its] * 3).astype(np.uint8) for name, its in (("a", one), ("b", other))}


def view(alike: bool, party: str, session: int) -> tuple[list[Message], list[Message]]:
    """Return what a party received and what it sent, but for keys: all that is random follows from these."""
    filters = records(alike)
    seed = hashlib.sha256(f"{alike} {session}".encode()).digest()

    def program(its: Party) -> None:
        drawn = itertools.count()

        def entropy(size: int) -> bytes:
            return hashlib.sha256(seed + f"{its.me} {next(drawn)}".encode()).digest()[:size]

        mine = filters.get(its.me, np.zeros((3, 0, BITS), np.uint8))
        best_matches(Engine(its, entropy=entropy), mine, BLOCKS, (4, 5))

    views = record_parties("abc", program, secret=seed)[1]
    received = [its for its in views[party] if "keys" not in its.step]
    other = "a" if party != "a" else "b"
    return received, [its for its in views[other] if its.sender == party and "keys" not in its.step]


def numbers(message: Message) -> np.ndarray:
    """Return field elements, shape ``(size, 2)``, or words of shared bits."""
    value = codec.decode(message.payload)
    assert isinstance(value, np.ndarray)
    assert value.dtype == np.uint64
    return value


def opened(received: list[Message], sent: list[Message]) -> list[Elements]:
    """Return what the shares of each step stand for, of degree 2 at most."""
    by_step: dict[str, dict[int, Elements]] = {}
    for message in (*received, *sent):
        value = numbers(message)
        if value.ndim == 2:
            by_step.setdefault(message.step, {})["abc".index(message.sender) + 1] = value
    return [
        interpolate([shares[point] for point in (1, 2, 3)], (1, 2, 3))
        for shares in by_step.values()
        if len(shares) == 3 and len({its.shape for its in shares.values()}) == 1
    ]


def looks(alike: bool, party: str, sessions: int = 6) -> list[np.ndarray]:
    """Return counts of bytes, and of neighbouring halves of bytes, over several sessions."""
    parts = []
    for session in range(sessions):
        received, sent = view(alike, party, session)
        seen = [*map(numbers, received), *opened(received, sent)]
        parts += [np.ascontiguousarray(its).view(np.uint8).ravel() for its in seen]
    octets = np.concatenate(parts)
    pairs = octets[:-1] & 0xF0 | octets[1:] >> 4
    return [np.bincount(its, minlength=256) for its in (octets, pairs)]


def told_apart(party: str) -> bool:
    """Return whether a party sees which of the two data sets it is."""
    pvalues = [
        stats.chi2_contingency(np.stack(both)).pvalue
        for both in zip(looks(True, party), looks(False, party), strict=True)
    ]
    return min(pvalues) < ALPHA


@pytest.mark.parametrize("party", ["a", "b", "c"])
def test_data_sets_are_not_told_apart(party: str) -> None:
    assert not told_apart(party)


def opens_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send the filters as they are, as plain cryptographic long-term keys are."""
    inner = matching._share

    def shown(*of: Any) -> Any:
        one, other = inner(*of)
        one.open(), other.open()
        return one, other

    monkeypatch.setattr(matching, "_share", shown)


def opens_similarities(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = matching._similarities

    def shown(*of: Any) -> Any:
        common, total = inner(*of)
        common.open()
        return common, total

    monkeypatch.setattr(matching, "_similarities", shown)


def opens_encounters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open who won, as if that were public."""
    inner = matching._tournaments

    def shown(*of: Any) -> Any:
        winners, turns = inner(*of)
        for turn in turns:
            for its in turn:
                its.open()
        return winners, turns

    monkeypatch.setattr(matching, "_tournaments", shown)


@pytest.mark.parametrize("mistake", [opens_filters, opens_similarities, opens_encounters])
def test_mistakes_would_show_it(mistake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive controls."""
    mistake(monkeypatch)
    assert told_apart("c")


@pytest.mark.parametrize("party", ["a", "b", "c"])
def test_steps_and_lengths_depend_on_sizes_alone(party: str) -> None:
    def lengths(alike: bool) -> list[tuple[str, str, int]]:
        return sorted(
            (message.sender, message.step, len(memoryview(message.payload)))
            for message in view(alike, party, 0)[0]
        )

    assert lengths(True) == lengths(False)
