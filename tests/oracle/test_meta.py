"""Meta-analysis against its formulas in statsmodels and scipy, hidden and released."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

import fedstats as fs

#: Log odds ratios of five trials of the BCG vaccine, and their standard errors.
TRIALS = list(
    zip([-0.8893, -1.5854, -1.3481, -1.4416, -0.2175], [0.5706, 0.4411, 0.6445, 0.1415, 0.2263], strict=True)
)
RTOL = 1e-6


def combined(trials, **options) -> fs.MetaResult:
    results = fs.simulate(lambda fed, own: fs.meta_analysis(fed, *own, **options), trials)
    assert len({result.summary().split("Cost")[0] for result in results}) == 1
    return results[0]


@pytest.mark.parametrize("model", ["fixed", "DL"])
@pytest.mark.parametrize("release", [True, False])
def test_fixed_and_random_effects(model: str, release: bool) -> None:
    trials = TRIALS if release else TRIALS[2:]
    y, se = (np.array(column) for column in zip(*trials, strict=True))
    expected = combine_effects(y, se**2, method_re="dl")
    found = combined(trials, model=model, release=release)
    random = model == "DL"
    rtol = 1e-12 if release else RTOL
    assert found.estimate == pytest.approx(
        expected.mean_effect_re if random else expected.mean_effect_fe, rel=rtol
    )
    assert found.std_err == pytest.approx(expected.sd_eff_w_re if random else expected.sd_eff_w_fe, rel=rtol)
    assert pytest.approx(expected.q, rel=rtol) == found.Q
    assert pytest.approx(max(expected.i2, 0), rel=rtol, abs=1e-9) == found.I2
    assert found.tau2 == pytest.approx(expected.tau2 if random else 0.0, rel=rtol)
    assert found.conf_int() == pytest.approx(
        found.estimate + np.array([-1, 1]) * stats.norm.isf(0.025) * found.std_err
    )
    assert found.leakage.labels == ({"estimates"} if release else {"call", "combined"})


def test_hartung_and_knapp() -> None:
    y, se = (np.array(column) for column in zip(*TRIALS[2:], strict=True))
    expected = combine_effects(y, se**2, method_re="dl", use_t=True)
    for release in (True, False):
        found = combined(TRIALS[2:], model="DL", hartung_knapp=True, release=release)
        assert found.std_err == pytest.approx(expected.sd_eff_w_re_hksj, rel=RTOL)
        assert found.pvalue == pytest.approx(2 * stats.t.sf(abs(found.statistic), 2), rel=1e-12)


def test_restricted_likelihood_is_at_its_largest() -> None:
    found = combined(TRIALS, model="REML", release=True)
    y, se = (np.array(column) for column in zip(*TRIALS, strict=True))

    def loglik(tau2: float) -> float:
        w = 1 / (se**2 + tau2)
        mean = w @ y / w.sum()
        return float(np.log(w).sum() - np.log(w.sum()) - w @ (y - mean) ** 2) / 2

    around = [loglik(found.tau2 * factor) for factor in (0.999, 1, 1.001)]
    assert around[1] == max(around)
    slope = (loglik(found.tau2 + 1e-5) - loglik(found.tau2 - 1e-5)) / 2e-5
    assert slope == pytest.approx(0.0, abs=1e-8)
    assert found.prediction_interval()[0] < found.conf_int()[0]


def test_forest_plot_needs_released_estimates() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    found = combined(TRIALS, model="DL", release=True)
    axes = found.plot()
    assert [text.get_text() for text in axes.get_yticklabels()] == [*found.sites, "combined (DL)"]
    assert found.to_frame()["weight"].iloc[:-1].sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="release=True"):
        combined(TRIALS[2:], model="fixed").plot()


@pytest.mark.parametrize("method", ["fisher", "stouffer"])
def test_combined_pvalues(method: str) -> None:
    pvalues, weights = [0.01, 0.2, 0.3], [3.0, 1.0, 2.0]
    expected = stats.combine_pvalues(pvalues, method, weights if method == "stouffer" else None)
    own = list(zip(pvalues, weights, strict=True))
    [found, *_] = fs.simulate(
        lambda fed, one: fs.combine_pvalues(fed, one[0], method=method, weight=one[1]), own
    )
    assert (found.statistic, found.pvalue) == pytest.approx(expected, rel=1e-12)
    assert found.leakage.labels == {"call", "sums"}


@pytest.mark.parametrize(
    ("own", "options", "message"),
    [
        ((np.nan, 1.0), {}, "estimate is not a finite number"),
        ((1.0, 0.0), {}, "standard error is not a positive"),
        ((1.0, 1.0), {"model": "PM"}, "model must be one of fixed, DL, REML"),
        ((1.0, 1.0), {"model": "REML"}, "needs released estimates"),
        ((1.0, 1.0), {"model": "fixed", "hartung_knapp": True}, "effects that vary"),
    ],
)
def test_bad_input_stops_all_sites(own, options, message: str) -> None:
    def run(federation: fs.Federation, number: int) -> fs.FedStatsError:
        with pytest.raises(fs.FedStatsError) as raised:
            fs.meta_analysis(federation, *(own if number == 1 else (0.5, 1.0)), **options)
        return raised.value

    errors = fs.simulate(run, range(3))
    assert isinstance(errors[1], fs.DataError)
    assert message in str(errors[1])
    assert all(isinstance(error, (fs.DataError, fs.RemoteError)) for error in errors)


def test_two_sites_must_release() -> None:
    def run(federation: fs.Federation, own: tuple[float, float]) -> float:
        with pytest.raises(fs.PolicyError):
            fs.meta_analysis(federation, *own, model="fixed")
        return fs.meta_analysis(federation, *own, model="fixed", release=True).estimate

    assert fs.simulate(run, TRIALS[:2])[0] < 0
