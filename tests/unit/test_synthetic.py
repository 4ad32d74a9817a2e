"""Simulated cohorts have the structure that was asked for: estimated from the files, as anyone would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from fedstats.gwas._population import ancestral_frequencies, balding_nichols, genotype_rows
from fedstats.gwas.plink import MISSING, BedFile
from fedstats.gwas.reconcile import reconcile
from fedstats.gwas.synthetic import SyntheticCohort, simulate_cohort
from fedstats.gwas.varianttable import VariantTable

SIZES = (900, 600, 300)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCohort:
    return simulate_cohort(
        tmp_path_factory.mktemp("cohort"),
        samples=SIZES,
        variants=3000,
        missing_rate=0.02,
        traits=("ldl", "hdl"),
        seed=7,
    )


@pytest.fixture(scope="module")
def two_populations() -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """4,000 variants in blocks of 10, of two populations of 1,000 at F_ST = 0.1."""
    rng = np.random.default_rng(3)
    block = np.arange(4000) // 10
    ancestral = ancestral_frequencies(block, (0.1, 0.9), rng)
    frequencies = balding_nichols(ancestral, block, 2, 0.1, rng)
    genotypes = np.stack(list(genotype_rows(frequencies, block, np.array([1000, 1000]), 0.05, rng)))
    return genotypes[:, :1000], genotypes[:, 1000:]


def squared_correlation(genotypes: NDArray[np.int8], distance: int) -> NDArray[np.float64]:
    """r² of each variant with the one that comes `distance` later."""
    scores = genotypes - genotypes.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        scores /= np.linalg.norm(scores, axis=1, keepdims=True)
    return np.einsum("vs,vs->v", scores[:-distance], scores[distance:]) ** 2


# The model ---------------------------------------------------------------------------------------------


def test_fst_is_as_requested(two_populations) -> None:
    """Hudson's estimator as a ratio of averages (Bhatia et al. 2013, eq. 10)."""
    p, q = (genotypes.mean(axis=1) / 2 for genotypes in two_populations)
    alleles = 2 * 1000
    between = (p - q) ** 2 - p * (1 - p) / (alleles - 1) - q * (1 - q) / (alleles - 1)
    estimate = between.sum() / (p * (1 - q) + q * (1 - p)).sum()
    assert estimate == pytest.approx(0.1, abs=0.015)  # 400 independent blocks


def test_linked_variants_correlate_and_blocks_do_not(two_populations) -> None:
    genotypes, _ = two_populations
    neighbours = squared_correlation(genotypes, 1)
    within = np.arange(3999) % 10 != 9
    assert np.nanmedian(neighbours[within]) > 0.5
    assert np.nanmean(squared_correlation(genotypes, 5)[np.arange(3995) % 10 < 5]) < np.nanmean(
        neighbours[within]
    )
    # r² of independent variants has mean 1/(n − 1).
    assert np.nanmean(neighbours[~within]) == pytest.approx(1 / 999, rel=0.4)


def test_hardy_weinberg_holds_within_a_population(two_populations) -> None:
    """One in twenty variants fails the χ² test at 5 %; over structured samples many more would."""
    genotypes, other = two_populations

    def rejected(sample: NDArray[np.int8]) -> float:
        p = sample.mean(axis=1) / 2
        common = (p > 0.1) & (p < 0.9)
        heterozygous = (sample == 1).mean(axis=1)[common]
        inbreeding = 1 - heterozygous / (2 * p * (1 - p))[common]
        return float((sample.shape[1] * inbreeding**2 > 3.841).mean())

    assert rejected(genotypes) == pytest.approx(0.05, abs=0.02)
    assert rejected(np.hstack([genotypes, other])) > 0.2


def test_frequencies_have_the_balding_nichols_variance() -> None:
    rng = np.random.default_rng(5)
    block = np.arange(200_000)
    drawn = balding_nichols(np.full(block.size, 0.2), block, 1, 0.05, rng)
    assert drawn.mean() == pytest.approx(0.2, abs=1e-3)
    assert drawn.var() == pytest.approx(0.05 * 0.2 * 0.8, rel=0.02)


def test_without_divergence_populations_are_alike() -> None:
    rng = np.random.default_rng(5)
    ancestral = np.array([0.2, 0.4])
    np.testing.assert_array_equal(
        balding_nichols(ancestral, np.arange(2), 3, 0.0, rng), np.repeat(ancestral[:, None], 3, axis=1)
    )


# The files ---------------------------------------------------------------------------------------------


def test_every_site_has_its_files(cohort: SyntheticCohort) -> None:
    assert [site.name for site in cohort.sites] == ["a", "b", "c"]
    for site, size in zip(cohort.sites, SIZES, strict=True):
        bed, table = BedFile(site.bed), pd.read_csv(site.table)
        assert (bed.n_variants, bed.n_samples) == (3000, size)
        assert table["sample_id"].tolist() == bed.samples["iid"].tolist()
        assert list(table) == ["sample_id", "age", "sex", "pc1", "pc2", "ldl", "hdl"]
        assert (table["sex"].map({"male": 1, "female": 2}) == bed.samples["sex"]).all()
        position = bed.variants.groupby("chromosome")["base_pair_location"]
        assert position.is_monotonic_increasing.all()
        assert bed.variants["chromosome"].nunique() == 22


