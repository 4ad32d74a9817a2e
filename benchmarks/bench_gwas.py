"""Genotypes at three sites, beside PLINK 2 on the pooled file: CPU seconds of all together.

    python -m benchmarks gwas                 all rows
    python -m benchmarks gwas_linear_exact    one of them, in less than three minutes

20,000 samples × 50,000 variants, 1 % of calls missing, ten covariates. The three sites are threads of one
process, so that its CPU time is theirs together, reading of all files and secure sums included; compilation
comes before, and `imports` are the CPU seconds that each site's interpreter takes to start, apart. PLINK 2 is
a process of one thread, which wastes no time on waiting, its start-up some hundredths of a second; where it
would take too long, it gets a tenth of the variants, and its CPU time is multiplied.

PLINK 2 is the plink2 on the path, or the one that the environment names:

    PLINK2=/path/to/plink2 python -m benchmarks gwas

Later ones are several times faster where calls are missing, and alpha 4 and later have `qt-residualize`, the
peer of scans that impute. Skipped by name where there is none.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

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

#: A biobank, to which costs are extrapolated.
LARGE = (500_000, 1_000_000)

PLINK = os.environ.get("PLINK2") or shutil.which("plink2")
pytestmark = pytest.mark.timeout(600)


def simulate(folder: Path, samples: int, variants: int) -> Path:
    """Write the pooled file, each site's, and tables of traits and covariates; return the folder."""
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
    for name, part in parts:
        rows.iloc[part].to_csv(folder / f"{name}.csv", index=False)
    table = rows.rename(columns={"iid": "#IID"})
    table[["#IID"]].assign(case=table["case"] + 1).to_csv(folder / "cases.txt", sep="\t", index=False)
    table[["#IID", *TRAITS]].to_csv(folder / "traits.txt", sep="\t", index=False)
    table[["#IID", *COVARIATES]].to_csv(folder / "covariates.txt", sep="\t", index=False)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gwas")
    (folder / "small").mkdir()
    simulate(folder / "small", 300, 40)
    return simulate(folder, SAMPLES, VARIANTS)


def child_seconds(command: list[str]) -> float:
    """Run a process, and return its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def plink(folder: Path, *arguments: str) -> float:
    """Run PLINK 2 on the pooled file, on one thread, and return its CPU seconds."""
    if PLINK is None:
        pytest.skip("plink2 is not installed")
    command = [PLINK, "--bfile", str(folder / "pooled"), "--out", str(folder / "plink"), *arguments]
    command += ["--threads", "1"]
    return child_seconds(command)


def peer() -> str:
    """Return the name and version of PLINK 2."""
    found = subprocess.run([str(PLINK), "--version"], capture_output=True, text=True, check=True).stdout
    return " ".join(found.split()[:2]) + ", CPU"


def federated(folder: Path, analysis: Callable[..., Any], **options: Any) -> Any:
    """Run an analysis at three sites, and return the first site's result."""

    def program(federation: fs.Federation, site: int) -> Any:
        cohort = federation.cohort(pd.read_csv(folder / f"{site}.csv"), id="iid")
        return analysis(federation.genotypes(folder / str(site)), cohort, **options)

    found = fs.simulate(program, list(range(len(SITES))))[0]
    return next(iter(found.values())) if isinstance(found, dict) else found


def measured(
    folder: Path, analysis: Callable[..., Any], *, turns: int = 2, **options: Any
) -> tuple[float, Any]:
    """Return the fewest CPU seconds of some turns, and the result."""
    seconds = []
    for _ in range(turns):
        started = time.process_time()
        found = federated(folder, analysis, **options)
        seconds.append(time.process_time() - started)
    return min(seconds), found


def beside_plink(
    benchmark: Any,
    folder: Path,
    arguments: list[str],
    analysis: Callable[..., Any],
    *,
    times: int = 1,
    traits: int = 1,
    turns: int = 2,
    **options: Any,
) -> Any:
    """Measure both, and put CPU seconds and their ratio among the benchmark's figures; return the result."""
    warm_up(folder, analysis, **options)
    seconds, found = benchmark.pedantic(
        measured, (folder, analysis), {"turns": turns, **options}, rounds=1, iterations=1
    )
    theirs = times * traits * min(plink(folder, *arguments) for _ in range(1 if times > 1 else turns))
    benchmark.extra_info |= figures(seconds, found) | {
        "peer": peer()
        + (", a tenth × 10" if times > 1 else "")
        + (f" × {traits} traits" if traits > 1 else ""),
        "peer_seconds": theirs,
        "ratio": seconds / theirs,
    }
    return found


