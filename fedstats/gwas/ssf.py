"""Summary statistics in the standard of the GWAS Catalog, GWAS-SSF [1]_: a table and its metadata.

The table is compressed in blocks (BGZF [2]_): `tabix` can index it, and whatever reads gzip can read it.

References
----------
.. [1] A. Hayhurst et al., "A community driven GWAS summary statistics standard", bioRxiv, 2022;
   https://github.com/EBISPOT/gwas-summary-statistics-standard
.. [2] H. Li, "Tabix: fast retrieval of sequence features from generic TAB-delimited files",
   Bioinformatics 27, 2011, 718–719. BGZF: the SAM format specification, section 4.1.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from datetime import date
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fedstats.gwas.results import GWASResult

#: How the standard names what it does not name as our tables do, and its codes of chromosomes.
_NAMES: Final = {"neg_log10_p": "neg_log_10_p_value"}
_CHROMOSOMES: Final = {"X": "23", "Y": "24", "MT": "25"}
_COLUMNS: Final = (
    "chromosome",
    "base_pair_location",
    "effect_allele",
    "other_allele",
    "beta",
    "standard_error",
    "effect_allele_frequency",
    "p_value",
    "rsid",
    "n",
    "neg_log10_p",
)
#: What a block holds before compression, at most; and the empty block that ends a file.
_BLOCK: Final = 0xFF00
_END: Final = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def write_ssf(
    result: GWASResult,
    path: str | PathLike[str],
    *,
    genome_assembly: str,
    ancestry: str,
    description: str = "",
) -> tuple[Path, Path]:
    """Write a scan and its metadata; see `GWASResult.to_ssf`."""
    table = Path(path)
    frame = result.to_frame()[list(_COLUMNS)].rename(columns=_NAMES)
    frame = frame[frame["beta"].notna()]
    frame["chromosome"] = frame["chromosome"].replace(_CHROMOSOMES)
    table.write_bytes(bgzip(frame.to_csv(sep="\t", index=False, na_rep="#NA").encode()))
    metadata = table.with_name(table.name + "-meta.yaml")
    sample = {"sample_size": result.nobs, "sample_ancestry": ancestry}
    if result.n_cases is not None:
        sample |= {"case_control_study": True, "case_count": result.n_cases}
        sample["control_count"] = result.nobs - result.n_cases
    facts = {
        "file_type": "GWAS-SSF v1.0",
        "data_file_name": table.name,
        "data_file_md5sum": hashlib.md5(table.read_bytes(), usedforsecurity=False).hexdigest(),
        "trait_description": [description or result.trait],
        "genome_assembly": genome_assembly,
        "coordinate_system": "1-based",
        "samples": [sample],
        "is_harmonised": False,
        "is_sorted": True,
        "analysis_software": "fedstats",
        "date_metadata_last_modified": date.today().isoformat(),
    }
    # Every JSON value is a YAML value.
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in facts.items()]
    metadata.write_text("".join(lines), encoding="utf-8")
    return table, metadata


def bgzip(data: bytes) -> bytes:
    """Compress in blocks of gzip, each of which says how long it is."""
    blocks = []
    for start in range(0, len(data), _BLOCK):
        part = data[start : start + _BLOCK]
        compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = compressor.compress(part) + compressor.flush()
        # Magic, deflate, an extra field; no time; no system; six bytes of it: "BC", two bytes, length − 1.
        header = struct.pack("<4BIBBH2sHH", 31, 139, 8, 4, 0, 0, 255, 6, b"BC", 2, len(body) + 25)
        blocks.append(header + body + struct.pack("<II", zlib.crc32(part), len(part)))
    return b"".join([*blocks, _END])
