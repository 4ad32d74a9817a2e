"""PLINK 2 genotypes: .pgen by Pgenlib, with its .pvar and .psam text files."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.errors import DataError
from fedstats.gwas._extra import needs
from fedstats.gwas._plink_tables import lines
from fedstats.gwas.dosages import DosageFile

#: What Pgenlib writes for a missing dosage.
_MISSING: Final = -9.0
_SEX: Final = {"1": 1, "2": 2, "M": 1, "F": 2, "m": 1, "f": 2}


class PgenFile(DosageFile):
    """A PLINK 2 fileset; variants of more than two alleles are left out.

    Parameters
    ----------
    path
        The .pgen file.

    Raises
    ------
    DataError
        A file is absent or malformed, or Pgenlib is not installed.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        library = needs("pgenlib", "Pgenlib", self.path)
        variants = _read_pvar(self.path.with_suffix(".pvar"))
        self.samples = _read_psam(self.path.with_suffix(".psam"))
        self._reader = self._open(library, len(variants))
        two = ~variants["allele1"].str.contains(",").to_numpy()
        self._rows = np.flatnonzero(two).astype(np.uint32)
        self.variants = variants[two].reset_index(drop=True)

    def _open(self, library: Any, n_variants: int) -> Any:
        try:
            with self.path.open("rb"):
                pass
            reader = library.PgenReader(str(self.path).encode(), raw_sample_ct=len(self.samples))
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror})") from error
        except Exception as error:
            raise DataError(
                f"{self.path}: not a .pgen file of {len(self.samples):,} samples (.psam), or damaged"
            ) from error
        if reader.get_variant_ct() != n_variants:
            raise DataError(
                f"{self.path}: {reader.get_variant_ct():,} variants, where the .pvar file has "
                f"{n_variants:,}: they do not belong together"
            )
        return reader

    def dosages(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read variants by file order: copies of the alternative allele, NaN where missing."""
        found = np.empty((rows.size, len(self.samples)), np.float32)
        if rows.size:
            self._reader.read_dosages_list(self._rows[rows], found)
        found[found == _MISSING] = np.nan
        return found


def _read_pvar(path: Path) -> pd.DataFrame:
    table = _read(path, ["#CHROM", "POS", "ID", "REF", "ALT"])
    position = pd.to_numeric(table["POS"], errors="coerce")
    if position.isna().any():
        raise DataError(f"{path}: {lines(position.isna().to_numpy())} below the header: no valid position")
    return pd.DataFrame(
        {
            "chromosome": table["#CHROM"],
            "rsid": table["ID"],
            "base_pair_location": position.astype(np.int64),
            "allele1": table["ALT"],
            "allele2": table["REF"],
        }
    )


def _read_psam(path: Path) -> pd.DataFrame:
    table = _read(path, [])
    names = [str(name).lstrip("#") for name in table]
    if "IID" not in names:
        raise DataError(f"{path}: its header has no column IID")
    table.columns = pd.Index(names)
    sex = table["SEX"].map(_SEX) if "SEX" in table else pd.Series(0, table.index)
    return pd.DataFrame({"iid": table["IID"], "sex": sex.fillna(0).astype(np.int64)})


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    """Read a table with a header that begins with # and comes after lines that begin with ##."""
    try:
        with path.open(encoding="utf-8") as file:
            skipped = 0
            for line in file:
                if not line.startswith("##"):
                    break
                skipped += 1
        table = pd.read_csv(path, sep=r"\s+", skiprows=skipped, dtype=str, na_filter=False, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError):
        raise DataError(f"{path}: not a table in UTF-8 with a header that begins with #") from None
    absent = [name for name in columns if name not in table]
    if absent or not str(table.columns[0]).startswith("#"):
        raise DataError(f"{path}: its header lacks {', '.join(absent) or 'the leading #'}")
    return table
