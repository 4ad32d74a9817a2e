"""Simulated cohorts: PLINK files and a table for each of several sites, for trying things out and for tests.

The genotypes have population structure and linkage (`fedstats.gwas._population` has the model), the sites
mix the populations unevenly, and a trait depends on a few variants, on age, sex and ancestry. On request
the sites' files differ the way real ones do: alleles swapped, the other strand, variants absent, another
order.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.gwas._phenotype import VARIANCE_SHARES, draw_people, draw_trait, home_populations
from fedstats.gwas._population import ancestral_frequencies, balding_nichols, genotype_rows
from fedstats.gwas.plink import MISSING, BedWriter

#: Bytes of genotypes that are in memory at a time.
_CHUNK_BYTES: Final = 32 << 20
#: Greatest mean distance of neighbouring variants, and where they must end, in base pairs.
_SPACING: Final = 2_500
_CHROMOSOME_LENGTH: Final = 200_000_000
#: Transitions are the more frequent; one variant in six is strand-ambiguous.
_ALLELE_PAIRS: Final = np.array(["AG", "GA", "CT", "TC", "AG", "CT", "AC", "CA", "GT", "TG", "AT", "CG"])
_COMPLEMENT: Final = dict(zip("ACGT", "TGCA", strict=True))


@dataclass(frozen=True)
class SiteFiles:
    """What one site has.

    Attributes
    ----------
    name
        The site.
    bed
        PLINK fileset.
    table
        CSV with columns `sample_id` (the IID of the .fam file), `age`, `sex`, `pc1` … and the traits.
    """

    name: str
    bed: Path
    table: Path


@dataclass(frozen=True)
class SyntheticCohort:
    """Where a simulated cohort is, and the truth about it.

    Attributes
    ----------
    sites
        Each site's files.
    causal : DataFrame
        The variants on which the traits depend: `chromosome`, `base_pair_location`, `effect_allele`,
        `other_allele`, `rsid` and for each trait a column of effects of one copy of the effect allele,
        in the trait's unit.
    """

    sites: tuple[SiteFiles, ...]
    causal: pd.DataFrame


def simulate_cohort(
    directory: str | PathLike[str],
    *,
    samples: Sequence[int] = (800, 500, 300),
    variants: int = 2_000,
    populations: int = 3,
    fst: float = 0.05,
    frequencies: tuple[float, float] = (0.05, 0.5),
    block_size: int = 20,
    recombination: float = 0.05,
    chromosomes: int = 22,
    traits: Sequence[str] = ("ldl",),
    causal: int = 10,
    heritability: float = 0.3,
    missing_rate: float = 0.01,
    swap_alleles: float = 0.0,
    flip_strand: float = 0.0,
    absent: float = 0.0,
    shuffle: bool = False,
    sites: Sequence[str] | None = None,
    seed: int | np.random.SeedSequence = 0,
) -> SyntheticCohort:
    """Simulate a cohort that is spread over sites, and write each site's files.

    Parameters
    ----------
    directory
        Where to write ``SITE.bed``, ``.bim``, ``.fam`` and ``SITE.csv``; made if need be.
    samples
        Samples of each site.
    variants
        Number of variants, spread over the chromosomes in blocks of linkage.
    populations, fst
        Number of populations, and how far they have diverged; site i draws most of its samples from
        population i modulo `populations`.
    frequencies
        Least and greatest ancestral frequency of allele 1.
    block_size, recombination
        Variants in a block of linkage, and the probability with which a haplotype changes its ancestry
        from one variant of a block to the next.
    chromosomes
        Chromosomes 1, 2, … to spread the variants over.
    traits
        Names of the quantitative traits.
    causal
        Variants on which every trait depends, each in a block of its own; effects are drawn for each trait.
    heritability
        Share of a trait's variance that the causal variants explain. Age, sex and ancestry explain
        `VARIANCE_SHARES`.
    missing_rate
        Probability that a call is missing.
    swap_alleles, flip_strand
        Share of variants, at all sites but the first, of which allele 1 and 2 are exchanged, and which
        are reported on the other strand.
    absent
        Share of variants that each site's files lack, causal ones never.
    shuffle
        Whether the variants of a site's file are out of order.
    sites
        Names of the sites; a, b, c, … by default.
    seed
        The same seed and parameters make the same files.

    Returns
    -------
    SyntheticCohort

    Examples
    --------
    >>> cohort = simulate_cohort("demo", samples=(300, 200, 100), variants=500)  # doctest: +SKIP
    >>> cohort.sites[0].bed  # doctest: +SKIP
    PosixPath('demo/a.bed')
    """
    names = list(string.ascii_lowercase[: len(samples)] if sites is None else sites)
    n_blocks = -(-variants // block_size)
    if len(names) != len(samples) or len(set(names)) != len(names) or min(samples, default=0) < 1:
        raise ValueError("as many distinct names as sample sizes are needed, and sizes of at least 1")
    if not 0 < causal <= n_blocks:
        raise ValueError(
            f"{causal} causal variants: at least 1 and at most one a block, {n_blocks}, are possible"
        )
    if not 0 <= heritability <= 1 - sum(VARIANCE_SHARES.values()):
        raise ValueError(f"heritability {heritability}: age, sex and ancestry leave 0 to 0.8")

    rng, of_genotypes, of_people, of_files = np.random.default_rng(seed).spawn(4)
    block = np.arange(variants) // block_size
    table = _place_variants(block, chromosomes, rng)
    is_causal = _choose_one_a_block(block, causal, rng)
    by_population = balding_nichols(
        ancestral_frequencies(block, frequencies, rng), block, populations, fst, rng
    )

    site = np.repeat(np.arange(len(names)), samples)
    population = home_populations(site, populations, of_people)
    people = draw_people(site, population, names, of_people)
    sizes = np.bincount(population, minlength=populations)
    rows = genotype_rows(by_population, block, sizes, recombination, of_genotypes)
    # The simulation groups samples by population, the files by site.
    column = np.argsort(np.argsort(population, kind="stable"))

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    files = [SiteFiles(name, directory / f"{name}.bed", directory / f"{name}.csv") for name in names]
    dosages = []
    with ExitStack() as stack:
        writers = [
            _SiteWriter(
                stack.enter_context(BedWriter(its.bed, _fam(people[site == number]))),
                missing_rate=missing_rate,
                swap_alleles=swap_alleles if number else 0.0,
                flip_strand=flip_strand if number else 0.0,
                absent=absent,
                shuffle=shuffle,
                rng=its_rng,
            )
            for number, (its, its_rng) in enumerate(zip(files, of_files.spawn(len(files)), strict=True))
        ]
        start = 0
        for chunk in _stacked(rows, max(1, _CHUNK_BYTES // site.size)):
            part = slice(start, start + len(chunk))
            dosages.append(chunk[is_causal[part]][:, column])
            for number, writer in enumerate(writers):
                writer.write(chunk.take(column[site == number], axis=1), table[part], is_causal[part])
            start += len(chunk)

    truth = (
        table[is_causal]
        .drop(columns="cm")
        .rename(columns={"allele1": "effect_allele", "allele2": "other_allele"})
    )
    for trait in traits:
        people[trait], truth[trait] = draw_trait(np.concatenate(dosages), people, heritability, of_people)
    for number, its in enumerate(files):
        people[site == number].to_csv(its.table, index=False)
    return SyntheticCohort(tuple(files), truth.reset_index(drop=True))


@dataclass(frozen=True)
class _SiteWriter:
    """Write one site's files, with the differences that were asked for."""

    bed: BedWriter
    missing_rate: float
    swap_alleles: float
    flip_strand: float
    absent: float
    shuffle: bool
    rng: np.random.Generator

    def write(self, genotypes: NDArray[np.int8], table: pd.DataFrame, is_causal: NDArray[np.bool_]) -> None:
        """Append variants; `genotypes`, shape (variants, samples), is this method's to change."""
        size = len(table)
        swapped = self.rng.random(size) < self.swap_alleles
        genotypes[swapped] = 2 - genotypes[swapped]
        # A Poisson number of picks with replacement: each call is hit independently, with missing_rate.
        hits = self.rng.poisson(-np.log1p(-self.missing_rate) * genotypes.size)
        genotypes.put(self.rng.integers(genotypes.size, size=hits), MISSING)

        table = table.copy()
        table.loc[swapped, ["allele1", "allele2"]] = table.loc[swapped, ["allele2", "allele1"]].to_numpy()
        opposite = self.rng.random(size) < self.flip_strand
        for name in ("allele1", "allele2"):
            table.loc[opposite, name] = table.loc[opposite, name].map(_COMPLEMENT)

        listed = np.flatnonzero(is_causal | (self.rng.random(size) >= self.absent))
        if self.shuffle:
            listed = self.rng.permutation(listed)
        self.bed.write(genotypes[listed], table.iloc[listed])


