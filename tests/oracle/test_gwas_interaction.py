"""Interactions of variants with covariates against PLINK 2 and regressions on the pooled samples."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from gwas_helpers import Panel, everywhere, make_panel, scan
from test_plink2 import PRINTED, plink, table

import fedstats as fs
from fedstats.gwas import _ahead
from fedstats.gwas.plink import write_bed

SIZES = [11, 189]


@dataclass(frozen=True)
class Case:
    panel: Panel
    parts: list[tuple[pd.DataFrame, Path]]
    found: dict[str, Any]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    panel = make_panel(400, 60, missing=0.03, seed=9)
    panel.variants["chromosome"] = np.repeat(["1", "2", "MT"], [30, 20, 10])
    aged = ((panel.rows["age"] - 55) / 9).round(4)
    panel.rows["aged"] = aged
    panel.rows["female"] = (np.arange(400) % 3 == 0).astype(float)
    panel.genotypes[5] = np.random.default_rng(1).binomial(2, 0.4, 400)
    panel.rows["ldl"] = (panel.rows["ldl"] + 9 * aged.fillna(0) * panel.genotypes[5]).round(3)
    panel.rows["hdl"] = (panel.rows["ldl"] % 37).round(3)
    panel.genotypes[6, panel.rows["arm"] == "y"] = -1  # an arm without calls
    panel.genotypes[7] = -1
    parts = panel.deal(tmp_path_factory.mktemp("sites"), SIZES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ahead, "BLOCK", 25)
        found = scan(
            parts,
            fs.gwas.interaction,
            trait=["ldl", "hdl"],
            modifiers=["aged", "C(arm)"],
            covariates=["female"],
            disclose="aggregate",
        )
    return Case(panel, parts, found)


def test_pooled_regression(case: Case) -> None:
    """Also with an arm, and so an interaction, that has no calls: then there is no estimate."""
    rows = case.panel.rows
    arms = [(rows["arm"] == arm).to_numpy(float) for arm in ("y", "z")]
    modifiers = np.column_stack([rows["aged"], *arms])
    terms = ("g", "g:aged", "g:C(arm)[T.y]", "g:C(arm)[T.z]")
    tested = 0
    for trait, result in case.found.items():
        assert result.terms == terms
        assert len(result.to_frame()) == 60 * 4
        for rsid, its in result.to_frame().groupby("rsid"):
            number = case.panel.variants.index[case.panel.variants["rsid"] == rsid][0]
            calls = np.where(case.panel.genotypes[number] < 0, np.nan, case.panel.genotypes[number])
            if case.panel.variants["allele1"][number] != its["effect_allele"].iloc[0]:
                calls = 2 - calls
            if case.panel.variants["chromosome"][number] == "MT":
                calls = calls / 2
            x = np.column_stack([calls, calls[:, np.newaxis] * modifiers, modifiers, rows["female"]])
            keep = ~np.isnan(np.column_stack([x, rows[trait]])).any(axis=1)
            assert tuple(its["term"]) == terms
            x = np.column_stack([np.ones(keep.sum()), x[keep]])
            norm = x / np.maximum(np.linalg.norm(x, axis=0), 1e-300)
            if len(x) <= x.shape[1] or np.linalg.svd(norm, compute_uv=False)[-1] < 1e-6:
                assert its[["beta", "standard_error", "p_value"]].isna().all(axis=None)
                continue
            fit = sm.OLS(rows[trait][keep], x).fit()
            np.testing.assert_allclose(its["beta"], np.asarray(fit.params)[1:5], rtol=1e-8, atol=1e-7)
            np.testing.assert_allclose(its["standard_error"], np.asarray(fit.bse)[1:5], rtol=1e-8)
            np.testing.assert_allclose(its["p_value"], np.asarray(fit.pvalues)[1:5], rtol=1e-6)
            assert (its["n"] == keep.sum()).all()
            tested += 1
    assert tested > 60


def test_plink(case: Case, tmp_path: Path) -> None:
    """plink2 --glm omit-ref interaction --vif 100000 --max-corr 0.999999, as test_plink2 has it."""
    rows = case.panel.rows
    found = scan(
        case.parts, fs.gwas.interaction, disclose="aggregate", trait="ldl", modifiers=["aged", "female"]
    )
    write_bed(tmp_path / "all", case.panel.genotypes, case.panel.variants, rows[["iid"]])
    named = rows.rename(columns={"iid": "#IID"})
    named[["#IID", "ldl"]].rename(columns={"ldl": "modified"}).to_csv(
        tmp_path / "trait.txt", sep="\t", index=False
    )
    named[["#IID", "aged", "female"]].to_csv(tmp_path / "covariates.txt", sep="\t", index=False, na_rep="NA")
    plink(
        tmp_path,
        *["--glm", "omit-ref", "interaction", "--vif", "100000", "--max-corr", "0.999999"],
        *["--pheno", str(tmp_path / "trait.txt"), "--chr", "1,2"],
        *["--covar", str(tmp_path / "covariates.txt")],
    )
    theirs = table(tmp_path / "out.modified.glm.linear").reset_index()
    for term, name in (("g", "ADD"), ("g:aged", "ADDxaged"), ("g:female", "ADDxfemale")):
        its = theirs[(theirs["TEST"] == name) & theirs["BETA"].notna()].set_index("ID")
        ours = found.of(term).set_index("rsid").loc[its.index]
        assert len(its) > 20
        sign = np.where(ours["effect_allele"] == its["A1"], 1.0, -1.0)
        if name == "ADD":  # where the effect allele is the other one, g is 2 − g, and nothing else changes
            assert ours["beta"].notna().all()
        np.testing.assert_allclose(sign * ours["beta"], its["BETA"], rtol=PRINTED, atol=1e-6)
        np.testing.assert_allclose(ours["standard_error"], its["SE"], rtol=PRINTED)
        np.testing.assert_allclose(ours["p_value"], its["P"], rtol=2 * PRINTED)


def test_what_is_opened_and_kept(case: Case, tmp_path: Path) -> None:
    options: dict[str, Any] = {"trait": "ldl", "modifiers": ["scale(age)"], "ambiguous": "frequency"}
    options["disclose"] = "aggregate"
    result = scan(case.parts, fs.gwas.interaction, **options, checkpoints=tmp_path)
    declared = importlib.import_module("fedstats.gwas.interaction").DECLARATION
    assert result.leakage.labels == declared.aggregate.keys() | declared.published.keys()
    sizes = {its.label: its.size for its in result.leakage}
    kept = len(result.of("g"))
    assert sizes["variant sums"] == kept * (3 + (1 + 1) * 2 + 2)
    again = scan(case.parts, fs.gwas.interaction, **options, checkpoints=tmp_path)
    pd.testing.assert_frame_equal(again.to_frame(), result.to_frame(), check_exact=True)
    assert "variant sums" not in again.leakage.labels
    assert case.found["ldl"].cost.rounds == 12 + 3 * 4


def test_the_foremost_is_shown(case: Case) -> None:
    result = case.found["ldl"]
    assert result.of("g:aged").nlargest(1, "neg_log10_p")["rsid"].item() == "rs5"
    for part in ("Interactions of variants with aged, C(arm)[T.y]", "Genomic control λ of g:aged", "Cost"):
        assert part in result.summary()
    with pytest.raises(KeyError, match="none of the terms g, g:aged"):
        result.of("age")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modifiers": []}, "modifiers is a list of terms"),
        ({"modifiers": "aged"}, "modifiers is a list of terms"),
        ({"modifiers": ["weight"]}, "no site has a column 'weight'"),
        ({"modifiers": ["ldl"]}, "ldl is both trait and covariate"),
        ({"modifiers": ["0 + aged"]}, "take the intercept away"),
        ({"modifiers": ["aged"], "disclose": "gated", "threshold": 5}, "a P value between 0 and 1"),
    ],
)
def test_unusable_modifiers(case: Case, options: dict[str, Any], message: str) -> None:
    with pytest.raises(fs.DataError, match=message):
        everywhere(case.parts, fs.gwas.interaction, trait="ldl", **options)


def imputed(panel: Panel, number: int, sizes: list[int]) -> np.ndarray | None:
    """Return allele 1 in the rows that are used, missing calls at their site's mean, if all have one."""
    site = np.repeat(range(len(sizes)), sizes)
    used = panel.rows["aged"].notna().to_numpy()
    calls = np.where(panel.genotypes[number] < 0, np.nan, panel.genotypes[number])[used]
    site = site[used]
    known = np.bincount(site, ~np.isnan(calls), len(sizes))
    if (known == 0).any():
        return None
    mean = np.bincount(site, np.nan_to_num(calls), len(sizes)) / known
    return np.where(np.isnan(calls), mean[site], calls)


