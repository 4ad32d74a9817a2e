"""Arguments that are one number or several."""

from __future__ import annotations

from typing import Any

import numpy as np


def listed(values: Any) -> tuple[float, ...]:
    """Return one or more numbers as floats, NaN for what is none: to be refused by all sites together."""
    try:
        found = np.atleast_1d(np.asarray(values, np.float64))
    except (TypeError, ValueError, OverflowError):
        return (np.nan,)
    return tuple(found.tolist()) if found.ndim == 1 else (np.nan,)
