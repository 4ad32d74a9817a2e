"""Pooled systems of equations, one for every step of Newton's method: only the solution must be known.

The sites hold summands of a positive definite matrix A and of a right side b. With ``disclose="aggregate"``
the sums are opened, and each site solves for itself.

With ``disclose="result"`` they stay shared. With S powers of two near the reciprocals of the roots of A's
diagonal, S·A·S is about a correlation matrix, whatever the units and the number of rows; its inverse is
computed on shares (`linalg.inverse`), and what follows from that is exact in long numbers (`protocols.long`)
until the result is rounded and opened. Where several systems follow each other, as in Newton's method, the
last inverse is refined to that of a similar matrix (`protocols.refine`), which takes a fourth of the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
from scipy.linalg import cho_solve

from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.regression._cholesky import cholesky, symmetric
from protocols import linalg
from protocols.errors import SingularError
from protocols.floating import SecretFloat, floating, inverse_root_power, parts
from protocols.long import LongArray, concatenate, lengthen, matmul, multiply, narrow, sum_long
from protocols.refine import refined_inverse
from protocols.secret import SecretArray

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from protocols.engine import Engine

Secrets = TypeVar("Secrets", LongArray, SecretArray)

#: What can be shared of a matrix: the largest magnitude of entries, and fractional bits.
LARGEST = 2.0**100
RESOLUTION = 100
#: Fractional bits of the powers of two near the reciprocals of the roots of diagonal entries.
SCALE_DIGITS = 80
#: A term is aliased if the inverse of the correlation matrix has larger entries, variance inflation factors;
#: or, as far as the powers of two are from the roots, ones up to 8 times smaller.
INFLATION = 2.0**23
#: Fractional bits of the correlation matrix, of its inverse, of coefficients, and of variances of these.
CORRELATION, INVERSE, COEFFICIENTS, VARIANCE = 48, 40, 50, 32
#: Fractional bits of a matrix of which a rough inverse does.
ROUGH = 32
#: Entries of what may be near to an inverse are up to this, and how often that is refined.
NEAR, ROUGH_PASSES = 2.0**20, 3
#: Fractional bits of products in between.
PRODUCT = 200
#: Solutions are up to this; columns are measured in units of their standard deviation.
LARGEST_SOLUTION = 2.0**30


# --- In either mode ----------------------------------------------------------------------------------


@dataclass(eq=False, repr=False)
class Recent:
    """The secret inverse of the last of several systems, where there was one; None in the aggregate mode."""

    inverse: Inverse | None = None

    def inverted(
        self, A: LongArray, names: tuple[str, ...], hint: Callable[[str], str] = lambda _: ""
    ) -> Inverse:
        """Return the inverse of a secret matrix, and keep it: the last one refined, or as `inverted` does."""
        refined = None if self.inverse is None else self.inverse.refined(A)
        self.inverse = inverted(A, names, hint) if refined is None else refined
        return self.inverse


def solve(
    run: Analysis,
    label: str,
    A: Array,
    b: Array,
    names: tuple[str, ...],
    *,
    part: int | None = None,
    recent: Recent | None = None,
) -> Array:
    """Return the solution x of (ΣA) x = Σb, the sums over all sites; the same at every site.

    Parameters
    ----------
    run
        The analysis, past `agree`.
    label
        What it is declared as: in the aggregate mode A's upper triangle and b, in the result mode x.
    A
        This site's summand, shape ``(p, p)``, symmetric; the sum is positive definite.
    b
        This site's summand, shape ``(p,)`` or ``(p, m)``.
    names
        Of the p unknowns, for errors.
    part
        Number of the iteration.
    recent
        What is kept of the systems before, of the same unknowns. In the result mode all learn whether A is
        near to the last one.

    Returns
    -------
    ndarray
        Shaped as b. In the result mode with an absolute error of about 2^−40: unknowns are coefficients of
        columns that are measured in a frame (`_frames`).

    Raises
    ------
    EstimationError
        A is singular, or nearly so. Raised at every site alike, naming the unknowns at fault.

    Notes
    -----
    **Cost.** One sum in the aggregate mode; in the result mode for three parties some 50 rounds, or 19 if A
    is near to the last matrix.
    """
    p = len(names)
    upper = np.triu_indices(p)
    if run.disclose == "aggregate":
        opened = run.sum(label, np.concatenate([A[upper], b.ravel()]), part=part)
        factor = _factor(opened[: len(upper[0])], names)
        return np.asarray(cho_solve((factor, False), opened[len(upper[0]) :].reshape(b.shape)))
    with run.on_shares() as engine:
        left, right = shared(engine, A[upper], b.reshape(p, -1))
        secret = coefficients((recent or Recent()).inverted(full(left, p), names).times(right))
    return np.asarray(run.reveal({label: secret}, part=part)[label].reshape(b.shape))


@dataclass(frozen=True, eq=False, repr=False)
class Clustered:
    """The inner matrix of a sandwich, Σ_g (Σs_g)(Σs_g)', of scores that several sites have of a cluster g.

    Attributes
    ----------
    sums
        This site's summands s_g, shape ``(clusters, p)``.
    """

    sums: Array


@dataclass(frozen=True, eq=False, repr=False)
class Covariance:
    """A covariance matrix, or as much of it as is known.

    Attributes
    ----------
    variances
        Its diagonal, shape ``(q,)``.
    matrix
        All of it, shape ``(q, q)``; None where it was not opened.
    wald
        Wald's statistic that the tested estimates are 0; None if none are tested.
    sums
        The pooled sums that were asked for, by label.
    """

    variances: Array
    matrix: Array | None
    wald: float | None
    sums: dict[str, Array]

    def times(self, factor: float) -> Covariance:
        """Return a multiple of the covariance."""
        matrix = None if self.matrix is None else self.matrix * factor
        return replace(self, variances=self.variances * factor, matrix=matrix, wald=None)


def covariance(
    run: Analysis,
    label: str,
    A: Array,
    names: tuple[str, ...],
    *,
    meat: Array | Clustered | None = None,
    combinations: Array | None = None,
    tested: Mapping[int, float] | None = None,
    recent: Recent | None = None,
    sums: Mapping[str, Array] | None = None,
) -> Covariance:
    """Return a covariance of pooled estimates: L (ΣA)⁻¹ (Σmeat) (ΣA)⁻¹ L', or L (ΣA)⁻¹ L' without a meat.

    Parameters
    ----------
    run, label, A, names
        As in `solve`; the aggregate mode opens the upper triangles of A and meat, the result mode the
        diagonal of what is returned, and Wald's statistic.
    meat
        This site's summand of the inner matrix of a sandwich, shape ``(p, p)``, symmetric; in the result mode
        also what makes such a matrix of pooled scores.
    combinations
        L, public, shape ``(q, p)``: which linear combinations of the estimates are asked for; all of them,
        one by one, by default.
    tested
        Positions among these combinations, with the estimates, of which Wald's statistic is wanted.
    recent
        As for `solve`.
    sums
        This site's summands of pooled sums that are results too, by label: in the result mode they are opened
        together with the variances, as by `scalars`.

    Raises
    ------
    EstimationError
        As `solve`.

    Notes
    -----
    **Cost.** One sum in the aggregate mode; in the result mode about 35 rounds more than `solve`, and 45 more
    than that for Wald's statistic.
    """
    p = len(names)
    L = np.eye(p) if combinations is None else combinations
    upper = np.triu_indices(p)
    which, estimates = list(tested or ()), np.array(list((tested or {}).values()))
    if run.disclose == "aggregate":
        summands = [A[upper]] if meat is None else [A[upper], cast(Array, meat)[upper]]
        opened = run.sum(label, np.concatenate(summands))
        pooled = np.split(opened, len(summands))
        rows = cho_solve((_factor(pooled[0], names), False), L.T).T  # L A⁻¹
        matrix = rows @ (L.T if meat is None else symmetric(pooled[1], p) @ rows.T)
        matrix = (matrix + matrix.T) / 2
        statistic = wald(matrix[np.ix_(which, which)], estimates) if which else None
        pooled_sums = {name: run.sum(name, own) for name, own in (sums or {}).items()}
        return Covariance(np.diag(matrix).copy(), matrix, statistic, pooled_sums)
    further = dict(sums or {})
    with run.on_shares() as engine:
        summands = [A[upper], *further.values(), *([] if meat is None else [summand_of(meat)])]
        left, *others = shared(engine, *summands)
        totals, inner = others[: len(further)], others[len(further) :]
        inverse = (recent or Recent()).inverted(full(left, p), names)
        secret = inverse.sandwich(*(inner_of(meat, part) for part in inner), L=L)
        results = [secret[np.arange(len(L)), np.arange(len(L))]]
        if which:
            results.append(secret_wald(secret[np.ix_(which, which)], estimates))
        found = floating(concatenate([*results, *totals]))
        sizes = {label: len(L) + bool(which), **{name: own.size for name, own in further.items()}}
    pooled_sums = run.reveal(parts(found, sizes))
    values = pooled_sums.pop(label)
    return Covariance(values[: len(L)], None, float(values[-1]) if which else None, pooled_sums)


def wald(matrix: Array, estimates: Array) -> float:
    """Return Wald's statistic, in units of standard errors so that units of columns cannot spoil it."""
    errors = np.sqrt(np.diag(matrix))
    z = estimates / errors
    return float(z @ np.linalg.solve(matrix / np.outer(errors, errors), z))


