"""Helpers of the transport tests: whole federations in one process."""

from __future__ import annotations

import threading
from typing import Any

from transport.grpc_mesh import GrpcMesh, connect
from transport.loopback import LoopbackFederation

SPEC = bytes(range(32))
VERSION = "0.1.0"


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
            "timeout": 3.0,
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


def connect_all(federation: LoopbackFederation, **common: Any) -> dict[str, GrpcMesh]:
    """Connect all sites at once, or raise what one of them raised."""
    meshes: dict[str, GrpcMesh] = {}
    for name, result in outcomes(federation, **common).items():
        if isinstance(result, BaseException):
            raise result
        meshes[name] = result
    return meshes
