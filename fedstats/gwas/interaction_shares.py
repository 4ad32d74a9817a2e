"""Interactions on shares: of each variant its estimates are opened, and how they vary together, and no sum.

Missing calls are set to the mean of the site's own. With covariates Z = [1, Q], Z'Z = n·I, residuals r of
the traits, r'r = n and Z'r = 0, and modifiers f with f'f = n, what a variant adds to the regression are the
columns G = [g, g·f₁, …], of which

    S = G'G − G'Z Z'G / n,    s = G'r / √n

are opened, rounded. The estimates S⁻¹s√n and their covariance matrix follow from these, and these from
them. G'G and G'[Z, r] are sums over sites. As g is at most 2, no column of G is longer than 2√n, whatever the
modifier, which makes the bounds public.

Of a gated scan, t² > c² is first decided on shares. t is that of the partial correlation ρ of a column and
the trait given the other columns: t² > c² where ρ² > γ = c² / (df + c²). With M the correlations of the
columns and the trait, r the last of them, and adj(M) its cofactors (`adjugate`), that is

    adj(M)ⱼᵣ² > γ · adj(M)ⱼⱼ · adj(M)ᵣᵣ,

without a quotient but by the lengths of the columns. adj(M)ᵣᵣ, the determinant of the columns' correlations,
is no more than what any of them keeps beside the others: where it or a length is small, a variant does not
pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fedstats.gwas._linear_model import PRECISION, whole_at
from protocols import secret as secrets
from protocols.adjugate import adjugate
from protocols.compare import complement, every, negative
from protocols.divide import inverse_sqrt
from protocols.fixed import Format, fraction_for
from protocols.inputs import share, sum_shares
from protocols.secret import known_product

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.gwas._interaction_model import Columns
    from fedstats.gwas.genotypes import Block
    from fedstats.gwas.members import Members
    from protocols.engine import Engine
    from protocols.secret import SecretArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Columns are combinations of one another if some combination of them, of length 1, has less left by the
#: covariates: one copy has about 1.
LEAST: Final = 0.02
#: Of a gated scan, they are if the determinant of their correlations is below this. PLINK leaves out columns
#: of which less than a fiftieth is left by the others.
COLLINEAR: Final = 2.0**-6
#: What roundings leave of the square of a minor.
NOISE: Final = 2.0**-50


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """What the scan knows in public.

    Attributes
    ----------
    n
        Samples of all sites.
    traits
        Columns of R.
    df
        Residual degrees of freedom.
    """

    n: int
    traits: int
    df: int


@dataclass(frozen=True, eq=False, repr=False)
class Contribution:
    """What one site adds for a block of variants; its repr shows no number.

    Attributes
    ----------
    squares
        G'G, its upper triangle row by row: shape ``(variants, pairs)``.
    products
        G'[1, Q, R] / √n, shape ``(variants, 1 + modifiers, columns)``.
    lacking
        1 where this site has samples, and none of them a call.
    """

    squares: Floats
    products: Floats
    lacking: NDArray[np.int64]

    @classmethod
    def of(cls, block: Block, members: Members, columns: Columns, n: int) -> Contribution:
        """Return this site's sums of a block, missing calls set to the mean of its calls."""
        missing, total, squares = block.moments().T
        which = np.flatnonzero(missing)
        called = len(members) - missing
        mean = np.divide(total, called, out=np.zeros_like(total), where=called > 0)
        of_missing = mean[which, np.newaxis]
        products = block.products(columns.products)
        products[which] += of_missing * block.of_missing(which, columns.products)
        with_modifiers = block.products(columns.squared, squared=True)
        with_modifiers[which] += of_missing**2 * block.of_missing(which, columns.squared)
        by_column = products.reshape(len(missing), 1 + columns.modifiers, -1)
        ones = np.column_stack([len(members) * mean, by_column[:, 0, : columns.terms] @ columns.mixture])
        return cls(
            np.column_stack([squares + missing * mean**2, with_modifiers]),
            np.concatenate([ones[:, :, np.newaxis], by_column], axis=2) / np.sqrt(n),
            ((called == 0) & (len(members) > 0)).astype(np.int64),
        )

    def pool(self, engine: Engine, model: Model) -> Pooled:
        """Share what this site has, add up what all have, and take the covariates out."""
        _, size, columns = self.products.shape
        first, second = np.triu_indices(size)
        bound = 2.001 * np.sqrt(model.n)
        terms = columns - model.traits
        fraction = fraction_for(engine, bound, terms=terms)
        squares = sum_shares(engine, self.squares, bound=4.0 * model.n, fraction=fraction)
        products = sum_shares(engine, self.products, bound=bound, fraction=fraction).assume(bound)
        whole = whole_at(1 - share(engine, self.lacking, bound=1), engine.n)
        covariates, slopes = products[:, :, :terms], products[:, :, terms:]
        left = squares - secrets.inner(covariates[:, first], covariates[:, second])
        return Pooled(left.assume(4.0 * model.n), slopes.transpose(0, 2, 1), whole, model)


