"""Which rows of a site take part: those without a missing value in the columns that an analysis uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats.design import Missing
from fedstats.errors import DataError

if TYPE_CHECKING:
    from fedstats.cohort import Cohort


def complete_rows(cohort: Cohort, names: Sequence[str | None], missing: Missing) -> NDArray[np.bool_]:
    """Return which rows have no missing value in some columns besides those of the formula, or refuse them.

    Parameters
    ----------
    cohort
        The rows.
    names
        The columns; None stands for none.
    missing
        As for `design.agree_design`.

    Raises
    ------
    DataError
        A column does not exist, or has missing values that are to be refused.
    """
    taken = np.ones(len(cohort), dtype=bool)
    for name in names:
        if name is None:
            continue
        gaps = cohort.missing(name)
        if missing == "raise" and gaps.any():
            raise DataError(
                f"column {name!r} has {int(gaps.sum())} missing values at this site: fill them, or use "
                "missing='drop'"
            )
        taken &= ~gaps
    return taken
