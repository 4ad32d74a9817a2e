"""Numeric columns of all sites' complete rows, with pooled means and standard deviations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _frames
from fedstats._moments import Frame
from fedstats.cohort import largest
from fedstats.design import check_same_call
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.regression._cholesky import symmetric
from fedstats.regression._equations import shared
from protocols.floating import floating
from protocols.long import LongArray, multiply, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

PUBLISHED: Mapping[str, str] = {"columns": "the text of the call"}
LOCATIONS: Mapping[str, str] = {"locations": "the mean and the variance of every column"}
COVARIANCES: Mapping[str, str] = {"covariances": "Σz and Σzz' of the framed columns z"}


@dataclass(frozen=True, eq=False, repr=False)
class Columns:
    """This site's complete rows in a public frame.

    Attributes
    ----------
    names
        The columns.
    z
        Framed values, shape ``(rows, columns)``.
    frame
        Where they are measured from.
    n, n_missing
        Rows of all sites: complete, and left out.
    rows
        Positions in the cohort of the complete rows.
    """

    names: tuple[str, ...]
    z: Array
    frame: Frame
    n: int
    n_missing: int
    rows: NDArray[np.intp]


def agree_columns(
    run: Analysis, cohort: Cohort, columns: Sequence[str], *, call: str, check: Callable[[], object]
) -> Columns:
    """Agree with the other sites on columns, and measure them in a public frame.

    Raises
    ------
    DataError
        A column does not exist, is not numeric, or infinite; or the sites' calls differ.
    EstimationError
        There are not more rows than columns, or a column is constant.
    """
    mine: list[tuple[Array, NDArray[np.intp]]] = []

    def local() -> Mapping[str, Any]:
        check()
        names = [] if isinstance(columns, str) else list(columns)
        if not names or len(set(names)) != len(names):
            raise DataError("columns is a list of one name or more, each once")
        gaps = np.zeros(len(cohort), dtype=bool)
        for name in names:
            cohort.schema.require_numeric(name)
            gaps |= cohort.missing(name)
        rows = np.flatnonzero(~gaps)
        most = largest(run.disclose)
        mine.append((np.column_stack([cohort.numbers(name, most)[rows] for name in names]), rows))
        return {"call": f"columns={names!r}, {call}"}

    told = run.agree("columns", local, max_bytes=1 << 20)
    check_same_call(told, run.federation.site)
    [(x, rows)] = mine
    names = tuple(columns)
    n, n_missing = _frames.open_rows(run, len(x), len(cohort) - len(x))
    if n <= len(names):
        raise EstimationError(f"{n} complete rows over all sites are too few for {len(names)} columns")
    frame = _frames.pooled_frame(run, x, names, n)
    return Columns(names, frame.apply(x), frame, n, n_missing, rows)


def own_values(frame: pd.DataFrame, names: pd.Index[str]) -> Array:
    """Return the columns of a table of this site, to which a result is applied.

    Raises
    ------
    DataError
        A column is absent.
    """
    absent = [name for name in names if name not in frame]
    if absent:
        raise DataError(f"the data frame has no column {', '.join(map(repr, absent))}")
    return frame[list(names)].to_numpy(float)


def shared_covariance(run: Analysis, part: Columns) -> tuple[LongArray, LongArray]:
    """Return the secret means and the upper triangle of covariances, denominator n − 1, in the frame.

    Two rounds.
    """
    left, right = np.triu_indices(len(part.names))
    with run.on_shares() as engine:
        totals, products = shared(engine, part.z.sum(axis=0), (part.z.T @ part.z)[left, right])
        means = totals * (1 / part.n)
        return means, (products - multiply(totals[left], means[right])) * (1 / (part.n - 1))


def diagonal_of(p: int) -> NDArray[np.intp]:
    """Return where the diagonal stands in the upper triangle of a matrix of p rows."""
    return np.flatnonzero(np.equal(*np.triu_indices(p)))


def open_covariance(run: Analysis, part: Columns) -> tuple[Array, Array]:
    """Return means and covariances, denominator n − 1, in the frame; opens `COVARIANCES`."""
    p = len(part.names)
    upper = np.triu_indices(p)
    opened = run.sum("covariances", np.concatenate([part.z.sum(axis=0), (part.z.T @ part.z)[upper]]))
    mean = opened[:p] / part.n
    return mean, (symmetric(opened[p:], p) - part.n * np.outer(mean, mean)) / (part.n - 1)


def open_locations(
    run: Analysis, part: Columns, means: LongArray, covariance: LongArray
) -> tuple[Array, Array]:
    """Open means and variances, and return means and standard deviations in the units of the columns."""
    with run.on_shares():
        both = floating(stack([means, covariance[diagonal_of(len(part.names))]]))
    mean, variance = run.reveal({"locations": both})["locations"]
    return part.frame.centre + part.frame.unit * mean, part.frame.unit * np.sqrt(variance)


def pooled_locations(run: Analysis, part: Columns) -> tuple[Array, Array]:
    """Return means and standard deviations in the units of the columns; either mode opens `LOCATIONS`."""
    if run.disclose != "aggregate":
        return open_locations(run, part, *shared_covariance(run, part))
    total, squares = run.sum("locations", np.stack([part.z.sum(axis=0), np.square(part.z).sum(axis=0)]))
    variance = (squares - total**2 / part.n) / (part.n - 1)
    return part.frame.centre + part.frame.unit * total / part.n, part.frame.unit * np.sqrt(variance)
