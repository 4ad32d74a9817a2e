"""Canonical JSON: one text for one content, so that it can be hashed and signed (RFC 8785)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

#: Whole numbers up to here are exact in every implementation of JSON.
_LARGEST = 2**53


def canonical(value: Any) -> bytes:
    """Return the canonical JSON of a value.

    Parameters
    ----------
    value
        None, bool, int, float, str, and lists, tuples and mappings of these.

    Raises
    ------
    TypeError, ValueError
        Another type; a number that is not finite, or whole and beyond 2^53; half of a surrogate pair.
    """
    return _text(value).encode("utf-8")


def parse(data: bytes) -> Any:
    """Read canonical JSON, and nothing else.

    Raises
    ------
    ValueError
        It is not the canonical JSON of any value.
    """
    try:
        value = json.loads(data, parse_int=_integer)
        if canonical(value) == data:
            return value
    except (TypeError, ValueError, RecursionError, OverflowError):
        pass
    raise ValueError("not canonical JSON")  # Nothing is chained: the cause would quote the content.


def _text(value: Any) -> str:
    match value:
        case str():
            return encode_basestring(value)
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            if abs(value) > _LARGEST:
                raise ValueError("whole numbers beyond 2^53 have no canonical JSON")
            return str(int(value))
        case float():
            return _float(value)
        case list() | tuple():
            return f"[{','.join(map(_text, value))}]"
        case Mapping():
            texts = [f"{encode_basestring(key)}:{_text(value[key])}" for key in _sorted(value)]
            return f"{{{','.join(texts)}}}"
    raise TypeError(f"{type(value).__name__} has no canonical JSON")


def _sorted(keys: Mapping[Any, Any]) -> list[str]:
    """Return keys in the order of their UTF-16 code units, which of ASCII is that of Python."""
    texts = [key for key in keys if isinstance(key, str)]
    if len(texts) < len(keys):
        raise TypeError("the keys of canonical JSON are texts")
    if all(map(str.isascii, texts)):
        return sorted(texts)
    return sorted(texts, key=lambda key: key.encode("utf-16-be"))


def _float(x: float) -> str:
    """Write a float as ECMAScript does: the fewest digits that tell it from its neighbours."""
    if not math.isfinite(x):
        raise ValueError("numbers that are not finite have no canonical JSON")
    if x == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(float(x))).normalize().as_tuple()
    text, point = "".join(map(str, digits)), len(digits) + int(exponent)
    if 0 < point <= 21:
        text = text.ljust(point, "0")
        shown = text[:point] + ("." + text[point:] if text[point:] else "")
    elif -6 < point <= 0:
        shown = "0." + "0" * -point + text
    else:
        shown = text[0] + ("." + text[1:] if text[1:] else "") + f"e{point - 1:+d}"
    return "-" + shown if sign else shown


def _integer(text: str) -> int | float:
    number = int(text)
    return number if abs(number) <= _LARGEST else float(text)
