"""Bad input at one site or at all: typed errors that name column and remedy, and all sites stop together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from stat_helpers import Program, aggregate, refused, split

import fedstats as fs
from fedstats.cohort import Cohort

CANARY = "Canary-73-Miller"


def base(rows: int = 90) -> pd.DataFrame:
    chance = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "y": chance.normal(size=rows),
            "x": chance.normal(size=rows) + 5,
            "arm": chance.choice(["a", "b", "c"], rows),
            "sick": chance.random(rows) < 0.5,
            "visit": pd.date_range("2020-01-01", periods=rows),
        }
    )
    return frame.assign(const=0.1, one="level", twice=2 * frame.x + 1, blank=np.nan)


def one_site(**columns: object) -> list[pd.DataFrame]:
    """Change columns at the second of three sites; a callable is given the frame."""
    parts = split(base(), [10, 40])
    parts[1] = parts[1].assign(**columns)
    return parts


def fit(formula: str, **options: object) -> Program:
    return lambda cohort: aggregate.ols(formula, cohort, **options)


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (fit("y ~ agee"), fs.DataError, "no site has a column 'agee'"),
        (fit("y ~ xx"), fs.DataError, "did you mean 'x'"),
        (fit("y ~ const + x"), fs.EstimationError, "'const' has the same value in all rows"),
        (
            fit("y ~ x + twice"),
            fs.EstimationError,
            "'twice' is a combination of 'Intercept', 'x'|'twice' is a combination of 'x'",
        ),
        (fit("y ~ arm + I((x > 5) * 0.0)"), fs.EstimationError, "has the same value in all rows"),
        (fit("y ~ 0 + arm + C(arm, Sum) + x"), fs.EstimationError, "is a combination of"),
        (fit("const ~ x"), fs.EstimationError, "the response 'const' has the same value"),
        (fit("y ~ one"), fs.DataError, "column 'one' has 1 level over all sites"),
        (fit("y ~ blank"), fs.DataError, "column 'blank' has no value at any site"),
        (fit("y ~ visit"), fs.DataError, "'visit' is datetime, a number is needed"),
        (fit("y ~ C(visit)"), fs.DataError, "'visit' is datetime and cannot be a category"),
        (fit("y ~ log(arm)"), fs.DataError, "'arm' is categorical, a number is needed"),
        (fit("arm ~ x"), fs.DataError, "the response 'arm' is categorical"),
        (fit("C(sick) ~ x"), fs.DataError, "is categorical, a number is needed"),
        (fit("y ~ C(arm, Treatment('d'))"), fs.DataError, "no level 'd'; the levels are 'a', 'b', 'c'"),
        (fit("y ~ C(x)"), fs.DataError, "column 'x' has .* levels in .* rows of this site"),
        (fit("y ~ scale(const)"), fs.DataError, "const has the same value in all rows"),
        (fit("y ~ poly(x, 2)"), fs.DataError, "from each site's rows alone"),
        (fit("x"), fs.DataError, "has no response"),
        (fit("y ~ 0"), fs.DataError, "has no terms"),
        (fit("y ~ x", cov_type="HC4"), fs.DataError, "cov_type must be one of nonrobust, HC0"),
        (fit("y ~ x", missing="impute"), fs.DataError, "missing must be 'drop' or 'raise'"),
        (fit("y ~ x", disclose="secret"), fs.DisclosureError, "knows no disclosure mode 'secret'"),
        (lambda c: aggregate.describe(c, ["yy"]), fs.DataError, "no site has a column 'yy'"),
        (lambda c: aggregate.describe(c, "x"), fs.DataError, "columns is a list"),
        (lambda c: aggregate.describe(c, ["x", "x"]), fs.DataError, "more than once"),
        (lambda c: aggregate.describe(c, []), fs.DataError, "no column to describe"),
        (lambda c: aggregate.describe(c, ["x"], by=["arm", "sick"]), fs.DataError, "name of one column"),
        (lambda c: aggregate.describe(c, by="blank"), fs.DataError, "makes no groups"),
        (lambda c: aggregate.describe(c, by="visit"), fs.DataError, "group the dates"),
        (lambda c: aggregate.describe(c, by="x"), fs.DataError, "'x' has .* levels"),
    ],
)
def test_at_all_sites(program: Program, error: type[fs.FedStatsError], message: str) -> None:
    errors = refused(program, split(base(), [20, 40]))
    assert [type(e) for e in errors] == [error] * 3
    with pytest.raises(error, match=message):
        raise errors[1]


def with_gap(frame: pd.DataFrame) -> pd.Series:
    return frame.x.where(np.arange(len(frame)) > 2)


def infinite(frame: pd.DataFrame) -> pd.Series:
    return frame.x.where(np.arange(len(frame)) > 2, np.inf)


def negative(frame: pd.DataFrame) -> pd.Series:
    return frame.x.where(np.arange(len(frame)) > 2, -1.0)


@pytest.mark.parametrize(
    ("program", "change", "message"),
    [
        (fit("y ~ x"), {"x": infinite}, "'x' has 3 values that are infinite"),
        (lambda c: aggregate.describe(c), {"x": infinite}, "'x' has 3 values that are infinite"),
        (fit("y ~ log(x)"), {"x": negative}, r"'log\(x\)' is not finite in 3 rows of this site"),
        (
            fit("y ~ log(center(x) + 9)"),
            {"x": lambda f: f.x - 50 * (np.arange(len(f)) < 3)},
            "not finite in 3 rows",
        ),
        (fit("y ~ center(log(x))"), {"x": negative}, "not finite in 3 rows"),
        (fit("log(x) ~ y"), {"x": negative}, "not finite in 3 rows"),
        (fit("y ~ x", missing="raise"), {"x": with_gap}, "'x' has 3 missing values at this site"),
        (
            fit("y ~ arm"),
            {"arm": lambda f: [f"{CANARY}{i}" for i in range(len(f))]},
            "'arm' has 40 levels in 40 rows",
        ),
        (
            lambda c: aggregate.describe(c, by="arm"),
            {"arm": lambda f: [f"{CANARY}{i}" for i in range(len(f))]},
            "declare",
        ),
    ],
)
def test_at_one_site(program: Program, change: dict[str, Callable[..., object]], message: str) -> None:
    errors = refused(program, one_site(**change))
    assert [type(error) for error in errors] == [fs.RemoteError, fs.DataError, fs.RemoteError]
    assert "site site2 (data error)" in str(errors[0])
    with pytest.raises(fs.DataError, match=message):
        raise errors[1]
    assert CANARY not in repr([(e, e.__cause__, e.__context__, getattr(e, "__notes__", ())) for e in errors])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": CANARY}, "'x' is categorical at site site2, float at sites site1, site3"),
        ({"x": lambda f: [CANARY, *[1.0] * (len(f) - 1)]}, "'x' at site site2 holds values of several types"),
    ],
)
def test_type_that_differs_at_one_site_is_known_to_all(change: dict[str, object], message: str) -> None:
    for error in refused(fit("y ~ x"), one_site(**change)):
        assert isinstance(error, fs.DataError)
        assert message in str(error)


def test_column_that_one_site_lacks_is_known_to_all() -> None:
    parts = split(base(), [10, 40])
    parts[2] = parts[2].drop(columns="x")
    for error in refused(fit("y ~ x"), parts):
        assert "'x' does not exist at site site3: add it there" in str(error)


def test_no_column_that_all_sites_can_use() -> None:
    parts = [pd.DataFrame({"y;x": ["1;2"]}), pd.DataFrame({"y": [1.0]}), pd.DataFrame({"y": [2.0]})]
    for error in refused(aggregate.describe, parts):
        assert "no column to describe; column 'y' does not exist at site site1: add it there" in str(error)


def test_formulas_that_differ_between_sites_are_shown() -> None:
    def program(cohort: Cohort) -> object:
        return aggregate.ols("y ~ x" if cohort.federation.site != "site2" else "y ~ arm", cohort)

    errors = refused(program, split(base(), [10, 40]))
    assert all(isinstance(error, fs.DataError) and "different analyses" in str(error) for error in errors)
    assert "y ~ arm" in str(errors[0])
    assert "y ~ x" in str(errors[1])


def test_too_few_rows() -> None:
    for error in refused(fit("y ~ x + arm"), split(base(4), [1, 1])):
        assert isinstance(error, fs.EstimationError)
        assert "4 complete rows over all sites cannot determine 4 terms" in str(error)


@pytest.mark.parametrize(("column", "unit"), [("y", 1e200), ("x", 1e-250)])
def test_variances_that_overflow(column: str, unit: float) -> None:
    frame = base()
    frame[column] *= unit
    for error in refused(fit("y ~ x"), split(frame, [10, 40])):
        assert isinstance(error, fs.EstimationError)
        assert "change the units" in str(error)


def test_no_complete_row_at_any_site() -> None:
    frame = base(30)
    frame["x"] = frame.x.where(frame.index < 15)
    frame["y"] = frame.y.where(frame.index >= 15)
    for error in refused(fit("y ~ x"), split(frame, [5, 10])):
        assert isinstance(error, fs.EstimationError)


def test_row_that_determines_a_term_alone() -> None:
    parts = split(base(), [10, 40])
    parts[0]["arm"] = ["rare", *["a"] * 9]
    for cov_type in ("HC2", "HC3"):
        for error in refused(fit("y ~ arm + x", cov_type=cov_type), parts):
            assert isinstance(error, fs.EstimationError)
            assert "1 rows determine a term alone" in str(error)


def test_declared_level_that_no_row_has() -> None:
    levels = {"arm": ["a", "b", "c", "never"]}
    for error in refused(fit("y ~ arm + x"), split(base(), [10, 40]), levels=levels):
        assert isinstance(error, fs.EstimationError)
        assert "'arm[T.never]' has the same value in all rows" in str(error)


def test_all_missing_at_one_site_is_fine() -> None:
    results = fs.simulate(
        lambda fed, frame: aggregate.ols("y ~ x + arm", fed.cohort(frame)),
        one_site(x=None, arm=None, y=np.nan),
    )
    assert results[0].nobs == 50
    assert results[0].n_missing == 40


def test_policy_that_forbids_aggregates() -> None:
    policy = fs.policy.SitePolicy(allow_aggregate=False)
    with pytest.raises(fs.PolicyError, match="allow_aggregate"):
        fs.simulate(lambda fed, d: aggregate.describe(fed.cohort(d)), split(base(), [10, 40]), policy=policy)
