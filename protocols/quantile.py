"""Quantiles of everybody's values together, on a public grid, of which nobody sees a count.

Each party counts its own values in the cells of a grid; the counts are summed as shares. Which cell holds the
quantile is found by comparing cumulative counts with the rank that is sought, and by bisection into √G times
√G cells: first the row, then the column in that row, which is read by a secret index. The values themselves
are never shared, so their number costs nothing.

`sort.quantiles` is for values that are shared themselves, and exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from protocols import field
from protocols.compare import BIT, negative
from protocols.fixed import Format
from protocols.secret import SecretArray, concatenate, matmul, public


def quantile_cells(counts: SecretArray, q: Sequence[float | Fraction]) -> SecretArray:
    """Return the secret cells in which quantiles are: the first ones up to which a part of q is counted.

    Parameters
    ----------
    counts
        Shape ``(cells,)``: how many values are in each cell of a grid, none negative. Integers with a public
        bound, the sum of all parties' counts (`inputs.sum_shares`).
    q
        Public levels, 0 < q ≤ 1. A float stands for the nearest fraction with a denominator up to 1000.

    Returns
    -------
    SecretArray
        Shape ``(len(q),)``: positions in the grid; 0 where there are no values at all.

    Raises
    ------
    PrecisionError
        So many values cannot be compared under a mask. Nothing was sent.

    Notes
    -----
    **Leakage.** Nothing; see `compare.negative`.

    **Cost.** For each level two comparisons of √G numbers, one after the other, and √G inner products between
    them: 9 + 2⌈log2 m⌉ rounds for three parties and numbers of m bits, those of a count times a denominator.
    """
    if counts.ndim != 1 or not counts.size or counts.format.fraction or counts.format.bound is None:
        raise ValueError("counts are a vector of bounded integers, for one cell at least")
    levels = [Fraction(one).limit_denominator(1000) for one in q]
    if not all(0 < level <= 1 for level in levels):
        raise ValueError("quantiles are those at levels above 0, and up to 1")
    width = math.isqrt(counts.size - 1) + 1
    table = _cumulative(counts, width)
    ends, total = table[:, -1], table[-1, -1]
    part = np.array([[level.numerator] for level in levels], np.int64).reshape(-1, 1)
    whole = np.array([[level.denominator] for level in levels], np.int64).reshape(-1, 1)

    rows_before = negative(ends * whole - total * part)  # 1, …, 1, 0, …, 0
    first = public(counts.engine, np.ones((len(levels), 1), np.int64))
    in_row = concatenate([first, rows_before[:, :-1]], axis=1) - rows_before
    row = matmul(SecretArray(counts.engine, in_row.shares, BIT), table)
    row = SecretArray(counts.engine, row.shares, table.format)  # one of the rows: no larger than they are
    cells_before = negative(row * whole - total * part)
    return rows_before.sum(axis=1) * width + cells_before.sum(axis=1)


def _cumulative(counts: SecretArray, width: int) -> SecretArray:
    """Return cumulative counts in rows of a width; the last row is filled up with the total."""
    height = -(-counts.size // width)
    padding = field.zeros(height * width - counts.size)
    table = np.concatenate([counts.flat(), padding]).reshape(height, width, 2)
    for column in range(1, width):
        table[:, column] = field.add(table[:, column - 1], table[:, column])
    for row in range(1, height):
        table[row] = field.add(table[row - 1, -1:], table[row])
    return SecretArray(counts.engine, table, Format(0, (counts.format.bound or 0) * counts.size))
