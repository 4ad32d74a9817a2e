"""The probe reports on each peer by itself: what works, and what does not, with the remedy."""

from __future__ import annotations

import threading
from dataclasses import replace

from transport_helpers import VERSION, connect_all, outcomes

from transport.errors import AbortCode, Mismatch
from transport.grpc_mesh import listening_address
from transport.loopback import LoopbackFederation, free_endpoints
from transport.manifest import Manifest
from transport.probe import PeerReport, Status, probe


def probe_at(federation: LoopbackFederation, *names: str, **options: object) -> dict[str, list[PeerReport]]:
    reports: dict[str, list[PeerReport]] = {}

    def run(name: str) -> None:
        keys = federation.keys[name]
        settings: dict[str, object] = {
            "manifest": federation.manifest,
            "package_version": VERSION,
            "patience": 2.5,
            "listen": listening_address(keys.card),
        }
        reports[name] = probe(keys, **settings | options)  # type: ignore[arg-type]

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return reports


def test_all_is_well(loopback) -> None:
    reports = probe_at(loopback("a", "b", "c"), "a", "b", "c")
    for name, found in reports.items():
        assert [report.peer for report in found] == [peer for peer in "abc" if peer != name]
        for report in found:
            assert (report.status, report.remedy) == (Status.OK, "")
            assert report.package == VERSION
            assert report.round_trip is not None
            assert 0 < report.round_trip < 1
            assert report.clock_offset is not None
            assert abs(report.clock_offset) < 1
            assert report.bandwidth is not None
            assert report.bandwidth > 1e6


def test_a_site_that_is_not_running(loopback) -> None:
    federation = loopback("a", "b", "c")
    found = probe_at(federation, "a", "b")["a"]
    assert [report.status for report in found] == [Status.OK, Status.NOT_READY]
    assert "run `fedstats doctor`" in found[1].remedy
    assert "site c" in found[1].remedy


def test_a_site_that_only_dials_out(loopback) -> None:
    federation = loopback("a", "b", dial_only="b")
    reports = probe_at(federation, "a", "b")
    assert reports["a"][0].status is Status.OK
    assert reports["b"][0].status is Status.OK
    assert reports["b"][0].bandwidth is not None
    alone = probe_at(federation, "a", patience=0.3)["a"][0]
    assert alone.status is Status.NOT_READY
    assert "only dials out" in alone.remedy


def test_a_peer_in_a_session_answers(loopback) -> None:
    federation = loopback("a", "b", "c")
    alone = replace(federation, keys={"a": federation.keys["a"]})
    joining = threading.Thread(target=outcomes, args=(alone,), kwargs={"timeout": 2.0})
    joining.start()
    report = probe_at(federation, "b", patience=1.0)["b"][0]
    joining.join()
    assert report.status is Status.OK


def test_another_version_and_epoch(loopback) -> None:
    federation = loopback("a", "b")
    newer = federation.manifest.next_epoch()
    for keys in federation.keys.values():
        newer = newer.sign(keys.identity)
    meshes = connect_all(replace(federation, manifest=newer))
    report = probe_at(federation, "b", listen=None)["b"][0]
    assert (report.status, report.mismatch) == (Status.DISAGREES, Mismatch.EPOCH)
    assert "this site must take over" in report.remedy
    report = probe_at(replace(federation, manifest=newer), "b", listen=None, package_version="9")["b"][0]
    assert (report.status, report.mismatch) == (Status.DISAGREES, Mismatch.PACKAGE)
    for mesh in meshes.values():
        mesh.abort(AbortCode.INTERNAL)


def test_another_certificate(loopback) -> None:
    federation = loopback("a", "b")
    rotated = federation.keys["b"].rotate()
    newer = federation.manifest.next_epoch(replace_cards=[rotated.card])
    for keys in federation.keys.values():
        newer = newer.sign(keys.identity)
    meshes = connect_all(replace(federation, manifest=newer))
    # b with the old epoch presents a certificate that a no longer pins; a with it does not know b's new one.
    refused_there = probe_at(federation, "b", listen=None, patience=0.5)["b"][0]
    refused_here = probe_at(federation, "a", listen=None, patience=0.5)["a"][0]
    assert refused_there.status is refused_here.status is Status.REFUSED
    assert "may pin another certificate for this site" in refused_there.remedy
    assert "does not have the certificate pinned for site b" in refused_here.remedy
    for mesh in meshes.values():
        mesh.abort(AbortCode.INTERNAL)


def test_an_address_that_does_not_answer(loopback) -> None:
    federation = loopback("a", "b")
    (closed,) = free_endpoints(1)
    cards = [federation.keys["a"].card, replace(federation.keys["b"].card, endpoint=closed)]
    manifest = Manifest.create(cards, "moved")
    for keys in federation.keys.values():
        manifest = manifest.sign(keys.identity)
    report = probe_at(replace(federation, manifest=manifest), "a", patience=0.3)["a"][0]
    assert report.status is Status.NOT_READY
    assert closed in report.remedy
