"""Who is not whom the manifest names, or runs something else, is refused by name before any data moves."""

from __future__ import annotations

import base64
import datetime as dt
import logging
import socket
import ssl
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from transport_helpers import connect_all, outcomes

from transport import certificate as tls
from transport import frames, grpc_tls
from transport.card import split_endpoint
from transport.errors import (
    AbortCode,
    FrameError,
    HandshakeRefused,
    IdentityError,
    ManifestError,
    Mismatch,
    PeerAborted,
    PeerUnreachable,
    TransportError,
)
from transport.frames import Kind
from transport.grpc_mesh import GrpcMesh
from transport.loopback import LoopbackFederation
from transport.manifest import Manifest
from transport.sitekeys import SiteKeys, TlsCredentials


def close(results: dict[str, GrpcMesh | BaseException]) -> None:
    for result in results.values():
        if isinstance(result, GrpcMesh):
            result.abort(AbortCode.INTERNAL)


def refusals(results: dict[str, Any], mismatch: Mismatch) -> dict[str, HandshakeRefused]:
    close(results)
    found = {}
    for name, error in results.items():
        assert isinstance(error, HandshakeRefused), f"{name}: {error!r}"
        assert error.mismatch is mismatch
        found[name] = error
    return found


@pytest.mark.parametrize(
    ("change", "mismatch", "word"),
    [
        ({"spec": bytes(32)}, Mismatch.SPEC, "run the same file at every site"),
        ({"package_version": "9.9"}, Mismatch.PACKAGE, "9.9"),
    ],
)
def test_both_sides_learn_what_differs(loopback, change, mismatch: Mismatch, word: str) -> None:
    found = refusals(outcomes(loopback("a", "b"), each={"b": change}), mismatch)
    assert found["a"].peer == "b"
    assert found["b"].peer == "a"
    for error in found.values():
        assert word in str(error)
        assert f"site {error.peer}" in str(error)


def test_the_third_site_learns_who_differs(loopback) -> None:
    federation = loopback("a", "b", "c")
    begun = time.monotonic()
    results = outcomes(federation, each={"c": {"spec": bytes(32)}}, timeout=60.0)
    close(results)
    assert time.monotonic() - begun < 30
    for error in results.values():
        assert isinstance(error, HandshakeRefused | PeerAborted), repr(error)


def test_stale_epoch(loopback) -> None:
    federation = loopback("a", "b")
    newer = federation.manifest.next_epoch(policy={"rows": 5})
    for keys in federation.keys.values():
        newer = newer.sign(keys.identity)
    found = refusals(outcomes(federation, each={"b": {"manifest": newer}}), Mismatch.EPOCH)
    for error in found.values():
        assert "epoch 1" in str(error)
        assert "epoch 2" in str(error)
    assert "this site must take over" in str(found["a"])


def test_revoked_by_the_next_epoch(loopback) -> None:
    """After a rotation, a site that still uses the old certificate does not get through TLS."""
    federation = loopback("a", "b")
    rotated = federation.keys["b"].rotate()
    newer = federation.manifest.next_epoch(replace_cards=[rotated.card])
    for keys in federation.keys.values():
        newer = newer.sign(keys.identity)
    results = outcomes(federation, each={"a": {"manifest": newer}}, timeout=1.5)
    for error in results.values():
        assert isinstance(error, PeerUnreachable), repr(error)
    assert "pin another certificate for this site" in str(results["b"])
    # With the new epoch at both, the same folder serves the new certificate.
    meshes = connect_all(replace(federation, manifest=newer))
    for mesh in meshes.values():
        mesh.abort(AbortCode.INTERNAL)


def test_swapped_pins(loopback) -> None:
    """The certificates of b and c are vouched for by their owners: a manifest cannot swap them."""
    federation = loopback("a", "b", "c")
    b, c = federation.keys["b"].card, federation.keys["c"].card
    swapped = replace(b, certificate=c.certificate)
    with pytest.raises(IdentityError, match="site b"):
        Manifest.create([federation.keys["a"].card, swapped, c], "swapped")
    with pytest.raises(IdentityError, match="site b"):
        Manifest.create([federation.keys["a"].card, replace(swapped, vouched=c.vouched), c], "swapped")


