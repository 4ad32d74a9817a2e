"""Whether a variant is near enough to Hardy–Weinberg equilibrium, decided on shares.

With a copies of an allele among ν alleles that were called, and h samples heterozygous, the deficit of
heterozygotes is Δ = a(ν − a)/ν − h, whichever the allele. It is significant from one end on, or up to
another, which are lines A + B·y in y = a(ν − a)/ν^{3/2}, others from place to place (`_deficits`). y is
compared with all places where lines begin at once. The bits that come of it choose the lines, and

    a(ν − a) − νh,    A·ν + B·νy

are compared. Products of counts are whole numbers, and exact. Of alleles ν₀ if no call was missing,
ν^{−1/2} is taken as (3ν₀ − ν) / 2ν₀^{3/2}, which is too little by 0.4 % if a tenth of the calls is missing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from fedstats.gwas._deficits import Ends
from protocols import secret as secrets
from protocols.compare import complement, negative
from protocols.fixed import Format
from protocols.secret import SecretArray, known_product

if TYPE_CHECKING:
    from protocols.engine import Engine

#: Fractional bits of A and B, and of νy, which is large.
LINE: Final = 20
PLACE: Final = 4


def near_equilibrium(
    engine: Engine, copies: SecretArray, alleles: SecretArray, heterozygotes: SecretArray, n: int, ends: Ends
) -> SecretArray:
    """Return secret bits: whether the deficit is before the one end, and whether it is beyond the other.

    Parameters
    ----------
    engine
        The computation.
    copies, alleles, heterozygotes
        Of all sites together, whole numbers: shape ``(variants,)``.
    n
        Samples of all sites.
    ends
        Those for n samples.

    Returns
    -------
    SecretArray
        Shape ``(variants, 2)``; both are 1 if the deficit is not significant.

    Notes
    -----
    Cost: some 25 rounds for three parties, and a comparison for each of the table's lines.
    """
    others = alleles - copies
    products = known_product(
        secrets.stack([copies, alleles]), secrets.stack([others, heterozygotes]), Format(0, 2 * n * n)
    )
    both = products[0].assume(n * n)
    deficit = both - products[1]
    # νy in a unit of a power of two near 1 / 2ν₀^{3/2}.
    unit = 2 * (2.0 * n) ** 1.5
    shift = math.floor(math.log2(unit))
    place = known_product(both, 6 * n - alleles, Format(0, 6 * n**3))
    knots = np.rint(ends.knots[1:] * unit).astype(np.int64)
    after = place.reshape(-1, 1) - alleles.reshape(-1, 1) * knots
    begun = complement(negative(after.assume(10.0 * n**3)))

    lines = np.rint(np.stack([ends.intercepts, ends.slopes * (2.0**shift / unit)]) * 2.0**LINE)
    changes = np.diff(lines, axis=2).astype(np.int64).reshape(4, -1)
    chosen = begun @ changes.T + lines[:, :, 0].astype(np.int64).ravel()
    largest = float(np.abs(lines).max()) * 2.0**-LINE
    chosen = SecretArray(engine, chosen.shares, Format.of(largest, LINE)).reshape(-1, 2, 2)
    read = SecretArray(engine, place.shares, Format(shift, 6 * n**3)).rescale(PLACE)
    by = secrets.stack([alleles.rescale(PLACE), read], axis=1)
    end = secrets.inner(chosen.transpose(0, 2, 1), by.reshape(-1, 1, 2))
    beyond = deficit.reshape(-1, 1) - end
    return negative(secrets.stack([beyond[:, 0], -beyond[:, 1]], axis=1))
