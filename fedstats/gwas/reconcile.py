"""Which variants the sites have in common, and how each site's file must be read to count the same allele.

The rules, the same at every site and for every order in which the sites are named:

1. A variant is a chromosome, a position and an unordered pair of alleles. Only what every site has is
   kept, in the order of the genome.
2. Single bases other than A/T and C/G may stand on either strand: A/C at one site is T/G at another.
   A/T and C/G read alike on both strands; they are matched by the letters as given and flagged
   `ambiguous`, to be told by frequency (`_strands` has the rule) or dropped. Any other alleles
   (insertions, deletions, the A/B of an array) have no strand here.
3. An allele that a file writes as ``0``, because nobody there carries it, is taken from the other sites
   when they know exactly one pair at that position that fits.
4. A variant that one site lists twice is dropped everywhere: which of the two rows is meant is unknown.
   So is one without a place (chromosome or position 0).
5. Effect allele, strand and rsid are those of the first site in the order of names; of A/T and C/G variants
   that were told by frequency, the strand is that of most sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.gwas._listing import Booleans, Integers, Listing, distinct
from fedstats.gwas.packed import Ploidy
from fedstats.gwas.varianttable import VariantTable

#: Why a variant is dropped. One that has several reasons is listed under the first.
REASONS: Final = (
    "no position",
    "unknown allele",
    "listed twice",
    "absent at a site",
    "other alleles at a site",
    "ambiguous strand",
    "frequency near one half",
)
#: Reasons for which frequencies drop an A/T or C/G variant: as many sites say one thing as the other; or one
#: cannot tell.
STRAND, HALF = REASONS[-2:]
_UNPLACED, _UNKNOWN, _TWICE, _ABSENT, _OTHER_ALLELES, _AMBIGUOUS, _ = range(len(REASONS))
_KEPT: Final = -1


@dataclass(frozen=True, eq=False)
class Reconciled:
    """The variants that all sites share, in the order of the genome.

    Attributes
    ----------
    variants : DataFrame, one row a variant
        `chromosome`, `base_pair_location`, `effect_allele`, `other_allele`, `rsid` and `ambiguous`.
    index : dict of ndarray of int64, by site
        Where each variant stands in the site's file.
    flip : dict of ndarray of bool, by site
        Whether the effect allele is allele 2 of the site's file: `BedFile.read` takes it as `flip`.
    sites : DataFrame, one row a site
        `listed` variants in the file; of those kept, how many with alleles `swapped`, on the other
        `strand`, and with an allele `completed` from the other sites.
    dropped : DataFrame, one row a variant
        `chromosome`, `base_pair_location`, `allele1`, `allele2`, `rsid` as first listed, `sites` that
        list it (separated by commas) and `reason`, one of `REASONS`.
    """

    variants: pd.DataFrame
    index: Mapping[str, Integers]
    flip: Mapping[str, Booleans]
    sites: pd.DataFrame
    dropped: pd.DataFrame

    def __len__(self) -> int:
        return len(self.variants)

    @property
    def counts(self) -> pd.Series[int]:
        """Number of variants kept, and of those dropped for each reason."""
        dropped = self.dropped["reason"].value_counts().reindex(REASONS, fill_value=0)
        return pd.concat([pd.Series({"kept": len(self)}), dropped]).rename("variants")

    @cached_property
    def ploidy(self) -> NDArray[np.int8]:
        """What the chromosome of each variant means for its calls: one of `Ploidy`."""
        chromosome = self.variants["chromosome"].to_numpy(object)
        found = np.select([chromosome == "X", chromosome == "Y"], [Ploidy.X, Ploidy.Y], Ploidy.DIPLOID)
        return found.astype(np.int8)

    def only(self, variants: pd.DataFrame) -> Reconciled:
        """Return those of the variants that a table lists by chromosome, position and both alleles."""
        key = ["chromosome", "base_pair_location", "effect_allele", "other_allele"]
        wanted = pd.MultiIndex.from_frame(variants[key].astype(str))
        kept = pd.MultiIndex.from_frame(self.variants[key].astype(str)).isin(wanted)
        return self.take(np.flatnonzero(kept))

    def take(self, which: Integers) -> Reconciled:
        """Return some of the variants."""
        return replace(
            self,
            variants=self.variants.iloc[which].reset_index(drop=True),
            index={site: rows[which] for site, rows in self.index.items()},
            flip={site: rows[which] for site, rows in self.flip.items()},
        )

    def drop(self, reason: NDArray[np.object_]) -> Reconciled:
        """Drop variants for which a reason is given, one text a variant, and list them as dropped."""
        gone = np.flatnonzero(reason != "")
        listed = self.variants.iloc[gone].rename(
            columns={"effect_allele": "allele1", "other_allele": "allele2"}
        )
        listed = listed.assign(sites=",".join(self.index), reason=reason[gone])[[*self.dropped.columns]]
        dropped = pd.concat([self.dropped, listed], ignore_index=True) if gone.size else self.dropped
        return replace(self.take(np.flatnonzero(reason == "")), dropped=dropped)

    def exchange(self, site: str, which: Integers) -> Reconciled:
        """Let a site count the other allele of some variants."""
        flip = self.flip[site].copy()
        flip[which] ^= True
        return replace(self, flip={**self.flip, site: flip})


def reconcile(
    tables: Mapping[str, VariantTable], *, ambiguous: Literal["keep", "drop", "frequency"] = "keep"
) -> Reconciled:
    """Match the variants of all sites; the module's docstring has the rules.

    Parameters
    ----------
    tables
        Each site's variants, by the site's name.
    ambiguous
        Whether A/T and C/G variants, whose strand cannot be seen from their alleles, are kept; with
        ``"frequency"`` they are, to be told later.

    Returns
    -------
    Reconciled
        The same at every site that was given the same tables.
    """
    if not tables:
        raise ValueError("no tables to reconcile")
    if ambiguous not in ("keep", "drop", "frequency"):
        raise ValueError(f"ambiguous={ambiguous!r}: 'keep', 'drop' or 'frequency'")
    names = sorted(tables)
    first_site, *others = names
    if others and all(tables[name] is tables[first_site] for name in others):
        return _repeated(reconcile({first_site: tables[first_site]}, ambiguous=ambiguous), names)
    listing = Listing.of([tables[name] for name in names])

    rows = np.flatnonzero(listing.placed & listing.known)
    variant, first = distinct(listing.locus[rows], listing.pair[rows])
    first = rows[first]
    times = _cross_count(variant, listing.site[rows], len(names))
    absent = np.asarray((times == 0).any(axis=1))
    at_locus = _cross_count(listing.locus[rows], listing.site[rows], len(names))
    locus_everywhere = np.asarray((at_locus > 0).all(axis=1))
    verdict = np.select(
        [
            (times > 1).any(axis=1),
            absent & ~locus_everywhere[listing.locus[first]],
            absent,
            listing.ambiguous[first] & (ambiguous == "drop"),
        ],
        [_TWICE, _ABSENT, _OTHER_ALLELES, _AMBIGUOUS],
        _KEPT,
    )

    kept = np.flatnonzero(verdict == _KEPT)
    kept = kept[listing.genome_order(first[kept])]
    row_of_variant = np.zeros((len(names), first.size), np.int64)
    row_of_variant[listing.site[rows], variant] = rows
    at_site = row_of_variant[:, kept]  # sites × kept variants
    reference = at_site[0]
    swapped = listing.swapped[at_site] != listing.swapped[reference]
    strand = listing.other_strand[at_site] != listing.other_strand[reference]

    # Rows that name no variant cannot be matched: each is reported for itself.
    unmatched = np.flatnonzero(~(listing.placed & listing.known))
    lost = np.flatnonzero(verdict != _KEPT)
    dropped = pd.concat(
        [
            _dropped(
                listing,
                unmatched,
                np.where(listing.placed[unmatched], _UNKNOWN, _UNPLACED),
                _site_lists(listing.site[unmatched, None] == np.arange(len(names)), names),
            ),
            _dropped(listing, first[lost], verdict[lost], _site_lists(times[lost] > 0, names)),
        ],
        ignore_index=True,
    )
    return Reconciled(
        variants=listing.frame(reference)
        .rename(columns={"allele1": "effect_allele", "allele2": "other_allele"})
        .assign(ambiguous=listing.ambiguous[reference]),
        index=dict(zip(names, listing.file_row[at_site], strict=True)),
        flip=dict(zip(names, swapped, strict=True)),
        sites=pd.DataFrame(
            {
                "listed": [len(tables[name]) for name in names],
                "swapped": swapped.sum(axis=1),
                "strand": strand.sum(axis=1),
                "completed": listing.completed[at_site].sum(axis=1),
            },
            index=pd.Index(names, name="site"),
        ),
        dropped=dropped,
    )


def _repeated(alone: Reconciled, names: Sequence[str]) -> Reconciled:
    """Return what sites of one and the same table share, given what the first of them has."""
    first_site, everybody = names[0], ",".join(names)
    return Reconciled(
        variants=alone.variants,
        index=dict.fromkeys(names, alone.index[first_site]),
        flip=dict.fromkeys(names, alone.flip[first_site]),
        sites=pd.concat([alone.sites] * len(names)).set_axis(pd.Index(names, name="site")),
        dropped=alone.dropped.assign(sites=everybody),
    )


def _cross_count(key: Integers, site: Integers, n_sites: int) -> Integers:
    """How often each key occurs at each site: shape (keys, sites)."""
    n_keys = int(key.max(initial=-1)) + 1
    counts: Integers = np.bincount(key * n_sites + site, minlength=n_keys * n_sites)
    return counts.reshape(n_keys, n_sites)


def _site_lists(present: Booleans, names: Sequence[str]) -> NDArray[np.object_]:
    """Write each row of `present`, shape (variants, sites), as names separated by commas."""
    patterns, pattern = np.unique(present, axis=0, return_inverse=True)
    texts = [",".join(name for name, there in zip(names, row, strict=True) if there) for row in patterns]
    return np.array(texts, object)[pattern]


def _dropped(listing: Listing, rows: Integers, reason: Integers, sites: NDArray[np.object_]) -> pd.DataFrame:
    order = listing.genome_order(rows)
    shown = listing.frame(rows[order])
    return shown.assign(sites=sites[order], reason=np.array(REASONS, object)[reason[order]])
