"""Allele frequencies with differential privacy, against attacks on membership.

Exact frequencies of many variants tell whether a known genome is among the samples [1]_. Here a person adds g
− 1, one of −1, 0 and 1, to the sum of each variant, for g copies of the effect allele, and nothing where
there is no call: a vector of squared norm M for M variants. The number of people with a call, which on
average over the variants every frequency is relative to, takes a tenth of the loss.

References
----------
.. [1] N. Homer et al., "Resolving Individuals Contributing Trace Amounts of DNA to Highly Complex Mixtures
   Using
   High-Density SNP Genotyping Microarrays", PLoS Genetics 4, 2008.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from fedstats import _table
from fedstats.disclosure import Declaration
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.gwas import _variants
from fedstats.gwas._ahead import blocks
from fedstats.privacy import _call
from fedstats.privacy._call import Integers
from fedstats.privacy._result import PrivateResult, quantile_of
from fedstats.privacy.accounting import Number

if TYPE_CHECKING:
    from fedstats.cohort import Cohort
    from fedstats.gwas.genotypes import Genotypes

DECLARATION = Declaration(
    "privacy.allele_frequencies",
    noised={
        "alleles": "of each variant, copies of the effect allele less those of the other one, over two",
        "calls": "number of people with a call, on average over the variants",
    },
    published=_variants.PUBLISHED,
)

#: The part of the loss that the number of people takes.
FOR_CALLS = Fraction(1, 10)


def allele_frequencies(
    genotypes: Genotypes,
    cohort: Cohort,
    *,
    variants: pd.DataFrame | None = None,
    ambiguous: Literal["keep", "drop"] = "keep",
    rho: Number | None = None,
    epsilon: Number | None = None,
    delta: Number | None = None,
    level: float = 0.95,
) -> PrivateFrequencies:
    """Estimate allele frequencies over all sites, with differential privacy.

    Parameters
    ----------
    genotypes
        See `Federation.genotypes`. Variants of the autosomes are counted.
    cohort
        Its rows with genotypes are counted; needs an ``id``. Rows whose id is that of no sample, or of
        several, are left out, even if that is all of them.
    variants
        Only these; all that the sites share by default. Noise grows with the root of their number.
    ambiguous
        Whether A/T and C/G variants are kept.
    rho, epsilon, delta
        What it may cost: ρ, or ε with δ. See `fedstats.privacy`.
    level
        Of the confidence intervals: of the population that people are drawn from, in Hardy–Weinberg
        equilibrium.

    Returns
    -------
    PrivateFrequencies

    Raises
    ------
    DataError
        The genotype files or ids cannot be used, or the sites share no variant of an autosome.
    PolicyError
        A site's rule or budget forbids it.
    RemoteError
        The same at another site.
    EstimationError
        Noise drowns the number of people.

    Notes
    -----
    **Leakage.** Every site learns each site's list of variants; and the counts of alleles with noise: ρ-zCDP
    for adding or removing a person, also for a coalition of t sites that knows its own rows and noise.

    **Cost.** Four rounds, one more if the variant lists differ, and two for each block of 2,048 variants.

    Examples
    --------
    >>> fs.privacy.allele_frequencies(geno, cohort, rho=0.1).to_frame()  # doctest: +SKIP
    """
    asked = _call.Loss(rho, epsilon, delta)
    with cohort.federation.analysis(DECLARATION, "noised") as run:

        def check() -> None:
            _call.check_level(level)
            _call.check_ambiguous(ambiguous)
            run.reserve(asked.value(), cohort.source, genotypes.path)

        options = f"{ambiguous=}, {rho=}, {epsilon=}, {delta=}, {level=}"
        found, shared = _variants.agree_variants(
            run,
            genotypes,
            cohort,
            ambiguous,
            variants=variants,
            options=options,
            check=check,
            some=False,  # else it would be told whether a person is among the samples
        )
        autosomal = ~shared.variants["chromosome"].isin(_variants.SPECIAL)
        if not autosomal.any():
            raise DataError("the sites share no variant of an autosome")
        if not autosomal.all():
            shared = shared.only(shared.variants[autosomal])
        its, size = asked.value(), len(shared)
        members = genotypes.members(found[found >= 0])
        of_alleles, called, sums, variance = its * (1 - FOR_CALLS), 0, [], 0.0

        def local(part: slice) -> tuple[Integers, int]:
            return tally(genotypes.block(shared, part, members).counts, len(members))

        for number, _, (mine, its_calls) in blocks(run, size, local):
            called += its_calls
            noisy = run.release(
                "alleles",
                mine,
                squared_sensitivity=mine.size,
                rho=of_alleles * mine.size / size,
                part=number,
            )
            sums.append(noisy.sums)
            variance = noisy.variance
        calls = run.release(
            "calls",
            np.array([called], np.int64),
            squared_sensitivity=size * size,
            rho=its * FOR_CALLS,
        )
        people, of_people = float(calls.sums[0]) / size, calls.variance / size**2
        return PrivateFrequencies(
            **run.finish(),
            rho=its,
            level=level,
            frame=pd.concat(
                [
                    shared.variants[[*_variants.KEY, "rsid"]].reset_index(drop=True),
                    estimate(np.concatenate(sums), variance, people, of_people, level),
                ],
                axis=1,
            ),
            nobs=people,
            noise=float(np.sqrt(variance)),
        )


def tally(counts: Integers, people: int) -> tuple[Integers, int]:
    """Return what people add to the sums of variants, and how many calls there are.

    Parameters
    ----------
    counts
        Of each variant people with one copy, with two, and without a call.
    people
        How many there are.
    """
    one, two, missing = counts.T
    return np.asarray(one + 2 * two - (people - missing), np.int64), int(people * len(counts) - missing.sum())


def estimate(sums: Array, variance: float, people: float, of_people: float, level: float) -> pd.DataFrame:
    """Return frequencies with intervals, from noisy sums of g − 1 and the number of people with a call."""
    if people <= 3 * np.sqrt(of_people) or people < 1:
        raise EstimationError("noise drowns the number of people: spend more, or use more samples")
    p = np.clip(0.5 + sums / (2 * people), 0.0, 1.0)
    error = np.sqrt((variance + (2 * p - 1) ** 2 * of_people) / (4 * people**2) + p * (1 - p) / (2 * people))
    reach = quantile_of(level) * error
    return pd.DataFrame(
        {
            "effect_allele_frequency": p,
            "low": np.maximum(p - reach, 0.0),
            "high": np.minimum(p + reach, 1.0),
        }
    )


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PrivateFrequencies(PrivateResult):
    """Allele frequencies from noisy counts; the same at every site.

    Attributes
    ----------
    frame
        One row a variant in the order of the genome: `chromosome`, `base_pair_location`, `effect_allele`,
        `other_allele`, `rsid`, `effect_allele_frequency`, `low` and `high`.
    nobs
        Number of people with a call, with noise, on average over the variants. A variant with fewer calls has
        a frequency that is drawn towards one half, by as much as it has fewer.
    noise
        Standard deviation of the noise in the number of copies of an allele.
    """

    frame: pd.DataFrame = field(repr=False)
    nobs: float
    noise: float

    def to_frame(self) -> pd.DataFrame:
        """Return the table."""
        return self.frame.copy()

    def summary(self) -> str:
        """Return what was found, as text."""
        facts = [
            ("People, with noise", round(self.nobs, 1)),
            ("Sites", len(self.sites)),
            ("Variants", f"{len(self.frame):,}"),
            ("Noise in a frequency", self.noise / (2 * self.nobs)),
        ]
        return "\n".join(["Allele frequencies", "", *_table.pair_lines(facts), *self._closing()])
