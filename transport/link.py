"""The resumable link: one end's record of what was sent, received and taken. No I/O, no clock.

Connections break; a link does not. Each end numbers its frames from 1, keeps what the other has not
acknowledged, and after a broken connection begins again right behind what the other says it has. Since
both ends count, a frame that is lost, doubled, replayed or out of order is noticed and refused.

Two numbers travel in every frame and do different jobs:

- ``ack``, the last frame that *arrived*: the sender may forget everything up to it.
- ``credit``, how much the sender may have sent in all: what the receiver's application has *taken* plus
  one window, the same at both ends. It bounds what waits at the receiver and what the sender keeps to send
  again, and it is how a slow receiver slows its sender. Once
  the application waits for a message, its chunks count as taken when they arrive, so that a message
  larger than the window gets through.

Costs are counted in octets plus a fixed `OVERHEAD` a frame, so that empty messages are not free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from transport import frames
from transport.base import MAX_MESSAGE, MAX_STEP, Buffer
from transport.errors import FrameError
from transport.frames import Frame, Kind

#: What may wait at a receiver that does not receive, and, as much again, at its sender.
WINDOW = 16 << 20
#: What a frame counts for beside its chunk: about what Python objects and queues cost.
OVERHEAD = 256


class _Outgoing:
    """A message or farewell that waits to be cut into frames; numbered when it is."""

    __slots__ = ("cost", "kind", "payload", "step")

    def __init__(self, kind: Kind, step: bytes, payload: memoryview) -> None:
        self.kind = kind
        self.step = step
        self.payload = payload
        chunks = max(1, -(-len(payload) // frames.MAX_CHUNK))
        self.cost = len(payload) + chunks * OVERHEAD

    def cut(self) -> Iterator[_Sent]:
        """Yield the frames. Chunks are views: nothing is copied before a frame is written."""
        for begin in range(0, max(1, len(self.payload)), frames.MAX_CHUNK):
            chunk = self.payload[begin : begin + frames.MAX_CHUNK]
            more = begin + len(chunk) < len(self.payload)
            yield _Sent(self.kind, b"" if begin else self.step, chunk, more)


class _Sent:
    """A frame that was, or is about to be, written, in a form that can be written again."""

    __slots__ = ("chunk", "cost", "kind", "more", "step")

    def __init__(self, kind: Kind, step: bytes, chunk: memoryview, more: bool) -> None:
        self.kind = kind
        self.step = step
        self.chunk = chunk
        self.more = more
        self.cost = len(chunk) + OVERHEAD


class Link:
    """One end of a link. Not safe for threads: its owner locks.

    Parameters
    ----------
    peer
        Name of the other end, for errors.
    window
        Credit given beyond what was taken, the same at both ends.

    Attributes
    ----------
    received
        Number of the last frame received in order.
    finished
        The other end has said goodbye: nothing more will come.
    """

    def __init__(self, peer: str, window: int = WINDOW) -> None:
        self.peer = peer
        self.received = 0
        self.finished = False
        self._window = window
        # Sending. `_unacked` holds frames acked+1 … acked+len; the first `_written` of them have been
        # written to the present connection, the rest are to be written (again).
        self._outgoing: deque[_Outgoing] = deque()
        self._cutting: Iterator[_Sent] | None = None
        self._unacked: deque[_Sent] = deque()
        self._written = 0
        self._acked = 0
        self._acked_cost = 0
        self._queued_cost = 0
        self._sent_cost = 0
        self._allowed = window
        self._said_goodbye = False
        # Receiving.
        self._inbox: deque[tuple[str, Buffer, int]] = deque()
        self._partial: bytearray | None = None
        self._partial_step = ""
        self._partial_cost = 0
        self._counted = 0
        self._received_cost = 0
        self._taken_cost = 0
        self._expecting = False
        # What the other end was last told.
        self._told_taken = 0
        self._told_received = 0
        self._ack_now = False

    # Sending

    @property
    def backlog(self) -> int:
        """Cost of what was pushed and has not been put into a frame yet."""
        return self._queued_cost

    @property
    def unacknowledged(self) -> bool:
        """Whether anything, the goodbye included, may not have arrived."""
        return bool(self._outgoing or self._cutting or self._unacked)

    @property
    def undelivered(self) -> bool:
        """Whether a message may not have arrived."""
        # The goodbye is the last to be pushed and the last to be acknowledged.
        waiting = len(self._outgoing) + (self._cutting is not None) + len(self._unacked)
        return waiting > self._said_goodbye

    def push(self, step: str, payload: Buffer) -> None:
        """Queue a message. The payload is not copied.

        Raises
        ------
        ValueError
            A step or message that is too long.
        """
        name = step.encode("utf-8")
        view = memoryview(payload).cast("B") if memoryview(payload).nbytes else memoryview(b"")
        if len(name) > MAX_STEP:
            raise ValueError(f"the step name {step[:40]!r}… is longer than {MAX_STEP} bytes")
        if len(view) > MAX_MESSAGE:
            raise ValueError(
                f"step {step!r}: a message of {len(view)} bytes is over {MAX_MESSAGE}: send several"
            )
        self._queue(_Outgoing(Kind.DATA, name, view))

    def finish(self) -> None:
        """Queue the farewell. Nothing may be pushed after it."""
        if not self._said_goodbye:
            self._said_goodbye = True
            self._queue(_Outgoing(Kind.BYE, b"", memoryview(b"")))

    def _queue(self, item: _Outgoing) -> None:
        self._outgoing.append(item)
        self._queued_cost += item.cost

    @property
    def has_frame(self) -> bool:
        """Whether `next_frame` would return one."""
        fresh = bool(self._outgoing or self._cutting) and self._sent_cost < self._allowed
        return self._written < len(self._unacked) or fresh or self._ack_due

    def next_frame(self) -> bytes | None:
        """Return the next frame to write to the connection, or None when there is none for now."""
        if self._written < len(self._unacked):
            sent = self._unacked[self._written]
        else:
            fresh = self._next_fresh()
            if fresh is None:
                return self._acknowledgement()
            sent = fresh
            self._unacked.append(sent)
        self._written += 1
        self._note_told()
        return frames.encode(
            sent.kind,
            sent.chunk,
            sequence=self._acked + self._written,
            ack=self.received,
            credit=self._credit,
            step=sent.step,
            more=sent.more,
        )

    def _next_fresh(self) -> _Sent | None:
        if self._sent_cost >= self._allowed:
            return None
        if self._cutting is None:
            if not self._outgoing:
                return None
            self._cutting = self._outgoing.popleft().cut()
        sent = next(self._cutting)
        if not sent.more:
            self._cutting = None
        self._sent_cost += sent.cost
        self._queued_cost -= sent.cost
        return sent

    def _acknowledgement(self) -> bytes | None:
        if not self._ack_due:
            return None
        self._note_told()
        return frames.encode(Kind.ACK, ack=self.received, credit=self._credit)

    # Receiving

    @property
    def _credit(self) -> int:
        return self._taken_cost + self._window

    @property
    def _ack_due(self) -> bool:
        """Whether there is news worth a frame of its own; small news wait for one that goes anyway."""
        return (
            self._ack_now
            or self._received_cost - self._told_received >= self._window // 8
            or self._taken_cost - self._told_taken >= self._window // 4
        )

    def _note_told(self) -> None:
        self._told_taken = self._taken_cost
        self._told_received = self._received_cost
        self._ack_now = False

    def receive(self, frame: Frame) -> bool:
        """Take in a DATA, BYE or ACK frame; tell whether a message or the farewell is now complete.

        Raises
        ------
        FrameError
            Out of sequence, beyond the credit, acknowledging what was never sent, or after goodbye.
        """
        self._acknowledge(frame.ack, frame.credit)
        if frame.kind is Kind.ACK:
            return False
        if frame.sequence != self.received + 1:
            raise self._error(f"frame {frame.sequence} where {self.received + 1} is next")
        if self.finished:
            raise self._error("a frame after its goodbye")
        cost = len(frame.chunk) + OVERHEAD
        # The sender may begin a frame while any credit is left, so it may overshoot by one frame.
        if self._received_cost >= self._credit:
            raise self._error("more than it was given credit for")
        self.received += 1
        self._received_cost += cost
        if frame.kind is Kind.BYE:
            if self._partial is not None:
                raise self._error("a goodbye inside a message")
            self.finished = True
            self._ack_now = True
            return True
        return self._assemble(frame, cost)

    def _assemble(self, frame: Frame, cost: int) -> bool:
        if self._partial is None:
            if not frame.more:
                self._inbox.append((frame.step, frame.chunk, cost))
                return True
            # Grows by what arrives, never by what a peer announces.
            self._partial = bytearray()
            self._partial_step = frame.step
            self._partial_cost = self._counted = 0
        elif frame.step:
            raise self._error("a step's name inside a message")
        if not frame.chunk:
            raise self._error("an empty chunk of a larger message")
        if len(self._partial) + len(frame.chunk) > MAX_MESSAGE:
            raise self._error(f"a message of more than {MAX_MESSAGE} bytes")
        self._partial += frame.chunk
        self._partial_cost += cost
        self._count_partial()
        if frame.more:
            return False
        self._inbox.append((self._partial_step, self._partial, self._partial_cost - self._counted))
        self._partial = None
        self._ack_now = True  # lets the sender forget a large message
        return True

    def _count_partial(self) -> None:
        if self._expecting and not self._inbox and self._partial is not None:
            self._taken_cost += self._partial_cost - self._counted
            self._counted = self._partial_cost

    def expect(self) -> None:
        """Note that the application will take one more message: let it in, however large it is."""
        self._expecting = True
        self._count_partial()

    @property
    def position(self) -> tuple[int, int, int]:
        """How far the link has come, both ways; it changes only when something new has arrived."""
        return self.received, self._acked, self._allowed

    @property
    def has_message(self) -> bool:
        """Whether `take` would return a message."""
        return bool(self._inbox)

    def take(self) -> tuple[str, Buffer] | None:
        """Give the next whole message to the application: its step and payload; None when there is none."""
        if not self._inbox:
            return None
        step, payload, cost = self._inbox.popleft()
        self._taken_cost += cost
        self._expecting = False
        return step, payload

    # Resuming

    @property
    def resume_point(self) -> tuple[int, int]:
        """What the other end must be told on a new connection: ack and credit."""
        self._note_told()
        return self.received, self._credit

    def resume(self, ack: int, credit: int) -> None:
        """Begin on a new connection: write again everything behind `ack`.

        Raises
        ------
        FrameError
            The other end claims frames that it never got, or forgets ones that it acknowledged.
        """
        self._acknowledge(ack, credit)
        if ack != self._acked:
            raise self._error(f"a resumption from frame {ack}, after it had acknowledged {self._acked}")
        self._written = 0

    def _acknowledge(self, ack: int, credit: int) -> None:
        # A connection keeps order, and a new one begins with the newest numbers, so neither may decrease.
        known = self._acked <= ack <= self._acked + len(self._unacked) and credit >= self._allowed
        if known:
            for _ in range(ack - self._acked):
                self._acked_cost += self._unacked.popleft().cost
        # What was taken has arrived. More credit than that would have us keep more than a window of frames.
        if not known or credit > self._acked_cost + self._window:
            raise self._error(f"an acknowledgement of frame {ack} and credit {credit}, which cannot be")
        self._written = max(0, self._written - (ack - self._acked))
        self._acked = ack
        self._allowed = credit

    def _error(self, what: str) -> FrameError:
        return FrameError(
            f"site {self.peer} sent {what}: it runs a damaged or hostile version of fedstats", peer=self.peer
        )
