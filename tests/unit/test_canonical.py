"""Canonical JSON, against the numbers and strings of RFC 8785."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstats._canonical import canonical, parse


# RFC 8785, appendix B
@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers(bits, text):
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(number).decode() == text
    assert canonical(parse(text.encode())) == text.encode()


def test_keys_are_sorted_by_utf16_and_strings_escaped_as_little_as_may_be():
    # RFC 8785, sections 3.2.2 and 3.2.3
    value = {"€": 1, "\r": 2, "\ufb33": 3, "1": 4, "😀": 5, "\x80": 6, "ö": 7}
    assert list(parse(canonical(value)).values()) == [2, 4, 6, 7, 1, 5, 3]
    assert canonical('€$\x0f\nA\'B"\\\\"/').decode() == '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'
    assert canonical([None, True, False, [], {}]) == b"[null,true,false,[],{}]"


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53 + 1, "\ud800", {1: 2}, b"x", {1, 2}], ids=repr)
def test_what_has_no_canonical_json_is_refused(value):
    with pytest.raises((TypeError, ValueError)):
        canonical(value)


@pytest.mark.parametrize(
    "text", [b"", b"1.0", b"{ }", b'{"a":1,"a":1}', b'{"b":1,"a":1}', b"NaN", b'"\\u0041"', b"[" * 9999]
)
def test_what_is_not_canonical_is_not_read(text):
    with pytest.raises(ValueError, match="not canonical JSON"):
        parse(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back(x):
    assert float(parse(canonical(x))) == x
