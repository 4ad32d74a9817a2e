"""The frame of a proportional hazards model on shares: units in which no covariate exceeds 1.

A frame needs little of the columns, and takes little: of each site's part of a column's variance, and of its
largest magnitude, all learn the largest, to a power of two (`protocols.disjunction`). Means are added up of
parts that every site has rounded itself. That takes 11 rounds, where `_frames`, whose units are near to the
pooled standard deviation whatever the sites have, takes 57: it does for columns that vary at no site.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from fedstats import _frames
from fedstats._moments import Frame
from fedstats.expressions import Array
from protocols.disjunction import any_of
from protocols.inputs import sum_shares

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What is opened for a frame.
RESULT: Mapping[str, str] = {
    "column units": "the largest of the sites' parts of the standard deviation of every column, to a power "
    "of two; of columns that vary at no site n³ times the variance, to one significant bit",
    "column centres": "the mean of every column, each site's part of it rounded to a quarter of that unit; "
    "of columns that vary at no site to the power of two nearest to the standard deviation",
    "extents": "the largest magnitude of every column, less its centre, to a power of two",
}

#: Powers of two by which parts of standard deviations are told, where less counts as the first; and by how
#: many of them magnitudes may exceed these, which those of far-off sites do.
_LEAST, _MOST, _BEYOND = -100, 62, 164
#: The deviation of columns of which a site's mean is far from the centre, in largest magnitudes.
_APART = 0.25
#: Parts of means, in quarters of a unit, are up to this.
_FARTHEST = 2.0**58


def within_one(run: Analysis, x: Array, names: tuple[str, ...], n: int) -> tuple[Frame, Array]:
    """Return a public frame in which no magnitude exceeds 1, and about each column's deviation in it.

    That is the unit, the largest part that a site has, or `_APART` where sites themselves are far apart.

    Parameters
    ----------
    run, x, names, n
        As for `_frames.pooled_frame`, in the result mode; the declaration includes `RESULT`.

    Raises
    ------
    EstimationError
        A column has the same value in all rows of all sites. Raised at every site alike, naming it.

    Notes
    -----
    **Leakage.** `RESULT`. **Cost.** 11 rounds for three parties; 57 more if a column varies at no site.
    """
    origin = x[0] if len(x) else np.zeros(x.shape[1])  # so that what does not vary has a variance of 0
    total, squares, lowest, highest = _extents(x, origin)
    spread = _octave_of_largest(run, "column units", np.sqrt(squares / n), _LEAST, _MOST)
    flat = spread < _LEAST
    unit = np.ldexp(1.0, np.where(flat, 0, spread))
    # A site's part of the mean, to quarters of the unit; with the fraction of a measurement, which a site's
    # rules may have rounded.
    quarters = np.rint(np.clip(4 * (origin * len(x) + total) / (n * unit), -_FARTHEST, _FARTHEST))
    with run.on_shares() as engine:
        multiple = sum_shares(engine, np.where(flat, 0.0, quarters / 4), bound=_FARTHEST / 4, fraction=2)
    centre = run.reveal({"column centres": multiple})["column centres"] * unit
    if flat.any():
        few = _frames.pooled_frame(
            run,
            x[:, flat],
            tuple(name for name, is_flat in zip(names, flat, strict=True) if is_flat),
            n,
            part=1,
        )
        centre[flat], unit[flat] = few.centre, few.unit
    largest = np.maximum(highest - centre, centre - lowest) / unit
    needed = np.maximum(_octave_of_largest(run, "extents", largest, 0, _BEYOND), 0)
    spread = np.ldexp(1.0, -needed)
    # No row is √n parts or more from its site's mean: if some are, in halves of them, from the centre, it is
    # their site that is, with all of its rows.
    return Frame(centre, np.ldexp(unit, needed)), np.where(spread < 0.25 / np.sqrt(n), _APART, spread)


def _octave_of_largest(run: Analysis, label: str, own: Array, least: int, most: int) -> Array:
    """Open for each column the least e, up to `most`, of which no site's own reaches 2^e; less if all are 0.

    It is `least` at least where some site's is not 0.
    """
    octave = np.where(own > 0, np.clip(np.frexp(own)[1], least, most), least - 1)
    reached = octave[:, np.newaxis] >= np.arange(least, most + 1)
    with run.on_shares() as engine:
        secret = any_of(engine, reached)
    opened = run.reveal({label: secret})[label]
    return np.asarray(least - 1 + (opened != 0).sum(axis=1))


@njit(nogil=True, cache=True)
def _extents(x: Array, origin: Array) -> tuple[Array, Array, Array, Array]:
    """Return of each column Σ(x − origin), Σ(x − mean)², and the least and the largest value."""
    n, p = x.shape
    total, squares = np.zeros(p), np.zeros(p)
    lowest, highest = np.full(p, np.inf), np.full(p, -np.inf)
    for i in range(n):
        for k in range(p):
            total[k] += x[i, k] - origin[k]
            lowest[k], highest[k] = min(lowest[k], x[i, k]), max(highest[k], x[i, k])
    mean = total / max(n, 1)
    for i in range(n):
        for k in range(p):
            squares[k] += (x[i, k] - origin[k] - mean[k]) ** 2
    return total, squares, lowest, highest
