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

if TYPE_CHECKING:
    from fedstats.vertical.cohort import VerticalCohort
    from protocols.engine import Engine


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
