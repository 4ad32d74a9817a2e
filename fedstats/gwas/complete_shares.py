"""A block of the linear scan on shares, each variant regressed on the samples that have a call.

Every variant then has a matrix of its own. Let X = [1, Q] be the covariates, X'X = n·I, and r a trait's
residual, r'r = n, X'r = 0; with E = Σ_m xx' / n over the samples m that lack a call, and w = Σ_m xr / n, the
covariates' cross-products over calls are n(I − E), and theirs with the residual −nw. With u = Σ(g − 1)x / n
and s = Σ(g − 1)r / n over calls (g − 1, as the intercept takes up what is taken away, and no number is then
larger than 1), what regressing on X leaves of g, of r, and of their product is

    left = Σ(g − 1)²/n − u'(I − E)⁻¹u,  rest = 1 − Σ_m r²/n − w'(I − E)⁻¹w,  slope = s + u'(I − E)⁻¹w.

All of u, s, w, E are sums over samples, and so over sites. Where each site has an intercept of its own, each
centres over its own calls (`linear_kernel.deficit_here`), and there is no column of ones.

**The inverse on shares.** I − E = ¾(I − G) with G = (E − ¼I)/¾, whose eigenvalues are within ±⅓ if those of E
are not above ½. Then (I − G)⁻¹ is a geometric series, and with y = Σ_{j<k} Gʲu and e = Gᵏu,

    u'(I − G)⁻¹u = y'(u + e) + e'(I − G)⁻¹e,

so that a series of twice the length is had from one. E is never beyond I, so no number grows, whatever
the data. That the eigenvalues are not above ½ is decided on shares: with τ = tr G / d the largest is
within τ + ‖G − τI‖, of Frobenius. Variants for which this may be above ⅓, and so calls may be missing that
make up half of what some combination of covariates varies by, are not tested, nor is one with less than half
of a trait's variation among its calls.

**What is opened** of a variant is L = left/rest and S = slope/rest, both rounded, and the number of calls:
beta = S/L, and its standard error is √((1/L − beta²)/df). The three follow from these in turn. `rest` by
itself would tell the residual of a single sample without a call.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fedstats.gwas import linear_kernel
from fedstats.gwas._linear_model import LEAST, PRECISION, Model, whole_at
from fedstats.gwas.linear_kernel import Block, Scan
from fedstats.gwas.members import Members, Numbers
from protocols import secret as secrets
from protocols.compare import negative
from protocols.divide import reciprocal
from protocols.fixed import Format, fraction_for
from protocols.inputs import share, sum_shares
from protocols.secret import known_product

if TYPE_CHECKING:
    from protocols.engine import Engine
    from protocols.secret import SecretArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: The middle of the eigenvalues of E, and half their range.
MIDDLE: Final = 0.25
SCALE: Final = 1 / (1 - MIDDLE)
THIRD: Final = MIDDLE * SCALE
#: Terms of the series for a genotype and for a trait: the former leaves out 3^−24 of u'u, the latter, whose w
#: is small, 3^−14 of w'w.
TERMS: Final = (12, 7)
#: No sum is larger, by Cauchy and Schwarz, nor is a vector of the series: 4/3, and room for roundings.
LARGEST: Final = 1.4
#: Parts of missing calls between which the threshold of a gated scan is interpolated.
NODES: Final = (0.0, 0.25)


@dataclass(frozen=True, eq=False, repr=False)
class Contribution:
    """What one site adds for a block of variants; its repr shows no number.

    Attributes
    ----------
    sums
        Shape ``(variants, numbers)``; `Layout` says which.
    lacking
        1 where each site has an intercept of its own, and this one has samples and none of them a call.
    """

    sums: Floats
    lacking: Integers

    @classmethod
    def of(cls, block: Block, members: Members, numbers: Numbers, model: Model) -> Contribution:
        """Return this site's sums of a block."""
        first = linear_kernel.first_sums(block, numbers)
        which = np.flatnonzero(first[:, 0])
        called = len(members) - first[:, 0]
        layout = Layout.of(model)
        # Of calls: Σ(g − 1)², Σ(g − 1) and Σ(g − 1)t. Of missing calls: Σ1, Σt and Σtt'.
        lack = np.zeros((len(first), numbers.columns))
        pairs = np.zeros((len(first), numbers.pairs[0].size))
        lack[which], pairs[which] = block.squares_of_missing(which, numbers)
        if model.within:
            centred = linear_kernel.centre(first, len(members), which, lack[which])
            pairs[which] = linear_kernel.deficit(lack[which], pairs[which], called[which], numbers)
            squares, products = centred.squares, centred.products
        else:
            squares = first[:, 2] - 2 * first[:, 1] + called
            products = np.column_stack([first[:, 1] - called, first[:, 3:] + lack])
            pairs = np.column_stack([first[:, 0], lack, pairs])
        sums = layout.arrange(squares, products, pairs) / model.n
        sums[:, layout.missing] = first[:, :1] / _unit(model)
        lacking = np.full(len(first), model.within) & (called == 0) & (len(members) > 0)
        return cls(sums, lacking.astype(np.int64))

    def pool(self, engine: Engine, model: Model) -> Pooled:
        """Share what this site has, add up what all have, and take the covariates out."""
        layout = Layout.of(model)
        d, traits, (long, short) = layout.terms, model.traits, TERMS
        largest = max(2 * long * 4 / 3, 2 * d + 2.0)
        fraction = fraction_for(engine, math.sqrt(largest))
        sums = sum_shares(engine, self.sums, bound=LARGEST, fraction=fraction).assume(LARGEST)
        sums = sums - layout.middle
        G = sums[:, layout.matrix]
        u, w = sums[:, layout.genotype], sums[:, layout.residuals]
        start = secrets.concatenate([u, w], axis=1)

        power = total = start
        for step in range(1, long + 1):
            power = secrets.matmul(power, G, bound=LARGEST)
            if step == short:
                z, f = total[:, 1:], power[:, 1:]
                power, total = power[:, :1], total[:, :1]
            if step < long:
                total = total + power
        y, e = total, power

        vectors = secrets.concatenate([y, z], axis=1)
        forms = secrets.inner(vectors, start + secrets.concatenate([e, f], axis=1), bound=largest)
        crossed = secrets.inner(
            secrets.concatenate([y.broadcast_to(w.shape), e.broadcast_to(w.shape)], axis=2),
            secrets.concatenate([w, z], axis=2),
            bound=largest,
        )
        left = sums[:, layout.squares] - forms[:, :1]
        rest = 1 - sums[:, layout.residual_squares] - forms[:, 1:]
        slope = sums[:, layout.slopes] + crossed

        spread = layout.spread(sums, largest)
        conditions = negative(
            secrets.concatenate([spread, sums[:, layout.trace] - THIRD, 0.5 - rest], axis=1)
        )
        converges = conditions[:, :1] * conditions[:, 1:2]
        if model.within:
            whole = whole_at(1 - share(engine, self.lacking, bound=1), engine.n)
            converges = converges * whole.reshape(-1, 1)
        tested = converges * conditions[:, 2:]
        three = secrets.stack([left.broadcast_to(rest.shape), slope, rest - 1], axis=1)
        three = (three * tested.reshape(-1, 1, traits)).assume(1.01)
        called = (model.n / _unit(model) - sums[:, layout.missing]) * converges
        return Pooled(three[:, 0], three[:, 1], (three[:, 2] + 1).assume(1.01), called.assume(1.01), model)


