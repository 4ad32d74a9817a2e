"""Quotients of long secret integers, modulo a long Q: what systems and factors of matrices end in.

Numerators N and a denominator D > 0 are opened under masks, so that their prefixes ⌊N / 2^(64·l)⌋ are shared
for nothing. The place where D begins is found (`leading`), in secret; all prefixes times the secret bits of
that place leave D and N as if shifted by it, D between 1 and a small number. 1/D comes by Chebyshev
polynomials of degree 2^m, in m rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from protocols.crt import Residues, Ring, ring
from protocols.engine import Engine
from protocols.errors import SingularError
from protocols.leading import Leader
from protocols.wide import SMALL, Masked, Round, multiplied

#: Fractional bits of the reciprocal and of what leads to it.
PRECISION = 64
#: Relative error of the reciprocal, as a power of two.
ACCURACY = 32
#: Fractional bits of quotients.
DIGITS = 191
#: A quotient has less than so many bits more than its numerator.
LONGER = 196


def quotients(
    engine: Engine,
    on: Ring,
    leader: Leader,
    numerators: Sequence[tuple[Residues, int]],
    denominators: Sequence[tuple[Residues, int]],
) -> list[Residues]:
    """Return N / D·2^191 of each pair, with a relative error of 2^−32.

    Parameters
    ----------
    engine, on
        The computation, and the ring.
    leader
        Made for the denominators' bits plus 64, and ready.
    numerators
        Shares of integers, of any degree below n and shape ``(primes, *shape)``, and their bits.
    denominators
        For each of them, shares of one positive integer, of shape ``(primes, 1)``, and its bits.

    Returns
    -------
    list of ndarray
        Shares of degree 2t, shaped as the numerators.

    Raises
    ------
    SingularError
        A denominator is not positive; which one, all can see.

    Notes
    -----
    **Leakage.** Nothing else. **Cost.** For three parties 11 rounds.
    """
    step = Round(engine, "quotients")
    n = [step.mask(on, times(on, shares, 1 << 128), bits + 128) for shares, bits in numerators]
    d = [step.mask(on, times(on, shares, 1 << 128), bits + 128) for shares, bits in denominators]
    together = np.concatenate([shares for shares, _ in denominators], axis=1)
    opened = leader.open(step, on, times(on, together, 1 << 64))
    step.run()
    aligned = _aligned if engine.full else _weighted
    groups = leader.find(on.integers(opened.value).tolist())
    if groups is None:
        raise SingularError("a secret matrix is not positive definite")
    shifted = aligned(engine, on, groups, [one.value for one in n], [one.value for one in d])

    step = Round(engine, "normalise")
    scaled = [step.reshare(on, one) for one in shifted[: len(n)]]
    denominator = step.mask(on, np.concatenate(shifted[len(n) :], axis=1), 133)
    step.run()
    inverses = _reciprocal(engine, on, denominator.value.shifted(engine, on, 64))
    pairs = [(one.value, inverses[:, [position]]) for position, one in enumerate(scaled)]
    spread = [(x, y.reshape(len(on), *[1] * (x.ndim - 1))) for x, y in pairs]
    return multiplied(engine, "quotients", on, spread)


def times(on: Ring, numbers: Residues, factor: int) -> Residues:
    """Return numbers times one public integer."""
    return on.scale(numbers, on.constant(factor))


def _weighted(
    engine: Engine, on: Ring, groups: Sequence[Residues], n: Sequence[Masked], d: Sequence[Masked]
) -> list[Residues]:
    """Return shares, of degree 2t, of v·2^(63 − j) for numerators and denominators, rounded down.

    Prefixes of the v, which are shared for nothing, are weighted by the places of their denominators.
    """
    places = _places(engine, on, groups)
    return [one.weighted(engine, on, place) for one, place in zip([*n, *d], [*places, *places], strict=True)]


def _aligned(
    engine: Engine, on: Ring, groups: Sequence[Residues], n: Sequence[Masked], d: Sequence[Masked]
) -> list[Residues]:
    """Do what `_weighted` does where a product costs more than a long ring.

    With l levels, the places make one number 2^(64·l − 1 − j). By it the v are shifted up, in a ring that has
    room for that, and then down by as much as all are.
    """
    values = [*n, *d]
    levels = [group.shape[1] // 8 for group in groups] * 2
    lengths = [one.offset.bit_length() + 64 * level for one, level in zip(values, levels, strict=True)]
    wide = ring(max(lengths) + engine.security + engine.prss.count.bit_length() + 10)
    powers = []
    for place in _places(engine, wide, groups):
        units = [1 << 64 * at for at in reversed(range(place.shape[1]))]
        powers.append(wide.sum(wide.mul(place, wide.residues(np.array(units, object)))))
    pairs = [
        (one.shifted(engine, wide, 0), power.reshape(len(wide), *[1] * len(one.shape)))
        for one, power in zip(values, powers * 2, strict=True)
    ]
    step = Round(engine, "align")
    masked = [
        step.mask(wide, product, length)
        for product, length in zip(multiplied(engine, "align", wide, pairs), lengths, strict=True)
    ]
    step.run()
    return [
        one.value.shifted(engine, on, 64 * (level - 1)) for one, level in zip(masked, levels, strict=True)
    ]


def _places(engine: Engine, on: Ring, groups: Sequence[Residues]) -> list[Residues]:
    """Return, of each integer, shares of F_l = Σ δ_j·2^(63 − i) over j = 64·l + i.

    One of them is a power of two, all others are 0.
    """
    step = Round(engine, "lift place")
    lifted = step.mask(SMALL, np.concatenate(groups, axis=1), 8)
    step.run()
    bytes_ = lifted.value.shifted(engine, on, 0).reshape(len(on), -1, 8)
    powers = on.residues(np.array([1 << 8 * (7 - q) for q in range(8)], object))
    words = on.matmul(bytes_, powers[:, :, np.newaxis])[:, :, 0]
    return np.split(words, np.cumsum([group.shape[1] // 8 for group in groups])[:-1], axis=1)


def _reciprocal(engine: Engine, on: Ring, d: Residues) -> Residues:
    """Return 2^64 / d for 1 < d < 2t + 4, given with 63 fractional bits.

    With z linear in d, −1 to 1 over its range and τ_m = T_m(z) at d = 0, the residual of Chebyshev's
    polynomial y_m of degree m − 1 is e_m = 1 − d·y_m = T_m(z) / τ_m, and by T_2m = 2·T_m² − 1

        y_2m = (1 + 1/τ_2m)·y_m·(1 + T_m / τ_m):

    the iteration of Goldschmidt with the best constants [1]_. A round for each doubling.

    References
    ----------
    .. [1] M. D. Ercegovac, L. Imbert, D. W. Matula, J.-M. Muller and G. Wei, "Improving Goldschmidt Division,
       Square Root, and Square Root Reciprocal", IEEE Transactions on Computers 49, 2000.
    """
    width = 2 * engine.t + 3
    tau = Fraction(width + 2, width)
    slope = Fraction(round(Fraction(2 << 32, width)), 1 << 32)
    z = on.shift(times(on, d, -int(slope * (1 << 32))), round(tau * (1 << 95)))
    y = on.shift(np.zeros_like(z), round(slope / tau * (1 << 64)))
    digits = 95  # fractional bits of z; those of y are 64
    while tau < 1 << ACCURACY:
        after = 2 * tau**2 - 1
        alpha = 1 + 1 / after
        growth = on.shift(times(on, z, round(alpha / tau * (1 << 64))), round(alpha * (1 << (digits + 64))))
        step = Round(engine, "reciprocal")
        more = after < 1 << ACCURACY
        grow, *squares = multiplied(engine, "reciprocal", on, [(y, growth), (z, z)][: 1 + more])
        grown = step.mask(on, grow, digits + 130)
        square = step.mask(on, squares[0], 2 * digits + 1) if more else None
        step.run()
        y = grown.value.shifted(engine, on, digits + 64)
        if square:
            z = on.shift(square.value.shifted(engine, on, 2 * digits - 65), -1 << 64)
        tau, digits = after, 64
    return y
