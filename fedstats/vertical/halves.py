"""Sums over patients of products of linked columns that two sites have, from what each knows of its own.

Where all other sites may collude, a product of two shares is dear, and none is needed here: a product of two
columns of one site is that site's own, and counts if the other site has the patient, a bit that the other
site knows; a product of a column of either is one of numbers that two sites know. So three products of
matrices between the two sites (`protocols.crossed`) give all sums, two of them at the price of a bit of each
patient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedstats.expressions import Array
from fedstats.vertical import joined
from fedstats.vertical.joined import LARGEST, Variables
from protocols import field
from protocols.crossed import Held, inner_products
from protocols.field import P
from protocols.fixed import Format
from protocols.mersenne import Elements
from protocols.secret import SecretArray
from protocols.stripes import cut

if TYPE_CHECKING:
    from fedstats.vertical.cohort import VerticalCohort
    from protocols.engine import Engine

#: Makes some rows of numbers.
_Made: TypeAlias = Callable[[slice], Elements]
#: Most numbers that a site makes of its own at a time: 64 MB.
_MOST = 1 << 22


def are_there(engine: Engine, cohort: VerticalCohort) -> bool:
    """Return whether products of shares are dear, and two sites have all columns, and know their places."""
    return engine.full and len(cohort.holders) == 2 and not cohort.alignment.links


def gram(engine: Engine, cohort: VerticalCohort, variables: Variables) -> tuple[SecretArray, SecretArray]:
    """Return the matrix of products of a constant and the variables, and the number of patients that count.

    Returns
    -------
    products : SecretArray
        Shape ``(1 + variables, 1 + variables)``: exact sums over the patients that count, those that both
        sites have and of whom no variable is missing.
    patients : SecretArray
        Their number, of shape ``()``.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** Six rounds, see `crossed.inner_products`; more where a site has more
    variables and patients than fit a message.
    """
    fraction = joined.fraction_of_products(engine, cohort)
    one, other = (_Columns(cohort, variables, site, fraction, complete=True) for site in cohort.holders)
    sums = field.zeros((1 + len(variables.names),) * 2)
    for half, its_other in ((one, other), (other, one)):
        at = np.array([0, *(1 + half.places)])
        pairs = np.stack(np.triu_indices(len(at)))
        for part in cut(0, pairs.shape[1], max(1, _MOST // max(1, cohort.size))):
            first, second = at[pairs[:, part]]
            found = inner_products(engine, half.with_constant(*pairs[:, part]), its_other.member)[:, 0]
            sums[first, second] = sums[second, first] = found
    rows, columns = 1 + one.places[:, np.newaxis], 1 + other.places
    sums[rows, columns] = inner_products(engine, one.columns, other.columns)
    sums[columns[:, np.newaxis], rows[:, 0]] = sums[rows, columns].swapaxes(0, 1)
    # The constant is a column of the others' fractional bits, of which the number of patients has none.
    unit = field.from_ints(np.array(pow(1 << 2 * fraction, -1, P), object))
    patients = SecretArray(engine, field.mul(sums[0, 0], unit), Format(0, cohort.size))
    return SecretArray(engine, sums, Format(2 * fraction, cohort.size * one.columns.bound**2)), patients


def pairwise(
    engine: Engine, cohort: VerticalCohort, variables: Variables
) -> tuple[SecretArray, SecretArray, SecretArray, SecretArray]:
    """Return sums over the patients of whom neither of two variables is missing, for each two of them.

    Returns
    -------
    numbers, first, second, product : SecretArray
        Shape ``(variables, variables)``: how many patients there are, and the sums of the first variable, of
        its square, and of the product of both.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** Two rounds for each of some five products of matrices; as many again where
    a site has more variables and patients than fit a message.
    """
    fraction = joined.fraction_of_products(engine, cohort)
    one, other = (_Columns(cohort, variables, site, fraction) for site in cohort.holders)
    size = len(variables.names)
    sums = field.zeros((4, size, size))
    for half, its_other in ((one, other), (other, one)):
        k = len(half.places)
        for part in cut(0, k, max(1, _MOST // max(1, 4 * k * cohort.size))):
            own = half.own_products(part)
            found = inner_products(engine, own, its_other.member)
            sums[:, half.places[part, np.newaxis], half.places] = found.reshape(
                4, part.stop - part.start, k, 2
            )
        found = inner_products(engine, half.powers, its_other.there)
        sums[:3, half.places[:, np.newaxis], its_other.places] = found.reshape(3, k, len(its_other.places), 2)
    found = inner_products(engine, one.columns, other.columns)
    sums[3, one.places[:, np.newaxis], other.places] = found
    sums[3, other.places[:, np.newaxis], one.places] = found.swapaxes(0, 1)
    bound = one.columns.bound
    formats = [Format(power * fraction, cohort.size * bound**power) for power in (0, 1, 2, 2)]
    numbers, first, second, product = (
        SecretArray(engine, its, format_) for its, format_ in zip(sums, formats, strict=True)
    )
    return numbers, first, second, product


def power_sums(
    engine: Engine,
    cohort: VerticalCohort,
    variables: Variables,
    numeric: Sequence[int],
    by: Sequence[int],
    order: int,
) -> tuple[SecretArray, SecretArray]:
    """Return numbers of patients and sums of powers, of all or by groups; see `moments.power_sums`.

    Returns
    -------
    patients : SecretArray
        Shape ``(groups, 1 + variables)``: how many there are, and how many have a value of each variable.
    sums : SecretArray
        Shape ``(order, groups, variables)``: Σz, Σz²/`LARGEST`, Σz³/`LARGEST`², …

    Notes
    -----
    **Leakage.** Nothing. **Cost.** Four rounds, more where a site has more columns, powers and patients than
    fit a message; of each patient a bit for each group chooses for all of the other site's columns and their
    powers.
    """
    fraction = joined.fraction_of_sums(engine, cohort)
    groups, terms = max(1, len(by)), cohort.size
    bound = Format.of(LARGEST, fraction).bound or 0
    holder_of_groups = variables.owners[by[0]] if by else None
    indicators = [variables.mine[place] for place in by if place in variables.mine]
    everybody = [np.ones(len(cohort))]
    patients = field.zeros((1 + len(numeric), groups))
    sums = field.zeros((order, len(numeric), groups))
    for site, its_other in (cohort.holders, cohort.holders[::-1]):
        at = np.array([k for k, its in enumerate(numeric) if variables.owners[its] == site], np.intp)
        one_by_one = groups if site == holder_of_groups else 1
        rows, bits = (1 + (1 + order) * len(at)) * one_by_one, groups if its_other == holder_of_groups else 1
        powers: _Made | None = None
        members: _Made | None = None
        if site == cohort.federation.site:
            columns = [variables.mine[numeric[k]] for k in at]
            its_groups = indicators if site == holder_of_groups else everybody
            powers = partial(_powers, cohort, columns, its_groups, fraction)
        elif its_other == cohort.federation.site:
            own = indicators if its_other == holder_of_groups else everybody
            members = partial(_combinations, cohort, [own])
        found = _inner_products(
            engine,
            _Rows(Held(site, rows, terms, bound), powers),
            _Rows(Held(its_other, bits, terms, 1, signed=False), members),
        ).reshape(-1, groups, 2)
        patients[np.array([0, *(1 + at)])] = found[: 1 + len(at)]
        sums[:, at] = found[1 + len(at) :].reshape(order, len(at), groups, 2)
    by_groups = SecretArray(engine, sums, Format(fraction, terms * bound)).transpose(0, 2, 1)
    return SecretArray(engine, patients, Format(0, terms)).T, by_groups


def table(
    engine: Engine, cohort: VerticalCohort, variables: Variables, columns: Sequence[Sequence[int]]
) -> SecretArray:
    """Return how many patients have each combination of levels.

    Parameters
    ----------
    engine, cohort, variables
        The computation, columns that two sites have, and indicators of their levels.
    columns
        Positions of the indicators of each column.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** Two rounds, more where a site has more combinations and patients than fit
    a message; of each patient a bit for each combination of levels of one site's columns chooses for all of
    the other's.
    """
    halves, order = [], []
    for site in cohort.holders:
        own = [k for k, its in enumerate(columns) if variables.owners[its[0]] == site]
        order += own
        bits: _Made | None = None
        if site == cohort.federation.site:
            indicators = [[variables.mine[place] for place in columns[k]] for k in own]
            bits = partial(_combinations, cohort, indicators)
        size = math.prod(len(columns[k]) for k in own)
        halves.append(_Rows(Held(site, size, cohort.size, 1, signed=False), bits))
    found = _inner_products(engine, *halves).reshape(*(len(columns[k]) for k in order), 2)
    cells = np.ascontiguousarray(found.transpose(*np.argsort(order), len(order)))
    return SecretArray(engine, cells.reshape(-1, 2), Format(0, cohort.size))


# --- Rows of numbers, some at a time -----------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class _Rows:
    """Rows of integers that one site has, of which no more are made at a time than are multiplied.

    Attributes
    ----------
    all
        Their number and size, without values.
    made
        At that site, makes some of them; None at others.
    """

    all: Held
    made: _Made | None

    def __getitem__(self, part: slice) -> Held:
        values = None if self.made is None else self.made(part)
        return replace(self.all, rows=part.stop - part.start, values=values)

    def pieces(self) -> list[slice]:
        return cut(0, self.all.rows, max(1, _MOST // max(1, self.all.terms)))


def _inner_products(engine: Engine, one: _Rows, other: _Rows) -> Elements:
    """Return the inner products of one site's rows with the other's: two rounds for each two pieces."""
    found = field.zeros((one.all.rows, other.all.rows))
    for its in other.pieces():
        right = other[its]
        for part in one.pieces():
            found[part, its] = inner_products(engine, one[part], right)
    return found


def _powers(
    cohort: VerticalCohort, columns: Sequence[Array], groups: Sequence[Array], fraction: int, part: slice
) -> Elements:
    """Return some of the rows of which `power_sums` sums: group by group, of each column power by power.

    The first is 1 for this site's patients, the next for those with a value of each column; they are followed
    by the values, and by their powers.
    """
    bits, powers = [], []
    for row in range(part.start, part.stop):
        place, group = divmod(row, len(groups))
        power, column = divmod(place - 1, len(columns)) if place else (0, 0)
        if power:
            z = np.nan_to_num(columns[column])
            powers.append(z * (z / LARGEST) ** (power - 1) * np.nan_to_num(groups[group]))
        else:
            bits.append(groups[group] if not place else groups[group] * ~np.isnan(columns[column]))
    return np.concatenate(
        [
            field.from_ints(_spread(cohort, bits).astype(np.int64)),
            field.from_floats(_spread(cohort, powers), fraction, LARGEST),
        ]
    )


def _combinations(cohort: VerticalCohort, columns: Sequence[Sequence[Array]], part: slice) -> Elements:
    """Return which of this site's patients have some of the combinations of levels of columns."""
    sizes = [len(levels) for levels in columns]
    bits = []
    for row in range(part.start, part.stop):
        places = [int(place) for place in np.unravel_index(row, sizes)] if sizes else []
        has = np.ones(len(cohort))
        for levels, place in zip(columns, places, strict=True):
            has = has * levels[place]
        bits.append(has)
    return field.from_ints(_spread(cohort, bits).astype(np.int64))


