"""The variants most associated with a trait, chosen with differential privacy: no statistic is opened.

What a scan publishes of a million variants would take a million times the noise. Which few are the most
associated is a much smaller question, and the noise of its answer grows with the logarithm of the variants
alone: scores are compared on shares with noise, and names of the winners opened [1]_ [2]_ [3]_.

The score of a variant is |Σ (g − 1)(y − m)| over the people with a call, for g copies of an allele and a
trait y that is clipped to its bounds: the numerator of the regression's slope, and of the trend test for
cases and controls. A person adds |y − m| to it at most, whatever the genotypes are. The mean m is estimated
first, with a tenth of the loss: of a rare variant nearly all have the same g − 1, and about any other number
than the mean its score would be high.

References
----------
.. [1] C. Uhler, A. B. Slavković and S. E. Fienberg, "Privacy-Preserving Data Sharing for Genome-Wide
   Association Studies", Journal of Privacy and Confidentiality 5, 2013.
.. [2] A. Johnson and V. Shmatikov, "Privacy-preserving Data Exploration in Genome-Wide Association Studies",
   KDD 2013.
.. [3] S. Simmons and B. Berger, "Realizing Privacy Preserving Genome-wide Association Studies",
   Bioinformatics 32, 2016.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from math import sqrt
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _table
from fedstats._noised import Noisy
from fedstats.disclosure import Declaration
from fedstats.errors import DataError, EstimationError
from fedstats.gwas import _variants
from fedstats.gwas._ahead import blocks
from fedstats.gwas.dosages import DosageBlock
from fedstats.gwas.genotypes import Block
from fedstats.gwas.members import Members
from fedstats.gwas.packed import PackedBlock
from fedstats.gwas.plink import pack
from fedstats.privacy import _call, linear
from fedstats.privacy._call import Bounds, Integers
from fedstats.privacy._model import UNIT
from fedstats.privacy._result import PrivateResult, quantile_of
from fedstats.privacy.accounting import Number
from fedstats.schema import Kind
from protocols import choice

if TYPE_CHECKING:
    from fedstats.cohort import Cohort
    from fedstats.gwas.genotypes import Genotypes

DECLARATION = Declaration(
    "privacy.gwas_top",
    noised={
        "trait": "number of people with genotypes and a trait, and the sum of their traits",
        "top": "which variants have the largest scores",
        "effects": "of each of these, if effects are wanted, sums of products of pairs of 1, g − 1 and trait",
    },
    published=_variants.PUBLISHED,
)

#: The part of the loss that the mean of the trait takes.
FOR_MEAN: Final = Fraction(1, 10)
#: The part that effects take, if they are wanted.
FOR_EFFECTS: Final = Fraction(4, 10)
#: The squared norm of what a person adds to number and sum of the trait.
SQUARED_SENSITIVITY: Final = 2 * UNIT**2


def gwas_top(
    genotypes: Genotypes,
    cohort: Cohort,
    *,
    trait: str,
    bounds: tuple[float, float] | None = None,
    k: int = 5,
    effects: bool = False,
    variants: pd.DataFrame | None = None,
    ambiguous: Literal["keep", "drop"] = "keep",
    rho: Number | None = None,
    epsilon: Number | None = None,
    delta: Number | None = None,
    level: float = 0.95,
) -> PrivateTop:
    """Choose the variants that are most associated with a trait, with differential privacy.

    Parameters
    ----------
    genotypes
        See `Federation.genotypes`. Variants of the autosomes take part; of dosages, the calls.
    cohort
        Its rows with genotypes and a trait; needs an ``id``. Rows whose id is that of no sample, or of
        several, are left out, even if that is all of them.
    trait
        A column of numbers or truth values.
    bounds
        Of a trait of numbers, known beforehand: ``(0, 1)`` of cases and controls. Values beyond are clipped.
    k
        How many variants, 100 at most. The strength of the noise grows with its root.
    effects
        Whether four tenths of the loss go into estimates of the winners' effects.
    variants
        Only these; all that the sites share by default.
    ambiguous
        Whether A/T and C/G variants are kept.
    rho, epsilon, delta
        What it may cost: ρ, or ε with δ. See `fedstats.privacy`. As δ also covers (1 + e^ε)·2^−40, ε can be
        13.4 at most with δ = 1e-6, and 9 with 1e-8.
    level
        Of the effects' confidence intervals, which do not account for the choice.

    Returns
    -------
    PrivateTop

    Raises
    ------
    DataError
        The genotype files, ids, trait or bounds cannot be used, the sites share fewer than k variants of
        autosomes, or ε is out of reach with this δ.
    PolicyError
        A site's rule or budget forbids it; or noise is to hide from more sites than shares do, as with two
        sites.
    RemoteError
        The same at another site.

    Notes
    -----
    **What it finds.** The score is that of a plain regression, without covariates: ancestry, age or the site
    may be behind it as well as the variant. Adjust the trait for them before, by coefficients that are public
    or private themselves. It is not divided by its standard error, which one person changes without bound
    where an allele is rare: common variants are found more easily. Neighbours in linkage disequilibrium come
    together; give pruned `variants` to see more than one locus. The order says nothing of significance; test
    the winners in other samples.

    Noise with which a variant competes has the tail of an exponential: among M variants and n sites the
    largest is about log M + (n − 1)·log log M times its strength, which is 0.78/√n of `PrivateTop.noise`.
    Effects are those of the same people by whom variants were chosen, hence too large for most winners.

    **Leakage.** Every site learns each site's list of variants; number and sum of the trait with noise; the
    winners in their order; and their effects, if wanted, by cross-products with noise: ρ-zCDP for adding or
    removing a person, also for a coalition of t sites that knows its own rows and noise. Choices differ from
    those of exact noise with probability 2^−40 at most, which ε and δ account for. To such a coalition, masks
    on shares tell as little, each (`protocols.choice`).

    **Cost.** One or two rounds for the variants and two for the trait, and two more for effects; on shares
    about 40 rounds for few variants, 70 for 10,000 and 110 for 100,000, and 640 bytes a variant from each of
    three sites.

    Examples
    --------
    >>> fs.privacy.gwas_top(geno, cohort, trait="ldl", bounds=(30, 300), k=5, rho=1)  # doctest: +SKIP
    """
    asked = _call.Loss(rho, epsilon, delta, choice.DISTANCE)
    with cohort.federation.analysis(DECLARATION, "noised") as run:
        taken: list[tuple[Integers, NDArray[np.bool_]]] = []

        def check() -> None:
            if not (isinstance(k, int) and 1 <= k <= choice.MOST):
                raise DataError(f"k is a whole number from 1 to {choice.MOST}, not {k!r}")
            _call.check_ambiguous(ambiguous)
            _call.check_level(level)
            taken.append(_limits(cohort, trait, bounds).scaled(_call.numbers(cohort, trait), UNIT))
            run.reserve(asked.value(), cohort.source, genotypes.path, on_shares=True)

        options = (
            f"{trait=}, {bounds=}, {k=}, {effects=}, {ambiguous=}, {rho=}, {epsilon=}, {delta=}, {level=}"
        )
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
        shared = shared.only(shared.variants[~shared.variants["chromosome"].isin(_variants.SPECIAL)])
        if len(shared) < k:
            raise DataError(f"the sites share {len(shared)} variants of autosomes, fewer than k = {k}")
        its, (whole, used) = asked.value(), taken[0]
        used = used & (found >= 0)
        whole, members = whole[used], genotypes.members(found[used])
        noisy = run.release(
            "trait",
            np.array([UNIT * whole.size, whole.sum()], np.int64),
            squared_sensitivity=SQUARED_SENSITIVITY,
            rho=its * FOR_MEAN,
        )
        mean = centre(noisy.sums)

        def local(part: slice) -> Integers:
            return tally(genotypes.block(shared, part, members), members, whole - mean)

        scores = np.concatenate([mine for _, _, mine in blocks(run, len(shared), local)])
        of_choice = its * (1 - FOR_MEAN - (FOR_EFFECTS if effects else 0))
        places = run.choose("top", scores, k, sensitivity=UNIT + abs(mean), rho=of_choice)
        frame = shared.variants[[*_variants.KEY, "rsid"]].iloc[places].reset_index(drop=True)
        if effects:
            calls = genotypes.block(shared, places, members).hard_calls()
            noisy_products = run.release(
                "effects",
                np.array([products(one, whole) for one in calls]),
                squared_sensitivity=k * linear.squared_sensitivity(2),
                rho=its * FOR_EFFECTS,
            )
            half = _limits(cohort, trait, bounds).half
            frame = frame.join(slopes(noisy_products, half, level))
        return PrivateTop(
            **run.finish(),
            rho=its,
            level=level,
            trait=trait,
            frame=frame.set_axis(pd.RangeIndex(1, k + 1, name="rank")),
            variants=len(shared),
            nobs=float(noisy.sums[0]) / UNIT,
            noise=strength(of_choice, k, len(run.sites), 1 + abs(mean) / UNIT),
        )


def _limits(cohort: Cohort, trait: str, bounds: object) -> Bounds:
    """Return the bounds of a trait; those of truth values are known."""
    if bounds is None and isinstance(trait, str) and cohort.schema.require(trait) is Kind.BOOL:
        return Bounds(0.0, 1.0)
    return Bounds.of(bounds, trait)


def centre(sums: NDArray[np.float64]) -> int:
    """Return the mean that follows from number and sum of a trait, both with noise, in units of the integers.

    It lies between the bounds whatever the noise is.
    """
    number, total = sums
    return int(np.rint(np.clip(total / max(number, UNIT), -1.0, 1.0) * UNIT))


def tally(block: Block, members: Members, values: Integers) -> Integers:
    """Return Σ (g − 1)·v of each variant over calls, exactly.

    Parameters
    ----------
    block
        Genotypes of variants.
    members
        Who takes part.
    values
        v of each of them. All products and sums are whole numbers that doubles hold.
    """
    if not len(members):
        return np.zeros(len(block), np.int64)
    if isinstance(block, DosageBlock):
        calls = block.hard_calls()
        members = Members(np.arange(calls.shape[1]), np.zeros(calls.shape[1], np.int64))
        rows, plain = np.arange(len(calls)), np.zeros(len(calls), np.int8)
        block = PackedBlock(pack(calls), rows, plain.astype(np.bool_), plain, members)
    numbers = members.numbers(values[:, np.newaxis].astype(np.float64))
    of_missing = block.of_missing(np.arange(len(block)), numbers)[:, 0]
    return np.rint(block.products(numbers)[:, 0] - (float(values.sum()) - of_missing)).astype(np.int64)


def products(calls: NDArray[np.int8], trait: Integers) -> Integers:
    """Return the cross-products of 1, g − 1 and a trait over those who have a call, see `linear`."""
    called = calls >= 0
    g = calls[called].astype(np.int64) - 1
    return linear.contributions(np.column_stack([np.ones_like(g), g]) * UNIT, trait[called])


def slopes(noisy: Noisy, half: float, level: float) -> pd.DataFrame:
    """Return what a copy adds to the trait, with standard errors and intervals; NaN where noise drowns it."""
    found = np.full((len(noisy.sums), 2), np.nan)
    for place, upper in enumerate(noisy.sums / UNIT**2):
        with suppress(EstimationError):
            beta, covariance, *_ = linear.estimate(upper, noisy.variance / UNIT**4, 2)
            found[place] = half * beta[1], half * np.sqrt(max(covariance[1, 1], 0.0))
    effect, error = found.T
    reach = quantile_of(level) * error
    return pd.DataFrame(
        {"effect": effect, "standard_error": error, "low": effect - reach, "high": effect + reach}
    )


def strength(rho: Fraction, k: int, sites: int, reach: float) -> float:
    """Return the standard deviation of the noise in a score, in halves of the distance of the bounds.

    Parameters
    ----------
    rho
        What the choice costs.
    k
        How many variants are chosen.
    sites
        Each of them adds noise of full strength.
    reach
        The most that a person adds to a score.
    """
    gumbel = np.pi / sqrt(6)
    return float(reach * sqrt(k / (2 * float(rho))) * gumbel * sqrt(sites))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PrivateTop(PrivateResult):
    """The variants that were chosen, the same at every site.

    Attributes
    ----------
    trait
        The trait.
    frame
        One row a variant, the most associated first: `chromosome`, `base_pair_location`, `effect_allele`,
        `other_allele` and `rsid`, as ``variants=`` of other functions takes them; and if they were wanted the
        `effect` of a copy, its `standard_error`, `low` and `high`.
    variants
        Among how many they were chosen.
    nobs
        Number of people with genotypes and a trait, with noise.
    noise
        Standard deviation of the noise in a score, which is a sum over people of g − 1 times the trait less
        its mean, in units of half the distance of the bounds.
    """

    trait: str
    frame: pd.DataFrame = field(repr=False)
    variants: int
    nobs: float
    noise: float

    _distance: ClassVar[float] = choice.DISTANCE

    def to_frame(self) -> pd.DataFrame:
        """Return the table."""
        return self.frame.copy()

    def summary(self) -> str:
        """Return what was found, as text."""
        facts = [
            ("People, with noise", round(self.nobs, 1)),
            ("Sites", len(self.sites)),
            ("Variants", f"{self.variants:,}"),
            ("Noise in a score", self.noise),
        ]
        head = [f"Variants most associated with {self.trait}, unadjusted", ""]
        return "\n".join(
            [*head, *_table.pair_lines(facts), "", *_table.frame_lines(self.frame), *self._closing()]
        )
