"""`gwas.screen` against the counts that `gwas.qc` opens."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gwas_helpers import everywhere, make_panel, scan

import fedstats as fs
from fedstats.gwas import _ahead

KEY = ["chromosome", "base_pair_location", "effect_allele", "other_allele"]
THRESHOLDS = [
    {"call_rate": 0.97, "maf": 0.01},
    {"call_rate": 0.9, "maf": 0.0, "mac": 12},
    {"call_rate": 0.0, "maf": 0.3},
]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Autosomes, X, Y and MT; half of the samples men; a variant without calls, and two at a threshold."""
    panel = make_panel(400, 120, missing=0.03, seed=5)
    panel.variants["chromosome"] = np.repeat(["1", "2", "X", "Y", "MT"], [50, 40, 15, 10, 5])
    panel.rows["sex"] = 1 + np.arange(400) % 2
    panel.genotypes[60] = -1
    panel.genotypes[61] = np.r_[np.full(12, -1), np.full(388, 1)]
    panel.genotypes[62] = np.r_[np.ones(8, int), np.zeros(392, int)]
    return panel.deal(tmp_path_factory.mktemp("sites"), [23, 170])


@pytest.fixture(scope="module")
def quality(parts: Any) -> fs.gwas.QCResult:
    found: fs.gwas.QCResult = scan(parts, fs.gwas.qc)
    return found


@pytest.mark.parametrize("thresholds", THRESHOLDS, ids=str)
def test_what_passes_is_what_the_counts_say(
    parts: Any, quality: fs.gwas.QCResult, thresholds: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ahead, "BLOCK", 70)
    found = scan(parts, fs.gwas.screen, **thresholds)
    expected = quality.passing(**thresholds, hwe=0.0)
    expected = expected[quality.to_frame().loc[expected.index, "allele_count"] > 0]
    assert 10 < len(expected) < 110
    pd.testing.assert_frame_equal(found.to_frame()[KEY], expected.reset_index(drop=True))
    assert (found.nobs, found.n_variants) == (400, 120)
    assert f"Passing {len(expected)}" in " ".join(found.summary().split())
    # Two rounds for lists that differ, two for samples, the engine, and the end; and two blocks, of which the
    # longer numbers take one more.
    assert found.cost.rounds == 6 + 2 * (15 if thresholds["call_rate"] == 0.97 else 14)


@pytest.mark.parametrize("least", [1e-6, 0.05])
def test_frequencies_that_differ_between_sites(tmp_path: Path, least: float) -> None:
    """Decided as by the χ² that `qc` opens, of five sites."""
    panel = make_panel(400, 90, missing=0.03, seed=8)
    panel.variants["chromosome"] = np.repeat(["1", "X", "MT"], [60, 20, 10])
    panel.rows["sex"] = 1 + np.arange(400) % 2
    site = np.repeat([0, 1, 2, 3, 4], [30, 90, 80, 110, 90])
    random = np.random.default_rng(3)
    for number in range(0, 30):  # from alike to far apart
        p = 0.3 + 0.012 * number * (site - 2)
        panel.genotypes[number] = random.binomial(2, np.clip(p, 0.0, 1.0))
    panel.genotypes[31] = 0
    parts = panel.deal(tmp_path, [30, 90, 80, 110])
    counted = scan(parts, fs.gwas.qc)
    loose = {"call_rate": 0.0, "maf": 0.0}
    found = scan(parts, fs.gwas.screen, **loose, heterogeneity=least)
    expected = counted.passing(**loose, hwe=0.0, heterogeneity=least)
    assert 20 < len(expected) < 85
    pd.testing.assert_frame_equal(found.to_frame()[KEY], expected.reset_index(drop=True))
    plain = scan(parts, fs.gwas.screen, **loose)
    assert len(plain.to_frame()) == 90
    assert found.cost.rounds == plain.cost.rounds + 16
    sizes = {reveal.label: reveal.size for reveal in found.leakage}
    assert sizes["passing"] == 90
    assert "P of equal frequencies" in found.summary()


