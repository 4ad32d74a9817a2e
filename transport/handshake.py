"""The handshake: what peers agree on before any data move, and the keys that come out of it.

::

    each peer                              to every other peer
    ─────────                              ───────────────────
    one X25519 key and nonce a session     Hello: versions, epoch, manifest, script, roster,
                                                  name, certificate, X25519 public key, nonce
    session id = H(all hellos, sorted)     Join:  Ed25519 signature over the session id,
    pair keys  = HKDF(X25519, session id)         proof of the pair key

Why this is enough: the session id covers every hello as *this* peer saw it. A peer that says different
things to different peers, or a network that alters one, gives them different ids, and the signatures do
not verify. All signatures verify only if all peers hold the same hellos; the set of participants is then
frozen, and each X25519 key is authenticated by its owner's identity key. Keys are forward secret: the
X25519 keys live in memory and die with the session.

Both sides send their hello before they judge the other's, so both can name what differs. Everything here
is pure: no network, no clock.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from transport.base import Session
from transport.card import Card
from transport.errors import FrameError, HandshakeRefused, Mismatch
from transport.identity import Identity, verify

#: Raised by one when frames, hellos or joins change.
PROTOCOL_VERSION = 1
#: Most peers in a session.
MAX_PEERS = 256

_MAGIC = b"fedstats"
_FIXED = struct.Struct(">Q32s32s32s32s32s")
_SESSION_DOMAIN = b"fedstats/transport/session/1"
_PAIR_DOMAIN = b"fedstats/transport/pair/1"
_PROOF_DOMAIN = b"fedstats/transport/proof/1"
_JOIN = struct.Struct(">64s32s")


@dataclass(frozen=True)
class Terms:
    """What all peers of a session must have in common.

    Attributes
    ----------
    package
        Version of the package.
    epoch, manifest
        The federation's epoch, and the hash of its manifest.
    spec
        SHA-256 of the analysis: of the script that every site runs.
    roster
        Names of the participants, sorted.
    """

    package: str
    epoch: int
    manifest: bytes
    spec: bytes
    roster: tuple[str, ...]


@dataclass(frozen=True)
class Hello:
    """What a peer says first on every connection of a session; the same bytes each time."""

    name: str
    terms: Terms
    certificate: bytes
    exchange: bytes
    nonce: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Lay out the hello: magic, version, three strings with their lengths, fixed fields."""
        terms = self.terms
        strings = b"".join(
            struct.pack(">H", len(text)) + text
            for text in (self.name.encode(), terms.package.encode(), " ".join(terms.roster).encode())
        )
        fixed = _FIXED.pack(
            terms.epoch, terms.manifest, terms.spec, self.certificate, self.exchange, self.nonce
        )
        return _MAGIC + struct.pack(">H", PROTOCOL_VERSION) + strings + fixed

    @classmethod
    def decode(cls, data: bytes, *, peer: str) -> Hello:
        """Read a hello strictly.

        Parameters
        ----------
        data
            What the peer sent.
        peer
            Who sent it, as its TLS certificate says.

        Raises
        ------
        HandshakeRefused
            It speaks another protocol version; only magic and version are read then.
        FrameError
            It is malformed.
        """
        broken = FrameError(f"site {peer} sent a malformed hello: look what runs at its endpoint", peer=peer)
        if len(data) < len(_MAGIC) + 2 or data[: len(_MAGIC)] != _MAGIC:
            raise broken
        (version,) = struct.unpack_from(">H", data, len(_MAGIC))
        if version != PROTOCOL_VERSION:
            raise HandshakeRefused(
                f"site {peer} speaks version {version} of the fedstats protocol, this site version "
                f"{PROTOCOL_VERSION}: install the same release of fedstats at every site",
                peer=peer,
                mismatch=Mismatch.PROTOCOL,
            )
        at = len(_MAGIC) + 2
        try:
            strings = []
            for _ in range(3):
                (length,) = struct.unpack_from(">H", data, at)
                strings.append(data[at + 2 : at + 2 + length].decode("utf-8"))
                at += 2 + length
            epoch, manifest, spec, certificate, exchange, nonce = _FIXED.unpack(data[at:])
        except (struct.error, UnicodeDecodeError) as error:
            raise broken from error
        name, package, roster = strings
        terms = Terms(package, epoch, manifest, spec, tuple(roster.split(" ")))
        hello = cls(name, terms, certificate, exchange, nonce)
        if len(terms.roster) > MAX_PEERS or not package.isprintable() or hello.encode() != data:
            raise broken
        return hello


