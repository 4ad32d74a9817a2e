"""`gwas.logistic` against statsmodels, saddle points by bisection, and Firth's estimates by definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from gwas_helpers import Panel, make_panel, scan
from scipy import optimize, special, stats
from stat_helpers import refused

import fedstats as fs
from fedstats.gwas import logistic_kernel

SIZES = [23, 177]


def unbalanced(samples: int = 500, variants: int = 60) -> Panel:
    """Few cases, more of them among carriers of some variants, two of which tell them apart."""
    panel = make_panel(samples, variants, missing=0.02, seed=4)
    random = np.random.default_rng(9)
    rows, calls = panel.rows, panel.genotypes
    rows["age"] = rows["age"].fillna(55.0)
    rows["arm"] = rows["arm"].replace("z", "y")
    odds = -3.4 + 0.03 * (rows["age"] - 55) + 0.5 * np.maximum(calls[3], 0) + 0.9 * np.maximum(calls[11], 0)
    rows["case"] = (random.random(samples) < special.expit(odds)).astype(int)
    calls[20] = np.where((rows["case"] == 1) & (random.random(samples) < 0.3), 1, 0)  # carriers are cases
    calls[21] = np.where(rows["case"] == 1, 0, random.binomial(2, 0.3, samples))  # and here controls
    return panel


@pytest.fixture(scope="module")
def panel() -> Panel:
    return unbalanced()


@pytest.fixture(scope="module")
def parts(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return panel.deal(tmp_path_factory.mktemp("sites"), SIZES, alike=True)


@pytest.fixture(scope="module")
def scored(parts: Any) -> pd.DataFrame:
    return scan(parts, fs.gwas.logistic, trait="case", covariates=["age", "arm"], refit=0.0).to_frame()


@pytest.fixture(scope="module")
def refitted(parts: Any) -> fs.gwas.GWASResult:
    return scan(parts, fs.gwas.logistic, trait="case", covariates=["age", "arm"], refit=1.0)


def design(panel: Panel) -> np.ndarray:
    return np.column_stack([np.ones(len(panel.rows)), panel.rows["age"], panel.rows["arm"] == "y"]).astype(
        float
    )


def test_score_tests(panel: Panel, scored: pd.DataFrame) -> None:
    X, y = design(panel), panel.rows["case"].to_numpy()
    mu = sm.Logit(y, X).fit(disp=0, method="newton", tol=1e-12).predict()
    w = mu * (1 - mu)
    for number, calls in enumerate(panel.genotypes):
        known = calls >= 0
        row = scored.iloc[number]
        assert row["n"] == (500 if np.ptp(calls[known]) else 0)
        if np.ptp(calls[known]) == 0:
            assert np.isnan(row["beta"])
            continue
        g = np.where(known, calls, calls[known].mean())
        h = g - X @ np.linalg.solve(X.T @ (w[:, None] * X), X.T @ (w * g))
        score, variance = h @ (y - mu), h @ (w * h)
        z = score / np.sqrt(variance)
        assert row["z"] == pytest.approx(z, rel=1e-7, abs=1e-9)
        assert row["standard_error"] == pytest.approx(variance**-0.5, rel=1e-7)
        if abs(z) <= 2:
            assert row["test"] == "score"
            assert row["p_value"] == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-7)
        elif row["test"] == "spa":
            assert row["p_value"] == pytest.approx(saddle_p(h, mu, abs(score)), rel=1e-4)
    assert (scored["test"] == "spa").sum() >= 3


def saddle_p(h: np.ndarray, mu: np.ndarray, score: float) -> float:
    """Two tails by Barndorff-Nielsen's formula, saddle points by bisection."""
    p = 0.0
    for target in (score, -score):

        def derivative(t: float, target: float = target) -> float:
            return h @ special.expit(special.logit(mu) + h * t) - h @ mu - target

        if derivative(200.0) * derivative(-200.0) > 0:  # beyond what any outcomes make
            continue
        t = optimize.brentq(derivative, -200, 200, xtol=1e-13)
        q = special.expit(special.logit(mu) + h * t)
        cumulant = np.log1p(mu * np.expm1(h * t)).sum() - t * (h @ mu)
        r = np.sign(t) * np.sqrt(2 * (t * target - cumulant))
        z = r + np.log(t * np.sqrt(h**2 @ (q * (1 - q))) / r) / r
        p += stats.norm.sf(abs(z))
    return p


