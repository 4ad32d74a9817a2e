from __future__ import annotations

import json
import math
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocols import codec
from protocols.codec import decode, encode, pack_strings, unpack_strings
from protocols.errors import CodecError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "codec.json").read_text("utf-8"))


def from_json(typed: dict[str, Any]) -> Any:
    ((kind, value),) = typed.items()
    match kind:
        case "int":
            return int(value)
        case "float":
            return float.fromhex(value)
        case "bytes":
            return bytes.fromhex(value)
        case "list":
            return [from_json(item) for item in value]
        case "dict":
            return {key: from_json(item) for key, item in value}
        case "array":
            data = np.frombuffer(bytes.fromhex(value["data"]), value["dtype"])
            return data.reshape(value["shape"])
        case _:
            return value


def same(a: Any, b: Any) -> bool:
    """Whether two values have the same type and bits, throughout."""
    if type(a) is not type(b):
        return False
    match a:
        case float():
            return struct.pack("<d", a) == struct.pack("<d", b) or (math.isnan(a) and math.isnan(b))
        case list():
            return len(a) == len(b) and all(map(same, a, b))
        case dict():
            return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
        case np.ndarray():
            return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        case _:
            return bool(a == b)


arrays = st.sampled_from(codec.DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
)
integers = st.integers(-(2**63), 2**63 - 1)
scalars = st.none() | st.booleans() | integers | st.floats() | st.text() | st.binary() | arrays
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("case", VECTORS["good"], ids=lambda case: case["name"])
def test_known_answers(case):
    value, encoding = from_json(case["value"]), bytes.fromhex(case["encoding"])
    assert encode(value) == encoding
    assert same(decode(encoding), value)


@pytest.mark.parametrize("case", VECTORS["bad"], ids=lambda case: case["name"])
def test_known_refusals(case):
    with pytest.raises(CodecError, match="site b is malformed") as caught:
        decode(bytes.fromhex(case["encoding"]), peer="b")
    assert caught.value.peer == "b"


@given(values)
def test_round_trip(value):
    encoding = encode(value)
    assert same(decode(encoding), value)
    assert same(decode(memoryview(b"x" + encoding)[1:]), value)


def assert_canonical(data: bytes) -> None:
    """Demand that bytes are refused, or are the encoding of what they decode to."""
    try:
        value = decode(data)
    except CodecError:
        return
    assert encode(value) == data


@given(st.binary(max_size=200))
def test_random_bytes(data):
    assert_canonical(data)


@given(values, st.data())
def test_mutated_encodings(value, data):
    encoding = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(encoding) - 1))
        encoding[position] = data.draw(st.integers(0, 255) | st.sampled_from(b"NFTifsblda"))
    assert_canonical(bytes(encoding))


@given(values, st.data())
def test_truncated_and_extended_encodings(value, data):
    encoding = encode(value)
    with pytest.raises(CodecError):
        decode(encoding[: data.draw(st.integers(0, len(encoding) - 1))])
    with pytest.raises(CodecError):
        decode(encoding + b"N")


def test_arrays_are_read_only_views_where_memory_is_aligned():
    array = np.arange(5.0)
    encoding = encode(["head", array])
    view = decode(encoding)[1]
    assert np.shares_memory(view, np.frombuffer(encoding, np.uint8))
    assert view.flags.aligned
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    moved = decode(memoryview(b"x" + encoding)[1:])[1]
    assert moved.flags.aligned
    assert not moved.flags.writeable
    assert moved.tobytes() == array.tobytes()


def test_layouts_of_memory_do_not_matter():
    array = np.arange(24.0).reshape(4, 6)
    assert encode(array.T) == encode(np.ascontiguousarray(array.T))
    assert encode(array[::2, ::3]) == encode(array[::2, ::3].copy())
    assert encode(array.astype(">f8")) == encode(array)


def test_longest_encoding_accepted():
    assert decode(encode("abc"), max_bytes=8) == "abc"
    with pytest.raises(CodecError, match="at most 7"):
        decode(encode("abc"), max_bytes=7)


@pytest.mark.parametrize(
    "value",
    [(1,), {1}, 1j, np.int64(1), object(), bytearray(b"x"), {1: 2}, [{"a": (1,)}]]
    + [np.zeros(1, dtype) for dtype in ("f4", "i4", "c16", "U3", "O", "M8[s]")],
    ids=lambda value: type(value).__name__,
)
def test_other_types_cannot_be_encoded(value):
    with pytest.raises(TypeError):
        encode(value)


def nested(depth: int) -> Any:
    return None if depth == 0 else [nested(depth - 1)]


def test_values_out_of_bounds_cannot_be_encoded():
    assert decode(encode(nested(codec.MAX_DEPTH))) == nested(codec.MAX_DEPTH)
    for value in (2**63, -(2**63) - 1, "\ud800", np.zeros((1,) * 5), nested(codec.MAX_DEPTH + 1)):
        with pytest.raises(ValueError):  # noqa: PT011  (UnicodeEncodeError among them, with its own text)
            encode(value)


def test_order_of_insertion_does_not_matter():
    assert encode(OrderedDict(b=1, a=2)) == encode({"a": 2, "b": 1})


@given(st.lists(st.text()))
def test_packed_strings_round_trip(strings):
    assert unpack_strings(decode(encode(pack_strings(strings)))) == strings


def test_many_packed_strings():
    strings = [f"rs{number}" for number in range(100_000)]
    assert unpack_strings(decode(encode(pack_strings(strings)))) == strings


@pytest.mark.parametrize(
    "value",
    [
        None,
        ["a"],
        {"ends": np.array([1])},
        {"ends": np.array([1]), "text": "a"},
        {"ends": [1], "text": b"a"},
        {"ends": np.array([1]), "text": b"a", "more": 0},
        {"ends": np.array([1.0]), "text": b"a"},
        {"ends": np.array([[1]]), "text": b"a"},
        {"ends": np.array([], np.int64), "text": b"a"},
        {"ends": np.array([1]), "text": b"ab"},
        {"ends": np.array([2, 1, 3]), "text": b"abc"},
        {"ends": np.array([-1, 3]), "text": b"abc"},
        {"ends": np.array([4, 3]), "text": b"abc"},
        {"ends": np.array([-(2**63), 2**63 - 1, 3]), "text": b"abc"},
        {"ends": np.array([1, 2]), "text": "é".encode()},
    ],
)
def test_packed_strings_are_trusted_in_nothing(value):
    with pytest.raises(CodecError) as caught:
        unpack_strings(value, peer="b")
    assert caught.value.peer == "b"
