"""Quantiles and Table 1 of 100,000 rows by three sites in one process, beside the same on the pooled rows.

python -m pytest benchmarks/bench_describe.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedstats as fs
from benchmarks.bench_statistics import ROWS, against_pooled, cuts

NUMBERS, SKEWED, CATEGORIES = 8, 4, 8


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Twenty variables: normal ones, skewed ones, categories; and the arms of a trial."""
    random = np.random.default_rng(0)
    columns = {f"x{k}": random.normal(50, 10, ROWS) for k in range(NUMBERS)}
    columns |= {f"skewed{k}": random.lognormal(size=ROWS).round(3) for k in range(SKEWED)}
    columns |= {f"level{k}": random.choice([*"abcde"][: k % 4 + 2], ROWS) for k in range(CATEGORIES)}
    return pd.DataFrame(columns).assign(arm=random.choice(["drug", "placebo"], ROWS))


@pytest.fixture(scope="module")
def parts(table: pd.DataFrame) -> list[pd.DataFrame]:
    return [table.iloc[rows] for rows in np.split(np.arange(ROWS), cuts(ROWS))]


@pytest.mark.parametrize("columns", [1, 8])
def test_median(benchmark: Any, table: pd.DataFrame, parts: list[pd.DataFrame], columns: int) -> None:
    names = [f"x{k}" for k in range(columns)]
    against_pooled(
        benchmark,
        lambda fed, data: fs.median(fed.cohort(data), names),
        parts,
        "pandas, pooled",
        lambda: table[names].median(),
    )


def test_table1(benchmark: Any, table: pd.DataFrame, parts: list[pd.DataFrame]) -> None:
    """The peer describes the same columns by group."""
    skewed = [f"skewed{k}" for k in range(SKEWED)]
    levels = [f"level{k}" for k in range(CATEGORIES)]

    def pooled() -> object:
        numbers = table.drop(columns=levels).groupby("arm")
        described = numbers.agg(["count", "mean", "std"]), numbers[skewed].quantile([0.25, 0.5, 0.75])
        return described, [pd.crosstab(table[name], table["arm"], margins=True) for name in levels]

    against_pooled(
        benchmark,
        lambda fed, data: fs.table1(fed.cohort(data), by="arm", nonnormal=skewed),
        parts,
        "pandas, pooled",
        pooled,
    )
