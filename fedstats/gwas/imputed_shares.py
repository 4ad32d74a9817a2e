"""A block of the linear scan on shares, with missing calls set to the mean of the site's own.

Since that is done before anything is shared, the block is a few sums over sites: Σg², and
s = [Σg, g'Q, g'r] / √n, whose bounds are public because Q'Q = n·I, r'r = n and g ≤ 2. On shares, one inner
product makes of them what the covariates leave of the variant,

    left = Σg² − (Σg)²/n − |g'Q|²/n,

and `left` and g'r/√n are opened, rounded. That is the association and nothing else: beta and its
standard error follow from the two, and they from it. Neither the allele's frequency is opened, nor how a
variant goes with the covariates.

Of a gated scan, t² > c² is first decided on shares, where it reads (g'r)²/n > γ · left with the
public γ = c² / (df + c²): two more products and a comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fedstats.gwas._linear_model import LEAST, PRECISION, Model, whole_at
from fedstats.gwas.linear_kernel import Block, Scan, first_sums
from fedstats.gwas.members import Members, Numbers
from protocols import secret as secrets
from protocols.fixed import fraction_for
from protocols.inputs import share, sum_shares

if TYPE_CHECKING:
    from protocols.engine import Engine
    from protocols.secret import SecretArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Contribution:
    """What one site adds for a block of variants; its repr shows no number.

    Attributes
    ----------
    squares
        Σg², or with intercepts of sites Σ(g − ḡ)².
    products
        s, shape ``(variants, columns)``, without the first column if each site has an intercept.
    lacking
        1 where this site has samples, and none of them a call.
    """

    squares: Floats
    products: Floats
    lacking: NDArray[np.int64]

    @classmethod
    def of(cls, block: Block, members: Members, numbers: Numbers, model: Model) -> Contribution:
        """Return this site's sums of a block, missing calls set to the mean of its calls."""
        sums = first_sums(block, numbers)
        missing, total, squares = sums.T[:3]
        which = np.flatnonzero(missing)
        called = len(members) - missing
        mean = np.divide(total, called, out=np.zeros_like(total), where=called > 0)
        products = sums[:, 3:]
        products[which] += mean[which, np.newaxis] * block.of_missing(which, numbers)
        squares = squares + missing * mean**2
        if model.within:
            squares = squares - len(members) * mean**2
        else:
            products = np.column_stack([len(members) * mean, products])
        lacking = (called == 0) & (len(members) > 0)
        return cls(squares, products / np.sqrt(model.n), lacking.astype(np.int64))

    def pool(self, engine: Engine, model: Model) -> Pooled:
        """Share what this site has, add up what all have, and take the covariates out."""
        # Cauchy and Schwarz: |g'x| ≤ |g||x| ≤ 2√n · √n, a little more for roundings.
        bound = 2.001 * np.sqrt(model.n)
        fraction = fraction_for(engine, bound, terms=self.products.shape[1])
        squares = sum_shares(engine, self.squares, bound=4.0 * model.n, fraction=fraction)
        products = sum_shares(engine, self.products, bound=bound, fraction=fraction).assume(bound)
        whole = whole_at(1 - share(engine, self.lacking, bound=1), engine.n)
        covariates, slope = products[:, : -model.traits], products[:, -model.traits :]
        left = squares - secrets.inner(covariates, covariates) if covariates.shape[1] else squares
        return Pooled(left.assume(4.0 * model.n), slope, whole, model)


@dataclass(frozen=True, eq=False, repr=False)
class Pooled:
    """The pooled sums of a block, as shares; see `_linear_model.Pooled`.

    Attributes
    ----------
    left, slope
        What the covariates leave of each variant, and g'r/√n.
    whole
        1 where each site has calls; where one has none, nobody knows its mean.
    """

    numbers: ClassVar[int] = 1
    left: SecretArray
    slope: SecretArray
    whole: SecretArray
    model: Model

    def __len__(self) -> int:
        return len(self.left)

    def take(self, which: NDArray[np.int64]) -> Self:
        """Return some of the variants."""
        return replace(self, left=self.left[which], slope=self.slope[which], whole=self.whole[which])

    def rounded(self) -> tuple[SecretArray, SecretArray]:
        """Return `left` and g'r / √n."""
        both = secrets.concatenate([self.left.reshape(-1, 1), self.slope], axis=1)
        opened = (both * self.whole.reshape(-1, 1)).rescale(PRECISION)
        return opened[:, 0], opened[:, 1:].reshape(len(self), -1, 1)

    def exceed(self, threshold: float) -> SecretArray:
        """Return secret bits: whether the P value is below the threshold."""
        c = float(stats.t.isf(threshold / 2, self.model.df)) ** 2
        return self.above(c / (self.model.df + c))

    def above(self, ratio: float) -> SecretArray:
        """Return secret bits: whether slope² is above a part of what is left."""
        least = (self.left * ratio).reshape(-1, 1)
        bits = self.slope * self.slope - least > ratio * LEAST
        return bits * self.whole.reshape(-1, 1)

    def scan(self, common: Floats, own: Floats) -> Scan:
        """Return the regressions that follow from what was opened."""
        return regressions(common, own[:, :, 0], self.model)


def regressions(left: Floats, slope: Floats, model: Model) -> Scan:
    """Return the regressions that follow from `left`, and g'r / √n of each trait in its second axis."""
    left = np.where(left > LEAST, left, np.nan)[:, np.newaxis]
    slope = slope * np.sqrt(model.n)
    size = np.where(np.isnan(left[:, 0]), 0.0, float(model.n))
    unknown = np.full(len(slope), np.nan)
    df = np.full(len(slope), float(model.df))
    with np.errstate(invalid="ignore"):
        beta = slope / left
        residual = np.maximum(model.n - beta * slope, 0.0)
        standard_error = np.sqrt(residual / model.df / left)
    return Scan(unknown, size, unknown, df, beta, standard_error)