def scalars(run: Analysis, label: str, values: Array, *, part: int | None = None) -> Array:
    """Return pooled sums that are results themselves, shape ``(k,)``: a log-likelihood, a deviance.

    Notes
    -----
    **Cost.** One sum in the aggregate mode; about 40 rounds in the result mode, which rounds them to 30
    significant bits.
    """
    if run.disclose == "aggregate":
        return np.asarray(run.sum(label, values, part=part))
    with run.on_shares() as engine:
        (pooled,) = shared(engine, values)
    return np.asarray(run.reveal({label: floating(pooled)}, part=part)[label])


def _factor(upper: Array, names: tuple[str, ...]) -> Array:
    """Return the upper triangular R with R'R = A, given A's upper triangle."""
    A = symmetric(upper, len(names))
    empty = [name for name, square in zip(names, np.diag(A), strict=True) if not square > 0]
    if empty:
        raise EstimationError(
            f"the pooled rows say nothing of {', '.join(map(repr, empty))}: leave it out, or merge rare "
            "levels"
        )
    return cholesky(A, names)


# --- On shares ---------------------------------------------------------------------------------------


def shared(engine: Engine, *summands: Array) -> list[LongArray]:
    """Return sums over all sites of arrays, still secret. One round."""
    flat = np.concatenate([part.ravel() for part in summands])
    pooled = sum_long(engine, flat, bound=LARGEST, fraction=RESOLUTION)
    ends = np.cumsum([part.size for part in summands])
    return [
        pooled[end - part.size : end].reshape(part.shape) for part, end in zip(summands, ends, strict=True)
    ]


