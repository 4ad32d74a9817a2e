"""A site's memory does not grow by the genotypes of the variants that it scans.

A process of its own analyses a few thousand variants, then several times as many, at three sites in its
threads, and tells the highest anonymous memory that it had each time. The pages of the mapped file are not
counted: the system takes them back whenever it wants. What may grow is the list of variants, and what is told
of each: some 400 bytes, while one variant's packed genotypes alone are 2,000.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedstats as fs
from fedstats.gwas import saddle_shares
from fedstats.gwas._ahead import BLOCK
from fedstats.gwas.plink import BedWriter, pack

SAMPLES = 8_000
ROW = SAMPLES // 4
SITES = 3
FEW, MANY = 3 * BLOCK, 9 * BLOCK
LIMIT = 2 << 30
#: How often a measurement is repeated that finds too much.
TURNS = 4

#: Has allocators give back at once what is freed.
FREED = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
#: What no analysis may do: holding as much as the packed genotypes.
HELD = "a quarter of all calls"
LINEAR = {"trait": "y", "covariates": ["x"]}
ANALYSES: dict[str, Callable[..., Any]] = {
    "linear, aggregate": lambda geno, rows: fs.gwas.linear(geno, rows, **LINEAR, disclose="aggregate"),
    "linear, imputed": lambda geno, rows: fs.gwas.linear(geno, rows, **LINEAR, missing="impute"),
    "linear": lambda geno, rows: fs.gwas.linear(geno, rows, **LINEAR),
    "logistic": lambda geno, rows: fs.gwas.logistic(geno, rows, trait="case", covariates=["x"]),
    "pca": lambda geno, rows: fs.gwas.pca(geno, rows, components=1, r2=1, disclose="aggregate"),
    HELD: lambda geno, rows: geno.file.read(slice(0, None, 4)),
}


def write(prefix: Path, variants: int) -> None:
    """Write a block of genotypes of two populations as often as it takes: only positions differ."""
    random = np.random.default_rng(1)
    frequency = random.uniform(0.2, 0.4, (BLOCK, 1)) + np.repeat([0.0, 0.2], SAMPLES // 2)
    calls = sum((random.random(frequency.shape, np.float32) < frequency).view(np.int8) for _ in range(2))
    calls[random.random(calls.shape, np.float32) < 0.01] = -1
    block = pack(calls).tobytes()
    table = {"chromosome": "1", "rsid": "rs", "cm": "0", "base_pair_location": np.arange(1, variants + 1)}
    with BedWriter(prefix, pd.DataFrame({"iid": names()})):
        pass
    pd.DataFrame({**table, "allele1": "A", "allele2": "G"}).to_csv(
        prefix.with_suffix(".bim"), sep="\t", header=False, index=False
    )
    with prefix.with_suffix(".bed").open("ab") as bed:
        for _ in range(variants // BLOCK):
            bed.write(block)


def names() -> list[str]:
    return [f"s{number}" for number in range(SAMPLES)]


def anonymous() -> int:
    """Return the bytes of memory that this process has, mapped files left out."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line)
    return int(line.split()[1]) * 1024


def highest(what: Callable[[], object]) -> int:
    """Do something, and return the highest `anonymous` memory meanwhile."""
    found, ended = [anonymous()], threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            found.append(anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        what()
    finally:
        ended.set()
        watcher.join()
    return max(found)


def analyse(name: str, prefix: Path) -> None:
    random = np.random.default_rng(2)
    rows = pd.DataFrame(random.normal(size=(SAMPLES, 2)), columns=["y", "x"])
    rows = rows.assign(iid=names(), case=random.integers(0, 2, SAMPLES))

    def program(federation: fs.Federation, number: int) -> Any:
        return ANALYSES[name](federation.genotypes(prefix), federation.cohort(rows, id="iid"))

    fs.simulate(program, range(SITES))


@dataclass(frozen=True)
class Memory:
    """The highest memory of all sites together, in bytes, with few variants and with many."""

    few: int
    many: int

    @property
    def a_variant(self) -> float:
        """By how much one site's grows with each variant."""
        return (self.many - self.few) / (MANY - FEW) / SITES


def memory_of(analyses: list[str], folder: Path) -> dict[str, Memory]:
    command = [sys.executable, __file__, str(folder), *analyses]
    done = subprocess.run(command, env=os.environ | FREED, check=True, capture_output=True, text=True)
    few, many = json.loads(done.stdout)
    return {name: Memory(few[name], many[name]) for name in analyses}


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the memory of a process")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    for variants in (FEW, MANY):
        write(folder / str(variants), variants)
    return folder


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "analyses",
    [
        ["linear, aggregate", "linear, imputed", HELD],
        pytest.param(["linear", "logistic"], marks=pytest.mark.slow),
        pytest.param(["pca"], marks=pytest.mark.slow),
    ],
)
def test_memory_does_not_grow_by_genotypes(analyses: list[str], folder: Path) -> None:
    """How many blocks are under way at once depends on what else the machine does: some turns are allowed."""
    found: dict[str, Memory] = {}
    for _ in range(TURNS):
        for name, its in memory_of([name for name in analyses if name not in found], folder).items():
            if name == HELD:  # the measure sees what it is to see
                assert its.a_variant > ROW
            assert its.many < LIMIT / 2, name  # three sites, and all that is imported
            if name == HELD or its.a_variant < ROW / 2:
                found[name] = its
        if len(found) == len(analyses):
            break
    assert found.keys() == set(analyses)


if __name__ == "__main__":
    where, *names_of_analyses = sys.argv[1:]
    # A batch of saddle points is full with few variants too: one of 2,048 would still grow with many.
    saddle_shares.HELD = 1 << 17
    # All with few variants come first: what the allocator keeps of many would pass for memory of few.
    found = [
        {name: highest(lambda: analyse(name, Path(where, str(variants)))) for name in names_of_analyses}  # noqa: B023
        for variants in (FEW, MANY)
    ]
    print(json.dumps(found))
