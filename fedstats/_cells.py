"""Counts in tables, of which small ones stay hidden: decided on shares, opened where they are not hidden.

A count n with 0 < n < `min_cell` describes few patients and is suppressed. It must not follow from the rest
of the table either, so others are suppressed beside it [1]_ [2]_. Everything here works on one flat array of
counts and on its *lines*, each a total and the parts that add up to it, and so serves one-way tables, tables
of many ways with margins, and many tables at once.

**The rule.** Of each count one learns a size class: 0, small, or enough. Small counts are suppressed. Then,
until nothing changes:

1. a line whose total is shown has no hidden part, or two at least, one of them not small: what a subtraction
   leaves is more than `min_cell`. A line whose total is hidden has a hidden part as well;
2. no small count is a function of what is shown: it is free in the lines' linear system, all of them at once.

Parts are taken as company before totals; zeros are shown and hide nothing. Classes decide and counts do not,
so that the choice tells nothing that the classes do not.

**Its limits.** A small count is not determined, but may be bounded more closely than by its class: by a
company that happens to be just large enough, or by several lines together. Tables of overlapping sets of
rows, such as one more of the same columns for a part of the rows, are not seen together.

References
----------
.. [1] L. H. Cox, "Suppression Methodology and Statistical Disclosure Control", Journal of the American
   Statistical Association 75, 1980.
.. [2] A. Hundepool et al., "Statistical Disclosure Control", Wiley 2012, chapter 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats._counts import MOST
from protocols.inputs import sum_shares
from protocols.secret import SecretArray, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: Size classes.
ZERO, SMALL, ENOUGH = range(3)

#: What `open_cells` opens; part of the declaration of every analysis that calls it.
RESULT: Mapping[str, str] = {
    "cell sizes": "whether each count is 0, below min_cell, or neither",
    "counts": "the counts that are not 0 and not suppressed",
}
AGGREGATE: Mapping[str, str] = {"counts": "all counts, small ones too"}

Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Line:
    """A total and its parts, as positions in a flat array of counts."""

    total: int
    parts: Indices

    def shifted(self, by: int) -> Line:
        """Return the line in an array where its table begins so much later."""
        return Line(self.total + by, self.parts + by)


@dataclass(frozen=True)
class Counts:
    """Counts as they may be shown.

    Attributes
    ----------
    shown
        The counts; −1 where suppressed.
    hidden
        Where that is.
    """

    shown: NDArray[np.int64]
    hidden: Flags

    def __getitem__(self, where: slice) -> Counts:
        return Counts(self.shown[where], self.hidden[where])

    def reshape(self, *shape: int) -> Counts:
        """Return them in another shape."""
        return Counts(self.shown.reshape(shape), self.hidden.reshape(shape))


def open_cells(
    run: Analysis, counts: NDArray[np.int64] | SecretArray, lines: Sequence[Line], *, part: int | None = None
) -> Counts:
    """Open the sums over all sites of counts, but for those that are suppressed.

    Parameters
    ----------
    run
        The analysis; its declaration includes `RESULT` and `AGGREGATE`.
    counts
        This site's counts, totals included, as a vector; or those of all sites, secret.
    lines
        Public: which counts are totals of which others.
    part
        Number of the table, where an analysis opens several.

    Notes
    -----
    **Leakage.** In result mode the size class of each count, and the counts that the rule shows. In aggregate
    mode all counts; the rule then applies to what the result shows.

    Cost: 16 rounds in result mode for three sites, and two in aggregate mode.
    """
    enough = run.federation.shared_policy.min_cell
    if run.disclose == "aggregate" and not isinstance(counts, SecretArray):
        pooled = run.sum("counts", counts, part=part)
        hidden = suppress(size_classes(pooled, enough), lines)
        return Counts(np.where(hidden, -1, pooled), hidden)
    with run.on_shares() as engine:
        secret = counts if isinstance(counts, SecretArray) else sum_shares(engine, counts, bound=MOST)
        classes = run.reveal({"cell sizes": secret_size_classes(secret, enough)}, part=part)["cell sizes"]
        hidden = suppress(classes, lines)
        shown = np.flatnonzero(~hidden & (classes > ZERO))
        values = np.where(hidden, np.int64(-1), np.int64(0))
        values[shown] = run.reveal({"counts": secret[shown]}, part=part)["counts"]
    return Counts(values, hidden)


def size_classes(counts: NDArray[np.int64], min_cell: int) -> NDArray[np.int64]:
    """Return the size class of each count."""
    return np.asarray((counts >= 1).astype(np.int64) + (counts >= min_cell))


def secret_size_classes(counts: SecretArray, min_cell: int) -> SecretArray:
    """Return the size class of each count, secret as they are. Costs one comparison, of all at once."""
    above = stack([counts - 1, counts - min_cell]) >= 0
    return above.sum(axis=0)


# --- Tables ------------------------------------------------------------------------------------------


def with_margins(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a table with a further level of each way, the sum over the others."""
    for axis in range(counts.ndim):
        counts = np.concatenate([counts, counts.sum(axis=axis, keepdims=True)], axis=axis)
    return counts


