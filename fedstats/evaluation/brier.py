"""The Brier score of predicted probabilities over the rows of all sites: a sum over rows [1]_.

References
----------
.. [1] G. W. Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly Weather Review
   78, 1950.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fedstats import _table
from fedstats.disclosure import Declaration, Disclose
from fedstats.evaluation import _scores
from fedstats.evaluation._scores import Score
from fedstats.regression._equations import scalars
from fedstats.results import Result

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

_OPENED = {**_scores.OUTCOMES, "squared errors": "Σ(score − outcome)²"}
DECLARATION = Declaration("brier", aggregate=_OPENED, result=_OPENED, published=_scores.PUBLISHED)


def brier(cohort: Cohort, *, score: Score, outcome: str, disclose: Disclose = "result") -> BrierResult:
    """Compute the mean squared error of predicted probabilities.

    Parameters
    ----------
    cohort
        The rows, see `Federation.cohort`.
    score
        Probabilities: a column, or an array with one for each row of this site's cohort, as from a result's
        ``predict``. Rows where it or the outcome is missing are left out.
    outcome
        Column of 0 and 1.
    disclose
        ``"result"``: the sum of squared errors is opened rounded to 30 bits; ``"aggregate"``: as it is.

    Returns
    -------
    BrierResult

    Raises
    ------
    DataError
        A column cannot be used, or a score is no probability.
    RemoteError
        The same at another site.
    PolicyError
        One of the outcomes has fewer than `min_cell` rows.

    Notes
    -----
    **Leakage.** Every site learns how many rows have each outcome, and the score. A coalition of t sites
    learns the same of the other n − t.

    Cost: 60 rounds for three sites; six in the aggregate mode.

    Examples
    --------
    >>> fs.brier(cohort, score=fit.predict(rows), outcome="died").brier  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        rows = _scores.agree(run, cohort, score, outcome, call="", check=_scores.check_probabilities)
        without, cases = _scores.open_outcomes(run, rows)
        squares = scalars(run, "squared errors", np.array([np.square(rows.score - rows.outcome).sum()]))
        return BrierResult(
            **run.finish(), outcome=outcome, cases=cases, nobs=without + cases, sum_squares=float(squares[0])
        )


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class BrierResult(Result):
    """The Brier score; the same at every site.

    Attributes
    ----------
    outcome
        The column.
    nobs, cases
        Rows of all sites, and how many of them have outcome 1.
    sum_squares
        Sum of squared differences.
    """

    outcome: str
    nobs: int
    cases: int
    sum_squares: float

    @property
    def brier(self) -> float:
        """Mean squared difference: 0 is best."""
        return self.sum_squares / self.nobs

    @property
    def brier_scaled(self) -> float:
        """Share by which it is smaller than if everybody were predicted the mean: 1 is best."""
        rate = self.cases / self.nobs
        return 1 - self.brier / (rate * (1 - rate))

    def to_frame(self) -> pd.DataFrame:
        """Return the score in one row."""
        row = {"brier": self.brier, "scaled": self.brier_scaled, "rows": self.nobs, "cases": self.cases}
        return pd.DataFrame(row, index=pd.Index([self.outcome], name="outcome"))

    def summary(self) -> str:
        """Return the score as text."""
        lines = [f"Brier score of {self.outcome} over {len(self.sites)} sites", ""]
        return "\n".join([*lines, *_table.frame_lines(self.to_frame()), "", f"Cost: {self.cost}"])
