"""Arrays of secrets against NumPy on Python integers: values, shapes, formats, costs."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from engine_helpers import EDGES, NAMES, compute_alike, random_residues, residues, secret_of, spent
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import secret
from protocols.engine import Engine
from protocols.errors import LabelReused, ShapeMismatch
from protocols.field import HALF, P
from protocols.fixed import Format
from protocols.reveal import reveal
from protocols.secret import SecretArray, concatenate, inner, matmul, public, select, stack, truncate, uniform
from protocols.stripes import STRIPE
from protocols.testing import run_parties

SIZES = [3, 4, 5, 7, 10]
#: Bytes around the elements of a message: the codec's header of an array.
HEADER = 24


def evaluate(n: int, expression: Any, *operands: Any) -> Any:
    """Share operands as field elements, apply an expression to them, and reveal what comes out."""

    def program(engine: Engine) -> Any:
        return expression(*(secret_of(engine, operand) for operand in operands)).reveal("result")

    return np.asarray(compute_alike(n, program), object).tolist()


def residues_of(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.array(random_residues(int(np.prod(shape)), seed), object).reshape(shape)


@pytest.mark.parametrize("n", SIZES)
def test_products_of_edges(n):
    a, b = (np.array(column, object) for column in zip(*[(x, y) for x in EDGES for y in EDGES], strict=True))
    assert evaluate(n, lambda x, y: x * y, a, b) == (a * b % P).tolist()


@settings(max_examples=15)
@given(n=st.sampled_from([3, 4, 5]), a=st.lists(residues, min_size=1, max_size=4), b=residues)
def test_an_expression_of_field_elements(n, a, b):
    found = evaluate(n, lambda x, y: (x + y) * (x - y) - y * x * 3 + 7 - (-x), a, b)
    assert found == [((x + b) * (x - b) - 3 * b * x + 7 + x) % P for x in a]


SHAPES = [((3, 1), (1, 4)), ((2, 3), (3,)), ((0, 3), (3,)), ((), ()), ((2, 3), ()), ((), (2,)), ((1,), (4,))]


@pytest.mark.parametrize(("left", "right"), SHAPES)
@pytest.mark.parametrize(
    "operation", [lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y], ids=["+", "-", "*"]
)
def test_broadcasting(operation, left, right):
    a, b = residues_of(left, 1), residues_of(right, 2)
    assert evaluate(3, operation, a, b) == np.asarray(operation(a, b) % P, object).tolist()


@pytest.mark.parametrize(
    ("left", "right"),
    [((4,), (4,)), ((3, 4), (4, 5)), ((4,), (4, 2)), ((2, 3, 4), (4, 2)), ((2, 0), (0, 3)), ((0, 2), (2, 1))],
)
def test_matrix_products(left, right):
    a, b = residues_of(left, 1), residues_of(right, 2)
    expected = (np.matmul(a, b) % P) if a.size else np.zeros(np.matmul(np.ones(left), np.ones(right)).shape)
    assert evaluate(3, lambda x, y: x @ y, a, b) == np.asarray(expected, object).tolist()
    assert evaluate(5, lambda x: x @ np.ones(left[-1], int), a) == (
        np.asarray(a.sum(-1) % P, object).tolist()
    )


def test_only_the_wanted_entries_of_a_product():
    a, upper = residues_of((4, 4), 3), np.triu_indices(4)
    expected = (a @ a % P)[upper]
    found = evaluate(3, lambda x: matmul(x, x, entries=upper), a)
    assert found == np.asarray(expected, object).tolist()


def test_public_operands_on_either_side():
    a, k = residues_of((2, 3)), np.arange(6).reshape(2, 3) - 2
    assert evaluate(3, lambda x: k * x - x * k + k + x - (k - x), a) == (2 * a % P).tolist()
    assert evaluate(3, lambda x: k.T @ x, a) == (k.T @ a % P).tolist()
    assert evaluate(3, lambda x: x.dot(np.ones(3, int)) * np.int64(2), a) == (2 * a.sum(1) % P).tolist()


def test_inner_select_reductions():
    a, b, bits = residues_of((2, 3), 1), residues_of((2, 3), 2), np.array([[0, 1, 1], [1, 0, 1]])

    def program(engine: Engine) -> Any:
        x, y = secret_of(engine, a), secret_of(engine, b)
        condition = secret_of(engine, bits, Format(0, 1))
        results = {
            "inner": inner(x, y),
            "inner of one row": inner(x, y[0]),
            "select": select(condition, x, y),
            "select public": select(condition, 1, y),
            "sum": x.sum(),
            "columns": x.sum(axis=0),
            "rows": x.sum(axis=(-1,)),
        }
        return secret.reveal(engine, results)

    found = {label: np.asarray(value).tolist() for label, value in compute_alike(5, program).items()}
    assert found == {
        "inner": ((a * b).sum(1) % P).tolist(),
        "inner of one row": ((a * b[0]).sum(1) % P).tolist(),
        "select": np.where(bits, a, b).tolist(),
        "select public": np.where(bits, 1, b).tolist(),
        "sum": a.sum() % P,
        "columns": (a.sum(0) % P).tolist(),
        "rows": (a.sum(1) % P).tolist(),
    }


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[0],
        lambda x: x[..., 1:],
        lambda x: x[:, ::-1, 0],
        lambda x: x[[1, 0, 1], :, 2],
        lambda x: x[np.arange(24).reshape(2, 3, 4) % 3 == 0],
        lambda x: x[:, np.newaxis],
        lambda x: x.reshape(4, -1),
        lambda x: x.reshape((6, 4)).ravel(),
        lambda x: x.T,
        lambda x: x.transpose(1, 0, 2),
    ],
)
def test_views(view):
    a = residues_of((2, 3, 4))
    assert evaluate(3, view, a) == view(a).tolist()


def test_joining():
    a, b = residues_of((2, 3), 1), residues_of((1, 3), 2)
    assert evaluate(3, lambda x, y: concatenate([x, y, x]), a, b) == np.concatenate([a, b, a]).tolist()
    assert evaluate(3, lambda x: concatenate([x, x], axis=-1), a) == np.concatenate([a, a], -1).tolist()
    assert evaluate(3, lambda x: stack([x, -x], axis=-1), a) == (np.stack([a, -a], -1) % P).tolist()


def test_uniform_elements():
    first, second = compute_alike(3, lambda e: [uniform(e, (2, 2)).reveal(f"r{i}").tolist() for i in (0, 1)])
    assert len({*first[0], *first[1], *second[0], *second[1]}) == 8


def test_results_have_the_type_of_their_format():
    def program(engine: Engine) -> Any:
        small, large = Format(0, 2**63 - 1), Format(0, HALF)
        return secret.reveal(
            engine,
            {
                "small": secret_of(engine, [-5, 2**62], small),
                "large": secret_of(engine, [-5, HALF], large),
                "fixed": secret_of(engine, [-3, 1], Format(1, 3)),
                "field": secret_of(engine, [-1]),
                "empty": secret_of(engine, np.zeros((0, 2), int)),
            },
        )

    found = compute_alike(3, program)
    assert found["small"].dtype == np.int64
    assert found["small"].tolist() == [-5, 2**62]
    assert found["large"].tolist() == [-5, HALF]
    assert found["fixed"].tolist() == [-1.5, 0.5]
    assert found["field"].tolist() == [P - 1]
    assert found["empty"].shape == (0, 2)


@pytest.mark.parametrize("n", SIZES)
def test_costs(n):
    size = 10

    def program(engine: Engine) -> Any:
        x = secret_of(engine, np.arange(size), Format(20, 2**30))
        m = x.reshape(2, 5)
        local = lambda: (x + x - 3, -x, x * 2, x.sum(), x[::2].reshape(5, 1), uniform(engine, (2,)))  # noqa: E731
        actions = {
            "local": (local, 0, 0),
            "product": (lambda: x * x, 1, size),
            "integer product": (lambda: x * secret_of_bits(x), 1, size),
            "inner product": (lambda: x @ x, 1, 1),
            "matrix product": (lambda: m @ m.T, 1, 4),
            "public factor": (lambda: x * 0.5, 1, size),
            "truncation": (lambda: truncate(x, 3), 1, size),
            "open": (x.open, 1, size),
            "empty": (lambda: x[:0] * x[:0], 0, 0),
        }
        found, expected = {}, {}
        for name, (action, rounds, elements) in actions.items():
            cost, _ = spent(engine, action)
            found[name] = (cost.rounds, cost.bytes_sent)
            expected[name] = (rounds, (n - 1) * (16 * elements + HEADER * rounds))
        assert found == expected
        cost, _ = spent(engine, lambda: x.reveal("x"))
        return cost.rounds, cost.bytes_sent

    def secret_of_bits(x: SecretArray) -> SecretArray:
        return SecretArray(x.engine, x.shares, Format(0, 1))

    assert compute_alike(n, program) == (2, (n - 1) * (16 * size + HEADER + 37))


def test_arrays_longer_than_a_message():
    a = np.arange(2 * STRIPE + 5)
    b = a[::-1]

    def program(engine: Engine) -> Any:
        x, y = secret_of(engine, a), secret_of(engine, b)
        cost, z = spent(engine, lambda: x * y)
        assert cost.messages_sent == 2 * 3
        assert cost.rounds == 1
        return z.reveal("z")

    np.testing.assert_array_equal(compute_alike(3, program), a * b)


def test_labels_name_one_result():
    def program(engine: Engine) -> Any:
        uniform(engine, (1,)).reveal("r")
        with pytest.raises(LabelReused, match="r"):
            uniform(engine, (1,)).reveal("r")
        return True

    assert compute_alike(3, program)


def test_the_gate_is_asked_before_anything_is_opened():
    asked = []

    class Refused(Exception):
        pass

    def gate(label: str, shape: tuple[int, ...]) -> None:
        asked.append((label, shape))
        raise Refused

    def program(party: Any) -> Any:
        engine = Engine(party, gate=gate)
        before = party.mesh.traffic.copy()
        with pytest.raises(Refused):
            public(engine, [1, 2]).reveal("figure")
        assert party.mesh.traffic == before

    run_parties("abc", program)
    assert asked == [("figure", (2,))] * 3


def test_no_other_computation_is_asked_instead():
    def program(party: Any) -> None:
        guarded, other = Engine(party, "guarded"), Engine(party, "other")
        before = party.mesh.traffic.copy()
        with pytest.raises(ValueError, match="another computation"):
            reveal(other, {"figure": public(guarded, [1, 2])})
        assert party.mesh.traffic == before

    run_parties("abc", program)


def test_sites_that_compute_on_other_shapes_are_named():
    def program(engine: Engine) -> Any:
        x = uniform(engine, (3 if engine.party.me == "b" else 2,))
        return x * x

    with pytest.raises(ShapeMismatch, match=r"sent . elements where . are due"):
        compute_alike(3, program)


def test_steps_carry_the_names_around_them():
    def program(engine: Engine) -> Any:
        with engine.named("newton 3"):
            return engine.step("multiply")

    assert compute_alike(3, program) == "engine/newton 3/1 multiply"


def test_shares_are_fresh():
    # The product's shares must not be the products of shares, nor those of the same product again.
    def program(engine: Engine) -> Any:
        x = secret_of(engine, [3])
        return [z.shares.tobytes() for z in (x, x * x, x * x)]

    for one, two, three in run_parties(NAMES[:3], lambda party: program(Engine(party))).values():
        assert len({one, two, three}) == 3


def test_what_a_secret_refuses():
    def program(engine: Engine) -> Any:
        x = uniform(engine, (2,))
        assert repr(x) == "<SecretArray of shape (2,)>"
        assert (len(x), x.ndim, x.size, x.T.shape) == (2, 1, 2, (2,))
        for misuse in (
            lambda: bool(x[0]),
            lambda: np.asarray(x),
            lambda: pickle.dumps(x),
            lambda: copy.copy(x),
            lambda: hash(x),
            lambda: len(x[0]),
            lambda: x + 0.5,
            lambda: x * 0.5,
            lambda: x / 3,
            lambda: 3 in x,
        ):
            with pytest.raises(TypeError):
                misuse()
        for misuse in (
            lambda: x + uniform(engine, (3,)),
            lambda: x @ uniform(engine, (3,)),
            lambda: select(x, x, x),
            lambda: SecretArray(engine, np.zeros(3, np.uint64)),
            lambda: x + uniform(Engine(engine.party, "other"), (2,)),
        ):
            with pytest.raises(ValueError, match=r".+"):
                misuse()
        return True

    assert compute_alike(3, program)


def test_two_parties_are_refused():
    with pytest.raises(ValueError, match="three parties"):
        compute_alike(2, lambda engine: None)
