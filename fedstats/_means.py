"""Means and variances of many variables at once, in either mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats._frames import secret_location
from fedstats._moments import Frame, location_sums, moments, power_sums
from fedstats.expressions import Array
from protocols.floating import floating
from protocols.long import concatenate

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What `means_and_variances` opens; part of the declaration of every analysis that calls it.
AGGREGATE: Mapping[str, str] = {
    "sums": "Σx and Σ|x| of each variable",
    "squares": "Σ(x − mean) and Σ(x − mean)² of each variable",
}
RESULT: Mapping[str, str] = {
    "means": "the mean of each variable, to 44 significant bits",
    "variances": "its variance, to 44 significant bits",
}

#: Differences of means may be small beside them.
_BITS = 44


def means_and_variances(run: Analysis, values: Sequence[Array], n: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return the mean and the variance, with denominator n − 1, of each variable over all sites.

    Parameters
    ----------
    run
        The analysis; its declaration includes `AGGREGATE` and `RESULT`. Called once in an analysis.
    values
        This site's values of each variable, none missing and none beyond `cohort.largest`.
    n
        How many each has over all sites, public; two at least.

    Notes
    -----
    **Cost.** Two sums in the aggregate mode; in the result mode some 45 rounds for three parties.
    """
    if not len(values):
        return np.zeros(0), np.zeros(0)
    count = n.astype(np.float64)
    if run.disclose == "aggregate":
        total, magnitude = run.sum("sums", np.stack([location_sums(x) for x in values], axis=1))
        frame = Frame.of(count, total, magnitude)
        deviations = [(x - c) / u for x, c, u in zip(values, frame.centre, frame.unit, strict=True)]
        squares = run.sum("squares", np.stack([power_sums(d, 2) for d in deviations], axis=1))
        found = moments(count, squares, frame)
        return found.mean, found.var
    with run.on_shares() as engine:
        secret = floating(concatenate(secret_location(engine, values, n)))  # one conversion for both
        both = {"means": secret[: len(n)], "variances": secret[len(n) :]}
    opened = run.reveal(both, digits=_BITS)
    return opened["means"] / count, opened["variances"] / (count**2 * (count - 1))
