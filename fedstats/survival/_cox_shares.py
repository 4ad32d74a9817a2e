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
from fedstats.regression._equations import coefficients, full, inverted
from fedstats.survival._cox_open import Estimates
from fedstats.survival._cox_rows import Rows
from fedstats.survival._prefix import ONE, cumulative_sum
from fedstats.survival._times import Codes
from protocols.divide import divide, known_product, reciprocal
from protocols.fixed import Format
from protocols.floating import concatenate as join_floats
from protocols.floating import floating
from protocols.functions import log
from protocols.inputs import sum_shares
from protocols.long import LongArray, lengthen, multiply
from protocols.long import matmul as long_matmul
from protocols.secret import SecretArray, concatenate, inner, matmul

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
    logs
        Numbers of whose logarithms the likelihood is made, with how often each counts.
    """

    beta: Array
    score: LongArray
    information: LongArray
    risk: RiskMeans
    logs: list[tuple[SecretArray, Codes]]


@dataclass(frozen=True, eq=False, repr=False)
class RiskMeans:
    """Means over risk sets.

    Attributes
    ----------
    means, squares
        Of z and of the pairs z_k·z_l over the risk set of each cell in which events are not tied, or count as
        if they were not; shapes ``(p, cells)`` and ``(pairs, cells)``.
    at_event
        The mean of z at each tied event, of what is left of the risk set then; shape ``(p, events)``.
    tied_squares, tied_weights
        What the pairs of tied cells are made of: their means over the risk set and those over the events, on
        one axis, and by what they are weighted.
    """

    means: SecretArray
    squares: SecretArray
    at_event: SecretArray | None
    tied_squares: SecretArray | None
    tied_weights: SecretArray | None


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
    tolerance: ClassVar[float] = 1e-7
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
        within = np.flatnonzero(tied[cells.repeated])
        # Of each tied event: its cell among the tied ones, its place among d.
        self._cell = np.searchsorted(self._tied, cells.repeated[within])
        self._place = cells.place[within]
        self._ties = cells.events[self._tied][self._cell]

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
        weights = self.rows.weights(beta)
        sums = self._shared_sums(weights)
        p = len(beta)
        size = len(self.rows.cells)
        # The tied cells follow on the same axis, with the sums over their events.
        divisors = sums[0][np.concatenate([np.arange(size), self._tied])]
        ratios = divide(sums, divisors, bound=1, fraction=self._fraction).assume(ONE)
        logs: list[tuple[SecretArray, Codes]] = [(sums[0, :size], self.rows.cells.events)]
        at_event = tied_squares = tied_weights = None
        if len(self._tied):
            of_events = ratios[:, size:]
            left = (self._ties - of_events[0][self._cell] * self._place).assume(int(self._ties.max()))
            logs.append((left, np.ones(len(self._cell), np.int64)))
            per_left = reciprocal(left, least=1).assume(ONE).rescale(self._fraction)
            at_event = self._means_at_events(ratios[1 : p + 1, self._tied], of_events[1 : p + 1], per_left)
            tied_squares = concatenate([ratios[p + 1 :, self._tied], of_events[p + 1 :]], axis=-1)
            tied_weights = self._weights_of_squares(per_left)
        risk = RiskMeans(
            ratios[1 : p + 1, self._single],
            ratios[p + 1 :, self._single],
            at_event,
            tied_squares,
            tied_weights,
        )
        score, information = self._derivatives(risk, np.ones(size))
        return SharedEvaluation(beta, score, information, risk, logs)

    def _shared_sums(self, weights: Array) -> SecretArray:
        """Share Σw, Σwz and Σwzz' over risk sets and then, for tied cells, over their events."""
        values = np.concatenate([self.rows.linear(weights), self.rows.squares(weights)])
        own = np.concatenate([self.rows.at_risk(values), self.rows.dying(values)[:, self._tied]], axis=1)
        most = self.nobs * math.exp(self.largest)
        fraction = min(SUMS, self._engine.room - 5 - math.ceil(math.log2(most)))
        return sum_shares(self._engine, own, bound=most, fraction=fraction).assume(most)

    def _means_at_events(
        self, means: SecretArray, of_events: SecretArray, per_left: SecretArray
    ) -> SecretArray:
        """Return (d·m − k·m_D) / (d − k·ρ), the mean when k of the d tied events have left in part."""
        sums = means[:, self._cell] * self._ties - of_events[:, self._cell] * self._place
        factor = per_left.broadcast_to(sums.shape)
        reading = Format.of(ONE, self._fraction)
        return known_product(sums, factor, reading, drop=self._fraction)

    def _weights_of_squares(self, per_left: SecretArray) -> SecretArray:
        """Return Σ d/(d − k·ρ) and −Σ k/(d − k·ρ) over the events of each tied cell, one after the other."""
        ends = np.cumsum(self.rows.cells.events[self._tied]) - 1
        running = [cumulative_sum(per_left * factor)[ends] for factor in (self._ties, -self._place)]
        parts = [concatenate([total[:1], total[1:] - total[:-1]]) for total in running]
        d = int(self._ties.max())
        return concatenate(parts).assume(d * (1 + math.log(d)))

    def _derivatives(self, risk: RiskMeans, g: Array) -> tuple[LongArray, LongArray]:
        """Return Σ g·(z − m) over events, and Σ g·V, for g given at each cell."""
        events, engine = self.rows.cells.events, self._engine
        own = (g[self.rows.where][:, np.newaxis] * self.rows.z[self.rows.died]).sum(axis=0)
        score = sum_shares(engine, own, bound=self._events, fraction=self._fraction)

        bound = float(self._events)
        d = events[self._single] * g[self._single]
        score = score - _weighted(risk.means, d, bound).sum(axis=-1)
        second = _weighted(risk.squares, d, bound).sum(axis=-1)
        left, right = [_weighted(risk.means, d, bound)], [risk.means]
        if risk.at_event is not None and risk.tied_squares is not None and risk.tied_weights is not None:
            weighted = _weighted(risk.at_event, g[self._tied][self._cell], ONE)
            score = score - weighted.sum(axis=-1)
            left.append(weighted)
            right.append(risk.at_event)
            factor = _weighted(risk.tied_weights, np.tile(g[self._tied], 2), risk.tied_weights.format.magnitude)
            second = second + inner(self._short(factor), self._short(risk.tied_squares), bound=bound)
        outer = matmul(
            self._short(concatenate(left, axis=-1)), self._short(concatenate(right, axis=-1)).T, bound=bound
        )
        p = len(own)
        information = second.assume(bound) - outer[np.triu_indices(p)]
        return lengthen(score.assume(2 * bound)), full(lengthen(information.assume(2 * bound)), p)

    def _short(self, x: SecretArray) -> SecretArray:
        """Return factors with as many fractional bits as their products can have."""
        return x.rescale(min(x.format.fraction, self._factor_fraction))

    def _loglik(self, found: SharedEvaluation) -> SecretArray:
        """Return Σ (z'β − log Σw) over events, shape ``(1,)``; tied events count what is left of Σw."""
        own = np.array([(self.rows.z[self.rows.died] @ found.beta).sum()])
        bound = 64.0 * self._events
        total = sum_shares(self._engine, own, bound=bound, fraction=self._fraction)
        total = total + float(np.log(self._ties).sum())  # d − k·ρ is d times what is left
        for numbers, weights in found.logs:
            total = total - (log(numbers) * weights).sum().reshape(1)
        return total.assume(2 * bound)

    # --- Results -------------------------------------------------------------------------------------

    def step(self, beta: Array, number: int) -> Array:
        """Open Newton's step from β."""
        with self.run.on_shares():
            self._found = self.evaluate(beta)
            if number == 0:
                self._null = self._loglik(self._found)
            self._inverse = inverted(self._found.information, self.names)
            secret = coefficients(self._inverse.times(self._found.score.reshape(-1, 1))[:, 0])
        return self.run.reveal({"steps": secret}, part=number)["steps"]

    def finish(self) -> Estimates:
        """Open variances and likelihoods at the last β."""
        p = len(self.names)
        with self.run.on_shares():
            matrix = self._inverse.sandwich(L=np.eye(p))
            results = {
                "variances": floating(matrix[np.arange(p), np.arange(p)]),
                "log-likelihood": concatenate([self._null, self._loglik(self._found)]),
            }
        opened = self.run.reveal(results)
        null, loglik = opened["log-likelihood"].tolist()
        return Estimates(opened["variances"], None, null, loglik, None)

    def proportionality(self, transform: Array) -> Array:
        """Open score statistics that g(t)·z has coefficient 0: of each covariate, and of all together."""
        diagonal = np.arange(len(self.names))
        with self.run.on_shares():
            score, first = self._derivatives(self._found.risk, transform)
            _, second = self._derivatives(self._found.risk, transform**2)
            rest = second - long_matmul(first, self._inverse.times(first))
            each = floating(multiply(score, score)) / floating(rest[diagonal, diagonal])
            inverse = inverted(rest, tuple(f"the product of {name} with time" for name in self.names))
            solved = inverse.times(score.reshape(-1, 1))[:, 0]
            together = floating(multiply(score, solved).sum().reshape(1))
            statistics = join_floats([each, together])
        return self.run.reveal({"proportionality": statistics})["proportionality"]


def _weighted(x: SecretArray, weights: Array, bound: float) -> SecretArray:
    """Return x times public weights along the last axis; exact if they are whole numbers."""
    digits = 0 if (weights == np.rint(weights)).all() else WEIGHTS
    whole = x * np.rint(np.ldexp(weights, digits)).astype(np.int64)
    if not digits:
        return whole
    format_ = Format(x.format.fraction + digits, whole.format.bound)
    return SecretArray(x.engine, whole.shares, format_).assume(bound).rescale(x.format.fraction)
