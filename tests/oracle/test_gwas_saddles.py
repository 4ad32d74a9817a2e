"""Saddle points on shares against those by bisection on all rows, and where none are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from gwas_helpers import Panel, make_panel, scan
from scipy import optimize, special, stats

import fedstats as fs
from fedstats.gwas import saddle_shares, saddle_sums
from fedstats.gwas._saddle_ranges import Ranges, ranges
from fedstats.gwas.logistic_kernel import Null
from protocols.engine import Engine
from protocols.testing import run_parties

OPTIONS: dict[str, Any] = {"trait": "case", "covariates": ["age", "pc"], "refit": 0.0}


def confounded(samples: int = 1200, variants: int = 90) -> Panel:
    """One case in twelve, more among the old and along the ancestry, with which frequencies go too."""
    random = np.random.default_rng(5)
    panel = make_panel(samples, variants, missing=0.0, seed=6)
    rows, calls = panel.rows, panel.genotypes
    rows["pc"] = random.normal(0, 1, samples) + (np.arange(samples) > samples / 2)
    rows["age"] = rows["age"].fillna(55.0)
    odds = -3.3 + 0.08 * (rows["age"] - 55) + 0.6 * rows["pc"]
    rows["case"] = (random.random(samples) < special.expit(odds)).astype(int)
    frequency = random.choice([0.008, 0.02, 0.06, 0.2, 0.45], variants)
    effect = random.choice([-0.6, 0.7, 1.1], variants) * random.uniform(0.7, 1.3, variants)
    for number in range(variants):
        logit = special.logit(frequency[number]) + 0.5 * rows["pc"] * (number % 3 > 0)
        chance = special.expit(logit + effect[number] * rows["case"])
        calls[number] = random.binomial(2, chance)
        if number % 2:  # the other allele is the rarer
            calls[number] = 2 - calls[number]
    calls[random.random(calls.shape) < 0.01] = -1
    panel.variants["chromosome"] = ["1"] * (variants - 15) + ["MT"] * 15
    calls[-15:] = np.where(calls[-15:] == 1, 2, calls[-15:])
    calls[0] = np.where((rows["case"] == 1) & (random.random(samples) < 0.15), 1, 0)  # all carriers are cases
    return panel


@pytest.fixture(scope="module")
def panel() -> Panel:
    return confounded()


@pytest.fixture(scope="module", params=[(250, 700), (90, 400, 210, 300)], ids=["3 sites", "5 sites"])
def sizes(request: pytest.FixtureRequest) -> tuple[int, ...]:
    return tuple(request.param)


@pytest.fixture(scope="module")
def found(panel: Panel, sizes: tuple[int, ...], tmp_path_factory: pytest.TempPathFactory) -> Any:
    parts = panel.deal(tmp_path_factory.mktemp("sites"), sizes, alike=True)
    return scan(parts, fs.gwas.logistic, **OPTIONS, disclose="result")


def log_p(h: np.ndarray, mu: np.ndarray, score: float) -> float:
    """Two tails by Barndorff-Nielsen's formula, saddle points by bisection."""
    tails = [-np.inf]
    for target in (score, -score):

        def derivative(t: float, target: float = target) -> float:
            return h @ special.expit(special.logit(mu) + h * t) - h @ mu - target

        if derivative(2000.0) * derivative(-2000.0) > 0:
            continue
        t = optimize.brentq(derivative, -2000, 2000, xtol=1e-13)
        q = special.expit(special.logit(mu) + h * t)
        cumulant = np.logaddexp(np.log1p(-mu), np.log(mu) + h * t).sum() - t * (h @ mu)
        r = np.sqrt(2 * (t * target - cumulant))
        tails.append(stats.norm.logsf(r + np.log(abs(t) * np.sqrt(h**2 @ (q * (1 - q))) / r) / r))
    return float(np.logaddexp.reduce(tails))


def truths(panel: Panel, sizes: tuple[int, ...]) -> pd.DataFrame:
    """z and log P of all variants, missing calls set to the mean at their site."""
    rows = panel.rows
    X = np.column_stack([np.ones(len(rows)), rows["age"], rows["pc"]])
    mu = sm.Logit(rows["case"], X).fit(disp=0, method="newton", tol=1e-12).predict()
    w = mu * (1 - mu)
    site = np.searchsorted(np.cumsum(sizes), np.arange(len(rows)), side="right")
    known = pd.DataFrame(np.where(panel.genotypes < 0, np.nan, panel.genotypes).T)
    G = known.fillna(known.groupby(site).transform("mean")).to_numpy()
    H = G - X @ np.linalg.solve(X.T @ (w[:, None] * X), X.T @ (w[:, None] * G))
    score, variance = H.T @ (rows["case"] - mu), w @ H**2
    z = score / np.sqrt(variance)
    logs = [log_p(h, mu, abs(u)) if abs(s) > 2 else np.nan for h, u, s in zip(H.T, score, z, strict=True)]
    return pd.DataFrame({"z": z, "log_p": logs, "rarer": np.minimum(G.sum(axis=0), (2 - G).sum(axis=0))})


