"""Meta-analysis against its formulas in statsmodels and scipy, hidden and released."""

from __future__ import annotations

from fractions import Fraction
from operator import mul

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

import fedstats as fs
from fedstats.meta import ITERATED, RELEASED

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
    assert found.cost.rounds <= (2 if release else 460 if random else 230)


def test_hartung_and_knapp() -> None:
    y, se = (np.array(column) for column in zip(*TRIALS[2:], strict=True))
    expected = combine_effects(y, se**2, method_re="dl", use_t=True)
    for release in (True, False):
        found = combined(TRIALS[2:], model="DL", hartung_knapp=True, release=release)
        assert found.std_err == pytest.approx(expected.sd_eff_w_re_hksj, rel=RTOL)
        assert found.pvalue == pytest.approx(2 * stats.t.sf(abs(found.statistic), 2), rel=1e-12)


@pytest.mark.parametrize(
    ("model", "hartung_knapp", "release", "expected"),
    [
        # r <- rma(yi = y, sei = se, method = m, test = t, control = list(threshold = 1e-14)); p <- predict(r)
        # c(r$beta, r$se, r$tau2, r$QE, r$I2 / 100, r$pval, p$pi.lb, p$pi.ub), metafor 3.8-1
        (
            "REML",
            False,
            True,
            [
                -1.058592175715031,
                0.301073701540303,
                0.298434384432212,
                22.466580738138482,
                0.76512822204272297,
                0.000438007596043,
                -2.281144370534486,
                0.163960019104425,
            ],
        ),
        (
            "REML",
            True,
            True,
            [
                -1.0585921757150,
                0.2697178172126,
                0.2984343844322,
                22.4665807381385,
                0.765128222042723,
                0.0171778615201,
                -2.7501334330964,
                0.6329490816663,
            ],
        ),
        (
            "ML",
            True,
            True,
            [
                -1.0527157078674,
                0.2725753002079,
                0.2271014162643,
                22.4665807381385,
                0.712560063253342,
                0.0181146812764,
                -2.5769782814127,
                0.4715468656778,
            ],
        ),
        # Of the last three.
        (
            "REML",
            False,
            False,
            [
                -0.9586179085010,
                0.4369588312387,
                0.4541837145436,
                21.1812941551296,
                0.878333520759645,
                0.0282468900141,
                -2.5328445030700,
                0.6156086860681,
            ],
        ),
        (
            "ML",
            False,
            False,
            [
                -0.95015584564429,
                0.36055937513105,
                0.28446627390349,
                21.18129415512955,
                0.8188915729114677,
                0.00840810006302,
                -2.21196680222041,
                0.31165511093182,
            ],
        ),
    ],
)
def test_likelihood_against_metafor(
    model: str, hartung_knapp: bool, release: bool, expected: list[float]
) -> None:
    trials = TRIALS if release else TRIALS[2:]
    found = combined(trials, model=model, hartung_knapp=hartung_knapp, release=release)
    numbers = [found.estimate, found.std_err, found.tau2, found.Q, found.I2, found.pvalue]
    rtol = 1e-8 if release else RTOL
    assert [*numbers, *found.prediction_interval()] == pytest.approx(expected, rel=rtol)
    sizes = {reveal.label: reveal.size for reveal in found.leakage}
    if release:
        assert set(sizes) == {*RELEASED.published}
        assert found.cost.rounds == 2
    else:
        assert set(sizes) == {*ITERATED.result, *ITERATED.published}
        assert sizes["converged"] <= 8
        assert found.cost.rounds < 540 + 150 * sizes["converged"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["REML", "ML"])
def test_hidden_estimates_of_many_sites_are_combined_as_released_ones(model: str) -> None:
    hidden, released = (
        combined(TRIALS, model=model, hartung_knapp=True, release=release) for release in (False, True)
    )
    assert hidden.tau2 == pytest.approx(released.tau2, rel=RTOL)
    assert hidden.std_err == pytest.approx(released.std_err, rel=RTOL)


