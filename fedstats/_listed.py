"""Arguments that are one number or several."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np


def listed_if_given(values: Any) -> tuple[float, ...] | None:
    """Return `listed` numbers, None where none were asked for."""
    return None if values is None else listed(values)


def listed(values: Any) -> tuple[float, ...]:
    """Return one or more numbers as floats, NaN for what is none: to be refused by all sites together."""
    try:
        given = np.atleast_1d(np.asarray(values))
        found = given.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return (np.nan,)
    # Text and spans of time can be converted, too.
    kind = given.dtype.kind
    are_numbers = kind in "biuf" or (kind == "O" and all(isinstance(value, Real) for value in given))
    return tuple(found.tolist()) if found.ndim == 1 and are_numbers else (np.nan,)
