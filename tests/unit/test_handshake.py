"""The handshake without a network: who agrees, who is refused, and over what."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport import handshake as module
from transport.errors import FrameError, HandshakeRefused, Mismatch
from transport.handshake import Handshake, Hello, Terms, make_terms
from transport.loopback import LoopbackFederation, loopback_federation


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> LoopbackFederation:
    return loopback_federation("abc", Path(tmp_path_factory.mktemp("federation")))


Start = Callable[..., dict[str, Handshake]]


@pytest.fixture
def start(federation: LoopbackFederation) -> Start:
    """Begin the handshake at each of `names`; `changes` alters the terms of some."""

    def begin(names: str = "abc", **changes: dict[str, Any]) -> dict[str, Handshake]:
        cards = {name: federation.manifest.card(name) for name in names}
        terms = make_terms("1.0", 1, federation.manifest.hash, bytes(32), names)
        return {
            name: Handshake(federation.keys[name].identity, replace(terms, **changes.get(name, {})), cards)
            for name in names
        }

    return begin


def greet(sides: dict[str, Handshake]) -> None:
    for name, side in sides.items():
        for peer, other in sides.items():
            if peer != name:
                side.accept(peer, other.hello.encode())


def test_all_agree(start: Start) -> None:
    sides = start()
    assert sides["a"].missing == ("b", "c")
    greet(sides)
    for name, side in sides.items():
        for peer in sides:
            if peer != name:
                sides[peer].verify(name, side.join(peer))
    assert not any(side.missing or side.unverified for side in sides.values())
    assert len({side.session.id for side in sides.values()}) == 1
    assert sides["a"].session.keys["b"] == sides["b"].session.keys["a"]
    assert len({key for side in sides.values() for key in side.session.keys.values()}) == 3


def test_no_session_before_all_hellos(start: Start) -> None:
    sides = start()
    sides["a"].accept("b", sides["b"].hello.encode())
    with pytest.raises(RuntimeError, match="hello of c"):
        _ = sides["a"].session


def test_sessions_differ_each_time(start: Start) -> None:
    ids = set()
    for _ in range(3):
        sides = start()
        greet(sides)
        ids.add(sides["a"].session.id)
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("change", "mismatch", "words"),
    [
        ({"package": "2.0"}, Mismatch.PACKAGE, ["runs fedstats 2.0", "1.0", "install the same version"]),
        ({"epoch": 2}, Mismatch.EPOCH, ["epoch 2", "epoch 1", "this site must take over"]),
        ({"epoch": 0}, Mismatch.EPOCH, ["epoch 0", "site b must take over"]),
        ({"manifest": bytes(32)}, Mismatch.MANIFEST, ["000000000000…", "give every site the same file"]),
        ({"roster": ("a", "b")}, Mismatch.ROSTER, ["a, b", "a, b, c"]),
        ({"spec": b"\x12" * 32}, Mismatch.SPEC, ["sha256 121212121212… there", "run the same file"]),
    ],
)
def test_what_differs_is_named_on_both_sides(
    start: Start, change: dict, mismatch: Mismatch, words: list
) -> None:
    sides = start(b=change)
    for me, peer in (("a", "b"), ("b", "a")):
        with pytest.raises(HandshakeRefused) as caught:
            sides[me].accept(peer, sides[peer].hello.encode())
        assert caught.value.peer == peer
        assert caught.value.mismatch is mismatch
        if me == "a":
            assert all(word in str(caught.value) for word in words)


def test_another_protocol_version_is_refused_whatever_follows(start: Start) -> None:
    hello = b"fedstats" + struct.pack(">H", 99) + b"anything at all"
    with pytest.raises(HandshakeRefused, match="version 99") as caught:
        start()["a"].accept("b", hello)
    assert caught.value.mismatch is Mismatch.PROTOCOL


def test_the_hello_of_another_site_is_refused(start: Start) -> None:
    sides = start()
    with pytest.raises(HandshakeRefused, match="introduced itself as 'c'") as caught:
        sides["a"].accept("b", sides["c"].hello.encode())
    assert caught.value.mismatch is Mismatch.CERTIFICATE


def test_a_hello_for_another_certificate_is_refused(start: Start) -> None:
    sides = start()
    altered = replace(sides["b"].hello, certificate=bytes(32))
    with pytest.raises(HandshakeRefused) as caught:
        sides["a"].accept("b", altered.encode())
    assert caught.value.mismatch is Mismatch.CERTIFICATE


def test_a_restart_is_taken_before_the_session_and_refused_in_it(start: Start) -> None:
    sides, again = start(), start()
    sides["a"].accept("b", sides["b"].hello.encode())
    sides["a"].accept("b", again["b"].hello.encode())
    sides["a"].accept("c", sides["c"].hello.encode())
    sides["a"].accept("b", again["b"].hello.encode())  # a reconnection: the same hello
    with pytest.raises(HandshakeRefused, match="started again") as caught:
        sides["a"].accept("b", sides["b"].hello.encode())
    assert caught.value.mismatch is Mismatch.SESSION


def test_forgotten_peers_must_come_again(start: Start) -> None:
    sides = start()
    sides["a"].accept("b", sides["b"].hello.encode())
    sides["a"].forget("b")
    assert sides["a"].missing == ("b", "c")
    greet(sides)
    sides["a"].forget("b")
    assert sides["a"].missing == ()


def test_different_hellos_to_different_peers_are_noticed(start: Start) -> None:
    """Site c shows a one hello and b another: neither accepts the other's signature, or c's."""
    sides, double = start(), start()
    for name in "ab":
        sides[name].accept("ab".replace(name, ""), sides["ab".replace(name, "")].hello.encode())
    sides["a"].accept("c", sides["c"].hello.encode())
    sides["b"].accept("c", double["c"].hello.encode())
    with pytest.raises(HandshakeRefused, match="different sites different things") as caught:
        sides["a"].verify("b", sides["b"].join("a"))
    assert caught.value.mismatch is Mismatch.SIGNATURE


def test_joins_cannot_be_forged_reflected_or_replayed(start: Start) -> None:
    sides, earlier = start(), start()
    greet(sides)
    greet(earlier)
    good = sides["b"].join("a")
    for bad in (
        sides["a"].join("b"),  # reflected
        sides["b"].join("c"),  # meant for another
        sides["c"].join("a"),  # another's
        earlier["b"].join("a"),  # of another session
        good[:-1] + bytes([good[-1] ^ 1]),
        bytes([good[0] ^ 1]) + good[1:],
    ):
        with pytest.raises(HandshakeRefused):
            sides["a"].verify("b", bad)
    with pytest.raises(FrameError):
        sides["a"].verify("b", good[:-1])
    assert sides["a"].unverified == ("b", "c")
    sides["a"].verify("b", good)
    assert sides["a"].unverified == ("c",)


LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
]


@pytest.mark.parametrize("point", LOW_ORDER)
def test_points_of_low_order_are_refused(start: Start, point: bytes) -> None:
    sides = start("ab")
    degenerate = replace(sides["b"].hello, exchange=point)
    with pytest.raises(HandshakeRefused, match="degenerate key") as caught:
        sides["a"].accept("b", degenerate.encode())
    assert caught.value.peer == "b"


def test_hellos_are_read_back(start: Start) -> None:
    hello = start()["a"].hello
    assert Hello.decode(hello.encode(), peer="a") == hello


def test_repr_shows_no_secret(start: Start) -> None:
    sides = start()
    greet(sides)
    shown = repr(sides["a"].session) + repr(sides["a"].hello) + repr(sides["a"])
    assert repr(sides["a"].session.keys["b"]) not in shown


@given(st.data())
def test_damaged_hellos_are_refused_or_canonical(data: st.DataObject) -> None:
    good = Hello(
        "a", Terms("1.0", 1, bytes(32), bytes(32), ("a", "b")), bytes(32), bytes(32), bytes(32)
    ).encode()
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    del bad[data.draw(st.integers(len(bad) - 5, len(bad))) :]
    check(bytes(bad))


@given(st.binary(max_size=400).map(lambda tail: b"fedstats\x00\x01" + tail) | st.binary(max_size=50))
def test_noise_is_refused(data: bytes) -> None:
    check(data)


def check(data: bytes) -> None:
    try:
        hello = Hello.decode(data, peer="b")
    except (FrameError, HandshakeRefused):
        return
    assert hello.encode() == data


@pytest.mark.parametrize(
    "arguments",
    [
        ("1", 1, bytes(31), bytes(32), "ab"),
        ("1", 1, bytes(32), b"", "ab"),
        ("1", 1, bytes(32), bytes(32), "a"),
        ("1", 1, bytes(32), bytes(32), "aa"),
        ("1", 1, bytes(32), bytes(32), [str(number) for number in range(module.MAX_PEERS + 1)]),
    ],
)
def test_terms_are_checked(arguments: tuple) -> None:
    with pytest.raises(ValueError, match=r"32 bytes|participants"):
        make_terms(*arguments)
