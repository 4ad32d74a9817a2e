"""Which variants are called and frequent enough, decided on shares: nothing else of a variant is opened.

What `qc` tells of a variant are its genotype counts, or follows from them, and they give members away. A
scan needs only to know which variants to take. Counts stay shared, and whole numbers are compared: with a
call rate of at least a/b, (b − a)·members ≥ b·missing, and so on. For Hardy–Weinberg equilibrium, they are
compared with a table of which the exact test makes the entries (`deficits_shares`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fedstats import _table
from fedstats.disclosure import Declaration
from fedstats.errors import DataError, EstimationError
from fedstats.gwas import _strands, _variants
from fedstats.gwas._ahead import blocks
from fedstats.gwas._deficits import Ends
from fedstats.gwas._strands import settle_strands
from fedstats.gwas._variants import Ambiguous
from fedstats.gwas.deficits_shares import near_equilibrium
from fedstats.gwas.genotypes import Genotypes
from fedstats.gwas.heterogeneity_shares import alike
from fedstats.gwas.qc import count
from fedstats.results import Result
from protocols import secret as secrets
from protocols.compare import complement, every, negative
from protocols.inputs import sum_shares

if TYPE_CHECKING:
    from fedstats.cohort import Cohort
    from protocols.secret import SecretArray

Integers: TypeAlias = NDArray[np.int64]

#: Thresholds are read as fractions with at most so large a denominator.
FINEST = 10**6
#: For which P values, call rates and numbers of samples the table of equilibrium has the stated accuracy.
LEAST_P, SMALL_P, MOST_P, CALLED = 1e-12, 1e-8, 0.05, 0.9
LEAST_SAMPLES, MORE_SAMPLES = 200, 1000

DECLARATION = Declaration(
    "gwas.screen",
    gated={
        **_strands.OPENED,
        "samples": "number of samples, and of men among them",
        "passing": "which variants pass all thresholds",
    },
    published=_variants.PUBLISHED,
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ScreenResult(Result):
    """Variants that pass; the same at every site.

    Attributes
    ----------
    nobs
        Samples of all sites.
    n_variants
        Variants that were looked at.
    thresholds
        Least call rate, frequency and number of copies of the rarer allele, and P values of heterogeneity
        and of Hardy–Weinberg equilibrium if they were asked for.
    """

    nobs: int
    n_variants: int
    thresholds: dict[str, float]
    frame: pd.DataFrame = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a variant that passes, to be given to a scan as ``variants=``.

        Columns: `chromosome`, `base_pair_location`, `effect_allele`, `other_allele`, `rsid`.
        """
        return self.frame.copy()

    def summary(self) -> str:
        """Return how many variants pass, as text."""
        facts: list[tuple[str, object]] = [
            ("Samples", f"{self.nobs:,}"),
            ("Sites", len(self.sites)),
            *((f"Least {name}", value) for name, value in self.thresholds.items()),
            ("Variants", f"{self.n_variants:,}"),
            ("Passing", f"{len(self.frame):,}"),
        ]
        return "\n".join(["Variants that pass", *_table.pair_lines(facts), "", f"Cost: {self.cost}"])


