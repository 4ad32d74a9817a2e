"""Proportional hazards on shares: the result mode.

Successive risk sets may differ by a single row, so sums over them are never opened: Σw, Σwz and Σwzz' of
every risk set, and of the events that are tied in it, are shared, with the weights w = exp(z'β) of a public
β. What becomes of them stays on shares: means are quotients, of which the second derivatives of the
likelihood are sums of products. Those go as long numbers into a secret system of equations, and Newton's step
alone is opened.

Most of what is shared is Σwzz'. The means of zz' are not needed one by one, only what they add up to over
events: so each row's w·zz' is counted once, in the last cell in which it is at risk, and multiplied there by
the hazard that has come together until then. Where the weights of some risk set are so small that hazards
exceed the range of numbers, means are taken after all.

Where sites as strata are near the pooled rows, their information does for the first step, which takes Σw and
Σwz alone: if rows were dealt to sites at random, it leaves a thousandth of the error. Whether it does is seen
from the steps, which all know.

Covariates are measured so that |z| ≤ 1. Then means and mean squares are 1 at most, whatever the weights are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from fedstats.expressions import Array
from fedstats.regression._equations import (
    LARGEST,
    Recent,
    coefficients,
    full,
    inverted,
    rough_inverse,
    scale_of,
)
from fedstats.survival import _cox_start
from fedstats.survival._cox_km import secretly_weighted
from fedstats.survival._cox_open import Estimates
from fedstats.survival._cox_rows import Rows
from fedstats.survival._prefix import ONE
from fedstats.survival._ties import Ties
from fedstats.survival._times import Codes
from protocols import field
from protocols.digits import SHORT, read
from protocols.divide import Divisor, Normal, joined
from protocols.fixed import Format
from protocols.floating import SecretFloat, floating
from protocols.floating import concatenate as join_floats
from protocols.functions import chebyshev, log_of
from protocols.inputs import sum_shares
from protocols.long import LongArray, LongFormat, cumsum, lengthen, multiply, narrow, sum_long
from protocols.long import concatenate as join_long
from protocols.long import matmul as long_matmul
from protocols.mersenne import Elements
from protocols.secret import SecretArray, concatenate, inner, known_product, matmul, public, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from protocols.engine import Engine

#: Fractional bits of sums over risk sets, where there is room.
SUMS = 46
#: A site's rows at risk are lost among roundings if Σw has fewer bits than these.
LEAST = 18
#: Roundings of w·zz' and of hazards, by what they are multiplied by, are below this for each event.
ROUNDED = 2.0**-26
#: Fractional bits of public weights between −1 and 1, where there is room.
WEIGHTS = 40
#: Fractional bits of what Newton's method starts with.
STARTING = 60


@dataclass(frozen=True, eq=False, repr=False)
class SharedEvaluation:
    """The partial likelihood at one β, as shares.

    Attributes
    ----------
    beta
        Where; public.
    score
        Its gradient, shape ``(p,)``.
    information
        Its negative second derivatives, shape ``(p, p)``; None where only the gradient was asked for.
    risk
        What they are made of.
    weights
        Σw of the risk sets.
    gone
        Σ log(1 − κρ) over tied events, as exact as it comes, but for a public constant; see `_ties`.
    """

    beta: Array
    score: LongArray
    information: LongArray | None
    risk: RiskMeans
    weights: Normal
    gone: SecretArray | None


@dataclass(frozen=True, eq=False, repr=False)
class RiskMeans:
    """Means over risk sets, and then over the events of tied cells as parts of Σw of the risk set.

    Attributes
    ----------
    means
        Of z, shape ``(p, cells + tied cells)``.
    once
        How often these count: as there are events, or F_0 and −F_1 of `_ties` where they are tied.
    twice
        How often the products of two means of a tied cell count: G_0, −G_1 and G_2, shape ``(3, tied
        cells)``; None if there are none.
    products
        What Σ zz' over events, expected, is made of; None where only the gradient was asked for.
    """

    means: SecretArray
    once: SecretArray
    twice: SecretArray | None
    products: OfRows | OfRiskSets | None


@dataclass(frozen=True, eq=False, repr=False)
class OfRows:
    """Σ zz' over events, expected, by the rows that are at risk.

    Attributes
    ----------
    sums
        Σw·z_k·z_l over rows whose last cell it is, and over tied events, ``(pairs, cells + tied cells)``.
    hazards
        What each cell adds to the hazard, and what of that tied events are spared, negative.
    edges
        Where the strata begin and end.
    bound, fraction, largest
        Of the result; fractional bits of cumulative hazards, and what they do not exceed.
    """

    sums: SecretArray
    hazards: LongArray
    edges: Codes
    bound: float
    fraction: int
    largest: float

    def weighted(self, g: Array | SecretArray) -> SecretArray:
        """Return Σ g·zz', for g given as `hazards` are. Three rounds, or five for secret g."""
        hazards, size = self.hazards, int(self.edges[-1])
        if isinstance(g, SecretArray):
            hazards = multiply(hazards, lengthen(g, hazards.on))
        elif (g != 1).any():
            hazards = hazards * np.ldexp(np.rint(np.ldexp(g, WEIGHTS)), -WEIGHTS)
        strata = [cumsum(hazards[start:end]) for start, end in pairwise(self.edges) if end > start]
        cumulative = join_long([*strata, hazards[size:]])
        short = narrow(cumulative, bound=self.largest, fraction=self.fraction)
        return matmul(self.sums, short, bound=self.bound)


