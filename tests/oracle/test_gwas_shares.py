"""Scans on shares against the regression on the pooled samples, with each site's mean for missing calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gwas_helpers import Panel, least_squares, make_panel, scan

from fedstats.gwas import _ahead

THRESHOLD = 0.05
SIZES = [11, 389]


@dataclass(frozen=True)
class Case:
    panel: Panel
    found: dict[str, Any]
    gated: dict[str, Any]
    expected: dict[str, pd.DataFrame]


@pytest.fixture(scope="module", params=[False, True], ids=["one intercept", "one a site"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    panel = make_panel(700, 150, seed=3)
    panel.genotypes[7, :11] = -1  # nobody at the first site has a call
    site = np.repeat([0, 1, 2], [*SIZES, 700 - sum(SIZES)])
    panel.rows["ldl"] += 30 * site + 10 * np.maximum(panel.genotypes[5], 0)
    panel.rows["hdl"] = panel.rows["ldl"] % 17
    parts = panel.deal(tmp_path_factory.mktemp("sites"), SIZES)
    options = {
        "trait": ["ldl", "hdl"],
        "covariates": ["age", "C(arm)"],
        "missing": "impute",
        "site_intercepts": request.param,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ahead, "BLOCK", 100)
        found = scan(parts, **options, disclose="result")
        gated = scan(parts, **options, disclose="gated", threshold=THRESHOLD)
    arms = [panel.rows["arm"] == arm for arm in ("y", "z")]
    design = np.column_stack([np.ones(700), panel.rows["age"], *arms]).astype(float)
    expected = {
        trait: least_squares(panel, trait, design, "impute", site, intercepts=request.param)
        for trait in ("ldl", "hdl")
    }
    for table in expected.values():
        table.loc["rs7", ["beta", "standard_error"]] = np.nan
    return Case(panel, found, gated, expected)


def test_result_is_the_pooled_regression(case: Case) -> None:
    for trait, expected in case.expected.items():
        table = case.found[trait].to_frame()
        assert len(table) == 150
        known = case.panel.variants.set_index("rsid").loc[table["rsid"], "allele1"].to_numpy()
        sign = np.where(table["effect_allele"] == known, 1.0, -1.0)
        expected = expected.loc[table["rsid"]].reset_index()
        # What is opened is rounded to 24 fractional bits.
        np.testing.assert_allclose(table["standard_error"], expected["standard_error"], rtol=2e-6)
        off = (sign * table["beta"] - expected["beta"]) / expected["standard_error"]
        assert np.abs(off).max() < 1e-5
        assert off.isna().sum() == expected["beta"].isna().sum()
        assert table["effect_allele_frequency"].isna().all()


def test_gated_opens_what_passes_and_nothing_else(case: Case) -> None:
    for trait in case.expected:
        whole, gated = case.found[trait].to_frame(), case.gated[trait].to_frame()
        passing = whole[whole["p_value"] < THRESHOLD].reset_index(drop=True)
        assert 3 < len(passing) < 50
        pd.testing.assert_frame_equal(gated, passing, rtol=3e-5)
    passed = sum(len(result.to_frame()) for result in case.gated.values())
    variants = set().union(*(result.to_frame()["rsid"] for result in case.gated.values()))
    sizes = {reveal.label: reveal.size for reveal in case.gated["ldl"].leakage}
    assert sizes["associations"] == passed + len(variants)
    assert sizes["passing"] == 150 * 2
    assert "variant sums" not in sizes


def test_result_opens_two_numbers_a_variant_and_trait(case: Case) -> None:
    sizes = {reveal.label: reveal.size for reveal in case.found["ldl"].leakage}
    assert sizes["associations"] == 150 * 3
    assert not {"variant sums", "missing calls", "passing"} & sizes.keys()