def test_saddle_points_are_nearer_the_truth_than_the_normal() -> None:
    """Rare variant, few cases: against 200,000 draws of the outcome under the null model."""
    random = np.random.default_rng(0)
    mu = np.full(400, 0.03)
    g = (np.arange(400) < 20).astype(float)
    h = g - g.mean()
    draws = (random.random((200_000, 400)) < mu) @ h
    score = float(np.quantile(np.abs(draws), 0.999)) - 1e-9
    truth = np.mean(np.abs(draws) >= score)
    null = logistic_kernel.Null(np.zeros(400), mu, mu * (1 - mu), np.ones((400, 1)), np.zeros(1), 400)
    variance = h @ (null.w * h)
    search = logistic_kernel.Saddles(np.array([score]), np.array([variance]))
    for _ in range(25):
        search.step(search.derivatives(h[np.newaxis], null))
    found = 10 ** -search.neg_log10_p(search.cumulants(h[np.newaxis], null))[0]
    assert abs(np.log(found / truth)) < np.log(1.6)
    assert 2 * stats.norm.sf(score / np.sqrt(variance)) < truth / 20


def test_refits(panel: Panel, refitted: fs.gwas.GWASResult) -> None:
    X, y = design(panel), panel.rows["case"].to_numpy()
    table = refitted.to_frame()
    penalised = 0
    for number, calls in enumerate(panel.genotypes):
        row, known = table.iloc[number], calls >= 0
        if row["test"] == "wald":
            fit = sm.Logit(y[known], np.column_stack([X, calls])[known]).fit(
                disp=0, method="newton", tol=1e-12, maxiter=100
            )
            assert row["beta"] == pytest.approx(fit.params[-1], rel=1e-6, abs=1e-8)
            assert row["standard_error"] == pytest.approx(fit.bse[-1], rel=1e-6)
            assert row["p_value"] == pytest.approx(fit.pvalues[-1], rel=1e-5)
            assert row["n"] == known.sum()
        elif row["test"] == "firth":
            penalised += 1
            if penalised > 4:
                continue  # the reference is slow
            beta, error = firth(y[known], np.column_stack([X, calls])[known].astype(float))
            assert row["beta"] == pytest.approx(beta, rel=1e-4, abs=1e-4)
            assert row["standard_error"] == pytest.approx(error, rel=1e-4)
        else:
            assert np.ptp(calls[known]) == 0
    assert {"rs20", "rs21"} <= set(table["rsid"][table["test"] == "firth"])
    assert (table["test"] == "wald").sum() > 25


def firth(y: np.ndarray, X: np.ndarray) -> tuple[float, float]:
    """Maximise log-likelihood + log|information|/2 as it stands, without its gradient's formula."""
    unit = np.linalg.norm(X, axis=0) / np.sqrt(len(X))
    X = X / unit

    def information(theta: np.ndarray) -> np.ndarray:
        mu = special.expit(X @ theta)
        return X.T @ ((mu * (1 - mu))[:, None] * X)

    def loss(theta: np.ndarray) -> float:
        eta = X @ theta
        return np.logaddexp(0, eta).sum() - y @ eta - max(np.linalg.slogdet(information(theta))[1], -700) / 2

    bounds = [(-20.0, 20.0)] * X.shape[1]
    found = optimize.minimize(loss, np.zeros(X.shape[1]), method="L-BFGS-B", bounds=bounds).x
    found = optimize.minimize(loss, found, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14}).x
    error = np.sqrt(np.linalg.inv(information(found))[-1, -1])
    return found[-1] / unit[-1], error / unit[-1]


def test_only_what_passes_is_refitted(scored: pd.DataFrame, parts: Any) -> None:
    found = scan(parts, fs.gwas.logistic, trait="case", covariates=["age", "arm"], refit=0.01)
    table = found.to_frame()
    refits = table["test"].isin(["wald", "firth"])
    assert (refits == (scored["p_value"] < 0.01)).all()
    assert refits.any()
    pd.testing.assert_frame_equal(table[~refits], scored[~refits])


