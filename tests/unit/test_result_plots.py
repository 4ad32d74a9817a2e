"""Plots of results: which terms they show, and where."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from stat_helpers import split

import fedstats as fs

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

TERMS = ["x", "arm[T.b]"]


@pytest.fixture(scope="module")
def results() -> dict[str, fs.results.Result]:
    chance = np.random.default_rng(3)
    frame = pd.DataFrame({"x": chance.normal(size=240), "arm": [*"ab"] * 120})
    mean = 0.5 * frame.x + 0.3 * (frame.arm == "b")
    frame["y"] = mean + chance.normal(size=240)
    frame["count"] = chance.negative_binomial(2, 2 / (2 + np.exp(mean)))
    frame["grade"] = pd.cut(frame.y, [-9, -0.5, 1, 9], labels=[*"lmn"]).astype(str)
    frame["ward"] = np.arange(240) // 3
    frame["time"] = chance.integers(1, 30, 240)
    frame["died"] = chance.integers(0, 2, 240)

    def program(federation: fs.Federation, data: pd.DataFrame) -> dict[str, fs.results.Result]:
        cohort, mode = federation.cohort(data), {"disclose": "aggregate"}
        return {
            "ols": fs.ols("y ~ x + arm", cohort, **mode),
            "ordinal": fs.ordinal("grade ~ x + arm", cohort, **mode),
            "mnlogit": fs.mnlogit("grade ~ x + arm", cohort, **mode),
            "negativebinomial": fs.negativebinomial("count ~ x + arm", cohort, **mode),
            "gee": fs.gee("y ~ x + arm", cohort, groups="ward", **mode),
            "lmm": fs.lmm("y ~ x + arm", cohort, **mode),
            "coxph": fs.coxph("x + arm", cohort, duration="time", event="died", **mode),
            "kmeans": fs.kmeans(cohort, ["x", "y"], 2, **mode),
        }

    parts = split(frame, [60, 80])
    return fs.simulate(program, parts)[0]


def labels(axes: list[object]) -> list[str]:
    return [label.get_text() for label in axes]


@pytest.mark.parametrize("name", ["ols", "ordinal", "negativebinomial", "gee", "lmm", "coxph"])
def test_terms_are_drawn_from_the_top_and_nothing_else(
    results: dict[str, fs.results.Result], name: str
) -> None:
    found = results[name]
    axes = found.plot()
    assert labels(axes.get_yticklabels()) == TERMS[::-1]
    shown = found.params[TERMS]
    if name == "coxph":
        shown = np.exp(shown)
        assert axes.get_xscale() == "log"
    np.testing.assert_allclose(axes.lines[0].get_xdata(), shown[::-1])
    ends = found.conf_int().loc[TERMS[::-1]].to_numpy()
    drawn = [path.vertices[:, 0] for path in axes.collections[0].get_paths()]
    np.testing.assert_allclose(drawn, np.exp(ends) if name == "coxph" else ends)
    assert found.plot(ax=axes) is axes


def test_terms_of_every_level(results: dict[str, fs.results.Result]) -> None:
    shown = labels(results["mnlogit"].plot().get_yticklabels())[::-1]
    assert shown == [f"{level} {term}" for level in "mn" for term in TERMS]


def test_centres_of_clusters(results: dict[str, fs.results.Result]) -> None:
    found = results["kmeans"]
    axes = found.plot()
    assert labels(axes.get_xticklabels()) == ["0", "1"]
    assert labels(axes.get_yticklabels()) == ["x", "y"]
    away = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(away @ found.sizes, 0, atol=1e-9)
    np.testing.assert_allclose(
        away[:, 1] - away[:, 0], (found.centers.loc[1] - found.centers.loc[0]) / found.unit
    )
