"""What every result has in common: its cost, its leakage, and ways to look at it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fedstats.disclosure import Leakage

if TYPE_CHECKING:
    from fedstats.records import Records


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


@dataclass(frozen=True)
class Provenance:
    """Where a result came from.

    Attributes
    ----------
    analysis
        Name of the analysis.
    call
        What all sites agreed to ask for, as text.
    disclose
        The disclosure mode.
    records
        What the site kept of the session, with the key that signs bundles. It is left behind when a result
        is copied or pickled.
    """

    analysis: str
    call: str | None
    disclose: str | None
    records: Records | None = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> tuple[type[Provenance], tuple[str, str | None, str | None]]:
        return Provenance, (self.analysis, self.call, self.disclose)


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
    provenance
        Where it came from.
    """

    sites: tuple[str, ...]
    leakage: Leakage
    cost: Cost
    provenance: Provenance | None = field(default=None, repr=False, compare=False)

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """Return the result as a data frame."""

    @abstractmethod
    def summary(self) -> str:
        """Return the result as text for people."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to a file that this site signs, with all that says where it came from.

        Parameters
        ----------
        path
            The file, JSON; overwritten. ``fedstats verify bundle`` checks it, see `fedstats.bundle`. Of a
            simulated session nobody signs it.
        """
        from fedstats import bundle  # it builds on results

        bundle.save(self, Path(path))

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return self.to_frame().to_html()
