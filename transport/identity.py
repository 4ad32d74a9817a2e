"""A site's long-lived Ed25519 identity: signing, verifying, and keeping secrets in files.

The key signs three things, each under a domain of its own so that no signature can stand in for another:
TLS certificates (`transport.card`), manifests (`transport.manifest`) and sessions (`transport.handshake`).
"""

from __future__ import annotations

import os
import re
import stat
import struct
from pathlib import Path

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from transport.errors import IdentityError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_KEY_HEADER = "fedstats-identity-1"


def check_name(name: str) -> str:
    """Return `name` if it may name a site: lower-case letters, digits, hyphens; 32 at most.

    Raises
    ------
    IdentityError
        It may not.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise IdentityError(
            f"{name!r} cannot name a site: use 1 to 32 lower-case letters, digits and hyphens, "
            "such as 'lyon' or 'site-2'"
        )
    return name


def write_private(path: Path, data: bytes) -> None:
    """Write `data` to `path`, readable by its owner alone from the first instant, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def read_private(path: Path) -> bytes:
    """Read a secret file, and refuse one that others on this machine can read.

    Raises
    ------
    IdentityError
        Missing, or open to its group or the world.
    """
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise IdentityError(
            f"cannot read {path} ({error.strerror}): create it with `fedstats init`"
        ) from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise IdentityError(f"{path} holds a secret key and others can read it: run `chmod 600 {path}`")
    return data


class Identity:
    """A site's long-lived Ed25519 key.

    Parameters
    ----------
    name
        The site's name.
    seed
        32 secret bytes.
    """

    def __init__(self, name: str, seed: bytes) -> None:
        self.name = check_name(name)
        self._key = SigningKey(seed)

    @classmethod
    def generate(cls, name: str) -> Identity:
        """Make a new identity from the system's random generator."""
        return cls(name, bytes(SigningKey.generate()))

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return bytes(self._key.verify_key)

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """Sign `message` for one purpose; a signature for another `domain` does not verify."""
        return self._key.sign(_separate(domain, message)).signature

    def save(self, path: Path) -> None:
        """Write the key to `path`, mode 0600."""
        write_private(path, f"{_KEY_HEADER} {self.name} {bytes(self._key).hex()}\n".encode())

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Read what `save` wrote.

        Raises
        ------
        IdentityError
            Missing, readable by others, or not an identity.
        """
        try:
            header, name, seed = read_private(path).decode("ascii").split()
            secret = bytes.fromhex(seed) if header == _KEY_HEADER else b""
        except ValueError:
            secret = b""
        if len(secret) != 32:
            # Nothing is chained or quoted: it could be the file's secret content.
            raise IdentityError(f"{path} is not an identity key: restore it, or run `fedstats init`")
        return cls(name, secret)

    def __repr__(self) -> str:
        return f"<Identity of {self.name}>"


def verify(public: bytes, domain: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is that of the holder of `public` on `message` in `domain`."""
    try:
        VerifyKey(public).verify(_separate(domain, message), signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True


def _separate(domain: bytes, message: bytes) -> bytes:
    return struct.pack(">H", len(domain)) + domain + message
