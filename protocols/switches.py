"""Rows in an order that one party knows, by a network of switches: all others together do not learn it.

A network of Beneš [1]_ has, for 2^k rows, 2k − 1 stages of 2^(k − 1) switches, each of which exchanges two
rows or does not; it makes every permutation. The party sets the switches, and each is a product of its bit
and the difference of the two rows, of which all have summands.

References
----------
.. [1] V. E. Beneš, "Optimal Rearrangeable Multistage Connecting Networks", Bell System Technical Journal 43,
   1964. A. Waksman, "A Permutation Network", JACM 15, 1968, sets the switches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols import beaver, field
from protocols.engine import Engine
from protocols.mersenne import Elements, kernel
from protocols.oblivious.numbers import BIT, Shape

Indices = NDArray[np.intp]


def permute(engine: Engine, rows: Elements, owner: str, order: Indices | None) -> Elements:
    """Return shares of rows in an order that one party knows.

    Parameters
    ----------
    engine
        The computation, in which all but one may collude.
    rows
        Shape ``(size, columns, 2)``: our shares.
    owner
        The party that knows the order.
    order
        Which row comes first, second and so on: the owner's. None for the others.

    Notes
    -----
    **Leakage.** Nothing; see `Source.products`.

    **Cost.** Two rounds for each of 2k − 1 stages, k = ⌈log2 size⌉. For each switch, from the owner 4
    bytes and from each other an element a column.
    """
    size, columns = rows.shape[:2]
    width = max(1, (size - 1).bit_length())
    padded = field.zeros((1 << width, columns))
    padded[:size] = beaver.summands(engine, rows)
    stages = None if order is None else settings(order, width)
    for stage in range(2 * width - 1):
        last = stage >= width
        blocks = 1 << (2 * width - 2 - stage if last else stage)
        if last:
            padded = _joined(padded, blocks)
        padded = _switched(engine, padded, owner, None if stages is None else stages[stage])
        if stage < width - 1:
            padded = _split(padded, blocks)
    return beaver.shares(engine, padded[:size])


def settings(order: Indices, width: int) -> NDArray[np.bool_]:
    """Return which switches of 2^width rows exchange, of shape ``(2·width − 1, 2^(width − 1))``."""
    count = 1 << width
    wanted = np.arange(count)
    wanted[: len(order)] = order
    out = np.zeros((2 * width - 1, count // 2), np.bool_)
    for level in range(width - 1):
        inner = np.empty_like(wanted)
        for start in range(0, count, count >> level):
            stop = start + (count >> level)
            half = slice(start // 2, stop // 2)
            set_switches(
                out[level, half], out[2 * width - 2 - level, half], inner[start:stop], wanted[start:stop]
            )
        wanted = inner
    out[width - 1] = wanted[::2] == 1
    return out


def _switched(engine: Engine, rows: Elements, owner: str, exchanged: NDArray[np.bool_] | None) -> Elements:
    """Return summands of rows, neighbours of which are exchanged where the owner says so."""
    party, columns = engine.party, rows.shape[1]
    even, odd = rows[::2], rows[1::2]
    difference = field.sub(even, odd)
    shape = Shape(len(even), 1, 1, columns)
    bits = None if exchanged is None else field.from_ints(exchanged).reshape(len(even), 1, 1, 2)
    moved = engine.triples.source.products(
        engine.step("switch"),
        BIT,
        shape,
        bits,
        np.ascontiguousarray(difference).reshape(len(even), 1, columns, 2),
        [owner],
        [name for name in party.roster if name != owner],
    ).reshape(difference.shape)
    if exchanged is not None:
        moved = field.add(moved, difference * exchanged[:, np.newaxis, np.newaxis].astype(np.uint64))
    out = np.empty_like(rows)
    out[::2], out[1::2] = field.sub(even, moved), field.add(odd, moved)
    return out


def _split(rows: Elements, blocks: int) -> Elements:
    """Return blocks with their even rows first, then their odd ones."""
    parts = rows.reshape(blocks, -1, 2, *rows.shape[1:])
    return np.ascontiguousarray(parts.swapaxes(1, 2)).reshape(rows.shape)


def _joined(rows: Elements, blocks: int) -> Elements:
    """Undo `_split`."""
    parts = rows.reshape(blocks, 2, -1, *rows.shape[1:])
    return np.ascontiguousarray(parts.swapaxes(1, 2)).reshape(rows.shape)


@kernel
def set_switches(first: NDArray[np.bool_], last: NDArray[np.bool_], inner: Indices, wanted: Indices) -> None:
    """Set the outer switches of a block, and write the orders wanted of its two inner blocks.

    Neighbours go to different inner blocks, as they come and as they leave: that makes loops, each of which
    leaves one choice. This branches on the order, which is this party's own.
    """
    size = len(wanted)
    place = np.empty(size, np.intp)
    for position in range(size):
        place[wanted[position]] = position
    side = np.full(size, -1)  # to which inner block each row goes
    for start in range(size):
        row = start
        while side[row] < 0:
            side[row] = 0
            neighbour = wanted[place[row] ^ 1]
            side[neighbour] = 1
            row = neighbour ^ 1
    for switch in range(size // 2):
        first[switch] = side[2 * switch] == 1
        last[switch] = side[wanted[2 * switch]] == 1
        for k in range(2):
            row = wanted[2 * switch + k]
            inner[side[row] * (size // 2) + switch] = row // 2
