"""The same genotypes in every format give the same numbers; dosages give those of a regression on them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gwas_helpers import Panel, assert_equal_scan, least_squares, make_panel, scan

import fedstats as fs
from fedstats.gwas.dosages import DosageBlock
from fedstats.gwas.members import Members
from fedstats.gwas.packed import PackedBlock
from fedstats.gwas.pgen import PgenFile
from fedstats.gwas.plink import BedFile, write_bed
from fedstats.gwas.vcf import open_vcf

pytest.importorskip("cyvcf2")
pgenlib = pytest.importorskip("pgenlib")
pytest.importorskip("cbgen")

KG = Path(__file__).parents[3] / "shared" / "data" / "kg3_chr21"
PVAR = ["#CHROM", "POS", "ID", "REF", "ALT"]
PLINK = shutil.which("plink2")
needs_plink = pytest.mark.skipif(PLINK is None, reason="plink2 is not installed")


def write_vcf(path: Path, values: np.ndarray, variants: pd.DataFrame, ids: list[str], *, field: str) -> Path:
    """Write calls (GT) or dosages (DS) of allele 1, the alternative allele."""
    genotype = {-1: "./.", 0: "0/0", 1: "0|1", 2: "1/1"}
    kind = "Float" if field == "DS" else "String"
    lines = [
        "##fileformat=VCFv4.3",
        f'##FORMAT=<ID={field},Number=1,Type={kind},Description="-">',
        *(f"##contig=<ID={name}>" for name in variants["chromosome"].unique()),
        "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *ids]),
    ]
    for row, v in zip(values, variants.itertuples(), strict=True):
        texts = [genotype[int(x)] if field == "GT" else "." if np.isnan(x) else f"{x:.4f}" for x in row]
        at = [v.chromosome, str(v.base_pair_location), v.rsid, v.allele2, v.allele1, ".", ".", ".", field]
        lines.append("\t".join([*at, *texts]))
    # A variant of three alleles, which is left out.
    lines.append("\t".join(["X", "999999", "rs-many", "A", "C,G", ".", ".", ".", field, *["." for _ in ids]]))
    path.write_text("\n".join(lines) + "\n")
    return path


def write_pgen(path: Path, values: np.ndarray, variants: pd.DataFrame, ids: list[str], *, hard: bool) -> Path:
    """Write calls or dosages of allele 1, the alternative allele, by Pgenlib."""
    with pgenlib.PgenWriter(
        str(path).encode(), len(ids), variant_ct=len(values), dosage_present=not hard
    ) as out:
        for row in values:
            if hard:
                out.append_biallelic(np.where(row < 0, -9, row).astype(np.int8))
            else:
                out.append_dosages(np.nan_to_num(row, nan=-9).astype(np.float32))
    names = dict(zip(["chromosome", "base_pair_location", "rsid", "allele2", "allele1"], PVAR, strict=True))
    pvar = variants.rename(columns=names)[PVAR]
    path.with_suffix(".pvar").write_text("##source=test\n" + pvar.to_csv(sep="\t", index=False))
    path.with_suffix(".psam").write_text("#IID\tSEX\n" + "".join(f"{name}\tNA\n" for name in ids))
    return path


@pytest.fixture(scope="module")
def panel() -> Panel:
    return make_panel(150, 60, missing=0.03, seed=8)


def test_calls_are_the_same_in_every_format(panel: Panel, tmp_path: Path) -> None:
    """One site has PLINK 1, one VCF, one PLINK 2."""
    parts = panel.deal(tmp_path, [40, 50], alike=True)
    expected = scan(parts, trait="ldl", covariates=["age"]).to_frame()
    second, third = (panel.genotypes[:, rows] for rows in (slice(40, 90), slice(90, None)))
    ids = panel.rows["iid"].tolist()
    vcf = write_vcf(tmp_path / "b.vcf", second, panel.variants, ids[40:90], field="GT")
    pgen = write_pgen(tmp_path / "c.pgen", third, panel.variants, ids[90:], hard=True)
    mixed = [parts[0], (parts[1][0], vcf), (parts[2][0], pgen)]
    found = scan(mixed, trait="ldl", covariates=["age"]).to_frame()
    pd.testing.assert_frame_equal(found, expected, rtol=1e-9)
    counted = scan(mixed, fs.gwas.qc).to_frame()
    pd.testing.assert_frame_equal(counted, scan(parts, fs.gwas.qc).to_frame())


def test_dosages(panel: Panel, tmp_path: Path) -> None:
    """In VCF at one site, PLINK 2 at another, and calls at the third: as a regression on the dosages."""
    random = np.random.default_rng(2)
    dosages = np.clip(panel.genotypes + random.normal(0, 0.2, panel.genotypes.shape), 0, 2)
    dosages = np.rint(dosages * 4096) / 4096
    dosages[panel.genotypes < 0] = np.nan
    dosages[:, :40] = np.where(panel.genotypes[:, :40] < 0, np.nan, panel.genotypes[:, :40])
    dosages[:, 40:90] = dosages[:, 40:90].round(4)
    ids = panel.rows["iid"].tolist()
    parts = panel.deal(tmp_path, [40, 50], alike=True)
    vcf = write_vcf(tmp_path / "b.vcf", dosages[:, 40:90], panel.variants, ids[40:90], field="DS")
    pgen = write_pgen(tmp_path / "c.pgen", dosages[:, 90:], panel.variants, ids[90:], hard=False)
    mixed = [parts[0], (parts[1][0], vcf), (parts[2][0], pgen)]
    dosages[:, 40:90] = np.rint(dosages[:, 40:90] * 16_384) / 16_384  # as they are kept
    whole = Panel(np.where(np.isnan(dosages), -1, dosages), panel.variants, panel.rows)
    design = np.column_stack([np.ones(150), panel.rows["age"]])
    found = scan(mixed, trait="ldl", covariates=["age"]).to_frame()
    assert_equal_scan(found, whole, least_squares(whole, "ldl", design), rtol=2e-6)
    panel.rows["case"] = (panel.rows["ldl"] > panel.rows["ldl"].median()).astype(int)
    rows = [
        (panel.rows.iloc[part], path)
        for part, (_, path) in zip((slice(0, 40), slice(40, 90), slice(90, None)), mixed, strict=True)
    ]
    refits = scan(rows, fs.gwas.logistic, trait="case", refit=1.0).to_frame()
    variant = int(refits["rsid"][refits["test"] == "wald"].iloc[0][2:])
    g, y = dosages[variant], panel.rows["case"].to_numpy()
    row = refits.set_index("rsid").loc[f"rs{variant}"]
    X = np.column_stack([np.ones(150), g])[~np.isnan(g)]
    mu = 1 / (1 + np.exp(-X @ [0.0, 0.0]))
    theta = np.zeros(2)
    for _ in range(20):
        mu = 1 / (1 + np.exp(-X @ theta))
        theta += np.linalg.solve(X.T @ ((mu * (1 - mu))[:, None] * X), X.T @ (y[~np.isnan(g)] - mu))
    assert row["beta"] == pytest.approx(theta[1], rel=1e-6)


@needs_plink
def test_bgen(panel: Panel, tmp_path: Path) -> None:
    ids = panel.rows["iid"].tolist()
    variants = panel.variants.assign(chromosome="1")
    write_bed(tmp_path / "all", panel.genotypes, variants, panel.rows[["iid"]])
    command = [
        str(PLINK),
        "--bfile",
        str(tmp_path / "all"),
        "--export",
        "bgen-1.2",
        "bits=16",
        "ref-first",
        "--out",
    ]
    subprocess.run([*command, str(tmp_path / "all")], check=True, capture_output=True)

    def program(federation: fs.Federation, _: object) -> tuple[np.ndarray, pd.DataFrame, list[str]]:
        file = federation.genotypes(tmp_path / "all.bgen").file
        return file.dosages(np.arange(60)), file.variants, file.samples["iid"].tolist()

    dosages, table, names = fs.simulate(program, [0, 0, 0])[0]
    assert names == ids
    assert table["rsid"].tolist() == variants["rsid"].tolist()
    calls = np.where(panel.genotypes < 0, np.nan, panel.genotypes)
    first = (table["allele1"] == variants["allele1"]).to_numpy()[:, np.newaxis]
    np.testing.assert_allclose(dosages, np.where(first, calls, 2 - calls), atol=1e-3)


@pytest.mark.skipif(not KG.exists(), reason="the 1000 Genomes panel is not beside the project")
@needs_plink
def test_1000_genomes(tmp_path: Path) -> None:
    """A compressed VCF, against PLINK 2's conversion of it."""
    source = KG / "1kg_phase3_chr21_start.vcf.gz"
    command = [
        str(PLINK),
        "--vcf",
        str(source),
        "--max-alleles",
        "2",
        "--make-bed",
        "--out",
        str(tmp_path / "kg"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    theirs, ours = BedFile(tmp_path / "kg"), open_vcf(source)
    assert ours.samples["iid"].tolist() == theirs.samples["iid"].tolist()
    assert ours.variants["rsid"].tolist() == theirs.variants["rsid"].tolist()
    np.testing.assert_array_equal(ours.read(), theirs.read())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.vcf", b"no header", "cannot be read as VCF|holds no samples"),
        ("a.vcf.gz", b"", "cannot be read as VCF|holds no samples"),
        ("a.pgen", b"lll", "a.pvar: cannot be read"),
        ("a.bgen", b"0123456789012345nope", "not a BGEN file"),
        ("a.bgen", b"0123", "not a BGEN file"),
        ("absent.bgen", None, "cannot be read"),
        ("absent.vcf", None, "cannot be read"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(fs.DataError, match=message):
        _ = fs.simulate(lambda federation, _: federation.genotypes(tmp_path / name).file, [0, 0, 0])


def test_damaged_pgen(panel: Panel, tmp_path: Path) -> None:
    ids = panel.rows["iid"].tolist()
    path = write_pgen(tmp_path / "c.pgen", panel.genotypes, panel.variants, ids, hard=True)
    whole = path.with_suffix(".pvar").read_text()
    path.with_suffix(".pvar").write_text(whole[: whole.rindex("\n", 0, -1) + 1])
    for change, message in (
        (lambda: None, "60 variants, where the .pvar file has 59"),
        (lambda: path.write_bytes(b"\x6c\x1b\x77"), "not a .pgen file of 150 samples"),
    ):
        change()
        with pytest.raises(fs.DataError, match=message):
            fs.simulate(lambda federation, _: federation.genotypes(path).file, [0, 0, 0])


def test_dosages_that_begin_late_in_a_file_are_read_as_dosages(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 3, (300, 8)).astype(float)
    values[-1, 3] = 0.75
    variants = pd.DataFrame(
        {
            "chromosome": "1",
            "base_pair_location": np.arange(1, 301),
            "rsid": [f"rs{number}" for number in range(300)],
            "allele1": "A",
            "allele2": "G",
        }
    )
    ids = [f"id{number}" for number in range(8)]
    file = PgenFile(write_pgen(tmp_path / "late.pgen", values, variants, ids, hard=False))
    members = Members(np.arange(8), np.zeros(8, np.int64))
    rows = np.arange(300)
    for part, kind in ((rows[:256], PackedBlock), (rows[256:], DosageBlock)):
        flip, ploidy = np.zeros(part.size, bool), np.zeros(part.size, np.int8)
        assert isinstance(file.block(part, members, flip=flip, ploidy=ploidy), kind)
