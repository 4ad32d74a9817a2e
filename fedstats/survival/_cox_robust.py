"""Sandwich covariances of a proportional hazards model on shares: the sum of squared score residuals.

The score residual of a row with covariates z and weight w = exp(z'β), that is at risk until a cell c, is [1]_

    r = δ·(z − m̄) − w·(z·Λ − M),

Λ and M the sums over cells until c of what events add to the hazard, dΛ, and of m·dΛ, with the mean m of the
risk set; m̄ that of the events of its cell, if it ends in one, δ = 1. All three follow from sums over risk
sets, and stay secret; what a site knows of its rows it cannot put together with them. But Σrr' is

    Σ w²·zz'·Λ² − Σ w²·z·Λ·M' − … + Σ zz' − 2·Σ w·zz'·Λ − …,

where all rows of a cell have the same Λ, M and m̄: sums over the rows of a cell are shared, multiplied by
these, and added up. With Efron's ties, events were gone in part when their cell added to the hazard, so that
they have a Λ and M of their own.

Rows that enter late have the Λ of two cells, and a cluster those of all its rows, whose products are not made
of such sums. There the residuals of clusters themselves are computed, on shares: dΛ and m·dΛ times the
weights of a cluster in each cell.

References
----------
.. [1] D. Y. Lin and L. J. Wei, "The Robust Inference for the Cox Proportional Hazards Model", JASA 84, 1989.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats import _ranks
from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.regression._equations import full
from fedstats.survival._cox_baseline import FRACTION, LARGEST, SMALLEST
from fedstats.survival._cox_rows import Cells, Rows
from protocols.floating import fixed, floating
from protocols.long import LongArray, concatenate, matmul, multiply, share_long, sum_long

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from protocols.engine import Engine

#: What `squared_residuals` publishes of clusters, or of rows that may enter late.
PUBLISHED: Mapping[str, str] = {
    "cluster lengths": "its number of clusters, or of rows, rounded up by an eighth at most, to 16 at least"
}
#: Most numbers that the weights of all clusters, cell by cell, may be.
MOST_WEIGHTS = 1 << 22


@dataclass(frozen=True, eq=False, repr=False)
class Hazards:
    """What each cell adds to the hazard, secret.

    Attributes
    ----------
    added, times_mean
        dΛ and m·dΛ, shapes ``(cells,)`` and ``(cells, p)``.
    gone, gone_times_mean
        The part of these in which the events of the cell were gone.
    mean
        Mean of z over the risk sets of its events, shape ``(cells, p)``.
    """

    added: LongArray
    times_mean: LongArray
    gone: LongArray
    gone_times_mean: LongArray
    mean: LongArray


def squared_residuals(
    run: Analysis, rows: Rows, beta: Array, *, is_efron: bool, late: bool, cluster: NDArray[np.int64] | None
) -> LongArray:
    """Return Σ rr' of the score residuals of rows, or of clusters; secret, shape ``(p, p)``.

    Parameters
    ----------
    run
        The analysis, in the result mode.
    rows
        This site's rows, |z| ≤ 1.
    beta
        The estimates.
    is_efron
        Whether tied events leave the risk set one after the other, in part.
    late
        Whether rows may enter late.
    cluster
        Of each row; None without clusters.

    Raises
    ------
    EstimationError
        Clusters, or rows that may enter late, times cells are too many.

    Notes
    -----
    **Cost.** 60 rounds for three parties, and some 1.5·(1 + p)² kB for each cell; with clusters or late entry
    200·(2 + p) bytes for each cell and cluster.
    """
    weights = np.maximum(rows.weights(beta), SMALLEST)
    if cluster is None and late:
        cluster = np.arange(len(weights))
    lengths = []
    if cluster is not None:
        lengths = _ranks.agree_lengths(run, int(cluster.max(initial=-1)) + 1, label="cluster lengths")
        _refuse_many(rows, lengths)
    with run.on_shares() as engine:
        hazards = _hazards(engine, rows, weights, is_efron)
        if cluster is not None:
            residuals = _of_clusters(engine, hazards, rows, weights, cluster, max(lengths))
            return matmul(residuals.T, residuals).assume(LARGEST).rescale(FRACTION)
        return _of_rows(engine, hazards, rows, weights).assume(LARGEST).rescale(FRACTION)


def _hazards(engine: Engine, rows: Rows, weights: Array, is_efron: bool) -> Hazards:
    """Compute what cells add to the hazard: one quotient for each event."""
    cells, linear = rows.cells, rows.linear(weights)
    own = np.stack([rows.at_risk(linear), rows.dying(linear)])
    at_risk, dying = sum_long(engine, own, bound=LARGEST, fraction=FRACTION)
    cell, p = cells.repeated, len(linear) - 1
    k = cells.place if is_efron else np.zeros_like(cell)
    d = cells.events[cell]
    left = at_risk[:, cell] * d - dying[:, cell] * k
    per_weight = fixed(1 / floating(left[0]), bound=LARGEST, fraction=FRACTION)
    mean = multiply(left[1:], per_weight, FRACTION).assume(2)
    added = per_weight * d
    both = concatenate([added.reshape(1, -1), multiply(mean, added, FRACTION)])
    scaled = concatenate([both * (k / d), mean * (1 / d)]).rescale(FRACTION)
    total = _by_cell(concatenate([both, scaled]), cells)
    hazard, gone, means = total[: p + 1], total[p + 1 : 2 * p + 2], total[2 * p + 2 :]
    return Hazards(hazard[0], hazard[1:].T, gone[0], gone[1:].T, means.T)


def _by_cell(values: LongArray, cells: Cells) -> LongArray:
    """Return sums over the events of each cell, along the last axis. Local."""
    running = _running_sum(values)[:, np.cumsum(cells.events) - 1]
    return concatenate([running[:, :1], running[:, 1:] - running[:, :-1]], axis=1)


def _running_sum(x: LongArray) -> LongArray:
    """Return sums of each entry and all before it, along the last axis. Local."""
    shares, reach = x.shares.copy(), 1
    while reach < x.shape[-1]:
        shares[..., reach:] = x.on.add(shares[..., reach:], shares[..., :-reach])
        reach *= 2
    return LongArray(x.engine, shares, x.sum(axis=-1).format, x.on)


# --- Rows that are at risk from the start -------------------------------------------------------------


def _of_rows(engine: Engine, hazards: Hazards, rows: Rows, weights: Array) -> LongArray:
    """Return Σ rr' from sums over the rows that are at risk until each cell."""
    cells, p = rows.cells, rows.z.shape[1]
    size, upper = len(cells), np.triu_indices(p)
    until = rows.last - 1
    ends = np.zeros(len(weights), bool)
    ends[rows.died] = True
    # Those that are censored, and those with an event; others are never at risk at an event.
    place = np.where(ends, size, 0) + until
    some = rows.last > rows.first

    z = rows.z.T
    powers = np.concatenate([np.ones((1, len(weights))), z, z[upper[0]] * z[upper[1]]])
    own = np.stack([_sums(powers * weights**power, place, some, 2 * size) for power in (0, 1, 2)])
    moments = sum_long(engine, own, bound=LARGEST, fraction=FRACTION)
    zeroth, first, second = ((x[0], x[1 : p + 1].T, x[p + 1 :]) for x in moments)

    L, M = (_within_strata(x, cells) for x in (hazards.added.reshape(-1, 1), hazards.times_mean))
    M_event = M - hazards.gone_times_mean
    L = concatenate([L[:, 0], L[:, 0] - hazards.gone])
    M = concatenate([M, M_event])
    by_weight = multiply(second[1], L.reshape(-1, 1), FRACTION)
    squared = matmul(second[2], multiply(L, L, FRACTION))
    cross = matmul(by_weight.T, M)
    outer = matmul(multiply(M, second[0].reshape(-1, 1), FRACTION).T, M)

    # And what rows with an event have besides.
    L, mean = L[size:], hazards.mean
    one, linear, square = (first[0][size:], first[1][size:], first[2][:, size:])
    squared = squared + zeroth[2][:, size:].sum(axis=1) - matmul(square, L) * 2
    rest = zeroth[1][size:] - multiply(linear, L.reshape(-1, 1), FRACTION)
    cross = cross + matmul(rest.T, mean) - matmul(linear.T, M_event)
    both = matmul(multiply(mean, one.reshape(-1, 1), FRACTION).T, M_event)
    outer = outer + matmul((mean * cells.events[:, np.newaxis]).T, mean) - both - both.T
    return full(squared, p) - cross - cross.T + outer


