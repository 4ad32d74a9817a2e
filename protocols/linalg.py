"""Small dense systems of equations with secret coefficients: solutions and inverses.

A solution's entries are rationals, adj(A)·b / det(A): opened, or only invertible in a prime field, they would
give away the determinant. Here the quotients are computed to the stated precision on shares, and
nothing else comes out. With A and b as integers modulo a long Q (`crt`, `wide`):

1. *Masked inversion* [1]_: with a secret random R = L·U, of triangular factors, M = R·A is opened; it is as
   random as R. A⁻¹·b = M⁻¹·(R·b) is shared modulo Q, and so is det(A) = det(M)·det(R)⁻¹, as the diagonals
   of L and U are made so that 1/det(R) is known as a share. Blom et al. [2]_ use this for ridge regression.
2. N = D·A⁻¹·b, with D = det(A) or its square, are integers, and N/D is computed on shares (`quotients`); then
   rounded and opened under a mask of which all words are known to somebody, which brings it to F_p.
3. Whether all entries are within the stated bound is computed, and only that bit is opened.

An A whose rank is not full would show it in M. A random diagonal of magnitude below 2^−32, and below a
quarter of a unit in A's last place, makes its rank full: what is solved is that neighbour of A.

References
----------
.. [1] J. Bar-Ilan and D. Beaver, "Non-Cryptographic Fault-Tolerant Computing in Constant Number of Rounds
   of Interaction", PODC 1989.
.. [2] F. Blom, N. J. Bouman, B. Schoenmakers and N. de Vreede, "Efficient Secure Ridge Regression from
   Randomized Gaussian Elimination", CSCML 2021 (IACR ePrint 2019/773).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from protocols.crt import Residues, Ring, ring
from protocols.engine import Engine
from protocols.errors import PrecisionError, SingularError
from protocols.fixed import Format
from protocols.leading import Leader
from protocols.oblivious.numbers import Primes, Shape
from protocols.quotients import DIGITS, LONGER, PRECISION, quotients, times
from protocols.secret import SecretArray
from protocols.wide import Round, are_within, bounded, lift, multiplied, products, uniform, weight

#: Coefficients are taken for exact to so many fractional bits, or to their last place if that is finer.
EXACT = 30


def solve(
    A: SecretArray, b: SecretArray, *, bound: float, fraction: int, definite: bool = False
) -> SecretArray:
    """Return the solution of A·x = b.

    Parameters
    ----------
    A
        Shape ``(k, k)``, fixed-point numbers or integers.
    b
        Shape ``(k,)`` or ``(k, m)``.
    bound
        What entries of x must stay within.
    fraction
        Fractional bits of x, at most 56.
    definite
        A is positive definite, as X'X. Twice as fast, and if it is not, this may be told from other
        reasons why a solution is refused.

    Returns
    -------
    SecretArray
        Shaped as b. An entry x is off by less than |x|·2^−32 + (C + 1)·2^−fraction, C = C(n, t).

    Raises
    ------
    SingularError
        An entry of x is beyond the bound: A is singular, or too near to it. This bit is all that is learnt.
        Entries up to the bound pass; those beyond (4C + 2) times the bound never do.
    PrecisionError
        The numbers cannot be masked, or x does not fit the field. Nothing was sent.

    Notes
    -----
    **Leakage.** Nothing but that bit: what is opened is uniform, or masked to a statistical distance of
    2^−κ. With a probability below 2^−40, R or A has no inverse modulo a prime; A then counts as singular.

    **Cost.** 20 rounds for three parties. 16·k·(k + m) bytes for every 60 bits of Q to each peer and about
    50 for every bit of D. Q has some 250 bits more than N, and this about k·(|A| + κ + 10) bits or,
    unless definite, twice that; |A| is the length of A's bound in bits.
    """
    _require_system(A, b)
    return _solve(A, b.reshape(len(A), b.size // len(A)), bound, fraction, definite).reshape(b.shape)


def _solve(A: SecretArray, b: SecretArray | None, bound: float, fraction: int, definite: bool) -> SecretArray:
    """Return A⁻¹·b, of a matrix b, or A⁻¹."""
    engine, k = A.engine, len(A)
    plan = _plan(engine, A.format, Format(0, 1) if b is None else b.format, k, bound, fraction, definite)
    on = plan.ring
    left, right = _lifted(engine, on, A, b, plan)
    leader = Leader(engine, [plan.determinant + 64])
    inversion = _inversion_by_all if engine.full else _masked_inversion
    numerators, determinant = inversion(engine, on, left, right, leader, definite)
    if b is None:
        numerators = times(on, numerators, 1 << plan.lift)
    (found,) = quotients(
        engine, on, leader, [(numerators, plan.numerator)], [(determinant, plan.determinant)]
    )
    step = Round(engine, "solution")
    masked = step.mask(on, found, plan.quotient, above=plan.above)
    step.run()
    if not are_within(engine, masked.value, plan.above):
        raise SingularError(
            "a secret matrix is singular, or so nearly that its solution exceeds the stated bound: leave out "
            "columns that depend on others, or raise the bound"
        )
    return masked.value.fixed_point(engine, plan.drop, plan.reading)


def inverse(A: SecretArray, *, bound: float, fraction: int, definite: bool = False) -> SecretArray:
    """Return A⁻¹; see `solve`, of which this is the case of the identity."""
    _require_system(A, A)
    return _solve(A, None, bound, fraction, definite)


@dataclass(frozen=True)
class _Plan:
    """Lengths in bits, from public bounds.

    Attributes
    ----------
    guard, lift
        How far A and b are shifted, A to have room for the random diagonal below its last place.
    numerator, determinant, quotient
        What is opened under masks stays below 2 to these.
    above
        A quotient within the bound is below half 2^above.
    drop
        What is dropped of a quotient, to be read by `reading`.
    """

    ring: Ring
    guard: int
    lift: int
    numerator: int
    determinant: int
    quotient: int
    above: int
    drop: int
    reading: Format


def _plan(
    engine: Engine, left: Format, right: Format, k: int, bound: float, fraction: int, definite: bool
) -> _Plan:
    """Choose the ring: determinants are within Hadamard's bound, and everything that is opened is masked."""
    guard, _ = guard_bits(engine, left, k), guard_bits(engine, right, k)
    if not 0 <= fraction <= PRECISION - 8:
        raise ValueError(f"solutions have between 0 and {PRECISION - 8} fractional bits")
    slack = engine.prss.count
    exponent = math.frexp(bound)[1]
    reading = Format.of(math.ldexp(2 * slack + 1, exponent), fraction)
    finer = left.fraction - right.fraction
    lift, fewer = guard + max(0, finer), max(0, -finer)
    norm = math.isqrt(k * (((left.bound or 0) + 1) << guard) ** 2) + 1
    norm_right = math.isqrt(k * ((right.bound or 0) << lift) ** 2) + 1
    determinant = (norm**k).bit_length()
    numerator = (norm ** (k - 1) * norm_right).bit_length()
    if not definite:
        determinant, numerator = 2 * determinant, numerator + determinant
    quotient = numerator + LONGER
    above = exponent + 1 + DIGITS + fewer
    bits = max(max(quotient, determinant + 192) + engine.security, above, 448) + slack.bit_length() + 8
    drop = DIGITS + fewer - fraction
    return _Plan(ring(bits), guard, lift, numerator, determinant, quotient, above, drop, reading)


