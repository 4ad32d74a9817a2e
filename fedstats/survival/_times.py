"""Each site's survival times, as positions on a grid that all sites share.

Numbers at risk and numbers of events are sums over rows once all sites count at the same times. The grid is
that of the column's own unit, or one that the caller declares; a time between its points is refused, never
rounded, so that the pooled table of counts is that of the pooled rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedstats._counts import HIDDEN, open_counts
from fedstats._factors import Factor
from fedstats._listed import listed, listed_if_given
from fedstats.design import check_same_call
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.schema import Kind

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

Codes = NDArray[np.int64]

#: What `agree_times` publishes, and `Times.rows` opens; part of the declaration of every method here.
PUBLISHED: Mapping[str, str] = {
    "times": "the text of the call, and which levels of its grouping columns a site's rows have"
}
ROWS: Mapping[str, str] = {
    "rows": "numbers of rows, of events, and of rows left out; how many sites have their latest time within "
    "each power of two of the unit"
}
GROUPS: Mapping[str, str] = {"groups": "the number of rows in each group"}
GROUPS_ON_SHARES: Mapping[str, str] = {
    "groups": "the number of rows in each group, if it is 0 or large enough"
}

#: Most points of a grid.
MAX_POINTS = 1 << 16
#: A time is on the grid if it is closer than this part of the unit.
ON_GRID = 1e-6
#: What is declared of the extent: powers of two of the unit.
_OCTAVES = MAX_POINTS.bit_length()
#: Cells of a table of counts, groups times causes times points, beyond which it is refused.
_MAX_CELLS = 1 << 24


@dataclass(frozen=True)
class Grid:
    """Times that can occur: the multiples of a unit, or listed ones.

    Attributes
    ----------
    unit
        Distance of neighbouring times; None if they are listed.
    points
        The listed times, increasing.
    """

    unit: float | None
    points: tuple[float, ...] = ()

    @classmethod
    def of(cls, unit: float | None, grid: Sequence[float] | None) -> Grid:
        """Read the arguments of a call."""
        if grid is not None:
            if unit is not None:
                raise DataError("give unit or grid, not both")
            points = listed(grid)
            if not points or not np.isfinite(points).all() or not (np.diff(points) > 0).all():
                raise DataError("grid is a list of finite times, each later than the one before")
            if len(points) > MAX_POINTS:
                raise DataError(f"grid has {len(points)} times; {MAX_POINTS:,} are the most")
            return cls(None, points)
        units = (1.0,) if unit is None else listed(unit)
        if len(units) != 1 or not 0 < units[0] < np.inf:
            raise DataError("unit is a positive number: the distance of neighbouring times")
        return cls(units[0])

    def positions(self, times: Array, column: str) -> Codes:
        """Return where times stand on the grid, refusing those that do not."""
        negative = int(np.count_nonzero(times < 0))
        if negative:
            raise DataError(
                f"column {column!r} has {negative} negative times: correct them, or set them to missing"
            )
        if self.unit is None:
            points = np.array(self.points)
            near = ON_GRID * (np.diff(points).min() if len(points) > 1 else 1.0)
            found = np.minimum(np.searchsorted(points, times - near), len(points) - 1)
            off = int(np.count_nonzero(np.abs(points[found] - times) > near))
            if off:
                raise DataError(f"column {column!r} has {off} times that are not in grid: add or round them")
            return found.astype(np.int64)
        scaled = times / self.unit
        beyond = int(np.count_nonzero(scaled > MAX_POINTS - 1))
        if beyond:
            raise DataError(
                f"column {column!r} has {beyond} times beyond {MAX_POINTS - 1:,} units of {self.unit:g}: "
                "round them to a coarser unit at every site, and give it as unit="
            )
        whole = np.rint(scaled)
        off = int(np.count_nonzero(np.abs(scaled - whole) > ON_GRID))
        if off:
            raise DataError(
                f"column {column!r} has {off} times that are no multiples of {self.unit:g}: give unit= or "
                "grid= as the times were measured, or round them at every site"
            )
        return whole.astype(np.int64)

    def times(self, positions: NDArray[np.integer[Any]]) -> Array:
        """Return the times at positions."""
        if self.unit is None:
            return np.asarray(np.array(self.points)[positions], np.float64)
        return np.asarray(positions * self.unit, np.float64)

    def chosen(self, times: float | Sequence[float] | None, size: int, count: int) -> Codes:
        """Return the last position at or before each of the times, or `count` spread over the grid."""
        if times is None:
            return np.unique(np.linspace(0, size, count, endpoint=False).astype(np.int64))
        wanted = np.array(listed(times))
        if not len(wanted) or not (wanted >= 0).all() or not (np.diff(wanted) > 0).all():
            raise DataError("times is a time, or a list of times from 0 on, each later than the one before")
        every = self.times(np.arange(size))
        return np.maximum(np.searchsorted(every, wanted * (1 + 1e-12), side="right") - 1, 0)


@dataclass(frozen=True, eq=False, repr=False)
class Times:
    """This site's complete rows as positions on the grid; its repr shows none.

    Attributes
    ----------
    grid, size
        The grid, and how many points of it the latest time of any site needs.
    start, stop
        A row is at risk at positions after `start` up to `stop`.
    cause
        0 for censored rows, else 1, 2, … for the kind of event.
    cell
        Code of the row's stratum times the number of groups, plus that of its group.
    levels, strata, causes
        The levels of ``by`` and of ``strata`` (a single empty one without), and the kinds of events.
    rows
        Positions in the cohort of the complete rows.
    n_rows
        Pooled numbers of rows by cell; `HIDDEN` where they are not told.
    nobs, n_events, n_missing
        Pooled numbers of rows and of events, and of rows left out for a missing value.
    """

    grid: Grid
    size: int
    start: Codes
    stop: Codes
    cause: Codes
    cell: Codes
    levels: tuple[str, ...]
    strata: tuple[str, ...]
    causes: tuple[str, ...]
    rows: NDArray[np.intp]
    n_rows: Codes
    nobs: int
    n_events: int
    n_missing: int

    def events(self) -> Codes:
        """Return this site's numbers of events, shape ``(cells, causes, size)``."""
        causes, cells = len(self.causes), len(self.n_rows)
        happened = self.cause > 0
        place = (self.cell * causes + self.cause - 1) * self.size + self.stop
        counts = np.bincount(place[happened], minlength=cells * causes * self.size)
        return counts.reshape(cells, causes, self.size).astype(np.int64)

    def at_risk(self) -> Codes:
        """Return this site's numbers at risk just before each time, shape ``(cells, size)``."""
        left = self._counts(self.stop + 1) - self._counts(self.start + 1)
        gone = np.cumsum(left, axis=1)[:, : self.size]
        return -gone

    def _counts(self, positions: Codes) -> Codes:
        width = self.size + 1
        cells = len(self.n_rows)
        counts = np.bincount(self.cell * width + positions, minlength=cells * width)
        return counts.reshape(cells, width).astype(np.int64)


