"""Do the sites' tables mean the same? Compared on shares, so that only who differs is told, no site's values.

Each site describes each of its columns by a few numbers, which it shares: the typical magnitude and the
middle range of numbers, the range of dates, the part that is missing. For every two sites it is decided on
shares whether these differ; a site that differs from more than half of the others is named, and nothing
else is opened. A site with fewer than `min_cell` values of a column is not compared.

Levels are compared by hashes, as they are and as they read when case, accents, spaces and punctuation are
left aside. Which of a site's levels are alone is opened by slots in an order that only the site knows.
"""

from __future__ import annotations

import hashlib
import secrets
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _ranks as ranks
from fedstats import levels as level_sets
from fedstats._selection import check_distinct
from fedstats.design import check_same_call
from fedstats.disclosure import Declaration
from fedstats.errors import DataError, ProtocolError
from fedstats.expressions import Array
from fedstats.results import Result
from fedstats.schema import Kind
from protocols.compare import BIT, complement, is_zero, negative
from protocols.inputs import share
from protocols.secret import SecretArray, concatenate, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "check",
    result={
        "magnitudes": "which site's numbers are typically larger or smaller than most others', by the factor",
        "ranges": "which site's middle range of a number or date has nothing in common with most others'",
        "missingness": "at which site a column is missing much more or less often than at most others",
        "levels": "how many levels of a column a site alone has, and how many of these differ from "
        "another's only in case, accents, spaces or punctuation",
    },
    published={
        "columns": "the text of the call; for each categorical column of a site the number of levels, "
        "rounded up to a power of two, or that they would identify rows"
    },
)

#: Typical magnitudes differ if one is so many times the other. From mmol/l to mg/dl, or m to cm, it is more.
FACTOR = 4.0
#: Parts that are missing differ if they are so far apart.
PART_MISSING = 0.25
#: The middle range of a column leaves out so much on either side.
TAIL = 0.1

#: Told in place of a number of levels that would identify rows.
IDENTIFYING = 0

#: Fractional bits of logarithms and of parts, and what a base-2 logarithm of a float does not exceed.
_FRACTION, _LARGEST = 10, 1100


