"""Where quantiles lie between ordered values, for each of numpy's methods."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from fedstats.errors import DataError
from fedstats.expressions import Array

Method: TypeAlias = Literal[
    "linear",
    "lower",
    "higher",
    "midpoint",
    "nearest",
    "inverted_cdf",
    "averaged_inverted_cdf",
    "closest_observation",
    "interpolated_inverted_cdf",
    "hazen",
    "weibull",
    "median_unbiased",
    "normal_unbiased",
]

#: Parameters (α, β) of the continuous methods, as scipy.stats.mstats.mquantiles has them.
_ALPHA_BETA: Final = {
    "linear": (1.0, 1.0),
    "interpolated_inverted_cdf": (0.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}


def check_method(method: str) -> None:
    """Refuse what is no method of `numpy.quantile`."""
    if method not in get_args(Method):
        raise DataError(f"method must be one of {', '.join(get_args(Method))}")


def positions(count: Array, q: Array, method: str) -> Array:
    """Return the position of each quantile among so many ordered values, counted from 0.

    Parameters
    ----------
    count, q
        Numbers of values, one at least, and levels; they broadcast.
    method
        As for `numpy.quantile`.

    Returns
    -------
    ndarray
        The whole part is the rank of the value below, the rest the weight of the next one.
    """
    last = count - 1
    match method:
        case "lower":
            place = np.floor(last * q)
        case "higher":
            place = np.ceil(last * q)
        case "midpoint":
            place = (np.floor(last * q) + np.ceil(last * q)) / 2
        case "nearest":
            place = np.rint(last * q)
        case "inverted_cdf":
            place = np.ceil(count * q) - 1
        case "averaged_inverted_cdf":
            place = np.where(count * q % 1 == 0, count * q - 0.5, np.ceil(count * q) - 1)
        case "closest_observation":
            place = np.rint(count * q) - 1
        case _:
            alpha, beta = _ALPHA_BETA[method]
            place = last * q if method == "linear" else count * q + alpha + q * (1 - alpha - beta) - 1
    return np.clip(place, 0, last)
