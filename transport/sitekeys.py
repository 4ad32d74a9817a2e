"""The folder of a site's secrets, and the rotation of its certificate."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from transport import certificate as tls
from transport.card import Card, split_endpoint
from transport.errors import IdentityError
from transport.identity import Identity, check_name, read_private, write_private


@dataclass(frozen=True)
class TlsCredentials:
    """A certificate and its private key, both PEM."""

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)


class SiteKeys:
    """A site's identity and certificates, in one folder of mode 0700.

    ::

        identity.key             the Ed25519 key, for years
        tls-<fingerprint>.pem    one for each certificate: private key and certificate
        card.toml                the newest peer card, to be sent to the others

    Old certificates stay until `forget`, so that the present epoch, which pins the old one, goes on
    working while the sites sign the next.

    Parameters
    ----------
    folder
        Where they are.
    identity
        The site's key.
    card
        The site's newest card.
    """

    def __init__(self, folder: Path, identity: Identity, card: Card) -> None:
        self.folder = folder
        self.identity = identity
        self.card = card

    @property
    def name(self) -> str:
        """The site's name."""
        return self.identity.name

    @classmethod
    def create(
        cls, folder: Path, name: str, endpoint: str | None, *, days: float = tls.DEFAULT_DAYS
    ) -> SiteKeys:
        """Make a new site: identity, first certificate and card.

        Parameters
        ----------
        folder
            A folder that holds no identity yet; it is created, mode 0700.
        name
            The site's name.
        endpoint
            ``host:port`` at which the others reach this site; None when it can only dial out.
        days
            Days for which the certificate is valid.

        Raises
        ------
        IdentityError
            A bad name or endpoint, or the folder holds an identity already.
        """
        check_name(name)
        if endpoint is not None:
            split_endpoint(endpoint, owner=name)
        if (folder / "identity.key").exists():
            raise IdentityError(
                f"{folder} already holds an identity, and a new one would lock this site out of its "
                "federations: choose another folder, or rotate the certificate instead"
            )
        identity = Identity.generate(name)
        identity.save(folder / "identity.key")
        return cls._issue(folder, identity, endpoint, days, None)

    @classmethod
    def load(cls, folder: Path) -> SiteKeys:
        """Read a site's folder.

        Raises
        ------
        IdentityError
            A file is missing, malformed or readable by others, or they do not belong together.
        """
        identity = Identity.load(folder / "identity.key")
        card = Card.load(folder / "card.toml")
        if (card.name, card.identity) != (identity.name, identity.public):
            raise IdentityError(f"{folder / 'card.toml'} is not the card of {folder / 'identity.key'}")
        return cls(folder, identity, card)

    def rotate(
        self,
        *,
        endpoint: str | None = None,
        days: float = tls.DEFAULT_DAYS,
        now: datetime | None = None,
    ) -> SiteKeys:
        """Issue a new certificate and card; the others take it up in the federation's next epoch.

        Parameters
        ----------
        endpoint
            A new endpoint; None keeps the present one.
        days, now
            Validity and time of issue.
        """
        return self._issue(self.folder, self.identity, endpoint or self.card.endpoint, days, now)

    @classmethod
    def _issue(
        cls, folder: Path, identity: Identity, endpoint: str | None, days: float, now: datetime | None
    ) -> SiteKeys:
        pem, key = tls.issue(identity.name, days=days, now=now)
        card = Card.issue(identity, endpoint, pem)
        write_private(folder / f"tls-{card.fingerprint.hex()[:16]}.pem", key + pem)
        card.save(folder / "card.toml")
        return cls(folder, identity, card)

    def credentials(self, pin: bytes) -> TlsCredentials:
        """Return the certificate with fingerprint `pin`, and its key.

        Raises
        ------
        IdentityError
            This folder does not hold it, or it has expired.
        """
        path = self.folder / f"tls-{pin.hex()[:16]}.pem"
        if not path.exists():
            raise IdentityError(
                f"{self.folder} holds no key for the certificate {pin.hex()[:16]}… that the federation "
                f"pins for this site: restore it, or have all sites sign its new card"
            )
        key, marker, rest = read_private(path).partition(b"-----BEGIN CERTIFICATE-----")
        pem = marker + rest
        certificate = tls.parse(pem, self.name)
        if tls.fingerprint(certificate) != pin:
            raise IdentityError(f"{path} does not hold the certificate that its name says: restore it")
        tls.check_dates(certificate, self.name)
        return TlsCredentials(pem, key)

    def forget(self, keep: set[bytes], *, now: datetime | None = None) -> list[Path]:
        """Delete expired certificates, except those with a fingerprint in `keep`; return their paths."""
        gone = []
        for path in sorted(self.folder.glob("tls-*.pem")):
            certificate = x509.load_pem_x509_certificate(read_private(path))
            expired = certificate.not_valid_after_utc < (now or datetime.now(UTC))
            if expired and tls.fingerprint(certificate) not in keep:
                path.unlink()
                gone.append(path)
        return gone

    def __repr__(self) -> str:
        return f"<SiteKeys of {self.name} in {self.folder}>"
