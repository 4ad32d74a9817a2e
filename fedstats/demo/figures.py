"""What came out at the sites, held against the pooled reference."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedstats.disclosure import Leakage, Reveal
from fedstats.results import Cost

ANALYSES = ("describe", "ols", "gwas")
#: Columns of each analysis' result that make up a row's name.
_INDEX: Mapping[str, list[int]] = {"describe": [0, 1], "ols": [0], "gwas": [0]}


@dataclass(frozen=True)
class SiteResults:
    """What the script wrote at one site.

    Attributes
    ----------
    tables
        Each analysis' table, bit for bit as the script had it.
    leakage
        What each analysis revealed, and the session as a whole.
    cost
        What each analysis cost the site, and the session as a whole.
    files
        The tables' files as they are.
    """

    tables: Mapping[str, pd.DataFrame]
    leakage: Mapping[str, Leakage]
    cost: Mapping[str, Cost]
    files: Mapping[str, bytes]

    @classmethod
    def read(cls, folder: Path) -> SiteResults:
        """Read a site's `results` folder."""
        return cls(
            tables={
                name: pd.read_csv(
                    folder / f"{name}.csv",
                    index_col=_INDEX[name],
                    dtype={"chromosome": str},
                )
                for name in ANALYSES
            },
            leakage={
                name: Leakage(
                    Reveal(*row)
                    for row in pd.read_csv(folder / f"{name}.leakage.csv").itertuples(index=False)
                )
                for name in ("session", *ANALYSES)
            },
            cost={
                str(name): Cost(*row)
                for name, *row in pd.read_csv(folder / "cost.csv", index_col=0).itertuples()
            },
            files={name: (folder / f"{name}.csv").read_bytes() for name in ANALYSES},
        )


@dataclass(frozen=True)
class Comparison:
    """How far one analysis' numbers are from those of the pooled reference.

    Attributes
    ----------
    numbers
        How many were compared.
    max_relative_error
        The greatest |found − expected| / |expected| among them.
    """

    numbers: int
    max_relative_error: float


def compare(found: pd.DataFrame, expected: pd.DataFrame) -> Comparison:
    """Compare every cell of the expected table with the one of the same row and column that was found."""
    ours = found[expected.columns].loc[expected.index].to_numpy(np.float64)
    theirs = expected.to_numpy(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.where(ours == theirs, 0.0, np.abs(ours - theirs) / np.abs(theirs))
    undefined = np.isnan(ours) & np.isnan(theirs)
    return Comparison(errors.size, float(errors[~undefined].max()))


@dataclass(frozen=True)
class Figures:
    """The figures of one run of the demonstration.

    Attributes
    ----------
    seconds
        Wall time of the three processes, from their start to the end of the last.
    comparisons
        For each analysis, its numbers against the reference's.
    max_neg_log10_p_error
        Greatest absolute difference of −log10 p in the scan.
    identical
        Whether all sites hold the same results, bit for bit.
    results
        Each site's results.
    """

    seconds: float
    comparisons: Mapping[str, Comparison]
    max_neg_log10_p_error: float
    identical: bool
    results: Mapping[str, SiteResults]

    @property
    def max_relative_error(self) -> float:
        """The greatest relative error of any number of any analysis."""
        # Python's max would lose a NaN.
        return float(np.max([comparison.max_relative_error for comparison in self.comparisons.values()]))

    @property
    def rounds(self) -> int:
        """How many times each site waited for the others."""
        return self.first.cost["session"].rounds

    @property
    def bytes_sent(self) -> int:
        """Payload bytes that all sites together sent."""
        return sum(self.bytes_sent_by_site.values())

    @property
    def bytes_sent_by_site(self) -> dict[str, int]:
        """Payload bytes that each site sent."""
        return {name: site.cost["session"].bytes_sent for name, site in self.results.items()}

    @property
    def first(self) -> SiteResults:
        """The results of the first site, which are everybody's."""
        return next(iter(self.results.values()))

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for machines."""
        return {
            "fedstats": version("fedstats"),
            "max_relative_error": self.max_relative_error,
            "max_neg_log10_p_error": self.max_neg_log10_p_error,
            "identical_at_all_sites": self.identical,
            "seconds": self.seconds,
            "rounds": self.rounds,
            "bytes_sent": self.bytes_sent,
            "bytes_sent_by_site": self.bytes_sent_by_site,
            "analyses": {
                name: asdict(comparison) | asdict(self.first.cost[name])
                for name, comparison in self.comparisons.items()
            },
            "revealed": {
                name: [reveal.to_dict() for reveal in leakage] for name, leakage in self.first.leakage.items()
            },
        }

    def save(self, path: Path) -> None:
        """Write the figures as JSON."""
        path.write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
