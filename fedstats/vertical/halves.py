"""Sums over patients of products of linked columns that two sites have, from what each knows of its own.

Where all other sites may collude, a product of two shares is dear, and none is needed here: a product of two
columns of one site is that site's own, and counts if the other site has the patient, a bit that the other
site knows; a product of a column of either is one of numbers that two sites know. So three products of
matrices between the two sites (`protocols.crossed`) give all sums, two of them at the price of a bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats.vertical import joined
from fedstats.vertical.joined import LARGEST, Variables
from protocols import field
from protocols.crossed import Held, inner_products
from protocols.fixed import Format
from protocols.mersenne import Elements
from protocols.secret import SecretArray, concatenate
from protocols.stripes import cut

if TYPE_CHECKING:
    from fedstats.vertical.cohort import VerticalCohort
    from protocols.engine import Engine

#: Most products that a site makes of its own numbers at a time: 64 MB.
_MOST = 1 << 22


def are_there(engine: Engine, cohort: VerticalCohort) -> bool:
    """Return whether products of shares are dear, and two sites have all columns."""
    return engine.full and len(cohort.holders) == 2


def gram(
    engine: Engine, cohort: VerticalCohort, variables: Variables, among: NDArray[np.bool_] | None = None
) -> tuple[SecretArray, SecretArray]:
    """Return the matrix of products of a constant and the variables, and the number of patients that count.

    Parameters
    ----------
    engine, cohort, variables
        The computation, columns that two sites have, and what is used of them.
    among
        Which of this site's rows may count at all; all by default.

    Returns
    -------
    products : SecretArray
        Shape ``(1 + variables, 1 + variables)``: exact sums over the patients that count, those that both
        sites have and of whom no variable is missing.
    patients : SecretArray
        Their number, of shape ``()``.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** Six rounds; see `crossed.inner_products`.
    """
    fraction = joined.fraction_of_products(engine, cohort)
    halves = [_Half(cohort, variables, site, fraction, among) for site in cohort.holders]
    one, other = halves
    parts = [
        _read(engine, one, inner_products(engine, one.products, other.member)[:, 0], fraction),
        _read(engine, other, inner_products(engine, one.member, other.products)[0], fraction),
    ]
    patients = parts[0][0]
    between = SecretArray(
        engine,
        inner_products(engine, one.columns, other.columns).reshape(-1, 2),
        Format(2 * fraction, cohort.size * one.columns.bound**2),
    )
    flat = concatenate([*(its.rescale(2 * fraction) for part in parts for its in part), between])
    # Where in that each entry of the matrix is.
    size = 1 + len(variables.names)
    places = np.zeros((size, size), np.intp)
    start = 0
    for half in halves:
        at = np.array([0, *(1 + place for place in half.places)])
        first, second = (at[its] for its in np.triu_indices(len(at)))
        places[first, second] = places[second, first] = start + np.arange(len(first))
        start += len(first)
    first, second = (1 + np.array(half.places, np.intp) for half in halves)
    places[np.ix_(first, second)] = start + np.arange(len(first) * len(second)).reshape(
        len(first), len(second)
    )
    places[np.ix_(second, first)] = places[np.ix_(first, second)].T
    return flat[places], patients.reshape(())


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


class _Columns:
    """What one of the sites has of each patient; numbers, only at that site.

    Attributes
    ----------
    places
        Positions of its variables.
    member
        Whether it has the patient.
    there
        Of which variables there is a value.
    columns
        These, 0 of others.
    powers
        All of `there`, of the values, and of their squares.
    """

    def __init__(self, cohort: VerticalCohort, variables: Variables, site: str, fraction: int) -> None:
        self.places = np.array([k for k, owner in enumerate(variables.owners) if owner == site], np.intp)
        width, terms = len(self.places), cohort.size
        bound = Format.of(LARGEST, fraction).bound or 0
        ours: list[Elements | None] = [None, None, None, None]
        if site == cohort.federation.site:
            values, there = np.zeros((width, terms)), np.zeros((1 + width, terms), np.int64)
            there[0, cohort.positions] = 1
            for row, place in enumerate(self.places.tolist()):
                its = variables.mine[place]
                there[1 + row, cohort.positions] = ~np.isnan(its)
                values[row, cohort.positions] = np.nan_to_num(its)
            bits, z = field.from_ints(there), field.from_floats(values, fraction, LARGEST)
            ours = [bits[:1], bits[1:], z, np.concatenate([bits[1:], z, field.mul(z, z)])]
        self.member = Held(site, 1, terms, 1, signed=False, values=ours[0])
        self.there = Held(site, width, terms, 1, signed=False, values=ours[1])
        self.columns = Held(site, width, terms, bound, values=ours[2])
        self.powers = Held(site, 3 * width, terms, bound**2, values=ours[3])

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
        return Held(self.member.party, 4 * count * width, terms, self.powers.bound, values=made)


class _Half:
    """What one of the sites has; of the numbers, only at that site.

    Attributes
    ----------
    places
        Its variables' positions.
    member
        Whether it has a patient, without missing values.
    columns
        Its variables, 0 of others.
    products
        Of a constant and its variables, two by two: the upper triangle.
    """

    def __init__(
        self,
        cohort: VerticalCohort,
        variables: Variables,
        site: str,
        fraction: int,
        among: NDArray[np.bool_] | None,
    ) -> None:
        self.places = [place for place, owner in enumerate(variables.owners) if owner == site]
        width, terms = len(self.places), cohort.size
        bound = Format.of(LARGEST, fraction).bound or 0
        ours: list[Elements | None] = [None, None, None]
        if site == cohort.federation.site:
            there = np.ones(len(cohort), np.bool_) if among is None else among.copy()
            for place in self.places:
                there &= ~np.isnan(variables.mine[place])
            values, member = np.zeros((width, terms)), np.zeros((1, terms), np.int64)
            for row, place in enumerate(self.places):
                values[row, cohort.positions] = np.where(there, np.nan_to_num(variables.mine[place]), 0.0)
            member[0, cohort.positions] = there
            bits, columns = field.from_ints(member), field.from_floats(values, fraction, LARGEST)
            with_constant = np.concatenate([bits, columns])
            first, second = np.triu_indices(1 + width)
            ours = [bits, columns, field.mul(with_constant[first], with_constant[second])]
        pairs = (width + 1) * (width + 2) // 2
        self.member = Held(site, 1, terms, 1, signed=False, values=ours[0])
        self.columns = Held(site, width, terms, bound, values=ours[1])
        self.products = Held(site, pairs, terms, bound**2, values=ours[2])


def _read(engine: Engine, half: _Half, sums: Elements, fraction: int) -> list[SecretArray]:
    """Return the sums of a half's products: the number of patients, sums of its columns, and of products."""
    width, bound = half.columns.rows, half.columns.bound
    ends = [1, 1 + width, len(sums)]
    formats = [Format(power * fraction, half.member.terms * bound**power) for power in range(3)]
    return [
        SecretArray(engine, sums[start:stop], format_)
        for start, stop, format_ in zip([0, *ends], ends, formats, strict=False)
    ]
