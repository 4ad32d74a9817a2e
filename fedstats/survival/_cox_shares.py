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
from protocols.divide import divide, reciprocal
from protocols.fixed import Format
from protocols.floating import SecretFloat, floating
from protocols.floating import concatenate as join_floats
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
        sums = self._shared_sums(self.rows.weights(beta))
        p, size = len(beta), len(self.rows.cells)
        # The tied cells follow on the same axis, with the sums over their events.
        divisors = sums[0][np.concatenate([np.arange(size), self._tied])]
        ratios = divide(sums, divisors, bound=1, fraction=self._fraction).assume(ONE)
        means, squares = ratios[1 : p + 1], ratios[p + 1 :]
        logs: list[tuple[SecretArray, Codes]] = [(sums[0, :size], self.rows.cells.events)]
        tied = None
        if len(self._tied):
            gone = ratios[0, size:][self._cell] * self._place
            left = (-gone + self._ties).assume(int(self._ties.max()))
            logs.append((left, np.ones(len(self._cell), np.int64)))
            both = np.concatenate([self._tied, np.arange(size, size + len(self._tied))])
            tied = TiedMeans(means[:, both], squares[:, both], *self._tied_weights(left))
        risk = RiskMeans(means[:, self._single], squares[:, self._single], tied)
        score, information = self._derivatives(risk, np.ones(size))
        return SharedEvaluation(beta, score, information, risk, logs)

    def _shared_sums(self, weights: Array) -> SecretArray:
        """Share Σw, Σwz and Σwzz' over risk sets and then, for tied cells, over their events."""
        own = self.rows.sums(weights, self._tied)
        most = self.nobs * math.exp(self.largest)
        fraction = min(SUMS, self._engine.room - 5 - math.ceil(math.log2(most)))
        return sum_shares(self._engine, own, bound=most, fraction=fraction).assume(most)

    def _tied_weights(self, left: SecretArray) -> tuple[SecretArray, SecretArray]:
        """Return `TiedMeans.once` and `TiedMeans.twice`, given d − k·ρ at each event."""
        d, k, most = self._ties, self._place, int(self._ties.max())
        v = reciprocal(left, least=1).assume(ONE).rescale(self._fraction)
        squared = v * v
        once = self._by_cell(concatenate([v * d, v * -k]).reshape(2, len(d)))
        twice = self._by_cell(
            concatenate([squared * d**2, squared * -(d * k), squared * k**2]).reshape(3, len(d))
        )
        # Sums of 1, 1/2, …, 1/d and of their squares.
        once = once.assume(most * (1 + math.log(most)))
        return once.reshape(2 * len(self._tied)), twice.assume(1.65 * most**2)

    def _by_cell(self, values: SecretArray) -> SecretArray:
        """Return sums over the events of each tied cell, along the last axis. Local."""
        running = cumulative_sum(values)[:, np.cumsum(self.rows.cells.events[self._tied]) - 1]
        return concatenate([running[:, :1], running[:, 1:] - running[:, :-1]], axis=-1)

    def _derivatives(self, risk: RiskMeans, g: Array) -> tuple[LongArray, LongArray]:
        """Return Σ g·(z − m) over events, and Σ g·V, for g given at each cell."""
        events, engine, bound = self.rows.cells.events, self._engine, float(self._events)
        own = (g[self.rows.where][:, np.newaxis] * self.rows.z[self.rows.died]).sum(axis=0)
        score = sum_shares(engine, own, bound=bound, fraction=self._fraction)
        single = events[self._single] * g[self._single]
        weighted = _weighted(risk.means, single, bound)
        score = score - weighted.sum(axis=-1)
        second = _weighted(risk.squares, single, bound).sum(axis=-1)
        left, right = self._short(weighted), self._short(risk.means)
        if risk.tied is not None:
            means, squares = self._short(risk.tied.means), self._short(risk.tied.squares)
            factors = self._short(_weighted(risk.tied.once, np.tile(g[self._tied], 2)))
            score = score - inner(factors, means, bound=bound)
            second = second + inner(factors, squares, bound=bound)
            left = concatenate([left, self._outer_factors(risk.tied, g[self._tied])], axis=-1)
            right = concatenate([right, means], axis=-1)
        outer = matmul(left, right.T, bound=bound)
        p = len(own)
        information = second.assume(bound) - outer[np.triu_indices(p)]
        return lengthen(score.assume(2 * bound)), full(lengthen(information.assume(2 * bound)), p)

    def _outer_factors(self, tied: TiedMeans, g: Array) -> SecretArray:
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

    def finish(self, meat: LongArray | None = None) -> Estimates:
        """Open variances and likelihoods at the last β; given Σ rr' of score residuals, a sandwich's."""
        p = len(self.names)
        with self.run.on_shares():
            matrix = self._inverse.sandwich(meat, L=np.eye(p))
            results: dict[str, SecretArray | SecretFloat] = {
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


def _weighted(x: SecretArray, weights: Array, bound: float | None = None) -> SecretArray:
    """Return x times public weights along the last axis; exact if they are whole numbers.

    The products are within a bound, by default that of x.
    """
    digits = 0 if (weights == np.rint(weights)).all() else WEIGHTS
    whole = x * np.rint(np.ldexp(weights, digits)).astype(np.int64)
    if not digits:
        return whole
    format_ = Format(x.format.fraction + digits, whole.format.bound)
    exact = SecretArray(x.engine, whole.shares, format_)
    return exact.assume(x.format.magnitude if bound is None else bound).rescale(x.format.fraction)
