"""Levene's test of equal variances, and Brown and Forsythe's: an analysis of variance of distances.

The groups' centres are opened; with them each site has its rows' distances, and all else is `f_oneway`. Only
the median is robust [2]_; it is found on shares (`quantiles`), which takes most of the rounds.

References
----------
.. [1] H. Levene, "Robust Tests for Equality of Variances", in Contributions to Probability and Statistics,
   Stanford University Press 1960.
.. [2] M. B. Brown and A. B. Forsythe, "Robust Tests for the Equality of Variances", Journal of the American
   Statistical Association 69, 1974.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import pandas as pd

from fedstats import quantiles
from fedstats._frames import secret_location
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import PolicyError
from fedstats.expressions import Array
from fedstats.hypotests import _groups, _moments, oneway
from fedstats.hypotests._groups import Groups
from fedstats.hypotests.oneway import FTestResult
from protocols.floating import floating

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

Centre: TypeAlias = Literal["median", "mean"]

_RESULT = {
    "group sizes": _groups.SIZES_IF_ENOUGH,
    "means": "mean distance from the centre, of each group",
    "statistic": "F",
}
MEDIAN = Declaration(
    "levene",
    result={**_RESULT, "quantiles": "the median of each group"},
    published=_groups.PUBLISHED,
)
MEAN = Declaration(
    "levene",
    aggregate={
        "group sizes": _groups.SIZES,
        "centres": "Σx of each group",
        **_moments.AGGREGATE,
    },
    result={**_RESULT, "centres": "mean of each group"},
    published=_groups.PUBLISHED,
)


def levene(
    cohort: Cohort,
    column: str,
    *,
    by: str,
    groups: Sequence[str] | None = None,
    center: Centre = "median",
    disclose: Disclose = "result",
) -> FTestResult:
    """Test whether groups have the same variance.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    column
        The numbers. Rows where it or `by` is missing are left out.
    by
        Column of the groups.
    groups
        The levels of `by` that are compared; all of them by default.
    center
        ``"median"``, Brown and Forsythe's test; or ``"mean"``, Levene's.
    disclose
        ``"result"``: what the result holds is opened, and the groups' centres. ``"aggregate"``, for the mean
        only: sums, and sums of squared distances.

    Returns
    -------
    FTestResult
        As `scipy.stats.levene` has it; ``means`` are those of the distances from the centre.

    Raises
    ------
    DataError
        A column does not exist or cannot be used, or there are fewer than two groups.
    RemoteError
        The same at another site.
    PolicyError
        A group has fewer than `min_cell` rows, or its median fewer on a side.
    DisclosureError
        Medians were asked for with ``disclose="aggregate"``: they are made of no sums.
    EstimationError
        Distances from the centre do not vary within the groups.

    Notes
    -----
    **Leakage.** Every site learns the group sizes and centres (medians exactly, means to 30 significant
    bits), the mean distances from them, and F; of each other site which levels of `by` it has. A coalition of
    t sites learns no more in the result mode, and can leave its own rows out of what it learns.

    **Cost.** For three sites and two groups about 200 rounds and 1 MB with medians, 150 rounds and 180 kB
    with means; 10 rounds in the aggregate mode.
    """
    with cohort.federation.analysis(MEDIAN if center == "median" else MEAN, disclose) as run:
        part = _groups.agree(
            run, cohort, column, by=by, groups=groups, options={"center": (center, Centre)}, is_shared=True
        )
        sizes = _groups.open_sizes(run, part)
        centres = (_medians if center == "median" else _means)(run, part, sizes)
        distances = [np.abs(x - centre) for x, centre in zip(part.rows, centres, strict=True)]
        title = f"{'Brown–Forsythe' if center == 'median' else 'Levene'} test of {column} by {by}"
        return oneway.finished(run, replace(part, rows=tuple(distances)), sizes, oneway.fisher, title)


def _medians(run: Analysis, part: Groups, sizes: pd.Series[int]) -> Array:
    """Return the median of each group."""
    found = quantiles.find_quantiles(
        run, [np.sort(x) for x in part.rows], np.asarray(sizes, np.int64), np.array([0.5])
    )
    unknown = [
        label for label, value in zip(part.labels, found[:, 0].tolist(), strict=True) if np.isnan(value)
    ]
    if unknown:
        least = run.federation.shared_policy.min_cell
        raise PolicyError(
            f"{run.declaration.name}: fewer than {least} rows (min_cell) over all sites on a side of the "
            f"median in "
            f"{', '.join(map(repr, unknown))}: use center='mean', leave it out, or merge rare levels"
        )
    return found[:, 0]


def _means(run: Analysis, part: Groups, sizes: pd.Series[int]) -> Array:
    """Return the mean of each group."""
    n = np.asarray(sizes, np.int64)
    if run.disclose == "aggregate":
        return run.sum("centres", np.array([x.sum() for x in part.rows])) / n
    with run.on_shares() as engine:
        total, _ = secret_location(engine, part.rows, n)
        means = floating(total) / n.astype(np.float64)
    return run.reveal({"centres": means})["centres"]
