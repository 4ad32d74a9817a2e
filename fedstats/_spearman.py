"""Spearman's correlations: Pearson's of ranks that nobody sees, exact over the rows of all sites.

For each pair of columns, rows are sorted by the one with the other's keys beside it, then by these with the
first one's ranks beside them (`_ranks`). The sum of the products of both ranks and the ties are all that is
needed: the ranks' variances are (n³ − n − Σ(t³ − t))/12, over blocks of t equal values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats import _ranks as ranks
from fedstats.expressions import Array
from protocols.floating import floating, sqrt
from protocols.secret import inner, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What `spearman` opens and publishes; part of the declaration of every analysis that calls it.
RESULT: Mapping[str, str] = {"rank correlations": "rank correlation of each pair, to 30 significant bits"}
PUBLISHED = ranks.PUBLISHED


def spearman(run: Analysis, x: Array, pairs: Sequence[tuple[int, int]], counts: NDArray[np.int64]) -> Array:
    """Open the rank correlation of each pair of columns; NaN where one of them has one value only.

    Parameters
    ----------
    run
        The analysis; its declaration includes `RESULT` and `PUBLISHED`.
    x
        This site's rows, NaN where missing.
    pairs
        Of different columns.
    counts
        How many rows of all sites have both; two at least.

    Notes
    -----
    **Cost.** Two sorts of all rows for each pair; see `sort.sort_by`.
    """
    if not pairs:
        return np.zeros(0)
    lengths = ranks.agree_lengths(run, len(x))
    with run.on_shares() as engine:
        joint, ties = [], []
        for (one, other), count in zip(pairs, counts.tolist(), strict=True):
            its = x[~np.isnan(x[:, [one, other]]).any(axis=1)]
            rows = ranks.share(engine, lengths, ranks.keys(its[:, one]), [ranks.keys(its[:, other])])
            first = ranks.rank(rows.key, *rows.columns, count=count)
            second = ranks.rank(first.columns[0], first.doubled, count=count)
            joint.append(inner(second.columns[0], second.doubled))
            ties += [its.sums()[1][0] for its in (first, second)]
        # 4·Σ(r − mean)(s − mean) of the ranks, and 12·Σ(r − mean)², as whole numbers.
        n = counts.astype(object)
        product = stack(joint) - n * (n + 1) ** 2
        squares = (n**3 - n)[:, np.newaxis] - stack(ties).reshape(len(pairs), 2)
        roots = sqrt(floating(squares.assume(float(max(n)) ** 3)))
        secret = floating(product) * 3.0 / (roots[:, 0] * roots[:, 1])
    return run.reveal({"rank correlations": secret})["rank correlations"]
