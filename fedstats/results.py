"""What every result has in common: its cost, its leakage, and ways to look at it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import pandas as pd

from fedstats.disclosure import Leakage


@dataclass(frozen=True)
class Cost:
    """What an analysis cost this site.

    Attributes
    ----------
    rounds
        How many times the sites waited for one another: multiply by the round-trip time.
    bytes_sent, bytes_received
        Payload bytes of this site, to and from all others together.
    seconds
        Wall time.
    """

    rounds: int
    bytes_sent: int
    bytes_received: int
    seconds: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.rounds + other.rounds,
            self.bytes_sent + other.bytes_sent,
            self.bytes_received + other.bytes_received,
            self.seconds + other.seconds,
        )

    def __str__(self) -> str:
        return f"{self.rounds} rounds, {self.bytes_sent:,} bytes sent, {self.seconds:.2f} s"


@dataclass(frozen=True, kw_only=True)
class Result(ABC):
    """Base of all results: immutable, the same at every site.

    Attributes
    ----------
    sites
        Names of the sites whose rows were pooled.
    leakage
        What was revealed to obtain it.
    cost
        What it cost this site.
    """

    sites: tuple[str, ...]
    leakage: Leakage
    cost: Cost

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """Return the result as a data frame."""

    @abstractmethod
    def summary(self) -> str:
        """Return the result as text for people."""

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return self.to_frame().to_html()
