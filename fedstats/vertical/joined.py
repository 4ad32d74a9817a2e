"""Columns of several sites, brought onto shares as rows of the patients that all have.

Each site says in which coarse unit, and from where, its columns are measured, and shares what it has of each
patient of the common list (`alignment`): 0 of those it does not have, or has no value of, and a bit that says
whether it has one. A patient counts whose bits are all 1. Sums over patients of products of columns are then
one matrix product on shares, exact until they are rounded at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedstats import levels as level_sets
from fedstats._counts import open_counts
from fedstats._frames import power_of_two_near
from fedstats._moments import Frame
from fedstats.design import check_same_call
from fedstats.errors import DataError, ProtocolError
from fedstats.expressions import Array
from protocols.fixed import Format, fraction_for
from protocols.inputs import share_rows
from protocols.secret import SecretArray, concatenate, matmul

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.vertical.cohort import VerticalCohort
    from protocols.engine import Engine

#: What `agree` publishes; part of the declaration of every analysis of linked columns.
PUBLISHED: Mapping[str, str] = {
    "columns": "the text of the call; of each column, by the site that has it: its levels; or where and in "
    "which unit it is measured, the mean of its values there to the power of two near the standard deviation"
}
#: What `open_number` opens.
ROWS = "number of patients that all sites have, and of whom no value is missing"

#: Columns are measured in units in which no value is larger.
LARGEST = 64.0


@dataclass(frozen=True, eq=False, repr=False)
class Variables:
    """Variables of one number a patient each; the same at every site, but for `mine`.

    Attributes
    ----------
    names, owners
        Of the variables, in their order.
    levels
        Of the categorical columns among those that were asked for.
    frame
        Where and in which unit each variable is measured.
    mine
        This site's values in that frame, by position among the variables, a row each; NaN where missing.
    groups
        Positions of the variables of each thing that was asked for.
    """

    names: tuple[str, ...]
    owners: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    frame: Frame
    mine: Mapping[int, Array]
    groups: Mapping[str, list[int]]

    def __getitem__(self, places: Sequence[int]) -> Variables:
        """Return some of the variables, in this order; of groups and levels nothing is changed."""
        return replace(
            self,
            names=tuple(self.names[place] for place in places),
            owners=tuple(self.owners[place] for place in places),
            frame=Frame(self.frame.centre[list(places)], self.frame.unit[list(places)]),
            mine={new: self.mine[old] for new, old in enumerate(places) if old in self.mine},
        )


@dataclass(frozen=True, eq=False)
class Group:
    """What this site has of one thing that was asked for: some variables.

    Attributes
    ----------
    names
        Of the variables.
    values
        Shape ``(rows, variables)``, NaN where missing.
    levels
        Of the columns that are categories, by name.
    in_units
        Whether they are measured in units; indicators are as they are.
    """

    names: list[str]
    values: Array
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    in_units: bool = True


def number(cohort: VerticalCohort, name: str) -> Group:
    """Return a column of numbers of this site."""
    return Group([name], cohort.numbers(name)[:, np.newaxis])


def indicators(cohort: VerticalCohort, name: str) -> Group:
    """Return indicators of the levels of a column of this site."""
    texts = cohort.texts(name)
    present = [text for text in texts if text is not None]
    kind = cohort.schema.kinds[name]
    levels = level_sets.used(present, kind)
    level_sets.check_tellable(name, levels, len(present), kind)
    if not levels:
        raise DataError(f"column {name!r} has no value: leave it out")
    order = cohort.categories(name)
    levels = levels if order is None else [its for its in order if its in levels]
    values = (texts[:, np.newaxis] == np.array(levels, object)).astype(float)
    values[[text is None for text in texts]] = np.nan
    return Group(levels, values, {name: tuple(levels)}, in_units=False)


def agree(
    run: Analysis,
    call: str,
    check: Callable[[], Sequence[str]],
    owner: Callable[[str], str],
    part: Callable[[str], Group],
) -> Variables:
    """Agree with the other sites on variables, and return this site's.

    Parameters
    ----------
    run
        The analysis, at its start. Its declaration includes `PUBLISHED`.
    call
        Every option that all sites must give alike, as text.
    check
        Checks the call, and returns what is asked for: names of groups of variables, in their order.
    owner
        Returns which site has a group.
    part
        Returns this site's variables of a group of its own.

    Raises
    ------
    DataError
        As `check` or `part` raised it; or the sites ask for different analyses.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** `PUBLISHED`. **Cost.** One round.
    """
    asked: list[str] = []
    own: dict[str, tuple[Group, Frame]] = {}

    def local() -> Mapping[str, Any]:
        run.joins_rows()
        asked.extend(check())
        for name in asked:
            if owner(name) == run.federation.site:
                group = part(name)
                own[name] = group, _frame_of(group)
        return {
            "call": call,
            "groups": {
                name: {
                    "names": group.names,
                    "levels": {column: list(its) for column, its in group.levels.items()},
                    "centre": frame.centre,
                    "unit": frame.unit,
                }
                for name, (group, frame) in own.items()
            },
        }

    told = run.agree("columns", local, max_bytes=1 << 20)
    check_same_call(told, run.federation.site)
    names: list[str] = []
    owners: list[str] = []
    groups: dict[str, list[int]] = {}
    levels: dict[str, tuple[str, ...]] = {}
    frames: list[Frame] = []
    mine: dict[int, Array] = {}
    for name in asked:
        site = owner(name)
        theirs, frame, its_levels = _read(site, told[site].get("groups"), name)
        start = len(names)
        groups[name] = list(range(start, start + len(theirs)))
        names += theirs
        owners += [site] * len(theirs)
        frames.append(frame)
        levels |= its_levels
        if name in own:
            framed = frame.apply(own[name][0].values)
            mine |= dict(zip(groups[name], framed.T, strict=True))
    frame = Frame(
        np.concatenate([its.centre for its in frames]), np.concatenate([its.unit for its in frames])
    )
    return Variables(tuple(names), tuple(owners), levels, frame, mine, groups)


def _frame_of(group: Group) -> Frame:
    """Return the frame in which this site's variables are measured."""
    width = group.values.shape[1]
    if not group.in_units:
        return Frame(np.zeros(width), np.ones(width))
    centres, units = np.zeros(width), np.ones(width)
    for place, column in enumerate(group.values.T):
        x = column[~np.isnan(column)]
        if not x.size or np.isin(x, (0.0, 1.0)).all():
            continue
        spread = float(x.std()) or abs(float(x.mean())) or 1.0
        unit, mean = float(power_of_two_near(np.array([spread]))[0]), float(x.mean())
        while float(np.abs(x - round(mean / unit) * unit).max()) > LARGEST * unit:
            unit *= 2
        centres[place], units[place] = round(mean / unit) * unit, unit
    return Frame(centres, units)


