"""Helpers of the transport tests: whole federations in one process."""

from __future__ import annotations

import threading
from typing import Any

from transport.grpc_mesh import GrpcMesh, connect
from transport.loopback import LoopbackFederation

SPEC = bytes(range(32))
VERSION = "0.1.0"
#: Seconds in which sites of one machine find each other, however busy it is.
PATIENCE = 30.0


def outcomes(
    federation: LoopbackFederation, *, each: dict[str, dict[str, Any]] | None = None, **common: Any
) -> dict[str, GrpcMesh | BaseException]:
    """Connect all sites at once; return each one's mesh or error. `each` overrides `common` by site."""
    results: dict[str, GrpcMesh | BaseException] = {}

    def join(name: str) -> None:
        options: dict[str, Any] = {
            "keys": federation.keys[name],
            "manifest": federation.manifest,
            "spec": SPEC,
            "package_version": VERSION,
            "timeout": PATIENCE,
        }
        options |= common | (each or {}).get(name, {})
        try:
            results[name] = connect(**options)
        except BaseException as error:  # noqa: BLE001  (it is what the tests look at)
            results[name] = error

    threads = [threading.Thread(target=join, args=(name,)) for name in federation.keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def hurry(mesh: Any, seconds: float) -> None:
    """Let a mesh give up after so many seconds from now on.

    How long sites need to find each other depends on the machine, so that tests in which one dies connect
    with patience, and lose it then.
    """
    mesh._switchboard._timeout = seconds
    for line in mesh._switchboard.lines.values():
        line.timeout = seconds


def connect_all(federation: LoopbackFederation, **common: Any) -> dict[str, GrpcMesh]:
    """Connect all sites at once, or raise what one of them raised."""
    meshes: dict[str, GrpcMesh] = {}
    for name, result in outcomes(federation, **common).items():
        if isinstance(result, BaseException):
            raise result
        meshes[name] = result
    return meshes
