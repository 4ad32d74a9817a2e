"""What survival analyses reveal is what they declare, and how much of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from stat_helpers import split

import fedstats as fs
from fedstats import design
from fedstats.cohort import DECLARATION as COHORT
from fedstats.disclosure import Declaration
from fedstats.survival import aalen_johansen, kaplan_meier, logrank, nelson_aalen, rmst
from fedstats.survival.coxph import declaration

TIMES = {"duration": "time", "event": "status"}


def frame(rows: int = 80) -> pd.DataFrame:
    chance = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "time": chance.integers(1, 30, rows),
            "status": chance.integers(0, 2, rows),
            "cause": chance.integers(0, 3, rows),
            "patient": np.arange(rows),
            "arm": [*"ab"] * (rows // 2),
            "x": np.round(chance.uniform(1e5, 9e5, rows), 4),
        }
    )


def module(function) -> Declaration:
    return __import__(function.__module__, fromlist=["DECLARATION"]).DECLARATION


def cases() -> list[object]:
    return [*_cases()]


def _cases():
    for mode in ("aggregate", "result"):
        for function, options in (
            (kaplan_meier, {"by": "arm", **TIMES}),
            (nelson_aalen, {"by": "arm", **TIMES}),
            (aalen_johansen, {"by": "arm", "duration": "time", "event": "cause"}),
            (rmst, {"by": "arm", "tau": 20, **TIMES}),
            (logrank, {"by": "arm", **TIMES}),
        ):
            yield pytest.param(function, options, module(function), mode, id=f"{function.__name__} {mode}")


@pytest.mark.parametrize(("function", "options", "declared", "mode"), cases())
def test_recorded_reveals_are_the_declared_ones(function, options, declared: Declaration, mode: str) -> None:
    def run(federation: fs.Federation, data: pd.DataFrame) -> fs.disclosure.Leakage:
        leakage = function(federation.cohort(data), disclose=mode, **options).leakage
        assert federation.leakage.labels == leakage.labels | COHORT.published.keys()
        return leakage

    for leakage in fs.simulate(run, split(frame(), [5, 20])):
        assert leakage.labels == {*declared.opened(mode), *declared.published}


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("result", {}),
        ("result", {"ph_test": "rank"}),
        ("result", {"ph_test": "km"}),
        ("aggregate", {"ph_test": "km"}),
        ("result", {"concordance": True, "times": [5, 10, 15]}),
        ("result", {"robust": True}),
        ("result", {"cluster": "patient", "robust": True}),
        ("aggregate", {"cluster": "patient", "robust": True}),
        ("aggregate", {"ph_test": "rank", "robust": True}),
        ("aggregate", {"concordance": True}),
    ],
)
def test_proportional_hazards(mode: str, options: dict[str, object]) -> None:
    def run(federation: fs.Federation, data: pd.DataFrame) -> fs.CoxResult:
        return fs.coxph("center(x) + arm", federation.cohort(data), disclose=mode, **TIMES, **options)

    declared = declaration(
        robust="robust" in options,
        tested="ph_test" in options,
        by_km=options.get("ph_test") == "km",
        concordance="concordance" in options,
        baseline="times" in options,
        clusters="cluster" in options,
        residuals="cluster" in options and mode == "result",
    )
    [first, *_] = fs.simulate(run, split(frame(), [5, 20]))
    assert first.leakage.labels == {*declared.opened(mode), *declared.published}
    assert {*design.AGGREGATE} < first.leakage.labels
    sizes = {reveal.label: reveal.size for reveal in first.leakage}
    if mode == "result":
        assert sizes["steps"] == 2 * first.steps
        assert (sizes["variances"], sizes["log-likelihood"]) == (2, 2)
        assert "risk sets" not in sizes
        assert ("at risk" in sizes) == ("times" in options)
        if "times" in options:
            assert (sizes["baseline"], sizes["at risk"]) == (3, 3)
    if "cluster" in options:
        assert (sizes["clusters"], sizes["crossing clusters"]) == (1, 1)
    if "concordance" in options:
        assert sizes["concordance"] == 2


def test_nothing_but_the_statistic_is_opened_by_a_log_rank_test() -> None:
    run = lambda fed, data: fs.logrank(fed.cohort(data), by="arm", **TIMES).leakage  # noqa: E731
    [first, *_] = fs.simulate(run, split(frame(), [5, 20]))
    assert [(r.label, r.size) for r in first if r.kind == "result"] == [("comparable", 1), ("statistic", 1)]
    assert [r.label for r in first if r.kind == "pooled"] == ["rows"]


def test_rounds() -> None:
    def run(federation: fs.Federation, data: pd.DataFrame) -> list[int]:
        cohort = federation.cohort(data)
        found = [
            fs.kaplan_meier(cohort, by="arm", disclose=mode, **TIMES) for mode in ("aggregate", "result")
        ] + [fs.logrank(cohort, by="arm", disclose=mode, **TIMES) for mode in ("aggregate", "result")]
        return [result.cost.rounds for result in found]

    for rounds in fs.simulate(run, split(frame(), [5, 20])):
        assert rounds == ROUNDS


#: Kaplan–Meier and log-rank, aggregate and result mode; those on shares grow with the logarithm of the grid.
ROUNDS = [10, 196, 10, 138]
