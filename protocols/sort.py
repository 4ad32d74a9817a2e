"""Sorting secrets, and what sorted secrets are for: order statistics, the largest k, merging.

The rows are shuffled, in an order that nobody knows (`shuffle`). Their keys are all different, since each
ends in its row's number; so which of two shuffled rows comes first is a coin toss to everybody, whatever the
keys are, and comparisons may be opened: they tell the shuffled rows' random order and nothing else [1]_.
What follows is a quicksort in public. It splits by many pivots at once rather than one, for few rounds.

The keys' bits are shared once; comparisons of these cost no more masks (`adder.less_pieces`).

References
----------
.. [1] K. Hamada, R. Kikuchi, D. Ikarashi, K. Chida and K. Takahashi, "Practically Efficient Multi-party
   Sorting Protocols from Comparison Sort Algorithms", ICISC 2012.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from protocols import bitslice
from protocols.adder import less_pieces
from protocols.bits import Bits, disclose
from protocols.bits import concatenate as join_planes
from protocols.bitslice import Words
from protocols.decompose import biased
from protocols.engine import Engine
from protocols.fixed import Format
from protocols.masked import length_of
from protocols.secret import SecretArray, concatenate, public
from protocols.shuffle import shuffle

Indices = NDArray[np.intp]
#: Answers, for each pair of shuffled rows, whether the first is the smaller one; all parties learn it.
Comparison = Callable[[Indices, Indices], NDArray[np.bool_]]

#: Pivots that split a long segment.
PIVOTS = 7
#: Segments of at most so many rows are sorted by comparing all pairs.
SHORT = 32
#: Pairs compared at a time, few enough for a message to stay below a mebibyte or two.
BLOCK = 1 << 17


def sort_by(
    key: SecretArray,
    *columns: SecretArray,
    descending: bool = False,
    ranks: Sequence[int] | Indices | None = None,
    lists: Sequence[int] | None = None,
) -> tuple[SecretArray, ...]:
    """Return a key in ascending order, and columns in the order of the key.

    Parameters
    ----------
    key
        Shape ``(size,)``: integers or fixed-point numbers with a public bound.
    *columns
        Shape ``(size,)``: what is to follow the key.
    descending
        Largest first. Rows with the same key keep their order either way.
    ranks
        Public: which places of the sorted rows are wanted, from 0; all by default. Few cost less.
    lists
        Public: lengths of lists that stand one after the other, of which each is sorted by itself; all in the
        same rounds. All rows are one list by default.

    Returns
    -------
    tuple of SecretArray
        The key and the columns, each of shape ``(len(ranks),)``.

    Raises
    ------
    PrecisionError
        Keys have no public bound, or are too large to be masked. Nothing was sent.

    Notes
    -----
    **Leakage.** Nothing. What is opened is a function of the order of the shuffled rows, a uniform
    permutation to any t passive colluders and independent of all secrets.

    **Cost.** For n parties and keys of m bits, row number included: C(n, t) rounds for the shuffle,
    about 4 + ⌈log2 m⌉ for the bits, and 1 + ⌈log2 m⌉ a level. For 10,000 rows, seven levels and about 320,000
    comparisons of 3m bits, to one peer for three parties. Keys that leave no room for a mask once the row
    numbers stand behind them are shuffled apart from these, and take the rounds for the bits twice.
    """
    engine, size = key.engine, key.size
    if any(column.shape != (size,) for column in (key, *columns)):
        raise ValueError("a key and its columns are vectors of the same length")
    lists = [size] if lists is None else lists
    if sum(lists) != size:
        raise ValueError("the lists' lengths add up to another number of rows")
    wanted = np.arange(size) if ranks is None else np.arange(size)[np.asarray(ranks, np.intp)]
    digits = _unique(key, descending, lists)
    lengths = [length_of(engine, digit.format) for digit in digits]
    rows = np.stack([column.shares for column in (*digits, key, *columns)], axis=1)
    if size > 1 and wanted.size:
        rows = shuffle(engine, rows, lists=lists)
        planes = [
            biased(engine, np.ascontiguousarray(rows[:, position]), length)
            for position, length in enumerate(lengths)
        ]
        numbers, length = _side_up(join_planes(planes), size), sum(lengths)
        rows = rows[arrange(lists, wanted, lambda i, j: _disclosed_order(engine, numbers, length, i, j))]
    else:
        rows = rows[wanted]
    return tuple(
        SecretArray(engine, np.ascontiguousarray(rows[:, len(digits) + position]), column.format)
        for position, column in enumerate((key, *columns))
    )


def sort(x: SecretArray, *, descending: bool = False) -> SecretArray:
    """Return the entries of a vector in ascending order; see `sort_by`."""
    return sort_by(x, descending=descending)[0]


def argsort(x: SecretArray, *, descending: bool = False) -> SecretArray:
    """Return the secret positions in which the entries of a vector are in order; see `sort_by`."""
    return sort_by(x, _positions(x), descending=descending)[1]


def merge(lists: Sequence[SecretArray]) -> SecretArray:
    """Return the entries of sorted vectors in ascending order.

    Notes
    -----
    They are sorted all over again: a network that merges two lists of 5,000 takes 14 comparisons one after
    the other, and more rounds than `sort` needs for all.
    """
    return sort(concatenate(lists))


def top_k(x: SecretArray, k: int, *columns: SecretArray) -> tuple[SecretArray, ...]:
    """Return the k largest entries of a vector, largest first, and the columns' entries beside them.

    Of equal entries the first ones are taken. See `sort_by`; rows that cannot be among them are not sorted.
    """
    if not 0 <= k <= x.size:
        raise ValueError(f"there are no {k} largest of {x.size} entries")
    return sort_by(x, *columns, descending=True, ranks=np.arange(k))


def argmax(x: SecretArray) -> SecretArray:
    """Return the secret position of a vector's largest entry, the first one of several."""
    return top_k(x, 1, _positions(x))[1][0]


