"""Last words: the frames that end a session in failure, and what they mean to who reads them.

A peer learns a class of error and where it began, never text or data: the texts are made here, from what
this site knows itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from transport import frames
from transport.card import Card
from transport.errors import (
    AbortCode,
    FrameError,
    HandshakeRefused,
    Mismatch,
    PeerAborted,
    TransportError,
)
from transport.frames import Frame, Kind

_MISMATCHES = tuple(Mismatch)
_KINDS = (bytes([Kind.ABORT]), bytes([Kind.REFUSE]))


def are(data: bytes) -> bool:
    """Tell whether a frame holds last words."""
    return data[:1] in _KINDS


def abort(code: AbortCode, origin: str) -> bytes:
    """Return the frame that says: the session failed at `origin`."""
    return frames.encode(Kind.ABORT, bytes([code]) + origin.encode("ascii"))


def read_abort(peer: str, frame: Frame, cards: Mapping[str, Card]) -> TransportError:
    """Return the error that a peer's abort means here."""
    try:
        code = AbortCode(frame.chunk[0])
        origin = cards[str(frame.chunk[1:], "ascii")].name
    except (IndexError, ValueError, KeyError):
        return FrameError(f"site {peer} sent a malformed abort", peer=peer)
    told = "" if origin == peer else f" (site {peer} reports)"
    return PeerAborted(
        f"site {origin} stopped with an error of class {code.name.lower()}{told}; its own log says why",
        peer=origin,
        code=code,
    )


def refusal(error: HandshakeRefused) -> bytes:
    """Return the frame that says what the handshake failed over."""
    return frames.encode(Kind.REFUSE, bytes([_MISMATCHES.index(error.mismatch)]))


def read_refusal(peer: str, frame: Frame) -> TransportError:
    """Return the error that a peer's refusal means here."""
    if len(frame.chunk) != 1 or frame.chunk[0] >= len(_MISMATCHES):
        return FrameError(f"site {peer} sent a malformed refusal", peer=peer)
    mismatch = _MISMATCHES[frame.chunk[0]]
    if mismatch is Mismatch.SESSION:
        what = "it is in a session that began without this process; start the analysis again at every site"
    else:
        what = f"the two sites differ in their {mismatch}; its own log says how"
    return HandshakeRefused(f"site {peer} refused this site: {what}", peer=peer, mismatch=mismatch)


def impostor(peer: str, endpoint: str) -> HandshakeRefused:
    """Return the error of an endpoint that answers with another certificate than the pinned one."""
    return HandshakeRefused(
        f"whoever answers at {endpoint} does not have the certificate that federation.toml pins for site "
        f"{peer}: compare federation.toml at both sites, and look whether the endpoint is right",
        peer=peer,
        mismatch=Mismatch.CERTIFICATE,
    )