def lines_of(shape: Sequence[int]) -> list[Line]:
    """Return all lines of a table of this shape, margins included, read in C order."""
    index = np.arange(int(np.prod(shape))).reshape(shape)
    return [
        Line(int(line[-1]), line[:-1])
        for axis in range(index.ndim)
        for line in np.moveaxis(index, axis, -1).reshape(-1, index.shape[axis])
    ]


# --- Suppression -------------------------------------------------------------------------------------


def suppress(classes: NDArray[np.int64], lines: Sequence[Line]) -> Flags:
    """Return which counts are hidden, by the rule above.

    Parameters
    ----------
    classes
        Size class of each count, in a vector.
    lines
        Which counts are totals of which others.
    """
    company = _Company(classes, lines)
    while company.hide_for_lines() or company.hide_for_determined():
        pass
    return company.hidden


class _Company:
    """Hides small counts, and chooses what is to be hidden beside them."""

    def __init__(self, classes: NDArray[np.int64], lines: Sequence[Line]) -> None:
        self.classes = classes
        self.lines = lines
        self.lines_of: list[list[Line]] = [[] for _ in classes]
        for line in lines:
            for position in (line.total, *line.parts.tolist()):
                self.lines_of[position].append(line)
        self.hidden: Flags = np.asarray(classes == SMALL, np.bool_)

    def hide_for_lines(self) -> bool:
        """Hide what lines need by the first part of the rule; tell whether there was anything."""
        return sum(self._hide_for_line(line) for line in self.lines) > 0

    def _hide_for_line(self, line: Line) -> bool:
        before = self.hidden.sum()
        while self._is_exposed(line):
            wanted = self._best(line.parts)
            if wanted is None and not self.hidden[line.total]:
                wanted = line.total
            if wanted is None:  # nothing else is in the line
                break
            self.hidden[wanted] = True
        return bool(self.hidden.sum() > before)

    def _is_exposed(self, line: Line) -> bool:
        among = self.classes[line.parts[self.hidden[line.parts]]]
        if self.hidden[line.total] or not len(among):
            return bool(self.hidden[line.total]) and not len(among)
        return len(among) < 2 or bool(among.max() < ENOUGH)

    def hide_for_determined(self) -> bool:
        """Hide counts beside the small ones that all lines determine; tell whether there were any."""
        unknown = np.flatnonzero(self.hidden)
        if not len(unknown):
            return False
        free = _free(unknown, self.lines, len(self.hidden))
        before = self.hidden.copy()
        for position in unknown[~free & (self.classes[unknown] == SMALL)].tolist():
            near = np.concatenate([[line.total, *line.parts] for line in self.lines_of[position]])
            if (self.hidden[near] > before[near]).any():  # may be free by now
                continue
            wanted = self._best(near)
            if wanted is None:
                wanted = self._best(np.arange(len(self.hidden)))
            if wanted is not None:
                self.hidden[wanted] = True
        return bool((self.hidden > before).any())

    def _best(self, positions: Indices) -> int | None:
        """Return the shown count, other than 0, that needs least company itself: the first one of several."""
        usable = [p for p in np.unique(positions).tolist() if self.classes[p] > ZERO and not self.hidden[p]]
        return max(usable, key=lambda p: (self._covered(p), -p), default=None)

    def _covered(self, position: int) -> int:
        """Return how many of a count's lines have hidden parts, and so need no further ones."""
        return sum(bool(self.hidden[line.parts].any()) for line in self.lines_of[position])


def _free(unknown: Indices, lines: Sequence[Line], size: int) -> Flags:
    """Return which of the unknown counts the lines' equations leave undetermined."""
    column = np.full(size, -1)
    column[unknown] = np.arange(len(unknown))
    rows = []
    for line in lines:
        row = np.zeros(len(unknown))
        parts = column[line.parts]
        row[parts[parts >= 0]] = 1.0
        if column[line.total] >= 0:
            row[column[line.total]] = -1.0
        if row.any():
            rows.append(row)
    system = np.array(rows).reshape(len(rows), len(unknown))
    _, singular, right = np.linalg.svd(system, full_matrices=False)
    space: NDArray[np.float64] = right[singular > 1e-9 * max(system.shape)]
    # A count is determined if its own direction lies in the space of the equations.
    determined = (space**2).sum(axis=0) > 1 - 1e-9
    return np.asarray(~determined, np.bool_)
