"""Proportional hazards on shares: the result mode.

Successive risk sets may differ by a single row, so sums over them are never opened: Σw, Σwz and Σwzz' of
every risk set, and of the events that are tied in it, are shared, with the weights w = exp(z'β) of a public
β. What becomes of them stays on shares: means are quotients, of which the second derivatives of the
likelihood are sums of products. Those go as long numbers into a secret system of equations, and Newton's step
alone is opened.

Covariates are measured so that |z| ≤ 1. Then means and mean squares are 1 at most, whatever the weights are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fedstats.expressions import Array
from fedstats.regression._equations import (
    Recent,
    coefficients,
    full,
    inverse_or_none,
    inverted,
    shared,
)
from fedstats.survival._cox_km import secretly_weighted
from fedstats.survival._cox_open import Estimates
from fedstats.survival._cox_rows import Rows
from fedstats.survival._prefix import ONE, cumulative_sum
from fedstats.survival._ties import nodes
from protocols.divide import divide, reciprocal
from protocols.fixed import Format
from protocols.floating import SecretFloat, floating
from protocols.floating import concatenate as join_floats
from protocols.functions import log
from protocols.inputs import sum_shares
from protocols.long import LongArray, lengthen, multiply
from protocols.long import matmul as long_matmul
from protocols.secret import SecretArray, concatenate, inner, matmul, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from protocols.engine import Engine

#: Fractional bits of sums over risk sets, where there is room.
SUMS = 46
#: Fractional bits of public weights between −1 and 1.
WEIGHTS = 24


@dataclass(frozen=True, eq=False, repr=False)
class SharedEvaluation:
    """The partial likelihood at one β, as shares.

    Attributes
    ----------
    beta
        Where; public.
    score, information
        Its gradient and negative second derivatives, shapes ``(p,)`` and ``(p, p)``.
    risk
        What they are made of.
    weights
        Σw over risk sets, and then over the events of tied cells.
    """

    beta: Array
    score: LongArray
    information: LongArray
    risk: RiskMeans
    weights: SecretArray


@dataclass(frozen=True, eq=False, repr=False)
class RiskMeans:
    """Means over risk sets.

    Attributes
    ----------
    means, squares
        Of z and of the pairs z_k·z_l over the risk set of each cell in which events are not tied, or count as
        if they were not; shapes ``(p, cells)`` and ``(pairs, cells)``.
    tied
        The same of the other cells; None if there are none.
    """

    means: SecretArray
    squares: SecretArray
    tied: TiedMeans | None


@dataclass(frozen=True, eq=False, repr=False)
class TiedMeans:
    """Means over risk sets with tied events, which leave one after the other, in part.

    With ρ the share of a cell's d events in Σw of the risk set, d − k·ρ of d parts are left when k events
    have left. Let v_k = 1/(d − k·ρ).

    Attributes
    ----------
    means, squares
        Σ over the risk sets, and then over the events of each cell, as parts of Σw of the risk set; shapes
        ``(p, 2·cells)`` and ``(pairs, 2·cells)``.
    once
        Σ d·v and then −Σ k·v of each cell, by which these count.
    twice
        Σ d²·v², −Σ d·k·v² and Σ k²·v², by which their products count; shape ``(3, cells)``.
    """

    means: SecretArray
    squares: SecretArray
    once: SecretArray
    twice: SecretArray


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
        self._events = int(cells.events.sum())
        # Places that stand for the d tied events of a cell: its number among the tied ones, and weights.
        found = [nodes(d) for d in cells.events[self._tied].tolist()]
        self._cell = np.repeat(np.arange(len(found)), [len(place) for place, _ in found])
        self._place, self._weight = (
            np.concatenate([one[part] for one in found]) if found else np.zeros(0) for part in (0, 1)
        )
        self._ties = cells.events[self._tied][self._cell]
        self._recent = Recent()

    @property
    def _engine(self) -> Engine:
        return self.run.engine

    @property
    def _fraction(self) -> int:
        """Fractional bits of means: as many as `divide` gives."""
        return (self._engine.room - 6) // 2

    @property
    def _factor_fraction(self) -> int:
        """Fractional bits of factors of which products are summed over all events."""
        return (self._engine.room - 3 - self._events.bit_length()) // 2

    # --- Evaluation ----------------------------------------------------------------------------------

    def evaluate(self, beta: Array) -> SharedEvaluation:
        """Return score and information at β. About 50 rounds."""
        sums = self._shared_sums(self.rows.sums(self.rows.weights(beta), self._tied))
        p, size = len(beta), len(self.rows.cells)
        # The tied cells follow on the same axis, with the sums over their events.
        divisors = sums[0][np.concatenate([np.arange(size), self._tied])]
        ratios = divide(sums, divisors, bound=1, fraction=self._fraction).assume(ONE)
        means, squares = ratios[1 : p + 1], ratios[p + 1 :]
        tied = None
        if len(self._tied):
            left = self._left(ratios[0, size:])
            both = np.concatenate([self._tied, np.arange(size, size + len(self._tied))])
            tied = TiedMeans(means[:, both], squares[:, both], *self._tied_weights(left))
        risk = RiskMeans(means[:, self._single], squares[:, self._single], tied)
        score, information = self._derivatives(risk, np.ones(size))
        return SharedEvaluation(beta, score, information, risk, sums[0])

    def _shared_sums(self, own: Array) -> SecretArray:
        """Share sums of weights, or of these times products of covariates."""
        most = self.nobs * math.exp(self.largest)
        fraction = min(SUMS, self._engine.room - 5 - math.ceil(math.log2(most)))
        return sum_shares(self._engine, own, bound=most, fraction=fraction).assume(most)

    def _tied_weights(self, left: SecretArray) -> tuple[SecretArray, SecretArray]:
        """Return `TiedMeans.once` and `TiedMeans.twice`, given d − k·ρ at each event."""
        d, k, w, most = self._ties, self._place, self._weight, int(self._ties.max())
        v = reciprocal(left, least=1).assume(ONE).rescale(self._fraction)
        # Sums of 1, 1/2, …, 1/d and of their squares.
        once = self._by_cell(v, w * np.stack([d, -k]), most * (1 + math.log(most)))
        twice = self._by_cell(v * v, w * np.stack([d**2, -d * k, k**2]), 1.65 * most**2)
        return once.reshape(2 * len(self._tied)), twice

    def _left(self, share: SecretArray) -> SecretArray:
        """Return d − k·ρ at the places k of the events of each tied cell, given ρ along the last axis."""
        most = int(self._ties.max())
        gone = self._times(share[..., self._cell], self._place, most)
        return (-gone + self._ties).assume(most)

    def _times(self, x: SecretArray, weights: Array, bound: float) -> SecretArray:
        """Return x times public weights, with as many fractional bits as x; exact if they are whole."""
        exact, digits = self._exact_product(x, weights, bound)
        return _rounded(exact, digits, x.format.fraction, bound)

    def _by_cell(self, values: SecretArray, weights: Array, bound: float) -> SecretArray:
        """Return Σ weight·value over the places of each tied cell, for each row of weights."""
        exact, digits = self._exact_product(values, weights, bound)
        running = cumulative_sum(exact)[
            :, np.append(np.flatnonzero(np.diff(self._cell)), len(self._cell) - 1)
        ]
        sums = concatenate([running[:, :1], running[:, 1:] - running[:, :-1]], axis=-1)
        return _rounded(sums, digits, values.format.fraction, bound)

    def _exact_product(self, x: SecretArray, weights: Array, bound: float) -> tuple[SecretArray, int]:
        """Return x times public weights as integers, and their fractional bits."""
        room = self._engine.room - 6 - x.format.fraction - math.ceil(math.log2(bound))
        digits = 0 if (weights == np.rint(weights)).all() else max(0, min(WEIGHTS, room))
        integers = np.rint(np.ldexp(weights, digits)).astype(np.int64)
        return SecretArray(x.engine, x.shares, Format()) * integers, x.format.fraction + digits

    def _derivatives(self, risk: RiskMeans, g: Array | SecretArray) -> tuple[LongArray, LongArray]:
        """Return Σ g·(z − m) over events, and Σ g·V, for g given at each cell."""
        events, bound = self.rows.cells.events, float(self._events)
        score = self._sum_over_events(g)
        single = g[self._single] * events[self._single]
        weighted = _weighted(risk.means, single, bound)
        score = score - weighted.sum(axis=-1)
        second = _weighted(risk.squares, single, bound).sum(axis=-1)
        left, right = self._short(weighted), self._short(risk.means)
        if risk.tied is not None:
            means, squares = self._short(risk.tied.means), self._short(risk.tied.squares)
            factors = self._short(_weighted(risk.tied.once, g[np.tile(self._tied, 2)]))
            score = score - inner(factors, means, bound=bound)
            second = second + inner(factors, squares, bound=bound)
            left = concatenate([left, self._outer_factors(risk.tied, g[self._tied])], axis=-1)
            right = concatenate([right, means], axis=-1)
        outer = matmul(left, right.T, bound=bound)
        p = len(self.names)
        information = second.assume(bound) - outer[np.triu_indices(p)]
        return lengthen(score.assume(2 * bound)), full(lengthen(information.assume(2 * bound)), p)

    def _sum_over_events(self, g: Array | SecretArray) -> SecretArray:
        """Return Σ g·z over events."""
        rows, bound = self.rows, float(self._events)
        if isinstance(g, SecretArray):
            own, most = rows.dying(rows.z.T), float(rows.cells.events.max())
            sums = sum_shares(self._engine, own, bound=most, fraction=self._fraction).assume(most)
            return secretly_weighted(sums, g, most).sum(axis=-1).assume(bound)
        own = (g[rows.where][:, np.newaxis] * rows.z[rows.died]).sum(axis=0)
        return sum_shares(self._engine, own, bound=bound, fraction=self._fraction)

    def _outer_factors(self, tied: TiedMeans, g: Array | SecretArray) -> SecretArray:
        """Return Σ d·v·e and −Σ k·v·e over the events of each cell, e the mean of what is left at each.

        Σ ee' is their product with `TiedMeans.means`.
        """
        cells = len(self._tied)
        weights = _weighted(tied.twice, g)
        fraction = (self._engine.room - 4 - (tied.twice.format.bound or 0).bit_length() + self._fraction) // 2
        weights, means = (x.rescale(min(fraction, x.format.fraction)) for x in (weights, tied.means))
        of_set, of_events = means[:, :cells], means[:, cells:]
        first, middle, last = (weights[power] for power in range(3))
        left = concatenate([of_set * first, of_set * middle], axis=-1)
        return self._short(
            (left + concatenate([of_events * middle, of_events * last], axis=-1)).assume(
                tied.once.format.magnitude
            )
        )

    def _short(self, x: SecretArray) -> SecretArray:
        """Return factors with as many fractional bits as their products can have."""
        return x.rescale(min(x.format.fraction, self._factor_fraction))

    def _logliks(self, found: list[tuple[Array, SecretArray]]) -> SecretArray:
        """Return Σ (z'β − log Σw) over events at each β, given β and Σw; of tied events, of what is left."""
        cells, bound = self.rows.cells, 64.0 * self._events
        own = np.array([(self.rows.z[self.rows.died] @ beta).sum() for beta, _ in found])
        weights = stack([sums for _, sums in found])
        of_sets, of_events = weights[:, : len(cells)], weights[:, len(cells) :]
        total = sum_shares(self._engine, own, bound=bound, fraction=self._fraction)
        total = total - (log(of_sets) * cells.events).sum(axis=-1)
        if len(self._tied):
            share = divide(of_events, of_sets[:, self._tied], bound=1, fraction=self._fraction).assume(ONE)
            logs = log(self._left(share))
            exact, digits = self._exact_product(logs, self._weight, bound)
            # d − k·ρ is d times what is left.
            total = total - _rounded(exact.sum(axis=-1), digits, logs.format.fraction, bound)
            total = total + float(np.log(cells.events[self._tied]) @ cells.events[self._tied])
        return total.assume(2 * bound)

    # --- Results -------------------------------------------------------------------------------------

    def start(self, A: Array, b: Array) -> Array | None:
        """Open the maximum of the sum of all sites' parabolas, None if there is none; see `_cox_start`."""
        p = len(self.names)
        with self.run.on_shares() as engine:
            left, right = shared(engine, A[np.triu_indices(p)], b[:, np.newaxis])
            self._recent.inverse = inverse_or_none(full(left, p))
            if self._recent.inverse is None:
                return None
            secret = coefficients(self._recent.inverse.times(right)[:, 0])
        return self.run.reveal({"steps": secret}, part=0)["steps"]

    def step(self, beta: Array, number: int) -> Array:
        """Open Newton's step from β."""
        with self.run.on_shares():
            self._found = self.evaluate(beta)
            self._inverse = self._recent.inverted(self._found.information, self.names)
            secret = coefficients(self._inverse.times(self._found.score.reshape(-1, 1))[:, 0])
        return self.run.reveal({"steps": secret}, part=number)["steps"]

    def finish(self, meat: LongArray | None = None) -> Estimates:
        """Open variances and likelihoods at the last β; given Σ rr' of score residuals, a sandwich's."""
        p, rows = len(self.names), self.rows
        with self.run.on_shares():
            matrix = self._inverse.sandwich(meat, L=np.eye(p))
            ones = np.ones((1, len(rows.z)))
            counts = np.concatenate([rows.at_risk(ones), rows.dying(ones)[:, self._tied]], axis=1)
            at_null = np.zeros(p), self._shared_sums(counts)[0]
            results: dict[str, SecretArray | SecretFloat] = {
                "variances": floating(matrix[np.arange(p), np.arange(p)]),
                "log-likelihood": self._logliks([at_null, (self._found.beta, self._found.weights)]),
            }
        opened = self.run.reveal(results)
        null, loglik = opened["log-likelihood"].tolist()
        return Estimates(opened["variances"], None, null, loglik, None)

    def proportionality(self, transform: Array | SecretArray) -> Array:
        """Open score statistics that g(t)·z has coefficient 0: of each covariate, and of all together."""
        diagonal = np.arange(len(self.names))
        with self.run.on_shares():
            score, first = self._derivatives(self._found.risk, transform)
            _, second = self._derivatives(self._found.risk, transform * transform)
            rest = second - long_matmul(first, self._inverse.times(first))
            each = floating(multiply(score, score)) / floating(rest[diagonal, diagonal])
            inverse = inverted(rest, tuple(f"the product of {name} with time" for name in self.names))
            solved = inverse.times(score.reshape(-1, 1))[:, 0]
            together = floating(multiply(score, solved).sum().reshape(1))
            statistics = join_floats([each, together])
        return self.run.reveal({"proportionality": statistics})["proportionality"]


def _rounded(x: SecretArray, digits: int, fraction: int, bound: float) -> SecretArray:
    """Return integers with so many fractional bits as numbers with fewer."""
    return SecretArray(x.engine, x.shares, Format.of(bound, digits)).rescale(fraction)


def _weighted(x: SecretArray, weights: Array | SecretArray, bound: float | None = None) -> SecretArray:
    """Return x times weights along the last axis; exact if they are public whole numbers.

    The products are within a bound, by default that of x.
    """
    if isinstance(weights, SecretArray):
        return secretly_weighted(x, weights, bound)
    digits = 0 if (weights == np.rint(weights)).all() else WEIGHTS
    whole = x * np.rint(np.ldexp(weights, digits)).astype(np.int64)
    if not digits:
        return whole
    format_ = Format(x.format.fraction + digits, whole.format.bound)
    exact = SecretArray(x.engine, whole.shares, format_)
    return exact.assume(x.format.magnitude if bound is None else bound).rescale(x.format.fraction)
