"""Private analyses against the pooled rows: near them with little noise; with much, their intervals hold.

Intervals are tested on each analysis's estimator alone, fed with exact sums and normal noise of the variance
that the gate tells: hundreds of repetitions take no mesh.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from gwas_helpers import everywhere, make_panel
from scipy import stats
from stat_helpers import pooled, refused, split

import fedstats as fs
from fedstats.privacy import (
    _model,
    contingency,
    counts,
    frequencies,
    linear,
    logistic,
    moments,
    quantiles,
    survival,
)
from fedstats.privacy._call import Bounds

P = fs.privacy
LEVELS = {"arm": ["placebo", "drug", "both"], "sex": ["f", "m"], "none": ["only"]}
#: So much that noise hardly shows, and hides nothing.
RHO = 50
LIMITS = {"age": (20, 100), "bp": (60, 200)}


def table(rows: int = 1500) -> pd.DataFrame:
    random = np.random.default_rng(5)
    age, sex = random.normal(60, 9, rows), random.choice(["f", "m"], rows)
    arm = random.choice(["placebo", "drug"], rows)  # nobody has both
    bp = 90 + 0.6 * age - 6 * (arm == "drug") + 4 * (sex == "m") + random.normal(0, 10, rows)
    chance = 1 / (1 + np.exp(3 - 0.04 * age - 0.8 * (arm == "drug")))
    ends, lost = random.exponential(5, rows), random.uniform(0, 8, rows)
    frame = pd.DataFrame(
        {
            "age": age,
            "bp": bp,
            "sex": sex,
            "arm": arm,
            "event": (random.random(rows) < chance).astype(float),
            "years": np.minimum(ends, lost),
            "dead": ends < lost,
            "none": "only",
        }
    )
    frame.loc[::13, "age"] = np.nan
    frame.loc[::29, "arm"] = None
    frame.loc[5, "bp"], frame.loc[6, "bp"] = np.inf, -np.inf
    return frame


PARTS = split(table(), [700, 500, 3])  # the third has 3 rows, the last 297
ANALYSES: dict[str, Callable[[fs.Cohort], P.PrivateResult]] = {
    "mean": lambda c: P.mean(c, ["age", "bp"], bounds=LIMITS, by="arm", rho=RHO),
    "histogram": lambda c: P.histogram(c, "age", [20, 50, 60, np.inf], by="sex", rho=RHO),
    "value_counts": lambda c: P.value_counts(c, "arm", rho=RHO),
    "crosstab": lambda c: P.crosstab(c, ["arm", "sex"], rho=RHO),
    "quantile": lambda c: P.quantile(c, "age", [0.1, 0.5, 0.75], bounds=(20, 100), rho=RHO),
    "ols": lambda c: P.ols("bp ~ age + C(sex)", c, bounds=LIMITS, rho=RHO),
    "logit": lambda c: P.logit("event ~ age + C(sex, Treatment('m'))", c, bounds=LIMITS, rho=RHO),
    "chi2_contingency": lambda c: P.chi2_contingency(c, "sex", "dead", rho=RHO),
    "kaplan_meier": lambda c: P.kaplan_meier(c, "years", "dead", [1, 2, 4, 6], by="sex", rho=RHO),
}
ROUNDS = {"logit": 14}


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """All analyses, once; every site holds the same bits."""

    def program(federation: fs.Federation, rows: pd.DataFrame) -> dict[str, P.PrivateResult]:
        cohort = federation.cohort(rows, levels=LEVELS)
        return {name: analysis(cohort) for name, analysis in ANALYSES.items()}

    first, *others = fs.simulate(program, PARTS)
    for other in others:
        for name, result in first.items():
            pd.testing.assert_frame_equal(other[name].to_frame(), result.to_frame(), check_exact=True)
    return first


@pytest.mark.parametrize("name", ANALYSES)
def test_every_analysis_opens_what_it_declares_and_costs_what_it_says(
    found: dict[str, Any], name: str
) -> None:
    result = found[name]
    modules = (moments, counts, quantiles, linear, logistic, contingency, survival)
    declarations = {
        its.name: its for module in modules for its in vars(module).values() if hasattr(its, "noised")
    }
    declared = declarations[f"privacy.{name}"]
    assert result.leakage.labels == {*declared.noised, *declared.published}
    assert {reveal.kind for reveal in result.leakage} == {"noised", "published"}
    assert result.rho == RHO == result.leakage.rho
    assert result.cost.rounds == ROUNDS.get(name, 4)
    assert f"Privacy: ρ = {RHO}" in result.summary()


def test_means_and_variances(found: dict[str, Any]) -> None:
    frame, rows = found["mean"].to_frame(), table()
    rows["bp"] = rows["bp"].clip(*LIMITS["bp"])
    for (arm, column), its in frame.drop("both", level=0).iterrows():
        values = rows.loc[rows["arm"] == arm, column].dropna()
        assert its["count"] == pytest.approx(len(values), abs=6 * found["mean"].noise)
        # Seven standard deviations of the noise on blood pressure.
        assert its["mean"] == pytest.approx(values.mean(), abs=0.16)
        assert its["var"] == pytest.approx(values.var(), abs=14)
        assert its["low"] < values.mean() < its["high"]
        assert its["var_low"] < values.var() < its["var_high"]
    nobody = frame.loc[("both", "age")]
    assert np.isnan(nobody["mean"])
    assert (nobody["low"], nobody["high"]) == LIMITS["age"]


def test_counts(found: dict[str, Any]) -> None:
    rows = table()
    near = 6 * found["crosstab"].noise
    frame = found["crosstab"].to_frame()
    exact = pd.crosstab(rows["arm"], rows["sex"], margins=True).reindex(["placebo", "drug", "both", "All"])
    np.testing.assert_allclose(frame["count"].to_numpy().reshape(4, 3), exact.fillna(0), atol=3 * near)
    assert frame.loc[("All", "All"), "high"] - frame.loc[("All", "All"), "low"] == pytest.approx(
        6**0.5 * (frame.loc[("drug", "f"), "high"] - frame.loc[("drug", "f"), "low"])
    )
    of_arm = found["value_counts"].to_frame()["count"]
    np.testing.assert_allclose(of_arm, rows["arm"].value_counts().reindex(LEVELS["arm"]).fillna(0), atol=near)
    bins = found["histogram"].to_frame()["count"]
    for sex, its in bins.groupby(level=0):
        exact = np.histogram(rows.loc[rows["sex"] == sex, "age"].dropna(), [20, 50, 60, np.inf])[0]
        np.testing.assert_allclose(its, exact, atol=near)


def test_quantiles(found: dict[str, Any]) -> None:
    frame, values = found["quantile"].to_frame(), table()["age"].dropna()
    for (_, q), its in frame.iterrows():
        assert its["quantile"] == pytest.approx(values.quantile(q), abs=0.2)
        assert its["low"] < values.quantile(q) < its["high"]


def test_regressions(found: dict[str, Any]) -> None:
    rows = table().dropna(subset=["age"])
    rows["bp"] = rows["bp"].clip(*LIMITS["bp"])
    for name, exact in (
        ("ols", smf.ols("bp ~ age + C(sex)", rows).fit()),
        ("logit", smf.logit("event ~ age + C(sex, Treatment('m'))", rows).fit(disp=0)),
    ):
        fit, terms = found[name], found[name].params.index
        assert {*terms} == {*exact.params.index}
        assert fit.nobs == pytest.approx(len(rows), abs=15)  # six standard deviations in the first iteration
        noise = np.sqrt(fit.bse**2 - 0.9 * exact.bse[terms] ** 2)
        assert (np.abs(fit.params - exact.params[terms]) < 4 * noise).all()
        assert ((0.95 * exact.bse[terms] < fit.bse) & (fit.bse < 1.5 * exact.bse[terms])).all()
        assert fit.ridge == 0
        np.testing.assert_allclose(np.diag(fit.cov_params()) ** 0.5, fit.bse)


def test_a_level_that_nobody_has_is_held_by_a_ridge() -> None:
    fit = pooled(lambda c: P.ols("bp ~ age + arm", c, bounds=LIMITS, rho=RHO), PARTS, levels=LEVELS)
    assert fit.ridge > 0
    assert "noise drowns some direction" in fit.summary().lower()
    assert [*fit.params.index] == ["Intercept", "age", "arm[T.drug]", "arm[T.both]"]
    assert fit.params["arm[T.drug]"] == pytest.approx(-6, abs=4)


def test_survival(found: dict[str, Any]) -> None:
    frame, rows = found["kaplan_meier"].to_frame(), table()
    for sex in ("f", "m"):
        mine = rows[rows["sex"] == sex]
        exact, survival_now = [], 1.0
        for low, high in ((0, 1), (1, 2), (2, 4), (4, 6)):
            at_risk = (mine["years"] > low).sum()
            deaths = (mine["dead"] & (mine["years"] > low) & (mine["years"] <= high)).sum()
            survival_now *= 1 - deaths / at_risk
            exact.append(survival_now)
        np.testing.assert_allclose(frame.loc[sex, "survival"], exact, atol=0.004)
    assert found["kaplan_meier"].plot().get_xlabel() == "years"


def test_independence(found: dict[str, Any]) -> None:
    rows = table()
    exact = stats.chi2_contingency(pd.crosstab(rows["sex"], rows["dead"]), correction=False)
    result = found["chi2_contingency"]
    assert result.statistic == pytest.approx(exact.statistic, abs=0.1)
    assert result.pvalue == pytest.approx(exact.pvalue, abs=0.03)
    assert result.dof == 1


def test_allele_frequencies(tmp_path_factory: pytest.TempPathFactory) -> None:
    panel = make_panel(300, 60)
    parts = panel.deal(tmp_path_factory.mktemp("panel"), [100, 150])
    result = everywhere(parts, P.allele_frequencies, rho=100)[0]
    exact = everywhere(parts, fs.gwas.qc, disclose="aggregate")[0].to_frame().set_index("rsid")
    frame = result.to_frame().set_index("rsid")
    assert set(frame["chromosome"]) == {"1", "2"}
    near = exact.loc[frame.index, "effect_allele_frequency"]
    assert (frame["effect_allele"] == exact.loc[frame.index, "effect_allele"]).all()
    np.testing.assert_allclose(frame["effect_allele_frequency"], near, atol=6 * result.noise / 600 + 0.03)
    assert result.nobs == pytest.approx(300 * 0.98, abs=3)
    assert result.leakage.labels == {
        *frequencies.DECLARATION.noised,
        *{"genotypes", "variants"},
    }
    assert result.leakage.rho == 100


def test_whether_people_are_among_the_samples_is_no_error(tmp_path: Path) -> None:
    """A site whose ids fit no sample, or two, adds nothing, and is not told from others."""
    parts = make_panel(90, 12).deal(tmp_path, [40, 30])
    rows, path = parts[0]
    fam = path.with_suffix(".fam")
    first, second, *others = fam.read_text().splitlines()
    known = first.split()[1]
    fam.write_text("\n".join([first, "\t".join(["family", known, *second.split()[2:]]), *others]))
    for iid in ("nobody", known):
        its = [(rows.iloc[:1].assign(iid=iid), path), *parts[1:]]
        result = everywhere(its, P.allele_frequencies, rho=100)[0]
        assert result.nobs == pytest.approx(50 * 0.98, abs=3)
        assert everywhere(its, P.gwas_top, trait="age", bounds=(20, 90), k=1, rho=100)[0].nobs < 52
        with pytest.raises(fs.DataError, match=r"none of the cohort|an individual id of several"):
            everywhere(its, fs.gwas.qc)


def test_linked_columns_are_refused() -> None:
    def program(federation: fs.Federation, rows: pd.DataFrame) -> None:
        cohort = federation.cohort(rows, partition="vertical", on="k")
        for analysis in (
            lambda: P.mean(cohort, "x", bounds=(0, 1), rho=1),
            lambda: P.allele_frequencies(federation.genotypes("absent.bed"), cohort, rho=1),
        ):
            with pytest.raises(fs.DataError, match="needs whole rows"):
                analysis()

    fs.simulate(program, [pd.DataFrame({"k": np.arange(6), name: 0.1}) for name in "xyw"])


def test_bins_that_differ_in_the_middle_of_many_stop_all_sites() -> None:
    def program(federation: fs.Federation, rows: pd.DataFrame) -> None:
        edges = np.linspace(0, 100, 1001)
        edges[500] += 1e-3 * (federation.site == "site2")
        P.histogram(federation.cohort(rows, levels=LEVELS), "age", edges, rho=1)

    with pytest.raises(fs.DataError, match="different analyses"):
        fs.simulate(program, PARTS)


def covered(hits: Callable[[np.random.Generator], np.ndarray], runs: int = 400) -> np.ndarray:
    """Return how often intervals hold what they should."""
    random = np.random.default_rng(8)
    return np.mean([hits(random) for _ in range(runs)], axis=0)


def test_intervals_of_means_hold() -> None:
    bounds, variance = Bounds(0, 10), 150.0

    def hits(random: np.random.Generator) -> np.ndarray:
        z, _ = bounds.scaled(random.gamma(4, 1, 800).clip(0, 10), moments.UNIT)
        sums = moments.contributions(z).sum(axis=0) / moments.UNIT + random.normal(0, variance**0.5, 3)
        _, _, low, high, _, var_low, var_high = moments.estimate(sums, variance, bounds, 0.95)
        truth = stats.gamma(4)
        return np.array([low < truth.mean() - 0.006 < high, var_low < truth.var() - 0.06 < var_high])

    mean, var = covered(hits)
    assert 0.92 < mean < 0.98
    assert var > 0.94


def test_intervals_of_quantiles_hold() -> None:
    bounds, variance, depth = Bounds(-4, 4), 60.0, 7

    def hits(random: np.random.Generator) -> np.ndarray:
        tree = quantiles.tree(random.normal(size=1500), bounds, depth)
        cells = quantiles.consistent(tree + random.normal(0, variance**0.5, tree.size), depth)
        return np.array(
            [
                low < stats.norm.ppf(q) < high
                for q in (0.1, 0.5)
                for _, low, high in [quantiles.estimate(cells, variance, q, bounds, 0.95)]
            ]
        )

    assert (covered(hits) > 0.94).all()


def test_variances_of_fitted_trees_are_exact() -> None:
    depth, q = 4, 0.3
    random = np.random.default_rng(1)
    noise = random.normal(size=(20_000, 2 ** (depth + 1) - 1))
    cells = np.array([quantiles.consistent(its, depth) for its in noise])
    below = np.concatenate([np.zeros((len(cells), 1)), np.cumsum(cells, axis=1)], axis=1)
    gaps = below - q * below[:, -1:]
    np.testing.assert_allclose(gaps.var(axis=0), quantiles.edge_variances(depth, q), rtol=0.06)
    tree = quantiles.tree(random.uniform(-1, 1, 999), Bounds(-1, 1), depth).astype(float)
    np.testing.assert_allclose(quantiles.consistent(tree, depth), tree[2**depth - 1 :], atol=1e-9)


def test_intervals_of_slopes_hold() -> None:
    variance, beta = 40.0, np.array([0.1, 0.4, -0.2])

    def hits(random: np.random.Generator) -> np.ndarray:
        x = random.uniform(-1, 1, (2500, 2))
        y = beta[0] + x @ beta[1:] + random.uniform(-0.3, 0.3, len(x))
        whole = np.rint(np.column_stack([np.ones(len(x)), x, y]) * _model.UNIT).astype(np.int64)
        upper = linear.contributions(whole[:, :3], whole[:, 3]) / _model.UNIT**2
        noisy = upper + random.normal(0, variance**0.5, upper.size)
        estimate, covariance, added, _ = linear.estimate(noisy, variance, 3)
        assert added == 0
        return np.abs(estimate - beta) < 1.96 * np.sqrt(np.diag(covariance))

    rates = covered(hits)
    assert (rates > 0.92).all()
    assert (rates < 0.98).all()


def test_intervals_of_log_odds_hold() -> None:
    variance, beta = 300.0, np.array([-0.5, 0.8, -0.4])

    def hits(random: np.random.Generator) -> np.ndarray:
        x = random.uniform(-1, 1, (3000, 2))
        whole = np.rint(np.column_stack([np.ones(len(x)), x]) * _model.UNIT).astype(np.int64)
        events = (random.random(len(x)) < 1 / (1 + np.exp(-beta[0] - x @ beta[1:]))).astype(float)
        found = np.zeros(3)
        for part in (5, 5, 5, 5, 1):
            sums = logistic.contributions(whole, events, found) / _model.UNIT**2
            noisy = sums + random.normal(0, (part * variance) ** 0.5, sums.size)
            step, covariance, _ = logistic.newton(noisy, part * variance, 3)
            found = found + step
        return np.abs(found - beta) < 1.96 * np.sqrt(np.diag(covariance))

    rates = covered(hits, 300)
    assert (rates > 0.91).all()
    assert (rates < 0.985).all()


@pytest.mark.parametrize(
    ("iterations", "slope", "noise", "converged"),
    [(1, 8.0, 1.0, 0.0), (2, 8.0, 1.0, 0.0), (6, 8.0, 1.0, 1.0), (6, 2.0, 1.0, 1.0), (6, 1.0, 3000.0, 1.0)],
)
def test_too_few_iterations_are_told(iterations: int, slope: float, noise: float, converged: float) -> None:
    random = np.random.default_rng(3)
    told = []
    for _ in range(30):
        x = random.uniform(-1, 1, 4000)
        whole = np.rint(np.column_stack([np.ones(len(x)), x]) * _model.UNIT).astype(np.int64)
        events = (random.random(len(x)) < 1 / (1 + np.exp(1 - slope * x))).astype(float)
        beta, covariance = np.zeros(2), np.zeros((2, 2))
        for part in logistic.losses(Fraction(1), iterations):
            variance, before = noise / float(part), covariance
            sums = logistic.contributions(whole, events, beta) / _model.UNIT**2
            noisy = sums + random.normal(0, variance**0.5, sums.size)
            step, covariance, _ = logistic.newton(noisy, variance, 2)
            beta = beta + np.clip(step, -logistic.LONGEST, logistic.LONGEST)
        told.append(logistic.has_converged(step, covariance + before))
    assert np.mean(told) == pytest.approx(converged, abs=0.1)


def test_a_fit_that_has_not_converged_says_so(found: dict[str, Any]) -> None:
    assert found["logit"].converged
    assert found["ols"].converged
    assert "Not converged" not in found["logit"].summary()
    stopped = replace(found["logit"], converged=False)
    assert "Not converged" in stopped.summary()
    drowned = replace(found["logit"], ridge=1.0)
    assert "Do not rely on the intervals" in drowned.summary()
    assert [its.reliable for its in (found["ols"], found["logit"], stopped, drowned)] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(("rho", "reliable"), [("0.01", 0.0), ("1", 1.0)])
def test_log_odds_whose_intervals_do_not_hold_are_told_by_their_ridge(rho: str, reliable: float) -> None:
    """A steep slope leaves little information, which noise drowns at a small loss."""
    variance = 1.5 * logistic.squared_sensitivity(2) / _model.UNIT**4 / 2
    true = np.array([0.0, 6.0])
    told = []

    def hits(random: np.random.Generator) -> np.ndarray:
        x = random.uniform(-1, 1, 3000)
        whole = np.rint(np.column_stack([np.ones(len(x)), x]) * _model.UNIT).astype(np.int64)
        events = (random.random(len(x)) < 1 / (1 + np.exp(-6 * x))).astype(float)
        beta = np.zeros(2)
        for part in logistic.losses(Fraction(rho), 6):
            sums = logistic.contributions(whole, events, beta) / _model.UNIT**2
            noisy = sums + random.normal(0, (variance / float(part)) ** 0.5, sums.size)
            step, covariance, added = logistic.newton(noisy, variance / float(part), 2)
            beta = beta + np.clip(step, -logistic.LONGEST, logistic.LONGEST)
        told.append(not added)
        return np.abs(beta - true) < 1.96 * np.sqrt(np.diag(covariance))

    rates = covered(hits, 150)
    assert np.mean(told) == pytest.approx(reliable, abs=0.1)
    assert (rates[1] > 0.9) == bool(reliable)


def test_intervals_of_curves_hold() -> None:
    variance, times = 30.0, np.array([1.0, 2.0, 3.0, 5.0])

    def hits(random: np.random.Generator) -> np.ndarray:
        ends, lost = random.exponential(4, 600), random.choice([1.0, 3.0, 9.0], 600)
        # Censored at points of the grid only, after events there: nothing is lost by rounding.
        tally = survival.tally(np.minimum(ends, lost), (ends <= lost).astype(float), times)
        frame = survival.estimate(tally + random.normal(0, variance**0.5, tally.size), variance, times, 0.95)
        truth = np.exp(-times / 4)
        return ((frame["low"] < truth) & (truth < frame["high"])).to_numpy()

    rates = covered(hits)
    assert (rates > 0.92).all()
    assert (rates < 0.985).all()


def test_nothing_is_known_of_a_curve_where_noise_drowns_it() -> None:
    counts_then = np.array([400.0, 100.0, 2.0, 50.0, 20.0, 1.0, 3.0])
    frame = survival.estimate(counts_then, 25.0, np.array([1.0, 2.0, 3.0]), 0.95)
    assert frame["survival"].notna().tolist() == [True, True, False]
    assert frame["low"].isna().tolist() == [False, False, True]


def test_intervals_of_frequencies_hold() -> None:
    truth, people, variance = np.linspace(0.05, 0.95, 50), 500, 400.0

    def hits(random: np.random.Generator) -> np.ndarray:
        copies = random.binomial(2, truth, (people, truth.size)).sum(axis=0)
        sums = copies - people + random.normal(0, variance**0.5, truth.size)
        near = people + random.normal(0, 10)
        frame = frequencies.estimate(sums, variance, near, 100.0, 0.95)
        return np.array([((frame["low"] < truth) & (truth < frame["high"])).mean()])

    assert 0.93 < covered(hits, 200)[0] < 0.97


def test_p_values_of_independent_columns_are_uniform_and_others_small() -> None:
    random = np.random.default_rng(3)
    chances, variance = np.outer([0.3, 0.7], [0.2, 0.3, 0.5]), 25.0

    def pvalue(table_of: np.ndarray) -> float:
        drawn = random.multinomial(400, table_of.ravel()).reshape(table_of.shape)
        noisy = drawn + random.normal(0, variance**0.5, drawn.shape)
        return contingency.by_simulation(noisy, variance, 499)[1]

    independent = np.array([pvalue(chances) for _ in range(400)])
    assert stats.kstest(independent, "uniform").pvalue > 1e-3
    # Without the noise in the null, a third would be rejected at 0.05.
    assert np.mean(independent < 0.05) < 0.09
    dependent = np.array([[0.05, 0.05, 0.2], [0.15, 0.35, 0.2]])
    assert np.mean([pvalue(dependent) < 0.05 for _ in range(50)]) > 0.9


BAD: dict[str, tuple[Callable[[fs.Cohort], object], str]] = {
    "no loss": (lambda c: P.mean(c, "age", bounds=LIMITS), "say what it may cost"),
    "two losses": (lambda c: P.mean(c, "age", bounds=LIMITS, rho=1, epsilon=1, delta=1e-6), "say what"),
    "no bounds": (lambda c: P.mean(c, "years", bounds=LIMITS, rho=1), "bounds of column 'years'"),
    "bounds upside down": (lambda c: P.mean(c, "age", bounds=(3, 1), rho=1), "the lower one first"),
    "infinite bounds": (lambda c: P.mean(c, "age", bounds=(0, np.inf), rho=1), "bounds of column"),
    "no number": (lambda c: P.mean(c, "sex", bounds=(0, 1), rho=1), "sex"),
    "no column": (lambda c: P.mean(c, "height", bounds=(0, 1), rho=1), "height"),
    "twice": (lambda c: P.mean(c, ["age", "age"], bounds=LIMITS, rho=1), "more than once"),
    "no level": (lambda c: P.mean(c, "age", bounds=LIMITS, rho=1, level=2.0), "level is a number"),
    "undeclared": (lambda c: P.value_counts(c, "town", rho=1), "no declared levels"),
    "groups undeclared": (lambda c: P.mean(c, "age", bounds=LIMITS, by="town", rho=1), "no declared levels"),
    "one column": (lambda c: P.crosstab(c, ["sex"], rho=1), "two columns at least"),
    "constant": (lambda c: P.chi2_contingency(c, "sex", "none", rho=1), "two declared levels"),
    "bins": (lambda c: P.histogram(c, "age", [3, 2], rho=1), "ascending"),
    "a number of bins": (lambda c: P.histogram(c, "age", 20, rho=1), "edges"),  # type: ignore[arg-type]
    "q": (lambda c: P.quantile(c, "age", 2, bounds=LIMITS, rho=1), "between 0 and 1"),
    "depth": (lambda c: P.quantile(c, "age", depth=40, bounds=LIMITS, rho=1), "depth"),
    "grid": (lambda c: P.kaplan_meier(c, "years", "dead", [0, 1], rho=1), "grid is a list"),
    "function": (lambda c: P.ols("bp ~ log(age)", c, bounds=LIMITS, rho=1), "make a column"),
    "product": (lambda c: P.ols("bp ~ age:sex", c, bounds=LIMITS, rho=1), "terms of one column"),
    "no intercept": (lambda c: P.ols("bp ~ age - 1", c, bounds=LIMITS, rho=1), "have an intercept"),
    "no response": (lambda c: P.ols("age", c, bounds=LIMITS, rho=1), "needs a response"),
    "response undeclared": (lambda c: P.ols("years ~ age", c, bounds=LIMITS, rho=1), "'years'"),
    "sum coding": (lambda c: P.ols("bp ~ C(sex, Sum)", c, bounds=LIMITS, rho=1), "treatment only"),
    "iterations": (lambda c: P.logit("event ~ age", c, bounds=LIMITS, iterations=0, rho=1), "iterations"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_calls_stop_all_sites(case: str) -> None:
    analysis, why = BAD[case]
    parts = [its.assign(town="x").iloc[:30] for its in PARTS]
    for error in refused(analysis, parts, levels=LEVELS):
        assert isinstance(error, fs.DataError)
        assert why in str(error)


def test_too_much_noise_is_an_error_of_estimation() -> None:
    for analysis in (
        lambda c: P.ols("bp ~ age", c, bounds=LIMITS, rho=1e-9),
        lambda c: P.logit("event ~ age", c, bounds=LIMITS, iterations=1, rho=1e-9),
        lambda c: P.chi2_contingency(c, "sex", "arm", rho=1e-9),
    ):
        errors = refused(analysis, [its.iloc[:20] for its in PARTS], levels=LEVELS)
        assert all(isinstance(error, fs.EstimationError) for error in errors)


def test_sites_that_ask_for_different_losses_stop() -> None:
    def program(federation: fs.Federation, data: tuple[pd.DataFrame, float]) -> None:
        rows, rho = data
        P.value_counts(federation.cohort(rows, levels=LEVELS), "sex", rho=rho)

    with pytest.raises(fs.DataError, match="different analyses"):
        fs.simulate(program, [(PARTS[0], 0.1), (PARTS[1], 0.1), (PARTS[2], 0.2)])
