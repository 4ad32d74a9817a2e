"""Bad input of hypothesis tests, at one site or at all: typed errors with remedies; all stop together."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from stat_helpers import Program, refused, split

import fedstats as fs


def base(rows: int = 90) -> pd.DataFrame:
    chance = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "x": chance.normal(size=rows) + 5,
            "arm": chance.choice(["a", "b", "c"], rows),
            "sick": chance.random(rows) < 0.5,
            "visit": pd.date_range("2020-01-01", periods=rows),
        }
    ).assign(const=0.1, one="level", blank=np.nan, half=np.arange(rows) // 2)


def on(test: Any, *arguments: Any, **options: Any) -> Program:
    return lambda cohort: test(cohort, *arguments, **options)


AB = ["a", "b"]


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (on(fs.ttest_ind, "y", by="arm"), fs.DataError, "no site has a column 'y'"),
        (on(fs.ttest_ind, "x", by="arm"), fs.DataError, "exactly 2 groups; 'arm' makes 3: .* groups="),
        (on(fs.ttest_ind, "x", by="arm", groups="ab"), fs.DataError, "groups is a list of levels"),
        (on(fs.ttest_ind, "x", by="arm", groups=["a", "z"]), fs.DataError, "no level 'z'; the levels are"),
        (on(fs.ttest_ind, "x", by="arm", groups=["a", "a"]), fs.DataError, "names a level more than once"),
        (on(fs.ttest_ind, "x", by="x"), fs.DataError, "names of two columns"),
        (on(fs.ttest_ind, "arm", by="sick"), fs.DataError, "'arm' is categorical, a number is needed"),
        (on(fs.ttest_ind, "blank", by="sick"), fs.DataError, "'blank' has no value at any site"),
        (on(fs.ttest_ind, "x", by="blank"), fs.DataError, "makes no groups"),
        (on(fs.ttest_ind, "x", by="visit"), fs.DataError, "'visit' is datetime"),
        (on(fs.ttest_ind, "x", by="one"), fs.DataError, "'one' makes 1"),
        (on(fs.ttest_ind, "const", by="sick"), fs.EstimationError, "do not vary within the groups"),
        (on(fs.ttest_ind, "x", by="sick", alternative="more"), fs.DataError, "alternative must be one of"),
        (on(fs.ttest_ind, "x", by="sick", equal_var=1), fs.DataError, "equal_var must be True or False"),
        (on(fs.ttest_1samp, "x", popmean=np.nan), fs.DataError, "popmean must be a finite number"),
        (on(fs.ttest_rel, "x", "x"), fs.DataError, "'x' is compared with itself"),
        (on(fs.f_oneway, "const", by="arm"), fs.EstimationError, "do not vary within the groups"),
        (on(fs.anova_welch, "const", by="arm"), fs.EstimationError, "do not vary within the groups"),
        (on(fs.mannwhitneyu, "const", by="sick"), fs.EstimationError, "all values are equal"),
        (
            on(fs.mannwhitneyu, "const", by="sick", method="exact"),
            fs.EstimationError,
            "exact distribution of U is for distinct",
        ),
        (on(fs.mannwhitneyu, "x", by="sick", method="best"), fs.DataError, "method must be one of"),
        (on(fs.kruskal, "const", by="arm"), fs.EstimationError, "all values are equal"),
        (on(fs.wilcoxon, "const", method="exact"), fs.EstimationError, "some differences are equal or 0"),
        (on(fs.wilcoxon, "x", zero_method="drop"), fs.DataError, "zero_method must be one of"),
        (on(fs.kendalltau, "x", "x"), fs.DataError, "'x' is compared with itself"),
        (on(fs.kendalltau, "x", "y"), fs.DataError, "no site has a column 'y'"),
        (on(fs.kendalltau, "x", "arm"), fs.DataError, "'arm' is categorical, a number is needed"),
        (on(fs.kendalltau, "x", "blank"), fs.DataError, "'blank' has no value at any site"),
        (on(fs.kendalltau, "x", "half", variant="a"), fs.DataError, "variant must be one of 'b', 'c'"),
        (on(fs.kendalltau, "x", "const", variant="c"), fs.EstimationError, "all values of 'const' are equal"),
        (on(fs.kendalltau, "half", "x", method="exact"), fs.EstimationError, "some values are equal"),
        (on(fs.chi2_contingency, "arm", "arm"), fs.DataError, "names a column more than once"),
        (on(fs.chi2_contingency, "arm", "one"), fs.DataError, "'one' has 1 level over all sites"),
        (on(fs.chi2_contingency, "arm", "x"), fs.DataError, "'x' has .* levels in .* rows of this site"),
        (
            on(fs.odds_ratio, "sick", event="ill", by="arm", groups=AB),
            fs.DataError,
            "'sick' has no level 'ill'; the levels are 'False', 'True'",
        ),
        (on(fs.odds_ratio, "sick", event=True, by="arm"), fs.DataError, "two groups are compared"),
        (on(fs.binomtest, "sick", event=True, p=1.5), fs.DataError, "p must be between 0 and 1"),
        (on(fs.mcnemar, "sick", "arm", event="a"), fs.DataError, "'sick' has no level 'a'"),
        (lambda c: fs.anova("x ~ 0 + arm", c), fs.DataError, "has no intercept"),
        (lambda c: fs.anova("x ~ 1", c), fs.DataError, "has no terms"),
        (lambda c: fs.anova("x ~ arm", c, typ=4), fs.DataError, "typ must be one of 1, 2, 3"),
    ],
)
def test_at_all_sites(program: Program, error: type[fs.FedStatsError], message: str) -> None:
    errors = refused(program, split(base(), [20, 40]))
    assert [type(e) for e in errors] == [error] * 3
    with pytest.raises(error, match=message):
        raise errors[1]


@pytest.mark.parametrize("test", [fs.ttest_ind, fs.mannwhitneyu, partial(fs.ttest_ind, disclose="aggregate")])
@pytest.mark.parametrize(
    ("x", "message"),
    [(np.inf, "'x' has 1 values that are infinite"), (1e300, "'x' has 1 values that are infinite or beyond")],
)
def test_at_one_site(test: Any, x: float, message: str) -> None:
    parts = split(base(), [10, 40])
    parts[1].iloc[3, 0] = x
    errors = refused(on(test, "x", by="sick"), parts)
    assert [type(e) for e in errors] == [fs.RemoteError, fs.DataError, fs.RemoteError]
    with pytest.raises(fs.DataError, match=message):
        raise errors[1]


def test_sites_without_rows_or_values() -> None:
    frame = base().sort_values("sick")
    parts = [frame.iloc[:0], frame.iloc[:3].assign(x=np.nan), frame.iloc[3:30], frame.iloc[30:]]

    def run(federation: fs.Federation, data: pd.DataFrame) -> list[float]:
        cohort = federation.cohort(data)
        return [
            fs.ttest_ind(cohort, "x", by="sick").statistic,
            fs.ttest_ind(cohort, "x", by="sick", disclose="aggregate").statistic,
            fs.mannwhitneyu(cohort, "x", by="sick").pvalue,
        ]

    rows = frame.iloc[3:]
    groups = rows.x[~rows.sick], rows.x[rows.sick]
    expected = [stats.ttest_ind(*groups).statistic] * 2 + [stats.mannwhitneyu(*groups).pvalue]
    for found in fs.simulate(run, parts):
        np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_sites_that_ask_for_different_tests() -> None:
    def run(federation: fs.Federation, data: pd.DataFrame) -> str:
        cohort = federation.cohort(data)
        with pytest.raises(fs.DataError) as caught:
            fs.ttest_ind(cohort, "x", by="sick", equal_var=federation.site != "site2")
        return str(caught.value)

    for message in fs.simulate(run, split(base(), [20, 40])):
        assert "ask for different analyses" in message