def _spread(cohort: VerticalCohort, columns: Sequence[Array]) -> Array:
    """Return this site's numbers for all patients of the list, 0 for those missing and those it has not."""
    spread = np.zeros((len(columns), cohort.size))
    for row, column in zip(spread, columns, strict=True):
        row[cohort.positions] = np.nan_to_num(column)
    return spread


class _Columns:
    """What one of the sites has of each patient; numbers, only at that site.

    Attributes
    ----------
    places
        Positions of its variables.
    member
        Whether it has the patient; if so asked, without missing values.
    there
        Of which variables there is a value.
    columns
        These, 0 of others.
    powers
        All of `there`, of the values, and of their squares.
    """

    def __init__(
        self,
        cohort: VerticalCohort,
        variables: Variables,
        site: str,
        fraction: int,
        *,
        complete: bool = False,
    ) -> None:
        self.places = np.array([k for k, owner in enumerate(variables.owners) if owner == site], np.intp)
        self._unit = field.from_ints(1 << fraction)
        width, terms = len(self.places), cohort.size
        bound = Format.of(LARGEST, fraction).bound or 0
        ours: list[Elements | None] = [None, None, None, None]
        if site == cohort.federation.site:
            mine = np.stack([np.ones(len(cohort)), *(variables.mine[place] for place in self.places)])
            known = ~np.isnan(mine)
            if complete:
                known[:] = known.all(axis=0)
            there, values = np.zeros((1 + width, terms), np.int64), np.zeros((1 + width, terms))
            there[:, cohort.positions] = known
            values[:, cohort.positions] = np.where(known, mine, 0.0)
            bits, z = field.from_ints(there), field.from_floats(values[1:], fraction, LARGEST)
            ours = [bits[:1], bits[1:], z, np.concatenate([bits[1:], z, field.mul(z, z)])]
        self.member = Held(site, 1, terms, 1, signed=False, values=ours[0])
        self.there = Held(site, width, terms, 1, signed=False, values=ours[1])
        self.columns = Held(site, width, terms, bound, values=ours[2])
        self.powers = Held(site, 3 * width, terms, bound**2, values=ours[3])

    def with_constant(self, first: NDArray[np.intp], second: NDArray[np.intp]) -> Held:
        """Return products of two of a constant, which is 0, and these columns, for each pair of them."""
        terms = self.member.terms
        made: Elements | None = None
        if self.member.values is not None and self.columns.values is not None:
            both = np.concatenate([field.mul(self.member.values, self._unit), self.columns.values])
            made = field.mul(both[first], both[second])
        return Held(self.member.holder, len(first), terms, self.powers.bound, values=made)

    def own_products(self, part: slice) -> Held:
        """Return products of some of these columns with all of them, power by power, and of the values."""
        width, terms = len(self.places), self.member.terms
        count = part.stop - part.start
        made: Elements | None = None
        if self.powers.values is not None and self.there.values is not None:
            powers = self.powers.values.reshape(3, width, terms, 2)
            there, z = self.there.values[np.newaxis, np.newaxis], powers[1]
            made = np.concatenate(
                [
                    field.mul(powers[:, part, np.newaxis], there).reshape(-1, terms, 2),
                    field.mul(z[part, np.newaxis], z[np.newaxis]).reshape(-1, terms, 2),
                ]
            )
        return Held(self.member.holder, 4 * count * width, terms, self.powers.bound, values=made)