def test_swapped_endpoints(loopback) -> None:
    """Dialling b and reaching c is noticed, and b is named."""
    federation = loopback("a", "b", "c")
    keys = federation.keys
    a, b = keys["a"].card, keys["b"].card
    cards = [replace(a, endpoint=b.endpoint), replace(b, endpoint=a.endpoint), keys["c"].card]
    manifest = Manifest.create(cards, "swapped")
    for site in keys.values():
        manifest = manifest.sign(site.identity)
    listen = {"a": {"listen": a.endpoint}, "b": {"listen": b.endpoint}}
    results = outcomes(replace(federation, manifest=manifest), each=listen, timeout=2.0)
    close(results)
    error = results["c"]
    assert isinstance(error, HandshakeRefused)
    assert error.mismatch is Mismatch.CERTIFICATE
    assert error.peer in {"a", "b"}


def _forge(issuer_name: str, issuer: TlsCredentials, site: str) -> TlsCredentials:
    """Return a leaf for `site` signed with the key of another site's pinned certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    parent = x509.load_pem_x509_certificate(issuer.certificate)
    signer = serialization.load_pem_private_key(issuer.key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    now = dt.datetime.now(dt.UTC)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, tls.dns_name(site))]))
        .issuer_name(parent.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(tls.dns_name(site))]), False)
        .sign(signer, hashes.SHA256())
    )
    pem = leaf.public_bytes(serialization.Encoding.PEM) + issuer.certificate
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return TlsCredentials(pem, private)


def test_forged_leaf_certificate(loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """Site c, with its own pinned key, mints a certificate for b and dials a with it: refused by TLS."""
    federation = loopback("a", "b", "c")
    c = federation.keys["c"]
    forged = _forge("c", c.credentials(c.card.fingerprint), "b")
    real = SiteKeys.credentials

    def credentials(self: SiteKeys, pin: bytes) -> TlsCredentials:
        return forged if self.name == "b" else real(self, pin)

    monkeypatch.setattr(SiteKeys, "credentials", credentials)
    alive = replace(federation, keys={name: federation.keys[name] for name in "ab"})
    results = outcomes(alive, timeout=1.5)
    close(results)
    for error in results.values():
        assert isinstance(error, PeerUnreachable | PeerAborted | HandshakeRefused), repr(error)


def test_forged_leaf_is_not_pinned(loopback) -> None:
    """Were TLS to accept it, the check of the pin would not."""
    federation = loopback("a", "b", "c")
    c = federation.keys["c"]
    forged = _forge("c", c.credentials(c.card.fingerprint), "b")
    cards = {card.name: card for card in federation.manifest.peers}
    leaf = forged.certificate[: -len(c.card.certificate)]
    context = {"x509_pem_cert": [leaf], "ssl_tls_version": [b"TLSv1.3"]}
    with pytest.raises(HandshakeRefused) as caught:
        grpc_tls.authenticate(context, cards)
    assert caught.value.mismatch is Mismatch.CERTIFICATE


@pytest.mark.parametrize("context", [{}, {"x509_pem_cert": []}, {"x509_pem_cert": [b"-----BEGIN"]}])
def test_no_certificate(loopback, context) -> None:
    cards = {card.name: card for card in loopback("a", "b").manifest.peers}
    with pytest.raises(HandshakeRefused):
        grpc_tls.authenticate({**context, "ssl_tls_version": [b"TLSv1.3"]}, cards)


@pytest.mark.parametrize("version", [[b"TLSv1.2"], [], [b"TLSv1.1"], [b"TLSv1.3", b"x"]])
def test_tls_below_1_3_is_refused(loopback, version: list[bytes]) -> None:
    cards = {card.name: card for card in loopback("a", "b").manifest.peers}
    context = {"x509_pem_cert": [cards["a"].certificate], "ssl_tls_version": version}
    with pytest.raises(HandshakeRefused, match=r"TLS 1\.3") as caught:
        grpc_tls.authenticate(context, cards)
    assert caught.value.mismatch is Mismatch.TLS
    assert caught.value.peer == "a"


def test_a_real_tls_1_2_client_gets_nothing(loopback, tmp_path, caplog: pytest.LogCaptureFixture) -> None:
    """b's own certificate over TLS 1.2, speaking HTTP/2 by hand: no hello is sent to it."""
    federation = loopback("a", "b")
    b = federation.keys["b"]
    own = b.credentials(b.card.fingerprint)
    (tmp_path / "own.pem").write_bytes(own.key + own.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(tmp_path / "own.pem")
    context.load_verify_locations(cadata=federation.keys["a"].card.certificate.decode())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    host, port = split_endpoint(str(federation.keys["a"].card.endpoint), owner="a")
    received = b""

    def speak() -> None:
        nonlocal received
        deadline = time.monotonic() + 1.5
        while True:
            try:
                raw = socket.create_connection((host, port), timeout=1)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        with raw, context.wrap_socket(raw, server_hostname=tls.dns_name("a")) as secure:
            assert secure.version() == "TLSv1.2"
            secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _http2(4, 0, 0, b"") + _request())
            secure.settimeout(0.5)
            try:
                while data := secure.recv(65536):
                    received += data
            except OSError:
                return

    thread = threading.Thread(target=speak)
    with caplog.at_level(logging.WARNING, "fedstats.transport"):
        thread.start()
        results = outcomes(replace(federation, keys={"a": federation.keys["a"]}), timeout=2.0)
        thread.join()
    assert isinstance(results["a"], PeerUnreachable)
    assert "TLSv1.2, not TLS 1.3" in caplog.text
    assert b"fedstats" not in received  # the magic with which a hello begins


