"""On which strand each site's A/T and C/G variants stand, judged by which allele is the rarer.

The alleles of such a variant read alike on both strands, so a site whose file stands on the other one counts
the wrong allele, and nothing in the lists of variants shows it. Frequencies do. The rule:

1. A site says which allele is the rarer among its samples if the frequency is at least `CLEAR`, and three
   standard errors, away from one half.
2. Only over all sites together is it opened how many say one thing, how many the other, and how many cannot
   tell. No site's own answer is.
3. If a site with calls cannot tell, or if as many say one thing as the other, the variant is dropped
   everywhere.
4. Else the majority is right: a site that says otherwise counts the other allele from then on.

Where ancestries are so far apart that the rarer allele differs between sites in truth, the rule errs: use
``"drop"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fedstats.errors import DataError
from fedstats.gwas import _ahead
from fedstats.gwas._variants import Ambiguous
from fedstats.gwas.genotypes import Genotypes
from fedstats.gwas.members import Members
from fedstats.gwas.reconcile import HALF, STRAND, Reconciled

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: How far from one half a frequency must be, and in how many of its standard errors.
CLEAR: Final = 0.1
ERRORS: Final = 3.0

#: What `settle_strands` opens in every mode; part of the declaration of every method that calls it.
OPENED: Mapping[str, str] = {
    "strands": "of each A/T and C/G variant: at how many sites its effect allele is clearly the rarer one, "
    "at how many the more frequent one, at how many neither (only with ambiguous='frequency')",
}


def settle_strands(
    run: Analysis, genotypes: Genotypes, members: Members, shared: Reconciled, ambiguous: Ambiguous
) -> Reconciled:
    """Let all sites count the same allele of A/T and C/G variants, and drop those that cannot be told.

    Parameters
    ----------
    run
        The analysis, past its agreements. Its declaration includes `OPENED`.
    genotypes, members
        This site's genotypes, and whose count.
    shared
        The variants that all sites have.
    ambiguous
        Nothing is done unless it is ``"frequency"``.

    Returns
    -------
    Reconciled
        Of which `flip` of this site, and no other's, is as found here.

    Raises
    ------
    DataError
        No variant is left, at every site alike.

    Notes
    -----
    **Leakage.** `OPENED`; a coalition of t sites learns these counts of the other n − t.

    Cost: two rounds, and one reading of those variants.
    """
    which = np.flatnonzero(shared.variants["ambiguous"])
    if ambiguous != "frequency" or not which.size:
        return shared
    answer = np.concatenate(
        [
            _answers(genotypes.block(shared, which[start : start + _ahead.BLOCK], members).moments(), members)
            for start in range(0, which.size, _ahead.BLOCK)
        ]
    )
    rarer, commoner, unclear = run.sum("strands", answer.astype(np.int64)).T
    reason = np.full(len(shared), "", object)
    reason[which[unclear > 0]] = HALF
    reason[which[(unclear == 0) & (rarer == commoner) & (rarer > 0)]] = STRAND
    otherwise = np.where(rarer > commoner, answer[:, 1], answer[:, 0])
    settled = shared.exchange(run.federation.site, which[otherwise]).drop(reason)
    if not len(settled):
        raise DataError(
            "all variants that the sites share are A/T or C/G, and frequencies do not tell their strand: use "
            "ambiguous='keep' if all files stand on the same one"
        )
    return settled


def _answers(moments: Floats, members: Members) -> NDArray[np.bool_]:
    """Return whether the effect allele is clearly the rarer, the more frequent one, or neither."""
    called = len(members) - moments[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        off = moments[:, 1] / called / 2 - 0.5
        # Of 2·called alleles, at a frequency of one half.
        least = np.maximum(CLEAR, ERRORS * np.sqrt(0.25 / (2 * called)))
    return np.column_stack([off < -least, off > least, np.abs(off) <= least])