def with_full_rank(engine: Engine, on: Ring, matrix: Residues, guard: int) -> Residues:
    """Return A·2^guard + E, E a random diagonal of less than 2^−`EXACT` and a quarter of A's last place.

    Parameters
    ----------
    engine, on
        The computation, and the ring.
    matrix
        Shape ``(primes, k, k)``: shares of A's integers.
    guard
        As `guard_bits` says.
    """
    k = matrix.shape[1]
    diagonal = range(k)
    out = times(on, matrix, 1 << guard)
    noise = bounded(engine, on, (k,), engine.security + k.bit_length())
    out[:, diagonal, diagonal] = on.add(out[:, diagonal, diagonal], noise)
    return out


def guard_bits(engine: Engine, reading: Format, k: int) -> int:
    """Return how far a matrix is shifted to have room for a random diagonal, or refuse its entries."""
    if reading.bound is None:
        raise PrecisionError("elements of the field have no size: give them a public bound (`assume`)")
    if reading.bound > 1 << (engine.room - 1):
        raise PrecisionError(
            f"coefficients of more than {engine.room - 1} bits cannot be masked with security "
            f"{engine.security}: tighten their public bounds (`assume`)"
        )
    finest = max(0, EXACT - reading.fraction)
    return engine.security + k.bit_length() + engine.prss.count.bit_length() + 2 + finest


