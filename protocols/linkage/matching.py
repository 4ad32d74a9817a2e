"""Who is whose best match, on shares: of two parties' records, pairs that are alike enough, one to one.

Either party shares the filters of its records (`filters`), and how many bits each has. The numbers of common
bits are one product of matrices; with them and the numbers of bits, Dice's coefficients are fractions of two
secret integers each, which are compared by products of one's numerator and the other's denominator: exactly.

**The rule.** Two records are linked if each is the best match of the other, and their coefficient is the
threshold at least. Of equal matches the one that comes first in its party's order is the best. So nobody is
linked twice, whichever party is called the first, and nobody who is no other's best match.

A knockout tournament finds the best match of each record of either party, all of them at once. It leaves
which of two records won each encounter, as secret bits; the winner's seat is carried back through them to
where it set out, a product for each encounter, which gives a matrix with at most one 1 in each row, at the
best match, or none where that is below the threshold; and likewise of the columns. Where both have a 1, there
is a link.

Records are compared within blocks of public sizes, filled up with records that have no bits. A block may hold
records of several kinds, which are not linked with one another: the numerator of two of them is below 0.

**What is learnt.** Nothing: no value is opened but under a mask (`reshare`, `compare`). To compare filters
within a multiparty computation instead of showing them was proposed by Lazrig et al. [1]_, and is done by
MainSEL [2]_ and Mağara et al. [3]_, who open the matches.

References
----------
.. [1] I. Lazrig et al., "Privacy Preserving Probabilistic Record Linkage Without Trusted Third Party", PST
   2018.
.. [2] S. Stammler et al., "Mainzelliste SecureEpiLinker (MainSEL): privacy-preserving record linkage using
   secure multi-party computation", Bioinformatics 38(6), 2022.
.. [3] Ş. S. Mağara et al., "Accelerating Privacy-Preserving Medical Record Linkage: A Three-Party MPC
   Approach", arXiv:2410.21605, 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.compare import BIT, complement, negative
from protocols.engine import Engine
from protocols.inputs import share_rows
from protocols.linkage.filters import Filters
from protocols.secret import SecretArray, concatenate, inner, matmul, public, stack

#: Most pairs, and bits of filters, that are worked on at a time; blocks are not divided.
PAIRS_HELD, BITS_HELD = 1 << 20, 1 << 23


@dataclass(frozen=True)
class Blocks:
    """How two parties' records are laid out; public.

    Attributes
    ----------
    one, other
        The parties' places in the roster.
    count
        How many blocks there are.
    of_one, of_other
        How many records a block has, of either party.
    kinds
        How many kinds of records there are in a block.
    """

    one: int
    other: int
    count: int
    of_one: int
    of_other: int
    kinds: int = 1

    @property
    def pairs(self) -> int:
        """How many pairs of records are compared."""
        return self.count * self.of_one * self.of_other


def best_matches(
    engine: Engine,
    filters: Filters,
    blocks: Blocks,
    threshold: tuple[int, int],
    kinds: NDArray[np.int64] | None = None,
) -> SecretArray:
    """Link records of two parties, of which each is the other's best match.

    Parameters
    ----------
    engine
        The computation.
    filters
        Shape ``(blocks, records, bits)``: this party's, with no bits where there is no record. Of parties
        that have none, ``(blocks, 0, bits)``.
    blocks
        The layout, the same at every party.
    threshold
        Numerator and denominator of the least Dice coefficient of a link, above 0 and at most 1.
    kinds
        Shape ``(blocks, records)``: of which kind each of this party's records is, from 0; where there are
        several.

    Returns
    -------
    SecretArray
        Bits, shape ``(blocks, records of one, records of the other)``: 1 for links. No row or column has two.

    Raises
    ------
    ValueError
        The threshold is none, or kinds are missing.

    Notes
    -----
    **Leakage.** Nothing, to t passive colluders.

    **Cost.** For three parties and filters of 1,024 bits, 11 + 12·⌈log2 k⌉ rounds for blocks of up to k
    records; 9 more for each further 2^17 encounters of a turn of the tournaments, and all of them again for
    each `PAIRS_HELD` pairs. Each party sends some 430 bytes a pair, and 16 a bit of its own filters.
    """
    part, whole = threshold
    if not 0 < part <= whole:
        raise ValueError("a threshold is a part of 1, above 0")
    bits = filters.shape[-1]
    records = blocks.of_one + blocks.of_other
    by_pairs = PAIRS_HELD // max(blocks.of_one * blocks.of_other, 1)
    held = max(1, min(by_pairs, BITS_HELD // max(records * bits, 1)))
    links = []
    for start in range(0, blocks.count, held):
        part_of = slice(start, start + held)
        mine = _columns(filters[part_of], None if kinds is None else kinds[part_of], blocks.kinds)
        one, other = _share(engine, mine, blocks, bits)
        links.append(_matched(*_similarities(one, other, bits), threshold, bits))
    return concatenate(links)


def _columns(filters: Filters, kinds: NDArray[np.int64] | None, count: int) -> NDArray[np.int64]:
    """Return what a party shares of its records: bits, 1 at a record's kind if there are several, |A|.

    The number of bits is 1 where there is no record. What is divided by is so never 0, and such a record is
    like no other.
    """
    parts = [filters.astype(np.int64), np.maximum(filters.sum(axis=-1, dtype=np.int64), 1)[..., np.newaxis]]
    if count > 1:
        if kinds is None:
            raise ValueError("of several kinds each record is of one")
        marks = (kinds[..., np.newaxis] == np.arange(count)) & filters.any(axis=-1, keepdims=True)
        parts.insert(1, marks.astype(np.int64))
    return np.concatenate(parts, axis=-1)


def _share(
    engine: Engine, mine: NDArray[np.int64], blocks: Blocks, bits: int
) -> tuple[SecretArray, SecretArray]:
    """Share what either party has of its records. One round."""
    count, _, width = mine.shape
    sizes = {blocks.one: blocks.of_one, blocks.other: blocks.of_other}
    lengths = [count * sizes.get(place, 0) for place in range(engine.n)]
    shared = share_rows(engine, mine.reshape(-1, width), lengths, bound=bits)
    ends = np.cumsum([0, *lengths])
    one, other = (
        shared[ends[place] : ends[place + 1]].reshape(count, sizes[place], width)
        for place in (blocks.one, blocks.other)
    )
    return one, other


def _similarities(one: SecretArray, other: SecretArray, bits: int) -> tuple[SecretArray, SecretArray]:
    """Return how many bits pairs have in common, below 0 if they differ in kind, and how many in all.

    Two of a kind get as much as a filter can have, which is then taken from all. One round.
    """
    left, right = one[..., :-1].assume(1), other[..., :-1].assume(1)
    kinds = left.shape[-1] - bits
    if kinds:
        left = left * np.repeat([1, bits], [bits, kinds])
    common = matmul(left, right.transpose(0, 2, 1), bound=2 * bits)
    first, second = one[..., -1], other[..., -1]
    total = first.reshape(*first.shape, 1) + second.reshape(len(second), 1, -1)
    return common - bits if kinds else common, total


def _matched(common: SecretArray, total: SecretArray, threshold: tuple[int, int], bits: int) -> SecretArray:
    """Return the links among the pairs of blocks."""
    engine = common.engine
    count, rows, columns = common.shape
    pairs = stack([common, total]).assume(2 * bits)
    # Of each record of either party a tournament: those it is compared with first, then which record.
    entered = [
        pairs.transpose(0, 3, 1, 2).reshape(2, columns, count * rows),
        pairs.transpose(0, 2, 1, 3).reshape(2, rows, count * columns),
    ]
    winners, beaten = _tournaments(entered, bits)
    part, whole = threshold
    below = negative(winners[0][0] * (2 * whole) - winners[0][1] * part)
    seats = [complement(below), public(engine, np.ones((1, count * columns), np.int64))]
    best, wanted = _seats(seats, beaten)
    links = best.reshape(columns, count, rows).transpose(1, 2, 0) * wanted.reshape(
        rows, count, columns
    ).transpose(1, 0, 2)
    return _bits(links)


def _tournaments(
    entered: Sequence[SecretArray], bits: int
) -> tuple[list[SecretArray], list[list[SecretArray]]]:
    """Let neighbours meet until one of each tournament is left; all tournaments go on at the same time.

    Parameters
    ----------
    entered
        Numerators and denominators, shape ``(2, entrants, tournaments)`` each.
    bits
        What no numerator exceeds in magnitude, nor half a denominator.

    Returns
    -------
    winners : list of SecretArray
        Shape ``(2, 1, tournaments)``.
    beaten : list of list of SecretArray
        For each turn, whether the first of a pair lost to the second, shape ``(pairs, tournaments)``.

    Notes
    -----
    **Cost.** A turn takes a comparison and two rounds more.
    """
    left = list(entered)
    turns = []
    while any(its.shape[1] > 1 for its in left):
        halves = [its.shape[1] // 2 for its in left]
        first, second = (
            concatenate(
                [
                    its[:, side : 2 * half : 2].reshape(2, half * its.shape[2])
                    for its, half in zip(left, halves, strict=True)
                ],
                axis=1,
            )
            for side in (0, 1)
        )
        crossed = inner(
            stack([first[0], -second[0]], axis=1),
            stack([second[1], first[1]], axis=1),
            bound=4 * bits * bits,
        )
        lost = negative(crossed)
        won = (first + (second - first) * lost).assume(2 * bits)
        ends = np.cumsum([0, *(half * its.shape[2] for its, half in zip(left, halves, strict=True))])
        turn = []
        for place, (its, half) in enumerate(zip(left, halves, strict=True)):
            part = slice(ends[place], ends[place + 1])
            width = its.shape[2]
            turn.append(lost[part].reshape(half, width))
            left[place] = concatenate([won[:, part].reshape(2, half, width), its[:, 2 * half :]], axis=1)
        turns.append(turn)
    return left, turns


def _seats(seats: Sequence[SecretArray], beaten: Sequence[Sequence[SecretArray]]) -> list[SecretArray]:
    """Carry what is given to each tournament's winner back to where it set out; the others get 0.

    Parameters
    ----------
    seats
        Bits, shape ``(1, tournaments)``.
    beaten
        As `_tournaments` has it.

    Returns
    -------
    list of SecretArray
        Shape ``(entrants, tournaments)``.

    Notes
    -----
    **Cost.** One round a turn.
    """
    found = list(seats)
    for turn in reversed(beaten):
        halves = [len(its) for its in turn]
        won = concatenate([its[:half].ravel() for its, half in zip(found, halves, strict=True)])
        second = _bits(won * concatenate([its.ravel() for its in turn]))
        first = _bits(won - second)
        ends = np.cumsum([0, *(its.size for its in turn)])
        for place, half in enumerate(halves):
            part, width = slice(ends[place], ends[place + 1]), found[place].shape[1]
            both = [its[part].reshape(half, width) for its in (first, second)]
            rest = found[place][half:]
            found[place] = concatenate([stack(both, axis=1).reshape(2 * half, width), rest])
    return found


def _bits(x: SecretArray) -> SecretArray:
    """Return what is known to be bits as such."""
    return SecretArray(x.engine, x.shares, BIT)
