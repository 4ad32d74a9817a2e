"""The same likelihood on shares: of each step only the step is opened, and whether the last one went too far.

Everything is multiplied by a power of ρ = rss/n, so that nothing is divided before a system of equations is
solved: sums and products of long numbers are exact. How far Newton's step must be damped is decided on
shares.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import numpy as np

from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.mixed._maximum import numbers
from fedstats.mixed._profile import UNDETERMINED, WORSE, Fitted, Layout, Rows, positions
from fedstats.regression import _equations
from protocols import linalg
from protocols.cholesky import cholesky
from protocols.errors import SingularError
from protocols.floating import SecretFloat, fixed, floating
from protocols.functions import log
from protocols.long import LongArray, concatenate, lengthen, matmul, multiply, narrow, public, stack
from protocols.secret import SecretArray
from protocols.secret import concatenate as join

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: Fractional bits of long numbers, and what none exceeds.
DIGITS, LARGEST = 120, 2.0**100
#: Fractional bits of systems of equations, and of their solutions.
SYSTEM, SOLUTION = 48, 44
#: What a solution may be, in units of the root of the number of rows.
BOUND = 2.0**24
#: A matrix is not positive definite if a leading minor is below this.
LEAST_MINOR = 2.0**-44
#: Numbers of which logarithms are taken: the largest one, and their fractional bits.
LARGEST_OF_LOGS, LOG_DIGITS = 2.0**26, 46
#: Least pivot of the correlations of terms: what `_equations.inverted` lets pass is above.
LEAST_PIVOT = 2.0**-21
#: Largest reciprocal of the root of a diagonal entry, as a power of two, and its fractional bits.
SCALE, SCALE_DIGITS = 51, 120


@dataclass(frozen=True, eq=False, repr=False)
class SharedEvaluation:
    """The criterion at a point, as shares.

    Attributes
    ----------
    A
        X'V⁻¹X.
    rho
        rss/n, shape ``(1,)``.
    logdet
        log det V, shape ``(1,)``.
    gradient
        Times ρ².
    second, scoring
        Second derivatives and the matrix that is positive definite everywhere, times ρ².
    size
        What bounds entries of both, shape ``(k,)``: H_ij² ≤ size_i·size_j.
    """

    A: LongArray
    rho: LongArray
    logdet: LongArray
    gradient: LongArray
    second: LongArray
    scoring: LongArray
    size: LongArray


@dataclass(eq=False, repr=False)
class SharedLikelihood:
    """The likelihood of pooled sums that stay shared; see `_maximum.Criterion`."""

    run: Analysis
    rows: Rows
    _parts: Iterator[int] = field(default_factory=numbers)

    def evaluate(self, theta: Array) -> SharedEvaluation:
        """Share what the criterion and its derivatives are made of. About 130 rounds."""
        p, n, df, k = len(self.rows.names), self.rows.n, self.rows.df, len(theta)
        at, square = Layout.of(k), (k, k)
        with self.run.on_shares():
            P, logdet = self._shared(self.rows.summands(theta))
            inverse = _equations.inverted(P[0, :p, :p], self.rows.names)
            e = _minus_one(inverse, P[0])
            Pe = _short(matmul(P, e))
            mean = _short(_short(matmul(Pe, e)) * (1 / n))
            rho, first = mean[:1], mean[at.first]
            matrix = _short(inverse.sandwich(L=np.eye(p)))
            scores = Pe[at.first, :p]
            spread = _short(matmul(_short(matmul(scores, matrix)), scores.T))
            straight = mean[at.straight.ravel()].reshape(square) - _short(spread * (2 / n))
            bent = mean[at.bent.ravel()].reshape(square)
            of_model = logdet[1:]
            information = -of_model[at.straight.ravel() - 1].reshape(square)
            if self.rows.reml:
                AA = _short(matmul(matrix, P[1:, :p, :p]))
                diagonal = np.arange(p)
                of_model = of_model + AA[:, diagonal, diagonal].sum(axis=1)
                own = AA[:k]
                crossed = matmul(own.reshape(k, p * p), own.transpose(0, 2, 1).reshape(k, p * p).T)
                information = _short(crossed) - of_model[at.straight.ravel() - 1].reshape(square)
            bends = of_model[at.bent.ravel() - 1].reshape(square)

            flat = [part.reshape(part.size) for part in (of_model[:k], information, bends, straight, bent)]
            outer = _short(multiply(first.reshape(k, 1), first))
            ends = np.cumsum([part.size for part in flat])[:-1].tolist()
            once = _split(_short(multiply(concatenate(flat), rho)), ends)
            twice = _short(multiply(concatenate([first * df + once[0], once[1], once[2]]), rho))
            gradient, information, bends = _split(twice, ends[:2])
            information, bends = information.reshape(square), bends.reshape(square)
            straight, bent = (part.reshape(square) * df for part in once[3:])
            outer = outer * df
            on = np.arange(k)
            parts = straight - bent + outer + information + bends
            return SharedEvaluation(
                A=P[0, :p, :p],
                rho=rho,
                logdet=logdet[:1],
                gradient=gradient,
                second=straight + bent - outer - information + bends,
                scoring=information + bends,
                size=parts[on, on],
            )

    def step(self, found: SharedEvaluation, dampings: Array) -> Array:
        """Open Newton's step, damped as far as it must be, or that of scoring; not which. About 90 rounds."""
        root = float(np.sqrt(self.rows.n))
        with self.run.on_shares():
            scale = _inverse_root(found.size.assume(LARGEST))
            both = stack([found.second, found.scoring]).assume(LARGEST)
            second, scoring = _scaled_by(scale, both).assume(1.0).rescale(SYSTEM)
            parts = dampings[:, np.newaxis, np.newaxis]
            damped = (second + scoring * parts).rescale(SYSTEM).assume(2.0)
            # Of those that are positive definite, and more damping leaves them so, the first one.
            less = concatenate([damped[:-1] - damped[1:], (damped[-1] - scoring).reshape(1, *scoring.shape)])
            is_definite = lengthen(_are_definite(damped)).reshape(len(dampings), 1, 1)
            chosen = scoring + multiply(is_definite, less).sum(axis=0)
            # Derivatives are within the roots of df times the sizes.
            slope = multiply(scale, found.gradient.assume(LARGEST)) * (1 / root)
            try:
                solved = linalg.solve(
                    narrow(chosen, bound=2.01, fraction=SYSTEM),
                    narrow(slope, bound=4, fraction=SYSTEM),
                    bound=BOUND,
                    fraction=SOLUTION,
                    definite=True,
                )
            except SingularError:
                raise EstimationError(UNDETERMINED) from None
            secret = _equations.coefficients(multiply(scale, lengthen(solved)) * -root)
        return self.run.reveal({"variance parameters": secret}, part=next(self._parts))["variance parameters"]

    def is_worse(self, found: SharedEvaluation, before: SharedEvaluation) -> bool:
        """Open whether the criterion is larger than it was before, but for rounding. About 100 rounds."""
        with self.run.on_shares():
            n = self.rows.n
            sizes = [*self._of_terms(found), *self._of_terms(before)]
            logs = _logs([found.rho, before.rho, *sizes])
            rise = (logs[0] - logs[1]).sum() * self.rows.df + (found.logdet - before.logdet).sum()
            for now, then in zip(logs[2 : 2 + len(sizes) // 2], logs[2 + len(sizes) // 2 :], strict=True):
                rise = rise + (now - then).sum()
            worse = rise > WORSE * n
        return bool(self.run.reveal({"gains": worse}, part=next(self._parts))["gains"].item())

    def fitted(self, theta: Array, to_terms: Array) -> Fitted:
        """Open the estimates, but for their covariances."""
        p, n = len(self.rows.names), self.rows.n
        with self.run.on_shares():
            P, logdet = self._shared(self.rows.value(theta))
            A = P[0, :p, :p]
            inverse = _equations.inverted(A, self.rows.names)
            e = _minus_one(inverse, P[0])
            rss = matmul(_short(matmul(P[0], e)), e).reshape(1)
            if self.rows.reml:
                for part in _logs(_of_terms(A, n)):
                    logdet = logdet + part.sum()
            matrix = inverse.sandwich(L=to_terms)
            own = np.arange(len(to_terms))
            opened: dict[str, SecretArray | SecretFloat] = {
                "fixed effects": _equations.coefficients(-e[:p]),
                "error variance": floating(rss),
                "variances": floating(matrix[own, own]),
                "log-likelihood": floating(logdet),
            }
        results = self.run.reveal(opened)
        if not results["error variance"][0] > 0:
            raise EstimationError(UNDETERMINED)
        logdets = float(results["log-likelihood"][0])
        if self.rows.reml:
            logdets += p * float(np.log(n))
        scale = float(results["error variance"][0]) / self.rows.df
        return Fitted(results["fixed effects"], results["variances"], None, scale, logdets)

    def _of_terms(self, found: SharedEvaluation) -> list[LongArray]:
        return _of_terms(found.A, self.rows.n) if self.rows.reml else []

    def _shared(self, summands: Array) -> tuple[LongArray, LongArray]:
        """Return sums over all sites: P, shape ``(entries, p + 1, p + 1)``, and log det V."""
        (pooled,) = _equations.shared(self.run.engine, summands)
        where = positions(len(self.rows.names))
        return pooled[:, where], pooled[:, -1]


def _short(x: LongArray) -> LongArray:
    """Return numbers with as many fractional bits as all have here, and of a size that none exceeds."""
    return x.assume(min(LARGEST, x.format.magnitude)).rescale(DIGITS)


def _split(x: LongArray, ends: list[int]) -> list[LongArray]:
    edges = [0, *ends, len(x)]
    return [x[low:high] for low, high in pairwise(edges)]


def _minus_one(inverse: _equations.Inverse, P: LongArray) -> LongArray:
    """Return e = [−β 1]', with which P makes residual sums of squares."""
    p = len(P) - 1
    beta = inverse.times(P[:p, p:])[:, 0].assume(_equations.LARGEST_SOLUTION).rescale(DIGITS)
    return concatenate([-beta, public(beta.engine, np.ones(1))])


def _are_definite(matrices: LongArray) -> SecretArray:
    """Return which symmetric matrices, shape ``(m, k, k)``, are positive definite: all leading minors are.

    Minors of the first columns are expanded along the last one of these. k + 15 rounds, and ⌈log2 k⌉.
    """
    m, k, _ = matrices.shape
    minors: dict[tuple[int, ...], LongArray] = {(row,): matrices[:, row, 0] for row in range(k)}
    leading = [minors[0,]]
    for j in range(1, k):
        rows = list(combinations(range(k), j + 1))
        terms = [(each[:i] + each[i + 1 :], each[i], (-1) ** (i + j)) for each in rows for i in range(j + 1)]
        smaller = stack([minors[rest] for rest, _, _ in terms], axis=1)
        entries = matrices[:, [row for _, row, _ in terms], j] * np.array([sign for *_, sign in terms])
        expanded = multiply(smaller, entries).reshape(m, len(rows), j + 1).sum(axis=2)
        minors = {each: expanded[:, number] for number, each in enumerate(rows)}
        leading.append(minors[rows[0]])
    bits = stack(leading) > LEAST_MINOR
    while len(bits) > 1:
        half = len(bits) // 2
        both = bits[:half] * bits[half : 2 * half]
        bits = join([both, bits[2 * half :]]) if len(bits) % 2 else both
    return bits[0]


def _inverse_root(x: LongArray) -> LongArray:
    """Return 1/√x of numbers that are not negative."""
    size = floating(x + 2.0**-_equations.RESOLUTION)  # none is 0
    return fixed(1 / size.sqrt(), bound=2.0**SCALE, fraction=SCALE_DIGITS, least=2.0**-SCALE_DIGITS)


def _scaled_by(scale: LongArray, A: LongArray) -> LongArray:
    """Return S·A·S. Two rounds."""
    return multiply(multiply(scale.reshape(-1, 1), scale), A)


def _of_terms(A: LongArray, n: int) -> list[LongArray]:
    """Return numbers whose logarithms add up to that of det(A/n): its diagonal, and twice pivots' roots."""
    p = len(A)
    scale = _inverse_root(A[np.arange(p), np.arange(p)])
    R = narrow(_scaled_by(scale, A), bound=1.01, fraction=_equations.CORRELATION)
    roots = lengthen(cholesky(R, least=LEAST_PIVOT, fraction=40)[np.arange(p), np.arange(p)])
    return [A[np.arange(p), np.arange(p)] * (1 / n), roots, roots]


def _logs(numbers: list[LongArray]) -> list[LongArray]:
    """Return logarithms of arrays of positive numbers."""
    flat = concatenate([part.rescale(LOG_DIGITS) for part in numbers])
    found = lengthen(log(narrow(flat, bound=LARGEST_OF_LOGS, fraction=LOG_DIGITS)))
    return _split(found, np.cumsum([part.size for part in numbers])[:-1].tolist())