@dataclass(frozen=True, eq=False, repr=False)
class Pooled:
    """The regressions of a block, as shares.

    Attributes
    ----------
    left
        S, its upper triangle row by row: shape ``(variants, pairs)``.
    slopes
        s, shape ``(variants, traits, 1 + modifiers)``.
    whole
        1 where each site has calls; where one has none, nobody knows its mean.
    """

    left: SecretArray
    slopes: SecretArray
    whole: SecretArray
    model: Model

    def __len__(self) -> int:
        return len(self.left)

    def rounded(self, variant: Integers, trait: Integers) -> tuple[Integers, SecretArray]:
        """Return S of variants, and s of these with a trait.

        Parameters
        ----------
        variant, trait
            The pairs of which s is wanted, in the order of the variants.

        Returns
        -------
        chosen : ndarray
            The variants, each of them once.
        numbers : SecretArray
            S of each, and s of each pair, in a row.
        """
        chosen = np.unique(variant)
        parts = self.left[chosen], self.slopes[variant, trait]
        flags = (
            self.whole[which].reshape(-1, 1).broadcast_to(part.shape)
            for which, part in zip((chosen, variant), parts, strict=True)
        )
        numbers, whole = (secrets.concatenate([one.ravel() for one in both]) for both in (parts, flags))
        return chosen, (numbers * whole).rescale(PRECISION)

    def exceed(self, threshold: float) -> SecretArray:
        """Return secret bits: whether the P value of some interaction is below the threshold.

        Returns
        -------
        SecretArray
            Shape ``(variants, traits)``.
        """
        variants, traits, size = self.slopes.shape
        trait, modified = size, range(1, size)
        c = float(stats.t.isf(threshold / 2, self.model.df)) ** 2
        short, correlations = self._correlations()
        minors = adjugate(correlations)
        determinant = minors[:, :, trait, trait]
        # Products with as many digits as can be compared.
        digits = minors.format.fraction
        finest = min(2 * digits, minors.engine.room - 6)
        alone = minors[:, :, modified, modified]
        expected = (determinant * (c / (self.model.df + c))).reshape(variants, traits, 1)
        with_trait = minors[:, :, modified, trait]
        products = known_product(
            secrets.stack([with_trait, expected.broadcast_to(alone.shape)]),
            secrets.stack([with_trait, alone]),
            Format.of(1.01, finest),
            drop=2 * digits - finest,
        )
        # Nothing passes for what roundings leave of it.
        margins = (products[1] - products[0] + NOISE).reshape(variants, -1)
        bits = negative(secrets.concatenate([determinant[:, :1] - COLLINEAR, margins], axis=1))
        passing = bits[:, 1:].reshape(variants, traits, size - 1).transpose(2, 0, 1)
        fit = complement(secrets.concatenate([bits[:, :1], short], axis=1)).T
        tested = every(secrets.concatenate([fit, self.whole.reshape(1, -1)]))
        return complement(every(complement(passing))) * tested.reshape(-1, 1)

    def _correlations(self) -> tuple[SecretArray, SecretArray]:
        """Return which columns are too short, and M of each variant and trait."""
        variants, traits, size = self.slopes.shape
        engine, n, fraction = self.left.engine, self.model.n, self.left.format.fraction
        first, second = np.triu_indices(size)
        apart = np.flatnonzero(first < second)
        squares = self.left[:, np.flatnonzero(first == second)]
        # Then no combination of columns has less left than `LEAST`.
        short = negative(squares - size * LEAST / COLLINEAR)
        # A short one is taken to be longer, so that no correlation is beyond 1.
        scale = inverse_sqrt((squares + short).assume(4.0 * n + 1)).assume(1.01)
        longest = 2.01 * np.sqrt(n)
        digits = engine.room - 4 - fraction - int(longest).bit_length()
        scale = scale.rescale(min(scale.format.fraction, digits))
        digits = scale.format.fraction
        numbers = secrets.concatenate([self.left[:, apart], self.slopes.reshape(variants, -1)], axis=1)
        of_slopes = np.tile(np.arange(size), traits)
        half = min(fraction + digits, engine.room - 4 - digits)
        numbers = known_product(
            numbers,
            scale[:, np.concatenate([first[apart], of_slopes])],
            Format.of(longest, half),
            drop=fraction + digits - half,
        )
        wanted = fraction_for(engine, 1.01)
        pairs = known_product(
            numbers[:, : apart.size],
            scale[:, second[apart]],
            Format.of(1.01, wanted),
            drop=half + digits - wanted,
        )
        entries = secrets.concatenate(
            [
                secrets.public(engine, np.ones((variants, traits, 1), np.int64)),
                pairs.reshape(variants, 1, -1).broadcast_to((variants, traits, apart.size)),
                numbers[:, apart.size :].rescale(wanted).reshape(variants, traits, size),
            ],
            axis=2,
        )
        place = np.zeros((size + 1, size + 1), np.int64)
        place[first[apart], second[apart]] = 1 + np.arange(apart.size)
        place[:size, size] = 1 + apart.size + np.arange(size)
        return short, entries.assume(1.01)[:, :, place + place.T]


