"""Shared bits and the logic on them, 64 a word: what comparisons are made of.

Bits are shared by Shamir's scheme over GF(2^k), of degree t (`gf2k`), and stand in planes (`bitslice`).
Exclusive or is local. For a product, every party makes of its two shares a *piece*: a bit such that the
pieces of all parties add up to the product. Pieces are what everything passes through:

- `reshare` makes shares of degree t of them, in one round;
- `disclose` opens their sums;
- `convert.to_field` makes shares over F_p of them.

A resharing is that of Araki et al. [1]_, taken from three parties to n. Party i hides its piece under masks
shared with each peer, which cancel in the sum, and sends it to those that are with it in a set of n − t
parties, its *window*. What a set of n − t parties knows is shared without further messages [2]_. The t
parties outside a window hear nothing of its piece; against all other coalitions of t, the keys of the sets
that are no windows add a mask. With three or four parties every set of n − t is a window.

References
----------
.. [1] T. Araki, J. Furukawa, Y. Lindell, A. Nof and K. Ohara, "High-Throughput Semi-Honest Secure
   Three-Party Computation with an Honest Majority", CCS 2016, protocol 3.2.
.. [2] R. Cramer, I. Damgård and Y. Ishai, "Share Conversion, Pseudorandom Secret-Sharing and
   Applications to Secure Computation", TCC 2005, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import NoReturn, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from protocols import beaver, bitslice, codec
from protocols.bitslice import Words
from protocols.engine import Engine
from protocols.errors import CodecError, ShapeMismatch
from protocols.gf2k import Scheme, scheme
from protocols.prg import Stream
from protocols.prss import Subset

#: Words masked at a time, few enough to stay in a core's cache.
BLOCK = 1 << 14
_ALL = np.uint64((1 << 64) - 1)


class Bits:
    """Shares of planes of bits, one party's part of them.

    Parameters
    ----------
    engine
        The computation that they belong to.
    rows
        Shape ``(k, planes, words)``: the k words of a share.
    """

    __slots__ = ("engine", "rows")
    __array_ufunc__ = None

    def __init__(self, engine: Engine, rows: Words) -> None:
        self.engine = engine
        self.rows = rows

    def __len__(self) -> int:
        return int(self.rows.shape[1])

    def __getitem__(self, planes: slice | NDArray[np.intp]) -> Bits:
        return Bits(self.engine, self.rows[:, planes])

    def __xor__(self, other: Bits | Words) -> Bits:
        """Return the exclusive or with shared or public planes."""
        if isinstance(other, Bits):
            return Bits(self.engine, self.rows ^ other.rows)
        rows = self.rows.copy()
        rows[0] ^= other  # 1 is the element 1, the lowest word
        return Bits(self.engine, rows)

    def __invert__(self) -> Bits:
        return self ^ np.broadcast_to(_ALL, self.rows.shape[1:])

    def __and__(self, other: Bits) -> Bits:
        return conjoin([(self, other)])[0]

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("shares are secret and belong to a session: they cannot be copied or stored")

    def __repr__(self) -> str:
        return f"<Bits of {len(self)} planes>"


def tables(engine: Engine) -> Scheme:
    """Return this party's tables."""
    return scheme(engine.n, engine.t, engine.point)


def zeros(engine: Engine, planes: int, words: int) -> Bits:
    """Return planes of zeros."""
    return Bits(engine, np.zeros((tables(engine).k, planes, words), np.uint64))


def concatenate(parts: Sequence[Bits]) -> Bits:
    """Return the planes of all parts, those of the first one first."""
    return Bits(parts[0].engine, np.concatenate([part.rows for part in parts], axis=1))


def known(engine: Engine, subset: Subset, planes: Words | None, shape: tuple[int, ...]) -> Bits:
    """Return shares of planes that all members of a set of n − t parties know. Local.

    Parameters
    ----------
    engine
        The computation.
    subset
        The set.
    planes
        The planes; None outside the set.
    shape
        Their shape.
    """
    shares = zeros(engine, *shape)
    if planes is not None:
        _add_lifted(shares.rows, planes, tables(engine).lifts[subset])
    return shares


# --- Pieces ------------------------------------------------------------------------------------------


