"""A connection that breaks, again and again, changes nothing: no loss, no doubling, no reordering."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from cutting_proxy import CuttingProxy, cutting
from transport_helpers import connect_all

from transport.base import Mesh
from transport.grpc_mesh import listening_address
from transport.loopback import LoopbackFederation, free_endpoints
from transport.manifest import Manifest
from transport.testing import close_all, run_all


def behind_proxies(
    federation: LoopbackFederation, cuts: int, seed: int
) -> tuple[LoopbackFederation, list[CuttingProxy], dict[str, dict[str, object]]]:
    """Move every site behind a proxy that cuts its connections; return what each needs to listen."""
    listen: dict[str, dict[str, object]] = {}
    proxies, cards = [], []
    for number, (name, keys) in enumerate(federation.keys.items()):
        target = str(listening_address(keys.card))
        (public,) = free_endpoints(1)
        listen[name] = {"listen": target}
        proxies.append(CuttingProxy(public, target, cuts, random.Random(seed + number)))
        cards.append(replace(keys.card, endpoint=public))
    manifest = Manifest.create(cards, "cut")
    for keys in federation.keys.values():
        manifest = manifest.sign(keys.identity)
    return replace(federation, manifest=manifest), proxies, listen


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_twenty_cuts_lose_nothing(loopback, seed: int) -> None:
    federation, proxies, listen = behind_proxies(loopback("a", "b", "c"), cuts=10, seed=seed)
    chance = random.Random(seed)
    sizes = [chance.choice([0, 1, 1000, 70_000, 1 << 20, 3_000_000]) for _ in range(40)]

    def program(mesh: Mesh) -> None:
        for number, size in enumerate(sizes):
            sent = {peer: random.Random(f"{number}{mesh.me}{peer}").randbytes(size) for peer in mesh.peers}
            for peer, payload in mesh.exchange(f"round {number}", sent).items():
                assert payload == random.Random(f"{number}{peer}{mesh.me}").randbytes(size)
        assert mesh.traffic.bytes_received == 2 * sum(sizes)

    meshes = connect_all(federation, each=listen, timeout=10.0)
    with cutting(proxies):
        run_all(meshes, program)
        close_all(meshes)
    # Site a dials nobody and c is dialled by nobody: the cuts are those of the proxies before a and b.
    assert sum(proxy.made for proxy in proxies) == 20


def test_one_large_message_through_many_cuts(loopback) -> None:
    federation, proxies, listen = behind_proxies(loopback("a", "b"), cuts=12, seed=7)
    payload = random.Random(7).randbytes(48 << 20)

    def program(mesh: Mesh) -> None:
        (received,) = mesh.broadcast("large", payload).values()
        assert received == payload

    meshes = connect_all(federation, each=listen, timeout=10.0)
    with cutting(proxies):
        run_all(meshes, program)
        close_all(meshes)
    assert proxies[0].made == 12


def test_cuts_during_the_handshake_are_survived(loopback) -> None:
    federation, proxies, listen = behind_proxies(loopback("a", "b", "c"), cuts=4, seed=11)
    for proxy in proxies:
        proxy.arm(mean=1500)
    try:
        meshes = connect_all(federation, each=listen, timeout=10.0)
        assert len({mesh.session.id for mesh in meshes.values()}) == 1
        run_all(meshes, lambda mesh: mesh.broadcast("on", b"here"))
        close_all(meshes)
    finally:
        for proxy in proxies:
            proxy.stop()
    assert sum(proxy.made for proxy in proxies) >= 4


def test_a_site_that_only_dials_out(tmp_path: Path, loopback) -> None:
    federation = loopback("a", "b", "c", dial_only="a")
    meshes = connect_all(federation)
    received = run_all(meshes, lambda mesh: mesh.broadcast("on", mesh.me.encode()))
    assert {peer: bytes(data) for peer, data in received["c"].items()} == {"a": b"a", "b": b"b"}
    close_all(meshes)
