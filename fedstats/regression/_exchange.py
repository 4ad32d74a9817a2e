"""Penalised quadratic problems on shares, many at once: which coefficients are 0, and what the others are.

A problem is ½ b'Ab − c'b + Σ l1·|b| + Σ l2/2·b². Its solution is known once it is known which coefficients
are positive, negative and zero. Such a state is solved for, and coefficients whose state contradicts what
comes out change it, all at once: block principal pivoting [1]_ [2]_. It takes some ten exchanges, however
many coefficients there are. Where all change together it may cycle: after a while each stays with some
probability, by coins that are public. Nothing is opened but whether any state is still contradicted.

A state is solved for by M ≈ Q⁻¹, the inverse of A + l2 for its coefficients, made in a dozen rounds by
Newton's iteration. Of R = 1 − QM it makes ((1 − α) + αR)², where the public α are chosen to contract small
eigenvalues fast. A rough M will do, as it then corrects what is left of the equations several times.

References
----------
.. [1] L. F. Portugal, J. J. Júdice, L. N. Vicente, "A Comparison of Block Pivoting and Interior-Point
   Algorithms for Linear Least Squares Problems with Nonnegative Variables", Mathematics of Computation 63,
   1994.
.. [2] J. Kim, H. Park, "Fast Active-Set-Type Algorithms for L1-Regularized Linear Regression", AISTATS 2010.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedstats.errors import EstimationError
from fedstats.expressions import Array
from protocols.compare import is_zero, negative
from protocols.field import zeros
from protocols.fixed import Format, fraction_for
from protocols.secret import SecretArray, concatenate, matmul, multiply, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What `minimise` opens.
RESULT: Mapping[str, str] = {
    "settled": "whether it is known of all coefficients of all fits if they are 0, after each step (one bit)",
    "bounded": "whether all coefficients of all fits are below 16 standard deviations (one bit)",
}

#: Coefficients of standardised columns, in units of the response, must stay below.
MOST = 16.0
#: Eigenvalues of a system below this part of the largest ones are not told from 0.
LEAST = 2.0**-15
#: What Newton's iteration leaves of the identity, and how often solutions are then corrected.
_LEFT, _CORRECTIONS = 3e-3, 3
#: All states that are contradicted change at first, and each with this probability later on.
_SURE, _CHANCE = 6, 0.7
#: So many exchanges are made at most.
_STEPS = 80


@dataclass(frozen=True, eq=False, repr=False)
class Problems:
    """Problems of the same size, one for each fit.

    Attributes
    ----------
    A, c
        Shapes ``(fits, p, p)`` and ``(fits, p)``.
    l1, l2
        Penalties by coefficient, public, shape ``(fits, p)``. Where l1 is 0, a coefficient is never 0.
    largest
        What no eigenvalue of any A exceeds.
    """

    A: SecretArray
    c: SecretArray
    l1: Array
    l2: Array
    largest: float


class States(NamedTuple):
    """Signs of coefficients, and whether they are not 0: secret integers, shape ``(fits, p)``."""

    sign: SecretArray
    active: SecretArray


def minimise(
    run: Analysis, problems: Problems, parts: Iterator[int], states: States | None = None
) -> tuple[SecretArray, States]:
    """Return the minimisers, shape ``(fits, p)``, with zeros that are exact, and their states.

    Parameters
    ----------
    run
        The analysis, within `on_shares`. Its declaration includes `RESULT`.
    problems
        What is minimised.
    parts
        Numbers what is opened.
    states
        From which to start, if something is known.

    Raises
    ------
    EstimationError
        Columns are collinear, and the penalties too small to choose among them.

    Notes
    -----
    **Cost.** Some 35 rounds an exchange for three parties, and 60. In an exchange everybody sends each peer
    about 400 bytes for each entry of A.
    """
    systems = _Systems.of(problems)
    penalised = problems.l1 > 0
    look = 0 if states is not None or not penalised.any() else _SURE
    states = states or _first_states(problems, penalised)
    coins = np.random.default_rng(0)
    for step in range(_STEPS if penalised.any() else 1):
        inverse = systems.inverse(states.active)
        x = systems.solution(inverse, states)
        moves, contradicted = _contradicted(systems, states, x, penalised)
        if step >= look:
            settled = is_zero(contradicted)
            if run.reveal({"settled": settled}, part=next(parts))["settled"]:
                _require_bounded(run, x, next(parts))
                return _refined(systems, inverse, states, x), states
        chance = 1.0 if step < _SURE else _CHANCE
        changed = (coins.random(penalised.shape) < chance).astype(np.int64)
        states = States(*(_digit(old + move * changed) for old, move in zip(states, moves, strict=True)))
    raise EstimationError(
        "the coefficients are not determined: columns depend on one another, and the smallest alpha is too "
        "small to choose among them; leave columns out, or use larger alphas"
    )


# --- Solving for the coefficients that are not 0 -----------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class _Systems:
    """Systems of equations Qx = c − l1·sign with Q = A + l2, scaled so that M needs no factor.

    Attributes
    ----------
    problems
        What they belong to.
    schedule
        The α of Newton's iteration.
    product
        Πα.
    factor
        By which equations are multiplied, shape ``(fits,)``: Πα / e, where e exceeds Q's eigenvalues.
    Q, c, l1
        Multiplied by it. Penalties that leave nothing in any case are cut.
    remainder
        1 − Q/e.
    length, size
        What no right side and no x exceeds, in the Euclidean norm and whatever the state.
    fraction
        Fractional bits.
    tolerance
        By how much an equation may be off before it is contradicted.
    """

    problems: Problems
    schedule: list[float]
    product: float
    factor: Array
    Q: SecretArray
    c: SecretArray
    l1: Array
    remainder: SecretArray
    length: float
    size: float
    fraction: int
    tolerance: float

    @classmethod
    def of(cls, problems: Problems) -> _Systems:
        """Scale the equations. Three rounds."""
        l2, engine, (_, p) = problems.l2, problems.A.engine, problems.c.shape
        most = problems.c.format.magnitude
        largest = 1.001 * (problems.largest + l2.max(axis=1))
        schedule = _schedule(max(LEAST, float((l2.min(axis=1) / largest).min())))
        product = math.prod(schedule)
        factor = product / largest
        l1 = np.minimum(problems.l1, 1.001 * most) * factor[:, np.newaxis]
        length = 1.01 * math.sqrt(p) * (most * float(factor.max()) + float(l1.max()))
        size = 1.1 * (1 + _CORRECTIONS) * 2.0 ** len(schedule) * length
        # M has two bits more.
        fraction = fraction_for(engine, math.sqrt(1.1 * max(product, 4.0) * max(size, 2.0 ** len(schedule))))
        # Entries of A are below its eigenvalues.
        joined = concatenate([problems.A.assume(problems.largest), problems.c[..., np.newaxis]], axis=2)
        scaled = joined.rescale(fraction) * factor[:, np.newaxis, np.newaxis]
        Q = scaled[..., :p] + (factor[:, np.newaxis] * l2)[..., np.newaxis] * np.eye(p)
        remainder = (np.eye(p) - Q.assume(product) * (1 / product)).assume(1.001)
        # Five standard deviations of what rounding x does, and more.
        tolerance = 2.0 ** (2 - fraction) * math.sqrt(engine.prss.count) * product
        c = scaled[..., p].assume(length)
        return cls(
            problems,
            schedule,
            product,
            factor,
            Q.assume(product),
            c,
            l1,
            remainder,
            length,
            size,
            fraction,
            tolerance,
        )

    def inverse(self, active: SecretArray) -> SecretArray:
        """Return M on active coefficients, and 0 elsewhere. A round for each α, and three."""
        p, f = active.shape[-1], self.fraction
        both = _digit(multiply(active.reshape(-1, p, 1), active.reshape(-1, 1, p)))
        R = _shifted(multiply(both, self.remainder).assume(1.002), self.schedule[0])
        M = R + np.eye(p)
        grown = matmul(R, R, bound=1.01, fraction=f)
        for number, alpha in enumerate(self.schedule[1:], start=1):
            R = _shifted(grown[:, :p].assume(1.002), alpha)
            is_last = number == len(self.schedule) - 1
            rows = M if is_last else concatenate([R, M], axis=1)
            grown = matmul(rows, R, bound=1.02 * 2.0**number, fraction=f)
            M = (M + grown[:, -p:]).assume(1.02 * 2.0 ** (number + 1))
        return multiply(both, M).assume(M.format.magnitude)

    def solution(self, inverse: SecretArray, states: States) -> SecretArray:
        """Return x; where it should be 0, it may be off by some rounding. Seven rounds."""
        right = self.right(states.sign)
        x = _times(inverse, right, self.size).assume(self.size)
        for _ in range(_CORRECTIONS):
            # 1 − QM has eigenvalues from 0 to 1 on active coefficients.
            left = right - _times(self.Q, x, self.product * self.size)
            x = (x + _times(inverse, left, self.size)).assume(self.size)
        return x

    def right(self, sign: SecretArray) -> SecretArray:
        """Return c − l1·sign, scaled."""
        return self.c - _weighted(sign, self.l1, self.fraction)


def _refined(systems: _Systems, inverse: SecretArray, states: States, x: SecretArray) -> SecretArray:
    """Return a solution that is bounded and settled as exactly as fits, with zeros for what is not active.

    Cost: nine rounds.
    """
    problems, active = systems.problems, states.active
    p, engine = x.shape[1], x.engine
    largest = 1.001 * (problems.largest + float(problems.l2.max()))
    fraction = min(
        problems.A.format.fraction, fraction_for(engine, math.sqrt(largest * MOST * math.sqrt(p) * 1.1))
    )
    Q = problems.A.rescale(fraction) + problems.l2[..., np.newaxis] * np.eye(p)
    l1 = np.minimum(problems.l1, 1.001 * problems.c.format.magnitude)
    right = problems.c.rescale(fraction) - _weighted(states.sign, l1, fraction)
    off = 2 * systems.tolerance / float(systems.factor.min())
    reach = 1.02 * 2.0 ** len(systems.schedule) * math.sqrt(p) * off * float(systems.factor.max())
    x = x.assume(MOST).rescale(fraction)
    for _ in range(_CORRECTIONS):
        left = right - _times(Q.assume(largest), x, largest * MOST * math.sqrt(p))
        left = multiply(active, left).assume(off) * systems.factor[:, np.newaxis]
        x = (x + _times(inverse, left, reach, fraction)).assume(MOST)
    return multiply(active, x).assume(MOST)


def _schedule(least: float) -> list[float]:
    """Return α that bring eigenvalues from `least` to 1 near 1; few, and of two fractional bits."""
    alphas = [1.75, 1.5, 1.25, 1.0]
    schedule: list[float] = []
    while not schedule or 1 - least > _LEFT:
        reached = {alpha: min(alpha * y * (2 - alpha * y) for y in (least, 1.0)) for alpha in alphas}
        schedule.append(max(alphas, key=reached.__getitem__))
        least = reached[schedule[-1]]
    return schedule


def _shifted(R: SecretArray, alpha: float) -> SecretArray:
    """Return (1 − α) + αR, exact, for an α of two fractional bits. Local."""
    fourfold = R * round(4 * alpha)
    scaled = SecretArray(R.engine, fourfold.shares, Format(R.format.fraction + 2, fourfold.format.bound))
    return (scaled + (1 - alpha) * np.eye(R.shape[-1])).assume(1.005)


# --- What solutions say of the states ----------------------------------------------------------------------


def _first_states(problems: Problems, penalised: NDArray[np.bool_]) -> States:
    """Return the signs of c where its magnitude exceeds the penalty."""
    c, pays = problems.c, penalised.astype(np.int64)
    l1 = np.minimum(problems.l1, 1.001 * c.format.magnitude)
    bits = negative(stack([-(c - l1), c + l1])) * pays
    return States(_digit(bits[0] - bits[1]), _digit(bits[0] + bits[1] + (1 - pays)))


def _contradicted(
    systems: _Systems, states: States, x: SecretArray, penalised: NDArray[np.bool_]
) -> tuple[States, SecretArray]:
    """Return by how much states change, and how often they are contradicted.

    A coefficient that is 0 is contradicted if the gradient exceeds its penalty, one that is not by having the
    other sign, or if its equation is not solved.
    """
    sign, active, (_, p) = states.sign, states.active, x.shape
    own = _diagonal(sign.rescale(x.format.fraction))
    products = _times(concatenate([systems.Q, own], axis=1), x, systems.product * systems.size)
    left = systems.right(sign) - products[:, :p]
    allowed = _weighted(1 - active, systems.l1, systems.fraction) + systems.tolerance
    bits = negative(stack([allowed - left, allowed + left, products[:, p:]]))
    above, below, wrong = bits[0], bits[1], bits[2] * penalised.astype(np.int64)
    beyond, passive = above + below, 1 - active
    found = multiply(stack([above - below, beyond, wrong, wrong]), stack([passive, passive, sign, active]))
    moves = States(found[0] - found[2], found[1] - found[3])
    return moves, (beyond + found[3]).sum()


def _require_bounded(run: Analysis, x: SecretArray, part: int) -> None:
    """Open whether all coefficients are below `MOST`, or raise EstimationError."""
    most = 0.999 * MOST  # corrections follow
    beyond = negative(stack([most - x, most + x])).sum()
    if not run.reveal({"bounded": is_zero(beyond)}, part=part)["bounded"]:
        raise EstimationError(
            f"a coefficient exceeds {MOST:g} standard deviations: columns depend on one another, and the "
            "smallest alpha is too small to choose among them; leave columns out, or use larger alphas"
        )


# --- Helpers ---------------------------------------------------------------------------------------------


def _times(matrix: SecretArray, x: SecretArray, bound: float, fraction: int | None = None) -> SecretArray:
    """Return products of matrices and vectors, one for each fit, with the fraction of the vectors."""
    product = matmul(matrix, x.reshape(*x.shape, 1), bound=bound, fraction=fraction or x.format.fraction)
    return product.reshape(len(x), matrix.shape[1])


def _weighted(integers: SecretArray, weights: Array, fraction: int) -> SecretArray:
    """Return secret integers times public numbers that are rounded to so many fractional bits. Local."""
    product = integers * np.rint(np.ldexp(weights, fraction)).astype(np.int64)
    return SecretArray(integers.engine, product.shares, Format(fraction, product.format.bound))


def _diagonal(x: SecretArray) -> SecretArray:
    """Return matrices with these entries on their diagonals."""
    fits, p = x.shape
    shares = zeros((fits, p, p))
    shares[:, np.arange(p), np.arange(p)] = x.shares
    return SecretArray(x.engine, shares, x.format)


def _digit(x: SecretArray) -> SecretArray:
    """Return integers that are known to be −1, 0 or 1."""
    return SecretArray(x.engine, x.shares, Format(0, 1))
