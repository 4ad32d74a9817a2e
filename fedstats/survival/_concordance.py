"""Concordance of risk scores with survival, counted on shares over the pairs of all rows.

A row that ends in an event at time t is compared with every row at risk then that stays longer: the pair is
concordant if the former has the higher score [1]_. Each row makes *marks* on the axis of time: one where it
leaves, with weight 1, and where it entered late, or belongs to a stratum, one there with weight −1. A row is
at risk at an event if the weights of its marks behind it add up to 1, so that all pairs are those of an event
and a later mark.

Marks are sorted by score, and by time among equal scores, which gives each a rank; then by time, and by rank
among equal times. A pair is concordant if the mark that comes later has the lower rank, for whatever is tied
in either way comes in both orders alike. `fedstats._pairs` counts these inversions.

References
----------
.. [1] F. E. Harrell, R. M. Califf, D. B. Pryor, K. L. Lee and R. A. Rosati, "Evaluating the Yield of Medical
   Tests", JAMA 247, 1982.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats import _pairs, _ranks
from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.survival._times import Times
from protocols import scan
from protocols.compare import BIT
from protocols.floating import SecretFloat, floating
from protocols.floating import concatenate as join_floats
from protocols.secret import SecretArray, concatenate, inner, multiply, public, stack
from protocols.sort import sort_by

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What `harrell` publishes and opens; part of the declaration of every method that calls it.
PUBLISHED: Mapping[str, str] = {"lengths": _ranks.PUBLISHED["rows"]}
RESULT: Mapping[str, str] = {"concordance": "the concordance of scores with survival, and its variance"}


def harrell(
    run: Analysis, times: Times, score: Array, *, marks: bool, cluster: NDArray[np.int64] | None = None
) -> tuple[float, float]:
    """Return Harrell's concordance and its variance, the infinitesimal jackknife's.

    Parameters
    ----------
    run
        The analysis. Its declaration includes `PUBLISHED` and `RESULT`.
    times
        This site's rows.
    score
        Of each row: higher ones are expected to have their event earlier.
    marks
        Whether rows may enter late, or belong to strata.
    cluster
        Of each row, where rows of a cluster count as one in the variance.

    Raises
    ------
    EstimationError
        No two rows can be compared. Raised at every site alike.

    Notes
    -----
    **Leakage.** `PUBLISHED` and `RESULT`. **Cost.** For m marks three sorts (`sort.sort_by`), and for each of
    the ⌈log2 m⌉ bits of ranks a shuffle and three rounds.
    """
    order = np.arange(len(score)) if cluster is None else np.argsort(cluster, kind="stable")
    same = np.zeros(len(score), np.int64)
    if cluster is not None:
        same[1:] = np.diff(cluster[order]) == 0
    lengths = _ranks.agree_lengths(run, len(score), label="lengths")
    # All strata on one axis, on which an event is before the marks of rows that are censored with it.
    axis = 2 * (times.cell * (times.size + 1) + 1)
    event = np.minimum(times.cause, 1)
    leave, enter = axis + 2 * times.stop + 1 - event, axis + 2 * times.start + 1
    columns = [*(column[order] for column in (leave, enter, event)), np.ones_like(event), same]
    with run.on_shares() as engine:
        rows = _ranks.share(engine, lengths, _ranks.keys(score[order]), columns)
        left, entered = (x.assume(2 * len(times.n_rows) * (times.size + 1) + 2) for x in rows.columns[:2])
        died, there, joined = (SecretArray(engine, x.shares, BIT) for x in rows.columns[2:])
        made = [(rows.key, left, died, there)]
        if marks:
            made.append((rows.key, entered, died * 0, -there))
        surplus, pairs, number = _by_mark(*(concatenate(parts) for parts in zip(*made, strict=True)))
        if marks or cluster is not None:
            both = stack(_pairs.in_order(number, surplus, pairs))
            both = both.reshape(2, len(made), -1).sum(axis=1)
            both = both if cluster is None else _by_cluster(both, joined)
            surplus, pairs = both[0], both[1]
        estimate = _estimate(surplus, pairs, bound=float(number.size) ** (3 if cluster is None else 4))
    opened = run.reveal({"concordance": estimate})["concordance"]
    if np.isnan(opened).any():
        raise EstimationError(
            "no two rows can be compared: no row stays at risk longer than one with an event"
        )
    value, variance = opened.tolist()
    return value, variance


def _by_mark(
    score: SecretArray, time: SecretArray, event: SecretArray, weight: SecretArray
) -> tuple[SecretArray, SecretArray, SecretArray]:
    """Return of each mark the concordant pairs less the discordant ones that it is in, and all of them.

    Parameters
    ----------
    score, time
        Keys by which marks are sorted.
    event, weight
        Whether a mark is an event, and what it counts for at events before it.

    Returns
    -------
    tuple of SecretArray
        Both, and the position of the mark in what was given: the order is another one.
    """
    size = score.size
    number = public(score.engine, np.arange(size))
    time, score, event, weight, number = sort_by(time, score, event, weight, number)
    [beyond] = _beyond(time[1:] == time[:-1], event, weight)
    pairs = multiply(stack([event, weight]), beyond).sum(axis=0)

    score, time, event, weight, number, pairs = sort_by(score, time, event, weight, number, pairs)
    equal = stack([score[1:], time[1:]]) == stack([score[:-1], time[:-1]])
    both = multiply(equal[0], equal[1])
    score_block, time_block = _beyond(stack([equal[0], both]), event, weight)
    tied = multiply(stack([event, weight]), time_block - score_block).sum(axis=0)

    _, event, weight, *rank = sort_by(time, event, weight, *_pairs.place_bits(score.engine, size))
    concordant = _pairs.inversions(event, weight, rank)
    surplus = 2 * concordant + tied - pairs
    return surplus.assume(2 * size), pairs.assume(2 * size), number


def _beyond(joined: SecretArray, event: SecretArray, weight: SecretArray) -> list[SecretArray]:
    """Return for each mark of a sorted list Σ weights after its block, and Σ events before it.

    Parameters
    ----------
    joined
        Secret bits, shape ``(size − 1,)`` or ``(kinds, size − 1)``: whether a mark is in the block of the one
        before it.
    event, weight
        Shape ``(size,)``.

    Returns
    -------
    list of SecretArray
        Of each kind of blocks both sums, shape ``(2, size)``.
    """
    engine, size = event.engine, event.size
    kinds = joined.reshape(-1, size - 1)
    edge = np.zeros((len(kinds), 1, 2), np.uint64)
    as_before = SecretArray(engine, np.concatenate([edge, kinds.shares], axis=1), BIT)
    as_after = SecretArray(engine, np.concatenate([kinds.shares, edge], axis=1), BIT)
    sums = scan.running_sum(stack([event, weight]))
    before, after = sums[0] - event, sums[1, -1:] - sums[1]
    go_on = stack([as_before, as_after[:, ::-1]])
    known = stack([before, after[::-1]])[:, np.newaxis].broadcast_to(go_on.shape)
    found = scan.segmented(go_on, multiply(1 - go_on, known), bound=size)
    return [stack([found[1, kind, ::-1], found[0, kind]]) for kind in range(len(kinds))]


def _by_cluster(both: SecretArray, joined: SecretArray) -> SecretArray:
    """Return sums over clusters, at the last row of each, and 0 elsewhere; shape ``(kinds, rows)``."""
    found = scan.segmented(joined.broadcast_to(both.shape), both, bound=both.format.magnitude * joined.size)
    further = np.concatenate([joined.shares[1:], np.zeros((1, 2), np.uint64)])
    return multiply(found, 1 - SecretArray(joined.engine, further, BIT))


def _estimate(surplus: SecretArray, pairs: SecretArray, bound: float) -> SecretFloat:
    """Return (1 + S/P)/2 and its variance Σ (s − p·S/P)²/P², of the sums S and P of s and p.

    They count each pair twice. No sum of squares exceeds twice the bound.
    """
    sums = stack([surplus.sum(), pairs.sum()])
    squares = inner(stack([surplus, surplus, pairs]), stack([surplus, pairs, pairs]), bound=2 * bound)
    S, P = floating(sums)
    D = S / P
    ss, sp, pp = floating(squares)
    value = (1 + D) / 2
    variance = (ss - D * (2 * sp - D * pp)) / (P * P)
    return join_floats([value.reshape(1), variance.reshape(1)])
