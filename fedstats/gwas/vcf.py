"""VCF and BCF files, by cyvcf2.

They can be read from front to back only, and slowly, so they are read once: calls into a temporary PLINK 1
file, dosages into a temporary file of 16 bits each, as fine as PLINK 2 keeps them. Both vanish with the
session.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.errors import DataError
from fedstats.gwas._extra import needs
from fedstats.gwas.dosages import DosageFile
from fedstats.gwas.plink import BedFile, BedWriter

#: Variants written at a time.
_BLOCK: Final = 512
#: A copy, in the units of the temporary file, and what stands for no dosage.
_COPY: Final = 16_384
_NONE: Final = 65_535
#: cyvcf2's codes with `gts012`: copies of the alternative allele, and 3 for no call.
_CALLS: Final = np.array([0, 1, 2, -1], np.int8)


def open_vcf(path: str | PathLike[str]) -> BedFile | StoredDosages:
    """Read a VCF or BCF file: dosages (``DS``) if its header declares them, or else calls (``GT``).

    Variants of more than two alleles are left out. The alternative allele is allele 1.

    Raises
    ------
    DataError
        The file is absent, malformed or has neither, or cyvcf2 is not installed.
    """
    path = Path(path)
    library = needs("cyvcf2", "cyvcf2", path)
    try:
        with path.open("rb"):
            pass
        reader = library.VCF(str(path), gts012=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be read as VCF or BCF ({error.strerror or 'malformed'})") from error
    samples = pd.DataFrame({"iid": list(reader.samples), "sex": 0})
    if samples.empty:
        raise DataError(f"{path}: holds no samples")
    folder = tempfile.TemporaryDirectory(prefix="fedstats-")
    if reader.contains("DS"):
        return StoredDosages.write(path, Path(folder.name), folder, reader, samples)
    prefix = Path(folder.name) / path.name.split(".")[0]
    with BedWriter(prefix, samples) as writer:
        for calls, table in _blocks(path, reader, lambda record: _CALLS[record.gt_types]):
            writer.write(calls, table)
    found = BedFile(prefix)
    weakref.finalize(found, folder.cleanup)
    return found


class StoredDosages(DosageFile):
    """Dosages in a temporary file, 16 bits each."""

    def __init__(
        self, path: Path, stored: Path, folder: Any, variants: pd.DataFrame, samples: pd.DataFrame
    ) -> None:
        self.path, self.variants, self.samples = path, variants, samples
        self._stored = np.memmap(stored, np.uint16, "r", shape=(len(variants), len(samples)))
        weakref.finalize(self, folder.cleanup)

    @classmethod
    def write(cls, path: Path, folder: Path, held: Any, reader: Any, samples: pd.DataFrame) -> StoredDosages:
        """Store the dosages of a file, and open them."""
        tables = []

        def dosages(record: Any) -> NDArray[np.float32]:
            found = record.format("DS")
            if found is None:
                return np.full(len(samples), np.nan, np.float32)
            return np.asarray(found[:, 0], np.float32)

        with (folder / "dosages").open("wb") as file:
            for block, table in _blocks(path, reader, dosages):
                known = (block >= 0) & (block <= 2)  # NaN is neither
                stored = np.where(known, np.rint(np.where(known, block, 0) * _COPY), _NONE)
                file.write(stored.astype(np.uint16).tobytes())
                tables.append(table)
        return cls(path, folder / "dosages", held, pd.concat(tables, ignore_index=True), samples)

    def dosages(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read variants by file order: copies of the alternative allele, NaN where missing."""
        stored = self._stored[rows]
        return np.where(stored == _NONE, np.float32(np.nan), stored / np.float32(_COPY))


def _blocks(path: Path, reader: Any, read: Any) -> Iterator[tuple[NDArray[Any], pd.DataFrame]]:
    """Read variants of two alleles, a block at a time."""
    rows: list[NDArray[Any]] = []
    known: list[tuple[Any, ...]] = []

    def block() -> tuple[NDArray[Any], pd.DataFrame]:
        names = ["chromosome", "rsid", "base_pair_location", "allele1", "allele2"]
        return np.stack(rows), pd.DataFrame(known, columns=names)

    some = False
    try:
        for record in reader:
            if len(record.ALT) != 1:
                continue
            some = True
            rows.append(read(record).copy())
            known.append((record.CHROM, record.ID or ".", record.POS, record.ALT[0], record.REF))
            if len(rows) == _BLOCK:
                yield block()
                rows.clear()
                known.clear()
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: malformed after {len(known)} variants of a block") from error
    if not some:
        raise DataError(f"{path}: holds no variants of two alleles")
    if rows:
        yield block()
