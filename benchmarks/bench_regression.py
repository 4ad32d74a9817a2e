"""Regressions by three sites in one process, in both disclosure modes, beside statsmodels on the pooled rows.

python -m pytest benchmarks/bench_regression.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

import fedstats as fs
from benchmarks.bench_statistics import COLUMNS, ROWS, against_pooled, cuts

FORMULA = "{} ~ " + " + ".join(f"x{k}" for k in range(COLUMNS))
FAMILIES = sm.families

MODELS: dict[str, tuple[Callable[..., Any], Callable[[pd.DataFrame], Any]]] = {
    "logistic": (
        lambda cohort, **mode: fs.logit(FORMULA.format("ill"), cohort, **mode),
        lambda table: smf.glm(FORMULA.format("ill"), table, family=FAMILIES.Binomial()).fit(),
    ),
    "poisson": (
        lambda cohort, **mode: fs.poisson(FORMULA.format("visits"), cohort, **mode),
        lambda table: smf.glm(FORMULA.format("visits"), table, family=FAMILIES.Poisson()).fit(),
    ),
    "wls": (
        lambda cohort, **mode: fs.wls(FORMULA.format("y"), cohort, weights="w", **mode),
        lambda table: smf.wls(FORMULA.format("y"), table, weights=table.w).fit(),
    ),
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, COLUMNS))
    eta = x @ random.normal(size=COLUMNS) / 4
    return pd.DataFrame(x, columns=[f"x{k}" for k in range(COLUMNS)]).assign(
        ill=(random.random(ROWS) < 1 / (1 + np.exp(-eta))) * 1,
        visits=random.poisson(np.exp(eta / 2)),
        y=eta + random.normal(size=ROWS),
        w=random.uniform(0.5, 2.0, ROWS),
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("disclose", ["aggregate", "result"])
@pytest.mark.parametrize("model", MODELS)
def test_regression(benchmark: Any, table: pd.DataFrame, model: str, disclose: str) -> None:
    federated, pooled = MODELS[model]
    parts = [table.iloc[rows] for rows in np.split(np.arange(ROWS), cuts(ROWS))]

    def program(federation: fs.Federation, data: pd.DataFrame) -> fs.results.Result:
        return federated(federation.cohort(data), disclose=disclose)

    against_pooled(benchmark, program, parts, "statsmodels, pooled", lambda: pooled(table).bse)
