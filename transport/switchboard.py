"""The switchboard: makes the connections of one session, keeps them, and makes them again.

Everything here runs on the event loop's thread. For each pair of peers one dials, always the same one, and
redials when the connection breaks. Whichever way it came about, a connection is served by `_converse`:

::

    reader                                    writer
    hello  ─> judge it                        hello
    join   ─> verify it, resume the link      join, once every peer's hello is here
    frames ─> the link                        the link's frames

so that the first connection and every later one take the same path.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from transport import frames, grpc_tls, lastwords
from transport.card import Card, split_endpoint
from transport.errors import (
    AbortCode,
    FrameError,
    HandshakeRefused,
    PeerAborted,
    PeerUnreachable,
    TransportError,
)
from transport.frames import Frame, Kind
from transport.handshake import Handshake
from transport.line import Line, closed_here
from transport.probe import Responder
from transport.sitekeys import TlsCredentials
from transport.stream import (
    LINK,
    SERVICE,
    AcceptedStream,
    DialledStream,
    Stream,
    StreamEnded,
    Trouble,
    diagnose,
)

_log = logging.getLogger("fedstats.transport")

_FIRST_REDIAL = 0.05
_SLOWEST_REDIAL = 2.0
#: Seconds granted to a peer for taking last words and ending its side.
_GRACE = 2.0

#: Called with a peer's name and what happened to its connection.
Progress = Callable[[str, str], None]


def dials(me: str, peer: str, cards: Mapping[str, Card]) -> bool:
    """Tell whether `me` dials `peer`, or waits to be dialled: both sides get opposite answers."""
    if cards[me].endpoint is None or cards[peer].endpoint is None:
        return cards[me].endpoint is None
    return me > peer


class Switchboard:
    """The connections of one peer in one session.

    Parameters
    ----------
    handshake
        This peer's side of the handshake.
    me
        This peer's name.
    cards
        The cards of all peers in the roster, this one's own included.
    credentials
        This peer's TLS certificate and key.
    timeout
        The mesh's timeout.
    responder
        Answers probes of peers meanwhile.
    on_progress
        Told what happens to connections; called on the event loop's thread, so it must be quick.
    """

    def __init__(
        self,
        handshake: Handshake,
        me: str,
        cards: Mapping[str, Card],
        credentials: TlsCredentials,
        timeout: float,
        responder: Responder,
        on_progress: Progress | None,
    ) -> None:
        self._handshake = handshake
        self._me = me
        self._cards = cards
        self._credentials = credentials
        self._timeout = timeout
        self._responder = responder
        self._on_progress = on_progress
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._failure: TransportError | None = None
        self._closing = False
        self._server: Any = None
        self._dialers: list[asyncio.Task[None]] = []
        self._conversations: set[asyncio.Task[None]] = set()
        self.lines = {peer: Line(peer, timeout, self._loop) for peer in sorted(cards) if peer != me}
        for line in self.lines.values():
            line.others = tuple(other for other in self.lines.values() if other is not line)

    # Opening

    async def open(self, listen: str | None) -> None:
        """Connect to every peer and complete the handshake.

        Parameters
        ----------
        listen
            ``host:port`` to accept connections at; None at a site that only dials out.

        Raises
        ------
        HandshakeRefused, PeerUnreachable, PeerAborted, FrameError
            By which peer, and what to do. Everything is closed again then, and the peers told.
        """
        try:
            if listen is not None:
                await self._listen(listen)
            for peer, line in self.lines.items():
                if dials(self._me, peer, self._cards):
                    self._dialers.append(asyncio.create_task(self._dial(line)))
            await asyncio.wait_for(self._ready.wait(), self._timeout)
        except TimeoutError:
            self._fail(self._missing())
        except BaseException:
            await self.abort(AbortCode.INTERRUPTED, None)
            raise
        failure = self._failure
        if failure is not None:
            code = failure.code if isinstance(failure, PeerAborted) else AbortCode.TRANSPORT
            # A peer that has not come yet would otherwise wait for one that has left.
            await self.abort(code, failure.peer, linger=isinstance(failure, HandshakeRefused))
            raise failure

    async def _listen(self, address: str) -> None:
        self._server = grpc.aio.server(options=grpc_tls.server_options(len(self.lines), self._timeout))
        link: Any = grpc.stream_stream_rpc_method_handler(self._accept)
        probe, answer = self._responder.handler()
        handlers = grpc.method_handlers_generic_handler(SERVICE, {LINK: link, probe: answer})
        self._server.add_generic_rpc_handlers((handlers,))
        peers = [self._cards[peer] for peer in self.lines]
        try:
            self._server.add_secure_port(address, grpc_tls.server_credentials(self._credentials, peers))
            await self._server.start()
        except RuntimeError as error:
            raise PeerUnreachable(
                f"this site ({self._me}) cannot listen at {address}: another program, perhaps an earlier "
                "run, uses the port, or the host is not this machine's; free it, or set `listen`",
                peer=self._me,
            ) from error

    def _missing(self) -> TransportError:
        """Return the error of a session that did not come together in time."""
        absent = self._handshake.missing
        if absent:
            reasons = "; ".join(f"site {peer}: {self.lines[peer].trouble}" for peer in absent)
            return PeerUnreachable(
                f"waited {self._timeout:g} s, and not all sites came ({reasons}): start the analysis there, "
                "or run `fedstats doctor` at both ends",
                peer=absent[0],
            )
        peer = self._handshake.unverified[0]
        return PeerUnreachable(
            f"site {peer} came, but did not complete the handshake within {self._timeout:g} s: "
            "it may wait for a site that this one has reached; run `fedstats doctor` there",
            peer=peer,
        )

    # Connections

    async def _dial(self, line: Line) -> None:
        """Keep a connection to a peer that this site dials, until the session is over."""
        card = self._cards[line.peer]
        host, port = split_endpoint(str(card.endpoint), owner=line.peer)
        delay = _FIRST_REDIAL
        while not (self._closing or line.finished):
            # A new channel each time: gRPC's own back-off would only get in the way.
            channel: Any = grpc.aio.secure_channel(
                f"{host}:{port}",
                grpc_tls.channel_credentials(self._credentials, card),
                options=grpc_tls.channel_options(card, self._timeout),
            )
            stream = DialledStream(channel.stream_stream(f"/{SERVICE}/{LINK}")())
            try:
                await self._converse(line, stream)
            finally:
                stream.drop()
                await channel.close()
            if stream.heard_join:
                delay = _FIRST_REDIAL
            elif line.trouble is Trouble.IMPOSTOR and not self._ready.is_set():
                self._fail(lastwords.impostor(line.peer, str(card.endpoint)))
            if not (self._closing or line.finished):
                await asyncio.sleep(delay)
                delay = min(2 * delay, _SLOWEST_REDIAL)

    async def _accept(self, _requests: object, context: Any) -> None:
        """Serve a connection that a peer made."""
        task = asyncio.current_task()
        if task is None or self._closing:
            return
        stream = AcceptedStream(context, task)
        try:
            peer = grpc_tls.authenticate(context.auth_context(), self._peer_cards())
        except HandshakeRefused as error:
            _log.warning("refused a connection: %s", error)
            await _say(stream, lastwords.refusal(error))
            return
        if dials(self._me, peer, self._cards):
            _log.warning("refused a connection of site %s, which is not to dial this site", peer)
            return
        self._conversations.add(task)
        try:
            await self._converse(self.lines[peer], stream)
        finally:
            self._conversations.discard(task)

    def _peer_cards(self) -> dict[str, Card]:
        return {peer: self._cards[peer] for peer in self.lines}

    async def _converse(self, line: Line, stream: Stream) -> None:
        """Run one connection until it ends. Errors of the session are recorded, not raised."""
        reader = asyncio.create_task(self._read(line, stream))
        writer = asyncio.create_task(self._write(line, stream))
        try:
            done, _ = await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            # gRPC cancels whoever reads or writes a call that broke, hence the first question.
            if writer in done and not writer.cancelled() and writer.exception() is None:
                # Last words are written: leave the peer time to read them and end its side.
                await stream.finish()
                await asyncio.wait((reader,), timeout=_GRACE)
        finally:
            stream.dismissed = True
            reader.cancel()
            writer.cancel()
            for outcome in await asyncio.gather(reader, writer, return_exceptions=True):
                if isinstance(outcome, StreamEnded):
                    line.trouble = Trouble.BROKEN if stream.heard_hello else diagnose(str(outcome))
                elif isinstance(outcome, Exception):
                    _log.error("a connection with site %s failed: %r", line.peer, outcome)
            self._detach(line, stream)

    async def _read(self, line: Line, stream: Stream) -> None:
        while True:
            data = await stream.read()
            if stream.dismissed:
                return
            if self._failure is not None:
                # Kept open for last words only, ours and the peer's.
                if lastwords.are(data):
                    line.parted = True
                    return
                continue
            try:
                self._handle(line, stream, frames.decode_from(line.peer, data))
            except HandshakeRefused as error:
                self._fail(error)
                line.last_words = line.last_words or lastwords.refusal(error)
                stream.wake.set()
            except TransportError as error:
                self._fail(error)
                if isinstance(error, PeerAborted):
                    line.parted = True
                    return

    def _handle(self, line: Line, stream: Stream, frame: Frame) -> None:
        match frame.kind:
            case Kind.HELLO:
                self._hear_hello(line, stream, frame)
            case Kind.JOIN:
                self._hear_join(line, stream, frame)
            case Kind.ABORT:
                raise lastwords.read_abort(line.peer, frame, self._cards)
            case Kind.REFUSE:
                raise lastwords.read_refusal(line.peer, frame)
            case _ if stream.heard_join:
                line.receive(frame)
            case _:
                raise FrameError(f"site {line.peer} sent a message before the handshake", peer=line.peer)

    def _hear_hello(self, line: Line, stream: Stream, frame: Frame) -> None:
        if stream.heard_hello:
            raise FrameError(f"site {line.peer} sent two hellos", peer=line.peer)
        was_missing = bool(self._handshake.missing)
        self._handshake.accept(line.peer, bytes(frame.chunk))
        stream.heard_hello = True
        if line.stream is not None:
            # The peer gave the old connection up, though this side has not noticed yet.
            line.stream.dismissed = True
            line.stream.drop()
        line.stream = stream
        stream.wake.set()
        self._report(line.peer, "reached")
        if was_missing and not self._handshake.missing:
            for other in self.lines.values():
                other.wake()

    def _hear_join(self, line: Line, stream: Stream, frame: Frame) -> None:
        if not stream.heard_hello or stream.heard_join or stream.pending_join is not None:
            raise FrameError(f"site {line.peer} sent a signature where none is due", peer=line.peer)
        stream.pending_join = frame
        if not self._handshake.missing:
            self._settle(line, stream)

    def _settle(self, line: Line, stream: Stream) -> None:
        """Verify the peer's join, and let the link go on over this connection."""
        frame, stream.pending_join = stream.pending_join, None
        if frame is None:
            return
        self._handshake.verify(line.peer, bytes(frame.chunk))
        line.resume(frame.ack, frame.credit)
        stream.heard_join = True
        stream.wake.set()
        _log.info("connected with site %s", line.peer)
        self._report(line.peer, "connected")
        if not self._handshake.unverified:
            self._ready.set()

    async def _write(self, line: Line, stream: Stream) -> None:
        """Write what is due, in order of `_next`, until last words have been spoken."""
        while True:
            final = line.last_words is not None and stream.said_hello
            try:
                data = self._next(line, stream)
            except HandshakeRefused as error:
                self._fail(error)
                line.last_words = lastwords.refusal(error)
                continue
            except TransportError as error:
                self._fail(error)
                return
            if data is not None:
                await stream.write(data)
                if final:
                    line.parted = True
                    return
            else:
                await stream.wake.wait()
                stream.wake.clear()

    def _next(self, line: Line, stream: Stream) -> bytes | None:
        # The hello comes first even when all is lost: it lets the peer name what differs.
        if not stream.said_hello:
            stream.said_hello = True
            return frames.encode(Kind.HELLO, self._handshake.hello.encode())
        if line.last_words is not None:
            return line.last_words
        if not stream.said_join:
            if self._handshake.missing or not stream.heard_hello:
                return None
            self._settle(line, stream)
            stream.said_join = True
            ack, credit = line.resume_point()
            return frames.encode(Kind.JOIN, self._handshake.join(line.peer), ack=ack, credit=credit)
        return line.next_frame() if stream.heard_join else None

    def _detach(self, line: Line, stream: Stream) -> None:
        """Note that a connection is over; without another one within the timeout the session fails."""
        if line.stream is not stream:
            return
        line.stream = None
        self._handshake.forget(line.peer)
        if self._closing or line.finished or self._failure is not None:
            return
        _log.info("the connection with site %s broke", line.peer)
        self._report(line.peer, "lost, reconnecting")
        if line.broken_since is None and self._ready.is_set():
            line.broken_since = time.monotonic()
            self._loop.call_later(self._timeout, self._expire, line, line.broken_since)

    def _expire(self, line: Line, broken_since: float) -> None:
        if line.broken_since == broken_since and not self._closing:
            self._fail(line.unreachable())

    # Ending

    def _fail(self, error: TransportError) -> None:
        """Record the session's first error and wake everything that waits."""
        if self._failure is None:
            self._failure = error
            _log.info("the session failed: %s", error)
        for line in self.lines.values():
            line.fail(self._failure)
        self._ready.set()

    def _report(self, peer: str, event: str) -> None:
        if self._on_progress is not None:
            self._on_progress(peer, event)

    @property
    def failure(self) -> TransportError | None:
        """What ended the session, if anything did."""
        return self._failure

    async def abort(self, code: AbortCode, origin: str | None, *, linger: bool = False) -> None:
        """Tell every peer that can be reached that the session has failed, and shut down.

        Parameters
        ----------
        code, origin
            What to say.
        linger
            Give peers that have not come yet a moment to come and hear it.
        """
        words = lastwords.abort(code, origin or self._me)
        waiting = []
        for line in self.lines.values():
            line.last_words = line.last_words or words
            line.wake()
            expected = line.stream is not None or (line.peer != origin and (linger or line.broken_since))
            if expected and not line.finished:
                waiting.append(line)
        end = self._loop.time() + _GRACE
        while self._loop.time() < end and any(line.stream or not line.parted for line in waiting):
            await asyncio.sleep(0.01)
        await self.shut()

    async def shut(self) -> None:
        """End all connections at once and free everything."""
        self._closing = True
        for line in self.lines.values():
            line.fail(closed_here())
            if line.stream is not None:
                line.stream.drop()
        for task in self._dialers:
            task.cancel()
        await asyncio.gather(*self._dialers, return_exceptions=True)
        if self._server is not None:
            await self._server.stop(grace=0.2)
            self._server = None


async def _say(stream: Stream, data: bytes) -> None:
    try:
        await stream.write(data)
    except StreamEnded:
        return
