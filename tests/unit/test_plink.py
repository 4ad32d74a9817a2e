"""PLINK 1 filesets: decoding against an independent slow decoder, and every way a file can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from fedstats.errors import DataError
from fedstats.gwas.plink import MISSING, BedFile, BedWriter, write_bed

MAIZE = Path(__file__).parents[2].parent / "shared" / "data" / "maize" / "maize.bed"


def slow_decode(bed: bytes, n_samples: int) -> NDArray[np.int8]:
    """Decode the specification's way: one sample at a time, least significant bits first."""
    assert bed[:3] == b"\x6c\x1b\x01"
    body, stride = bed[3:], -(-n_samples // 4)
    return np.array(
        [
            [
                {0b00: 2, 0b01: MISSING, 0b10: 1, 0b11: 0}[body[row + s // 4] >> 2 * (s % 4) & 3]
                for s in range(n_samples)
            ]
            for row in range(0, len(body), stride)
        ],
        np.int8,
    )


def variants(n: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "chromosome": "1",
            "rsid": [f"rs{i}" for i in range(n)],
            "cm": 0.0,
            "base_pair_location": np.arange(1, n + 1) * 100,
            "allele1": "A",
            "allele2": "C",
        }
    )


def samples(n: int) -> pd.DataFrame:
    return pd.DataFrame({"fid": "0", "iid": [f"i{i}" for i in range(n)], "sex": 1})


@pytest.fixture
def genotypes() -> NDArray[np.int8]:
    return np.random.default_rng(1).integers(-1, 3, (7, 9)).astype(np.int8)


@pytest.fixture
def bed(tmp_path: Path, genotypes: NDArray[np.int8]) -> Path:
    return write_bed(tmp_path / "study", genotypes, variants(7), samples(9))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 21)).flatmap(
        lambda shape: arrays(np.int8, shape, elements=st.integers(-1, 2))
    )
)
def test_what_is_written_is_read(tmp_path: Path, genotypes: NDArray[np.int8]) -> None:
    n_variants, n_samples = genotypes.shape
    path = write_bed(tmp_path / "x", genotypes, variants(n_variants), samples(n_samples))
    bed = BedFile(path)
    np.testing.assert_array_equal(bed.read(), genotypes)
    np.testing.assert_array_equal(slow_decode(path.read_bytes(), n_samples), genotypes)
    pd.testing.assert_frame_equal(bed.variants, variants(n_variants), check_dtype=False)


def test_prefix_and_file_name_are_the_same(bed: Path, genotypes: NDArray[np.int8]) -> None:
    opened = BedFile(bed.with_suffix(""))
    assert opened.path == bed
    assert (opened.n_variants, opened.n_samples) == genotypes.shape
    assert "7 variants" in repr(opened)


def test_a_prefix_may_hold_dots(tmp_path: Path, genotypes: NDArray[np.int8]) -> None:
    write_bed(tmp_path / "study.v2", genotypes, variants(7), samples(9))
    np.testing.assert_array_equal(BedFile(tmp_path / "study.v2").read(), genotypes)


def test_selection_keeps_the_order_asked_for(bed: Path, genotypes: NDArray[np.int8]) -> None:
    opened = BedFile(bed)
    np.testing.assert_array_equal(opened.read(slice(2, 5)), genotypes[2:5])
    np.testing.assert_array_equal(opened.read([5, 0, 5], [8, 1, 0]), genotypes[[5, 0, 5]][:, [8, 1, 0]])
    assert opened.read([], []).shape == (0, 0)


def test_flip_counts_the_other_allele(bed: Path, genotypes: NDArray[np.int8]) -> None:
    flip = np.array([True, False, True, False, False, True, True])
    other = np.where(genotypes == MISSING, MISSING, 2 - genotypes)
    expected = np.where(flip[:, None], other, genotypes)
    np.testing.assert_array_equal(BedFile(bed).read(flip=flip), expected)
    np.testing.assert_array_equal(BedFile(bed).read(samples=[3, 4], flip=flip), expected[:, [3, 4]])


