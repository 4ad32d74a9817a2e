"""What a linear scan reveals is what it declares, and a refusing site reveals nothing."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gwas_helpers import Panel, make_panel, scan

import fedstats as fs

DECLARATION = importlib.import_module("fedstats.gwas.linear").DECLARATION
CANARY = "canary-person"


def refusals(parts: list[tuple[pd.DataFrame, Path]], **options: object) -> list[fs.FedStatsError]:
    """Return each site's error; what was revealed before it must not contain a pooled number."""

    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> fs.FedStatsError:
        cohort = federation.cohort(data[0], id="iid")
        with pytest.raises(fs.FedStatsError) as caught:
            fs.gwas.linear(
                federation.genotypes(data[1]), cohort, trait="ldl", **{"disclose": "aggregate", **options}
            )
        assert all(reveal.kind == "published" for reveal in federation.leakage)
        return caught.value

    return fs.simulate(program, parts)


def small(folder: Path, panel: Panel | None = None) -> list[tuple[pd.DataFrame, Path]]:
    return (panel or make_panel(90, 12)).deal(folder, [20, 30])


def test_recorded_equals_declared(tmp_path: Path) -> None:
    covariates = ["scale(age)", "C(arm)"]
    result = scan(
        small(tmp_path),
        trait="ldl",
        covariates=covariates,
        ambiguous="frequency",
        checkpoints=tmp_path / "kept",
    )
    assert result.leakage.labels == DECLARATION.aggregate.keys() | DECLARATION.published.keys()
    plain = scan(small(tmp_path), trait="ldl", covariates=["age"])
    unused = {"transform sums", "transform squares", "transforms", "checkpoint", "strands"}
    assert plain.leakage.labels == result.leakage.labels - unused
    [sums] = [reveal for reveal in plain.leakage if reveal.label == "variant sums"]
    assert sums.size == 12 * (3 + 2)


@pytest.mark.parametrize("missing", ["impute", "exact"])
@pytest.mark.parametrize("mode", ["result", "gated"])
def test_shares_reveal_what_is_declared(tmp_path: Path, mode: str, missing: str) -> None:
    options = {"trait": "ldl", "covariates": ["scale(age)"], "missing": missing, "threshold": 0.5}
    kept = tmp_path / "kept"
    found = scan(small(tmp_path), **options, ambiguous="frequency", disclose=mode, checkpoints=kept)
    assert found.leakage.labels == getattr(DECLARATION, mode).keys() | DECLARATION.published.keys()


def test_shares_refuse_what_they_cannot(tmp_path: Path) -> None:
    parts = small(tmp_path)
    for options, message in (
        ({"disclose": "result", "missing": "mean"}, "'exact' or 'impute'"),
        ({"disclose": "gated", "threshold": 5.0}, "a P value between 0 and 1"),
    ):
        for error in refusals(parts, **options):
            with pytest.raises(fs.DataError, match=message):
                raise error


def test_quality_opens_counts_alone(tmp_path: Path) -> None:
    found = scan(small(tmp_path), fs.gwas.qc, ambiguous="frequency")
    declaration = importlib.import_module("fedstats.gwas.qc").DECLARATION
    assert found.leakage.labels == declaration.aggregate.keys() | declaration.published.keys()
    palindromic = (make_panel(90, 12).variants[["allele1", "allele2"]].sum(axis=1)).isin(
        ["AT", "TA", "CG", "GC"]
    )
    left = 12 - len(found.reconciled.dropped)
    assert left < 12
    assert {reveal.label: reveal.size for reveal in found.leakage if reveal.kind == "pooled"} == {
        "samples": 2,
        "strands": palindromic.sum() * 3,
        "genotype counts": left * 5,
        "heterogeneity": left * 2,
    }
    assert found.cost.rounds == 2 + 2 + 2 + 2 + 2 + 1
    found.samples["id"] = CANARY
    assert CANARY not in repr(found) + found.summary()


@pytest.mark.parametrize("mode", ["aggregate", "result", "gated"])
def test_logistic_opens_what_is_declared(tmp_path: Path, mode: str) -> None:
    panel = make_panel(90, 12)
    panel.rows["case"] = (panel.genotypes[3] > 0) | (np.arange(90) % 5 == 0)
    panel.rows["case"] = panel.rows["case"].astype(int)
    panel.genotypes[4] = np.where(panel.rows["case"] == 1, 1, 0)
    panel.genotypes[5:8] = np.where(np.arange(90) % 3, panel.rows["case"], np.arange(90) % 2)
    options: dict[str, object] = {
        "trait": "case",
        "covariates": ["scale(age)"],
        "refit": 0.5,
        "ambiguous": "frequency",
    }
    options |= {"disclose": mode, "threshold": 0.6, "checkpoints": tmp_path / "kept"}
    found = scan(small(tmp_path, panel), fs.gwas.logistic, **options)
    declaration = importlib.import_module("fedstats.gwas.logistic").DECLARATION
    assert found.leakage.labels == getattr(declaration, mode).keys() | declaration.published.keys()
    sizes = {reveal.label: reveal.size for reveal in found.leakage}
    assert len(found.to_frame()) < 12  # without those whose strand is unknown
    if mode != "aggregate":
        assert sizes["associations"] <= 12 * 2
        assert 2 <= sizes["saddle points"] <= 2 * (found.to_frame()["z"].abs() > 2).sum()
        return
    assert sizes["variant sums"] == len(found.to_frame()) * (5 + 2)
    assert sizes["missing calls"] <= len(found.to_frame()) * (2 + 2)


