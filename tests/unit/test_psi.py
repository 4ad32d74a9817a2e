"""Private set intersection: what comes out is true, what goes in is checked, and what is sent is counted."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings

from protocols import codec
from protocols.errors import CodecError, Disagreement, RangeError
from protocols.party import Party
from protocols.psi import rounds
from protocols.psi.group import POINT, Exponent, hash_to_group, order, places
from protocols.psi.intersection import cardinality, intersection, universe
from protocols.testing import run_parties

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/psi.json").read_text())


def run(protocol: Any, sets: dict[str, list[bytes]]) -> dict[str, Any]:
    return run_parties(sorted(sets), lambda party: protocol(party, "link", sets[party.me]))


def items(*numbers: int) -> list[bytes]:
    return [f"person {number}".encode() for number in numbers]


CASES = {
    "usual": {"a": items(5, 1, 2, 9, 4), "b": items(2, 7, 5), "c": items(3, 5, 8, 2, 6)},
    "two": {"a": items(5, 1, 2), "b": items(2, 7, 5, 8)},
    "two disjoint": {"a": items(5, 1), "b": items(2, 7, 8)},
    "two identical": {"a": items(5, 1, 2), "b": items(2, 5, 1)},
    "two, one empty": {"a": items(5, 1, 2), "b": []},
    "disjoint": {"a": items(1, 2), "b": items(3), "c": items(4, 5)},
    "identical": {"a": items(1, 2, 3), "b": items(3, 1, 2), "c": items(2, 3, 1)},
    "one empty": {"a": items(1, 2), "b": [], "c": items(1)},
    "all empty": {"a": [], "b": [], "c": []},
    "five": {
        name: items(0, *range(place, 5)) if place else items(0, 5) for place, name in enumerate("abcde")
    },
}


@pytest.mark.parametrize("case", CASES)
def test_the_intersection_is_found_and_aligned(case: str) -> None:
    sets = CASES[case]
    common = set.intersection(*map(set, sets.values()))
    found = {name: [sets[name][place] for place in where] for name, where in run(intersection, sets).items()}
    assert all(set(its) == common and len(its) == len(common) for its in found.values())
    assert len({tuple(its) for its in found.values()}) == 1


@pytest.mark.parametrize("case", CASES)
def test_common_items_are_counted(case: str) -> None:
    sets = CASES[case]
    names = sorted(sets)
    for found in run(cardinality, sets).values():
        assert found.each == tuple(len(sets[name]) for name in names)
        holding = [set(its) for its in sets.values() if its] or [set()]
        assert found.common == len(set.intersection(*holding))
        assert found.union == len(set.union(*map(set, sets.values())))
        pairs = [[len(set(sets[one]) & set(sets[two])) for two in names] for one in names]
        assert found.pairs.tolist() == pairs


@pytest.mark.parametrize("case", CASES)
def test_every_item_has_one_identifier_at_all_parties(case: str) -> None:
    sets = CASES[case]
    found = run(universe, sets)
    union = set.union(*map(set, sets.values()))
    identifier: dict[bytes, int] = {}
    for name, its in found.items():
        assert its.size == len(union)
        for item, position in zip(sets[name], its.positions.tolist(), strict=True):
            assert identifier.setdefault(item, position) == position
    assert sorted(identifier.values()) == list(range(len(union)))


@given(st.lists(st.sets(st.integers(0, 9)), min_size=2, max_size=3))
@settings(max_examples=15, deadline=None)
def test_any_sets(drawn: list[set[int]]) -> None:
    sets = {name: items(*its) for name, its in zip("abc", drawn, strict=False)}
    common = set.intersection(*map(set, sets.values()))
    for name, where in run(intersection, sets).items():
        assert {sets[name][place] for place in where} == common
    assert {its.size for its in run(universe, sets).values()} == {len(set.union(*map(set, sets.values())))}


def test_an_item_that_is_there_twice_is_refused_before_anything_is_sent() -> None:
    def twice(party: Party) -> int:
        with pytest.raises(RangeError, match="1 items are there before"):
            intersection(party, "link", items(1, 2, 1))
        return party.mesh.traffic.bytes_sent

    assert set(run_parties("ab", twice).values()) == {0}


@pytest.mark.parametrize(
    ("protocol", "sent", "turns"), [(intersection, 5, 5), (cardinality, 4, 4), (universe, 0, 10)]
)
def test_rounds_and_bytes(protocol: Any, sent: int, turns: int) -> None:
    """For three parties of N items each: 32·5·N bytes, and 32·4·N where only sizes are learnt."""

    def traffic(party: Party, size: int) -> tuple[int, int]:
        protocol(party, "link", [b"%s%d" % (party.me.encode(), number) for number in range(size)])
        return party.mesh.traffic.rounds, party.mesh.traffic.bytes_sent

    few, many = (run_parties("abc", partial(traffic, size=size)) for size in (10, 30))
    for name in "abc":
        assert few[name][0] == many[name][0] == turns
        if sent:
            assert many[name][1] - few[name][1] == 32 * 20 * sent


# The group


def test_elements_are_in_the_group_of_prime_order() -> None:
    points = hash_to_group(items(*range(20)), b"domain")
    assert len(np.unique(points, axis=0)) == 20
    for row in points:
        assert bindings.crypto_core_ed25519_is_valid_point(row.tobytes())


def test_known_answers() -> None:
    for vector in VECTORS["hash"]:
        points = hash_to_group([bytes.fromhex(vector["item"])], bytes.fromhex(vector["domain"]))
        assert points.tobytes().hex() == vector["point"]
    for vector in VECTORS["power"]:
        scalar = Exponent(bytes.fromhex(vector["exponent"]))
        points = np.frombuffer(bytes.fromhex(vector["point"]), np.uint8).reshape(1, POINT)
        assert scalar.power(points).tobytes().hex() == vector["result"]


@pytest.mark.parametrize("bad", VECTORS["refused"], ids=lambda bad: bad["why"])
def test_what_is_no_element_is_refused_and_its_sender_named(bad: dict[str, str]) -> None:
    points = np.frombuffer(bytes.fromhex(bad["point"]), np.uint8).reshape(1, POINT)
    with pytest.raises(CodecError, match="what b sent is not in the group of prime order") as caught:
        Exponent().power(points, peer="b")
    assert caught.value.peer == "b"


def test_exponents_commute() -> None:
    points = hash_to_group(items(1, 2, 3), b"")
    one, two = Exponent(), Exponent()
    both = one.power(two.power(points))
    np.testing.assert_array_equal(both, two.power(one.power(points)))
    np.testing.assert_array_equal(both, (one * two).power(points))
    assert "Exponent>" in repr(one)


def test_order_and_places() -> None:
    points = hash_to_group(items(*range(300)), b"")  # more than one part of a thread
    sorted_ = points[order(points)]
    assert [row.tobytes() for row in sorted_] == sorted(row.tobytes() for row in points)
    assert places(points, sorted_)[order(points)].tolist() == list(range(300))
    assert places(hash_to_group([b"other"], b""), sorted_).tolist() == [-1]


# Peers that send something else


@pytest.mark.parametrize(
    ("step", "message", "error"),
    [
        ("link.sizes", -1, "does not say how many items"),
        ("link.sizes", 10**9, "or more than 5,000,000"),
        ("link.sizes", None, "does not say how many items"),
        ("link.own.1", np.zeros((2, 32), np.uint8), "not a set of so many group elements"),
        ("link.own.1", np.zeros((3, 32), np.uint8), "not in the group of prime order"),
        ("link.own.1", [1, 2], "not a set of so many group elements"),
        ("link.sets", np.zeros((3, 31), np.uint8), "not a set of so many group elements"),
    ],
)
def test_malformed_messages_name_their_sender(step: str, message: Any, error: str) -> None:
    def lie(party: Party) -> None:
        if party.me == "b":
            channel = party.mesh.channel("a")
            send = channel.send
            channel.send = lambda its, payload: send(its, codec.encode(message) if its == step else payload)
        intersection(party, "link", items(1, 2, 3))

    with pytest.raises(Exception, match=error) as caught:
        run_parties("ab", lie)
    assert isinstance(caught.value, CodecError)
    assert caught.value.peer == "b"


def test_a_party_that_drops_items_of_others_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = rounds.relay

    def drop(party: Party, label: str, points: Any, key: Exponent) -> Any:
        whole = relay(party, label, points, key)
        return whole[1:] if party.me == "a" else whole

    monkeypatch.setattr(rounds, "relay", drop)
    with pytest.raises(Disagreement, match="lacks items of this party"):
        run(universe, {"a": items(1), "b": items(1)})
