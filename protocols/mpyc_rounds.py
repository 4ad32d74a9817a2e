"""An event loop whose waiting for input is a round of the mesh.

MPyC's coroutines send and await small messages, tagged by program counters, in whatever order they run.
The mesh carries one named message per peer and round. Between the two stands asyncio's *selector*, which
a loop calls when nothing is left to run: ours then sends each peer everything that was queued for it,
takes in what the peers have sent, and wakes who awaits it. So all messages of a round travel together,
no thread is needed, errors of the mesh are raised in the caller's own thread, and no wait is longer than
the mesh's timeout.

All parties take part in every round, with an empty message if need be, until all have finished: each
message says whether its sender has, and whether anything may still come of waiting.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import defaultdict
from collections.abc import Awaitable
from typing import Any

import numpy as np

from protocols import codec
from protocols.engine import Engine
from protocols.errors import CodecError, ProtocolError
from transport.base import Buffer

#: Bytes of messages from a peer that nobody here awaits yet, beyond which it is not honest.
MAX_AHEAD = 1 << 30
#: Each message counts for as many bytes more, so that a peer cannot send millions of empty ones.
_OVERHEAD = 64


class Stalled(ProtocolError):
    """The parties wait for each other, and nobody has anything to send."""


class Rounds:
    """Tagged messages of asynchronous protocols over the rounds of a mesh.

    Parameters
    ----------
    engine
        The computation; its steps name the rounds.

    Attributes
    ----------
    loop
        The event loop, for the thread that creates it.
    """

    def __init__(self, engine: Engine) -> None:
        self.loop = asyncio.SelectorEventLoop(_RoundSelector(self))
        self._engine = engine
        self._outgoing: dict[str, dict[int, bytes]] = {peer: {} for peer in engine.party.peers}
        self._awaited: dict[tuple[str, int], asyncio.Future[bytes]] = {}
        self._early: dict[str, dict[int, bytes]] = defaultdict(dict)
        self._turns: list[asyncio.Future[None]] = []
        self._finished = self._all_finished = self._closing = False
        self._fruitless = 0
        self._failure: BaseException | None = None

    def watch(self) -> None:
        """Have the loop tell of tasks that fail, instead of whom it told before."""
        self.loop.set_exception_handler(self._fail)

    def send(self, peer: str, tag: int, payload: bytes) -> None:
        """Queue a message for the next round."""
        if tag in self._outgoing[peer]:
            raise ProtocolError(f"two messages to site {peer} have the same tag")
        self._outgoing[peer][tag] = payload

    def receive(self, peer: str, tag: int) -> asyncio.Future[bytes]:
        """Return a future of the message of this tag."""
        future: asyncio.Future[bytes] = self.loop.create_future()
        if tag in self._early[peer]:
            future.set_result(self._early[peer].pop(tag))
        else:
            self._awaited[peer, tag] = future
        return future

    def turn(self) -> asyncio.Future[None]:
        """Return a future that is done after the next round: for who waits on what tasks do meanwhile."""
        future: asyncio.Future[None] = self.loop.create_future()
        self._turns.append(future)
        return future

    def run(self, work: Awaitable[Any]) -> Any:
        """Run until this party's work and that of all others is done, and return the result.

        Raises
        ------
        BaseException
            What the work raised, or a task that it started, or the mesh. In the latter cases the
            computation is over, and every later call raises the same.
        """
        if self._failure is not None:
            if asyncio.iscoroutine(work):
                work.close()
            raise self._failure.with_traceback(None)
        try:
            return self.loop.run_until_complete(self._together(work))
        except BaseException:
            # A task that failed has stopped the loop, which makes asyncio complain of just that.
            if self._failure is not None:
                raise self._failure from None
            raise

    def close(self) -> None:
        """Drop all tasks, and free the loop."""
        if self.loop.is_closed():
            return
        self.loop.set_exception_handler(lambda *_: None)
        self._closing = True  # no further round, whatever tasks do
        # A coroutine that never started would be complained of.
        self.loop.run_until_complete(asyncio.sleep(0))
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks))
        self.loop.close()

    # --- Within -------------------------------------------------------------------------------------

    async def _together(self, work: Awaitable[Any]) -> Any:
        result = await work
        self._finished = True
        while not self._all_finished:
            await self.turn()
        self._finished = self._all_finished = False
        return result

    def _fail(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Stop at a callback that failed; with MPyC, that is the end of a coroutine nobody awaits."""
        error = context.get("exception")
        if error is not None and "handle" in context:
            self._failure = self._failure or error
            loop.stop()
        elif error is not None:
            loop.default_exception_handler(context)

    def waits(self) -> bool:
        """Return whether somebody waits for a round."""
        if self._closing:
            return False
        self._awaited = {key: future for key, future in self._awaited.items() if not future.done()}
        return bool(self._awaited or self._turns)

    def exchange(self, *, timer: bool) -> None:
        """Send what is queued, take in what the peers have queued, and wake who waits.

        Parameters
        ----------
        timer
            Whether this party will go on at some moment even if no message comes.
        """
        try:
            self._exchange(timer)
        except BaseException as error:
            self._failure = error
            raise

    def _exchange(self, timer: bool) -> None:
        party, finished = self._engine.party, self._finished
        hopeful = timer or any(self._outgoing.values())
        outgoing: dict[str, Buffer] = {
            peer: _encode(messages, finished, hopeful) for peer, messages in self._outgoing.items()
        }
        self._outgoing = {peer: {} for peer in party.peers}
        step = self._engine.step("mpyc")
        for peer, payload in party.mesh.exchange(step, outgoing).items():
            messages, peer_finished, peer_hopeful = _decode(payload, peer)
            self._deliver(peer, messages)
            finished, hopeful = finished and peer_finished, hopeful or peer_hopeful
        self._all_finished = finished
        # Who waits for a turn may go on after a round without messages, but not after two.
        self._fruitless = 0 if hopeful or finished else self._fruitless + 1
        if self._fruitless > 1:
            raise Stalled(
                f"at step {step!r} all sites wait for messages that nobody sends: "
                "the sites do not run the same program"
            )
        turns, self._turns = self._turns, []
        for turn in turns:
            if not turn.done():
                turn.set_result(None)

    def _deliver(self, peer: str, messages: dict[int, bytes]) -> None:
        early = self._early[peer]
        for tag, payload in messages.items():
            future = self._awaited.pop((peer, tag), None)
            if future is not None and not future.done():
                future.set_result(payload)
            elif tag in early:
                raise CodecError(f"site {peer} sent two messages with the same tag", peer=peer)
            else:
                early[tag] = payload
        if sum(len(payload) + _OVERHEAD for payload in early.values()) > MAX_AHEAD:
            raise CodecError(f"site {peer} sent more than was asked for: it runs another program", peer=peer)


