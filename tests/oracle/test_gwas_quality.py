"""Frequencies that differ between sites, and the strand of A/T and C/G variants that follows from them."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gwas_helpers import Panel, assert_equal_scan, everywhere, least_squares, make_panel, scan
from scipy import stats

import fedstats as fs
from fedstats.gwas import _ahead
from fedstats.gwas._heterozygotes import Heterozygotes
from fedstats.gwas._strands import CLEAR, ERRORS
from fedstats.gwas.qc import FINE

SIZES = [60, 140]
SITE = np.repeat([0, 1, 2], [*SIZES, 200])


@pytest.fixture(scope="module")
def panel() -> Panel:
    panel = make_panel(400, 80, seed=3)
    panel.variants["chromosome"] = np.repeat(["1", "X", "MT"], [60, 15, 5])
    panel.rows["sex"] = np.arange(400) % 2 + 1
    haploid = np.ix_(panel.variants["chromosome"] != "1", panel.rows["sex"] == 1)
    panel.genotypes[haploid] = np.where(panel.genotypes[haploid] == 1, 2, panel.genotypes[haploid])
    panel.genotypes[75:] = np.where(panel.genotypes[75:] == 1, 2, panel.genotypes[75:])
    panel.genotypes[5, SITE == 0] = -1  # no calls at one site
    panel.genotypes[6] = 0
    panel.genotypes[7] = np.where(SITE == 1, 2 - panel.genotypes[7], panel.genotypes[7])
    panel.genotypes[7][panel.genotypes[7] == 3] = -1
    return panel


def test_heterogeneity_is_pearsons(tmp_path: Path, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ahead, "BLOCK", 30)
    quality = scan(panel.deal(tmp_path, SIZES), fs.gwas.qc)
    found = quality.to_frame().set_index("rsid").loc[panel.variants["rsid"]]
    men = (panel.rows["sex"] == 1).to_numpy()
    for number, (chromosome, calls) in enumerate(
        zip(panel.variants["chromosome"], panel.genotypes, strict=True)
    ):
        per_person = np.where(men, 1, 2) if chromosome == "X" else np.ones(400) if chromosome == "MT" else 2.0
        copies = np.where(calls < 0, 0, calls) * per_person / 2
        alleles = (calls >= 0) * per_person
        table = np.array([np.bincount(SITE, copies), np.bincount(SITE, alleles - copies)])
        table = table[:, table.sum(axis=0) > 0]
        its = found.iloc[number]
        if (table.sum(axis=1) == 0).any():
            assert its["heterogeneity"] == 0
            continue
        expected = stats.chi2_contingency(table, correction=False)
        assert its["heterogeneity"] == pytest.approx(expected.statistic, abs=1.5 / FINE)
        p = stats.chi2.sf(its["heterogeneity"], table.shape[1] - 1)
        assert its["heterogeneity_p"] == pytest.approx(p, rel=1e-12)
    # Counted the other way round at one site, and nothing but that.
    lost = set(quality.passing(call_rate=0, maf=0, hwe=0)["base_pair_location"]) - set(
        quality.passing(call_rate=0, maf=0, hwe=0, heterogeneity=1e-6)["base_pair_location"]
    )
    assert lost == {panel.variants["base_pair_location"][7]}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Panel, fs.gwas.QCResult, fs.gwas.QCResult]:
    """Rates on shares of five sites, and counts: autosomes, X, Y and MT, some of them called by few."""
    panel = make_panel(1_000, 150, missing=0.03, seed=6)
    panel.variants["chromosome"] = np.repeat(["1", "X", "Y", "MT"], [110, 20, 10, 10])
    panel.rows["sex"] = 1 + np.arange(1_000) % 2
    random = np.random.default_rng(2)
    site = np.repeat(range(5), [6, 344, 250, 100, 300])
    for number in range(40):
        p = 0.3 + 0.004 * number * (site - 2)
        panel.genotypes[number] = random.binomial(2, np.clip(p, 0.0, 1.0))
    panel.genotypes[40] = -1
    panel.genotypes[41, 260:] = -1  # just enough calls, and not
    panel.genotypes[42, 240:] = -1
    panel.genotypes[43, :6] = -1  # none at one site
    panel.genotypes[44] = 1
    panel.genotypes[45] = np.where(panel.genotypes[45] == 1, 0, panel.genotypes[45])
    few = np.zeros(1_000, np.int8)
    few[[20, 150, 240, 241]] = 1  # fewer than a cell, of little more than a quarter of the calls
    few[260:] = -1
    panel.genotypes[46], panel.genotypes[47] = few, np.where(few < 0, few, 2 - few)
    panel.genotypes[48] = np.where(np.arange(1_000) < 1, 1, 2 * (np.arange(1_000) % 3 == 0))
    panel.genotypes[130] = 0  # on Y: no calls of two men, copies of three
    panel.genotypes[130, [[0, 2], [4, 6], [8, 10]]] = [[-1], [2], [2]]
    panel.genotypes[131] = 2
    panel.genotypes[131, 100] = 0
    parts = panel.deal(tmp_path_factory.mktemp("five"), [6, 344, 250, 100])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ahead, "BLOCK", 80)
        return panel, scan(parts, fs.gwas.qc, disclose="result"), scan(parts, fs.gwas.qc)


def test_rates_on_shares(both: tuple[Panel, fs.gwas.QCResult, fs.gwas.QCResult]) -> None:
    """To the nearest multiple of a unit what counts say, where calls are enough and the variant common."""
    _, on_shares, counted = both
    ours, exact = on_shares.to_frame(), counted.to_frame()
    assert [*ours] == [
        *["chromosome", "base_pair_location", "effect_allele", "other_allele", "rsid", "call_rate"],
        *["effect_allele_frequency", "hwe_p", "heterogeneity", "heterogeneity_p"],
    ]
    pd.testing.assert_frame_equal(ours[[*ours][:5]], exact[[*ours][:5]])
    kind = ours["chromosome"]
    members = np.where(kind == "Y", 500, 1_000)
    alleles = np.select([kind == "Y", kind == "X", kind == "MT"], [500, 1_500, 1_000], 2_000)
    for name, of in (("call_rate", members), ("effect_allele_frequency", alleles)):
        unit = pd.Series(2.0 ** -np.floor(np.log2(of / 5)), ours.index)
        assert (unit * of >= 5).all()
        told = ours[name].dropna()
        assert (told / unit[told.index] == np.rint(told / unit[told.index])).all()
        counts = exact.loc[told.index, ["effect_allele_count", "allele_count"]]
        rarer = np.minimum(counts.iloc[:, 0], counts.iloc[:, 1] - counts.iloc[:, 0])
        few = (rarer < 5) & (name == "effect_allele_frequency")
        expected = exact.loc[told.index, name]
        difference = abs(told - expected.where(~few, expected.round()))
        assert (difference <= 0.50001 * unit[told.index]).all()
        assert told.nunique() > 3
    enough = exact["allele_count"] >= 0.25 * alleles
    assert (ours["effect_allele_frequency"].notna() == enough).all()
    assert set(ours["rsid"][~enough]) == {"rs40", "rs42"}
    assert ours["call_rate"].notna().all()
    # Small counts are like none, however few calls there are, and on Y, of half of the samples.
    told = ours.set_index("rsid")
    few = exact.set_index("rsid").loc[["rs46", "rs47", "rs130", "rs131"], "effect_allele_frequency"]
    assert (few % 1 > 0).all()
    assert (told.loc[few.index, "effect_allele_frequency"] == few.round()).all()
    assert told.loc["rs130", "call_rate"] == 1
    assert told.loc["rs48", "hwe_p"] < 1e-200

    rarer = np.minimum(exact["effect_allele_count"], exact["allele_count"] - exact["effect_allele_count"])
    common = enough & (rarer / alleles >= np.sqrt(np.where(ours["chromosome"] == "MT", 5, 10) / alleles))
    told = ours["heterogeneity"].notna()
    assert (told == common).all()
    assert 50 < told.sum() < 120
    np.testing.assert_allclose(
        ours["heterogeneity"][told], exact["heterogeneity"][told], atol=0.5 / 16 + 3e-3
    )
    known = ours["hwe_p"].notna()
    assert (known == told & (ours["chromosome"] == "1")).all()
    its = exact[known]
    sizable = its["hwe_p"] > 1e-10
    change = np.exp(abs(np.log(ours["hwe_p"][known][sizable] / its["hwe_p"][sizable])))
    assert change.max() < 4
    assert change.median() < 1.2
    assert ours.set_index("rsid").loc["rs44", "hwe_p"] < 1e-200


def test_rates_are_what_is_opened(both: tuple[Panel, fs.gwas.QCResult, fs.gwas.QCResult]) -> None:
    _, on_shares, counted = both
    # Two for lists that differ, two for samples, the engine, and the end; and two blocks.
    assert on_shares.cost.rounds == 6 + 2 * 78
    declaration = importlib.import_module("fedstats.gwas.qc").DECLARATION
    labels = declaration.result.keys() | declaration.published.keys()
    assert on_shares.leakage.labels == labels - {"strands"}
    assert {its.label: its.size for its in on_shares.leakage}["rates"] == 150 * 4
    # What a site says of its own samples hardly differs.
    ours, exact = on_shares.samples, counted.samples
    same = ["id", "call_rate", "heterozygosity", "sex_mismatch"]
    pd.testing.assert_frame_equal(ours[same], exact[same])
    np.testing.assert_allclose(ours["inbreeding"], exact["inbreeding"], atol=0.03)
    assert "Frequency of 0" in on_shares.summary()
    good = {"call_rate": 0.9, "maf": 0.05, "hwe": 1e-6}
    alike = set(on_shares.passing(**good)["base_pair_location"]) ^ set(
        counted.passing(**good)["base_pair_location"]
    )
    assert len(alike) < 8
    with pytest.raises(fs.DataError, match=r"mac=3: no counts were opened"):
        on_shares.passing(mac=3)


@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_sexes_that_the_genotypes_contradict(tmp_path: Path, disclose: str) -> None:
    panel = make_panel(300, 200, seed=4)
    random = np.random.default_rng(5)
    panel.variants["chromosome"] = np.repeat(["1", "X"], [50, 150])
    frequency = random.uniform(0.2, 0.5, (200, 1))
    panel.genotypes[:] = random.binomial(2, frequency, (200, 300))
    male = np.arange(300) % 2 == 0
    panel.genotypes[50:, male] = 2 * random.binomial(1, frequency[50:], (150, 150))
    panel.genotypes[random.random((200, 300)) < 0.02] = -1
    panel.rows["sex"] = np.where(male, 1, 2)
    wrong = [4, 7, 120, 205]
    panel.rows.loc[wrong, "sex"] = 3 - panel.rows.loc[wrong, "sex"]
    panel.rows.loc[[9, 10], "sex"] = 0
    found = pd.concat(
        its.samples for its in everywhere(panel.deal(tmp_path, SIZES), fs.gwas.qc, disclose=disclose)
    ).set_index("id")
    names = panel.rows["iid"]
    assert set(found.index[found["sex_mismatch"]]) == set(names[wrong])
    of_men = found.loc[names[male], "x_inbreeding"]
    assert (of_men == 1).all()
    assert found.loc[names[~male], "x_inbreeding"].abs().max() < 0.5


def test_what_is_not_expected_is_no_outbreeding() -> None:
    tally = Heterozygotes(2)
    tally.add(np.array([[1, 0], [1, 1], [0, -1]], np.int8), np.array([0.0, 0.5, 0.5]))
    assert tally.observed.tolist() == [2, 1]
    assert tally.inbreeding().tolist() == [0, -1]


def test_no_men_have_no_calls_on_y(tmp_path: Path) -> None:
    panel = make_panel(40, 4, seed=1)
    panel.variants["chromosome"] = ["1", "X", "Y", "Y"]
    panel.rows["sex"] = 2
    parts = panel.deal(tmp_path, [10, 10])
    for disclose in ("aggregate", "result"):
        found = scan(parts, fs.gwas.qc, disclose=disclose).to_frame()
        assert (found["call_rate"].isna() == (found["chromosome"] == "Y")).all()


def test_filters(tmp_path: Path, panel: Panel) -> None:
    quality = scan(panel.deal(tmp_path, SIZES), fs.gwas.qc)
    table = quality.to_frame()
    rarer = np.minimum(table["effect_allele_count"], table["allele_count"] - table["effect_allele_count"])
    for options, kept in (
        (
            {"maf": 0.05},
            np.minimum(table["effect_allele_frequency"], 1 - table["effect_allele_frequency"]) >= 0.05,
        ),
        ({"maf": 0, "mac": 10}, rarer >= 10),
        ({"maf": 0, "call_rate": 0.98}, table["call_rate"] >= 0.98),
    ):
        found = quality.passing(**{"call_rate": 0, "hwe": 0, **options})
        assert 0 < len(found) < 80
        assert list(found.index) == list(table.index[kept])


def test_a_reference_in_another_order(tmp_path: Path, panel: Panel) -> None:
    """Alleles exchanged, on the other strand, and some variants absent."""
    quality = scan(panel.deal(tmp_path, SIZES), fs.gwas.qc)
    own = quality.to_frame()
    reference = own.iloc[::-1].iloc[:60].copy()
    names = ["effect_allele", "other_allele"]
    exchanged = np.arange(60) % 3 == 0
    reference.loc[exchanged, names] = reference.loc[exchanged, names[::-1]].to_numpy()
    reference["effect_allele_frequency"] += 0.0625
    frequency = reference["effect_allele_frequency"]
    reference["effect_allele_frequency"] = np.where(exchanged, 1 - frequency, frequency)
    told = ~(reference["effect_allele"] + reference["other_allele"]).isin(["AT", "TA", "CG", "GC"])
    for name in names:
        other = reference[name].map(dict(zip("ACGT", "TGCA", strict=True)))
        reference[name] = reference[name].where(~(told & (np.arange(60) % 2 == 0)), other)
    found = quality.compare(reference.drop(columns="rsid"))
    pd.testing.assert_frame_equal(
        found[["rsid", *names]], own[["rsid", *names]].iloc[20:].reset_index(drop=True)
    )
    np.testing.assert_allclose(found["difference"].dropna(), -0.0625, rtol=1e-12)
    assert quality.plot_reference(reference).get_ylabel() == "Allele frequency"


def of_strands(frequencies: list[float]) -> Panel:
    """Variants with an A/T or C/G pair each, and one that tells its strand."""
    panel = make_panel(400, len(frequencies), missing=0.01)
    random = np.random.default_rng(1)
    panel.genotypes[:] = random.binomial(2, np.array(frequencies)[:, np.newaxis], panel.genotypes.shape)
    panel.genotypes[random.random(panel.genotypes.shape) < 0.01] = -1
    panel.variants[["chromosome", "allele1", "allele2"]] = "1", "A", "T"
    panel.variants.loc[1::3, ["allele1", "allele2"]] = "G", "C"
    panel.variants.loc[len(frequencies) - 1, ["allele1", "allele2"]] = "A", "C"
    return panel


def flipped(parts: list[tuple[pd.DataFrame, Path]], site: int, which: list[str]) -> None:
    """Write some variants of a site's file on the other strand."""
    bim = parts[site][1].with_suffix(".bim")
    table = pd.read_csv(bim, sep="\t", header=None, dtype=str)
    for column in (4, 5):
        other = table[column].map(dict(zip("ACGT", "TGCA", strict=True)))
        table[column] = table[column].where(~table[1].isin(which), other)
    table.to_csv(bim, sep="\t", header=False, index=False)


