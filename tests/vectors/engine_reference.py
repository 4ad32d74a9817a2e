"""Pseudorandom sharing, openings and fixed point again, in Python's integers: writes engine.json.

It follows the description, not the code: HKDF and AES as libraries give them, polynomials with fractions
modulo p, numbers as exact fractions. ``python tests/vectors/engine_reference.py`` rewrites the file.
"""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PATH = Path(__file__).parent / "engine.json"
P = 2**127 - 1
SESSION = bytes(range(32))
SIZE = 3


def set_key(subset: tuple[int, ...]) -> bytes:
    """Return the key of a set of parties, for the vectors' sake a function of its members."""
    return bytes(subset).ljust(32, b"k")


def words(key: bytes, label: str, count: int) -> list[int]:
    """Return the next words of the set's stream."""
    info = b"fedstats v1 mask stream\x00" + label.encode()
    material = HKDF(SHA256(), 32, salt=SESSION, info=info).derive(key)
    stream = (
        Cipher(algorithms.AES128(material[:16]), modes.CTR(material[16:]))
        .encryptor()
        .update(bytes(8 * count))
    )
    return [int.from_bytes(stream[8 * i : 8 * i + 8], "little") for i in range(count)]


def summands(subset: tuple[int, ...], label: str, bits: int) -> list[int]:
    """Return the set's r_A: the low bits of two words each, the lower one first."""
    drawn = words(set_key(subset), label, 2 * SIZE)
    return [(drawn[2 * i] | drawn[2 * i + 1] << 64) % 2**bits % P for i in range(SIZE)]


def at(subset: tuple[int, ...], n: int, x: int) -> int:
    """Return ∏ (1 − x/j) over the parties outside, modulo p."""
    value = Fraction(1)
    for j in range(1, n + 1):
        if j not in subset:
            value *= 1 - Fraction(x, j)
    return value.numerator * pow(value.denominator, -1, P) % P


def encoded(element: int) -> str:
    return (element % P).to_bytes(16, "little").hex()


def prss(n: int, bits: int, drop: int) -> dict[str, Any]:
    t, label = (n - 1) // 2, f"step {n}"
    sets = list(combinations(range(1, n + 1), n - t))
    shares = [
        [
            sum(
                (summands(subset, label, bits)[i] >> drop) * at(subset, n, x)
                for subset in sets
                if x in subset
            )
            for i in range(SIZE)
        ]
        for x in range(1, n + 1)
    ]
    values = [sum(summands(subset, label, bits)[i] >> drop for subset in sets) for i in range(SIZE)]
    return {
        "n": n,
        "label": label,
        "bits": bits,
        "drop": drop,
        "shares": [[encoded(share) for share in row] for row in shares],
        "values": [encoded(value) for value in values],
    }


def opening(n: int, value: int) -> dict[str, Any]:
    t = (n - 1) // 2
    coefficients = [value, *(pow(7, 40 + k, P) for k in range(t))]
    shares = [sum(c * x**k for k, c in enumerate(coefficients)) for x in range(1, n + 1)]
    return {"n": n, "value": encoded(value), "shares": [encoded(share) for share in shares]}


def spoilt(case: dict[str, Any], parties: list[int], why: str) -> dict[str, Any]:
    shares = list(case["shares"])
    for party in parties:
        shares[party - 1] = encoded(int.from_bytes(bytes.fromhex(shares[party - 1]), "little") + 1)
    return {"n": case["n"], "why": why, "shares": shares}


def fixed(value: float, fraction: int) -> dict[str, Any]:
    integer = round(Fraction(value) * 2**fraction)  # ties to even
    return {"value": value.hex(), "fraction": fraction, "element": encoded(integer)}


def vectors() -> dict[str, Any]:
    openings = [opening(n, value) for n, value in [(3, 0), (3, P - 1), (4, 5), (5, 2**126), (7, 12345)]]
    outside = {**openings[0], "shares": [*openings[0]["shares"][:2], "ff" * 15 + "7f"]}
    return {
        "description": "Elements are 16 bytes, lowest first. The key of a set is its members' points as "
        "bytes, filled up with the letter k; the session is the bytes 0 to 31.",
        "prss": [prss(3, 127, 0), prss(3, 125, 20), prss(5, 123, 0), prss(5, 123, 64), prss(7, 121, 40)],
        "opening": {
            "good": openings,
            "bad": [
                spoilt(openings[0], [2], "one of three shares is wrong"),
                spoilt(openings[3], [1, 5], "two of five shares are wrong"),
                spoilt(openings[4], [1, 2, 3], "three of seven shares are wrong"),
                {"n": 3, "why": "a share is p itself", "shares": outside["shares"]},
            ],
        },
        "fixed": {
            "good": [
                fixed(v, f)
                for v in (0.0, 1.0, -1.0, 0.1, -2.5, 2.0**-21, -3 * 2.0**-21, 1e6)
                for f in (20, 40)
            ],
            "bad": [
                {"value": "nan", "fraction": 20, "bound": 10.0, "error": "RangeError"},
                {"value": "inf", "fraction": 20, "bound": 10.0, "error": "RangeError"},
                {"value": (10.5).hex(), "fraction": 20, "bound": 10.0, "error": "RangeError"},
                {"value": (1.0).hex(), "fraction": 100, "bound": 2.0**26, "error": "PrecisionError"},
                {"value": (1.0).hex(), "fraction": -1, "bound": 1.0, "error": "ValueError"},
            ],
        },
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
