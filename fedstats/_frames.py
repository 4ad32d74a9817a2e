"""Public frames of reference: how many rows there are, where and in which unit each column is measured.

Models are fitted to (x − centre) / unit, which is of the order of 1 whatever the column's own unit is: sums
of squares then neither cancel nor overflow, on shares as in floating point. The unit is the power of two
nearest to the standard deviation over all sites, the centre their mean. In ``disclose="result"`` the centre
is rounded to a multiple of the unit, so that no more than that is told of either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fedstats._moments import Frame, location_sums
from fedstats.errors import EstimationError
from fedstats.expressions import Array

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

ROWS = "numbers of complete rows and of rows that were left out for a missing value"
#: What the functions below open; part of the declaration of every method that calls them.
AGGREGATE: Mapping[str, str] = {
    "rows": ROWS,
    "column sums": "Σx and Σ|x| of every column",
    "column squares": "Σ(x − mean)² of every column",
}

#: A column is constant if its standard deviation is less than this part of its magnitude.
CONSTANT = 1e-13


def open_rows(run: Analysis, complete: int, dropped: int) -> tuple[int, int]:
    """Return the numbers of complete and of dropped rows of all sites.

    Cost: one sum of integers.
    """
    n, left_out = run.sum("rows", np.array([complete, dropped])).tolist()
    return n, left_out


def pooled_frame(run: Analysis, x: Array, names: tuple[str, ...], n: int) -> Frame:
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

    Raises
    ------
    EstimationError
        A column has the same value in all rows of all sites. Raised at every site alike, naming it.

    Notes
    -----
    **Leakage.** `AGGREGATE` or `RESULT`.

    **Cost.** Two sums in the aggregate mode.
    """
    total, magnitude = run.sum("column sums", location_sums(x))
    centre = total / n
    squares = run.sum("column squares", np.square(x - centre).sum(axis=0))
    spread = np.sqrt(squares / n)
    _refuse_constants(spread <= CONSTANT * magnitude / n, names)
    return Frame(centre, power_of_two_near(spread))


def power_of_two_near(spread: Array) -> Array:
    """Return the power of two that is nearest on a logarithmic scale, for positive numbers."""
    return np.asarray(np.ldexp(1.0, np.rint(np.log2(spread)).astype(int)))


def _refuse_constants(constant: Array, names: tuple[str, ...]) -> None:
    if constant.any():
        which = ", ".join(repr(name) for name, is_flat in zip(names, constant, strict=True) if is_flat)
        raise EstimationError(
            f"{which} has the same value in all rows of all sites: leave it out, or merge levels that no "
            "row has"
        )
