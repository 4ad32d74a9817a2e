"""gRPC's side of mutual TLS: credentials with pinned roots, limits, and the check of every accepted RPC.

What gRPC for Python cannot be told, it must be asked: it has no minimum TLS version, and its server takes
any certificate under any of its roots. So each accepted RPC is held against the manifest here, after the
TLS handshake and before a byte of it is read. A dialling site cannot ask; it uses a channel of its own for
each peer, with that peer's certificate as the only root.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import grpc
from cryptography import x509

from transport import certificate as tls
from transport.card import Card
from transport.errors import HandshakeRefused, Mismatch
from transport.frames import MAX_FRAME
from transport.sitekeys import TlsCredentials

Options: TypeAlias = list[tuple[str, int | str]]


def server_credentials(own: TlsCredentials, peers: Iterable[Card]) -> grpc.ServerCredentials:
    """Return credentials that demand a client certificate, with exactly the peers' pins as roots."""
    roots = b"".join(card.certificate for card in peers)
    return grpc.ssl_server_credentials([(own.key, own.certificate)], roots, require_client_auth=True)


def channel_credentials(own: TlsCredentials, peer: Card) -> grpc.ChannelCredentials:
    """Return credentials for a channel to `peer` alone: its certificate is the only root."""
    return grpc.ssl_channel_credentials(peer.certificate, own.key, own.certificate)


def authenticate(context: Mapping[str, Sequence[bytes]], peers: Mapping[str, Card]) -> str:
    """Tell which peer made an accepted RPC.

    Parameters
    ----------
    context
        The RPC's ``auth_context()``.
    peers
        The cards of all peers, by name.

    Returns
    -------
    str
        The one whose pinned certificate it is.

    Raises
    ------
    HandshakeRefused
        TLS below 1.3, or a certificate that is not pinned. `peer` is the name where it is known.
    """
    try:
        (pem,) = context["x509_pem_cert"]
        pin = tls.fingerprint(x509.load_pem_x509_certificate(pem))
    except (KeyError, ValueError):
        pin = b""
    name = next((name for name, card in peers.items() if card.fingerprint == pin), None)
    if name is None:
        raise HandshakeRefused(
            "a client presented a certificate that federation.toml does not pin",
            peer=None,
            mismatch=Mismatch.CERTIFICATE,
        )
    version = b"".join(context.get("ssl_tls_version", ()))
    if version != b"TLSv1.3":
        raise HandshakeRefused(
            f"site {name} connected with {version.decode('ascii', 'replace') or 'no TLS'}, not TLS 1.3: "
            "look what stands between the two sites",
            peer=name,
            mismatch=Mismatch.TLS,
        )
    return name


def _limits(timeout: float) -> Options:
    # A silent connection is found broken within half the timeout, so that the error names the right peer;
    # but no sooner than a slow network needs to carry a ping behind what is queued before it.
    quarter = int(1000 * timeout / 4)
    return [
        ("grpc.max_receive_message_length", MAX_FRAME),
        ("grpc.max_send_message_length", MAX_FRAME),
        ("grpc.keepalive_time_ms", min(10_000, quarter)),
        ("grpc.keepalive_timeout_ms", quarter),
        ("grpc.http2.ping_timeout_ms", quarter),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 100),
    ]


def channel_options(peer: Card, timeout: float) -> Options:
    """Return the options of a channel to `peer`."""
    return [
        *_limits(timeout),
        ("grpc.ssl_target_name_override", tls.dns_name(peer.name)),
        # What gRPC calls so is how long one attempt to connect may take.
        ("grpc.min_reconnect_backoff_ms", int(1000 * max(1.0, min(10.0, timeout / 4)))),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
    ]


def server_options(peers: int, timeout: float) -> Options:
    """Return the options of a server for `peers` peers: silent, many and greedy clients get nowhere."""
    return [
        *_limits(timeout),
        ("grpc.so_reuseport", 0),
        ("grpc.server_handshake_timeout_ms", int(1000 * min(10.0, timeout))),
        ("grpc.max_allowed_incoming_connections", 4 * peers + 16),
        ("grpc.max_concurrent_streams", 4),
        ("grpc.max_connection_age_ms", 3_600_000),
        ("grpc.max_connection_age_grace_ms", 5_000),
    ]
