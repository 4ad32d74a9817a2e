"""Linked columns of two sites alone, where each is hidden from the other, against the joined table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from gwas_helpers import make_panel
from scipy import stats

import fedstats as fs
from fedstats import federation as sessions
from fedstats.gwas.plink import write_bed
from fedstats.policy import FederationPolicy, SitePolicy
from fedstats.vertical import halves
from protocols.crossed import Held, inner_products
from protocols.paillier.ciphering import Ciphering
from protocols.triples import cheaper

SHARED = FederationPolicy(security="dishonest-majority")
ALLOWING = SitePolicy(allow_two_site_sums=True)
CLOSE = 1e-6
PATIENTS, VARIANTS = 90, 12
LINEAR = "ldl ~ age + C(sex) + bmi + C(ward)"
LOGISTIC = "dead ~ age + bmi"
COUNTS = "visits ~ age + bmi"
Data = tuple[pd.DataFrame, Path | None]


def calls() -> pd.DataFrame:
    """Return how many copies of each variant each patient has."""
    random = np.random.default_rng(7)
    panel = make_panel(PATIENTS, VARIANTS, seed=6)
    return pd.DataFrame(
        random.binomial(2, 0.4, (PATIENTS, VARIANTS)), panel.rows["iid"], panel.variants["rsid"]
    )


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> list[Data]:
    """A hospital, and a laboratory that has genotypes; neither has all patients, and values are missing."""
    random = np.random.default_rng(5)
    panel = make_panel(PATIENTS, VARIANTS, seed=6)
    people = panel.rows[["iid"]].assign(age=random.normal(55, 12, PATIENTS))
    people["sex"] = random.choice(["f", "m"], PATIENTS)
    people["dead"] = (random.random(PATIENTS) < 1 / (1 + np.exp((55 - people["age"]) / 10))).astype(int)
    people["visits"] = random.poisson(np.exp(0.4 + 0.02 * (people["age"] - 55)))
    people["bmi"] = np.where(random.random(PATIENTS) < 0.1, np.nan, random.normal(27, 4, PATIENTS))
    people["ward"] = random.choice(["u", "v", "w"], PATIENTS)
    people["ldl"] = 100 + people["age"] / 2 + 5 * (people["sex"] == "m") + random.normal(0, 10, PATIENTS)
    people["name"] = [f"patient {number}" for number in range(PATIENTS)]
    path = tmp_path_factory.mktemp("laboratory") / "chip.bed"
    write_bed(path.with_suffix(""), calls().to_numpy(np.int8).T, panel.variants, people[["iid"]])
    hospital = people[["name", "age", "sex", "dead", "ldl"]].sample(frac=0.9, random_state=1)
    laboratory = people[["name", "iid", "bmi", "ward", "visits"]].sample(frac=0.9, random_state=2)
    return [(hospital, None), (laboratory, path)]


@pytest.fixture(scope="module")
def joined(sites: list[Data]) -> pd.DataFrame:
    return sites[0][0].merge(sites[1][0], on="name")


def linked(federation: fs.Federation, data: Data) -> Any:
    return federation.cohort(data[0], partition="vertical", on="name", id="iid")


def run(sites: list[Data], program: Callable[[fs.Federation, Data], Any], **rules: Any) -> list[Any]:
    shared = FederationPolicy(security="dishonest-majority", **rules)
    return fs.simulate(program, sites, names=["hospital", "laboratory"], shared=shared, policy=ALLOWING)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "describe": lambda c: fs.describe(c),
    "by": lambda c: fs.describe(c, ["ldl", "bmi"], by="sex"),
    "corr": lambda c: fs.corr(c, ["age", "bmi", "ldl"]),
    "cov": lambda c: fs.cov(c, ["age", "bmi"]),
    "ttest": lambda c: fs.ttest_ind(c, "bmi", by="sex"),
    "crosstab": lambda c: fs.crosstab(c, ["ward", "sex"]),
    "three": lambda c: fs.crosstab(c, ["sex", "ward", "dead"]),
    "ols": lambda c: fs.ols(LINEAR, c),
    "logit": lambda c: fs.logit(LOGISTIC, c),
}


@pytest.fixture(scope="module")
def found(sites: list[Data]) -> dict[str, Any]:
    def program(federation: fs.Federation, data: Data) -> dict[str, Any]:
        cohort = linked(federation, data)
        results = {name: function(cohort) for name, function in FUNCTIONS.items()}
        genotypes = federation.genotypes(data[1])
        scan = fs.gwas.linear(genotypes, cohort, trait="ldl", missing="impute", covariates=["age", "bmi"])
        return results | {"scan": scan, "cohort": cohort}

    first, second = run(sites, program)
    for name in first.keys() - {"cohort"}:
        pd.testing.assert_frame_equal(first[name].to_frame(), second[name].to_frame(), check_exact=True)
    return first


def test_sizes_are_all_that_is_learnt(found: dict[str, Any], joined: pd.DataFrame) -> None:
    cohort = found["cohort"]
    assert cohort.sizes.common == len(joined) < min(cohort.sizes.each)
    assert cohort.size == cohort.sizes.union == sum(cohort.sizes.each) - len(joined)
    assert found["ols"].leakage.labels == {"columns", "rows", "coefficients", "sums of squares", "variances"}


def test_descriptions(found: dict[str, Any], joined: pd.DataFrame) -> None:
    columns = ["age", "dead", "ldl", "bmi", "visits"]
    its, pooled = found["describe"].to_frame().loc[columns], joined[columns]
    for name, of in {
        "count": "count",
        "mean": "mean",
        "var": "var",
        "skew": "skew",
        "kurtosis": "kurt",
    }.items():
        np.testing.assert_allclose(its[name].astype(float), getattr(pooled, of)(), rtol=CLOSE, atol=1e-8)
    assert its["missing"].tolist() == pooled.isna().sum().tolist()
    its, groups = found["by"].to_frame(), joined.groupby("sex")
    for name in ("count", "mean", "std"):
        for column in ("ldl", "bmi"):
            expected = getattr(groups[column], name)()
            np.testing.assert_allclose(its[name].xs(column, level=1).astype(float), expected, rtol=CLOSE)
    np.testing.assert_allclose(found["corr"].matrix, joined[["age", "bmi", "ldl"]].corr(), atol=CLOSE)
    np.testing.assert_allclose(found["cov"].matrix, joined[["age", "bmi"]].cov(), rtol=CLOSE)


def test_tables(found: dict[str, Any], joined: pd.DataFrame) -> None:
    table = found["crosstab"].to_frame().astype(float).to_numpy()
    assert np.array_equal(table, pd.crosstab(joined["ward"], joined["sex"], margins=True))
    counts = pd.crosstab([joined["sex"], joined["ward"]], joined["dead"])
    three = found["three"].to_frame().loc[counts.index, [str(level) for level in counts.columns]]
    shown = three.notna().to_numpy()
    assert shown.sum() > 3
    assert np.array_equal(three.to_numpy()[shown].astype(int), counts.to_numpy()[shown])


def test_tests(found: dict[str, Any], joined: pd.DataFrame) -> None:
    expected = stats.ttest_ind(*(joined.loc[joined["sex"] == sex, "bmi"].dropna() for sex in "fm"))
    assert found["ttest"].statistic == pytest.approx(expected.statistic, rel=CLOSE)
    assert found["ttest"].pvalue == pytest.approx(expected.pvalue, rel=CLOSE)


def agrees(found: Any, expected: Any) -> None:
    assert found.nobs == expected.nobs
    terms = found.params.index
    np.testing.assert_allclose(found.params, expected.params[terms], rtol=CLOSE)
    np.testing.assert_allclose(found.bse, expected.bse[terms], rtol=CLOSE)


def test_least_squares(found: dict[str, Any], joined: pd.DataFrame) -> None:
    agrees(found["ols"], smf.ols(LINEAR, joined).fit())


def test_logistic_regression(found: dict[str, Any], joined: pd.DataFrame) -> None:
    agrees(found["logit"], smf.glm(LOGISTIC, joined, family=sm.families.Binomial()).fit(tol=1e-14))


def test_a_scan(found: dict[str, Any], joined: pd.DataFrame) -> None:
    rows = joined.dropna(subset="bmi")
    assert found["scan"].nobs == len(rows)
    for _, one in found["scan"].to_frame().iterrows():
        fit = smf.ols(
            "ldl ~ age + bmi + g", rows.assign(g=calls()[one["rsid"]].loc[rows["iid"]].to_numpy())
        ).fit()
        np.testing.assert_allclose(
            [one["beta"], one["standard_error"]], [fit.params["g"], fit.bse["g"]], rtol=10 * CLOSE
        )


@pytest.mark.slow
def test_counts_and_a_scan_of_cases(sites: list[Data], joined: pd.DataFrame) -> None:
    def program(federation: fs.Federation, data: Data) -> tuple[Any, Any]:
        cohort = linked(federation, data)
        scan = fs.gwas.logistic(federation.genotypes(data[1]), cohort, trait="dead", covariates=["age"])
        return fs.glm(COUNTS, cohort, family="poisson"), scan

    counts, scan = run(sites, program)[0]
    agrees(counts, smf.glm(COUNTS, joined, family=sm.families.Poisson()).fit(tol=1e-14))
    null = smf.glm("dead ~ age", joined, family=sm.families.Binomial()).fit(tol=1e-14)
    weight = null.mu * (1 - null.mu)
    exog = np.sqrt(weight)[:, np.newaxis] * null.model.exog
    for _, one in scan.to_frame().iterrows():
        g = calls()[one["rsid"]].loc[joined["iid"]].to_numpy()
        left = np.sqrt(weight) * g
        left = left - exog @ np.linalg.lstsq(exog, left, rcond=None)[0]
        expected = g @ null.resid_response / np.sqrt(left @ left)
        assert one["z"] == pytest.approx(expected, abs=CLOSE)


# --- Which products -----------------------------------------------------------------------------------


def least_squares(federation: fs.Federation, data: Data) -> Any:
    return fs.ols(LINEAR, linked(federation, data))


def test_slow_links_are_spared(
    sites: list[Data], joined: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes over the links, by transfers or encrypted, makes the same model."""
    made: list[str] = []

    def encrypting(party: Any, label: str) -> Ciphering:
        made.append(party.me)
        return Ciphering(party, label, bits=768)

    monkeypatch.setattr(sessions, "Ciphering", encrypting)
    monkeypatch.setattr(cheaper, "OFFER", 1e-6)
    agrees(run(sites, least_squares, link_megabits=10)[0], smf.ols(LINEAR, joined).fit())
    assert sorted(made) == ["hospital", "laboratory"]


