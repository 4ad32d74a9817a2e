"""The text files of a PLINK 1 fileset: .bim (variants) and .fam (samples)."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.errors import DataError

VARIANT_COLUMNS: Final = ["chromosome", "rsid", "cm", "base_pair_location", "allele1", "allele2"]
SAMPLE_COLUMNS: Final = ["fid", "iid", "father", "mother", "sex", "phenotype"]

#: Written for the columns that a table lacks.
_DEFAULTS: Final = {"cm": 0, "fid": "0", "father": "0", "mother": "0", "sex": 0, "phenotype": "-9"}

_LAST_POSITION: Final = 2**31 - 2  # PLINK's own limit


def read_bim(path: Path) -> pd.DataFrame:
    """Read a table of variants, columns `VARIANT_COLUMNS`; `DataError` says which lines are wrong and how."""
    table = _read_table(path, VARIANT_COLUMNS, "variants", {2: np.float64, 3: np.int64})
    table["cm"] = _numbers(path, table["cm"], "genetic position")
    position = _numbers(path, table["base_pair_location"], "base pair position")
    _refuse(
        path,
        (position < 0) | (position > _LAST_POSITION) | (position % 1 != 0),
        "no valid base pair position",
    )
    table["base_pair_location"] = position.astype(np.int64)
    same = (table["allele1"] == table["allele2"]) & ~table["allele1"].isin(["0", "."])
    _refuse(path, same, "twice the same allele")
    return table


def read_fam(path: Path) -> pd.DataFrame:
    """Read a table of samples, columns `SAMPLE_COLUMNS`; `DataError` says which lines are wrong and how."""
    table = _read_table(path, SAMPLE_COLUMNS, "samples")
    _refuse(path, table.duplicated(["fid", "iid"], keep=False), "the same family and individual id")
    table["sex"] = table["sex"].map({"1": 1, "2": 2}).fillna(0).astype(np.int8)
    return table


def write_bim(target: TextIO, variants: pd.DataFrame) -> None:
    """Append variants to an open .bim file; only `cm` may be absent."""
    _write_table(target, variants, VARIANT_COLUMNS)


def write_fam(path: Path, samples: pd.DataFrame) -> None:
    """Write a .fam file; only `iid` must be given."""
    _write_table(path, samples, SAMPLE_COLUMNS)


def lines(marked: NDArray[np.bool_]) -> str:
    """Name the marked lines of a file in words, the first three of many."""
    numbers = np.flatnonzero(marked) + 1
    shown = ", ".join(str(line) for line in numbers[:3])
    return f"line{'s' * (numbers.size > 1)} {shown}" + (
        f" and {numbers.size - 3:,} more" if numbers.size > 3 else ""
    )


def _read_table(
    path: Path, columns: list[str], what: str, numbers: Mapping[int, type[np.generic]] | None = None
) -> pd.DataFrame:
    """Read a table of texts; columns that ought to be numbers as such, if all of them are."""
    texts: dict[int, Any] = dict.fromkeys(range(len(columns)), str)
    try:
        try:
            table = _parse(path, texts | dict(numbers or {}))
        except ValueError:
            table = _parse(path, str)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path}: holds no {what}") from error
    except (pd.errors.ParserError, UnicodeDecodeError):
        # The parser's own message is no cause to show: it may quote the file.
        raise DataError(f"{path}: not a table of {len(columns)} columns in UTF-8 on every line") from None
    if table.shape[1] != len(columns):
        raise DataError(
            f"{path}: {table.shape[1]} columns, where PLINK writes {len(columns)}: {', '.join(columns)}"
        )
    table.columns = pd.Index(columns)
    # The parser fills a short line's last fields with nothing.
    _refuse(path, table[columns[-1]] == "", f"fewer than {len(columns)} columns")
    return table


def _parse(path: Path, dtype: Any) -> pd.DataFrame:
    return pd.read_csv(
        path,
        sep=r"\s+",
        header=None,
        dtype=dtype,
        na_filter=False,
        quoting=csv.QUOTE_NONE,
        encoding="utf-8",
    )


def _numbers(path: Path, column: pd.Series[str], what: str) -> pd.Series[float]:
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    _refuse(path, numbers.isna() | np.isinf(numbers), f"no valid {what}")
    return numbers


def _refuse(path: Path, wrong: pd.Series[bool], what: str) -> None:
    if wrong.any():
        raise DataError(f"{path}: {lines(wrong.to_numpy())}: {what}")


def _write_table(target: Path | TextIO, table: pd.DataFrame, columns: list[str]) -> None:
    text = pd.DataFrame(
        {name: table[name] if name in table else _DEFAULTS[name] for name in columns}, table.index, dtype=str
    )
    for name in columns:
        if not text[name].str.fullmatch(r"\S+").all():
            raise DataError(f"column {name!r} holds an empty value or white space, which PLINK files cannot")
    text.to_csv(target, sep="\t", header=False, index=False, quoting=csv.QUOTE_NONE, lineterminator="\n")
