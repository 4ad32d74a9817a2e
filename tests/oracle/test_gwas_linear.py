"""`gwas.linear` against a regression of its own for every variant on the pooled samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from gwas_helpers import Panel, assert_equal_scan, least_squares, make_panel, scan
from stat_helpers import SATURATED, refused

import fedstats as fs
from fedstats.gwas import _ahead
from fedstats.gwas.plink import BedFile

MAIZE = Path(__file__).parents[3] / "shared" / "data" / "maize"


def dummies(panel: Panel) -> np.ndarray:
    arms = [panel.rows["arm"] == arm for arm in ("y", "z")]
    return np.column_stack([np.ones(len(panel.rows)), panel.rows["age"], *arms]).astype(float)


@pytest.mark.parametrize("alike", [True, False], ids=["same lists", "other order and alleles"])
@pytest.mark.parametrize("missing", ["exact", "impute"])
@pytest.mark.parametrize("site_intercepts", [False, True], ids=["one intercept", "one a site"])
def test_pooled_regression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alike: bool, missing: str, site_intercepts: bool
) -> None:
    monkeypatch.setattr(_ahead, "BLOCK", 100)
    panel = make_panel(700, 450)
    panel.genotypes[7] = np.random.default_rng(7).binomial(2, 0.4, 700)
    panel.genotypes[7, :11] = -1  # nobody at the first site has a call
    panel.genotypes[8] = -1
    panel.genotypes[9, panel.rows["arm"] == "y"] = -1  # an arm without calls
    site = np.repeat([0, 1, 2], [11, 389, 300])
    panel.rows["ldl"] += 30 * site
    panel.rows["log_ldl"] = np.log(panel.rows["ldl"] + 200)
    panel.rows["hdl"] = panel.rows["ldl"] ** 2
    result = scan(
        panel.deal(tmp_path, [11, 389], alike=alike),
        trait=["ldl", "log(ldl + 200)", "hdl"],
        covariates=["age", "C(arm)"],
        missing=missing,
        site_intercepts=site_intercepts,
    )
    assert list(result) == ["ldl", "log(ldl + 200)", "hdl"]
    for trait, one in zip(["ldl", "log_ldl", "hdl"], result.values(), strict=True):
        table = one.to_frame()
        expected = least_squares(panel, trait, dummies(panel), missing, site if site_intercepts else None)
        assert len(table) == 450
        assert_equal_scan(table, panel, expected)
        np.testing.assert_array_equal(table["n"], expected.loc[table["rsid"], "n"])
        assert one.nobs == panel.rows["age"].notna().sum()
        assert one.n_missing == panel.rows["age"].isna().sum()
        assert one.df_resid == one.nobs - 5 - 2 * site_intercepts
    ids = table.set_index("rsid")
    assert np.isnan(ids.loc["rs8", "beta"])
    assert np.isfinite(ids.loc["rs9", "beta"]) or panel.genotypes[9].max() < 1
    assert np.isfinite(ids.loc["rs7", "beta"])


def test_one_trait_is_the_same_alone_and_among_others(tmp_path: Path) -> None:
    panel = make_panel(200, 30)
    panel.rows["hdl"] = panel.rows["ldl"] % 7
    parts = panel.deal(tmp_path, [60, 60])
    together = scan(parts, trait=["hdl", "ldl"], covariates=["age"])
    alone = scan(parts, trait="ldl", covariates=["age"])
    pd.testing.assert_frame_equal(together["ldl"].to_frame(), alone.to_frame(), rtol=1e-10)


@pytest.mark.parametrize("flip", [False, True])
def test_sex_chromosomes(tmp_path: Path, flip: bool) -> None:
    """A man's heterozygous calls on X and Y, and a woman's calls on Y, are none."""
    panel = make_panel(300, 40, missing=0.01)
    panel.variants["chromosome"] = np.repeat(["1", "X", "Y", "MT"], 10)
    panel.rows["sex"] = np.arange(300) % 3  # 0 is unknown
    male = (panel.rows["sex"] == 1).to_numpy()
    result = scan(panel.deal(tmp_path, [100, 100], alike=not flip), trait="ldl", covariates=["C(sex)"])
    known = panel.genotypes.copy()
    known[10:30, male] = np.where(known[10:30, male] == 1, -1, known[10:30, male])
    known[20:30, ~male] = -1
    design = np.column_stack([np.ones(300), panel.rows["sex"] == 1, panel.rows["sex"] == 2]).astype(float)
    expected = least_squares(Panel(known, panel.variants, panel.rows), "ldl", design)
    expected.iloc[20:, :2] *= 2
    assert np.isfinite(expected.iloc[20:30]["beta"]).any()  # sex takes no part, as all are men
    assert_equal_scan(result.to_frame(), panel, expected)
    alone = scan(panel.deal(tmp_path, [100, 100], alike=not flip), trait="ldl")
    expected = least_squares(Panel(known, panel.variants, panel.rows), "ldl", np.ones((300, 1)))
    expected.iloc[20:, :2] *= 2
    assert_equal_scan(alone.to_frame(), panel, expected)


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


@pytest.mark.parametrize(
    ("samples", "covariates", "error", "message"),
    [
        (60, ["0 + age"], fs.DataError, "take the intercept away"),
        (60, ["age", "-1"], fs.DataError, "take the intercept away"),
        (60, ["0"], fs.DataError, "take the intercept away"),
        (60, "age", fs.DataError, r"a list of terms: \['age'\]"),
        (60, ["ldl"], fs.DataError, "ldl is both trait and covariate"),
        (3, ["dose"], fs.EstimationError, "3 complete samples .* cannot determine 2 terms and a variant"),
    ],
)
def test_covariates_that_leave_no_regression(
    tmp_path: Path, samples: int, covariates: list[str], error: type[fs.FedStatsError], message: str
) -> None:
    panel = make_panel(samples, 20)
    panel.rows["dose"] = np.arange(float(samples))
    parts = panel.deal(tmp_path, [1, 1], alike=True)
    path_of = {f"site{number}": path for number, (_, path) in enumerate(parts, start=1)}

    def program(cohort: fs.Cohort) -> object:
        genotypes = cohort.federation.genotypes(path_of[cohort.federation.site])
        return fs.gwas.linear(genotypes, cohort, trait="ldl", covariates=covariates)

    for found in refused(program, [rows for rows, _ in parts], SATURATED, id="iid"):
        assert isinstance(found, error)
        with pytest.raises(error, match=message):
            raise found


def test_summary_says_what_was_scanned(tmp_path: Path) -> None:
    result = scan(make_panel(60, 20).deal(tmp_path, [20, 20]), trait="ldl", covariates=["arm"])
    for part in ("ldl", "Variants tested", "Genomic control", f"{result.cost.rounds} rounds"):
        assert part in result.summary()


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
    monkeypatch.setattr(_ahead, "BLOCK", block)
    panel = make_panel(200, 1200)
    blocks = -(-1200 // block)
    rel = 0.1 if blocks == 1 else 0.25  # what frames the messages
    whole = Panel(np.maximum(panel.genotypes, 0), panel.variants, panel.rows)

    def cost(panel: Panel, *, alike: bool, **options: object) -> fs.results.Cost:
        return scan(
            panel.deal(tmp_path, [60, 60], alike=alike), trait="ldl", covariates=["age"], **options
        ).cost

    for missing, sums in (("exact", 5 + 2 + 3), ("impute", 5 + 2)):
        found = cost(panel, alike=True, missing=missing)
        assert found.rounds == 11 + 4 * blocks
        assert found.bytes_sent == pytest.approx(24 * sums * 1200 * 2 / 3, rel=rel)
    found = cost(whole, alike=False)
    assert found.rounds == 12 + 2 * blocks
    found = cost(whole, alike=True)
    assert found.rounds == 11 + 2 * blocks
    assert found.bytes_sent == pytest.approx(24 * 5 * 1200 * 2 / 3, rel=rel)
    assert cost(panel, alike=True, missing="impute", site_intercepts=True).rounds == 11 + 2 * blocks
