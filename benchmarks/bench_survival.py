"""Survival, mixed models and components by three sites in one process, beside the same on the pooled rows.

python -m pytest benchmarks/bench_survival.py

The peer of the proportional hazards model is lifelines (`pip install lifelines`, which needs pandas 2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

import fedstats as fs
from benchmarks.bench_statistics import against_pooled, cuts

ROWS, COLUMNS = 100_000, 20
CLUSTERS = 2_000


def dealt(table: pd.DataFrame) -> list[pd.DataFrame]:
    return [table.iloc[rows] for rows in np.split(np.arange(len(table)), cuts(len(table)))]


@pytest.fixture(scope="module")
def times() -> pd.DataFrame:
    """Rows with 60 % events on 700 days."""
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, COLUMNS))
    dying = random.exponential(300 * np.exp(-0.2 * x @ random.normal(size=COLUMNS)))
    leaving = random.uniform(0, 700, ROWS)
    frame = pd.DataFrame(x, columns=[f"x{k}" for k in range(COLUMNS)])
    time = np.clip(np.ceil(np.minimum(dying, leaving)), 1, 1000)
    return frame.assign(time=time, event=(dying <= leaving).astype(int), arm=np.where(x[:, 0] > 0, "a", "b"))


@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore")  # lifelines'
@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_coxph(benchmark: Any, times: pd.DataFrame, disclose: Any) -> None:
    lifelines = pytest.importorskip("lifelines")
    formula = " + ".join(f"x{k}" for k in range(COLUMNS))
    table = times.drop(columns="arm")

    def program(federation: fs.Federation, data: pd.DataFrame) -> fs.CoxResult:
        return fs.coxph(formula, federation.cohort(data), duration="time", event="event", disclose=disclose)

    def pooled() -> object:
        return lifelines.CoxPHFitter().fit(table, "time", "event").summary

    against_pooled(benchmark, program, dealt(table), "lifelines, pooled", pooled)


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
def test_concordance(benchmark: Any, times: pd.DataFrame) -> None:
    lifelines = pytest.importorskip("lifelines")
    table = times[:10_000]

    def program(federation: fs.Federation, data: pd.DataFrame) -> fs.ConcordanceResult:
        return fs.concordance(federation.cohort(data), duration="time", event="event", score="x0")

    def pooled() -> object:
        return lifelines.utils.concordance_index(table["time"], -table["x0"], table["event"])

    against_pooled(benchmark, program, dealt(table), "lifelines, pooled", pooled)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_curves_and_logrank(benchmark: Any, times: pd.DataFrame, disclose: Any) -> None:
    def program(federation: fs.Federation, data: pd.DataFrame) -> fs.LogRankResult:
        cohort = federation.cohort(data)
        options = {"duration": "time", "event": "event", "by": "arm", "disclose": disclose}
        curves = fs.kaplan_meier(cohort, **options)
        test = fs.logrank(cohort, **options)
        object.__setattr__(test, "cost", curves.cost + test.cost)
        return test

    def pooled() -> object:
        arms = [SurvfuncRight(part.time, part.event) for _, part in times.groupby("arm")]
        return arms, survdiff(times["time"], times["event"], times["arm"])

    against_pooled(benchmark, program, dealt(times[["time", "event", "arm"]]), "statsmodels, pooled", pooled)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_lmm(benchmark: Any, disclose: Any) -> None:
    random = np.random.default_rng(1)
    ward = np.repeat(np.arange(CLUSTERS), 10)
    x = random.normal(size=(len(ward), 3))
    effects = random.normal(size=(CLUSTERS, 2)) * [1.0, 0.5]
    y = x @ [1.0, -0.5, 0.2] + effects[ward, 0] + effects[ward, 1] * x[:, 0] + random.normal(size=len(ward))
    table = pd.DataFrame(x, columns=["x0", "x1", "x2"]).assign(y=y, ward=ward)
    sites = np.split(np.arange(CLUSTERS), cuts(CLUSTERS))
    parts = [table[table.ward.isin(site)] for site in sites]

    def program(federation: fs.Federation, data: pd.DataFrame) -> fs.LMMResult:
        cohort = federation.cohort(data)
        return fs.lmm("y ~ x0 + x1 + x2", cohort, groups="ward", slopes=["x0"], disclose=disclose)

    def pooled() -> object:
        return smf.mixedlm("y ~ x0 + x1 + x2", table, groups=table.ward, re_formula="~x0").fit().bse

    against_pooled(benchmark, program, parts, "statsmodels, pooled", pooled)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_pca(benchmark: Any, disclose: Any) -> None:
    random = np.random.default_rng(2)
    x = random.normal(size=(ROWS, 4)) @ random.normal(size=(4, 100)) + random.normal(size=(ROWS, 100))
    table = pd.DataFrame(x, columns=[f"x{k}" for k in range(100)])

    def program(federation: fs.Federation, data: pd.DataFrame) -> fs.PCAResult:
        return fs.pca(federation.cohort(data), list(table.columns), 2, disclose=disclose)

    against_pooled(
        benchmark,
        program,
        dealt(table),
        "NumPy, pooled",
        lambda: np.linalg.eigh(np.corrcoef(x, rowvar=False)),
    )
