"""Circuits on shared bits: adders, comparators, prefixes, in as few rounds as their depth.

Numbers are planes, lowest place first. A round is one level of products, all of them at once
(`bits.conjoin`). Functions called ``…_pieces`` leave their last level unshared, since what follows takes
pieces: one round less.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeAlias

import numpy as np

from protocols.bits import Bits, concatenate, conjoin, pieces, product, zeros
from protocols.bitslice import Words

#: A circuit level by level: it yields pairs whose products it needs, is sent these, and returns pieces.
Circuit: TypeAlias = Generator[list[tuple[Bits, Bits]], list[Bits], Any]


def run(*circuits: Circuit) -> list[Any]:
    """Return the pieces that circuits leave, all of them side by side: as many rounds as the deepest has."""
    found: dict[int, Any] = {}
    sent: dict[int, Any] = dict.fromkeys(range(len(circuits)))
    while sent:
        wanted: dict[int, list[tuple[Bits, Bits]]] = {}
        for number, joined in sent.items():
            try:
                wanted[number] = circuits[number].send(joined)
            except StopIteration as end:
                found[number] = end.value
        products = (
            iter(conjoin([pair for pairs in wanted.values() for pair in pairs])) if wanted else iter(())
        )
        sent = {number: [next(products) for _ in pairs] for number, pairs in wanted.items()}
    return [found[number] for number in range(len(circuits))]


def carry_save(numbers: Sequence[Bits]) -> tuple[Bits, Bits]:
    """Return two numbers with the same sum modulo 2^planes [1]_.

    Three numbers become two in a round: a sum without carries, and the carries.

    Parameters
    ----------
    numbers
        Two or more, of the same number of planes.

    Notes
    -----
    **Cost.** About log_{3/2}(m/2) rounds for m numbers: 0 for 2, 1 for 3, 2 for 4, 3 for 5. Below one bit a
    plane for each number beyond the second.

    References
    ----------
    .. [1] C. S. Wallace, "A Suggestion for a Fast Multiplier", IEEE Trans. Electronic Computers 13, 1964.
    """
    rest = list(numbers)
    while len(rest) > 2:
        triples = [rest[i : i + 3] for i in range(0, len(rest) - 2, 3)]
        left_over = rest[3 * len(triples) :]
        # Of the top plane there is no carry within the range.
        products = conjoin([((x ^ z)[:-1], (y ^ z)[:-1]) for x, y, z in triples])
        rest = left_over
        for (x, y, z), joined in zip(triples, products, strict=True):
            majority = joined ^ z[:-1]
            empty = zeros(x.engine, 1, x.rows.shape[2])
            rest += [x ^ y ^ z, concatenate([empty, majority])]
    return rest[0], rest[1]


def carry_pieces(x: Bits, y: Bits) -> Words:
    """Return pieces of the carry out of x + y, one plane.

    Pairs of neighbouring places are joined until one is left: g, that a carry leaves it in any case, and p,
    that it passes one on [1]_.

    Notes
    -----
    **Cost.** ⌈log2 m⌉ rounds for m planes, at most 3m bits.

    References
    ----------
    .. [1] R. P. Brent and H. T. Kung, "A Regular Layout for Parallel Adders", IEEE Trans. Computers 31, 1982.
    """
    ours: Words = run(carry_circuit(x, y))[0]
    return ours


def carry_circuit(x: Bits, y: Bits) -> Circuit:
    """Make the circuit of `carry_pieces`."""
    if not len(x):
        return pieces(zeros(x.engine, 1, x.rows.shape[2]))
    if len(x) == 1:
        return product(x, y)
    (generate,), propagate = (yield [(x, y)]), x ^ y
    while len(generate) > 2:
        pairs = len(generate) // 2
        low, high = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
        # Nothing is passed on from below the lowest place.
        passed, both = yield [
            (propagate[high], generate[low]),
            (propagate[3 : 2 * pairs : 2], propagate[2 : 2 * pairs : 2]),
        ]
        top = slice(2 * pairs, None)
        generate, propagate = (
            concatenate([generate[high] ^ passed, generate[top]]),
            concatenate([propagate[1:2], both, propagate[top]]),
        )
    return pieces(generate[1:]) ^ product(propagate[1:], generate[:1])


def less_pieces(x: Bits, y: Bits) -> Words:
    """Return pieces of x < y for numbers without sign: whether y + (2^m − 1 − x) has a carry out."""
    return carry_pieces(~x, y)


def add(x: Bits, y: Bits) -> Bits:
    """Return x + y modulo 2^planes.

    Notes
    -----
    **Cost.** 1 + ⌈log2(m − 1)⌉ rounds for m planes, about m·log2 m bits [1]_.

    References
    ----------
    .. [1] J. Sklansky, "Conditional-Sum Addition Logic", IRE Trans. Electronic Computers 9, 1960.
    """
    half = x ^ y
    count = len(x) - 1  # places that pass a carry on within the range
    if not count:
        return half
    generate, propagate = (x[:-1] & y[:-1]).rows.copy(), half[:-1].rows.copy()
    places = np.arange(count)
    for level in range((count - 1).bit_length()):
        # The places with this bit join all that is below them down to the next multiple of 2^(level + 1).
        upper = places[places >> level & 1 == 1]
        lower = (upper >> level << level) - 1
        first = int(np.searchsorted(upper, 2 << level))  # those before have nothing below what they join
        g, p = Bits(x.engine, generate), Bits(x.engine, propagate)
        passed, both = conjoin([(p[upper], g[lower]), (p[upper[first:]], p[lower[first:]])])
        generate[:, upper] ^= passed.rows
        propagate[:, upper[first:]] = both.rows
    return half ^ concatenate([zeros(x.engine, 1, x.rows.shape[2]), Bits(x.engine, generate)])


def all_pieces(x: Bits) -> Words:
    """Return pieces of whether all planes are 1, one plane.

    Notes
    -----
    **Cost.** ⌈log2 m⌉ − 1 rounds for m planes (none for one), m − 2 bits.
    """
    while len(x) > 2:
        pairs = len(x) // 2
        x = concatenate([x[: 2 * pairs : 2] & x[1 : 2 * pairs : 2], x[2 * pairs :]])
    return product(x[:1], x[1:]) if len(x) == 2 else pieces(x)


def all_circuit(x: Bits) -> Circuit:
    """Make a circuit that leaves shares, not pieces, of whether all planes are 1: ⌈log2 m⌉ rounds."""
    while len(x) > 1:
        pairs = len(x) // 2
        (joined,) = yield [(x[: 2 * pairs : 2], x[1 : 2 * pairs : 2])]
        x = concatenate([joined, x[2 * pairs :]])
    return x


def suffix_all_pieces(x: Bits) -> Words:
    """Return pieces of whether a plane and all above it are 1, for each plane.

    Notes
    -----
    **Cost.** ⌈log2 m⌉ − 1 rounds for m planes (none for one), about m·log2(m)/2 bits.
    """
    ours: Words = run(suffix_all_circuit(x))[0]
    return ours


def suffix_all_circuit(x: Bits) -> Circuit:
    """Make the circuit of `suffix_all_pieces`."""
    count = len(x)
    places = np.arange(count)[::-1]  # place 0 is the highest plane
    levels = max(count - 1, 0).bit_length()
    joined = x.rows.copy()
    for level in range(levels):
        upper = np.flatnonzero(places >> level & 1)
        lower = count - (places[upper] >> level << level)
        shares = Bits(x.engine, joined)
        if level == levels - 1:
            ours = pieces(shares)
            ours[upper] = product(shares[upper], shares[lower])
            return ours
        (both,) = yield [(shares[upper], shares[lower])]
        joined[:, upper] = both.rows
    return pieces(x)
