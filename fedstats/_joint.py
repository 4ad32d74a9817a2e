"""Rules on the rows of all sites together, decided on shares: of each only the answer is opened."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from fedstats._counts import MOST
from fedstats.expressions import Array
from protocols import long
from protocols.compare import negative
from protocols.engine import Engine
from protocols.inputs import share, sum_shares
from protocols.long import share_several
from protocols.secret import SecretArray

#: Parts are compared in these units.
_UNITS = 1_000
#: What no magnitude of a value exceeds, and the fractional bits that are looked at.
_BOUND, _FRACTION = 2.0**540, 540


def too_few(engine: Engine, rows: int, least: int) -> SecretArray:
    """Return whether fewer rows of all sites take part than `least`, given this site's."""
    return negative(sum_shares(engine, np.array([rows]), bound=MOST) - least)


def too_large_a_site(engine: Engine, rows: int, part: float) -> SecretArray:
    """Return whether any site has more than a part of the rows of all, given this site's."""
    each = share(engine, np.array([rows]), bound=MOST)
    exceeding = negative(each.sum(axis=0) * _units(part) - each * _UNITS)
    return negative(-exceeding.sum(axis=0))


def too_large_a_row(engine: Engine, values: list[Array], part: float) -> SecretArray:
    """Return for each column whether a row makes up more than a part of it, given this site's values.

    That is, of the sum of the values' magnitudes, over all sites.
    """
    magnitudes = [np.abs(its[~np.isnan(its)]) for its in values]
    largest = np.array([its.max(initial=0.0) for its in magnitudes])
    totals = np.array([sum(map(Fraction, its.tolist()), Fraction(0)) for its in magnitudes], object)
    each, sums = share_several(engine, [(largest, _BOUND, _FRACTION), (totals, _BOUND * MOST, _FRACTION)])
    exceeding = long.negative(sums.sum(axis=0) * _units(part) - each * _UNITS)
    return negative(-exceeding.sum(axis=0))


def _units(part: float) -> int:
    return int(part * _UNITS)
