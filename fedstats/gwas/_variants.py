"""How sites agree on the variants of a scan: lists are compared by fingerprint, and sent if they differ."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import design
from fedstats.cohort import require_rows
from fedstats.errors import DataError
from fedstats.gwas.genotypes import Genotypes
from fedstats.gwas.reconcile import Reconciled, reconcile
from fedstats.gwas.varianttable import VariantTable

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.vertical.cohort import VerticalCohort

Ambiguous: TypeAlias = Literal["keep", "drop", "frequency"]

#: Columns that tell one variant from another; alleles in the order of the results.
KEY: Final = ["chromosome", "base_pair_location", "effect_allele", "other_allele"]
#: Chromosomes that not everybody has two copies of.
SPECIAL: Final = ("X", "Y", "MT")
#: Those of which everybody who has a call has one copy; effects are of that one.
HAPLOID: Final = ("Y", "MT")
#: Longest variant list accepted from a site: some 30 million variants.
MAX_LISTING = 1 << 30

#: What `agree_variants` publishes; part of the declaration of every method that calls it.
PUBLISHED: Mapping[str, str] = {
    "genotypes": "number and SHA-256 of each site's list of variants, SHA-256 of the variants= that it was "
    "given, and the text of the call",
    "variants": "each site's list of variants, if the lists differ: positions, names, alleles in order",
}


def agree_variants(
    run: Analysis,
    genotypes: Genotypes,
    cohort: Cohort,
    ambiguous: Ambiguous,
    *,
    variants: pd.DataFrame | None = None,
    options: str = "",
    check: Callable[[], None] | None = None,
    some: bool = True,
) -> tuple[NDArray[np.int64], Reconciled]:
    """Match this site's rows to its samples, and its variants to those of the other sites.

    Parameters
    ----------
    run
        The analysis, at its start. Its declaration includes `PUBLISHED`.
    genotypes, cohort
        Of the same federation.
    ambiguous
        Whether A/T and C/G variants are kept; see `_strands` for ``"frequency"``.
    variants
        Only these: columns `KEY`, as a result has them.
    options
        Whatever else all sites must give alike, as text, if no design is agreed on later.
    check
        Checks whatever else the analysis needs of this site. May raise DataError.
    some
        Whether ids that fit no sample or several are an error, see `Genotypes.match`.

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
        require_rows(cohort)
        check_call(genotypes, cohort, ambiguous)
        if check is not None:
            check()
        matched.append(genotypes.match(cohort, some=some))
        return {
            "variants": len(genotypes.table),
            "sha256": genotypes.table.fingerprint(),
            "only": fingerprint_of(variants),
            "call": options,
        }

    told = run.agree("genotypes", local)
    refuse_differing(told, run.federation.site)
    if all(its == told[run.federation.site] for its in told.values()):
        tables = dict.fromkeys(run.sites, genotypes.table)
        shared = reconcile(tables, ambiguous=ambiguous)
    else:
        lists = run.agree("variants", genotypes.table.to_wire, max_bytes=MAX_LISTING)
        tables = {site: VariantTable.from_wire(its, site=site) for site, its in lists.items()}
        shared = reconcile(tables, ambiguous=ambiguous)
        _refuse_other_build(tables, len(shared))
    if not len(shared):
        reasons = ", ".join(f"{count} {reason}" for reason, count in shared.counts.items() if count)
        raise DataError(
            f"the sites share no variant ({reasons}): compare genome build, chromosome names and alleles"
        )
    return matched[0], chosen(shared, variants)


def check_call(genotypes: Genotypes, cohort: Cohort | VerticalCohort, ambiguous: str) -> None:
    """Raise DataError for a call that no site could answer."""
    if genotypes.federation is not cohort.federation:
        raise DataError("genotypes and cohort belong to different federations: open both with the same one")
    if ambiguous not in get_args(Ambiguous):
        raise DataError(f"ambiguous={ambiguous!r}: {', '.join(map(repr, get_args(Ambiguous)))}")


def chosen(shared: Reconciled, variants: pd.DataFrame | None) -> Reconciled:
    """Return those of the variants that a table lists, all of them without one."""
    if variants is None:
        return shared
    shared = shared.only(variants)
    if not len(shared):
        raise DataError("none of the given variants is among those that the sites share")
    return shared


def _refuse_other_build(tables: Mapping[str, VariantTable], kept: int) -> None:
    """Raise DataError, at every site alike, if sites place most variants of the same rsid differently.

    Variants that happen to lie where both builds have one would otherwise be all that is left.
    """
    first, *others = sorted(tables)
    place = _places(tables[first])
    for site in others:
        both = pd.concat([place, _places(tables[site])], axis=1, join="inner")
        moved = int((both.iloc[:, 0] != both.iloc[:, 1]).sum())
        if moved > max(kept, len(both) // 2):
            raise DataError(
                f"sites {first} and {site} place {moved:,} of the {len(both):,} rsids that both list "
                "at different positions: one of them has another genome build; lift it over"
            )


def _places(table: VariantTable) -> pd.Series[int]:
    """Return the position of each rsid that a table lists once."""
    named = pd.Series(table.rsid).str.match(r"rs\d+$").to_numpy(np.bool_)
    places = pd.Series(table.position[named], index=table.rsid[named])
    return places[~places.index.duplicated(keep=False)]


def fingerprint_of(variants: pd.DataFrame | None) -> bytes:
    """Return what two sites compare to know that they were given the same variants."""
    if variants is None:
        return b""
    absent = [name for name in KEY if name not in variants]
    if absent:
        raise DataError(f"variants has no column {', '.join(absent)}: give rows of a result's table")
    text = variants[KEY].astype(str).sort_values(KEY).to_csv(index=False)
    return hashlib.sha256(text.encode()).digest()


def refuse_differing(told: Mapping[str, Mapping[str, Any]], me: str) -> None:
    """Raise DataError, at every site alike, unless all sites restrict the variants alike."""
    design.check_same_call(told, me)
    differing = [site for site, its in told.items() if its.get("only") != told[me]["only"]]
    if differing:
        raise DataError(
            f"site {differing[0]} gives other variants than site {me}: pass the same variants= everywhere"
        )
