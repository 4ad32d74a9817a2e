"""Polygenic scores against PLINK 2 and against sums over the pooled genotypes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from gwas_helpers import Panel, everywhere, make_panel
from sklearn.metrics import roc_auc_score
from test_plink2 import plink, table

import fedstats as fs
from fedstats.gwas import _ahead, score
from fedstats.gwas.plink import write_bed

SIZES = [60, 140]


@pytest.fixture(scope="module")
def panel() -> Panel:
    panel = make_panel(300, 90, missing=0.03, seed=4)
    panel.variants["chromosome"] = np.repeat(["1", "2"], [50, 40])
    panel.genotypes[0, :60] = -1  # no calls at one site
    return panel


@pytest.fixture(scope="module")
def weights(panel: Panel) -> pd.DataFrame:
    """For some variants, of either allele; with the frequencies of the pooled calls."""
    random = np.random.default_rng(3)
    calls = np.ma.masked_less(panel.genotypes, 0)
    table = panel.variants.rename(columns={"allele1": "effect_allele", "allele2": "other_allele"})
    table = table.assign(beta=random.normal(size=90), effect_allele_frequency=calls.mean(axis=1) / 2)
    other = random.random(90) < 0.4
    names = ["effect_allele", "other_allele"]
    table.loc[other, names] = table.loc[other, names[::-1]].to_numpy()
    table.loc[other, "effect_allele_frequency"] = 1 - table.loc[other, "effect_allele_frequency"]
    return table.iloc[random.permutation(90)[:70]]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, panel: Panel) -> list[tuple[pd.DataFrame, Path]]:
    return panel.deal(tmp_path_factory.mktemp("sites"), SIZES)


def pooled(results: list[Any]) -> pd.DataFrame:
    """Return all sites' scores in one table, as no site ever sees them."""
    return pd.concat([its.scores for its in results]).set_index("id").sort_index()


def counted(panel: Panel, weights: pd.DataFrame) -> np.ndarray:
    """Copies of the weights' effect alleles, NaN where missing: shape (weights, samples)."""
    known = panel.variants.reset_index().set_index("rsid").loc[weights["rsid"]]
    calls = np.where(panel.genotypes < 0, np.nan, panel.genotypes)[known["index"]]
    same = (known["allele1"].to_numpy() == weights["effect_allele"].to_numpy())[:, np.newaxis]
    return np.where(same, calls, 2 - calls)


def test_plink(parts, panel: Panel, weights: pd.DataFrame, tmp_path: Path, monkeypatch) -> None:
    """plink2 --bfile all --score weights.txt 1 2 3 header cols=+scoresums"""
    monkeypatch.setattr(_ahead, "BLOCK", 30)
    results = everywhere(parts, fs.gwas.score, weights=weights)
    ours = pooled(results)
    write_bed(tmp_path / "all", panel.genotypes, panel.variants, panel.rows[["iid"]])
    weights[["rsid", "effect_allele", "beta"]].to_csv(tmp_path / "weights.txt", sep="\t", index=False)
    plink(tmp_path, "--score", str(tmp_path / "weights.txt"), "1", "2", "3", "header", "cols=+scoresums")
    theirs = table(tmp_path / "out.sscore", key="IID")["SCORE1_SUM"].loc[ours.index]
    np.testing.assert_allclose(ours["score"], theirs, rtol=2e-5, atol=2e-5)

    z = (ours["score"] - ours["score"].mean()) / ours["score"].std()
    np.testing.assert_allclose(ours["z"], z, rtol=1e-9, atol=1e-12)
    assert {its.nobs for its in results} == {300}
    assert results[0].mean == pytest.approx(ours["score"].mean(), rel=1e-12)
    np.testing.assert_allclose(
        ours["call_rate"], (~np.isnan(counted(panel, weights))).mean(axis=0), rtol=1e-12
    )
    frame = results[1].to_frame().merge(weights, on="rsid", suffixes=("", "_given"))
    assert len(frame) == 70
    assert (frame["effect_allele"] == frame["effect_allele_given"]).all()
    assert (frame["weight"] == frame["beta"]).all()


def test_frequencies_of_the_site_and_no_copies(parts, panel: Panel, weights: pd.DataFrame) -> None:
    copies = counted(panel, weights)
    w = weights["beta"].to_numpy()
    plain = weights.drop(columns="effect_allele_frequency")
    found = pooled(everywhere(parts, fs.gwas.score, weights=plain, missing="zero"))
    np.testing.assert_allclose(found["score"], w @ np.nan_to_num(copies), rtol=1e-10, atol=1e-12)
    found = pooled(everywhere(parts, fs.gwas.score, weights=plain))
    expected = []
    for part in np.split(copies, np.cumsum(SIZES), axis=1):
        mean = np.ma.masked_invalid(part).mean(axis=1).filled(0.0)
        expected.append(w @ np.where(np.isnan(part), mean[:, np.newaxis], part))
    np.testing.assert_allclose(found["score"], np.concatenate(expected), rtol=1e-10, atol=1e-12)


