"""From correlated transfers to independent secrets: a hash by AES under a public key.

H(x, i) = π(π(x) ⊕ i) ⊕ π(x), with π AES-128 under a fixed key and i a number that is never used twice, is a
tweakable hash that stays random although its inputs differ by the same secret in every transfer: Guo, Katz,
Wang and Yu [1]_, section 7.4, with π modelled as a random permutation.

References
----------
.. [1] C. Guo, J. Katz, X. Wang and Y. Yu, "Efficient and Secure Multiparty Computation from Fixed-Key Block
   Ciphers", IEEE S&P 2020.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from protocols.mersenne import kernel

Words = NDArray[np.uint64]

#: π's key: any constant, here the first 16 bytes of SHA-256 of "fedstats v1 transfer hash".
KEY = bytes.fromhex("ef1f3326882452c7258443d99aba1a99")


def hashes(rows: Words, first: int, count: int) -> Words:
    """Return hashes, so many of each row.

    Parameters
    ----------
    rows
        Shape ``(size, 2)``.
    first
        Number of the first hash; all ``size·count`` that follow are used up.
    count
        How many of each row.

    Returns
    -------
    ndarray
        Shape ``(size, count, 2)``.
    """
    once = _permuted(rows)
    out = np.empty((len(rows), count, 2), np.uint64)
    _tweak(out, once, np.uint64(first))
    twice = _permuted(out.reshape(-1, 2)).reshape(out.shape)
    twice ^= once[:, np.newaxis]
    return twice


def _permuted(blocks: Words) -> Words:
    data = np.ascontiguousarray(blocks).reshape(-1).view(np.uint8)
    out = np.empty(len(data) + 16, np.uint8)  # the cipher asks for a block more than it writes
    cipher = Cipher(algorithms.AES128(KEY), modes.ECB())  # noqa: S305  (a permutation, not a cipher)
    cipher.encryptor().update_into(data.data, out.data)
    return out[: len(data)].view(np.uint64).reshape(blocks.shape)


@kernel
def _tweak(out: Words, rows: Words, first: np.uint64) -> None:
    number = first
    for i in range(len(out)):
        for k in range(out.shape[1]):
            out[i, k, 0] = rows[i, 0] ^ number
            out[i, k, 1] = rows[i, 1]
            number += np.uint64(1)
