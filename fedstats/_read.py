"""Reading a site's table, with errors that quote no cell of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pandas as pd
import pyarrow

from fedstats.errors import DataError

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_PARQUET = (".parquet", ".pq")


def read_table(path: Path, text_columns: Collection[str]) -> pd.DataFrame:
    """Read a CSV, TSV (each possibly compressed) or parquet file.

    Parameters
    ----------
    path
        The file.
    text_columns
        Columns to be read as text, so that ``007`` keeps its zeros. Parquet files have types.

    Raises
    ------
    DataError
        The file is missing or cannot be parsed, or a CSV file names a column twice.
    """
    suffix = next((s for s in path.suffixes if s in _SEPARATORS or s in _PARQUET), None)
    if suffix is None:
        raise DataError(f"{path}: a table is a .csv, .tsv or .parquet file")
    failure: str
    try:
        if suffix in _PARQUET:
            return pd.read_parquet(path)
        return _read_text(path, _SEPARATORS[suffix], text_columns)
    except FileNotFoundError:
        failure = "there is no such file"
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        failure = f"the file cannot be read ({type(error).__name__}): open it with pandas to see where"
    # Raised outside of the handler: parsers quote cells, and the cause would carry them along.
    raise DataError(f"{path}: {failure}")


def _read_text(path: Path, separator: str, text_columns: Collection[str]) -> pd.DataFrame:
    header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str, keep_default_na=False)
    names = header.iloc[0]
    check_names(names.tolist(), str(path))  # pandas would rename a second "age" to "age.1"
    return pd.read_csv(
        path, sep=separator, dtype={name: str for name in names if name in text_columns}, low_memory=False
    )


def check_names(names: Collection[object], where: str) -> None:
    """Refuse a table whose columns cannot be told apart.

    Raises
    ------
    DataError
        There is no column, one without a name, one whose name is no text, or the same name twice.
    """
    if not names:
        raise DataError(f"{where}: the table has no columns")
    if not all(isinstance(name, str) and name for name in names):
        raise DataError(
            f"{where}: every column needs a name, and the name must be text; pandas writes row numbers as a "
            "column without name unless told index=False"
        )
    twice = sorted(str(name) for name, times in Counter(names).items() if times > 1)
    if twice:
        raise DataError(f"{where}: column {', '.join(map(repr, twice))} appears more than once; rename one")
