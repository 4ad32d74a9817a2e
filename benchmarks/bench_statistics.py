"""Analyses by three sites in one process, beside the same on the pooled rows.

python -m pytest benchmarks/bench_statistics.py
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

import fedstats as fs
from benchmarks.compare import compare
from benchmarks.on_shares import over_wide_area
from fedstats.demo import reference
from fedstats.gwas.plink import write_bed
from fedstats.results import Result

ROWS = 100_000
COLUMNS = 20
SAMPLES = 6_000
VARIANTS = 5_000
SITES = (0.1, 0.3, 0.6)

Program = Callable[[fs.Federation, Any], Result]


def against_pooled(
    benchmark: Any, program: Program, parts: list[Any], peer: str, pooled: Callable[[], object]
) -> None:
    """Measure the analysis at all sites, and the same on the pooled rows."""
    results: list[Result] = []

    def federated() -> None:
        results[:] = fs.simulate(program, parts)

    compare(benchmark, federated, peer, pooled, turns=3)
    rounds, sent = results[0].cost.rounds, max(result.cost.bytes_sent for result in results)
    benchmark.extra_info |= {
        "rounds": rounds,
        "bytes": sent,
        "wide_area": over_wide_area(benchmark.stats.stats.median, rounds, sent),
    }


def cuts(size: int) -> list[int]:
    return [round(size * share) for share in np.cumsum(SITES)[:-1]]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(ROWS, COLUMNS)), columns=[f"x{k}" for k in range(COLUMNS)])
    return frame.assign(y=frame.to_numpy() @ random.normal(size=COLUMNS) + random.normal(size=ROWS))


@pytest.fixture(scope="module")
def parts(table: pd.DataFrame) -> list[pd.DataFrame]:
    return [table.iloc[rows] for rows in np.split(np.arange(ROWS), cuts(ROWS))]


def test_describe(benchmark: Any, table: pd.DataFrame, parts: list[pd.DataFrame]) -> None:
    def pooled() -> object:
        return table.agg(["count", "mean", "std", "var", "skew", "kurt"])

    against_pooled(
        benchmark, lambda fed, data: fs.describe(fed.cohort(data)), parts, "pandas, pooled", pooled
    )


@pytest.mark.parametrize(
    ("disclose", "cov_type"), [("result", "nonrobust"), ("result", "HC1"), ("aggregate", "HC3")]
)
def test_ols(
    benchmark: Any, table: pd.DataFrame, parts: list[pd.DataFrame], disclose: Any, cov_type: Any
) -> None:
    formula = "y ~ " + " + ".join(f"x{k}" for k in range(COLUMNS))

    def pooled() -> object:
        return smf.ols(formula, table).fit(cov_type=cov_type).bse

    def program(federation: fs.Federation, data: pd.DataFrame) -> Result:
        return fs.ols(formula, federation.cohort(data), cov_type=cov_type, disclose=disclose)

    against_pooled(benchmark, program, parts, "statsmodels, pooled", pooled)


@pytest.mark.timeout(300)
def test_gwas_linear(benchmark: Any, tmp_path: Path) -> None:
    """Ten covariates, 1 % of calls missing; the peer is BLAS on genotypes that are in memory already."""
    random = np.random.default_rng(1)
    frequency = random.uniform(0.01, 0.5, (VARIANTS, 1))
    calls = random.binomial(2, frequency, (VARIANTS, SAMPLES)).astype(np.int8)
    calls[random.random(calls.shape) < 0.01] = -1
    variants = pd.DataFrame(
        {
            "chromosome": "1",
            "rsid": [f"rs{number}" for number in range(VARIANTS)],
            "base_pair_location": np.arange(1, VARIANTS + 1),
            "allele1": "A",
            "allele2": "G",
        }
    )
    covariates = [f"x{k}" for k in range(10)]
    rows = pd.DataFrame(random.normal(size=(SAMPLES, 11)), columns=["ldl", *covariates])
    rows["iid"] = [f"s{number}" for number in range(SAMPLES)]
    parts = []
    for site, samples in enumerate(np.split(np.arange(SAMPLES), cuts(SAMPLES))):
        write_bed(tmp_path / f"site{site}", calls[:, samples], variants, rows.iloc[samples][["iid"]])
        parts.append((rows.iloc[samples], tmp_path / f"site{site}.bed"))

    def pooled() -> object:
        return reference.linear_gwas(calls, rows["ldl"].to_numpy(), rows[covariates].to_numpy())

    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> Result:
        cohort = federation.cohort(data[0], id="iid")
        return fs.gwas.linear(
            federation.genotypes(data[1]),
            cohort,
            trait="ldl",
            covariates=covariates,
            missing="impute",
            disclose="aggregate",
        )

    against_pooled(benchmark, program, parts, "NumPy, pooled", pooled)
    benchmark.extra_info["million_genotypes_a_second"] = round(
        SAMPLES * VARIANTS / 1e6 / benchmark.stats.stats.median, 1
    )