FREQUENCIES = [0.1, 0.2, 0.8, 0.35, 0.5, 0.65, 0.25, 0.02, 0.5]


@pytest.mark.parametrize("site", [0, 1, 2])
@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_the_strand_of_the_majority(tmp_path: Path, site: int, disclose: str) -> None:
    """Whichever site stands on the other strand, also the one whose letters the result has."""
    panel = of_strands(FREQUENCIES)
    parts = panel.deal(tmp_path, SIZES)
    flipped(parts, site, ["rs0", "rs1", "rs2", "rs6", "rs8"])
    design = np.ones((400, 1))
    options = {"trait": "ldl", "disclose": disclose, "missing": "impute"}
    right = scan(parts, **options, ambiguous="frequency")
    missing = {"missing": "impute", "site": SITE if disclose == "result" else None, "intercepts": False}
    expected = least_squares(panel, "ldl", design, **missing)
    table = right.to_frame()
    assert set(table["rsid"]) >= {"rs0", "rs1", "rs2", "rs6", "rs7", "rs8"}
    # As of allele 1 of the pooled panel, by the letters of the majority.
    assert_equal_scan(table, panel, expected, rtol=3e-6 if disclose == "result" else 1e-9, of_error=2.0)

    dropped = right.reconciled.dropped
    assert "rs4" in set(dropped["rsid"])
    assert set(dropped["reason"]) == {"frequency near one half"}
    assert right.reconciled.counts["frequency near one half"] == len(dropped)
    calls = np.ma.masked_less(panel.genotypes, 0)
    clear = [True] * len(FREQUENCIES)
    for at in range(3):
        here = calls[:, at == SITE]
        off = np.abs(here.mean(axis=1) / 2 - 0.5)
        clear &= off >= np.maximum(CLEAR, ERRORS * np.sqrt(0.125 / here.count(axis=1)))
    assert set(dropped["rsid"]) == {f"rs{number}" for number in range(8) if not clear[number]}

    wrong = scan(parts, **options).to_frame().set_index("rsid")
    assert (
        abs(wrong.loc["rs0", "standard_error"] / table.set_index("rsid").loc["rs0", "standard_error"] - 1)
        > 0.05
    )


