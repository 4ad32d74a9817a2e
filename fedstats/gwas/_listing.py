"""The variants of all sites in one long table, in terms in which equal variants are equal integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.gwas.varianttable import Coded, VariantTable

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

_COMPLEMENT: Final = {"A": "T", "C": "G", "G": "C", "T": "A"}
_UNSEEN: Final = "0"
_NOWHERE: Final = "0"


@dataclass(frozen=True, eq=False)
class Listing:
    """One row for each variant in each site's file, sites in order, files in order.

    Attributes
    ----------
    site, file_row : ndarray of int64
        Which site, by number, and which row of its file.
    locus : ndarray of int64
        Number of the pair (chromosome, position), dense.
    pair : ndarray of int64
        Unordered alleles on the canonical strand: equal for A/C, C/A, T/G and G/T.
    swapped : ndarray of bool
        Whether allele 1 is the second of the pair.
    other_strand : ndarray of bool
        Whether the file is read on the strand opposite to the canonical one.
    ambiguous : ndarray of bool
        A/T and C/G: strand unknown.
    completed : ndarray of bool
        Whether an allele that the file does not know was taken from the other sites.
    placed, known : ndarray of bool
        Whether chromosome and position, and both alleles, are known.
    """

    site: Integers
    file_row: Integers
    locus: Integers
    pair: Integers
    swapped: Booleans
    other_strand: Booleans
    ambiguous: Booleans
    completed: Booleans
    placed: Booleans
    known: Booleans
    _chromosome: Integers
    _position: Integers
    _allele1: Integers
    _allele2: Integers
    _rsid: NDArray[np.object_]
    _chromosome_names: NDArray[np.object_]
    _allele_names: NDArray[np.object_]

    @classmethod
    def of(cls, tables: Sequence[VariantTable]) -> Self:
        """List the variants of `tables`, one a site."""
        sizes = [len(table) for table in tables]
        chromosome, chromosome_names = _united([table.chromosome for table in tables], (), _genome_rank)
        position = np.concatenate([table.position for table in tables])
        locus, _ = distinct(chromosome << 31 | position)
        placed = (position > 0) & (chromosome_names != _NOWHERE)[chromosome]

        columns = [table.allele1 for table in tables] + [table.allele2 for table in tables]
        stacked, allele_names = _united(columns, [_UNSEEN, *_COMPLEMENT], str)
        alleles = _Alleles(allele_names)
        allele1, allele2 = np.split(stacked, 2)
        allele1, allele2, completed = alleles.complete(allele1, allele2, locus, placed)
        first, second, other_strand = alleles.canonical(allele1, allele2)

        return cls(
            site=np.repeat(np.arange(len(tables)), sizes),
            file_row=np.concatenate([np.arange(size) for size in sizes]),
            locus=locus,
            pair=np.minimum(first, second) * allele_names.size + np.maximum(first, second),
            swapped=first > second,
            other_strand=other_strand,
            ambiguous=alleles.ambiguous(allele1, allele2),
            completed=completed,
            placed=placed,
            known=(allele1 != alleles.unseen) & (allele2 != alleles.unseen),
            _chromosome=chromosome,
            _position=position,
            _allele1=allele1,
            _allele2=allele2,
            _rsid=np.concatenate([table.rsid for table in tables]),
            _chromosome_names=chromosome_names,
            _allele_names=allele_names,
        )

    def genome_order(self, rows: Integers) -> Integers:
        """Order of `rows` by chromosome (1 … 22, X, Y, XY, MT, others by name), position, alleles."""
        return np.lexsort((self.pair[rows], self._chromosome[rows] << 31 | self._position[rows]))

    def frame(self, rows: Integers) -> pd.DataFrame:
        """Show `rows` as their files have them."""
        return pd.DataFrame(
            {
                "chromosome": self._chromosome_names[self._chromosome[rows]],
                "base_pair_location": self._position[rows],
                "allele1": self._allele_names[self._allele1[rows]],
                "allele2": self._allele_names[self._allele2[rows]],
                "rsid": self._rsid[rows],
            }
        )


class _Alleles:
    """Strand arithmetic on allele codes."""

    def __init__(self, names: NDArray[np.object_]) -> None:
        code = {name: number for number, name in enumerate(names)}
        self.unseen = code[_UNSEEN]
        self._adenine = code["A"]
        self._is_base = np.array([name in _COMPLEMENT for name in names])
        self._complement = np.array([code[_COMPLEMENT.get(name, name)] for name in names])
        self._size = names.size

    def ambiguous(self, allele1: Integers, allele2: Integers) -> Booleans:
        """Whether a pair reads alike on both strands."""
        alike: Booleans = self._is_base[allele1] & (allele2 == self._complement[allele1])
        return alike

    def _stranded(self, allele1: Integers, allele2: Integers) -> Booleans:
        """Whether a pair tells its strand: two bases, not complements of each other."""
        bases: Booleans = self._is_base[allele1] & self._is_base[allele2]
        return bases & ~self.ambiguous(allele1, allele2)

    def canonical(self, allele1: Integers, allele2: Integers) -> tuple[Integers, Integers, Booleans]:
        """Read a pair on its canonical strand; for bases whose strand shows, the one with an A."""
        adenine = (allele1 == self._adenine) | (allele2 == self._adenine)
        opposite = self._stranded(allele1, allele2) & ~adenine
        first = np.where(opposite, self._complement[allele1], allele1)
        second = np.where(opposite, self._complement[allele2], allele2)
        return first, second, opposite

    def complete(
        self, allele1: Integers, allele2: Integers, locus: Integers, placed: Booleans
    ) -> tuple[Integers, Integers, Booleans]:
        """Give unseen alleles the name that the only full pair of the same locus has for them."""
        unseen1, unseen2 = allele1 == self.unseen, allele2 == self.unseen
        full = np.flatnonzero(~unseen1 & ~unseen2)
        one, two, _ = self.canonical(allele1[full], allele2[full])
        low, high = np.minimum(one, two), np.maximum(one, two)
        _, first = distinct(locus[full], low * self._size + high)
        at = locus[full[first]]
        n_loci = int(locus.max(initial=-1)) + 1
        only = np.bincount(at, minlength=n_loci) == 1
        low_at, high_at = np.zeros((2, n_loci), np.int64)
        low_at[at], high_at[at] = low[first], high[first]

        rows = np.flatnonzero((unseen1 != unseen2) & placed & only[locus])
        low, high = low_at[locus[rows]], high_at[locus[rows]]
        seen = np.where(unseen1, allele2, allele1)[rows]
        opposite = self._stranded(low, high) & (seen != low) & (seen != high)
        on_strand = np.where(opposite, self._complement[seen], seen)
        fits = (on_strand == low) | (on_strand == high)
        partner = np.where(on_strand == low, high, low)
        partner = np.where(opposite, self._complement[partner], partner)[fits]
        rows = rows[fits]

        allele1, allele2 = allele1.copy(), allele2.copy()
        allele1[rows] = np.where(unseen1[rows], partner, allele1[rows])
        allele2[rows] = np.where(unseen2[rows], partner, allele2[rows])
        completed = np.zeros(locus.size, np.bool_)
        completed[rows] = True
        return allele1, allele2, completed


def distinct(*keys: Integers) -> tuple[Integers, Integers]:
    """Give the distinct tuples of `keys` numbers from 0, in order of appearance.

    Returns
    -------
    number : ndarray of int64, shape of the keys
    first : ndarray of int64
        Where each number appears first.
    """
    number = _dense(keys[0])
    for key in keys[1:]:
        dense = _dense(key)
        # Both factors are at most the number of rows, so the product does not overflow.
        number = _dense(number * (int(dense.max(initial=0)) + 1) + dense)
    first = np.flatnonzero(np.diff(np.maximum.accumulate(number), prepend=-1))
    return number, first


def _dense(key: Integers) -> Integers:
    return pd.factorize(key)[0].astype(np.int64, copy=False)


def _united(
    columns: Sequence[Coded], always: Sequence[str], order: Callable[[str], Any]
) -> tuple[Integers, NDArray[np.object_]]:
    """Stack coded columns over the union of their names."""
    names = sorted(set(always).union(*(column.names for column in columns)), key=order)
    code = {name: number for number, name in enumerate(names)}
    stacked = [np.array([code[name] for name in column.names], np.int64)[column.codes] for column in columns]
    return np.concatenate(stacked), np.array(names, object)


def _genome_rank(chromosome: str) -> tuple[int, int, str]:
    if chromosome.isascii() and chromosome.isdigit():
        return 0, int(chromosome), chromosome
    special = ("X", "Y", "XY", "MT")
    return (1, special.index(chromosome), "") if chromosome in special else (2, 0, chromosome)
