"""Frames have one encoding; everything else is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport import frames
from transport.base import MAX_STEP
from transport.errors import FrameError
from transport.frames import HEADER_SIZE, MAX_CHUNK, MAX_CONTROL, MAX_FRAME, Kind

u64 = st.integers(0, 2**64 - 1)
steps = st.text(max_size=50).map(lambda text: text.encode("utf-8", "ignore"))


def test_the_layout_is_fixed() -> None:
    data = frames.encode(Kind.DATA, b"xyz", sequence=1, ack=2, credit=3, step=b"st", more=True)
    assert data == struct.pack(">BBHIQQQ", 3, 1, 2, 3, 1, 2, 3) + b"stxyz"
    assert MAX_FRAME == 1 << 20


@given(st.binary(max_size=300), st.integers(1, 2**64 - 1), u64, u64, steps, st.booleans())
def test_data_round_trip(chunk: bytes, sequence: int, ack: int, credit: int, step: bytes, more: bool) -> None:
    data = frames.encode(Kind.DATA, chunk, sequence=sequence, ack=ack, credit=credit, step=step, more=more)
    frame = frames.decode(data)
    assert (frame.sequence, frame.ack, frame.credit, frame.more) == (sequence, ack, credit, more)
    assert bytes(frame.chunk) == chunk
    assert frame.step.encode() == step


@given(st.binary(max_size=200))
def test_noise_is_refused_or_canonical(data: bytes) -> None:
    accept_only_canonical(data)


@given(st.binary(max_size=60), st.integers(0, 90), st.integers(0, 255))
def test_damaged_frames_are_refused_or_canonical(chunk: bytes, position: int, byte: int) -> None:
    data = bytearray(frames.encode(Kind.DATA, chunk, sequence=7, ack=2, credit=9, step=b"step", more=True))
    data[position % len(data)] = byte
    accept_only_canonical(bytes(data))


def accept_only_canonical(data: bytes) -> None:
    try:
        frame = frames.decode(data)
    except FrameError:
        return
    again = frames.encode(
        frame.kind,
        frame.chunk,
        sequence=frame.sequence,
        ack=frame.ack,
        credit=frame.credit,
        step=frame.step.encode(),
        more=frame.more,
    )
    assert again == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "shorter than its header"),
        (bytes(HEADER_SIZE), "unknown kind"),
        (frames.encode(Kind.DATA, b"x", sequence=1) + b"y", "length"),
        (frames.encode(Kind.DATA, b"x", sequence=1)[:-1], "length"),
        (frames.encode(Kind.DATA, b"x"), "sequence number 0"),
        (frames.encode(Kind.ACK, sequence=1), "sequence number 1"),
        (frames.encode(Kind.ACK, b"x"), "payload"),
        (frames.encode(Kind.BYE, b"x", sequence=1), "payload"),
        (frames.encode(Kind.HELLO, step=b"s"), "must not have"),
        (frames.encode(Kind.HELLO, more=True), "must not have"),
        (frames.encode(Kind.HELLO, bytes(MAX_CONTROL + 1)), "oversize"),
        (frames.encode(Kind.DATA, bytes(MAX_CHUNK + 1), sequence=1), "oversize"),
        (frames.encode(Kind.DATA, sequence=1, step=b"s" * (MAX_STEP + 1)), "oversize"),
        (frames.encode(Kind.DATA, sequence=1, step=b"\xff"), "UTF-8"),
        (struct.pack(">BBHIQQQ", 3, 2, 0, 0, 1, 0, 0), "must not have"),
    ],
)
def test_malformed_frames(data: bytes, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        frames.decode(data)
