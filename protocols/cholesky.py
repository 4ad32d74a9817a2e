"""Cholesky factors of small secret matrices, in as many rounds for a hundred columns as for two.

Column by column, a factor of k columns takes k inverse square roots one after the other, 30 rounds each. Here
every minor that the factor is made of is computed at once, exactly, modulo a long Q (`crt`, `wide`):

1. *Masked elimination*, after the masked inversion of Bar-Ilan and Beaver [1]_. With random triangular
   factors L and U (`linalg.random_factors`), shares of Y = A·U are made, and M = L·Y is opened. If no leading
   minor Δ_j of A is zero, M is as random as L·U whatever A is: A's own triangular factors, next to L and U,
   move one uniform matrix to another. M is reduced in public to a triangle M·V of minors. Y·V is then
   triangular too, and by the choice of the diagonals its entries are minors of A: N_ij, of the rows
   1, …, j − 1, i and the columns 1, …, j. Shares of them are local.
2. G_ij = N_ij·Δ_(j−1) / Δ_(j−1)² are the columns of the elimination, with the pivots d_j = G_jj on its
   diagonal (`quotients`). As the denominators are squares, nothing shows the sign of any Δ_j.
3. Whether all pivots are at least as large as they should be is computed, on long integers that no value
   could overflow, and only that bit is opened.
4. The factor is G_ij / √d_j, over F_p (`divide`).

Much is computed to have few rounds: about k⁴·w² word operations for entries of w words. That pays: for twenty
columns over a wide-area network 600 rounds would take twelve seconds.

References
----------
.. [1] J. Bar-Ilan and D. Beaver, "Non-Cryptographic Fault-Tolerant Computing in Constant Number of Rounds
   of Interaction", PODC 1989.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from protocols.crt import Residues, Ring, ring
from protocols.divide import divide_by_sqrt, require_root_quotients
from protocols.engine import Engine
from protocols.errors import SingularError
from protocols.field import zeros
from protocols.fixed import Format
from protocols.leading import Leader
from protocols.linalg import EXACT, guard_bits, random_factors, with_full_rank
from protocols.long import masked_negative
from protocols.quotients import DIGITS, LONGER, quotients
from protocols.secret import SecretArray, uniform
from protocols.wide import Round, lift, multiplied, multiplied_matrices


def cholesky(A: SecretArray, *, least: float, fraction: int) -> SecretArray:
    """Return the lower triangular L with A = L·Lᵀ.

    Parameters
    ----------
    A
        Shape ``(k, k)``, symmetric and positive definite, fixed-point numbers or integers. Only the lower
        triangle is looked at.
    least
        Public: what no pivot may be below, 2^−30 at least. A pivot is what the columns before it leave of a
        column: its conditional variance if A is a covariance matrix, and the square of L's diagonal.
    fraction
        Fractional bits of L.

    Returns
    -------
    SecretArray
        Shape ``(k, k)``, zeros above the diagonal. With M the bound on A's entries, an entry is off by
        2e-9·√M for up to five parties, 2e-8·√M for ten, and (C + 1)·2^−fraction, besides what A's neighbour
        (below) makes. C = C(n, t).

    Raises
    ------
    SingularError
        A pivot is below `least`, to a relative 2^−31: A is not positive definite, or too near to a matrix
        that is not. This bit is all that is learnt.
    PrecisionError
        The numbers cannot be masked, or L does not fit the field. Nothing was sent.

    Notes
    -----
    As by `solve`, a random diagonal below 2^−32, and below a quarter of a unit in A's last place, is added.

    **Leakage.** Nothing but that bit; see `linalg.solve`. What is opened is uniform, or masked to a
    statistical distance of 2^−κ. With a probability below k·2^−40, L, U or a leading minor is zero modulo a
    prime, and A then counts as singular.

    **Cost.** For three parties 53 rounds, and ⌈log2 b⌉ more for integers of b bits, (2k − 1)·(|A| + κ + 10)
    and some 200: 65 for twenty columns. 16·k² bytes for every 60 bits of that to each peer, and about 50·k
    bytes for each bit.
    """
    if A.ndim != 2 or A.shape[0] != A.shape[1] or not A.size:
        raise ValueError(f"a matrix of shape {A.shape} has no Cholesky factor")
    if not 2.0**-EXACT <= least <= A.format.magnitude:
        raise ValueError(f"the least pivot is 2^−{EXACT} at least, and within the bound")
    engine, k = A.engine, len(A)
    plan = _plan(engine, A.format, k)
    on, size = plan.ring, math.sqrt(A.format.magnitude)
    require_root_quotients(engine, size, fraction)
    rows, columns = np.indices(A.shape)
    symmetric = A[np.maximum(rows, columns), np.minimum(rows, columns)]
    shares = lift(engine, on, symmetric.flat()).reshape(-1, k, k)
    matrix = with_full_rank(engine, on, shares, plan.guard)
    leader = Leader(engine, [bits + 64 for bits in plan.denominators])
    minors = _minors(engine, on, matrix, leader)

    leading = minors[:, range(k), range(k)]
    before = np.concatenate([np.ones((len(on), 1), np.uint64), leading[:, :-1]], axis=1)
    pairs = [(minors[:, j:, j], before[:, j : j + 1]) for j in range(k)]
    *numerators, squares = multiplied(engine, "numerators", on, [*pairs, (before, before)])
    eliminated = quotients(
        engine,
        on,
        leader,
        list(zip(numerators, plan.numerators, strict=True)),
        [(squares[:, j : j + 1], bits) for j, bits in enumerate(plan.denominators)],
    )
    step = Round(engine, "elimination")
    masked = [
        step.mask(on, column, bits + LONGER) for column, bits in zip(eliminated, plan.numerators, strict=True)
    ]
    pivots = np.stack([column[:, 0] for column in eliminated], axis=1)
    least_integer = math.floor(math.ldexp(least, EXACT)) << (plan.unit - EXACT)
    longest = plan.numerators[-1] + LONGER + 1
    excess = step.mask(on, on.shift(pivots, -least_integer), longest)
    step.run()
    _require_none(engine, masked_negative(engine, excess.value))

    full = zeros((k, k))
    reading = Format.of(1.001 * A.format.magnitude, plan.fraction)
    for j, column in enumerate(masked):
        full[j:, j] = column.value.fixed_point(engine, plan.unit - plan.fraction, reading).shares
    G = SecretArray(engine, full, reading)
    factor = divide_by_sqrt(G, G[range(k), range(k)], bound=size, fraction=fraction)
    factor.shares[rows < columns] = 0  # of a product of shared zeros
    return factor


@dataclass(frozen=True)
class _Plan:
    """Lengths in bits, from public bounds.

    Attributes
    ----------
    guard
        How far A is shifted, to have room for the random diagonal below its last place.
    numerators, denominators
        Those of each column stay below 2 to these.
    unit
        Fractional bits of what is divided.
    fraction
        Fractional bits with which it comes to F_p.
    """

    ring: Ring
    guard: int
    numerators: list[int]
    denominators: list[int]
    unit: int
    fraction: int


def _plan(engine: Engine, reading: Format, k: int) -> _Plan:
    """Choose the ring: minors are within Hadamard's bound, whatever the matrix, and are masked squared."""
    guard = guard_bits(engine, reading, k)
    entry = ((reading.bound or 0) + 1) << guard
    minors = [1] + [((math.isqrt(j * entry**2) + 1) ** j).bit_length() for j in range(1, k + 1)]
    numerators = [minors[j + 1] + minors[j] for j in range(k)]
    denominators = [2 * minors[j] for j in range(k)]
    slack = engine.prss.count.bit_length()
    bits = max(numerators[-1] + LONGER, 448) + engine.security + slack + 10
    fraction = min(60, engine.room - 6 - math.frexp(reading.magnitude)[1])
    return _Plan(ring(bits), guard, numerators, denominators, DIGITS + guard + reading.fraction, fraction)


def _minors(engine: Engine, on: Ring, matrix: Residues, leader: Leader) -> Residues:
    """Return shares of all N_ij, and zeros above the diagonal: three rounds, as the masked inversion."""
    lower, upper, _ = random_factors(engine, on, matrix.shape[1], leader)
    step = Round(engine, "mask columns")
    half = step.reshare(on, multiplied_matrices(engine, "mask columns", on, matrix, upper))
    step.run()
    step = Round(engine, "mask rows")
    opened = step.open(on, multiplied_matrices(engine, "mask rows", on, lower, half.value))
    step.run()
    try:
        return on.matmul(half.value, on.minors(opened.value))
    except ZeroDivisionError:
        raise SingularError("a secret matrix is singular") from None


def _require_none(engine: Engine, bits: SecretArray) -> None:
    """Open whether all bits are 0: their sum times a random element is 0 or uniform. Two rounds."""
    total = SecretArray(engine, bits.sum().shares)
    if (total * uniform(engine, ())).open().any():
        raise SingularError(
            "a secret matrix is not positive definite, or so nearly not that a pivot is below the stated "
            "least: leave out columns that depend on others, or lower it"
        )
