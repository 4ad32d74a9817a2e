"""The mesh between machines: gRPC streams under mutual TLS with pinned certificates.

Blocking calls on top, one event-loop thread below. `connect` is the entrance; the work is done by

- `transport.handshake`: what is agreed on, and the keys,
- `transport.switchboard`: connections, made and made again,
- `transport.line` and `transport.link`: what was sent, received and taken on each,
- `transport.grpc_tls`: credentials, limits, and the check of every connection.
"""

from __future__ import annotations

import atexit
import ipaddress
import logging
from collections.abc import Mapping, Sequence

from transport import certificate, loop
from transport.base import DEFAULT_TIMEOUT, Buffer, Channel, Mesh, Session
from transport.card import Card, split_endpoint
from transport.errors import AbortCode, ManifestError, PeerAborted, PeerUnreachable, TransportError
from transport.handshake import Handshake, Terms, make_terms
from transport.line import Line
from transport.manifest import Manifest
from transport.probe import Responder, probe_hello
from transport.sitekeys import SiteKeys
from transport.switchboard import Progress, Switchboard

#: Seconds to wait at the end for a peer to acknowledge our goodbye.
_FAREWELL = 2.0

_log = logging.getLogger("fedstats.transport")


class GrpcChannel(Channel):
    """Messages to and from one peer over the network."""

    def __init__(self, line: Line) -> None:
        self.peer = line.peer
        self.failure: TransportError | None = None
        self._line = line

    def send(self, step: str, payload: Buffer) -> None:
        """Queue one message; see `Channel.send`."""
        try:
            self._line.send(step, payload)
        except TransportError as error:
            self.failure = error
            raise

    def recv(self, step: str) -> Buffer:
        """Wait for the message of `step`; see `Channel.recv`."""
        try:
            return self._line.recv(step)
        except TransportError as error:
            self.failure = error
            raise


class GrpcMesh(Mesh):
    """One peer's side of a session over the network; make it with `connect`."""

    def __init__(
        self, me: str, roster: tuple[str, ...], session: Session, timeout: float, switchboard: Switchboard
    ) -> None:
        super().__init__(me, roster, session, timeout)
        self._switchboard = switchboard
        self._channels = {peer: GrpcChannel(line) for peer, line in switchboard.lines.items()}
        self._over = False
        # A script that ends without closing would leave its peers waiting until they time out.
        atexit.register(self.abort, AbortCode.INTERRUPTED)

    def channel(self, peer: str) -> Channel:
        """Return the channel to `peer`."""
        return self._channels[peer]

    def abort(self, code: AbortCode, origin: str | None = None) -> None:
        """Fail the session for all; see `Mesh.abort`."""
        if not self._over:
            self._leave()
            loop.run(self._switchboard.abort(code, origin))

    def _leave(self) -> None:
        self._over = True
        atexit.unregister(self.abort)

    def close(self) -> None:
        """End the session in good order; see `Mesh.close`.

        Raises
        ------
        PeerTimeout, PeerUnreachable, PeerAborted
            Something that was sent has not arrived, and will not.
        """
        if self._over:
            return
        failures = [self._switchboard.failure, *(channel.failure for channel in self._channels.values())]
        failure = next((error for error in failures if error is not None), None)
        if failure is not None:
            # The caller has had the error already; the peers have not.
            code = failure.code if isinstance(failure, PeerAborted) else AbortCode.TRANSPORT
            self.abort(code, failure.peer if isinstance(failure, PeerAborted | PeerUnreachable) else None)
            return
        lines = self._switchboard.lines.values()
        try:
            for line in lines:
                line.finish()
            for line in lines:
                line.drain()
            for line in lines:
                line.part(_FAREWELL)
        except BaseException:
            self.abort(AbortCode.TRANSPORT)
            raise
        self._leave()
        loop.run(self._switchboard.shut())


