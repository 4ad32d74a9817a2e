"""Means and variances by group, in either mode: as floats that were opened, or as secret ones.

A test's formula is written once and runs on both. Differences of means are small beside the means
themselves, so means come a second time, as distances from a common point that are free of cancellation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _means
from fedstats._frames import secret_location
from fedstats._means import means_and_variances
from fedstats.errors import EstimationError
from fedstats.expressions import Array
from protocols.floating import floating
from protocols.long import concatenate

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.hypotests._groups import Groups

#: Floats in the aggregate mode, secret floats in the result mode.
Numbers: TypeAlias = Any

#: What `moments` opens; part of the declaration of every test that calls it.
AGGREGATE = _means.AGGREGATE


@dataclass(frozen=True, eq=False, repr=False)
class GroupMoments:
    """Moments by group.

    Attributes
    ----------
    n
        Sizes, public.
    mean, var
        Means, and variances with denominator n − 1.
    distance
        Means less a common point: a public number, or the mean of all rows.
    """

    n: Array
    mean: Numbers
    distance: Numbers
    var: Numbers


def moments(run: Analysis, part: Groups, sizes: pd.Series[int], about: float | None = None) -> GroupMoments:
    """Return moments by group, over the rows of all sites.

    Parameters
    ----------
    run
        The analysis, past `agree`.
    part
        This site's values, none beyond `LARGEST_ON_SHARES` in the result mode.
    sizes
        Of the groups, public; none is 0.
    about
        The point from which distances are measured; the mean of all rows by default.

    Notes
    -----
    **Leakage.** `AGGREGATE`; nothing in the result mode.

    **Cost.** Two sums in the aggregate mode. In the result mode, some 25 rounds for three parties.
    """
    n: NDArray[np.int64] = np.asarray(sizes, np.int64)
    return (_opened if run.disclose == "aggregate" else _secret)(run, part.rows, n, about)


def open_results(run: Analysis, results: Mapping[str, Numbers]) -> dict[str, Array]:
    """Return results as floats, opening them if they are secret; of a result label each."""
    if run.disclose == "aggregate":
        return {label: np.asarray(value, np.float64) for label, value in results.items()}
    return run.reveal(results)


def require_spread(*errors: float) -> None:
    """Refuse standard errors or sums of squares that are 0 or undefined."""
    if not all(error > 0 for error in errors):
        raise EstimationError("values do not vary within the groups: there is nothing to test")


def _opened(
    run: Analysis, values: Sequence[Array], n: NDArray[np.int64], about: float | None
) -> GroupMoments:
    mean, var = means_and_variances(run, values, n)
    point = n @ mean / n.sum() if about is None else about
    return GroupMoments(n.astype(np.float64), mean, mean - point, var)


def _secret(
    run: Analysis, values: Sequence[Array], n: NDArray[np.int64], about: float | None
) -> GroupMoments:
    size = n.astype(np.float64)
    with run.on_shares() as engine:
        total, scatter = secret_location(engine, values, n)
        if about is None:
            distance, scale = total * int(n.sum()) - total.sum() * n.astype(object), size * size.sum()
        else:
            distance, scale = total - n * about, size
        # One conversion for all.
        secret = floating(concatenate([total, distance, scatter]))
        found = (secret / np.concatenate([size, scale, size * size * (size - 1)])).reshape(3, len(n))
        return GroupMoments(size, found[0], found[1], found[2])
