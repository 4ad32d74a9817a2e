from __future__ import annotations

import numpy as np
import pytest

from protocols import codec
from protocols.confirm import confirm
from protocols.errors import CodecError, Disagreement, LabelReused
from protocols.publish import publish
from protocols.sum import secure_sum
from protocols.testing import run_parties


def test_every_party_gets_every_value_in_the_roster_order():
    def program(party):
        return publish(party, "schema", {"columns": ["age", party.me], "rows": party.index})

    results = run_parties("bca", program)
    expected = {name: {"columns": ["age", name], "rows": row} for row, name in enumerate("abc")}
    assert list(results) == ["b", "c", "a"]
    for result in results.values():
        assert result == expected
        assert list(result) == ["a", "b", "c"]


def test_costs_one_round_and_the_encoding_to_each_peer():
    def program(party):
        publish(party, "schema", "x" * 100)
        return party.mesh.traffic.rounds, party.mesh.traffic.bytes_sent

    assert set(run_parties("abcd", program).values()) == {(1, 3 * 105)}


def test_what_cannot_be_published_is_not_sent():
    def program(party):
        with pytest.raises(ValueError, match="may be published"):
            publish(party, "schema", "x" * 100, max_bytes=104)
        with pytest.raises(TypeError):
            publish(party, "schema", (1, 2))  # type: ignore[arg-type]
        assert party.mesh.traffic.messages_sent == 0
        publish(party, "schema", None)  # the label was not used up
        with pytest.raises(LabelReused):
            publish(party, "schema", None)

    run_parties("ab", program)


@pytest.mark.parametrize("payload", [b"", b"NN", codec.encode("x" * 1000)])
def test_errors_name_the_sender(payload):
    def program(party):
        if party.me == "b":
            party.mesh.broadcast("schema", payload)
        else:
            publish(party, "schema", 1, max_bytes=100)

    with pytest.raises(CodecError, match="site b") as caught:
        run_parties("ab", program)
    assert caught.value.peer == "b"


def test_confirmation_of_what_all_received_alike():
    def program(party):
        confirm(party, "begin")
        secure_sum(party, "total", np.arange(5.0))
        publish(party, "schema", party.me)
        before = party.mesh.traffic.copy()
        confirm(party, "end")
        return party.mesh.traffic - before

    for cost in run_parties("abc", program).values():
        assert (cost.rounds, cost.bytes_sent) == (1, 2 * 37)


def test_a_site_that_tells_its_peers_different_things_is_found_out():
    def program(party):
        if party.me == "b":
            party.mesh.exchange("rows", {"a": codec.encode(10), "c": codec.encode(11)})
            party.claim("rows")
        else:
            publish(party, "rows", 3)
        confirm(party, "end")

    with pytest.raises(Disagreement, match="discard this session's results"):
        run_parties("abc", program)


def test_a_confirmation_that_is_none():
    def program(party):
        if party.me == "b":
            publish(party, "end", "fine")
        else:
            confirm(party, "end")

    with pytest.raises(CodecError, match="site b sent no transcript"):
        run_parties("ab", program)