@pytest.mark.parametrize("sizes", [[11, 189, 200], [60, 5, 85, 130, 120]], ids=["3 sites", "5 sites"])
def test_on_shares(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: list[int]) -> None:
    """Nothing but estimates and their covariances is opened, of regressions with imputed calls."""
    monkeypatch.setattr(_ahead, "BLOCK", 25)
    panel = case.panel
    modifiers = ["aged", "female"] if len(sizes) == 3 else ["aged"]
    parts = panel.deal(tmp_path, sizes[:-1])
    options: dict[str, Any] = {"trait": ["ldl", "hdl"], "modifiers": modifiers, "checkpoints": tmp_path}
    found = scan(parts, fs.gwas.interaction, **options)
    rows = panel.rows[panel.rows["aged"].notna()]
    frame = found["ldl"].to_frame()
    assert len(frame) == 60 * (1 + len(modifiers))
    tested = 0
    for trait, result in found.items():
        for rsid, its in result.to_frame().groupby("rsid"):
            number = int(rsid[2:])
            calls = imputed(panel, number, sizes)
            if calls is None:
                assert its["beta"].isna().all()
                assert (its["n"] == 0).all()
                continue
            if panel.variants["allele1"][number] != its["effect_allele"].iloc[0]:
                calls = 2 - calls
            e = rows[modifiers].to_numpy()
            if its["beta"].isna().any():
                # Nothing but imputed calls tells the columns apart.
                g = np.rint(calls)[:, np.newaxis]
                columns = np.hstack([np.ones_like(g), g, g * e, e])
                assert its["beta"].isna().all()
                assert np.linalg.matrix_rank(columns) < columns.shape[1]
                continue
            x = np.column_stack([np.ones(len(e)), calls, calls[:, np.newaxis] * e, e])
            fit = sm.OLS(rows[trait].to_numpy(), x).fit()
            b, se = (np.asarray(part)[1 : 2 + len(modifiers)] for part in (fit.params, fit.bse))
            if panel.variants["chromosome"][number] == "MT":
                b, se = 2 * b, 2 * se
            # What is opened is rounded, which weighs more where little tells the columns apart.
            np.testing.assert_allclose(its["beta"], b, rtol=0, atol=1e-5 * se.max())
            np.testing.assert_allclose(its["standard_error"], se, rtol=1e-5)
            assert its["n"].unique() == len(rows)
            tested += 1
    assert tested > 60
    declared = importlib.import_module("fedstats.gwas.interaction").DECLARATION
    labels = found["ldl"].leakage.labels
    assert "associations" in labels
    assert labels <= declared.result.keys() | declared.published.keys()
    pairs = (1 + len(modifiers)) * (2 + len(modifiers)) // 2
    sizes_opened = {its.label: its.size for its in found["ldl"].leakage}
    assert sizes_opened["associations"] == 60 * (pairs + 2 * (1 + len(modifiers)))
    again = scan(parts, fs.gwas.interaction, **options)
    pd.testing.assert_frame_equal(again["hdl"].to_frame(), found["hdl"].to_frame(), check_exact=True)
    assert "associations" not in again["ldl"].leakage.labels