def pieces(x: Bits) -> Words:
    """Return this party's pieces of shared planes. Local."""
    chosen = [row for row, wanted in zip(x.rows, tables(x.engine).summand, strict=True) if wanted]
    return reduce(np.bitwise_xor, chosen, np.zeros(x.rows.shape[1:], np.uint64))


def product(x: Bits, y: Bits) -> Words:
    """Return this party's pieces of x & y. Local, but one round by triples where all but one may collude."""
    if x.engine.full:
        return beaver.conjoin(x.engine, pieces(x), pieces(y))
    left, right = (np.ascontiguousarray(z.rows).reshape(len(z.rows), -1) for z in (x, y))
    out = np.empty(x.rows.shape[1:], np.uint64)
    bitslice.product(out.reshape(-1), left, right, tables(x.engine).product)
    return out


def conjoin(pairs: Sequence[tuple[Bits, Bits]]) -> list[Bits]:
    """Return x & y of each pair, all in one round; see `reshare` for leakage and cost."""
    engine = pairs[0][0].engine
    if engine.full:
        left, right = (concatenate([pair[k] for pair in pairs]) for k in range(2))
        ours = product(left, right)
    else:
        ours = np.concatenate([product(x, y) for x, y in pairs])
    joined = reshare(engine, "and", ours)
    ends = np.cumsum([len(x) for x, _ in pairs])
    return [joined[end - len(x) : end] for end, (x, _) in zip(ends.tolist(), pairs, strict=True)]


def reshare(engine: Engine, operation: str, ours: Words) -> Bits:
    """Return shares of degree t of the planes that the parties' pieces add up to.

    Parameters
    ----------
    engine
        The computation.
    operation
        What is computed, for the step's name.
    ours
        Shape ``(planes, words)``: our pieces. They are masked in place.

    Notes
    -----
    **Leakage.** Nothing, for t passive colluders. Let A be the set of all others. If A is no window, its key
    masks the sum of all pieces. If A is the window of party i, the colluders do not receive i's piece, and
    those that they do receive from A are uniform and independent by the masks between its members, two at
    least.

    **Cost.** One round, none for t = n − 1. Each party sends n − t − 1 peers one bit a bit: one peer for
    three. It draws n − 1 random bits for it, and C(n − 1, t) − (n − t) more from five parties on.
    """
    party, table = engine.party, tables(engine)
    shares = zeros(engine, *ours.shape)
    if engine.full:  # a piece is a summand, and nobody else's
        _add_lifted(shares.rows, ours, table.lifts[engine.point,])
        return shares
    step = engine.step(operation)
    if not ours.size:
        return shares
    hide(engine, step, ours)
    if len(table.lifts) > engine.n:  # there are sets that are no windows
        for held, stream in engine.prss.streams(step):
            if held.subset not in table.windows:
                _add_stream(shares.rows, ours if held.leads else None, stream, table.lifts[held.subset])
    for point in table.windows[party.index]:
        if point != engine.point:
            party.send(party.roster[point - 1], step, codec.encode(ours))
    for index, (name, window) in enumerate(zip(party.roster, table.windows, strict=True)):
        if engine.point in window:
            piece = ours if index == party.index else receive(engine, name, step, ours.shape)
            _add_lifted(shares.rows, piece, table.lifts[window])
    party.mesh.traffic.rounds += 1
    return shares


def disclose(engine: Engine, operation: str, ours: Words) -> Words:
    """Open the planes that the parties' pieces add up to. All parties learn them.

    Parameters are those of `reshare`.

    Notes
    -----
    **Leakage.** The planes, and nothing else: the pieces are uniform but for their sum. As with any opening
    of degree 2t, a wrong piece changes the result and nothing is left to check it by.

    **Cost.** One round. Each party sends each peer one bit a bit.
    """
    step = engine.step(operation)
    party = engine.party
    if not ours.size:
        return ours
    hide(engine, step, ours)
    message = codec.encode(ours)
    for peer in party.peers:
        party.send(peer, step, message)
    total = ours
    for peer in party.peers:
        total = total ^ receive(engine, peer, step, ours.shape)
    party.mesh.traffic.rounds += 1
    party.absorb(step, total.data)
    return total


