"""What one block of variants contributes to the linear scan, and what the pooled sums say of each variant.

Pure arrays, no messages; `linear` adds up over the sites between these functions. Let T = [Q, R] be the
covariates, orthonormal over all samples with Q'Q = n·I, and the traits' residuals, with r'r = n and
Q'R = 0; every column sums to zero. With c calls of a variant g (0 where missing) and its missing calls m,
centring both g and T over the calls gives

    S_gg = Σg² − (Σg)²/c,    S_gT = g'T + Σg · m'T / c,    S_TT = n·I − D,    D = Σ_m tt' + (m'T)'m'T / c,

as T sums to −m'T over the calls. The regression on complete cases follows from the three, by the theorem of
Frisch, Waugh and Lovell. If the missing calls are set to the mean instead, S_gg and S_gT are the same, and
D = 0. All is said of whatever set of samples the columns of T sum to zero over: all samples, which gives one
intercept; or those of each site, and then the sites add up what they have centred, which gives one a site.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedstats.gwas.members import Members, Numbers

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: A variant, or a covariate among the calls of a variant, is a combination of the covariates before it if
#: they leave less than this part of its variation.
TOLERANCE = 1e-8


class Block(Protocol):
    """Genotypes of consecutive variants at one site; see `packed.PackedBlock`."""

    def moments(self) -> Floats:
        """Return missing calls, Σg and Σg² over calls: shape ``(variants, 3)``."""

    def products(self, numbers: Numbers) -> Floats:
        """Return g'T: shape ``(variants, columns)``."""

    def of_missing(self, which: Integers, numbers: Numbers) -> Floats:
        """Return m'T of some variants: shape ``(which, columns)``."""

    def squares_of_missing(self, which: Integers, numbers: Numbers) -> tuple[Floats, Floats]:
        """Return m'T and Σ_m tt' of some variants, the latter as `Numbers.pairs` says."""


@dataclass(frozen=True, eq=False)
class Centred:
    """Sums of a block of variants, centred over calls.

    Attributes
    ----------
    missing, total, squares
        Missing calls, Σg over calls, and S_gg.
    products
        S_gT, shape ``(variants, columns)``.
    groups
        How many intercepts a variant's regression has.
    """

    missing: Floats
    total: Floats
    squares: Floats
    products: Floats
    groups: Floats

    def to_array(self) -> Floats:
        """Return all of it, one row a variant, to be added up over sites."""
        return np.column_stack([self.missing, self.total, self.squares, self.groups, self.products])

    @classmethod
    def from_array(cls, sums: Floats) -> Centred:
        """Undo `to_array`."""
        missing, total, squares, groups = sums.T[:4]
        return cls(np.rint(missing), total, squares, sums[:, 4:], np.rint(groups))


def first_sums(block: Block, numbers: Numbers) -> Floats:
    """Return missing calls, Σg, Σg² and g'T of a site: what every variant needs of every sample."""
    return np.column_stack([block.moments(), block.products(numbers)])


def centre(sums: Floats, n: int, which: Integers, of_missing: Floats) -> Centred:
    """Centre `first_sums` over the calls of n samples.

    Parameters
    ----------
    sums
        Of the samples over which T sums to zero.
    n
        How many these are.
    which
        The variants that lack calls.
    of_missing
        Their m'T.
    """
    missing, total, squares = sums.T[:3]
    called = n - missing
    products = sums[:, 3:].copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        products[which] += (total / called)[which, np.newaxis] * of_missing
        # From whole numbers, where calls are: rare variants lose nothing to cancellation.
        variation = (squares * called - total**2) / called
    none = called == 0
    products[none] = 0.0
    return Centred(missing, total, np.where(none, 0.0, variation), products, np.where(none, 0.0, 1.0))


def deficit(of_missing: Floats, squares: Floats, called: Floats, numbers: Numbers) -> Floats:
    """Return D of variants, as `Numbers.pairs` says, given m'T and Σ_m tt'."""
    first, second = numbers.pairs
    with np.errstate(divide="ignore", invalid="ignore"):
        correction = of_missing[:, first] * of_missing[:, second] / called[:, np.newaxis]
    return squares + np.where(called[:, np.newaxis] > 0, correction, 0.0)


def centre_here(sums: Floats, block: Block, members: Members, numbers: Numbers) -> Centred:
    """Centre `first_sums` of one site over its own calls; T sums to zero over its members."""
    which = np.flatnonzero(sums[:, 0])
    return centre(sums, len(members), which, block.of_missing(which, numbers))


