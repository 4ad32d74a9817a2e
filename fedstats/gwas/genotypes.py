"""A site's genotypes, and which of its cohort's rows they belong to."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.errors import DataError
from fedstats.gwas.bgen import BgenFile
from fedstats.gwas.dosages import DosageBlock, DosageFile
from fedstats.gwas.members import Members
from fedstats.gwas.packed import PackedBlock, Ploidy
from fedstats.gwas.pgen import PgenFile
from fedstats.gwas.plink import BedFile
from fedstats.gwas.reconcile import Reconciled, reconcile
from fedstats.gwas.varianttable import VariantTable
from fedstats.gwas.vcf import open_vcf

if TYPE_CHECKING:
    from fedstats.cohort import Cohort
    from fedstats.federation import Federation
    from fedstats.vertical.cohort import VerticalCohort

Block: TypeAlias = PackedBlock | DosageBlock


class Genotypes:
    """Genotypes of one site; made by `Federation.genotypes`.

    The files are opened by the first analysis that uses them, inside its agreement, so that a
    broken file at one site stops all sites together.

    Parameters
    ----------
    federation
        The session.
    path
        The .bed file or its prefix, or a .pgen, .vcf, .vcf.gz, .bcf or .bgen file; None if this site has no
        genotypes.
    """

    def __init__(self, federation: Federation, path: Path | None) -> None:
        self.federation = federation
        self.path = path

    def __repr__(self) -> str:
        return f"<Genotypes at {', '.join(self.federation.sites)}>"

    @cached_property
    def file(self) -> BedFile | DosageFile:
        """The files, validated; DataError if they are not in order."""
        if self.path is None:
            raise DataError(
                "this site has no genotypes, fed.genotypes(None): it can take part where columns are linked"
            )
        name = self.path.name
        if name.endswith((".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")):
            return open_vcf(self.path)
        if name.endswith(".pgen"):
            return PgenFile(self.path)
        if name.endswith(".bgen"):
            return BgenFile(self.path)
        return BedFile(self.path)

    @cached_property
    def table(self) -> VariantTable:
        """The list of variants in normal form."""
        return VariantTable.from_frame(self.file.variants)

    def find(self, variants: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Find the variants of a result in the file: their rows, and whether allele 2 is the effect allele.

        Raises
        ------
        DataError
            The file lacks some of them.
        """
        named = variants.rename(columns={"effect_allele": "allele1", "other_allele": "allele2"})
        # The first in the order of names says which allele is counted.
        both = reconcile({"1 result": VariantTable.from_frame(named), "2 file": self.table})
        if len(both) < len(variants):
            raise DataError(
                f"{self.file.path}: lacks {len(variants) - len(both):,} of the {len(variants):,} variants, "
                "or has them with other alleles, or twice"
            )
        order = np.argsort(both.index["1 result"])
        return both.index["2 file"][order], both.flip["2 file"][order]

    def members(self, samples: NDArray[np.int64]) -> Members:
        """Return those samples of the file as members of an analysis."""
        return Members(samples, self.file.samples["sex"].to_numpy(np.int64))

    def block(self, shared: Reconciled, part: slice | NDArray[np.int64], members: Members) -> Block:
        """Read some of the variants that the sites share, all counting their effect allele."""
        site = self.federation.site
        chromosome = shared.variants["chromosome"].iloc[part]
        ploidy = np.select([chromosome == "X", chromosome == "Y"], [Ploidy.X, Ploidy.Y], Ploidy.DIPLOID)
        return self.file.block(
            shared.index[site][part], members, flip=shared.flip[site][part], ploidy=ploidy.astype(np.int8)
        )

    def match(self, cohort: Cohort | VerticalCohort) -> NDArray[np.int64]:
        """Return, for each of this site's rows of a cohort, its sample in the files, or -1.

        Raises
        ------
        DataError
            The cohort has no id column, or no row of a cohort with rows is among the samples.
        """
        if cohort.ids is None:
            raise DataError(
                "the cohort has no id by which samples could be matched: fed.cohort(..., id='column'), "
                "the column that holds the individual ids of the .fam file"
            )
        samples = self.file.locate([str(name) for name in cohort.ids])
        if samples.size and (samples < 0).all():
            raise DataError(
                f"none of the cohort's {samples.size} ids is an individual id of {self.file.path}: look "
                "whether the id column is the right one, and whether its ids still have their leading zeros"
            )
        return samples
