"""Pseudorandom streams known to two parties and nobody else: the source of every mask."""

from __future__ import annotations

import hmac
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

#: Separates these keys from all others that are derived from the same pairwise key.
DOMAIN = b"fedstats v1 mask stream\x00"
#: Bytes encrypted at a time, few enough to stay in a core's cache.
BLOCK = 1 << 18

_ZEROS = memoryview(bytes(BLOCK))


class Seed:
    """What two parties draw their streams from: the pair's key, as far as all labels have it in common.

    Parameters
    ----------
    key
        The 32 bytes that the two parties share in this session.
    session
        The session's identifier.
    """

    def __init__(self, key: bytes, session: bytes) -> None:
        # HKDF-Extract [2]_, once for all, and HMAC ready for HKDF-Expand.
        self._expand = hmac.new(hmac.digest(session, key, "sha256"), DOMAIN, "sha256")

    def stream(self, label: str) -> Stream:
        """Return the stream of a label, never used for two streams of a session: `Party` sees to it."""
        expand = self._expand.copy()
        expand.update(label.encode() + b"\x01")
        return Stream(expand.digest())

    def __reduce__(self) -> Any:
        raise TypeError("a seed of masks is secret and cannot be copied or stored")

    def __repr__(self) -> str:
        return "<Seed>"


class Stream:
    """The key stream of AES-128 in counter mode [1]_ under a key of its own.

    Key and first counter block are HKDF-SHA256 [2]_ of the pair's key, with the session's identifier
    as salt and the label as info. They are fresh for each pair, session and label, so a stream needs
    no nonce, and two streams never share a block of the cipher's output by design. A stream is read
    once from start to end: what it gave is gone.

    Parameters
    ----------
    material
        Key and counter block, 16 bytes each; see `Seed`.

    References
    ----------
    .. [1] M. Dworkin, "Recommendation for Block Cipher Modes of Operation", NIST SP 800-38A, 2001.
    .. [2] H. Krawczyk and P. Eronen, "HMAC-based Extract-and-Expand Key Derivation Function (HKDF)",
       RFC 5869, 2010.
    """

    def __init__(self, material: bytes) -> None:
        self._encryptor = Cipher(algorithms.AES128(material[:16]), modes.CTR(material[16:])).encryptor()

    def fill(self, out: NDArray[np.uint64]) -> None:
        """Fill a C-contiguous array with the next words of the stream.

        Parameters
        ----------
        out
            Receives ``out.size`` words, each uniform on 0 … 2^64 − 1.

        Raises
        ------
        ValueError
            The array is not C-contiguous. The words would go to a copy of it, and mask nothing.
        """
        if not out.flags.c_contiguous:
            raise ValueError("masks are written to C-contiguous arrays only")
        data = out.reshape(-1).view(np.uint8).data
        for start in range(0, len(data), BLOCK):
            block = data[start : start + BLOCK]
            self._encryptor.update_into(_ZEROS[: len(block)], block)

    def __reduce__(self) -> Any:
        raise TypeError("a mask stream is secret and cannot be copied or stored")

    def __repr__(self) -> str:
        return "<Stream>"