def test_every_site_learns_its_own_strand_alone(tmp_path: Path) -> None:
    parts = of_strands(FREQUENCIES).deal(tmp_path, SIZES, alike=True)
    flipped(parts, 1, ["rs0", "rs1"])
    found = everywhere(parts, fs.gwas.qc, ambiguous="frequency", disclose="aggregate")
    flips = [int(its.reconciled.flip["site2"].sum()) for its in found]
    # By its letters the file of site2 counts the other allele; only there it is known that it does not.
    assert flips == [2, 0, 2]
    assert len({its.to_frame().to_csv() for its in found}) == 1


def test_a_tie_and_a_site_without_calls(tmp_path: Path) -> None:
    panel = of_strands([0.1, 0.1, 0.1, 0.1])
    panel.genotypes[:2, SITE == 0] = -1  # abstains: one says this, one that
    parts = panel.deal(tmp_path, SIZES)
    flipped(parts, 1, ["rs0"])
    found = scan(parts, fs.gwas.qc, ambiguous="frequency")
    assert dict(found.reconciled.dropped[["rsid", "reason"]].to_numpy()) == {"rs0": "ambiguous strand"}


def test_nothing_but_ambiguous_variants_near_one_half(tmp_path: Path) -> None:
    panel = of_strands([0.5, 0.5, 0.5])
    panel.variants[["allele1", "allele2"]] = "A", "T"
    with pytest.raises(fs.DataError, match="frequencies do not tell their strand"):
        scan(panel.deal(tmp_path, SIZES), fs.gwas.pca, ambiguous="frequency", components=1)
    with pytest.raises(fs.DataError, match="'keep', 'drop', 'frequency'"):
        scan(panel.deal(tmp_path, SIZES), fs.gwas.qc, ambiguous="guess")
