"""Ranks of values over the rows of all sites, exact and secret, for statistics that are made of them.

How a method uses this::

    lengths = agree_lengths(run, len(x))                    # declared as PUBLISHED; one round
    rows = share(engine, lengths, keys(x), [columns…])      # integers beside each key; one round
    ranking = rank(rows.key, *rows.columns, count=n)        # n: the public number of true rows
    sums, ties = ranking.sums(*ranking.columns)             # or any inner product with ranking.doubled

A site's float64 become 64-bit integers in the same order (`keys`), so no value is rounded and nobody needs
their range. All sites' rows are sorted obliviously (`protocols.sort`); neighbours are compared, and scans
(`protocols.scan`) tell each row where its block of equal values begins and ends. Half the sum of both places
is its midrank, as `scipy.stats.rankdata` gives it; the length of its block is what corrections for ties are
made of. Everything stays shared: row order, values, ranks and ties.

How many rows a site has is not told to the others but rounded up (`padded`). What is added sorts behind all
values and is cut off once the number of true rows is public, which methods open as a result.

Two variables, for Spearman's correlation: rank by x with y's keys beside; then rank by these, with x's
doubled midranks beside. Both are then in the same order of rows (`tests/unit/test_ranks.py` shows it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats.errors import DataError, ProtocolError
from fedstats.expressions import Array
from protocols import inputs, scan
from protocols.compare import BIT
from protocols.engine import Engine
from protocols.mersenne import Elements
from protocols.secret import SecretArray, inner, stack
from protocols.sort import sort_by

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What `agree_lengths` publishes; part of the declaration of every method that calls it.
PUBLISHED: Mapping[str, str] = {"rows": "its number of rows, rounded up by an eighth at most, to 16 at least"}
#: Keys of values are below it in magnitude. As a key it stands for padding, behind all values.
LARGEST_KEY = (1 << 63) - 1
#: Sites tell their numbers of rows as multiples of an eighth of a power of two, and within these limits.
FEWEST_ROWS, MOST_ROWS = 16, 1 << 24


def padded(rows: int) -> int:
    """Return the number of rows that a site tells: its own, rounded up by an eighth at most."""
    return max(FEWEST_ROWS, rounded_up(rows))


def rounded_up(number: int) -> int:
    """Return the next multiple of an eighth of the power of two below a number; itself below 16."""
    step = 1 << max(number.bit_length() - 4, 0)
    return -(-number // step) * step


def agree_lengths(run: Analysis, rows: int, *, label: str = "rows") -> list[int]:
    """Return the rows that each site is going to share, in the order of the roster: its own, padded.

    They are published under `label`, which the declaration has with the meaning of `PUBLISHED`.

    Raises
    ------
    DataError
        This site has more than `MOST_ROWS`: they would take hours, and all memory.
    RemoteError
        The same at another site.
    ProtocolError
        A site told what is no such number.

    Notes
    -----
    **Leakage.** `PUBLISHED`. Cost: one round.
    """

    def local() -> Mapping[str, int]:
        if rows > MOST_ROWS:
            raise DataError(f"{rows:,} rows of this site are too many to be ranked; {MOST_ROWS:,} are not")
        return {"padded": padded(rows)}

    told = run.agree(label, local, max_bytes=1 << 10)
    lengths: list[int] = []
    for site in run.sites:
        match told[site]:
            case {"padded": int() as length} if length == padded(length) <= MOST_ROWS:
                lengths.append(length)
            case _:
                raise ProtocolError(f"site {site} told no number of rows", site=site)
    return lengths


def keys(x: Array) -> NDArray[np.int64]:
    """Return integers in the order of float64 values, equal where these are; below `LARGEST_KEY`.

    Parameters
    ----------
    x
        Finite.
    """
    bits = np.asarray(x + 0.0, np.float64).view(np.int64)  # −0 becomes 0
    return np.where(bits < 0, bits ^ np.int64(LARGEST_KEY), bits)


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """Rows of all sites, shared.

    Attributes
    ----------
    key
        Of each row; `LARGEST_KEY` of what was added.
    columns
        Numbers beside the keys, 0 beside what was added.
    """

    key: SecretArray
    columns: tuple[SecretArray, ...]


def share(
    engine: Engine, lengths: Sequence[int], key: NDArray[np.int64], columns: Sequence[NDArray[np.int64]]
) -> Rows:
    """Share this site's rows with all, each site its own number of them.

    Parameters
    ----------
    engine
        The computation.
    lengths
        What each site told by `padded`, in the order of the roster.
    key
        Of each row of this site, from `keys`.
    columns
        Integers beside them, such as 0 and 1 for belonging to a group; other keys too.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** One round; see `inputs.share_rows`.
    """
    rows = np.zeros((lengths[engine.party.index], 1 + len(columns)), np.int64)
    rows[:, 0] = LARGEST_KEY
    rows[: len(key)] = np.column_stack([key, *columns])
    shared = inputs.share_rows(engine, rows, lengths, bound=LARGEST_KEY)
    return Rows(shared[:, 0], tuple(shared[:, 1 + column] for column in range(len(columns))))


@dataclass(frozen=True, eq=False, repr=False)
class Ranking:
    """Rows of all sites in the order of their keys, all secret but their number.

    Attributes
    ----------
    count
        Number of rows, without what was added.
    columns
        What stood beside the keys, in the new order.
    last_of_block
        1 where a key differs from the next one's: at the last of each block of equal keys.
    doubled
        Twice the midrank of each row, counted from 1: a whole number.
    block
        How many rows have the same key.
    """

    count: int
    columns: tuple[SecretArray, ...]
    last_of_block: SecretArray
    doubled: SecretArray
    block: SecretArray

    def sums(self, *columns: SecretArray) -> tuple[SecretArray, SecretArray]:
        """Return for columns of bits twice the sum of the ranks of rows that have a 1, and Σ(t³ − t).

        The latter is over blocks of t equal values: the correction for ties. One round, however many columns.
        """
        n = self.count
        left = stack([*columns, self.block])
        right = stack([self.doubled] * len(columns) + [self.block])
        found = inner(left, right)
        rank_sums, cubes = found[:-1], found[-1:]  # Σ t² over rows is Σ t³ over blocks
        return rank_sums.assume(n * (n + 1)), (cubes - n).assume(n**3)


def rank(key: SecretArray, *columns: SecretArray, count: int) -> Ranking:
    """Rank rows by their keys.

    Parameters
    ----------
    key, columns
        Of the same length; see `share`.
    count
        Public: how many of the rows are no padding.

    Notes
    -----
    **Leakage.** Nothing; see `sort.sort_by`, `compare.is_zero` and `scan.segmented`.

    **Cost.** `sort.sort_by`, which takes most of it; 9 rounds for three parties to compare neighbours, and
    2⌊log2 n⌋ + 1 for the scans.
    """
    engine = key.engine
    ordered, *beside = (column[:count] for column in sort_by(key, *columns))
    joined = ordered[1:] == ordered[:-1]
    places = np.arange(count)
    edge = np.zeros((1, 2), np.uint64)
    # Whether a row has its predecessor's key, and its successor's; of these the scan goes the other way.
    as_before = _bits(engine, np.concatenate([edge, joined.shares]))
    as_after = _bits(engine, np.concatenate([joined.shares, edge]))
    go_on = stack([as_before, as_after[::-1]])
    own = (1 - go_on) * np.stack([places, places[::-1]])
    found = scan.segmented(go_on, own, bound=count)
    first, last = found[0], found[1, ::-1]
    return Ranking(
        count,
        tuple(beside),
        _bits(engine, (1 - as_after).shares),
        (first + last + 2).assume(2 * count),
        (last - first + 1).assume(count),
    )


def _bits(engine: Engine, shares: Elements) -> SecretArray:
    return SecretArray(engine, shares, BIT)