def test_what_is_opened_and_what_is_not_used(parts, weights: pd.DataFrame) -> None:
    given = pd.concat([weights, weights.iloc[[0]].assign(beta=2.0)])
    given.iloc[1, given.columns.get_loc("beta")] = np.nan
    given.iloc[2, given.columns.get_loc("base_pair_location")] = 7
    given.iloc[3, given.columns.get_loc("effect_allele")] = "TTT"
    given.iloc[4, given.columns.get_loc("other_allele")] = None
    result = everywhere(parts, fs.gwas.score, weights=given, ambiguous="frequency")[2]
    declared = score.__globals__["DECLARATION"]
    assert result.leakage.labels == declared.result.keys() | declared.published.keys()
    assert result.cost.rounds == 2 + 2 + 2 + 2 + 2 + 1
    sizes = {its.label: its.size for its in result.leakage if its.kind == "pooled"}
    assert (sizes["samples"], sizes["mean"], sizes["variance"]) == (1, 1, 1)
    reasons = result.dropped.groupby("reason")["base_pair_location"].agg(list)
    place = weights["base_pair_location"].tolist()
    assert reasons["listed twice"] == [place[0]] * 2
    assert reasons["no weight"] == [place[1]]
    assert 7 in reasons["absent at a site"]
    assert place[3] in reasons["other alleles at a site"]
    assert place[4] in set(result.to_frame()["base_pair_location"])  # the sites know the other allele
    for part in ("Polygenic score", "Not used: no weight", "Cost: "):
        assert part in result.summary()
    assert "00001" not in repr(result)


def test_sex_chromosomes(tmp_path: Path) -> None:
    panel = make_panel(120, 30, missing=0.0)
    panel.variants["chromosome"] = np.repeat(["X", "Y", "MT"], 10)
    panel.rows["sex"] = np.arange(120) % 2 + 1
    panel.genotypes[panel.genotypes == 1] = 2
    weights = panel.variants.rename(columns={"allele1": "effect_allele", "allele2": "other_allele"})
    weights = weights.assign(effect=np.linspace(-1, 1, 30))
    results = everywhere(panel.deal(tmp_path, [40, 40]), fs.gwas.score, weights=weights, weight="effect")
    copies = panel.genotypes * np.repeat([1.0, 0.0, 0.5], 10)[:, np.newaxis]
    np.testing.assert_allclose(pooled(results)["score"], weights["effect"].to_numpy() @ copies, rtol=1e-12)
    assert results[0].dropped["reason"].tolist() == ["chromosome Y"] * 10


def test_r2_and_auc(parts, panel: Panel, weights: pd.DataFrame) -> None:
    """Of a trait that depends on the score; some rows have no covariate, and some no score."""
    random = np.random.default_rng(8)
    true = weights["beta"].to_numpy() @ np.nan_to_num(counted(panel, weights))
    age = panel.rows["age"].fillna(50).to_numpy()
    ldl = pd.Series(true + random.normal(scale=3, size=300) + 0.05 * age, panel.rows["iid"])
    case = (ldl > ldl.median()).astype(int)
    own = [
        (rows.assign(ldl=ldl[rows["iid"]].to_numpy(), case=case[rows["iid"]].to_numpy()), bed)
        for rows, bed in parts
    ]

    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> Any:
        rows, bed = data
        scored = fs.gwas.score(
            federation.genotypes(bed), federation.cohort(rows.iloc[3:], id="iid"), weights, missing="zero"
        )
        cohort = federation.cohort(rows, id="iid")
        return scored, scored.r2(cohort, "ldl", ["age"]), scored.r2(cohort, "ldl"), scored.auc(cohort, "case")

    found = fs.simulate(program, own)
    scores = pooled([its[0] for its in found])["score"]
    rows = panel.rows.set_index("iid").loc[scores.index].assign(score=scores, ldl=ldl, case=case)
    complete = rows.dropna(subset="age")
    both = sm.OLS(complete["ldl"], sm.add_constant(complete[["score", "age"]])).fit().rsquared
    without = sm.OLS(complete["ldl"], sm.add_constant(complete[["age"]])).fit().rsquared
    alone = sm.OLS(rows["ldl"], sm.add_constant(rows[["score"]])).fit().rsquared
    _, adjusted, plain, roc = found[0]
    np.testing.assert_allclose(
        adjusted.loc[["all", "covariates", "score"]], [both, without, both - without], rtol=1e-6
    )
    np.testing.assert_allclose(plain.loc[["all", "covariates", "score"]], [alone, 0.0, alone], rtol=1e-6)
    assert roc.auc == pytest.approx(roc_auc_score(rows["case"], rows["score"]), rel=1e-12)
    assert roc.nobs == 300 - 9


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda w: w.drop(columns="beta"), {}, "no column 'beta'"),
        (lambda w: w.assign(beta="x"), {}, "'beta' holds no numbers"),
        (lambda w: w.assign(beta=np.inf), {}, "'beta' has infinite values"),
        (lambda w: w.assign(effect_allele=None), {}, "without chromosome, position or effect allele"),
        (lambda w: w.assign(base_pair_location=5), {}, "none of the 70 weights"),
        (lambda w: w.iloc[:0], {}, "none of the 0 weights"),
        (lambda w: w.to_dict(), {}, "weights is a data frame"),
        (lambda w: w, {"missing": "drop"}, "'mean' or 'zero'"),
    ],
)
def test_unusable_weights(
    parts, weights: pd.DataFrame, change: Callable[[pd.DataFrame], Any], options: dict[str, str], message: str
) -> None:
    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> None:
        cohort, genotypes = federation.cohort(data[0], id="iid"), federation.genotypes(data[1])
        with pytest.raises(fs.DataError, match=message):
            fs.gwas.score(genotypes, cohort, change(weights), **options)

    fs.simulate(program, parts)


def test_weights_that_differ_between_sites(parts, weights: pd.DataFrame) -> None:
    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> None:
        cohort, genotypes = federation.cohort(data[0], id="iid"), federation.genotypes(data[1])
        own = weights.assign(beta=weights["beta"] + (federation.site == "site2"))
        with pytest.raises(fs.DataError, match="different analyses"):
            fs.gwas.score(genotypes, cohort, own)

    fs.simulate(program, parts)
