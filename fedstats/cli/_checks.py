"""The checks of `fedstats doctor` that need no other site: files, keys, certificates, manifest, port."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from fedstats.errors import DataError, FedStatsError
from fedstats.policy import FederationPolicy
from fedstats.site import Site
from transport.card import Card, split_endpoint
from transport.certificate import check_dates
from transport.errors import TransportError
from transport.grpc_mesh import listening_address
from transport.manifest import Manifest
from transport.sitekeys import SiteKeys

#: A certificate with fewer days left than this is worth a word.
SOON = 14


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report.

    Attributes
    ----------
    what
        What was looked at.
    ok
        Whether it is in order.
    detail
        What was found; if it is not in order, with the remedy.
    """

    what: str
    ok: bool
    detail: str


def attempt(what: str, work: Callable[[], str]) -> Check:
    """Run a check, which returns what it found, or raises an error that says what to do."""
    try:
        return Check(what, True, work())
    except (FedStatsError, TransportError) as error:
        return Check(what, False, str(error))


class Checkup:
    """The local checks of one site, in an order in which each builds on those before.

    Parameters
    ----------
    path
        The site's `site.toml`.

    Attributes
    ----------
    site, keys, manifest
        What was found; each is set when its check has succeeded.
    can_connect
        Whether keys, manifest and certificate are in order, so that peers can be looked for.
    can_listen
        Whether its port is free.
    """

    site: Site
    keys: SiteKeys
    manifest: Manifest

    def __init__(self, path: Path) -> None:
        self.path = path
        self.can_connect = False
        self.can_listen = False

    def local(self) -> Iterator[Check]:
        """Yield the checks; stop where those that follow would make no sense."""
        for what, work in (
            ("site.toml", self._read_site),
            ("keys", self._read_keys),
            ("manifest", self._read_manifest),
        ):
            check = attempt(what, work)
            yield check
            if not check.ok:
                return
        for name, path in self.site.data.items():
            yield attempt(f"data {name}", partial(_find, path))
        yield attempt("certificate", self._find_certificate)
        for card in self.manifest.peers:
            if card.name != self.site.name:
                yield attempt(f"certificate {card.name}", partial(_days_left, card))
        yield attempt("port", self._bind)

    @property
    def address(self) -> str | None:
        """``host:port`` at which the site listens; None if it only dials out."""
        return self.site.listen or listening_address(self.manifest.card(self.site.name))

    def _read_site(self) -> str:
        self.site = Site.load(self.path)
        return f"site {self.site.name}, {self.site.path}"

    def _read_keys(self) -> str:
        self.keys = SiteKeys.load(self.site.keys)
        if self.keys.name != self.site.name:
            raise DataError(f"{self.site.keys} belongs to site {self.keys.name}: correct 'name' or 'keys'")
        return f"{self.site.keys}, readable by its owner alone; fingerprint {self.keys.card.words}"

    def _read_manifest(self) -> str:
        manifest = Manifest.load(self.site.federation)
        manifest.verify()
        FederationPolicy.from_table(
            manifest.policy, str(self.site.federation), self.site.federation.read_text(encoding="utf-8")
        )
        if manifest.card(self.site.name).identity != self.keys.identity.public:
            raise DataError(
                f"{self.site.federation} lists another identity key for site {self.site.name}: "
                "use that site's folder, or have all sites sign an epoch with its present card"
            )
        self.manifest = manifest
        return f"{manifest.name}, epoch {manifest.epoch}, signed by {', '.join(manifest.names)}"

    def _find_certificate(self) -> str:
        card = self.manifest.card(self.site.name)
        self.keys.credentials(card.fingerprint)
        self.can_connect = True
        return _days_left(card)

    def _bind(self) -> str:
        if self.address is None:
            return "this site only dials out"
        host, port = split_endpoint(self.address, owner=self.site.name)
        host = host.strip("[]")
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            with socket.socket(family) as listener:
                # A connection that has just been closed does not keep the port.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((host, port))
        except OSError as error:
            raise DataError(
                f"cannot listen at {self.address} ({error.strerror}): let the program that uses the port, "
                "perhaps an analysis, come to its end, or set 'listen' in site.toml"
            ) from error
        self.can_listen = True
        return f"{self.address} is free to listen at"


def _find(path: Path) -> str:
    if not path.exists():
        raise DataError(f"{path} does not exist: correct [data] in site.toml")
    return str(path)


def _days_left(card: Card) -> str:
    check_dates(card.x509, card.name)
    days = (card.expires - datetime.now(UTC)).days
    advice = "; time for `fedstats rotate` and the next epoch" if days < SOON else ""
    return f"valid for {days} days more{advice}"
