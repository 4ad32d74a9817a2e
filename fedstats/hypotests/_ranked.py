"""Ranking a test's groups: what Mann–Whitney, Kruskal–Wallis and Kolmogorov–Smirnov have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fedstats import _ranks as ranks
from fedstats.hypotests import _groups
from fedstats.hypotests._groups import Groups
from protocols.engine import Engine

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

PUBLISHED = {**_groups.PUBLISHED, **ranks.PUBLISHED}
TIES = "Σ(t³ − t) over blocks of t equal values"


def open_lengths_and_sizes(run: Analysis, part: Groups) -> tuple[list[int], pd.Series[int]]:
    """Return how many rows each site will share, and how many there are in each group."""
    lengths = ranks.agree_lengths(run, int(part.counts.sum()))
    return lengths, _groups.open_sizes(run, part)


def rank(engine: Engine, lengths: list[int], part: Groups, count: int) -> ranks.Ranking:
    """Rank all values together, with a column of bits beside them for each group but the last."""
    member = np.repeat(np.arange(len(part.labels)), part.counts)
    columns = [(member == group).astype(np.int64) for group in range(len(part.labels) - 1)]
    rows = ranks.share(engine, lengths, ranks.keys(np.concatenate(part.rows)), columns)
    return ranks.rank(rows.key, *rows.columns, count=count)
