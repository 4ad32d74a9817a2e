"""Everything that can go wrong between two peers, each error naming the peer that caused it.

::

    TransportError
    ├── IdentityError        this site's own keys, certificate or files
    ├── ManifestError        federation.toml: malformed, unsigned, expired, or not ours
    ├── PeerUnreachable      no connection, or a broken one that did not come back in time
    ├── PeerTimeout          connected, but the awaited message did not come in time
    ├── PeerAborted          the peer stopped and said so; carries only a code
    ├── PeerClosed           the peer ended its session while we still awaited a message
    ├── StepMismatch         the peer is at another step of the script than we are
    ├── HandshakeRefused     another script, version, epoch, roster, certificate or key
    ├── FrameError           the peer sent bytes that no honest peer sends
    └── MeshClosed           this mesh was closed here; a bug in the calling code
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class AbortCode(IntEnum):
    """The only thing a peer learns of why another stopped: a class of error, never text or data."""

    INTERNAL = 1
    DATA = 2
    POLICY = 3
    ESTIMATION = 4
    PROTOCOL = 5
    TRANSPORT = 6
    INTERRUPTED = 7


class Mismatch(StrEnum):
    """What two peers disagreed about in a handshake."""

    PROTOCOL = "protocol version"
    PACKAGE = "package version"
    EPOCH = "federation epoch"
    MANIFEST = "federation manifest"
    SPEC = "analysis script"
    ROSTER = "roster"
    CERTIFICATE = "certificate"
    TLS = "TLS version"
    SIGNATURE = "signature"
    SESSION = "session"


class TransportError(Exception):
    """Base of all errors of the mesh.

    Parameters
    ----------
    message
        Who, what and what to do. Never data or keys.
    peer
        Name of the peer that caused it; None where it is this site's own matter.
    """

    def __init__(self, message: str, *, peer: str | None = None) -> None:
        super().__init__(message)
        self.peer = peer


class IdentityError(TransportError):
    """This site's keys, certificate or their files are missing, malformed or expired."""


class ManifestError(TransportError):
    """The federation manifest is malformed, not signed by every site, or does not list this site."""


class PeerUnreachable(TransportError):
    """No connection to the peer could be made, or a broken one was not resumed in time."""


class PeerTimeout(TransportError):
    """The peer is connected and silent: the awaited message did not come within the timeout.

    Parameters
    ----------
    peer
        The peer.
    what
        What was awaited, as in ``"for step 'ols#1.residuals'"``.
    seconds
        The timeout.
    """

    def __init__(self, peer: str, what: str, seconds: float) -> None:
        super().__init__(
            f"waited {seconds:g} s for site {peer} {what}: "
            "look whether its script still runs, or raise the timeout",
            peer=peer,
        )


class PeerAborted(TransportError):
    """The peer stopped with an error of its own and told us its class.

    Parameters
    ----------
    code
        The class of the peer's error.
    """

    def __init__(self, message: str, *, peer: str, code: AbortCode) -> None:
        super().__init__(message, peer=peer)
        self.code = code


class PeerClosed(TransportError):
    """The peer ended its session in good order while we still awaited a message of it.

    Parameters
    ----------
    peer
        The peer.
    step
        Where we are.
    """

    def __init__(self, peer: str, step: str) -> None:
        super().__init__(
            f"site {peer} has finished its script, we are at step {step!r}: "
            "the sites do not run the same analysis",
            peer=peer,
        )


class StepMismatch(TransportError):
    """The peer sent the message of another step: the two sites do not run the same analysis.

    Parameters
    ----------
    peer
        The peer.
    theirs, ours
        The two steps.
    """

    def __init__(self, peer: str, theirs: str, ours: str) -> None:
        super().__init__(
            f"site {peer} is at step {theirs!r}, we are at {ours!r}: the sites do not run the same analysis",
            peer=peer,
        )


class HandshakeRefused(TransportError):
    """The peers do not agree on what they are about to run, or one is not who it must be.

    Parameters
    ----------
    mismatch
        What they disagree about.
    """

    def __init__(self, message: str, *, peer: str | None, mismatch: Mismatch) -> None:
        super().__init__(message, peer=peer)
        self.mismatch = mismatch


class FrameError(TransportError):
    """The peer sent malformed, oversized, replayed or reordered bytes."""


class MeshClosed(TransportError):
    """The mesh was used after it had been closed at this site."""
