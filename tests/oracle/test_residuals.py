"""`residuals` against statsmodels' residuals of the pooled rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from stat_helpers import refused, split

import fedstats as fs
from fedstats.regression.residuals import DECLARATION

FORMULA = "affairs ~ rate_marriage + age + C(occupation) + religious"
LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def fair() -> pd.DataFrame:
    frame = sm.datasets.fair.load_pandas().data.sample(700, random_state=1).reset_index(drop=True)
    frame["occupation"] = [f"o{number:.0f}" for number in frame.occupation]
    return frame.assign(age=frame.age.where(frame.index % 70 != 3), weight=1 + frame.index % 3)


def fit(cohort: fs.Cohort) -> fs.GLMResult:
    return fs.glm(
        FORMULA, cohort, family="tweedie", exposure="yrs_married", weights="weight", disclose="aggregate"
    )


@pytest.mark.parametrize("kind", ["deviance", "pearson"])
def test_quantiles_by_group_of_pooled_rows(fair: pd.DataFrame, kind: str) -> None:
    def program(federation: fs.Federation, rows: pd.DataFrame) -> fs.ResidualsResult:
        cohort = federation.cohort(rows)
        return fs.residuals(fit(cohort), cohort, kind=kind, groups=4, q=LEVELS)

    results = fs.simulate(program, split(fair, [3, 200]))
    found = results[0]
    complete = fair.dropna()
    theirs = smf.glm(
        FORMULA,
        complete,
        family=sm.families.Tweedie(var_power=1.5),
        exposure=complete.yrs_married,
        var_weights=complete.weight,
    ).fit(tol=1e-12, tol_criterion="params")
    eta = theirs.predict(which="linear")
    group = np.searchsorted(found.limits, eta, side="right")
    expected = pd.Series(getattr(theirs, f"resid_{kind}")).groupby(group).quantile(LEVELS).unstack()  # noqa: PD010
    np.testing.assert_allclose(found.quantiles, expected, rtol=1e-6)
    assert found.numbers.tolist() == np.bincount(group).tolist()
    assert max(abs(found.numbers - len(complete) / 4)) < 20
    assert (found.nobs, found.n_missing) == (len(complete), len(fair) - len(complete))
    assert found.leakage.labels == {*DECLARATION.result, *DECLARATION.published}
    for other in results[1:]:
        pd.testing.assert_frame_equal(other.to_frame(), found.to_frame(), check_exact=True)
    assert f"{kind.capitalize()} residuals" in found.summary()
    assert found.plot().get_ylabel() == f"{kind} residuals"


def test_few_rows_have_no_quantiles(fair: pd.DataFrame) -> None:
    def program(federation: fs.Federation, rows: pd.DataFrame) -> fs.ResidualsResult:
        its = fit(federation.cohort(rows))
        return fs.residuals(its, federation.cohort(rows[:2]), groups=3)

    [found, *_] = fs.simulate(program, split(fair, [1, 2]))
    assert found.quantiles.isna().all(axis=None)
    assert len(found.limits) == 0
    assert "suppressed" in found.summary()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "raw"}, "kind must be one of deviance, pearson, response"),
        ({"groups": 0}, "groups must be from 1 to 50"),
        ({"q": [1.5]}, "q is a list of levels"),
    ],
)
def test_bad_calls(fair: pd.DataFrame, options: dict[str, object], message: str) -> None:
    for error in refused(lambda c: fs.residuals(fit(c), c, **options), split(fair, [9, 200])):
        assert isinstance(error, fs.DataError)
        assert message in str(error)


def test_rows_that_the_fit_does_not_know(fair: pd.DataFrame) -> None:
    def program(cohort: fs.Cohort) -> object:
        its = fit(cohort)
        other = cohort.federation.cohort(fair[:50].assign(occupation="o9"))
        return fs.residuals(its, other)

    def impossible(cohort: fs.Cohort) -> object:
        return fs.residuals(fit(cohort), cohort.federation.cohort(fair[:50].assign(affairs=-1.0)))

    for error in refused(impossible, split(fair, [9, 200])):
        assert "'affairs' is not 0 or more in 50 rows of this site" in str(error)
    for error in refused(program, split(fair, [9, 200])):
        assert "'occupation' has levels in 49 rows that the analysis did not have" in str(error)
