"""`gwas.linear` against a regression of its own for every variant on the pooled samples."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from gwas_helpers import Panel, assert_equal_scan, least_squares, make_panel, scan

from fedstats.gwas.plink import BedFile

LINEAR = importlib.import_module("fedstats.gwas.linear")  # the name is the function's in its package
MAIZE = Path(__file__).parents[3] / "shared" / "data" / "maize"


def dummies(panel: Panel) -> np.ndarray:
    arms = [panel.rows["arm"] == arm for arm in ("y", "z")]
    return np.column_stack([np.ones(len(panel.rows)), panel.rows["age"], *arms]).astype(float)


@pytest.mark.parametrize("alike", [True, False], ids=["same lists", "other order and alleles"])
def test_pooled_regression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alike: bool) -> None:
    monkeypatch.setattr(LINEAR, "BLOCK", 100)
    panel = make_panel(700, 450)
    result = scan(panel.deal(tmp_path, [11, 400], alike=alike), trait="ldl", covariates=["age", "C(arm)"])
    assert len(result.to_frame()) == 450
    assert_equal_scan(result.to_frame(), panel, least_squares(panel, "ldl", dummies(panel)))
    assert result.nobs == panel.rows["age"].notna().sum()
    assert result.n_missing == panel.rows["age"].isna().sum()
    assert (
        result.to_frame()["beta"].isna().sum()
        == result.to_frame()["effect_allele_frequency"].isin([0, 1]).sum()
    )


def test_frequencies_and_missing_calls(tmp_path: Path) -> None:
    panel = make_panel(300, 60)
    table = scan(panel.deal(tmp_path, [100, 100]), trait="ldl").to_frame()
    calls = np.where(panel.genotypes < 0, np.nan, panel.genotypes)
    known = panel.variants.assign(
        frequency=np.nanmean(calls, axis=1) / 2, missing=np.isnan(calls).mean(axis=1)
    )
    known = known.set_index("rsid").loc[table["rsid"]]
    counted = table["effect_allele"].to_numpy() == known["allele1"].to_numpy()
    expected = np.where(counted, known["frequency"], 1 - known["frequency"])
    np.testing.assert_allclose(table["effect_allele_frequency"], expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(table["missing_rate"], known["missing"], rtol=1e-12)


def test_a_trait_far_from_zero_and_correlated_covariates(tmp_path: Path) -> None:
    panel = make_panel(500, 50)
    age = panel.rows["age"].fillna(50.0)
    panel.rows["ldl"] += 1e6
    panel.rows["age"] = 1e6 + age
    panel.rows["weight"] = age + np.random.default_rng(8).normal(0, 0.01, 500)
    design = np.column_stack([np.ones(500), age, panel.rows["weight"]])
    result = scan(panel.deal(tmp_path, [50, 150]), trait="ldl", covariates=["age", "weight"])
    assert_equal_scan(result.to_frame(), panel, least_squares(panel, "ldl", design), rtol=1e-8, of_error=1.0)


def test_p_values_are_those_of_statsmodels(tmp_path: Path) -> None:
    panel = make_panel(400, 30, missing=0.0)
    table = scan(panel.deal(tmp_path, [100, 200], alike=True), trait="ldl").to_frame()
    for number in range(30):
        if np.ptp(panel.genotypes[number]) == 0:
            assert np.isnan(table["p_value"][number])
        else:
            fit = sm.OLS(panel.rows["ldl"], sm.add_constant(panel.genotypes[number].astype(float))).fit()
            assert table["p_value"][number] == pytest.approx(fit.pvalues.iloc[1], rel=1e-8)
            assert table["neg_log10_p"][number] == pytest.approx(-np.log10(fit.pvalues.iloc[1]), abs=1e-8)


def test_a_variant_that_is_a_covariate_has_no_estimate(tmp_path: Path) -> None:
    panel = make_panel(200, 10, missing=0.0)
    panel.rows["dose"] = panel.genotypes[3].astype(float)
    panel.genotypes[3, :2] = [0, 1]
    panel.rows["dose"] = panel.genotypes[3].astype(float)
    table = scan(panel.deal(tmp_path, [60, 60], alike=True), trait="ldl", covariates=["dose"]).to_frame()
    assert np.isnan(table["beta"][3])
    assert np.isnan(table["p_value"][3])


def test_an_effect_beyond_the_smallest_float(tmp_path: Path) -> None:
    panel = make_panel(3_000, 5, missing=0.0)
    panel.genotypes[2] = np.random.default_rng(4).binomial(2, 0.4, 3_000)
    panel.rows["ldl"] = 10.0 * panel.genotypes[2] + np.random.default_rng(5).normal(0, 1, 3_000)
    table = scan(panel.deal(tmp_path, [1_000, 1_000], alike=True), trait="ldl").to_frame()
    assert table["p_value"][2] == 0.0
    assert 2_000 < table["neg_log10_p"][2] < 6_000


@pytest.mark.skipif(not MAIZE.exists(), reason="the maize panel is not beside the project")
@pytest.mark.parametrize("alike", [True, False], ids=["same lists", "other order and alleles"])
def test_maize_panel(tmp_path: Path, alike: bool) -> None:
    bed = BedFile(MAIZE / "maize.bed")
    traits = pd.read_csv(MAIZE / "mdp_traits.txt", sep="\t").rename(columns={"Taxa": "iid"})
    rows = bed.samples[["iid"]].merge(traits[["iid", "EarHT"]], how="left", on="iid")
    panel = Panel(bed.read(), bed.variants, rows)
    result = scan(panel.deal(tmp_path, [17, 90], alike=alike), trait="EarHT")
    assert result.nobs == rows["EarHT"].notna().sum()
    assert len(result.to_frame()) == bed.n_variants
    assert_equal_scan(result.to_frame(), panel, least_squares(panel, "EarHT", np.ones((len(rows), 1))))


@pytest.mark.parametrize("block", [40, 4096])
def test_cost_is_as_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(LINEAR, "BLOCK", block)
    panel = make_panel(200, 1200)
    blocks = -(-1200 // block)
    alike = scan(panel.deal(tmp_path, [60, 60], alike=True), trait="ldl", covariates=["age"]).cost
    assert alike.rounds == 11 + 2 * blocks
    assert alike.bytes_sent == pytest.approx(24 * (2 * 1 + 5) * 1200 * 2 / 3, rel=0.1)
    other = scan(panel.deal(tmp_path, [60, 60]), trait="ldl", covariates=["age"]).cost
    assert other.rounds == 12 + 2 * blocks