def _place_variants(block: NDArray[np.int64], chromosomes: int, rng: np.random.Generator) -> pd.DataFrame:
    """Name variants and spread whole blocks of them evenly over the chromosomes."""
    n_blocks = int(block[-1]) + 1
    chromosome = block * min(chromosomes, n_blocks) // n_blocks
    first = np.searchsorted(chromosome, chromosome)
    longest = int(np.bincount(chromosome).max())
    steps = np.cumsum(rng.integers(1, 2 * min(_SPACING, _CHROMOSOME_LENGTH // longest), block.size))
    pairs = _ALLELE_PAIRS[rng.integers(_ALLELE_PAIRS.size, size=block.size)]
    return pd.DataFrame(
        {
            "chromosome": (chromosome + 1).astype(str),
            "rsid": [f"rs{number}" for number in range(1, block.size + 1)],
            "cm": 0.0,
            "base_pair_location": 10_000 + steps - steps[first],
            "allele1": [pair[0] for pair in pairs],
            "allele2": [pair[1] for pair in pairs],
        }
    )


def _choose_one_a_block(block: NDArray[np.int64], chosen: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    shuffled = rng.permutation(block.size)
    _, first = np.unique(block[shuffled], return_index=True)
    is_chosen = np.zeros(block.size, np.bool_)
    is_chosen[shuffled[rng.choice(first, chosen, replace=False)]] = True
    return is_chosen


def _fam(people: pd.DataFrame) -> pd.DataFrame:
    sex = people["sex"].map({"male": 1, "female": 2})
    return pd.DataFrame({"fid": people["sample_id"], "iid": people["sample_id"], "sex": sex})


def _stacked(rows: Iterator[NDArray[np.int8]], size: int) -> Iterator[NDArray[np.int8]]:
    """Stack `size` rows at a time."""
    while chunk := list(itertools.islice(rows, size)):
        yield np.stack(chunk)
