"""Time as one site knows it: sums of shared numbers over risk sets, in an order that nobody else learns.

The site that has the times sorts its rows by stratum and time; of one time, those with an event come first.
Numbers that are shared of all patients of the list are brought into this order obliviously (`_pairs`), once.
A sum over a risk set is then a running sum from the end, which is local. Where events are tied it is that at
the first of them: the site shares the bits of their distances, by which sums are handed on along the list, in
as many rounds as a distance has bits. Sums over the strata that come later, which it shares as bits too, are
taken away.

A row that enters late makes two *marks*: one where it leaves, and one where it enters, which takes it away
from all that was before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats import _pairs
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.schema import Kind
from fedstats.survival._times import Codes, Grid
from protocols.compare import BIT
from protocols.fixed import Format
from protocols.inputs import share_rows
from protocols.scan import running_sum
from protocols.secret import SecretArray, concatenate, matmul, multiply, stack

if TYPE_CHECKING:
    from fedstats.vertical.cohort import VerticalCohort
    from protocols.engine import Engine

Bools = NDArray[np.bool_]

#: Bits by which strata are told apart, strata times marks, beyond which strata are refused.
MOST_BITS = 1 << 24


@dataclass(frozen=True)
class Columns:
    """Columns of one site that say when rows are at risk, and when they have an event.

    Attributes
    ----------
    duration, event, entry, strata
        Their names; of the last two None without.
    unit, grid
        Which times can occur, as `Grid.of` takes them; all can without.
    """

    duration: str
    event: str
    entry: str | None
    strata: str | None
    unit: float | None
    grid: Sequence[float] | None

    def owner(self, cohort: VerticalCohort) -> str:
        """Return the site that has them, refusing those of several."""
        names = [name for name in (self.duration, self.event, self.entry, self.strata) if name is not None]
        for name in names:
            kind = cohort.schema.require(name)
            if kind is Kind.EMPTY:
                raise DataError(f"column {name!r} has no value")
            if name != self.strata:
                cohort.schema.require_numeric(name)
        owners = {name: cohort.owners[name] for name in names}
        if len(set(owners.values())) > 1:
            said = ", ".join(f"{name!r} at {site}" for name, site in owners.items())
            raise DataError(
                f"times, events and strata of linked columns are those of one site, and not {said}: bring "
                "them into one table"
            )
        return owners[self.duration]

    def read(self, cohort: VerticalCohort) -> Marks:
        """Read this site's rows.

        Raises
        ------
        DataError
            Times are negative or not on the grid; rows leave before they enter; events are not coded as 0
            and 1.
        """
        there = np.ones(len(cohort), np.bool_)
        stratum = np.zeros(len(cohort), np.int64)
        if self.strata is not None:
            texts = cohort.texts(self.strata)
            there &= np.array([text is not None for text in texts], np.bool_)
            stratum[there] = np.unique(texts[there].astype(str), return_inverse=True)[1]
        numbers = {
            name: cohort.numbers(name) for name in (self.duration, self.event, self.entry) if name is not None
        }
        for values in numbers.values():
            there &= ~np.isnan(values)
        stop = self._times(numbers[self.duration], there, self.duration)
        start = np.full(len(cohort), -np.inf)
        if self.entry is not None:
            start = self._times(numbers[self.entry], there, self.entry)
            late = int(np.count_nonzero(there & (start >= stop)))
            if late:
                raise DataError(
                    f"{late} rows enter ({self.entry!r}) when they leave ({self.duration!r}), or later: a "
                    "row is observed after its entry, so correct these rows or set them to missing"
                )
        happened = numbers[self.event]
        other = int(np.count_nonzero(there & ~np.isin(happened, (0.0, 1.0))))
        if other:
            raise DataError(
                f"column {self.event!r} has {other} values that are neither 0 (censored) nor 1 (event): "
                "recode it"
            )
        return Marks.of(stratum, start, stop, there & (happened == 1), there, late=self.entry is not None)

    def _times(self, values: Array, there: Bools, name: str) -> Array:
        """Return times, or their places on the grid."""
        out = np.zeros(len(values))
        known = values[there]
        negative = int(np.count_nonzero(known < 0))
        if negative:
            raise DataError(
                f"column {name!r} has {negative} negative times: correct them, or set them to missing"
            )
        free = self.unit is None and self.grid is None
        out[there] = known if free else Grid.of(self.unit, self.grid).positions(known, name)
        return out


@dataclass(frozen=True)
class Shape:
    """What all sites know of a timeline.

    Attributes
    ----------
    rows
        Rows of the site that has the times.
    late
        Whether they may enter late, and make two marks each.
    bits
        Bits of the largest distance of two events at the same time.
    strata
        How many strata there are.
    """

    rows: int
    late: bool
    bits: int
    strata: int

    @property
    def marks(self) -> int:
        """How many marks they make."""
        return self.rows * (1 + self.late)


@dataclass(frozen=True, eq=False, repr=False)
class Marks:
    """This site's marks, sorted; its repr shows none.

    Attributes
    ----------
    order
        Which mark comes first, second and so on: those where rows leave are counted first, then those where
        they enter.
    event, entry
        Whether an event is there; whether a row enters.
    stratum
        Its number.
    back, ahead
        How far the first and the last of the events at the same time are.
    there
        Which of this site's rows count, as they have no missing value.
    """

    order: Codes
    event: Bools
    entry: Bools
    stratum: Codes
    back: Codes
    ahead: Codes
    there: Bools

    @classmethod
    def of(
        cls, stratum: Codes, start: Array, stop: Array, event: Bools, there: Bools, *, late: bool
    ) -> Marks:
        """Sort the marks of rows."""
        count = len(stop)
        time = np.concatenate([stop, start]) if late else stop
        entry = np.arange(len(time)) >= count
        event = np.resize(event, len(time)) & ~entry
        stratum = np.resize(stratum, len(time))
        order = np.lexsort((~event, time, stratum, np.resize(~there, len(time))))
        time, event, stratum = time[order], event[order], stratum[order]
        joined = event[1:] & event[:-1] & (time[1:] == time[:-1]) & (stratum[1:] == stratum[:-1])
        place = np.arange(len(time))
        first = np.maximum.accumulate(np.where(np.append(False, joined), 0, place))
        last = np.minimum.accumulate(np.where(np.append(joined, False), len(time), place)[::-1])[::-1]
        return cls(order, event, entry[order], stratum, place - first, last - place, there)

    @property
    def shape(self) -> Shape:
        """Return what is told of them."""
        rows, bits = len(self.there), int(self.back.max(initial=0)).bit_length()
        return Shape(rows, len(self.order) > rows, bits, int(self.stratum.max(initial=0)) + 1)

    def positions(self, cohort: VerticalCohort) -> Codes:
        """Return where marks stand by patient of the list, and behind them those of other sites' patients."""
        size, repeats = cohort.size, len(self.order) // max(len(self.there), 1)
        places = np.concatenate([cohort.positions + size * k for k in range(repeats)])
        out = np.full(size * repeats, -1)
        out[places[self.order]] = np.arange(len(self.order))
        out[out < 0] = np.arange(len(self.order), len(out))
        return out

    def planes(self, shape: Shape) -> Codes:
        """Return the bits that are shared of marks, a row each; see `Timeline.of`."""
        distances = [far >> bit & 1 for bit in range(shape.bits) for far in (self.back, self.ahead)]
        strata = [self.stratum >= number for number in range(1, shape.strata)]
        entry = [self.entry] if shape.late else []
        return np.stack([self.event, *entry, *distances, *strata]).astype(np.int64)