def _read(site: str, told: Any, name: str) -> tuple[list[str], Frame, dict[str, tuple[str, ...]]]:
    """Read what a site told of its variables, trusting nothing of it."""
    group = told.get(name) if isinstance(told, dict) else None
    match group:
        case {"names": list(names), "levels": dict(levels), "centre": centre, "unit": unit}:
            if (
                all(isinstance(its, list) for its in levels.values())
                and all(isinstance(its, str) for its in [*names, *levels, *chain(*levels.values())])
                and all(map(str.isprintable, [*names, *levels, *chain(*levels.values())]))
                and all(len(its) <= level_sets.MAX_LEVELS for its in levels.values())
                and all(
                    isinstance(its, np.ndarray) and its.dtype == np.float64 and its.shape == (len(names),)
                    for its in (centre, unit)
                )
                and np.isfinite(centre).all()
                and np.isfinite(unit).all()
                and (unit > 0).all()
            ):
                return names, Frame(centre, unit), {key: tuple(its) for key, its in levels.items()}
    raise ProtocolError(
        f"site {site} does not describe its column {name!r}: it runs a damaged version", site=site
    )


def with_values(variables: Variables, mine: Mapping[int, Array]) -> Variables:
    """Return the same variables with other values of this site."""
    return replace(variables, mine=dict(mine))


def fraction_of_products(engine: Engine, cohort: VerticalCohort) -> int:
    """Return how many fractional bits variables have room for, where products of two are summed."""
    return fraction_for(engine, LARGEST, terms=max(cohort.size, 1))


def fraction_of_sums(engine: Engine, cohort: VerticalCohort) -> int:
    """Return how many fractional bits variables have room for, where they are summed themselves."""
    return engine.room - 2 - math.ceil(math.log2(LARGEST * max(cohort.size, 1)))


def spread(
    engine: Engine, cohort: VerticalCohort, variables: Variables, *, bound: float, fraction: int
) -> SecretArray:
    """Share variables: 0 for patients that their site does not have, or has no value of.

    Returns
    -------
    SecretArray
        Shape ``(variables, patients of the list)``.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** That of `shared_by_site`.
    """
    sites = cohort.federation.sites
    mine = [np.nan_to_num(variables.mine[position]) for position in sorted(variables.mine)]
    values = placed(cohort, mine)
    whole = values if fraction else np.rint(values).astype(np.int64)
    counts = [variables.owners.count(site) for site in sites]
    shared = concatenate(shared_by_site(engine, cohort, whole, counts, bound=bound, fraction=fraction))
    # They come site by site; back into their order.
    by_site = [place for site in sites for place, owner in enumerate(variables.owners) if owner == site]
    return shared[np.argsort(np.array(by_site, np.intp))]


