"""Spearman's and Kendall's correlations: of ranks that nobody sees, exact over the rows of all sites.

For each pair of columns, rows are sorted by the one with the other's keys beside it, then by these with the
first one's ranks beside them (`_ranks`); all pairs of columns in the same rounds, as far as memory allows.

Spearman's is Pearson's correlation of the ranks. The sum of the products of both and the ties are all that is
needed: the ranks' variances are (n³ − n − Σ(t³ − t))/12, over blocks of t equal values. Kendall's tau-b is
made of numbers of pairs of rows, which `hypotests.kendalltau` explains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats import _pairs
from fedstats import _ranks as ranks
from fedstats.expressions import Array
from protocols.floating import SecretFloat, concatenate, floating
from protocols.floating import stack as stack_floats
from protocols.long import lengthen, multiply
from protocols.long import stack as stack_long
from protocols.secret import public, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What `spearman` and `kendall` open, and what both publish: part of the declarations of their callers.
SPEARMAN: Mapping[str, str] = {"rank correlations": "rank correlation of each pair, to 30 significant bits"}
KENDALL: Mapping[str, str] = {
    **SPEARMAN,
    "test statistics": "tau divided by its standard error where both columns are independent, likewise",
}
PUBLISHED = ranks.PUBLISHED

#: Two rankings of each pair's rows, both in the order of the second column, and numbers of rows.
Formula = Callable[[ranks.Ranking, ranks.Ranking, NDArray[np.object_]], SecretFloat]


def spearman(
    run: Analysis,
    x: Array,
    lengths: Sequence[int],
    pairs: Sequence[tuple[int, int]],
    counts: NDArray[np.int64],
    *,
    part: int | None = None,
) -> Array:
    """Open Spearman's correlation of each pair of columns; NaN where one of them has one value only.

    Parameters
    ----------
    run
        The analysis; its declaration includes `SPEARMAN` and `PUBLISHED`.
    x
        This site's rows, NaN where missing.
    lengths
        The sites' numbers of rows, as of `_ranks.agree_lengths`.
    pairs
        Of columns.
    counts
        How many rows of all sites have both; two at least.
    part
        Number of the call, if there are several.

    Notes
    -----
    **Cost.** Two sorts of all rows; see `sort.sort_by`.
    """
    if not pairs:
        return np.zeros(0)
    secret = concatenate(list(_ranked(run, x, lengths, pairs, counts, _spearman)))
    return run.reveal({"rank correlations": secret}, part=part)["rank correlations"]


def kendall(
    run: Analysis,
    x: Array,
    lengths: Sequence[int],
    pairs: Sequence[tuple[int, int]],
    counts: NDArray[np.int64],
) -> tuple[Array, Array]:
    """Open Kendall's tau-b of each pair of columns, and its normal statistic; see `spearman`.

    Notes
    -----
    **Cost.** Three sorts of all rows, and what `_pairs.inversions` takes.
    """
    if not pairs:
        return np.zeros(0), np.zeros(0)
    found = concatenate(list(_ranked(run, x, lengths, pairs, counts, _kendall)), axis=1)
    opened = run.reveal({"rank correlations": found[0], "test statistics": found[1]})
    return opened["rank correlations"], opened["test statistics"]


def _ranked(
    run: Analysis,
    x: Array,
    lengths: Sequence[int],
    pairs: Sequence[tuple[int, int]],
    counts: NDArray[np.int64],
    formula: Formula,
) -> Iterator[SecretFloat]:
    """Rank pairs of columns, as many of them at a time as memory allows, and apply a formula."""
    for part in ranks.at_a_time(len(pairs), sum(lengths)):
        n = counts[part].tolist()
        columns = [x[:, [*pair]] for pair in pairs[part]]
        with run.on_shares() as engine:
            keys = [ranks.keys(its[~np.isnan(its).any(axis=1)].T) for its in columns]
            rows = ranks.share_lists(engine, lengths, keys)
            sizes = [sum(lengths)] * len(columns)
            first = ranks.rank_lists(rows.key, *rows.columns, sizes=sizes, counts=n)
            second = ranks.rank_lists(first.columns[0], first.doubled, sizes=n, counts=n)
            yield formula(first, second, np.array(n, object))


def _spearman(first: ranks.Ranking, second: ranks.Ranking, n: NDArray[np.object_]) -> SecretFloat:
    """Return Σ(r − mean)(s − mean) of the ranks r and s by the roots of their sums of squares."""
    blocks = first.block, second.block
    joint, *ties = second.products((second.columns[0], second.doubled), *((block, block) for block in blocks))
    squares = n**3 - stack(ties)  # Σ t² over rows is Σ t³ over blocks
    roots: SecretFloat = floating(squares.assume(float(max(n)) ** 3)).sqrt()
    return floating(joint - n * (n + 1) ** 2) * 3.0 / (roots[0] * roots[1])


def _kendall(first: ranks.Ranking, second: ranks.Ranking, n: NDArray[np.object_]) -> SecretFloat:
    """Return tau-b and its normal statistic, stacked."""
    engine, sizes = first.block.engine, first.counts
    places = np.repeat(2 * n + 1, sizes).astype(np.int64)
    both = second.columns[0] * places + second.doubled
    by_both = ranks.rank_lists(both, *_pairs.place_bits(engine, *sizes), sizes=sizes, counts=sizes)
    once = public(engine, np.ones(first.count, np.int64))
    inversions = _pairs.inversions(once, once, list(by_both.columns), sizes)
    # Each discordant pair counts at both of its rows. Σ t over rows is Σ t² over blocks, and Σ t² is Σ t³.
    sums = [by_both.by_list(by_both.block) - 2 * first.by_list(inversions)]
    sums += [one.by_list(one.block) for one in (first, second)]
    sums += second.products(*((block, block) for block in (first.block, second.block)))
    found = lengthen(stack(sums).assume(float(max(n)) ** 3))
    surplus, apart = n**2 + found[0] - found[1:3].sum(axis=0), n**2 - found[1:3]
    # The variance of the surplus as in `hypotests.kendalltau`, times whole numbers that clear denominators.
    squares, cubes = found[1:3] - n, found[3:] - n
    thirds = cubes - squares * 3  # Σ t(t − 1)(t − 2)
    crossed = multiply(stack_long([squares[0], thirds[0]]), stack_long([squares[1], thirds[1]]))
    m, w = n * (n - 1), np.maximum(n - 2, 1)
    blocks = m * (2 * n + 5) - cubes.sum(axis=0) * 2 - squares.sum(axis=0) * 3
    variance = blocks * (m * w) + crossed[0] * (9 * w) + crossed[1] * 2
    numbers = floating(stack_long([surplus, apart[0], apart[1], variance]))
    roots = numbers[1:].sqrt()
    scale = np.sqrt((2 / (9 * m * w)).astype(np.float64))
    divisors = stack_floats([roots[0] * roots[1], roots[2] * scale])
    return stack_floats([numbers[0], numbers[0]]) / divisors