def check(cohort: Cohort, columns: Sequence[str] | None = None) -> CheckResult:
    """Check before an analysis whether the sites' columns agree in type, unit, levels, missingness and dates.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    columns
        The columns; all of them by default, with those that not every site can use.

    Returns
    -------
    CheckResult
        What differs, at which site, and what to do about it. At each site it also names the site's own levels
        that are at fault, which no other site is told.

    Raises
    ------
    DataError
        A column does not exist or is not the same kind everywhere, where columns are named; or it has
        infinite values.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** Every site learns of each other site's categorical columns the number of levels, rounded up
    to a power of two, or that they would identify rows. For each column it learns which sites differ from
    more than half of the others: in typical magnitude (the median of |x|, x ≠ 0) by a factor of four; in that
    the middle 80 % of their values lie wholly apart; in the part that is missing by a quarter. Of categorical
    columns also how many levels each site has that no other site has, and how many of these only differ in
    spelling. No value, level or statistic is opened.

    Cost: 58 rounds for three sites; each sends some 5 kB a numeric column, and more for many levels.

    Examples
    --------
    >>> fs.check(cohort)  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, "result") as run:
        mine: list[_Local] = []

        def local() -> Mapping[str, Any]:
            part = _Local.build(cohort, columns)
            mine.append(part)
            return {"call": f"columns={columns!r}", "levels": part.told_levels()}

        told = run.agree("columns", local, max_bytes=1 << 20)
        check_same_call(told, run.federation.site)
        [part] = mine
        findings = [Finding(name, None, "type", reason) for name, reason in part.unusable.items()]
        many = {site: told_levels(site, its, part.categorical) for site, its in told.items()}
        findings += _identifying(many)
        findings += _compared(run, part)
        alone = _levels(run, part, many)
        findings += alone.findings
        order = {name: number for number, name in enumerate([*part.unusable, *cohort.columns])}
        findings.sort(key=lambda finding: order[finding.column])
        return CheckResult(**run.finish(), findings=tuple(findings), here=alone.here)


@dataclass(frozen=True)
class Finding:
    """Something that differs between sites.

    Attributes
    ----------
    column
        The column.
    site
        The site that differs from most others; None if the message names the sites.
    check
        ``"type"``, ``"magnitudes"``, ``"ranges"``, ``"missingness"``, ``"spelling"`` or ``"levels"``.
    message
        What differs, and what to do.
    """

    column: str
    site: str | None
    check: str
    message: str


@dataclass(frozen=True, eq=False, repr=False)
class _Local:
    """This site's columns, described by numbers that are shared."""

    unusable: Mapping[str, str]
    rows: int
    numeric: tuple[str, ...]
    dates: tuple[str, ...]
    categorical: tuple[str, ...]
    others: tuple[str, ...]
    identifying: list[str]
    numbers: Mapping[str, Array]
    missing: Mapping[str, float]
    levels: Mapping[str, list[str]]

    def told_levels(self) -> dict[str, int]:
        """Return the number of levels of each categorical column, as told to the other sites."""
        return {
            name: IDENTIFYING if name in self.identifying else padded(len(self.levels[name]))
            for name in self.categorical
        }

    @classmethod
    def build(cls, cohort: Cohort, columns: Sequence[str] | None) -> _Local:
        schema = cohort.schema
        names = list(schema.kinds) if columns is None else check_distinct(columns, "columns")
        kinds = {name: schema.require(name) for name in names}
        if not names and not schema.unusable:
            raise DataError("there is no column to check")
        numeric = tuple(name for name, kind in kinds.items() if kind.is_numeric)
        dates = tuple(name for name, kind in kinds.items() if kind is Kind.DATETIME)
        # Levels that were declared are asked for too, which refuses a site that has others.
        present = {
            name: [text for text in cohort.texts(name) if text is not None]
            for name, kind in kinds.items()
            if kind is Kind.CATEGORICAL
        }
        texts = {name: its for name, its in present.items() if name not in cohort.declared_levels}
        values = {name: cohort.numbers(name) for name in numeric} | {
            name: cohort.days(name) for name in dates
        }
        levels = {name: level_sets.used(present) for name, present in texts.items()}
        identifying = [name for name in texts if not _is_tellable(name, levels[name], len(texts[name]))]
        rows = len(cohort)
        return cls(
            {} if columns is not None else schema.unusable,
            rows,
            numeric,
            dates,
            tuple(texts),
            tuple(name for name in names if name not in values),
            identifying,
            {name: np.sort(x[~np.isnan(x)]) for name, x in values.items()},
            {name: float(cohort.missing(name).mean()) if rows else 0.0 for name in names},
            levels,
        )


def _is_tellable(name: str, levels: Sequence[str], rows: int) -> bool:
    try:
        level_sets.check_tellable(name, levels, rows, Kind.CATEGORICAL)
    except DataError:
        return False
    return True


def told_levels(site: str, told: Mapping[str, Any], columns: Sequence[str]) -> dict[str, int]:
    """Return what a site told by `_Local.told_levels`, trusting nothing of it."""
    numbers, most = told.get("levels"), padded(level_sets.MAX_LEVELS)
    if isinstance(numbers, dict) and numbers.keys() == set(columns):
        many = {name: numbers[name] for name in columns}
        if all(type(number) is int and 0 <= number <= most for number in many.values()):
            return many
    raise ProtocolError(f"site {site} told no valid numbers of levels", site=site)


def padded(levels: int) -> int:
    """Return a number of levels as it is told: rounded up to a power of two, 4 at least."""
    return max(4, 1 << (levels - 1).bit_length())