def _sums(values: Array, place: NDArray[np.int64], some: NDArray[np.bool_], size: int) -> Array:
    """Return sums of values of some rows by place, along the last axis."""
    total = [np.bincount(place[some], weights=row[some], minlength=size) for row in values]
    return np.stack(total).astype(np.float64)  # without rows, counts are integers


def _within_strata(x: LongArray, cells: Cells) -> LongArray:
    """Return running sums over the cells of each stratum, along the first axis."""
    zero = x[:1] * 0
    total = concatenate([zero, _running_sum(x.T).T])
    return total[1:] - total[cells.edges[cells.stratum]]


# --- Clusters, and rows that enter late ---------------------------------------------------------------


def _refuse_many(rows: Rows, lengths: Sequence[int]) -> None:
    cells, p = len(rows.cells), rows.z.shape[1]
    if len(lengths) * max(lengths) * cells * (p + 2) > MOST_WEIGHTS:
        raise EstimationError(
            f"robust standard errors on shares, of clusters or with late entry, take the weight of each "
            f"of {sum(lengths):,} clusters at each of {cells:,} times of events, too many: round times to "
            "a coarser unit at every site and give it as unit=, or use disclose='aggregate'"
        )


def _of_clusters(
    engine: Engine, hazards: Hazards, rows: Rows, weights: Array, cluster: NDArray[np.int64], most: int
) -> LongArray:
    """Return score residuals of the clusters of all sites, shape ``(clusters, p)``; 0 of those made up."""
    cells, p = rows.cells, rows.z.shape[1]
    size = len(cells)
    own = np.zeros((most, p + 1, size))  # Σ w and Σ wz of a cluster at risk in each cell
    dying = np.zeros((most, p + 1, size))
    deaths, events = np.zeros((most, size)), np.zeros((most, p))
    linear = rows.linear(weights)
    for row, (its, first, last) in enumerate(zip(cluster, rows.first, rows.last, strict=True)):
        own[its, :, first:last] += linear[:, row, np.newaxis]
    for row, cell in zip(rows.died, rows.where, strict=True):
        its = cluster[row]
        dying[its, :, cell] += linear[:, row]
        deaths[its, cell] += 1
        events[its] += rows.z[row]
    tied = np.flatnonzero(cells.events > 1)
    dying = dying[..., tied]
    table = np.concatenate([own.reshape(most, -1), dying.reshape(most, -1), deaths, events], axis=1)
    shared = share_long(engine, table, bound=LARGEST, fraction=FRACTION).reshape(-1, table.shape[1])
    edges = np.cumsum([own[0].size, dying[0].size, size])
    risk, tied_risk = (
        part.reshape(len(shared), p + 1, width)
        for part, width in ((shared[:, : edges[0]], size), (shared[:, edges[0] : edges[1]], len(tied)))
    )
    died, z = shared[:, edges[1] : edges[2]], shared[:, edges[2] :]
    by_covariate = concatenate([risk[:, 1:], tied_risk[:, 1:] * -1], axis=2).reshape(len(shared) * p, -1)
    hazard = concatenate([hazards.added, hazards.gone[tied]])
    of_weights = concatenate([risk[:, 0], tied_risk[:, 0] * -1, died * -1], axis=1)
    means = concatenate([hazards.times_mean, hazards.gone_times_mean[tied], hazards.mean])
    expected = matmul(by_covariate, hazard).reshape(len(shared), p)
    return (z - expected + matmul(of_weights, means)).rescale(FRACTION)
