"""Shamir's sharing and pseudorandom sharing: known answers, properties, keys."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from engine_helpers import NAMES, compute, elements, integers, residues
from hypothesis import given
from hypothesis import strategies as st

from protocols import field, prss, shamir
from protocols.errors import CodecError, LabelReused
from protocols.field import P
from protocols.party import Party
from protocols.prss import Prss
from protocols.testing import run_parties

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "shamir.json").read_text())
SIZES = [3, 4, 5, 7, 10]


def unhex(encodings: list[str]) -> np.ndarray:
    return np.frombuffer(bytes.fromhex("".join(encodings)), np.uint64).reshape(-1, 2).copy()


@pytest.mark.parametrize("case", VECTORS["good"], ids=lambda case: f"n={case['n']}")
def test_known_sharings(case):
    (secret,) = unhex([case["secret"]])
    shares = shamir.split(secret, unhex(case["coefficients"]), case["n"])
    assert shares.tobytes().hex() == "".join(case["shares"])
    assert shamir.threshold(case["n"]) == case["t"]
    assert shamir.lies_on_polynomial(shares, case["t"])
    np.testing.assert_array_equal(shamir.reconstruct(shares, case["t"]), secret)


@pytest.mark.parametrize("case", VECTORS["bad"], ids=lambda case: case["why"])
def test_known_contradictions(case):
    assert not shamir.lies_on_polynomial(unhex(case["shares"]), case["t"])


@pytest.mark.parametrize("case", VECTORS["prss"], ids=lambda case: f"n={case['n']} at {case['at']}")
def test_known_coefficients(case):
    found = prss.coefficient(tuple(case["subset"]), case["n"], case["at"])
    assert found.to_bytes(16, "little").hex() == case["coefficient"]


@given(n=st.sampled_from(SIZES), data=st.data())
def test_any_t_plus_one_shares_reconstruct(n, data):
    t = shamir.threshold(n)
    secret, *coefficients = data.draw(st.lists(residues, min_size=t + 1, max_size=t + 1))
    shares = shamir.split(elements([secret]), elements(coefficients).reshape(t, 1, 2), n)
    some = data.draw(st.permutations(range(n)))[: t + 1]
    assert integers(shamir.interpolate([shares[i] for i in some], [i + 1 for i in some])) == [secret]


@given(n=st.sampled_from(SIZES), data=st.data())
def test_up_to_t_wrong_shares_are_noticed(n, data):
    t = shamir.threshold(n)
    shares = shamir.split(elements([5, 6]), elements([[1, 2]] * t), n)
    for wrong in data.draw(st.permutations(range(n)))[: data.draw(st.integers(1, t))]:
        error = data.draw(st.integers(1, P - 1))
        shares[wrong, 1] = field.add(shares[wrong, 1], elements(error))
    assert not shamir.lies_on_polynomial(shares, t)


@given(n=st.sampled_from(SIZES), data=st.data())
def test_given_shares_are_kept(n, data):
    t = shamir.threshold(n)
    secret, *numbers = data.draw(st.lists(residues, min_size=t + 1, max_size=t + 1))
    points = data.draw(st.permutations(range(1, n + 1)))[:t]
    given_shares = {point: elements([number]) for point, number in zip(points, numbers, strict=True)}
    shares = shamir.complete(elements([secret]), given_shares, n)
    assert [integers(shares[point - 1]) for point in points] == [[number] for number in numbers]
    assert shamir.lies_on_polynomial(shares, t)
    assert integers(shamir.reconstruct(shares, t)) == [secret]


def all_prss(n: int) -> list[Prss]:
    t = shamir.threshold(n)
    keys = {subset: bytes(map(int, f"{k:032}")) for k, subset in enumerate(prss.subsets(n, t))}
    return [
        Prss(n, i, {subset: key for subset, key in keys.items() if i in subset}, b"session")
        for i in range(1, n + 1)
    ]


@pytest.mark.parametrize("n", SIZES)
def test_pseudorandom_sharings(n):
    t, parties = shamir.threshold(n), all_prss(n)
    shares = [party.uniform("u", 3) for party in parties]
    assert shamir.lies_on_polynomial(shares, t)
    assert not shamir.lies_on_polynomial(shares, t - 1)
    assert len(parties[0].holdings) == math.comb(n - 1, t)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("drop", [0, 1, 40, 64, 100])
def test_bounded_summands_and_their_high_parts(n, drop):
    t, parties = shamir.threshold(n), all_prss(n)
    bits = parties[0].bits
    whole, shifted = zip(*(party.bounded("b", 4, bits=bits, drop=drop) for party in parties), strict=True)
    known = {}
    for party in parties:
        for held, summand in party.summands("s", 4, bits):
            np.testing.assert_array_equal(known.setdefault(held.subset, summand), summand)
    assert len(known) == math.comb(n, t)
    again = {}
    for party in all_prss(n):
        again |= {held.subset: field.to_ints(r) for held, r in party.summands("b", 4, bits)}
    total = sum(again.values())
    assert max(total) + 2**bits < P  # as integers: nothing wraps, and one number more still fits
    assert shamir.lies_on_polynomial(shifted, t)
    assert integers(shamir.reconstruct(whole, t)) == total.tolist()
    assert integers(shamir.reconstruct(shifted, t)) == sum(r >> drop for r in again.values()).tolist()


def test_a_label_draws_once():
    one = all_prss(3)[0]
    first = one.uniform("label", 2)
    with pytest.raises(LabelReused, match="label"):
        one.uniform("label", 2)
    assert not np.array_equal(one.uniform("other", 2), first)


@pytest.mark.parametrize("n", SIZES)
def test_every_set_agrees_on_a_key_that_others_lack(n):
    t = shamir.threshold(n)

    def program(party: Party) -> dict:
        return dict(prss.agree_keys(party, "keys", t, counter(party)))

    def counter(party: Party):
        numbers = itertools.count()
        return lambda size: f"{party.me}{next(numbers)}".encode().ljust(size, b".")

    held = run_parties(NAMES[:n], program)
    everything = {}
    for name, keys in held.items():
        assert all(NAMES.index(name) + 1 in subset for subset in keys)
        assert len(keys) == math.comb(n - 1, t)
        for subset, key in keys.items():
            assert everything.setdefault(subset, key) == key
    assert len(set(everything.values())) == len(everything) == math.comb(n, t)


def test_a_peer_without_keys_is_named():
    def program(party: Party):
        if party.me == "a":
            return party.mesh.broadcast("keys", b"short")
        return prss.agree_keys(party, "keys", 1, lambda size: bytes(size))

    with pytest.raises(CodecError, match="site a sent no keys"):
        run_parties("abc", program)


def test_the_engine_shows_no_key():
    shown = compute(3, lambda engine: f"{engine!r} {engine.prss!r} {engine.prss.holdings!r}")["a"]
    assert "key" not in shown