def deficit_here(block: Block, which: Integers, members: Members, numbers: Numbers) -> Floats:
    """Return D of one site, centred over its own calls, of some variants."""
    of_missing, squares = block.squares_of_missing(which, numbers)
    return deficit(of_missing, squares, len(members) - block.moments()[which, 0], numbers)


@dataclass(frozen=True, eq=False)
class Scan:
    """Regressions of standardised residuals on each variant; NaN where there is none.

    Attributes
    ----------
    frequency
        Of the effect allele, among calls.
    n
        Samples of the regression; of imputed calls 0 where there is none.
    missing_rate
        Part of the samples without a call.
    df
        Residual degrees of freedom.
    beta, standard_error
        Of one copy of the effect allele, in units of each residual's standard deviation: shape
        ``(variants, traits)``.
    """

    frequency: Floats
    n: Floats
    missing_rate: Floats
    df: Floats
    beta: Floats
    standard_error: Floats

    @property
    def statistic(self) -> Floats:
        """Student's t with `df` degrees of freedom under the null hypothesis."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.beta / self.standard_error)

    @classmethod
    def concatenate(cls, scans: Sequence[Scan]) -> Scan:
        """Join the scans of consecutive blocks."""
        return cls(
            **{name: np.concatenate([getattr(s, name) for s in scans]) for name in cls.__annotations__}
        )


def solve(sums: Centred, which: Integers, missing: Floats | None, n: int, numbers: Numbers) -> Scan:
    """Return what the sums over all sites say of each variant.

    Parameters
    ----------
    sums
        Centred, of all samples.
    which
        Variants that lack calls.
    missing
        D of these, for regressions on complete cases; None if missing calls were set to the mean.
    n
        Samples of all sites.
    numbers
        Tells which columns of T are covariates.
    """
    p = numbers.terms
    with np.errstate(divide="ignore", invalid="ignore"):
        left = sums.squares - np.einsum("ij,ij->i", sums.products[:, :p], sums.products[:, :p]) / n
        slope = sums.products[:, p:].copy()
        rest = np.full(slope.shape, float(n))
        called = n - sums.missing
        size = np.full(len(slope), float(n))
        aliased = np.zeros(len(slope))
        if missing is not None:
            _complete_cases(
                which, missing, sums.squares, sums.products, float(n), p, left, slope, rest, aliased
            )
            size = called
        df = size - p + aliased - sums.groups - 1
        left = np.where((left > TOLERANCE * sums.squares) & (df > 0), left, np.nan)[:, np.newaxis]
        beta = slope / left
        residual = np.maximum(rest - beta * slope, 0.0)
        standard_error = np.sqrt(residual / df[:, np.newaxis] / left)
        frequency = sums.total / called / 2
    if missing is None:
        size = np.where(np.isnan(left[:, 0]), 0.0, size)
    return Scan(frequency, size, sums.missing / n, df, beta, standard_error)


@njit(cache=True, nogil=True)
def _complete_cases(
    which: Integers,
    missing: Floats,
    squares: Floats,
    products: Floats,
    n: float,
    terms: int,
    left: Floats,
    slope: Floats,
    rest: Floats,
    aliased: Floats,
) -> None:
    """Project on the covariates by a Cholesky factor of S_QQ for each variant."""
    columns = products.shape[1]
    # Of T, and in its last column of g: what is left after the covariates before.
    rows = np.empty((terms, columns + 1))
    for k in range(which.size):
        v = which[k]
        at = 0
        for a in range(terms):
            rows[a, a] = n - missing[k, at]
            for b in range(a + 1, columns):
                rows[a, b] = -missing[k, at + b - a]
            rows[a, columns] = products[v, a]
            at += columns - a
        left[v] = squares[v]
        for trait in range(columns - terms):
            rest[v, trait] = n - missing[k, at + trait]
        for a in range(terms):
            whole = rows[a, a]
            for b in range(a):
                whole += rows[b, a] ** 2
            # A covariate that is a combination of others among the calls takes no part, as in R's lm.
            known = rows[a, a] > TOLERANCE * whole
            aliased[v] += not known
            scale = 1 / np.sqrt(rows[a, a]) if known else 0.0
            for b in range(a, columns + 1):
                rows[a, b] *= scale
            for b in range(a + 1, terms):
                for c in range(b, columns + 1):
                    rows[b, c] -= rows[a, b] * rows[a, c]
            left[v] -= rows[a, columns] ** 2
            for trait in range(columns - terms):
                slope[v, trait] -= rows[a, columns] * rows[a, terms + trait]
                rest[v, trait] -= rows[a, terms + trait] ** 2
