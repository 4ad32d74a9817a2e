"""Residuals of a fitted model over the rows of all sites, summarised by groups of fitted values.

It is what a plot of residuals against fitted values shows, without a row. The sites make groups of about
equal size by the linear predictor, of which coarse limits are opened, and find quantiles of the residuals in
each group, as of any column (`fedstats.quantiles`). Each site computes its residuals alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd

from fedstats import _plot, _table, design, quantiles
from fedstats._counts import HIDDEN, open_counts
from fedstats._listed import listed
from fedstats.disclosure import Declaration
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.quantiles import OnlyResult
from fedstats.regression._glm_results import GLMResult, ResidualKind
from fedstats.results import Result
from protocols import bisection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "residuals",
    result={
        "rows": "numbers of complete rows and of rows that were left out for a missing value",
        "limits": "limits between the groups of linear predictors, to one part in 256",
        "numbers of values": "number of rows in each group; of fewer than min_cell, that it is so",
        "quantiles": "quantiles of the residuals in each group, digit by digit; 64 bits each in all",
    },
    published={
        "fit": "that all ask for the residuals of one fit, a digest of it, and that rows can be coded"
    },
)

#: Limits between groups are opened to this part of their size, or of the smallest size that counts.
_COARSE, _LITTLE = 2.0**-8, 2.0**-10
_MOST_GROUPS = 50


def residuals(
    fit: GLMResult,
    cohort: Cohort,
    *,
    kind: ResidualKind = "deviance",
    groups: int = 5,
    q: float | Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
    disclose: OnlyResult = "result",
) -> ResidualsResult:
    """Summarise residuals by groups of fitted values, over the rows of all sites.

    Parameters
    ----------
    fit
        What `glm`, `logit` or `poisson` returned.
    cohort
        The rows: those of the fit, or others with the same columns.
    kind
        ``"deviance"``, ``"pearson"`` or ``"response"`` (y − μ), as statsmodels' ``resid_…``.
    groups
        Number of groups of about equal size, by the linear predictor; 50 at most.
    q
        One or more levels of the quantiles.
    disclose
        ``"result"``: only limits and quantiles are opened. There is no cheaper way that opens more.

    Returns
    -------
    ResidualsResult
        Limits, number of rows and quantiles of the residuals of each group. NaN where there are fewer rows
        than the federation's ``min_cell``, in all or on a side of the quantile.

    Raises
    ------
    DataError
        The rows cannot be coded as the fit's were, or an option is none.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** Every site learns how many rows are complete and how many are not, the limits between
    groups to one part in 256, the number of rows in each group unless it is below ``min_cell``, and the
    quantiles: their 64 bits, hence an exact residual of some patient where a quantile is one. A coalition
    of t sites learns the same.

    Cost: about 300 rounds for three sites, five groups and five quantiles.

    Examples
    --------
    >>> fs.residuals(fit, cohort, kind="pearson", groups=10).plot()  # doctest: +SKIP
    """
    mine: list[tuple[Array, Array, int]] = []
    levels = np.array(listed(q))

    def local() -> Mapping[str, Any]:
        if not isinstance(fit, GLMResult):
            raise DataError("residuals are those of what glm, logit or poisson returned")
        if kind not in get_args(ResidualKind):
            raise DataError(f"kind must be one of {', '.join(get_args(ResidualKind))}, not {kind!r}")
        if not 1 <= groups <= _MOST_GROUPS:
            raise DataError(f"groups must be from 1 to {_MOST_GROUPS}, not {groups}")
        if not levels.size or not ((levels >= 0) & (levels <= 1)).all():
            raise DataError("q is a list of levels between 0 and 1")
        for name in fit.model.columns:
            cohort.schema.require(name)
        eta, its = fit.model.residuals(cohort.rows, np.asarray(fit.params, np.float64), kind)
        complete = np.isfinite(its)
        mine.append((eta[complete], its[complete], int((~complete).sum())))
        of_fit = hashlib.sha256(fit.params.to_numpy().tobytes()).hexdigest()[:16]
        return {"call": f"{fit.formula!r} {of_fit}, {kind=}, {groups=}, q={levels.tolist()}"}

    with cohort.federation.analysis(DECLARATION, disclose) as run:
        design.check_same_call(run.agree("fit", local), run.federation.site)
        [(eta, its, dropped)] = mine
        n, dropped = run.sum("rows", np.array([len(eta), dropped])).tolist()
        enough = run.federation.shared_policy.min_cell
        limits = _limits(run, np.sort(eta), n, groups) if n >= enough * groups else np.array([])
        codes = np.searchsorted(limits, eta, side="right")
        values = [np.sort(its[codes == group]) for group in range(len(limits) + 1)]
        numbers = open_counts(run, "numbers of values", np.array([len(x) for x in values]), enough)
        found = quantiles.find_quantiles(run, values, numbers, levels)
        return ResidualsResult(
            **run.finish(),
            formula=fit.formula,
            kind=kind,
            nobs=n,
            n_missing=dropped,
            min_cell=enough,
            limits=limits,
            numbers=numbers,
            quantiles=pd.DataFrame(found, columns=levels.tolist()),
        )


def _limits(run: Analysis, eta: Array, n: int, groups: int) -> Array:
    """Return coarse public limits between groups of about equal size of the linear predictor, distinct."""
    if groups == 1:
        return np.array([])
    ranks = np.arange(1, groups) * n // groups
    places = bisection.Places(ranks, np.zeros(groups - 1))
    limits = np.zeros(groups - 1)
    for least, greatest in quantiles.narrowed(run, [eta] * (groups - 1), places, label="limits"):
        limits = greatest
        if (greatest - least <= _COARSE * np.maximum(np.abs(least), _LITTLE)).all():
            break
    return np.unique(limits)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ResidualsResult(Result):
    """Quantiles of residuals by groups of the linear predictor; the same at every site.

    Attributes
    ----------
    formula, kind
        Of the fit, and of the residuals.
    nobs, n_missing
        Rows of all sites that were used, and that were left out for a missing value.
    min_cell
        Fewer rows, in all or on one side, have no quantile.
    limits
        Between the groups, ascending: a group has its lower limit and not its upper one.
    numbers
        Rows of each group, −1 where they are few.
    quantiles
        A row for each group, a column for each level.
    """

    formula: str
    kind: ResidualKind
    nobs: int
    n_missing: int
    min_cell: int
    limits: Array = field(repr=False)
    numbers: np.ndarray[Any, np.dtype[np.int64]] = field(repr=False)
    quantiles: pd.DataFrame = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return ``count`` and a column for each level, by interval of the linear predictor."""
        edges = np.concatenate([[-np.inf], self.limits, [np.inf]])
        index = pd.IntervalIndex.from_breaks(edges, closed="left", name="linear predictor")
        counts = pd.Series(pd.arrays.IntegerArray(self.numbers, self.numbers == HIDDEN), index, name="count")
        return pd.concat([counts, self.quantiles.set_axis(index, axis=0)], axis=1)

    def summary(self) -> str:
        """Return the table as text."""
        frame = self.to_frame()
        frame.index = pd.Index([f"[{its.left:.4g}, {its.right:.4g})" for its in frame.index])
        lines = [
            f"{self.kind.capitalize()} residuals by linear predictor: {self.formula}",
            "",
            *_table.frame_lines(frame, digits=4),
        ]
        if self.quantiles.isna().any(axis=None):
            lines += ["", f"– suppressed: fewer than {self.min_cell} rows, in all or on one side"]
        return "\n".join([*lines, "", f"Cost: {self.cost}"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the quantiles of each group, joined from group to group."""
        target = _plot.axes(ax)
        group = np.arange(1, len(self.quantiles) + 1)
        for level in self.quantiles:
            target.plot(group, self.quantiles[level], marker="o", label=f"{level:g}")
        target.axhline(0.0, color="grey", linewidth=0.8)
        target.set_xlabel("group of the linear predictor, ascending")
        target.set_ylabel(f"{self.kind} residuals")
        target.legend(title="quantile")
        return target
