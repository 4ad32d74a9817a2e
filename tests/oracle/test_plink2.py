"""Scans of three sites against PLINK 2 on the pooled file, to the six digits that it prints.

Where plink2 is not installed, what v2.00a3.5 (Debian 12) wrote stands in for it: `vectors/plink2`, by the
commands below.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gwas_helpers import Panel, make_panel, scan

import fedstats as fs
from fedstats.gwas.plink import write_bed

PLINK = shutil.which("plink2")
FROZEN = Path(__file__).parents[1] / "vectors" / "plink2"
#: Half a unit in the last of six digits.
PRINTED = 5.1e-6


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Autosomes, sex chromosomes and MT; men, women, and some of unknown sex."""
    panel = make_panel(400, 120, missing=0.03, seed=5)
    panel.variants["chromosome"] = np.repeat(["1", "2", "X", "Y", "MT"], [50, 40, 15, 10, 5])
    panel.rows["sex"] = np.arange(400) % 7 % 3
    panel.rows["age"] = panel.rows["age"].round(3)
    panel.rows["female"] = (panel.rows["sex"] == 2).astype(float)
    panel.rows["weight"] = (70 + panel.rows["age"].fillna(50) % 7 + 3 * panel.rows["female"]).round(3)
    panel.genotypes[60] = -1
    chance = 1 / (1 + np.exp(2.5 - np.maximum(panel.genotypes[2], 0) - panel.rows["female"]))
    panel.rows["case"] = (np.random.default_rng(6).random(400) < chance).astype(int)
    panel.genotypes[61] = np.where(panel.rows["case"] == 1, 0, panel.genotypes[61])  # separates
    # PLINK 2 counts heterozygous calls of men as half a copy; here, as in sound files, there are none.
    of_men = np.ix_(panel.variants["chromosome"].isin(["X", "Y"]), panel.rows["sex"] == 1)
    panel.genotypes[of_men] = np.where(panel.genotypes[of_men] == 1, 2, panel.genotypes[of_men])
    return panel


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory, panel: Panel) -> Path:
    folder = tmp_path_factory.mktemp("pooled")
    write_bed(folder / "all", panel.genotypes, panel.variants, panel.rows[["iid", "sex"]])
    table = panel.rows.rename(columns={"iid": "#IID"})
    table[["#IID", "ldl", "weight"]].to_csv(folder / "traits.txt", sep="\t", index=False)
    (table[["#IID"]].assign(case=table["case"] + 1)).to_csv(folder / "cases.txt", sep="\t", index=False)
    table[["#IID", "age", "female"]].to_csv(folder / "covariates.txt", sep="\t", index=False, na_rep="NA")
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, panel: Panel) -> list[tuple[pd.DataFrame, Path]]:
    return panel.deal(tmp_path_factory.mktemp("sites"), [90, 170])


