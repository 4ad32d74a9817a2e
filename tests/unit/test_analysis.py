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
from protocols.inputs import sum_shares
from protocols.publish import publish
from protocols.reveal import reveal

ASKING = Declaration("asking", published={"question": "nothing"})


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {"metadata": None},
        {"metadata": {}, "refused": 2},
        {"metadata": {}, "demands": {"max_digits": 99}},
        {"metadata": {}, "demands": {}, "refused": 2},
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
        with federation.analysis(Declaration("hasty", aggregate={"total": "a sum"}), "aggregate") as run:
            run.sum("total", np.ones(3))

    with pytest.raises(RuntimeError, match="before the sites have agreed"):
        fs.simulate(program, [None, None, None])


def test_what_other_sites_may_hold_is_recorded_though_the_analysis_failed() -> None:
    declaration = Declaration("failing", aggregate={"total": "a sum"}, published={"question": "nothing"})

    def fail(federation: Federation, size: int) -> None:
        with federation.analysis(declaration, "aggregate") as run:
            run.agree("question", dict)
            run.sum("total", np.ones(size))

    def program(federation: Federation, size: int) -> frozenset[str]:
        with pytest.raises(fs.FedStatsError):
            fail(federation, size)
        return federation.leakage.labels

    assert fs.simulate(program, [3, 2, 3]) == [{"question", "total"}] * 3


COUNTING = Declaration(
    "counting",
    aggregate={"total": "a sum"},
    result={"double": "twice a sum", "triple": "three times a sum"},
    published={"question": "nothing"},
)


def test_results_are_opened_and_recorded_by_the_labels_of_their_mode() -> None:
    def program(federation: Federation, mine: int) -> tuple[list[int], fs.disclosure.Leakage]:
        with federation.analysis(COUNTING, "result") as run:
            run.agree("question", dict)
            with run.on_shares() as engine:
                total = sum_shares(engine, np.array([mine, 1]), bound=100)
                double, triple = total * 2, total * 3
            opened = run.reveal({"double": double, "triple": triple})
            opened["double"] += run.reveal({"double": double[:1]}, part=1)["double"]
            found = [*opened["double"].tolist(), *opened["triple"].tolist()]
            return found, run.finish()["leakage"]

    for found, leakage in fs.simulate(program, [1, 2, 3]):
        assert found == [24, 18, 18, 9]
        assert [(r.label, r.kind, r.size) for r in leakage] == [
            ("question", "published", leakage[0].size),
            ("double", "result", 3),
            ("triple", "result", 2),
        ]


@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_the_gate_refuses_what_the_mode_does_not_declare(disclose: str) -> None:
    label = {"aggregate": "double", "result": "total"}[disclose]

    def program(federation: Federation, mine: int) -> frozenset[str]:
        with federation.analysis(COUNTING, disclose) as run:
            run.agree("question", dict)
            secret = sum_shares(run.engine, np.array([mine]), bound=100)
            for leak in (
                lambda: run.sum(label, np.array([mine])),
                lambda: run.reveal({label: secret}),
                lambda: reveal(run.engine, {label: secret}),
                lambda: secret.reveal(label),
            ):
                with pytest.raises(RuntimeError, match=f"does not declare '{label}' for '{disclose}'"):
                    leak()
        return federation.leakage.labels

    assert fs.simulate(program, [1, 2, 3]) == [{"question"}] * 3


def test_two_sites_cannot_compute_on_shares() -> None:
    def program(federation: Federation, _: None) -> None:
        with federation.analysis(COUNTING, "result") as run:
            run.agree("question", dict)

    allowing = fs.policy.SitePolicy(allow_two_site_sums=True)
    with pytest.raises(fs.PolicyError, match="between two sites: invite a third one"):
        fs.simulate(program, [None, None], policy=allowing)
