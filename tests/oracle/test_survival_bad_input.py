"""Bad input to survival analyses: typed errors that name column and remedy, and all sites stop together."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from stat_helpers import Program, refused, split

import fedstats as fs

TIMES = {"duration": "time", "event": "status"}


def base(rows: int = 90) -> pd.DataFrame:
    chance = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "time": chance.integers(1, 20, rows),
            "status": chance.integers(0, 2, rows),
            "x": chance.normal(size=rows),
            "arm": chance.choice(["a", "b", "c"], rows),
        }
    )
    return frame.assign(
        start=frame.time - 1,
        late=frame.time + (frame.index == 50),
        fine=frame.time / 10,
        text="t",
        coded=frame.status + 1,
        never=0,
        one="level",
        blank=np.nan,
        const=3.0,
        twice=2 * frame.x + 1,
        marks=np.where(frame.status == 1, 1.0, 0.0),
    )


def km(**options: object) -> Program:
    return lambda cohort: fs.kaplan_meier(cohort, **{**TIMES, **options})


def cox(formula: str, **options: object) -> Program:
    return lambda cohort: fs.coxph(formula, cohort, **{**TIMES, "disclose": "aggregate", **options})


def test(**options: object) -> Program:
    return lambda cohort: fs.logrank(cohort, **{**TIMES, "by": "arm", **options})


test.__test__ = False


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (km(duration="tme"), fs.DataError, "did you mean 'time'"),
        (km(duration="text"), fs.DataError, "'text' is categorical, a number is needed"),
        (km(duration="fine"), fs.DataError, "'fine' has .* times that are no multiples of 1: give unit="),
        (km(grid=[1, 2, 3]), fs.DataError, "'time' has .* times that are not in grid"),
        (km(grid=[3, 2]), fs.DataError, "grid is a list of finite times"),
        (km(grid="days"), fs.DataError, "grid is a list of finite times"),
        (km(grid=5), fs.DataError, "'time' has .* times that are not in grid"),
        (km(unit="day"), fs.DataError, "unit is a positive number"),
        (km(unit=[1, 7]), fs.DataError, "unit is a positive number"),
        (km(grid=[1, 2], unit=1), fs.DataError, "unit or grid, not both"),
        (km(unit=0), fs.DataError, "unit is a positive number"),
        (km(unit=1e-5), fs.DataError, "round them to a coarser unit"),
        (km(event="coded"), fs.DataError, "'coded' has .* values that are neither 0 .* nor 1"),
        (km(event="never"), fs.EstimationError, "no event at any site"),
        (km(event="blank"), fs.DataError, "'blank' has no value at any site"),
        (km(entry="late"), fs.DataError, "rows enter .'late'. when they leave"),
        (km(by="x"), fs.DataError, "'x' is used as a category and holds measurements|'x' has .* levels"),
        (km(by=["arm"]), fs.DataError, "name of one column"),
        (km(by="blank"), fs.DataError, "'blank' has no value at any site and makes no groups"),
        (km(alpha=1), fs.DataError, "alpha lies between 0 and 1"),
        (km(quantiles=(2,)), fs.DataError, "quantiles lie between 0 and 1"),
        (km(quantiles=[[0.5]]), fs.DataError, "quantiles lie between 0 and 1"),
        (km(quantiles="half"), fs.DataError, "quantiles lie between 0 and 1"),
        (km(times=[3, 1]), fs.DataError, "times is a time, or a list of times"),
        (km(times=[]), fs.DataError, "times is a time, or a list of times"),
        (km(times="all"), fs.DataError, "times is a time, or a list of times"),
        (km(times=[1, None]), fs.DataError, "times is a time, or a list of times"),
        (lambda c: fs.nelson_aalen(c, times=-1, **TIMES), fs.DataError, "times is a time, or a list"),
        (lambda c: fs.rmst(c, tau=[1, 2], **TIMES), fs.DataError, "tau is a positive time"),
        (lambda c: fs.rmst(c, tau="end", **TIMES), fs.DataError, "tau is a positive time"),
        (lambda c: fs.rmst(c, tau="20", **TIMES), fs.DataError, "tau is a positive time"),
        (lambda c: fs.rmst(c, tau=np.timedelta64(20, "D"), **TIMES), fs.DataError, "tau is a positive time"),
        (km(disclose="gated"), fs.DisclosureError, "knows no disclosure mode 'gated'"),
        (
            lambda c: fs.aalen_johansen(c, duration="time", event="arm", censored="d"),
            fs.DataError,
            "'arm' has no rows with 'd'.* levels are 'a', 'b', 'c'",
        ),
        (lambda c: fs.rmst(c, tau=-1, **TIMES), fs.DataError, "tau is a positive time"),
        (lambda c: fs.rmst(c, tau=1e6, **TIMES), fs.DataError, "tau=1e.06 is outside the grid of times"),
        (
            lambda c: fs.rmst(c, tau=1, grid=list(range(1, 2000)), **TIMES),
            fs.DataError,
            "tau=1 is outside the grid of times, which goes from 1 to 1999",
        ),
        (test(by="one"), fs.DataError, "'one' has 1 level over all sites"),
        (test(weights="gehan"), fs.DataError, "weights must be one of logrank, wilcoxon"),
        (test(weights="fleming-harrington", p=0.5), fs.DataError, "p and q are whole numbers"),
        (test(p=1), fs.DataError, "belong to weights='fleming-harrington'"),
        (
            test(strata="x"),
            fs.DataError,
            "'x' is used as a category and holds measurements|'x' has .* levels",
        ),
        (cox("x", ties="exact"), fs.DataError, "ties must be one of efron, breslow"),
        (cox("x", ph_test="sqrt"), fs.DataError, "ph_test must be one of rank, identity, log, km"),
        (cox("x", cluster="blank"), fs.EstimationError, "no site has a row without missing values"),
        (cox("x", cluster="absent", disclose="result"), fs.DataError, "'absent'"),
        (
            cox("x", cluster="arm"),
            fs.EstimationError,
            "a value of 'arm' occurs at two sites.* local_groups=True",
        ),
        (cox("x", cluster="arm", disclose="result"), fs.EstimationError, "a value of 'arm' occurs at two"),
        (cox("x", local_groups=True), fs.DataError, "name one, or leave it out"),
        (cox("x", times=[3, 1]), fs.DataError, "times is a time, or a list of times"),
        (cox("x", times={3}), fs.DataError, "times is a time, or a list of times"),
        (cox("time ~ x"), fs.DataError, "must have no response"),
        (cox("1"), fs.DataError, "has no covariates"),
        (cox("x", entry="late"), fs.DataError, "rows enter .'late'. when they leave"),
        (cox("const + x"), fs.EstimationError, "'const' has the same value in all rows"),
        (cox("const + x", disclose="result"), fs.EstimationError, "'const' has the same value in all rows"),
        (cox("x + twice"), fs.EstimationError, "'twice' is a combination of 'x'"),
        (cox("x + twice", disclose="result"), fs.EstimationError, "'twice' is a combination of 'x'"),
        (cox("marks"), fs.EstimationError, "'marks' may separate events"),
        (cox("marks", disclose="result"), fs.EstimationError, "'marks' may separate|say nothing of 'marks'"),
        (cox("x", missing="raise", duration="gaps"), fs.DataError, "'gaps' has .* missing values"),
    ],
)
def test_refused_everywhere(program: Program, error: type[Exception], message: str) -> None:
    frame = base()
    parts = split(frame.assign(gaps=frame.time.where(frame.index % 5 > 0)), [10, 40])
    for raised in refused(program, parts):
        if isinstance(raised, fs.RemoteError) and error is fs.DataError:
            continue  # the site whose own input is refused says why
        assert isinstance(raised, error), raised
        with pytest.raises(error, match=message):
            raise raised


@pytest.mark.parametrize(
    ("change", "program", "message"),
    [
        ({"time": -1}, km(), "'time' has .* negative times"),
        ({"time": np.inf}, km(), "'time' has .* values that are infinite"),
        ({"start": 99}, km(entry="start"), "rows enter .'start'. when they leave"),
        ({"status": 2}, test(), "'status' has .* values that are neither"),
        ({"x": np.inf}, cox("x"), "'x' is not finite|'x' has .* values that are infinite"),
        ({"time": 2.5}, cox("x"), "no multiples of 1"),
    ],
)
def test_refused_by_one_site(change: dict[str, object], program: Program, message: str) -> None:
    parts = split(base(), [10, 40])
    parts[1] = parts[1].assign(**change)
    first, second, third = refused(program, parts)
    assert isinstance(second, fs.DataError)
    with pytest.raises(fs.DataError, match=message):
        raise second
    for other in (first, third):
        assert isinstance(other, fs.RemoteError)
        assert "site2" in str(other)


def test_too_many_clusters_on_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedstats.survival._cox_robust.MOST_WEIGHTS", 1000)
    program = cox("x", disclose="result", cluster="arm", local_groups=True)
    for raised in refused(program, split(base(), [10, 40])):
        assert isinstance(raised, fs.EstimationError)
        assert "use disclose='aggregate'" in str(raised)


#: Every function of the family, and what it needs beside times.
FUNCTIONS = [
    (fs.kaplan_meier, {}),
    (fs.nelson_aalen, {}),
    (fs.aalen_johansen, {"censored": 0}),
    (fs.logrank, {"by": "arm"}),
    (fs.rmst, {"tau": 5}),
    (partial(fs.coxph, "x"), {}),
    (fs.concordance, {"score": "x"}),
]


def errors_of_every_function(
    changes: list[dict[str, object]], everywhere: bool = False
) -> list[list[Exception]]:
    """Return the errors of each site: of all functions, in the result mode, for each change of its rows."""

    def program(federation: fs.Federation, data: pd.DataFrame) -> list[Exception]:
        errors = []
        for change in changes:
            own = data.assign(**change) if federation.site == "site2" or everywhere else data
            cohort = federation.cohort(own)
            for function, options in FUNCTIONS:
                with pytest.raises(fs.FedStatsError) as raised:
                    function(cohort, **options, entry="start", **TIMES)
                errors.append(raised.value)
        return errors

    return fs.simulate(program, split(base(), [10, 40]))


def test_every_function_refuses_rows_that_cannot_be() -> None:
    changes = {
        "'time' has 40 negative times: correct them": {"time": -1},
        "'time' has 40 values that are infinite": {"time": np.inf},
        "'start' has 40 negative times": {"start": -1},
        "'start' has 40 values that are infinite": {"start": -np.inf},
        "40 rows enter .'start'. when they leave": {"start": 20},
        "'status' has 40 values that are infinite": {"status": np.inf},
    }
    first, second, third = errors_of_every_function([*changes.values()])
    messages = np.repeat([*changes], len(FUNCTIONS))
    for message, error, *others in zip(messages, second, first, third, strict=True):
        with pytest.raises(fs.DataError, match=message):
            raise error
        for other in others:
            assert isinstance(other, fs.RemoteError)
            assert other.site == "site2"


def test_every_function_refuses_rows_without_an_event() -> None:
    for errors in errors_of_every_function([{"status": 0}], everywhere=True):
        for error in errors:
            with pytest.raises(fs.EstimationError, match="no event at any site"):
                raise error


def test_one_time_is_a_list_of_one() -> None:
    def program(federation: fs.Federation, data: pd.DataFrame) -> None:
        cohort = federation.cohort(data)
        pairs = [
            (fs.kaplan_meier, {"times": 5, "quantiles": 0.25}, {"times": [5], "quantiles": [0.25]}),
            (fs.nelson_aalen, {"times": np.float64(5)}, {"times": np.array([5])}),
            (fs.rmst, {"tau": np.array([5])}, {"tau": 5}),
        ]
        for function, one, several in pairs:
            found, expected = (function(cohort, **TIMES, **its).to_frame() for its in (one, several))
            pd.testing.assert_frame_equal(found, expected, rtol=1e-6)
        cause = {"duration": "time", "event": "arm", "censored": "a", "disclose": "aggregate"}
        found, expected = (fs.aalen_johansen(cohort, times=its, **cause).at_risk for its in (5, [5]))
        pd.testing.assert_frame_equal(found, expected)
        assert fs.coxph("x", cohort, times=5, **TIMES).baseline.index.tolist() == [5]

    fs.simulate(program, split(base(), [10, 40]))


def test_one_cluster() -> None:
    parts = [base()[:60], base()[:0], base()[:0]]
    for mode in ("aggregate", "result"):
        for raised in refused(cox("x", cluster="one", disclose=mode), parts):
            with pytest.raises(fs.EstimationError, match="'one' is one cluster over all sites"):
                raise raised


def test_all_missing_at_one_site() -> None:
    parts = split(base(), [10, 40])
    parts[1] = parts[1].assign(x=np.nan, arm=None)
    run = lambda fed, data: fs.coxph("x", fed.cohort(data), disclose="aggregate", **TIMES)  # noqa: E731
    assert fs.simulate(run, parts)[0].n_missing == 40


def test_groups_that_never_meet() -> None:
    frame = base().assign(
        arm=lambda f: np.where(f.time > 10, "a", "b"), start=lambda f: np.where(f.time > 10, 10, 0)
    )
    for mode in ("aggregate", "result"):
        for raised in refused(test(entry="start", disclose=mode), split(frame, [10, 40])):
            assert isinstance(raised, fs.EstimationError)
