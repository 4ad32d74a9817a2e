"""Oblivious transfer: who learns what, products by it, and what no honest party sends."""

from __future__ import annotations

import hashlib
import secrets
from functools import reduce

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocols import codec, field
from protocols.crt import ring
from protocols.errors import CodecError
from protocols.oblivious import base, crossing, hashing, punctured
from protocols.oblivious.crossing import Crossing
from protocols.oblivious.extension import BLOCKS, DEPTH, Chooser, ChosenFrom
from protocols.oblivious.numbers import BIT, FIELD, Primes, Shape
from protocols.party import Party
from protocols.testing import run_parties

SESSION = b"a session"


# --- A few transfers ---------------------------------------------------------------------------------


def test_the_receiver_has_the_key_that_it_chose_and_not_the_other():
    choices = [0, 1, 1, 0, 1]
    sender = base.Sender(secrets.token_bytes, b"context")
    receiver = base.Receiver(secrets.token_bytes, b"context", choices)
    points, got = receiver.receive(sender.message, "a")
    pairs = sender.keys(points, len(choices), "b")
    assert got == [pair[choice] for pair, choice in zip(pairs, choices, strict=True)]
    assert len({key for pair in pairs for key in pair}) == 2 * len(choices)


def test_keys_depend_on_the_context():
    sender = base.Sender(secrets.token_bytes, b"context")
    points, got = base.Receiver(secrets.token_bytes, b"another", [0]).receive(sender.message, "a")
    assert got != [sender.keys(points, 1, "b")[0][0]]


#: Points of order 1, 2, 4 and 8, one that is not on the curve, and one that is not canonical.
NO_POINTS = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "0200000000000000000000000000000000000000000000000000000000000000",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("point", NO_POINTS)
def test_points_outside_the_group_are_refused(point):
    receiver = base.Receiver(secrets.token_bytes, b"", [1])
    with pytest.raises(CodecError, match="no point of the group") as caught:
        receiver.receive(bytes.fromhex(point), "a")
    assert caught.value.peer == "a"
    with pytest.raises(CodecError, match="no point of the group"):
        base.Sender(secrets.token_bytes, b"").keys(bytes.fromhex(point), 1, "a")
    with pytest.raises(CodecError, match="no 2 points"):
        base.Sender(secrets.token_bytes, b"").keys(bytes.fromhex(point), 2, "a")


# --- Seeds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", range(8))
def test_all_seeds_but_one(hidden):
    leaves, sums = punctured.grow(b"r" * 32, 3)
    chosen = [pair[1 - (hidden >> (2 - level) & 1)] for level, pair in enumerate(sums)]
    regrown = punctured.regrow(hidden, chosen)
    assert regrown[hidden] is None
    assert [leaf for leaf in regrown if leaf] == [leaf for k, leaf in enumerate(leaves) if k != hidden]
    assert len({*leaves}) == 8


def test_a_known_tree():
    # The first leaf is SHA-256 of SHA-256 of the root, a zero byte after each.
    leaves, _ = punctured.grow(bytes(32), 2)
    first = hashlib.sha256(hashlib.sha256(bytes(33)).digest() + b"\x00").digest()
    assert leaves[0] == first


# --- Correlated transfers ----------------------------------------------------------------------------


def correlated() -> tuple[Chooser, ChosenFrom]:
    trees = [punctured.grow(secrets.token_bytes(32), DEPTH) for _ in range(BLOCKS)]
    hidden = [secrets.randbelow(1 << DEPTH) for _ in range(BLOCKS)]
    known = [
        punctured.regrow(number, [pair[1 - (number >> (DEPTH - 1 - k) & 1)] for k, pair in enumerate(sums)])
        for number, (_, sums) in zip(hidden, trees, strict=True)
    ]
    return Chooser([leaves for leaves, _ in trees], SESSION), ChosenFrom(known, hidden, SESSION)


def test_rows_differ_by_the_secret_where_a_bit_is_chosen():
    chooser, chosen = correlated()
    for words in (1, 5, 1200):
        r = np.random.default_rng(words).integers(0, 2**64, words, dtype=np.uint64)
        message, t = chooser.choose(r)
        q = chosen.follow(message, words, "a")
        bits = np.unpackbits(r.view(np.uint8), bitorder="little").astype(bool)
        assert np.array_equal(q[~bits], t[~bits])
        assert np.array_equal(q[bits], t[bits] ^ chosen.s)
        assert len(np.unique(t, axis=0)) == 64 * words
    assert len(message) < 1200 * 8 * BLOCKS + 64  # 4 bytes a transfer


def test_choices_of_another_shape_are_refused():
    chooser, chosen = correlated()
    message, _ = chooser.choose(np.zeros(3, np.uint64))
    for wrong in (message, codec.encode(np.zeros((BLOCKS, 4), np.int64)), codec.encode(None)):
        with pytest.raises(CodecError, match="no choices for 256 transfers"):
            chosen.follow(wrong, 4, "a")


