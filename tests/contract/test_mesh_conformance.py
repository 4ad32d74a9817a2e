"""Both meshes keep the contract of `transport.base`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from transport_helpers import connect_all, hurry

from transport.base import Mesh
from transport.loopback import loopback_federation
from transport.memory import memory_meshes
from transport.testing import MeshConformance


class TestMemoryMesh(MeshConformance):
    def make_meshes(self, names: Sequence[str], timeout: float) -> Mapping[str, Mesh]:
        return memory_meshes(names, timeout=timeout)


class TestGrpcMesh(MeshConformance):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self._path = tmp_path
        self._count = 0

    def make_meshes(self, names: Sequence[str], timeout: float) -> Mapping[str, Mesh]:
        self._count += 1
        federation = loopback_federation(names, self._path / str(self._count))
        meshes = connect_all(federation)
        for mesh in meshes.values():
            hurry(mesh, timeout)
        return meshes
