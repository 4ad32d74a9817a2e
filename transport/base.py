"""The contract of the mesh: what every channel guarantees, whatever carries it.

A *mesh* joins the peers of one session pairwise by *channels*. Protocol code above is written
against these two classes alone; `transport.memory` and `transport.grpc_mesh` implement them, and
`transport.testing` holds the conformance suite that both pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from transport.errors import AbortCode

Buffer: TypeAlias = bytes | bytearray | memoryview

#: Longest step name, in UTF-8 bytes.
MAX_STEP = 200
#: Largest single message in bytes. Larger data are sent as several messages.
MAX_MESSAGE = 1 << 30
#: Seconds to wait for any one message of a peer before the session fails.
DEFAULT_TIMEOUT = 120.0


@dataclass(frozen=True)
class Session:
    """What the handshake agreed on. The keys never appear in a repr.

    Attributes
    ----------
    id
        32 bytes, the same at every peer: the hash of the whole signed handshake.
    keys
        For each peer, 32 bytes known to that peer and this one alone, fresh in every session.
    """

    id: bytes
    keys: Mapping[str, bytes] = field(repr=False)


@dataclass
class Traffic:
    """Exact counts of one peer's side of a session.

    Attributes
    ----------
    rounds
        Calls of `Mesh.exchange`: the number of times this peer had to wait for the others.
    messages_sent, messages_received
        Messages, of any length.
    bytes_sent, bytes_received
        Payload bytes. Framing and TLS add about 100 bytes a message and 0.1 % of its length;
        retransmissions after a broken connection are not counted.
    """

    rounds: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def copy(self) -> Traffic:
        """Return a snapshot."""
        return Traffic(**vars(self))

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(**{name: value - getattr(other, name) for name, value in vars(self).items()})


class Channel(ABC):
    """Messages to and from one peer.

    Guarantees
    ----------
    Ordered
        Messages arrive in the order in which they were sent.
    Reliable
        A message arrives whole and exactly once, or the session fails with an error. A broken
        connection underneath is resumed and is not an error unless it stays broken.
    Authenticated
        A message comes from `peer`, in this session, unread and unaltered by the network.
    Back-pressured
        A peer that does not receive slows its senders down; the memory held for unreceived
        messages is bounded. `send` returns at once unless earlier messages to this peer still
        wait; never let two peers send each other more than that window before either receives.

    Failing together
        When any peer of the session aborts, every channel raises `PeerAborted` naming that peer,
        at once, also while it waits for another peer; a relayed abort names its origin. Messages
        that arrived before may still be received, or not.

    A channel is used by one thread at a time. After an error it is dead: the session is over.
    """

    #: Name of the peer at the other end.
    peer: str

    @abstractmethod
    def send(self, step: str, payload: Buffer) -> None:
        """Queue one message.

        Parameters
        ----------
        step
            Where in the analysis the sender is, the same string at both ends.
        payload
            The message. It must not be altered afterwards: it may be read again to resume.

        Raises
        ------
        PeerUnreachable, PeerTimeout, PeerAborted, PeerClosed, HandshakeRefused
            Caused by the peer, as for `recv`.
        MeshClosed
            Caused by the caller.
        """

    @abstractmethod
    def recv(self, step: str) -> Buffer:
        """Wait for the next message, which must be that of `step`.

        Raises
        ------
        StepMismatch
            The peer's next message is of another step: it runs different code, or ours.
        PeerTimeout
            The peer is connected, and sent nothing for the mesh's timeout.
        PeerUnreachable
            The connection broke and was not resumed within the timeout.
        PeerAborted
            The peer failed and said so.
        PeerClosed
            The peer has finished its script.
        FrameError
            The peer sent bytes that no honest peer sends.
        MeshClosed
            Caused by the caller.
        """


class Mesh(ABC):
    """One peer's side of a session: a channel to each other peer.

    Attributes
    ----------
    me
        This peer's name.
    roster
        Names of all peers, this one included, sorted. Frozen and signed in the handshake.
    session
        The session's identifier and pairwise keys.
    timeout
        Seconds to wait for any one message.
    traffic
        Exact counts of what this peer has sent and received.
    """

    def __init__(self, me: str, roster: tuple[str, ...], session: Session, timeout: float) -> None:
        self.me = me
        self.roster = roster
        self.session = session
        self.timeout = timeout
        self.traffic = Traffic()

    @property
    def peers(self) -> tuple[str, ...]:
        """Names of the other peers, sorted."""
        return tuple(name for name in self.roster if name != self.me)

    @abstractmethod
    def channel(self, peer: str) -> Channel:
        """Return the channel to `peer`."""

    @abstractmethod
    def abort(self, code: AbortCode, origin: str | None = None) -> None:
        """Tell every peer that the session has failed, and close. Safe to call more than once.

        Parameters
        ----------
        code
            The class of the error, all that peers learn of it.
        origin
            The peer where it began, when this one only passes it on; None when it began here.
        """

    @abstractmethod
    def close(self) -> None:
        """End the session in good order: deliver what was sent, say goodbye, free everything.

        Safe to call more than once, and after `abort`.
        """

    def exchange(self, step: str, outgoing: Mapping[str, Buffer]) -> dict[str, Buffer]:
        """One round: send each peer its message, and receive one from each.

        Parameters
        ----------
        step
            Name of the step, the same at every peer.
        outgoing
            A message for every other peer.

        Returns
        -------
        dict
            The message of every other peer.
        """
        if set(outgoing) != set(self.peers):
            raise ValueError(f"step {step!r} needs a message for each of {', '.join(self.peers)}")
        for peer in self.peers:
            self.channel(peer).send(step, outgoing[peer])
            self.traffic.messages_sent += 1
            self.traffic.bytes_sent += memoryview(outgoing[peer]).nbytes
        incoming: dict[str, Buffer] = {}
        for peer in self.peers:
            incoming[peer] = self.channel(peer).recv(step)
            self.traffic.messages_received += 1
            self.traffic.bytes_received += memoryview(incoming[peer]).nbytes
        self.traffic.rounds += 1
        return incoming

    def broadcast(self, step: str, payload: Buffer) -> dict[str, Buffer]:
        """One round in which everybody sends the same message to everybody: `exchange` of it."""
        return self.exchange(step, dict.fromkeys(self.peers, payload))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.me} with {', '.join(self.peers)}>"
