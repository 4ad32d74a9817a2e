"""Vectors of ciphertexts: encryption, sums of products with plain numbers, rerandomisation, encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from protocols import codec
from protocols.errors import CodecError
from protocols.paillier.keys import PublicKey
from protocols.paillier.library import gmpy2, on_all_cores
from transport.base import Buffer

#: Units modulo n², gmpy2's integers.
Ciphertexts: TypeAlias = list[Any]


def encrypt(key: PublicKey, plaintexts: Sequence[Any], *, owner: bool = False) -> Ciphertexts:
    """Return ciphertexts of plaintexts modulo n; with `owner`, fit to blind what goes to the key's owner."""
    residues = key.residues(len(plaintexts), owner=owner)
    return [
        (1 + key.n * (plain % key.n)) * residue % key.square
        for plain, residue in zip(plaintexts, residues, strict=True)
    ]


def blind(key: PublicKey, ciphertexts: Ciphertexts, masks: Sequence[Any]) -> Ciphertexts:
    """Return ciphertexts of the plaintexts plus masks, rerandomised.

    Nothing but the sums is left in them, for the key's owner too; see `keys`.
    """
    fresh = encrypt(key, masks, owner=True)
    return [one * other % key.square for one, other in zip(ciphertexts, fresh, strict=True)]


def weigh(key: PublicKey, ciphertexts: Ciphertexts, weights: Sequence[Sequence[int]]) -> Ciphertexts:
    """Return, for each list of integers w, a ciphertext of Σ w_i·m_i.

    It is not rerandomised: that its randomness is a function of the weights is for `blind` to undo.

    Notes
    -----
    Products of powers by buckets (Pippenger [1]_): for each digit of the exponents the ciphertexts that have
    it are multiplied, and the products of the digits raised to them all together.

    References
    ----------
    .. [1] N. Pippenger, "On the Evaluation of Powers and Monomials", SIAM Journal on Computing 9, 1980.
    """
    # Several rows are cut by rows to go to all cores, a single one by its terms.
    if len(weights) > 1:
        return on_all_cores(lambda rows: [power_product(key, ciphertexts, row) for row in rows], weights)
    (row,) = weights

    def of_terms(at: Sequence[int]) -> Ciphertexts:
        return [power_product(key, [ciphertexts[i] for i in at], [row[i] for i in at])]

    total = gmpy2().mpz(1)
    for part in on_all_cores(of_terms, range(len(row))):
        total = total * part % key.square
    return [total]


def encode(key: PublicKey, ciphertexts: Ciphertexts) -> bytes:
    """Return the canonical encoding: an array of words, one row a ciphertext."""
    data = b"".join(int(one).to_bytes(key.nbytes, "little") for one in ciphertexts)
    return codec.encode(np.frombuffer(data, np.uint64).reshape(len(ciphertexts), key.nbytes // 8))


def decode(key: PublicKey, message: Buffer, count: int, peer: str) -> Ciphertexts:
    """Return a peer's ciphertexts.

    Raises
    ------
    CodecError
        The message holds another number of them, or what is no canonical unit modulo n².
    """
    words = codec.decode(message, peer=peer)
    if (
        not isinstance(words, np.ndarray)
        or words.dtype != np.uint64
        or words.shape != (count, key.nbytes // 8)
    ):
        raise CodecError(f"site {peer} sent no {count} ciphertexts", peer=peer)
    data, mpz = words.tobytes(), gmpy2().mpz
    numbers = [
        mpz(int.from_bytes(data[at : at + key.nbytes], "little")) for at in range(0, len(data), key.nbytes)
    ]
    key.require_ciphertexts(numbers, peer)
    return numbers


def power_product(key: PublicKey, ciphertexts: Sequence[Any], weights: Sequence[int]) -> Any:
    """Return ∏ c_i^w_i."""
    square, mpz, invert = key.square, gmpy2().mpz, gmpy2().invert
    bases = [invert(c, square) if w < 0 else c for c, w in zip(ciphertexts, weights, strict=True)]
    sizes = [abs(weight) for weight in weights]
    bits = max((size.bit_length() for size in sizes), default=0)
    window = window_for(bits, len(sizes))
    result = mpz(1)
    for digit in reversed(range(-(-bits // window))):
        for _ in range(window):
            result = result * result % square
        buckets: list[Any] = [None] * (1 << window)
        for base, size in zip(bases, sizes, strict=True):
            value = (size >> (digit * window)) & ((1 << window) - 1)
            if value:
                kept = buckets[value]
                buckets[value] = base if kept is None else kept * base % square
        running: Any = None
        total: Any = None
        for bucket in reversed(buckets[1:]):
            if bucket is not None:
                running = bucket if running is None else running * bucket % square
            if running is not None:
                total = running if total is None else total * running % square
        if total is not None:
            result = result * total % square
    return result


def window_for(bits: int, terms: int) -> int:
    """Return the window with which a product of so many powers, of exponents of so many bits, is cheapest."""
    return min(range(1, 14), key=lambda window: multiplications(bits, terms, window))


def multiplications(bits: int, terms: int, window: int) -> int:
    """Return how many multiplications `power_product` takes, but for squarings."""
    return -(-bits // window) * (terms + (2 << window))