@pytest.mark.parametrize(
    ("which", "who"), [([7], None), ([-1], None), ([0], [9]), ([0.0], None), ([[0]], None)]
)
def test_an_index_out_of_range_is_refused(bed: Path, which: list[int], who: list[int] | None) -> None:
    with pytest.raises(IndexError):
        BedFile(bed).read(which, who)


def test_flip_of_another_length_is_refused(bed: Path) -> None:
    with pytest.raises(ValueError, match="flip"):
        BedFile(bed).read(slice(0, 2), flip=[True])


def test_samples_are_located_by_individual_id(bed: Path) -> None:
    assert BedFile(bed).locate(["i3", "nobody", "i0"]).tolist() == [3, -1, 0]


def test_an_individual_id_of_two_families_is_refused_when_asked_for(bed: Path) -> None:
    fam = bed.with_suffix(".fam")
    lines = fam.read_text().splitlines()
    lines[4] = lines[4].replace("0\ti4", "other\ti2")
    fam.write_text("\n".join(lines))
    opened = BedFile(bed)
    assert opened.locate(["i3", "i8"]).tolist() == [3, 8]
    with pytest.raises(DataError, match=r"study\.fam: lines 3, 5: an individual id") as caught:
        opened.locate(["i2"])
    assert "i2" not in str(caught.value)
    assert opened.locate(["i2", "i3", "nobody"], single=False).tolist() == [-1, 3, -1]


# Files that are wrong ----------------------------------------------------------------------------------


def test_truncated_and_too_long_files_are_refused(bed: Path) -> None:
    whole = bed.read_bytes()
    bed.write_bytes(whole[:-1])
    with pytest.raises(
        DataError, match=r"study\.bed: truncated: 23 bytes, where 7 variants .* 9 samples .* 24"
    ):
        BedFile(bed)
    bed.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match=r"study\.bed: too long: 25 bytes"):
        BedFile(bed)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"\x1b\x6c\x01", "not a PLINK 1 .bed file: it starts with 1b6c"),
        (b"\x6c\x1b\x00", "not stored variant by variant .*plink1.9 --make-bed"),
        (b"\x6c\x1b", "mode absent"),
        (b"", "starts with nothing"),
    ],
)
def test_wrong_headers_are_refused(bed: Path, header: bytes, message: str) -> None:
    bed.write_bytes(header + bed.read_bytes()[3:] * (len(header) == 3))
    with pytest.raises(DataError, match=message):
        BedFile(bed)


def test_bim_and_bed_of_different_length_are_refused(bed: Path) -> None:
    bim = bed.with_suffix(".bim")
    bim.write_text("".join(bim.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"too long: 24 bytes, where 6 variants"):
        BedFile(bed)


@pytest.mark.parametrize("suffix", [".bed", ".bim", ".fam"])
def test_absent_files_are_named(bed: Path, suffix: str) -> None:
    bed.with_suffix(suffix).unlink()
    with pytest.raises(DataError, match=rf"study\{suffix}: cannot be read"):
        BedFile(bed)


@pytest.mark.parametrize(
    ("suffix", "line", "message"),
    [
        (".bim", "1 rs 0 100 A", "line 3: fewer than 6 columns"),
        (".bim", "1 rs 0 100 A C G", "not a table of 6 columns"),
        (".bim", "1 rs 0 ten A C", "line 3: no valid base pair position"),
        (".bim", "1 rs 0 -5 A C", "line 3: no valid base pair position"),
        (".bim", "1 rs 0 1.5 A C", "line 3: no valid base pair position"),
        (".bim", "1 rs 0 4294967296 A C", "line 3: no valid base pair position"),
        (".bim", "1 rs inf 100 A C", "line 3: no valid genetic position"),
        (".bim", "1 rs 0 100 A A", "line 3: twice the same allele"),
        (".fam", "0 i0 0 0 1 -9", "lines 1, 3: the same family and individual id"),
        (".fam", "0 i0 0 0 1", "line 3: fewer than 6 columns"),
    ],
)
def test_a_wrong_line_is_named(bed: Path, suffix: str, line: str, message: str) -> None:
    text = bed.with_suffix(suffix)
    lines = text.read_text().splitlines()
    lines[2] = line
    text.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=message):
        BedFile(bed)


