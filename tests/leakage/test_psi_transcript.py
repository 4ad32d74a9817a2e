"""What a party sees of private set intersection tells it the sizes, and which items only where that is meant.

Party a takes everything that it received and looks for its own items in the sets of others, by all that it
knows: its items under its exponents, in the order in which it put them in. A protocol in which sizes alone
are to be learnt must leave it with nothing; one that tells which, with just these. Sequences that keep an
order are the positive control.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from protocols import codec
from protocols.party import Party
from protocols.psi import rounds
from protocols.psi.group import Exponent
from protocols.psi.intersection import cardinality, intersection, universe
from protocols.testing import Message, record_parties

SETS = {
    "a": [b"person %d" % number for number in range(40)],
    "b": [b"person %d" % number for number in range(10, 60)],
    "c": [b"person %d" % number for number in range(0, 30, 2)],
}


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


def known_of_b(messages: list[Message]) -> int:
    """Count the items of a that it finds in b's set: those that came home among those that were published."""
    sets = elements(messages)
    own = {point for step in sets if step.startswith("link.own.3") for its in sets[step] for point in its}
    published = {
        point for step in sets if step == "link.sets.all" or step == "link.sets" for point in sets[step][0]
    }
    return len(own & published)


def test_which_items_are_common_is_seen_where_it_is_meant() -> None:
    assert known_of_b(view(intersection)) == 30


def test_the_universe_hides_which_items_are_common() -> None:
    assert known_of_b(view(universe)) == 0


def test_one_exponent_for_both_would_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: the second exponent is what hides the match."""
    monkeypatch.setattr(Exponent, "__mul__", lambda one, two: one)
    monkeypatch.setattr(rounds, "relay", lambda party, label, points, key: points)
    assert known_of_b(view(universe)) > 0


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
