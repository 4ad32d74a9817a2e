"""Scans of genotypes at three sites, beside PLINK 2 on the pooled file: CPU seconds of all together.

    python -m pytest benchmarks/bench_gwas.py -s

20,000 samples × 50,000 variants, 1 % of calls missing, ten covariates. The three sites are threads of one
process, so that its CPU time is theirs together, secure sums included; imports and compilation come before.
PLINK 2 is a process with as many threads as it likes, its start-up some hundredths of a second. Skipped by
name where there is no plink2 on the path.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedstats as fs
from fedstats.gwas.plink import BedWriter

SAMPLES = 20_000
VARIANTS = 50_000
MISSING = 0.01
COVARIATES = [f"x{k}" for k in range(10)]
TRAITS = [f"y{k}" for k in range(10)]
SITES = (0.2, 0.3, 0.5)
#: Variants that are simulated at a time.
BLOCK = 1_000

PLINK = shutil.which("plink2")
pytestmark = [
    pytest.mark.skipif(PLINK is None, reason="plink2 is not installed"),
    pytest.mark.timeout(900),
]


def simulate(folder: Path, samples: int, variants: int) -> pd.DataFrame:
    """Write the pooled file, each site's, and the table of traits and covariates; return the latter."""
    random = np.random.default_rng(1)
    rows = pd.DataFrame(random.normal(size=(samples, 20)), columns=[*TRAITS, *COVARIATES])
    rows.insert(0, "iid", [f"s{number}" for number in range(samples)])
    cuts = np.cumsum([round(samples * share) for share in SITES])[:-1]
    parts = [("pooled", np.arange(samples)), *enumerate(np.split(np.arange(samples), cuts))]
    writers = [BedWriter(folder / str(name), rows.iloc[part][["iid"]]) for name, part in parts]
    signal = np.zeros(samples)
    for start in range(0, variants, BLOCK):
        size = min(BLOCK, variants - start)
        frequency = random.uniform(0.01, 0.5, (size, 1)).astype(np.float32)
        calls = sum((random.random((size, samples), np.float32) < frequency).view(np.int8) for _ in range(2))
        signal += calls[0]
        calls[random.random(calls.shape, np.float32) < MISSING] = -1
        table = pd.DataFrame(
            {
                "chromosome": "1",
                "rsid": [f"rs{start + number}" for number in range(size)],
                "base_pair_location": np.arange(start + 1, start + size + 1) * 10,
                "allele1": "A",
                "allele2": "G",
            }
        )
        for (_, part), writer in zip(parts, writers, strict=True):
            writer.write(calls[:, part[0] : part[-1] + 1], table)
    for writer in writers:
        writer.close()
    rows[TRAITS] += 0.02 * signal[:, np.newaxis]
    rows["case"] = (rows["y0"] > rows["y0"].quantile(0.7)).astype(int)
    rows.to_csv(folder / "rows.csv", index=False)
    table = rows.rename(columns={"iid": "#IID"})
    table[["#IID"]].assign(case=table["case"] + 1).to_csv(folder / "cases.txt", sep="\t", index=False)
    table[["#IID", *TRAITS]].to_csv(folder / "traits.txt", sep="\t", index=False)
    table[["#IID", *COVARIATES]].to_csv(folder / "covariates.txt", sep="\t", index=False)
    return rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("gwas")
    return folder, simulate(folder, SAMPLES, VARIANTS)


def plink(folder: Path, *arguments: str) -> float:
    """Run PLINK 2 on the pooled file, and return its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [str(PLINK), "--bfile", str(folder / "pooled"), "--out", str(folder / "plink"), *arguments]
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def federated(folder: Path, rows: pd.DataFrame, analysis: Callable[..., Any], **options: Any) -> Any:
    """Run an analysis at three sites, and return the first site's result."""

    def program(federation: fs.Federation, site: int) -> Any:
        genotypes = federation.genotypes(folder / str(site))
        ids = genotypes.file.samples["iid"]
        cohort = federation.cohort(rows[rows["iid"].isin(ids)], id="iid")
        return analysis(genotypes, cohort, **options)

    return fs.simulate(program, list(range(len(SITES))))[0]


def beside_plink(
    benchmark: Any,
    data: tuple[Path, pd.DataFrame],
    arguments: list[str],
    analysis: Callable[..., Any],
    *,
    times: int = 1,
    **options: Any,
) -> Any:
    """Measure both, and put CPU seconds and their ratio among the benchmark's figures."""
    folder, rows = data
    small = folder / "small"
    if not small.exists():
        small.mkdir()
        simulate(small, 300, 40)
    federated(small, pd.read_csv(small / "rows.csv", dtype={"iid": str}), analysis, **options)  # compiles
    seconds: list[float] = []
    found: list[Any] = []

    def run() -> None:
        started = time.process_time()
        found[:] = [federated(folder, rows, analysis, **options)]
        seconds.append(time.process_time() - started)

    benchmark.pedantic(run, rounds=2, iterations=1)
    theirs = times * min(plink(folder, *arguments) for _ in range(2))
    first = next(iter(found[0].values())) if isinstance(found[0], dict) else found[0]
    benchmark.extra_info |= {
        "rounds": first.cost.rounds,
        "bytes": first.cost.bytes_sent,
        "peer": "PLINK 2, pooled, CPU",
        "peer_seconds": theirs,
        "cpu_seconds": round(min(seconds), 2),
        "ratio": min(seconds) / theirs,
    }
    print(benchmark.extra_info)
    return found[0]


def glm(folder: Path, modifiers: list[str], traits: int) -> list[str]:
    names = TRAITS[:traits]
    return [
        "--glm", *modifiers, "omit-ref", "hide-covar",
        "--pheno", str(folder / "traits.txt"), "--pheno-name", *names,
        "--covar", str(folder / "covariates.txt"),
    ]  # fmt: skip


def test_linear_exact(benchmark: Any, data: Any) -> None:
    beside_plink(
        benchmark,
        data,
        glm(data[0], [], 1),
        fs.gwas.linear,
        trait="y0",
        covariates=COVARIATES,
        disclose="aggregate",
    )


def test_linear_imputed(benchmark: Any, data: Any) -> None:
    beside_plink(
        benchmark, data, glm(data[0], [], 1), fs.gwas.linear, trait="y0",
        covariates=COVARIATES, missing="impute", disclose="aggregate",
    )  # fmt: skip


def test_ten_traits(benchmark: Any, data: Any) -> None:
    beside_plink(
        benchmark,
        data,
        glm(data[0], [], 10),
        fs.gwas.linear,
        trait=TRAITS,
        covariates=COVARIATES,
        disclose="aggregate",
    )


def test_logistic(benchmark: Any, data: Any) -> None:
    """PLINK 2 on a tenth of the variants, its CPU time multiplied: it takes an hour for all."""
    folder = data[0]
    tenth = ["--from-bp", "1", "--to-bp", str(VARIANTS), "--chr", "1"]
    beside_plink(
        benchmark, data,
        ["--glm", "firth-fallback", "omit-ref", "hide-covar", *tenth, "--pheno", str(folder / "cases.txt"),
         "--covar", str(folder / "covariates.txt")],
        fs.gwas.logistic, times=10, trait="case", covariates=COVARIATES,
    )  # fmt: skip


@pytest.mark.parametrize("disclose", ["result", "gated"])
def test_linear_on_shares(benchmark: Any, data: Any, disclose: str) -> None:
    beside_plink(
        benchmark, data, glm(data[0], [], 1), fs.gwas.linear, trait="y0", covariates=COVARIATES,
        missing="impute", disclose=disclose,
    )  # fmt: skip
