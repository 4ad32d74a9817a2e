"""Meta-analysis of every variant against each site's own regressions, combined by statsmodels."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gwas_helpers import Panel, least_squares, make_panel, scan
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

import fedstats as fs
from fedstats.gwas import _ahead

#: The first site is too small for regressions, the last has one arm only.
SIZES = [4, 150, 120]
SITE = np.repeat([0, 1, 2, 3], [*SIZES, 126])


@dataclass(frozen=True)
class Case:
    panel: Panel
    found: Any
    pooled: Any
    #: Estimates of each site, by rsid.
    alone: list[pd.DataFrame]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    panel = make_panel(400, 70, missing=0.03, seed=6)
    panel.variants["chromosome"] = np.repeat(["1", "MT"], [60, 10])
    panel.rows.loc[SITE == 3, "arm"] = "x"
    panel.rows.loc[SITE == 2, "age"] = 50.0  # does not vary there
    panel.genotypes[5] = np.random.default_rng(1).binomial(2, 0.4, 400)
    panel.rows["ldl"] += np.choose(SITE, [0, 10, -10, 20]) * np.maximum(panel.genotypes[5], 0)
    panel.rows["ldl"] *= 1e5
    panel.genotypes[7, SITE != 1] = 0
    panel.genotypes[8, SITE == 2] = -1
    parts = panel.deal(tmp_path_factory.mktemp("sites"), SIZES)
    options = {"trait": "ldl", "covariates": ["age", "C(arm)"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ahead, "BLOCK", 32)
        found = scan(parts, fs.gwas.meta_analysis, **options)
        pooled = scan(parts, **options)
    alone = []
    for site in (1, 2, 3):
        here = np.flatnonzero(site == SITE)
        own = Panel(panel.genotypes[:, here], panel.variants, panel.rows.iloc[here])
        columns = [np.ones(len(here))]
        columns += [own.rows["age"]] if site != 2 else []
        columns += [own.rows["arm"] == arm for arm in ("y", "z")] if site != 3 else []
        table = least_squares(own, "ldl", np.column_stack(columns).astype(float))
        table.iloc[60:, :2] *= 2  # of the one copy
        alone.append(table)
    return Case(panel, found, pooled, alone)


def test_every_variant_is_combined_as_by_statsmodels(case: Case) -> None:
    table = case.found.to_frame()
    assert len(table) == 70
    known = case.panel.variants.set_index("rsid").loc[table["rsid"], "allele1"].to_numpy()
    sign = np.where(table["effect_allele"] == known, 1.0, -1.0)
    several = 0
    for (_, its), counted in zip(table.iterrows(), sign, strict=True):
        own = pd.DataFrame([alone.loc[its["rsid"]] for alone in case.alone]).dropna()
        assert its["n_sites"] == len(own)
        if len(own) == 0:
            assert its[["beta", "standard_error", "p_value", "q", "beta_random"]].isna().all()
            continue
        effects = own["beta"].to_numpy(), own["standard_error"].to_numpy() ** 2
        if len(own) == 1:
            assert its["beta"] * counted == pytest.approx(effects[0][0], rel=1e-8)
            assert its["standard_error"] ** 2 == pytest.approx(effects[1][0], rel=1e-8)
            assert its[["q", "q_p_value", "i2", "tau2", "beta_random", "p_value_random"]].isna().all()
            continue
        several += 1
        with np.errstate(invalid="ignore"):  # where its τ² is below 0
            expected = combine_effects(*effects, method_re="chi2")
            both = expected.summary_frame()
        fixed, random = both.loc["fixed effect"], both.loc["random effect"]
        error = its["standard_error"]
        assert its["beta"] * counted == pytest.approx(fixed["eff"], rel=1e-8, abs=1e-8 * error)
        assert error == pytest.approx(fixed["sd_eff"], rel=1e-8)
        assert its["p_value"] == pytest.approx(
            2 * stats.norm.sf(abs(fixed["eff"] / fixed["sd_eff"])), rel=1e-6
        )
        assert its["q"] == pytest.approx(expected.q, rel=1e-6, abs=1e-6)
        assert its["q_p_value"] == pytest.approx(stats.chi2.sf(expected.q, len(own) - 1), rel=1e-6)
        assert its["i2"] == pytest.approx(max(expected.i2, 0), abs=1e-6)
        assert its["tau2"] == pytest.approx(max(expected.tau2, 0), rel=1e-5, abs=1e-6 * error**2)
        if expected.tau2 > 0:
            assert its["beta_random"] * counted == pytest.approx(random["eff"], rel=1e-5, abs=1e-6 * error)
            assert its["standard_error_random"] == pytest.approx(random["sd_eff"], rel=1e-5)
        else:
            assert its["beta_random"] == its["beta"]
            assert its["standard_error_random"] == its["standard_error"]
    assert several > 40
    frame = table.set_index("rsid")
    assert frame.loc["rs5", "q_p_value"] < 1e-4
    assert frame.loc["rs5", "tau2"] > 0
    assert frame.loc["rs8", "n_sites"] in (0, 2)


def test_beside_the_pooled_estimate(case: Case) -> None:
    both = case.found.beside(case.pooled)
    pooled = case.pooled.to_frame()
    np.testing.assert_array_equal(both["beta_pooled"], pooled["beta"])
    common = both[both["n_sites"] == 3]
    assert np.corrcoef(common["beta"], common["beta_pooled"])[0, 1] > 0.9
    assert {"standard_error_pooled", "p_value_pooled"} <= set(both)


def test_what_is_opened(case: Case) -> None:
    declared = importlib.import_module("fedstats.gwas.meta").DECLARATION
    labels = declared.result.keys() | declared.published.keys()
    unused = {"transform sums", "transform squares", "transforms", "strands"}
    assert case.found.leakage.labels == labels - unused
    sizes = {its.label: its.size for its in case.found.leakage}
    assert sizes["weights"] == 70 * 5
    assert sizes["random weights"] == 2 * (case.found.to_frame()["tau2"] > 0).sum()
    assert case.found.cost.rounds == 8 + 3 * 4
    assert case.found.nobs == case.panel.rows["age"].notna().sum()
    for part in ("Meta-analysis of ldl", "Mean I²", "P(Q)"):
        assert part in case.found.summary()


def test_a_trait_that_varies_between_sites_alone(tmp_path: Path) -> None:
    panel = make_panel(100, 5)
    panel.rows["ldl"] = np.repeat([1.0, 2.0, 3.0], [30, 30, 40])
    with pytest.raises(fs.EstimationError, match="does not vary among the samples of any site"):
        scan(panel.deal(tmp_path, [30, 30]), fs.gwas.meta_analysis, trait="ldl")


def test_a_trait_that_covariates_explain_at_one_site(tmp_path: Path) -> None:
    """That site takes no part, and nor does one without rows."""
    panel = make_panel(100, 8, missing=0.0)
    panel.rows["age"] = panel.rows["age"].fillna(50)
    panel.rows.loc[:39, "ldl"] = 3 * panel.rows["age"][:40] + 2
    parts = panel.deal(tmp_path, [40, 20])
    parts[1][0]["ldl"] = np.nan
    table = scan(parts, fs.gwas.meta_analysis, trait="ldl", covariates=["age"]).to_frame()
    assert table["n_sites"].max() == 1
    own = Panel(panel.genotypes[:, 60:], panel.variants, panel.rows.iloc[60:])
    expected = least_squares(own, "ldl", np.column_stack([np.ones(40), own.rows["age"]]))
    expected = expected.loc[table["rsid"], "standard_error"]
    np.testing.assert_allclose(table["standard_error"], expected, rtol=1e-8)
