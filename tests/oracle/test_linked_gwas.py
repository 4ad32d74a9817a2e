"""Scans of linked columns: of each variant comes out what a regression of the joined rows gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from gwas_helpers import Panel, make_panel, swapped

import fedstats as fs
from fedstats.gwas._linear_model import LEAST
from fedstats.gwas.plink import write_bed
from fedstats.vertical import gwas, variants

SAMPLES, VARIANTS = 300, 200
#: Estimates differ by less than this part of a standard error, and standard errors by this part of them.
CLOSE = 1e-6
COVARIATES = ["age", "C(sex)", "bmi", "pc1"]


@dataclass(frozen=True)
class Case:
    panel: Panel
    sites: list[tuple[pd.DataFrame, Path | None]]
    found: list[dict[str, Any]]


def make_sites(folder: Path) -> tuple[Panel, list[tuple[pd.DataFrame, Path | None]]]:
    """Make a clinic, a laboratory, and a biobank that has genotypes of most of its rows."""
    panel = make_panel(SAMPLES, VARIANTS, seed=8)
    random = np.random.default_rng(9)
    rows = panel.rows
    rows["name"] = [f"patient {number}" for number in range(SAMPLES)]
    rows["sex"] = random.choice(["f", "m"], SAMPLES)
    rows["bmi"] = np.where(random.random(SAMPLES) < 0.05, np.nan, random.normal(27, 4, SAMPLES))
    rows["pc1"] = random.normal(0, 0.01, SAMPLES)
    panel.genotypes[5] = random.binomial(2, 0.3, SAMPLES)
    panel.genotypes[6] = np.where(np.arange(SAMPLES) < 7, -1, 2)  # does not vary
    panel.genotypes[7, :] = -1
    rows["ldl"] += 8 * panel.genotypes[5]
    rows["case"] = (random.random(SAMPLES) < 1 / (1 + np.exp(1 - 0.9 * panel.genotypes[5]))).astype(int)
    clinic = rows[["name", "age", "sex", "ldl", "case"]].sample(frac=0.95, random_state=1)
    laboratory = rows[["name", "bmi"]].sample(frac=0.95, random_state=2)
    biobank = rows[["name", "iid", "pc1"]].sample(frac=0.95, random_state=3)
    genotyped = np.sort(random.choice(SAMPLES, 280, replace=False))
    swap = random.random(VARIANTS) < 0.3
    path = folder / "biobank.bed"
    listed, calls = swapped(panel.variants, panel.genotypes[:, genotyped], swap)
    write_bed(path.with_suffix(""), calls, listed, rows.iloc[genotyped][["iid"]])
    kept = biobank["iid"].isin(rows["iid"].iloc[genotyped])
    return Panel(
        panel.genotypes, listed.assign(swap=swap), rows.assign(kept=rows["iid"].isin(biobank["iid"][kept]))
    ), [
        (clinic, None),
        (laboratory, None),
        (biobank, path),
    ]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    panel, sites = make_sites(tmp_path_factory.mktemp("biobank"))

    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path | None]) -> dict[str, Any]:
        rows, path = data
        cohort = federation.cohort(rows, partition="vertical", on="name", id="iid")
        genotypes = federation.genotypes(path)
        linear = fs.gwas.linear(genotypes, cohort, trait="ldl", missing="impute", covariates=COVARIATES)
        some = linear.to_frame().iloc[[3, 5, 50]]
        return {
            "cohort": cohort,
            "linear": linear,
            "alone": fs.gwas.linear(genotypes, cohort, trait="log(ldl)", missing="impute", variants=some),
            "logistic": fs.gwas.logistic(genotypes, cohort, trait="case", covariates=COVARIATES),
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variants, "HELD", 90 * SAMPLES)  # three blocks
        return Case(panel, sites, fs.simulate(program, sites))


def joined(case: Case, columns: list[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the rows that count, and their genotypes about the mean of the biobank's calls."""
    tables = [table for table, _ in case.sites]
    rows = tables[0].merge(tables[1], on="name").merge(tables[2], on="name")
    rows = rows.dropna(subset=columns)
    order = {name: place for place, name in enumerate(case.panel.rows["iid"])}
    kept = case.panel.rows["kept"].to_numpy()
    calls = case.panel.genotypes.astype(float)
    calls[calls < 0] = np.nan
    swap = case.panel.variants["swap"].to_numpy()
    calls[swap] = 2 - calls[swap]
    of_biobank = calls[:, kept]
    called = np.maximum((~np.isnan(of_biobank)).sum(axis=1), 1)
    calls -= (np.nansum(of_biobank, axis=1) / called)[:, np.newaxis]
    places = [order[name] for name in rows["iid"] if kept[order[name]]]
    rows = rows[[kept[order[name]] for name in rows["iid"]]]
    return rows, np.nan_to_num(calls[:, places])