@dataclass(frozen=True, eq=False, repr=False)
class OfRiskSets:
    """The same by the risk sets, for weights that are smaller.

    Attributes
    ----------
    squares
        Means of z_k·z_l, but times d, shape ``(pairs, cells + tied cells)``.
    counted
        `RiskMeans.once`, over the same d.
    bound, fraction
        Of the result; fractional bits of factors.
    """

    squares: SecretArray
    counted: SecretArray
    bound: float
    fraction: int

    def weighted(self, g: Array | SecretArray) -> SecretArray:
        """See `OfRows.weighted`."""
        counted = _weighted(self.counted, g)
        return matmul(
            self.squares, counted.rescale(min(counted.format.fraction, self.fraction)), bound=self.bound
        )


@dataclass(eq=False, repr=False)
class SharedModel:
    """The pooled partial likelihood, evaluated on shares.

    Parameters
    ----------
    run
        The analysis, in the result mode.
    rows, names
        This site's rows, with |z| ≤ 1, and the covariates.
    is_efron
        Whether tied events leave the risk set one after the other, in part.
    nobs
        Rows of all sites.
    spread
        About the standard deviation of each covariate, in its unit.
    """

    #: A step is small if no coefficient changes by this much, in standard deviations of the covariates.
    tolerance: ClassVar[float] = 3e-7
    #: Largest z'β at which weights are shared: e^12 is 160,000 times the hazard of a row with mean
    #: covariates.
    largest: ClassVar[float] = 12.0

    run: Analysis
    rows: Rows
    names: tuple[str, ...]
    is_efron: bool
    nobs: int
    spread: Array

    def __post_init__(self) -> None:
        cells = self.rows.cells
        tied = cells.events > 1 if self.is_efron else np.zeros(len(cells), bool)
        self._tied, self._single = np.flatnonzero(tied), np.flatnonzero(~tied)
        self._ties = Ties.of(cells.events[self._tied]) if len(self._tied) else None
        self._events = int(cells.events.sum())
        self._recent = Recent()
        self._has_started, self.is_newton, self._is_short = False, True, True
        #: `SharedEvaluation.weights` and `SharedEvaluation.gone` without covariates.
        self._null: tuple[Normal, SecretArray | None] | None = None
        self._encoded: dict[tuple[int | None, int, int], tuple[Elements, Elements]] = {}
        #: The last β, and what was divided by there.
        self._last: tuple[Array, Divisor] | None = None

    @property
    def _engine(self) -> Engine:
        return self.run.engine

    @property
    def _factor_fraction(self) -> int:
        """Fractional bits of means, and of other factors of which products are summed over all events."""
        return (self._engine.room - 3 - self._events.bit_length()) // 2

    def ranges(self, beta: Array) -> Codes:
        """Return whether this site's weights are out of range, and whether they are out of that of `OfRows`.

        They are out of range if they are too large to be shared, or too small in some risk set.
        """
        rows = self.rows
        if np.max(rows.z @ beta, initial=0.0) > self.largest:
            return np.array([1, 1])
        weights = rows.weights(beta)
        total, many = rows.at_risk(np.stack([weights, np.ones_like(weights)]))
        total, events = total[many > 0], rows.cells.events[many > 0]
        if (total < math.ldexp(1.0, LEAST - self._sums_fraction)).any():
            return np.array([1, 1])
        # No more hazard comes together than this while a site has rows at risk, whatever the others' weights
        # are: Σ 1/(1 − κρ) over d tied events, κ = k/d, is below d·(1 + log d).
        hazard = (events * (1 + self.is_efron * np.log(events)) / total).sum()
        # Hazards are rounded too, and weights multiply that.
        most = max(self._engine.n * hazard, weights.sum())
        return np.array([0, int(most > self._largest_hazard)])

    def is_within(self, many: Codes) -> bool:
        """Tell whether `ranges`, added up over the sites, allow for an evaluation."""
        self._is_short = not many[1]
        return not many[0]

    @property
    def _short_fraction(self) -> int:
        """Fractional bits of the factors of `OfRows`."""
        return (self._engine.room - 2 - self._events.bit_length()) // 2

    @property
    def _largest_hazard(self) -> float:
        """Hazards, and sums of weights, by which roundings stay below `ROUNDED` for each event."""
        return self._events * math.ldexp(ROUNDED, self._short_fraction)

    # --- Evaluation ----------------------------------------------------------------------------------

    def evaluate(self, beta: Array, *, second: bool) -> SharedEvaluation:
        """Return the score at β, and with `second` the information. Some 45 or 55 rounds."""
        rows, p, size, tied = self.rows, len(beta), len(self.rows.cells), self._tied
        weights = rows.weights(beta)
        own = [rows.sums(weights, tied)]
        if second:
            products = rows.products(weights, tied, at_risk=not self._is_short)
            fewer = self._sums_fraction - self._short_fraction if self._is_short else 0
            own.append(np.ldexp(products, -fewer))
        sums = self._shared_sums(np.concatenate(own))
        W = sums[0, :size]
        fractions = [self._variable(W[tied], sums[0, size:])]
        sets = [W]
        if self._null is None:  # the same without covariates, where weights are 1
            sets.append(self._shared_sums(rows.at_risk(np.ones((1, len(rows.z)))))[0].assume(self.nobs))
            fractions.append(self._variable(sets[1][tied], rows.cells.events[tied]))
        divisor = self._divided_by(concatenate([W, *(below for _, below in fractions), *sets[1:]]), beta)

        both = np.concatenate([np.arange(size), tied])
        of_both = divisor[both]
        finest = divisor.finest(1)  # with few events, or many sites, there is more room for other factors
        fraction = min(self._factor_fraction, finest)
        means = of_both.into(sums[1 : p + 1], bound=1, fraction=fraction).assume(ONE)
        above = concatenate([above for above, _ in fractions])
        fraction = min((self._engine.room - 8) // 2, finest)
        y = divisor[size : size + len(above)].into(above, bound=1, fraction=fraction)
        once, twice, gone = self._tied_sums(y)
        if self._null is None:
            self._null = divisor[len(divisor.y) - size :].normal, gone[-1]
        risk = RiskMeans(means, once, twice, None)
        if second:
            risk = replace(risk, products=self._products(sums[p + 1 :], once, of_both))
        score, information = self._derivatives(risk, np.ones(size))
        return SharedEvaluation(beta, score, information, risk, divisor[:size].normal, gone[0])

    def _divided_by(self, numbers: SecretArray, beta: Array) -> Divisor:
        """Return sums of weights at β as a divisor: from the last, if no weight has changed much since then.

        All these are sums of weights, or of these times public positive numbers, and |z| ≤ 1.
        """
        change = np.inf if self._last is None else float(np.abs(beta - self._last[0]).sum())
        if self._last is not None and self._last[1].reaches(change):
            divisor = self._last[1][: len(numbers)].near(numbers, change)
        else:
            divisor = Divisor(numbers)
        self._last = beta, divisor
        return divisor

    @property
    def _octaves(self) -> int:
        return self._ties.octaves if self._ties else 0

    @property
    def _most(self) -> float:
        """What no Σw exceeds."""
        return self.nobs * math.exp(self.largest)

    @property
    def _sums_fraction(self) -> int:
        """Fractional bits of sums over risk sets."""
        return min(SUMS, self._engine.room - 6 - self._octaves - math.ceil(math.log2(self._most)))

    def _shared_sums(self, own: Array) -> SecretArray:
        """Share sums of weights, or of these times products of covariates."""
        shares = sum_shares(self._engine, own, bound=self._most, fraction=self._sums_fraction)
        return shares.assume(self._most)

    # --- Ties ----------------------------------------------------------------------------------------

    def _variable(self, W: SecretArray, D: SecretArray | Codes) -> tuple[SecretArray, SecretArray]:
        """Return numerator and denominator of y of `_ties`, (2q − 1)·D − q·W and q·W − D."""
        one = 1 << self._octaves
        bound = 2 * W.format.magnitude

        def over(x: SecretArray) -> SecretArray:
            return SecretArray(x.engine, x.shares, Format.of(bound, x.format.fraction + self._octaves))

        return over(W * -(one + 1) + D * (one + 2)), over(W * (one + 1) - D * one)

    def _tied_sums(
        self, y: SecretArray
    ) -> tuple[SecretArray, SecretArray | None, Sequence[SecretArray | None]]:
        """Return `RiskMeans.once` and `RiskMeans.twice`, and what logarithms add up to.

        Parameters
        ----------
        y
            That of `_ties` of the tied cells at one β or, one behind the other, at two, of which the second
            is wanted for its logarithms alone.
        """
        engine, ties, events = self._engine, self._ties, self.rows.cells.events
        if ties is None:
            return public(engine, events, self._factor_fraction), None, [None, None]
        most, cells = ties.largest, len(self._tied)
        terms = chebyshev(y, ties.degree)
        bound = max(2.0 * most, 2 + math.log(most))
        digits = (engine.room - 4 - math.frexp(bound)[1]) // 2
        series = self._series(terms[:, :cells], slice(7), bound).rescale(digits)
        u, squared = series[5], series[6]
        scales = stack([u, u, squared, squared, squared])
        kept = min(digits, self._factor_fraction)
        found = known_product(scales, series[:5], Format.of(bound, kept), drop=2 * digits - kept)
        found = found * events[self._tied]
        F, G = found[:2].assume(most * (1 + math.log(most))), found[2:].assume(1.7 * most**2)
        once = concatenate([public(engine, events, kept).assume(F.format.magnitude), -F[1]])
        once.shares[self._tied] = F.shares[0]
        twice = stack([G[0], -G[1], G[2]])
        total = 2.0 * self._events
        gone = [
            self._series(terms[:, at : at + cells], slice(7, None), total).sum().assume(total)
            for at in range(0, len(y), cells)
        ]
        return once, twice, gone

    def _series(self, terms: SecretArray, which: slice, bound: float) -> SecretArray:
        """Return Σ c_k·T_k, exact, shape ``(functions, cells)``. Local.

        Parameters
        ----------
        terms
            From degree 1 on, shape ``(degree, cells)``.
        which
            Of the functions of `_ties`.
        bound
            What no such sum exceeds, nor one of these over all cells.
        """
        digits = terms.format.fraction
        places = min(digits, terms.engine.room - 4 - digits - math.frexp(bound)[1])
        first, factors = self._coefficients(which, digits, places)
        total = field.add(field.matmul(factors, terms.shares.swapaxes(0, 1)[:, :, np.newaxis]), first)
        return SecretArray(terms.engine, total[:, :, 0].swapaxes(0, 1), Format.of(bound, digits + places))

    def _coefficients(self, which: slice, digits: int, places: int) -> tuple[Elements, Elements]:
        """Return coefficients as elements, the first ones with `digits` fractional bits more."""
        key = which.start, digits, places
        if key not in self._encoded:
            integers = np.rint(np.ldexp(cast(Ties, self._ties).coefficients[:, which], places)).astype(
                np.int64
            )
            first = field.mul(field.from_ints(integers[:, :, :1]), field.from_ints(1 << digits))
            self._encoded[key] = first, field.from_ints(integers[:, :, 1:])
        return self._encoded[key]

    # --- Derivatives ---------------------------------------------------------------------------------

    def _products(self, sums: SecretArray, once: SecretArray, divisor: Divisor) -> OfRows | OfRiskSets:
        """Return `RiskMeans.products`, given shares of sums over rows, or over risk sets."""
        counted, bound = self._over(once, divisor), float(self._events)
        if not self._is_short:
            squares = divisor.scaled(sums, bound=ONE, fraction=self._factor_fraction)
            return OfRiskSets(squares, counted, bound, self._factor_fraction)
        sums = SecretArray(sums.engine, sums.shares, Format.of(self._most, self._short_fraction))
        hazards, edges = _restored(counted, divisor.normal), self.rows.cells.edges
        return OfRows(sums, hazards, edges, bound, self._short_fraction, self._largest_hazard)

    def _over(self, once: SecretArray, divisor: Divisor) -> SecretArray:
        """Return `RiskMeans.once` over d, of as many fractional bits as its products can have."""
        bound = divisor.y.format.magnitude * once.format.magnitude
        digits = self._engine.room - 4 - math.frexp(bound)[1] - divisor.y.format.fraction
        once = once.rescale(min(once.format.fraction, digits))
        fraction = min(self._factor_fraction, once.format.fraction + divisor.y.format.fraction)
        drop = once.format.fraction + divisor.y.format.fraction - fraction
        return known_product(once, divisor.y, Format.of(bound, fraction), drop=drop)

    def _derivatives(self, risk: RiskMeans, g: Array | SecretArray) -> tuple[LongArray, LongArray | None]:
        """Return Σ g·(z − m) over events, and Σ g·V if there are squares, for g given at each cell."""
        bound, size, means = float(self._events), len(self.rows.cells), risk.means
        all_g = g[np.concatenate([np.arange(size), self._tied])]
        expected = matmul(means, _weighted(risk.once, all_g), bound=bound)
        score = (self._sum_over_events(g) - expected).assume(2 * bound)
        if risk.products is None:
            return lengthen(score), None
        second = risk.products.weighted(all_g)
        single = g[self._single] * self.rows.cells.events[self._single]
        left, right = self._short(_weighted(means[:, self._single], single, bound)), means[:, self._single]
        if risk.twice is not None:
            of_sets, of_events = means[:, self._tied], means[:, size:]
            factors = self._outer_factors(of_sets, of_events, _weighted(risk.twice, g[self._tied]))
            left = concatenate([left, factors], axis=-1)
            right = concatenate([right, of_sets, of_events], axis=-1)
        outer = matmul(left, right.T, bound=bound)
        p = len(self.names)
        information = (second - outer[np.triu_indices(p)]).assume(2 * bound)
        both = lengthen(concatenate([score, information]))
        return both[:p], full(both[p:], p)

    def _sum_over_events(self, g: Array | SecretArray) -> SecretArray:
        """Return Σ g·z over events."""
        rows, bound, fraction = self.rows, float(self._events), self._factor_fraction
        if isinstance(g, SecretArray):
            own, most = rows.dying(rows.z.T), float(rows.cells.events.max())
            sums = sum_shares(self._engine, own, bound=most, fraction=fraction).assume(most)
            return secretly_weighted(sums, g, most).sum(axis=-1).assume(bound)
        return sum_shares(self._engine, rows.over_events(g[rows.where]), bound=bound, fraction=fraction)

    def _outer_factors(self, of_sets: SecretArray, of_events: SecretArray, twice: SecretArray) -> SecretArray:
        """Return Σ v·e and −Σ κ·v·e over the events of each cell, v = 1/(1 − κρ), e the mean of what is left.

        Σ ee' is their product with the means of sets, and of events.
        """
        p, bound = len(of_sets), twice.format.magnitude
        digits = self._engine.room - 4 - math.frexp(bound)[1] - of_sets.format.fraction
        twice = twice.rescale(min(digits, twice.format.fraction))
        factors = inner(
            stack([of_sets, of_events], axis=-1).reshape(p, 1, -1, 2),
            stack([twice[:2], twice[1:]], axis=-1),
            bound=bound,
            fraction=self._factor_fraction,
        )
        return factors.reshape(p, 2 * of_sets.shape[1])

    def _short(self, x: SecretArray) -> SecretArray:
        """Return factors with as many fractional bits as their products can have."""
        return x.rescale(min(x.format.fraction, self._factor_fraction))

    def _logliks(self) -> SecretArray:
        """Return Σ (z'β − log Σw) over events without covariates and at the last β."""
        rows, found, bound = self.rows, self._found, 64.0 * self._events
        null, gone = cast("tuple[Normal, SecretArray | None]", self._null)
        own = np.array([0.0, rows.over_events(1.0) @ found.beta])
        weights = joined([null, found.weights])
        logs = (log_of(weights).reshape(2, -1) * rows.cells.events).sum(axis=-1).assume(bound)
        if self._ties is not None and gone is not None and found.gone is not None:
            logs = logs + stack([gone, found.gone]).rescale(logs.format.fraction)
            if self._engine.point == 1:  # public, but rounded by one party for all
                own = own - self._ties.constants.sum()
        total = sum_shares(self._engine, own, bound=bound, fraction=logs.format.fraction) - logs
        return total.assume(2 * bound)

    # --- Results -------------------------------------------------------------------------------------

    def start(self, A: Array, b: Array) -> Array | None:
        """Open the maximum of the sum of all sites' parabolas, None if there is none; see `_cox_start`."""
        p = len(self.names)
        upper = np.triu_indices(p)
        own = [b, A[upper]]
        if self._events >= _cox_start.ENOUGH * self._engine.n * p:
            scale = scale_of(self._events)
            own.append(_cox_start.part_of_inverse(A * scale, len(self.rows.died), self._events)[upper])
        with self.run.on_shares() as engine:
            pooled = sum_long(engine, np.concatenate(own), bound=LARGEST, fraction=STARTING)
            right, matrices = pooled[:p].reshape(p, 1), pooled[p:].reshape(len(own) - 1, -1)
            inverse = rough_inverse(*(full(one, p) for one in matrices), largest=self._events)
            if inverse is None:
                return None
            self._recent.inverse = self._inverse = inverse
            self._has_started = True
            secret = coefficients(inverse.times(right)[:, 0])
        return self.run.reveal({"steps": secret}, part=0)["steps"]

    def step(self, beta: Array, number: int) -> Array:
        """Open a step from β: Newton's, but the first after a start with the information of that."""
        self.is_newton = not self._has_started
        self._has_started = False
        with self.run.on_shares():
            self._found = self.evaluate(beta, second=self.is_newton)
            if self._found.information is not None:
                self._inverse = self._recent.inverted(self._found.information, self.names)
            secret = coefficients(self._inverse.times(self._found.score.reshape(-1, 1))[:, 0])
        return self.run.reveal({"steps": secret}, part=number)["steps"]

    def finish(self, meat: LongArray | None = None) -> Estimates:
        """Open variances and likelihoods at the last β; given Σ rr' of score residuals, a sandwich's."""
        with self.run.on_shares():
            variances, unit = self._inverse.variances(meat)
            results: dict[str, SecretArray | SecretFloat] = {
                "variances": variances,
                "log-likelihood": self._logliks(),
            }
        opened = self.run.reveal(results)
        null, loglik = opened["log-likelihood"].tolist()
        return Estimates(opened["variances"] * unit, None, null, loglik, None)

    def proportionality(self, transform: Array | SecretArray) -> Array:
        """Open score statistics that g(t)·z has coefficient 0: of each covariate, and of all together.

        The score is that at the estimates, to the first order: steps end before its own is quite 0.
        """
        diagonal = np.arange(len(self.names))
        with self.run.on_shares():
            score, *informations = self._derivatives(self._found.risk, transform)
            informations += self._derivatives(self._found.risk, transform * transform)[1:]
            first, second = cast("list[LongArray]", informations)
            slope = self._inverse.times(first).T
            score = score - long_matmul(slope, self._found.score.reshape(-1, 1))[:, 0]
            rest = second - long_matmul(slope, first)
            each = floating(multiply(score, score)) / floating(rest[diagonal, diagonal])
            inverse = inverted(rest, tuple(f"the product of {name} with time" for name in self.names))
            solved = inverse.times(score.reshape(-1, 1))[:, 0]
            together = floating(multiply(score, solved).sum().reshape(1))
            statistics = join_floats([each, together])
        return self.run.reveal({"proportionality": statistics})["proportionality"]


def _restored(x: SecretArray, normal: Normal) -> LongArray:
    """Return x·2^(s − top), exact: what x is for d, for the numbers themselves. Two rounds."""
    power = public(x.engine, np.ones(len(x), np.int64)) if normal.power is None else normal.power
    bounds = [part.format.bound or 0 for part in (x, power)]
    both = np.concatenate([x.shares, power.shares])
    long = lengthen(SecretArray(x.engine, both, Format(0, max(bounds))), SHORT)
    value = read(long[: len(x)], LongFormat(x.format.fraction + normal.top, bounds[0]))
    return multiply(value, read(long[len(x) :], LongFormat(0, bounds[1])))


def _weighted(x: SecretArray, weights: Array | SecretArray, bound: float | None = None) -> SecretArray:
    """Return x times weights along the last axis; exact if they are public whole numbers.

    The products are within a bound, by default that of x.
    """
    if isinstance(weights, SecretArray):
        return secretly_weighted(x, weights, bound)
    if (weights == np.rint(weights)).all():
        return x * weights.astype(np.int64)
    bound = x.format.magnitude if bound is None else bound
    digits = max(0, min(WEIGHTS, x.engine.room - 4 - x.format.fraction - math.frexp(bound)[1]))
    whole = x * np.rint(np.ldexp(weights, digits)).astype(np.int64)
    exact = SecretArray(x.engine, whole.shares, Format.of(bound, x.format.fraction + digits))
    return exact.rescale(x.format.fraction)