def associations(
    run: Analysis, number: int, mine: Contribution, model: Model, threshold: float | None
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Open what each variant of a block has to do with the traits, or with a threshold those that pass.

    Returns
    -------
    S : ndarray
        Shape ``(variants, 1 + modifiers, 1 + modifiers)``; zero where a site has no call, or nothing is
        opened.
    s : ndarray
        s·√n, shape ``(variants, 1 + modifiers, traits)``, likewise.
    passes : ndarray of bool
        Shape ``(variants, traits)``.

    Notes
    -----
    Cost: rounds as of a block of `imputed_shares`; with a threshold, some 60 more for three parties.
    """
    variants, size = mine.products.shape[:2]
    first, second = np.triu_indices(size)
    S, s = np.zeros((variants, size, size)), np.zeros((variants, model.traits, size))
    passes = np.ones((variants, model.traits), np.bool_)
    with run.on_shares() as engine:
        pooled = mine.pool(engine, model)
        if threshold is not None:
            bits = pooled.exceed(threshold)
            passes = run.reveal({"passing": bits}, part=number)["passing"].astype(np.bool_)
        variant, trait = np.nonzero(passes)
        if variant.size:
            chosen, numbers = pooled.rounded(variant, trait)
            opened = run.reveal({"associations": numbers}, part=number)["associations"]
            of_chosen, pairs = np.split(opened, [chosen.size * first.size])
            of_chosen = of_chosen.reshape(chosen.size, -1)
            S[chosen[:, np.newaxis], first, second] = of_chosen
            S[chosen[:, np.newaxis], second, first] = of_chosen
            s[variant, trait] = pairs.reshape(variant.size, size) * np.sqrt(model.n)
    return S, s.transpose(0, 2, 1), passes