def test_hashes_are_those_of_the_construction():
    def permuted(block: int) -> int:
        cipher = Cipher(algorithms.AES128(hashing.KEY), modes.ECB()).encryptor()
        return int.from_bytes(cipher.update(block.to_bytes(16, "little")), "little")

    rows = np.array([[1, 2], [3, 1 << 63]], np.uint64)
    found = hashing.hashes(rows, 5, 3)
    assert hashlib.sha256(b"fedstats v1 transfer hash").digest()[:16] == hashing.KEY
    for i, row in enumerate(rows.tolist()):
        once = permuted(row[0] | row[1] << 64)
        for k in range(3):
            expected = permuted(once ^ (5 + 3 * i + k)) ^ once
            assert int(found[i, k, 0]) | int(found[i, k, 1]) << 64 == expected


# --- Products ----------------------------------------------------------------------------------------


def words(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 2**64, shape, dtype=np.uint64)


@pytest.mark.parametrize("n", [2, 3])
def test_products(n, monkeypatch):
    monkeypatch.setattr(crossing, "BATCH", 1 << 9)  # several messages
    monkeypatch.setattr(crossing, "WIDEST", 127 * 3)  # of three columns at most
    on = ring(130)
    primes = np.array(on.primes, np.uint64)

    def program(party: Party) -> list[tuple[np.ndarray, ...]]:
        rng = np.random.default_rng(party.index)
        c = Crossing(party, "transfers")
        x, y = words(rng, 2, 70)
        found = [(x, y, c.bits("bits", x, y) ^ (x & y))]
        a = field.from_random_words(words(rng, 2, 2, 3, 2))
        b = field.from_random_words(words(rng, 2, 3, 4, 2))
        product = c.products("elements", FIELD, Shape(2, 2, 3, 4), a, b)
        found.append((a, b, field.add(product, field.matmul(a, b))))
        left, right = (on.from_random(words(rng, len(on), 6, 2)).reshape(len(on), 2, 3) for _ in range(2))
        right = np.ascontiguousarray(right.swapaxes(1, 2))
        numbers = Primes(np.repeat(primes[:, np.newaxis], 2, axis=1))
        product = c.products("residues", numbers, Shape(len(on), 2, 3, 2), left, right)
        found.append((left, right, on.add(product, on.matmul(left, right))))
        chosen = field.from_ints(rng.integers(0, 2, 5)).reshape(5, 1, 1, 2)
        row = field.from_random_words(words(rng, 5, 1, 3, 2))
        first, *others = party.roster
        found.append(
            (chosen, row, c.products("choice", BIT, Shape(5, 1, 1, 3), chosen, row, [first], others))
        )
        empty = c.products("nothing", FIELD, Shape(0, 1, 1, 1), a[:0, :1, :1], b[:0, :1, :1])
        assert empty.shape == (0, 1, 1, 2)
        return found

    results = [*run_parties("abc"[:n], program).values()]

    def total(case: int, which: int, add) -> np.ndarray:
        return reduce(add, [found[case][which] for found in results])

    x, y, z = (total(0, k, np.bitwise_xor) for k in range(3))
    assert np.array_equal(x & y, z)
    a, b, c = (total(1, k, field.add) for k in range(3))
    assert np.array_equal(field.matmul(a, b), c)
    a, b, c = (total(2, k, on.add) for k in range(3))
    assert np.array_equal(on.matmul(a, b), c)
    others = reduce(field.add, [found[3][1] for found in results[1:]])
    expected = field.mul(results[0][3][0], others)
    assert np.array_equal(expected.reshape(5, 1, 3, 2), total(3, 2, field.add))


CORRUPTED = {
    "another shape": (lambda array: array[:-1], "sent no corrections"),
    "another type": (lambda array: array.astype(np.int64), "sent no corrections"),
    "no element": (lambda array: array | np.uint64(2**64 - 1), "sent no corrections"),
}


@pytest.mark.parametrize("how", CORRUPTED)
@pytest.mark.parametrize("on", [FIELD, Primes(np.array([[ring(50).primes[0]]], np.uint64))], ids=["F_p", "p"])
def test_corrections_that_no_honest_party_sends(how, on, monkeypatch):
    change, message = CORRUPTED[how]
    encode = codec.encode

    def corrupted(value):
        return encode(change(value) if isinstance(value, np.ndarray) and value.ndim > 2 else value)

    def program(party: Party) -> None:
        c = Crossing(party, "transfers")
        monkeypatch.setattr(crossing.codec, "encode", corrupted)
        c.products("step", on, Shape(1, 1, 1, 1), on.zeros((1, 1, 1)), on.zeros((1, 1, 1)))

    with pytest.raises(CodecError, match=message):
        run_parties("ab", program)
