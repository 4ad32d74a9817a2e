"""Filters in plain Python, BLAKE2b of RFC 7693 included: the reference for the vectors.

python tests/vectors/linkage_reference.py writes linkage.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("linkage.json")
MASK = (1 << 64) - 1
IV = [
    0x6A09E667F3BCC908,
    0xBB67AE8584CAA73B,
    0x3C6EF372FE94F82B,
    0xA54FF53A5F1D36F1,
    0x510E527FADE682D1,
    0x9B05688C2B3E6C1F,
    0x1F83D9ABFB41BD6B,
    0x5BE0CD19137E2179,
]
SIGMA = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
]
LANES = [
    (0, 4, 8, 12),
    (1, 5, 9, 13),
    (2, 6, 10, 14),
    (3, 7, 11, 15),
    (0, 5, 10, 15),
    (1, 6, 11, 12),
    (2, 7, 8, 13),
    (3, 4, 9, 14),
]


def turned(word: int, by: int) -> int:
    return (word >> by | word << (64 - by)) & MASK


def compress(h: list[int], block: bytes, count: int, last: bool) -> list[int]:
    m = [int.from_bytes(block[8 * k : 8 * k + 8], "little") for k in range(16)]
    v = h + IV
    v[12] ^= count
    if last:
        v[14] ^= MASK
    for turn in range(12):
        s = SIGMA[turn % 10]
        for k, (a, b, c, d) in enumerate(LANES):
            for word, one, two in ((m[s[2 * k]], 32, 24), (m[s[2 * k + 1]], 16, 63)):
                v[a] = (v[a] + v[b] + word) & MASK
                v[d] = turned(v[d] ^ v[a], one)
                v[c] = (v[c] + v[d]) & MASK
                v[b] = turned(v[b] ^ v[c], two)
    return [h[k] ^ v[k] ^ v[k + 8] for k in range(8)]


def blake2b(data: bytes, key: bytes, size: int) -> bytes:
    h = [IV[0] ^ 0x01010000 ^ len(key) << 8 ^ size, *IV[1:]]
    whole = (key.ljust(128, b"\0") if key else b"") + data
    blocks = [whole[k : k + 128] for k in range(0, len(whole), 128)] or [b""]
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        count = len(whole) if last else 128 * (number + 1)
        h = compress(h, block.ljust(128, b"\0"), count, last)
    return b"".join(word.to_bytes(8, "little") for word in h)[:size]


def positions(field: str, text: str, hashes: int, bits: int, key: bytes) -> list[int]:
    digest = blake2b(text.encode(), blake2b(field.encode(), key, 32), 64)
    return [int.from_bytes(digest[2 * k : 2 * k + 2], "little") % bits for k in range(hashes)]


def parts(text: str, how: str) -> list[str]:
    """Of a text as it is written everywhere."""
    if how == "exact":
        return [text] if text else []
    if how == "date":
        return [f"{place}:{text[place]}" for place in range(len(text))]
    ended = "\x03" + text + "\x03"
    return sorted({ended[k : k + 2] for k in range(len(ended) - 1)}) if text else []


#: How fields are compared, with how many bits a part; then rows, and what they are written as everywhere.
SCHEMA = {"given": ("text", 8), "family": ("text", 12), "born": ("date", 8), "sex": ("exact", 20)}
ROWS = [
    (["Zoë", "Müller-Lüdenscheidt", "1990-01-31", "f"], ["zoe", "muellerluedenscheidt", "19900131", "f"]),
    (["zoe", "MUELLER LUEDENSCHEIDT", "19900131", "F "], ["zoe", "muellerluedenscheidt", "19900131", "f"]),
    (["Ana", "O'Neill", "1890-13-45", None], ["ana", "oneill", "18901345", ""]),
    (["Bo", "Ek", 19900131, None], ["bo", "ek", "19900131", ""]),
    (["Bo", "Ek", "1990/02/01", None], ["bo", "ek", "19900201", ""]),
    (["Bo", "Ek", "1991.02.01", None], ["bo", "ek", "19910201", ""]),
    (["Bo", "Ek", "1991-02-02", None], ["bo", "ek", "19910202", ""]),
    (["Bo", "Ek", "1991-02-03", None], ["bo", "ek", "19910203", ""]),
    (["Bo", "Ek", " 1991-02-04 ", None], ["bo", "ek", "19910204", ""]),
    (["Bo", "Ek", "0991-02-01", None], ["bo", "ek", "09910201", ""]),
    ([None, "Ł", None, None], ["", "l", "", ""]),
    (["anananana", "007", "2019-12-01", "x"], ["anananana", "7", "20191201", "x"]),
]


def vectors() -> dict[str, Any]:
    tokens = [
        ("name", "an", 8, 1024, b""),
        ("born", "0:1", 1, 64, b""),
        ("", "", 32, 4096, b"key"),
        ("name", "ß·", 20, 512, bytes(range(64))),
        ("a field with a long name " * 8, "text " * 60, 32, 2048, b"\xff"),
    ]
    records = []
    for values, written in ROWS:
        found: set[int] = set()
        for (name, (how, hashes)), text in zip(SCHEMA.items(), written, strict=True):
            for part in parts(text, how):
                found |= set(positions(name, part, hashes, 1024, b"study"))
        records.append({"values": values, "written": written, "filter": sorted(found)})
    refused = [
        ("no power of two", 8, 1000, 0),
        ("short", 8, 32, 0),
        ("long", 8, 8192, 0),
        ("no bits", 8, 0, 0),
        ("no hashes", 0, 1024, 0),
        ("too many hashes", 33, 1024, 0),
        ("long key", 8, 1024, 65),
    ]
    return {
        "tokens": [
            {
                "field": field,
                "text": text,
                "hashes": hashes,
                "bits": bits,
                "key": key.hex(),
                "positions": positions(field, text, hashes, bits, key),
            }
            for field, text, hashes, bits, key in tokens
        ],
        "records": records,
        "refused": [
            {"why": why, "hashes": hashes, "bits": bits, "key": "00" * size}
            for why, hashes, bits, size in refused
        ],
        "refused dates": [
            "01.02.1990",
            "1790-01-01",
            "31121990",
            "90-01-01",
            "1990-1-1",
            "199001",
            "unknown",
            "",
        ],
    }


def lines(found: dict[str, list[Any]]) -> str:
    """Return JSON with a line a vector."""
    parts = [
        f"{json.dumps(name)}: [\n"
        + ",\n".join(json.dumps(its, ensure_ascii=False) for its in vectors)
        + "\n]"
        for name, vectors in found.items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    PATH.write_text(lines(vectors()))