def warm_up(folder: Path, analysis: Callable[..., Any], **options: Any) -> None:
    """Compile what the analysis needs."""
    federated(folder / "small", analysis, **options)


def figures(seconds: float, found: Any) -> dict[str, Any]:
    """Return what is told of a run."""
    return {
        "rounds": found.cost.rounds,
        "bytes": found.cost.bytes_sent,
        "cpu_seconds": round(seconds, 2),
        "imports": round(child_seconds([sys.executable, "-c", "import fedstats.gwas"]), 2),
    }


def glm(folder: Path, *modifiers: str) -> list[str]:
    """Return PLINK 2's arguments for linear regression."""
    return [
        "--glm", *modifiers, "omit-ref", "hide-covar",
        "--pheno", str(folder / "traits.txt"), "--pheno-name", TRAITS[0],
        "--covar", str(folder / "covariates.txt"),
    ]  # fmt: skip


#: PLINK 2 then reads a tenth of the variants.
TENTH = ["--chr", "1", "--from-bp", "1", "--to-bp", str(VARIANTS)]
LINEAR: dict[str, Any] = {"trait": "y0", "covariates": COVARIATES}


def test_gwas_linear_exact(benchmark: Any, folder: Path) -> None:
    arguments = [*glm(folder), *TENTH]
    beside_plink(benchmark, folder, arguments, fs.gwas.linear, times=10, **LINEAR, disclose="aggregate")


def test_gwas_linear_imputed(benchmark: Any, folder: Path) -> None:
    """Beside `qt-residualize`: the trait alone is regressed on the covariates, the rest on each variant."""
    options = {**LINEAR, "missing": "impute", "disclose": "aggregate"}
    help_ = subprocess.run([PLINK or "true", "--help", "glm"], capture_output=True, text=True, check=False)
    if "qt-residualize" in help_.stdout:
        beside_plink(benchmark, folder, glm(folder, "qt-residualize"), fs.gwas.linear, **options)
    else:
        warm_up(folder, fs.gwas.linear, **options)
        found = benchmark.pedantic(measured, (folder, fs.gwas.linear), options, rounds=1, iterations=1)
        benchmark.extra_info |= figures(*found) | {"note": "no plink2 that has qt-residualize"}


def test_gwas_ten_traits(benchmark: Any, folder: Path) -> None:
    """Beside the sum of ten scans."""
    options = {"trait": TRAITS, "covariates": COVARIATES, "disclose": "aggregate"}
    arguments = [*glm(folder), *TENTH]
    beside_plink(benchmark, folder, arguments, fs.gwas.linear, times=10, traits=10, **options)


def test_gwas_logistic(benchmark: Any, folder: Path) -> None:
    """Score tests, saddle points, and refits of hits; PLINK 2 takes minutes for all variants."""
    arguments = [
        "--glm", "firth-fallback", "omit-ref", "hide-covar", *TENTH,
        "--pheno", str(folder / "cases.txt"), "--covar", str(folder / "covariates.txt"),
    ]  # fmt: skip
    options = {"trait": "case", "covariates": COVARIATES, "disclose": "aggregate"}
    beside_plink(benchmark, folder, arguments, fs.gwas.logistic, times=10, turns=1, **options)


