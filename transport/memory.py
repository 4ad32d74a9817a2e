"""The mesh within one process: each peer is a thread, a channel is a pair of queues.

`simulate` and the tests run on it. A `LinkModel` makes it behave like a network of a given latency
and bandwidth, by delaying each message until the moment at which it would have arrived.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


class _Hub:
    """What the peers of one in-process mesh have in common: their queues, under one lock."""

    def __init__(self, roster: tuple[str, ...], model: LinkModel) -> None:
        self.lock = threading.RLock()
        self.model = model
        self.queues: dict[tuple[str, str], deque[_Message]] = {
            (sender, receiver): deque() for sender in roster for receiver in roster if sender != receiver
        }
        #: One for each queue, so that a message wakes only whom it concerns.
        self.changed = {direction: threading.Condition(self.lock) for direction in self.queues}
        self.waiting_bytes = dict.fromkeys(self.queues, 0)
        self.uplink_free = dict.fromkeys(roster, 0.0)
        self.closed: set[str] = set()
        #: Who aborted the session, where it went wrong, and how.
        self.aborted: tuple[str, str, AbortCode] | None = None

    def arrival(self, sender: str, nbytes: int) -> float:
        """Return when a message that is sent now arrives, and book the sender's uplink for it."""
        start = max(time.monotonic(), self.uplink_free[sender])
        self.uplink_free[sender] = start + nbytes / self.model.bandwidth
        return self.uplink_free[sender] + self.model.latency


class MemoryChannel(Channel):
    """One direction-pair of queues between two threads."""

    def __init__(self, hub: _Hub, me: str, peer: str, timeout: float) -> None:
        self.peer = peer
        self._hub = hub
        self._me = me
        self._timeout = timeout

    def send(self, step: str, payload: Buffer) -> None:
        """Queue one message; see `Channel.send`."""
        if len(step.encode()) > MAX_STEP:
            raise ValueError(f"step names are at most {MAX_STEP} bytes long")
        hub, direction = self._hub, (self._me, self.peer)
        size = memoryview(payload).nbytes
        with hub.lock:
            self._wait(
                direction,
                lambda: hub.waiting_bytes[direction] <= WINDOW or self.peer in hub.closed,
                f"to take what was sent to it before step {step!r}",
            )
            if self.peer in hub.closed:
                raise PeerClosed(self.peer, step)
            hub.queues[direction].append(_Message(step, payload, hub.arrival(self._me, size)))
            hub.waiting_bytes[direction] += size
            hub.changed[direction].notify_all()

    def recv(self, step: str) -> Buffer:
        """Wait for the message of `step`; see `Channel.recv`."""
        hub, direction = self._hub, (self.peer, self._me)
        queue = hub.queues[direction]
        with hub.lock:
            self._wait(direction, lambda: queue or self.peer in hub.closed, f"for step {step!r}")
            if not queue:
                raise PeerClosed(self.peer, step)
            message = queue.popleft()
            hub.waiting_bytes[direction] -= memoryview(message.payload).nbytes
            hub.changed[direction].notify_all()
        if message.step != step:
            raise StepMismatch(self.peer, message.step, step)
        if (early := message.arrives - time.monotonic()) > 0:
            time.sleep(early)
        return message.payload

    def _wait(self, direction: tuple[str, str], ready: Callable[[], object], what: str) -> None:
        """Wait under the hub's lock until `ready()`, or raise what ended the wait."""
        hub = self._hub

        def over() -> bool:
            return bool(hub.aborted or self._me in hub.closed or ready())

        in_time = hub.changed[direction].wait_for(over, self._timeout)
        if hub.aborted and hub.aborted[0] != self._me:
            raise lastwords.aborted(self._me, *hub.aborted)
        if hub.aborted or self._me in hub.closed:
            raise MeshClosed("this mesh is closed: make the call inside its `with` block")
        if not in_time:
            raise PeerTimeout(self.peer, what, self._timeout)


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
        self.close()

    def close(self) -> None:
        """End this peer's side; what it sent can still be received."""
        with self._hub.lock:
            self._hub.closed.add(self.me)
            for changed in self._hub.changed.values():
                changed.notify_all()


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
