"""Connections that break in the middle of a scan: the same result to the last bit, and no restart."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from cutting_proxy import cutting
from gwas_helpers import make_panel
from test_cuts import behind_proxies
from transport_helpers import connect_all

import fedstats as fs
from fedstats.federation import Federation
from fedstats.gwas import _ahead
from transport.threads import run_peers

SITES = ("a", "b", "c")


def scan(federation: Federation, rows: pd.DataFrame, bed: Path) -> pd.DataFrame:
    with federation:
        cohort = federation.cohort(rows, id="iid")
        hits = fs.gwas.linear(
            federation.genotypes(bed), cohort, trait="ldl", covariates=["age"], disclose="aggregate"
        )
        return hits.to_frame()


def test_twenty_cuts_during_a_scan(tmp_path: Path, loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ahead, "BLOCK", 256)
    parts = make_panel(150, 6_000).deal(tmp_path, [40, 50])
    whole = fs.simulate(lambda federation, part: scan(federation, *part), parts, names=SITES)[0]

    moved, proxies, listen = behind_proxies(loopback(*SITES), cuts=10, seed=11)
    meshes = connect_all(moved, each=listen, timeout=20.0)
    with cutting(proxies, mean=60_000):
        programs = {
            site: partial(scan, Federation(meshes[site]), *part)
            for site, part in zip(SITES, parts, strict=True)
        }
        tables = run_peers(programs)
    assert sum(proxy.made for proxy in proxies) == 20
    for table in tables.values():
        pd.testing.assert_frame_equal(table, whole, check_exact=True)
