"""Records as bits, of which records that are alike have many in common: Bloom filters of their parts.

A record is a set of tokens, such as the pairs of neighbouring letters of a name. Each token sets some bits of
the filter of its record, chosen by a keyed hash; filters of one record over all its fields are the
"cryptographic long-term keys" of Schnell, Bachteler and Reiher [1]_, [2]_. How many bits a token sets is its
field's weight in the comparison. With |A| bits in a filter, Dice's coefficient 2·|A ∩ B| / (|A| + |B|) of two
of them is near that of the sets of tokens, as few bits are set by two tokens at once.

Filters are no ciphertexts. Frequent names make frequent bits, and whoever sees filters under a key that it
does not know finds out names by that alone: by frequencies [3]_, by the few patterns that double hashing has
[4]_, or by bits that occur together, even if no two filters are equal [5]_. Whoever knows the key can try out
names. So filters must not be shown to anybody: they are computed where the records are, and leave as shares
(`matching`). The key then protects nothing, and may be known. Hardening them, at the price of errors, is not
needed either.

Each of a token's positions comes from bits of their own of one long hash, which makes them independent; the
usual double hashing saves hashes, and sets fewer different bits.

References
----------
.. [1] R. Schnell, T. Bachteler and J. Reiher, "Privacy-preserving record linkage using Bloom filters", BMC
   Medical Informatics and Decision Making 9:41, 2009.
.. [2] R. Schnell, T. Bachteler and J. Reiher, "A Novel Error-Tolerant Anonymous Linking Code", German Record
   Linkage Center, WP-GRLC-2011-02, 2011. Weights of fields: E. Durham et al., "Composite Bloom Filters for
   Secure Record Linkage", IEEE TKDE 26(12), 2014.
.. [3] M. Kuzu et al., "A Constraint Satisfaction Cryptanalysis of Bloom Filters in Private Record Linkage",
   PETS 2011.
.. [4] F. Niedermeyer et al., "Cryptanalysis of Basic Bloom Filters Used for Privacy Preserving Record
   Linkage", Journal of Privacy and Confidentiality 6(2), 2014.
.. [5] P. Christen et al., "Pattern-Mining Based Cryptanalysis of Bloom Filters for Privacy-Preserving Record
   Linkage", PAKDD 2018; before it P. Christen et al., "Efficient Cryptanalysis of Bloom Filters for
   Privacy-Preserving Record Linkage", PAKDD 2017.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: Shape ``(records, bits)``, uint8: 0 and 1.
Filters = NDArray[np.uint8]

#: Fewest and most bits of a filter.
FEWEST_BITS, MOST_BITS = 64, 4096
#: Most bits that a token sets: two bytes of a hash for each.
MOST_HASHES = 32
#: Longest key, in bytes.
LONGEST_KEY = 64


@dataclass(frozen=True)
class Token:
    """A part of a record.

    Attributes
    ----------
    field
        What it is a part of: the same text in another field is another token.
    text
        The part.
    hashes
        How many bits it sets, but for those that coincide.
    """

    field: str
    text: str
    hashes: int


def positions(token: Token, *, bits: int, key: bytes = b"") -> list[int]:
    """Return the positions of the bits that a token sets, in the order of the hash; some may be equal.

    They are the words of two bytes, little-endian and modulo the filter's length, of BLAKE2b of the text,
    under a key that is BLAKE2b of the field under `key`.

    Raises
    ------
    ValueError
        The filter's length is no power of two or out of range; or a token sets no bits or too many; or the
        key is too long.
    """
    check(bits, key)
    if not 1 <= token.hashes <= MOST_HASHES:
        raise ValueError(f"a token sets 1 to {MOST_HASHES} bits")
    digest = hashlib.blake2b(token.text.encode(), key=_key_of(token.field, key)).digest()
    words = np.frombuffer(digest, "<u2")[: token.hashes].tolist()
    return [word % bits for word in words]


def encode(records: Sequence[Iterable[Token]], *, bits: int, key: bytes = b"") -> Filters:
    """Return the filter of each record, a row each: 1 where one of its tokens sets a bit.

    Errors are those of `positions`.
    """
    check(bits, key)
    filters = np.zeros((len(records), bits), np.uint8)
    known: dict[Token, list[int]] = {}
    for row, record in zip(filters, records, strict=True):
        for token in record:
            if token not in known:
                known[token] = positions(token, bits=bits, key=key)
            row[known[token]] = 1
    return filters


def check(bits: int, key: bytes) -> None:
    """Raise ValueError for what is no length of a filter, or no key."""
    if not FEWEST_BITS <= bits <= MOST_BITS or bits & (bits - 1):
        raise ValueError(f"a filter has {FEWEST_BITS} to {MOST_BITS} bits, a power of two")
    if len(key) > LONGEST_KEY:
        raise ValueError(f"a key has at most {LONGEST_KEY} bytes")


@lru_cache(maxsize=64)
def _key_of(field: str, key: bytes) -> bytes:
    return hashlib.blake2b(field.encode(), key=key, digest_size=32).digest()