def compare(ours: Terms, theirs: Terms, peer: str) -> None:
    """Refuse the first thing that differs, in an order that both sides share."""

    def refuse(mismatch: Mismatch, message: str) -> HandshakeRefused:
        return HandshakeRefused(message, peer=peer, mismatch=mismatch)

    if theirs.package != ours.package:
        raise refuse(
            Mismatch.PACKAGE,
            f"site {peer} runs fedstats {theirs.package[:40]}, this site {ours.package}: "
            "install the same version at every site",
        )
    if theirs.epoch != ours.epoch:
        older = f"site {peer}" if theirs.epoch < ours.epoch else "this site"
        raise refuse(
            Mismatch.EPOCH,
            f"site {peer} is at epoch {theirs.epoch} of the federation, this site at epoch {ours.epoch}: "
            f"{older} must take over the newest signed federation.toml",
        )
    if theirs.manifest != ours.manifest:
        raise refuse(
            Mismatch.MANIFEST,
            f"site {peer} holds another federation.toml (hash {theirs.manifest.hex()[:12]}… there, "
            f"{ours.manifest.hex()[:12]}… here): give every site the same file",
        )
    if theirs.roster != ours.roster:
        raise refuse(
            Mismatch.ROSTER,
            f"site {peer} expects the participants {', '.join(theirs.roster)[:200]}, this site "
            f"{', '.join(ours.roster)}: name the same ones at every site",
        )
    if theirs.spec != ours.spec:
        raise refuse(
            Mismatch.SPEC,
            f"site {peer} runs another analysis script (sha256 {theirs.spec.hex()[:12]}… there, "
            f"{ours.spec.hex()[:12]}… here): run the same file at every site",
        )


