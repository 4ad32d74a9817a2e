"""What every private result has in common: what it cost of the privacy budget, and how it says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

import pandas as pd
from scipy import stats

from fedstats import _table
from fedstats.privacy.accounting import epsilon_for
from fedstats.results import Result


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PrivateResult(Result):
    """Estimates from sums with noise; the same at every site.

    Attributes
    ----------
    rho
        What it cost: it is ρ-zCDP for adding or removing one row.
    level
        Of the confidence intervals, which account for the noise.
    """

    rho: Fraction
    level: float = 0.95

    #: How far what was opened may be from what is ρ-zCDP, see `epsilon_for`.
    _distance: ClassVar[float] = 0.0

    def epsilon(self, delta: float = 1e-6) -> float:
        """Return ε for a δ, by which the same loss is called (ε, δ)-differential privacy."""
        return epsilon_for(self.rho, delta, self._distance)

    def _closing(self) -> list[str]:
        """Return the last lines of the summary."""
        return [
            "",
            f"Privacy: ρ = {float(self.rho):.4g}, (ε, δ) = ({self.epsilon():.3g}, 1e-06), for adding or "
            "removing a row",
            f"Cost: {self.cost}",
        ]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PrivateTable(PrivateResult):
    """A table of estimates with confidence intervals; the same at every site.

    Attributes
    ----------
    title
        What it is of.
    frame
        The table; `to_frame` returns a copy.
    noise
        Standard deviation of the noise in each number that was opened, in units of a row.
    """

    title: str
    frame: pd.DataFrame = field(repr=False)
    noise: float

    def to_frame(self) -> pd.DataFrame:
        """Return the table."""
        return self.frame.copy()

    def summary(self) -> str:
        """Return the table as text."""
        over = f"over {len(self.sites)} sites, {self.level:.0%} intervals"
        frame = self.frame
        if isinstance(frame.index, pd.IntervalIndex):
            labels = [f"[{its.left:.6g}, {its.right:.6g})" for its in frame.index]
            frame = frame.set_axis(pd.Index(labels), axis=0)
        return "\n".join([f"{self.title} {over}", "", *_table.frame_lines(frame), *self._closing()])


def quantile_of(level: float) -> float:
    """Return how many standard errors an interval of a level reaches on either side."""
    return float(stats.norm.isf((1 - level) / 2))
