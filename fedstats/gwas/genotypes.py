"""A site's genotypes, and which of its cohort's rows they belong to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.errors import DataError
from fedstats.gwas.bgen import BgenFile
from fedstats.gwas.dosages import DosageBlock, DosageFile
from fedstats.gwas.members import Members
from fedstats.gwas.packed import PackedBlock
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
        return open_file(self.path)

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
        # The first in the order of names says which allele is counted.
        both = reconcile({"1 result": VariantTable.from_result(variants), "2 file": self.table})
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
        return self.reading(shared, part, members).block()

    def reading(self, shared: Reconciled, part: slice | NDArray[np.int64], members: Members) -> Reading:
        """Return what reads them, perhaps in another process."""
        site = self.federation.site
        rows, flip = shared.index[site][part], shared.flip[site][part]
        return Reading(self.file, rows, flip, shared.ploidy[part], members)

    def match(self, cohort: Cohort | VerticalCohort, *, some: bool = True) -> NDArray[np.int64]:
        """Return, for each of this site's rows of a cohort, its sample in the files, or -1.

        Parameters
        ----------
        cohort
            Its rows.
        some
            Whether it is an error if there is none, or an id of several samples. Without it, whatever the
            ids are is no error, which would tell of single rows; an id of several samples has none.

        Raises
        ------
        DataError
            The cohort has no id column; or, with `some`, no row of a cohort with rows is among the samples,
            or an id is that of several.
        """
        if cohort.ids is None:
            raise DataError(
                "the cohort has no id by which samples could be matched: fed.cohort(..., id='column'), "
                "the column that holds the individual ids of the .fam file"
            )
        samples = self.file.locate([str(name) for name in cohort.ids], single=some)
        if some and samples.size and (samples < 0).all():
            raise DataError(
                f"none of the cohort's {samples.size} ids is an individual id of {self.file.path}: look "
                "whether the id column is the right one, and whether its ids still have their leading zeros"
            )
        return samples


@dataclass(frozen=True, eq=False, repr=False)
class Reading:
    """Variants of a file that are to be read for sums over samples; its repr shows no sample.

    It can be pickled: another process of this site then opens the file by its path.
    """

    file: BedFile | DosageFile
    rows: NDArray[np.int64]
    flip: NDArray[np.bool_]
    ploidy: NDArray[np.int8]
    members: Members

    def block(self) -> Block:
        """Read them."""
        return self.file.block(self.rows, self.members, flip=self.flip, ploidy=self.ploidy)

    def __reduce__(self) -> tuple[Callable[..., Reading], tuple[object, ...]]:
        return _reopened, (self.file.path, self.rows, self.flip, self.ploidy, self.members)


def open_file(path: Path) -> BedFile | DosageFile:
    """Open genotypes by the ending of their name; see `Genotypes`."""
    if path.name.endswith((".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")):
        return open_vcf(path)
    if path.name.endswith(".pgen"):
        return PgenFile(path)
    if path.name.endswith(".bgen"):
        return BgenFile(path)
    return BedFile(path)


def _reopened(path: Path, *what: Any) -> Reading:
    its = path.stat()
    return Reading(_opened(path, its.st_mtime_ns, its.st_size), *what)


@lru_cache(2)
def _opened(path: Path, time: int, size: int) -> BedFile | DosageFile:  # noqa: ARG001  (another file if changed)
    return open_file(path)
