"""A whole federation on this machine, for demonstrations, tests and benchmarks."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from transport.manifest import Manifest, Scalar
from transport.sitekeys import SiteKeys


@dataclass(frozen=True)
class LoopbackFederation:
    """The files of every site of a federation whose endpoints are all on 127.0.0.1.

    Attributes
    ----------
    manifest
        Signed by all; also in ``federation.toml`` in the directory.
    keys
        Each site's keys, by name; each in a folder of its own.
    path
        Where the manifest was written.
    """

    manifest: Manifest
    keys: Mapping[str, SiteKeys]
    path: Path


def free_endpoints(count: int) -> list[str]:
    """Return endpoints on 127.0.0.1 with distinct ports that are free at this moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def loopback_federation(
    names: Sequence[str],
    directory: Path,
    *,
    policy: Mapping[str, Scalar] | None = None,
    timeout: float | None = None,
    dial_only: str | None = None,
) -> LoopbackFederation:
    """Create identities, certificates and a manifest that all have signed.

    Parameters
    ----------
    names
        The sites.
    directory
        Receives ``federation.toml`` and a folder for each site.
    policy, timeout
        Of the manifest.
    dial_only
        A site that is to have no endpoint.
    """
    keys = {
        name: SiteKeys.create(directory / name, name, None if name == dial_only else endpoint)
        for name, endpoint in zip(names, free_endpoints(len(names)), strict=True)
    }
    manifest = Manifest.create(
        (site.card for site in keys.values()), "loopback", policy=policy, timeout=timeout
    )
    for site in keys.values():
        manifest = manifest.sign(site.identity)
    path = directory / "federation.toml"
    manifest.save(path)
    return LoopbackFederation(manifest, keys, path)
