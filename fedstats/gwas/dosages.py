"""Genotypes as dosages: expected copies of an allele, between 0 and 2, from imputation.

A `DosageFile` is what the readers of other formats than PLINK 1 have in common; a `DosageBlock` does for
dosages what `PackedBlock` does for calls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from fedstats.gwas.members import Members, Numbers
from fedstats.gwas.packed import PackedBlock, Ploidy
from fedstats.gwas.plink import MISSING, locate_samples, pack

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: How far a dosage may be from a whole number to count as a call, as in PLINK 2.
HARD: Final = 0.1


class DosageFile(ABC):
    """Genotypes of one site in a format whose reader gives dosages.

    Attributes
    ----------
    path : Path
        The file.
    variants, samples : DataFrame
        As of `plink.BedFile`; allele 1 is the one that is counted.
    """

    path: Path
    variants: pd.DataFrame
    samples: pd.DataFrame

    @abstractmethod
    def dosages(self, rows: Integers) -> NDArray[np.float32]:
        """Read variants by file order: copies of allele 1, NaN where missing, of all samples."""

    def __repr__(self) -> str:
        size = f"{len(self.variants):,} variants, {len(self.samples):,} samples"
        return f"{type(self).__name__}('{self.path}': {size})"

    def read(
        self, variants: Integers, samples: ArrayLike | None = None, *, flip: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int8]:
        """Read calls, `MISSING` where a dosage is not near a whole number; see `plink.BedFile.read`."""
        dosages = self.dosages(np.asarray(variants))
        dosages = dosages if samples is None else dosages[:, np.asarray(samples)]
        if flip is not None:
            dosages = np.where(flip[:, np.newaxis], 2 - dosages, dosages)
        return hard(dosages)

    def locate(self, iids: list[str], *, single: bool = True) -> Integers:
        """Find samples by individual id; see `plink.BedFile.locate`."""
        return locate_samples(self.path, self.samples, iids, single=single)

    def block(
        self, variants: Integers, members: Members, *, flip: NDArray[np.bool_], ploidy: NDArray[np.int8]
    ) -> PackedBlock | DosageBlock:
        """Read variants for sums over samples; see `plink.BedFile.block`."""
        dosages = self.dosages(variants)
        if np.any(dosages != np.rint(dosages), where=~np.isnan(dosages)):
            return DosageBlock(dosages, flip, ploidy, members)
        return PackedBlock(pack(hard(dosages)), np.arange(variants.size), flip, ploidy, members)


class DosageBlock:
    """Dosages of variants, read so that all count their effect allele; see `PackedBlock`.

    Parameters
    ----------
    dosages
        Copies of allele 1, NaN where missing: shape ``(variants, samples of the file)``.
    flip, ploidy, members
        As of `PackedBlock`. Men's dosages on X are taken as they are, for it takes calls to be impossible.
    """

    def __init__(
        self,
        dosages: NDArray[np.float32],
        flip: NDArray[np.bool_],
        ploidy: NDArray[np.int8],
        members: Members,
    ) -> None:
        g = dosages.astype(np.float64)
        g = np.where(flip[:, np.newaxis], 2 - g, g)
        g[np.ix_(ploidy == Ploidy.Y, ~members.is_male)] = np.nan
        self._samples = members.samples
        self._missing = np.isnan(g)
        self._g = np.nan_to_num(g)

    def __len__(self) -> int:
        return len(self._g)

    @property
    def counts(self) -> Integers:
        """Members with one copy, with two, and without a call, by hard calls: shape ``(variants, 3)``."""
        calls = self.hard_calls()
        return np.column_stack([np.count_nonzero(calls == copies, axis=1) for copies in (1, 2, MISSING)])

    def moments(self) -> Floats:
        """Return missing dosages, Σg and Σg² over the others: shape ``(variants, 3)``."""
        g = self._g[:, self._samples]
        missing = np.count_nonzero(self._missing[:, self._samples], axis=1)
        return np.column_stack([missing, g.sum(axis=1), np.einsum("ij,ij->i", g, g)])

    def calls(self, which: Any = slice(None)) -> Floats:
        """Return the members' dosages, −1 where missing: shape ``(variants, members)``."""
        at = self._samples
        return np.where(self._missing[which][:, at], float(MISSING), self._g[which][:, at])

    def hard_calls(self) -> NDArray[np.int8]:
        """Return the members' calls, −1 where a dosage is not near a whole number."""
        calls = self.calls()
        return hard(np.where(calls < 0, np.nan, calls))

    def products(self, numbers: Numbers, *, squared: bool = False) -> Floats:
        """Return Σ g·x, or Σ g²·x, for every column x: shape ``(variants, columns)``."""
        g = self._g**2 if squared else self._g
        return np.asarray(g @ numbers.rows[: g.shape[1]])

    def of_missing(self, which: Integers, numbers: Numbers) -> Floats:
        """Return Σ x over missing dosages, of some variants: shape ``(which, columns)``."""
        missing = self._missing[which].astype(np.float64)
        return np.asarray(missing @ numbers.rows[: missing.shape[1]])

    def squares_of_missing(self, which: Integers, numbers: Numbers) -> tuple[Floats, Floats]:
        """Return what `of_missing` does, and the sums of `Numbers.pairs`: shape ``(which, pairs)``."""
        first, second = numbers.pairs
        products = np.zeros((which.size, first.size))
        for row, variant in enumerate(which):
            lacking = numbers.rows[: self._missing.shape[1]][self._missing[variant]]
            products[row] = (lacking.T @ lacking)[first, second]
        return self.of_missing(which, numbers), products


def hard(dosages: NDArray[Any]) -> NDArray[np.int8]:
    """Return the whole number that each dosage is near to, `MISSING` if none."""
    whole = np.rint(dosages)
    near = np.abs(dosages - whole) <= HARD  # False where NaN
    return np.where(near, whole, MISSING).astype(np.int8)