def test_missing_rate(cohort: SyntheticCohort) -> None:
    for site in cohort.sites:
        assert (BedFile(site.bed).read() == MISSING).mean() == pytest.approx(0.02, rel=0.02)


def test_sites_mix_populations_unevenly(cohort: SyntheticCohort) -> None:
    means = [pd.read_csv(site.table)[["pc1", "pc2"]].mean() for site in cohort.sites]
    assert np.linalg.norm(means[0] - means[1]) > 0.5
    assert np.linalg.norm(means[1] - means[2]) > 0.5


def test_the_truth_explains_the_trait(cohort: SyntheticCohort) -> None:
    """Regressing the trait on everything that made it recovers the effects and the heritability."""
    people = pd.concat([pd.read_csv(site.table) for site in cohort.sites])
    beds = [BedFile(site.bed) for site in cohort.sites]
    rows = np.flatnonzero(beds[0].variants["rsid"].isin(cohort.causal["rsid"]))
    dosages = np.hstack([bed.read(rows) for bed in beds]).astype(float)
    assert len(rows) == 10
    assert pd.Series(rows // 20).is_unique
    missing = dosages == MISSING
    dosages[missing] = np.nan
    dosages = np.where(missing, np.nanmean(dosages, axis=1, keepdims=True), dosages)
    covariates = people[["age", "pc1", "pc2"]].assign(male=people["sex"] == "male", one=1.0).to_numpy(float)
    for trait in ("ldl", "hdl"):
        y = people[trait].to_numpy()
        coefficients, *_ = np.linalg.lstsq(np.column_stack([dosages.T, covariates]), y, rcond=None)
        np.testing.assert_allclose(coefficients[:10], cohort.causal[trait], atol=0.2)
        assert np.corrcoef(coefficients[:10], cohort.causal[trait])[0, 1] > 0.97
        explained = np.var(cohort.causal[trait].to_numpy() @ dosages) / np.var(y)
        assert explained == pytest.approx(0.3, abs=0.05)
    assert not np.allclose(cohort.causal["ldl"], cohort.causal["hdl"])


def test_the_seed_decides(tmp_path: Path) -> None:
    def contents(name: str, seed: int) -> dict[str, bytes]:
        simulate_cohort(tmp_path / name, samples=(30, 20), variants=60, causal=2, seed=seed, swap_alleles=0.3)
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    first = contents("one", 1)
    assert len(first) == 8
    assert contents("again", 1) == first
    assert contents("other", 2)["a.bed"] != first["a.bed"]


def test_files_that_differ_reconcile_to_the_same_genotypes(tmp_path: Path) -> None:
    """All differences at once; once reconciled, the sites agree with their undisturbed files."""
    options = {
        "samples": (200, 200, 200),
        "variants": 600,
        "causal": 5,
        "missing_rate": 0.0,
        "fst": 0.0,
        "seed": 4,
    }
    plain = simulate_cohort(tmp_path / "plain", **options)
    mixed = simulate_cohort(
        tmp_path / "mixed", **options, swap_alleles=0.2, flip_strand=0.2, absent=0.05, shuffle=True
    )
    beds = {site.name: BedFile(site.bed) for site in mixed.sites}
    tables = {name: VariantTable.from_frame(bed.variants) for name, bed in beds.items()}
    result = reconcile(tables, ambiguous="drop")
    assert 400 < len(result) < 600 * 0.95**3
    assert not beds["a"].variants["base_pair_location"].is_monotonic_increasing
    assert (result.sites.loc[["b", "c"], ["swapped", "strand"]] > 50).all(axis=None)
    for site in plain.sites:
        untouched = BedFile(site.bed)
        row = pd.Series(np.arange(untouched.n_variants), untouched.variants["rsid"])[result.variants["rsid"]]
        np.testing.assert_array_equal(
            beds[site.name].read(result.index[site.name], flip=result.flip[site.name]),
            untouched.read(row.to_numpy()),
        )
    certain = set(
        plain.causal.loc[
            ~plain.causal["effect_allele"].add(plain.causal["other_allele"]).isin(["AT", "CG"]), "rsid"
        ]
    )
    assert certain <= set(result.variants["rsid"])


def test_one_population_has_no_scores(tmp_path: Path) -> None:
    cohort = simulate_cohort(tmp_path, samples=(40,), variants=50, populations=1, causal=1, sites=["solo"])
    assert list(pd.read_csv(cohort.sites[0].table)) == ["sample_id", "age", "sex", "ldl"]
    assert cohort.sites[0].bed.name == "solo.bed"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"samples": ()}, "names"),
        ({"samples": (10, 0)}, "at least 1"),
        ({"sites": ["a"]}, "names"),
        ({"sites": ["a", "a", "b"]}, "distinct"),
        ({"causal": 0}, "causal"),
        ({"variants": 100, "causal": 6}, "causal"),
        ({"heritability": 0.9}, "heritability"),
        ({"heritability": -0.1}, "heritability"),
    ],
)
def test_impossible_cohorts_are_refused(tmp_path: Path, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate_cohort(tmp_path / "x", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()
