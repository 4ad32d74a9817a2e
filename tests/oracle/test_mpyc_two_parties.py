"""Two parties with nobody else, beside MPyC: the same numbers in, the same numbers out.

MPyC has neither Paillier's encryption nor oblivious transfer, nor sets: what is compared is what they are
for. Its own products, sums and comparisons are the twin of products under encryption, of triples, of the
engine that runs on these, and of the number of common items.
"""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import chain
from typing import Any

import numpy as np
import pytest
from engine_helpers import integers, random_residues, secret_of

from protocols import sort
from protocols.compare import maximum
from protocols.crossed import Held, inner_products
from protocols.divide import divide, sqrt
from protocols.engine import Engine
from protocols.field import P, from_ints
from protocols.fixed import Format
from protocols.inputs import share
from protocols.oblivious.crossing import Crossing
from protocols.paillier import keys, product
from protocols.paillier.ciphering import Ciphering
from protocols.party import Party
from protocols.psi.intersection import cardinality
from protocols.reveal import reveal
from protocols.secret import SecretArray, matmul
from protocols.testing import run_parties
from protocols.triples.pool import Triples

finfields = pytest.importorskip("mpyc.finfields")
thresha = pytest.importorskip("mpyc.thresha")

SOURCES: dict[str, Any] = {
    "transfers": lambda party: Crossing(party, "source"),
    "Paillier": lambda party: Ciphering(party, "source", bits=768),
}

MPYC_PROGRAM = """
import json, sys
from mpyc.runtime import mpc
from mpyc.statistics import _fsqrt

given = json.load(sys.stdin)
element, bit = mpc.SecFld(given["modulus"]), mpc.SecFld(2)
integer, long_one, fixed = mpc.SecInt(32), mpc.SecInt(128), mpc.SecFxp(88, 44)

def of(kind, rows):
    return [[kind(x) for x in row] for row in rows]

async def main():
    async with mpc:
        opened = {}
        for name, (a, b) in given["elements"].items():
            opened[name] = mpc.schur_prod([element(x) for x in a], [element(x) for x in b])
        a, b = given["bits"]
        opened["bits"] = mpc.schur_prod([bit(x) for x in a], [bit(x) for x in b])
        x, y = (of(long_one, rows) for rows in given["matrices"])
        opened["matrix"] = sum(mpc.matrix_prod(x, y), [])
        opened["inner"] = [mpc.in_prod(x[0], [row[0] for row in y])]
        a, b = of(integer, given["integers"])
        opened["less"] = [x < y for x, y in zip(a, b)]
        opened["maximum"] = [mpc.max(x, y) for x, y in zip(a, b)]
        opened["sorted"] = mpc.sorted(a)
        one, other = of(integer, given["sets"])
        opened["common"] = [mpc.sum([x == y for x in one for y in other])]
        whole = {name: [int(x) for x in await mpc.output(values)] for name, values in opened.items()}
        a, b = of(fixed, given["numbers"])
        fractions = {"product": mpc.schur_prod(a, b), "quotient": [x / y for x, y in zip(a, b)]}
        fractions["root"] = [_fsqrt(y) for y in b]
        fractions = {name: [float(x) for x in await mpc.output(values)] for name, values in fractions.items()}
        print(json.dumps([whole, fractions]))

mpc.run(main())
"""


@pytest.fixture(scope="module")
def given() -> dict[str, Any]:
    """Numbers to compute with; what is random in ours, triples, is told to MPyC as it was drawn."""
    random = np.random.default_rng(9)
    left, right = random.integers(-(2**30), 2**30, (3, 8)), random.integers(-(2**30), 2**30, (8, 2))
    return {
        "modulus": P,
        "elements": {"residues": [random_residues(12, 1), random_residues(12, 2)]},
        "matrices": [left.tolist(), right.tolist()],
        "integers": random.integers(-(2**20), 2**20, (2, 10)).tolist(),
        "sets": [[3, 1, 4, 15, 9, 26], [5, 3, 9, 8]],
        "numbers": (np.round(random.uniform(0.5, 2, (2, 6)) * 2.0**30) / 2.0**30).tolist(),
    }


def triples_of(party: Party, source: str) -> list[Any]:
    """Return a party's summands of triples of elements and of bits."""
    names = iter(range(100))
    triples = Triples(SOURCES[source](party))
    triples._elements._next, triples._words._next = 8, 1
    step = lambda operation: f"{next(names)} {operation}"  # noqa: E731
    return [triples.elements(step, 8).use(), triples.words(step, 1).use()]


def bits_of(word: Any) -> list[int]:
    return [int(word) >> k & 1 for k in range(64)]


@pytest.fixture(scope="module")
def drawn(given) -> dict[str, Any]:
    """Triples of both sources, as the sums of what the two parties have."""
    totals: dict[str, Any] = {}
    for source in SOURCES:
        one, other = run_parties("ab", lambda party, its=source: triples_of(party, its)).values()
        elements = [
            [(int(x) + int(y)) % P for x, y in zip(integers(a), integers(b), strict=True)]
            for a, b in zip(one[0], other[0], strict=True)
        ]
        words = [bits_of(a[0] ^ b[0]) for a, b in zip(one[1], other[1], strict=True)]
        totals[source] = {"elements": elements, "bits": words}
    return totals


