"""The partial likelihood of linked patients, on shares, at coefficients that all know.

Linear predictors are sums of shared columns, and weights w = e^η are secret numbers. In the order of time
(`timeline`) sums of w and wz over risk sets are running sums, and the means a of the risk sets their
quotients. With Λ the running sum of the reciprocals of the sums of w, the derivatives of the logarithm are

    Σ (z − a)    and    Σ aa' − Σ wΛ·zz',

over the events, but for the last sum, which is over patients: products of covariates need not be summed over
risk sets. Of d tied events, by Efron's approximation, the k-th (from 0) is drawn from ((d − k)·F + k·G)/d,
where F is a sum over the risk set, and G that without the tied events. Both d and k are secret, since nobody
knows which of these events count; they are whole numbers, so these sums are exact, times d.

Covariates are measured so that |z| ≤ 1, and so are their means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fedstats.expressions import Array
from fedstats.regression._equations import full
from fedstats.vertical.timeline import Timeline
from protocols.compare import BIT, complement, negative
from protocols.divide import Divisor
from protocols.fixed import Format
from protocols.functions import LOG2, exp, log
from protocols.long import LongArray, lengthen
from protocols.secret import SecretArray, concatenate, inner, known_product, matmul, multiply, stack

#: Largest |η| of which weights are computed.
LARGEST = 12.0
#: Largest sum of the magnitudes of coefficients.
FARTHEST = 2.0**8
#: Fractional bits of covariates, of their sums with coefficients, and of these.
DIGITS, PREDICTORS, COEFFICIENTS = 30, 33, 32
#: Fractional bits of weights, where there is room, and bits of the reciprocals of their sums.
WEIGHTS, RECIPROCALS = 40, 26
#: Least fractional bits of a row's part of the information.
PARTS = 24
#: Room for the last places of numbers that are 1 at most.
ONE = 1.0 + 2.0**-16


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """The partial likelihood at one β, as shares.

    Attributes
    ----------
    predictors
        η, shape ``(marks,)``; None at β = 0.
    sums
        Of the weights in the risk set of each event that counts, times d of its tied events; 1 at other
        marks.
    score, information
        Gradient and negative second derivatives of the logarithm, shapes ``(p,)`` and ``(p, p)``.
    beyond
        Whether some |η| is too large, which makes the rest meaningless; None if none can be.
    """

    predictors: SecretArray | None
    sums: SecretArray
    score: LongArray
    information: LongArray
    beyond: SecretArray | None


class Likelihood:
    """The partial likelihood.

    Parameters
    ----------
    line
        The order of time.
    member
        Which marks are of patients that count, bits of shape ``(marks,)``.
    values
        Covariates by mark, shape ``(p, marks)``, with `DIGITS` fractional bits.
    is_efron
        Whether tied events leave the risk set one after the other, in part.

    Attributes
    ----------
    event
        Bits, shape ``(marks,)``: events that count.
    events
        How many there are; set once that is known to all.

    Notes
    -----
    **Cost.** Some 5 rounds, two for each bit of the number of tied events.
    """

    events: int

    def __init__(self, line: Timeline, member: SecretArray, values: SecretArray, *, is_efron: bool) -> None:
        self._line, self._engine = line, member.engine
        self._z = multiply(values, member).assume(1.0)
        self.event = SecretArray(self._engine, multiply(line.event, member).shares, BIT)
        self._counts = member if line.entry is None else multiply(1 - 2 * line.entry, member).assume(1)
        self._parts = self.event[np.newaxis]
        if is_efron and line.shape.bits:
            self._parts = self._efron()
        self._tied = (self._parts.sum(axis=0) + complement(self.event)).assume(1 << line.shape.bits)
        self._of_events = inner(self._z, self.event)

    def _efron(self) -> SecretArray:
        """Return d − k and k of each event that counts, 0 of others, shape ``(2, marks)``."""
        behind = self._line.ahead(self.event[np.newaxis])
        ends = self._line.at_ends(behind, behind - self.event)
        first, last = ends[0][0], ends[1][0]
        before = first - behind[0]
        return multiply(stack([first - last - before, before]), self.event).assume(1 << self._line.shape.bits)

    @property
    def largest(self) -> float:
        """Largest |η| of which weights are computed.

        The weight of a row that enters late is taken away from risk sets before it, which may be small: then
        Λ is large where that weight is.
        """
        if self._line.entry is None:
            return LARGEST
        octaves = self._engine.room - 5 - DIGITS - PARTS - self.events.bit_length()
        return min(LARGEST, octaves * LOG2 / 2)

    # --- Evaluation ----------------------------------------------------------------------------------

    def evaluate(self, beta: Array) -> Evaluation:
        """Return the derivatives at β, of which no more than `COEFFICIENTS` fractional bits are there.

        Notes
        -----
        **Leakage.** Nothing. **Cost.** For three parties 65 rounds, 45 at 0; see `coxph`.
        """
        reach, beyond, eta = 0.0, None, None
        weights = self._counts.rescale(self._fraction(0.0))
        if beta.any():
            reach, beyond, eta = self._predictors(beta)
            weights = (exp(eta) * self._counts).rescale(self._fraction(reach)).assume(self._most(reach))
        products = multiply(self._z, weights).assume(self._most(reach))
        sums, of_products = self._risk_sets(concatenate([weights[np.newaxis], products]), reach)
        by = Divisor(sums)
        # The more parties, the less room: the reciprocals give up what the means need.
        fraction = (self._engine.room - 6) // 2
        digits = self._engine.room - 5 - fraction
        means = by.into(of_products, bound=1, fraction=fraction, digits=digits).assume(ONE)
        score = (self._of_events - means.sum(axis=-1)).assume(2 * self.events)
        information = self._information(weights, means, self._hazards(by, sums, reach), reach)
        both = lengthen(concatenate([score, information]))
        p = len(beta)
        return Evaluation(eta, sums, both[:p], full(both[p:], p), beyond)

    def _predictors(self, beta: Array) -> tuple[float, SecretArray | None, SecretArray]:
        """Return what no |η| exceeds, whether one did before it was set to 0, and all."""
        reach = float(np.abs(beta).sum())
        eta = (beta[np.newaxis] @ self._z.rescale(PREDICTORS))[0].assume(reach * ONE)
        if reach * ONE <= self.largest:
            return reach * ONE, None, eta
        out = negative(stack([self.largest - eta, eta + self.largest])).sum(axis=0)
        eta = (eta * (1 - out)).assume(self.largest)
        return self.largest, negative(-out.sum().reshape(1)), eta

    def _risk_sets(self, v: SecretArray, reach: float) -> tuple[SecretArray, SecretArray]:
        """Return Σw and Σwz over the risk set of each event that counts, times d; of other marks 1 and 0."""
        line, bound = self._line, self._most(reach) * max(self._line.shape.marks, 1)
        behind = line.ahead(v).assume(bound)
        if len(self._parts) == 1:
            found = multiply(line.at_first(behind), self.event).assume(bound)
        else:
            ends = line.at_ends(behind, (behind - v).assume(bound))
            bound *= 1 << line.shape.bits
            found = inner(ends.transpose(1, 2, 0), self._parts.T, bound=bound)
        return (found[0] + complement(self.event)).assume(bound + 1), found[1:]

    def _hazards(self, by: Divisor, sums: SecretArray, reach: float) -> SecretArray:
        """Return Λ at each mark: Σ of 1/Σw over the events until then, or as much of that as it was there."""
        line, bound = self._line, self._most(reach)
        # As many bits as they have; and as many as leave room for so large ones.
        whole = (sums.format.bound or 0).bit_length() - sums.format.fraction + RECIPROCALS
        digits = min(whole, self._engine.room - 4 - RECIPROCALS - math.frexp(bound)[1])
        added = by.into(self._parts, bound=bound, fraction=digits, digits=RECIPROCALS)
        until = line.so_far(added)
        if len(added) == 1:
            return line.at_last(until)[0]
        # Of the events at the same time: all of the first part, and none of the second.
        return line.at_ends(until[1:] - added[1:], until[:1]).sum(axis=0)[0]

    def _information(
        self, weights: SecretArray, means: SecretArray, hazards: SecretArray, reach: float
    ) -> SecretArray:
        """Return Σ wΛ·zz' − Σ aa', its upper triangle."""
        engine, events = self._engine, float(self.events)
        # An event adds less than 1 to the wΛ of all rows together; late ones take away what they add.
        most = events * (1.01 if self._line.entry is None else self._most(reach) ** 2) + 1
        short = (engine.room - 5 - self.events.bit_length()) // 2
        room = engine.room - 3 - math.frexp(most)[1]
        coarse = min(weights.format.fraction, max(room - hazards.format.fraction, room // 2))
        weights, hazards = (
            weights.rescale(coarse),
            hazards.rescale(min(hazards.format.fraction, room - coarse)),
        )
        finest = weights.format.fraction + hazards.format.fraction
        digits = min(2 * short - DIGITS, room - DIGITS, finest)
        reading = Format.of(most, digits)
        each = known_product(weights, hazards, reading, drop=finest - digits)
        weighted = known_product(self._z, each.broadcast_to(self._z.shape), reading, drop=DIGITS)
        first = matmul(weighted, self._z.T, bound=1.1 * events + 1, fraction=digits + DIGITS)
        means = means.rescale(short)
        second = matmul(means, means.T, bound=1.1 * events + 1, fraction=2 * short)
        upper = np.triu_indices(len(means))
        return (first - second)[upper].assume(2 * events)

    # --- Results -------------------------------------------------------------------------------------

    def logarithms(self, *found: Evaluation) -> SecretArray:
        """Return the logarithms of the partial likelihood at some β. 27 rounds."""
        fraction = min(one.sums.format.fraction for one in found)
        sums = [*(one.sums.rescale(fraction) for one in found), self._tied.rescale(fraction)]
        logs = log(stack(sums)).sum(axis=-1)
        bound = 64.0 * self.events + 64.0
        of_events = [
            (logs[-1] - logs[place] + (0 if one.predictors is None else inner(one.predictors, self.event)))
            for place, one in enumerate(found)
        ]
        return stack(of_events).assume(bound)

    # --- Room ----------------------------------------------------------------------------------------

    def _most(self, reach: float) -> float:
        """Return what no weight exceeds."""
        return math.exp(reach) * 1.01

    def _fraction(self, reach: float) -> int:
        """Return the fractional bits of weights of which products with covariates, and sums, have room."""
        octaves = math.ceil(reach / LOG2) + 1
        longest = (self._line.shape.marks << self._line.shape.bits).bit_length()
        room = self._engine.room - octaves
        return min(WEIGHTS, room - 3 - DIGITS, room - 7 - longest)