def left_by_covariates(case: Case, calls: np.ndarray, modifiers: list[str]) -> np.ndarray:
    """Return S of one variant, of modifiers in units of their standard deviations."""
    e = case.panel.rows.loc[case.panel.rows["aged"].notna(), modifiers].to_numpy()
    f = (e - e.mean(axis=0)) / e.std(axis=0)
    G, Z = np.column_stack([calls, calls[:, np.newaxis] * f]), np.column_stack([np.ones(len(f)), f])
    G = G - Z @ np.linalg.lstsq(Z, G, rcond=None)[0]
    return G.T @ G


@pytest.mark.parametrize("sizes", [[11, 189, 200], [60, 5, 85, 130, 120]], ids=["3 sites", "5 sites"])
def test_gated(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: list[int]) -> None:
    """What passes is what the results say, but for variants with too little beside their interactions."""
    monkeypatch.setattr(_ahead, "BLOCK", 25)
    threshold, few = 0.2, len(sizes) == 3
    modifiers = ["aged", "female"] if few else ["aged"]
    parts = case.panel.deal(tmp_path, sizes[:-1])
    options: dict[str, Any] = {"trait": ["ldl", "hdl"], "modifiers": modifiers}
    told = scan(parts, fs.gwas.interaction, **options)
    options |= {"disclose": "gated", "threshold": threshold, "checkpoints": tmp_path}
    found = scan(parts, fs.gwas.interaction, **options)
    size, opened, pairs, untested = 1 + len(modifiers), set(), 0, 0
    for trait, result in found.items():
        known = told[trait].to_frame()
        interactions = known[known["term"] != "g"]
        least = interactions.groupby("rsid")["p_value"].min()
        passing = set()
        for rsid in least.index[least < threshold]:
            S = left_by_covariates(case, imputed(case.panel, int(rsid[2:]), sizes), modifiers)
            squares = np.diag(S)
            determinant = np.linalg.det(S / np.sqrt(np.outer(squares, squares)))
            if squares.min() >= size * 0.02 * 64 and determinant >= 1 / 64:
                passing.add(rsid)
            else:
                untested += 1
        frame = result.to_frame()
        assert set(frame["rsid"]) == passing
        expected = known[known["rsid"].isin(passing)].reset_index(drop=True)
        assert frame["n"].unique() == expected["n"].max()
        # Both are rounded, at random in their last place.
        pd.testing.assert_frame_equal(frame, expected, rtol=1e-4, atol=1e-4)
        opened |= passing
        pairs += len(passing)
    assert 10 < pairs < 60
    assert untested > 0
    declared = importlib.import_module("fedstats.gwas.interaction").DECLARATION
    leakage = found["ldl"].leakage
    unused = {"transform sums", "transform squares", "transforms", "strands"}
    assert leakage.labels == (declared.gated.keys() | declared.published.keys()) - unused
    sizes_opened = {its.label: its.size for its in leakage}
    assert sizes_opened["passing"] == 60 * 2
    assert sizes_opened["associations"] == len(opened) * size * (size + 1) // 2 + pairs * size
    again = scan(parts, fs.gwas.interaction, **options)
    pd.testing.assert_frame_equal(again["hdl"].to_frame(), found["hdl"].to_frame(), check_exact=True)
    assert not {"passing", "associations"} & again["ldl"].leakage.labels
    # The checkpoint's round, and those of three blocks.
    more = found["ldl"].cost.rounds - told["ldl"].cost.rounds
    assert more == 1 + 3 * (68 if few else 70)


def test_nothing_passes(case: Case) -> None:
    """Then nothing but that is opened; and degrees of freedom are needed."""
    found = scan(
        case.parts,
        fs.gwas.interaction,
        trait="hdl",
        modifiers=["female"],
        disclose="gated",
        threshold=1e-9,
    )
    assert found.to_frame().empty
    assert {its.label for its in found.leakage} >= {"passing"}
    assert "associations" not in found.leakage.labels
    assert "Interactions of variants with female on hdl" in found.summary()
