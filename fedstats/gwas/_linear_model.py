"""What a linear scan on shares knows in public, and what it asks of a block of variants on shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fedstats.gwas.linear_kernel import Scan

if TYPE_CHECKING:
    from protocols.engine import Engine
    from protocols.secret import SecretArray

Floats = NDArray[np.float64]

#: Fractional bits to which what is left of a variant is opened: with one copy in all sites it is about 1.
PRECISION: Final = 24
#: Where less is left of a variant by the covariates, it has no estimate. One copy in all sites has about 1.
LEAST: Final = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """What the scan knows in public.

    Attributes
    ----------
    n
        Samples of all sites.
    terms, traits
        Columns of Q and of R.
    within
        Whether each site has an intercept of its own.
    df
        Residual degrees of freedom, if nobody lacks a call.
    exact
        Whether regressions are on complete cases; otherwise missing calls are set to the site's mean.
    """

    n: int
    terms: int
    traits: int
    within: bool
    df: int
    exact: bool = False


class Contribution(Protocol):
    """What one site adds for a block of variants; its repr shows no number."""

    def pool(self, engine: Engine, model: Model) -> Pooled:
        """Share it, add up what all sites have, and solve."""


class Pooled(Protocol):
    """Regressions of a block of variants, as shares.

    Attributes
    ----------
    numbers
        How many numbers are opened of each trait alone.
    """

    numbers: ClassVar[int]

    def __len__(self) -> int:
        """Return how many variants there are."""

    def take(self, which: NDArray[np.int64]) -> Pooled:
        """Return some of the variants."""

    def rounded(self) -> tuple[SecretArray, SecretArray]:
        """Return what is opened.

        Returns
        -------
        common : SecretArray, shape (variants,)
            What all traits have in common.
        own : SecretArray, shape (variants, traits, numbers)
            What each has alone. All is zero where a variant is not tested.
        """

    def exceed(self, threshold: float) -> SecretArray:
        """Return secret bits: whether the P value is below a threshold, shape (variants, traits)."""

    def scan(self, common: Floats, own: Floats) -> Scan:
        """Return the regressions that follow from what was opened; NaN where that is NaN or zero."""


def whole_at(shares: SecretArray, sites: int) -> SecretArray:
    """Return the product of bits of all sites, shape (sites, variants): one round for each but the first."""
    whole = shares[0].assume(1)
    for site in range(1, sites):
        whole = (whole * shares[site].assume(1)).assume(1)
    return whole
