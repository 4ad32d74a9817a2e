"""From the field to bits: one masked opening, and numbers that are known in parts.

A number v is opened under the mask r = Σ_A r_A of `prss`: c = v + 2^(m − 1) + r, where |v| < 2^(m − 1). Let
s_i be the sum of the r_A whose sets party i leads, for i = 1, …, t + 1; the last is a single r_A, that of
the parties from t + 1 on, and known to them all. Then, modulo 2^m,

    v + 2^(m − 1) = (c − s_1) − s_2 − … − s_(t+1),

t + 1 numbers instead of C(n, t) + 1, each known to a party or to those last ones, whose bits are shared as
they are: c disappears into what party 1 knows. An adder joins them. For three parties it adds two numbers.

The opening is that of Damgård et al. [1]_, with summands that are known as in edaBits [2]_.

References
----------
.. [1] I. Damgård, M. Fitzi, E. Kiltz, J. B. Nielsen and T. Toft, "Unconditionally Secure Constant-Rounds
   Multi-party Computation for Equality, Comparison, Bits and Exponentiation", TCC 2006.
.. [2] D. Escudero, S. Ghosh, M. Keller, R. Rachuri and P. Scholl, "Improved Primitives for MPC over Mixed
   Arithmetic-Binary Circuits", CRYPTO 2020.
"""

from __future__ import annotations

import numpy as np

from protocols import bitslice, field, limbs, mersenne
from protocols.adder import carry_save
from protocols.bits import Bits, deal, known
from protocols.bitslice import Words
from protocols.engine import Engine
from protocols.errors import PrecisionError
from protocols.fixed import Format
from protocols.mersenne import Elements
from protocols.opening import open_shares
from protocols.stripes import BLOCK, cut


def length_of(engine: Engine, reading: Format) -> int:
    """Return the bits, sign included, of numbers that are to be masked.

    Raises
    ------
    PrecisionError
        They have no bound, or are too large to be masked. Nothing was sent.
    """
    if reading.bound is None:
        raise PrecisionError("elements of the field have no order: give them a public bound (`assume`)")
    length = reading.bound.bit_length() + 1
    if length > engine.room:
        raise PrecisionError(
            f"numbers of {length} bits with their sign, where {engine.n} parties can mask {engine.room} with "
            f"security {engine.security}: tighten the public bounds (`assume`) or carry fewer fractional bits"
        )
    return length


def complement_addends(engine: Engine, shares: Elements, length: int) -> tuple[Bits, Bits]:
    """Return shared numbers x and y such that x + y = 2^m − 1 − (v + 2^(m − 1)) modulo 2^m.

    As complement, subtractions become the sum ~(c − s_1) + s_2 + … + s_(t+1).

    Parameters
    ----------
    engine
        The computation.
    shares
        Shape ``(size, 2)``: our shares of v, of degree t.
    length
        m, at most `Engine.room`, with |v| < 2^(m − 1).

    Returns
    -------
    tuple of Bits
        Of m planes each.

    Raises
    ------
    Disagreement
        A party sent a wrong share.

    Notes
    -----
    **Leakage.** Nothing: t parties miss one r_A, and it hides v to a statistical distance of 2^−κ.

    **Cost.** Two rounds, and those of `adder.carry_save` for t + 1 numbers: none for three or four parties,
    one for five, two for seven, three for nine and ten. Everybody sends each peer an element an entry;
    parties 1, …, t send m bits to n − t − 1 peers.
    """
    masked, addend = _masked(engine, shares, length)
    return addends(engine, open_shares(engine, "masked", masked), addend, length)


def addends(engine: Engine, opened: Words, addend: Words, length: int) -> tuple[Bits, Bits]:
    """Return `complement_addends` of numbers that are opened already.

    Parameters
    ----------
    opened
        c, of shape ``(size, limbs)``.
    addend
        The s_i that this party knows, so too; it is changed.
    length
        m.
    """
    size, t = len(opened), engine.t
    if engine.point == 1:
        limbs.add(addend, np.invert(opened))
    planes = np.empty((length, -(-size // 64)), np.uint64)
    bitslice.to_planes(planes, addend)
    numbers = deal(engine, "addends", t, planes if engine.point <= t else None, planes.shape)
    group = tuple(range(t + 1, engine.n + 1))
    numbers.append(known(engine, group, planes if engine.point > t else None, planes.shape))
    return carry_save(numbers)


def _masked(engine: Engine, shares: Elements, length: int) -> tuple[Elements, Elements]:
    """Return shares of v + 2^(m − 1) + r, and the s_i that this party knows, as integers."""
    positive = field.from_ints(np.array(1 << (length - 1), object))
    masked, addend = field.add(shares, positive), field.zeros(len(shares))
    group = tuple(range(engine.t + 1, engine.n + 1))
    scratch = field.empty(min(BLOCK, len(shares)))
    for held, stream in engine.prss.streams(engine.step("mask")):
        coefficient = field.from_ints(np.array([held.coefficient], object))
        ours = held.leads or held.subset == group
        for entries in cut(0, len(shares), BLOCK):
            words = scratch[: entries.stop - entries.start]
            stream.fill(words)
            mersenne.blind(addend[entries], masked[entries], words, coefficient, engine.prss.bits, 0, ours)
    return masked, addend
