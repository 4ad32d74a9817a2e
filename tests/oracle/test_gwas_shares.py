"""Scans on shares against regressions on the pooled samples, and what they open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gwas_helpers import Panel, least_squares, make_panel, scan

from fedstats.gwas import _ahead

THRESHOLD = 0.05
SIZES = [11, 389]


#: How far estimates may be off: relative, of a standard error, and of beta in standard errors.
PRECISION = {"impute": (2e-6, 1e-5), "exact": (2e-7, 2e-7)}


@dataclass(frozen=True)
class Case:
    panel: Panel
    missing: str
    within: bool
    found: dict[str, Any]
    gated: dict[str, Any]
    expected: dict[str, pd.DataFrame]

    @property
    def numbers(self) -> int:
        """Numbers that are opened of a variant and trait, beyond the one of the variant."""
        return 1 if self.missing == "impute" else 2


@pytest.fixture(
    scope="module",
    params=[("impute", False), ("impute", True), ("exact", False), ("exact", True)],
    ids=lambda param: f"{param[0]}, one {'a site' if param[1] else 'intercept'}",
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    missing, within = request.param
    panel = make_panel(700, 150, seed=3)
    panel.genotypes[7, :11] = -1  # nobody at the first site has a call
    # More than half of an arm has no call, or of all samples; and just as many as may.
    arm, half, third = np.flatnonzero(np.maximum(panel.genotypes[10:], 0).mean(axis=1) > 0.2)[:3] + 10
    panel.genotypes[arm, np.flatnonzero(panel.rows["arm"] == "z")[:150]] = -1
    panel.genotypes[half, np.random.default_rng(1).permutation(700)[:420]] = -1
    panel.genotypes[third, ::3] = -1
    site = np.repeat([0, 1, 2], [*SIZES, 700 - sum(SIZES)])
    panel.rows["ldl"] += 30 * site + 10 * np.maximum(panel.genotypes[5], 0)
    panel.rows["hdl"] = panel.rows["ldl"] % 17
    parts = panel.deal(tmp_path_factory.mktemp("sites"), SIZES)
    options = {
        "trait": ["ldl", "hdl"],
        "covariates": ["age", "C(arm)"],
        "missing": missing,
        "site_intercepts": within,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ahead, "BLOCK", 100)
        found = scan(parts, **options, disclose="result")
        gated = scan(parts, **options, disclose="gated", threshold=THRESHOLD)
    arms = [panel.rows["arm"] == arm for arm in ("y", "z")]
    design = np.column_stack([np.ones(700), panel.rows["age"], *arms]).astype(float)
    expected = {
        trait: least_squares(panel, trait, design, missing, site, intercepts=within)
        for trait in ("ldl", "hdl")
    }
    untested = ["rs7"] if missing == "impute" else [f"rs{arm}", f"rs{half}", "rs7"][: 2 + within]
    for table in expected.values():
        assert table.loc[untested, "beta"].notna().all()
        table.loc[untested] = (np.nan, np.nan, 0)
    return Case(panel, missing, within, found, gated, expected)


def test_result_is_the_pooled_regression(case: Case) -> None:
    for trait, expected in case.expected.items():
        table = case.found[trait].to_frame()
        assert len(table) == 150
        known = case.panel.variants.set_index("rsid").loc[table["rsid"], "allele1"].to_numpy()
        sign = np.where(table["effect_allele"] == known, 1.0, -1.0)
        expected = expected.loc[table["rsid"]].reset_index()
        # What is opened is rounded: to 24 fractional bits, and to 24 of what one copy leaves.
        of_error, of_beta = PRECISION[case.missing]
        np.testing.assert_allclose(table["standard_error"], expected["standard_error"], rtol=of_error)
        off = (sign * table["beta"] - expected["beta"]) / expected["standard_error"]
        assert np.abs(off).max() < of_beta
        np.testing.assert_array_equal(table["n"], expected["n"])
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
    assert sizes["associations"] == passed * case.numbers + len(variants)
    assert sizes["passing"] == 150 * 2
    assert "variant sums" not in sizes


def test_result_opens_a_few_numbers_a_variant_and_trait(case: Case) -> None:
    sizes = {reveal.label: reveal.size for reveal in case.found["ldl"].leakage}
    assert sizes["associations"] == 150 * (1 + 2 * case.numbers)
    assert not {"variant sums", "missing calls", "passing"} & sizes.keys()


def test_rounds_do_not_depend_on_variants(case: Case) -> None:
    """Thirteen in all for the model, the engine and the end; and for each of two blocks so many."""
    block = 10 if case.missing == "impute" else 43 + 4 * case.within
    assert case.found["ldl"].cost.rounds == 13 + 2 * block


@pytest.mark.parametrize("sites", [5, 10])
def test_more_sites_have_less_room(sites: int, tmp_path: Path) -> None:
    parts = make_panel(40 * sites, 20, missing=0.05, seed=4).deal(tmp_path, [40] * (sites - 1))
    options = {"trait": "ldl", "covariates": ["age"]}
    pooled, shared = (scan(parts, **options, disclose=mode).to_frame() for mode in ("aggregate", "result"))
    assert shared["beta"].notna().sum() > 10
    np.testing.assert_allclose(shared["standard_error"], pooled["standard_error"], rtol=1e-6)
    off = (shared["beta"] - pooled["beta"]) / pooled["standard_error"]
    assert np.abs(off).max() < 1e-6
