"""The mesh within one process: each peer is a thread, a channel is a pair of pipes.

`simulate` and the tests run on it. A `LinkModel` makes it behave like a network of a given latency
and bandwidth, by delaying each message until the moment at which it would have arrived.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from transport import lastwords
from transport.base import DEFAULT_TIMEOUT, MAX_STEP, Buffer, Channel, Mesh, Session
from transport.errors import AbortCode, MeshClosed, PeerClosed, PeerTimeout, StepMismatch

#: Bytes of unreceived messages on a channel beyond which its sender waits.
WINDOW = 64 << 20


@dataclass(frozen=True)
class LinkModel:
    """A simulated network.

    Attributes
    ----------
    latency
        Seconds from a message's last byte leaving to its arrival.
    bandwidth
        Bytes a second that a peer can send, over all its channels together.
    """

    latency: float = 0.0
    bandwidth: float = float("inf")


@dataclass(frozen=True)
class _Message:
    step: str
    payload: Buffer
    arrives: float


class _Pipe:
    """Messages of one peer to another, in order; None after them wakes whoever waits for more.

    Attributes
    ----------
    messages
        Those that were not received yet.
    sent, taken
        Bytes put in, and taken out. Each has one writer, so that neither needs a lock.
    drained
        Told when bytes were taken out while the sender waits for that.
    """

    def __init__(self) -> None:
        self.messages: SimpleQueue[_Message | None] = SimpleQueue()
        self.sent = self.taken = 0
        self.drained = threading.Condition()
        self.is_full = False

    def take(self, timeout: float) -> _Message | None:
        """Return the next message; None if there will be none, or raise `queue.Empty` if there is none."""
        message = self.messages.get(timeout=timeout)
        if message is None:
            self.messages.put(None)  # for whoever asks again
            return None
        self.taken += memoryview(message.payload).nbytes
        if self.is_full:
            self.wake_sender()
        return message

    def wait_for_room(self, is_over: Callable[[], object], timeout: float) -> bool:
        """Wait until little is on its way, or it is over; return whether that was in time."""
        with self.drained:
            self.is_full = True
            in_time = self.drained.wait_for(
                lambda: bool(is_over()) or self.sent - self.taken <= WINDOW, timeout
            )
            self.is_full = False
        return in_time

    def wake_sender(self) -> None:
        with self.drained:
            self.drained.notify_all()


class _Hub:
    """What the peers of one in-process mesh have in common."""

    def __init__(self, roster: tuple[str, ...], model: LinkModel) -> None:
        self.lock = threading.RLock()
        self.model = model
        self.pipes = {
            (sender, receiver): _Pipe() for sender in roster for receiver in roster if sender != receiver
        }
        self.uplink_free = dict.fromkeys(roster, 0.0)
        self.closed: set[str] = set()
        #: Who aborted the session, where it went wrong, and how.
        self.aborted: tuple[str, str, AbortCode] | None = None

    def arrival(self, sender: str, nbytes: int) -> float:
        """Return when a message that is sent now arrives, and book the sender's uplink for it."""
        with self.lock:
            start = max(time.monotonic(), self.uplink_free[sender])
            self.uplink_free[sender] = start + nbytes / self.model.bandwidth
            return self.uplink_free[sender] + self.model.latency

    def wake(self, *peers: str) -> None:
        """Wake whoever waits at the end of one of these peers, once what was sent before is received."""
        for direction, pipe in self.pipes.items():
            if set(direction) & set(peers):
                pipe.messages.put(None)
                pipe.wake_sender()


