"""Genotypes that one site has of all patients, and their associations on shares.

A linear and a logistic regression need the same of a variant g: with columns X and weights w of the patients
that count, g'X and Σ w g². Patients' numbers are on shares already. The site that has the genotypes sets
missing calls to their mean, and shares g and g² of all patients of the list, a block of variants at a time;
one matrix product sums over patients whatever their number. What follows is exact in long numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.gwas import _variants
from fedstats.gwas._ahead import blocks
from fedstats.gwas.genotypes import Genotypes
from fedstats.gwas.reconcile import Reconciled, reconcile
from fedstats.gwas.varianttable import VariantTable
from fedstats.vertical import joined
from protocols.long import LongArray, lengthen, multiply
from protocols.secret import SecretArray, concatenate, matmul

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedstats.analysis import Analysis
    from fedstats.gwas._variants import Ambiguous
    from fedstats.regression._equations import Inverse
    from fedstats.vertical.cohort import VerticalCohort
    from protocols.engine import Engine

#: What `agree_variants` publishes; part of the declaration of every method that calls it.
PUBLISHED: Mapping[str, str] = {
    "variants": "which site has genotypes, and its list of variants: positions, names, alleles in order; "
    "SHA-256 of the variants= that each site was given"
}
#: Largest genotype, counted from a whole number, and its fractional bits.
_LARGEST, _DIGITS = 2.0, 24
#: Genotypes that are shared at a time.
HELD = 1 << 21


@dataclass(frozen=True, eq=False, repr=False)
class Panel:
    """The variants of a scan, and, at the site that has them, the genotypes.

    Attributes
    ----------
    genotypes, holder
        Those of this site, and the site that has some.
    shared
        The variants.
    samples
        For each row of this site its sample, or −1; all −1 at other sites.
    """

    genotypes: Genotypes
    holder: str
    shared: Reconciled
    samples: NDArray[np.int64]

    @property
    def among(self) -> NDArray[np.bool_] | None:
        """Which of this site's rows have genotypes, if it is the site whose rows need them."""
        return self.samples >= 0 if self.holder == self.genotypes.federation.site else None


def agree_variants(
    run: Analysis,
    cohort: VerticalCohort,
    genotypes: Genotypes,
    ambiguous: Ambiguous,
    variants: pd.DataFrame | None,
) -> Panel:
    """Find out which site has genotypes, and of which variants.

    Raises
    ------
    DataError
        The files or ids cannot be used, or another number of sites than one has genotypes.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** `PUBLISHED`. **Cost.** One round.
    """
    matched = [np.full(len(cohort), -1)]

    def local() -> Mapping[str, Any]:
        run.joins_rows()
        _variants.check_call(genotypes, cohort, ambiguous)
        its = {"call": f"ambiguous={ambiguous!r}", "only": _variants.fingerprint_of(variants)}
        if genotypes.path is None:
            return its
        matched.append(genotypes.match(cohort))
        return {**its, "listed": genotypes.table.to_wire()}

    told = run.agree("variants", local, max_bytes=_variants.MAX_LISTING)
    _variants.refuse_differing(told, run.federation.site)
    lists = {site: its["listed"] for site, its in told.items() if isinstance(its.get("listed"), dict)}
    if len(lists) != 1:
        raise DataError(
            f"{', '.join(lists) or 'no site'} has genotypes: of linked columns one site has them, and the "
            "others give fed.genotypes(None)"
        )
    [(holder, listed)] = lists.items()
    shared = reconcile({holder: VariantTable.from_wire(listed, site=holder)}, ambiguous=ambiguous)
    if not len(shared):
        raise DataError(f"site {holder} has no variant that could be tested")
    return Panel(genotypes, holder, _variants.chosen(shared, variants), matched[-1])


@dataclass(frozen=True, eq=False, repr=False)
class Null:
    """The model without a variant, on shares.

    Attributes
    ----------
    columns
        X, of the terms, and last what a variant's effect is found of; shape ``(terms + 1, patients)``, 0 for
        patients who do not count.
    weights
        w, shape ``(patients,)``.
    inverse
        Of the matrix of the terms, weighted.
    solution
        Its product with that of the terms and the last column, shape ``(terms, 1)``.
    """

    columns: SecretArray
    weights: SecretArray
    inverse: Inverse
    solution: LongArray


def associations(
    run: Analysis, cohort: VerticalCohort, panel: Panel, null: Null
) -> Iterator[tuple[int, LongArray, LongArray]]:
    """Compute, of each variant, what the terms leave of it, block by block.

    Yields
    ------
    number : int
        The block's.
    left : LongArray
        Σ w g² − b'A⁻¹b, with b = g'X of the terms and A their matrix; shape ``(variants,)``.
    product : LongArray
        The product of what is left with the last column.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** About ten rounds a block for three parties. The site that has the
    genotypes sends n − 1 − t others 32 bytes for each variant and patient of the list; every site holds some
    100 bytes for each of `HELD` genotypes.
    """
    terms = len(null.columns) - 1
    weights, columns = null.weights.reshape(-1, 1), null.columns.T
    most = max(1, HELD // max(cohort.size, 1))
    for number, part, mine in blocks(run, len(panel.shared), _about_whole(cohort, panel), most=most):
        with run.on_shares() as engine:
            g, squares = _share(engine, cohort, panel, mine, part.stop - part.start, null)
            products = lengthen(matmul(g, columns))
            total = lengthen(matmul(squares, weights))[:, 0]
            b, last = products[:, :terms], products[:, terms]
            left = total - multiply(b, null.inverse.times(b.T).T).sum(axis=1)
            product = last - (b @ null.solution)[:, 0]
        yield number, left, product


def _share(
    engine: Engine, cohort: VerticalCohort, panel: Panel, mine: Array, variants: int, null: Null
) -> tuple[SecretArray, SecretArray]:
    """Share genotypes and their squares, with bits as far as sums of products leave room. Two rounds."""
    lengths = [variants if site == panel.holder else 0 for site in cohort.federation.sites]
    shared = []
    for values, largest, beside in ((mine, _LARGEST, null.columns), (mine**2, _LARGEST**2, null.weights)):
        sums = math.ceil(largest) * max(cohort.size, 1) * (beside.format.bound or 0)
        digits = min(2 * _DIGITS, engine.room - 3 - sums.bit_length())
        of_sites = joined.shared_by_site(engine, cohort, values, lengths, bound=largest, fraction=digits)
        shared.append(concatenate(of_sites))
    return shared[0], shared[1]


def _about_whole(cohort: VerticalCohort, panel: Panel) -> Callable[[slice], Array]:
    """Return what reads a block of variants, of all patients of the list; no row without genotypes.

    Each is counted from the whole number that is nearest to its mean, so that squares are as exact as calls.
    """
    if panel.genotypes.path is None:
        return lambda _: joined.placed(cohort, [])
    rows = np.flatnonzero(panel.samples >= 0)
    members, positions = panel.genotypes.members(panel.samples[rows]), cohort.positions[rows]

    def read(part: slice) -> Array:
        calls = panel.genotypes.block(panel.shared, part, members).calls().astype(np.float64)
        called = calls >= 0
        total, count = np.where(called, calls, 0.0).sum(axis=1), called.sum(axis=1)
        mean = (total / np.maximum(count, 1))[:, np.newaxis]
        g = np.where(called, calls, mean) - np.rint(mean)
        placed = np.zeros((len(calls), cohort.alignment.places[cohort.federation.site]))
        placed[:, positions] = np.ldexp(np.rint(np.ldexp(g, _DIGITS)), -_DIGITS)
        return placed

    return read
