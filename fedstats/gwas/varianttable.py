"""The list of a site's variants in the form in which sites compare it and send it to one another."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.errors import DataError

#: A table on the wire: numbers little-endian, texts in UTF-8, each ended by a line feed.
Wire = dict[str, NDArray[np.uint8]]

_POSITION: Final = np.dtype("<u4")
_FEW_CODES: Final = np.dtype("u1")
_MANY_CODES: Final = np.dtype("<u4")
_LAST_POSITION: Final = 2**31 - 2

_CHROMOSOME: Final = {"23": "X", "24": "Y", "25": "XY", "26": "MT", "M": "MT"} | {
    name: name for name in ("X", "Y", "XY", "MT")
}


@dataclass(frozen=True, eq=False)
class Coded:
    """Texts that repeat: sorted distinct `names`, and for each entry the code of its name."""

    names: tuple[str, ...]
    codes: NDArray[np.uint32]

    def __len__(self) -> int:
        return self.codes.size


@dataclass(frozen=True, eq=False)
class VariantTable:
    """Variants of one site in the order of its file, names normalised.

    Attributes
    ----------
    chromosome, allele1, allele2 : Coded, length v
        Names as `normalise_chromosome` and `normalise_allele` give them.
    position : ndarray of int64, shape (v,)
        Base pair position.
    rsid : ndarray of objects (str), shape (v,)
        Names, only ever shown.
    """

    chromosome: Coded
    position: NDArray[np.int64]
    allele1: Coded
    allele2: Coded
    rsid: NDArray[np.object_]

    def __len__(self) -> int:
        return self.position.size

    @classmethod
    def from_frame(cls, variants: pd.DataFrame) -> Self:
        """Normalise a table of variants, as `BedFile.variants`.

        Parameters
        ----------
        variants
            Columns `chromosome`, `base_pair_location`, `allele1`, `allele2`, `rsid`.
        """
        return cls(
            chromosome=_renamed(variants["chromosome"], normalise_chromosome),
            position=variants["base_pair_location"].to_numpy(np.int64),
            allele1=_renamed(variants["allele1"], normalise_allele),
            allele2=_renamed(variants["allele2"], normalise_allele),
            rsid=variants["rsid"].to_numpy(object),
        )

    @classmethod
    def from_result(cls, variants: pd.DataFrame) -> Self:
        """Normalise a table that names `effect_allele`, taken as allele 1, and `other_allele`.

        It may lack names.
        """
        named = variants.rename(columns={"effect_allele": "allele1", "other_allele": "allele2"})
        return cls.from_frame(named if "rsid" in named else named.assign(rsid=""))

    def to_wire(self) -> Wire:
        """Encode for the other sites: 7 bytes a variant and its rsid.

        Leakage
        -------
        The peers see which variants this site's file lists, and in which order their alleles stand.
        Where software put the minor allele first, or ``0`` for an allele that nobody carries, this
        tells which allele is the rarer one here.
        """
        wire = {"position": _as_bytes(self.position.astype(_POSITION)), "rsid": _ended(self.rsid.tolist())}
        for name in ("chromosome", "allele1", "allele2"):
            column: Coded = getattr(self, name)
            wire[name] = _as_bytes(column.codes.astype(_width(column.names)))
            wire[f"{name}_names"] = _ended(column.names)
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, object], *, site: str | None = None) -> Self:
        """Decode what a peer sent, trusting nothing.

        Parameters
        ----------
        wire
            What `to_wire` made, after the transport.
        site
            Who sent it, for the error.

        Raises
        ------
        DataError
            A part is absent, unknown, malformed or of another length than the rest; the message names it.
        """
        try:
            return cls._decoded(wire)
        except _MalformedError as error:
            sender = "a peer" if site is None else f"site {site}"
            raise DataError(f"the variant table of {sender}: {error}", site=site) from None

    @classmethod
    def _decoded(cls, wire: Mapping[str, object]) -> Self:
        parts = {"position", "rsid"}.union(
            *((name, f"{name}_names") for name in ("chromosome", "allele1", "allele2"))
        )
        if set(wire) != parts:
            raise _MalformedError(f"does not consist of {', '.join(sorted(parts))}")
        position = _numbers(wire, "position", _POSITION).astype(np.int64)
        if position.size and position.max() > _LAST_POSITION:
            raise _MalformedError("position: beyond any chromosome")
        table = cls(
            chromosome=_coded(wire, "chromosome", normalise_chromosome),
            position=position,
            allele1=_coded(wire, "allele1", normalise_allele),
            allele2=_coded(wire, "allele2", normalise_allele),
            rsid=np.array(_texts(wire, "rsid"), object),
        )
        for name in ("chromosome", "allele1", "allele2", "rsid"):
            length = len(getattr(table, name))
            if length != position.size:
                raise _MalformedError(f"{name}: {length} entries for {position.size} positions")
        return table

    def fingerprint(self) -> bytes:
        """SHA-256 of the table: sites with equal fingerprints need not exchange their tables."""
        digest = hashlib.sha256(b"fedstats variant table, version 1")
        for name, part in sorted(self.to_wire().items()):
            for piece in (name.encode(), part.tobytes()):
                digest.update(len(piece).to_bytes(8, "little") + piece)
        return digest.digest()


def normalise_chromosome(name: str) -> str:
    """Give a chromosome its plain name: ``chr7``, ``07`` → ``7``; PLINK's 23, 24, 25, 26 → X, Y, XY, MT."""
    plain = re.sub(r"^(chr|0)+", "", name, flags=re.IGNORECASE) or "0"
    return _CHROMOSOME.get(plain.upper(), plain)