def test_p_values_are_those_of_the_rows(panel: Panel, sizes: tuple[int, ...], found: Any) -> None:
    table, truth = found.to_frame(), truths(panel, sizes)
    np.testing.assert_allclose(table["z"], truth["z"], rtol=1e-4, atol=1e-4)
    extreme = truth["z"].abs() > 2
    assert set(table["test"][extreme]) == {"spa", "binomial"}
    assert (table["test"][~extreme] == "score").all()
    reached = (table["test"] == "spa").to_numpy()
    off = np.abs(-table["neg_log10_p"] * np.log(10) - truth["log_p"])[reached]
    assert reached.sum() > 40
    assert reached[truth["rarer"] > 20].sum() == extreme[truth["rarer"] > 20].sum()
    # Of P itself. The normal distribution, and binomial numbers, are farther from it.
    assert off.max() < 0.02
    assert off.median() < 1e-3
    normal = np.abs(np.log(2 * stats.norm.sf(truth["z"].abs())) - truth["log_p"])[reached]
    assert normal.median() > 100 * off.median()
    assert (table["chromosome"][reached] == "MT").sum() > 3


def test_carriers_that_are_all_cases_keep_binomial_tails(found: Any) -> None:
    assert found.to_frame()["test"][0] == "binomial"


def test_what_is_opened(found: Any) -> None:
    sizes = {reveal.label: reveal.size for reveal in found.leakage}
    extreme = found.to_frame()["z"].abs() > 2
    assert extreme.sum() - 3 <= sizes["saddle points"] / 2 <= extreme.sum()


def test_whole_calls_give_the_p_values_of_aggregates(panel: Panel, tmp_path: Path) -> None:
    whole = Panel(np.maximum(panel.genotypes, 0), panel.variants, panel.rows)
    parts = whole.deal(tmp_path, (300, 10), alike=True)
    tables = {mode: scan(parts, fs.gwas.logistic, **OPTIONS, disclose=mode).to_frame() for mode in MODES}
    both = (tables["aggregate"]["test"] == "spa") & (tables["result"]["test"] == "spa")
    assert both.sum() > 40
    columns = [tables[mode]["neg_log10_p"][both] for mode in MODES]
    np.testing.assert_allclose(columns[1], columns[0], rtol=2e-3)
    gated = tables["gated"].set_index("rsid")
    assert {"spa"} < set(gated["test"])
    passed = tables["result"].set_index("rsid").loc[gated.index]
    np.testing.assert_allclose(gated["neg_log10_p"], passed["neg_log10_p"], rtol=1e-3)


MODES = ("aggregate", "result", "gated")


# --- The parts ---------------------------------------------------------------------------------------


class Calls:
    """What stands for a reading of genotypes."""

    def __init__(self, calls: np.ndarray) -> None:
        self._calls = calls

    def block(self) -> Calls:
        return self

    def calls(self, which: slice) -> np.ndarray:
        return self._calls[which]

    def __len__(self) -> int:
        return len(self._calls)


def null_and_calls(samples: int, variants: int) -> tuple[Null, np.ndarray]:
    random = np.random.default_rng(1)
    X = np.column_stack([np.ones(samples), random.normal(size=samples)])
    mu = special.expit(X @ [-1.5, 0.5])
    w = mu * (1 - mu)
    Z = np.linalg.solve(np.linalg.cholesky(X.T @ (w[:, None] * X) / samples), X.T).T
    y = (random.random(samples) < mu).astype(float)
    calls = random.binomial(2, np.linspace(0.05, 0.5, variants)[:, None], (variants, samples))
    return Null(y, mu, w, Z, np.zeros(2), samples), calls.astype(np.int8)


def some_ranges(null: Null, calls: np.ndarray, z: float = 3.0) -> tuple[Ranges, np.ndarray]:
    """Ranges for scores of some z, and what the covariates leave of the calls."""
    h = calls - (calls @ (null.w[:, None] * null.Z)) @ null.Z.T / null.n
    variance = h**2 @ null.w
    usable, where = ranges(
        z * np.sqrt(variance),
        variance,
        np.zeros(len(calls), np.bool_),
        null.w.sum(),
        (null.w @ null.mu) / null.w.sum(),
    )
    assert usable.all()
    return where, h


