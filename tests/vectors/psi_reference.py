"""The group of private set intersection again, in Python's integers: writes psi.json.

Formulas are those of RFC 7748, RFC 8032 and of Elligator 2 (Bernstein et al. 2013); nothing of `protocols` or
libsodium. ``python tests/vectors/psi_reference.py`` rewrites the file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

PATH = Path(__file__).parent / "psi.json"

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
L = 2**252 + 27742317777372353535851937790883648493
#: Coefficient of the Montgomery form.
A = 486662
NEUTRAL = (0, 1)

Point = tuple[int, int]


def decode(data: bytes) -> Point | None:
    """Return the point of an encoding; None if there is none."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P:
        return None
    return (x if x % 2 == sign else P - x), y


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def add(one: Point, two: Point) -> Point:
    (x1, y1), (x2, y2) = one, two
    k = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P,
    )


def times(number: int, point: Point) -> Point:
    total = NEUTRAL
    while number:
        if number & 1:
            total = add(total, point)
        point, number = add(point, point), number >> 1
    return total


def elligator(data: bytes) -> Point:
    """Map 32 bytes to the subgroup: the last bit is the sign of x, the others the number."""
    number = int.from_bytes(data, "little")
    sign, r = number >> 255, number & (2**255 - 1)
    u = -A * pow(1 + 2 * r * r, -1, P) % P
    if pow(u**3 + A * u * u + u, (P - 1) // 2, P) == P - 1:
        u = (-u - A) % P
    y = (u - 1) * pow(u + 1, -1, P) % P
    point = decode(y.to_bytes(32, "little"))
    assert point is not None
    x = point[0] if point[0] % 2 == sign else -point[0] % P
    return times(8, (x, y))


def hashed(item: bytes, domain: bytes) -> Point:
    prefix = hashlib.sha512(len(domain).to_bytes(8, "little") + domain).digest()
    digest = hashlib.sha512(prefix + item).digest()
    return add(elligator(digest[:32]), elligator(digest[32:]))


def of_order_eight() -> Point:
    for y in range(2, 100):
        point = decode(y.to_bytes(32, "little"))
        if point is not None and times(4, torsion := times(L, point)) != NEUTRAL:
            return torsion
    raise AssertionError


def vectors() -> dict[str, list[dict[str, str]]]:
    person = hashed(b"person 1", b"session")
    no_point = next(y for y in range(2, 100) if decode(y.to_bytes(32, "little")) is None)
    exponents = (1, 2, L - 1, int.from_bytes(hashlib.sha256(b"exponent").digest(), "little") % L)
    refused = {
        "zero": bytes(32),
        "the neutral element": encode(NEUTRAL),
        "of order 2": encode((0, P - 1)),
        "of order 8": encode(of_order_eight()),
        "of order 8 L": encode(add(person, of_order_eight())),
        "y is not reduced": (P + 1).to_bytes(32, "little"),
        "not on the curve": no_point.to_bytes(32, "little"),
        "all ones": b"\xff" * 32,
    }
    return {
        "hash": [
            {"item": item.hex(), "domain": domain.hex(), "point": encode(hashed(item, domain)).hex()}
            for item, domain in ((b"", b""), (b"person 1", b"session"), (bytes(range(64)), b"\xff" * 40))
        ],
        "power": [
            {
                "exponent": exponent.to_bytes(32, "little").hex(),
                "point": encode(person).hex(),
                "result": encode(times(exponent, person)).hex(),
            }
            for exponent in exponents
        ],
        "refused": [{"why": why, "point": data.hex()} for why, data in refused.items()],
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(vectors(), indent=1) + "\n")
