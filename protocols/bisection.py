"""Quantiles of everybody's values together, digit by digit, of which nothing but the quantile is ever opened.

A quantile v lies between two neighbours in order, a ≤ b, as (1 − g)·a + g·b. Opening a and b would tell
more than v, and so would a search for either. Here the search is for v itself, by public thresholds m. All
that it needs of each party are three numbers for a threshold, which the party finds alone: how many of its
values are below m, and how far m is from its nearest value below, and from its nearest one above. Let c be
how many values are below m, and k how many are below a in order; then v < m

- if c > k + 1, as b < m;
- not if c ≤ k, as a ≥ m;
- else, with a < m ≤ b, if (1 − g)·(m − a) > g·(b − m). The left side is the smallest over all parties of what
  each computes of its own nearest value, and so is the right side: one party's right side is below the left
  sides of all.

So comparisons are all that is done on shares, of counts, and of floats as the integers that have the same
order: exact for any floats, whatever their range. The answers follow from v. They are its digits in base
2^w: 2^w − 1 thresholds at a time, and v is known after 64/w steps. It is the largest float that is not
above the interpolated one, but for the rounding of the distances.

Values are never shared, so that their number costs nothing. To find one order statistic by such counts is the
protocol of Aggarwal, Mishra and Pinkas [1]_; the interpolation without its ends is ours.

References
----------
.. [1] G. Aggarwal, N. Mishra and B. Pinkas, "Secure Computation of the k-th Ranked Element", EUROCRYPT 2004.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.compare import BIT, complement, every, negative
from protocols.engine import Engine
from protocols.inputs import share
from protocols.secret import SecretArray, concatenate, inner

#: Bits of a number.
BITS = 64
#: A step finds so many bits at most and at least, and among three parties compares about so many numbers in
#: all: more take longer to send over 100 Mbit/s than they save in rounds of 20 ms. They grow with n².
WIDEST, NARROWEST = 10, 2
COMPARED = 1 << 14
#: Public: no party has more values than this.
MOST_VALUES = 1 << 40

_SIGN = np.uint64(1 << 63)
_INFINITY = int(np.float64(np.inf).view(np.int64))

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Places:
    """Where quantiles lie among the ordered values, public.

    Attributes
    ----------
    rank
        Shape ``(quantiles,)``: how many values are below the lower neighbour, in order.
    weight
        Shape ``(quantiles,)``: g, the part of the upper neighbour; 0 ≤ g < 1.
    """

    rank: Integers
    weight: Floats


def to_words(x: Floats) -> Words:
    """Return floats as unsigned integers in the same order; −0 is 0. No NaN is among them."""
    bits = (np.asarray(x, np.float64) + 0.0).view(np.uint64)
    return np.where(bits >= _SIGN, ~bits, bits | _SIGN)


def to_floats(words: Words) -> Floats:
    """Return the floats of integers, beyond those of infinity that infinity: the inverse of `to_words`."""
    low, high = to_words(np.array([-np.inf, np.inf]))
    within = np.clip(words, low, high)
    return np.where(within >= _SIGN, within ^ _SIGN, ~within).view(np.float64)


def widths(engine: Engine, quantiles: int) -> list[int]:
    """Return how many bits each step finds, the fewer the more quantiles there are."""
    room = COMPARED * 9 // engine.n**2
    thresholds = room // max(1, quantiles * (2 + engine.n * (engine.n - 1)))
    most = min(WIDEST, max(NARROWEST, thresholds.bit_length() - 1))
    steps = -(-BITS // most)
    return [len(part) for part in np.array_split(np.arange(BITS), steps)]


def next_digits(
    engine: Engine, values: Sequence[Floats], places: Places, prefix: Words, done: int, width: int
) -> SecretArray:
    """Return the next digit of each quantile, secret: for the caller to reveal, as the quantile tells it.

    Parameters
    ----------
    engine
        The computation.
    values
        For each quantile this party's values, in ascending order, without NaN; possibly none.
    places
        Where the quantiles lie. There are as many values among all parties.
    prefix
        Shape ``(quantiles,)``: the digits that are known, as an integer.
    done, width
        How many bits these have, and how many the next digit has.

    Returns
    -------
    SecretArray
        Shape ``(quantiles,)``.

    Notes
    -----
    **Leakage.** Nothing; see `compare.negative`.

    **Cost.** For three parties and with interpolation 16 rounds, and about 950 bytes a threshold from each;
    without 11 and 95.
    """
    steps = np.arange(1, 1 << width, dtype=np.uint64)
    shift = np.uint64(BITS - done - width)
    thresholds = to_floats((prefix[:, np.newaxis] << np.uint64(width) | steps) << shift)
    counts = np.array([np.searchsorted(x, m) for x, m in zip(values, thresholds, strict=True)], np.int64)
    between = np.flatnonzero(places.weight)
    left, right = (
        np.array(
            [side(values[q], thresholds[q], counts[q], float(places.weight[q])) for q in between.tolist()],
            np.int64,
        ).reshape(len(between), len(steps))
        for side in (_left, _right)
    )

    pooled, closer, own = _shared(engine, counts, left, right)
    above_rank = pooled - places.rank[:, np.newaxis] - 1
    passed = above_rank[between] - 1
    signs = negative(concatenate([above_rank.ravel(), passed.ravel(), closer.ravel()]))
    at_rank = complement(signs[: above_rank.size]).reshape(counts.shape)
    upper_too = complement(signs[above_rank.size :][: passed.size]).reshape(passed.shape)
    nearer = _nearer(signs[above_rank.size + passed.size :].reshape(closer.shape), own)

    below = at_rank.sum(axis=1)
    if len(between):
        # In the gap the distances decide; above it all is decided, as b < m.
        gap = at_rank[between] - upper_too
        gap = SecretArray(engine, gap.shares, BIT)
        inside = upper_too.sum(axis=1) + inner(gap, nearer)
        rest = np.flatnonzero(places.weight == 0)
        order = np.argsort(np.concatenate([rest, between]))
        below = concatenate([below[rest], inside])[order]
    return SecretArray(engine, (len(steps) - below).shares, pooled.format).assume(len(steps))


def _left(x: Floats, m: Floats, counts: Integers, weight: float) -> Integers:
    """Return (1 − g)·(m − a) for the nearest own a < m, as integers in the same order."""
    nearest = np.append(-np.inf, x)[counts]
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.where(counts > 0, (1 - weight) * (m - nearest), np.inf)
    return distance.view(np.int64)


def _right(x: Floats, m: Floats, counts: Integers, weight: float) -> Integers:
    """Return g·(b − m) for the nearest own b ≥ m, as integers in the same order."""
    nearest = np.append(x, np.inf)[counts]
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.where(counts < len(x), weight * (nearest - m), np.inf)
    return distance.view(np.int64)


def _shared(
    engine: Engine, counts: Integers, left: Integers, right: Integers
) -> tuple[SecretArray, SecretArray, SecretArray]:
    """Share all of them in one round, and return what is compared.

    Returns
    -------
    counts
        Summed over the parties.
    closer
        A party's right side less another's left side, shape ``(parties·(parties − 1), …)``, by the party of
        the right side first: negative where it is closer.
    own
        Bits for whether a party's right side is below its own left side, shape ``(parties, …)``.
    """
    mine = np.concatenate([counts.ravel(), left.ravel(), right.ravel(), np.int64(left > right).ravel()])
    everybodys = share(engine, mine, bound=_INFINITY)
    ends = np.cumsum([counts.size, left.size, right.size])
    counted, lefts, rights, bits = (
        everybodys[:, start:end].reshape(engine.n, *array.shape)
        for start, end, array in zip([0, *ends], [*ends, None], [counts, left, left, left], strict=True)
    )
    index = np.arange(engine.n)
    ours, theirs = np.nonzero(index[:, np.newaxis] != index)
    own = SecretArray(engine, bits.shares, BIT)
    return counted.assume(MOST_VALUES).sum(axis=0), rights[ours] - lefts[theirs], own


def _nearer(closer: SecretArray, own: SecretArray) -> SecretArray:
    """Return whether some party's right side is below the left sides of all."""
    n = len(own)
    others = closer.reshape(n, n - 1, *own.shape[1:])
    each = every(concatenate([own.reshape(n, 1, *own.shape[1:]), others], axis=1).transpose(1, 0, 2, 3))
    return complement(every(complement(each)))
