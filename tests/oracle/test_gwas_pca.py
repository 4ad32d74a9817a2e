"""Principal components over three sites against those of the pooled genotypes, and against PLINK 2."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gwas_helpers import everywhere

import fedstats as fs
from fedstats.gwas import _ahead
from fedstats.gwas.plink import BedFile, write_bed

PCA = importlib.import_module("fedstats.gwas.pca")
COMPONENTS = 3


@dataclass(frozen=True)
class Case:
    folder: Path
    parts: list[tuple[pd.DataFrame, Path]]
    found: list[fs.gwas.PCAResult]
    calls: np.ndarray
    ids: list[str]
    variants: pd.DataFrame

    @property
    def scores(self) -> np.ndarray:
        scores = pd.concat([its.scores for its in self.found]).set_index("id")
        return scores.loc[self.ids].to_numpy()

    def used(self) -> np.ndarray:
        """Pooled calls of the variants that were used, of the effect allele; NaN where missing."""
        frame = self.found[0].to_frame()
        row = pd.Series(range(len(self.variants)), self.variants["rsid"])[frame["rsid"]].to_numpy()
        calls = np.where(self.calls[row] < 0, np.nan, self.calls[row])
        other = frame["effect_allele"].to_numpy() != self.variants["allele1"].to_numpy()[row]
        return np.where(other[:, np.newaxis], 2 - calls, calls)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("pca")
    simulated = fs.gwas.simulate_cohort(
        folder, samples=[60, 150, 190], variants=1_500, populations=4, missing_rate=0.01, seed=3
    )
    tables = [pd.read_csv(its.table).rename(columns={"sample_id": "iid"}) for its in simulated.sites]
    parts = [(table, its.bed) for table, its in zip(tables, simulated.sites, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ahead, "BLOCK", 400)
        found = everywhere(parts, fs.gwas.pca, components=COMPONENTS, r2=0.3, window=30)
    beds = [BedFile(path) for _, path in parts]
    calls = np.hstack([bed.read() for bed in beds])
    ids = [iid for bed in beds for iid in bed.samples["iid"]]
    return Case(folder, parts, found, calls, ids, beds[0].variants)


def test_all_sites_have_the_same_components(case: Case) -> None:
    for other in case.found[1:]:
        pd.testing.assert_frame_equal(other.to_frame(), case.found[0].to_frame(), check_exact=True)
    assert [len(its.scores) for its in case.found] == [60, 150, 190]


def test_pooled_eigenvectors(case: Case) -> None:
    calls = case.used()
    mean = np.nanmean(calls, axis=1, keepdims=True)
    X = np.nan_to_num((calls - mean) / np.sqrt(mean * (1 - mean / 2)))
    values, vectors = np.linalg.eigh(X.T @ X)
    result = case.found[0]
    np.testing.assert_allclose(result.eigenvalues, values[::-1][:COMPONENTS] / len(X), rtol=1e-4)
    np.testing.assert_allclose(result.explained, values[::-1][:COMPONENTS] / values.sum(), rtol=1e-4)
    for number in range(COMPONENTS):
        assert abs(np.corrcoef(case.scores[:, number], vectors[:, -1 - number])[0, 1]) > 0.9999
    np.testing.assert_allclose(case.scores.std(axis=0), 1, rtol=1e-3)
    loadings = result.to_frame().filter(regex="^pc").to_numpy()
    np.testing.assert_allclose(X.T @ loadings, case.scores, atol=0.02)


def test_few_variants_have_few_components(case: Case) -> None:
    """The iteration ends when nothing is left, with eigenvalues that are exact."""
    few = case.found[0].to_frame().iloc[:14]
    found = everywhere(case.parts, fs.gwas.pca, variants=few, components=12, r2=1.0)[0]
    calls = case.used()[:14]
    mean = np.nanmean(calls, axis=1, keepdims=True)
    X = np.nan_to_num((calls - mean) / np.sqrt(mean * (1 - mean / 2)))
    values = np.linalg.eigvalsh(X @ X.T)[::-1][:12]
    np.testing.assert_allclose(found.eigenvalues, values / 14, rtol=1e-6)


def test_near_neighbours_are_thinned_out(case: Case) -> None:
    calls = case.used()
    assert 100 < len(calls) < 1_400
    X = np.where(np.isnan(calls), np.nanmean(calls, axis=1, keepdims=True), calls)
    r2 = np.corrcoef(X) ** 2
    near = np.abs(np.subtract.outer(*[np.arange(len(X))] * 2))
    assert r2[(near > 0) & (near < 5)].max() < 0.31
    frequency = case.found[0].to_frame()["effect_allele_frequency"]
    assert np.minimum(frequency, 1 - frequency).min() >= 0.01


def test_projection_of_the_same_samples_gives_their_scores(case: Case) -> None:
    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> pd.DataFrame:
        cohort = federation.cohort(data[0], id="iid")
        sent = federation.traffic.bytes_sent
        found = case.found[1].project(federation.genotypes(data[1]), cohort)
        assert federation.traffic.bytes_sent == sent
        return found

    projected = fs.simulate(program, case.parts)
    for mine, its in zip(case.found, projected, strict=True):
        np.testing.assert_array_equal(its["id"], mine.scores["id"])
        np.testing.assert_allclose(its.iloc[:, 1:], mine.scores.iloc[:, 1:], atol=0.02)


def test_what_is_opened_is_declared(case: Case) -> None:
    declared = PCA.DECLARATION
    assert case.found[0].leakage.labels == (declared.aggregate.keys() | declared.published.keys()) - {
        "variants",
        "strands",
    }
    sizes = {reveal.label: reveal.size for reveal in case.found[0].leakage}
    assert sizes["genotype counts"] == 1_500 * 3
    assert "pc1" in case.found[0].summary()


@pytest.mark.skipif(shutil.which("plink2") is None, reason="plink2 is not installed")
def test_plink2(case: Case) -> None:
    write_bed(case.folder / "all", case.calls, case.variants, pd.DataFrame({"iid": case.ids}))
    rsids = case.folder / "used.txt"
    rsids.write_text("\n".join(case.found[0].to_frame()["rsid"]))
    command = ["plink2", "--bfile", str(case.folder / "all"), "--extract", str(rsids), "--pca", "3", "--out"]
    subprocess.run([*command, str(case.folder / "out")], check=True, capture_output=True)
    theirs = pd.read_csv(case.folder / "out.eigenvec", sep="\t")
    for number in range(COMPONENTS):
        assert abs(np.corrcoef(case.scores[:, number], theirs[f"PC{number + 1}"])[0, 1]) > 0.999


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"components": 0}, fs.DataError, "at least 1 component"),
        ({"maf": 0.5}, fs.DataError, "maf < 0.5"),
        ({"maf": 0.499, "components": 30}, fs.EstimationError, "lower maf"),
    ],
)
def test_options_that_make_no_components(
    case: Case, options: dict[str, Any], error: type[fs.FedStatsError], message: str
) -> None:
    with pytest.raises(error, match=message):
        everywhere(case.parts, fs.gwas.pca, **options)
