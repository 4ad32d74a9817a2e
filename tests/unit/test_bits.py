"""Shared bits: the small fields, planes, and each protocol and circuit against Python's integers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from engine_helpers import compute, compute_alike, spent
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import adder, bits, bitslice, gf2k
from protocols.bits import Bits
from protocols.engine import Engine
from protocols.errors import CodecError, ShapeMismatch

SIZES = [3, 4, 5, 7, 10]
#: Bytes around the words of a message of two dimensions.
HEADER = 24


def planes_of(numbers: Sequence[int], length: int) -> np.ndarray:
    words = -(-len(numbers) // 64)
    joined = [sum((number >> place & 1) << i for i, number in enumerate(numbers)) for place in range(length)]
    data = b"".join(plane.to_bytes(8 * words, "little") for plane in joined)
    return np.frombuffer(data, np.uint64).reshape(length, words).copy()


def numbers_of(planes: np.ndarray, count: int) -> list[int]:
    rows = [int.from_bytes(plane.tobytes(), "little") for plane in planes]
    return [sum((row >> i & 1) << place for place, row in enumerate(rows)) for i in range(count)]


def share_bits(engine: Engine, numbers: Sequence[int], length: int) -> Bits:
    """Share numbers that the first party knows."""
    planes = planes_of(numbers, length)
    return bits.deal(engine, "test", 1, planes if engine.point == 1 else None, planes.shape)[0]


def opened(shares: Bits, count: int) -> list[int]:
    return numbers_of(bits.disclose(shares.engine, "test", bits.pieces(shares)), count)


# --- Small fields ------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", gf2k.MODULI)
def test_the_moduli_make_fields(k):
    units = range(1, 1 << k)
    for a in units:
        assert sorted(gf2k.times(a, b, k) for b in units) == list(units)
        assert gf2k.times(a, gf2k.inverse(a, k), k) == 1
    for a, b, c in itertools.islice(itertools.product(units, repeat=3), 500):
        assert gf2k.times(gf2k.times(a, b, k), c, k) == gf2k.times(a, gf2k.times(b, c, k), k)
        assert gf2k.times(a, b ^ c, k) == gf2k.times(a, b, k) ^ gf2k.times(a, c, k)


@pytest.mark.parametrize("n", SIZES)
def test_shares_and_their_products_are_taken_apart_into_pieces(n):
    t = (n - 1) // 2
    parties = [gf2k.scheme(n, t, point) for point in range(1, n + 1)]
    k = parties[0].k
    assert n < 1 << k
    for one, other in itertools.combinations_with_replacement(parties[0].lifts, 2):
        held = [(table.lifts[one], table.lifts[other]) for table in parties]
        for point, (share, _) in enumerate(held, start=1):
            assert (share == 0) == (point not in one)
        sums = [0, 0]
        for table, (x, y) in zip(parties, held, strict=True):
            rows = [a for a in range(k) if x >> a & 1]
            sums[0] ^= sum(bool(table.summand[a]) for a in rows) & 1
            sums[1] ^= sum(bool(table.product[a, b]) for a in rows for b in range(k) if y >> b & 1) & 1
        assert sums == [1, 1]  # both sets know a 1


@pytest.mark.parametrize("n", SIZES)
def test_windows_are_sets_of_their_own(n):
    table = gf2k.scheme(n, (n - 1) // 2, 1)
    assert len(set(table.windows)) == n
    assert set(table.windows) <= set(table.lifts)
    assert all(point in window for point, window in enumerate(table.windows, start=1))


# --- Planes ------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(numbers=st.lists(st.integers(0, 2**128 - 1), max_size=150), length=st.integers(0, 128))
def test_planes_and_back(numbers, length):
    data = b"".join(number.to_bytes(16, "little") for number in numbers)
    elements = np.frombuffer(data, np.uint64).reshape(-1, 2).copy()
    planes = np.empty((length, -(-len(numbers) // 64)), np.uint64)
    bitslice.to_planes(planes, elements)
    low = [number % (1 << length) for number in numbers]
    np.testing.assert_array_equal(planes, planes_of(low, length))
    back = np.empty_like(elements)
    bitslice.from_planes(back, planes)
    assert [int(a) | int(b) << 64 for a, b in back] == low


# --- Protocols ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("count", [0, 1, 64, 130])
def test_logic(n, count):
    rng = np.random.default_rng(count)
    x, y, z = ([int(v) for v in row] for row in rng.integers(0, 2**7, (3, count)))

    def program(engine: Engine) -> Any:
        a, b = share_bits(engine, x, 7), share_bits(engine, y, 7)
        public = planes_of(z, 7)
        group = tuple(range(engine.t + 1, n + 1))
        known = bits.known(engine, group, public if engine.point in group else None, public.shape)
        return [opened(shares, count) for shares in (a ^ b, (a & b) ^ public, ~(a & known), (a & b)[2:5])]

    assert compute_alike(n, program) == [
        [v ^ w for v, w in zip(x, y, strict=True)],
        [(v & w) ^ u for v, w, u in zip(x, y, z, strict=True)],
        [127 ^ (v & u) for v, u in zip(x, z, strict=True)],
        [(v & w) >> 2 & 7 for v, w in zip(x, y, strict=True)],
    ]


@pytest.mark.parametrize("n", SIZES)
def test_costs(n):
    t, size = (n - 1) // 2, 8 * 3 * 5

    def program(engine: Engine) -> None:
        cost, x = spent(engine, lambda: share_bits(engine, [1] * 300, 3))
        assert (cost.rounds, cost.bytes_sent) == (1, (n - t - 1) * (size + HEADER) * (engine.point == 1))
        cost, product = spent(engine, lambda: x & x)
        assert (cost.rounds, cost.bytes_sent) == (1, (n - t - 1) * (size + HEADER))
        cost, _ = spent(engine, lambda: bits.disclose(engine, "test", bits.pieces(product)))
        assert (cost.rounds, cost.bytes_sent) == (1, (n - 1) * (size + HEADER))
        numbers = [x] * (t + 1)
        cost, _ = spent(engine, lambda: adder.carry_save(numbers))
        assert cost.rounds == {3: 0, 4: 0, 5: 1, 7: 2, 10: 3}[n]
        for length in (1, 2, 3, 5, 8, 33, 64):
            x = share_bits(engine, [1, 2, 3], length)
            depth = math.ceil(math.log2(length))
            for circuit, rounds in (
                (lambda a: adder.carry_pieces(a, ~a), depth),
                (adder.all_pieces, max(depth - 1, 0)),
                (adder.suffix_all_pieces, max(depth - 1, 0)),
                (lambda a: adder.add(a, a), length > 1 and 1 + math.ceil(math.log2(length - 1))),
            ):
                cost, _ = spent(engine, lambda circuit=circuit, x=x: circuit(x))
                assert cost.rounds == rounds

    compute_alike(n, program)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 7, 8, 13, 64, 65])
def test_circuits(length):
    top = 2**length
    rng = np.random.default_rng(length)
    drawn = [int.from_bytes(rng.bytes(9), "little") % top for _ in range(66)]
    x = [0, 0, top - 1, top - 1, top // 2, *drawn[:33]]
    y = [0, top - 1, 0, top - 1, top // 2, *drawn[33:]]

    def program(engine: Engine) -> Any:
        a, b = share_bits(engine, x, length), share_bits(engine, y, length)
        found = {"carry": adder.carry_pieces(a, b), "less": adder.less_pieces(a, b)}
        if length > 1:  # side by side, in the rounds of the deeper one
            cost, together = spent(
                engine, partial(adder.run, adder.carry_circuit(a, b), adder.all_circuit(a))
            )
            assert cost.rounds == math.ceil(math.log2(length))
            np.testing.assert_array_equal(together[0].shape, found["carry"].shape)
            found |= {"carry beside": together[0], "all shared": bits.pieces(together[1])}
        if length:
            found |= {
                "all": adder.all_pieces(a),
                "suffix": adder.suffix_all_pieces(a),
                "sum": bits.pieces(adder.add(a, b)),
                "saved": bits.pieces(adder.add(*adder.carry_save([a, b, a, a, b]))),
            }
        return {name: numbers_of(bits.disclose(engine, name, ours), len(x)) for name, ours in found.items()}

    def suffix(v: int) -> int:
        return sum((v >> place == (top - 1) >> place) << place for place in range(length))

    found = compute_alike(3, program)
    pairs = list(zip(x, y, strict=True))
    if length > 1:
        assert found.pop("carry beside") == [v + w >= top for v, w in pairs]
        assert found.pop("all shared") == [v == top - 1 for v in x]
    assert found.pop("carry") == [v + w >= top for v, w in pairs]
    assert found.pop("less") == [v < w for v, w in pairs]
    if length:
        assert found == {
            "all": [v == top - 1 for v in x],
            "suffix": [suffix(v) for v in x],
            "sum": [(v + w) % top for v, w in pairs],
            "saved": [(3 * v + 2 * w) % top for v, w in pairs],
        }


@pytest.mark.parametrize(("message", "error"), [(np.zeros((2, 3)), CodecError), (5, CodecError)])
def test_what_is_no_array_of_bits_is_refused(message, error, monkeypatch):
    monkeypatch.setattr(bits.codec, "encode", lambda value, encode=bits.codec.encode: encode(message))
    with pytest.raises(error, match="sent no bits"):
        compute_alike(3, lambda engine: share_bits(engine, [1], 2))


def test_bits_of_other_shapes_are_named():
    with pytest.raises(ShapeMismatch, match="are due"):
        compute_alike(
            3, lambda e: bits.disclose(e, "test", np.zeros((1, 1 + (e.point == 2)), np.uint64)).tolist()
        )


def test_pieces_that_would_be_sent_unmasked_are_refused():
    def program(engine: Engine) -> None:
        with pytest.raises(ValueError, match="C-contiguous"):
            bits.disclose(engine, "test", np.zeros((4, 6), np.uint64).T)

    compute(3, program)


def test_shares_of_bits_show_nothing():
    def program(engine: Engine) -> str:
        shares = share_bits(engine, [1, 2, 3], 4)
        with pytest.raises(TypeError, match="cannot be copied"):
            shares.__reduce_ex__(2)
        return repr(shares)

    assert compute_alike(3, program) == "<Bits of 4 planes>"
