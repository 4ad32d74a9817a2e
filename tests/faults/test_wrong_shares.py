"""A party that sends wrong shares, or different ones to its peers: nobody honest gets a result."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from engine_helpers import NAMES, compute, secret_of

from protocols import codec
from protocols.cholesky import cholesky
from protocols.engine import Engine
from protocols.errors import CodecError, Disagreement, ProtocolError
from protocols.field import P
from protocols.fixed import Format
from protocols.floating import floating
from protocols.long import narrow, share_long
from protocols.party import Party
from protocols.reveal import reveal
from protocols.secret import truncate
from protocols.testing import run_parties
from transport.base import Buffer
from transport.errors import TransportError

SIZES = [3, 4, 5, 7]
LIAR = "b"


def outcomes(n: int, program: Callable[[Engine], Any], lie: Callable[[str, str, Buffer], Buffer]) -> Mapping:
    """Run a program while one party's messages pass through `lie`; return each party's error.

    The liar's, too: its program is an honest one, and may be the first to notice.
    """
    found: dict[str, Any] = {}

    def run(party: Party) -> None:
        if party.me == LIAR:
            send = party.send
            party.send = lambda peer, step, payload: send(peer, step, lie(peer, step, payload))
            exchange = party.mesh.exchange
            party.mesh.exchange = lambda step, outgoing: exchange(
                step, {peer: lie(peer, step, payload) for peer, payload in outgoing.items()}
            )
        try:
            found[party.me] = program(Engine(party))
        except (ProtocolError, TransportError) as error:
            found[party.me] = error
            raise

    with pytest.raises((ProtocolError, TransportError)):
        run_parties(NAMES[:n], run)
    return found


def honest(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: error for name, error in found.items() if name != LIAR}


def flip(payload: Buffer) -> bytes:
    """Change the lowest bit of the first element of a message."""
    array = codec.decode(payload).copy()
    array[0, 0] ^= np.uint64(1)
    return codec.encode(array)


def everywhere(where: str) -> Callable[[str, str, Buffer], Buffer]:
    return lambda peer, step, payload: flip(payload) if where in step else payload


def only_to(victim: str, where: str) -> Callable[[str, str, Buffer], Buffer]:
    return lambda peer, step, payload: flip(payload) if where in step and peer == victim else payload


def assert_nobody_has_a_result(found: Mapping[str, Any], n: int) -> None:
    assert len(honest(found)) == n - 1
    assert all(isinstance(error, ProtocolError | TransportError) for error in honest(found).values())
    assert any(isinstance(error, Disagreement) for error in found.values())


def opening(engine: Engine) -> Any:
    return secret_of(engine, [7, 8, 9]).open()


def revealing(engine: Engine) -> Any:
    return secret_of(engine, [7, 8, 9]).reveal("figures")


def truncating(engine: Engine) -> Any:
    return truncate(secret_of(engine, [7, 8, 9], Format(20, 9)), 2)


def comparing(engine: Engine) -> Any:
    return secret_of(engine, [7, 8, 9], Format(0, 9)) < 8


def long_comparing(engine: Engine) -> Any:
    return share_long(engine, np.array([7, 8, 9]), bound=9, fraction=0) < 8


def narrowing(engine: Engine) -> Any:
    return narrow(share_long(engine, np.array([7, 8, 9]), bound=9, fraction=64), bound=9, fraction=10)


def adding_floats(engine: Engine) -> Any:
    x = floating(secret_of(engine, [7, 8, 9], Format(20, 9)))
    return reveal(engine, {"total": x + 1.0})


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    ("program", "where"),
    [
        (opening, "open"),
        (revealing, "reveal"),
        (truncating, "truncate"),
        (comparing, "masked"),
        (long_comparing, "masked"),
        (narrowing, "narrow"),
        (adding_floats, "leading"),
        (adding_floats, "exponent"),
        (adding_floats, "rounded"),
    ],
)
def test_a_wrong_share_in_an_opening_stops_all(n, program, where):
    found = honest(outcomes(n, program, everywhere(where)))
    assert len(found) == n - 1
    assert all(isinstance(error, Disagreement | TransportError) for error in found.values())
    for error in found.values():
        text = re.sub(r"engine/\d+", "", str(error))  # the number of the step
        assert not any(figure in text for figure in ("7", "8", "9"))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("where", ["reveal", "open"])
def test_a_wrong_share_to_one_peer_alone_stops_all_before_they_return(n, where):
    def program(engine: Engine) -> Any:
        masked = secret_of(engine, [7, 8, 9]) * 2
        return masked.reveal("figures")

    assert_nobody_has_a_result(outcomes(n, program, only_to("a", where)), n)


@pytest.mark.parametrize("n", SIZES)
def test_a_product_opened_differently_to_one_peer_is_noticed(n):
    # Passive security says nothing of the value; that parties hold different ones is found out.
    def program(engine: Engine) -> Any:
        x = secret_of(engine, [7, 8, 9], Format(20, 9))
        return (x * x).reveal("figures")

    assert_nobody_has_a_result(outcomes(n, program, only_to("a", "multiply")), n)


@pytest.mark.parametrize("where", ["mask rows", "elimination", "normalise"])
def test_a_masked_matrix_opened_differently_to_one_peer_is_noticed(where):
    def program(engine: Engine) -> Any:
        x = secret_of(engine, [[3, 1], [1, 2]], Format(0, 3))
        return cholesky(x, least=0.5, fraction=20).reveal("factor")

    def lie(peer: str, step: str, payload: Buffer) -> Buffer:
        if where not in step or peer != "a":
            return payload
        array = codec.decode(payload).copy()
        array[-1] ^= np.uint64(1)
        return codec.encode(array)

    found = honest(outcomes(3, program, lie))
    assert all(isinstance(error, ProtocolError | TransportError) for error in found.values())


@pytest.mark.parametrize(
    "message",
    [
        codec.encode(np.array([[2**64 - 1, 2**63 - 1]] * 3, np.uint64)),
        codec.encode(np.zeros((3, 3), np.uint64)),
        codec.encode(np.zeros((3, 2), np.int64)),
        codec.encode([1, 2]),
        codec.encode(np.zeros((2, 2), np.uint64)),
        b"a\x04\x01",
    ],
    ids=["p itself", "three words", "signed", "a list", "too short", "no encoding"],
)
def test_what_is_no_array_of_elements_is_refused(message):
    found = honest(outcomes(3, opening, lambda peer, step, payload: message if "open" in step else payload))
    refused = [error for error in found.values() if isinstance(error, ProtocolError)]
    assert refused
    assert all(error.peer == LIAR for error in refused)
    assert all(str(P) not in str(error) for error in refused)
    assert any(isinstance(error, CodecError) for error in refused) or len(codec.decode(message)) == 2


def test_honest_parties_get_results():
    assert all(np.array_equal(result, [7, 8, 9]) for result in compute(3, lambda e: revealing(e)).values())
