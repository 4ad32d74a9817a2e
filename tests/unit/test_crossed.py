"""Sums of products of two parties' own numbers, by either source, and which source is taken."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from engine_helpers import NAMES, integers, spent

from protocols import field
from protocols.crossed import Held, inner_products
from protocols.engine import Engine
from protocols.field import P
from protocols.oblivious.crossing import Crossing
from protocols.oblivious.numbers import BIT, FIELD, Primes, Shape, Short
from protocols.paillier.ciphering import Ciphering
from protocols.party import Party
from protocols.secret import SecretArray
from protocols.testing import run_parties
from protocols.triples import cheaper
from protocols.triples.cheaper import Cheaper, bytes_of_transfers, seconds_of_encryption
from protocols.triples.pool import Triples

SOURCES = {
    "transfers": lambda party: Crossing(party, "source"),
    "Paillier": lambda party: Ciphering(party, "source", bits=768),
}


def held(engine: Engine, name: str, values: Any, bound: int, signed: bool = True) -> Held:
    its = field.from_ints(values) if engine.party.me == name else None
    return Held(name, *values.shape, bound, signed=signed, values=its)


def signed(elements: Any) -> Any:
    return np.array([[v - P * (2 * v > P) for v in row] for row in integers(elements)])


@pytest.mark.parametrize(("n", "source"), [(2, "transfers"), (3, "transfers"), (2, "Paillier")])
def test_inner_products(n, source):
    rng = np.random.default_rng(n)
    x, y = rng.integers(-99, 100, (3, 20)), rng.integers(-(2**40), 2**40 + 1, (2, 20))
    x[0], y[0] = -99, 2**40  # the bounds, whose products add up
    bits = rng.integers(0, 2, (1, 20))

    def program(engine: Engine) -> list[Any]:
        a, b = held(engine, "a", x, 99), held(engine, "b", y, 2**40)
        member = held(engine, "b", bits, 1, signed=False)
        pairs = [(a, b), (b, a), (a, member), (member, a)]
        return [signed(SecretArray(engine, inner_products(engine, *pair)).open()) for pair in pairs]

    def run(party: Party) -> list[Any]:
        return program(Engine(party, triples=Triples(SOURCES[source](party))))

    expected = [x @ y.T, y @ x.T, x @ bits.T, bits @ x.T]
    for found in run_parties(NAMES[:n], run).values():
        for its, right in zip(found, expected, strict=True):
            assert np.array_equal(its, right)


def compute(program: Any) -> dict[str, Any]:
    return run_parties("ab", lambda party: program(Engine(party, triples=Triples(Crossing(party, "source")))))


def test_the_shorter_numbers_choose():
    """A patient's bit costs four bytes, and 16 for each column: nothing of the 127 bits of shares."""
    columns, terms = np.ones((5, 1000), int), 1000

    def program(engine: Engine) -> Any:
        left, right = held(engine, "a", columns, 2**60), held(engine, "b", columns[:1], 1, signed=False)
        inner_products(engine, left, right)
        pairs = (left, right), (right, left)
        return [spent(engine, partial(inner_products, engine, *pair))[0] for pair in pairs]

    found = compute(program)
    for cost in found["a"]:
        assert cost.rounds == 2
        assert 16 * 5 * terms < cost.bytes_sent < 1.05 * 16 * 5 * terms
    for cost in found["b"]:
        assert 4 * terms < cost.bytes_sent < 5 * terms


def test_what_cannot_be_multiplied():
    def program(engine: Engine) -> None:
        one, none = np.ones((1, 4), int), np.ones((0, 4), int)
        assert inner_products(engine, held(engine, "a", none, 1), held(engine, "b", one, 1)).shape == (
            0,
            1,
            2,
        )
        for other in (held(engine, "a", one, 1), held(engine, "b", one[:, :3], 1)):
            with pytest.raises(ValueError, match="rows of two parties are of one length"):
                inner_products(engine, held(engine, "a", one, 1), other)

    compute(program)


# --- Which source ------------------------------------------------------------------------------------

#: Of 20 columns of 10,000 patients, and their membership; and triples, whose numbers have 127 bits.
MATRIX, MEMBERS, TRIPLES = Shape(1, 10, 10_000, 11), Shape(1, 1, 10_000, 66), Shape(512, 1, 1, 1)


def test_slow_links_make_encryption_worth_its_while():
    numbers = Short(36, 36)
    assert bytes_of_transfers(numbers, MATRIX) == 10 * 10_000 * 36 * (4 + 16 * 11)
    seconds = seconds_of_encryption(numbers, MATRIX)
    assert seconds == pytest.approx(
        10_000 * cheaper.OFFER + 11 * cheaper.ANSWER + 11 * 44_096 * cheaper.MULTIPLICATION
    )
    assert (
        bytes_of_transfers(numbers, MATRIX) / 12.5e6 > seconds > bytes_of_transfers(numbers, MATRIX) / 125e6
    )
    # Bits are cheap to choose by, and a triple is too many ciphertexts.
    assert seconds_of_encryption(BIT, MEMBERS) > bytes_of_transfers(BIT, MEMBERS) / 12.5e6
    assert seconds_of_encryption(FIELD, TRIPLES) > bytes_of_transfers(FIELD, TRIPLES) / 12.5e6
    primes = Primes(np.ones((512, 1), np.uint64))
    assert seconds_of_encryption(primes, TRIPLES) > bytes_of_transfers(primes, TRIPLES) / 12.5e6


@pytest.mark.parametrize(("speed", "made"), [(1e12, 0), (1.0, 1)])
def test_either_source_gives_products(speed, made):
    x, y = np.arange(6).reshape(1, 2, 3), np.arange(12).reshape(1, 3, 4)

    def program(party: Party) -> tuple[Any, Any, int]:
        keys: list[Ciphering] = []

        def encrypting() -> Ciphering:
            keys.append(Ciphering(party, "encryption", bits=768))
            return keys[-1]

        source = Cheaper(Crossing(party, "transfers"), encrypting, bytes_a_second=speed)
        product = partial(source.products, on=Short(3, 4), shape=Shape(1, 2, 3, 4), choosers="a", givers="b")
        left, right = (field.from_ints(z) if party.me == name else None for z, name in ((x, "a"), (y, "b")))
        both = [product(step=f"step {k}", x=left, y=right) for k in range(2)]
        words = np.full(2, 6 + party.index, np.uint64)  # 6 and 7
        return both, source.bits("bits", words, words) ^ (words & words), len(keys)

    found = run_parties("ab", program)
    for one, other in zip(found["a"][0], found["b"][0], strict=True):
        assert np.array_equal(np.array(integers(field.add(one, other))), x @ y)
    assert (found["a"][1] ^ found["b"][1]).tolist() == [1, 1]
    assert found["a"][2] == found["b"][2] == made
