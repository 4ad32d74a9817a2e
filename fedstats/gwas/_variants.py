"""How sites agree on the variants of a scan: lists are compared by fingerprint, and sent if they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedstats.errors import DataError
from fedstats.gwas.genotypes import Genotypes
from fedstats.gwas.reconcile import Reconciled, reconcile
from fedstats.gwas.varianttable import VariantTable

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

Ambiguous: TypeAlias = Literal["keep", "drop"]

#: Longest variant list accepted from a site: some 30 million variants.
MAX_LISTING = 1 << 30

#: What `agree_variants` publishes; part of the declaration of every method that calls it.
PUBLISHED: Mapping[str, str] = {
    "genotypes": "number and SHA-256 of each site's list of variants",
    "variants": "each site's list of variants, if the lists differ: positions, names, alleles in order",
}


def agree_variants(
    run: Analysis,
    genotypes: Genotypes,
    cohort: Cohort,
    ambiguous: Ambiguous,
    check: Callable[[], None],
) -> tuple[NDArray[np.int64], Reconciled]:
    """Match this site's rows to its samples, and its variants to those of the other sites.

    Parameters
    ----------
    run
        The analysis, at its start. Its declaration includes `PUBLISHED`.
    genotypes, cohort
        Of the same federation.
    ambiguous
        Whether A/T and C/G variants are kept.
    check
        Checks whatever else the analysis needs of this site. May raise DataError.

    Returns
    -------
    samples : ndarray of int64
        For each row of the cohort its sample in the file, or −1.
    shared : Reconciled
        The variants that all sites have; at least one.

    Raises
    ------
    DataError
        The genotype files or ids cannot be used, or the sites share no variant.
    RemoteError
        The same at another site.

    Notes
    -----
    Cost: one round, or two if the lists differ.
    """
    matched: list[NDArray[np.int64]] = []

    def local() -> Mapping[str, Any]:
        if genotypes.federation is not cohort.federation:
            raise DataError(
                "genotypes and cohort belong to different federations: open both with the same one"
            )
        if ambiguous not in ("keep", "drop"):
            raise DataError(f"ambiguous={ambiguous!r}: 'keep' or 'drop'")
        check()
        matched.append(genotypes.match(cohort))
        return {"variants": len(genotypes.table), "sha256": genotypes.table.fingerprint()}

    told = run.agree("genotypes", local)
    if all(its == told[run.federation.site] for its in told.values()):
        tables = dict.fromkeys(run.sites, genotypes.table)
    else:
        lists = run.agree("variants", genotypes.table.to_wire, max_bytes=MAX_LISTING)
        tables = {site: VariantTable.from_wire(its, site=site) for site, its in lists.items()}
    shared = reconcile(tables, ambiguous=ambiguous)
    if not len(shared):
        reasons = ", ".join(f"{count} {reason}" for reason, count in shared.counts.items() if count)
        raise DataError(
            f"the sites share no variant ({reasons}): compare genome build, chromosome names and alleles"
        )
    return matched[0], shared
