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

Many lists of rows, such as a matrix of correlations has one of for each pair of columns, stand one after the
other and are ranked in the same rounds, each by itself: `share_lists`, `rank_lists`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
#: Rows of many lists that are ranked at a time: some 2 kB of memory each.
AT_A_TIME = 1 << 18


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


def share_lists(engine: Engine, lengths: Sequence[int], lists: Sequence[NDArray[np.int64]]) -> Rows:
    """Share many lists of rows with all.

    Parameters
    ----------
    engine, lengths
        As for `share`.
    lists
        For each list this site's rows: their keys, and numbers beside them; shape ``(1 + columns, rows)``.

    Returns
    -------
    Rows
        ``sum(lengths)`` rows of each list, padding included, one list after the other.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** One round; see `inputs.share_rows`.
    """
    rows = np.zeros((lengths[engine.party.index], len(lists), len(lists[0])), np.int64)
    rows[:, :, 0] = LARGEST_KEY
    for number, own in enumerate(lists):
        rows[: own.shape[1], number] = own.T
    shared = inputs.share_rows(engine, rows, lengths, bound=LARGEST_KEY)
    key, *columns = (shared[:, :, column].T.reshape(-1) for column in range(len(lists[0])))
    return Rows(key, tuple(columns))


def at_a_time(lists: int, rows: int) -> Iterator[slice]:
    """Divide a number of lists, each of so many rows, into as many as are ranked at a time."""
    together = max(1, AT_A_TIME // rows)
    return (slice(start, start + together) for start in range(0, lists, together))


@dataclass(frozen=True, eq=False, repr=False)
class Ranking:
    """Rows of all sites in the order of their keys, all secret but their number.

    Attributes
    ----------
    counts
        Number of rows of each list, without what was added.
    columns
        What stood beside the keys, in the new order.
    last_of_block
        1 where a key differs from the next one's: at the last of each block of equal keys.
    doubled
        Twice the midrank of each row in its list, counted from 1: a whole number.
    block
        How many rows of the list have the same key.
    """

    counts: tuple[int, ...]
    columns: tuple[SecretArray, ...]
    last_of_block: SecretArray
    doubled: SecretArray
    block: SecretArray

    @property
    def count(self) -> int:
        """Number of rows of all lists."""
        return sum(self.counts)

    def sums(self, *columns: SecretArray) -> tuple[SecretArray, SecretArray]:
        """Return for columns of bits twice the sum of the ranks of rows that have a 1, and Σ(t³ − t).

        The latter is over blocks of t equal values: the correction for ties. One round, however many columns.
        All rows are one list.
        """
        (n,) = self.counts
        left = stack([*columns, self.block])
        right = stack([self.doubled] * len(columns) + [self.block])
        found = inner(left, right)
        rank_sums, cubes = found[:-1], found[-1:]  # Σ t² over rows is Σ t³ over blocks
        return rank_sums.assume(n * (n + 1)), (cubes - n).assume(n**3)

    def products(self, *pairs: tuple[SecretArray, SecretArray]) -> list[SecretArray]:
        """Return for pairs of columns the sums of their products within each list. One round."""
        most = max(self.counts)
        cells = np.cumsum([0, *self.counts[:-1]])[:, np.newaxis] + np.arange(most)
        cells = np.where(np.arange(most) < np.array(self.counts)[:, np.newaxis], cells, self.count)
        left, right = (stack([scan.with_zero(pair[side]) for pair in pairs])[:, cells] for side in (0, 1))
        found = inner(left, right)
        return [found[pair] for pair in range(len(pairs))]

    def by_list(self, x: SecretArray) -> SecretArray:
        """Return the sums of a column within each list. Local."""
        ends = np.cumsum(self.counts)
        running = scan.with_zero(scan.running_sum(x))
        return running[ends - 1] - running[np.append(self.count, ends[:-1] - 1)]


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
    return rank_lists(key, *columns, sizes=[key.size], counts=[count])


def rank_lists(
    key: SecretArray, *columns: SecretArray, sizes: Sequence[int], counts: Sequence[int]
) -> Ranking:
    """Rank the rows of many lists, which stand one after the other, each by itself; see `rank`.

    Parameters
    ----------
    key, columns
        Of the same length.
    sizes, counts
        Public: the length of each list, and how many of its rows, one at least, are no padding.
    """
    engine, starts = key.engine, np.cumsum([0, *sizes[:-1]])
    true = np.concatenate([start + np.arange(count) for start, count in zip(starts, counts, strict=True)])
    ordered, *beside = sort_by(key, *columns, ranks=true, lists=sizes)
    joined = ordered[1:] == ordered[:-1]
    places = np.concatenate([np.arange(count) for count in counts])
    last = np.cumsum(counts) - 1
    # Whether a row has its predecessor's key, and its successor's; of these the scan goes the other way.
    edge = np.zeros((1, 2), np.uint64)
    before, after = np.concatenate([edge, joined.shares]), np.concatenate([joined.shares, edge])
    before[last[:-1] + 1] = after[last[:-1]] = 0  # of different lists
    as_before, as_after = _bits(engine, before), _bits(engine, after)
    go_on = stack([as_before, as_after[::-1]])
    own = (1 - go_on) * np.stack([places, places[::-1]])
    found = scan.segmented(go_on, own, bound=max(counts))
    first, final = found[0], found[1, ::-1]
    return Ranking(
        tuple(counts),
        tuple(beside),
        _bits(engine, (1 - as_after).shares),
        (first + final + 2).assume(2 * max(counts)),
        (final - first + 1).assume(max(counts)),
    )


def _bits(engine: Engine, shares: Elements) -> SecretArray:
    return SecretArray(engine, shares, BIT)