def placed(cohort: VerticalCohort, numbers: Sequence[Array]) -> Array:
    """Return numbers of this site's rows at its places, 0 at others."""
    values = np.zeros((len(numbers), cohort.alignment.places[cohort.federation.site]))
    for row, its in zip(values, numbers, strict=True):
        row[cohort.positions] = its
    return values


def shared_by_site(
    engine: Engine,
    cohort: VerticalCohort,
    mine: NDArray[Any],
    counts: Sequence[int],
    *,
    bound: float,
    fraction: int,
) -> list[SecretArray]:
    """Share numbers of each site's rows, and bring them into the order of the list.

    Parameters
    ----------
    engine, cohort
        The computation, and the linked columns.
    mine
        This site's, as `placed` returns them.
    counts
        How many numbers a row each site has, in the order of the roster.
    bound, fraction
        As for `inputs.share`.

    Returns
    -------
    list of SecretArray
        Of each site, shape ``(its count, patients of the list)``.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** One round; one more for each site whose rows must be moved.
    """
    alignment, sites = cohort.alignment, cohort.federation.sites
    lengths = [count * alignment.places[site] for count, site in zip(counts, sites, strict=True)]
    shared = share_rows(engine, mine.reshape(-1), lengths, bound=bound, fraction=fraction)
    ends = np.cumsum([0, *lengths])
    parts = []
    for place, (site, count) in enumerate(zip(sites, counts, strict=True)):
        if count:
            its = shared[ends[place] : ends[place + 1]].reshape(count, alignment.places[site])
            parts.append(alignment.moved(engine, site, its))
        else:
            parts.append(shared[:0].reshape(0, cohort.size))
    return parts


def counting(
    engine: Engine,
    cohort: VerticalCohort,
    variables: Variables,
    sets: Sequence[Sequence[int]],
    among: NDArray[np.bool_] | None = None,
) -> SecretArray:
    """Find out which patients count: those that all sites with a table have, without missing values.

    Parameters
    ----------
    engine, cohort, variables
        The computation, the linked columns, and what is used of them.
    sets
        Positions of the variables that must not be missing, for each way of counting.
    among
        Which of this site's rows may count at all; all by default.

    Returns
    -------
    SecretArray
        Bits, shape ``(sets, patients of the list)``.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** That of `shared_by_site`, and a round less than there are tables.
    """
    bits = []
    for its in sets if cohort.is_holder else []:
        there = np.ones(len(cohort), np.bool_) if among is None else among.copy()
        for position in its:
            if position in variables.mine:
                there &= ~np.isnan(variables.mine[position])
        bits.append(there.astype(np.float64))
    counts = [len(sets) * (site in cohort.holders) for site in cohort.federation.sites]
    mine = placed(cohort, bits).astype(np.int64)
    flags = [its for its in shared_by_site(engine, cohort, mine, counts, bound=1, fraction=0) if len(its)]
    return reduce(lambda one, two: (one * two).assume(1), flags)


def masked(values: SecretArray, counts: SecretArray) -> SecretArray:
    """Return values of patients that count, and 0 of others. One round."""
    return (values * counts).assume(LARGEST)


def products(x: SecretArray, y: SecretArray) -> SecretArray:
    """Return the sums over patients of products of variables, shape ``(variables of x, of y)``. One round.

    They are exact: the variables' fractional bits leave room for products that are not rounded.
    """
    sums = matmul(whole(x), whole(y).T)
    format_ = Format(x.format.fraction + y.format.fraction, sums.format.bound)
    return SecretArray(x.engine, sums.shares, format_)


def whole(x: SecretArray) -> SecretArray:
    """Return the integers that stand for fractions."""
    return SecretArray(x.engine, x.shares, Format(0, x.format.bound))


def open_number(run: Analysis, patients: SecretArray, parameters: int = 0) -> int:
    """Open how many patients count, unless they are fewer than `min_cell` or than a site's rule asks for.

    Raises
    ------
    DataError, PolicyError
        They are.
    """
    run.decide_joint(patients, parameters)
    found = int(open_counts(run, "rows", patients.reshape(1), run.federation.shared_policy.min_cell)[0])
    if found <= 0:
        raise DataError(
            "too few patients have a row at every site, and no value missing: look whether identifiers are "
            "written alike, and how many the sites have in common (cohort.sizes)"
        )
    run.check_rows(found, parameters)
    return found
