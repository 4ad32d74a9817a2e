"""Hypothesis tests by three sites in one process, beside scipy on the pooled rows.

python -m pytest benchmarks/bench_hypotests.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import fedstats as fs
from benchmarks.bench_statistics import ROWS, against_pooled, cuts
from fedstats.results import Result


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    random = np.random.default_rng(0)
    arm = random.choice(["drug", "placebo"], ROWS)
    x = random.normal(size=ROWS) + 0.01 * (arm == "drug")
    return pd.DataFrame(
        {
            "arm": arm,
            "x": x,
            "score": np.round(2 * x),
            "sick": np.where(random.random(ROWS) < 0.1 + 0.01 * (arm == "drug"), "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def parts(table: pd.DataFrame) -> list[pd.DataFrame]:
    return [table.iloc[rows] for rows in np.split(np.arange(ROWS), cuts(ROWS))]


def groups(table: pd.DataFrame, column: str) -> tuple[pd.Series, pd.Series]:
    return table[column][table.arm == "drug"], table[column][table.arm == "placebo"]


@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_t_test(benchmark: Any, table: pd.DataFrame, parts: list[pd.DataFrame], disclose: Any) -> None:
    def program(federation: fs.Federation, data: pd.DataFrame) -> Result:
        return fs.ttest_ind(federation.cohort(data), "x", by="arm", equal_var=False, disclose=disclose)

    def pooled() -> object:
        return stats.ttest_ind(*groups(table, "x"), equal_var=False)

    against_pooled(benchmark, program, parts, "scipy, pooled", pooled)


def test_chi2_contingency(benchmark: Any, table: pd.DataFrame, parts: list[pd.DataFrame]) -> None:
    def program(federation: fs.Federation, data: pd.DataFrame) -> Result:
        return fs.chi2_contingency(federation.cohort(data), "arm", "sick")

    def pooled() -> object:
        return stats.chi2_contingency(pd.crosstab(table.arm, table.sick))

    against_pooled(benchmark, program, parts, "scipy, pooled", pooled)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("column", ["x", "score"], ids=["distinct", "ties"])
def test_mannwhitneyu(benchmark: Any, table: pd.DataFrame, parts: list[pd.DataFrame], column: str) -> None:
    def program(federation: fs.Federation, data: pd.DataFrame) -> Result:
        return fs.mannwhitneyu(federation.cohort(data), column, by="arm")

    def pooled() -> object:
        return stats.mannwhitneyu(*groups(table, column))

    against_pooled(benchmark, program, parts, "scipy, pooled", pooled)
