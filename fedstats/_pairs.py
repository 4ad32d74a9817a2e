"""Pairs of rows of all sites that are in one order by one key and in the opposite order by another, counted.

Rows stand in the order of one key, and each has its rank by the other, a secret permutation: a pair of which
the later row has the lower rank is an *inversion*. Inversions are counted as by a wavelet tree [1]_: the list
is split by the highest bit of the ranks, in each half by the next bit, and so on; pairs that a bit tells
apart are counted by running sums, before the list is split. The position that a row goes to is secret; the
list is shuffled before these positions are opened.

A method brings whatever is tied in either key into the same order by both, so that it is no inversion:
`place_bits` are sorted along, and what stood at a place has its rank in bits wherever it goes.

Many lists, which stand one after the other, take the same rounds as the longest one.

References
----------
.. [1] R. Grossi, A. Gupta and J. S. Vitter, "High-Order Entropy-Compressed Text Indexes", SODA 2003.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from protocols import field, scan
from protocols.compare import BIT
from protocols.engine import Engine
from protocols.secret import SecretArray, inner, multiply, stack
from protocols.shuffle import shuffle


def place_bits(engine: Engine, *sizes: int) -> list[SecretArray]:
    """Return the bits of the places of the rows in lists of some sizes, from 0; the highest bit first."""
    digits = max(1, (max(sizes) - 1).bit_length())
    places = np.concatenate([np.arange(size) for size in sizes]) >> np.arange(digits)[::-1, np.newaxis] & 1
    return [SecretArray(engine, field.from_ints(digit), BIT) for digit in places]


def inversions(
    earlier: SecretArray, later: SecretArray, rank: list[SecretArray], sizes: Sequence[int] | None = None
) -> SecretArray:
    """Return for each row the inversions that it is in.

    Parameters
    ----------
    earlier, later
        What a row counts for as the earlier one of a pair, and as the later one: a pair counts for their
        product. Of magnitude 1 at most.
    rank
        Bits of the rows' ranks, the highest first; the ranks are those of a permutation.
    sizes
        Public: lengths of lists that stand one after the other, within which pairs are counted and rows are
        ranked. All rows are one list by default.

    Returns
    -------
    SecretArray
        In the order of ranks, list by list; each pair counts at both of its rows.

    Notes
    -----
    **Leakage.** Nothing; see `in_order`. **Cost.** For each bit a shuffle and three rounds.
    """
    sizes = [earlier.size] if sizes is None else sizes
    place, size = np.arange(earlier.size), max(sizes)
    last = np.repeat(np.cumsum(sizes), sizes)  # where the row's list ends
    first = last - np.repeat(sizes, sizes)
    total = SecretArray(earlier.engine, field.zeros(place.shape), earlier.format)
    while rank:
        width = 1 << len(rank)
        high, *rank = rank
        start = first + (place - first) // width * width
        end = np.minimum(start + width, last)
        ones = scan.running_sum(high) - high
        ones = ones - ones[start]
        # Zeros go to the first half of a stretch, ones to the second.
        own, further = place - start, np.minimum(width // 2, end - start)
        factors = stack([earlier, later, 2 * ones + (further - own)])
        of_high = multiply(high, factors)
        earlier_above, later_below, gap = of_high[0], later - of_high[1], of_high[2]
        sums = scan.running_sum(stack([earlier_above, later_below]))
        before = sums[0] - earlier_above
        before, behind = before - before[start], sums[1][end - 1] - sums[1]
        above_below = stack([earlier_above, later_below], axis=-1)
        pairs = inner(above_below, stack([behind, before], axis=-1), bound=2 * size)
        *rank, earlier, later, total = in_order(gap - ones + place, *rank, earlier, later, total + pairs)
    return total


def in_order(position: SecretArray, *columns: SecretArray) -> list[SecretArray]:
    """Return columns in the order of secret positions, a permutation, which are opened of shuffled rows.

    Notes
    -----
    **Leakage.** Nothing: positions of rows in a secret random order are a random permutation. **Cost.** A
    shuffle and a round.
    """
    engine = position.engine
    rows = shuffle(engine, np.stack([column.shares for column in (*columns, position)], axis=1))
    opened = SecretArray(engine, np.ascontiguousarray(rows[:, -1])).open()
    rows = rows[np.argsort(field.to_int64(opened))]
    return [
        SecretArray(engine, np.ascontiguousarray(rows[:, number]), column.format)
        for number, column in enumerate(columns)
    ]
