"""As many oblivious transfers as are wanted, from 128: correlated ones, as SoftSpokenOT [1]_ makes them.

Of every transfer the *chooser* has a bit r and 128 bits t, the *chosen from* has 128 bits q with

    q = t ⊕ r·s,

where s, of 128 bits, is the same for all. Hashes of q and q ⊕ s are two secrets, of which the chooser has the
one that r says (`hashing`).

The 128 bits of s are cut into blocks of k. For each block there are 2^k seeds (`punctured`), all known to the
chooser, all but that of number s_b to the other. With G_x what seed x is expanded to, the chooser adds up
u = ⊕ G_x and t_b = ⊕ x·G_x, the k bits of x each by itself, and sends u ⊕ r. The other party has
⊕ (x ⊕ s_b)·G_x, to which the seed that it lacks contributes nothing; that is t_b ⊕ s_b·u, and adding
s_b·(u ⊕ r) leaves q_b. So a transfer costs 128/k bits on the wire, and 2^k·128/k bits of AES. For k = 1 it is
the protocol of Ishai, Kilian, Nissim and Petrank [2]_.

All against passive parties: r is hidden since u is pseudorandom to who lacks a seed, s by the transfers
that it chose the seeds by.

References
----------
.. [1] L. Roy, "SoftSpokenOT: Quieter OT Extension from Small-Field Silent VOLE in the Minicrypt Model",
   CRYPTO 2022.
.. [2] Y. Ishai, J. Kilian, K. Nissim and E. Petrank, "Extending Oblivious Transfers Efficiently",
   CRYPTO 2003.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols import bitslice, codec
from protocols.errors import CodecError
from protocols.mersenne import kernel
from protocols.prg import Seed, Stream
from transport.base import Buffer

Words = NDArray[np.uint64]

#: Bits of s, the computational security.
WIDTH = 128
#: k, chosen by measurement: 4 bytes a transfer instead of 16, at little more than the time.
DEPTH = 4
BLOCKS = WIDTH // DEPTH
#: Words of a plane expanded at a time, so that what 2^k seeds give stays in a core's cache.
_PART = 1 << 10


class Chooser:
    """The party with the bits r.

    Parameters
    ----------
    seeds
        For each block, all 2^k seeds.
    session
        The session's identifier.
    """

    def __init__(self, seeds: list[list[bytes]], session: bytes) -> None:
        self._streams = [[Seed(seed, session).stream("transfers") for seed in block] for block in seeds]

    def choose(self, r: Words) -> tuple[bytes, Words]:
        """Return the message for so many transfers, and t.

        Parameters
        ----------
        r
            64 choices a word.

        Returns
        -------
        tuple
            The message, and an array of shape ``(64·len(r), 2)``.
        """
        sums, planes = np.empty((BLOCKS, len(r)), np.uint64), np.empty((WIDTH, len(r)), np.uint64)
        for number, streams in enumerate(self._streams):
            own = planes[DEPTH * number : DEPTH * (number + 1)]
            _expand(sums[number], own, streams, np.arange(1 << DEPTH, dtype=np.uint64))
            sums[number] ^= r
        return codec.encode(sums), _rows(planes)


class ChosenFrom:
    """The party with s.

    Parameters
    ----------
    seeds
        For each block, all seeds but one.
    secret
        The numbers s_b of those, one a block.
    session
        The session's identifier.
    """

    def __init__(self, seeds: list[list[bytes | None]], secret: list[int], session: bytes) -> None:
        self._secret = secret
        self._streams = [
            [None if seed is None else Seed(seed, session).stream("transfers") for seed in block]
            for block in seeds
        ]
        bits = np.array([[b >> j & 1 for j in range(DEPTH)] for b in secret], bool).ravel()
        #: s, in two words.
        self.s = np.packbits(bits, bitorder="little").view(np.uint64)

    def follow(self, message: Buffer, words: int, peer: str) -> Words:
        """Return q of so many transfers, 64 a word; see `Chooser.choose`.

        Raises
        ------
        CodecError
            The message is none for so many.
        """
        sums = codec.decode(message, peer=peer)
        if not isinstance(sums, np.ndarray) or sums.dtype != np.uint64 or sums.shape != (BLOCKS, words):
            raise CodecError(f"site {peer} sent no choices for {64 * words} transfers", peer=peer)
        planes = np.empty((WIDTH, words), np.uint64)
        unused = np.empty(words, np.uint64)
        for number, (streams, lacking) in enumerate(zip(self._streams, self._secret, strict=True)):
            own = planes[DEPTH * number : DEPTH * (number + 1)]
            _expand(unused, own, streams, np.arange(1 << DEPTH, dtype=np.uint64) ^ np.uint64(lacking))
            for bit in range(DEPTH):
                if lacking >> bit & 1:
                    own[bit] ^= sums[number]
        return _rows(planes)


def _expand(total: Words, planes: Words, streams: list[Stream] | list[Stream | None], numbers: Words) -> None:
    """Write ⊕ G_x, and for each bit j ⊕ bit j of the number of x, times G_x. A lacking G_x counts as 0."""
    expanded = np.zeros((len(streams), min(_PART, len(total))), np.uint64)
    for start in range(0, len(total), _PART):
        stop = min(start + _PART, len(total))
        part = expanded[:, : stop - start]
        for row, stream in zip(part, streams, strict=True):
            if stream is not None:
                stream.fill(row)
        _add_up(total[start:stop], planes[:, start:stop], part, numbers)


@kernel
def _add_up(total: Words, planes: Words, expanded: Words, numbers: Words) -> None:
    """See `_expand`."""
    one, zero = np.uint64(1), np.uint64(0)
    for i in range(len(total)):
        total[i] = zero
        planes[:, i] = zero
    for x in range(len(expanded)):
        for j in range(len(planes)):
            mask = zero - ((numbers[x] >> np.uint64(j)) & one)
            for i in range(len(total)):
                planes[j, i] ^= expanded[x, i] & mask
        for i in range(len(total)):
            total[i] ^= expanded[x, i]


def _rows(planes: Words) -> Words:
    """Return one row of 128 bits for each transfer."""
    out = np.empty((64 * planes.shape[1], 2), np.uint64)
    bitslice.from_planes(out, planes)
    return out