@pytest.mark.parametrize("disclose", ["result", "gated"])
def test_gwas_saddle_points_on_shares(benchmark: Any, folder: Path, disclose: str) -> None:
    """What shares take beyond sums that are opened, of a tenth of the variants; without refits.

    `added` are microseconds a variant with |z| > 2 and site, where score tests on shares have their part.
    """
    some = pd.DataFrame(
        {
            "chromosome": "1",
            "base_pair_location": np.arange(1, VARIANTS // 10 + 1) * 10,
            "effect_allele": "A",
            "other_allele": "G",
        }
    )
    options = {"trait": "case", "covariates": COVARIATES, "refit": 0.0, "threshold": 0.05}
    for mode in ("aggregate", disclose):
        warm_up(folder, fs.gwas.logistic, **options, disclose=mode)
    options["variants"] = some
    opened, _ = measured(folder, fs.gwas.logistic, turns=1, **options, disclose="aggregate")
    seconds, found = benchmark.pedantic(
        measured,
        (folder, fs.gwas.logistic),
        {**options, "turns": 1, "disclose": disclose},
        rounds=1,
        iterations=1,
    )
    extreme = int((found.to_frame()["test"] == "spa").sum())
    benchmark.extra_info |= figures(seconds, found) | {
        "peer": "fedstats, aggregate",
        "peer_seconds": opened,
        "ratio": seconds / opened,
        "variants": extreme,
        "added": round((seconds - opened) / extreme / len(SITES) * 1e6),
        "bytes_a_variant": round(found.cost.bytes_sent / extreme),
    }


def test_gwas_pca(benchmark: Any, folder: Path) -> None:
    """Ten components of a fifth of the variants, none of which are in linkage."""
    few = ["--chr", "1", "--from-bp", "1", "--to-bp", str(10 * VARIANTS // 5)]
    shared = pd.DataFrame(
        {
            "chromosome": "1",
            "base_pair_location": np.arange(1, VARIANTS // 5 + 1) * 10,
            "effect_allele": "A",
            "other_allele": "G",
        }
    )
    warm_up(folder, fs.gwas.pca, variants=shared.iloc[:30], r2=1.0, disclose="aggregate")
    options = {"variants": shared, "r2": 1.0, "disclose": "aggregate"}
    seconds, found = benchmark.pedantic(
        measured, (folder, fs.gwas.pca), {"turns": 1, **options}, rounds=1, iterations=1
    )
    theirs = plink(folder, *few, "--maf", "0.01", "--pca", "approx", "10")
    benchmark.extra_info |= figures(seconds, found) | {
        "peer": peer(),
        "peer_seconds": theirs,
        "ratio": seconds / theirs,
        "variants": len(found.to_frame()),
    }


@pytest.mark.parametrize("missing", ["impute", "exact"])
@pytest.mark.parametrize("disclose", ["result", "gated"])
def test_gwas_on_shares(benchmark: Any, folder: Path, disclose: str, missing: str) -> None:
    """What shares take beyond sums that are opened; `added` are microseconds a variant and site."""
    options = {**LINEAR, "missing": missing}
    for mode in ("aggregate", disclose):
        warm_up(folder, fs.gwas.linear, **options, disclose=mode)
    opened, _ = measured(folder, fs.gwas.linear, **options, disclose="aggregate")
    seconds, found = benchmark.pedantic(
        measured,
        (folder, fs.gwas.linear),
        {**options, "disclose": disclose},
        rounds=1,
        iterations=1,
    )
    benchmark.extra_info |= figures(seconds, found) | {
        "peer": "fedstats, aggregate",
        "peer_seconds": opened,
        "ratio": seconds / opened,
        "added": round((seconds - opened) / VARIANTS / len(SITES) * 1e6, 1),
        "bytes_a_variant": round(found.cost.bytes_sent / VARIANTS),
    }


@pytest.mark.parametrize("disclose", ["aggregate", "result", "gated"])
def test_gwas_extrapolated(benchmark: Any, folder: Path, tmp_path: Path, disclose: str) -> None:
    """Linear scans, exact: the cost of 1,000,000 variants × 500,000 samples, from measured slopes.

    CPU seconds as ``"aggregate"`` are a + b·variants + c·variants·samples, none of them negative, by three
    runs; what shares add goes with the variants. Nothing of this size was run.
    """
    for mode in {"aggregate", disclose}:
        warm_up(folder, fs.gwas.linear, **LINEAR, disclose=mode)
    sizes = [(SAMPLES, VARIANTS), (SAMPLES // 4, VARIANTS), (SAMPLES, VARIANTS // 5)]
    opened = [measured(folder, fs.gwas.linear, **LINEAR, disclose="aggregate")]
    for number, size in enumerate(sizes[1:]):
        part = tmp_path / str(number)
        part.mkdir()
        opened.append(measured(simulate(part, *size), fs.gwas.linear, **LINEAR, disclose="aggregate"))
    terms = np.array([[1.0, v, v * n] for n, v in sizes])
    (a, b, c), _ = optimize.nnls(terms, np.array([seconds for seconds, _ in opened]))
    options = {**LINEAR, "disclose": disclose}
    seconds, found = benchmark.pedantic(measured, (folder, fs.gwas.linear), options, rounds=1)
    b += max(0.0, seconds - opened[0][0]) / VARIANTS
    n, v = LARGE
    # All but a few dozen rounds, and some kilobytes, are for blocks of variants.
    scale = v / VARIANTS
    benchmark.extra_info |= figures(seconds, found) | {
        "microseconds_a_variant": round(b * 1e6, 2),
        "picoseconds_a_genotype": round(c * 1e12),
        "extrapolated_cpu_hours": round((a + b * v + c * v * n) / 3600, 2),
        "extrapolated_rounds": round(found.cost.rounds * scale),
        "extrapolated_gigabytes_a_site": round(found.cost.bytes_sent * scale / 1e9, 2),
    }