def test_a_sites_series_are_those_of_its_function() -> None:
    null, calls = null_and_calls(500, 5)
    where, _ = some_ranges(null, calls)
    sums = saddle_sums.site_sums(Calls(calls), null, where, 1)  # type: ignore[arg-type]
    own = calls - sums.own @ null.Z.T
    np.testing.assert_array_equal(sums.excess, (calls - 1.0).sum(axis=1))
    for side, sign in enumerate((1, -1)):
        for tail in (0, 1):
            for u in (-0.9, 0.0, 0.7):
                t = where.centre[tail] + u * where.radius[tail]
                x = sign * t[:, None] * own
                value = np.log1p(null.mu * np.expm1(x)).sum(axis=1) - x @ null.mu
                series = sums.cumulants[side, tail] @ u ** np.arange(11)
                np.testing.assert_allclose(series, value, rtol=1e-4)
                slope = (special.expit(special.logit(null.mu) + x) - null.mu) @ null.Z * sign * t[:, None]
                scaled = slope / (where.longest[:, None] * np.sqrt(null.n))
                powers = u ** np.arange(saddle_sums.FIRST + 1)
                np.testing.assert_allclose(
                    np.einsum("vjk,j->vk", sums.first[side, tail], powers), scaled, rtol=0.1, atol=0.02
                )


def test_series_that_do_not_converge_are_refused() -> None:
    """A control of a covariate far out and next to no risk: its part of K bends within the range, unseen."""
    refused = []
    for far in (0.0, -20.0):
        random = np.random.default_rng(2)
        x = np.r_[far, random.normal(size=399)]
        mu = np.r_[1e-5, np.full(399, 0.2)]
        X, w = np.column_stack([np.ones(400), x]), mu * (1 - mu)
        Z = np.linalg.solve(np.linalg.cholesky(X.T @ (w[:, None] * X) / 400), X.T).T
        null = Null(np.zeros(400), mu, w, Z, np.zeros(2), 400)
        calls = random.binomial(2, special.expit(0.9 * x - 1), (20, 400)).astype(np.int8)
        where, _ = some_ranges(null, calls, z=6.0)
        sums = saddle_sums.site_sums(Calls(calls), null, where, 3)  # type: ignore[arg-type]
        own, u = calls - sums.own @ Z.T, 0.7
        out = sums.cumulants[..., 1] == saddle_sums.UNREACHABLE
        for side, tail in np.ndindex(2, 2):
            th = (1, -1)[side] * (where.centre + u * where.radius)[tail][:, None] * own
            value = np.log1p(mu * np.expm1(th)).sum(axis=1) - th @ mu
            off = np.abs(sums.cumulants[side, tail] @ u ** np.arange(11) - value)
            assert off[~out[side, tail]].max() < 0.01  # 0.5 if all were taken
        refused.append(out.mean())
    assert refused[0] == 0
    assert 0.1 < refused[1] < 0.4


@pytest.mark.parametrize("security", [40, 49])
def test_rounds_are_constant_and_bits_suffice(security: int) -> None:
    """With 9 bits more security, three sites have no more room than thirteen."""
    null, calls = null_and_calls(900, 3)
    where, h = some_ranges(null, calls)
    spent = []

    def program(party: Any, variants: slice) -> np.ndarray:
        rows = slice(party.index, None, 3)
        own = Null(null.y[rows], null.mu[rows], null.w[rows], null.Z[rows], null.coefficients, null.n)
        within = where.take(variants)
        sums = saddle_sums.site_sums(Calls(calls[variants, rows]), own, within, 3)  # type: ignore[arg-type]
        engine = Engine(party, security=security)
        before = party.mesh.traffic.copy()
        opened = saddle_shares.tails(engine, sums, within, null.n).reveal("tails")
        spent.append((party.mesh.traffic - before).rounds)
        return opened

    for variants in (slice(0, 3), slice(1, 2)):
        opened = run_parties("abc", lambda party, v=variants: program(party, v))["a"]
        expected = [log_p(h[v], null.mu, where.target[v]) for v in range(3)][variants]
        np.testing.assert_allclose(-saddle_shares.neg_log10_p(opened) * np.log(10), expected, atol=3e-3)
    assert set(spent) == ({169} if security == 40 else {spent[0]})


def test_zeros_that_are_opened() -> None:
    opened = np.array([[0.0, 3.0, 3.0, 2.0**-20], [0.0, 0.0, 3.0, 5.0]])
    tail = -np.log10(stats.norm.sf(3.0))
    expected = [np.nan, tail, tail - np.log10(2), np.nan]
    np.testing.assert_allclose(saddle_shares.neg_log10_p(opened), expected, rtol=1e-12)


def test_no_range_where_carriers_cannot_make_the_score() -> None:
    null, _ = null_and_calls(900, 1)
    weight, risk = null.w.sum(), (null.w @ null.mu) / null.w.sum()
    # More than one carrier can make; ten carriers, and z = 3; and a P value too small for series.
    target, variance = np.array([1.2, 3 * np.sqrt(1.7), 80.0]), np.array([0.17, 1.7, 2.0])
    usable, where = ranges(target, variance, np.zeros(3, np.bool_), weight, risk)
    assert usable.tolist() == [False, True, False]
    assert where.centre.shape == (2, 1)
    assert (where.centre > where.radius).all()
