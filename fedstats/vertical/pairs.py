"""Correlations and covariances of linked columns, each pair over the patients who have both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fedstats._counts import open_counts
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.vertical import halves, joined
from fedstats.vertical.joined import LARGEST, PUBLISHED, Variables
from protocols.fixed import Format
from protocols.long import concatenate, lengthen
from protocols.secret import SecretArray, stack

if TYPE_CHECKING:
    from fedstats.vertical.cohort import VerticalCohort
    from protocols.engine import Engine


def correlations(
    cohort: VerticalCohort,
    columns: Sequence[str] | None,
    of: Declaration,
    method: str,
    disclose: Disclose,
) -> dict[str, Any]:
    """Return the fields of the result of `fedstats.corr` or `fedstats.cov`.

    Notes
    -----
    **Cost.** Some 110 rounds for three parties. Two sites alone: `halves.pairwise`, and what follows.
    """
    from fedstats.correlation import open_pairs

    is_covariance = of.name == "cov"
    result = {key: its for key, its in of.result.items() if not key.startswith("column ")}
    declaration = Declaration(f"vertical.{of.name}", result=result, published=PUBLISHED)

    def check() -> list[str]:
        if method != "pearson":
            raise DataError("method must be 'pearson' for linked columns: ranks need rows in one place")
        kinds = cohort.schema.kinds
        names = [name for name in kinds if kinds[name].is_numeric] if columns is None else list(columns)
        if len(names) < 2 or len(set(names)) != len(names):
            raise DataError("a correlation is one of two numeric columns or more, each named once")
        for name in names:
            cohort.schema.require_numeric(name)
        return names

    with cohort.federation.analysis(declaration, disclose) as run:
        variables = joined.agree(
            run,
            f"columns={columns!r}",
            check,
            cohort.owners.__getitem__,
            lambda name: joined.number(cohort, name),
        )
        p = len(variables.names)
        enough = run.federation.shared_policy.min_cell
        upper = np.triu_indices(p)
        with run.on_shares() as engine:
            sums_of = halves.pairwise if halves.are_there(engine, cohort) else _pairwise
            numbers, first, second, product = sums_of(engine, cohort, variables)
            run.decide_joint(numbers[np.arange(p), np.arange(p)].max())
            first = first.rescale(product.format.fraction)
        opened = open_counts(run, "numbers of rows", numbers[upper], enough)
        n = np.zeros((p, p), np.int64)
        n[upper] = np.where(opened < max(enough, 2), 0, opened)
        n = np.maximum(n, n.T)
        one, other = (which[n[upper] > 0] for which in upper)
        matrix = np.full((p, p), np.nan)
        if len(one):
            with run.on_shares():
                parts = [first[one, other], first[other, one], second[one, other], second[other, one]]
                sums = concatenate([lengthen(stack(parts)), lengthen(product[one, other].reshape(1, -1))])
            found = open_pairs(run, sums, n[one, other], is_covariance=is_covariance)
            unit = variables.frame.unit
            if is_covariance:
                found = found * unit[one] * unit[other]
            else:
                found = np.where(one == other, np.where(np.isnan(found), np.nan, 1.0), np.clip(found, -1, 1))
            matrix[one, other] = matrix[other, one] = found
        index = pd.Index(variables.names, name="column")
        return {
            **run.finish(),
            "min_cell": enough,
            "numbers": pd.DataFrame(n, index, variables.names, dtype="Int64").mask(n == 0),
            "matrix": pd.DataFrame(matrix, index, variables.names),
        }


def _pairwise(
    engine: Engine, cohort: VerticalCohort, variables: Variables
) -> tuple[SecretArray, SecretArray, SecretArray, SecretArray]:
    """Return `halves.pairwise` of columns of any number of sites. Five rounds for three parties."""
    fraction = joined.fraction_of_products(engine, cohort)
    values = joined.spread(engine, cohort, variables, bound=LARGEST, fraction=fraction)
    counting = joined.counting(engine, cohort, variables, [[place] for place in range(len(variables.names))])
    z = joined.masked(values, counting)
    exact = joined.whole(z) * joined.whole(z)
    squares = SecretArray(engine, exact.shares, Format(2 * fraction, exact.format.bound))
    return (
        joined.products(counting, counting),
        joined.products(z, counting),
        joined.products(squares, counting),
        joined.products(z, z),
    )
