"""Small dense systems of equations with secret coefficients: solutions and inverses.

A solution's entries are rationals, adj(A)·b / det(A): opened, or only invertible in a prime field, they would
give away the determinant. Here the quotients are computed to the stated precision on shares, and
nothing else comes out. With A and b as integers modulo a long Q (`crt`, `wide`):

1. *Masked inversion* [1]_: with a secret random R = L·U, of triangular factors, M = R·A is opened; it is as
   random as R. A⁻¹·b = M⁻¹·(R·b) is shared modulo Q, and so is det(A) = det(M)·det(R)⁻¹, as the diagonals
   of L and U are made so that 1/det(R) is known as a share. Blom et al. [2]_ use this for ridge regression.
2. N = D·A⁻¹·b, with D = det(A) or its square, are integers. They are opened under masks, so that their
   prefixes ⌊N / 2^(64·l)⌋ are shared for nothing.
3. The place where D begins is found (`leading`), in secret: all prefixes times the secret bits of that place
   leave D and N as if shifted by it, D between 1 and a small number.
4. 1/D by Chebyshev polynomials of degree 2^m, in m rounds; then N/D, rounded and opened under a mask of
   which all words are known to somebody, which brings it to F_p.
5. Whether all entries are within the stated bound is computed, and only that bit is opened.

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
from fractions import Fraction

import numpy as np

from protocols.crt import Residues, Ring, ring
from protocols.engine import Engine
from protocols.errors import PrecisionError, SingularError
from protocols.fixed import Format
from protocols.leading import SMALL, Leader
from protocols.prg import Stream
from protocols.secret import SecretArray, public
from protocols.wide import Masked, Round, bounded, lift, products, uniform

#: Fractional bits of the reciprocal and of what leads to it.
PRECISION = 64
#: Relative error of the reciprocal, as a power of two.
ACCURACY = 32
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
    engine, k = A.engine, len(A)
    plan = _plan(engine, A.format, b.format, k, bound, fraction, definite)
    on = plan.ring
    system = _lifted(engine, on, A, b.reshape(k, b.size // k), plan)
    leader = Leader(engine, plan.determinant + 64)
    numerators, determinant = _masked_inversion(engine, on, system, leader, definite)

    step = Round(engine, "quotients")
    n = step.mask(on, _doubled(on, numerators, 128), plan.numerator + 128)
    d = step.mask(on, _doubled(on, determinant, 128), plan.determinant + 128)
    opened = leader.open(step, on, _doubled(on, determinant, 64))
    step.run()
    place = _place(engine, on, leader, int(on.integers(opened.value)[0]))

    step = Round(engine, "normalise")
    scaled = step.reshare(on, n.value.weighted(engine, on, place))
    denominator = step.mask(on, d.value.weighted(engine, on, place), 133)
    step.run()
    inverse = _reciprocal(engine, on, denominator.value.shifted(engine, on, 64))

    step = Round(engine, "quotients")
    products_ = on.mul(scaled.value, inverse[:, :, np.newaxis])
    quotients = step.mask(on, products_, plan.quotient, above=plan.above)
    step.run()
    _require_bounded(engine, quotients.value, plan.above)
    return quotients.value.fixed_point(engine, plan.drop, plan.reading).reshape(b.shape)


def inverse(A: SecretArray, *, bound: float, fraction: int, definite: bool = False) -> SecretArray:
    """Return A⁻¹; see `solve`, of which this is the case of the identity."""
    _require_system(A, A)
    identity = public(A.engine, np.eye(len(A), dtype=np.int64))
    return solve(A, identity, bound=bound, fraction=fraction, definite=definite)


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
    if left.bound is None or right.bound is None:
        raise PrecisionError("elements of the field have no size: give them a public bound (`assume`)")
    if max(left.bound, right.bound) > 1 << (engine.room - 1):
        raise PrecisionError(
            f"coefficients of more than {engine.room - 1} bits cannot be masked with security "
            f"{engine.security}: tighten their public bounds (`assume`)"
        )
    if not 0 <= fraction <= PRECISION - 8:
        raise ValueError(f"solutions have between 0 and {PRECISION - 8} fractional bits")
    slack = engine.prss.count
    exponent = math.frexp(bound)[1]
    reading = Format.of(math.ldexp(2 * slack + 1, exponent), fraction)
    finest = max(0, EXACT - left.fraction)
    guard = engine.security + k.bit_length() + slack.bit_length() + 2 + finest
    finer = left.fraction - right.fraction
    lift, fewer = guard + max(0, finer), max(0, -finer)
    norm = math.isqrt(k * ((left.bound + 1) << guard) ** 2) + 1
    norm_right = math.isqrt(k * (right.bound << lift) ** 2) + 1
    determinant = (norm**k).bit_length()
    numerator = (norm ** (k - 1) * norm_right).bit_length()
    if not definite:
        determinant, numerator = 2 * determinant, numerator + determinant
    quotient = numerator + 196
    above = exponent + 1 + 191 + fewer
    bits = max(max(quotient, determinant + 192) + engine.security, above, 448) + slack.bit_length() + 8
    drop = 191 + fewer - fraction
    return _Plan(ring(bits), guard, lift, numerator, determinant, quotient, above, drop, reading)


def _lifted(engine: Engine, on: Ring, A: SecretArray, b: SecretArray, plan: _Plan) -> Residues:
    """Return shares modulo Q of the integers [A·2^guard + E, b·2^lift], E a random diagonal."""
    shares = lift(engine, on, np.concatenate([A.flat(), b.flat()]))
    k = len(A)
    left = _doubled(on, shares[:, : k * k], plan.guard).reshape(-1, k, k)
    right = _doubled(on, shares[:, k * k :], plan.lift).reshape(-1, *b.shape)
    diagonal = range(k)
    noise = bounded(engine, on, (k,), engine.security + k.bit_length())
    left[:, diagonal, diagonal] = on.add(left[:, diagonal, diagonal], noise)
    return np.concatenate([left, right], axis=2)


def _masked_inversion(
    engine: Engine, on: Ring, system: Residues, leader: Leader, definite: bool
) -> tuple[Residues, Residues]:
    """Return shares of D·A⁻¹·b, of degree 2t, and D: det(A), or its square.

    R = L·U, with ρ_1, …, ρ_k on the diagonal of L and 1, 1/ρ_1, …, 1/ρ_(k−1) on that of U, so that
    det(R) = ρ_k; its pivots ρ_i / ρ_(i−1) are independent and uniform. R is uniform among the matrices
    whose leading minors are not zero, all but a share of k·2^−60 modulo each prime. Three rounds, and more
    if the parties' rotations take more.
    """
    k = system.shape[1]
    rho, sigma = (uniform(engine, on, (k,)) for _ in range(2))
    step = Round(engine, "diagonal")
    product = step.open(on, on.mul(rho, sigma))
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
    last = reciprocals[:, -1:]

    step = Round(engine, "mask rows")
    half = step.reshare(on, on.matmul(upper, system))
    squared = step.reshare(on, on.mul(last, last))
    step.run()
    step = Round(engine, "mask columns")
    masked = step.open(on, on.matmul(lower, half.value[:, :, :k]))
    right = step.reshare(on, on.matmul(lower, half.value[:, :, k:]))
    step.run()
    try:
        inverted, determinant = on.invert(masked.value)
    except ZeroDivisionError:
        raise SingularError("a secret matrix is singular") from None
    if definite:
        scale = on.scale(last, determinant)
    else:
        scale = on.scale(squared.value, on.mul(determinant, determinant))
    solution = on.matmul(inverted, right.value)
    return on.mul(scale[:, :, np.newaxis], solution), scale


def _place(engine: Engine, on: Ring, leader: Leader, opened: int) -> Residues:
    """Return shares of F_l = Σ δ_j·2^(63 − i) over j = 64·l + i: one power of two, all others 0."""
    groups = leader.find(opened)
    if groups is None:
        raise SingularError("a secret matrix is not positive definite")
    step = Round(engine, "lift place")
    lifted = step.mask(SMALL, groups, 8)
    step.run()
    bytes_ = lifted.value.shifted(engine, on, 0).reshape(len(on), -1, 8)
    powers = on.residues(np.array([1 << 8 * (7 - q) for q in range(8)], object))
    return on.matmul(bytes_, powers[:, :, np.newaxis])[:, :, 0]


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
    z = on.shift(_times(on, d, -int(slope * (1 << 32))), round(tau * (1 << 95)))
    y = on.shift(np.zeros_like(z), round(slope / tau * (1 << 64)))
    digits = 95  # fractional bits of z; those of y are 64
    while tau < 1 << ACCURACY:
        after = 2 * tau**2 - 1
        alpha = 1 + 1 / after
        growth = on.shift(_times(on, z, round(alpha / tau * (1 << 64))), round(alpha * (1 << (digits + 64))))
        step = Round(engine, "reciprocal")
        grown = step.mask(on, on.mul(y, growth), digits + 130)
        square = step.mask(on, on.mul(z, z), 2 * digits + 1) if after < 1 << ACCURACY else None
        step.run()
        y = grown.value.shifted(engine, on, digits + 64)
        if square:
            z = on.shift(square.value.shifted(engine, on, 2 * digits - 65), -1 << 64)
        tau, digits = after, 64
    return y


def _require_bounded(engine: Engine, quotients: Masked, above: int) -> None:
    """Open whether all ⌊x / 2^above + ½⌋ are 0, which are shared with an error of 0, …, C.

    ∏ (v − e) over these e is 0 for all of them; a sum with public weights, unknown before everything was
    opened, and a secret factor, is 0 or uniform. ⌈log2(C + 1)⌉ + 1 rounds.
    """
    beyond = quotients.shifted(engine, SMALL, above).reshape(1, -1)
    factors = [SMALL.shift(beyond, -error) for error in range(engine.prss.count + 1)]
    (vanishing,) = products(engine, "bound", SMALL, factors)
    label = engine.step("bound weights")
    words = np.empty((*beyond.shape, 2), np.uint64)
    Stream(engine.party.transcript, engine.party.mesh.session.id, label).fill(words)
    total = SMALL.mul(vanishing, SMALL.from_random(words))
    combined = np.array([[int(x) for x in total[0]]], object).sum(axis=1) % SMALL.modulus
    step = Round(engine, "bound")
    masked = step.open(
        SMALL, SMALL.mul(combined.astype(np.uint64)[:, np.newaxis], uniform(engine, SMALL, (1,)))
    )
    step.run()
    if masked.value.any():
        raise SingularError(
            "a secret matrix is singular, or so nearly that its solution exceeds the stated bound: leave out "
            "columns that depend on others, or raise the bound"
        )


def _doubled(on: Ring, numbers: Residues, times: int) -> Residues:
    """Return numbers times 2^times."""
    return _times(on, numbers, 1 << times)


def _times(on: Ring, numbers: Residues, factor: int) -> Residues:
    return on.scale(numbers, on.constant(factor))


def _require_system(A: SecretArray, b: SecretArray) -> None:
    if A.ndim != 2 or A.shape[0] != A.shape[1] or b.ndim not in (1, 2) or len(b) != len(A) or not len(A):
        raise ValueError(f"no system of equations has coefficients of shape {A.shape} and {b.shape}")
    if A.engine is not b.engine:
        raise ValueError("secrets of different computations cannot be combined")
