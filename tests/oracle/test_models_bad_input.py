"""Bad input to penalised and quantile regression, GEE and evaluations: typed errors, and all sites stop."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from stat_helpers import Program, refused, split

import fedstats as fs

ROWS = 90


def base() -> pd.DataFrame:
    chance = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "y": chance.normal(size=ROWS),
            "x": chance.normal(size=ROWS) + 5,
            "arm": chance.choice(["a", "b", "c"], ROWS),
            "sick": chance.random(ROWS) < 0.5,
            "risk": chance.uniform(0.1, 0.9, ROWS),
            "visit": pd.date_range("2020-01-01", periods=ROWS),
            "patient": np.arange(ROWS) // 3,
        }
    )
    return frame.assign(
        const=0.1, one="level", blank=np.nan, rare=np.arange(ROWS) < 3, all=1, twice=2 * frame.x
    )


def net(formula: str = "y ~ x", **options: object) -> Program:
    return lambda c: fs.elastic_net(formula, c, **{"disclose": "aggregate", **options})


def gee(formula: str = "y ~ x", **options: object) -> Program:
    return lambda c: fs.gee(formula, c, **{"groups": "patient", "disclose": "aggregate", **options})


def quantreg(formula: str = "y ~ x", **options: object) -> Program:
    return lambda c: fs.quantreg(formula, c, **options)


def scored(function: object, **options: object) -> Program:
    return lambda c: function(c, **{"score": "risk", "outcome": "sick", **options})


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (net("y ~ xx"), fs.DataError, "did you mean 'x'"),
        (net("y ~ 0 + x"), fs.DataError, "has an intercept and terms"),
        (net("y ~ 1"), fs.DataError, "has an intercept and terms"),
        (net("y ~ const"), fs.EstimationError, "'const' has the same value in all rows"),
        (net("const ~ x"), fs.EstimationError, "'const' has the same value in all rows"),
        (net("y ~ one"), fs.DataError, "column 'one' has 1 level"),
        (net("y ~ blank"), fs.DataError, "no value at any site"),
        (net("y ~ visit"), fs.DataError, "'visit' is datetime"),
        (net(l1_ratio=1.5), fs.DataError, "l1_ratio lies between 0"),
        (net(alpha=0.0), fs.DataError, "alphas are positive"),
        (net(alphas=[]), fs.DataError, "alphas is empty"),
        (net(alphas=[1.0, 1.0]), fs.DataError, "more than once"),
        (net(alpha=1.0, alphas=[1.0]), fs.DataError, "not both"),
        (net(n_alphas=1), fs.DataError, "n_alphas is two at least"),
        (net(rule="best"), fs.DataError, "rule must be one of min, 1se"),
        (net(cv=1), fs.DataError, "cv is a number of folds"),
        (net(cv="sites"), fs.DataError, "each site's: use disclose='result'"),
        (net(cv=20), fs.EstimationError, "too few for 20 folds of at least 5 rows"),
        (net(family="poisson"), fs.DataError, "family must be one of gaussian, binomial"),
        (net("y ~ x", family="binomial"), fs.DataError, "values other than 0 and 1"),
        (net("all ~ x", family="binomial"), fs.EstimationError, "the same value in all rows of all sites"),
        (
            net("y ~ x + twice", alpha=1e-14, l1_ratio=1.0),
            fs.EstimationError,
            "columns depend on one another",
        ),
        (
            net("all ~ x", family="binomial", disclose="result"),
            fs.EstimationError,
            "the outcome has the same value in all rows",
        ),
        (gee(groups="patients"), fs.DataError, "did you mean 'patient'"),
        (gee(groups="visit"), fs.DataError, "'visit' is datetime"),
        (gee(family="beta"), fs.DataError, "no family 'beta'; the families are gaussian, binomial, poisson"),
        (gee(link="logistic"), fs.DataError, "no link 'logistic'"),
        (gee(cov_struct="ar"), fs.DataError, "cov_struct must be one of independence, exchangeable"),
        (gee(family="poisson"), fs.DataError, "the response 'y' is not 0 or more"),
        (gee("y ~ 1"), fs.DataError, "has an intercept and terms"),
        (gee("y ~ x + twice"), fs.EstimationError, "combination"),
        (gee("y ~ x + arm", groups="one"), fs.EstimationError, "3 clusters over all sites"),
        (gee(groups="y", cov_struct="exchangeable"), fs.EstimationError, "0 pairs of rows within clusters"),
        (quantreg(q=1.0), fs.DataError, "q is a number between 0 and 1"),
        (quantreg(q=0.999), fs.EstimationError, "too few for standard errors of the quantile 0.999"),
        (quantreg("y ~ 0 + x"), fs.DataError, "has an intercept and terms"),
        (quantreg("y ~ x + twice"), fs.EstimationError, "combination"),
        (quantreg(disclose="aggregate"), fs.DisclosureError, "it offers 'result'"),
        (scored(fs.roc, outcome="x"), fs.DataError, "outcome 'x' is not 0 or 1"),
        (scored(fs.roc, outcome="arm"), fs.DataError, "'arm' is categorical, a number is needed"),
        (scored(fs.roc, outcome="rare"), fs.PolicyError, "fewer than 5 rows"),
        (scored(fs.roc, outcome="all"), fs.PolicyError, "fewer than 5 rows"),
        (scored(fs.roc, outcome="blank"), fs.PolicyError, "fewer than 5 rows"),
        (scored(fs.roc, score="scor"), fs.DataError, "no site has a column 'scor'"),
        (scored(fs.roc, score=[0.5, 0.5]), fs.DataError, "2 scores for"),
        (scored(fs.roc, score=["much", "little"]), fs.DataError, "score is a column's name, or numbers"),
        (scored(fs.roc, points=0), fs.DataError, "points is a number"),
        (scored(fs.roc, disclose="aggregate"), fs.DisclosureError, "it offers 'result'"),
        (scored(fs.operating_points, thresholds=[0.1, 0.1]), fs.DataError, "different finite numbers"),
        (scored(fs.operating_points, thresholds="a"), fs.DataError, "thresholds are numbers"),
        (scored(fs.operating_points, thresholds=[]), fs.DataError, "different finite numbers"),
        (scored(fs.operating_points, thresholds=[0.5], outcome="rare"), fs.PolicyError, "fewer than 5"),
        (scored(fs.brier, score="x"), fs.DataError, "no probabilities between 0 and 1"),
        (
            scored(fs.calibration, score="all"),
            fs.DataError,
            "no probabilities between 0 and 1, both excluded",
        ),
        (scored(fs.calibration, groups=1), fs.DataError, "groups is a number"),
        (scored(fs.calibration, groups=40), fs.PolicyError, "use fewer groups"),
        (scored(fs.calibration, edges=[0.5, 1.5]), fs.DataError, "edges are distinct probabilities"),
        (scored(fs.calibration, edges=[0.13]), fs.PolicyError, "groups of scores have fewer than 5 rows"),
    ],
)
def test_at_all_sites(program: Program, error: type[fs.FedStatsError], message: str) -> None:
    errors = refused(program, split(base(), [20, 40]))
    assert [type(e) for e in errors] == [error] * 3
    with pytest.raises(error, match=message):
        raise errors[1]


@pytest.mark.parametrize(
    ("program", "change", "message"),
    [
        (net(), {"x": np.inf}, "'x' has 3 values that are infinite"),
        (net("sick ~ x", family="binomial"), {"sick": 2.0}, "values other than 0 and 1"),
        (quantreg(), {"y": -np.inf}, "'y' has 3 values that are infinite"),
        (gee("sick ~ x", family="binomial"), {"sick": 3.0}, "not between 0 and 1 in 3 rows"),
        (scored(fs.roc), {"risk": np.inf}, "'risk' has 3 values that are infinite"),
        (scored(fs.brier), {"risk": 1.5}, "scores of 3 rows of this site are no probabilities"),
        (scored(fs.calibration), {"sick": 2.0}, "'sick' is not 0 or 1 in 3 rows"),
    ],
)
def test_at_one_site(program: Program, change: dict[str, float], message: str) -> None:
    parts = split(base().astype({"sick": float}), [20, 40])
    bad = np.arange(len(parts[1])) < 3
    [(name, value)] = change.items()
    parts[1] = parts[1].assign(**{name: parts[1][name].where(~bad, value)})
    errors = refused(program, parts)
    assert [type(e) for e in errors] == [fs.RemoteError, fs.DataError, fs.RemoteError]
    with pytest.raises(fs.DataError, match=message):
        raise errors[1]


def test_sites_that_ask_for_different_things_stop() -> None:
    def run(federation: fs.Federation, rows: pd.DataFrame) -> fs.FedStatsError:
        with pytest.raises(fs.DataError, match="ask for different analyses") as caught:
            fs.brier(federation.cohort(rows), score="risk", outcome="sick" if len(rows) == 20 else "all")
        return caught.value

    assert len(fs.simulate(run, split(base(), [20, 40]))) == 3


def test_a_site_without_rows_and_one_without_values() -> None:
    frame = base().astype({"sick": float})
    parts = [frame.iloc[:0], frame.iloc[:40], frame.iloc[40:].assign(x=np.nan), frame.iloc[40:]]
    used = frame.rename(columns={"sick": "case"})
    run = partial(fs.elastic_net, "y ~ x", alpha=0.1, disclose="aggregate")
    found = fs.simulate(lambda fed, rows: run(fed.cohort(rows)), parts)[0]
    assert found.nobs == len(used)
    whole = fs.simulate(lambda fed, rows: run(fed.cohort(rows)), split(frame, [30, 30]))[0]
    np.testing.assert_allclose(found.params, whole.params, rtol=1e-12)
    marginal = fs.simulate(
        lambda fed, rows: fs.gee("y ~ x", fed.cohort(rows), groups="patient", disclose="aggregate"), parts
    )[0]
    assert (marginal.nobs, marginal.n_missing) == (90, 50)
    error = fs.simulate(lambda fed, rows: fs.brier(fed.cohort(rows), score="risk", outcome="sick"), parts)[0]
    assert error.nobs == 140