class Handshake:
    """One peer's side of the handshake of one session.

    Parameters
    ----------
    identity
        This site's identity key.
    terms
        What this site is about to run; `terms.roster` holds this site.
    cards
        The card of every peer in the roster, this site's own included, from a verified manifest.
    """

    def __init__(self, identity: Identity, terms: Terms, cards: Mapping[str, Card]) -> None:
        self._identity = identity
        self._terms = terms
        self._cards = cards
        self._secret = X25519PrivateKey.generate()
        self.hello = Hello(
            name=identity.name,
            terms=terms,
            certificate=cards[identity.name].fingerprint,
            exchange=self._secret.public_key().public_bytes_raw(),
            nonce=secrets.token_bytes(32),
        )
        self._hellos: dict[str, Hello] = {identity.name: self.hello}
        self._session: Session | None = None
        self._proofs: dict[str, tuple[bytes, bytes]] = {}
        self._verified: set[str] = {identity.name}

    @property
    def missing(self) -> tuple[str, ...]:
        """Peers whose hello has not come yet."""
        return tuple(name for name in self._terms.roster if name not in self._hellos)

    @property
    def unverified(self) -> tuple[str, ...]:
        """Peers whose join has not been verified yet; none means that the session stands."""
        return tuple(name for name in self._terms.roster if name not in self._verified)

    @property
    def session(self) -> Session:
        """The session's id and keys; only once no hello is `missing`."""
        if self._session is None:
            raise RuntimeError(f"no session before the hello of {', '.join(self.missing)}")
        return self._session

    def accept(self, peer: str, data: bytes) -> None:
        """Judge the hello of `peer`, the site whose certificate the connection was made with.

        A peer may send another hello, after a restart, as long as this site has not signed; afterwards
        the session is bound to the first.

        Raises
        ------
        HandshakeRefused
            Names what differs and the remedy.
        FrameError
            The hello is malformed.
        """
        hello = Hello.decode(data, peer=peer)
        if hello.name != peer or hello.certificate != self._cards[peer].fingerprint:
            raise HandshakeRefused(
                f"site {peer} introduced itself as {hello.name[:40]!r} with certificate "
                f"{hello.certificate.hex()[:12]}…, which is not the one that federation.toml pins for it: "
                "compare the two sites' federation.toml and keys",
                peer=peer,
                mismatch=Mismatch.CERTIFICATE,
            )
        compare(self._terms, hello.terms, peer)
        if self._session is not None:
            if hello != self._hellos[peer]:
                raise HandshakeRefused(
                    f"site {peer} was started again in the middle of the session: start the analysis "
                    "again at every site",
                    peer=peer,
                    mismatch=Mismatch.SESSION,
                )
            return
        self._hellos[peer] = hello
        if not self.missing:
            self._agree()

    def forget(self, peer: str) -> None:
        """Note that the connection with `peer` broke: before the session stands it must come again."""
        if self._session is None:
            self._hellos.pop(peer, None)

    def _agree(self) -> None:
        """Compute the session's id and, with every peer, the pair keys."""
        hellos = [self._hellos[name].encode() for name in self._terms.roster]
        session_id = hashlib.sha256(
            _SESSION_DOMAIN + b"".join(struct.pack(">I", len(hello)) + hello for hello in hellos)
        ).digest()
        keys = {}
        for peer in self._terms.roster:
            if peer == self._identity.name:
                continue
            try:
                shared = self._secret.exchange(X25519PublicKey.from_public_bytes(self._hellos[peer].exchange))
            except ValueError as error:  # the all-zero result of a point of low order
                raise HandshakeRefused(
                    f"site {peer} sent a degenerate key: it runs a damaged or hostile version of fedstats",
                    peer=peer,
                    mismatch=Mismatch.SIGNATURE,
                ) from error
            pair = sorted((self._identity.name, peer))
            keys[peer] = _derive(shared, session_id, _PAIR_DOMAIN, *pair)
            # Who proves is part of the label: a proof reflected to its sender is worth nothing.
            self._proofs[peer] = (
                _derive(shared, session_id, _PROOF_DOMAIN, self._identity.name, peer),
                _derive(shared, session_id, _PROOF_DOMAIN, peer, self._identity.name),
            )
        self._session = Session(session_id, keys)

    def join(self, peer: str) -> bytes:
        """Return what proves to `peer` that this site is in the session: signature and pair proof."""
        signature = self._identity.sign(_SESSION_DOMAIN, self.session.id + self._identity.name.encode())
        return _JOIN.pack(signature, self._proofs[peer][0])

    def verify(self, peer: str, data: bytes) -> None:
        """Check the join of `peer`.

        Raises
        ------
        HandshakeRefused
            The signature or proof is not over the session as this site sees it.
        FrameError
            It is malformed.
        """
        if len(data) != _JOIN.size:
            raise FrameError(f"site {peer} sent a malformed signature", peer=peer)
        signature, proof = _JOIN.unpack(data)
        signed = verify(
            self._cards[peer].identity, _SESSION_DOMAIN, self.session.id + peer.encode(), signature
        )
        if not signed or not hmac.compare_digest(proof, self._proofs[peer][1]):
            raise HandshakeRefused(
                f"site {peer} did not sign the session that this site sees: a site was started again while "
                "the others joined, or one tells different sites different things; start the analysis "
                "again at every site",
                peer=peer,
                mismatch=Mismatch.SIGNATURE,
            )
        self._verified.add(peer)


def _derive(shared: bytes, session_id: bytes, domain: bytes, *names: str) -> bytes:
    info = domain + b"".join(struct.pack(">B", len(name)) + name.encode() for name in names)
    return HKDF(SHA256(), 32, salt=session_id, info=info).derive(shared)


def make_terms(package: str, epoch: int, manifest: bytes, spec: bytes, roster: Sequence[str]) -> Terms:
    """Return `Terms` after checking lengths and order.

    Raises
    ------
    ValueError
        A hash that is not 32 bytes long, or a roster of fewer than two distinct names.
    """
    names = tuple(sorted(roster))
    if len(manifest) != 32 or len(spec) != 32:
        raise ValueError("manifest and spec are SHA-256 hashes of 32 bytes")
    if not 2 <= len(set(names)) == len(names) <= MAX_PEERS:
        raise ValueError(f"a session has 2 to {MAX_PEERS} distinct participants, not {', '.join(names)}")
    return Terms(package, epoch, manifest, spec, names)
