"""Traits and covariates of a linear scan: an orthonormal basis over all sites, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from fedstats import design
from fedstats import formula as formulas
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.regression import _orthonormal

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

#: The covariates explain a trait entirely if they leave less than this part of its length.
EXPLAINED = 1e-10

#: What `agree_traits` publishes and opens; part of the declaration of every method that calls it.
PUBLISHED = design.PUBLISHED
AGGREGATE: Mapping[str, str] = {
    **design.AGGREGATE,
    **_orthonormal.AGGREGATE,
    "trait residuals": "sums of squares of the traits' residuals on the covariates",
}


@dataclass(frozen=True, eq=False, repr=False)
class Traits:
    """This site's rows of covariates and of traits; its repr shows no row.

    Attributes
    ----------
    names
        The traits, as the caller names them.
    rows
        Positions in the cohort of the rows that are used.
    terms
        Names of the covariates' columns, without the intercept.
    Q
        Covariates without the intercept, orthonormal over all sites: Q'Q = n·I, columns sum to zero.
    triangle
        Upper triangular, by which [1, Q] makes the intercept and the covariates.
    R
        Residuals of the traits on them, each with r'r = n.
    unit
        The unit of each residual, in its trait's.
    n, dropped
        Rows of all sites that are used, and that were left out.
    site_intercepts
        Whether each site has an intercept of its own.
    df_resid
        Residual degrees of freedom of a variant's regression, if nobody lacks a call.
    """

    names: Sequence[str]
    rows: NDArray[np.intp]
    terms: Sequence[str]
    Q: Array
    triangle: Array
    R: Array
    unit: Array
    n: int
    dropped: int
    site_intercepts: bool
    df_resid: int


def check_traits(traits: Sequence[str], covariates: Sequence[str]) -> None:
    """Raise DataError for names that no site could use."""
    if isinstance(covariates, str):
        raise DataError(f"covariates is a list of terms: [{covariates!r}]")
    texts = [_text(trait) for trait in traits]
    if not texts:
        raise DataError("trait is an empty list: name at least one")
    if len(set(texts)) < len(texts):
        raise DataError(f"trait names one twice: {', '.join(texts)}")
    also = formulas.parse(" + ".join(["1", *covariates])).factors.keys() & set(texts)
    if also:
        raise DataError(f"{', '.join(sorted(also))} is both trait and covariate: leave it out of one")


def agree_traits(
    run: Analysis,
    cohort: Cohort,
    traits: Sequence[str],
    covariates: Sequence[str],
    samples: NDArray[np.int64],
    *,
    options: str,
    site_intercepts: bool,
) -> Traits:
    """Agree on the model of a scan without its variants, and fit it.

    Parameters
    ----------
    run
        The analysis. Its declaration includes `PUBLISHED` and `AGGREGATE`.
    cohort
        The rows.
    traits, covariates
        As in `linear`; past `check_traits`.
    samples
        For each row its sample, or −1 if it has no genotypes.
    options
        Whatever else all sites must give alike, as text.
    site_intercepts
        Whether each site has an intercept of its own.

    Raises
    ------
    DataError
        A trait or covariate cannot be used.
    EstimationError
        The covariates are singular, or explain a trait entirely, or there are too few rows.

    Notes
    -----
    Cost: nine rounds, five more with ``center`` or ``scale``.
    """
    first, *others = [_text(trait) for trait in traits]
    # The other traits stand among the terms, so that all are known on the rows that are used.
    part = design.agree_design(
        run,
        cohort,
        f"{first} ~ " + " + ".join(["1", *covariates, *others]),
        call=options,
        needs_response=True,
        check=lambda: samples >= 0,
    )
    require_intercept(part, covariates)
    for trait in others:
        if trait not in part.names:
            raise DataError(f"trait {trait!r} is not a single number a row")
    also = [part.names.index(trait) for trait in others]
    covariate = [column for column in range(len(part.names)) if column not in also]
    X, Y = part.X[:, covariate], np.column_stack([cast(Array, part.y), part.X[:, also]])
    if site_intercepts and len(X):
        X[:, 1:] -= X[:, 1:].mean(axis=0)
        Y -= Y.mean(axis=0)
    basis = _orthonormal.orthonormalise(
        run,
        X,
        tuple(part.names[column] for column in covariate),
        Y,
        has_intercept=True,
        dropped=part.dropped + int(np.count_nonzero(samples < 0)),
    )
    intercepts = len(run.sites) if site_intercepts else 1
    if basis.n <= len(covariate) + intercepts:
        raise EstimationError(
            f"{basis.n} complete samples over all sites cannot determine {len(covariate) + intercepts - 1} "
            "terms and a variant: use fewer covariates"
        )
    residuals = basis.Y - basis.Q @ basis.projections
    squares = run.sum("trait residuals", np.einsum("ij,ij->j", residuals, residuals))
    for trait, left, total in zip(traits, squares, basis.y_sums[1], strict=True):
        if left <= EXPLAINED**2 * total:
            raise EstimationError(f"the covariates explain the trait {trait!r} entirely, or it does not vary")
    spread = np.sqrt(squares / basis.n)
    return Traits(
        names=traits,
        rows=part.rows,
        terms=[part.names[column] for column in covariate[1:]],
        Q=basis.Q[:, 1:],
        triangle=basis.R,
        R=residuals / spread,
        unit=spread * basis.frame.unit,
        n=basis.n,
        dropped=basis.dropped,
        site_intercepts=site_intercepts,
        df_resid=basis.n - (len(covariate) - 1) - intercepts - 1,
    )


def require_intercept(part: design.Design, covariates: Sequence[str]) -> None:
    """Raise DataError, at every site alike, if the covariates take the intercept away."""
    if not part.has_intercept:
        raise DataError(
            f"the covariates {list(covariates)!r} take the intercept away, which the scan needs: leave "
            "out '0' and '- 1'"
        )


def _text(trait: str) -> str:
    """Return a trait as the terms of a formula name it."""
    response = formulas.parse(f"{trait} ~ 1").response
    if response is None:
        raise DataError(f"{trait!r} is no trait: name a column, or a transformed one such as 'log(ldl)'")
    return response.text