def connect(
    keys: SiteKeys,
    manifest: Manifest,
    spec: bytes,
    *,
    package_version: str,
    roster: Sequence[str] | None = None,
    timeout: float | None = None,
    listen: str | None = None,
    on_progress: Progress | None = None,
) -> GrpcMesh:
    """Join a session: wait for every other site, agree with all, and return the mesh.

    Parameters
    ----------
    keys
        This site's keys.
    manifest
        The federation, signed by every site.
    spec
        SHA-256 of the analysis; sites with different ones refuse each other.
    package_version
        Version of the software above; likewise.
    roster
        Names of the participants; all sites of the federation when None.
    timeout
        Seconds to wait for the others to come, and later for any one message. The manifest's, or
        `DEFAULT_TIMEOUT`, when None.
    listen
        ``host:port`` to accept connections at, where that differs from the endpoint that the others dial.
    on_progress
        Called with a peer's name and ``"reached"``, ``"connected"`` or ``"lost, reconnecting"``.

    Returns
    -------
    GrpcMesh
        Close it, or abort it.

    Raises
    ------
    IdentityError, ManifestError
        This site's files are not in order, or a certificate has expired.
    PeerUnreachable
        Not all sites came in time; the message says which and why.
    HandshakeRefused
        Two sites do not agree; the message says on what.
    PeerAborted
        Another site gave up.

    Notes
    -----
    Security: a connection is made only with the holder of the certificate that the manifest pins for a
    peer, over TLS 1.3, and messages flow only after every peer has signed the same session (see
    `transport.handshake`). Costs a few round trips.
    """
    manifest.verify()
    terms, cards = _terms(keys, manifest, spec, package_version, roster)
    for card in cards.values():
        certificate.check_dates(card.x509, card.name)
    credentials = keys.credentials(cards[keys.name].fingerprint)
    seconds = timeout or manifest.timeout or DEFAULT_TIMEOUT

    others = {card.name: card for card in manifest.peers if card.name != keys.name}
    responder = Responder(probe_hello(keys, manifest, package_version), others)

    async def open_session() -> tuple[Switchboard, Handshake]:
        handshake = Handshake(keys.identity, terms, cards)
        switchboard = Switchboard(handshake, keys.name, cards, credentials, seconds, responder, on_progress)
        await switchboard.open(listen or listening_address(cards[keys.name]))
        return switchboard, handshake

    switchboard, handshake = loop.run(open_session())
    _log.info("session %s of %s stands", handshake.session.id.hex()[:12], ", ".join(terms.roster))
    return GrpcMesh(keys.name, terms.roster, handshake.session, seconds, switchboard)


def _terms(
    keys: SiteKeys, manifest: Manifest, spec: bytes, package_version: str, roster: Sequence[str] | None
) -> tuple[Terms, Mapping[str, Card]]:
    names = manifest.names if roster is None else tuple(roster)
    cards = {name: manifest.card(name) for name in names}
    if keys.name not in cards:
        raise ManifestError(
            f"site {keys.name} is not among the participants {', '.join(names)}: name it, or do not run "
            "the analysis here",
            peer=keys.name,
        )
    if cards[keys.name].identity != keys.identity.public:
        raise ManifestError(
            f"federation {manifest.name} lists another identity key for site {keys.name} than the one in "
            f"{keys.folder}: use that site's folder, or have all sites sign an epoch with its present card",
            peer=keys.name,
        )
    return make_terms(package_version, manifest.epoch, manifest.hash, spec, names), cards


def listening_address(card: Card) -> str | None:
    """Return where the site of `card` listens unless told otherwise; None when it only dials out.

    On every interface, except that a site whose endpoint is this machine's own loopback stays there.
    """
    if card.endpoint is None:
        return None
    host, port = split_endpoint(card.endpoint, owner=card.name)
    try:
        local = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        local = host == "localhost"
    return f"{host}:{port}" if local else f"[::]:{port}"