def agree_times(
    run: Analysis,
    cohort: Cohort,
    *,
    duration: str,
    event: str,
    entry: str | None,
    by: str | None = None,
    strata: str | None = None,
    call: str,
    unit: float | None,
    grid: Sequence[float] | None,
    censored: str | None = None,
    counted: bool = True,
    selected: NDArray[np.bool_] | None = None,
    check: Callable[[], object] = lambda: None,
) -> Times:
    """Agree with the other sites on a call and its grid, and place this site's rows on it.

    Parameters
    ----------
    run
        The analysis, at its start; its declaration includes `PUBLISHED` and, for its mode, `ROWS`.
    cohort
        The rows.
    duration, event, entry, by, strata
        Columns: time of event or censoring; what happened then; time from which a row is observed; groups;
        strata.
    call
        All other options, as text.
    unit, grid
        See `Grid`.
    censored
        The level of `event` that means censored; without it `event` holds 0 and 1, or truth values.
    counted
        Whether numbers of rows by group are opened, small ones not in the result mode.
    selected
        Which rows of this site take part; all by default.
    check
        Checks the call's other arguments; may raise DataError.

    Raises
    ------
    DataError
        A column does not exist or is of the wrong kind; times are negative, infinite or not on the grid;
        rows leave before they enter; events are not coded as said; groups cannot be told.
    RemoteError
        The same at another site.
    EstimationError
        There are no rows, or no events, at any site.

    Notes
    -----
    **Leakage.** `PUBLISHED`, `ROWS` and, if `counted` and there are groups, `GROUPS`.

    **Cost.** Three rounds, and for groups two, or 15 in the result mode.
    """
    mine: list[_Local] = []

    def local() -> Mapping[str, Any]:
        check()
        part = _Local.build(
            cohort, duration, event, entry, by, strata, Grid.of(unit, grid), censored, selected
        )
        mine.append(part)
        text = f"duration={duration!r}, event={event!r}, entry={entry!r}, by={by!r}, "
        text += f"strata={strata!r}, unit={unit!r}, grid={listed_if_given(grid)!r}, {call}"
        return {"call": text, "levels": part.told()}

    told = run.agree("times", local, max_bytes=1 << 20)
    check_same_call(told, run.federation.site)
    [part] = mine
    return part.pooled(run, told, censored, counted=counted)


