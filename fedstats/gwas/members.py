"""Which samples of a genotype file take part in an analysis, and their numbers in the order of the file.

Rows of a cohort come in any order, and leave samples out. Bringing numbers into the file's order once, with
zeros for whoever takes no part, spares every variant of the file from being picked apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedstats.gwas._vectors import WIDTH

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

#: Samples in a word of 64 bits, two bits each.
PER_WORD: Final = 32


class Members:
    """The samples of one site's file that take part.

    Parameters
    ----------
    samples
        Where each row of the analysis stands in the file; distinct.
    sex
        Of all samples of the file: 1 male, 2 female, 0 unknown.

    Attributes
    ----------
    samples
        As given.
    words
        Words of 64 bits that hold the genotypes of all samples.
    mask
        The members, as `bits` has them.
    is_male
        Which samples of the file are known to be male.
    """

    def __init__(self, samples: Integers, sex: Integers) -> None:
        self.samples = samples
        self.words = -(-sex.size // PER_WORD)
        chosen = np.zeros(sex.size, np.bool_)
        chosen[samples] = True
        self.mask = self.bits(chosen)
        self.is_male = sex == 1
        self._sex = sex

    def __len__(self) -> int:
        return self.samples.size

    def among(self, chosen: NDArray[np.bool_]) -> Members:
        """Return the members among the chosen samples of the file."""
        return Members(self.samples[chosen[self.samples]], self._sex)

    @cached_property
    def males(self) -> Words:
        """Samples known to be male, as `bits` has them."""
        return self.bits(self.is_male)

    def bits(self, chosen: NDArray[np.bool_]) -> Words:
        """Return the lower bit of the genotypes of the chosen samples of the file, as words."""
        marks = np.zeros((self.words, PER_WORD), np.uint64)
        marks.reshape(-1)[: chosen.size] = chosen
        shifts = np.arange(0, 2 * PER_WORD, 2, dtype=np.uint64)
        return np.asarray((marks << shifts).sum(axis=1, dtype=np.uint64))

    def numbers(self, rows: Floats, terms: int = 0) -> Numbers:
        """Bring rows of numbers, one a member, into the order of the file."""
        placed = np.zeros((self.words * PER_WORD, rows.shape[1]))
        placed[self.samples] = rows
        return Numbers(placed, terms)


@dataclass(frozen=True, eq=False, repr=False)
class Numbers:
    """Columns of numbers in the order of a genotype file, zero for samples that take no part.

    Attributes
    ----------
    rows
        Shape ``(samples, columns)``, filled up to whole words of genotypes.
    terms
        So many of the columns come first as covariates; see `pairs`.
    """

    rows: Floats
    terms: int

    @property
    def columns(self) -> int:
        """How many columns there are."""
        return int(self.rows.shape[1])

    def __reduce__(self) -> tuple[type[Numbers], tuple[Floats, int]]:
        """Leave to another process what it can work out itself."""
        return Numbers, (self.rows, self.terms)

    @cached_property
    def vectors(self) -> Floats:
        """The columns in groups of `WIDTH`, zeros where there are no more: ``(groups, samples, WIDTH)``."""
        groups = -(-self.columns // WIDTH)
        spread = np.zeros((groups, len(self.rows), WIDTH))
        for group in range(groups):
            part = self.rows[:, group * WIDTH : (group + 1) * WIDTH]
            spread[group, :, : part.shape[1]] = part
        return spread

    @cached_property
    def pairs(self) -> tuple[Integers, Integers]:
        """Which products of columns are needed: all that have a covariate, and the other columns' squares."""
        first, second = np.triu_indices(self.columns)
        needed = (first < self.terms) | (first == second)
        return first[needed], second[needed]