def test_no_variance_between_sites() -> None:
    """Far from 0 and close together: the likelihood is largest at the edge."""
    trials = [(1e6, 1.0), (1e6 + 0.5, 1.1), (1e6 + 0.1, 0.9)]
    hidden, released = (combined(trials, model="REML", release=release) for release in (False, True))
    assert hidden.tau2 == released.tau2 == 0
    assert hidden.std_err == pytest.approx(released.std_err, rel=RTOL)


def test_variance_that_dwarfs_those_within_sites() -> None:
    """In units of these it is 10^10; the same for estimates in other units."""
    trials = [(-2e5, 1.0), (1e5, 3.0), (0.0, 2.0)]
    y, se = (np.array(column) for column in zip(*trials, strict=True))
    found = combined([(own[0] * 1e9, own[1] * 1e9) for own in trials], model="REML")
    assert found.tau2 == pytest.approx(1e18 * (y.var(ddof=1) - np.mean(se**2)), rel=RTOL)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("far", [0.0, 1e4])
def test_one_site_is_much_more_precise(first: int, far: float) -> None:
    """A million times; by the same formulas on fractions."""
    trials = list(zip([0.5 + far, -2e5 + far, 3e5 + far], [0.125, 2.0**17, 2.0**17], strict=True))
    trials = trials[first:] + trials[:first]
    y, se = ([Fraction(number) for number in column] for column in zip(*trials, strict=True))
    w = [1 / own**2 for own in se]
    mean = sum(map(mul, w, y)) / sum(w)
    Q = sum(weight * (own - mean) ** 2 for weight, own in zip(w, y, strict=True))
    tau2 = (Q - 2) / (sum(w) - sum(map(mul, w, w)) / sum(w))
    u = [1 / (own**2 + tau2) for own in se]
    pooled = sum(map(mul, u, y)) / sum(u)
    spread = sum(weight * (own - pooled) ** 2 for weight, own in zip(u, y, strict=True))
    typical = 2 * sum(w) / (sum(w) ** 2 - sum(map(mul, w, w)))
    variance = spread / sum(u) / 2
    expected = [pooled, np.sqrt(float(variance)), Q, tau2, tau2 / (tau2 + typical)]
    for release, rtol in ((True, 1e-12), (False, 1e-8)):
        found = combined(trials, model="DL", hartung_knapp=True, release=release)
        numbers = [found.estimate, found.std_err, found.Q, found.tau2, found.I2]
        assert numbers == pytest.approx([float(number) for number in expected], rel=rtol)


def test_the_likeliest_variance_where_one_site_is_much_more_precise() -> None:
    trials = [(1e4 - 2e5, 2.0**17), (1e4 + 0.5, 0.125), (1e4 + 3e5, 2.0**17)]
    hidden, released = (combined(trials, model="REML", release=release) for release in (False, True))
    for name in ("estimate", "std_err", "Q", "tau2", "I2"):
        assert getattr(hidden, name) == pytest.approx(getattr(released, name), rel=1e-8), name


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
        ((None, 1.0), {}, "estimate is a number, and this site's is of type NoneType"),
        ((1.0, 0.0), {}, "standard error is not a positive"),
        ((1.0, 1.0), {"model": "PM"}, "model must be one of fixed, DL, ML, REML"),
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


@pytest.mark.parametrize(("effect", "pvalue"), [(1.0, 0.0), (0.0, np.nan)])
def test_equal_estimates_leave_no_error_by_hartung_and_knapp(effect: float, pvalue: float) -> None:
    found = fs.simulate(
        lambda fed, _: fs.meta_analysis(fed, effect, 0.5, hartung_knapp=True, release=True), range(3)
    )[0]
    assert found.std_err == 0
    assert found.pvalue == pytest.approx(pvalue, nan_ok=True)
    assert "Hartung" in found.summary()


def test_two_sites_must_release() -> None:
    def run(federation: fs.Federation, own: tuple[float, float]) -> float:
        with pytest.raises(fs.PolicyError):
            fs.meta_analysis(federation, *own, model="fixed")
        return fs.meta_analysis(federation, *own, model="fixed", release=True).estimate

    assert fs.simulate(run, TRIALS[:2])[0] < 0
