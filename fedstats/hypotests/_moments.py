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

from fedstats._moments import Frame, location_sums, power_sums
from fedstats._moments import moments as pooled_moments
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from protocols.floating import floating
from protocols.long import concatenate, multiply, share_long

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.hypotests._groups import Groups

#: Floats in the aggregate mode, secret floats in the result mode.
Numbers: TypeAlias = Any

#: What `moments` opens; part of the declaration of every test that calls it.
AGGREGATE: Mapping[str, str] = {
    "sums": "Σx and Σ|x| of each group",
    "squares": "Σ(x − mean) and Σ(x − mean)² of each group",
}

#: What can be shared: the largest magnitude, and fractional bits of long numbers.
LARGEST = 2.0**59
RESOLUTION = 100
#: More rows than any site has.
MOST_ROWS = 1 << 40


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


def check_magnitude(run: Analysis, columns: Mapping[str, Array]) -> None:
    """Refuse values that are too large to be shared; to be called while the sites agree."""
    if run.disclose == "aggregate":
        return
    for name, x in columns.items():
        beyond = int(np.count_nonzero(np.abs(x) > LARGEST))
        if beyond:
            raise DataError(
                f"column {name!r} has {beyond} values beyond {LARGEST:.2g} in magnitude: change its unit, or use "
                "disclose='aggregate'"
            )


def moments(run: Analysis, part: Groups, sizes: pd.Series[int], about: float | None = None) -> GroupMoments:
    """Return moments by group, over the rows of all sites.

    Parameters
    ----------
    run
        The analysis, past `agree`, in which `check_magnitude` was called.
    part
        This site's values.
    sizes
        Of the groups, public; none is 0.
    about
        The point from which distances are measured; the mean of all rows by default.

    Notes
    -----
    **Leakage.** `AGGREGATE`; nothing in the result mode.

    **Cost.** Two sums in the aggregate mode. In the result mode, some 20 rounds for three parties.
    """
    n = sizes.to_numpy(np.int64)
    return (_opened if run.disclose == "aggregate" else _secret)(run, part.values, n, about)


def open_results(run: Analysis, results: Mapping[str, Numbers]) -> dict[str, Array]:
    """Return results as floats, opening them if they are secret; of a result label each."""
    if run.disclose == "aggregate":
        return {label: np.asarray(value, np.float64) for label, value in results.items()}
    return run.reveal(results)


def require_spread(*errors: float) -> None:
    """Refuse standard errors or sums of squares that are 0 or undefined."""
    if not all(error > 0 for error in errors):
        raise EstimationError("values do not vary within the groups: there is nothing to test")


def _opened(run: Analysis, values: Sequence[Array], n: np.ndarray, about: float | None) -> GroupMoments:
    total, magnitude = run.sum("sums", np.stack([location_sums(x) for x in values], axis=1))
    count = n.astype(np.float64)
    frame = Frame.of(count, total, magnitude)
    deviations = [(x - c) / u for x, c, u in zip(values, frame.centre, frame.unit, strict=True)]
    found = pooled_moments(
        count, run.sum("squares", np.stack([power_sums(d, 2) for d in deviations], axis=1)), frame
    )
    point = count @ found.mean / count.sum() if about is None else about
    return GroupMoments(count, found.mean, found.mean - point, found.var)


def _secret(run: Analysis, values: Sequence[Array], n: np.ndarray, about: float | None) -> GroupMoments:
    """Return moments on shares.

    Site s has n_s values with mean a_s and Σ(x − a_s)² = q_s. Over all sites, with S = Σ n_s·a_s,

        n³·(n − 1)/n·var = Σ_s [n²·q_s + n_s·(n·a_s − S)²],

    exactly, for all numbers are long [1]_.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for Computing the Sample Variance: Analysis
       and Recommendations", The American Statistician 37, 1983.
    """
    size, groups = n.astype(object), len(n)
    with run.on_shares() as engine:
        count = share_long(engine, np.array([len(x) for x in values]), bound=MOST_ROWS, fraction=0)
        mine = np.stack([_mean_and_squares(x) for x in values], axis=1)
        shared = share_long(engine, mine, bound=MOST_ROWS * LARGEST**2, fraction=RESOLUTION)
        mean, squares = shared[:, 0].assume(LARGEST), shared[:, 1]
        total = multiply(count, mean).sum(axis=0)
        off = mean * size - total
        scatter = squares.sum(axis=0) * size**2 + multiply(count, multiply(off, off)).sum(axis=0)
        if about is None:
            distance = total * int(n.sum()) - total.sum() * size
            scale = n.astype(float) * n.sum()
        else:
            distance, scale = total - size * about, n.astype(float)
        # One conversion for all: they are so many bits, and so many rounds, each.
        located = floating(concatenate([total, distance]))
        spread = floating(scatter)
        return GroupMoments(
            n.astype(float),
            located[:groups] / n,
            located[groups:] / scale,
            spread / (n.astype(float) ** 2 * (n - 1)),
        )


def _mean_and_squares(x: Array) -> Array:
    """Return a mean, and the sum of squared deviations from it; of a constant these are exact."""
    if not len(x):
        return np.zeros(2)
    mean = x[0] + np.mean(x - x[0])
    return np.array([mean, np.square(x - mean).sum()])