class _RoundSelector(selectors.DefaultSelector):
    """Waits for the peers' messages where a selector waits for sockets."""

    def __init__(self, rounds: Rounds) -> None:
        super().__init__()
        self._rounds = rounds

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout != 0 and self._rounds.waits():
            self._rounds.exchange(timer=timeout is not None)
            timeout = 0
        return super().select(timeout)


# --- On the wire -------------------------------------------------------------------------------------


def _encode(messages: dict[int, bytes], finished: bool, hopeful: bool) -> bytes:
    sizes = [len(payload) for payload in messages.values()]
    return codec.encode(
        {
            "data": b"".join(messages.values()),
            "ends": np.cumsum(sizes, dtype=np.int64),
            "finished": finished,
            "hopeful": hopeful,
            "tags": np.array(list(messages), np.int64),
        }
    )


def _decode(payload: Buffer, peer: str) -> tuple[dict[int, bytes], bool, bool]:
    match codec.decode(payload, peer=peer):
        case {
            "data": bytes() as data,
            "ends": np.ndarray(dtype=np.int64, ndim=1) as ends,
            "finished": bool() as finished,
            "hopeful": bool() as hopeful,
            "tags": np.ndarray(dtype=np.int64, ndim=1) as tags,
            **rest,
        } if not rest:
            pass
        case _:
            raise CodecError(f"site {peer} sent no round of tagged messages", peer=peer)
    stops = ends.tolist()
    starts = [0, *stops][: len(stops)]
    increasing = all(start <= stop for start, stop in zip(starts, stops, strict=True))
    if len(tags) != len(stops) or not increasing or [0, *stops][-1] != len(data):
        raise CodecError(f"site {peer} sent tagged messages of impossible lengths", peer=peer)
    messages = {tag: data[start:stop] for tag, start, stop in zip(tags.tolist(), starts, stops, strict=True)}
    if len(messages) != len(tags):
        raise CodecError(f"site {peer} sent two messages with the same tag", peer=peer)
    return messages, finished, hopeful