@pytest.fixture(scope="module")
def theirs(given, drawn) -> Any:
    elements = {source: its["elements"][:2] for source, its in drawn.items()} | given["elements"]
    bits = [list(chain(*(its["bits"][k] for its in drawn.values()))) for k in range(2)]
    command = [sys.executable, "-W", "ignore", "-c", MPYC_PROGRAM, "--no-log"]
    asked = json.dumps({**given, "elements": elements, "bits": bits})
    answer = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


def test_triples_are_mpycs_products(drawn, theirs):
    for source, its in drawn.items():
        assert its["elements"][2] == [x % P for x in theirs[0][source]], source
    assert list(chain(*(its["bits"][2] for its in drawn.values()))) == theirs[0]["bits"]


def test_products_under_encryption_are_mpycs(given, theirs):
    key = keys.generate(768)
    x, y = (np.array(rows, object) for rows in given["matrices"])
    for rows, columns, name in ((3, 2, "matrix"), (1, 1, "inner")):
        shape = product.Shape(rows, 8, columns, 30, 30)
        offer = product.offer_matrix(key, shape, x[:rows])
        answer, ours = product.answer_matrix(key.public, shape, y[:, :columns], offer, "a")
        found = ours + product.finish_matrix(key, shape, answer, "b")
        assert found.ravel().tolist() == theirs[0][name]


def compute(program: Any, source: str = "transfers") -> list[Any]:
    def run(party: Party) -> Any:
        return program(Engine(party, triples=Triples(SOURCES[source](party))))

    return [*run_parties("ab", run).values()]


@pytest.mark.parametrize("source", SOURCES)
def test_what_two_parties_know_is_multiplied_as_by_mpyc(given, theirs, source):
    x, y = (np.array(rows) for rows in given["matrices"])

    def program(engine: Engine) -> Any:
        values = {"a": from_ints(x), "b": from_ints(y.T)}
        one, other = (
            Held(name, rows, 8, 2**30, values=values[name] if engine.party.me == name else None)
            for name, rows in (("a", 3), ("b", 2))
        )
        return reveal(
            engine, {"sums": SecretArray(engine, inner_products(engine, one, other), Format(0, 2**63))}
        )

    for found in compute(program, source):
        assert found["sums"].ravel().tolist() == theirs[0]["matrix"]


def test_the_engine_of_two_parties_agrees_with_mpyc(given, theirs):
    def program(engine: Engine) -> Any:
        a, b = (secret_of(engine, row, Format(0, 2**20)) for row in given["integers"])
        x, y = (
            secret_of(engine, [round(v * 2**30) for v in row], Format.of(2, 30)) for row in given["numbers"]
        )
        left, right = (secret_of(engine, rows, Format(0, 2**30)) for rows in given["matrices"])
        found = {
            "less": a < b,
            "maximum": maximum(a, b),
            "sorted": sort.sort(a),
            "matrix": matmul(left, right).ravel(),
            "product": x * y,
            "quotient": divide(x, y, bound=8, fraction=36),
            "root": sqrt(y),
        }
        return reveal(engine, found)

    whole, fractions = theirs
    for ours in compute(program):
        for name in ("less", "maximum", "sorted", "matrix"):
            assert ours[name].tolist() == whole[name], name
        for name, values in fractions.items():
            np.testing.assert_allclose(ours[name], values, rtol=0, atol=1e-8, err_msg=name)


def test_mpyc_puts_shares_of_full_degree_together(given, theirs):
    """Shares by triples are on polynomials of degree n − 1: MPyC takes all of them, and fewer say nothing."""
    a, b = given["elements"]["residues"]
    held = compute(lambda engine: integers((secret_of(engine, a) * secret_of(engine, b)).shares))
    field = finfields.GF(modulus=P)
    points = [(place, [field(x) for x in shares]) for place, shares in enumerate(held, start=1)]
    expected = [x % P for x in theirs[0]["residues"]]
    assert [int(x) % P for x in thresha.recombine(field, points)] == expected
    assert [int(x) % P for x in thresha.recombine(field, points[:1])] != expected


def test_inputs_of_two_parties_are_mpycs_sharing():
    values = np.array([5, -7, 2**40])
    held = compute(lambda engine: integers(share(engine, values, bound=2**40).shares))
    field = finfields.GF(modulus=P)
    for dealer in range(2):
        points = [(place, [field(x) for x in shares[dealer]]) for place, shares in enumerate(held, start=1)]
        assert [int(x) % P for x in thresha.recombine(field, points)] == [int(v) % P for v in values]


def test_common_items_are_counted_as_by_mpyc(given, theirs):
    sets = {name: [b"%d" % item for item in its] for name, its in zip("ab", given["sets"], strict=True)}
    for found in run_parties("ab", lambda party: cardinality(party, "link", sets[party.me])).values():
        assert found.common == theirs[0]["common"][0]