def _http2(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _request() -> bytes:
    def literal(name: bytes, value: bytes) -> bytes:
        return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value

    headers = b"\x83\x87"  # :method POST, :scheme https, from HPACK's static table
    headers += literal(b":path", b"/fedstats.Mesh/Link") + literal(b":authority", b"a")
    headers += literal(b"te", b"trailers") + literal(b"content-type", b"application/grpc")
    return _http2(1, 4, 1, headers)


def test_expired_certificate(loopback) -> None:
    federation = loopback("a", "b")
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=100)
    expired = federation.keys["b"].rotate(now=past)
    newer = federation.manifest.next_epoch(replace_cards=[expired.card])
    for keys in federation.keys.values():
        newer = newer.sign(keys.identity)
    for error in outcomes(replace(federation, manifest=newer)).values():
        assert isinstance(error, IdentityError)
        assert "site b expired" in str(error)


def test_unsigned_manifest_is_refused(loopback) -> None:
    federation = loopback("a", "b")
    unsigned = replace(federation.manifest, signatures={"a": federation.manifest.signatures["a"]})
    for error in outcomes(replace(federation, manifest=unsigned)).values():
        assert isinstance(error, ManifestError)
        assert "not yet signed by b" in str(error)


def test_port_in_use(loopback) -> None:
    federation = loopback("a", "b")
    host, port = split_endpoint(str(federation.keys["a"].card.endpoint), owner="a")
    with socket.create_server((host, port)):
        results = outcomes(replace(federation, keys={"a": federation.keys["a"]}), timeout=1.0)
    assert isinstance(results["a"], PeerUnreachable)
    assert results["a"].peer == "a"
    assert "cannot listen" in str(results["a"])


