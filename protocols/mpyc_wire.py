"""What MPyC's parties send each other, as bytes that are only ever read as numbers and plain values.

MPyC itself pickles, and whoever unpickles a message runs what its sender wrote into it. Here field elements
are integers of a fixed width below the order of their field, as many as are due; objects are values of
`codec`, with tuples and integers of any size beside them. Everything else is refused on either side.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from protocols import codec
from protocols.errors import CodecError, ProtocolError


class Unsupported(ProtocolError):
    """An object of a kind that is not sent between parties."""


def pack_elements(field: Any, values: Iterable[Any]) -> bytes:
    """Return the values of elements of one of MPyC's fields as bytes.

    Parameters
    ----------
    field
        The class of the elements.
    values
        Integers, or polynomials in an extension field, reduced.
    """
    return b"".join(int(value).to_bytes(field.byte_length, "little") for value in values)


def unpack_elements(field: Any, data: bytes, count: int, peer: str) -> list[Any]:
    """Return the values of so many elements of a field.

    Raises
    ------
    CodecError
        The bytes are not those of `count` reduced values.
    """
    width = field.byte_length
    if len(data) != count * width:
        raise CodecError(f"site {peer} sent {len(data)} bytes where {count * width} are due", peer=peer)
    numbers = [int.from_bytes(data[start : start + width], "little") for start in range(0, len(data), width)]
    if any(number >= field.order for number in numbers):
        raise CodecError(f"site {peer} sent what is no element of the field", peer=peer)
    return numbers if field.ext_deg == 1 else [field(number).value for number in numbers]


def pack_object(value: Any) -> bytes:
    """Return a plain object as bytes.

    Parameters
    ----------
    value
        None, a bool, int, float, str, bytes, or NumPy array of numbers; or a list, tuple or dict with str
        keys of such.

    Raises
    ------
    Unsupported
        It is something else, or holds something else. Nothing was sent.
    """
    try:
        return codec.encode(_plain(value))
    except (TypeError, ValueError) as error:
        raise Unsupported(f"an object cannot be sent to the other sites: {error}") from None


def unpack_object(data: bytes, peer: str) -> Any:
    """Return the object that `pack_object` packed.

    Raises
    ------
    CodecError
        The bytes are not what it makes of any object.
    """
    return _restored(codec.decode(data, peer=peer), peer)


def _plain(value: Any) -> codec.Value:
    """Return an object as a value of `codec`: what has no type there is a dict of one entry, its name."""
    match value:
        case bool():
            return value
        case int() if type(value) is int and not -(1 << 63) <= value < 1 << 63:
            return {"int": value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)}
        case list():
            return [_plain(item) for item in value]
        case tuple() if type(value) is tuple:
            return {"tuple": [_plain(item) for item in value]}
        case dict():
            return {"dict": {key: _plain(item) for key, item in value.items()}}
    plain: codec.Value = value
    return plain


def _restored(value: Any, peer: str) -> Any:
    match value:
        case list():
            return [_restored(item, peer) for item in value]
        case {"int": bytes() as digits, **rest} if not rest:
            return int.from_bytes(digits, "little", signed=True)
        case {"tuple": list() as items, **rest} if not rest:
            return tuple(_restored(item, peer) for item in items)
        case {"dict": dict() as items, **rest} if not rest:
            return {key: _restored(item, peer) for key, item in items.items()}
        case dict():
            raise CodecError(f"site {peer} sent no object of a known kind", peer=peer)
    return value
