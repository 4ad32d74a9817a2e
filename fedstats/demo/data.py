"""The rows of the demonstration's sites: a real clinical table, and simulated genotypes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.gwas.plink import BedFile
from fedstats.gwas.synthetic import simulate_cohort

#: The sites, and which share of the patients each has.
SHARES = {"basel": 0.5, "lyon": 0.35, "oslo": 0.15}
SEED = 20_260
#: What the columns of scikit-learn's table are; it calls them s1 to s6.
_SERUM = {
    "s1": "cholesterol",
    "s2": "ldl",
    "s3": "hdl",
    "s4": "cholesterol_hdl_ratio",
    "s5": "log_triglycerides",
    "s6": "glucose",
    "target": "progression",
}
_MISSING = {"bp": 0.03, "glucose": 0.05}
_COMPLEMENT = dict(zip("ACGT", "TGCA", strict=True))
#: What each site registers under [data] in its site.toml.
REGISTERED = {"patients": "patients.csv", "volunteers": "volunteers.csv", "genotypes": "genotypes.bed"}


def clinical_tables() -> dict[str, pd.DataFrame]:
    """Return each site's part of the diabetes table of Efron et al. (2004), as scikit-learn carries it.

    442 patients in unequal parts. A weight class is derived from the body-mass index, and a few
    blood pressures and glucose values are made missing, at random.
    """
    from sklearn.datasets import load_diabetes

    rng = np.random.default_rng(SEED)
    table: pd.DataFrame = load_diabetes(as_frame=True, scaled=False).frame.rename(columns=_SERUM)
    table["sex"] = table["sex"].map({1.0: "a", 2.0: "b"})  # the source does not say which is which
    table["weight"] = pd.cut(
        table["bmi"],
        [0, 25, 30, np.inf],
        right=False,
        labels=["lean", "overweight", "obese"],
    ).astype(str)
    for column, share in _MISSING.items():
        table.loc[rng.random(len(table)) < share, column] = np.nan
    return _split(table, rng)


def _split(table: pd.DataFrame, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """Deal shuffled rows out to the sites."""
    order = rng.permutation(len(table))
    ends = (np.cumsum(list(SHARES.values()))[:-1] * len(table)).astype(int)
    return {
        site: table.iloc[rows].reset_index(drop=True)
        for site, rows in zip(SHARES, np.split(order, ends), strict=True)
    }


def write_clinical(folders: Mapping[str, Path]) -> None:
    """Write each site's `patients.csv`."""
    for site, table in clinical_tables().items():
        table.to_csv(folders[site] / "patients.csv", index=False)


def write_genotypes(folders: Mapping[str, Path], *, samples: int, variants: int) -> None:
    """Write each site's genotypes and `volunteers.csv`, simulated.

    The files differ over the sites as real ones do: some alleles are swapped, some variants are on
    the other strand, some are absent, and the order is another.
    """
    sizes = [round(samples * share) for share in SHARES.values()]
    with TemporaryDirectory(dir=next(iter(folders.values())).parent) as scratch:
        cohort = simulate_cohort(
            scratch,
            samples=sizes,
            variants=variants,
            swap_alleles=0.2,
            flip_strand=0.1,
            absent=0.01,
            shuffle=True,
            sites=list(SHARES),
            seed=SEED,
        )
        for files in cohort.sites:
            folder = folders[files.name]
            files.table.rename(folder / "volunteers.csv")
            for suffix in (".bed", ".bim", ".fam"):
                files.bed.with_suffix(suffix).rename(folder / f"genotypes{suffix}")


def count_rows(folder: Path) -> dict[str, int]:
    """Return how many rows a site has, by what they are."""
    bed = BedFile(folder / "genotypes.bed")
    return {
        "patients": len(pd.read_csv(folder / "patients.csv")),
        "volunteers": bed.n_samples,
        "variants": bed.n_variants,
    }


# The pooled rows, which only a demonstration can have.


def pooled_patients(folders: Mapping[str, Path]) -> pd.DataFrame:
    """Return the patients of all sites in one table."""
    return _pooled(folders, "patients.csv")


def pooled_volunteers(
    folders: Mapping[str, Path], scan: pd.DataFrame
) -> tuple[NDArray[np.int8], pd.DataFrame]:
    """Return the genotypes and the table of the volunteers of all sites.

    Parameters
    ----------
    folders
        The sites' folders.
    scan
        Variants by `rsid`, each with the `effect_allele` to be counted.

    Returns
    -------
    genotypes : ndarray of int8, shape (variants, samples)
        Counts of the effect allele, −1 where missing, in the order of `scan`.
    table : DataFrame, one row a sample
    """
    parts = []
    for folder in folders.values():
        bed = BedFile(folder / "genotypes.bed")
        rows = pd.Index(bed.variants["rsid"]).get_indexer(pd.Index(scan["rsid"]))
        effect = scan["effect_allele"].to_numpy(dtype=object)
        second = bed.variants["allele2"].to_numpy(dtype=object)[rows]
        opposite = scan["effect_allele"].map(_COMPLEMENT).to_numpy(dtype=object)
        parts.append(bed.read(rows, flip=(second == effect) | (second == opposite)))
    return np.concatenate(parts, axis=1), _pooled(folders, "volunteers.csv")


def _pooled(folders: Mapping[str, Path], name: str) -> pd.DataFrame:
    return pd.concat([pd.read_csv(folder / name) for folder in folders.values()], ignore_index=True)
