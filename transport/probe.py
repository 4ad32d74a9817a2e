"""Look at every peer before an analysis: who can be reached, who runs what, and how fast.

`probe` needs no session and no other site's success: each peer is reported on by itself. Sites that probe at
the same time see each other; a peer in the middle of a session answers too.

On the wire: hellos both ways, as in a session but with an empty script and key; then clock readings, and a
few megabytes for the bandwidth. Nothing of it depends on data.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import grpc
import grpc.aio

from transport import certificate, frames, grpc_tls, loop
from transport.card import Card, split_endpoint
from transport.errors import FrameError, HandshakeRefused, IdentityError, Mismatch
from transport.frames import Kind
from transport.handshake import Hello, Terms, compare, make_terms
from transport.manifest import Manifest
from transport.sitekeys import SiteKeys, TlsCredentials
from transport.stream import (
    PROBE,
    SERVICE,
    AcceptedStream,
    DialledStream,
    Stream,
    StreamEnded,
    Trouble,
    diagnose,
)

_log = logging.getLogger("fedstats.transport")

_CLOCK_READINGS = 8
_BLOCK = 1_000_000
_BLOCKS = 8
#: Bytes after which a server ends a probe.
_MOST = 32 << 20
_PAUSE = 0.25
_ASK_CLOCK, _ASK_COUNT = b"clock", b"count"
_STAMP = struct.Struct(">d")


class Status(StrEnum):
    """How far the connection with a peer gets."""

    OK = "ok"
    DISAGREES = "disagrees"  #: connected; another version, epoch or manifest
    NOT_READY = "not ready"  #: its machine answers, or it dials out only; nothing of it has come
    REFUSED = "refused by TLS"  #: one of the two certificates is not the one that the other pins
    UNREACHABLE = "unreachable"  #: no network connection
    EXPIRED = "certificate expired"  #: not even tried


@dataclass(frozen=True)
class PeerReport:
    """What a probe found out about a peer.

    Attributes
    ----------
    peer
        Its name.
    status
        How far the connection gets.
    remedy
        What is wrong and what to do; empty when nothing is.
    expires
        When its certificate ends.
    mismatch
        What the two sites disagree about; None when they agree, or were not connected.
    package
        Version of the software there.
    round_trip
        Seconds, the least of several.
    clock_offset
        Seconds by which its clock is ahead of ours, give or take half the round trip.
    bandwidth
        Bytes a second from here to there, over one connection.
    """

    peer: str
    status: Status
    remedy: str
    expires: datetime
    mismatch: Mismatch | None = None
    package: str | None = None
    round_trip: float | None = None
    clock_offset: float | None = None
    bandwidth: float | None = None


class Responder:
    """Answers probes of peers, and remembers who has come.

    Parameters
    ----------
    hello
        What this site says of itself; see `probe_hello`.
    peers
        The cards of the other sites.

    Attributes
    ----------
    heard
        What the peers that came said of themselves.
    served
        Peers that have come and are through.
    """

    def __init__(self, hello: Hello, peers: Mapping[str, Card]) -> None:
        self._hello = hello
        self._peers = peers
        self.heard: dict[str, Hello] = {}
        self.served: set[str] = set()

    async def serve(self, _requests: object, context: Any) -> None:
        """Serve one probe."""
        task = asyncio.current_task()
        if task is None:
            return
        peer = ""
        try:
            peer = grpc_tls.authenticate(context.auth_context(), self._peers)
            stream = AcceptedStream(context, task)
            await stream.write(frames.encode(Kind.HELLO, self._hello.encode()))
            hello = Hello.decode(bytes(frames.decode(await stream.read()).chunk), peer=peer)
            if hello.certificate == self._peers[peer].fingerprint:
                self.heard[peer] = hello
            await _echo(stream)
        except (HandshakeRefused, FrameError, StreamEnded) as error:
            _log.info("a probe ended: %s", error)
        finally:
            self.served |= {peer} & self.heard.keys()

    def handler(self) -> tuple[str, Any]:
        """Return the RPC's name and gRPC's handler of it."""
        method: Any = grpc.stream_stream_rpc_method_handler(self.serve)
        return PROBE, method


async def _echo(stream: Stream) -> None:
    """Tell the time or how much has come when asked; count everything else. Ends after `_MOST` bytes."""
    received = 0
    while received <= _MOST:
        data = await stream.read()
        received += len(data)
        if data == _ASK_CLOCK:
            await stream.write(_STAMP.pack(time.time()))
        elif data == _ASK_COUNT:
            await stream.write(_STAMP.pack(received))


def probe_hello(keys: SiteKeys, manifest: Manifest, package_version: str) -> Hello:
    """Return the hello of a probe: as in a session, with no script and no key."""
    terms = make_terms(package_version, manifest.epoch, manifest.hash, bytes(32), manifest.names)
    return Hello(keys.name, terms, manifest.card(keys.name).fingerprint, bytes(32), bytes(32))


def probe(
    keys: SiteKeys,
    manifest: Manifest,
    *,
    package_version: str,
    patience: float = 10.0,
    listen: str | None = None,
) -> list[PeerReport]:
    """Report on every other site of the federation.

    Parameters
    ----------
    keys, manifest, package_version, listen
        As for `grpc_mesh.connect`. `listen` None means not to listen: give
        `grpc_mesh.listening_address(card)` so that the others can probe this site meanwhile.
    patience
        Seconds to wait for peers that are not there yet, and to answer theirs.

    Returns
    -------
    list of PeerReport
        By name.

    Raises
    ------
    IdentityError, ManifestError
        This site's own files are not in order.
    """
    manifest.verify()
    own = keys.credentials(manifest.card(keys.name).fingerprint)
    hello = probe_hello(keys, manifest, package_version)
    return loop.run(_probe_all(hello, manifest, own, patience, listen))


async def _probe_all(
    hello: Hello, manifest: Manifest, own: TlsCredentials, patience: float, listen: str | None
) -> list[PeerReport]:
    peers = {card.name: card for card in manifest.peers if card.name != hello.name}
    responder = Responder(hello, peers)
    server = await _listen(responder, own, peers, patience, listen)
    end = time.monotonic() + patience
    try:
        reports = await asyncio.gather(
            *(_probe_one(hello, card, own, responder, end, patience) for card in peers.values())
        )
        # The others may not be through with this site yet.
        while server is not None and responder.served != set(peers) and time.monotonic() < end:
            await asyncio.sleep(_PAUSE / 5)
        return list(reports)
    finally:
        if server is not None:
            await server.stop(grace=1.0)


async def _listen(
    responder: Responder, own: TlsCredentials, peers: Mapping[str, Card], patience: float, listen: str | None
) -> Any:
    if listen is None:
        return None
    server: Any = grpc.aio.server(options=grpc_tls.server_options(len(peers), patience))
    name, handler = responder.handler()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {name: handler}),))
    try:
        server.add_secure_port(listen, grpc_tls.server_credentials(own, peers.values()))
        await server.start()
    except RuntimeError:
        _log.info("cannot listen at %s: an analysis that runs there answers probes instead", listen)
        return None
    return server


async def _probe_one(
    hello: Hello, card: Card, own: TlsCredentials, responder: Responder, end: float, patience: float
) -> PeerReport:
    expires = card.expires
    try:
        certificate.check_dates(card.x509, card.name)
    except IdentityError as error:
        return PeerReport(card.name, Status.EXPIRED, str(error), expires)
    if card.endpoint is None:
        return await _await_visit(hello, card, responder, end)
    while True:
        report = await _dial(hello, card, own, patience)
        if report.status in {Status.OK, Status.DISAGREES} or time.monotonic() + _PAUSE > end:
            return report
        await asyncio.sleep(_PAUSE)


async def _await_visit(hello: Hello, card: Card, responder: Responder, end: float) -> PeerReport:
    """Wait for a site that can only dial out to probe this one."""
    while card.name not in responder.heard and time.monotonic() < end:
        await asyncio.sleep(_PAUSE / 5)
    heard = responder.heard.get(card.name)
    if heard is None:
        remedy = f"site {card.name} only dials out and has not come: run `fedstats doctor` there, now"
        return PeerReport(card.name, Status.NOT_READY, remedy, card.expires)
    return _judge(hello.terms, heard, card)


def _judge(ours: Terms, theirs: Hello, card: Card) -> PeerReport:
    report = PeerReport(card.name, Status.OK, "", card.expires, package=theirs.terms.package)
    try:
        # The script and the participants are agreed on in a session.
        compare(ours, replace(theirs.terms, spec=ours.spec, roster=ours.roster), card.name)
    except HandshakeRefused as error:
        return replace(report, status=Status.DISAGREES, remedy=str(error), mismatch=error.mismatch)
    return report


async def _dial(hello: Hello, card: Card, own: TlsCredentials, patience: float) -> PeerReport:
    host, port = split_endpoint(str(card.endpoint), owner=card.name)
    channel: Any = grpc.aio.secure_channel(
        f"{host}:{port}",
        grpc_tls.channel_credentials(own, card),
        options=grpc_tls.channel_options(card, patience),
    )
    stream = DialledStream(channel.stream_stream(f"/{SERVICE}/{PROBE}")())
    try:
        async with asyncio.timeout(patience):
            return await _examine(hello, card, stream)
    except HandshakeRefused as error:
        return PeerReport(card.name, Status.DISAGREES, str(error), card.expires, error.mismatch)
    except (StreamEnded, TimeoutError, FrameError) as error:
        status, what = _STATUS[diagnose(str(error))]
        return PeerReport(card.name, status, what.format(peer=card.name, at=card.endpoint), card.expires)
    finally:
        stream.drop()
        await channel.close()


async def _examine(hello: Hello, card: Card, stream: Stream) -> PeerReport:
    await stream.write(frames.encode(Kind.HELLO, hello.encode()))
    theirs = Hello.decode(bytes(frames.decode(await stream.read()).chunk), peer=card.name)
    report = _judge(hello.terms, theirs, card)
    readings = []
    for _ in range(_CLOCK_READINGS):
        begin, sent = time.perf_counter(), time.time()
        await stream.write(_ASK_CLOCK)
        (there,) = _STAMP.unpack(await stream.read())
        round_trip = time.perf_counter() - begin
        readings.append((round_trip, there - sent - round_trip / 2))
    block = bytes(_BLOCK)
    begin = time.perf_counter()
    for _ in range(_BLOCKS):
        await stream.write(block)
    await stream.write(_ASK_COUNT)
    (arrived,) = _STAMP.unpack(await stream.read())
    seconds = time.perf_counter() - begin
    round_trip, offset = min(readings)
    return replace(report, round_trip=round_trip, clock_offset=offset, bandwidth=arrived / seconds)


_STATUS = {
    Trouble.IMPOSTOR: (
        Status.REFUSED,
        "whoever answers at {at} does not have the certificate pinned for site {peer}: compare "
        "federation.toml at both sites, and look whether the endpoint is right",
    ),
    Trouble.REFUSED: (
        Status.REFUSED,
        "site {peer} ended the connection: its federation.toml may pin another certificate for this site; "
        "give both the same, newest file",
    ),
    Trouble.SILENT: (
        Status.NOT_READY,
        "the machine at {at} answers, but nothing listens there: run `fedstats doctor` or the analysis at "
        "site {peer}",
    ),
    Trouble.UNKNOWN_HOST: (
        Status.UNREACHABLE,
        "the host name of {at} is not known here: check the endpoint of site {peer}, and this machine's DNS",
    ),
    Trouble.UNREACHABLE: (
        Status.UNREACHABLE,
        "no connection to {at}: check the endpoint of site {peer}, and that firewalls on the way let it "
        "through",
    ),
    Trouble.BROKEN: (Status.UNREACHABLE, "the connection to {at} broke: try again"),
    Trouble.NONE: (Status.UNREACHABLE, "the connection to {at} could not be tried"),
}