def test_slow_links_ask_for_the_extra(sites: list[Data], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phe.paillier", None)
    with pytest.raises(fs.PolicyError, match=r"link_megabits = 10 asks .* pip install 'fedstats\[he\]'"):
        run(sites, least_squares, link_megabits=10)


@pytest.mark.parametrize("name", ["ols", "by", "three"])
def test_few_numbers_are_in_memory_at_a_time(
    sites: list[Data], found: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 300
    sizes: list[int] = []

    def watched(engine: Any, one: Held, other: Held) -> Any:
        sizes.append(max(one.rows * one.terms, other.rows * other.terms))
        return inner_products(engine, one, other)

    monkeypatch.setattr(halves, "_MOST", largest)
    monkeypatch.setattr(halves, "inner_products", watched)
    again = run(sites, lambda federation, data: FUNCTIONS[name](linked(federation, data)))[0]
    pd.testing.assert_frame_equal(again.to_frame(), found[name].to_frame(), rtol=1e-9)
    assert max(sizes) <= largest


@pytest.mark.slow
def test_no_patient_is_shared_to_be_multiplied() -> None:
    """Of each patient 36 bits choose for six columns, and one bit for a dozen: no triples of 2.5 kB each."""
    columns = pd.DataFrame(np.random.default_rng(0).normal(size=(900, 6)), columns=list("uvwxyz"))
    columns["name"] = [f"patient {number}" for number in range(900)]

    def bytes_sent(rows: int) -> int:
        parts: list[Data] = [(columns[["name", *own]][:rows], None) for own in ("uvw", "xyz")]
        fits = run(parts, lambda f, its: fs.ols("u ~ v + w + x + y + z", linked(f, its)))
        return max(fit.cost.bytes_sent for fit in fits)

    assert (bytes_sent(900) - bytes_sent(300)) / 600 < 3 * 36 * 3 * 16 + 12 * 16 + 800


# --- What is refused ----------------------------------------------------------------------------------


def test_what_rules_forbid(sites: list[Data]) -> None:
    def program(federation: fs.Federation, data: Data) -> Any:
        return fs.describe(linked(federation, data))

    with pytest.raises(fs.PolicyError, match="hide nothing between two sites"):
        fs.simulate(program, sites, policy=ALLOWING)
    with pytest.raises(fs.PolicyError, match="a result of two sites tells each the other's part"):
        fs.simulate(program, sites, shared=SHARED, policy=SitePolicy(min_sites=2))
