"""Models and their evaluation by three sites in one process, beside the same on the pooled rows.

python -m pytest benchmarks/bench_models.py
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from sklearn.linear_model import LassoCV, RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fedstats as fs
from benchmarks.bench_statistics import against_pooled, cuts
from fedstats.results import Result

ROWS = 100_000
COLUMNS = 20
RANKED = 10_000

Mode = Literal["aggregate", "result"]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Return correlated columns, half of which tell of the response."""
    random = np.random.default_rng(0)
    X = random.normal(size=(ROWS, COLUMNS)) + random.normal(size=(ROWS, 1))
    frame = pd.DataFrame(X, columns=[f"x{k}" for k in range(COLUMNS)])
    y = X[:, ::2] @ random.normal(size=COLUMNS // 2) + 3 * random.normal(size=ROWS)
    return frame.assign(y=y, case=(y > 4).astype(int))


@pytest.fixture(scope="module")
def parts(table: pd.DataFrame) -> list[pd.DataFrame]:
    return [table.iloc[rows] for rows in np.split(np.arange(ROWS), cuts(ROWS))]


FORMULA = "y ~ " + " + ".join(f"x{k}" for k in range(COLUMNS))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_lasso_cv(benchmark: Any, table: pd.DataFrame, parts: list[pd.DataFrame], disclose: Mode) -> None:
    """Five folds, 50 alphas."""

    def pooled() -> object:
        model = make_pipeline(StandardScaler(), LassoCV(alphas=50, cv=5))
        return model.fit(table.iloc[:, :COLUMNS], table["y"])

    def program(federation: fs.Federation, data: pd.DataFrame) -> Result:
        return fs.lasso(FORMULA, federation.cohort(data), disclose=disclose)

    against_pooled(benchmark, program, parts, "scikit-learn, pooled", pooled)


@pytest.mark.timeout(600)
def test_ridge_cv(benchmark: Any, table: pd.DataFrame, parts: list[pd.DataFrame]) -> None:
    """Each site left out in turn, 50 alphas; the peer leaves out single rows, which has a closed form."""

    def pooled() -> object:
        model = make_pipeline(StandardScaler(), RidgeCV(np.geomspace(1e-3, 10, 50) * ROWS))
        return model.fit(table.iloc[:, :COLUMNS], table["y"])

    def program(federation: fs.Federation, data: pd.DataFrame) -> Result:
        return fs.ridge(FORMULA, federation.cohort(data), cv="sites")

    against_pooled(benchmark, program, parts, "scikit-learn, pooled", pooled)


@pytest.mark.timeout(600)
def test_roc(benchmark: Any, table: pd.DataFrame) -> None:
    """Ranks of 10,000 rows."""
    few = table[:RANKED]

    def program(federation: fs.Federation, data: pd.DataFrame) -> Result:
        return fs.roc(federation.cohort(data), score="x0", outcome="case")

    shares = [few.iloc[rows] for rows in np.split(np.arange(RANKED), cuts(RANKED))]
    against_pooled(
        benchmark, program, shares, "scikit-learn, pooled", lambda: roc_auc_score(few["case"], few["x0"])
    )


@pytest.mark.timeout(600)
def test_quantreg(benchmark: Any, table: pd.DataFrame, parts: list[pd.DataFrame]) -> None:
    """The median, by five columns."""
    formula = "y ~ x0 + x1 + x2 + x3 + x4"

    def program(federation: fs.Federation, data: pd.DataFrame) -> Result:
        return fs.quantreg(formula, federation.cohort(data))

    against_pooled(
        benchmark, program, parts, "statsmodels, pooled", lambda: smf.quantreg(formula, table).fit().params
    )