def _lifted(
    engine: Engine, on: Ring, A: SecretArray, b: SecretArray | None, plan: _Plan
) -> tuple[Residues, Residues | None]:
    """Return shares modulo Q of the integers A·2^guard + E and b·2^lift; None for the identity."""
    k = len(A)
    shares = lift(engine, on, np.concatenate([A.flat(), *([] if b is None else [b.flat()])]))
    left = with_full_rank(engine, on, shares[:, : k * k].reshape(-1, k, k), plan.guard)
    if b is None:
        return left, None
    return left, times(on, shares[:, k * k :], 1 << plan.lift).reshape(-1, *b.shape)


def random_factors(engine: Engine, on: Ring, k: int, leader: Leader) -> tuple[Residues, Residues, Residues]:
    """Return shares of random triangular L and U, and of 1/det(L·U), of shape ``(primes, 1)``.

    With ρ_1, …, ρ_k on the diagonal of L and 1, 1/ρ_1, …, 1/ρ_(k−1) on that of U, det(L·U) = ρ_k; the pivots
    ρ_i / ρ_(i−1) of L·U are independent and uniform. It is uniform among the matrices whose leading minors
    are not zero, all but a share of k·2^−60 modulo each prime. One round, and more if the parties' rotations,
    which are joined meanwhile, take more.
    """
    rho, sigma = (uniform(engine, on, (k,)) for _ in range(2))
    step = Round(engine, "diagonal")
    (masked,) = multiplied(engine, "diagonal", on, [(rho, sigma)])
    product = step.open(on, masked)
    leader.combine(step)
    step.run()
    while not leader.ready:
        step = Round(engine, "rotation")
        leader.combine(step)
        step.run()
    reciprocals = on.mul(sigma, on.inverses(product.value))

    lower, upper = (uniform(engine, on, (k, k)) for _ in range(2))
    lower, upper = np.tril(lower, -1), np.triu(upper, 1)
    diagonal = np.arange(k)
    lower[:, diagonal, diagonal] = rho
    upper[:, diagonal[1:], diagonal[1:]] = reciprocals[:, :-1]
    upper[:, 0, 0] = 1
    return lower, upper, reciprocals[:, -1:]


def _masked_inversion(
    engine: Engine, on: Ring, left: Residues, right: Residues | None, leader: Leader, definite: bool
) -> tuple[Residues, Residues]:
    """Return shares of D·A⁻¹·b, of degree 2t, and of D, of shape ``(primes, 1)``: det(A), or its square.

    Three rounds, and more if the parties' rotations take more.
    """
    k = left.shape[1]
    if right is None:
        right = np.broadcast_to(np.eye(k, dtype=np.uint64), left.shape)  # everybody's share
    lower, upper, last = random_factors(engine, on, k, leader)
    step = Round(engine, "mask rows")
    half = step.reshare(on, on.matmul(upper, np.concatenate([left, right], axis=2)))
    squared = step.reshare(on, on.mul(last, last))
    step.run()
    step = Round(engine, "mask columns")
    masked = step.open(on, on.matmul(lower, half.value[:, :, :k]))
    both = step.reshare(on, on.matmul(lower, half.value[:, :, k:]))
    step.run()
    inverted, determinant = _inverted(on, masked.value)
    if definite:
        scale = on.scale(last, determinant)
    else:
        scale = on.scale(squared.value, on.mul(determinant, determinant))
    return on.mul(scale[:, :, np.newaxis], on.matmul(inverted, both.value)), scale


