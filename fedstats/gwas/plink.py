"""PLINK 1 binary genotypes: reading and writing .bed, .bim and .fam.

A .bed file is three bytes of header and then, variant by variant, two bits a sample, four samples a
byte, the first sample in the lowest bits; each variant starts a new byte. The codes are

======  ========================  ===================
bits    meaning                   count of allele 1
======  ========================  ===================
``00``  two copies of allele 1    2
``01``  no call                   `MISSING`
``10``  one copy of each          1
``11``  two copies of allele 2    0
======  ========================  ===================

References
----------
.. [1] Purcell S. et al. (2007), "PLINK: a tool set for whole-genome association and population-based
       linkage analyses", American Journal of Human Genetics 81, 559-575.
       The format: https://www.cog-genomics.org/plink/1.9/formats#bed
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import ArrayLike, NDArray

from fedstats.errors import DataError
from fedstats.gwas._plink_tables import lines, read_bim, read_fam, write_bim, write_fam
from fedstats.gwas.members import Members
from fedstats.gwas.packed import PackedBlock

#: The genotype of a sample without a call, in every int8 genotype array.
MISSING: Final = -1

_MAGIC: Final = b"\x6c\x1b"
_VARIANT_MAJOR: Final = 1
_HEADER_BYTES: Final = 3

_COUNT_OF_CODE = np.array([2, MISSING, 1, 0], np.int8)
_CODE_OF_COUNT = np.array([0b11, 0b10, 0b00, 0b01], np.uint8)  # [-1] is MISSING


def _decoded_bytes(count_of_code: NDArray[np.int8]) -> NDArray[np.uint32]:
    """Decode all 256 bytes to four int8 each, held as one word: a row is then written word by word."""
    codes = (np.arange(256)[:, None] >> np.array([0, 2, 4, 6])) & 0b11
    return np.ascontiguousarray(count_of_code[codes]).view(np.uint32)[:, 0]


_COUNTS_OF_BYTE = np.stack([_decoded_bytes(_COUNT_OF_CODE), _decoded_bytes(_COUNT_OF_CODE[[3, 1, 2, 0]])])


class BedFile:
    """Genotypes of one site: a PLINK 1 fileset, memory-mapped and validated on opening.

    Parameters
    ----------
    path
        The .bed file or the prefix that the three files share.

    Attributes
    ----------
    path : Path
        The .bed file.
    variants : DataFrame
        One row a variant in file order: `chromosome` (str, as written), `rsid`, `cm`,
        `base_pair_location` (int), `allele1` and `allele2` (str; ``"0"`` is an allele never seen).
    samples : DataFrame
        One row a sample in file order: `fid`, `iid`, `father`, `mother` (str), `sex` (1 male, 2 female,
        0 unknown), `phenotype` (str, as written).

    Raises
    ------
    DataError
        A file is absent or malformed, the three disagree about their length, or two samples bear the
        same family and individual id. Samples are named by line, so that no id reaches a log.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = _bed_path(path)
        _check_header(self.path)
        self.variants = read_bim(self.path.with_suffix(".bim"))
        self.samples = read_fam(self.path.with_suffix(".fam"))
        self._packed = _map_bed(self.path, len(self.variants), len(self.samples))

    def __repr__(self) -> str:
        return f"BedFile('{self.path}': {self.n_variants:,} variants, {self.n_samples:,} samples)"

    @property
    def n_variants(self) -> int:
        """Number of variants."""
        return len(self.variants)

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.samples)

    def read(
        self,
        variants: slice | ArrayLike | None = None,
        samples: ArrayLike | None = None,
        *,
        flip: ArrayLike | None = None,
    ) -> NDArray[np.int8]:
        """Decode genotypes.

        The GIL is released: threads that read different blocks run side by side.

        Parameters
        ----------
        variants
            Which variants, by file order and in the order wanted: a slice or non-negative integers.
        samples
            Which samples, likewise; all by default. Reading all of them is several times faster than
            selecting, and an ascending selection faster than a scattered one.
        flip
            One boolean a variant read: count allele 2 instead of allele 1.

        Returns
        -------
        ndarray of int8, shape (variants, samples)
            Copies of the counted allele, 0, 1 or 2, and `MISSING` where there is no call.

        Raises
        ------
        IndexError
            A variant or sample is out of range.
        """
        rows = _indices(variants, self.n_variants, "variant")
        flipped = np.zeros(rows.size, np.bool_) if flip is None else np.asarray(flip, np.bool_)
        if flipped.shape != rows.shape:
            raise ValueError(f"flip has shape {flipped.shape}, for {rows.size} variants")
        if samples is None:
            counts = np.empty((rows.size, self.n_samples), np.int8)
            _decode(self._packed, rows, flipped, _COUNTS_OF_BYTE, counts)
        else:
            columns = _indices(samples, self.n_samples, "sample").astype(np.uint32)
            counts = np.empty((rows.size, columns.size), np.int8)
            _decode_selected(self._packed, rows, flipped, _COUNTS_OF_BYTE, columns, counts)
        return counts

    def block(
        self,
        variants: NDArray[np.int64],
        members: Members,
        *,
        flip: NDArray[np.bool_],
        ploidy: NDArray[np.int8],
    ) -> PackedBlock:
        """Read variants for sums over samples, without decoding them; see `PackedBlock`."""
        return PackedBlock(self._packed, variants, flip, ploidy, members)

    def locate(self, iids: Sequence[str], *, single: bool = True) -> NDArray[np.int64]:
        """Find samples by individual id.

        Parameters
        ----------
        iids
            The ids.
        single
            Whether an id of several samples is an error; else it is none of the file's.

        Returns
        -------
        ndarray of int64
            For each id its row in `samples`, or -1 where the file lacks it.

        Raises
        ------
        DataError
            One of the ids belongs to several samples of the file (in different families).
        """
        return locate_samples(self.path.with_suffix(".fam"), self.samples, iids, single=single)


