"""What models fitted by Newton's method have in common before and after it: rows in a frame, covariances.

Columns are measured in a public frame (`fedstats._frames`): coefficients are then of the order of the
response's scale, whatever the columns' units are, and are turned back at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

import numpy as np
import pandas as pd

from fedstats import _frames
from fedstats._counts import MOST
from fedstats._moments import Frame
from fedstats.errors import DataError, DisclosureError, EstimationError
from fedstats.expressions import Array
from fedstats.regression._equations import Clustered, Covariance, Recent, covariance, scalars
from fedstats.regression._leverages import EXPONENTS
from protocols import inputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.design import Design

#: Covariances that any model has.
CovType: TypeAlias = Literal["nonrobust", "HC0", "cluster"]

AGGREGATE: Mapping[str, str] = {
    **_frames.AGGREGATE,
    "covariance": "the information matrix at the estimates; for robust covariances also Σss' of the scores s "
    "of rows, or of clusters",
}
RESULT: Mapping[str, str] = {
    **_frames.RESULT,
    "covariance": "variances of the estimates, and whether the information is near to that of the last step",
}
#: What cov_type="cluster" opens beside.
CLUSTERS: Mapping[str, str] = {"clusters": "the number of clusters"}
OVER_SITES: Mapping[str, str] = {
    "cluster scores": "if clusters extend over sites: of each, its number of rows, and Σs of their scores s"
}


@dataclass(frozen=True, eq=False, repr=False)
class Framed:
    """A model matrix in a public frame; its repr shows no row.

    Attributes
    ----------
    Z
        This site's rows, shape ``(rows, p)``.
    to_terms
        L with β = L b, where b are the coefficients of Z's columns, shape ``(p, p)``.
    names
        Of the terms.
    n, dropped
        Rows of all sites that are used, and that were left out for a missing value.
    size
        Of the response, if it was asked for: the root of its mean square, roughly.
    sums
        The pooled sums that were asked for, by label.
    """

    Z: Array
    to_terms: Array
    names: tuple[str, ...]
    n: int
    dropped: int
    size: float | None
    sums: dict[str, Array]


def framed(
    run: Analysis,
    part: Design,
    *,
    parameters: int | None = None,
    with_response: bool = False,
    sums: Mapping[str, Array] | None = None,
) -> Framed:
    """Measure the columns of a design in a public frame.

    Parameters
    ----------
    run
        The analysis, past `agree`. Its declaration includes `AGGREGATE` and `RESULT`.
    part
        This site's part of the design.
    parameters
        How many parameters the rows must determine; as many as terms by default.
    with_response
        Whether to look for the size of the response too.
    sums
        This site's summands of pooled sums that are wanted besides, by label.

    Raises
    ------
    EstimationError
        There are too few rows, or a column is constant.
    """
    n, dropped = _frames.open_rows(run, len(part.X), part.dropped)
    p = len(part.names)
    parameters = p if parameters is None else parameters
    if n <= parameters:
        raise EstimationError(
            f"{n} complete rows over all sites cannot determine {parameters} parameters: use fewer terms"
        )
    run.check_rows(n, parameters)
    first = int(part.has_intercept)
    Z, to_terms, size = part.X.copy(), np.eye(p), None
    columns, names = part.X[:, first:], part.names[first:]
    if with_response:
        columns, names = np.column_stack([columns, cast(Array, part.y)]), (*names, str(part.response_name))
    if names:
        frame, pooled = _frames.pooled_frame_and_sums(run, columns, names, n, sums or {})
        lengths = _frames.power_of_two_near(np.hypot(frame.centre, frame.unit))
        size = float(lengths[-1]) if with_response else None
        # Without an intercept, nothing takes a centre up.
        frame = (frame if part.has_intercept else Frame(np.zeros_like(lengths), lengths))[: p - first]
        Z[:, first:] = frame.apply(part.X[:, first:])
        to_terms[first:, first:] = np.diag(1 / frame.unit)
        to_terms[:first, first:] = -frame.centre / frame.unit
    else:
        pooled = {label: scalars(run, label, own) for label, own in (sums or {}).items()}
    return Framed(Z, to_terms, part.names, n, dropped, size, pooled)


@dataclass(frozen=True, eq=False, repr=False)
class Clusters:
    """Which rows of this site belong together; its repr shows none.

    Attributes
    ----------
    codes
        Number of each row's cluster.
    size
        How many numbers there are at this site.
    over_sites
        Whether the numbers mean the same at every site, so that a cluster may have rows at several.
    """

    codes: NDArray[np.intp]
    size: int
    over_sites: bool

    @classmethod
    def of(cls, cohort: Cohort, column: str, rows: NDArray[np.intp]) -> Clusters:
        """Return the clusters that a column makes of this site's rows.

        Where the levels of the column were declared, a level is one cluster over all sites. Otherwise equal
        values at two sites are two clusters: nothing of them is told, so nothing could be compared.
        """
        texts = cohort.texts(column)[rows]
        declared = cohort.declared_levels.get(column)
        if declared is not None:
            return cls(pd.Categorical(texts, declared).codes.astype(np.intp), len(declared), over_sites=True)
        codes, found = pd.factorize(texts)
        return cls(codes, len(found), over_sites=False)

    def sums(self, scores: Array) -> Array:
        """Return the sums of rows by cluster, shape ``(size, p)``."""
        sums = np.zeros((self.size, scores.shape[1]))
        np.add.at(sums, self.codes, scores)
        return sums


def check_cov_type(cohort: Cohort, cov_type: str, groups: str | None) -> None:
    """Raise DataError unless this is a covariance type, with clusters if it needs any."""
    require_cov_type(cov_type, get_args(CovType))
    check_groups(cohort, cov_type, groups)


def require_cov_type(cov_type: str, offered: Sequence[str], disclose: str = "aggregate") -> None:
    """Raise DataError unless a type is offered, DisclosureError if it takes leverages and nobody has them."""
    if cov_type not in offered:
        raise DataError(f"cov_type must be one of {', '.join(offered)}, not {cov_type!r}")
    if disclose == "result" and cov_type in EXPONENTS:
        raise DisclosureError(
            f"{cov_type} needs the leverage of each row, which no site knows with disclose='result': use HC0 "
            "or HC1, or disclose='aggregate'"
        )


def check_groups(cohort: Cohort, cov_type: str, groups: str | None) -> None:
    """Raise DataError unless clusters are given where they are needed, and only there."""
    if (cov_type == "cluster") != (groups is not None):
        raise DataError(
            "cov_type='cluster' goes with groups=, the column that says which rows belong together"
        )
    if groups is not None:
        cohort.schema.require(groups)
        cohort.texts(groups)


def check_positive(further: Mapping[str, Array], name: str) -> None:
    """Raise DataError unless a further variable, if it was given, is positive in all rows of this site."""
    bad = int(np.count_nonzero(further[name] <= 0)) if name in further else 0
    if bad:
        raise DataError(f"{name} must be positive: they are not in {bad} rows of this site")


def check_maxiter(maxiter: int) -> None:
    """Raise DataError unless this is a number of iterations."""
    if maxiter < 1:
        raise DataError(f"maxiter must be 1 at least, not {maxiter}")


def robust_covariance(
    run: Analysis,
    rows: Framed,
    information: Array,
    names: tuple[str, ...],
    *,
    scores: Array | None = None,
    clusters: Clusters | None = None,
    combinations: Array,
    scale: float = 1.0,
    recent: Recent | None = None,
    sums: Mapping[str, Array] | None = None,
) -> Covariance:
    """Return the covariance of estimates: the inverse information, or a sandwich of it around the scores.

    Parameters
    ----------
    run
        The analysis. Its declaration includes `AGGREGATE` and `RESULT`, and with clusters also `CLUSTERS`
        and, in the aggregate mode, `OVER_SITES`.
    rows
        What was fitted.
    information, names
        Summed over this site's rows, shape ``(q, q)``, and the parameters it is of.
    scores
        Of each row, shape ``(rows, q)``; None for the classical covariance.
    clusters
        Which rows belong together; None if each stands for itself.
    combinations
        See `_equations.covariance`.
    scale
        What the covariance is multiplied by.
    recent
        What is kept of the last step towards the estimates.
    sums
        As for `_equations.covariance`.

    Raises
    ------
    EstimationError
        There is only one cluster.
    """
    meat = None
    if scores is not None:
        meat, count = meat_of(run, scores, clusters)
        scale *= small_sample(None, rows.n, len(names), count)
    return covariance(
        run,
        "covariance",
        information,
        names,
        meat=meat,
        combinations=combinations,
        recent=recent,
        sums=sums,
    ).times(scale)


def meat_of(run: Analysis, scores: Array, clusters: Clusters | None) -> tuple[Array | Clustered, int | None]:
    """Return this site's summand of the inner matrix of a sandwich, and the number of all clusters.

    Raises
    ------
    EstimationError
        There is only one cluster.
    """
    if clusters is None:
        return scores.T @ scores, None
    meat, count = _clustered(run, clusters.sums(scores), clusters)
    if count < 2:
        raise EstimationError(f"{count} cluster over all sites has no covariance: two are needed at least")
    return meat, count


def small_sample(cov_type: str | None, n: int, p: int, clusters: int | None) -> float:
    """Return the correction of a robust covariance of p estimates for few rows, or few clusters."""
    if clusters is not None:
        return clusters / (clusters - 1) * (n - 1) / (n - p)
    return n / (n - p) if cov_type == "HC1" else 1.0


def _clustered(run: Analysis, sums: Array, clusters: Clusters) -> tuple[Array | Clustered, int]:
    if not clusters.over_sites:
        return sums.T @ sums, int(run.sum("clusters", np.array([clusters.size]))[0])
    sizes = np.bincount(clusters.codes, minlength=clusters.size)
    if run.disclose == "aggregate":
        opened = run.sum("cluster scores", np.column_stack([sums, sizes]))
        # Everybody knows them now, and one site contributes their products.
        mine = opened[:, :-1] if run.federation.site == run.sites[0] else np.zeros_like(sums)
        return mine.T @ mine, int(np.count_nonzero(opened[:, -1]))
    with run.on_shares() as engine:
        has_rows = (inputs.sum_shares(engine, sizes, bound=MOST) > 0).sum()
    return Clustered(sums), int(run.reveal({"clusters": has_rows})["clusters"])
