"""This site's part of a proportional hazards model: its rows, and their sums over risk sets.

The *cells* of a model are the times at which there is an event in a stratum. A row is at risk in a run of
neighbouring cells, so sums over all risk sets are running sums, within each stratum and from its end: rows
that left early never have to cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedstats.expressions import Array
from fedstats.survival._times import Codes, Times


@dataclass(frozen=True, eq=False, repr=False)
class Cells:
    """Times of events by stratum; public, the same at every site.

    Attributes
    ----------
    stratum, position
        Of each cell; strata come one after the other, times increase.
    events
        d: how many events there are.
    edges
        Where each stratum's cells begin, and the number of cells.
    """

    stratum: Codes
    position: Codes
    events: Codes
    edges: Codes

    @classmethod
    def of(cls, events: Codes) -> Cells:
        """Return the cells of pooled numbers of events, shape ``(strata, positions)``."""
        stratum, position = np.nonzero(events)
        edges = np.searchsorted(stratum, np.arange(len(events) + 1))
        return cls(stratum, position, events[stratum, position], edges)

    def __len__(self) -> int:
        return len(self.events)

    @property
    def repeated(self) -> Codes:
        """Return the cell of each event, ``0, 0, 1, …``."""
        return np.repeat(np.arange(len(self)), self.events)

    @property
    def place(self) -> Codes:
        """Return the number of each event within its cell, from 0."""
        before = np.cumsum(self.events) - self.events
        return np.arange(self.events.sum()) - np.repeat(before, self.events)


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """This site's rows.

    Attributes
    ----------
    z
        Framed covariates, shape ``(rows, p)``.
    cells
        The pooled cells.
    first, last
        A row is at risk in the cells from `first` up to, not including, `last`.
    died
        Positions of the rows that end in an event, and `where` their cells.
    """

    z: Array
    cells: Cells
    first: Codes
    last: Codes
    died: Codes
    where: Codes

    @classmethod
    def of(cls, z: Array, times: Times, cells: Cells) -> Rows:
        """Find the cells in which rows are at risk."""
        # All positions on one axis, stratum after stratum, and how many cells there are before each.
        happens = np.zeros(times.size * (len(cells.edges) - 1), np.int64)
        happens[cells.stratum * times.size + cells.position] = 1
        before = np.concatenate([[0], np.cumsum(happens)])
        start = times.cell * times.size + 1
        first, last = before[start + times.start], before[start + times.stop]
        died = np.flatnonzero(times.cause)
        return cls(z, cells, first, last, died, last[died] - 1)

    def every(self, step: int) -> Rows:
        """Return one of so many rows, with the cells in which some of these have an event."""
        size = len(self.cells)
        ends = np.full(len(self.z), _NOWHERE)
        ends[self.died] = self.where
        ends = ends[::step]
        died = np.flatnonzero(ends != _NOWHERE)
        events = np.bincount(ends[died], minlength=size)
        some = events > 0
        number = np.concatenate([[0], np.cumsum(some)])
        cells = Cells(
            self.cells.stratum[some], self.cells.position[some], events[some], number[self.cells.edges]
        )
        first, last = number[self.first[::step]], number[self.last[::step]]
        return Rows(np.ascontiguousarray(self.z[::step]), cells, first, last, died, number[ends[died]])

    def at_risk(self, values: Array) -> Array:
        """Return Σ over the rows at risk in each cell, of values of shape ``(quantities, rows)``."""
        total = self._by_cell(values, np.where(self.last > self.first, self.last - 1, _NOWHERE))
        late = self._late
        if late.any():
            total -= self._by_cell(values[:, late], self.first[late] - 1)
        for start, end in pairwise(self.cells.edges):
            total[:, start:end] = np.cumsum(total[:, start:end][:, ::-1], axis=1)[:, ::-1]
        return total

    def over_events(self, factors: Array | float) -> Array:
        """Return Σ factor·z over the rows that end in an event, a factor for each of these or one for all."""
        ends = np.zeros(len(self.z))  # a product with all rows is faster than choosing some of them
        ends[self.died] = factors
        return ends @ self.z

    def dying(self, values: Array) -> Array:
        """Return Σ over the rows that end in an event in each cell, likewise."""
        return self._by_cell(values[:, self.died], self.where)

    def _by_cell(self, values: Array, cells: Codes) -> Array:
        size = len(self.cells)
        shifted = np.where(cells == _NOWHERE, size, cells)
        total = [np.bincount(shifted, weights=row, minlength=size + 1)[:size] for row in values]
        return np.stack(total).astype(np.float64)  # without rows, counts are integers

    def weights(self, beta: Array) -> Array:
        """Return exp(z'β)."""
        return np.asarray(np.exp(self.z @ beta))

    def linear(self, weights: Array) -> Array:
        """Return w and w·z, shape ``(1 + p, rows)``."""
        return np.concatenate([weights[np.newaxis], weights * self.z.T])

    def sums(self, weights: Array, tied: Codes) -> Array:
        """Return Σw and Σwz over risk sets, and over the events of some cells.

        Returns
        -------
        ndarray
            Shape ``(1 + p, cells + tied cells)``.
        """
        leaving, dying = self._changes(_add_rows, 1 + self.z.shape[1], weights)
        return np.concatenate([self._from_here_on(leaving), dying[tied]]).T

    def products(self, weights: Array, tied: Codes, *, at_risk: bool) -> Array:
        """Return Σw·z_k·z_l for k ≤ l likewise, shape ``(pairs, cells + tied cells)``.

        If not of the rows at risk, of those whose last cell it is, less those that enter after it.
        """
        pairs = self.z.shape[1] * (self.z.shape[1] + 1) // 2
        total, dying = self._changes(_add_squares, pairs, weights)
        if at_risk:
            total = self._from_here_on(total)
        return np.concatenate([total, dying[tied]]).T

    def total_products(self, weights: Array) -> Array:
        """Return Σw·zz' over all rows, shape ``(p, p)``."""
        p = self.z.shape[1]
        total = np.zeros((p, p))
        for at in range(0, len(self.z), _CACHED):
            z = self.z[at : at + _CACHED]
            total += z.T @ (weights[at : at + _CACHED, np.newaxis] * z)
        return total

    def _changes(
        self, add: Callable[[Array, Array, Array, Codes], None], size: int, weights: Array
    ) -> tuple[Array, Array]:
        """Return what `add` adds up of the rows that leave with each cell, and of those that die there."""
        changes = np.zeros((2 * len(self.cells), size))
        z = np.ascontiguousarray(self.z)
        add(changes, z, weights, self._place)
        leaving, dying = np.split(changes, 2)
        leaving += dying
        late = self._late
        if late.any():
            add(leaving, z, -weights, np.where(late, self.first - 1, _NOWHERE))
        return leaving, dying

    def _from_here_on(self, leaving: Array) -> Array:
        """Return sums over a cell and all later ones of its stratum, along the first axis."""
        total = np.empty_like(leaving)
        for start, end in pairwise(self.cells.edges):
            total[start:end] = np.cumsum(leaving[start:end][::-1], axis=0)[::-1]
        return total

    @cached_property
    def _place(self) -> Codes:
        """Where rows count: the last cell that they are at risk in, and past all cells if they die there."""
        place = np.where(self.last > self.first, self.last - 1, _NOWHERE)
        place[self.died] = self.where + len(self.cells)
        return place

    @cached_property
    def _late(self) -> NDArray[np.bool_]:
        """Whether rows are at risk, but not in the first cell of their stratum."""
        if not len(self.cells):
            return np.zeros(len(self.z), bool)
        begins = self.cells.edges[self.cells.stratum[np.maximum(self.last - 1, 0)]]
        return np.asarray((self.last > self.first) & (self.first > begins))


#: Stands for no cell.
_NOWHERE = -1
#: So many rows at a time stay in the processor's cache.
_CACHED = 2048


def along(cells: Codes, values: Array) -> Array:
    """Return values of each row by its cell range's end: running sums with a leading 0, at `cells`."""
    zero = np.zeros((*values.shape[:-1], 1))
    return np.concatenate([zero, np.cumsum(values, axis=-1)], axis=-1)[..., cells]


@njit(nogil=True, cache=True)
def _add_rows(out: Array, z: Array, weights: Array, cells: Codes) -> None:
    """Add w and w·z of each row to its cell."""
    for i in range(len(z)):
        if cells[i] >= 0:
            total = out[cells[i]]
            total[0] += weights[i]
            for k in range(z.shape[1]):
                total[1 + k] += weights[i] * z[i, k]


@njit(nogil=True, cache=True)
def _add_squares(out: Array, z: Array, weights: Array, cells: Codes) -> None:
    """Add w·z_k·z_l, k ≤ l, of each row to its cell."""
    p = z.shape[1]
    for i in range(len(z)):
        if cells[i] >= 0:
            total, at = out[cells[i]], 0
            for k in range(p):
                # Slices, of which the compiler sees that they can be added several numbers at a time.
                factor, others, sums = weights[i] * z[i, k], z[i, k:], total[at : at + p - k]
                for j in range(p - k):
                    sums[j] += factor * others[j]
                at += p - k
