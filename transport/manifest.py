"""``federation.toml``: who takes part, under which keys and rules, signed by every site.

The file is public and has no owner: each site signs the same content, copies are merged, and a federation
exists when every site's signature is there. To change anything (a site, an endpoint, a certificate, the
policy) all sites sign the next *epoch*; sites of different epochs refuse each other, which is also how a
certificate is revoked.

What is signed is canonical JSON, not the TOML: comments and layout may change, content may not.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

import tomli_w

from transport.card import Card, unhex
from transport.errors import IdentityError, ManifestError
from transport.identity import Identity, check_name, verify

_SIGN_DOMAIN = b"fedstats/transport/manifest/1"
_FORMAT = 1
_MAX_EPOCH = 2**32
_MAX_PEERS = 256

#: What the policy table may hold. The mesh carries it; the layer above reads it.
Scalar: TypeAlias = bool | int | float | str


@dataclass(frozen=True)
class Manifest:
    """The content of ``federation.toml``. Immutable: each step returns a new one.

    Make one with `create` or `load`; the constructor checks nothing.

    Attributes
    ----------
    name
        The federation's name.
    epoch
        1 for the first, and one more with each change.
    peers
        The cards, sorted by name.
    policy
        Rules that all sites share, interpreted by the layer above.
    timeout
        Seconds to wait for any one message; None for the default.
    signatures
        For each site that has signed, its signature.
    """

    name: str
    epoch: int
    peers: tuple[Card, ...]
    policy: Mapping[str, Scalar] = field(default_factory=dict)
    timeout: float | None = None
    signatures: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def create(
        cls,
        cards: Iterable[Card],
        name: str,
        *,
        epoch: int = 1,
        policy: Mapping[str, Scalar] | None = None,
        timeout: float | None = None,
    ) -> Manifest:
        """Draw up an unsigned manifest.

        Parameters
        ----------
        cards
            The card of every site.
        name, epoch, policy, timeout
            See the attributes.

        Raises
        ------
        ManifestError, IdentityError
            The cards cannot form a federation; the error names the sites and the remedy.
        """
        peers = tuple(sorted(cards, key=lambda card: card.name))
        manifest = cls(name, epoch, peers, dict(policy or {}), timeout)
        manifest._check()
        return manifest

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sites, sorted."""
        return tuple(card.name for card in self.peers)

    @property
    def hash(self) -> bytes:
        """SHA-256 of the signed content: two sites with the same hash agree on everything in it."""
        return hashlib.sha256(_SIGN_DOMAIN + self._canonical()).digest()

    @property
    def unsigned(self) -> tuple[str, ...]:
        """Sites whose signature is still missing."""
        return tuple(name for name in self.names if name not in self.signatures)

    def card(self, name: str) -> Card:
        """Return the card of site `name`.

        Raises
        ------
        ManifestError
            The federation has no such site.
        """
        for card in self.peers:
            if card.name == name:
                return card
        raise ManifestError(
            f"federation {self.name} has no site {name!r}: its sites are {', '.join(self.names)}"
        )

    def sign(self, identity: Identity) -> Manifest:
        """Return a copy signed by one more site; earlier signatures are kept.

        Raises
        ------
        ManifestError
            The site is not listed, or is listed with another identity key.
        """
        if self.card(identity.name).identity != identity.public:
            raise ManifestError(
                f"federation {self.name} lists another identity key for site {identity.name} than the one "
                "held here: have it drawn up again with this site's present card",
                peer=identity.name,
            )
        signature = identity.sign(_SIGN_DOMAIN, self._canonical())
        return replace(self, signatures={**self.signatures, identity.name: signature})

    def merge(self, other: Manifest) -> Manifest:
        """Return this manifest with the signatures of `other` added: copies signed in parallel.

        Raises
        ------
        ManifestError
            The two differ in content.
        """
        if self.hash != other.hash:
            raise ManifestError(
                f"these are two different manifests (federation {self.name} epoch {self.epoch}, hash "
                f"{self.hash.hex()[:12]}…; federation {other.name} epoch {other.epoch}, hash "
                f"{other.hash.hex()[:12]}…): sign copies of one file"
            )
        merged = replace(self, signatures={**self.signatures, **other.signatures})
        merged._check_signatures()
        return merged

    def verify(self) -> None:
        """Refuse a manifest that is not well-formed and signed by every site.

        Raises
        ------
        ManifestError, IdentityError
            Names the site and the remedy.
        """
        self._check()
        self._check_signatures()
        if self.unsigned:
            raise ManifestError(
                f"federation {self.name}, epoch {self.epoch}, is not yet signed by "
                f"{', '.join(self.unsigned)}: each runs `fedstats federation sign`",
                peer=self.unsigned[0],
            )

    def next_epoch(
        self,
        *,
        add: Iterable[Card] = (),
        replace_cards: Iterable[Card] = (),
        remove: Iterable[str] = (),
        policy: Mapping[str, Scalar] | None = None,
    ) -> Manifest:
        """Draw up the next epoch, unsigned.

        Parameters
        ----------
        add
            Cards of new sites.
        replace_cards
            New cards of present sites: after a rotation or a move. The identity key must stay.
        remove
            Names of sites that leave.
        policy
            New shared rules; None keeps the present ones.

        Raises
        ------
        ManifestError
            A site to replace or remove is not there, one to add is, or an identity key would change.
        """
        cards = {card.name: card for card in self.peers}
        for card in replace_cards:
            if self.card(card.name).identity != card.identity:
                raise ManifestError(
                    f"the new card of site {card.name} has another identity key: if that is meant, remove "
                    "the site in one epoch and add it in the next",
                    peer=card.name,
                )
            cards[card.name] = card
        for name in remove:
            del cards[self.card(name).name]
        for card in add:
            if card.name in cards:
                raise ManifestError(
                    f"federation {self.name} already has a site {card.name}: replace its card instead",
                    peer=card.name,
                )
            cards[card.name] = card
        return Manifest.create(
            cards.values(),
            self.name,
            epoch=self.epoch + 1,
            policy=self.policy if policy is None else policy,
            timeout=self.timeout,
        )

    # Files

    def save(self, path: Path) -> None:
        """Write the manifest as TOML."""
        path.write_text(tomli_w.dumps(self._to_dict(), multiline_strings=True), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read a manifest strictly: well-formed, with valid signatures, but perhaps not all of them.

        Call `verify` before relying on it.

        Raises
        ------
        ManifestError
            Names the file, the site where known, and what is wrong.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ManifestError(f"cannot read {path} ({error.strerror}): ask another site for it") from error
        except UnicodeDecodeError as error:
            raise ManifestError(f"{path} is not a federation manifest: it is not text") from error
        try:
            return cls.loads(text)
        except (ManifestError, IdentityError) as error:
            raise ManifestError(f"{path}: {error}", peer=error.peer) from error

    @classmethod
    def loads(cls, text: str) -> Manifest:
        """Read a manifest from TOML text; see `load`."""
        try:
            table = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise ManifestError("not valid TOML: ask another site for its copy") from error
        manifest = cls._from_dict(table)
        manifest._check()
        manifest._check_signatures()
        return manifest

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "format": _FORMAT,
            "name": self.name,
            "epoch": self.epoch,
            "policy": dict(self.policy),
            "peers": [card.to_dict() for card in self.peers],
        }
        if self.timeout is not None:
            content["timeout"] = float(self.timeout)
        return content

    def _canonical(self) -> bytes:
        text = json.dumps(self._content(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return text.encode("ascii")

    def _to_dict(self) -> dict[str, Any]:
        content = self._content()
        policy, peers = content.pop("policy"), content.pop("peers")
        signatures = {name: self.signatures[name].hex() for name in sorted(self.signatures)}
        # tomli_w keeps the order; tables come after plain keys.
        return content | {"policy": policy, "peers": peers, "signatures": signatures}

    @classmethod
    def _from_dict(cls, table: dict[str, Any]) -> Manifest:
        version = table.get("format")
        if version != _FORMAT or isinstance(version, bool):
            raise ManifestError(f"not a federation manifest of format {_FORMAT}, the one this version reads")
        types: dict[str, tuple[type, ...]] = {
            "format": (int,),
            "name": (str,),
            "epoch": (int,),
            "policy": (dict,),
            "peers": (list,),
            "signatures": (dict,),
            "timeout": (int, float),
        }
        if types.keys() - {"timeout"} - table.keys() or table.keys() - types.keys():
            raise ManifestError(
                f"a manifest has exactly the keys {', '.join(types)} (timeout may be left out); this one has "
                f"{', '.join(sorted(map(repr, table)))}"
            )
        for key, value in table.items():
            if not isinstance(value, types[key]) or isinstance(value, bool):
                raise ManifestError(f"the entry {key!r} of a manifest has the wrong type")
        signatures = {}
        for name, text in table["signatures"].items():
            try:
                signatures[name] = unhex(text)
            except (TypeError, ValueError):
                raise ManifestError(f"the signature of {name!r} is not hexadecimal", peer=name) from None
        timeout = table.get("timeout")
        return cls(
            table["name"],
            table["epoch"],
            tuple(Card.from_dict(card) for card in table["peers"]),
            table["policy"],
            None if timeout is None else float(timeout),
            signatures,
        )

    # Checks

    def _check(self) -> None:
        """Refuse content that no federation can run on."""
        try:
            check_name(self.name)
        except IdentityError as error:
            raise ManifestError(f"the federation's name: {error}") from error
        if not isinstance(self.epoch, int) or not 1 <= self.epoch < _MAX_EPOCH:
            raise ManifestError(f"an epoch is a whole number from 1, not {self.epoch!r}")
        if self.timeout is not None and not (math.isfinite(self.timeout) and self.timeout > 0):
            raise ManifestError(f"a timeout is a positive number of seconds, not {self.timeout!r}")
        self._check_policy()
        self._check_peers()

    def _check_policy(self) -> None:
        for key, value in self.policy.items():
            plain = isinstance(value, bool | int | float | str)
            if not plain or (isinstance(value, float) and not math.isfinite(value)):
                raise ManifestError(
                    f"the policy entry {key!r} must be a finite number, a text or true/false, "
                    f"not {type(value).__name__}"
                )

    def _check_peers(self) -> None:
        if not 2 <= len(self.peers) <= _MAX_PEERS:
            raise ManifestError(f"a federation has 2 to {_MAX_PEERS} sites, not {len(self.peers)}")
        if list(self.names) != sorted(self.names):
            raise ManifestError("the sites of a manifest must be sorted by name")
        for card in self.peers:
            card.check()
        for one, two in combinations(self.peers, 2):
            both = f"{one.name} and {two.name}"
            if one.name == two.name:
                raise ManifestError(f"two sites are named {one.name}: give each its own name", peer=one.name)
            if one.identity == two.identity:
                raise ManifestError(f"sites {both} have the same identity key: each must make its own")
            if one.certificate == two.certificate or one.fingerprint == two.fingerprint:
                raise ManifestError(f"sites {both} have the same certificate: each must make its own")
            if one.endpoint is None and two.endpoint is None:
                raise ManifestError(
                    f"sites {both} can both only dial out, so neither can reach the other: give one of them "
                    "an endpoint, on a relay if need be"
                )
            if one.endpoint is not None and one.endpoint == two.endpoint:
                raise ManifestError(
                    f"sites {both} have the same endpoint {one.endpoint}: correct one of them"
                )

    def _check_signatures(self) -> None:
        canonical = self._canonical()
        for name, signature in self.signatures.items():
            if not verify(self.card(name).identity, _SIGN_DOMAIN, canonical, signature):
                raise ManifestError(
                    f"the signature of site {name} is not valid for this content: the file was changed after "
                    f"it signed; have site {name} sign it again",
                    peer=name,
                )
