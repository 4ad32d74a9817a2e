"""Which deficits of heterozygotes are significant by the exact test, as a table for a number of samples.

Of N samples with r copies of the rarer allele let x be those with two of them. Given r, the mid-P value of
Hardy–Weinberg equilibrium depends on x alone, and is below a threshold from some x on, or up to another one.
With the deficit Δ = 2x − r²/2N of heterozygotes, whose standard deviation is about y·√2 for

    y = r(2N − r) / (2N)^{3/2},

both ends are nearly lines in y unless few x are expected: lines between a few values of y then make up for
the skewness. Where few are expected, the ends are steps, of which the table has each. In these terms, ends of
N samples hold of somewhat fewer ones too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedstats.gwas._hardy_weinberg import mid_p

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: The upper end is a step for each x up to this one.
STEPS: Final = 14
#: Beyond, numbers of copies between which the ends are interpolated differ by this factor or less.
FACTOR: Final = 1.1


@dataclass(frozen=True, eq=False)
class Ends:
    """Deficits from which on, and up to which, there is significance, as lines in y.

    Attributes
    ----------
    knots
        Where the lines begin: values of y, ascending, from 0 on.
    intercepts, slopes
        Of the upper and the lower end, from each knot to the next: shape ``(2, knots)``.
    """

    knots: Floats
    intercepts: Floats
    slopes: Floats

    @classmethod
    def of(cls, samples: int, threshold: float) -> Ends:
        """Return the ends for N samples, and a P value."""
        rare, ends = _steps(samples, threshold)
        count = max(2, 1 + int(np.ceil(np.log(max(2.0, samples / rare[-1])) / np.log(FACTOR))))
        common = np.unique(np.rint(np.geomspace(rare[-1], samples, count)).astype(np.int64))
        # At the ends of each line, by numbers of copies: of steps, both are in the middle between two x.
        starts = np.concatenate([rare[:-1], common[:-1]])
        stops = np.concatenate([rare[1:], common[1:]])
        above = np.array([_crossing(its, samples, threshold, above=True) for its in common.tolist()])
        first = np.concatenate([ends - 0.5, above[:-1]])
        last = np.concatenate([ends - 0.5, above[1:]])
        lower = {
            its: _crossing(its, samples, threshold, above=False)
            for its in np.unique(np.concatenate([starts, stops])).tolist()
        }
        x = np.array([[first, last], [[lower[its] for its in part.tolist()] for part in (starts, stops)]])
        r = np.stack([starts, stops]).astype(np.float64)
        deficits = 2 * x - r**2 / (2 * samples)
        y = r * (2 * samples - r) / (2.0 * samples) ** 1.5
        slopes = (deficits[:, 1] - deficits[:, 0]) / (y[1] - y[0])
        return cls(y[0], deficits[:, 0] - slopes * y[0], slopes)


def _steps(samples: int, threshold: float) -> tuple[Floats, Floats]:
    """Return the least significant x of few copies, and numbers of copies between which each of them is it.

    The latter lie between whole numbers, and are one more than the x.
    """
    between, ends, r = [0.0], [1.0], 2
    while r < samples:
        x = int(ends[-1])
        # The P value of x grows with r. An x that the copies do not make can wait.
        if 2 * x > r or _p_values(np.array([x]), r, samples)[0] < threshold:
            r += 1
            continue
        if between[-1] == r - 0.5:  # the step before has no width
            ends.pop()
        else:
            between.append(r - 0.5)
        if x == STEPS:
            break
        ends.append(x + 1.0)
    else:
        between.append(r - 0.5)
    return np.array(between), np.array(ends)


def _p_values(x: Integers, r: int, samples: int) -> Floats:
    """Return mid-P values of r copies of which x pairs are in one sample each."""
    return mid_p(r - 2 * x, x, samples - r + x)


def _crossing(r: float, samples: int, threshold: float, *, above: bool) -> float:
    """Return where between two x the mid-P value passes the threshold, by its logarithm.

    Where no x is significant, up to one beyond the last one that there is.
    """
    r = max(2, round(r))
    most, mean = r // 2, int(r * (r - 1) / (2 * (2 * samples - 1)))
    inner = min(mean + 1, most) if above else min(mean, most)
    outer = most if above else 0

    def log_p(x: int) -> float:
        return float(np.log(max(_p_values(np.array([x]), r, samples)[0], 1e-305)))

    limit = float(np.log(threshold))
    if inner == outer:
        return outer + (0.5 if above else -0.5)
    if log_p(outer) >= limit:
        inner = outer + (-1 if above else 1)
    while abs(outer - inner) > 1:
        middle = (outer + inner) // 2
        if log_p(middle) < limit:
            outer = middle
        else:
            inner = middle
    near, far = log_p(inner), log_p(outer)
    if near <= far:
        return outer + (0.5 if above else -0.5)
    # Beyond the last x there is if that is not significant.
    return float(inner + (outer - inner) * min((near - limit) / (near - far), 2.0))
