"""The same likelihood on shares: of each step only the step is opened, and whether the last one went too far.

Everything is multiplied by a power of ρ = rss/n, so that nothing is divided before a system of equations is
solved: sums and products of long numbers are exact. The equations of Newton's step and of that of scoring are
solved together; which of them is opened is chosen on shares.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.mixed._maximum import numbers
from fedstats.mixed._profile import BOUND, UNDETERMINED, WORSE, Fitted, Layout, Rows, positions
from fedstats.regression import _equations
from protocols import linalg, long
from protocols.cholesky import cholesky
from protocols.errors import SingularError
from protocols.floating import fixed, floating
from protocols.functions import log
from protocols.long import LongArray, concatenate, lengthen, matmul, multiply, narrow, stack
from protocols.secret import SecretArray
from protocols.secret import concatenate as join
from protocols.secret import public as public_elements

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: Fractional bits of long numbers, and what none exceeds.
DIGITS, LARGEST = 120, 2.0**100
#: Fractional bits of systems of equations, and of their solutions.
SYSTEM, SOLUTION = 48, 44
#: Numbers of which logarithms are taken: the largest one, and their fractional bits.
LARGEST_OF_LOGS, LOG_DIGITS = 2.0**26, 46
#: Least pivot of the correlations of terms: what `_equations.inverted` lets pass is above.
LEAST_PIVOT = 2.0**-21


@dataclass(frozen=True, eq=False, repr=False)
class SharedEvaluation:
    """The criterion at a point, as shares.

    Attributes
    ----------
    A, scale
        X'V⁻¹X, and the inverse roots of its diagonal.
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
    scale: LongArray
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
            twice = _short(
                multiply(concatenate([first * df + once[0], once[1], once[2]]), rho)
            )
            gradient, information, bends = _split(twice, ends[:2])
            information, bends = information.reshape(square), bends.reshape(square)
            straight, bent = (part.reshape(square) * df for part in once[3:])
            outer = outer * df
            on = np.arange(k)
            parts = straight - bent + outer + information + bends
            return SharedEvaluation(
                A=P[0, :p, :p],
                scale=inverse.scale,
                rho=rho,
                logdet=logdet[:1],
                gradient=gradient,
                second=straight + bent - outer - information + bends,
                scoring=information + bends,
                size=parts[on, on],
            )

    def step(self, found: SharedEvaluation) -> Array:
        """Open Newton's step, or that of scoring, without telling which. About 70 rounds."""
        k, root = len(found.gradient), float(np.sqrt(self.rows.n))
        with self.run.on_shares() as engine:
            digits = _equations.SCALE_DIGITS
            size = floating(found.size.assume(LARGEST) + 2.0**-_equations.RESOLUTION)
            scale = fixed(1 / size.sqrt(), bound=2.0**_equations.SCALE, fraction=digits, least=2.0**-digits)
            both = stack([found.second, found.scoring]).assume(LARGEST)
            systems = narrow(_equations.scaled_by(scale, both), bound=1.01, fraction=SYSTEM)
            # Derivatives are within the roots of df times these sizes.
            slope = multiply(scale, found.gradient.assume(LARGEST)) * (1 / root)
            right = narrow(slope, bound=4, fraction=SYSTEM)
            try:
                solved = linalg.solve(
                    _block_diagonal(systems), join([right, right]), bound=BOUND, fraction=SOLUTION
                ).reshape(2, k)
            except SingularError:
                try:
                    solved = linalg.solve(systems[1], right, bound=BOUND, fraction=SOLUTION).reshape(1, k)
                except SingularError:
                    raise EstimationError(UNDETERMINED) from None
            steps = lengthen(solved)
            chosen = steps[-1]
            if len(solved) > 1:
                is_downhill = lengthen(multiply(steps[0], lengthen(right)).sum() > 0)
                chosen = chosen + multiply(steps[0] - chosen, is_downhill)
            secret = _equations.coefficients(multiply(scale, chosen) * -root)
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

    def fitted(self, theta: Array, combinations: Array) -> Fitted:
        """Open the estimates, but for their covariances."""
        p, n = len(self.rows.names), self.rows.n
        with self.run.on_shares():
            P, logdet = self._shared(self.rows.value(theta))
            A = P[0, :p, :p]
            inverse = _equations.inverted(A, self.rows.names)
            e = _minus_one(inverse, P[0])
            rss = matmul(_short(matmul(P[0], e)), e).reshape(1)
            if self.rows.reml:
                for part in _logs(_of_terms(A, inverse.scale, n)):
                    logdet = logdet + part.sum()
            matrix = inverse.sandwich(L=combinations)
            own = np.arange(len(combinations))
            opened = {
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
        return _of_terms(found.A, found.scale, self.rows.n) if self.rows.reml else []

    def _shared(self, summands: Array) -> tuple[LongArray, LongArray]:
        """Return sums over all sites: P, shape ``(entries, p + 1, p + 1)``, and log det V."""
        (pooled,) = _equations.shared(self.run.engine, summands)
        where = positions(len(self.rows.names))
        return pooled[:, where], pooled[:, -1]


def _short(x: LongArray) -> LongArray:
    """Return numbers with as many fractional bits as all have here, and of a size that nothing here exceeds."""
    return x.assume(min(LARGEST, x.format.magnitude)).rescale(DIGITS)


def _split(x: LongArray, ends: list[int]) -> list[LongArray]:
    edges = [0, *ends, len(x)]
    return [x[low:high] for low, high in zip(edges, edges[1:], strict=False)]


def _minus_one(inverse: _equations.Inverse, P: LongArray) -> LongArray:
    """Return e = [−β 1]', with which P makes residual sums of squares."""
    p = len(P) - 1
    beta = inverse.times(P[:p, p:])[:, 0].assume(_equations.LARGEST_SOLUTION).rescale(DIGITS)
    return concatenate([-beta, long.public(beta.engine, np.ones(1))])


def _block_diagonal(systems: SecretArray) -> SecretArray:
    """Return two matrices, shape ``(2, k, k)``, as one."""
    none = public_elements(systems.engine, np.zeros(systems.shape[1:], np.int64))
    zero = SecretArray(systems.engine, none.shares, systems.format)
    return join([join([systems[0], zero], axis=1), join([zero, systems[1]], axis=1)])


def _of_terms(A: LongArray, scale: LongArray, n: int) -> list[LongArray]:
    """Return numbers whose logarithms add up to that of det(A/n): its diagonal, and twice pivots' roots."""
    p = len(A)
    R = narrow(_equations.scaled_by(scale, A), bound=1.01, fraction=_equations.CORRELATION)
    roots = lengthen(cholesky(R, least=LEAST_PIVOT, fraction=40)[np.arange(p), np.arange(p)])
    return [A[np.arange(p), np.arange(p)] * (1 / n), roots, roots]


def _logs(numbers: list[LongArray]) -> list[LongArray]:
    """Return logarithms of arrays of positive numbers, in the same rounds."""
    flat = [
        narrow(array, bound=LARGEST_OF_LOGS, fraction=LOG_DIGITS) for array in (part.ravel() for part in numbers)
    ]
    found = lengthen(log(join(flat)))
    return _split(found, np.cumsum([part.size for part in flat])[:-1].tolist())
