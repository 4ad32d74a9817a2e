"""The peer card: what the others need to know of a site, in one small public file.

::

    identity key (Ed25519, years) ── vouches for ──> TLS certificate (P-256, 90 days)
            │                                               │
            └────────────── both in the peer card ──────────┘

A card travels by any means (mail, USB stick, a shared folder). What makes it *that site's* card is that
people compare `Card.words` over the telephone, once, before they sign the federation: after that every
session is authenticated by keys.
"""

from __future__ import annotations

import hashlib
import re
import struct
import tomllib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import tomli_w
from cryptography import x509

from transport import certificate as tls
from transport.errors import IdentityError
from transport.identity import Identity, check_name, verify

_ENDPOINT = re.compile(r"(?P<host>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):(?P<port>[0-9]{1,5})")
_VOUCH_DOMAIN = b"fedstats/transport/vouch/1"
_FORMAT = 1


def split_endpoint(endpoint: str, *, owner: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[v6]:port``.

    Raises
    ------
    IdentityError
        Anything else; the error names `owner`.
    """
    match = _ENDPOINT.fullmatch(endpoint) if isinstance(endpoint, str) else None
    if not match or not 1 <= int(match["port"]) <= 65535:
        raise IdentityError(
            f"{endpoint!r} is not an endpoint of site {owner}: write host:port, such as "
            "'fedstats.lyon.example:7710'",
            peer=owner,
        )
    return match["host"], int(match["port"])


def _vouched(name: str, certificate: x509.Certificate) -> bytes:
    """Return what the identity key signs about a certificate."""
    label = name.encode("ascii")
    return struct.pack(
        f">B{len(label)}s32sQQ",
        len(label),
        label,
        tls.fingerprint(certificate),
        int(certificate.not_valid_before_utc.timestamp()),
        int(certificate.not_valid_after_utc.timestamp()),
    )


@dataclass(frozen=True)
class Card:
    """What the others need to know of a site. Everything in it is public.

    Attributes
    ----------
    name
        The site's name.
    endpoint
        ``host:port`` at which the others reach it; None at a site that can only dial out.
    identity
        Its Ed25519 public key, 32 bytes.
    certificate
        Its present TLS certificate, PEM.
    vouched
        Signature of `identity` over name, certificate fingerprint and dates.
    """

    name: str
    endpoint: str | None
    identity: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    vouched: bytes = field(repr=False)

    @property
    def x509(self) -> x509.Certificate:
        """The certificate, parsed and checked."""
        return tls.parse(self.certificate, self.name)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the certificate: the pin that TLS connections are held against."""
        return tls.fingerprint(self.x509)

    @property
    def expires(self) -> datetime:
        """When the certificate ends."""
        return self.x509.not_valid_after_utc

    @property
    def words(self) -> str:
        """The identity key's fingerprint in groups of four, to be compared by telephone."""
        digest = hashlib.sha256(b"fedstats/transport/words/1" + self.identity).hexdigest()[:40]
        return " ".join(digest[i : i + 4] for i in range(0, 40, 4))

    @classmethod
    def issue(cls, identity: Identity, endpoint: str | None, certificate: bytes) -> Card:
        """Return the card of `identity`, vouching for its `certificate` (PEM)."""
        parsed = tls.parse(certificate, identity.name)
        vouched = identity.sign(_VOUCH_DOMAIN, _vouched(identity.name, parsed))
        return cls(identity.name, endpoint, identity.public, certificate, vouched)

    def check(self) -> None:
        """Refuse a card that is malformed or not vouched for by its own identity key.

        Dates are judged where a connection is made (`certificate.check_dates`), so that an old
        federation file can still be read.

        Raises
        ------
        IdentityError
            Names the site and what is wrong.
        """
        check_name(self.name)
        if self.endpoint is not None:
            split_endpoint(self.endpoint, owner=self.name)
        if len(self.identity) != 32 or len(self.vouched) != 64:
            raise IdentityError(f"the card of site {self.name} has a key of the wrong length", peer=self.name)
        if not verify(self.identity, _VOUCH_DOMAIN, _vouched(self.name, self.x509), self.vouched):
            raise IdentityError(
                f"the certificate of site {self.name} is not vouched for by its identity key: "
                f"ask site {self.name} for its card again, over a way you trust",
                peer=self.name,
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the card as a TOML table."""
        table: dict[str, Any] = {"name": self.name}
        if self.endpoint is not None:
            table["endpoint"] = self.endpoint
        return table | {
            "identity": self.identity.hex(),
            "vouched": self.vouched.hex(),
            "certificate": self.certificate.decode("ascii"),
        }

    @classmethod
    def from_dict(cls, table: object) -> Card:
        """Read a TOML table strictly: every key known, every type right, every signature valid.

        Raises
        ------
        IdentityError
            Anything else.
        """
        if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
            raise IdentityError("a peer card must be a table of strings")
        required = {"name", "identity", "vouched", "certificate"}
        if required - table.keys() or table.keys() - required - {"endpoint"}:
            raise IdentityError(
                f"a peer card has exactly the keys {', '.join(sorted(required))} and, unless the site "
                f"only dials out, endpoint; this one has {', '.join(sorted(map(repr, table)))}"
            )
        try:
            identity, vouched = unhex(table["identity"]), unhex(table["vouched"])
            certificate = table["certificate"].encode("ascii")
        except ValueError:
            raise IdentityError(f"the card of site {table['name']!r} is not well-formed") from None
        card = cls(table["name"], table.get("endpoint"), identity, certificate, vouched)
        card.check()
        return card

    def save(self, path: Path) -> None:
        """Write the card as TOML."""
        path.write_text(tomli_w.dumps({"format": _FORMAT, **self.to_dict()}, multiline_strings=True))

    @classmethod
    def load(cls, path: Path) -> Card:
        """Read a card file.

        Raises
        ------
        IdentityError
            Names the file, and the site where known.
        """
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise IdentityError(f"cannot read the peer card {path} ({error.strerror})") from error
        except ValueError as error:
            raise IdentityError(f"{path} is not a peer card: it is not valid TOML ({error})") from error
        version = table.pop("format", None)
        if version != _FORMAT or isinstance(version, bool):
            raise IdentityError(f"{path} is not a peer card of format {_FORMAT}, the one this version reads")
        try:
            return cls.from_dict(table)
        except IdentityError as error:
            raise IdentityError(f"{path}: {error}", peer=error.peer) from error


def unhex(text: str) -> bytes:
    """Decode lower-case hexadecimal and nothing else (`bytes.fromhex` also takes blanks and capitals)."""
    data = bytes.fromhex(text)
    if data.hex() != text:
        raise ValueError("not canonical hexadecimal")
    return data