@dataclass(frozen=True, eq=False, repr=False)
class Layout:
    """Where in the sums of a variant is what; in the unit n, but for counts, and as the series takes it.

    Attributes
    ----------
    terms
        d, the covariates; one that is zero if there are none.
    squares, missing, trace
        Σ(g − 1)², missing calls, and tr G / d.
    slopes, residual_squares
        Σ(g − 1)r, and Σ_m r², of each trait.
    genotype, residuals
        √(4/3)·u, shape ``(1, d)``, and √(4/3)·w, shape ``(traits, d)``.
    matrix
        G, shape ``(d, d)``.
    middle
        What is to be taken from the sums over all sites, of the trace and the matrix.
    """

    terms: int
    traits: int
    squares: slice
    missing: slice
    trace: slice
    slopes: slice
    residual_squares: slice
    genotype: Integers
    residuals: Integers
    matrix: Integers
    middle: Floats

    @classmethod
    def of(cls, model: Model) -> Layout:
        """Return where a scan's numbers are."""
        m, d = model.traits, max(1, model.terms + (not model.within))
        upper = np.triu_indices(d)
        start = 3 + 2 * m
        at = start + (1 + m) * d
        matrix = np.empty((d, d), np.int64)
        matrix[upper] = matrix.T[upper] = at + np.arange(upper[0].size)
        middle = np.zeros(at + upper[0].size)
        middle[[2, *np.diag(matrix)]] = THIRD
        return cls(
            terms=d,
            traits=m,
            squares=slice(0, 1),
            missing=slice(1, 2),
            trace=slice(2, 3),
            slopes=slice(3, 3 + m),
            residual_squares=slice(3 + m, start),
            genotype=np.arange(start, start + d).reshape(1, d),
            residuals=np.arange(start + d, at).reshape(m, d),
            matrix=matrix,
            middle=middle,
        )

    def arrange(self, squares: Floats, products: Floats, pairs: Floats) -> Floats:
        """Return sums over samples in their places, but for the missing calls.

        Parameters
        ----------
        squares
            As above.
        products
            Σ(g − 1)x of each covariate and trait.
        pairs
            Σ_m xx', as `Numbers.pairs` says, the ones among the covariates.
        """
        d, m = self.terms, self.traits
        covariates = products.shape[1] - m  # none, where d is 1
        cross = np.zeros((len(squares), d, d + m))
        first, second = np.triu_indices(d, m=d + m)
        cross[:, first, second] = pairs[:, :-m].reshape(len(squares), -1) if covariates else 0.0
        sums = np.zeros((len(squares), self.middle.size))
        sums[:, self.squares] = squares[:, np.newaxis]
        sums[:, self.trace] = np.einsum("vii->v", cross[:, :, :d])[:, np.newaxis] * SCALE / d
        sums[:, self.slopes] = products[:, covariates:]
        sums[:, self.residual_squares] = pairs[:, pairs.shape[1] - m :]
        sums[:, self.genotype[0, :covariates]] = products[:, :covariates] * math.sqrt(SCALE)
        sums[:, self.residuals] = cross[:, :, d:].transpose(0, 2, 1) * math.sqrt(SCALE)
        upper = np.triu_indices(d)
        sums[:, self.matrix[upper]] = cross[:, :, :d][:, upper[0], upper[1]] * SCALE
        return sums

    def spread(self, sums: SecretArray, largest: float) -> SecretArray:
        """Return ‖G − τI‖² − (⅓ − τ)², which is not positive if no eigenvalue of G is above ⅓ ≥ τ."""
        upper = np.triu_indices(self.terms)
        entries = np.append(self.matrix[upper], self.trace.start)
        weights = np.append(np.where(upper[0] == upper[1], 1, 2), -(self.terms + 1))
        chosen = sums[:, entries]
        squares = secrets.inner(chosen * weights, chosen, bound=largest).reshape(-1, 1)
        return squares + sums[:, self.trace] * (2 * THIRD) - THIRD**2


