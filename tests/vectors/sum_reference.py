"""The secure sum again, in Python's integers and nothing of `protocols`: writes and checks sum.json.

It follows the description, not the code: one block a segment, elements as integers modulo 2^(64·limbs),
encodings put together by hand. ``python tests/vectors/sum_reference.py`` rewrites the file.
"""

from __future__ import annotations

import json
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PATH = Path(__file__).parent / "sum.json"

SESSION = bytes(range(32))
CASES: list[dict[str, Any]] = [
    {
        "name": "integers, three parties",
        "label": "counts",
        "ring": [1, 0],
        "shape": [4],
        "inputs": {"a": [1, 2, 3, 4], "b": [-10, 0, 10, 2**60], "c": [5, 5, 5, -(2**60)]},
    },
    {
        "name": "floats in 128 bits, three parties, a matrix",
        "label": "block 7",
        "ring": [2, 64],
        "shape": [2, 2],
        "inputs": {
            "a": [0.1, 1e9, -3.5, 2.0**-64],
            "b": [0.2, -1e-9, 3.5, 2.0**-65],
            "c": [0.3, 7.25, 0.0, 1.0],
        },
    },
    {
        "name": "floats of every magnitude, exactly, two parties",
        "label": "moments",
        "ring": [34, 1088],
        "shape": [3],
        "inputs": {"a": [1e308, 5e-324, 0.1], "b": [-1e308, 5e-324, 0.2]},
    },
    {
        "name": "one number, four parties, so that three own nothing",
        "label": "n",
        "ring": [1, 0],
        "shape": [],
        "inputs": {"a": [1], "b": [20], "c": [300], "d": [4000]},
    },
]


def pair_key(one: str, other: str) -> bytes:
    """Return the key that two parties share, for the vectors' sake a function of their names."""
    return ("-".join(sorted((one, other)))).encode().ljust(32, b".")


def stream(one: str, other: str, label: str, size: int) -> bytes:
    """Return the first bytes of the mask stream of a pair."""
    info = b"fedstats v1 mask stream\x00" + label.encode()
    material = HKDF(SHA256(), 32, salt=SESSION, info=info).derive(pair_key(one, other))
    return Cipher(algorithms.AES128(material[:16]), modes.CTR(material[16:])).encryptor().update(bytes(size))


def array(prefix: bytes, dtype: int, shape: tuple[int, ...], data: bytes) -> bytes:
    """Return the encoding of an array that follows `prefix`."""
    head = prefix + b"a" + bytes((dtype, len(shape))) + b"".join(struct.pack("<Q", axis) for axis in shape)
    return head + bytes(-len(head) % 8) + data


def run(case: dict[str, Any]) -> dict[str, Any]:
    """Return every party's messages, by step, and the result."""
    (limbs, fraction), label, shape = case["ring"], case["label"], case["shape"]
    names = sorted(case["inputs"])
    n, size, width = len(names), len(case["inputs"]["a"]), 8 * limbs
    bounds = [(owner * size // n, (owner + 1) * size // n) for owner in range(n)]
    whole = fraction == 0

    # Entries plus, for each peer, the stream of the pair: the first adds it, the second takes it away.
    masked = {}
    for me in names:
        elements = [round(Fraction(x) * 2**fraction) for x in case["inputs"][me]]
        for peer in set(names) - {me}:
            masks = stream(me, peer, label, size * width)
            for entry in range(size):
                mask = int.from_bytes(masks[entry * width : (entry + 1) * width], "little")
                elements[entry] += mask if me < peer else -mask
        masked[me] = [element % 2 ** (64 * limbs) for element in elements]

    axes = b"".join(b"i" + struct.pack("<q", axis) for axis in shape)
    header = b"i" + struct.pack("<q", limbs) + b"i" + struct.pack("<q", fraction)
    header += b"l" + struct.pack("<I", len(shape)) + axes
    header = b"l" + struct.pack("<I", 4) + header
    scatter = {
        me: {
            peer: array(
                header,
                4,
                (last - first, limbs),
                b"".join(element.to_bytes(width, "little") for element in masked[me][first:last]),
            ).hex()
            for peer, (first, last) in zip(names, bounds, strict=True)
            if peer != me
        }
        for me in names
    }

    result: list[Any] = []
    for entry in range(size):
        total = sum(masked[me][entry] for me in names) % 2 ** (64 * limbs)
        total -= (total >> (64 * limbs - 1)) << (64 * limbs)
        result.append(total if whole else total / 2**fraction)
    code, form = (3, "<q") if whole else (5, "<d")
    words = [struct.pack(form, x) for x in result]
    gather = {
        me: array(b"", code, (last - first,), b"".join(words[first:last])).hex()
        for me, (first, last) in zip(names, bounds, strict=True)
    }
    return {"scatter": scatter, "gather": gather, "result": result}


def vectors() -> dict[str, Any]:
    """Return the content of sum.json."""
    return {
        "description": "Secure sums: `scatter` by sender and receiver, `gather` by sender, to all. "
        "The key of two parties is their sorted names joined by '-', filled with '.' to 32 bytes.",
        "session": SESSION.hex(),
        "cases": [case | run(case) for case in CASES],
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n", "utf-8")
