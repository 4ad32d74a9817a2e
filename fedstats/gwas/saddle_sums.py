"""What a site adds to the saddle points of a block of variants on shares: series of its part of K.

With γ = Z'Wg/n over all sites, h = g − Zγ, and K is a sum over samples of k(th), where
k(u) = log(1 − μ + μe^u) − uμ. Nobody knows γ. But a site has a good guess of it, its own regression of g on
Z, and to second order in what that misses, Δ = γ − γ_site,

    K(t) = Σ k(th₀) − t·Δ'·Σ z·k'(th₀) + ½t²·Δ'·(Σ zz'·k''(th₀))·Δ,    h₀ = g − Z·γ_site.

The sums are the site's own, and power series of them about a point that is public (`_saddle_ranges`): that of
the first to the tenth power, that of the second to the third, and that of the third to the second, where its
powers are taken to be in the same ratio in all directions, on the average of the covariates.

They are made for the variant and for its mirror image −h, as it is not public which allele is the rarer.

A sample's series converges as far as the pole of k' next to the point, where th + logit μ = ±iπ. The powers
from the eleventh on are about those of the ratio of both distances, and a site where their sum is too large,
be it for a single sample of unusual covariates, says that there is no saddle point.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import TYPE_CHECKING, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedstats.gwas._saddle_ranges import Ranges

if TYPE_CHECKING:
    from fedstats.gwas.genotypes import Reading
    from fedstats.gwas.logistic_kernel import Null

Floats = NDArray[np.float64]

#: Highest powers of the series: of order zero, one and two in Δ.
POWERS: Final = 10
FIRST: Final = 3
SECOND: Final = 2
#: Largest numbers that a site may add; of the second order, largest trace, which no entry of a matrix that is
#: positive exceeds. A site that has a larger one says that there is no saddle point.
LARGEST: Final = 2.0**13
LARGEST_FIRST: Final = 2.0**7
LARGEST_SECOND: Final = 2.0**6
LARGEST_RATIO: Final = 8.0
#: Most that a site's series may leave out at the ends of ranges: half way it is 2^−11 of it.
LARGEST_REST: Final = 0.05
#: More than any saddle point can make of K'.
UNREACHABLE: Final = 2.0**14
#: The regression at a site counts as many samples more that say that a covariate has nothing to do with it.
PRIOR: Final = 20.0
#: Exponents are held below this.
LARGEST_EXPONENT: Final = 500.0
#: Samples and variants that are held at a time.
SAMPLES: Final = 1024
VARIANTS: Final = 64


@dataclass(frozen=True, eq=False, repr=False)
class SaddleSums:
    """A site's sums of a block of variants; its repr shows no number.

    Attributes
    ----------
    projection, own
        Z'Wg/n of this site, to be summed, and γ_site: ``(variants, terms)``.
    excess
        Σ(g − 1), rounded to whole numbers: positive where the other allele is the rarer.
    cumulants
        Coefficients of powers of (t − centre) / radius, ``(2, 2, variants, POWERS + 1)``: of h and −h, at
        the ranges of both tails. That of the first is `UNREACHABLE` where a number is too large.
    first
        The same, of s·t·Σ z·k' / (τ√n), where τ is the larger of the centres, s = ±1:
        ``(2, 2, variants, FIRST + 1, terms)``.
    second
        ½(t/τ)²·Σ zz'·k'' / n at the centre, the upper triangle, what is off the diagonal twice:
        ``(2, 2, variants, pairs)``.
    ratios
        Coefficients of the first and second power in parts of that: ``(2, 2, variants, 2)``.
    """

    projection: Floats
    own: Floats
    excess: NDArray[np.int64]
    cumulants: Floats
    first: Floats
    second: Floats
    ratios: Floats


def site_sums(reading: Reading, null: Null, where: Ranges, sites: int) -> SaddleSums:
    """Return what this site adds for a block; maybe in another process.

    Parameters
    ----------
    reading
        The block.
    null
        The null model.
    where
        Where saddle points are looked for.
    sites
        How many there are.
    """
    block = reading.block()
    parts = [
        _sums(block.calls(part), null, where.take(part), sites)
        for part in (slice(start, start + VARIANTS) for start in range(0, len(block), VARIANTS))
    ]
    axes = {"projection": 0, "own": 0, "excess": 0}
    return SaddleSums(
        **{
            name: np.concatenate([getattr(its, name) for its in parts], axis=axes.get(name, 2))
            for name in SaddleSums.__annotations__
        }
    )


def _sums(calls: NDArray[np.int8] | Floats, null: Null, where: Ranges, sites: int) -> SaddleSums:
    variants, samples = calls.shape
    missing = calls < 0
    known = samples - missing.sum(axis=1)
    total = np.where(missing, 0, calls).sum(axis=1, dtype=np.float64)
    mean = np.divide(total, known, out=np.zeros(variants), where=known > 0)
    terms = null.Z.shape[1]
    first, second = np.triu_indices(terms)

    weighted = null.w[:, np.newaxis] * null.Z
    gram = weighted.T @ null.Z
    products = np.zeros((variants, terms))
    for part in _parts(samples):
        products += _filled(calls[:, part], mean) @ weighted[part]
    prior = np.full(terms, PRIOR)
    prior[0] = 1e-6  # the intercept
    own = np.asarray(np.linalg.solve(gram + np.diag(prior), products.T).T, np.float64)
    own /= np.maximum(1.0, np.linalg.norm(own, axis=1))[:, np.newaxis]

    powers = np.zeros((2, 2, variants, POWERS + 1))
    gradients = np.zeros((2, 2, variants, FIRST + 1, terms))
    matrices = np.zeros((2, 2, variants, first.size))
    traces = np.zeros((2, 2, variants, 3))
    rest = np.zeros((2, 2, variants))
    inverse = np.linalg.inv(gram + np.diag(prior))
    for part in _parts(samples):
        Z, mu = null.Z[part], null.mu[part]
        with np.errstate(divide="ignore"):
            odds = np.log(mu) - np.log1p(-mu)
        h = _filled(calls[:, part], mean) - own @ Z.T
        pairs = Z[:, first] * Z[:, second]
        leverage = np.einsum("ij,jk,ik->i", Z, inverse, Z)
        weights, curvature = np.empty((FIRST + 1, *h.shape)), np.empty(h.shape)
        for side, sign in enumerate((1.0, -1.0)):
            x = sign * h
            for tail in (0, 1):
                at = (side, tail)
                u = where.centre[tail][:, np.newaxis] * x
                e = np.exp(np.minimum(u, LARGEST_EXPONENT))
                _tilt(x, mu, leverage, e, powers[at], weights, curvature, traces[at])
                powers[at][:, 0] += np.log(e, out=e).sum(axis=1) - u @ mu
                _add_rest(x, odds, where.centre[tail], where.radius[tail], rest[at])
                gradients[at] += (weights @ Z).transpose(1, 0, 2)
                matrices[at] += curvature @ pairs
    matrices *= np.where(first == second, 0.5, 1.0)
    return _scaled(
        products / null.n,
        own,
        np.rint(mean * samples - samples).astype(np.int64),
        powers,
        gradients,
        matrices,
        traces,
        rest,
        where,
        null.n,
        sites,
    )


def _parts(samples: int) -> list[slice]:
    return [slice(start, start + SAMPLES) for start in range(0, samples, SAMPLES)]


def _filled(calls: NDArray[np.int8] | Floats, mean: Floats) -> Floats:
    return np.where(calls < 0, mean[:, np.newaxis], calls)


def _scaled(
    projection: Floats,
    own: Floats,
    excess: NDArray[np.int64],
    powers: Floats,
    gradients: Floats,
    matrices: Floats,
    traces: Floats,
    rest: Floats,
    where: Ranges,
    n: int,
    sites: int,
) -> SaddleSums:
    """Turn sums into coefficients of series in (t − centre) / radius, and refuse what is too large."""
    t, radius = where.centre, where.radius
    orders = np.arange(POWERS + 1)
    unit = radius[..., np.newaxis] ** orders / [factorial(order) for order in orders]
    cumulants = powers * unit
    # Derivatives of t·L(t), where those of L are the sums.
    lower = np.zeros_like(gradients)
    lower[..., 1:, :] = gradients[..., :-1, :] * np.arange(1, FIRST + 1)[:, np.newaxis]
    first = (t[..., np.newaxis, np.newaxis] * gradients + lower) * unit[..., : FIRST + 1, np.newaxis]
    first /= where.longest[:, np.newaxis, np.newaxis] * np.sqrt(n)
    first[1] *= -1
    second = matrices * ((t / where.longest) ** 2)[..., np.newaxis] / n
    row, column = np.triu_indices(own.shape[1])
    trace = second[..., row == column].sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        one, two = np.nan_to_num(traces[..., 1:] / traces[..., :1]).transpose(3, 0, 1, 2)
    ratios = np.stack([(2 / t + one) * radius, (2 / t**2 + 4 / t * one + two) * radius**2 / 2], axis=-1)
    fits = (np.abs(cumulants).max(axis=-1) < LARGEST / sites) & (trace < LARGEST_SECOND)
    fits &= np.linalg.norm(first, axis=-1).max(axis=-1) < LARGEST_FIRST
    fits &= np.abs(ratios).max(axis=-1) < LARGEST_RATIO
    fits &= rest < LARGEST_REST
    for array in (cumulants, first, second, ratios):
        array[~fits] = 0.0
    cumulants[~fits, 1] = UNREACHABLE
    return SaddleSums(projection, own, excess, cumulants, first, second, ratios)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _tilt(
    x: Floats,
    mu: Floats,
    leverage: Floats,
    e: Floats,
    powers: Floats,
    weights: Floats,
    curvature: Floats,
    traces: Floats,
) -> None:
    """Add Σ x^j·k^(j)(tx) to `powers` for j ≥ 1; write x^j·k^(j + 1) to `weights`, and k'' to `curvature`.

    The same powers of x times k'' and its derivatives, each sample counted by its leverage, go to `traces`.
    Of `e` = e^(tx), 1 − μ + μe remains.
    """
    for variant in range(x.shape[0]):
        s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = s9 = s10 = t0 = t1 = t2 = 0.0
        for row in range(x.shape[1]):
            one, m = x[variant, row], mu[row]
            rest = 1 - m + m * e[variant, row]
            q = 1 - (1 - m) / rest
            e[variant, row] = rest
            a = q * (1 - q)
            b = a * (1 - 2 * q)
            c = a * (1 - 6 * a)
            two = one * one
            four = two * two
            first, second, third = one * a, two * b, two * one * c
            weights[0, variant, row] = q - m
            weights[1, variant, row] = first
            weights[2, variant, row] = second
            weights[3, variant, row] = third
            curvature[variant, row] = a
            t0 += leverage[row] * a
            t1 += leverage[row] * one * b
            t2 += leverage[row] * two * c
            s1 += one * (q - m)
            s2 += one * first
            s3 += one * second
            s4 += one * third
            s5 += four * one * b * (1 - 12 * a)
            s6 += four * two * a * (1 + a * (-30 + 120 * a))
            s7 += four * one * second * (1 + a * (-60 + 360 * a))
            s8 += four * four * a * (1 + a * (-126 + a * (1680 - 5040 * a)))
            s9 += four * four * one * b * (1 + a * (-252 + a * (5040 - 20160 * a)))
            s10 += four * four * two * a * (1 + a * (-510 + a * (17640 + a * (-151200 + 362880 * a))))
        for order, total in enumerate((s1, s2, s3, s4, s5, s6, s7, s8, s9, s10)):
            powers[variant, order + 1] += total
        for order, total in enumerate((t0, t1, t2)):
            traces[variant, order] += total


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _add_rest(x: Floats, odds: Floats, t: Floats, radius: Floats, rest: Floats) -> None:
    """Add the eleventh powers at the ends of ranges, 2·ρ^11 / 11 with ρ = radius / distance of the pole."""
    for variant in range(x.shape[0]):
        total = 0.0
        for row in range(x.shape[1]):
            one = x[variant, row]
            distant = odds[row] + t[variant] * one
            ratio = (radius[variant] * one) ** 2 / (distant * distant + np.pi * np.pi)
            total += ratio * ratio * ratio * ratio * ratio * np.sqrt(ratio)
        rest[variant] += 2 / 11 * total
