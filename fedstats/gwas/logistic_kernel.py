"""Sums over samples for logistic regressions on variants: score tests, saddle points, and refits.

Pure arrays of one site, no messages; every function returns what the sites add up. The null model, without a
variant, gives each sample a probability μ and a weight w = μ(1 − μ); Z are its covariates with the intercept,
Z'WZ = n·I over all samples, and Z'(y − μ) = 0.

With missing calls set to the mean, the score of a variant g and its variance are [1]_

    U = g'(y − μ),    V = g'Wg − |g'WZ|²/n,

and what the covariates leave of g is h = g − Z·(Z'Wg)/n, with the same score. The sum h'(y − μ) has the
cumulant generating function K(t) = Σ log(1 − μ + μe^{ht}) − t·h'μ, of which the saddle-point approximation
[2]_ needs the derivatives where K'(t) = ±U. A refit is Newton's method on the samples with a call, or on
the likelihood with Firth's penalty [3]_.

References
----------
.. [1] L. Ma et al., "Recommended joint and meta-analysis strategies for case-control association testing of
   single low-count variants", Genetic Epidemiology 37, 2013, 539–550.
.. [2] R. Dey et al., "A fast and accurate algorithm to test for binary phenotypes and its application to
   PheWAS", American Journal of Human Genetics 101, 2017, 37–49.
.. [3] D. Firth, "Bias reduction of maximum likelihood estimates", Biometrika 80, 1993, 27–38; G. Heinze,
   M. Schemper, "A solution to the problem of separation in logistic regression", Statistics in Medicine
   21, 2002, 2409–2419.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from fedstats.gwas.dosages import DosageBlock
from fedstats.gwas.members import Members, Numbers
from fedstats.gwas.packed import PackedBlock

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: A variant is collinear with the covariates if they leave less than this part of its variance.
TOLERANCE: Final = 1e-10
#: Information on standardised coefficients with a smaller eigenvalue is singular.
SINGULAR: Final = 1e-10
#: Newton's method has converged when no coefficient moves further, and none ever moves further than a stride;
#: one that has come so far as `RUNAWAY` has no finite estimate.
CONVERGED: Final = 1e-8
STRIDE: Final = 5.0
RUNAWAY: Final = 50.0
#: Exponents are held below this, where the probability is 1 to the last digit.
LARGEST: Final = 500.0
#: Saddle points are taken as found when K' is so near U, in units of its standard deviation.
NEAR: Final = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class Null:
    """This site's rows of the null model; its repr shows no row.

    Attributes
    ----------
    y, mu, w
        Outcome, its probability, and μ(1 − μ), shape ``(rows,)``.
    Z
        Covariates and intercept, Z'WZ = n·I over all sites: ``(rows, terms)``.
    coefficients
        Of Z: μ = expit(Zc).
    n
        Samples of all sites.
    """

    y: Floats
    mu: Floats
    w: Floats
    Z: Floats
    coefficients: Floats
    n: int

    def numbers(self, members: Members) -> Numbers:
        """Return the columns that calls are multiplied by: y − μ, w and WZ."""
        return members.numbers(np.column_stack([self.y - self.mu, self.w, self.w[:, np.newaxis] * self.Z]))

    def weights(self, members: Members) -> Numbers:
        """Return the column that squares of calls are multiplied by."""
        return members.numbers(self.w[:, np.newaxis])


def score_sums(block: PackedBlock | DosageBlock, numbers: Numbers, weights: Numbers) -> Floats:
    """Return of each variant missing calls, Σg, Σwg², and g times y − μ, w and WZ."""
    moments = block.moments()[:, :2]
    return np.column_stack([moments, block.products(weights, squared=True), block.products(numbers)])


@dataclass(frozen=True, eq=False)
class Scores:
    """Score tests of variants, with missing calls set to the mean.

    Attributes
    ----------
    mean, missing
        Σg / calls; number of missing calls.
    score, variance
        U and V; NaN where a variant does not vary beyond the covariates.
    projection
        Z'Wg / n, shape ``(variants, terms)``.
    """

    mean: Floats
    missing: Floats
    score: Floats
    variance: Floats
    projection: Floats

    @classmethod
    def of(cls, sums: Floats, n: int, which: Integers, of_missing: Floats) -> Scores:
        """Solve pooled `score_sums`, given m'(y − μ), m'w and m'WZ of the variants that lack calls."""
        missing, total, squares = np.rint(sums[:, 0]), sums[:, 1], sums[:, 2].copy()
        products = sums[:, 3:].copy()
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = total / (n - missing)
            products[which] += mean[which, np.newaxis] * of_missing
            squares[which] += mean[which] ** 2 * of_missing[:, 1]
            projection = products[:, 2:] / n
            left = squares - n * np.einsum("ij,ij->i", projection, projection)
            varies = left > TOLERANCE * squares
        none = np.where(varies, 0.0, np.nan)
        return cls(mean, missing, products[:, 0] + none, left + none, projection)

    @classmethod
    def opened(cls, beta: Floats, standard_error: Floats) -> Scores:
        """Return scores of which nothing is known but U/V and 1/√V."""
        # Quotients are the same to the last bit at every site, as powers need not be.
        variance = 1 / (standard_error * standard_error)
        unknown = np.full(len(beta), np.nan)
        return cls(unknown, unknown, beta * variance, variance, np.zeros((len(beta), 0)))

    @classmethod
    def concatenate(cls, scores: Sequence[Scores]) -> Scores:
        """Join the scores of consecutive blocks."""
        names = cls.__annotations__
        return cls(**{name: np.concatenate([getattr(its, name) for its in scores]) for name in names})

    @property
    def z(self) -> Floats:
        """U / √V, standard normal under the null hypothesis."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.score / np.sqrt(self.variance))


class Saddles:
    """Search for the saddle points t of K'(t) = ±U, for variants side by side.

    The sites add up `derivatives`, and each takes the same step from the sum.

    Parameters
    ----------
    score, variance
        U and V of the variants.
    """

    def __init__(self, score: Floats, variance: Floats) -> None:
        # The observed score first, then the equally large one of the other sign.
        self.target = np.stack([score, -score])
        self.spread = np.sqrt(variance)
        self.t = self.target / variance
        self.found = np.zeros(self.t.shape, np.bool_)
        self._beyond = np.zeros(self.t.shape, np.bool_)
        self._low = np.where(self.target > 0, 0.0, -np.inf)
        self._high = np.where(self.target > 0, np.inf, 0.0)
        self._curvature = np.zeros(self.t.shape)

    def reach(self, h: Floats, null: Null) -> Floats:
        """Return the largest and the smallest score that outcomes at this site can make."""
        at_mu = h @ null.mu
        return np.stack([np.maximum(h, 0).sum(axis=1) - at_mu, np.minimum(h, 0).sum(axis=1) - at_mu])

    def bound(self, reach: Floats) -> None:
        """Take in how far scores can go at all: what lies beyond has probability 0, and no saddle point."""
        self._beyond = np.abs(self.target) >= np.abs(reach)
        self.found |= self._beyond

    def derivatives(self, h: Floats, null: Null) -> Floats:
        """Return K' and K'' at the present points, of this site: ``(2, 2, variants)``.

        Parameters
        ----------
        h
            What the covariates leave of the variants at this site, shape ``(variants, rows)``.
        null
            The null model.
        """
        sums = np.zeros((2, 2, len(h)))
        odd = 1 - null.mu
        q, rest = np.empty((2, null.mu.size))
        for side, variant in zip(*np.nonzero(~self.found), strict=True):
            row = h[variant]
            # A row at a time, in place: it stays in the nearest caches.
            np.multiply(row, self.t[side, variant], out=q)
            np.exp(np.minimum(q, LARGEST, out=q), out=q)
            q *= null.mu
            np.add(q, odd, out=rest)
            q /= rest
            sums[0, side, variant] = row @ q - row @ null.mu
            q *= row
            np.subtract(row, q, out=rest)
            sums[1, side, variant] = q @ rest
        return sums

    def cumulants(self, h: Floats, null: Null) -> Floats:
        """Return K at the points that were found, of this site: ``(2, variants)``."""
        sums = np.zeros(self.t.shape)
        for side, variant in zip(*np.nonzero(self.found & ~self._beyond), strict=True):
            x = np.minimum(self.t[side, variant] * h[variant], LARGEST)
            log = np.log(1 - null.mu + null.mu * np.exp(x))
            sums[side, variant] = log.sum() - self.t[side, variant] * (h[variant] @ null.mu)
        return sums

    def step(self, sums: Floats) -> None:
        """Take Newton's step, within what is known to enclose the saddle point."""
        first, second = sums
        self._curvature = np.where(self.found, self._curvature, second)
        off = np.where(self.found, 0.0, first - self.target)
        self.found |= np.abs(off) < NEAR * self.spread
        self._low = np.where(off < 0, self.t, self._low)
        self._high = np.where(off > 0, self.t, self._high)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = self.t - off / second
            # Where Newton leaves the bracket: its middle, or farther out while it is open.
            middle = np.where(np.isfinite(self._low + self._high), (self._low + self._high) / 2, 2 * self.t)
        outside = ~((t > self._low) & (t < self._high))
        self.t = np.where(self.found, self.t, np.where(outside, middle, t))

    def neg_log10_p(self, cumulants: Floats) -> Floats:
        """Return −log10 of the two-sided P value by Barndorff-Nielsen's formula; NaN where it has none.

        Parameters
        ----------
        cumulants
            K at the saddle points, over all sites.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            r = np.sign(self.t) * np.sqrt(2 * (self.t * self.target - cumulants))
            v = self.t * np.sqrt(self._curvature)
            z = r + np.log(v / r) / r
        tails = np.where(self._beyond, -np.inf, stats.norm.logsf(np.sign(self.target) * z))
        log_p = np.logaddexp(*tails)
        known = self.found.all(axis=0) & ~self._beyond[0]
        return np.where(known & np.isfinite(log_p), -log_p / np.log(10), np.nan)


def residual_calls(calls: NDArray[Any], mean: Floats, projection: Floats, null: Null) -> Floats:
    """Return what the covariates leave of variants at this site, missing calls set to the mean."""
    g = np.where(calls < 0, mean[:, np.newaxis], calls)
    return np.asarray(g - projection @ null.Z.T)


class Refits:
    """Logistic regressions on covariates and a variant each, on the samples that have a call.

    Parameters
    ----------
    theta
        Where to start: coefficients of Z and of the variant, shape ``(variants, terms + 1)``.
    firth
        Whether the likelihood is penalised.
    """

    def __init__(self, theta: Floats, *, firth: bool) -> None:
        self.theta = theta
        self.firth = firth
        self.converged = np.zeros(len(theta), np.bool_)
        self.failed = np.zeros(len(theta), np.bool_)
        self._stride = np.full(len(theta), STRIDE)
        self._last = np.zeros_like(theta)
        self.information = np.zeros((len(theta), theta.shape[1], theta.shape[1]))

    @property
    def open(self) -> Integers:
        """Variants that go on."""
        return np.flatnonzero(~(self.converged | self.failed))

    def sums(self, calls: NDArray[Any], null: Null) -> Floats:
        """Return gradient and Fisher information at the present coefficients, of this site."""
        terms = self.theta.shape[1]
        upper = np.triu_indices(terms)
        found = np.empty((self.open.size, terms + upper[0].size))
        for row, variant in enumerate(self.open):
            X, y, mu = self._fitted(calls, null, variant)
            found[row, :terms] = X.T @ (y - mu)
            found[row, terms:] = (X.T @ ((mu * (1 - mu))[:, np.newaxis] * X))[upper]
        return found

    def penalties(self, calls: NDArray[Any], null: Null) -> Floats:
        """Return what Firth's penalty adds to the gradient, of this site: Σ leverage · (½ − μ) · x."""
        found = np.zeros((self.open.size, self.theta.shape[1]))
        for row, variant in enumerate(self.open):
            X, _, mu = self._fitted(calls, null, variant)
            inverse = np.linalg.inv(self.information[variant])
            leverage = mu * (1 - mu) * np.einsum("ij,jk,ik->i", X, inverse, X)
            found[row] = X.T @ (leverage * (0.5 - mu))
        return found

    def _fitted(self, calls: NDArray[Any], null: Null, variant: int) -> tuple[Floats, Floats, Floats]:
        known = calls[variant] >= 0
        X = np.column_stack([null.Z[known], calls[variant, known]])
        return X, null.y[known], special.expit(X @ self.theta[variant])

    def learn(self, sums: Floats) -> Floats:
        """Take in pooled `sums`, give up where they are singular, and return the gradients."""
        terms = self.theta.shape[1]
        matrices = np.zeros((len(sums), terms, terms))
        matrices[:, *np.triu_indices(terms)] = sums[:, terms:]
        matrices += np.triu(matrices, 1).transpose(0, 2, 1)
        self.information[self.open] = matrices
        length = np.sqrt(np.einsum("ijj->ij", matrices))
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.nan_to_num(matrices / length[:, :, np.newaxis] / length[:, np.newaxis, :])
        singular = np.linalg.eigvalsh(scaled)[:, 0] < SINGULAR
        self.failed[self.open[singular]] = True
        return np.asarray(sums[~singular, :terms])

    def step(self, gradients: Floats) -> None:
        """Take Newton's step on the variants that go on.

        No coefficient moves further than `STRIDE`, and half as far each time that a step turns back.
        """
        variants = self.open
        steps = np.linalg.solve(self.information[variants], gradients[:, :, np.newaxis])[:, :, 0]
        length = np.abs(steps).max(axis=1, initial=0.0)
        turned = np.einsum("ij,ij->i", steps, self._last[variants]) < 0
        self._stride[variants] *= np.where(turned, 0.5, 1.0)
        steps *= np.minimum(1.0, self._stride[variants] / np.maximum(length, CONVERGED))[:, np.newaxis]
        self._last[variants] = steps
        self.theta[variants] += steps
        self.converged[variants] = length < CONVERGED
        # Coefficients that have run away: cases and controls can be told apart.
        self.failed[variants] = np.abs(self.theta[variants]).max(axis=1, initial=0.0) > RUNAWAY

    def estimates(self) -> tuple[Floats, Floats]:
        """Return coefficient and standard error of each variant; NaN where there is none."""
        beta, error = np.full((2, len(self.theta)), np.nan)
        good = self.converged
        beta[good] = self.theta[good, -1]
        error[good] = np.sqrt(np.linalg.inv(self.information[good])[:, -1, -1])
        return beta, error
