"""Files of summary statistics: the columns of the standard, metadata, and compression in blocks."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gwas_helpers import make_panel, scan

from fedstats.gwas.ssf import bgzip


@pytest.mark.parametrize("size", [0, 1, 0xFF00, 0xFF01, 300_000])
def test_blocks_of_gzip(size: int) -> None:
    data = np.random.default_rng(0).integers(65, 91, size, dtype=np.uint8).tobytes()
    packed = bgzip(data)
    assert gzip.decompress(packed) == data
    at, blocks = 0, 0
    while at < len(packed):
        magic, extra, length = struct.unpack_from("<4s8x2s2xH", packed, at)
        assert (magic, extra) == (b"\x1f\x8b\x08\x04", b"BC")
        at, blocks = at + length + 1, blocks + 1
    assert blocks == -(-size // 0xFF00) + 1  # the last one is empty


def test_table_and_metadata(tmp_path: Path) -> None:
    panel = make_panel(120, 40)
    found = scan(panel.deal(tmp_path, [30, 40]), trait="ldl", covariates=["age"])
    path, metadata = found.to_ssf(
        tmp_path / "ldl.tsv.gz", genome_assembly="GRCh38", ancestry="European", description="LDL: mmol/l"
    )
    table = pd.read_csv(path, sep="\t", dtype={"chromosome": str}, na_values="#NA")
    assert list(table.columns[:8]) == [
        *["chromosome", "base_pair_location", "effect_allele", "other_allele", "beta", "standard_error"],
        *["effect_allele_frequency", "p_value"],
    ]
    expected = found.to_frame().dropna(subset="beta").reset_index(drop=True)
    np.testing.assert_allclose(table["beta"], expected["beta"], rtol=1e-12)
    assert set(table["chromosome"]) <= {"1", "2", "23"}
    assert table["neg_log_10_p_value"].notna().all()
    facts = dict(line.split(": ", 1) for line in metadata.read_text().splitlines())
    assert json.loads(facts["samples"]) == [{"sample_size": found.nobs, "sample_ancestry": "European"}]
    assert json.loads(facts["trait_description"]) == ["LDL: mmol/l"]
    assert json.loads(facts["data_file_md5sum"]) == hashlib.md5(path.read_bytes()).hexdigest()
