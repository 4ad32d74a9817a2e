"""What estimates along time have in common: a table, numbers at risk, a plot of steps."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _table
from fedstats.disclosure import Disclose
from fedstats.errors import DataError
from fedstats.results import Result
from fedstats.survival._times import Codes, Times

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Times of the table of numbers at risk, and of the curves of the result mode, unless they are given.
DEFAULT_TIMES = 20


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Curves(Result):
    """Estimates along time, by group; the same at every site.

    Attributes
    ----------
    by
        The grouping column, or None.
    disclose
        ``"aggregate"``: the curve steps at every event. ``"result"``: it is known at the declared times.
    nobs, n_missing, n_events
        Rows of all sites that were used, that were left out for a missing value, and events.
    min_cell
        Groups of fewer rows have no estimates; in the result mode, nor have times with fewer at risk.
    frame
        The table; `to_frame` returns a copy.
    at_risk
        Numbers at risk just before the declared times, a column for each group; missing where they are not
        told.
    """

    by: str | None
    disclose: Disclose
    nobs: int
    n_missing: int
    n_events: int
    min_cell: int
    frame: pd.DataFrame = field(repr=False)
    at_risk: pd.DataFrame = field(repr=False)

    #: Title, estimated column, and where a curve starts at time 0.
    _title: ClassVar[str]
    _estimate: ClassVar[str]
    _start: ClassVar[float]

    def to_frame(self) -> pd.DataFrame:
        """Return the estimates: a row for each time, in each group."""
        return self.frame.copy()

    def _notes(self) -> list[str]:
        """Return what the summary says between the head and the table."""
        return []

    def summary(self) -> str:
        """Return the estimates at the declared times, and the numbers at risk, as text."""
        pairs: list[tuple[str, object]] = [
            ("Rows", self.nobs),
            ("Rows left out (missing)", self.n_missing),
            ("Events", self.n_events),
            ("Sites", len(self.sites)),
        ]
        by = f", by {self.by}" if self.by else ""
        wide = pd.DataFrame(
            {name: self._at(curve, self.at_risk.index.to_numpy()) for name, curve in self._curves()},
            index=self.at_risk.index,
        )
        lines = [f"{self._title} over {len(self.sites)} sites{by}", "", *_table.pair_lines(pairs, digits=5)]
        notes = self._notes()
        lines += ["", *notes] if notes else []
        lines += ["", self._estimate.replace("_", " ").capitalize(), *_table.frame_lines(wide, digits=5)]
        lines += [
            "",
            "At risk",
            *_table.frame_lines(self.at_risk.astype(object).where(self.at_risk.notna(), "–")),
        ]
        return "\n".join([*lines, "", f"Cost: {self.cost}"])

    def _curves(self) -> list[tuple[str, pd.DataFrame]]:
        """Return each curve's rows, indexed by time alone, by its name."""
        names: list[Hashable] = [*self.frame.index.names[:-1]]
        if not names:
            return [(self._estimate, self.frame)]
        return [
            (" ".join(map(str, key if isinstance(key, tuple) else (key,))), part.droplevel(names))
            for key, part in self.frame.groupby(level=names, sort=False, observed=True)
        ]

    def _at(self, curve: pd.DataFrame, times: NDArray[Any]) -> NDArray[np.float64]:
        """Return the estimate at or before each of some times."""
        place = np.searchsorted(curve.index.to_numpy(float), times, side="right")
        return np.concatenate([[self._start], curve[self._estimate].to_numpy(float)])[place]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the curves with their confidence bands.

        Parameters
        ----------
        ax
            Where to draw; a new figure by default.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots()
        for number, (name, curve) in enumerate(self._curves()):
            color = f"C{number}"
            time = np.concatenate([[0.0], curve.index.to_numpy(float)])
            value, lower, upper = (
                np.concatenate([[self._start], curve[column].to_numpy(float)])
                for column in (self._estimate, "lower", "upper")
            )
            ax.step(time, value, where="post", color=color, label=name)
            ax.fill_between(time, lower, upper, step="post", color=color, alpha=0.15, linewidth=0)
        ax.set_xlabel("time")
        ax.set_ylabel(self._estimate.replace("_", " "))
        ax.set_xlim(left=0)
        if self.by or len(self._curves()) > 1:
            ax.legend(title=self.by, frameon=False)
        return ax


def check_alpha(alpha: float) -> None:
    """Refuse what is no error level."""
    if not 0 < alpha < 1:
        raise DataError("alpha lies between 0 and 1")


def at_risk_table(times: Times, by: str | None, positions: Codes, n: NDArray[np.float64]) -> pd.DataFrame:
    """Return numbers at risk as a table, shape ``(groups, positions)``; NaN becomes missing."""
    columns = pd.Index(times.levels if by else ["at_risk"], name=by)
    index = pd.Index(times.grid.times(positions), name="time")
    return pd.DataFrame(n.T, index=index, columns=columns).astype("Int64")


def stacked(parts: Sequence[pd.DataFrame], keys: Sequence[Any], names: Sequence[str]) -> pd.DataFrame:
    """Join tables that are indexed by time under keys; the single table itself if there are no names."""
    return pd.concat(parts, keys=keys, names=[*names, "time"]) if names else parts[0]
