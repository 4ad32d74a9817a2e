"""The field against Python's integers, and against known answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from engine_helpers import EDGES, elements, integers, random_residues, residues
from hypothesis import given
from hypothesis import strategies as st

from protocols import field
from protocols.errors import RangeError
from protocols.field import P

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "field.json").read_text())
ALL_PAIRS = [(a, b) for a in EDGES for b in EDGES]
lists = st.lists(residues, min_size=1, max_size=20)


def unhex(encoding: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(encoding), np.uint64)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (field.add, lambda a, b: (a + b) % P),
        (field.sub, lambda a, b: (a - b) % P),
        (field.mul, lambda a, b: a * b % P),
    ],
    ids=["add", "sub", "mul"],
)
class TestBinary:
    def test_edges(self, ours, theirs):
        a, b = (elements(column) for column in zip(*ALL_PAIRS, strict=True))
        assert integers(ours(a, b)) == [theirs(*pair) for pair in ALL_PAIRS]

    @given(a=lists, b=residues)
    def test_array_and_scalar(self, ours, theirs, a, b):
        expected = [theirs(x, b) for x in a]
        assert integers(ours(elements(a), elements(b))) == expected
        assert integers(ours(elements([b]), elements(a))) == [theirs(b, x) for x in a]

    @pytest.mark.parametrize(
        ("left", "right"), [((3, 1), (1, 4)), ((2, 3, 4), (4,)), ((0, 3), (3,)), ((), ()), ((1, 1), (5,))]
    )
    def test_broadcasts_as_numpy(self, ours, theirs, left, right):
        a, b = (
            np.array(random_residues(int(np.prod(shape))), object).reshape(shape) for shape in (left, right)
        )
        result = ours(elements(a), elements(b))
        assert result.shape == (*np.broadcast_shapes(left, right), 2)
        assert integers(result) == np.asarray(theirs(a, b), object).tolist()


def test_neg_square_inverse():
    values = EDGES + random_residues(20)
    array = elements(values)
    assert integers(field.neg(array)) == [-x % P for x in values]
    assert integers(field.square(array)) == [x * x % P for x in values]
    units = [x for x in values if x]
    assert integers(field.inverse(elements(units))) == [pow(x, -1, P) for x in units]
    assert field.inverse(field.zeros(0)).shape == (0, 2)
    with pytest.raises(ZeroDivisionError):
        field.inverse(array)


@given(a=residues, exponent=residues)
def test_power(a, exponent):
    assert integers(field.power(elements(a), exponent)) == pow(a, exponent, P)


@pytest.mark.parametrize("exponent", [-1, P])
def test_exponents_that_are_refused(exponent):
    with pytest.raises(ValueError, match="exponent"):
        field.power(elements([1]), exponent)


def test_square_roots():
    values = EDGES + random_residues(20)
    squares = field.square(elements(values))
    roots = integers(field.sqrt(squares))
    assert all(root in (x, P - x) or root == x == 0 for root, x in zip(roots, values, strict=True))
    symbols = field.legendre(elements(values)).tolist()
    assert symbols == [0 if x == 0 else 1 if pow(x, P // 2, P) == 1 else -1 for x in values]
    with pytest.raises(ValueError, match="square"):
        field.sqrt(elements([P - 1]))  # p is 3 modulo 4


@given(terms=lists)
def test_sums_and_inner_products(terms):
    array = elements(terms)
    assert integers(field.sum(array)) == sum(terms) % P
    assert integers(field.dot(array, array[::-1])) == (
        sum(x * y for x, y in zip(terms, terms[::-1], strict=True)) % P
    )


def test_long_inner_products_do_not_overflow():
    array = np.broadcast_to(elements(P - 1), (100_000, 2))
    assert integers(field.dot(array, array)) == 100_000


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), ()])
@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 0, 3), (1, 1, 1)])
def test_sum_over_axes(axis, shape):
    a = np.array(random_residues(int(np.prod(shape))), object).reshape(shape)
    expected = np.asarray(a.sum(axis=axis) % P, object)
    result = field.sum(elements(a), axis)
    assert result.shape == (*expected.shape, 2)
    assert integers(result) == expected.tolist()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((4,), (4, 5)),
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((2, 3, 4), (4,)),
        ((3, 0), (0, 2)),
        ((0, 3), (3, 2)),
    ],
)
def test_matmul_as_numpy(left, right):
    a = np.array(random_residues(int(np.prod(left)), 1), object).reshape(left)
    b = np.array(random_residues(int(np.prod(right)), 2), object).reshape(right)
    result = field.matmul(elements(a), elements(b))
    shape = np.matmul(np.zeros(left), np.zeros(right)).shape
    assert result.shape == (*shape, 2)
    if a.size and b.size:
        assert integers(result) == np.asarray(np.matmul(a, b) % P, object).tolist()
    else:
        assert not result.any()


@pytest.mark.parametrize(("left", "right"), [((3,), (4,)), ((2, 3), (2, 3)), ((), (3,))])
def test_matmul_of_shapes_that_do_not_fit(left, right):
    with pytest.raises(ValueError, match=r"multiply|scalars"):
        field.matmul(field.zeros(left), field.zeros(right))


@given(a=residues, bits=st.integers(0, 126))
def test_shift(a, bits):
    assert integers(field.shift_right(elements(a), bits)) == a >> bits


@given(value=st.integers(-field.HALF, field.HALF))
def test_signed_integers_round_trip(value):
    array = np.array(value, object)
    assert field.to_signed_ints(field.from_ints(array)).item() == value


@given(values=st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_int64_round_trip(values):
    array = np.array(values, np.int64)
    grid = np.broadcast_to(array, (3, len(values))).T  # neither C-contiguous nor writable
    assert field.to_int64(field.from_ints(grid)).tolist() == grid.tolist()
    assert field.to_int64(field.from_ints(array)).tolist() == values
    assert integers(field.from_ints(array)) == [value % P for value in values]


def test_unsigned_and_bool():
    assert integers(field.from_ints(np.array([2**64 - 1], np.uint64))) == [2**64 - 1]
    assert integers(field.from_ints(np.array([True, False]))) == [1, 0]
    with pytest.raises(TypeError, match="float"):
        field.from_ints(np.array([1.0]))


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, field.HALF])
def test_integers_beyond_int64_are_refused(value):
    with pytest.raises(RangeError, match="64 bits"):
        field.to_int64(elements([value]))


@given(values=st.lists(st.floats(-1e6, 1e6)), fraction=st.sampled_from([0, 20, 52]))
def test_floats_round_to_the_nearest(values, fraction):
    encoded = field.to_signed_ints(field.from_floats(values, fraction, 1e6)).tolist()
    assert encoded == [round(value * 2**fraction) for value in values]  # exact: powers of two
    back = field.to_floats(field.from_floats(values, fraction, 1e6), fraction)
    np.testing.assert_array_less(np.abs(back - values), 2.0 ** -(fraction + 1) * 1.0000001)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.0000001, -2.0])
def test_floats_beyond_the_bound_are_refused_unnamed(value):
    with pytest.raises(RangeError, match="1 of 2 values") as caught:
        field.from_floats([0.5, value], 20, 1.0)
    assert "0000001" not in str(caught.value)
    assert "2" not in str(caught.value).replace("1 of 2", "")
    assert integers(field.from_floats([1.0, -1.0], 20, 1.0)) == [2**20, P - 2**20]


def test_a_bound_beyond_the_field_is_refused():
    with pytest.raises(ValueError, match="no room"):
        field.from_floats([0.0], 100, 2.0**30)


@given(words=st.lists(st.integers(0, 2**128 - 1), min_size=1), bits=st.integers(1, 127))
def test_random_words_are_cut(words, bits):
    raw = np.frombuffer(b"".join(word.to_bytes(16, "little") for word in words), np.uint64).reshape(-1, 2)
    assert integers(field.from_random_words(raw.copy(), bits)) == [word % 2**bits % P for word in words]


@pytest.mark.parametrize("case", VECTORS["arithmetic"])
def test_known_answers(case):
    a, b = unhex(case["a"]), unhex(case["b"])
    assert field.add(a, b).tobytes().hex() == case["sum"]
    assert field.sub(a, b).tobytes().hex() == case["difference"]
    assert field.mul(a, b).tobytes().hex() == case["product"]
    assert field.legendre(a) == case["legendre_of_a"]
    if case["inverse_of_a"]:
        assert field.inverse(a).tobytes().hex() == case["inverse_of_a"]


def test_known_encodings():
    for case in VECTORS["integers"]:
        assert elements(int(case["integer"])).tobytes().hex() == case["encoding"]
    for case in VECTORS["fixed_point"]:
        value = float.fromhex(case["float"])
        assert field.from_floats(value, case["fraction"], abs(value)).tobytes().hex() == case["encoding"]


@pytest.mark.parametrize("case", VECTORS["bad"], ids=lambda case: case["why"])
def test_what_is_no_element(case):
    good = elements(EDGES)
    assert field.is_canonical(good)
    assert not field.is_canonical(np.concatenate([good, unhex(case["encoding"]).reshape(1, 2)]))
