"""The gate, against what a peer may answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fedstats as fs
from fedstats.analysis import Analysis
from fedstats.disclosure import Declaration
from fedstats.errors import ProtocolError, translated
from fedstats.federation import Federation
from protocols.publish import publish

ASKING = Declaration("asking", aggregate={}, published={"question": "nothing"})


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {"metadata": None},
        {"metadata": {}, "refused": 2},
        {"refused": 0},
        {"refused": True},
        {"refused": 2.0},
        {"refused": []},
        {"refused": np.array([1])},
        {"refused": np.array([1, 2])},
    ],
    ids=repr,
)
def test_an_answer_that_is_none_is_the_senders_fault(answer: Any) -> None:
    def program(federation: Federation, hostile: bool) -> None:
        with federation.analysis(ASKING) as run:
            if hostile:
                with translated():
                    publish(federation.party, run.step("question"), answer)
            else:
                run.agree("question", dict)

    with pytest.raises(ProtocolError, match="answer of site site2 is neither") as caught:
        fs.simulate(program, [False, True, False])
    assert caught.value.site == "site2"


def test_nothing_is_opened_before_the_sites_have_agreed() -> None:
    def program(federation: Federation, _: None) -> None:
        run: Analysis
        with federation.analysis(Declaration("hasty", aggregate={"total": "a sum"})) as run:
            run.sum("total", np.ones(3))

    with pytest.raises(RuntimeError, match="before the sites have agreed"):
        fs.simulate(program, [None, None, None])


def test_what_other_sites_may_hold_is_recorded_though_the_analysis_failed() -> None:
    declaration = Declaration("failing", aggregate={"total": "a sum"}, published={"question": "nothing"})

    def fail(federation: Federation, size: int) -> None:
        with federation.analysis(declaration) as run:
            run.agree("question", dict)
            run.sum("total", np.ones(size))

    def program(federation: Federation, size: int) -> frozenset[str]:
        with pytest.raises(fs.FedStatsError):
            fail(federation, size)
        return federation.leakage.labels

    assert fs.simulate(program, [3, 2, 3]) == [{"question", "total"}] * 3
