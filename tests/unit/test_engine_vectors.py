"""Known answers of pseudorandom sharing, openings and fixed point, bad ones included; see `vectors`."""

from __future__ import annotations

import json
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_helpers import NAMES

from protocols import codec, errors, field
from protocols.engine import Engine
from protocols.errors import CodecError, Disagreement
from protocols.inputs import share
from protocols.opening import open_shares
from protocols.prss import Prss
from protocols.testing import run_parties
from transport.errors import TransportError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "engine.json").read_text())
SESSION = bytes(range(32))


def unhex(encodings: list[str]) -> np.ndarray:
    return np.frombuffer(bytes.fromhex("".join(encodings)), np.uint64).reshape(-1, 2).copy()


def test_the_file_is_what_the_reference_writes(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "vectors")
    import engine_reference

    assert engine_reference.vectors() == VECTORS
    del sys.modules["engine_reference"]


@pytest.mark.parametrize("case", VECTORS["prss"], ids=lambda case: f"n={case['n']} drop={case['drop']}")
def test_pseudorandom_sharings(case):
    n = case["n"]
    t = (n - 1) // 2
    for point in range(1, n + 1):
        sets = [subset for subset in combinations(range(1, n + 1), n - t) if point in subset]
        keys = {subset: bytes(subset).ljust(32, b"k") for subset in sets}
        whole, shifted = Prss(n, point, keys, SESSION).bounded(
            case["label"], 3, bits=case["bits"], drop=case["drop"]
        )
        expected = unhex(case["shares"][point - 1])
        np.testing.assert_array_equal(shifted, expected)
        assert case["drop"] == 0 or not np.array_equal(whole, expected)


def opened(case: dict[str, Any]) -> Any:
    """Let parties open the shares of a case; one that would not leave a party is put in its message."""
    shares = unhex(case["shares"])

    def program(party: Any) -> Any:
        send, own = party.send, shares[party.index : party.index + 1]
        party.send = lambda peer, step, data: send(peer, step, codec.encode(own) if " open" in step else data)
        return field.to_ints(open_shares(Engine(party), "open", own)).tolist()

    return run_parties(NAMES[: case["n"]], program)


@pytest.mark.parametrize("case", VECTORS["opening"]["good"], ids=lambda case: f"n={case['n']}")
def test_openings(case):
    value = int.from_bytes(bytes.fromhex(case["value"]), "little")
    assert all(found == [value] for found in opened(case).values())


@pytest.mark.parametrize("case", VECTORS["opening"]["bad"], ids=lambda case: case["why"])
def test_openings_of_what_is_no_sharing(case):
    with pytest.raises((Disagreement, CodecError, TransportError)) as caught:
        opened(case)
    # To its peers p is no element; the party that holds it may be the first to say that shares disagree.
    expected = (CodecError, Disagreement) if "p itself" in case["why"] else Disagreement
    assert isinstance(caught.value, expected)


@pytest.mark.parametrize("case", VECTORS["fixed"]["good"], ids=lambda case: case["value"])
def test_fixed_point(case):
    value, fraction = float.fromhex(case["value"]), case["fraction"]
    element = field.from_floats(np.array([value]), fraction, 2.0**21)
    assert element.tobytes().hex() == case["element"]
    assert abs(field.to_floats(element, fraction)[0] - value) <= 2.0 ** (-fraction - 1)


@pytest.mark.parametrize("case", VECTORS["fixed"]["bad"], ids=lambda case: f"{case['value']} {case['error']}")
def test_refused_fixed_point(case):
    def program(party: Any) -> bool:
        engine = Engine(party)
        before = party.mesh.traffic.copy()
        expected = getattr(errors, case["error"], ValueError)
        with pytest.raises(expected):
            share(
                engine,
                np.array([float.fromhex(case["value"])]),
                bound=case["bound"],
                fraction=case["fraction"],
            )
        return party.mesh.traffic == before

    assert all(run_parties("abc", program).values())
