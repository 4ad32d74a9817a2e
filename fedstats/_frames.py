"""Public frames of reference: how many rows there are, where and in which unit each column is measured.

Models are fitted to (x − centre) / unit, which is of the order of 1 whatever the column's own unit is: sums
of squares then neither cancel nor overflow, on shares as in floating point. The unit is the power of two
nearest to the standard deviation over all sites, the centre their mean. In ``disclose="result"`` the centre
is rounded to a multiple of the unit, so that no more than that is told of either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats._counts import MOST
from fedstats._moments import Frame, location_sums
from fedstats.cohort import LARGEST_ON_SHARES
from fedstats.errors import EstimationError
from fedstats.expressions import Array
from protocols.decompose import bits
from protocols.engine import Engine
from protocols.floating import floating, parts
from protocols.long import LongArray, concatenate, multiply, narrow, share_long, sum_long
from protocols.secret import SecretArray

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

ROWS = "numbers of complete rows and of rows that were left out for a missing value"
#: What the functions below open; part of the declaration of every method that calls them.
AGGREGATE: Mapping[str, str] = {
    "rows": ROWS,
    "column sums": "Σx and Σ|x| of every column",
    "column squares": "Σ(x − mean)² of every column",
}

RESULT: Mapping[str, str] = {
    "rows": ROWS,
    "column units": "n³ times the variance of every column, to one significant bit",
    "column centres": "the mean of every column, to the power of two nearest to its standard deviation",
}

#: Fractional bits of long numbers, of which measurements in any unit have plenty.
RESOLUTION = 200

#: What sums of further variables, and their fractional bits, are up to on shares.
LARGEST_SUM, SUM_DIGITS = 2.0**100, 100

#: A column is constant if its standard deviation is less than this part of its magnitude.
CONSTANT = 1e-13
#: Largest mean in units, and fractional bits by which the nearest integer is told.
_LARGEST_MULTIPLE, _NEAR = 2.0**64, 12


def open_rows(run: Analysis, complete: int, dropped: int) -> tuple[int, int]:
    """Return the numbers of complete and of dropped rows of all sites.

    Cost: one sum of integers.
    """
    n, left_out = run.sum("rows", np.array([complete, dropped])).tolist()
    return n, left_out


def pooled_frame(
    run: Analysis, x: Array, names: tuple[str, ...], n: int, *, part: int | None = None
) -> Frame:
    """Return a public frame of each column, in which it has a standard deviation between ½ and 2.

    Parameters
    ----------
    run
        The analysis, past `agree`. Its declaration includes `AGGREGATE` or `RESULT`.
    x
        This site's rows, shape ``(rows, columns)``; finite.
    names
        Names of the columns.
    n
        Rows of all sites, from `open_rows`.
    part
        Number of the frame, where an analysis opens several on shares.

    Raises
    ------
    EstimationError
        A column has the same value in all rows of all sites. Raised at every site alike, naming it.

    Notes
    -----
    **Leakage.** `AGGREGATE` or `RESULT`.

    **Cost.** Two sums in the aggregate mode, about 54 rounds in the result mode for three parties.
    """
    if run.disclose == "aggregate":
        total, magnitude = run.sum("column sums", location_sums(x))
        centre = total / n
        squares = run.sum("column squares", np.square(x - centre).sum(axis=0))
        spread = np.sqrt(squares / n)
        _refuse_constants(spread <= CONSTANT * magnitude / n, names)
        return Frame(centre, power_of_two_near(spread))
    return _secret_frame_of_rows(run, x, names, n, {}, part)[0]


def pooled_frame_and_sums(
    run: Analysis, x: Array, names: tuple[str, ...], n: int, sums: Mapping[str, Array]
) -> tuple[Frame, dict[str, Array]]:
    """Return `pooled_frame`, and the pooled sums of further arrays, which are results themselves, by label.

    In the result mode they are opened together with the frame, to 30 significant bits.
    """
    if run.disclose == "aggregate":
        return pooled_frame(run, x, names, n), {label: run.sum(label, own) for label, own in sums.items()}
    return _secret_frame_of_rows(run, x, names, n, sums, None)


def _secret_frame_of_rows(
    run: Analysis, x: Array, names: tuple[str, ...], n: int, sums: Mapping[str, Array], part: int | None
) -> tuple[Frame, dict[str, Array]]:
    frame, constant, opened = secret_frame(run, list(x.T), np.full(x.shape[1], n), sums, part=part)
    _refuse_constants(constant, names)
    return frame, opened


def secret_frame(
    run: Analysis,
    values: list[Array],
    n: NDArray[np.int64],
    sums: Mapping[str, Array] | None = None,
    *,
    part: int | None = None,
) -> tuple[Frame, NDArray[np.bool_], dict[str, Array]]:
    """Return a coarse public frame of variables, computed on shares.

    Parameters
    ----------
    run
        As for `pooled_frame`, in the result mode.
    values
        This site's values of each variable.
    n
        Numbers of values over all sites, none of them 0.
    sums
        This site's summands of pooled sums that are opened on the way, by label.
    part
        As for `pooled_frame`.

    Returns
    -------
    frame : Frame
        Of variables that do not vary the unit is 1.
    constant : ndarray
        Which variables do not vary.
    opened : dict
        The pooled sums, by label.
    """
    sums = sums or {}
    with run.on_shares() as engine:
        total, scatter = secret_location(engine, values, n)
        pooled = [sum_long(engine, own, bound=LARGEST_SUM, fraction=SUM_DIGITS) for own in sums.values()]
        found = floating(concatenate([scatter, *pooled]))
    sizes = {"column units": len(values), **{label: own.size for label, own in sums.items()}}
    digits = {**dict.fromkeys(sizes, 30), "column units": 1}
    opened = run.reveal(parts(found, sizes), digits=digits, part=part)
    roughly = opened.pop("column units") / n.astype(float) ** 3
    constant = roughly == 0
    unit = power_of_two_near(np.sqrt(np.where(constant, 1.0, roughly)))
    with run.on_shares():
        # A fraction, as it is a measurement: a site's rules may have it rounded.
        multiple = _nearest_integers(total * (1 / (n * unit))).rescale(1)
    centre = run.reveal({"column centres": multiple}, part=part)["column centres"] * unit
    return Frame(centre, unit), constant, opened


def _nearest_integers(x: LongArray) -> SecretArray:
    """Return numbers to the nearest integer, which `rescale` may miss by as much as there are masks."""
    digits = min(_NEAR, x.engine.room - 1 - math.frexp(_LARGEST_MULTIPLE)[1])  # fewer from 12 parties on
    near = narrow(x, bound=_LARGEST_MULTIPLE, fraction=digits) + 0.5
    planes = bits(near)[..., digits:]
    weights = 1 << np.arange(planes.shape[-1])
    weights[-1] *= -1  # two's complement
    return planes @ weights


def secret_location(
    engine: Engine, values: Sequence[Array], n: NDArray[np.int64]
) -> tuple[LongArray, LongArray]:
    """Return Σx and n³·var of variables over all sites, exact and secret; var has the denominator n.

    Parameters
    ----------
    engine
        The computation.
    values
        This site's values of each variable, none beyond `LARGEST_ON_SHARES`.
    n
        Numbers of values over all sites, public.

    Notes
    -----
    Site s has n_s values with mean a_s and Σ(x − a_s)² = q_s. Over all sites, with S = Σ n_s·a_s,

        n³·var = Σ_s [n²·q_s + n_s·(n·a_s − S)²],

    exactly, for all numbers are long [1]_.

    **Leakage.** Nothing. **Cost.** Five rounds.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for Computing the Sample Variance: Analysis
       and Recommendations", The American Statistician 37, 1983.
    """
    sizes = n.astype(object)
    count = share_long(engine, np.array([len(x) for x in values]), bound=MOST, fraction=0)
    mine = np.stack([_mean_and_squares(x) for x in values], axis=1)
    shared = share_long(engine, mine, bound=MOST * LARGEST_ON_SHARES**2, fraction=RESOLUTION)
    mean, squares = shared[:, 0].assume(LARGEST_ON_SHARES), shared[:, 1]
    total = multiply(count, mean).sum(axis=0)
    off = mean * sizes - total
    between = multiply(count, multiply(off, off)).sum(axis=0)
    return total, squares.sum(axis=0) * sizes**2 + between


def _mean_and_squares(x: Array) -> Array:
    """Return a mean, and the sum of squared deviations from it; of a constant these are exact."""
    if not len(x):
        return np.zeros(2)
    mean = x[0] + np.mean(x - x[0])
    return np.array([mean, np.square(x - mean).sum()])


def power_of_two_near(spread: Array) -> Array:
    """Return the power of two that is nearest on a logarithmic scale, for positive numbers."""
    return np.asarray(np.ldexp(1.0, np.rint(np.log2(spread)).astype(int)))


def _refuse_constants(constant: NDArray[np.bool_], names: tuple[str, ...]) -> None:
    if constant.any():
        which = ", ".join(repr(name) for name, is_flat in zip(names, constant, strict=True) if is_flat)
        raise EstimationError(
            f"{which} has the same value in all rows of all sites: leave it out, or merge levels that no "
            "row has"
        )
