"""Whether a variant's frequencies at the sites are alike, decided on shares.

Pearson's χ² of allele counts aₖ of nₖ alleles at site k, with a = Σaₖ and ν = Σnₖ, is

    χ² = (Σ aₖ²/nₖ − a²/ν) / (a/ν · (1 − a/ν)),

of which Σ aₖ²/nₖ is a sum over sites of what each knows. χ² ≤ c is the same as

    ν(ν Σ aₖ²/nₖ − a²) ≤ c · a(ν − a),

two products and a comparison, of parts of all alleles, which are never beyond 1. Nothing of them is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from protocols import secret as secrets
from protocols.compare import complement, negative
from protocols.fixed import fraction_for
from protocols.inputs import sum_shares

if TYPE_CHECKING:
    from protocols.engine import Engine
    from protocols.secret import SecretArray

Floats = NDArray[np.float64]

#: What roundings may add up to, in units of the last fractional bit: equal frequencies are alike.
SLACK: Final = 16.0


def alike(engine: Engine, copies: Floats, alleles: Floats, most: float, critical: Floats) -> SecretArray:
    """Return secret bits: whether χ² is not above its critical value, shape ``(variants,)``.

    Parameters
    ----------
    engine
        The computation.
    copies, alleles
        aₖ and nₖ of this site.
    most
        Alleles that all sites can have together.
    critical
        c of each variant.

    Notes
    -----
    Cost: one round to share, two products, and a comparison. A χ² is told from its critical value if they
    differ by a part of some most · 2⁻³⁰ / (χ² · p(1 − p)) or more.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = np.where(alleles > 0, copies**2 / alleles, 0.0)
    fraction = fraction_for(engine, 1.0, terms=2)
    mine = np.stack([squares, copies, alleles]) / most
    shared = sum_shares(engine, mine, bound=1.0, fraction=fraction).assume(1.0)
    first = secrets.stack([shared[2], shared[1], shared[1]])
    second = secrets.stack([shared[0], shared[1], shared[2] - shared[1]])
    products = (first * second.assume(1.0)).assume(1.0)
    apart = shared[2] * (products[0] - products[1]).assume(1.0)
    margin = products[2] * (critical / most) - apart + SLACK * 2.0**-fraction
    return complement(negative(margin))
