"""Leading digits of secret integers: mantissas for computing with, and rounded ones for opening.

An integer v is opened under a mask (`wide.open_masked`), and two shared numbers x and y are then known to add
up to −1 − v (`masked`). All prefixes ⌊v / 2^j⌋ are shared for nothing. The one that begins where v does is
chosen by an inner product with secret bits, a single 1 among zeros: they select, and nothing shows where.

*To compute with*, the place is anticipated from x and y without adding them, as floating-point units do [1]_.
A run of leading sign bits of x + y shows in x and y as a run of places with a pattern, and where the pattern
ends is a function of three neighbouring places. It is right, or one place too high. So a mantissa is between
¼ and 1.

*To open*, a number must look the same however it was computed, and whatever the masks are. There the bits of
v are computed, and of these the leading ones chosen, and rounded.

References
----------
.. [1] M. S. Schmookler and K. J. Nowka, "Leading Zero Anticipation and Detection: A Comparison of Methods",
   IEEE Symposium on Computer Arithmetic, 2001.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.adder import Circuit, add, all_circuit, carry_circuit, run, suffix_all_circuit
from protocols.bits import Bits, concatenate, pieces, product, reshare
from protocols.bitslice import Words
from protocols.convert import convert, to_field
from protocols.crt import Ring, ring
from protocols.engine import Engine
from protocols.fixed import Format
from protocols.long import LongArray, LongFormat, Products, complement_addends, jointly
from protocols.secret import SecretArray, inner, stack
from protocols.wide import Masked, Modulo, open_masked

#: The ring of mantissas and exponents: five primes.
SHORT: Ring = ring(294)
#: Fractional bits of mantissas.
DIGITS = 64
#: Mantissas of found numbers are 2^−OCTAVES or more.
OCTAVES = 2
#: How shared bits are read.
BIT = LongFormat(0, 1)

_ALL = np.uint64((1 << 64) - 1)


@dataclass(frozen=True)
class Leading:
    """Numbers v·2^e as m·2^place·2^e, with ¼ ≤ |m| ≤ 1, or m = 0 for v = 0.

    Attributes
    ----------
    mantissa
        m, with `DIGITS` fractional bits.
    place
        That of the leading bit of v, counted from 1, or one more; 0 for zeros.
    exponent
        e, and 0 for zeros.
    nonzero, below
        Whether v ≠ 0, and whether v < 0.
    odd
        Whether v ≠ 0 and place + e is odd.
    """

    mantissa: LongArray
    place: LongArray
    exponent: LongArray
    nonzero: LongArray
    below: LongArray
    odd: LongArray


def leading_digits(x: LongArray, exponent: LongArray | int, noise: int) -> Leading:
    """Find where numbers begin.

    Parameters
    ----------
    x
        Integers v.
    exponent
        e: one public integer, or secret ones, of the same shape. Then x, too, is in `SHORT`.
    noise
        Numbers |v| < 2^noise / 4 count as zero, and may up to 2^noise / 2.

    Notes
    -----
    **Accuracy.** The mantissa is off by less than (3C + 1)/2·2^−DIGITS.

    **Leakage.** Nothing. What is opened is masked to a statistical distance of 2^−κ, or uniform. The openings
    of v and e are of degree t and checked; the rest are passively secure.

    **Cost.** For three parties and integers of T bits 7 + ⌈log2(T + 2)⌉ rounds, 13 for mantissas and e. About
    2√T + 2 numbers of 40 bytes to one peer, and 3·T·log2 T bits.
    """
    engine, shape, size = x.engine, x.shape, x.size
    doubled = x * 2  # so that −1 − v, too, has its leading bit within
    length = doubled.format.bound.bit_length() + 2
    flat = doubled.shares.reshape(len(x.on), size)
    if isinstance(exponent, LongArray):
        length = max(length, exponent.format.bound.bit_length() + 1)
        blank = np.zeros((len(x.on), -size % 64), np.uint64)  # exponents have words of their own
        flat = np.concatenate([flat, blank, exponent.shares.reshape(flat.shape)], axis=1)
    opened = open_masked(engine, "leading", x.on, flat, length - 1)
    masked, words = opened.part(0, size, shape), -(-size // 64)
    (one, parity), (other, parity_) = (
        (Bits(engine, z.rows[:, :, :words]), Bits(engine, z.rows[:, :1, words:]))
        for z in complement_addends(engine, opened)
    )
    first = max(noise, 1)
    places = np.arange(first, length - 1)
    clear, sign = run(_anticipate(one, other, first), carry_circuit(one[:-1], other[:-1]))
    sign ^= pieces(one[-1:] ^ other[-1:])
    highest = _highest(engine, clear)

    width = 1 << (length.bit_length() // 2)  # about as many places in a group as groups
    groups = -(-length // width)
    chosen = [places // width == a for a in range(groups)] + [places % width == b for b in range(width)]
    chosen.append(places % 2 == 1)
    ours = np.concatenate([_any(highest, chosen), sign])
    if isinstance(exponent, LongArray):
        ours[-2:-1] ^= pieces(~(parity ^ parity_))
    elif exponent % 2 and engine.point == 1:
        ours[-2] ^= _ALL
    bits = _converted(engine, ours, shape)
    coarse, fine, odd, below = bits[:groups], bits[groups:-2], bits[-2], bits[-1]
    nonzero = read(coarse.sum(axis=0), BIT)
    place = _weighted(coarse, np.arange(groups) * width) + _weighted(fine, np.arange(width))

    prefixes = [_prefix(engine, masked, width * a) for a in range(groups)]
    wanted: list[Products] = [
        ([(coarse[a], prefix) for a, prefix in enumerate(prefixes)], None),
        ([(nonzero, below)], None),
        ([(nonzero, odd)], None),
    ]
    if isinstance(exponent, LongArray):
        wanted.append(([(nonzero, exponent)], None))
    prefix, below, odd, *rest = jointly("leading digits", *wanted)
    exponents = read(rest[0], exponent.format) if isinstance(exponent, LongArray) else nonzero * exponent
    # Of all the prefixes, the one that is short was chosen.
    prefix = read(prefix, LongFormat(DIGITS + width, (1 << (DIGITS + width)) + engine.prss.count))
    power = _weighted(fine, [1 << (width - 1 - b) for b in range(width)])
    power = read(power, LongFormat(0, 1 << (width - 1)))
    (mantissa,) = jointly("mantissa", ([(prefix, power)], DIGITS))
    return Leading(
        unit(mantissa),
        read(place, LongFormat(0, length)),
        exponents,
        nonzero,
        read(below, BIT),
        read(odd, BIT),
    )


def rounded_digits(
    x: LongArray,
    exponent: LongArray,
    undefined: LongArray | None,
    noise: int,
    digits: int | NDArray[np.int64],
) -> SecretArray:
    """Return integers that make up v·2^−DIGITS·2^e, rounded to so many bits, ready to be opened.

    Parameters
    ----------
    x, exponent
        Vectors of integers v and e in `SHORT`.
    undefined
        Secret counts, not negative; what is not 0 there is opened as NaN.
    noise
        Numbers |v| < 2^noise / 2 count as zero.
    digits
        Bits of the rounded numbers, or of each of them; below, the most.

    Returns
    -------
    SecretArray
        For a magnitude M·2^(place − digits), 2^(digits − 1) ≤ M ≤ 2^digits, or M = 0, the integer
        M + 2^(digits + 1)·sign + 2^(digits + 3)·(place − DIGITS + e); 2^(digits + 2) for what is not defined.
        See `reveal.compose`.

    Notes
    -----
    Magnitudes are rounded to the nearest, ties away from zero; those of negative numbers as if v were larger
    by half a unit, which only shows in ties and where v has no more than so many bits. What is opened is a
    function of v·2^e and of nothing else.

    **Leakage.** Nothing; see `leading_digits`. **Cost.** 8 + 2·⌈log2 T⌉ rounds for three parties and integers
    of T bits, 20 for mantissas. digits + 11 elements an entry to one peer.
    """
    engine, size = x.engine, x.size
    each, digits = np.broadcast_to(digits, (size,)), int(np.max(digits))
    doubled = x * 2
    parts = [doubled, exponent] + ([] if undefined is None else [undefined])
    length = max(part.format.bound.bit_length() for part in parts) + 1
    words = -(-size // 64)  # each part has words of its own
    shares = np.zeros((len(SHORT), len(parts), 64 * words), np.uint64)
    for row, part in enumerate(parts):
        shares[:, row, :size] = part.shares
    flat = shares.reshape(len(SHORT), len(parts) * 64 * words)
    masked = open_masked(engine, "rounded", SHORT, flat, length - 1)
    exponents = masked.part(64 * words, 64 * words + size, (size,)).fixed_point(engine, 0, Format())
    one, other = complement_addends(engine, masked)
    planes = ~add(*(Bits(engine, z.rows[:, :, :words]) for z in (one, other)))
    sign = ~planes[-1:]
    magnitude = planes[:-1] ^ Bits(engine, np.broadcast_to(sign.rows, planes[:-1].rows.shape))
    circuits = [suffix_all_circuit(~magnitude[noise:])]
    if undefined is not None:  # a count is 0 where the lowest places of its complement are all 1
        lowest = (one ^ other)[: max(1, undefined.format.bound.bit_length())]
        circuits.append(all_circuit(Bits(engine, lowest.rows[:, :, 2 * words :])))
    clear, *counted = run(*circuits)
    clear = reshare(engine, "clear", clear)
    highest = clear ^ concatenate([clear[1:], ~Bits(engine, np.zeros_like(clear.rows[:, :1]))])

    places = np.arange(noise, length - 1)
    nonzero = Bits(engine, np.bitwise_xor.reduce(highest.rows, axis=1, keepdims=True))
    ours = [pieces(nonzero)]
    for under in range(1, digits + 1):
        kept = np.flatnonzero(places >= under)
        products = product(highest[kept], magnitude[places[kept] - under])
        ours.append(np.bitwise_xor.reduce(products, axis=0, keepdims=True))
    ours.append(product(nonzero, sign))
    width = length.bit_length()
    ours.append(_any(pieces(highest), [places >> bit & 1 == 1 for bit in range(width)]))
    ours += [plane for given in counted for plane in (pieces(given), product(nonzero, given))]
    bits = SecretArray(engine, to_field(engine, np.concatenate(ours), size))
    # After its last digit is the one that rounds a number.
    place = np.arange(digits + 1)[:, np.newaxis]
    kept = np.where(place < each, digits - 1 - place, np.where(place == each, digits - each, -1))
    weights = np.where(kept >= 0, np.int64(1) << np.maximum(kept, 0), 0).astype(object)
    others = [1 << (digits + 1)] + [1 << (digits + 3 + bit) for bit in range(width)]
    rest = bits[digits + 1 :][: len(others)].T @ np.array(others, object)
    packed = (bits[: digits + 1] * weights).sum(axis=0) + rest
    shift = (exponents - DIGITS) * (1 << (digits + 3))
    if counted:
        given, both = bits[-2], bits[-1]
        total = _inner([(given, packed), (both, shift)]) + (1 - given) * (1 << (digits + 2))
    else:
        total = packed + bits[0] * shift
    bound = (length + DIGITS + exponent.format.bound) << (digits + 3)
    return SecretArray(engine, total.shares, Format(0, bound))


# --- Helpers -----------------------------------------------------------------------------------------


def unit(mantissa: LongArray) -> LongArray:
    """State that mantissas are up to 1, but for rounding. Local."""
    bound = (1 << mantissa.format.fraction) + 2 * mantissa.engine.prss.count + 2
    return read(mantissa, LongFormat(mantissa.format.fraction, bound))


def noise_bits(engine: Engine) -> int:
    """Return the bits of twice a mantissa that roundings may have made, and nothing else."""
    return engine.prss.count.bit_length() + 4


def _anticipate(x: Bits, y: Bits, first: int) -> Circuit:
    """Make the circuit of whether, from a place upwards, there is no place where the sign bits of x + y end.

    x + y + 1 is a number less than a quarter of 2^planes, and the planes of x are complemented at the top.
    """
    top = len(x) - 1
    x = concatenate([x[:-1], ~x[-1:]])
    differs = x ^ y
    alike = ~differs
    here, under, over = slice(first, top), slice(first - 1, top - 1), slice(first + 1, top + 1)
    (both,) = yield [(alike[here], alike[under])]
    (runs,) = yield [(both, ~(x[under] ^ x[here] ^ differs[over]))]
    return (yield from suffix_all_circuit(~(alike[here] ^ runs)))


def _highest(engine: Engine, clear: Words) -> Words:
    """Return pieces of the one place where there is something, and nothing above it."""
    highest = clear.copy()
    highest[:-1] ^= clear[1:]
    if engine.point == 1:  # above the top there is nothing, in one party's piece for all
        highest[-1:] ^= _ALL
    return highest


def _any(highest: Words, chosen: Sequence[np.ndarray[Any, Any]]) -> Words:
    """Return pieces of whether the one place is among chosen ones, a plane for each choice."""
    out = np.zeros((len(chosen), highest.shape[1]), np.uint64)
    for row, which in zip(out, chosen, strict=True):
        np.bitwise_xor.reduce(highest[which], axis=0, out=row)
    return out


def _converted(engine: Engine, ours: Words, shape: tuple[int, ...]) -> LongArray:
    """Return bits in `SHORT` of pieces of planes."""
    size = int(np.prod(shape, dtype=int))
    shares = convert(engine, ours, size, Modulo(SHORT)).reshape(len(SHORT), len(ours), *shape)
    return LongArray(engine, shares, LongFormat(0, 1), SHORT)


def _prefix(engine: Engine, masked: Masked, place: int) -> LongArray:
    """Return ⌊v·2^DIGITS / 2^place⌋, as it is: too long for a mask, or much too long."""
    drop = place - DIGITS
    shares = masked.shifted(engine, SHORT, max(0, drop))
    return LongArray(engine, SHORT.scale(shares, SHORT.constant(1 << max(0, -drop))), LongFormat(0, 1), SHORT)


def _weighted(bits: LongArray, weights: Any) -> LongArray:
    """Return sums of bits with public weights."""
    column = np.array(weights, object).reshape(-1, *[1] * (bits.ndim - 1))
    return (bits * column).sum(axis=0)


def read(x: LongArray, reading: LongFormat) -> LongArray:
    """Return numbers of which more is known than their bounds say. Local."""
    return LongArray(x.engine, x.shares, reading, x.on)


def _inner(pairs: Sequence[tuple[SecretArray, SecretArray]]) -> SecretArray:
    """Return a sum of products over F_p."""
    left, right = (stack([pair[side] for pair in pairs], axis=-1) for side in (0, 1))
    plain = [SecretArray(z.engine, z.shares) for z in (left, right)]
    return inner(*plain)
