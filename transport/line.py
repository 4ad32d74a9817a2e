"""The line to one peer: its link, the connection that carries it now, and the calls that wait on it.

The application's thread and the event loop's thread meet here, under one condition for each line.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from transport.base import Buffer
from transport.errors import (
    MeshClosed,
    PeerClosed,
    PeerTimeout,
    PeerUnreachable,
    StepMismatch,
    TransportError,
)
from transport.frames import Frame
from transport.link import Link
from transport.stream import Stream, Trouble

#: Bytes of queued messages to a peer beyond which `send` waits: references, not copies.
BACKLOG = 64 << 20


class Line:
    """One peer's line. Attributes without a lock belong to the event loop's thread.

    Parameters
    ----------
    peer
        The peer's name.
    timeout
        Seconds to wait for any one message.
    loop
        The event loop that serves the connection.

    Attributes
    ----------
    stream
        The connection in use; None while there is none.
    last_words
        A frame that goes out before all others, and ends the connection: an abort or a refusal.
    parted
        The peer has been told of the end, or has told us.
    broken_since
        When the connection of a standing session broke (`time.monotonic`); None while it holds.
    trouble
        Why the last attempt to connect failed, for people.
    """

    def __init__(self, peer: str, timeout: float, loop: asyncio.AbstractEventLoop) -> None:
        self.peer = peer
        self.timeout = timeout
        self.stream: Stream | None = None
        self.last_words: bytes | None = None
        self.parted = False
        self.broken_since: float | None = None
        self.trouble = Trouble.NONE
        self.others: tuple[Line, ...] = ()
        self._loop = loop
        self._link = Link(peer)
        self._changed = threading.Condition()
        self._failure: TransportError | None = None
        self._progress = time.monotonic()
        self._writer_idle = True

    # The event loop's side

    @property
    def finished(self) -> bool:
        """Whether the peer has said goodbye."""
        return self._link.finished

    def next_frame(self) -> bytes | None:
        """Return the link's next frame to write; None sets the writer to sleep until `wake`."""
        with self._changed:
            backlog = self._link.backlog
            frame = self._link.next_frame()
            self._writer_idle = frame is None
            if self._link.backlog <= BACKLOG < backlog:
                self._changed.notify_all()
            return frame

    def receive(self, frame: Frame) -> None:
        """Take in a frame of the link; raises `FrameError`."""
        with self._changed:
            complete = self._link.receive(frame)
            self._progress = time.monotonic()
            if complete or not self._link.undelivered:
                self._changed.notify_all()
            due = self._link.has_frame and self._writer_idle
        if due:
            self.wake()

    def resume_point(self) -> tuple[int, int]:
        """Return ack and credit for a new connection."""
        with self._changed:
            return self._link.resume_point

    def resume(self, ack: int, credit: int) -> None:
        """Go on over a new connection from where the peer says it is."""
        with self._changed:
            self._link.resume(ack, credit)
            self._progress = time.monotonic()
            self._changed.notify_all()
        self.broken_since = None

    def wake(self) -> None:
        """Have the writer look for something to write."""
        if self.stream is not None:
            self.stream.wake.set()

    def fail(self, error: TransportError) -> None:
        """End the session for every call that waits or will come; the first error stays."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    # The application's side

    def send(self, step: str, payload: Buffer) -> None:
        """Queue a message; see `Channel.send`."""
        with self._changed:
            self._wait(
                lambda: self._link.backlog <= BACKLOG or self._link.finished,
                f"to take what was sent to it before step {step!r}",
            )
            if self._link.finished:
                raise self._closed(step)
            self._link.push(step, payload)
            asleep, self._writer_idle = self._writer_idle, False
        if asleep:
            self._loop.call_soon_threadsafe(self.wake)

    def recv(self, step: str) -> Buffer:
        """Wait for the message of `step`; see `Channel.recv`."""
        if not self._link.has_message:
            for line in (self, *self.others):
                line.expect()
        with self._changed:
            self._wait(lambda: self._link.has_message or self._link.finished, f"for step {step!r}")
            message = self._link.take()
            due = self._link.has_frame and self._writer_idle
        if due:
            self._loop.call_soon_threadsafe(self.wake)
        if message is None:
            raise self._closed(step)
        if message[0] != step:
            raise StepMismatch(
                f"site {self.peer} is at step {message[0]!r}, we are at {step!r}: "
                "the sites do not run the same analysis",
                peer=self.peer,
            )
        return message[1]

    def expect(self) -> None:
        """Let one more message of this peer in, whatever its size: the application will take it."""
        with self._changed:
            self._link.expect()
            due = self._link.has_frame and self._writer_idle
        if due:
            self._loop.call_soon_threadsafe(self.wake)

    def finish(self) -> None:
        """Queue the goodbye."""
        with self._changed:
            self._link.finish()
        self._loop.call_soon_threadsafe(self.wake)

    def drain(self) -> None:
        """Wait until every message has arrived, or the peer will not take any more.

        Raises
        ------
        TransportError
            The session failed before, or the peer does not take it.
        """
        with self._changed:
            self._wait(lambda: not self._link.undelivered or self._link.finished, "to take what was sent")

    def part(self, patience: float) -> None:
        """Wait for the peer to hear the goodbye, but not for long: it may be gone already."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._failure or not self._link.unacknowledged or self._link.finished, patience
            )

    def _wait(self, ready: Callable[[], object], what: str) -> None:
        """Wait under the lock until `ready()`, or raise what ended the wait.

        The timeout runs from the last sign of progress, so that a large message on a slow network is
        not taken for silence.
        """
        begun = time.monotonic()
        while True:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            if ready():
                return
            left = max(begun, self._progress) + self.timeout - time.monotonic()
            if left <= 0:
                raise self._timed_out(what)
            self._changed.wait(left)

    def _timed_out(self, what: str) -> TransportError:
        # A third peer that is gone may be why this one is silent: then that one is named.
        for line in (self, *self.others):
            if line.broken_since is not None:
                return line.unreachable()
        return PeerTimeout(
            f"waited {self.timeout:g} s for site {self.peer} {what}: "
            "look whether its script still runs, or raise the timeout",
            peer=self.peer,
        )

    def unreachable(self) -> PeerUnreachable:
        """Return the error of a connection that broke and did not come back."""
        return PeerUnreachable(
            f"the connection to site {self.peer} broke and was not resumed ({self.trouble}): "
            "look whether its script still runs and the network holds, then start the analysis again",
            peer=self.peer,
        )

    def _closed(self, step: str) -> PeerClosed:
        return PeerClosed(
            f"site {self.peer} has finished its script, we are at step {step!r}: "
            "the sites do not run the same analysis",
            peer=self.peer,
        )


def closed_here() -> MeshClosed:
    """Return the error of a mesh that was used after its end."""
    return MeshClosed("this mesh is closed: make the call inside its `with` block")
