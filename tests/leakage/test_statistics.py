"""What describe and ols reveal is what they declare, and no row is in what they show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from stat_helpers import split

import fedstats as fs
from fedstats.cohort import DECLARATION as COHORT
from fedstats.describe import DECLARATION as DESCRIBE
from fedstats.design import AGGREGATE as TRANSFORMS
from fedstats.disclosure import Declaration
from fedstats.regression.ols import DECLARATION as OLS
from fedstats.regression.ols import ROBUST_DECLARATION as ROBUST

ROWS = 60


def frame() -> pd.DataFrame:
    chance = np.random.default_rng(11)
    x = np.round(chance.uniform(1e5, 9e5, ROWS), 4)
    return pd.DataFrame(
        {"x": x, "y": np.round(chance.uniform(1e5, 9e5, ROWS), 4), "arm": [*"ab"] * (ROWS // 2)}
    )


def labels(declaration: Declaration) -> set[str]:
    return {*declaration.aggregate, *declaration.published}


@pytest.mark.parametrize(
    ("program", "declared"),
    [
        (lambda c: fs.describe(c), labels(DESCRIBE)),
        (lambda c: fs.describe(c, by="arm"), labels(DESCRIBE)),
        (lambda c: fs.ols("y ~ center(x) + arm", c), labels(OLS)),
        (lambda c: fs.ols("y ~ center(x) + arm", c, cov_type="HC3"), labels(ROBUST)),
        (lambda c: fs.ols("y ~ x + arm", c), labels(OLS) - {*TRANSFORMS, "transforms"}),
    ],
)
def test_recorded_reveals_are_the_declared_ones(program, declared: set[str]) -> None:
    def run(federation: fs.Federation, data: pd.DataFrame) -> fs.disclosure.Leakage:
        leakage = program(federation.cohort(data)).leakage
        assert federation.leakage.labels == leakage.labels | COHORT.published.keys()
        return leakage

    for leakage in fs.simulate(run, split(frame(), [5, 20])):
        assert leakage.labels == declared


def test_number_of_values_revealed_is_what_the_docstring_says() -> None:
    run = lambda fed, data: fs.ols("y ~ x + arm", fed.cohort(data)).leakage  # noqa: E731
    leakage = fs.simulate(run, split(frame(), [5, 20]))[0]
    reveals = {reveal.label: reveal.size for reveal in leakage if reveal.kind == "pooled"}
    p, k = 3, 1
    assert reveals == {
        "column sums": 2 + 2 * p + 2 * k,
        "cross-products": p * (p + 1) // 2,
        "orthonormal products": p * (p + 1) // 2 + p + p * k + 2 * k,
        "residuals": 1 + p,
    }


def test_no_row_in_what_is_shown() -> None:
    def run(federation: fs.Federation, data: pd.DataFrame) -> str:
        cohort = federation.cohort(data)
        fit = fs.ols("y ~ x + arm", cohort, cov_type="HC1")
        shown = [cohort, fit, fs.describe(cohort), fit.leakage, fit.coding, federation]
        return "\n".join(repr(thing) for thing in shown) + fit._repr_html_()

    data = frame()
    for text in fs.simulate(run, split(data, [5, 20])):
        assert not [value for value in data[["x", "y"]].to_numpy().ravel() if f"{value:.6g}"[:6] in text]


def test_declared_levels_are_not_told() -> None:
    told = {}
    for levels in ({}, {"arm": ["a", "b"]}):
        run = lambda fed, data, levels=levels: fs.ols("y ~ arm", fed.cohort(data, levels=levels)).leakage  # noqa: E731
        [formula] = [r for r in fs.simulate(run, split(frame(), [5, 20]))[0] if r.label == "formula"]
        told[len(levels)] = formula.size
    assert told[1] < told[0]


def test_traffic_is_what_the_docstring_says() -> None:
    run = lambda fed, data: fs.ols("y ~ x + arm", fed.cohort(data)).cost  # noqa: E731
    cost = fs.simulate(run, split(frame(), [5, 20]))[0]
    p = 3
    assert cost.rounds == 10
    assert cost.bytes_sent < 300 * (p**2 + 6 * p + 7)