def argmin(x: SecretArray) -> SecretArray:
    """Return the secret position of a vector's smallest entry, the first one of several."""
    return sort_by(x, _positions(x), ranks=[0])[1][0]


def quantiles(x: SecretArray, q: Sequence[float | Fraction]) -> SecretArray:
    """Return quantiles of a vector, interpolated linearly between its entries, as `numpy.quantile` does.

    Parameters
    ----------
    x
        Shape ``(size,)``, not empty.
    q
        Public: between 0 and 1.

    Raises
    ------
    TypeError
        A quantile is between two integers, which have no fractional bits. Nothing was sent.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** `sort_by` of the ranks that are needed, and a rounding.
    """
    if not x.size or not all(0 <= one <= 1 for one in q):
        raise ValueError("quantiles are those of some entries, at levels from 0 to 1")
    places = [Fraction(one) * (x.size - 1) for one in q]
    low = [math.floor(place) for place in places]
    high = [math.ceil(place) for place in places]
    share = np.array([float(place - floor) for place, floor in zip(places, low, strict=True)])
    if share.any() and not x.format.fraction:
        raise TypeError("quantiles between integers need fractional bits: rescale them first")
    (found,) = sort_by(x, ranks=[*low, *high])
    below, above = found[: len(q)], found[len(q) :]
    if not share.any():
        return below
    between = below + (above - below) * share
    # Between two entries, but for the error of the rounding.
    bound = (x.format.bound or 0) + x.engine.prss.count // 2 + 1
    return SecretArray(x.engine, between.shares, Format(between.format.fraction, bound))


# --- Order in public ---------------------------------------------------------------------------------


def arrange(lists: Sequence[int], wanted: Indices, smaller: Comparison) -> Indices:
    """Return which rows have the wanted places in sorted lists, by quicksort with many pivots [1]_.

    Parameters
    ----------
    lists
        Lengths of the lists, which stand one after the other; their rows are in random order, and no two of a
        list are alike.
    wanted
        Places, from 0.
    smaller
        Answers for many pairs at a time; it is called once a level.

    References
    ----------
    .. [1] W. D. Frazer and A. C. McKellar, "Samplesort: A Sampling Approach to Minimal Storage Tree Sorting",
       Journal of the ACM 17, 1970.
    """
    sought = np.unique(wanted)
    found = np.arange(sum(lists))
    ends = np.cumsum(lists)
    segments = [
        (end - size, np.arange(end - size, end)) for end, size in zip(ends, lists, strict=True) if size > 1
    ]
    while segments:
        split = [len(rows) if len(rows) <= SHORT else PIVOTS for _, rows in segments]
        pairs = [_pairs(count, len(rows)) for count, (_, rows) in zip(split, segments, strict=True)]
        left, right = (
            np.concatenate([rows[pair[side]] for pair, (_, rows) in zip(pairs, segments, strict=True)])
            for side in (0, 1)
        )
        answers = np.split(smaller(left, right), np.cumsum([len(pair[0]) for pair in pairs])[:-1])
        below: list[tuple[int, Indices]] = []
        for count, pair, answer, (start, rows) in zip(split, pairs, answers, segments, strict=True):
            below += _split(found, start, rows, _counts(count, len(rows), pair, answer), count)
        segments = []
        for start, rows in below:
            if len(rows) == 1:
                found[start] = rows[0]
            elif np.searchsorted(sought, start) < np.searchsorted(sought, start + len(rows)):
                segments.append((start, rows))
    return found[wanted]