def _identifying(many: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    """Yield a finding for each column whose levels a site would not tell."""
    for site, its in many.items():
        for name in [name for name, number in its.items() if number == IDENTIFYING]:
            yield Finding(
                name,
                site,
                "levels",
                "has as many levels there as identify rows, so it cannot be used: group them, declare them "
                f"by federation.cohort(…, levels={{{name!r}: […]}}), or leave the column out",
            )


# --- Numbers, dates, missing values ------------------------------------------------------------------

_ADVICE = {
    "magnitudes": "its numbers are typically four times larger or smaller than at most other sites: compare "
    "units",
    "ranges": "its middle 80 % of values lie wholly apart from most other sites': compare units, codes for "
    "missing values, and formats of dates",
    "missingness": "it is missing there more often, or less often, than at most other sites, by a quarter of "
    "the rows: ask whether it was recorded alike",
}


def _compared(run: Analysis, part: _Local) -> Iterator[Finding]:
    """Compare the sites' descriptions of all columns at once, and yield who differs from most others."""
    enough = run.federation.shared_policy.min_cell
    ranged = (*part.numeric, *part.dates)
    names = (*ranged, *part.others)
    magnitude, has_magnitude = _magnitudes(part, enough)
    low, high, has_range = _ranges(part, ranged, enough)
    gaps = np.array([part.missing[name] for name in names])
    with run.on_shares() as engine:
        keys = share(engine, np.stack([low, high]), bound=ranks.LARGEST_KEY)
        sizes = share(engine, np.concatenate([magnitude, gaps]), bound=_LARGEST, fraction=_FRACTION)
        valid = share(
            engine,
            np.concatenate([has_magnitude, has_range, np.full(len(names), part.rows >= enough)]).astype(
                np.int64
            ),
            bound=1,
        )
        # By pairs of sites: how far the first lies beyond the second, as a negative number if it does.
        apart = np.repeat([np.log2(FACTOR), PART_MISSING], [len(magnitude), len(names)])
        sizes_beyond = negative(sizes - sizes[:, np.newaxis] + apart)
        above = negative(keys[:, 1] - keys[:, 0][:, np.newaxis])
        first = len(magnitude)
        beyond = concatenate([sizes_beyond[..., :first], above, sizes_beyond[..., first:]], axis=2)
        flags = _outvoted(beyond, SecretArray(engine, valid.shares, BIT))
    second = first + len(ranged)
    opened = run.reveal(
        {
            "magnitudes": flags[:, :first],
            "ranges": flags[:, first:second],
            "missingness": flags[:, second:],
        }
    )
    for label, columns in (("magnitudes", part.numeric), ("ranges", ranged), ("missingness", names)):
        for site, column in np.argwhere(opened[label] == 1).tolist():
            yield Finding(columns[column], run.sites[site], label, _ADVICE[label])


def _outvoted(beyond: SecretArray, valid: SecretArray) -> SecretArray:
    """Return whether each site differs from more than half of the others that take part, by column.

    Parameters
    ----------
    beyond
        Shape ``(n, n, columns)``: bits, whether the first site lies beyond the second.
    valid
        Shape ``(n, columns)``: bits, whether a site takes part.
    """
    n = len(valid)
    both = valid.reshape(n, 1, -1) * valid.reshape(1, n, -1)
    votes = ((beyond + beyond.transpose(1, 0, 2)) * both).sum(axis=1)
    others = both.sum(axis=1) - valid
    return negative(others - 2 * votes)


def _magnitudes(part: _Local, enough: int) -> tuple[Array, NDArray[np.bool_]]:
    """Return the binary logarithm of each column's typical magnitude, and whether values suffice for one."""
    sizes = [np.abs(x[x != 0]) for x in (part.numbers[name] for name in part.numeric)]
    valid = np.array([len(x) >= enough for x in sizes], np.bool_)
    typical = [np.median(x) if is_valid else 1.0 for x, is_valid in zip(sizes, valid, strict=True)]
    return np.log2(np.array(typical, np.float64)), valid


def _ranges(
    part: _Local, names: Sequence[str], enough: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the ends of each column's middle range, as integers in their order, and whether it has one."""
    values = [part.numbers[name] for name in names]
    valid = np.array([len(x) >= enough for x in values], np.bool_)
    tails = [TAIL, 1 - TAIL]
    ends = np.zeros((len(values), 2))
    for row in np.flatnonzero(valid).tolist():
        ends[row] = np.quantile(values[row], tails, method="nearest")
    keys = ranks.keys(ends)
    return keys[:, 0], keys[:, 1], valid


# --- Levels ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Alone:
    findings: list[Finding]
    here: Mapping[str, list[str]]


def _levels(run: Analysis, part: _Local, many: Mapping[str, Mapping[str, int]]) -> _Alone:
    """Find levels that one site alone has, and tell that site which."""
    if not part.categorical:
        return _Alone([], {})
    sizes = [max(1, *(its[name] for its in many.values())) for name in part.categorical]
    slots = [_slots(part, name, size) for name, size in zip(part.categorical, sizes, strict=True)]
    flat = [level for its in slots for level in its]
    with run.on_shares() as engine:
        hashes = share(engine, _hashes(flat, engine.party.index), bound=1 << 62)
        used = share(engine, np.array([level is not None for level in flat], np.int64), bound=1)
        found = _found_elsewhere(hashes, sizes)
        alone = SecretArray(engine, used.shares, BIT) * complement(found[:, 0])
        opened = run.reveal({"levels": alone + alone * found[:, 1]})["levels"]
    by_column = np.split(opened, np.cumsum(sizes)[:-1], axis=1)
    findings, here = [], {}
    me = run.sites.index(run.federation.site)
    for name, its, codes in zip(part.categorical, slots, by_column, strict=True):
        for site, row in zip(run.sites, codes, strict=True):
            for code, check_, text in ((2, "spelling", _SPELLED), (1, "levels", _ALONE)):
                if number := int(np.count_nonzero(row == code)):
                    findings.append(Finding(name, site, check_, text.format(many=number)))
        mine = [level for level, code in zip(its, codes[me], strict=True) if level is not None and code]
        if mine:
            here[name] = sorted(mine)
    return _Alone(findings, here)


_SPELLED = (
    "{many} of its levels differ from another site's only in case, accents, spaces or punctuation: recode "
    "them there, where this check names them"
)
_ALONE = "{many} of its levels no other site has: if they mean a level of the others, recode them there"


def _slots(part: _Local, name: str, size: int) -> list[str | None]:
    """Return a column's levels in an order that only this site knows, filled up; none that identify rows."""
    levels: list[str | None] = [] if name in part.identifying else list(part.levels[name])
    levels += [None] * (size - len(levels))
    secrets.SystemRandom().shuffle(levels)
    return levels


def _hashes(levels: Sequence[str | None], party: int) -> NDArray[np.int64]:
    """Return hashes of levels as they are and as they read, shape ``(2, slots)``."""
    # What stands for no level is like no hash, and like nothing at another site.
    none = (-1 - party, -1 - party)
    return np.array(
        [none if level is None else (_hash(level), _hash(folded(level))) for level in levels], np.int64
    ).T


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 2


def folded(level: str) -> str:
    """Return what is left of a level without case, accents, spaces and punctuation; numbers as numbers."""
    try:
        return level_sets.canonical(float(level))
    except ValueError:
        letters = unicodedata.normalize("NFKD", level.casefold())
        return "".join(filter(str.isalnum, letters)) or level


def _found_elsewhere(hashes: SecretArray, sizes: Sequence[int]) -> SecretArray:
    """Return whether another site has each level; the axes are sites, readings, and the columns' slots."""
    n = len(hashes)
    first, second = np.triu_indices(n, 1)
    ends = np.cumsum([0, *sizes]).tolist()
    columns = [hashes[..., start:end] for start, end in pairwise(ends)]
    equal = is_zero(
        concatenate([(x[first][..., np.newaxis] - x[second][..., np.newaxis, :]).ravel() for x in columns])
    )
    found, start = [], 0
    for size in sizes:
        count = 2 * len(first) * size**2
        its = equal[start : start + count].reshape(len(first), 2, size, size)
        ahead, back = its.sum(axis=3), its.sum(axis=2)
        both = [concatenate([ahead[first == site], back[second == site]]).sum(axis=0) for site in range(n)]
        found.append(stack(both))
        start += count
    return negative(-concatenate(found, axis=2))


# --- Result ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CheckResult(Result):
    """What differs between the sites; but for `here` the same at every site.

    Attributes
    ----------
    findings
        What differs, at which site, and what to do.
    here
        This site's own levels that no other site has, by column: known to this site alone.
    """

    findings: tuple[Finding, ...]
    here: Mapping[str, list[str]] = field(repr=False)

    @property
    def is_harmonised(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each finding: ``column``, ``site``, ``check``, ``message``."""
        columns = ["column", "site", "check", "message"]
        rows = [[getattr(finding, name) for name in columns] for finding in self.findings]
        return pd.DataFrame(rows, columns=columns)

    def summary(self) -> str:
        """Return the findings as text."""
        lines = [f"Check of columns over {len(self.sites)} sites", ""]
        for finding in self.findings:
            where = "" if finding.site is None else f" at site {finding.site}"
            lines += textwrap.wrap(
                f"{finding.column}{where}: {finding.message}", 100, subsequent_indent="    "
            )
        lines += [] if self.findings else ["Nothing differs by the measures of this check."]
        if self.here:
            lines += ["", "Levels that this site alone has, as only it is told:"]
            lines += [f"    {name}: {', '.join(map(repr, levels))}" for name, levels in self.here.items()]
        return "\n".join([*lines, "", f"Cost: {self.cost}"])