@dataclass(frozen=True, eq=False, repr=False)
class Timeline:
    """The marks of the site that has the times, secret, and the order of all patients by them.

    Attributes
    ----------
    shape
        What is public.
    positions
        Where each patient of the list stands; twice, if rows may enter late.
    event, entry
        Bits, shape ``(marks,)``; None if none can be.
    distances
        Bits of the distances of the first and of the last event at the same time, shape ``(bits, 2, marks)``.
    from_stratum
        Whether a mark is of a stratum or of a later one, for each but the first, shape
        ``(strata − 1, marks)``.
    """

    shape: Shape
    positions: SecretArray
    event: SecretArray
    entry: SecretArray | None
    distances: SecretArray
    from_stratum: SecretArray

    @classmethod
    def of(
        cls, engine: Engine, cohort: VerticalCohort, holder: str, shape: Shape, own: Marks | None
    ) -> Timeline:
        """Share the marks of the site that has them. Two rounds."""
        size, marks = cohort.size * (1 + shape.late), shape.marks
        kinds = 1 + shape.late + 2 * shape.bits + shape.strata - 1
        lengths = [int(site == holder) for site in cohort.federation.sites]
        positions = own.positions(cohort)[np.newaxis] if own else np.zeros((0, size), np.int64)
        planes = own.planes(shape)[np.newaxis] if own else np.zeros((0, kinds, marks), np.int64)
        shared = share_rows(engine, positions, lengths, bound=size)[0]
        bits = share_rows(engine, planes, lengths, bound=1)[0]
        rest = bits[1 + shape.late :]
        far = 2 * shape.bits
        return cls(
            shape,
            shared,
            bits[0],
            bits[1] if shape.late else None,
            rest[:far].reshape(shape.bits, 2, marks),
            rest[far:],
        )

    def arranged(self, columns: Sequence[SecretArray]) -> list[SecretArray]:
        """Return what is shared of each patient of the list by the marks. A shuffle and a round."""
        if self.shape.late:
            columns = [concatenate([column, column]) for column in columns]
        return [column[: self.shape.marks] for column in _pairs.in_order(self.positions, *columns)]

    # --- Sums ----------------------------------------------------------------------------------------

    def ahead(self, x: SecretArray) -> SecretArray:
        """Return Σ over the mark and all behind it in its stratum, along the last axis."""
        total = running_sum(x[..., ::-1])[..., ::-1]
        if self.shape.strata == 1:
            return total
        from_ = self.from_stratum
        later = matmul(x, from_.T)
        return total - matmul(later, _differences(from_, first=True))

    def so_far(self, x: SecretArray) -> SecretArray:
        """Return Σ over the mark and all before it in its stratum, along the last axis."""
        total = running_sum(x)
        if self.shape.strata == 1:
            return total
        from_ = self.from_stratum
        earlier = x.sum(axis=-1).reshape(-1, 1) - matmul(x, from_.T)
        return total - matmul(earlier, _differences(from_, first=False))

    def at_first(self, x: SecretArray) -> SecretArray:
        """Return numbers as they are at the first of the events of the same time."""
        return self._handed_on(x[np.newaxis], [0])[0]

    def at_last(self, x: SecretArray) -> SecretArray:
        """Return numbers as they are at the last of the events of the same time."""
        return self._handed_on(x[np.newaxis], [1])[0]

    def at_ends(self, first: SecretArray, last: SecretArray) -> SecretArray:
        """Return numbers as they are at the first, and others as at the last, on a new first axis."""
        return self._handed_on(stack([first, last]), [0, 1])

    def _handed_on(self, x: SecretArray, sides: Sequence[int]) -> SecretArray:
        """Return numbers from where distances point to, shape ``(sides, columns, marks)``. A round a bit."""
        for bit in range(self.shape.bits):
            step = 1 << bit
            moved = [np.roll(x.shares[k], (step, -step)[side], axis=-2) for k, side in enumerate(sides)]
            far = self.distances[bit][list(sides)].reshape(len(sides), 1, -1)
            change = multiply(far, SecretArray(x.engine, np.stack(moved), x.format) - x)
            x = SecretArray(x.engine, (x + change).shares, x.format)
        return x


def _differences(from_: SecretArray, *, first: bool) -> SecretArray:
    """Return which marks are of a stratum: of each but the last, or of each but the first."""
    none = SecretArray(from_.engine, np.zeros((1, from_.shape[-1], 2), np.uint64), BIT)
    if first:
        all_ = SecretArray(from_.engine, (none + 1).shares, BIT)
        differing = concatenate([all_, from_[:-1]]) - from_
    else:
        differing = from_ - concatenate([from_[1:], none])
    return SecretArray(from_.engine, differing.shares, Format(0, 1))
