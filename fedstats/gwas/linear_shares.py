"""The linear scan on shares: the sums of a variant stay secret, and only its association is opened.

What a block of variants is on shares depends on what becomes of missing calls: `imputed_shares` sets them to
a mean, `complete_shares` regresses on complete cases. Of a gated scan, whether a variant passes is decided
on shares first, and for what does not pass nothing is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats.gwas import complete_shares, imputed_shares
from fedstats.gwas._linear_model import Contribution, Model
from fedstats.gwas.linear_kernel import Block, Scan
from fedstats.gwas.members import Members, Numbers
from protocols import secret as secrets

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

__all__ = ["Contribution", "Model", "associations", "contribution", "passing"]


def contribution(block: Block, members: Members, numbers: Numbers, model: Model) -> Contribution:
    """Return this site's sums of a block."""
    if model.exact:
        return complete_shares.Contribution.of(block, members, numbers, model)
    return imputed_shares.Contribution.of(block, members, numbers, model)


def associations(
    run: Analysis, number: int, mine: Contribution, model: Model
) -> tuple[Scan, NDArray[np.bool_]]:
    """Open the association of every variant of a block with every trait; all of them pass."""
    with run.on_shares() as engine:
        pooled = mine.pool(engine, model)
        common, own = pooled.rounded()
        together = secrets.concatenate([common.reshape(len(pooled), 1), own.reshape(len(pooled), -1)], axis=1)
        opened = run.reveal({"associations": together}, part=number)["associations"]
    scan = pooled.scan(opened[:, 0], opened[:, 1:].reshape(own.shape))
    return scan, np.ones((len(pooled), model.traits), np.bool_)


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
        pooled = mine.pool(engine, model)
        bits = pooled.exceed(threshold)
        passes = run.reveal({"passing": bits}, part=number)["passing"].astype(np.bool_)
        variant, trait = np.nonzero(passes)
        chosen = np.unique(variant)
        common, own = np.full(len(pooled), np.nan), np.full((*passes.shape, pooled.numbers), np.nan)
        if variant.size:
            of_chosen, pairs = pooled.take(chosen).rounded()
            pairs = pairs[np.searchsorted(chosen, variant), trait]
            together = secrets.concatenate([of_chosen, pairs.ravel()])
            opened = run.reveal({"associations": together}, part=number)["associations"]
            common[chosen] = opened[: chosen.size]
            own[variant, trait] = opened[chosen.size :].reshape(variant.size, -1)
    return pooled.scan(common, own), passes