def normalise_allele(name: str) -> str:
    """Give an allele in capitals; PLINK's two signs for one never seen, ``0`` and ``.``, become ``0``."""
    return "0" if name == "." else name.upper()


def _renamed(column: pd.Series[str], rename: Callable[[str], str]) -> Coded:
    """Code a column, then rename its few distinct names."""
    codes, names = pd.factorize(column)
    if (codes < 0).any():
        raise DataError(f"the variant table has missing values in column {column.name!r}")
    renamed = [rename(name) for name in names]
    distinct = tuple(sorted(set(renamed)))
    code_of = {name: code for code, name in enumerate(distinct)}
    return Coded(distinct, np.array([code_of[name] for name in renamed], np.uint32)[codes])


# The wire: the writing side, then the reading side ------------------------------------------------------


class _MalformedError(Exception):
    """What is wrong with a peer's table; `from_wire` says whose."""


def _width(names: Sequence[str]) -> np.dtype[Any]:
    return _FEW_CODES if len(names) <= 256 else _MANY_CODES


def _as_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.frombuffer(array.tobytes(), np.uint8)


def _ended(texts: Collection[str]) -> NDArray[np.uint8]:
    if not "".join(texts).isprintable():
        raise DataError("the variant table has line breaks or control characters in a name")
    return np.frombuffer("".join([f"{text}\n" for text in texts]).encode(), np.uint8)


def _numbers(wire: Mapping[str, object], name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    part = wire[name]
    if not isinstance(part, np.ndarray) or part.dtype != np.uint8 or part.ndim != 1:
        raise _MalformedError(f"{name}: not an array of bytes")
    if part.size % dtype.itemsize:
        raise _MalformedError(f"{name}: {part.size} bytes do not make numbers of {dtype.itemsize}")
    return np.frombuffer(part.tobytes(), dtype)


def _texts(wire: Mapping[str, object], name: str) -> list[str]:
    try:
        text = _numbers(wire, name, _FEW_CODES).tobytes().decode()
    except UnicodeDecodeError:
        raise _MalformedError(f"{name}: not UTF-8") from None
    texts = text.split("\n")
    if texts.pop():
        raise _MalformedError(f"{name}: the last text has no end")
    # Control characters of a peer's choice could deceive whoever reads the result on a terminal.
    if not "".join(texts).isprintable():
        raise _MalformedError(f"{name}: unprintable characters")
    return texts


def _coded(wire: Mapping[str, object], name: str, normalise: Callable[[str], str]) -> Coded:
    names = _texts(wire, f"{name}_names")
    if any(normalise(text) != text or not text for text in names):
        raise _MalformedError(f"{name}_names: not in normal form")
    if any(first >= second for first, second in pairwise(names)):
        raise _MalformedError(f"{name}_names: not sorted, or not distinct")
    codes = _numbers(wire, name, _width(names)).astype(np.uint32)
    if codes.size and codes.max() >= len(names):
        raise _MalformedError(f"{name}: a code beyond the {len(names)} names")
    return Coded(tuple(names), codes)
