"""Linking rows that are alike: the list of one site's rows, and on shares which of the others' they are.

The list is that of the site with the fewest places. Of each other site every row is compared with those of
the list in its block, and the best match of each is found on shares, see `protocols.linkage.matching`. Of
three sites or more with tables, each is so linked with that one, and not with one another.

Blocks are values that must agree. The sites find out which they have in common by private set intersection,
under random identifiers, so that nobody learns which. Many small blocks are put together, and their rows not
linked with one another. Each site fills its
blocks up to the size of its largest, rounded up, which it tells the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedstats._counts import open_counts
from fedstats._ranks import rounded_up
from fedstats.disclosure import Declaration
from fedstats.errors import DataError, ProtocolError
from fedstats.linkage.schema import Similar
from fedstats.vertical import joined
from fedstats.vertical.alignment import Alignment
from protocols.linkage.filters import Filters
from protocols.linkage.matching import Blocks, best_matches
from protocols.psi.intersection import Sizes
from protocols.secret import SecretArray, concatenate, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

DECLARATION = Declaration(
    "link.similar",
    result={
        "blocks": "how many values the sites have of the columns that must agree, and how many any selection "
        "of sites has in common",
        "links": "how many patients are linked, over all sites with tables and between any two",
    },
    published={
        "schema": "names and kinds of the columns of each site's table, its number of rows that can be "
        "linked, and which columns identify patients, and how",
        "block sizes": "how many rows its largest block has, rounded up by an eighth at most",
    },
)

#: Most pairs of rows that are compared, of all blocks together; and where no majority is trusted.
MOST_PAIRS, MOST_PAIRS_BY_TRIPLES = 1 << 22, 1 << 12
#: Most rows of a table, with those that fill its blocks: at 1024 bits their filters take 1 GiB.
MOST_ROWS = 1 << 20
#: Blocks are put together until there is one for so many rows of the largest table, or fewer.
ROWS_A_BLOCK = 8


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """This site's rows as they are compared.

    Attributes
    ----------
    filters
        Shape ``(rows, bits)``.
    blocks
        For each row what must agree; all the same if nothing must.
    """

    filters: Filters
    blocks: list[bytes]


def link(
    run: Analysis, on: Similar, rows: Rows, holders: tuple[str, ...], told: Mapping[str, Any]
) -> Alignment:
    """Link this site's rows with those of the others.

    Parameters
    ----------
    run
        The analysis, past `agree`, of which `told` is what the sites told.
    on
        How rows are compared, the same at every site.
    rows
        This site's; none if it has no table.
    holders
        Sites with tables, two at least.

    Raises
    ------
    DataError
        A table has no row that can be linked, there are too many pairs, or fewer patients are linked than
        `min_cell`.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** As declared. **Cost.** That of `best_matches`, for each site with a table but one; with
    blocks also that of `protocols.psi.intersection.universe` for as many items as a site has blocks. Where no
    majority is trusted, some 600 kB a pair instead of 430 bytes.
    """
    sites = run.sites
    each = tuple(_number(site, told[site].get("rows")) for site in sites)
    if empty := [site for site in holders if not each[sites.index(site)]]:
        raise DataError(
            f"the table of site {empty[0]} has no row with identifiers: look at the columns of on="
        )
    count, kinds, block, kind = _blocks(run, on, rows.blocks, max(each))
    slot = _slots(block)
    room = dict(zip(sites, each, strict=True))
    if on.block:
        largest = rounded_up(int(slot.max(initial=-1)) + 1)
        sizes = run.agree("block sizes", lambda: {"largest": largest})
        room = {site: _number(site, its.get("largest")) for site, its in sizes.items()}
    first = min(holders, key=room.__getitem__)
    others = [site for site in holders if site != first]
    layouts = {
        site: Blocks(sites.index(first), sites.index(site), count, room[first], room[site], kinds)
        for site in others
    }
    pairs = sum(its.pairs for its in layouts.values())
    most = MOST_PAIRS_BY_TRIPLES if run.federation.shared_policy.full else MOST_PAIRS
    if pairs > most:
        raise DataError(
            f"{pairs:,} pairs of rows would be compared, where {most:,} can be: "
            + ("name columns with more values in block=" if on.block else "say in block= which columns agree")
        )
    longest = count * max(room[site] for site in holders)
    if longest > MOST_ROWS:
        raise DataError(
            f"a table would have {longest:,} rows, filled up to its largest block, where {MOST_ROWS:,} "
            "can be: name columns in block= whose values are about as frequent as one another"
        )
    me = run.federation.site
    filters = np.zeros((count, room[me] if me in holders else 0, on.bits), np.uint8)
    filters[block, slot] = rows.filters
    of_kind = np.zeros(filters.shape[:2], np.int64)
    of_kind[block, slot] = kind
    links: dict[str, SecretArray] = {}
    with run.on_shares() as engine:
        for site, layout in layouts.items():
            mine = slice(None if me in (first, site) else 0)
            links[site] = best_matches(
                engine, filters[:, mine], layout, (on.threshold, 1000), of_kind[:, mine]
            )
        size = count * room[first]
        there = [its.sum(axis=2).reshape(size).assume(1) for its in links.values()]
        common = reduce(lambda one, two: (one * two).assume(1), there).sum().reshape(1)
        both = joined.products(stack(there), stack(there))
    upper = np.triu_indices(len(others))
    least = run.federation.shared_policy.min_cell
    opened = open_counts(run, "links", concatenate([common, both[upper]]), least)
    if opened[0] < max(least, 1):
        raise DataError(
            f"fewer than {max(least, 1)} patients (min_cell) are linked: look at the fields, their kinds and "
            "the threshold (fs.linkage.error_rates)"
        )
    found = np.zeros((len(others), len(others)), np.int64)
    found[upper] = opened[1:]
    return Alignment(
        size,
        (block * room[me] + slot).astype(np.int64),
        {site: count * room[site] if site in holders else 0 for site in sites},
        _sizes(sites, each, first, others, int(opened[0]), np.maximum(found, found.T)),
        {site: its.shares for site, its in links.items()},
    )


def _blocks(
    run: Analysis, on: Similar, values: list[bytes], largest: int
) -> tuple[int, int, NDArray[np.int64], NDArray[np.int64]]:
    """Return how many blocks there are, how many values one has, and of each row of this site both."""
    if not on.block:
        nothing = np.zeros(len(values), np.int64)
        return 1, 1, nothing, nothing
    distinct = list(dict.fromkeys(values))
    universe = run.link("blocks", distinct)
    count = min(universe.size, max(1, largest // ROWS_A_BLOCK))
    # Identifiers are random, and so is which values are neighbours.
    places = dict(zip(distinct, universe.positions.tolist(), strict=True))
    place = np.array([places[value] for value in values], np.int64)
    block = place * count // universe.size
    starts = -(-block * universe.size // count)
    return count, -(-universe.size // count), block, place - starts


def _slots(block: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each row within its block, in the order of the table."""
    order = np.argsort(block, kind="stable")
    starts = np.searchsorted(block[order], block[order])
    slot = np.empty_like(block)
    slot[order] = np.arange(len(block)) - starts
    return slot


def _number(site: str, told: Any) -> int:
    if type(told) is not int or not 0 <= told <= MOST_PAIRS:
        raise ProtocolError(
            f"site {site} does not say how many rows it has, or more than {MOST_PAIRS:,}", site=site
        )
    return told


def _sizes(
    sites: tuple[str, ...],
    each: tuple[int, ...],
    first: str,
    others: list[str],
    common: int,
    found: NDArray[np.int64],
) -> Sizes:
    """Return how many patients sites have in common: as far as others are linked, by way of the first."""
    pairs = np.diag(each).astype(np.int64)
    places = [sites.index(site) for site in others]
    linked = np.diag(found)
    pairs[sites.index(first), places] = pairs[places, sites.index(first)] = linked
    apart = ~np.eye(len(others), dtype=bool)
    pairs[np.ix_(places, places)] += np.where(apart, found, 0)
    return Sizes(each, common, pairs, sum(each) - int(linked.sum()))
