"""What describe and ols reveal is what they declare, and no row is in what they show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from stat_helpers import aggregate, split

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


def labels(declaration: Declaration, disclose: str = "aggregate") -> set[str]:
    return {*declaration.opened(disclose), *declaration.published}


@pytest.mark.parametrize(
    ("program", "declared"),
    [
        (fs.describe, labels(DESCRIBE, "result")),
        (lambda c: fs.describe(c, by="arm"), labels(DESCRIBE, "result")),
        (
            lambda c: fs.ols("y ~ 0 + center(x) + arm", c),
            labels(OLS, "result"),
        ),
        (lambda c: fs.ols("y ~ 0 + center(x) + arm", c, cov_type="HC1"), labels(ROBUST, "result")),
        (
            lambda c: fs.ols("y ~ x + arm", c),
            labels(OLS, "result") - {*TRANSFORMS, "transforms", "constant"},
        ),
        (lambda c: aggregate.describe(c), labels(DESCRIBE)),
        (lambda c: aggregate.describe(c, by="arm"), labels(DESCRIBE)),
        (lambda c: aggregate.ols("y ~ center(x) + arm", c), labels(OLS)),
        (lambda c: aggregate.ols("y ~ center(x) + arm", c, cov_type="HC3"), labels(ROBUST)),
        (lambda c: aggregate.ols("y ~ x + arm", c), labels(OLS) - {*TRANSFORMS, "transforms"}),
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
    run = lambda fed, data: aggregate.ols("y ~ x + arm", fed.cohort(data)).leakage  # noqa: E731
    leakage = fs.simulate(run, split(frame(), [5, 20]))[0]
    reveals = {reveal.label: reveal.size for reveal in leakage if reveal.kind == "pooled"}
    p, k = 3, 1
    assert reveals == {
        "column sums": 2 + 2 * p + 2 * k,
        "cross-products": p * (p + 1) // 2,
        "orthonormal products": p * (p + 1) // 2 + p + p * k + 2 * k,
        "residuals": 1 + p,
    }


def test_number_of_results_revealed() -> None:
    leakage = fs.simulate(
        lambda fed, data: fs.ols("y ~ x + arm", fed.cohort(data)).leakage, split(frame(), [5, 20])
    )
    reveals = {reveal.label: reveal.size for reveal in leakage[0] if reveal.kind != "published"}
    p = 3
    assert reveals == {
        "rows": 2,
        "column units": p,
        "column centres": p,
        "coefficients": p,
        "sums of squares": 2,
        "variances": p,
    }


def test_no_row_in_what_is_shown() -> None:
    def run(federation: fs.Federation, data: pd.DataFrame) -> str:
        cohort = federation.cohort(data)
        fit = aggregate.ols("y ~ x + arm", cohort, cov_type="HC1")
        shown = [cohort, fit, aggregate.describe(cohort), fit.leakage, fit.coding, federation]
        return "\n".join(repr(thing) for thing in shown) + fit._repr_html_()

    data = frame()
    for text in fs.simulate(run, split(data, [5, 20])):
        assert not [value for value in data[["x", "y"]].to_numpy().ravel() if f"{value:.6g}"[:6] in text]


def test_declared_levels_are_not_told() -> None:
    told = {}
    for levels in ({}, {"arm": ["a", "b"]}):

        def run(fed: fs.Federation, data: pd.DataFrame, levels=levels) -> fs.disclosure.Leakage:
            return aggregate.ols("y ~ arm", fed.cohort(data, levels=levels)).leakage

        [formula] = [r for r in fs.simulate(run, split(frame(), [5, 20]))[0] if r.label == "formula"]
        told[len(levels)] = formula.size
    assert told[1] < told[0]


@pytest.mark.parametrize("columns", [1, 4])
def test_rounds_on_shares_do_not_depend_on_the_number_of_columns(columns: int) -> None:
    data = pd.DataFrame(np.random.default_rng(0).normal(size=(60, columns + 1))).add_prefix("x")
    formula = "x0 ~ " + " + ".join(f"x{number + 1}" for number in range(columns))
    run = lambda fed, rows: [fs.describe(fed.cohort(rows)).cost, fs.ols(formula, fed.cohort(rows)).cost]  # noqa: E731
    costs = fs.simulate(run, split(data, [8, 12]))
    assert [cost.rounds for cost in costs[0]] == [146, 149]


@pytest.mark.parametrize("sites", [3, 10])
@pytest.mark.parametrize("columns", [1, 12])
def test_traffic_is_what_the_docstrings_say(sites: int, columns: int) -> None:
    data = pd.DataFrame(np.random.default_rng(0).normal(size=(120, columns + 1))).add_prefix("x")
    data["y"], data["arm"] = data.pop("x0"), np.where(np.arange(120) % 2, "a", "b")
    names, parts = [f"x{number + 1}" for number in range(columns)], split(data, [12] * (sites - 1))
    formula, p = "y ~ " + " + ".join(names), columns + 1
    numbers = p**2 + 6 * p + 7
    expected = {
        (8, 2000 * columns): lambda c: aggregate.describe(c, names),
        (8, 4000 * columns): lambda c: aggregate.describe(c, names, by="arm"),
        (10, 300 * numbers): lambda c: aggregate.ols(formula, c),
        (10, 300 * (numbers + p * (p + 1) // 2 + 1)): lambda c: aggregate.ols(formula, c, cov_type="HC2"),
    }
    for (rounds, volume), run in expected.items():
        for result in fs.simulate(lambda fed, rows, run=run: run(fed.cohort(rows)), parts):
            assert result.cost.rounds == rounds
            assert volume / 4 < result.cost.bytes_sent < volume + 500 * (sites - 1)
