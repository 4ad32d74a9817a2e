"""Quality of variants on shares: rates are opened, rounded, and no count of genotypes.

With a copies of the effect allele among ν alleles that were called, aₖ of νₖ at site k, as parts of all that
the samples have, and h of the samples heterozygous, a variant's frequency, its heterozygotes over those that
Hardy–Weinberg equilibrium expects, and Pearson's χ² of the sites' frequencies are

    p = a/ν,    H = hν / 2a(ν − a),    χ² = alleles · ν(ν Σ aₖ²/νₖ − a²) / a(ν − a).

Two of the three have a denominator that may be small, so H and χ² are computed of common variants alone, and
p where enough calls are. Whether they are is decided on shares. What is opened is rounded to the nearest
multiple of a public unit, which of parts of samples, or of alleles, is as many of these as the sites'
smallest cell has, or more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from protocols import secret as secrets
from protocols.compare import complement, negative
from protocols.decompose import bits
from protocols.divide import divide
from protocols.fixed import fraction_for
from protocols.inputs import sum_shares

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from protocols.secret import SecretArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Least part of the alleles that must be called for a frequency to be told.
CALLED: Final = 0.25
#: A variant is common if so many homozygotes of its rarer allele are expected: χ² then has its distribution.
EXPECTED: Final = 5.0
#: χ² is rounded to a multiple of 1 / FINE, and H to one of a FINE-th of its standard error or less.
FINE: Final = 16
#: What stands for all samples and alleles, so that roundings take no sum beyond 1; p and H do not change.
WHOLE: Final = 1 - 2.0**-20
#: Fractional bits of quotients, and those by which the nearest integer is told.
QUOTIENT: Final = 34
NEAR: Final = 12


@dataclass(frozen=True, eq=False)
class Known:
    """What is public of the samples.

    Attributes
    ----------
    members
        Samples that could have a call of each variant: men, on Y.
    alleles
        How many alleles these have, as `qc.count` counts them.
    n, min_cell
        Samples of all sites, and these sites' smallest cell.
    """

    members: Integers
    alleles: Integers
    n: int
    min_cell: int

    def of(self, part: slice) -> Known:
        """Return what is public of some of the variants."""
        return replace(self, members=self.members[part], alleles=self.alleles[part])

    @property
    def digits(self) -> int:
        """Parts of samples are rounded to multiples of 2^−digits, and of alleles to half as much."""
        return math.floor(math.log2(max(1.0, self.n / max(1, self.min_cell))))

    @property
    def fine_digits(self) -> int:
        """H, with a standard error of 1/√n or so, is rounded to multiples of 2^−fine_digits."""
        return math.ceil(math.log2(FINE * math.sqrt(max(1, self.n))))


@dataclass(frozen=True, eq=False)
class Rates:
    """What is opened of variants; NaN where it is not told.

    Attributes
    ----------
    missing
        Part of the members without a call.
    frequency
        p, where a quarter of the alleles is called, or as many as a cell has if that is more.
    heterozygotes, heterogeneity
        H and χ² of common variants.
    """

    missing: Floats
    frequency: Floats
    heterozygotes: Floats
    heterogeneity: Floats

    @classmethod
    def concatenate(cls, parts: Sequence[Rates]) -> Rates:
        """Join the rates of consecutive blocks."""
        return cls(
            **{name: np.concatenate([vars(its)[name] for its in parts]) for name in cls.__annotations__}
        )


def rates(run: Analysis, number: int, own: Integers, known: Known) -> Rates:
    """Open the rates of a block of variants.

    Parameters
    ----------
    run
        The analysis, whose declaration has ``"rates"``.
    number
        Of the block.
    own
        This site's counts, as of `qc.count`.
    known
        What is public.
    """
    with run.on_shares() as engine:
        most = np.maximum(known.alleles, 1)[:, np.newaxis]
        members = np.maximum(known.members, 1)
        het, _, missing, copies, alleles = own.T.astype(np.float64)
        squares = np.divide(copies**2, alleles, out=np.zeros_like(copies), where=alleles > 0)
        parts = np.column_stack([np.column_stack([squares, copies, alleles]) / most, het / members])
        mine = np.column_stack([parts * WHOLE, missing / members])
        shared = sum_shares(engine, mine, bound=1.0, fraction=fraction_for(engine, 1.0, terms=2)).assume(1.0)
        S, a, nu, h, lacking = (shared[:, column] for column in range(5))

        # Both alleles are common if each is the part √(5 / samples) of all or more.
        enough = WHOLE * np.maximum(CALLED, known.min_cell / most[:, 0])
        least = WHOLE * np.sqrt(2 * EXPECTED / most[:, 0])
        conditions = complement(negative(secrets.stack([nu - enough, a - least, nu - a - least], axis=1)))
        told = conditions[:, 0]
        common = told * conditions[:, 1] * conditions[:, 2]

        first = secrets.stack([nu, a, a, h], axis=1)
        second = secrets.stack([S, a, nu - a, nu], axis=1).assume(1.0)
        products = (first * second).assume(1.0)
        apart = nu * (products[:, 0] - products[:, 1]).assume(1.0)
        product = products[:, 2]
        of_told = secrets.stack([a, nu - 1.0], axis=1) * told.reshape(-1, 1)
        of_common = secrets.stack([products[:, 3] * 0.5, apart, product - 0.25], axis=1)
        of_common = of_common * common.reshape(-1, 1)
        p = divide(
            of_told[:, 0],
            (of_told[:, 1] + 1.0).assume(1.0),
            bound=1.01,
            fraction=QUOTIENT,
            least=0.999 * CALLED,
        )
        ratios = divide(
            of_common[:, :2],
            (of_common[:, 2:] + 0.25).assume(0.25),
            bound=2.01,
            fraction=QUOTIENT,
            least=0.999 * min(0.25, float(least.min(initial=1.0)) ** 2),
        )
        scales = [2.0**known.digits, 2.0 ** (known.digits + 1), 2.0**known.fine_digits]
        values = secrets.stack([lacking.rescale(QUOTIENT), p, ratios[:, 0], ratios[:, 1]], axis=1)
        units = np.column_stack([np.broadcast_to(scales, (len(own), 3)), FINE * most]).astype(np.int64)
        whole = _nearest(values * units)
        # What is not told is −1.
        marks = secrets.stack([told, common, common], axis=1) - 1
        whole = secrets.concatenate([whole[:, :1], whole[:, 1:] + marks], axis=1)
        # Fractions, as they are measurements: a site's rules may have them rounded further.
        opened = run.reveal({"rates": whole.rescale(1)}, part=number)["rates"]
    opened[opened < 0] = np.nan
    missing, p, ratio, chi2 = (opened / np.array([*scales, FINE])).T
    return Rates(missing, p, ratio, chi2)


def _nearest(x: SecretArray) -> SecretArray:
    """Return numbers ≥ 0, but for roundings, to the nearest integer."""
    near = x.rescale(NEAR) + 0.5
    planes = bits(near)[..., NEAR:]
    weights = 1 << np.arange(planes.shape[-1])
    weights[-1] *= -1  # two's complement
    return planes @ weights