@dataclass(frozen=True, eq=False, repr=False)
class Pooled:
    """The regressions of a block, as shares; see `_linear_model.Pooled`.

    Attributes
    ----------
    left, slope, rest
        Shape ``(variants, traits)``, the first the same for all traits; 0, 0 and 1 where not tested.
    called
        How many samples have a call, in a unit of two to some power; shape ``(variants, 1)``, 0 where not
        tested.
    """

    numbers: ClassVar[int] = 2
    left: SecretArray
    slope: SecretArray
    rest: SecretArray
    called: SecretArray
    model: Model

    def __len__(self) -> int:
        return len(self.left)

    def take(self, which: Integers) -> Pooled:
        """Return some of the variants."""
        return Pooled(self.left[which], self.slope[which], self.rest[which], self.called[which], self.model)

    def rounded(self) -> tuple[SecretArray, SecretArray]:
        """Return how many samples have a call, and L and S."""
        both = secrets.stack([self.left, self.slope], axis=2)
        inverse = reciprocal(self.rest, least=0.49)
        reading = Format.of(2.1, both.format.fraction)
        both = known_product(
            both,
            inverse.reshape(*self.rest.shape, 1).broadcast_to(both.shape),
            reading,
            drop=inverse.format.fraction,
        )
        opened = min(reading.fraction, PRECISION + self.model.n.bit_length())
        return self.called[:, 0], both.rescale(opened)

    def exceed(self, threshold: float) -> SecretArray:
        """Return secret bits: whether the P value is below the threshold."""
        # t² = df·slope²/(left·rest − slope²) > c² is slope²·df/c² > left·rest − slope².
        df = np.maximum(self.model.df - self.model.n * np.array(NODES), 1)
        ratios = df / stats.t.isf(threshold / 2, df) ** 2
        # Both with few digits: a relative error of 10^−5 or less.
        unit = _unit(self.model)
        change = float(np.diff(ratios)[0]) / (NODES[1] - NODES[0]) * unit / self.model.n
        missing = self.model.n / unit - self.called.rescale(16)
        ratio = missing * round(change * 256) / 256 + float(ratios[0])
        ratio = ratio.assume(1.1 * float(ratios[0]) + 1)
        products = secrets.stack([self.slope, self.left]) * secrets.stack([self.slope, self.rest])
        squares, whole = products[0], products[1].assume(1.01)
        # Nothing passes for what roundings leave of it.
        least = max(LEAST / self.model.n, math.ldexp(8 * float(ratios[0]), -squares.format.fraction))
        return negative(whole - squares + least - squares.assume(1.01) * ratio)

    def scan(self, common: Floats, own: Floats) -> Scan:
        """Return the regressions that follow from what was opened."""
        n = self.model.n
        size = np.nan_to_num(common) * _unit(self.model)
        df = self.model.df - n + size
        with np.errstate(invalid="ignore"):
            left = np.where((own[:, :, 0] * n > LEAST) & (df > 0)[:, np.newaxis], own[:, :, 0], np.nan)
            beta = own[:, :, 1] / left
            residual = np.maximum(1 / left - beta**2, 0.0)
            standard_error = np.sqrt(residual / df[:, np.newaxis])
        rate = np.where(size > 0, 1 - size / n, np.nan)
        return Scan(np.full(len(own), np.nan), size, rate, df, beta, standard_error)


def _unit(model: Model) -> float:
    """Return a power of two that is no less than n.

    Counts in this unit are shared to the last bit. What a site's own count loses by rounding would be opened.
    """
    return math.ldexp(1.0, model.n.bit_length())
