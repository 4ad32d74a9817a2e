"""Score tests of variants on shares, for the logistic scan: only score and variance are opened.

Missing calls are set to the mean of the site's own calls, and then U and V of `logistic_kernel` are to a
variant what slope and variation are in the linear scan (`imputed_shares`): V = Σwg² − |g'WZ|²/n with
Z'WZ = n·I. The bounds are the same, as w is at most ¼.

Where |z| is large, `saddle_shares` looks for saddle points. Where it finds none, and of linked columns, U is
taken for the difference from its mean of a binomial number of variance V: N = V/φ(1 − φ) draws, with the part
φ of cases. That is exact for carriers of one copy whose risks do not differ, and has the skewness that makes
the normal distribution wrong of rare variants and few cases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fedstats.gwas import imputed_shares
from fedstats.gwas._linear_model import LEAST, Model
from fedstats.gwas.linear_kernel import Scan
from fedstats.gwas.logistic_kernel import score_sums

if TYPE_CHECKING:
    from fedstats.gwas.genotypes import Block
    from fedstats.gwas.members import Members, Numbers
    from protocols.engine import Engine
    from protocols.secret import SecretArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Contribution(imputed_shares.Contribution):
    """What one site adds for a block of variants; its repr shows no number."""

    @classmethod
    def of_scores(
        cls, block: Block, members: Members, numbers: Numbers, weights: Numbers, n: int
    ) -> Contribution:
        """Return this site's sums of a block; `numbers` and `weights` are the null model's."""
        sums = score_sums(block, numbers, weights)
        missing, total, squares = sums.T[:3]
        which = np.flatnonzero(missing)
        called = len(members) - missing
        mean = np.divide(total, called, out=np.zeros_like(total), where=called > 0)
        of_missing = block.of_missing(which, numbers)
        products = sums[:, 3:]
        products[which] += mean[which, np.newaxis] * of_missing
        squares[which] += mean[which] ** 2 * of_missing[:, 1]
        lacking = (called == 0) & (len(members) > 0)
        # The covariates first, then the score; Σwg is one of the former's, as they have the intercept.
        ordered = np.column_stack([products[:, 2:], products[:, 0]])
        return cls(squares, ordered / np.sqrt(n), lacking.astype(np.int64))

    def pool(self, engine: Engine, model: Model) -> Pooled:
        """Share what this site has, add up what all have, and take the covariates out."""
        pooled = super().pool(engine, model)
        return Pooled(pooled.left, pooled.slope, pooled.whole, model)


@dataclass(frozen=True, eq=False, repr=False)
class Pooled(imputed_shares.Pooled):
    """V and U/√n of a block, as shares."""

    def exceed(self, threshold: float) -> SecretArray:
        """Return secret bits: whether the P value of z = U/√V is below the threshold."""
        return self.above(float(stats.norm.isf(threshold / 2)) ** 2 / self.model.n)

    def scan(self, common: Floats, own: Floats) -> Scan:
        """Return one step of Newton's method from the null model: U/V and 1/√V."""
        n = self.model.n
        variance = np.where(common > LEAST, common, np.nan)[:, np.newaxis]
        unknown = np.full(len(own), np.nan)
        size = np.full(len(own), float(n))
        beta = own[:, :, 0] * np.sqrt(n) / variance
        return Scan(unknown, size, unknown, size, beta, 1 / np.sqrt(variance))


def binomial_neg_log10_p(score: Floats, variance: Floats, cases: float) -> Floats:
    """Return −log10 of the two-sided P value of scores, taken for binomial.

    Parameters
    ----------
    score, variance
        U and V.
    cases
        Their part among the samples, φ.

    Notes
    -----
    Barndorff-Nielsen's formula at the saddle points of ±|U|, which have closed forms. Whether the allele
    that is counted is the rarer one changes the sign of U, and so nothing. A score that not even all draws
    can make has the probability of all.
    """
    draws = variance / (cases * (1 - cases))
    tails = []
    for target, impossible in ((np.abs(score), draws * np.log(cases)), (-np.abs(score), -np.inf)):
        x = target / draws + cases
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.log(x) - np.log(cases) - np.log1p(-x) + np.log1p(-cases)
            cumulant = draws * (np.log1p(-cases) - np.log1p(-x) - cases * t)
            r = np.sign(t) * np.sqrt(2 * np.maximum(t * target - cumulant, 0))
            v = t * np.sqrt(draws * x * (1 - x))
            tail = stats.norm.logsf(np.abs(r + np.log(v / r) / r))
        tails.append(np.where((x > 0) & (x < 1), tail, impossible))
    return np.asarray(-np.logaddexp(*tails) / np.log(10))
