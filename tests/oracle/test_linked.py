"""Linked columns: what comes out is what the joined table gives, whoever has which column."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats

import fedstats as fs
from fedstats.disclosure import Declaration
from fedstats.policy import SitePolicy
from fedstats.vertical.keys import normalised

#: Of the joined table: relative errors of descriptions and tests, and of models.
CLOSE, MODEL = 1e-8, 1e-6
LINEAR = "ldl ~ age + C(sex) + I(age**2) + bmi + C(ward)"
LOGISTIC = "dead ~ age + C(sex) + bmi + C(ward)"
COUNTS = "visits ~ age + bmi + C(ward)"


def people() -> pd.DataFrame:
    random = np.random.default_rng(4)
    n = 300
    age, sex = random.normal(55, 12, n), random.choice(["f", "m"], n)
    ward = random.choice(["u", "v", "w"], n, p=[0.5, 0.4, 0.1])
    bmi = np.where(random.random(n) < 0.1, np.nan, random.normal(27, 4, n))
    odds = (age - 55) / 10 + 0.4 * (sex == "m")
    return pd.DataFrame(
        {
            "name": [f"Zoë Müller-{number}" for number in range(n)],
            "born": pd.date_range("1930-01-01", periods=n, freq="61D"),
            "age": age,
            "sex": sex,
            "dead": (random.random(n) < 1 / (1 + np.exp(-odds))).astype(int),
            "bmi": bmi,
            "ward": ward,
            "ldl": 100 + 0.5 * age + 5 * (sex == "m") + random.normal(0, 10, n),
            "visits": random.poisson(np.exp(0.3 + 0.02 * (age - 55))),
        }
    )


def tables() -> list[pd.DataFrame | None]:
    """A clinic, a laboratory that writes names in another way, and a site without a table."""
    whole = people()
    clinic = whole[["name", "born", "age", "sex", "dead"]].sample(frac=0.9, random_state=1)
    laboratory = whole[["name", "born", "bmi", "ward", "ldl", "visits"]].sample(frac=0.8, random_state=2)
    laboratory["name"] = laboratory["name"].str.upper().str.replace("-", "  ").str.replace("Ü", "ue")
    laboratory["born"] = laboratory["born"].dt.strftime("%Y-%m-%d")
    laboratory["born"] = pd.to_datetime(laboratory["born"])
    return [clinic, laboratory, None]


def joined() -> pd.DataFrame:
    clinic, laboratory, _ = tables()
    assert clinic is not None
    assert laboratory is not None
    return clinic.merge(laboratory.drop(columns="name"), on="born")


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    def program(federation: fs.Federation, data: pd.DataFrame | None) -> dict[str, Any]:
        cohort = federation.cohort(data, partition="vertical", on=["name", "born"])
        return {
            "cohort": cohort,
            "describe": fs.describe(cohort),
            "by": fs.describe(cohort, ["ldl", "bmi"], by="sex"),
            "corr": fs.corr(cohort, ["age", "bmi", "ldl"]),
            "cov": fs.cov(cohort, ["age", "bmi"]),
            "student": fs.ttest_ind(cohort, "ldl", by="sex"),
            "welch": fs.ttest_ind(cohort, "bmi", by="sex", equal_var=False),
            "crosstab": fs.crosstab(cohort, ["sex", "ward"]),
            "three": fs.crosstab(cohort, ["sex", "dead", "ward"]),
            "ols": fs.ols(LINEAR, cohort),
            "logit": fs.logit(LOGISTIC, cohort),
            "poisson": fs.glm(COUNTS, cohort, family="poisson"),
            "leakage": federation.leakage,
        }

    return fs.simulate(program, tables())


def test_patients_are_linked_however_their_names_are_written(found: list[dict[str, Any]]) -> None:
    cohort = found[0]["cohort"]
    both = len(joined())
    assert cohort.sizes.each == (270, 240, 0)
    assert cohort.sizes.common == cohort.sizes.pairs[0, 1] == both
    assert cohort.size == cohort.sizes.union == 510 - both
    assert "ldl: float, at site2" in repr(cohort)
    assert not any(str(number) in repr(cohort) for number in people()["age"])


def test_all_sites_get_the_same(found: list[dict[str, Any]]) -> None:
    for name in found[0].keys() - {"cohort", "leakage"}:
        for other in found[1:]:
            pd.testing.assert_frame_equal(other[name].to_frame(), found[0][name].to_frame(), check_exact=True)


def test_descriptions(found: list[dict[str, Any]]) -> None:
    its, columns = found[0]["describe"].to_frame(), ["age", "dead", "bmi", "ldl", "visits"]
    pooled = joined()[columns]
    assert its.index.tolist() == columns
    assert its["count"].tolist() == pooled.count().tolist()
    assert its["missing"].tolist() == pooled.isna().sum().tolist()
    for name, oracle in {
        "mean": "mean",
        "std": "std",
        "var": "var",
        "skew": "skew",
        "kurtosis": "kurt",
    }.items():
        np.testing.assert_allclose(its[name], getattr(pooled, oracle)(), rtol=CLOSE, atol=1e-9)
    by, groups = found[0]["by"].to_frame(), joined().groupby("sex")
    for name in ("count", "mean", "var", "std"):
        for column in ("ldl", "bmi"):
            expected = getattr(groups[column], name)()
            np.testing.assert_allclose(by[name].xs(column, level=1).astype(float), expected, rtol=CLOSE)


def test_correlations(found: list[dict[str, Any]]) -> None:
    pooled = joined()
    np.testing.assert_allclose(
        found[0]["corr"].matrix, pooled[["age", "bmi", "ldl"]].corr(), rtol=0, atol=1e-8
    )
    np.testing.assert_allclose(found[0]["cov"].matrix, pooled[["age", "bmi"]].cov(), rtol=CLOSE)
    assert found[0]["corr"].numbers.loc["age", "bmi"] == pooled["bmi"].count()


def test_tests(found: list[dict[str, Any]]) -> None:
    pooled = joined()
    for name, column, equal in (("student", "ldl", True), ("welch", "bmi", False)):
        parts = [pooled.loc[pooled["sex"] == sex, column].dropna() for sex in "fm"]
        oracle = stats.ttest_ind(*parts, equal_var=equal)
        its = found[0][name]
        np.testing.assert_allclose(
            [its.statistic, its.pvalue, its.df], [oracle.statistic, oracle.pvalue, oracle.df], rtol=1e-7
        )
        assert its.nobs.tolist() == [len(part) for part in parts]


def test_tables(found: list[dict[str, Any]]) -> None:
    pooled = joined()
    shown = found[0]["crosstab"].to_frame()
    expected = pd.crosstab(pooled["sex"], pooled["ward"], margins=True)
    np.testing.assert_array_equal(shown.astype(float), expected)
    three = found[0]["three"].to_frame()
    counts = pd.crosstab([pooled["sex"], pooled["dead"]], pooled["ward"])
    for row in counts.index:
        for ward in counts.columns:
            its = three.loc[(row[0], str(row[1])), ward]
            assert (its is pd.NA) or its == counts.loc[row, ward]


def test_least_squares(found: list[dict[str, Any]]) -> None:
    its, oracle = found[0]["ols"], smf.ols(LINEAR, joined()).fit()
    assert its.params.index[:2].tolist() == ["Intercept", "age"]  # the formula's order
    np.testing.assert_allclose(its.params, oracle.params[its.params.index], rtol=MODEL)
    np.testing.assert_allclose(its.bse, oracle.bse[its.params.index], rtol=CLOSE)
    np.testing.assert_allclose(
        [its.rsquared, its.fvalue, its.llf, its.aic, its.nobs],
        [oracle.rsquared, oracle.fvalue, oracle.llf, oracle.aic, oracle.nobs],
        rtol=MODEL,
    )


@pytest.mark.parametrize(
    ("name", "formula", "family"),
    [("logit", LOGISTIC, sm.families.Binomial()), ("poisson", COUNTS, sm.families.Poisson())],
)
def test_generalised_linear_models(found: list[dict[str, Any]], name: str, formula: str, family: Any) -> None:
    its, oracle = found[0][name], smf.glm(formula, joined(), family=family).fit(tol=1e-14)
    np.testing.assert_allclose(its.params, oracle.params[its.params.index], rtol=MODEL)
    np.testing.assert_allclose(its.bse, oracle.bse[its.params.index], rtol=MODEL)
    np.testing.assert_allclose(
        [its.llf, its.llnull, its.deviance, its.null_deviance],
        [oracle.llf, oracle.llnull, oracle.deviance, oracle.null_deviance],
        rtol=1e-7,
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_counts_among_ten_sites() -> None:
    """The fewest bits that there are for each number."""

    def program(federation: fs.Federation, data: pd.DataFrame | None) -> Any:
        cohort = federation.cohort(data, partition="vertical", on=["name", "born"])
        return fs.glm(COUNTS, cohort, family="poisson")

    its = fs.simulate(program, [*tables(), *[None] * 7])[0]
    oracle = smf.glm(COUNTS, joined(), family=sm.families.Poisson()).fit(tol=1e-14)
    np.testing.assert_allclose(its.params, oracle.params[its.params.index], rtol=MODEL)
    np.testing.assert_allclose(its.bse, oracle.bse[its.params.index], rtol=MODEL)


def test_what_is_revealed_is_what_is_declared(found: list[dict[str, Any]]) -> None:
    modules = {
        "describe": ("moments", "DESCRIBE"),
        "crosstab": ("tables", "CROSSTAB"),
        "ols": ("linear", "OLS"),
        "logit": ("generalised", "GLM"),
    }
    for name, (module, declaration) in modules.items():
        its: Declaration = getattr(importlib.import_module(f"fedstats.vertical.{module}"), declaration)
        assert found[0][name].leakage.labels == its.result.keys() | its.published.keys()
    assert {"set sizes"} <= found[0]["leakage"].labels


def test_rounds(found: list[dict[str, Any]]) -> None:
    rounds = {name: its.cost.rounds for name, its in found[0].items() if name not in ("cohort", "leakage")}
    assert rounds["describe"] < 100
    assert rounds["crosstab"] < 30
    assert rounds["ols"] < 140
    assert rounds["logit"] < 180 * (found[0]["logit"].iterations + 1)


# What cannot be done


def refused(program: Any, data: list[pd.DataFrame | None], **options: Any) -> list[str]:
    def run(federation: fs.Federation, its: pd.DataFrame | None) -> str:
        with pytest.raises(fs.FedStatsError) as caught:
            program(federation.cohort(its, partition="vertical", on="name"))
        return f"{type(caught.value).__name__}: {caught.value}"

    return fs.simulate(run, data, **options)


def small() -> list[pd.DataFrame | None]:
    clinic, laboratory, nobody = tables()
    assert clinic is not None
    assert laboratory is not None
    clinic, laboratory = clinic.head(80), laboratory.assign(name=laboratory["name"]).head(80)
    return [clinic.drop(columns="born"), laboratory.drop(columns="born"), nobody]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (lambda c: fs.ols("ldl ~ age:bmi", c), "columns of sites site1, site2"),
        (lambda c: fs.ols("ldl ~ 0 + age", c), "has no intercept"),
        (lambda c: fs.ols("ldl ~ center(age)", c), "center and scale are not there"),
        (lambda c: fs.ols("ldl ~ age", c, disclose="aggregate"), "it offers 'result'"),
        (lambda c: fs.ols("ldl ~ weight", c), "no site has a column 'weight'"),
        (lambda c: fs.logit("bmi ~ age", c), "is 0 or 1"),
        (lambda c: fs.glm("bmi ~ age", c, family="gamma"), "families binomial, poisson"),
        (lambda c: fs.corr(c, method="spearman"), "'pearson' for linked columns"),
        (lambda c: fs.kruskal(c, "ldl", by="sex"), "needs whole rows at each site"),
        (lambda c: fs.describe(c, ["sex"]), "'sex' is categorical"),
        (lambda c: fs.ols("ldl ~ age", c, missing="raise"), "missing='drop'"),
        (lambda c: fs.ols("ldl ~ age", c, groups="sex"), "have no groups"),
        (lambda c: fs.ols("ldl ~ log(age - 55)", c), "is not finite in"),
        (lambda c: fs.ttest_ind(c, "ldl", by="sex", groups="fm"), "groups is a list"),
    ],
)
def test_what_is_refused(program: Any, message: str) -> None:
    said = refused(program, small())
    assert any(message in its for its in said), said


@pytest.mark.parametrize(
    ("absent", "program", "level"),
    [
        ("u", lambda c: fs.ols("ldl ~ C(ward)", c), "the reference level 'u' or the level 'w' of 'ward'"),
        ("v", lambda c: fs.ols("ldl ~ age + ward", c), "has the level 'v' of 'ward'"),
        (
            "w",
            lambda c: fs.ols("ldl ~ C(ward, Treatment('w'))", c),
            "the reference level 'w' or the level 'v' of 'ward'",
        ),
        ("w", lambda c: fs.ols("ldl ~ C(ward, Sum)", c), "one of the levels 'u', 'v', 'w' of 'ward'"),
        ("u", lambda c: fs.logit("dead ~ ward", c), "the reference level 'u' or the level 'w' of 'ward'"),
    ],
)
def test_levels_of_patients_whom_only_one_site_has(absent: str, program: Any, level: str) -> None:
    clinic, laboratory, nobody = tables()
    assert clinic is not None
    assert laboratory is not None
    without = laboratory[laboratory["ward"] != absent].head(120)
    others = laboratory[laboratory["ward"] == absent].head(9).copy()
    others["name"] += " elsewhere"
    its = pd.concat([without, others], ignore_index=True)
    said = refused(program, [clinic.drop(columns="born"), its.drop(columns="born"), nobody])
    assert all(f"{level}, let site site2 merge" in one for one in said), said


def test_tables_that_cannot_be_linked() -> None:
    clinic, laboratory, _ = small()
    assert clinic is not None
    assert laboratory is not None
    nothing = lambda cohort: None  # noqa: E731

    def link(*data: pd.DataFrame | None) -> list[str]:
        def run(federation: fs.Federation, its: pd.DataFrame | None) -> str:
            with pytest.raises(fs.FedStatsError) as caught:
                nothing(federation.cohort(its, partition="vertical", on="name"))
            return str(caught.value)

        return fs.simulate(run, list(data))

    twice = pd.concat([clinic, clinic.head(2)])
    assert "2 rows have the identifiers of a row before" in link(twice, laboratory, None)[0]
    assert "no column 'name'" in link(clinic, laboratory.drop(columns="name"), None)[1]
    clash = laboratory.assign(age=1.0)
    assert all("column 'age' is at site site1 and at site site2" in its for its in link(clinic, clash, None))
    assert all("two sites have a table" in its for its in link(clinic, None, None))
    assert any("fewer than 5 patients" in its for its in link(clinic.head(3), laboratory, None))
    assert all("no table has a row with identifiers" in its for its in link(clinic[:0], laboratory[:0], None))
    strangers = laboratory.assign(name=[f"nobody {row}" for row in range(len(laboratory))])
    said = refused(lambda cohort: fs.ols("ldl ~ age", cohort), [clinic, strangers, None])
    assert all("too few patients have a row at every site" in its for its in said)


def test_what_is_constant_or_exact_is_found_to_be() -> None:
    """Sums of products are exact: a constant has no correlation, and a fit without error no residuals."""
    clinic, laboratory, _ = small()
    assert clinic is not None
    assert laboratory is not None
    grade = np.array(["2", "9", "10"])[np.arange(len(clinic)) % 3].astype(int)
    clinic = clinic.assign(third=0.1, grade=grade, double=2 * clinic["age"] + 1)
    laboratory = laboratory.assign(pi=np.pi)

    def run(federation: fs.Federation, its: pd.DataFrame | None) -> Any:
        cohort = federation.cohort(its, partition="vertical", on="name")
        fit = fs.ols("double ~ age", cohort)
        graded = fs.ols("ldl ~ C(grade)", cohort).params.index.tolist()
        return fs.corr(cohort, ["third", "pi", "ldl"]).matrix, fit, graded

    matrix, fit, graded = fs.simulate(run, [clinic, laboratory, None])[0]
    assert matrix.loc["ldl", "ldl"] == 1
    assert matrix.drop(index="ldl").isna().all(axis=None)
    assert (fit.bse < 1e-6).all()
    assert graded == ["Intercept", "C(grade)[T.9]", "C(grade)[T.10]"]


def test_rules_of_sites_on_linked_rows() -> None:
    """A site without a table has no rows to protect; linking nearly the same rows again is differencing."""
    clinic, laboratory, nobody = small()
    assert clinic is not None

    def program(federation: fs.Federation, its: pd.DataFrame | None) -> str:
        federation.policy = SitePolicy(min_rows=5, min_difference=5)
        cohort = federation.cohort(its, partition="vertical", on="name")
        fs.ols("ldl ~ age", cohort)
        federation.cohort(its, partition="vertical", on="name")  # the same rows tell nothing new
        fewer = None if its is None else its.iloc[1:] if "age" in its else its
        with pytest.raises(fs.FedStatsError) as caught:
            federation.cohort(fewer, partition="vertical", on="name")
        return str(caught.value)

    said = fs.simulate(program, [clinic, laboratory, nobody])
    assert "min_difference = 5 forbids it" in said[0]


def test_a_rule_on_the_number_of_patients_is_one_on_those_that_are_linked() -> None:
    common = 0

    def run(federation: fs.Federation, its: pd.DataFrame | None) -> int:
        cohort = federation.cohort(its, partition="vertical", on="name")
        fs.ols("ldl ~ age", cohort)
        return cohort.sizes.common

    data = small()
    common = fs.simulate(run, data)[0]
    assert fs.simulate(run, data, policy=SitePolicy(min_pooled_rows=common))[0] == common
    with pytest.raises(fs.PolicyError, match=f"min_pooled_rows = {common + 1} .* asks for more patients"):
        fs.simulate(run, data, policy=SitePolicy(min_pooled_rows=common + 1))


def test_spellings_that_are_two() -> None:
    assert len({normalised(text) for text in ("0", "1-12", "11-2", "2.5", "25", "", "112")}) == 7
    assert normalised("12 345 678") == normalised("012345678")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Zoë", "ZOE"),
        ("Müller", "Mueller"),
        ("O'Neill ", "oneill"),
        ("Straße", "STRASSE"),
        ("007", "7"),
        ("Ł", "l"),
    ],
)
def test_spellings_that_are_one(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)
    assert normalised(one) != normalised(f"{other}x")