@lru_cache(SHORT + 1)
def _pairs(count: int, size: int) -> tuple[Indices, Indices]:
    """Return all pairs of one of the first `count` of a segment's rows and one that comes after it."""
    pivot, other = np.nonzero(np.arange(size) > np.arange(count)[:, np.newaxis])
    return pivot, other


def _counts(count: int, size: int, pair: tuple[Indices, Indices], answer: NDArray[np.bool_]) -> Indices:
    """Return for each row of a segment how many of its pivots are smaller."""
    pivot, other = pair
    counts = np.bincount(other, weights=answer, minlength=size).astype(np.intp)
    among = other < count
    counts[:count] += np.bincount(pivot[among], weights=~answer[among], minlength=count).astype(np.intp)
    return counts


def _split(
    found: Indices, start: int, rows: Indices, counts: Indices, count: int
) -> list[tuple[int, Indices]]:
    """Put a segment's pivots in their places, and return the segments between them that are not empty."""
    order = np.argsort(2 * counts + (np.arange(len(rows)) < count), kind="stable")
    # Pivots come after those that as many pivots are smaller than: all of these are smaller than it.
    pivots = np.flatnonzero(order < count)
    found[start + pivots] = rows[order[pivots]]
    edges = [-1, *pivots.tolist(), len(rows)]
    return [(start + low + 1, rows[order[low + 1 : high]]) for low, high in pairwise(edges) if high > low + 1]


# --- Keys --------------------------------------------------------------------------------------------


def _unique(key: SecretArray, descending: bool, lists: Sequence[int]) -> list[SecretArray]:
    """Return integers in the order of the keys, and of a list's rows where keys are equal, last digit first.

    One integer, key and row number together, if it can be masked; otherwise the two of them.
    """
    bits = max([size - 1 for size in lists if size], default=0).bit_length()
    row = public(key.engine, np.concatenate([np.arange(0), *map(np.arange, lists)]))
    signed = SecretArray(key.engine, (-key if descending else key).shares, Format(0, key.format.bound))
    bound = None if signed.format.bound is None else ((signed.format.bound + 1) << bits) - 1
    if bound is not None and bound.bit_length() >= key.engine.room:
        return [row, signed]
    integers = SecretArray(key.engine, signed.shares) * (1 << bits) + row
    return [SecretArray(key.engine, integers.shares, Format(0, bound))]


def _positions(x: SecretArray) -> SecretArray:
    return public(x.engine, np.arange(x.size))


def _side_up(planes: Bits, size: int) -> Words:
    """Return shares of the numbers that planes make, number by number: shape ``(k, size, limbs)``."""
    numbers = np.empty((len(planes.rows), size, -(-len(planes) // 64)), np.uint64)
    for number, row in zip(numbers, planes.rows, strict=True):
        bitslice.from_planes(number, np.ascontiguousarray(row))
    return numbers


def _disclosed_order(
    engine: Engine, numbers: Words, length: int, i: Indices, j: Indices
) -> NDArray[np.bool_]:
    """Open, for each pair of shared numbers, whether the first is less than the second."""
    answers = np.empty(len(i), bool)
    for start in range(0, len(i), BLOCK):
        part = slice(start, start + BLOCK)
        pairs = [_planes_of(engine, numbers, length, index[part]) for index in (i, j)]
        opened = disclose(engine, "order", less_pieces(*pairs))
        count = len(answers[part])
        answers[part] = np.unpackbits(opened.view(np.uint8), count=count, bitorder="little")
    return answers


def _planes_of(engine: Engine, numbers: Words, length: int, index: Indices) -> Bits:
    """Return some of the shared numbers as planes."""
    rows = np.empty((len(numbers), length, -(-len(index) // 64)), np.uint64)
    for row, number in zip(rows, numbers, strict=True):
        bitslice.gather_planes(row, number, index)
    return Bits(engine, rows)
