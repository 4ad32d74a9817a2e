"""Computing where all but one may collude: triples of both sources, and all that products are made of."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pytest
from engine_helpers import NAMES, exactly, integers, random_residues, secret_of, spent

from protocols import field, linalg
from protocols.cholesky import cholesky
from protocols.divide import divide, sqrt
from protocols.engine import Engine
from protocols.errors import LabelReused, SingularError, TripleReused
from protocols.field import P
from protocols.floating import floating
from protocols.inputs import share, sum_shares
from protocols.long import multiply as long_multiply
from protocols.long import sum_long
from protocols.oblivious.crossing import Crossing
from protocols.oblivious.numbers import FIELD, Shape
from protocols.paillier.ciphering import Ciphering
from protocols.party import Party
from protocols.reveal import reveal
from protocols.secret import inner, matmul, select
from protocols.sort import sort_by
from protocols.switches import permute
from protocols.testing import run_parties
from protocols.triples.pool import Triple, Triples

SOURCES = {
    "transfers": lambda party: Crossing(party, "source"),
    "Paillier": lambda party: Ciphering(party, "source", bits=768),
}


def steps() -> Any:
    names = iter(range(1000))
    return lambda operation: f"{next(names)} {operation}"


# --- Triples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("n", [2, 3])
def test_triples_are_products(n, source):
    def program(party: Party) -> list[Any]:
        triples, step = Triples(SOURCES[source](party)), steps()
        triples._elements._next, triples._words._next = 3, 1
        made = [triples.elements(step, 2), triples.elements(step, 2), triples.words(step, 1)]
        made.append(triples.matrices(step, FIELD, Shape(2, 2, 3, 1)))
        return [one.use() for one in made]

    results = [*run_parties(NAMES[:n], program).values()]

    def totals(which: int, add: Any) -> list[Any]:
        return [reduce(add, [parts[which][k] for parts in results]) for k in range(3)]

    for which in range(2):
        a, b, c = totals(which, field.add)
        assert np.array_equal(field.mul(a, b), c)
        assert len({*map(str, integers(a)), *map(str, integers(b))}) == 4  # none twice
    first, second = (results[0][which][0] for which in range(2))
    assert not np.array_equal(first, second)
    a, b, c = totals(2, np.bitwise_xor)
    assert np.array_equal(a & b, c)
    a, b, c = totals(3, field.add)
    assert np.array_equal(field.matmul(a, b), c)


def test_a_triple_is_used_once():
    number = field.zeros(1)
    triple = Triple(number, number, number)
    triple.use()
    with pytest.raises(TripleReused, match="was used before"):
        triple.use()
    assert repr(triple) == "<Triple, used>"
    for secret in (triple, Triple(number, number, number)):
        with pytest.raises(TypeError, match="cannot be copied or stored"):
            secret.__reduce__()


def test_products_never_share_a_triple(monkeypatch):
    # A stock that gave the same triple twice would be refused by the triple itself.
    given: list[Triple] = []
    take = Triples.elements

    def replayed(self: Triples, step: Any, size: int) -> Triple:
        given.append(take(self, step, size))
        return given[0] if self.source.party.me == "a" else given[-1]

    def program(engine: Engine) -> None:
        x = share(engine, np.array([3]), bound=5)
        monkeypatch.setattr(Triples, "elements", replayed)
        product = x[0] * x[1]
        product * x[0]

    with pytest.raises(TripleReused):
        compute(2, program)


def test_a_source_is_named_once_in_a_session():
    def program(party: Party) -> None:
        Crossing(party, "source")
        Crossing(party, "source")

    with pytest.raises(LabelReused):
        run_parties("ab", program)


# --- The engine --------------------------------------------------------------------------------------


def compute(n: int, program: Any, source: str = "transfers", **options: Any) -> list[Any]:
    """Run a program of n parties of whom n − 1 may collude, and return what each got."""

    def run(party: Party) -> Any:
        return program(Engine(party, triples=Triples(SOURCES[source](party))))

    return [*run_parties(NAMES[:n], run, **options).values()]


def alike(n: int, program: Any, **options: Any) -> Any:
    results = compute(n, program, **options)
    for other in results[1:]:
        np.testing.assert_equal(other, results[0])
    return results[0]


def test_two_parties_need_triples():
    with pytest.raises(ValueError, match="shares need three parties or more"):
        run_parties("ab", Engine)

    def program(engine: Engine) -> None:
        assert (engine.t, engine.full) == (engine.n - 1, True)

    compute(2, program)
    with pytest.raises(ValueError, match="products take no triples"):
        run_parties("abc", lambda party: Engine(party).triples)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_products_of_elements(n):
    a, b = (random_residues(24, seed=seed) for seed in range(2))
    a[:3], b[:3] = [0, P - 1, P - 1], [5, P - 1, 1]

    def program(engine: Engine) -> Any:
        x, y = secret_of(engine, a), secret_of(engine, b)
        first = x * y  # fills the stock
        cost, product = spent(engine, lambda: x * y)
        assert cost.rounds == 1
        left, right = x.reshape(4, 6), y.reshape(6, 4)
        opened = [first, product, matmul(left, right), inner(left, y.reshape(4, 6)), x[:1] * y]
        return [integers(one.open()) for one in opened]

    first, product, matrix, sums, scaled = alike(n, program)
    expected = [x * y % P for x, y in zip(a, b, strict=True)]
    assert first == product == expected
    left, right = np.array(a, object).reshape(4, 6), np.array(b, object).reshape(6, 4)
    assert np.array_equal(np.array(matrix, object), left @ right % P)
    assert np.array_equal(np.array(sums, object), (left * right.reshape(4, 6)).sum(axis=1) % P)
    assert scaled == [a[0] * y % P for y in b]


@pytest.mark.parametrize("n", [2, 3])
def test_everything_against_numpy(n):
    rng = np.random.default_rng(n)
    X, Y = rng.normal(size=(2, n, 20)).round(4)
    M = rng.normal(size=(n, 3, 3)).round(3)
    definite = sum(m @ m.T for m in M)

    def program(engine: Engine) -> dict[str, Any]:
        me = engine.party.index
        x, y = (sum_shares(engine, z[me], bound=100, fraction=30) for z in (X, Y))
        A = sum_shares(engine, M[me] @ M[me].T, bound=100, fraction=40)
        lx, ly = (sum_long(engine, z[me], bound=100.0, fraction=60) for z in (X, Y))
        fx, fy = floating(lx), floating(ly)
        ordered, along = sort_by(x, y)
        cost, less = spent(engine, lambda: x < y)
        assert cost.rounds < 60
        results = {
            "product": x * y,
            "less": less,
            "equal": x == x + 0.0,
            "absolute": abs(x),
            "most": x.max(),
            "chosen": select(less, x, y),
            "quotient": divide(x, abs(y) + 1.0, bound=200, fraction=30),
            "root": sqrt(abs(x) + 1.0),
            "ordered": ordered,
            "along": along,
            "inverse": linalg.inverse(A, bound=2.0**20, fraction=30, definite=True),
            "solved": linalg.solve(A, x[:3], bound=2.0**20, fraction=30),
            "factor": cholesky(A, least=1e-8, fraction=30),
            "long": floating(long_multiply(lx, ly)),
            "float": (fx / fy - fx) * fy,
        }
        return reveal(engine, results)

    found = alike(n, program, timeout=60)
    x, y = X.sum(axis=0), Y.sum(axis=0)
    expected = {
        "product": x * y,
        "less": x < y,
        "equal": np.ones(20),
        "absolute": abs(x),
        "most": x.max(),
        "chosen": np.minimum(x, y),
        "quotient": x / (abs(y) + 1),
        "root": np.sqrt(abs(x) + 1),
        "ordered": np.sort(x),
        "along": y[np.argsort(x)],
        "inverse": np.linalg.inv(definite),
        "solved": np.linalg.solve(definite, x[:3]),
        "factor": np.linalg.cholesky(definite),
        "long": x * y,
        "float": (x / y - x) * y,
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-6, err_msg=name)


def test_the_engine_on_paillier():
    def program(engine: Engine) -> Any:
        engine.triples._elements._next, engine.triples._words._next = 2, 1
        x = share(engine, np.array([3 - 8 * engine.party.index]), bound=10)
        product = x[0] * x[1]
        return reveal(engine, {"product": product, "positive": product > 0})

    found = alike(2, program, source="Paillier", timeout=60)
    assert found["product"].tolist() == [-15]
    assert found["positive"].tolist() == [0]


def test_a_singular_matrix_is_refused():
    def program(engine: Engine) -> None:
        A = sum_shares(engine, np.ones((2, 2)), bound=10, fraction=30)
        linalg.inverse(A, bound=2.0**20, fraction=20, definite=True)

    with pytest.raises(SingularError):
        compute(2, program)


def test_exact_long_numbers():
    def program(engine: Engine) -> Any:
        x = sum_long(engine, np.array([0.1, -3.0, 2.0**40]), bound=2.0**41, fraction=80)
        return exactly(long_multiply(x, x))

    from fractions import Fraction

    found = alike(2, program)
    assert found.tolist() == [(2 * Fraction(v)) ** 2 for v in (0.1, -3.0, 2.0**40)]


@pytest.mark.parametrize("size", [1, 2, 3, 8, 13])
def test_permutations(size):
    order = np.random.default_rng(size).permutation(size)
    rows = np.arange(2 * size).reshape(size, 2)

    def program(engine: Engine) -> Any:
        secret = secret_of(engine, rows.tolist())
        moved = permute(engine, secret.shares, "b", order if engine.party.me == "b" else None)
        return integers(type(secret)(engine, moved).open())

    assert alike(2, program) == rows[order].tolist()


def test_inputs_take_no_message():
    def program(engine: Engine) -> None:
        cost, _ = spent(engine, lambda: share(engine, np.arange(5), bound=10))
        assert (cost.rounds, cost.messages_sent) == (0, 0)

    compute(3, program)