def in_order_of_file(case: Case, table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("rsid").loc[case.panel.variants["rsid"]]


def test_linear_is_the_regression_of_the_joined_rows(case: Case) -> None:
    result = case.found[0]["linear"]
    rows, g = joined(case, ["ldl", "age", "bmi"])
    assert result.nobs == len(rows)
    table = in_order_of_file(case, result.to_frame())
    null = smf.ols("ldl ~ age + C(sex) + bmi + pc1", rows)
    q, _ = np.linalg.qr(null.exog)
    y = rows["ldl"].to_numpy()
    left, rest = g - (g @ q) @ q.T, y - q @ (q.T @ y)
    squares = (left**2).sum(axis=1)
    varies = squares > LEAST
    assert table["p_value"].notna().tolist() == varies.tolist()
    assert varies.sum() > 100
    assert not varies[[6, 7]].any()
    beta = (left @ rest)[varies] / squares[varies]
    df = len(rows) - q.shape[1] - 1
    assert result.df_resid == df
    error = np.sqrt((rest @ rest - beta**2 * squares[varies]) / df / squares[varies])
    np.testing.assert_allclose(table["standard_error"][varies], error, rtol=CLOSE)
    assert np.abs((table["beta"][varies] - beta) / error).max() < CLOSE
    assert table["effect_allele_frequency"].isna().all()
    # One of them through statsmodels as a whole.
    fit = smf.ols("ldl ~ age + C(sex) + bmi + pc1 + g", rows.assign(g=g[5])).fit()
    one = table.iloc[5]
    np.testing.assert_allclose(
        [one["beta"], one["standard_error"], one["t"], one["p_value"]],
        [fit.params["g"], fit.bse["g"], fit.tvalues["g"], fit.pvalues["g"]],
        rtol=1e-5,
    )


def test_a_scan_without_covariates_of_some_variants(case: Case) -> None:
    result = case.found[0]["alone"]
    rows, g = joined(case, ["ldl"])
    assert result.nobs == len(rows)
    table = result.to_frame()
    assert len(table) == 3
    places = case.panel.variants.set_index("rsid").index.get_indexer(table["rsid"])
    for place, (_, one) in zip(places, table.iterrows(), strict=True):
        if np.ptp(g[place]):
            fit = smf.ols("np.log(ldl) ~ g", rows.assign(g=g[place])).fit()
            np.testing.assert_allclose(
                [one["beta"], one["standard_error"]], [fit.params["g"], fit.bse["g"]], rtol=1e-5
            )


def test_logistic_is_the_score_test_of_the_joined_rows(case: Case) -> None:
    result = case.found[0]["logistic"]
    rows, g = joined(case, ["case", "age", "bmi"])
    assert (result.nobs, result.n_cases) == (len(rows), rows["case"].sum())
    table = in_order_of_file(case, result.to_frame())
    fit = smf.logit("case ~ age + C(sex) + bmi + pc1", rows).fit(disp=False, tol=1e-14)
    mu = fit.predict(rows).to_numpy()
    w = mu * (1 - mu)
    q, _ = np.linalg.qr(np.sqrt(w)[:, np.newaxis] * fit.model.exog)
    weighted = np.sqrt(w) * g
    variance = (weighted**2).sum(axis=1) - ((weighted @ q) ** 2).sum(axis=1)
    score = g @ (rows["case"].to_numpy() - mu)
    varies = variance > LEAST
    assert table["p_value"].notna().tolist() == varies.tolist()
    np.testing.assert_allclose(table["standard_error"][varies], variance[varies] ** -0.5, rtol=CLOSE)
    assert np.abs(table["z"][varies] - score[varies] / np.sqrt(variance[varies])).max() < CLOSE
    assert set(table["test"][varies]) == {"score", "binomial"}
    assert table["p_value"].iloc[5] < 0.01


def test_all_sites_get_the_same_and_no_more_than_declared(case: Case) -> None:
    for name, declaration in {"linear": gwas.LINEAR, "logistic": gwas.LOGISTIC}.items():
        first, *others = (its[name] for its in case.found)
        for other in others:
            pd.testing.assert_frame_equal(other.to_frame(), first.to_frame(), check_exact=True)
        assert first.leakage.labels == declaration.result.keys() | declaration.published.keys()
        sizes = {reveal.label: reveal.size for reveal in first.leakage}
        assert sizes["associations"] == 2 * VARIANTS


def test_cost(case: Case) -> None:
    cohort = case.found[0]["cohort"]
    linear, logistic = case.found[2]["linear"], case.found[2]["logistic"]
    assert linear.cost.rounds < 200
    assert logistic.cost.rounds < 1_500
    shared = 32 * VARIANTS * cohort.size
    assert shared < linear.cost.bytes_sent < shared + 3e6
    assert case.found[0]["linear"].cost.bytes_sent < 3e6


# What cannot be done


REFUSED: list[tuple[Callable[[Any, Any], object], str]] = [
    (lambda g, c: fs.gwas.linear(g, c, trait="ldl"), "have missing='impute'"),
    (
        lambda g, c: fs.gwas.linear(g, c, trait="ldl", missing="impute", site_intercepts=True),
        "no intercepts of sites",
    ),
    (lambda g, c: fs.gwas.linear(g, c, trait=["ldl", "age"], missing="impute"), "has one trait"),
    (
        lambda g, c: fs.gwas.linear(g, c, trait="ldl", missing="impute", disclose="aggregate"),
        "it offers 'result'",
    ),
    (lambda g, c: fs.gwas.linear(g, c, trait="sex", missing="impute"), "is categorical"),
    (
        lambda g, c: fs.gwas.linear(g, c, trait="age", missing="impute", covariates=["I(2 * age)"]),
        "explain the trait",
    ),
    (lambda g, c: fs.gwas.logistic(g, c, trait="ldl"), "is 0 or 1"),
    (lambda g, c: fs.gwas.logistic(g, c, trait="case", refit=0.1), "have score tests alone"),
    (lambda g, c: fs.gwas.qc(g, c), "needs whole rows"),
]


@pytest.fixture(scope="module")
def said(case: Case) -> list[list[str]]:
    """What each site says to each call, one after the other in one session."""
    return refused(case.sites, *(program for program, _ in REFUSED))


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=[message for _, message in REFUSED])
def test_what_is_refused(said: list[list[str]], number: int) -> None:
    assert any(REFUSED[number][1] in its[number] for its in said)


