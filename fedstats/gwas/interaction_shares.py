"""Interactions on shares: of each variant its estimates are opened, and how they vary together, and no sum.

Missing calls are set to the mean of the site's own. With covariates Z = [1, Q], Z'Z = n·I, residuals r of
the traits, r'r = n and Z'r = 0, and modifiers f with f'f = n, what a variant adds to the regression are the
columns G = [g, g·f₁, …], of which

    S = G'G − G'Z Z'G / n,    s = G'r / √n

are opened, rounded. The estimates S⁻¹s√n and their covariance matrix follow from these, and these from
them. G'G and G'[Z, r] are sums over sites. As g is at most 2, no column of G is longer than 2√n, whatever the
modifier, which makes the bounds public.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats.gwas._linear_model import PRECISION, whole_at
from protocols import secret as secrets
from protocols.fixed import fraction_for
from protocols.inputs import share, sum_shares

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.gwas._interaction_model import Columns
    from fedstats.gwas.genotypes import Block
    from fedstats.gwas.members import Members

Floats = NDArray[np.float64]


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


def associations(
    run: Analysis, number: int, mine: Contribution, n: int, traits: int
) -> tuple[Floats, Floats]:
    """Open what each variant of a block has to do with the traits.

    Returns
    -------
    S : ndarray
        Shape ``(variants, 1 + modifiers, 1 + modifiers)``; zero where a site has no call.
    s : ndarray
        s·√n, shape ``(variants, 1 + modifiers, traits)``.

    Notes
    -----
    Cost: rounds as of a block of `imputed_shares`.
    """
    variants, size, columns = mine.products.shape
    first, second = np.triu_indices(size)
    with run.on_shares() as engine:
        bound = 2.001 * np.sqrt(n)
        fraction = fraction_for(engine, bound, terms=columns - traits)
        squares = sum_shares(engine, mine.squares, bound=4.0 * n, fraction=fraction)
        products = sum_shares(engine, mine.products, bound=bound, fraction=fraction).assume(bound)
        whole = whole_at(1 - share(engine, mine.lacking, bound=1), engine.n)
        covariates, slopes = products[:, :, : columns - traits], products[:, :, columns - traits :]
        left = squares - secrets.inner(covariates[:, first], covariates[:, second])
        both = [left.assume(4.0 * n), slopes.reshape(variants, -1)]
        together = (secrets.concatenate(both, axis=1) * whole.reshape(-1, 1)).rescale(PRECISION)
        opened = run.reveal({"associations": together}, part=number)["associations"]
    S = np.empty((variants, size, size))
    S[:, first, second] = S[:, second, first] = opened[:, : first.size]
    return S, opened[:, first.size :].reshape(variants, size, traits) * np.sqrt(n)
