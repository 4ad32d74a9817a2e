"""Enrolled sites whose manifest all have signed, and sessions of theirs in one process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import fedstats as fs
from fedstats.records import Records, Script
from fedstats.site import Site, create_site
from transport.loopback import free_endpoints
from transport.manifest import Manifest
from transport.sitekeys import SiteKeys

Returned = TypeVar("Returned")


def federate(folder: Path, *names: str) -> dict[str, Site]:
    sites = {
        name: create_site(folder / name, name, endpoint=endpoint)
        for name, endpoint in zip(names, free_endpoints(len(names)), strict=True)
    }
    keys = {name: SiteKeys.load(site.keys) for name, site in sites.items()}
    manifest = Manifest.create([its.card for its in keys.values()], "test", policy={"min_cell": 7})
    for its in keys.values():
        manifest = manifest.sign(its.identity)
    for site in sites.values():
        manifest.save(site.federation)
    return sites


def session(
    sites: dict[str, Site],
    program: Callable[[fs.Federation, str], Returned],
    *,
    script: bytes = b"print(1)",
    name: str | None = "analysis.py",
) -> list[Returned]:
    """Run a program at sites that keep records, as `join` has them, over meshes in memory."""

    def run(federation: fs.Federation, site: str) -> Returned:
        config = Site.load(sites[site].path)
        federation.policy, federation.consent = config.policy, config.consent
        federation.records = Records(
            config,
            SiteKeys.load(config.keys).identity,
            Manifest.load(config.federation),
            Script(name, hashlib.sha256(script).digest()),
        )
        federation.records.begin(federation.party)
        return program(federation, site)

    return fs.simulate(run, list(sites), names=list(sites))
