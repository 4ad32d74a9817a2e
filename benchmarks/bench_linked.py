"""Scans and survival of linked columns: two sites' columns, and a site that takes part in computing.

    python -m benchmarks linked

2,000 patients × 4,000 variants and two covariates, a biobank's genotypes and a clinic's trait; 5,000 patients
with four covariates, half of them at the site that has the times. Seconds include those of linking, rounds
and bytes do not. The three sites are threads of one process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedstats as fs
from benchmarks.on_shares import over_wide_area
from fedstats.gwas.plink import write_bed
from fedstats.results import Cost

PATIENTS, VARIANTS = 2_000, 4_000
#: Patients and covariates of the survival model.
SURVIVAL, COVARIATES = 5_000, 4


def tables(folder: Path) -> list[tuple[pd.DataFrame | None, Path | None]]:
    """Return what each site has."""
    random = np.random.default_rng(1)
    people = pd.DataFrame(random.normal(size=(PATIENTS, 3)), columns=["ldl", "age", "pc1"])
    people["case"] = (random.random(PATIENTS) < 0.3).astype(int)
    people["iid"] = [f"{number:06d}" for number in range(PATIENTS)]
    calls = random.binomial(2, random.uniform(0.01, 0.5, (VARIANTS, 1)), (VARIANTS, PATIENTS))
    listed = pd.DataFrame(
        {
            "chromosome": "1",
            "rsid": [f"rs{number}" for number in range(VARIANTS)],
            "base_pair_location": 1 + np.arange(VARIANTS),
            "allele1": "A",
            "allele2": "C",
        }
    )
    write_bed(folder / "biobank", calls.astype(np.int8), listed, people[["iid"]])
    biobank = people[["iid", "pc1"]].sample(frac=1.0, random_state=1)
    return [(people.drop(columns="pc1"), None), (biobank, folder / "biobank.bed"), (None, None)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "trait"), [("linear", "ldl"), ("logistic", "case")])
def test_linked(benchmark: Any, tmp_path: Path, name: str, trait: str) -> None:
    costs: list[Cost] = []
    data = tables(tmp_path)
    scan = {"linear": fs.gwas.linear, "logistic": fs.gwas.logistic}[name]
    options = {"missing": "impute"} if name == "linear" else {}

    def program(federation: fs.Federation, its: tuple[pd.DataFrame | None, Path | None]) -> None:
        table, path = its
        cohort = federation.cohort(table, partition="vertical", on="iid", id="iid")
        genotypes = federation.genotypes(path)
        found = scan(genotypes, cohort, trait=trait, covariates=["age", "pc1"], **options)
        costs.append(found.cost)

    benchmark.pedantic(lambda: fs.simulate(program, data), rounds=1)
    rounds, sent = costs[0].rounds, max(its.bytes_sent for its in costs)
    benchmark.extra_info |= {
        "rounds": rounds,
        "bytes": sent,
        "wide_area": over_wide_area(benchmark.stats.stats.median, rounds, sent),
    }


def registries() -> list[pd.DataFrame | None]:
    """Return a registry's times, in days, and a laboratory's values."""
    random = np.random.default_rng(1)
    names = [f"x{number}" for number in range(COVARIATES)]
    people = pd.DataFrame(random.normal(size=(SURVIVAL, COVARIATES)), columns=names)
    people["id"] = [f"{number:06d}" for number in range(SURVIVAL)]
    died = random.exponential(np.exp(-(people[names] @ np.linspace(0.5, -0.3, COVARIATES))))
    left = random.exponential(2.0, SURVIVAL)
    people["time"] = np.ceil(365 * np.minimum(died, left))
    people["event"] = (died < left).astype(int)
    laboratory = people[["id", *names[1::2]]].sample(frac=1.0, random_state=1)
    return [people[["id", "time", "event", *names[::2]]], laboratory, None]


@pytest.mark.timeout(600)
def test_survival(benchmark: Any) -> None:
    costs: list[Cost] = []
    steps: list[int] = []
    formula = " + ".join(f"x{number}" for number in range(COVARIATES))

    def program(federation: fs.Federation, its: pd.DataFrame | None) -> None:
        cohort = federation.cohort(its, partition="vertical", on="id")
        found = fs.coxph(formula, cohort, duration="time", event="event")
        costs.append(found.cost)
        steps.append(found.steps)

    benchmark.pedantic(lambda: fs.simulate(program, registries()), rounds=1)
    rounds, sent = costs[0].rounds, max(its.bytes_sent for its in costs)
    benchmark.extra_info |= {
        "rounds": rounds,
        "bytes": sent,
        "wide_area": over_wide_area(benchmark.stats.stats.median, rounds, sent),
        "steps": steps[0],
        "seconds without linking": round(max(its.seconds for its in costs), 2),
    }
