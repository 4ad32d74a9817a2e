"""Quality of genotypes over all sites: call rates, allele frequencies, Hardy–Weinberg equilibrium.

What is said of a variant comes from genotype counts, which the sites add up: in the open, or on shares, of
which rounded rates are opened (`qc_shares`). What is said of a sample, its call rate, heterozygosity
and sex by its X, never leaves its site; only the frequencies that it is measured by are pooled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fedstats import _table
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.gwas import _strands, _variants, plots, qc_shares
from fedstats.gwas._ahead import blocks
from fedstats.gwas._hardy_weinberg import mid_p, mid_p_of_rates
from fedstats.gwas._heterozygotes import Heterozygotes
from fedstats.gwas._strands import settle_strands
from fedstats.gwas._variants import Ambiguous
from fedstats.gwas.dosages import DosageBlock
from fedstats.gwas.genotypes import Genotypes
from fedstats.gwas.members import Members
from fedstats.gwas.packed import PackedBlock
from fedstats.gwas.reconcile import Reconciled, reconcile
from fedstats.gwas.varianttable import VariantTable
from fedstats.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.cohort import Cohort

Integers = NDArray[np.int64]
#: Parts of 1 to which a site rounds what it adds to a χ².
FINE: Final = 1024
#: Sexes in the files, and what inbreeding on X tells of them, as PLINK has it.
_MALE, _FEMALE = 1, 2
_FEMALE_BELOW, _MALE_ABOVE = 0.2, 0.8
Block: TypeAlias = PackedBlock | DosageBlock

DECLARATION = Declaration(
    "gwas.qc",
    aggregate={
        "samples": "number of samples, and of men among them",
        **_strands.OPENED,
        "genotype counts": "of each variant: heterozygotes, carriers of two copies, missing calls, copies of "
        "the effect allele and of both alleles",
        "heterogeneity": "of each variant: χ² of its frequencies at the sites, to which each adds a whole "
        "number of 1/1024; and number of sites that have calls",
    },
    result={
        "samples": "number of samples, and of men among them",
        **_strands.OPENED,
        "rates": "of each variant, rounded: part of the samples without a call, and frequency of the effect "
        "allele; of common ones also heterozygotes over those expected, and χ² of frequencies at the sites",
    },
    published=_variants.PUBLISHED,
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class QCResult(Result):
    """Quality of the variants that the sites share; the same at every site, but for `samples`.

    Attributes
    ----------
    nobs
        Samples of all sites.
    samples
        This site's samples, which no other site has seen: `id`, `call_rate` (of all but Y), and on the
        autosomes `heterozygosity` (part of the calls) and `inbreeding` (1 − observed / expected
        heterozygotes, NaN if none are expected); `x_inbreeding`, the same on X as if everybody had two, which
        is near 1 of men and near 0 of women; and `sex_mismatch`, whether it is below 0.2 of a man or above
        0.8 of a woman, by the file's sexes.
    reconciled
        How the sites' variant lists were matched.
    """

    nobs: int
    frame: pd.DataFrame = field(repr=False)
    samples: pd.DataFrame = field(repr=False)
    reconciled: Reconciled = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a variant in the order of the genome.

        Columns: `chromosome`, `base_pair_location`, `effect_allele`, `other_allele`, `rsid`, `call_rate` (on
        Y among men), `heterozygotes`, `effect_homozygotes`, `other_homozygotes`, `effect_allele_count`,
        `allele_count` (of both alleles: men have one on X and Y, everybody one on MT),
        `effect_allele_frequency`, `hwe_p`, the exact mid-P value of Hardy–Weinberg equilibrium, NaN
        beyond the autosomes, and `heterogeneity`, Pearson's χ² of the frequencies at the sites, with its
        `heterogeneity_p`. Of sites of the same ancestry the latter finds batches, and alleles that are
        counted the other way round.

        Of counts that stay on shares there is no column, and rates are rounded, see `qc`. `hwe_p` is then the
        exact test's of the rounded rates, and it and `heterogeneity` are NaN of variants of which fewer than
        5 homozygotes of the rarer allele are expected.
        """
        return self.frame.copy()

    def passing(
        self,
        *,
        call_rate: float = 0.98,
        maf: float = 0.01,
        mac: float = 0,
        hwe: float = 1e-6,
        heterogeneity: float = 0,
    ) -> pd.DataFrame:
        """Return the variants that pass all thresholds, to be given to a scan as ``variants=``.

        Parameters
        ----------
        call_rate
            Least call rate.
        maf, mac
            Least frequency, and least number of copies, of the rarer allele. The latter needs counts.
        hwe
            Least P value of Hardy–Weinberg equilibrium; not asked of variants that have none.
        heterogeneity
            Least P value of equal frequencies at all sites, likewise.

        Raises
        ------
        DataError
            A number of copies is asked for, and counts were not opened.
        """
        f = self.frame
        frequency = np.minimum(f["effect_allele_frequency"], 1 - f["effect_allele_frequency"])
        passes = (f["call_rate"] >= call_rate) & (frequency >= maf)
        if "allele_count" in f:
            passes &= (
                np.minimum(f["effect_allele_count"], f["allele_count"] - f["effect_allele_count"]) >= mac
            )
        elif mac:
            raise DataError(
                f"mac={mac}: no counts were opened; gwas.screen(mac={mac}) decides on shares, and "
                "disclose='aggregate' opens them"
            )
        passes &= ~(f["hwe_p"] < hwe) & ~(f["heterogeneity_p"] < heterogeneity)
        return f.loc[passes, _variants.KEY]

    def compare(self, reference: pd.DataFrame) -> pd.DataFrame:
        """Return frequencies beside those of a reference, such as of the same ancestry elsewhere.

        Parameters
        ----------
        reference
            Columns `chromosome`, `base_pair_location`, `effect_allele`, `other_allele`, in either order and
            on either strand, and `effect_allele_frequency`.

        Returns
        -------
        DataFrame
            One row a variant that both have, as of `to_frame`: its place, alleles and `rsid`,
            `effect_allele_frequency`, `reference_frequency` of the same allele, and their `difference`.
        """
        both = reconcile(
            {"1 here": VariantTable.from_result(self.frame), "2 there": VariantTable.from_result(reference)}
        )
        there = reference["effect_allele_frequency"].to_numpy(np.float64)[both.index["2 there"]]
        there = np.where(both.flip["2 there"], 1 - there, there)
        found = self.frame[[*_variants.KEY, "rsid", "effect_allele_frequency"]].iloc[both.index["1 here"]]
        found = found.assign(reference_frequency=there).reset_index(drop=True)
        return found.assign(difference=found["effect_allele_frequency"] - found["reference_frequency"])

    def plot_reference(self, reference: pd.DataFrame, ax: Axes | None = None) -> Axes:
        """Draw frequencies against those of a reference, see `compare`; needs matplotlib."""
        return plots.against_reference(self.compare(reference), ax=ax)

    def summary(self) -> str:
        """Return what was counted, as text; of this site's samples, nothing."""
        f = self.frame
        frequency = np.minimum(f["effect_allele_frequency"], 1 - f["effect_allele_frequency"])
        facts: list[tuple[str, object]] = [
            ("Samples", f"{self.nobs:,}"),
            ("Sites", len(self.sites)),
            ("Variants", f"{len(f):,}"),
            ("Dropped", f"{len(self.reconciled.dropped):,}"),
            ("Frequency of 0", f"{int((frequency == 0).sum()):,}"),
            ("Frequency < 0.01", f"{int((frequency < 0.01).sum()):,}"),
            ("Call rate < 0.98", f"{int((f['call_rate'] < 0.98).sum()):,}"),
            ("Hardy-Weinberg P < 1e-6", f"{int((f['hwe_p'] < 1e-6).sum()):,}"),
            ("Sites differ P < 1e-6", f"{int((f['heterogeneity_p'] < 1e-6).sum()):,}"),
            ("Mean call rate", round(float(f["call_rate"].mean()), 5)),
        ]
        return "\n".join(["Quality of genotypes", *_table.pair_lines(facts), "", f"Cost: {self.cost}"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw how many variants have which minor allele frequency; needs matplotlib."""
        return plots.frequencies(self.frame, ax=ax)


def qc(
    genotypes: Genotypes,
    cohort: Cohort,
    *,
    variants: pd.DataFrame | None = None,
    ambiguous: Ambiguous = "keep",
    disclose: Disclose = "result",
) -> QCResult:
    """Count genotypes over all sites, and measure this site's samples by what is found.

    Parameters
    ----------
    genotypes
        See `Federation.genotypes`.
    cohort
        Its rows with genotypes are counted; needs an ``id``.
    variants
        Only these, as from `QCResult.passing`; all that the sites share by default.
    ambiguous
        Whether A/T and C/G variants are kept, see `linear`.
    disclose
        ``"result"``: genotype counts stay shared among the sites, which open rates, rounded.
        ``"aggregate"``: pooled genotype counts are opened. `screen` decides on shares which variants pass,
        and opens nothing else. Shares take three sites or more.

    Returns
    -------
    QCResult

    Raises
    ------
    DataError
        The genotype files or ids cannot be used, or the sites share no variant.
    RemoteError
        The same at another site.

    Notes
    -----
    **Rounding** on shares is to the nearest multiple of a power of two: call rates and frequencies, of at
    least `min_cell` samples or alleles among all (on Y, of men), so that less than half as many missing calls
    are like none; the ratio of heterozygotes to those expected, of a sixteenth of its standard error 1/√n or
    less; χ², of 1/16. A P value of equilibrium that is not below 1e-10 is within a factor of 4 of that of the
    counts, and most are within 1.5: χ² of the rates would be wrong by a factor of thousands. Fewer than
    `min_cell` copies of either allele, or heterozygotes, are taken as none. A variant of which less than a
    quarter of the alleles is called, or fewer than 2·`min_cell`, has no frequency. Inbreeding leaves out
    variants without a frequency between 0 and 1.

    **Leakage.** Every site learns each site's list of variants and how many samples, and men, there are. As
    ``"aggregate"`` it learns the pooled counts of each variant's genotypes, and how far the sites'
    frequencies are apart altogether. As ``"result"`` it learns the rounded rates, and no small count. Either
    suffices to tell whether a known genome is among the samples if the variants are many (see `linear`):
    rounding takes little from that, and `screen` tells far less, though not always nothing. A coalition of t
    sites learns as much of the other n − t; of counts on shares nothing, as long as t < n/2, or with a
    dishonest majority t < n.

    **Cost.** As ``"aggregate"`` six rounds, one more if the variant lists differ, and two for each block of
    2,048 variants; each site sends about 112·(s − 1)/s bytes a variant when there are s sites. On shares five
    rounds, one more if the lists differ, and some 70 for each block; and about 5 kB a variant.

    Examples
    --------
    >>> quality = fs.gwas.qc(geno, cohort)  # doctest: +SKIP
    >>> good = quality.passing(maf=0.01, hwe=1e-6)  # doctest: +SKIP
    >>> fs.gwas.linear(geno, cohort, trait="ldl", variants=good)  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        found, shared = _variants.agree_variants(
            run, genotypes, cohort, ambiguous, variants=variants, options=f"ambiguous={ambiguous!r}"
        )
        rows = np.flatnonzero(found >= 0)
        members = genotypes.members(found[rows])
        men = members.among(members.is_male)
        n, n_men = (int(count) for count in run.sum("samples", np.array([len(members), len(men)])))
        shared = settle_strands(run, genotypes, members, shared, ambiguous)
        chromosome = shared.variants["chromosome"].to_numpy()
        tally = _Tally(genotypes, shared, members)
        names = None if cohort.ids is None else cohort.ids[rows]
        if disclose == "result":
            known = _known(chromosome, n, n_men, run.federation.shared_policy.min_cell)
            told = []
            for number, part, (block, mine) in blocks(
                run, len(shared), lambda part: count(genotypes, shared, part, members, men)
            ):
                told.append(qc_shares.rates(run, number, mine, known.of(part)))
                tally.add(block, part, np.nan_to_num(told[-1].frequency))
            return QCResult(
                **run.finish(),
                nobs=n,
                frame=_frame_of_rates(shared, qc_shares.Rates.concatenate(told), known, len(run.sites)),
                samples=tally.frame(names),
                reconciled=shared,
            )
        counted, own = [], []

        for number, part, (block, mine) in blocks(
            run, len(shared), lambda part: count(genotypes, shared, part, members, men)
        ):
            counts = run.sum("genotype counts", mine, part=number)
            counted.append(counts)
            own.append(mine)
            tally.add(block, part, counts[:, 3] / np.maximum(counts[:, 4], 1))
        counts = np.concatenate(counted)
        apart = run.sum("heterogeneity", _apart(np.concatenate(own), counts, chromosome))
        return QCResult(
            **run.finish(),
            nobs=n,
            frame=_frame(shared, counts, n, n_men).assign(**_heterogeneity(apart)),
            samples=tally.frame(names),
            reconciled=shared,
        )


def count(
    genotypes: Genotypes, shared: Reconciled, part: slice, members: Members, men: Members
) -> tuple[Block, Integers]:
    """Count genotypes of a block at this site.

    Returns
    -------
    block : Block
        The block.
    counts : ndarray of int64, shape (variants, 5)
        Heterozygotes, carriers of two copies, missing calls, on Y those of men; copies of the effect allele,
        and of both alleles.
    """
    chromosome = shared.variants["chromosome"].to_numpy()[part]
    block = genotypes.block(shared, part, members)
    counts = _with_alleles(block.counts, chromosome, len(members), len(men))
    on_x = np.flatnonzero(chromosome == "X")
    if on_x.size:
        of_men = genotypes.block(shared, part, men).counts[on_x]
        counts[on_x, 3:] -= np.column_stack([of_men[:, 1], len(men) - of_men[:, 2]])
    return block, counts


def _with_alleles(counts: Integers, chromosome: NDArray[np.object_], n: int, men: int) -> Integers:
    """Add copies of the effect allele and of both alleles to counts; on X as if all were women."""
    one, two, missing = counts.T
    on_y = chromosome == "Y"
    called = np.where(on_y, men, n) - np.where(on_y, missing - (n - men), missing)
    copies = np.column_stack([one + 2 * two, 2 * called])
    copies[on_y] //= 2
    return np.column_stack([one, two, np.where(on_y, missing - (n - men), missing), copies])


def _frame(shared: Reconciled, counts: Integers, n: int, n_men: int) -> pd.DataFrame:
    known = shared.variants
    one, two, missing, copies, alleles = counts.T
    chromosome = known["chromosome"].to_numpy()
    members = np.where(chromosome == "Y", n_men, n)
    # Heterozygous calls on MT are half a copy.
    per_copy = np.where(chromosome == "MT", 2, 1)
    none = members - one - two - missing
    with np.errstate(divide="ignore", invalid="ignore"):
        return pd.DataFrame(
            {
                "chromosome": known["chromosome"],
                "base_pair_location": known["base_pair_location"],
                "effect_allele": known["effect_allele"],
                "other_allele": known["other_allele"],
                "rsid": known["rsid"],
                "call_rate": 1 - missing / members,
                "heterozygotes": one,
                "effect_homozygotes": two,
                "other_homozygotes": none,
                "effect_allele_count": copies / per_copy,
                "allele_count": alleles / per_copy,
                "effect_allele_frequency": copies / alleles,
                "hwe_p": np.where(np.isin(chromosome, _variants.SPECIAL), np.nan, mid_p(one, two, none)),
            }
        )


def _known(chromosome: NDArray[np.object_], n: int, n_men: int, min_cell: int) -> qc_shares.Known:
    """Return how many samples, and alleles, could have a call of each variant."""
    kinds = [chromosome == "Y", chromosome == "X"]
    return qc_shares.Known(
        np.select(kinds[:1], [n_men], n),
        np.select(kinds, [n_men, 2 * n - n_men], 2 * n),
        np.where(chromosome == "MT", 2, 1),
        n,
        min_cell,
    )


def _frame_of_rates(
    shared: Reconciled, rates: qc_shares.Rates, known: qc_shares.Known, sites: int
) -> pd.DataFrame:
    """Return what rounded rates say of the variants."""
    chromosome = shared.variants["chromosome"].to_numpy()
    called = known.members * (1 - rates.missing)
    hwe = mid_p_of_rates(called, rates.frequency, rates.heterozygotes)
    # The one copy of MT is counted as two alleles.
    apart = rates.heterogeneity / np.where(chromosome == "MT", 2, 1)
    return shared.variants[[*_variants.KEY, "rsid"]].assign(
        call_rate=np.where(known.members > 0, 1 - rates.missing, np.nan),
        effect_allele_frequency=rates.frequency,
        hwe_p=np.where(np.isin(chromosome, _variants.SPECIAL), np.nan, hwe),
        heterogeneity=apart,
        heterogeneity_p=np.asarray(stats.chi2.sf(apart, sites - 1)),
    )


def _apart(own: Integers, pooled: Integers, chromosome: NDArray[np.object_]) -> Integers:
    """Return what this site adds to χ² of frequencies, in units of 1 / FINE, and whether it has calls.

    A statistic of exact fractions would tell, by its lowest terms, of which counts it is made.
    """
    copies, alleles = own[:, 3], own[:, 4]
    with np.errstate(divide="ignore", invalid="ignore"):
        p = pooled[:, 3] / pooled[:, 4]
        part = (copies - alleles * p) ** 2 / (alleles * p * (1 - p)) / np.where(chromosome == "MT", 2, 1)
    part = np.where((alleles > 0) & (p > 0) & (p < 1), part, 0.0)
    return np.column_stack([np.rint(part * FINE), alleles > 0]).astype(np.int64)


def _heterogeneity(apart: Integers) -> dict[str, NDArray[np.float64]]:
    """Return χ² of frequencies and its P value; NaN where there is nothing to compare."""
    df = apart[:, 1] - 1
    statistic = np.where(df > 0, apart[:, 0] / FINE, np.nan)
    p = np.asarray(stats.chi2.sf(statistic, np.maximum(df, 1)))
    return {"heterogeneity": statistic, "heterogeneity_p": p}


class _Tally:
    """Counts of each of this site's members over the variants."""

    def __init__(self, genotypes: Genotypes, shared: Reconciled, members: Members) -> None:
        self._genotypes, self._shared, self._members = genotypes, shared, members
        self._chromosome = shared.variants["chromosome"].to_numpy()
        self.variants = 0
        self.autosomes, self.others, self.x = (Heterozygotes(len(members)) for _ in range(3))

    def add(self, block: Block, part: slice, frequency: NDArray[np.float64]) -> None:
        """Add a block, given its variants' pooled frequencies."""
        calls, chromosome = block.hard_calls(), self._chromosome[part]
        autosomal = ~np.isin(chromosome, _variants.SPECIAL)
        other = ~autosomal & (chromosome != "Y")
        self.variants += int(np.count_nonzero(autosomal | other))
        for tally, which in ((self.autosomes, autosomal), (self.others, other)):
            tally.add(calls if which.all() else calls[which], frequency[which])
        on_x = np.flatnonzero(chromosome == "X")
        if on_x.size:
            # As the file has them: in a block, heterozygous calls of men are missing.
            site = self._genotypes.federation.site
            rows, flip = self._shared.index[site][part][on_x], self._shared.flip[site][part][on_x]
            self.x.add(self._genotypes.file.read(rows, self._members.samples, flip=flip), frequency[on_x])

    def frame(self, names: Sequence[object] | NDArray[np.object_] | None) -> pd.DataFrame:
        """Return one row a member."""
        sex = self._genotypes.file.samples["sex"].to_numpy()[self._members.samples]
        x = self.x.inbreeding()
        with np.errstate(divide="ignore", invalid="ignore"):
            return pd.DataFrame(
                {
                    "id": names,
                    "call_rate": (self.autosomes.calls + self.others.calls) / self.variants,
                    "heterozygosity": self.autosomes.observed / self.autosomes.calls,
                    "inbreeding": self.autosomes.inbreeding(),
                    "x_inbreeding": x,
                    "sex_mismatch": ((sex == _MALE) & (x < _FEMALE_BELOW))
                    | ((sex == _FEMALE) & (x > _MALE_ABOVE)),
                }
            )