def _inject(mesh: GrpcMesh, peer: str, data: bytes) -> None:
    """Make `mesh` write `data` to `peer` where its next frame would be."""
    line = mesh._switchboard.lines[peer]
    genuine = line.next_frame
    queue = [data]
    line.next_frame = lambda: queue.pop() if queue else genuine()  # type: ignore[method-assign]
    line._loop.call_soon_threadsafe(line.wake)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frames.encode(Kind.DATA, b"x", sequence=1, credit=16 << 20, step=b"s"), id="replayed"),
        pytest.param(
            frames.encode(Kind.DATA, b"x", sequence=3, credit=16 << 20, step=b"s"), id="from the future"
        ),
        pytest.param(b"\xff" * 40, id="not a frame"),
        pytest.param(frames.encode(Kind.DATA, b"x", sequence=2, credit=16 << 20)[:-1], id="a lying length"),
        pytest.param(frames.encode(Kind.HELLO, b""), id="a second hello"),
        pytest.param(frames.encode(Kind.ACK, ack=9, credit=16 << 20), id="an ack of what was never sent"),
        pytest.param(frames.encode(Kind.ACK, credit=0), id="credit taken back"),
        pytest.param(frames.encode(Kind.ABORT, b"\xff"), id="a malformed abort"),
        pytest.param(frames.encode(Kind.REFUSE, b"\xff"), id="a malformed refusal"),
    ],
)
def test_frames_of_a_hostile_peer(loopback, data: bytes) -> None:
    meshes = connect_all(loopback("a", "b"))
    meshes["a"].channel("b").send("s", b"first")
    assert bytes(meshes["b"].channel("a").recv("s")) == b"first"
    _inject(meshes["a"], "b", data)
    with pytest.raises(FrameError, match="site a") as caught:
        meshes["b"].channel("a").recv("s")
    assert caught.value.peer == "a"
    for mesh in meshes.values():
        mesh.abort(AbortCode.TRANSPORT)


def test_oversize_frame_is_stopped_by_grpc(loopback) -> None:
    """gRPC drops the connection before the frame is in memory; the session goes on without it."""
    meshes = connect_all(loopback("a", "b"))
    _inject(meshes["a"], "b", bytes(frames.MAX_FRAME))
    with pytest.raises(TransportError):
        meshes["b"].channel("a").recv("s")
    for mesh in meshes.values():
        mesh.abort(AbortCode.TRANSPORT)


def test_no_secret_in_logs_or_errors(loopback, caplog: pytest.LogCaptureFixture) -> None:
    federation: LoopbackFederation = loopback("a", "b", "c")
    texts = []
    with caplog.at_level(logging.DEBUG):
        meshes = connect_all(federation)
        secrets = [key for mesh in meshes.values() for key in mesh.session.keys.values()]
        payload = b"the secret payload of site a"
        for mesh in meshes.values():
            texts += [repr(mesh), repr(vars(mesh)), repr(vars(mesh._switchboard))]
            texts += [repr(vars(line)) for line in mesh._switchboard.lines.values()]
        meshes["a"].channel("b").send("s", payload)
        with pytest.raises(TransportError) as caught:
            meshes["b"].channel("a").recv("another step")
        texts.append(str(caught.value))
        for mesh in meshes.values():
            mesh.abort(AbortCode.TRANSPORT)
        for change in ({"spec": bytes(32)}, {"package_version": "9"}):
            results = outcomes(federation, each={"b": change})
            close(results)
            texts += [str(error) + repr(error) for error in results.values()]
    for keys in federation.keys.values():
        secrets.append(bytes(keys.identity._key))
        own = keys.credentials(keys.card.fingerprint)
        secrets += [base64.b64decode(b"".join(own.key.splitlines()[1:-1])), own.key]
        texts += [repr(keys), repr(vars(keys)), repr(own), repr(keys.card), repr(keys.identity)]
        texts.append(repr(vars(keys.identity)))
    everything = "\n".join([*texts, caplog.text])
    for secret in (*secrets, payload):
        shown = (secret.hex(), base64.b64encode(secret).decode(), repr(secret)[2:-1])
        assert not any(form in everything for form in shown)