def screen(
    genotypes: Genotypes,
    cohort: Cohort,
    *,
    call_rate: float = 0.98,
    maf: float = 0.01,
    mac: int = 0,
    heterogeneity: float = 0.0,
    hwe: float = 0.0,
    variants: pd.DataFrame | None = None,
    ambiguous: Ambiguous = "keep",
    disclose: Literal["gated"] = "gated",
) -> ScreenResult:
    """Find the variants whose calls over all sites suffice, and open nothing else of them.

    Parameters
    ----------
    genotypes
        See `Federation.genotypes`.
    cohort
        Its rows with genotypes are counted; needs an ``id``.
    call_rate
        Least part of the samples, on Y of the men, that have a call.
    maf, mac
        Least frequency, and least number of copies, of the rarer allele.
    heterogeneity
        Least P value of equal frequencies at all sites, by Pearson's χ² with one degree of freedom less than
        there are sites. 0 does not ask for it.
    hwe
        Least mid-P value of Hardy–Weinberg equilibrium, from 1e-12 to 0.05, of autosomal variants, see below.
        0 does not ask for it; otherwise `call_rate` is 0.9 at least.
    variants
        Only these; all that the sites share by default.
    ambiguous
        Whether A/T and C/G variants are kept, see `linear`.
    disclose
        ``"gated"``, the only way. `qc` opens the counts.

    Returns
    -------
    ScreenResult

    Raises
    ------
    DataError
        The genotype files or ids cannot be used, the sites share no variant, or a threshold is none.
    RemoteError
        The same at another site.
    EstimationError
        `hwe` is asked for, and there are fewer than 200 samples, or 1,000 if it is below 1e-8.

    Notes
    -----
    **Equilibrium** is decided as by the exact test, but for variants whose P value is within a factor of 2 of
    `hwe`: of 5 if there are fewer than 1,000 samples, if more than a twentieth of a variant's calls are
    missing, or if `hwe` is below 1e-8.

    **Leakage.** Every site learns each site's list of variants, the number of samples and of men over all
    sites, and which variants pass. A coalition of t < n/2 sites, or of n − 1 with a dishonest majority,
    learns nothing else. Of variants far from all thresholds that tells nothing, as it was known before. Of
    one whose frequency in the population is within a few standard errors √(p(1 − p)/2n) of `maf` it tells on
    which side the samples are: where these variants are more than the samples, that is enough to tell whether
    a known genome is among them, and so is to ask again with other thresholds. Where that matters, screen
    once, by a threshold near which there are few variants, or give a scan `variants` that were chosen by a
    reference.

    **Cost.** Five rounds, one more if the variant lists differ, and fourteen or fifteen for each block of
    2,048 variants; sixteen more if heterogeneity is asked for, and 23 or more and some 5 kB a variant if
    equilibrium is.

    Examples
    --------
    >>> good = fs.gwas.screen(geno, cohort, maf=0.01).to_frame()  # doctest: +SKIP
    >>> fs.gwas.linear(geno, cohort, trait="ldl", variants=good, disclose="gated")  # doctest: +SKIP
    """
    with_hwe = hwe != 0

    def check() -> None:
        if not (0 <= call_rate <= 1 and 0 <= maf <= 0.5 and mac >= 0 and int(mac) == mac):
            raise DataError(
                f"call_rate={call_rate}, maf={maf}, mac={mac}: a call rate from 0 to 1, a frequency from "
                "0 to 0.5 and a whole number of copies"
            )
        if not 0 <= heterogeneity < 1:
            raise DataError(f"heterogeneity={heterogeneity}: a P value from 0 to below 1")
        if with_hwe and not (LEAST_P <= hwe <= MOST_P and call_rate >= CALLED):
            raise DataError(
                f"hwe={hwe}, call_rate={call_rate}: a P value from {LEAST_P:g} to {MOST_P}, with a call rate "
                f"of {CALLED} or more; or 0"
            )

    with cohort.federation.analysis(DECLARATION, disclose) as run:
        found, shared = _variants.agree_variants(
            run,
            genotypes,
            cohort,
            ambiguous,
            variants=variants,
            options=f"call_rate={call_rate}, maf={maf}, mac={mac}, heterogeneity={heterogeneity}, "
            f"hwe={hwe}, ambiguous={ambiguous!r}",
            check=check,
        )
        members = genotypes.members(found[found >= 0])
        men = members.among(members.is_male)
        n, n_men = (int(total) for total in run.sum("samples", np.array([len(members), len(men)])))
        if with_hwe and n < LEAST_SAMPLES:
            raise EstimationError(
                f"{n} samples are too few for hwe={hwe}: it takes {LEAST_SAMPLES}, or hwe=0"
            )
        ends = Ends.of(n, hwe) if with_hwe else None
        shared = settle_strands(run, genotypes, members, shared, ambiguous)
        chromosome = shared.variants["chromosome"].to_numpy()
        critical = float(stats.chi2.isf(heterogeneity, len(run.sites) - 1))
        passing = []
        for number, part, (_, mine) in blocks(
            run, len(shared), lambda part: count(genotypes, shared, part, members, men)
        ):
            with run.on_shares() as engine:
                wanted = mine[:, [2, 3, 4, 0][: 4 if with_hwe else 3]]
                counts = sum_shares(engine, wanted, bound=2 * n + 1).assume(2 * n + 1)
                size = np.where(chromosome[part] == "Y", n_men, n)
                # Heterozygous calls on MT are half a copy.
                fewest = mac * np.where(chromosome[part] == "MT", 2, 1)
                bits = complement(negative(_margins(counts, size, call_rate, maf, fewest)))
                if heterogeneity > 0:
                    # The one copy of MT is counted as two alleles.
                    limit = np.where(chromosome[part] == "MT", 2.0, 1.0) * critical
                    copies, alleles = mine[:, 3:].T.astype(np.float64)
                    same = alike(engine, copies, alleles, 2.0 * n, limit)
                    bits = secrets.concatenate([bits, same.reshape(-1, 1)], axis=1)
                if ends is not None:
                    near = near_equilibrium(engine, counts[:, 1], counts[:, 2], counts[:, 3], n, ends)
                    special = np.isin(chromosome[part], _variants.SPECIAL).astype(np.int64)[:, np.newaxis]
                    bits = secrets.concatenate([bits, near * (1 - special) + special], axis=1)
                bits = every(bits.T)
                passing.append(run.reveal({"passing": bits}, part=number)["passing"].astype(np.bool_))
        kept = shared.variants[[*_variants.KEY, "rsid"]][np.concatenate(passing)]
        return ScreenResult(
            **run.finish(),
            nobs=n,
            n_variants=len(shared),
            thresholds={"call rate": call_rate, "frequency": maf, "copies": mac}
            | ({"P of equal frequencies": heterogeneity} if heterogeneity else {})
            | ({"P of Hardy-Weinberg equilibrium": hwe} if with_hwe else {}),
            frame=kept.reset_index(drop=True),
        )


def _margins(
    counts: SecretArray, members: Integers, call_rate: float, maf: float, mac: Integers
) -> SecretArray:
    """Return whole numbers of which none is negative if a variant passes: shape (variants, tests)."""
    missing, copies, alleles = (counts[:, column] for column in range(3))
    others = alleles - copies
    calls, rare = (Fraction(value).limit_denominator(FINEST) for value in (call_rate, maf))
    return secrets.stack(
        [
            missing * -calls.denominator + (calls.denominator - calls.numerator) * members,
            copies * rare.denominator - alleles * rare.numerator,
            others * rare.denominator - alleles * rare.numerator,
            copies - mac,
            others - mac,
            alleles - 1,
        ],
        axis=1,
    )