def _inversion_by_all(
    engine: Engine, on: Ring, left: Residues, right: Residues | None, leader: Leader, definite: bool
) -> tuple[Residues, Residues]:
    """Do what `_masked_inversion` does where all but one may collude.

    Instead of a shared R, every party multiplies by a matrix of its own, uniform among those with an inverse:
    M = R_n·…·R_1·A is uniform to all who miss one of them. One party's numbers times the other parties'
    shares are half of a product of shares, and there are n products for two.
    """
    party, k = engine.party, left.shape[1]
    own = random_matrix(engine, on, k)
    scale = weight(engine.n, engine.point, on)
    ours = on.scale(left if right is None else np.concatenate([left, right], axis=2), scale)
    for index, chooser in enumerate(party.roster):
        numbers = Primes(np.repeat(np.array(on.primes, np.uint64)[:, np.newaxis], ours.shape[2], axis=1))
        others = [name for name in party.roster if name != chooser]
        crossed = engine.triples.source.products(
            engine.step("mask rows"),
            numbers,
            Shape(len(on), k, k, ours.shape[2]),
            own,
            np.ascontiguousarray(ours),
            [chooser],
            others,
        )
        ours = on.add(crossed, on.matmul(own, ours)) if index == party.index else crossed
        if not index and right is None:  # this party's matrix times the identity it knows
            ours = np.concatenate([ours, own if not party.index else np.zeros_like(own)], axis=2)
    while not leader.ready:
        step = Round(engine, "rotation")
        leader.combine(step)
        step.run()
    back = on.inverses(scale)
    step = Round(engine, "masked")
    masked = step.open(on, on.scale(ours[:, :, :k], back))
    step.run()
    inverted, determinant = _inverted(on, masked.value)
    reciprocal = on.scale(on.inverses(on.invert(own)[1][:, np.newaxis]), back)
    factors = [reciprocal if name == party.me else np.zeros_like(reciprocal) for name in party.roster]
    (last,) = products(engine, "determinant", on, factors if definite else [*factors, *factors])
    scale = on.scale(last, determinant if definite else on.mul(determinant, determinant))
    solution = on.matmul(inverted, on.scale(ours[:, :, k:], back))
    (scaled,) = multiplied(engine, "numerators", on, [(scale[:, :, np.newaxis], solution)])
    return scaled, scale


def random_matrix(engine: Engine, on: Ring, k: int) -> Residues:
    """Return a matrix of this party's, uniform among those with an inverse."""
    while True:
        matrix = on.from_random(engine.triples.draw((len(on), k * k, 2))).reshape(len(on), k, k)
        try:
            on.invert(matrix)
        except ZeroDivisionError:
            continue
        return matrix


def _inverted(on: Ring, masked: Residues) -> tuple[Residues, Residues]:
    try:
        return on.invert(masked)
    except ZeroDivisionError:
        raise SingularError("a secret matrix is singular") from None


def _require_system(A: SecretArray, b: SecretArray) -> None:
    if A.ndim != 2 or A.shape[0] != A.shape[1] or b.ndim not in (1, 2) or len(b) != len(A) or not len(A):
        raise ValueError(f"no system of equations has coefficients of shape {A.shape} and {b.shape}")
    if A.engine is not b.engine:
        raise ValueError("secrets of different computations cannot be combined")