@dataclass(frozen=True, eq=False, repr=False)
class _Local:
    """This site's rows, checked, before the sites have agreed on levels."""

    grid: Grid
    start: Codes
    stop: Codes
    happened: NDArray[np.bool_] | None
    factors: tuple[Factor, ...]
    by: Factor | None
    strata: Factor | None
    event: Factor | None
    used: NDArray[np.bool_]

    @classmethod
    def build(
        cls,
        cohort: Cohort,
        duration: str,
        event: str,
        entry: str | None,
        by: str | None,
        strata: str | None,
        grid: Grid,
        censored: str | None,
        selected: NDArray[np.bool_] | None,
    ) -> _Local:
        numbers = [duration, *([] if entry is None else [entry]), *([event] if censored is None else [])]
        used = np.ones(len(cohort), dtype=bool) if selected is None else selected.copy()
        for name in numbers:
            if cohort.schema.require(name) is Kind.EMPTY:
                raise DataError(f"column {name!r} has no value at any site")
            cohort.schema.require_numeric(name)
            used &= ~cohort.missing(name)
        groups = None if by is None else Factor.build(cohort, by, "by")
        layers = None if strata is None else Factor.build(cohort, strata, "strata")
        causes = None if censored is None else Factor.build(cohort, event, "event")
        factors = tuple(one for one in (groups, layers, causes) if one is not None)
        for factor in factors:
            used &= ~factor.missing
        stop = grid.positions(cohort.numbers(duration)[used], duration)
        start = np.full_like(stop, -1)
        if entry is not None:
            start = grid.positions(cohort.numbers(entry)[used], entry)
            late = int(np.count_nonzero(start >= stop))
            if late:
                raise DataError(
                    f"{late} rows enter ({entry!r}) when they leave ({duration!r}), or later: a row is "
                    "observed after its entry, so correct these rows or set them to missing"
                )
        happened = None
        if censored is None:
            values = cohort.numbers(event)[used]
            other = int(np.count_nonzero((values != 0) & (values != 1)))
            if other:
                raise DataError(
                    f"column {event!r} has {other} values that are neither 0 (censored) nor 1 (event): "
                    "recode it at every site"
                )
            happened = values == 1
        return cls(grid, start, stop, happened, factors, groups, layers, causes, used)

    def told(self) -> dict[str, Any]:
        """Return the levels of the grouping columns, as told to the other sites."""
        return {name: its for one in self.factors for name, its in one.told(self.used).items()}

    def pooled(
        self, run: Analysis, told: Mapping[str, Mapping[str, Any]], censored: str | None, *, counted: bool
    ) -> Times:
        """Code the rows by the agreed levels, and open their numbers."""
        levels, group = _coded(self.by, told, self.used)
        strata, stratum = _coded(self.strata, told, self.used)
        cell, cells = stratum * len(levels) + group, len(strata) * len(levels)
        causes: tuple[str, ...] = ("event",)
        cause = np.zeros_like(self.stop)
        if self.event is None:
            cause[self.happened] = 1
        else:
            every = self.event.merge(told)
            if censored not in every:
                raise DataError(
                    f"column {self.event.name!r} has no rows with {censored!r}, which would be censored; its "
                    f"levels are {', '.join(map(repr, every))}: give censored="
                )
            causes = tuple(level for level in every if level != censored)
            order = ("" if censored is None else censored, *causes)
            cause = self.event.codes(order, self.used)

        octave = np.zeros(_OCTAVES, np.int64)
        if len(self.stop):
            octave[int(self.stop.max()).bit_length()] = 1
        own = [len(cell), np.count_nonzero(cause), np.count_nonzero(~self.used)]
        opened = run.sum("rows", np.concatenate([own, octave]).astype(np.int64))
        (nobs, n_events, n_missing), octaves = opened[:3].tolist(), opened[3:]
        if not nobs:
            raise EstimationError("no site has a row without missing values in the columns that are used")
        if not n_events:
            raise EstimationError("there is no event at any site: nothing can be estimated")
        size = 1 << int(np.flatnonzero(octaves).max())
        if self.grid.unit is None:
            size = len(self.grid.points)
        if size * cells * len(causes) > _MAX_CELLS:
            raise EstimationError(
                f"the grid has {size:,} times for each of {cells * len(causes)} cells: round times to a "
                "coarser unit at every site, and give it as unit="
            )
        n_rows = np.full(cells, HIDDEN if cells > 1 else nobs)
        if counted and cells > 1:
            least = run.federation.shared_policy.min_cell
            n_rows = open_counts(run, "groups", np.bincount(cell, minlength=cells), least)
        return Times(
            self.grid,
            size,
            self.start,
            self.stop,
            cause,
            cell,
            levels,
            strata,
            causes,
            np.flatnonzero(self.used),
            n_rows,
            nobs,
            n_events,
            n_missing,
        )


def _coded(
    factor: Factor | None, told: Mapping[str, Mapping[str, Any]], used: NDArray[np.bool_]
) -> tuple[tuple[str, ...], Codes]:
    """Return the agreed levels and each row's code; a single level without a column."""
    if factor is None:
        return ("",), np.zeros(int(used.sum()), np.int64)
    levels = factor.merge(told)
    return levels, factor.codes(levels, used)