def test_genotypes_are_at_one_site(case: Case) -> None:
    (clinic, _), laboratory, (biobank, path) = case.sites
    scan = lambda g, c: fs.gwas.linear(g, c, trait="age", missing="impute")  # noqa: E731
    assert all(
        "no site has genotypes" in said
        for (said,) in refused([(clinic, None), laboratory, (biobank, None)], scan)
    )
    both = [
        (clinic.assign(iid=clinic["name"].str[-1:].str.cat(clinic["name"])), path),
        laboratory,
        (biobank, path),
    ]
    assert "none of the cohort's 285 ids" in refused(both, scan)[0][0]
    assert (
        "has no id" in refused([(clinic, None), laboratory, (biobank.drop(columns="iid"), path)], scan)[2][0]
    )


def test_rows_without_genotypes_are_for_linked_columns(case: Case) -> None:
    def run(federation: fs.Federation, rows: pd.DataFrame) -> str:
        with pytest.raises(fs.DataError) as caught:
            fs.gwas.linear(federation.genotypes(None), federation.cohort(rows, id="iid"), trait="ldl")
        return str(caught.value)

    rows = case.panel.rows[["iid", "ldl"]]
    assert all(
        "this site has no genotypes" in said for said in fs.simulate(run, [rows[k::3] for k in range(3)])
    )


def test_patients_may_be_linked_by_what_names_their_genotypes() -> None:
    def run(federation: fs.Federation, rows: pd.DataFrame | None) -> tuple[Any, list[str]]:
        cohort = federation.cohort(rows, partition="vertical", on="iid", id="iid")
        return cohort.ids, list(cohort.schema.kinds)

    samples = [f"0{number}" for number in range(6)]
    tables = [pd.DataFrame({"iid": samples, name: np.arange(6.0)}) for name in ("x", "y")]
    (ids, columns), _, (nobody, _) = fs.simulate(run, [*tables, None])
    assert (ids.tolist(), columns, nobody) == (samples, ["x", "y"], None)


def refused(
    sites: list[tuple[pd.DataFrame, Path | None]], *programs: Callable[[Any, Any], object]
) -> list[list[str]]:
    """Return what each site says to each program."""

    def run(federation: fs.Federation, data: tuple[pd.DataFrame, Path | None]) -> list[str]:
        rows, path = data
        cohort = federation.cohort(rows, partition="vertical", on="name", id="iid")
        genotypes, said = federation.genotypes(path), []
        for program in programs:
            with pytest.raises(fs.FedStatsError) as caught:
                program(genotypes, cohort)
            said.append(str(caught.value))
        return said

    return fs.simulate(run, sites)
