"""What a party sees of private set intersection tells it the sizes, and which items only where that is meant.

A party takes everything that it received and everything that it computed, and looks for its own items in all
these sets, by all that it knows: what came home, and what it made of it. A protocol in which sizes alone are
to be learnt must leave it with nothing; one that tells which, with just these. Variants that leak, each by a
plausible mistake, are the positive controls.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from protocols import codec
from protocols.party import Party
from protocols.psi import intersection as psi
from protocols.psi import rounds
from protocols.psi.group import Exponent
from protocols.psi.intersection import cardinality, intersection, universe
from protocols.testing import Message, record_parties

SETS = {
    "a": [b"person %d" % number for number in range(40)],
    "b": [b"person %d" % number for number in range(10, 60)],
    "c": [b"person %d" % number for number in range(0, 30, 2)],
}
#: Two parties alone: no third one's exponent helps.
TWO = {name: SETS[name] for name in "ab"}


def view(protocol: Any) -> list[Message]:
    return record_parties("abc", lambda party: protocol(party, "link", SETS[party.me]))[1]["a"]


def elements(messages: list[Message]) -> dict[str, list[list[bytes]]]:
    """Return the sets that were received, by step."""
    found: dict[str, list[list[bytes]]] = {}
    for message in messages:
        value = codec.decode(message.payload)
        if isinstance(value, np.ndarray) and len(value):
            found.setdefault(message.step, []).append([row.tobytes() for row in value])
    return found


def found_of_others(
    protocol: Any, party: str, monkeypatch: pytest.MonkeyPatch, sets: dict[str, list[bytes]] = SETS
) -> int:
    """Count the items of a party that it finds in the sets of others, in all that it received or computed.

    Only the list of all identifiers, which is public, does not count.
    """
    computed: dict[str, list[set[bytes]]] = {name: [] for name in sets}
    where = threading.local()
    power = Exponent.power

    def watched(self: Exponent, points: Any, *, peer: str | None = None) -> Any:
        raised = power(self, points, peer=peer)
        computed[where.party].append({row.tobytes() for row in raised})
        return raised

    with monkeypatch.context() as patch:
        patch.setattr(Exponent, "power", watched)

        def program(its: Party) -> Any:
            where.party = its.me
            return protocol(its, "link", sets[its.me])

        messages = record_parties("".join(sets), program)[1][party]
    received = elements(messages)
    home = set(received[f"link.own.{len(sets)}"][0])
    # What an item of its own looks like at the end: as it came home, or raised once more.
    own = [home, *(its for its in computed[party] if len(its) == len(home) and its is not home)]
    seen = [set(its) for step, sets in received.items() if not step.startswith("link.union") for its in sets]
    seen += [its for its in computed[party] if len(its) != len(SETS[party])]
    others = [its for its in seen if len(its) in {len(SETS[name]) for name in SETS if name != party}]
    return max(len(mine & its) for mine in own for its in others)


def one_exponent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exponent, "__mul__", lambda one, two: one)
    monkeypatch.setattr(rounds, "relay", lambda party, label, points, key: points)
    monkeypatch.setattr(psi, "places", lambda points, among: np.zeros(len(points), np.int64))


def all_before_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise sets to all exponents before they come home: the last one to do so sees its neighbour's."""
    circulate = rounds.circulate

    def early(party: Party, label: str, points: Any, sizes: Any, key: Exponent, others: Exponent) -> Any:
        return circulate(party, label, points, sizes, others, others)

    monkeypatch.setattr(rounds, "circulate", early)
    monkeypatch.setattr(psi, "places", lambda points, among: np.zeros(len(points), np.int64))


@pytest.mark.parametrize("party", ["a", "b", "c"])
def test_which_items_are_common_is_seen_where_it_is_meant(
    party: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = set().union(*(SETS[name] for name in SETS if name != party))
    assert found_of_others(intersection, party, monkeypatch) > 0
    assert len(set(SETS[party]) & others) >= found_of_others(intersection, party, monkeypatch)


@pytest.mark.parametrize("party", ["a", "b", "c"])
def test_the_universe_hides_which_items_are_common(party: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_of_others(universe, party, monkeypatch) == 0


@pytest.mark.parametrize("sets", [SETS, TWO], ids=len)
@pytest.mark.parametrize("mistake", [one_exponent, all_before_home])
def test_mistakes_would_show_it(
    mistake: Any, sets: dict[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The positive controls: what hides the match is a second exponent, which its owner applies last."""
    mistake(monkeypatch)
    assert max(found_of_others(universe, party, monkeypatch, sets) for party in sets) > 0


@pytest.mark.parametrize("party", ["a", "b"])
def test_between_two_parties_too(party: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_of_others(universe, party, monkeypatch, TWO) == 0
    common = len(set(TWO["a"]) & set(TWO["b"]))
    assert found_of_others(intersection, party, monkeypatch, TWO) == common


@pytest.mark.parametrize("protocol", [cardinality, universe])
def test_sets_come_in_an_order_that_tells_nothing(protocol: Any) -> None:
    """Of b's first step, in the order of its items, a sees an order sorted by what it cannot compute."""
    for step, sets in elements(view(protocol)).items():
        if step.startswith("link.sets") or step == "link.own.1":
            for points in sets:
                assert points == sorted(points)


def order_is_kept(protocol: Any, party: str = "b") -> float:
    """Return how far the order in which b's items reach a goes along with theirs at b, over several runs."""
    along = []
    for _ in range(6):
        keys: dict[bytes, int] = {}

        def program(its: Party, keys: dict[bytes, int] = keys) -> None:
            power = Exponent.power

            def watch(self: Exponent, points: Any, *, peer: str | None = None) -> Any:
                raised = power(self, points, peer=peer)
                if peer is None and its.me == party:
                    for place, row in enumerate(raised):
                        keys.setdefault(row.tobytes(), place)
                return raised

            if its.me == party:
                Exponent.power = watch  # type: ignore[method-assign]
            try:
                protocol(its, "link", SETS[its.me])
            finally:
                Exponent.power = power  # type: ignore[method-assign]

        messages = record_parties("cb", program)[1]["c"]
        first = next(
            its for step, its in elements(messages).items() if step in ("link.own.1", "link.sets.1")
        )[0]
        places = [keys[point] for point in first]
        along.append(np.corrcoef(places, np.arange(len(places)))[0, 1])
    return float(np.mean(along))


def test_the_order_of_items_is_not_that_of_rows() -> None:
    """Rows are often sorted by who they are of: b's first element must not be of its first row."""
    assert abs(order_is_kept(intersection)) < 0.4
    assert abs(order_is_kept(cardinality)) < 0.4


def test_lengths_depend_on_sizes_alone() -> None:
    def lengths(shift: int) -> list[tuple[str, int]]:
        sets = {
            name: [item + b"%d" % (place < shift) for place, item in enumerate(its)]
            for name, its in SETS.items()
        }
        views = record_parties("abc", lambda party: cardinality(party, "link", sets[party.me]))[1]
        return [(message.step, len(memoryview(message.payload))) for message in views["a"]]

    assert lengths(0) == lengths(25)
