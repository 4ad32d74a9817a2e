"""What models of a categorical response have in common: its levels, and how many rows have each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fedstats import design
from fedstats.disclosure import Declaration
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.regression import _newton, _rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.design import Design

_COUNTS: Mapping[str, str] = {
    "null model": "how many rows have each level of the response, which is the model of constants alone",
    "fit": "the log-likelihood",
}


def declarations(name: str) -> tuple[Declaration, Declaration]:
    """Return what a model of this kind reveals, and what it reveals with clusters."""
    aggregate = {**design.AGGREGATE, **_rows.AGGREGATE, **_newton.AGGREGATE, **_COUNTS}
    result = {**design.AGGREGATE, **_rows.RESULT, **_newton.RESULT, **_COUNTS}
    over_sites = {**aggregate, **_rows.CLUSTERS, **_rows.OVER_SITES}
    return (
        Declaration(name, aggregate, result, published=design.PUBLISHED),
        Declaration(name, over_sites, {**result, **_rows.CLUSTERS}, published=design.PUBLISHED),
    )


def agree(
    run: Analysis,
    cohort: Cohort,
    formula: str,
    *,
    cov_type: str,
    groups: str | None,
    missing: design.Missing,
    maxiter: int,
    link: str | None = None,
    links: tuple[str, ...] = (),
) -> Design:
    """Agree with the other sites on a design with a categorical response and a constant.

    Raises
    ------
    DataError
        As `design.agree_design`; or an option is none, or the formula leaves out the constant.
    """

    def check() -> None:
        _rows.check_cov_type(cohort, cov_type, groups)
        _rows.check_maxiter(maxiter)
        if links and link not in links:
            raise DataError(f"link must be one of {', '.join(links)}, not {link!r}")

    part = design.agree_design(
        run,
        cohort,
        formula,
        call=f"{cov_type=}, {groups=}, {missing=}, {maxiter=}, {link=}",
        needs_response=True,
        missing=missing,
        check=check,
        categorical=True,
        needed=() if groups is None else (groups,),
    )
    if not part.has_intercept:
        raise DataError(f"formula {formula!r} leaves out the constant, which this model needs")
    return part


def counts(run: Analysis, part: Design) -> tuple[NDArray[np.intp], Array]:
    """Return this site's responses as positions among the levels, and how many rows of all sites have each.

    Raises
    ------
    EstimationError
        No row has some level.
    """
    codes = np.asarray(part.y, dtype=np.intp)
    found = run.sum("null model", np.bincount(codes, minlength=len(part.levels)))
    empty = [level for level, rows in zip(part.levels, found, strict=True) if not rows]
    if empty:
        raise EstimationError(
            f"no row has the level {', '.join(map(repr, empty))} of {part.response_name!r}: leave it out of "
            "the declared levels"
        )
    return codes, found.astype(np.float64)
