"""The one wire format: plain values and arrays as bytes, and nothing that could run.

A value is one tag byte followed by its content. All numbers are little-endian and of fixed width, so
that every value has exactly one encoding, and `decode` refuses every other string of bytes.

===========  ====  ============================================================================
value        tag   content
===========  ====  ============================================================================
None         N
False, True  F T
int          i     int64
float        f     binary64; the only NaN is ``7ff8000000000000``
str          s     uint32 number of bytes, UTF-8
bytes        b     uint32 number of bytes, the bytes
list         l     uint32 number of items, the items
dict         d     uint32 number of items; for each, the key (uint32 and UTF-8) and the value,
                   in strictly increasing order of keys
array        a     uint8 dtype, uint8 number of dimensions, a uint64 for each dimension, zero
                   bytes up to the next multiple of 8 from the start, the data in C order
===========  ====  ============================================================================

Containers nest at most `MAX_DEPTH` deep. Array data start at a multiple of 8, so that they are used
where they lie; they carry bit patterns, NaN payloads included, except that a bool is 0 or 1.
"""

from __future__ import annotations

import math
import struct
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.errors import CodecError

Buffer: TypeAlias = bytes | bytearray | memoryview
#: What can be sent.
Value: TypeAlias = bool | int | float | str | bytes | list[Any] | dict[str, Any] | NDArray[Any] | None

#: Deepest nesting of lists and dicts.
MAX_DEPTH = 16
#: Most dimensions of an array.
MAX_NDIM = 4
#: Dtypes of arrays; the position is the code on the wire.
DTYPES = tuple(np.dtype(code) for code in ("?", "u1", "i1", "<i8", "<u8", "<f8"))

_CODES = {dtype: code for code, dtype in enumerate(DTYPES)}
_ALIGNMENT = 8
_NAN = bytes.fromhex("000000000000f87f")
_U32 = struct.Struct("<I")
_I64 = struct.Struct("<q")
_F64 = struct.Struct("<d")


def encode(value: Value) -> bytes:
    """Encode a value.

    Parameters
    ----------
    value
        A value of the types in the table above, and not of a type that resembles one: a tuple or a
        NumPy integer would come back as something else.

    Raises
    ------
    TypeError
        The value, or one within it, is of another type.
    ValueError
        An integer beyond 64 bits, text with lone surrogates, too many dimensions or levels.
    """
    writer = _Writer()
    writer.value(value, 0)
    return b"".join(writer.parts)


def decode(buffer: Buffer, *, peer: str | None = None, max_bytes: int | None = None) -> Any:
    """Decode what `encode` made, and refuse everything else.

    Parameters
    ----------
    buffer
        One encoded value. Arrays are read-only views of it where its memory is aligned.
    peer
        Who sent it, to be named in errors.
    max_bytes
        Longest encoding to accept.

    Raises
    ------
    CodecError
        The bytes are not the canonical encoding of a value.

    Notes
    -----
    No length is believed before the bytes are there. The values take at most about 15 times the
    memory of the buffer, when it holds nothing but empty containers; arrays take none.
    """
    view = memoryview(buffer).cast("B")
    reader = _Reader(view, peer)
    if max_bytes is not None and len(view) > max_bytes:
        raise reader.error(f"{len(view)} bytes where at most {max_bytes} are accepted")
    value = reader.value(0)
    if reader.left:
        raise reader.error(f"{reader.left} bytes follow the value")
    return value


class _Writer:
    """Collects the pieces of an encoding; array data are not copied until they are joined."""

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = []
        self.size = 0

    def put(self, *parts: bytes | memoryview) -> None:
        self.parts.extend(parts)
        self.size += sum(memoryview(part).nbytes for part in parts)

    def value(self, value: Value, depth: int) -> None:
        match value:
            case None:
                self.put(b"N")
            case bool():
                self.put(b"T" if value else b"F")
            case int():
                if not -(1 << 63) <= value < 1 << 63:
                    raise ValueError("an integer is beyond 64 bits")
                self.put(b"i", _I64.pack(value))
            case float():
                self.put(b"f", _NAN if math.isnan(value) else _F64.pack(value))
            case str():
                self.put(b"s", *_sized(value.encode()))
            case bytes():
                self.put(b"b", *_sized(value))
            case list():
                self.put(b"l", _count(len(value)))
                for item in value:
                    self.value(item, _deeper(depth))
            case dict():
                self.put(b"d", _count(len(value)))
                if not all(isinstance(key, str) for key in value):
                    raise TypeError("the keys of a dict must be str")
                for key in sorted(value):
                    self.put(*_sized(key.encode()))
                    self.value(value[key], _deeper(depth))
            case np.ndarray():
                self.array(value)
            case _:
                raise TypeError(f"cannot encode a value of type {type(value).__name__}")

    def array(self, array: NDArray[Any]) -> None:
        code = _CODES.get(array.dtype.newbyteorder("<"))
        if code is None:
            raise TypeError(f"cannot encode an array of dtype {array.dtype}")
        if array.ndim > MAX_NDIM:
            raise ValueError(f"cannot encode an array of {array.ndim} dimensions; the most is {MAX_NDIM}")
        self.put(b"a", bytes((code, array.ndim)), np.array(array.shape, "<u8").tobytes())
        self.put(bytes(-self.size % _ALIGNMENT))
        self.put(np.asarray(array, DTYPES[code], order="C").data)