def full(upper: Secrets, p: int) -> Secrets:
    """Return the symmetric matrix of which the upper triangle is given, row by row."""
    positions = np.zeros((p, p), np.intp)
    positions[np.triu_indices(p)] = np.arange(p * (p + 1) // 2)
    return upper[np.maximum(positions, positions.T)]


def summand_of(meat: Array | Clustered) -> Array:
    """Return what this site shares for the inner matrix of a sandwich."""
    return meat.sums if isinstance(meat, Clustered) else meat[np.triu_indices(len(meat))]


def inner_of(meat: Array | Clustered | None, pooled: LongArray) -> LongArray:
    """Return the inner matrix of a sandwich, of the sums over all sites of `summand_of`."""
    if isinstance(meat, Clustered):
        return matmul(pooled.T, pooled).assume(LARGEST).rescale(RESOLUTION)
    return full(pooled, len(cast(Array, meat)))


@dataclass(frozen=True, eq=False, repr=False)
class Inverse:
    """The secret inverse S·R⁻¹·S of a matrix A = S⁻¹·R·S⁻¹.

    Attributes
    ----------
    scales
        The products of S's diagonal entries, shape ``(p, p)``; or all of them, one public number.
    correlation
        R⁻¹, likewise.
    matrix
        A⁻¹.
    """

    scales: LongArray | float
    correlation: LongArray
    matrix: LongArray

    @classmethod
    def of(cls, scales: LongArray | float, correlation: LongArray) -> Inverse:
        """Return the inverse that these make up. One round, unless the scales are public."""
        return cls(scales, correlation, correlation * scales)

    def refined(self, A: LongArray) -> Inverse | None:
        """Return the inverse of another matrix if it is near; see `protocols.refine`. Two rounds more."""
        found = refined_inverse(A * self.scales, self.correlation)
        return None if found is None else Inverse.of(self.scales, found)

    def variances(self, meat: LongArray | None = None) -> tuple[SecretArray | SecretFloat, float]:
        """Return the diagonal of `sandwich` for `reveal`, and the public number by which to multiply it.

        With public scales no entry of R exceeds 1, so that none of R⁻¹'s diagonal is below 1: fractional bits
        do for significant ones. One round, instead of 16 before and 20 while it is opened.
        """
        diagonal = np.arange(len(self.matrix))
        if meat is not None or isinstance(self.scales, LongArray):
            return floating(self.sandwich(meat, L=np.eye(len(self.matrix)))[diagonal, diagonal]), 1.0
        inflation = self.correlation[diagonal, diagonal]
        return narrow(inflation, bound=inflation.format.magnitude, fraction=VARIANCE), self.scales

    def times(self, b: LongArray) -> LongArray:
        """Return A⁻¹·b, shape ``(p, m)``. One round."""
        return _product(self.matrix, b)

    def quadratic(self, b: Array | LongArray) -> LongArray:
        """Return b'·A⁻¹·b."""
        if isinstance(b, LongArray):
            return multiply(b, _product(self.matrix, b)).sum()
        return ((self.matrix @ b) * b).sum()

    def sandwich(self, meat: LongArray | None = None, *, L: Array) -> LongArray:
        """Return L·A⁻¹·meat·A⁻¹·L', or L·A⁻¹·L', shape ``(q, q)``."""
        middle = self.matrix
        if meat is not None:
            middle = matmul(_product(middle, meat), middle)
        left = (_short(middle) @ L.T).T  # the matrix is symmetric
        return _short(left @ L.T)


def _product(x: LongArray, y: LongArray) -> LongArray:
    """Return x·y, `_short`. One round."""
    return matmul(x, y, min(PRODUCT, x.format.fraction + y.format.fraction))


def _short(x: LongArray) -> LongArray:
    """Return products with no more fractional bits than they are given in between."""
    return x.rescale(min(PRODUCT, x.format.fraction))


def coefficients(solution: LongArray) -> SecretArray:
    """Return solutions as they are opened, with an error of 2^−48 in the columns' frames. One round."""
    return narrow(solution, bound=LARGEST_SOLUTION, fraction=COEFFICIENTS)


def secret_wald(matrix: LongArray, estimates: Array) -> LongArray:
    """Return Wald's statistic that public estimates with a secret covariance matrix are 0, shape ``(1,)``."""
    names = tuple(f"estimate {number}" for number in range(1, len(estimates) + 1))
    return inverted(matrix, names).quadratic(estimates).reshape(1)


def inverted(A: LongArray, names: tuple[str, ...], hint: Callable[[str], str] = lambda _: "") -> Inverse:
    """Invert a secret positive definite matrix.

    Parameters
    ----------
    A, names
        The matrix, and its unknowns.
    hint
        Returns what else may be said of an unknown that is a combination of others, from what is public.

    Raises
    ------
    EstimationError
        It is singular, or nearly so, naming the first unknown that is a combination of those before it:
        that is all that is learnt.
    """
    inverse, R = _attempt(A)
    if inverse is not None:
        return inverse
    at = _first_dependent(R)
    raise EstimationError(
        f"the design is singular: {names[at]!r} is a combination of {', '.join(map(repr, names[:at]))}, or "
        f"nearly so; leave it out{hint(names[at])}"
        if at
        else f"the pooled rows say nothing of {names[0]!r}: leave it out{hint(names[0])}"
    )


def scale_of(largest: float) -> float:
    """Return the power of two by which `rough_inverse` scales all entries of a matrix."""
    return math.ldexp(1.0, -math.ceil(math.log2(largest)))


def rough_inverse(A: LongArray, near: LongArray | None = None, *, largest: float) -> Inverse | None:
    """Return an inverse to begin with, or None if the matrix is singular.

    Parameters
    ----------
    A
        The matrix.
    near
        What may be about the inverse of A times `scale_of`, given with the bound `NEAR`: if it is, it is
        refined a little, which takes a third of the time.
    largest
        Public: what no entry of A exceeds. One number then scales them all, which saves 17 rounds; but what
        is inverted is smaller than a correlation matrix, and counts as singular sooner.

    Notes
    -----
    If it is not near, A is rounded to 2^−`ROUGH` of the largest entry that there can be.

    **Leakage.** Whether it is near and, if not, whether A is singular.
    """
    scale = scale_of(largest)
    R = (A * scale).assume(1.01)
    if near is not None:
        refined = refined_inverse(R, near.assume(NEAR), passes=ROUGH_PASSES)
        if refined is not None:
            return Inverse.of(scale, refined)
    return _inverse_of(scale, narrow(R, bound=1.01, fraction=ROUGH))


def inverse_or_none(A: LongArray) -> Inverse | None:
    """Return the inverse of a secret positive definite matrix, None if it is singular: that is learnt."""
    return _attempt(A)[0]


def _attempt(A: LongArray) -> tuple[Inverse | None, SecretArray]:
    """Return the inverse, if there is one, and about the correlation matrix."""
    p = len(A)
    diagonal = floating(A[np.arange(p), np.arange(p)] + 2.0**-RESOLUTION)  # none is 0
    scale = inverse_root_power(diagonal, least=2.0**-RESOLUTION, fraction=SCALE_DIGITS)
    scales = multiply(scale.reshape(-1, 1), scale)
    R = narrow(multiply(scales, A), bound=1.01, fraction=CORRELATION)
    return _inverse_of(scales, R), R


def _inverse_of(scales: LongArray | float, R: SecretArray) -> Inverse | None:
    try:
        inverse = linalg.inverse(R, bound=INFLATION, fraction=_inverse_digits(R.engine), definite=True)
    except SingularError:
        return None
    return Inverse.of(scales, lengthen(inverse))


def _inverse_digits(engine: Engine) -> int:
    """Return the fractional bits of an inverse that can be masked: fewer from 13 parties on."""
    largest = (2 * engine.prss.count + 1) * int(INFLATION)  # see `linalg.inverse`
    return min(INVERSE, engine.room - 2 - largest.bit_length())


def _first_dependent(R: SecretArray) -> int:
    """Return the first column of a singular matrix that depends on those before, by bisection."""
    low, high = 0, len(R)  # the first `low` columns are independent, the first `high` are not
    while high - low > 1:
        middle = (low + high) // 2
        try:
            corner, digits = R[:middle, :middle], _inverse_digits(R.engine)
            linalg.inverse(corner, bound=INFLATION, fraction=digits, definite=True)
        except SingularError:
            high = middle
        else:
            low = middle
    return low