def test_variants_that_differ_between_sites(tmp_path: Path) -> None:
    parts = small(tmp_path)
    good = scan(parts, fs.gwas.qc).passing(maf=0.1, call_rate=0.5, hwe=0)
    assert 0 < len(good) < 12
    found = scan(parts, trait="ldl", variants=good).to_frame()
    pd.testing.assert_frame_equal(found[good.columns], good.reset_index(drop=True))

    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> None:
        cohort = federation.cohort(data[0], id="iid")
        mine = good.iloc[1:] if federation.site == "site2" else good
        with pytest.raises(fs.DataError, match="pass the same variants"):
            fs.gwas.linear(federation.genotypes(data[1]), cohort, trait="ldl", variants=mine)

    fs.simulate(program, parts)
    for unusable, message in ((good[["chromosome"]], "no column"), (good.iloc[:0], "none of the given")):
        for error in refusals(parts, variants=unusable):
            with pytest.raises(fs.DataError, match=message):
                raise error


def test_equal_lists_are_not_sent(tmp_path: Path) -> None:
    alike = scan(make_panel(90, 12).deal(tmp_path, [20, 30], alike=True), trait="ldl")
    assert "variants" not in alike.leakage.labels


def test_a_broken_file_at_one_site_stops_all(tmp_path: Path) -> None:
    parts = small(tmp_path)
    whole = parts[1][1].read_bytes()
    parts[1][1].write_bytes(whole[:-5])
    errors = refusals(parts)
    assert isinstance(errors[1], fs.DataError)
    assert "site1.bed" in str(errors[1])
    for error in (errors[0], errors[2]):
        assert isinstance(error, fs.RemoteError)
        assert "site site2" in str(error)


def test_ids_that_fit_no_sample(tmp_path: Path) -> None:
    parts = small(tmp_path)
    parts[0] = (parts[0][0].assign(iid=[f"{CANARY}{row}" for row in range(20)]), parts[0][1])
    errors = refusals(parts)
    assert "none of the cohort's 20 ids" in str(errors[0])
    for error in errors:
        assert CANARY not in "".join(traceback.format_exception(error))


def test_no_variant_in_common(tmp_path: Path) -> None:
    parts = small(tmp_path)
    panel = make_panel(90, 12)
    elsewhere = panel.variants.assign(
        base_pair_location=panel.variants["base_pair_location"] + 1, rsid=panel.variants["rsid"] + "b"
    )
    (tmp_path / "moved").mkdir()
    moved = Panel(panel.genotypes, elsewhere, panel.rows).deal(tmp_path / "moved", [20, 30])[2]
    errors = refusals([*parts[:2], moved])
    assert all(type(error) is fs.DataError and "share no variant" in str(error) for error in errors)


def test_another_genome_build_at_one_site(tmp_path: Path) -> None:
    parts = small(tmp_path)
    panel = make_panel(90, 12)
    lifted = panel.variants.assign(base_pair_location=panel.variants["base_pair_location"] + 50)
    lifted.loc[0, "base_pair_location"] -= 50  # one lies where it did
    (tmp_path / "lifted").mkdir()
    other = Panel(panel.genotypes, lifted, panel.rows).deal(tmp_path / "lifted", [20, 30])[2]
    errors = refusals([*parts[:2], other])
    assert all(type(error) is fs.DataError and "11 of the 12 rsids" in str(error) for error in errors)


def test_a_cohort_without_ids(tmp_path: Path) -> None:
    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> None:
        fs.gwas.linear(federation.genotypes(data[1]), federation.cohort(data[0]), trait="ldl")

    with pytest.raises(fs.DataError, match="id='column'"):
        fs.simulate(program, small(tmp_path))


def test_options_that_differ_between_sites(tmp_path: Path) -> None:
    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> None:
        ambiguous = "drop" if federation.site == "site2" else "keep"
        cohort = federation.cohort(data[0], id="iid")
        with pytest.raises(fs.DataError, match="different analyses"):
            fs.gwas.linear(federation.genotypes(data[1]), cohort, trait="ldl", ambiguous=ambiguous)

    fs.simulate(program, small(tmp_path))


def test_a_trait_that_the_covariates_explain(tmp_path: Path) -> None:
    panel = make_panel(90, 12)
    panel.rows["ldl"] = 2 * panel.rows["age"] + 1

    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> None:
        cohort = federation.cohort(data[0], id="iid")
        with pytest.raises(fs.EstimationError, match="explain the trait 'ldl'"):
            fs.gwas.linear(federation.genotypes(data[1]), cohort, trait="ldl", covariates=["age"])

    fs.simulate(program, small(tmp_path, panel))


def test_reprs_hold_no_person(tmp_path: Path) -> None:
    panel = make_panel(90, 12)
    panel.rows["iid"] = [f"{CANARY}{row}" for row in range(90)]

    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> None:
        cohort, genotypes = federation.cohort(data[0], id="iid"), federation.genotypes(data[1])
        result = fs.gwas.linear(genotypes, cohort, trait="ldl")
        shown = [cohort, genotypes, genotypes.file, result, federation, federation.party, result.leakage]
        assert CANARY not in "".join(map(repr, shown))
        assert not np.isin(data[0]["ldl"].to_numpy(), result.to_frame().select_dtypes(float)).any()

    fs.simulate(program, small(tmp_path, panel))
