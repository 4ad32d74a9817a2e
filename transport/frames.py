"""Frames: the units that cross a connection, in one fixed binary layout.

::

    offset  0     1      2         4          8          16         24
            kind  flags  step len  chunk len  sequence   ack        credit     step · chunk
            u8    u8     u16       u32        u64        u64        u64        (all big-endian)

- *kind* is one of `Kind`. Only DATA and BYE are numbered; the others have sequence 0.
- *flags* bit 0 (DATA): more chunks of this message follow.
- *step* travels with a message's first chunk only.
- *ack* is the number of the last frame received in order; *credit* is how many octets the sender of
  this frame is willing to take in total since the session began (see `transport.link`).

The decoder is strict: a frame has one encoding, and everything else raises `FrameError`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from transport.base import MAX_STEP, Buffer
from transport.errors import FrameError

_HEADER: Final = struct.Struct(">BBHIQQQ")
#: Bytes in front of step and chunk.
HEADER_SIZE: Final = _HEADER.size
#: Longest piece of a message that one frame carries. A header still fits under 1 MiB.
MAX_CHUNK: Final = (1 << 20) - HEADER_SIZE - MAX_STEP
#: Longest payload of a frame that is not DATA: hellos, signatures, codes.
MAX_CONTROL: Final = 1 << 16
#: Longest frame of all.
MAX_FRAME: Final = HEADER_SIZE + MAX_STEP + MAX_CHUNK

_MORE = 1


class Kind(IntEnum):
    """What a frame is for."""

    HELLO = 1  #: first on every connection: who I am and what I am about to run
    JOIN = 2  #: signature over the session, proof of the pair key, where to resume
    DATA = 3  #: a chunk of a message
    ACK = 4  #: nothing but ack and credit
    BYE = 5  #: the script has ended; no more messages
    ABORT = 6  #: the script has failed: code, origin
    REFUSE = 7  #: the handshake has failed: what was disagreed about


_NUMBERED = frozenset({Kind.DATA, Kind.BYE})
_EMPTY = frozenset({Kind.ACK, Kind.BYE})
_KINDS = {int(kind): kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame; `chunk` is a view into the received bytes."""

    kind: Kind
    chunk: memoryview
    sequence: int = 0
    ack: int = 0
    credit: int = 0
    step: str = ""
    more: bool = False


def encode(
    kind: Kind,
    chunk: Buffer = b"",
    *,
    sequence: int = 0,
    ack: int = 0,
    credit: int = 0,
    step: bytes = b"",
    more: bool = False,
) -> bytes:
    """Lay out one frame. Costs one copy of `chunk`.

    Parameters
    ----------
    kind, chunk, sequence, ack, credit, more
        The fields of the layout.
    step
        The step's name in UTF-8.
    """
    header = _HEADER.pack(kind, _MORE if more else 0, len(step), len(chunk), sequence, ack, credit)
    return b"".join((header, step, chunk))


def decode(data: bytes) -> Frame:
    """Read one frame.

    Raises
    ------
    FrameError
        `data` is not what `encode` makes of any frame. The error says what is wrong, not by whom: the
        caller knows the peer.
    """
    if len(data) < HEADER_SIZE:
        raise FrameError("a frame shorter than its header")
    number, flags, step_length, length, sequence, ack, credit = _HEADER.unpack_from(data)
    kind = _KINDS.get(number)
    if kind is None:
        raise FrameError(f"a frame of unknown kind {number}")
    if len(data) != HEADER_SIZE + step_length + length:
        raise FrameError("a frame whose length is not the one it states")
    if length > (MAX_CHUNK if kind is Kind.DATA else MAX_CONTROL) or step_length > MAX_STEP:
        raise FrameError("an oversize frame")
    if (sequence > 0) is not (kind in _NUMBERED):
        raise FrameError(f"a {kind.name} frame with sequence number {sequence}")
    if flags & ~_MORE or (kind is not Kind.DATA and (flags or step_length)):
        raise FrameError(f"a {kind.name} frame with fields it must not have")
    if kind in _EMPTY and length:
        raise FrameError(f"a {kind.name} frame with a payload")
    body = memoryview(data)
    try:
        step = str(body[HEADER_SIZE : HEADER_SIZE + step_length], "utf-8")
    except UnicodeDecodeError as error:
        raise FrameError("a step name that is not UTF-8") from error
    return Frame(kind, body[HEADER_SIZE + step_length :], sequence, ack, credit, step, flags == _MORE)


def decode_from(peer: str, data: bytes) -> Frame:
    """Read one frame of `peer`; the `FrameError` names it."""
    try:
        return decode(data)
    except FrameError as error:
        raise FrameError(
            f"site {peer} sent {error}: it runs a damaged or hostile version of fedstats", peer=peer
        ) from error