class MemoryChannel(Channel):
    """One direction-pair of pipes between two threads."""

    def __init__(self, hub: _Hub, me: str, peer: str, timeout: float) -> None:
        self.peer = peer
        self._hub = hub
        self._me = me
        self._timeout = timeout
        self._out, self._in = hub.pipes[me, peer], hub.pipes[peer, me]

    def send(self, step: str, payload: Buffer) -> None:
        """Queue one message; see `Channel.send`."""
        if len(step.encode()) > MAX_STEP:
            raise ValueError(f"step names are at most {MAX_STEP} bytes long")
        self._require_open()
        hub, out = self._hub, self._out
        if out.sent - out.taken > WINDOW:
            in_time = out.wait_for_room(
                lambda: hub.aborted or self._me in hub.closed or self.peer in hub.closed, self._timeout
            )
            self._require_open()
            if not in_time:
                raise PeerTimeout(
                    self.peer, f"to take what was sent to it before step {step!r}", self._timeout
                )
        if self.peer in hub.closed:
            raise PeerClosed(self.peer, step)
        size = memoryview(payload).nbytes
        out.sent += size
        out.messages.put(_Message(step, payload, hub.arrival(self._me, size)))

    def recv(self, step: str) -> Buffer:
        """Wait for the message of `step`; see `Channel.recv`."""
        self._require_open()
        try:
            message = self._in.take(self._timeout)
        except Empty:
            self._require_open()
            raise PeerTimeout(self.peer, f"for step {step!r}", self._timeout) from None
        self._require_open()
        if message is None:
            raise PeerClosed(self.peer, step)
        if message.step != step:
            raise StepMismatch(self.peer, message.step, step)
        if (early := message.arrives - time.monotonic()) > 0:
            time.sleep(early)
        return message.payload

    def _require_open(self) -> None:
        """Raise what ended the session, if anything did."""
        hub = self._hub
        if hub.aborted and hub.aborted[0] != self._me:
            raise lastwords.aborted(self._me, *hub.aborted)
        if hub.aborted or self._me in hub.closed:
            raise MeshClosed("this mesh is closed: make the call inside its `with` block")


class MemoryMesh(Mesh):
    """One peer's side of an in-process session; make all of them with `memory_meshes`."""

    def __init__(self, hub: _Hub, me: str, roster: tuple[str, ...], session: Session, timeout: float) -> None:
        super().__init__(me, roster, session, timeout)
        self._hub = hub
        self._channels = {peer: MemoryChannel(hub, me, peer, timeout) for peer in self.peers}

    def channel(self, peer: str) -> Channel:
        """Return the channel to `peer`."""
        return self._channels[peer]

    def abort(self, code: AbortCode, origin: str | None = None) -> None:
        """Fail the session for all; see `Mesh.abort`."""
        with self._hub.lock:
            if self._hub.aborted is None and self.me not in self._hub.closed:
                self._hub.aborted = (self.me, origin or self.me, code)
        self._hub.wake(*self.roster)
        self.close()

    def close(self) -> None:
        """End this peer's side; what it sent can still be received."""
        self._hub.closed.add(self.me)
        self._hub.wake(self.me)


def memory_meshes(
    names: Sequence[str],
    *,
    timeout: float = DEFAULT_TIMEOUT,
    model: LinkModel | None = None,
    secret: bytes | None = None,
) -> dict[str, MemoryMesh]:
    """Join `names` by an in-process mesh.

    Parameters
    ----------
    names
        Distinct names of the peers, two at least.
    timeout
        Seconds to wait for any one message.
    model
        A network to imitate; none by default.
    secret
        Source of the session's identifier and keys, for tests that need the same session twice.
        From the system's CSPRNG by default.

    Returns
    -------
    dict
        Each peer's mesh in the order of `names`, to be used by a thread of its own.
    """
    roster = tuple(sorted(names))
    if len(roster) < 2 or len(set(roster)) != len(roster):
        raise ValueError("a mesh needs two or more peers with distinct names")
    secret = secrets.token_bytes(32) if secret is None else secret

    def derive(what: str) -> bytes:
        return HKDF(SHA256(), 32, salt=None, info=b"fedstats memory mesh " + what.encode()).derive(secret)

    hub = _Hub(roster, model or LinkModel())
    return {
        me: MemoryMesh(
            hub,
            me,
            roster,
            Session(
                derive("session"),
                {peer: derive("key " + " ".join(sorted((me, peer)))) for peer in roster if peer != me},
            ),
            timeout,
        )
        for me in names
    }