@pytest.mark.parametrize(
    ("text", "message"),
    [(b"", "holds no variants"), (b"1 rs 0 1 A C X\n" * 7, "7 columns"), (b"\xff\xfe 1\n", "UTF-8")],
)
def test_a_bim_of_another_kind_is_refused(bed: Path, text: bytes, message: str) -> None:
    bed.with_suffix(".bim").write_bytes(text)
    with pytest.raises(DataError, match=message):
        BedFile(bed)


def test_text_is_read_as_written(bed: Path) -> None:
    """Nothing is taken for a missing value, a quote or a number; PLINK's absent alleles are allowed."""
    rows = ['NA "rs" 0 1 A N', "01 rs# 1e-3 2 NA NULL", "X 3 0 3 0 G", "Y 4 0 4 0 0"] + ["1 rs 0 5 A C"] * 3
    bed.with_suffix(".bim").write_text("\n".join(f" {row} " for row in rows) + "\n\n")
    read = BedFile(bed).variants
    assert read["chromosome"].tolist()[:4] == ["NA", "01", "X", "Y"]
    assert read["rsid"].tolist()[:4] == ['"rs"', "rs#", "3", "4"]
    assert read["allele1"].tolist()[:4] == ["A", "NA", "0", "0"]
    assert read["cm"].tolist()[:2] == [0.0, 0.001]


def test_sex_is_one_of_three(bed: Path) -> None:
    fam = bed.with_suffix(".fam")
    fam.write_text("\n".join(f"0 i{i} 0 0 {sex} -9" for i, sex in enumerate("120x12345")))
    assert BedFile(bed).samples["sex"].tolist() == [1, 2, 0, 0, 1, 2, 0, 0, 0]


# Writing -----------------------------------------------------------------------------------------------


def test_blocks_are_written_one_after_another(tmp_path: Path, genotypes: NDArray[np.int8]) -> None:
    blocks = (genotypes[start : start + 3] for start in range(0, 7, 3))
    np.testing.assert_array_equal(
        BedFile(write_bed(tmp_path / "x", blocks, variants(7), samples(9))).read(), genotypes
    )


def test_a_failed_writer_leaves_no_files(tmp_path: Path, genotypes: NDArray[np.int8]) -> None:
    with pytest.raises(ValueError, match="6 rows of genotypes for 7 variants"):
        write_bed(tmp_path / "x", [genotypes[:6]], variants(7), samples(9))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda g: g[:, :-1], ValueError),
        (lambda g: g.astype(np.int16), TypeError),
        (lambda g: g + np.int8(1), ValueError),
        (lambda g: g - np.int8(1), ValueError),
    ],
)
def test_wrong_genotypes_are_not_written(tmp_path: Path, genotypes, change, error) -> None:
    with BedWriter(tmp_path / "x", samples(9)) as writer, pytest.raises(error):
        writer.write(change(genotypes), variants(7))


@pytest.mark.parametrize("name", ["", "two words"])
def test_an_id_that_would_break_the_table_is_not_written(tmp_path: Path, genotypes, name: str) -> None:
    table = variants(7)
    table.loc[3, "rsid"] = name
    with pytest.raises(DataError, match="'rsid' holds an empty value or white space"):
        write_bed(tmp_path / "x", genotypes, table, samples(9))


# Real data ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not MAIZE.exists(), reason="needs the maize panel in ../shared/data")
def test_maize_agrees_with_the_slow_decoder() -> None:
    maize = BedFile(MAIZE)
    assert (maize.n_variants, maize.n_samples) == (3093, 281)
    expected = slow_decode(MAIZE.read_bytes(), 281)
    np.testing.assert_array_equal(maize.read(), expected)
    np.testing.assert_array_equal(maize.read([3092, 5], [280, 0]), expected[[3092, 5]][:, [280, 0]])
