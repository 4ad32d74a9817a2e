"""Scores and outcomes: a column, or an array that a site has computed for its own rows, beside 0 and 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats.cohort import largest
from fedstats.design import check_same_call
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.hypotests._groups import open_enough

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

#: A column, or one number for each row of this site's cohort, such as from a result's `predict`.
Score: TypeAlias = "str | pd.Series[float] | NDArray[Any] | Sequence[float]"

PUBLISHED: Mapping[str, str] = {"columns": "the text of the call"}
OUTCOMES = {"outcomes": "numbers of rows with outcome 0 and with 1; of fewer than min_cell, that they are"}


@dataclass(frozen=True, eq=False, repr=False)
class Scored:
    """This site's complete rows; its repr shows none.

    Attributes
    ----------
    score, outcome
        Shape ``(rows,)``; outcomes are 0 and 1.
    name
        Of the outcome.
    """

    score: Array
    outcome: NDArray[np.int64]
    name: str


def agree(
    run: Analysis,
    cohort: Cohort,
    score: Score,
    outcome: str,
    *,
    call: str,
    check: Callable[[Array], None] = lambda _: None,
) -> Scored:
    """Agree with the other sites on scores and outcomes; rows without either are left out.

    Parameters
    ----------
    run
        The analysis, at its start. Its declaration includes `PUBLISHED`.
    cohort
        The rows.
    score, outcome
        What users gave.
    call
        Every option that all sites must give alike, as text.
    check
        Checks the options and this site's scores. May raise DataError.

    Raises
    ------
    DataError
        A column cannot be used, an array has another length than the cohort, an outcome is not 0 or 1; or
        the sites ask for different analyses.

    Notes
    -----
    **Leakage.** `PUBLISHED`. Cost: one round.
    """
    mine: list[Scored] = []

    def local() -> Mapping[str, Any]:
        values = score_values(cohort, score, largest(run.disclose))
        events = cohort.numbers(outcome)
        complete = ~(np.isnan(values) | np.isnan(events))
        values, events = values[complete], events[complete]
        other = int(np.count_nonzero(~np.isin(events, (0, 1))))
        if other:
            raise DataError(
                f"outcome {outcome!r} is not 0 or 1 in {other} rows of this site: make an indicator of it"
            )
        check(values)
        mine.append(Scored(values, events.astype(np.int64), outcome))
        return {"call": f"score={score if isinstance(score, str) else ...!r}, outcome={outcome!r}, {call}"}

    told = run.agree("columns", local, max_bytes=1 << 14)
    check_same_call(told, run.federation.site)
    return mine[0]


def open_outcomes(run: Analysis, rows: Scored) -> tuple[int, int]:
    """Return how many rows of all sites have outcome 0, and how many 1.

    Raises
    ------
    PolicyError
        Of either there are fewer than `min_cell`. Raised at every site alike.

    Notes
    -----
    **Leakage.** `OUTCOMES`. Cost: see `_groups.open_sizes`.
    """
    counts = np.bincount(rows.outcome, minlength=2)
    without, cases = open_enough(run, "outcomes", counts, [f"{rows.name} = 0", f"{rows.name} = 1"]).tolist()
    return without, cases


def check_probabilities(score: Array) -> None:
    """Raise DataError unless scores are probabilities."""
    outside = int(np.count_nonzero((score < 0) | (score > 1)))
    if outside:
        raise DataError(f"scores of {outside} rows of this site are no probabilities between 0 and 1")


def score_values(cohort: Cohort, score: Score, most: float) -> Array:
    """Return a score for each row of this site, NaN where missing."""
    if isinstance(score, str):
        return cohort.numbers(score, most)
    try:
        values = pd.to_numeric(pd.Series(score)).to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        values = None
    if values is None:  # raised outside of the handler: the cause would quote a value
        raise DataError("score is a column's name, or numbers for the rows of this site's cohort")
    if values.shape != (len(cohort),):
        raise DataError(f"there are {len(values)} scores for {len(cohort)} rows of this site's cohort")
    beyond = int(np.count_nonzero(np.abs(values) > most))
    if beyond:
        raise DataError(f"scores of {beyond} rows of this site are infinite or beyond {most:g}")
    return np.asarray(values)
