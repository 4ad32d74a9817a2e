"""Secure sum: every party gets the sum of all parties' arrays, and nothing else.

A masked reduce-scatter and an all-gather [1]_ [2]_. The flat array is cut into n segments, each owned
by one party. Every party sends each owner its segment under pairwise masks [3]_, which cancel in the
sum; each owner adds up its segment and sends the result to all.

References
----------
.. [1] R. Rabenseifner, "Optimization of Collective Reduction Operations", ICCS 2004.
.. [2] P. Patarasuk and X. Yuan, "Bandwidth Optimal All-reduce Algorithms for Clusters of
   Workstations", Journal of Parallel and Distributed Computing 69, 2009.
.. [3] K. Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning",
   CCS 2017, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols import codec, prg
from protocols import ring as rings
from protocols.errors import CodecError, ShapeMismatch
from protocols.party import Party
from protocols.ring import EXACT, Z64, Ring
from transport.base import Buffer

#: Most bytes of ring elements in a message: enough that no time goes into the number of messages.
MESSAGE = 4 << 20
#: Most bytes of ring elements in a block, the messages to all owners together.
BLOCK = 32 << 20
#: Blocks that are sent ahead of the one that is awaited, to keep a link of high latency busy.
AHEAD = 2


def secure_sum(
    party: Party, label: str, x: NDArray[Any], *, ring: Ring | None = None
) -> NDArray[np.float64] | NDArray[np.int64]:
    """Return the sum of all parties' arrays, entry by entry.

    Parameters
    ----------
    party
        This party. The sum runs over its whole roster.
    label
        The step's name, the same at every party and used once in a session.
    x
        This party's array, of any shape, the same at every party: integers or booleans, summed as
        int64, or floats, summed in `ring`.
    ring
        For floats: `EXACT`, the default, has no range to mind and rounds nothing before the end;
        `FIXED128` takes a seventeenth of its bytes.

    Returns
    -------
    ndarray
        Shape of `x`, float64 or int64. The same at every party, bit for bit, and for every order of the
        parties: the exact sum of the entries in the ring, rounded once. A sum beyond the largest float
        is infinite.

    Raises
    ------
    RangeError
        An entry is NaN, infinite, or so large that the sum might not fit. Nothing was sent.
    LabelReused
        Nothing was sent.
    ShapeMismatch
        A peer sums an array of another shape, or in another ring. Nothing was unmasked.
    CodecError
        A peer sent what no honest party sends.
    TransportError
        The mesh failed.

    Notes
    -----
    **Leakage.** Every party learns the sum; the owner of a segment learns it before it is rounded. Let a
    coalition of up to n − 2 parties pool all that they sent and received, or even read every message on
    the wire. For any two others the masks that they share are unknown to it, so the messages of the
    others are, but for their total, uniform and independent of their inputs (as far as AES-128 and
    HKDF-SHA256 are pseudorandom). It learns the sum over the others and nothing else. A coalition of
    n − 1 learns the last one's array, as from any exact sum; so does each of two parties.

    **One set of participants.** The roster is signed by all in the handshake, and the session's
    identifier, a hash of it all, is in the derivation of every mask. A sum always runs over the whole
    roster, and masks of another roster or session do not cancel: two sums over sets that differ by one
    party, whose difference would be its array, cannot both be opened in a session. A label's masks are
    used once, so nobody can make a party mask two arrays alike.

    **Cost.** Two rounds, whatever the size: the messages of a long array follow each other without
    waiting. Party i, which owns sᵢ of the s entries, sends (s − sᵢ)·8·limbs + (n − 1)·sᵢ·8 bytes and
    their headers; see `cost`. For large n that is 8·(limbs + 1) bytes an entry, whatever n: 3 times the
    input with `FIXED128`, 2 times for integers.
    """
    array = np.asarray(x)
    ring = _ring_for(array.dtype, ring)
    entries = rings.check(array.reshape(-1), ring, parties=party.n)
    result = _Sum(party, label, entries, array.shape, ring).run()
    party.absorb(label, result.data)
    return result.reshape(array.shape)


def cost(party: Party, shape: tuple[int, ...], ring: Ring) -> tuple[int, int]:
    """Return the rounds of a sum, and the bytes that this party sends in it, exactly.

    Parameters
    ----------
    party
        This party.
    shape
        Shape of the array.
    ring
        `Z64` for integers.
    """
    layout = _Layout(math.prod(shape), party.n, ring)
    owned = layout.segment(party.index)
    elements = (layout.size - len(owned)) * ring.limbs + (party.n - 1) * len(owned)
    scatter_header = len(_masked_message(ring, shape, np.empty((0, ring.limbs), np.uint64)))
    gather_header = len(codec.encode(np.empty(0)))
    headers = layout.blocks * (party.n - 1) * (scatter_header + gather_header)
    return 2, 8 * elements + headers


def _ring_for(dtype: np.dtype[Any], ring: Ring | None) -> Ring:
    """Return the ring in which arrays of a dtype are summed."""
    if dtype.kind in "biu":
        if ring not in (None, Z64):
            raise ValueError("integers are summed in Z64; convert them to floats for another ring")
        return Z64
    if dtype.kind == "f" and dtype.itemsize <= 8:
        if ring == Z64:
            raise ValueError("floats are not summed in Z64, which would round them to integers")
        return ring or EXACT
    raise TypeError(f"cannot sum an array of dtype {dtype}: integers, booleans and floats only")


@dataclass(frozen=True)
class _Layout:
    """Which entries each party owns, and which of those travel in one message."""

    size: int
    n: int
    ring: Ring

    def segment(self, owner: int) -> range:
        """Return the entries that the party at this index owns."""
        return range(owner * self.size // self.n, (owner + 1) * self.size // self.n)

    def block(self, number: int, owner: int) -> slice:
        """Return the entries of one message; none, past the end of a shorter segment."""
        entries = self.segment(owner)[number * self.step : (number + 1) * self.step]
        return slice(entries.start, entries.stop)

    @property
    def step(self) -> int:
        """Entries in a block, the last one of a segment apart."""
        return max(1, min(MESSAGE, BLOCK // self.n) // (8 * self.ring.limbs))

    @property
    def blocks(self) -> int:
        """Blocks in the longest segment; one at least, so that shapes are compared even if empty."""
        return max(1, -(-self.size // (self.n * self.step)))


class _Sum:
    """One sum in progress. Its streams are claimed on creation."""

    def __init__(
        self, party: Party, label: str, entries: NDArray[Any], shape: tuple[int, ...], ring: Ring
    ) -> None:
        self.party = party
        self.label = label
        self.entries = entries
        self.shape = shape
        self.ring = ring
        self.layout = _Layout(entries.size, party.n, ring)
        self.streams = party.streams(label)
        self.result = np.empty_like(entries)

    def run(self) -> NDArray[Any]:
        """Run the sum, masking blocks while others are on their way.

        Each turn takes from every peer just what it sent `AHEAD` turns before, so that the order of
        messages is fixed, and a sum of one block is a round of masked messages and one of sums.
        """
        blocks = self.layout.blocks
        masked: dict[int, NDArray[np.uint64]] = {}
        for turn in range(blocks + 2 * AHEAD):
            if turn < blocks:
                masked[turn] = self.scatter(turn)
            if 0 <= turn - AHEAD < blocks:
                self.reduce(turn - AHEAD, masked.pop(turn - AHEAD))
            if turn >= 2 * AHEAD:
                self.gather(turn - 2 * AHEAD)
        self.party.mesh.traffic.rounds += 2
        return self.result

    def scatter(self, number: int) -> NDArray[np.uint64]:
        """Mask a block of every segment and send it to the owner. Return the block that is our own."""
        for owner, name in enumerate(self.party.roster):
            masked = self.mask(self.entries[self.layout.block(number, owner)])
            if name == self.party.me:
                own = masked
            else:
                self.party.send(name, f"{self.label}/scatter", _masked_message(self.ring, self.shape, masked))
        return own

    def reduce(self, number: int, total: NDArray[np.uint64]) -> None:
        """Add all parties' messages to our own block, where the masks cancel, and send the sum to all."""
        for peer in self.party.peers:
            message = self.party.recv(peer, f"{self.label}/scatter")
            rings.add_into(total, self.unpack_masked(peer, message, len(total)))
        opened = rings.decode(total, self.ring)
        self.result[self.layout.block(number, self.party.index)] = opened
        message = codec.encode(opened)
        for peer in self.party.peers:
            self.party.send(peer, f"{self.label}/gather", message)

    def gather(self, number: int) -> None:
        """Receive the sums of a block of every other segment from its owner."""
        for owner, name in enumerate(self.party.roster):
            if name != self.party.me:
                target = self.result[self.layout.block(number, owner)]
                target[:] = self.unpack_opened(name, self.party.recv(name, f"{self.label}/gather"), target)

    def mask(self, entries: NDArray[Any]) -> NDArray[np.uint64]:
        """Return entries as ring elements plus the masks shared with each peer, a cache's worth at a time.

        Of the two parties that share a mask, the earlier in the roster adds it and the later subtracts.
        """
        masked = np.empty((entries.size, self.ring.limbs), np.uint64)
        step = max(1, prg.BLOCK // (8 * self.ring.limbs))
        scratch = np.empty((min(step, entries.size), self.ring.limbs), np.uint64)
        for start in range(0, entries.size, step):
            part = masked[start : start + step]
            stream_words = scratch[: len(part)]
            rings.encode_into(part, entries[start : start + step], self.ring)
            for peer, stream in self.streams.items():
                stream.fill(stream_words)
                if self.party.me < peer:
                    rings.add_into(part, stream_words)
                else:
                    rings.sub_into(part, stream_words)
        return masked

    def unpack_masked(self, peer: str, message: Buffer, size: int) -> NDArray[np.uint64]:
        """Return a peer's masked block, if it sums what we sum."""
        match codec.decode(message, peer=peer):
            case [int() as limbs, int() as fraction, list() as shape, np.ndarray() as block]:
                pass
            case _:
                raise self.malformed(peer)
        if (limbs, fraction, shape) != (self.ring.limbs, self.ring.fraction, list(self.shape)):
            if not all(isinstance(length, int) for length in shape):
                raise self.malformed(peer)
            raise ShapeMismatch(
                f"at step {self.label!r} site {peer} sums {_describe(limbs, fraction, shape)}, and we "
                f"{_describe(self.ring.limbs, self.ring.fraction, self.shape)}; nothing was unmasked",
                peer=peer,
            )
        if block.dtype != np.uint64 or block.shape != (size, self.ring.limbs):
            raise self.malformed(peer)
        return block

    def unpack_opened(self, peer: str, message: Buffer, like: NDArray[Any]) -> NDArray[Any]:
        """Return the sums of a peer's block."""
        block = codec.decode(message, peer=peer)
        if not isinstance(block, np.ndarray) or block.dtype != like.dtype or block.shape != like.shape:
            raise self.malformed(peer)
        return block

    def malformed(self, peer: str) -> CodecError:
        return CodecError(f"site {peer} sent no block of a sum at step {self.label!r}", peer=peer)


def _masked_message(ring: Ring, shape: Sequence[int], block: NDArray[np.uint64]) -> bytes:
    return codec.encode([ring.limbs, ring.fraction, list(shape), block])


def _describe(limbs: int, fraction: int, shape: Sequence[int]) -> str:
    kind = "integers" if (limbs, fraction) == (Z64.limbs, Z64.fraction) else "floats"
    return f"{kind} of shape {tuple(shape)} in {limbs} limbs with {fraction} fractional bits"