def test_result_says_what_it_is(refitted: fs.gwas.GWASResult, panel: Panel) -> None:
    assert refitted.n_cases == panel.rows["case"].sum()
    assert "Logistic association of case" in refitted.summary()
    assert f"{refitted.n_cases:,}" in refitted.summary()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"case": 2}, fs.DataError, "values other than 0"),
        ({"case": 0}, fs.EstimationError, "0 cases among"),
        ({"arm": None}, fs.EstimationError, "tell cases of 'case' from controls"),
    ],
)
def test_traits_that_cannot_be_used(
    tmp_path: Path, change: dict[str, Any], error: type[fs.FedStatsError], message: str
) -> None:
    panel = unbalanced(200, 25)
    for name, value in change.items():
        panel.rows[name] = np.where(panel.rows["case"] == 1, "x", "y") if value is None else value
    parts = panel.deal(tmp_path, [60, 70], alike=True)
    path_of = {f"site{number}": path for number, (_, path) in enumerate(parts, start=1)}

    def program(cohort: fs.Cohort) -> object:
        genotypes = cohort.federation.genotypes(path_of[cohort.federation.site])
        return fs.gwas.logistic(genotypes, cohort, trait="case", covariates=["age", "arm"])

    for found in refused(program, [rows for rows, _ in parts], id="iid"):
        with pytest.raises(error, match=message):
            raise found


@pytest.fixture(scope="module")
def on_shares(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Scans of calls that are all there, where nothing is imputed."""
    panel = unbalanced(samples=600, variants=110)
    panel.genotypes[:] = np.maximum(panel.genotypes, 0)
    parts = panel.deal(tmp_path_factory.mktemp("whole"), SIZES)
    options = {"trait": "case", "covariates": ["age", "arm"]}
    return {
        "aggregate": scan(parts, fs.gwas.logistic, **options, refit=0.0),
        "refits": scan(parts, fs.gwas.logistic, **options, refit=0.02),
        "result": scan(parts, fs.gwas.logistic, **options, refit=0.0, disclose="result"),
        "gated": scan(parts, fs.gwas.logistic, **options, refit=0.02, disclose="gated", threshold=0.05),
    }


def test_scores_on_shares_are_those_of_the_sums(on_shares: dict[str, Any]) -> None:
    pooled, shared = (on_shares[mode].to_frame() for mode in ("aggregate", "result"))
    np.testing.assert_array_equal(shared["beta"].isna(), pooled["beta"].isna())
    np.testing.assert_array_equal(shared["n"], np.where(pooled["beta"].isna(), 0, 600))
    np.testing.assert_allclose(shared["standard_error"], pooled["standard_error"], rtol=1e-5)
    np.testing.assert_allclose(shared["z"], pooled["z"], rtol=1e-5, atol=1e-5)
    assert set(shared["test"]) == {"", "score", "spa", "binomial"}
    assert shared["effect_allele_frequency"].isna().all()
    assert {reveal.label: reveal.size for reveal in on_shares["result"].leakage}["associations"] == 110 * 2


def test_saddle_points_on_shares_are_those_of_the_sums(on_shares: dict[str, Any]) -> None:
    """With 22 cases; few carriers who are all cases keep a binomial tail."""
    pooled, shared = (on_shares[mode].to_frame() for mode in ("aggregate", "result"))
    extreme = pooled["test"] == "spa"
    found = extreme & (shared["test"] == "spa")
    assert found.sum() >= 4
    np.testing.assert_allclose(shared["p_value"][found], pooled["p_value"][found], rtol=0.01)
    assert (pooled["effect_allele_frequency"][extreme & ~found] * 2 * 600 < 8).all()


def test_gated_scores_open_what_passes(on_shares: dict[str, Any]) -> None:
    pooled, gated = (on_shares[mode].to_frame() for mode in ("refits", "gated"))
    refits = gated["test"].isin(["wald", "firth"])
    assert 2 < refits.sum() < len(gated) < 30
    whole = on_shares["result"].to_frame()
    below = 2 * stats.norm.sf(whole["z"].abs()) < 0.05
    assert gated["rsid"].tolist() == whole["rsid"][below].tolist()
    exact = pooled.set_index("rsid").loc[gated["rsid"][refits]].reset_index()
    columns = ["beta", "standard_error", "p_value", "n", "test"]
    both = exact["test"].isin(["wald", "firth"]).to_numpy()
    assert both.sum() > 2
    pd.testing.assert_frame_equal(
        gated[refits].reset_index(drop=True)[columns][both], exact[columns][both], rtol=1e-6
    )
