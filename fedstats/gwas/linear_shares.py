"""The linear scan on shares: the sums of a variant stay secret, and only its association is opened.

Missing calls are set to the mean of the site's own calls before anything is shared, so a block of variants
is a few sums over sites: Σg², and s = [Σg, g'Q, g'r] / √n, whose bounds are public because Q'Q = n·I,
r'r = n and g ≤ 2. On shares, one inner product makes of them what the covariates leave of the variant,

    left = Σg² − (Σg)²/n − |g'Q|²/n,

and `left` and g'r/√n are opened, rounded. That is the association and nothing else: beta and its
standard error follow from the two, and they from it. Neither the allele's frequency is opened, nor how a
variant goes with the covariates.

Of a gated scan, t² > c² is first decided on shares, where it reads (g'r)²/n > γ · left with the
public γ = c² / (df + c²): two more products and a comparison. For what does not pass, nothing is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fedstats.gwas.linear_kernel import Block, Scan, first_sums
from fedstats.gwas.members import Members, Numbers
from protocols import secret as secrets
from protocols.fixed import fraction_for
from protocols.inputs import share, sum_shares

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from protocols.engine import Engine
    from protocols.secret import SecretArray

Floats = NDArray[np.float64]

#: Fractional bits to which `left` and g'r/√n are opened: with one copy in all sites the former is about 1,
#: and the latter about t/√n.
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
        Residual degrees of freedom.
    """

    n: int
    terms: int
    traits: int
    within: bool
    df: int

    def ratio(self, threshold: float) -> float:
        """Return γ for a two-sided P value."""
        c = float(stats.t.isf(threshold / 2, self.df)) ** 2
        return c / (self.df + c)


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


def contribution(block: Block, members: Members, numbers: Numbers, model: Model) -> Contribution:
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
    return Contribution(squares, products / np.sqrt(model.n), lacking.astype(np.int64))


def associations(
    run: Analysis, number: int, mine: Contribution, model: Model
) -> tuple[Scan, NDArray[np.bool_]]:
    """Open the association of every variant of a block with every trait; all of them pass."""
    with run.on_shares() as engine:
        shared = _Shared.of(engine, mine, model)
        opened = run.reveal({"associations": shared.rounded()}, part=number)["associations"]
    return regressions(opened, model), np.ones((len(opened), model.traits), np.bool_)


def passing(
    run: Analysis, number: int, mine: Contribution, model: Model, threshold: float
) -> tuple[Scan, NDArray[np.bool_]]:
    """Open which variants pass the threshold with which trait, and these associations.

    Returns
    -------
    scan : Scan
        Of all variants; NaN for those that do not pass.
    passes : ndarray of bool
        Shape ``(variants, traits)``.
    """
    with run.on_shares() as engine:
        shared = _Shared.of(engine, mine, model)
        bits = shared.exceed(model.ratio(threshold))
        passes = run.reveal({"passing": bits}, part=number)["passing"].astype(np.bool_)
        variant, trait = np.nonzero(passes)
        opened = np.full((len(passes), 1 + model.traits), np.nan)
        if variant.size:
            chosen = np.unique(variant)
            rounded = shared.take(chosen).rounded()
            place = np.searchsorted(chosen, variant)
            pairs = secrets.concatenate([rounded[:, 0], rounded[place, 1 + trait]])
            numbers = run.reveal({"associations": pairs}, part=number)["associations"]
            opened[chosen, 0] = numbers[: chosen.size]
            opened[variant, 1 + trait] = numbers[chosen.size :]
    return regressions(opened, model), passes


@dataclass(frozen=True, eq=False, repr=False)
class _Shared:
    """The pooled sums of a block, as shares."""

    left: SecretArray
    slope: SecretArray
    whole: SecretArray

    @classmethod
    def of(cls, engine: Engine, mine: Contribution, model: Model) -> _Shared:
        """Share what this site has, add up what all have, and take the covariates out."""
        # Cauchy and Schwarz: |g'x| ≤ |g||x| ≤ 2√n · √n, a little more for roundings.
        bound = 2.001 * np.sqrt(model.n)
        fraction = fraction_for(engine, bound, terms=mine.products.shape[1])
        squares = sum_shares(engine, mine.squares, bound=4.0 * model.n, fraction=fraction)
        products = sum_shares(engine, mine.products, bound=bound, fraction=fraction).assume(bound)
        has_calls = 1 - share(engine, mine.lacking, bound=1)
        whole = has_calls[0].assume(1)
        for site in range(1, len(has_calls)):
            whole = (whole * has_calls[site].assume(1)).assume(1)
        covariates, slope = products[:, : -model.traits], products[:, -model.traits :]
        left = squares - secrets.inner(covariates, covariates) if covariates.shape[1] else squares
        return cls(left.assume(4.0 * model.n), slope, whole)

    def take(self, which: NDArray[np.int64]) -> _Shared:
        """Return some of the variants."""
        return _Shared(self.left[which], self.slope[which], self.whole[which])

    def rounded(self) -> SecretArray:
        """Return `left` and g'r / √n: shape (variants, 1 + traits).

        Zero where a site has no calls, whose mean nobody knows.
        """
        both = secrets.concatenate([self.left.reshape(-1, 1), self.slope], axis=1)
        return (both * self.whole.reshape(-1, 1)).rescale(PRECISION)

    def exceed(self, ratio: float) -> SecretArray:
        """Return secret bits: (g'r)²/n > γ · left, and all sites have calls; shape (variants, traits)."""
        least = (self.left * ratio).reshape(-1, 1)
        bits = self.slope * self.slope - least > ratio * LEAST
        return bits * self.whole.reshape(-1, 1)


def regressions(opened: Floats, model: Model) -> Scan:
    """Return the regressions that follow from `left` and g'r / √n, shape ``(variants, 1 + traits)``."""
    left, slope = opened[:, :1], opened[:, 1:] * np.sqrt(model.n)
    left = np.where(left > LEAST, left, np.nan)
    size = np.full(len(opened), float(model.n))
    unknown = np.full(len(opened), np.nan)
    df = np.full(len(opened), float(model.df))
    with np.errstate(invalid="ignore"):
        beta = slope / left
        residual = np.maximum(model.n - beta * slope, 0.0)
        standard_error = np.sqrt(residual / model.df / left)
    return Scan(unknown, size, unknown, df, beta, standard_error)
