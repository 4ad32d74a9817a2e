"""Bits of secrets: all of them, the highest one, and the power of two that brings numbers to full length.

Division and roots begin with numbers of known length. `normalizer` makes 2^s such that x·2^s has its highest
bit where the public bound has its own; `leading_zeros` makes the bits of s, for whoever needs powers of
2^(s/2) or the exponent itself. Only these few bits cross over to the field, not those of x.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from protocols import field
from protocols.adder import add, suffix_all_pieces
from protocols.bits import Bits, concatenate, pieces
from protocols.bitslice import Words
from protocols.compare import BIT, BLOCK
from protocols.convert import to_field
from protocols.engine import Engine
from protocols.errors import PrecisionError
from protocols.fixed import Format
from protocols.masked import complement_addends, length_of
from protocols.mersenne import Elements
from protocols.secret import SecretArray, public

_ALL = np.uint64((1 << 64) - 1)


def decompose(engine: Engine, shares: Elements, length: int) -> Bits:
    """Return the bits of integers |v| < 2^(m − 1), in two's complement, as m planes shared over GF(2^k).

    Parameters
    ----------
    engine
        The computation.
    shares
        Shape ``(size, 2)``: our shares of v, of degree t.
    length
        m; see `masked.length_of`.

    Notes
    -----
    **Leakage.** Nothing; see `masked`. **Cost.** 3 + ⌈log2(m − 1)⌉ rounds for three or four parties, those of
    `adder.carry_save` more for others. Two elements to each peer, and about m·log2 m bits to one of them.
    """
    planes = biased(engine, shares, length)
    return concatenate([planes[:-1], ~planes[-1:]])


def biased(engine: Engine, shares: Elements, length: int) -> Bits:
    """Return the bits of v + 2^(m − 1), in the order of v and without sign; see `decompose`."""
    return ~add(*complement_addends(engine, shares, length))


def bits(x: SecretArray) -> SecretArray:
    """Return the bits of integers, in two's complement, lowest first, as shares over F_p.

    Parameters
    ----------
    x
        Integers, or fixed-point numbers, whose integers are taken.

    Returns
    -------
    SecretArray
        Shape ``(*shape, m)``, m − 1 the bits of the public bound.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** `decompose`, and `convert.to_field` for every bit: 5 + ⌈log2(m − 1)⌉
    rounds for three parties. The conversion costs more than all the rest: `Bits` are cheaper where they do.
    """
    length = length_of(x.engine, x.format)
    return _per_entry(x, length, lambda shares: pieces(decompose(x.engine, shares, length)))


def leading_zeros(x: SecretArray, *, or_none: bool = False) -> SecretArray:
    """Return the bits of s, the zeros above the highest bit of x ≥ 0 within its public bound.

    Parameters
    ----------
    x
        Integers or fixed-point numbers, none of them negative; of T bits by their public bound.
    or_none
        Whether one bit more is wanted, behind them: 1 where x is 0.

    Returns
    -------
    SecretArray
        Shape ``(*shape, ⌈log2 T⌉)``: the bits of s = T − (bit length of x's integer), lowest first. All of
        them are 0 where x is 0.

    Raises
    ------
    PrecisionError
        The bound leaves no room for the mask. Nothing was sent.

    Notes
    -----
    **Leakage.** Nothing; see `masked`. For negative x the result is without meaning, and no more known.

    **Cost.** 4 + 2⌈log2 T⌉ rounds for three parties: 16 for up to 64 bits.
    """
    top = length_of(x.engine, x.format) - 1
    return _of_highest(x, top - 1 - np.arange(top), or_none)


def bit_length(x: SecretArray) -> SecretArray:
    """Return the number of bits of x ≥ 0, `int.bit_length` of its integer; see `leading_zeros`."""
    top = length_of(x.engine, x.format) - 1
    digits = _of_highest(x, 1 + np.arange(top))
    return SecretArray(x.engine, (digits @ (1 << np.arange(digits.shape[-1]))).shares, Format(0, top))


def _of_highest(x: SecretArray, numbers: NDArray[np.intp], or_none: bool = False) -> SecretArray:
    """Return the bits of the number that belongs to the highest bit of x ≥ 0, lowest first; 0 for 0.

    With `or_none`, a last one says whether x is 0.
    """
    engine, top = x.engine, len(numbers)
    width = int(np.max(numbers, initial=0)).bit_length()

    def circuit(shares: Elements) -> Words:
        clear = suffix_all_pieces(~decompose(engine, shares, top + 1)[:top])  # nothing from here upwards
        highest = clear.copy()
        highest[:-1] ^= clear[1:]
        if engine.point == 1:  # above the top there is nothing, in one party's piece for all
            highest[-1:] ^= _ALL
        digits = np.zeros((width + or_none, clear.shape[1]), np.uint64)
        if or_none:
            digits[-1] = clear[0]
        for bit, digit in enumerate(digits[:width]):
            np.bitwise_xor.reduce(highest[numbers >> bit & 1 == 1], axis=0, out=digit)
        return digits

    return _per_entry(x, width + or_none, circuit)


def normalizer(x: SecretArray) -> tuple[SecretArray, SecretArray]:
    """Return 2^s and s such that x·2^s has as many bits as x's public bound, for x ≥ 0; 1 and 0 for 0.

    Returns
    -------
    tuple of SecretArray
        Integers, powers of two up to 2^(T − 1), where T are the bits of the bound; and their exponents.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** `leading_zeros` and ⌈log2 log2 T⌉ rounds of products: 19 rounds for three
    parties and up to 64 bits.
    """
    top = max(length_of(x.engine, x.format) - 1, 1)
    zeros = leading_zeros(x)
    shift = SecretArray(x.engine, (zeros @ (1 << np.arange(zeros.shape[-1]))).shares, Format(0, top))
    return power_of_two(zeros, 1 << (top - 1)), shift


def power_of_two(exponent: SecretArray, bound: int) -> SecretArray:
    """Return 2^s of the bits of s, lowest first, on the last axis.

    Parameters
    ----------
    exponent
        Secret bits.
    bound
        Public: what 2^s does not exceed.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** ⌈log2 w⌉ rounds for w bits, w − 1 products.
    """
    if bound > field.HALF:
        raise PrecisionError("a power of two beyond 2^126 does not fit the field")
    width = exponent.shape[-1]
    if not width:
        return public(exponent.engine, np.ones(exponent.shape[:-1], np.int64))
    steps = np.array([(1 << (1 << bit)) - 1 for bit in range(width)], object)
    # Factors 1 or 2^(2^j), as elements: products beyond the bound do not occur, and are not to be refused.
    factors = SecretArray(exponent.engine, exponent.shares) * steps + 1
    while factors.shape[-1] > 1:
        half = factors.shape[-1] // 2
        joined = factors[..., :half] * factors[..., half : 2 * half]
        rest = factors.shares[..., 2 * half :, :]
        factors = SecretArray(factors.engine, np.concatenate([joined.shares, rest], axis=-2))
    return SecretArray(factors.engine, factors[..., 0].shares, Format(0, bound))


def _per_entry(x: SecretArray, planes: int, circuit: Callable[[Elements], Words]) -> SecretArray:
    """Return the bits that a circuit makes of entries, on a new last axis."""
    shares, flat = field.empty((x.size, planes)), x.flat()
    for start in range(0, x.size if planes else 0, BLOCK):
        part = flat[start : start + BLOCK]
        shares[start : start + BLOCK] = to_field(x.engine, circuit(part), len(part)).swapaxes(0, 1)
    return SecretArray(x.engine, shares.reshape(*x.shape, planes, 2), BIT)