def locate_samples(
    path: Path, samples: pd.DataFrame, iids: Sequence[str], *, single: bool = True
) -> NDArray[np.int64]:
    """Find samples of a file by individual id; see `BedFile.locate`."""
    index = pd.Index(samples["iid"].to_numpy(object))
    twice = index.duplicated(keep=False)
    if single and twice.any() and (asked := twice & index.isin(list(iids))).any():
        raise DataError(
            f"{path}: {lines(asked)}: an individual id of several samples, which a cohort's table cannot "
            "tell apart; make the ids unique"
        )
    rows = index[~twice].get_indexer(pd.Index(list(iids), dtype=object))
    return np.where(rows < 0, -1, np.append(np.flatnonzero(~twice), -1)[rows]).astype(np.int64)


def pack(genotypes: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Pack counts of allele 1, two bits each, as a .bed file has them."""
    packed = np.zeros((genotypes.shape[0], _stride(genotypes.shape[1])), np.uint8)
    _encode(genotypes, _CODE_OF_COUNT, packed)
    return packed


class BedWriter:
    """Write a PLINK 1 fileset block by block.

    Parameters
    ----------
    prefix
        Path without suffix; existing files are replaced.
    samples
        Column `iid`, and optionally the others of `BedFile.samples`.

    Notes
    -----
    A context manager. When its block raises, the incomplete files are removed, so that a later reader
    does not find them.

    Raises
    ------
    DataError
        An id or allele is empty or holds white space.
    """

    def __init__(self, prefix: str | PathLike[str], samples: pd.DataFrame) -> None:
        self.path = _bed_path(prefix)
        self._n_samples = len(samples)
        write_fam(self.path.with_suffix(".fam"), samples)
        self._bim = self.path.with_suffix(".bim").open("w", encoding="utf-8", newline="")
        self._bed = self.path.open("wb")
        self._bed.write(_MAGIC + bytes([_VARIANT_MAJOR]))

    def write(self, genotypes: NDArray[np.int8], variants: pd.DataFrame) -> None:
        """Append variants.

        Parameters
        ----------
        genotypes : ndarray of int8, shape (variants, samples)
            Counts of allele 1: 0, 1, 2 or `MISSING`.
        variants
            One row each: the columns of `BedFile.variants`; `cm` may be left out.
        """
        if genotypes.shape != (len(variants), self._n_samples):
            raise ValueError(
                f"shape {genotypes.shape}, for {len(variants)} variants and {self._n_samples} samples"
            )
        if genotypes.dtype != np.int8:
            raise TypeError(f"genotypes are {genotypes.dtype}, not int8")
        if genotypes.size and (genotypes.min() < MISSING or genotypes.max() > 2):
            raise ValueError(f"genotypes other than 0, 1, 2 and {MISSING} (missing)")
        write_bim(self._bim, variants)
        self._bed.write(pack(genotypes).tobytes())

    def close(self) -> None:
        """Flush and close the files."""
        self._bed.close()
        self._bim.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is not None:
            for suffix in (".bed", ".bim", ".fam"):
                self.path.with_suffix(suffix).unlink(missing_ok=True)


def write_bed(
    prefix: str | PathLike[str],
    genotypes: NDArray[np.int8] | Iterable[NDArray[np.int8]],
    variants: pd.DataFrame,
    samples: pd.DataFrame,
) -> Path:
    """Write a PLINK 1 fileset.

    Parameters
    ----------
    prefix
        Path without suffix.
    genotypes
        One array of shape (variants, samples), or an iterable of such blocks that follow one another:
        only one block is in memory at a time.
    variants, samples
        As in `BedWriter`.

    Returns
    -------
    Path
        The .bed file.
    """
    blocks = [genotypes] if isinstance(genotypes, np.ndarray) else genotypes
    with BedWriter(prefix, samples) as writer:
        written = 0
        for block in blocks:
            writer.write(block, variants.iloc[written : written + len(block)])
            written += len(block)
        if written != len(variants):
            raise ValueError(f"{written} rows of genotypes for {len(variants)} variants")
    return writer.path


# Kernels ---------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _decode(
    packed: NDArray[np.uint8],
    rows: NDArray[np.int64],
    flip: NDArray[np.bool_],
    counts_of_byte: NDArray[np.uint32],
    counts: NDArray[np.int8],
) -> None:
    n_samples = counts.shape[1]
    whole = n_samples // 4
    last = np.empty(1, np.uint32)
    for i in range(rows.size):
        row = packed[rows[i]]
        table = counts_of_byte[1 if flip[i] else 0]
        words = counts[i, : 4 * whole].view(np.uint32)
        for b in range(whole):
            words[b] = table[row[b]]
        if 4 * whole < n_samples:
            last[0] = table[row[whole]]
            counts[i, 4 * whole :] = last.view(np.int8)[: n_samples - 4 * whole]


@njit(cache=True, nogil=True)
def _decode_selected(
    packed: NDArray[np.uint8],
    rows: NDArray[np.int64],
    flip: NDArray[np.bool_],
    counts_of_byte: NDArray[np.uint32],
    samples: NDArray[np.uint32],
    counts: NDArray[np.int8],
) -> None:
    # A row decoded whole stays in the first-level cache, from which picking is cheap.
    words = np.empty(packed.shape[1], np.uint32)
    decoded = words.view(np.int8)
    for i in range(rows.size):
        row = packed[rows[i]]
        table = counts_of_byte[1 if flip[i] else 0]
        for b in range(row.size):
            words[b] = table[row[b]]
        chosen = counts[i]
        for s in range(samples.size):
            chosen[s] = decoded[samples[s]]


@njit(cache=True, nogil=True)
def _encode(genotypes: NDArray[np.int8], code_of_count: NDArray[np.uint8], packed: NDArray[np.uint8]) -> None:
    for i in range(genotypes.shape[0]):
        for s in range(genotypes.shape[1]):
            packed[i, s >> 2] |= code_of_count[genotypes[i, s]] << np.uint8(2 * (s & 3))


# Files -----------------------------------------------------------------------------------------------


def _bed_path(path: str | PathLike[str]) -> Path:
    path = Path(path)
    return path if path.suffix == ".bed" else path.with_name(path.name + ".bed")


def _stride(n_samples: int) -> int:
    """Bytes a variant."""
    return (n_samples + 3) // 4


def _check_header(path: Path) -> None:
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if header[:2] != _MAGIC:
        raise DataError(
            f"{path}: not a PLINK 1 .bed file: it starts with {header[:2].hex() or 'nothing'}, not 6c1b"
        )
    if header[2:] != bytes([_VARIANT_MAJOR]):
        raise DataError(
            f"{path}: not stored variant by variant (mode {header[2:].hex() or 'absent'}, not 01); "
            "convert it with plink1.9 --make-bed"
        )


def _map_bed(path: Path, n_variants: int, n_samples: int) -> NDArray[np.uint8]:
    found = path.stat().st_size
    expected = _HEADER_BYTES + n_variants * _stride(n_samples)
    if found != expected:
        raise DataError(
            f"{path}: {'truncated' if found < expected else 'too long'}: {found:,} bytes, where "
            f"{n_variants:,} variants (.bim) of {n_samples:,} samples (.fam) make {expected:,}; "
            "the three files do not belong together, or a copy was interrupted"
        )
    packed = np.memmap(path, np.uint8, "r", _HEADER_BYTES, (n_variants, _stride(n_samples)))
    return np.asarray(packed)


def _indices(chosen: slice | ArrayLike | None, size: int, what: str) -> NDArray[np.int64]:
    if chosen is None or isinstance(chosen, slice):
        return np.arange(size, dtype=np.int64)[chosen or slice(None)]
    indices = np.asarray(chosen)
    if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
        raise IndexError(f"{what}s are chosen by a slice or a one-dimensional array of integers")
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        raise IndexError(f"{what} index out of range: the file has {size:,} {what}s")
    return indices.astype(np.int64)