def plink(folder: Path, *arguments: str) -> None:
    if PLINK is None:
        return
    command = [str(PLINK), "--bfile", str(folder / "all"), "--out", str(folder / "out"), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def plink_linear(folder: Path) -> None:
    plink(
        folder,
        *["--glm", "no-x-sex", "omit-ref", "hide-covar", "--pheno", str(folder / "traits.txt")],
        *["--covar", str(folder / "covariates.txt"), "--covar-variance-standardize"],
    )


def table(path: Path, *, key: str = "ID") -> pd.DataFrame:
    path = FROZEN / path.name if PLINK is None else path
    found = pd.read_csv(path, sep="\t", na_values=["."], dtype={"IID": str, "#IID": str})
    return found.rename(columns=lambda name: name.lstrip("#")).set_index(key)


def signs(found: pd.DataFrame, counted: pd.Series) -> np.ndarray:
    """+1 where PLINK counts the same allele, −1 where it counts the other."""
    return np.where(found["effect_allele"] == counted, 1.0, -1.0)


def test_linear(parts: list[tuple[pd.DataFrame, Path]], pooled: Path) -> None:
    found = scan(parts, trait=["ldl", "weight"], covariates=["age", "female"])
    plink_linear(pooled)
    for trait in ("ldl", "weight"):
        ours = found[trait].to_frame().set_index("rsid")
        theirs = table(pooled / f"out.{trait}.glm.linear").loc[ours.index]
        sign = signs(ours, theirs["A1"])
        tested = theirs["BETA"].notna().to_numpy()
        assert tested.sum() > 70
        assert ours["beta"].notna().to_numpy()[tested].all()
        assert (ours["n"] == theirs["OBS_CT"]).to_numpy()[tested].all()
        ours, theirs, sign = ours[tested], theirs[tested], sign[tested]
        np.testing.assert_allclose(ours["standard_error"], theirs["SE"], rtol=PRINTED)
        np.testing.assert_allclose(sign * ours["beta"], theirs["BETA"], rtol=PRINTED)
        np.testing.assert_allclose(sign * ours["t"], theirs["T_STAT"], rtol=PRINTED)
        np.testing.assert_allclose(ours["p_value"], theirs["P"], rtol=PRINTED)


def test_linear_on_shares(parts: list[tuple[pd.DataFrame, Path]], pooled: Path) -> None:
    """As above, of what is tested: on Y, where women have no calls, nothing is."""
    found = scan(parts, trait=["ldl", "weight"], covariates=["age", "female"], disclose="result")
    plink_linear(pooled)
    for trait in ("ldl", "weight"):
        ours = found[trait].to_frame().set_index("rsid")
        theirs = table(pooled / f"out.{trait}.glm.linear").loc[ours.index]
        both = ours["beta"].notna().to_numpy() & theirs["BETA"].notna().to_numpy()
        assert both.sum() > 70
        assert not ours["n"][ours["chromosome"] == "Y"].any()
        ours, theirs, sign = ours[both], theirs[both], signs(ours, theirs["A1"])[both]
        assert (ours["n"] == theirs["OBS_CT"]).all()
        np.testing.assert_allclose(ours["standard_error"], theirs["SE"], rtol=PRINTED)
        np.testing.assert_allclose(sign * ours["beta"], theirs["BETA"], rtol=PRINTED)
        np.testing.assert_allclose(ours["p_value"], theirs["P"], rtol=PRINTED)


def test_logistic(parts: list[tuple[pd.DataFrame, Path]], pooled: Path) -> None:
    found = scan(parts, fs.gwas.logistic, trait="case", covariates=["age", "female"], refit=1.0)
    ours = found.to_frame().set_index("rsid")
    plink(
        pooled,
        *["--glm", "no-x-sex", "omit-ref", "hide-covar", "firth-fallback", "--chr", "1,2,X,MT"],
        *["--pheno", str(pooled / "cases.txt"), "--covar", str(pooled / "covariates.txt")],
        "--covar-variance-standardize",
    )
    theirs = table(pooled / "out.case.glm.logistic.hybrid")
    theirs = theirs[theirs["OR"].notna()]
    ours = ours.loc[theirs.index]
    sign = signs(ours, theirs["A1"])
    np.testing.assert_array_equal(ours["test"] == "firth", theirs["FIRTH?"] == "Y")
    assert 5 < (ours["test"] == "firth").sum() < 40
    for penalised, rtol in ((False, 2e-5), (True, 2e-3)):  # PLINK ends the latter at 1e-4 or so
        these = (ours["test"] == "firth") == penalised
        mine, its = ours[these], theirs[these]
        np.testing.assert_allclose(mine["standard_error"], its["LOG(OR)_SE"], rtol=rtol)
        np.testing.assert_allclose(np.exp(sign[these] * mine["beta"]), its["OR"], rtol=rtol)
        np.testing.assert_allclose(mine["p_value"], its["P"], rtol=rtol)


def test_quality(parts: list[tuple[pd.DataFrame, Path]], pooled: Path, panel: Panel) -> None:
    ours = scan(parts, fs.gwas.qc).to_frame().set_index("rsid")
    plink(pooled, "--freq", "--hardy", "midp", "--missing", "--het", "--nonfounders")
    theirs = table(pooled / "out.afreq").loc[ours.index]
    frequency = np.where(ours["effect_allele"] == theirs["ALT"], theirs["ALT_FREQS"], 1 - theirs["ALT_FREQS"])
    np.testing.assert_allclose(ours["effect_allele_frequency"], frequency, rtol=PRINTED, atol=1e-6)
    np.testing.assert_array_equal(ours["allele_count"], theirs["OBS_CT"])
    theirs = table(pooled / "out.vmiss").loc[ours.index]
    np.testing.assert_allclose(1 - ours["call_rate"], theirs["F_MISS"], rtol=PRINTED, atol=1e-9)
    theirs = table(pooled / "out.hardy").drop("rs60")  # without calls, where we have no P value
    np.testing.assert_allclose(ours.loc[theirs.index, "hwe_p"], theirs["MIDP"], rtol=PRINTED)
    assert {*theirs.index} == set(ours.index[ours["hwe_p"].notna()])


def test_samples(parts: list[tuple[pd.DataFrame, Path]], pooled: Path) -> None:
    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> pd.DataFrame:
        cohort = federation.cohort(data[0], id="iid")
        return fs.gwas.qc(federation.genotypes(data[1]), cohort, disclose="aggregate").samples

    ours = pd.concat(fs.simulate(program, parts)).set_index("id")
    plink(pooled, "--missing", "--het", "--nonfounders")
    theirs = table(pooled / "out.het", key="IID")
    ours = ours.loc[theirs.index]
    np.testing.assert_allclose(ours["inbreeding"], theirs["F"], rtol=1e-5, atol=2e-6)
    missing = table(pooled / "out.smiss", key="IID")
    no_man = (missing["OBS_CT"] < missing["OBS_CT"].max()).to_numpy()  # for whom PLINK leaves out Y as well
    assert no_man.sum() > 100
    np.testing.assert_allclose((1 - ours["call_rate"])[no_man], missing["F_MISS"][no_man], rtol=1e-5)