def test_one_bit_of_a_variant_is_opened(parts: Any, tmp_path: Path) -> None:
    declaration = importlib.import_module("fedstats.gwas.screen").DECLARATION
    found = scan(parts, fs.gwas.screen, ambiguous="frequency")
    assert found.leakage.labels == declaration.gated.keys() | declaration.published.keys()
    sizes = {reveal.label: reveal.size for reveal in found.leakage}
    assert sizes["passing"] == found.n_variants
    assert sizes["samples"] == 2


@pytest.mark.parametrize("options", [{"call_rate": 1.1}, {"maf": 0.6}, {"mac": -1}, {"mac": 1.5}], ids=str)
def test_thresholds_that_are_none(parts: Any, options: dict[str, Any]) -> None:
    with pytest.raises(fs.DataError, match="a call rate from 0 to 1"):
        scan(parts, fs.gwas.screen, **options)
    with pytest.raises(fs.DataError, match="a P value from 0 to below 1"):
        scan(parts, fs.gwas.screen, heterogeneity=1.0)


def test_counts_are_opened_by_qc_alone(parts: Any) -> None:
    for analysis, mode in ((fs.gwas.screen, "aggregate"), (fs.gwas.qc, "gated"), (fs.gwas.pca, "result")):
        with pytest.raises(fs.DisclosureError, match=f"knows no disclosure mode '{mode}'"):
            scan(parts, analysis, disclose=mode)


@pytest.mark.parametrize(("hwe", "sizes"), [(1e-6, [130, 250]), (0.02, [40, 9, 200, 100])])
def test_equilibrium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hwe: float, sizes: list[int]) -> None:
    """Decided as by the exact mid-P value, but near the threshold; of rare and of common variants."""
    monkeypatch.setattr(_ahead, "BLOCK", 150)
    random = np.random.default_rng(7)
    panel = make_panel(500, 260, seed=3)
    panel.variants["chromosome"] = np.repeat(["1", "2", "X"], [150, 100, 10])
    panel.rows["sex"] = 2
    for number in range(260):
        rare, odd = random.integers(1, 500), number % 3
        most = rare // 2
        expected = rare**2 / 2000
        spread = 4 * np.sqrt(expected) * (1 - rare / 1000) + 2
        two = int(np.clip(random.uniform(expected - odd * spread, expected + 2 * spread), 0, most))
        calls = np.repeat([2, 1, 0], [two, rare - 2 * two, 500 - rare + two])
        calls[random.permutation(500)[: random.integers(0, 12)]] = -1
        panel.genotypes[number] = random.permutation(
            calls if number % 2 else np.where(calls < 0, -1, 2 - calls)
        )
    parts = panel.deal(tmp_path, sizes)
    options = {"call_rate": 0.9, "maf": 0.0}
    counted = scan(parts, fs.gwas.qc).to_frame()
    found = scan(parts, fs.gwas.screen, **options, hwe=hwe)
    passing = (
        counted[KEY].merge(found.to_frame()[KEY].assign(there=True), how="left", on=KEY)["there"].notna()
    )
    p = counted["hwe_p"].to_numpy()
    sure = ~((p > hwe / 3) & (p < 3 * hwe))
    assert sure.mean() > 0.9
    assert 40 < (p < hwe / 3).sum() < 200
    np.testing.assert_array_equal(passing[sure], ~(p[sure] < hwe))
    assert passing[counted["chromosome"] == "X"].all()
    assert "Least P of Hardy-Weinberg equilibrium" in found.summary()
    plain = scan(parts, fs.gwas.screen, **options)
    assert found.cost.rounds - plain.cost.rounds == 2 * (23 if len(sizes) == 2 else 27)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hwe": 0.5}, "a P value from 1e-12 to 0.05"),
        ({"hwe": -1e-6}, "a P value from"),
        ({"hwe": 1e-6, "call_rate": 0.5}, "with a call rate of 0.9 or more"),
    ],
)
def test_equilibrium_that_cannot_be_decided(parts: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(fs.DataError, match=message):
        everywhere(parts, fs.gwas.screen, **options)


def test_equilibrium_of_few_samples(tmp_path: Path) -> None:
    parts = make_panel(150, 5).deal(tmp_path, [40, 50])
    with pytest.raises(fs.EstimationError, match=r"150 samples are too few for hwe=0\.001"):
        everywhere(parts, fs.gwas.screen, hwe=1e-3)