def deal(
    engine: Engine, operation: str, dealers: int, planes: Words | None, shape: tuple[int, int]
) -> list[Bits]:
    """Share planes that one party knows: each of the first so many parties its own.

    Parameters
    ----------
    engine
        The computation.
    operation
        What is shared, for the step's name.
    dealers
        How many parties deal.
    planes
        This party's planes if it deals.
    shape
        Their shape, the same for all dealers.

    Returns
    -------
    list of Bits
        The dealers' planes in the order of the roster.

    Notes
    -----
    **Leakage.** Nothing. The dealer hides its planes under the streams of all sets of n − t that it is a
    member of but its window, and sends them to the window. Any t others miss one of these streams, or the
    message.

    **Cost.** One round. A dealer sends n − t − 1 peers one bit a bit; the others send nothing.
    """
    step = engine.step(operation)
    party, table = engine.party, tables(engine)
    dealt = [zeros(engine, *shape) for _ in range(dealers)]
    if not dealt or not dealt[0].rows.size:
        return dealt
    masked = None if planes is None else planes.copy()
    for dealer, shares in enumerate(dealt):
        hidden = masked if dealer == party.index else None
        for held, stream in engine.prss.streams(f"{step}/{dealer}"):
            if dealer + 1 in held.subset and held.subset != table.windows[dealer]:
                _add_stream(shares.rows, hidden, stream, table.lifts[held.subset])
    if masked is not None:
        for point in table.windows[party.index]:
            if point != engine.point:
                party.send(party.roster[point - 1], step, codec.encode(masked))
    for dealer, shares in enumerate(dealt):
        if engine.point in table.windows[dealer]:
            name = party.roster[dealer]
            piece = receive(engine, name, step, shape) if masked is None or dealer != party.index else masked
            _add_lifted(shares.rows, piece, table.lifts[table.windows[dealer]])
    party.mesh.traffic.rounds += not engine.full
    return dealt


# --- Words and streams -------------------------------------------------------------------------------


def receive(engine: Engine, peer: str, step: str, shape: tuple[int, ...]) -> Words:
    """Return the words of a peer's message, held against what no honest party sends."""
    words = codec.decode(engine.party.recv(peer, step), peer=peer)
    if not isinstance(words, np.ndarray) or words.dtype != np.uint64:
        raise CodecError(f"site {peer} sent no bits at step {step!r}", peer=peer)
    if words.shape != shape:
        raise ShapeMismatch(
            f"at step {step!r} site {peer} sent bits of shape {words.shape} where {shape} are due: the sites "
            "do not compute on arrays of the same shape",
            peer=peer,
        )
    return words


def hide(engine: Engine, step: str, ours: Words) -> None:
    """Add the masks shared with each peer, which cancel in the sum of all parties' words, in place.

    Raises
    ------
    ValueError
        The words are not C-contiguous. A copy of them would be masked, and they sent as they are.
    """
    if not ours.flags.c_contiguous:
        raise ValueError("pieces are masked in place, and must be C-contiguous")
    for stream in engine.party.streams(step).values():
        for part, words in _blocks(ours.reshape(-1), stream):
            part ^= words


def _add_stream(rows: Words, masked: Words | None, stream: Stream, lift: int) -> None:
    """Add shares of a stream of random bits, and the bits themselves to what is sent."""
    flat = rows.reshape(len(rows), -1)
    start = 0
    for part, words in _blocks(flat[0] if masked is None else masked.reshape(-1), stream):
        if masked is not None:
            part ^= words
        _add_lifted(flat[:, start : start + len(words)], words, lift)
        start += len(words)


def _blocks(target: Words, stream: Stream) -> Iterator[tuple[Words, Words]]:
    """Yield the pieces of an array with as many words of a stream."""
    scratch = np.empty(min(BLOCK, len(target)), np.uint64)
    for start in range(0, len(target), BLOCK):
        part = target[start : start + BLOCK]
        words = scratch[: len(part)]
        stream.fill(words)
        yield part, words


def _add_lifted(rows: Words, planes: Words, lift: int) -> None:
    """Add planes times an element of GF(2^k) to shares in place."""
    for a, row in enumerate(rows):
        if lift >> a & 1:
            row ^= planes
