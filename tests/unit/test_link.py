"""The link's state machine, against a model: whatever is cut, nothing is lost, doubled or reordered."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport import frames
from transport.base import MAX_STEP
from transport.errors import FrameError
from transport.frames import Frame, Kind
from transport.link import OVERHEAD, Link

WINDOW = 4096


class Wire:
    """Two links and the frames between them."""

    def __init__(self, window: int = WINDOW) -> None:
        self.ends = {"a": Link("b", window), "b": Link("a", window)}
        self.flying: dict[str, list[bytes]] = {"a": [], "b": []}

    def write(self, end: str) -> bool:
        frame = self.ends[end].next_frame()
        if frame is not None:
            self.flying[end].append(frame)
        return frame is not None

    def deliver(self, end: str) -> bool:
        """Deliver the oldest frame that `end` wrote."""
        if not self.flying[end]:
            return False
        self.ends["b" if end == "a" else "a"].receive(frames.decode(self.flying[end].pop(0)))
        return True

    def cut(self) -> None:
        self.flying = {"a": [], "b": []}
        points = {end: link.resume_point for end, link in self.ends.items()}
        self.ends["a"].resume(*points["b"])
        self.ends["b"].resume(*points["a"])

    def settle(self) -> None:
        while any([*(self.write(end) for end in "ab"), *(self.deliver(end) for end in "ab")]):
            pass


def taken(link: Link) -> list[tuple[str, bytes]]:
    out = []
    while (message := link.take()) is not None:
        out.append((message[0], bytes(message[1])))
    return out


actions = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["push", "write", "deliver", "take", "cut", "expect"])),
    max_size=300,
)


@given(actions, st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_any_history_keeps_every_message(history: list[tuple[str, str]], seed: int) -> None:
    chance = random.Random(seed)
    wire = Wire()
    pushed: dict[str, list[tuple[str, bytes]]] = {"a": [], "b": []}
    got: dict[str, list[tuple[str, bytes]]] = {"a": [], "b": []}
    for end, action in history:
        link = wire.ends[end]
        match action:
            case "push":
                message = (f"s{len(pushed[end])}", chance.randbytes(chance.choice([0, 1, 500, 5000])))
                link.push(*message)
                pushed[end].append(message)
            case "write":
                wire.write(end)
            case "deliver":
                wire.deliver(end)
            case "take":
                if (received := link.take()) is not None:
                    got[end].append((received[0], bytes(received[1])))
            case "expect":
                link.expect()
            case "cut":
                wire.cut()
    for link in wire.ends.values():
        link.finish()
    for _ in range(2 + len(history)):
        wire.settle()
        for end, link in wire.ends.items():
            got[end] += taken(link)
            link.expect()
    assert got["a"] == pushed["b"]
    assert got["b"] == pushed["a"]
    for link in wire.ends.values():
        assert link.finished
        assert not link.undelivered
        assert link.backlog == 0


def test_messages_of_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_CHUNK", 100)
    wire = Wire()
    payload = random.Random(1).randbytes(12_345)
    wire.ends["a"].push("large", payload)
    wire.ends["b"].expect()  # three windows: it gets through only because it is waited for
    for number in range(500):
        if not wire.write("a"):
            wire.write("b")
        wire.deliver("a")
        wire.deliver("b")
        if number % 37 == 0:
            wire.cut()
    assert taken(wire.ends["b"]) == [("large", payload)]


def test_an_unexpected_message_stops_at_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_CHUNK", 100)
    wire = Wire()
    wire.ends["a"].push("large", bytes(100_000))
    wire.settle()
    held = wire.ends["b"].received * (100 + OVERHEAD)
    assert WINDOW <= held < WINDOW + 100 + OVERHEAD
    assert not taken(wire.ends["b"])
    wire.ends["b"].expect()
    wire.settle()
    assert len(taken(wire.ends["b"])[0][1]) == 100_000


def test_a_receiver_that_takes_nothing_holds_its_sender() -> None:
    wire = Wire()
    for _ in range(1000):
        wire.ends["a"].push("empty", b"")
    wire.settle()
    assert wire.ends["b"].received == WINDOW // OVERHEAD
    assert wire.ends["a"].backlog == (1000 - WINDOW // OVERHEAD) * OVERHEAD
    total = 0
    while batch := taken(wire.ends["b"]):
        total += len(batch)
        wire.settle()
    assert total == 1000


def test_delivered_messages_are_forgotten() -> None:
    wire = Wire()
    wire.ends["a"].push("s", bytes(10))
    assert wire.ends["a"].undelivered
    wire.ends["a"].finish()
    wire.settle()
    assert not wire.ends["a"].undelivered
    assert not wire.ends["a"].unacknowledged


def data(sequence: int, chunk: bytes = b"x", **fields: object) -> Frame:
    return frames.decode(
        frames.encode(Kind.DATA, chunk, sequence=sequence, credit=WINDOW, **fields)  # type: ignore[arg-type]
    )


def control(kind: Kind, **fields: int) -> Frame:
    return frames.decode(frames.encode(kind, credit=fields.pop("credit", WINDOW), **fields))


@pytest.mark.parametrize(
    ("first", "bad", "message"),
    [
        ([data(1)], data(1), "frame 1 where 2 is next"),
        ([], data(2), "frame 2 where 1 is next"),
        ([data(1), data(2)], data(1), "frame 1 where 3 is next"),
        ([control(Kind.BYE, sequence=1)], data(2), "after its goodbye"),
        ([data(1, more=True)], control(Kind.BYE, sequence=2), "goodbye inside a message"),
        ([data(1, more=True)], data(2, step=b"s"), "step's name inside a message"),
        ([], data(1, b"", more=True), "empty chunk"),
        ([], control(Kind.ACK, ack=1), "cannot be"),
        ([], control(Kind.ACK, credit=WINDOW - 1), "cannot be"),
        ([data(1, bytes(WINDOW))], data(2), "credit"),
    ],
)
def test_what_no_honest_peer_sends(first: list[Frame], bad: Frame, message: str) -> None:
    link = Link("b", WINDOW)
    for frame in first:
        link.receive(frame)
    with pytest.raises(FrameError, match=message) as caught:
        link.receive(bad)
    assert caught.value.peer == "b"
    assert "site b" in str(caught.value)


@pytest.mark.parametrize("ack", [0, 3])
def test_a_resumption_that_cannot_be(ack: int) -> None:
    wire = Wire()
    for _ in range(2):
        wire.ends["a"].push("s", b"")
    wire.write("a")
    wire.deliver("a")
    wire.ends["b"].push("t", b"")
    wire.write("b")
    wire.deliver("b")  # acknowledges frame 1
    with pytest.raises(FrameError):
        wire.ends["a"].resume(ack, WINDOW)


def test_limits_on_what_may_be_sent() -> None:
    link = Link("b")
    with pytest.raises(ValueError, match="longer than"):
        link.push("s" * (MAX_STEP + 1), b"")


def test_payloads_are_not_copied_before_they_are_written() -> None:
    link = Link("b")
    payload = bytearray(b"before")
    link.push("s", payload)
    payload[:] = b"after!"
    frame = link.next_frame()
    assert frame is not None
    assert bytes(frames.decode(frame).chunk) == b"after!"
