"""BGEN files, by cbgen: probabilities of unphased diploid genotypes of two alleles."""

from __future__ import annotations

import tempfile
import weakref
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.errors import DataError
from fedstats.gwas._extra import needs
from fedstats.gwas.dosages import DosageFile


class BgenFile(DosageFile):
    """A BGEN file; variants of more than two alleles are left out, and the first allele is allele 1.

    Parameters
    ----------
    path
        The .bgen file. Ids come from it, or from the .sample file beside it.

    Raises
    ------
    DataError
        A file is absent or malformed, or cbgen is not installed.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        library = needs("cbgen", "cbgen", self.path)
        try:
            with self.path.open("rb") as file:
                file.seek(16)
                magic = file.read(4)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror})") from error
        if magic not in (b"bgen", b"\0\0\0\0"):
            raise DataError(f"{self.path}: not a BGEN file")
        try:
            self._file = library.bgen_file(self.path)
            with tempfile.TemporaryDirectory(prefix="fedstats-") as folder:
                index = Path(folder) / "metafile"
                self._file.create_metafile(index, verbose=False)
                with library.bgen_metafile(index) as table:
                    parts = [table.read_partition(part).variants for part in range(table.npartitions)]
        except RuntimeError as error:
            raise DataError(f"{self.path}: damaged") from error
        weakref.finalize(self, self._file.close)
        self.samples = self._read_samples()
        two = np.concatenate([part.nalleles for part in parts]) == 2
        alleles = np.concatenate([part.allele_ids for part in parts])[two]
        pairs = [text.decode().split(",") for text in alleles.tolist()]
        self._offsets = np.concatenate([part.offset for part in parts])[two]
        self.variants = pd.DataFrame(
            {
                "chromosome": _texts(np.concatenate([part.chromosome for part in parts])[two]),
                "rsid": _texts(np.concatenate([part.rsid for part in parts])[two]),
                "base_pair_location": np.concatenate([part.position for part in parts])[two].astype(np.int64),
                "allele1": [pair[0] for pair in pairs],
                "allele2": [pair[1] for pair in pairs],
            }
        )

    def _read_samples(self) -> pd.DataFrame:
        beside = self.path.with_suffix(".sample")
        if beside.exists():
            try:
                table = pd.read_csv(beside, sep=r"\s+", dtype=str, na_filter=False).iloc[1:]
                names = table["ID_2"]
            except (pd.errors.ParserError, UnicodeDecodeError, KeyError):
                raise DataError(f"{beside}: not a .sample file with a column ID_2") from None
            sex = table["sex"].map({"1": 1, "2": 2}) if "sex" in table else pd.Series(0, table.index)
            samples = pd.DataFrame({"iid": names, "sex": sex.fillna(0).astype(np.int64)})
        elif self._file.contain_samples:
            samples = pd.DataFrame({"iid": _texts(self._file.read_samples()), "sex": 0})
        else:
            raise DataError(f"{self.path}: holds no sample ids; put its .sample file beside it")
        if len(samples) != self._file.nsamples:
            raise DataError(
                f"{beside}: {len(samples):,} samples, where the .bgen file has {self._file.nsamples:,}"
            )
        return samples.reset_index(drop=True)

    def dosages(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read variants by file order: expected copies of the first allele, NaN where missing."""
        found = np.empty((rows.size, len(self.samples)), np.float32)
        for row, offset in enumerate(self._offsets[rows].tolist()):
            genotype = self._file.read_genotype(offset, precision=32)
            probability = genotype.probability
            if genotype.phased:
                # Of each haplotype, the probabilities of both alleles.
                found[row] = probability[:, 0] + probability[:, 2]
            else:
                found[row] = 2 * probability[:, 0] + probability[:, 1]
            found[row, np.asarray(genotype.missing, np.bool_)] = np.nan
        return found


def _texts(values: NDArray[np.object_]) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
