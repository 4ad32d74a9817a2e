"""What one block of variants contributes to the linear scan, and what the pooled sums say of each variant.

Pure arrays, no messages. A site's contribution is additive over samples: `block_sums` at each site,
added up over sites, is `block_sums` of the pooled samples. With g the calls of a variant (0 where
missing), m its missing calls (1 where missing), Q the covariates, orthonormal over all samples with
Q'Q = n·I and first column 1, and r the trait's residual, with r'r = n and Q'r = 0, the sums are

    g'g,  g'Q,  g'r,  m'Q,  m'r.

The first column of Q makes Σg and the number of missing calls two of them. Setting missing calls to
the pooled mean ḡ gives g + ḡm, and every product with that follows from these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Genotypes = NDArray[np.int8]

#: Most bytes of genotypes that are held as float64 at a time.
MEMORY = 64 << 20
#: A variant is collinear with the covariates if they leave less than this part of its variation.
TOLERANCE = 1e-8


def columns(terms: int) -> int:
    """Return how many sums a variant has, given the number of columns of Q."""
    return 1 + 2 * (terms + 1)


def block_sums(read: Callable[[slice], Genotypes], variants: int, Q: Floats, r: Floats) -> Floats:
    """Return one site's sums of each variant of a block.

    Parameters
    ----------
    read
        Returns the genotypes of a slice of the block: int8, shape ``(variants, samples)``, copies of
        the effect allele and −1 where missing.
    variants
        Variants in the block.
    Q, r
        This site's rows of covariates and residual, shapes ``(samples, terms)`` and ``(samples,)``.

    Returns
    -------
    ndarray
        Shape ``(variants, columns(terms))``: g'g, then g'Q and g'r, then m'Q and m'r.
    """
    samples, terms = Q.shape
    targets = np.column_stack([Q, r])
    sums = np.zeros((variants, columns(terms)))
    step = max(1, MEMORY // (8 * max(1, samples)))
    for start in range(0, variants, step):
        part = slice(start, min(start + step, variants))
        calls = read(part)
        missing = _missing(calls)
        g = calls.astype(np.float64)  # −1 where missing, undone by adding m to it
        of_missing = missing @ targets
        sums[part, 0] = np.einsum("ij,ij->i", g, g) - missing.sum(axis=1)
        sums[part, 1 : terms + 2] = g @ targets + of_missing
        sums[part, terms + 2 :] = of_missing
    return sums


def _missing(calls: Genotypes) -> sparse.csr_array:
    """Return where calls are missing, as ones in a sparse matrix: they are few."""
    row, sample = np.nonzero(calls < 0)
    ends = np.searchsorted(row, np.arange(len(calls) + 1))
    return sparse.csr_array((np.ones(row.size), sample, ends), shape=calls.shape)


@dataclass(frozen=True, eq=False)
class Scan:
    """The regression of a standardised residual on each variant; NaN where there is none.

    Attributes
    ----------
    frequency
        Of the effect allele, among calls.
    missing_rate
        Part of the samples without a call.
    beta, standard_error
        Of one copy of the effect allele, in units of the residual's standard deviation.
    statistic
        Their ratio, Student's t with `df` degrees of freedom under the null hypothesis.
    df
        Residual degrees of freedom.
    """

    frequency: Floats
    missing_rate: Floats
    beta: Floats
    standard_error: Floats
    statistic: Floats
    df: int

    @classmethod
    def concatenate(cls, scans: Sequence[Scan]) -> Scan:
        """Join the scans of consecutive blocks."""
        arrays = [name for name in cls.__annotations__ if name != "df"]
        joined = {name: np.concatenate([getattr(scan, name) for scan in scans]) for name in arrays}
        return cls(**joined, df=scans[0].df)


def solve(sums: Floats, n: int) -> Scan:
    """Return what the sums over all sites say of each variant.

    Parameters
    ----------
    sums
        Shape ``(variants, columns(terms))``, added up over the sites.
    n
        Samples of all sites.

    Notes
    -----
    The variation of g about its mean is taken from whole numbers, and rare variants lose nothing
    to cancellation.
    """
    terms = (sums.shape[1] - 3) // 2
    squares, of_calls, of_missing = np.split(sums, [1, terms + 2], axis=1)
    squares, total, missing = np.rint([squares[:, 0], of_calls[:, 0], of_missing[:, 0]])
    called = n - missing
    df = n - terms - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / called
        products = of_calls + mean[:, np.newaxis] * of_missing
        variation = (squares * called - total**2) / called
        left = variation - np.einsum("ij,ij->i", products[:, 1:terms], products[:, 1:terms]) / n
        left = np.where(left > TOLERANCE * variation, left, np.nan)
        beta = products[:, terms] / left
        residual = np.maximum(n - beta * products[:, terms], 0.0)
        standard_error = np.sqrt(residual / df / left)
        statistic = beta / standard_error
    return Scan(mean / 2, missing / n, beta, standard_error, statistic, df)