def _sized(content: bytes) -> tuple[bytes, bytes]:
    return _count(len(content)), content


def _count(count: int) -> bytes:
    if count >= 1 << 32:
        raise ValueError("a str, bytes, list or dict has 2^32 entries or more")
    return _U32.pack(count)


def _deeper(depth: int) -> int:
    if depth == MAX_DEPTH:
        raise ValueError(f"lists and dicts are nested more than {MAX_DEPTH} deep")
    return depth + 1


class _Reader:
    """Walks through an encoding; every length is held against the bytes left before it is used."""

    def __init__(self, view: memoryview, peer: str | None) -> None:
        self.view = view
        self.position = 0
        self.peer = peer

    @property
    def left(self) -> int:
        return len(self.view) - self.position

    def error(self, what: str) -> CodecError:
        sender = "a message" if self.peer is None else f"a message of site {self.peer}"
        return CodecError(f"{sender} is malformed at byte {self.position}: {what}", peer=self.peer)

    def take(self, size: int) -> memoryview:
        if size > self.left:
            raise self.error(f"{size} bytes announced, {self.left} left")
        start, self.position = self.position, self.position + size
        return self.view[start : self.position]

    def count(self, smallest: int) -> int:
        """Read a number of entries, each of which takes `smallest` bytes at least."""
        (count,) = _U32.unpack(self.take(4))
        if count * smallest > self.left:
            raise self.error(f"{count} entries announced, {self.left} bytes left")
        return int(count)

    def text(self) -> str:
        content = self.take(self.count(1))
        try:
            return str(content, "utf-8")
        except UnicodeDecodeError:
            # Not chained: the cause would quote the bytes.
            raise self.error("text that is not UTF-8") from None

    def value(self, depth: int) -> Value:
        match self.take(1)[0]:
            case 0x4E:  # N
                return None
            case 0x46:  # F
                return False
            case 0x54:  # T
                return True
            case 0x69:  # i
                return int(_I64.unpack(self.take(8))[0])
            case 0x66:  # f
                return self.binary64()
            case 0x73:  # s
                return self.text()
            case 0x62:  # b
                return bytes(self.take(self.count(1)))
            case 0x6C:  # l
                depth = self.deeper(depth)
                return [self.value(depth) for _ in range(self.count(1))]
            case 0x64:  # d
                return self.mapping(self.deeper(depth))
            case 0x61:  # a
                return self.array()
            case tag:
                raise self.error(f"unknown tag 0x{tag:02x}")

    def deeper(self, depth: int) -> int:
        if depth == MAX_DEPTH:
            raise self.error(f"lists and dicts are nested more than {MAX_DEPTH} deep")
        return depth + 1

    def binary64(self) -> float:
        content = self.take(8)
        (value,) = _F64.unpack(content)
        if math.isnan(value) and content != _NAN:
            raise self.error("a NaN that is not the canonical one")
        return float(value)

    def mapping(self, depth: int) -> dict[str, Value]:
        result: dict[str, Value] = {}
        previous: str | None = None
        for _ in range(self.count(5)):
            key = self.text()
            if previous is not None and key <= previous:
                raise self.error("keys that are not strictly increasing")
            result[key] = self.value(depth)
            previous = key
        return result

    def array(self) -> NDArray[Any]:
        code, ndim = self.take(2)
        if code >= len(DTYPES):
            raise self.error(f"unknown dtype {code}")
        if ndim > MAX_NDIM:
            raise self.error(f"an array of {ndim} dimensions; the most is {MAX_NDIM}")
        dtype = DTYPES[code]
        shape = struct.unpack(f"<{ndim}Q", self.take(8 * ndim))
        if any(self.take(-self.position % _ALIGNMENT)):
            raise self.error("padding that is not zero")
        # What NumPy itself can represent: an axis may be long even if another one is empty.
        if math.prod(length or 1 for length in shape) * dtype.itemsize >= 1 << 63:
            raise self.error("an array too large for any memory")
        data = self.take(math.prod(shape) * dtype.itemsize)
        array = np.frombuffer(data, dtype).reshape(shape)
        if dtype == np.bool_ and array.view(np.uint8).max(initial=0) > 1:
            raise self.error("a bool that is neither 0 nor 1")
        if not array.flags.aligned:
            array = array.copy()
        array.flags.writeable = False
        return array
