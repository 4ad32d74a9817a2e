"""The log-rank test and its weighted relatives, stratified or not, of the rows of all sites.

At every time of an event, d events among n at risk fall on the groups as a draw without replacement. The
weighted sums of observed minus expected events, and their covariance, are functions of the pooled table of
counts. In the result mode the table stays shared, weights and sums are computed on shares, the covariance
goes into a secret system of equations, and the statistic alone is opened.

References
----------
T. R. Fleming and D. P. Harrington, "Counting Processes and Survival Analysis", 1991, chapter 7;
J. P. Klein and M. L. Moeschberger, "Survival Analysis", 2003, section 7.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from scipy import stats

from fedstats import _table
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.regression._equations import full, inverse_or_none
from fedstats.results import Result
from fedstats.survival._prefix import ONE, before, cumulative_product, finest
from fedstats.survival._risk import AGGREGATE
from fedstats.survival._times import GROUPS, PUBLISHED, ROWS, Times, agree_times
from protocols.compare import is_zero
from protocols.divide import reciprocal, sqrt
from protocols.fixed import Format
from protocols.floating import floating
from protocols.inputs import sum_shares
from protocols.long import lengthen
from protocols.secret import SecretArray, inner, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

Weights: TypeAlias = Literal["logrank", "wilcoxon", "tarone-ware", "peto", "fleming-harrington"]

DECLARATION = Declaration(
    "logrank",
    aggregate={**ROWS, **GROUPS, **AGGREGATE},
    result={
        **ROWS,
        "comparable": "whether every group is at risk together with others at the time of some event",
        "statistic": "the test statistic",
    },
    published=PUBLISHED,
)


def logrank(
    cohort: Cohort,
    *,
    duration: str,
    event: str,
    by: str,
    strata: str | None = None,
    entry: str | None = None,
    weights: Weights = "logrank",
    p: int = 0,
    q: int = 0,
    unit: float | None = None,
    grid: Sequence[float] | None = None,
    disclose: Disclose = "result",
) -> LogRankResult:
    """Test whether groups have the same survival over the rows of all sites.

    Parameters
    ----------
    cohort, duration, event, entry, unit, grid
        As for `kaplan_meier`.
    by
        Column of the groups.
    strata
        Column of strata: groups are compared within each, and the comparisons added up.
    weights
        Of the times: ``"logrank"`` all alike, ``"wilcoxon"`` (Gehan's and Breslow's) the number at risk,
        ``"tarone-ware"`` its root, ``"peto"`` Peto and Peto's survival ∏ (1 − d/(n + 1)), or
        ``"fleming-harrington"``, S(t−)^p·(1 − S(t−))^q with the Kaplan–Meier estimate of all groups together.
        In each stratum on its own.
    p, q
        Whole numbers, the powers of Fleming and Harrington's weights.
    disclose
        ``"result"``: the statistic is opened. ``"aggregate"``: the pooled numbers of events of each group and
        stratum at every time are, and those at risk at the times of events.

    Returns
    -------
    LogRankResult
        ``statistic, pvalue, df``; in the aggregate mode also observed and expected events.

    Raises
    ------
    DataError, RemoteError
        As for `kaplan_meier`; or a column has one level, or the weights do not exist.
    EstimationError
        There are no rows, no events, or groups that are never at risk together with the others.

    Notes
    -----
    **Leakage.** Every site learns pooled numbers of rows and events by group and stratum, to a power of two
    how many sites' latest times are how large, and which levels the columns have at each site. ``"result"``
    adds the statistic. ``"aggregate"`` adds numbers of events at every time, single ones included, and
    numbers at risk at these times, of which a coalition of t sites learns those of the other sites. Groups of
    fewer than ``min_cell`` rows take part: of a statistic they cannot be told.

    Cost: 10 rounds with ``"aggregate"``, 140 to 175 with ``"result"``. Bytes are those of `kaplan_meier`.

    Examples
    --------
    >>> fs.logrank(cohort, duration="time", event="status", by="arm").pvalue  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:

        def check() -> None:
            if weights not in get_args(Weights):
                raise DataError(f"weights must be one of {', '.join(get_args(Weights))}, not {weights!r}")
            if any(type(power) is not int or not 0 <= power <= 8 for power in (p, q)):
                raise DataError("p and q are whole numbers from 0 to 8")
            if (p or q) and weights != "fleming-harrington":
                raise DataError("p and q belong to weights='fleming-harrington'")

        local = agree_times(
            run,
            cohort,
            duration=duration,
            event=event,
            entry=entry,
            by=by,
            strata=strata,
            counted=disclose == "aggregate",
            call=f"weights={weights!r}, p={p!r}, q={q!r}",
            unit=unit,
            grid=grid,
            check=check,
        )
        if len(local.levels) < 2:
            raise DataError(f"column {by!r} has {len(local.levels)} level over all sites: nothing to compare")
        weigh = Weighting(weights, p, q, local.nobs)
        table = None
        if disclose == "aggregate":
            opened = _opened(run, local)
            statistic = _public_statistic(opened, weigh)
            table = _observed(opened, local, by)
        else:
            with run.on_shares():
                statistic = _statistic_on_shares(run, local, weigh)
        return LogRankResult(
            **run.finish(),
            by=by,
            strata=strata,
            weights=weights if weights != "fleming-harrington" else f"fleming-harrington({p}, {q})",
            statistic=max(statistic, 0.0),
            df=len(local.levels) - 1,
            nobs=local.nobs,
            n_missing=local.n_missing,
            n_events=local.n_events,
            observed=table,
        )


@dataclass(frozen=True)
class Weighting:
    """How times are weighted.

    Attributes
    ----------
    name, p, q
        See `logrank`.
    rows
        Pooled number of rows. Weights by numbers at risk are taken as parts of a power of two above it, which
        changes no statistic and keeps them below 1.
    """

    name: Weights
    p: int
    q: int
    rows: int

    @property
    def is_flat(self) -> bool:
        """Whether all weights are 1."""
        return self.name == "logrank" or (self.name == "fleming-harrington" and not self.p and not self.q)

    @property
    def digits(self) -> int:
        """Bits of the number of rows."""
        return self.rows.bit_length()

    def of_numbers(self, d: Array, n: Array) -> Array:
        """Return the weights of times, given pooled events and numbers at risk of each stratum."""
        with np.errstate(divide="ignore", invalid="ignore"):
            hazard = np.where(n > 0, d / n, 0.0)
        match self.name:
            case "wilcoxon":
                return n / 2.0**self.digits
            case "tarone-ware":
                return np.sqrt(n / 2.0**self.digits)
            case "peto":
                return cumulative_product(1 - d / (n + 1))
            case "fleming-harrington":
                S = before(cumulative_product(1 - hazard), 1)
                return S**self.p * (1 - S) ** self.q
        return np.ones_like(n)

    def of_shares(self, n: SecretArray, hazard: SecretArray, of_one_more: SecretArray | None) -> SecretArray:
        """Return the weights of times; `of_one_more` is d/(n + 1), needed for Peto's."""
        part = SecretArray(n.engine, n.shares, Format(self.digits, n.format.bound))
        if self.name == "wilcoxon":
            weight = part.rescale(finest(n.engine))
        elif self.name == "tarone-ware":
            weight = sqrt(part).assume(ONE).rescale(finest(n.engine))
        elif of_one_more is not None:
            weight = cumulative_product(1 - of_one_more)
        else:
            S = before(cumulative_product(1 - hazard), 1)
            died = (1 - S).assume(ONE)
            # Up to 1, as far as pairs go: the quarter that S·(1 − S) is at most changes no statistic.
            pairs = min(self.p, self.q)
            both = [(S * died * 4).assume(ONE)] if pairs else []
            factors = both * pairs + [S] * (self.p - pairs) + [died] * (self.q - pairs)
            weight = factors[0]
            for factor in factors[1:]:
                weight = (weight * factor).assume(ONE)
        return weight.assume(ONE)


# --- Aggregate mode -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class _Opened:
    """Opened numbers of events and at risk, shape ``(strata, groups, size)``; n is 0 without events."""

    d: Array
    n: Array


def _opened(run: Analysis, times: Times) -> _Opened:
    """Open events, and numbers at risk of every group at the times of its stratum's events."""
    shape = (len(times.strata), len(times.levels), times.size)
    d = run.sum("events", times.events()[:, 0].reshape(shape))
    wanted = np.broadcast_to((d.sum(axis=1) > 0)[:, np.newaxis], shape)
    n = np.zeros(shape, np.int64)
    n[wanted] = run.sum("at risk", times.at_risk().reshape(shape)[wanted])
    return _Opened(d.astype(np.float64), n.astype(np.float64))


def _public_statistic(opened: _Opened, weigh: Weighting) -> float:
    d, n = opened.d.sum(axis=1), opened.n.sum(axis=1)
    w = weigh.of_numbers(d, n)
    happens = d > 0
    d, n, w = d[happens], n[happens], w[happens]
    observed, at_risk = (x.swapaxes(0, 1)[:-1, happens] for x in (opened.d, opened.n))
    part = at_risk / n
    U = ((observed - part * d) * w).sum(axis=1)
    spread = w**2 * d * (n - d) / np.maximum(n - 1, 1)
    # Exactly 0 for a group that is always, or never, alone.
    V = np.einsum("gt,ght->gh", part * spread, np.eye(len(part))[:, :, np.newaxis] - part)
    if np.linalg.matrix_rank(V, hermitian=True) < len(U):
        raise EstimationError(_NOT_COMPARED)
    return float(U @ np.linalg.solve(V, U))


_NOT_COMPARED = (
    "some groups are never at risk together with the others at the time of an event: there is nothing to "
    "compare them with; leave them out"
)


_WEIGHTS_TOO_SMALL = (
    f"{_NOT_COMPARED}; or the weights at all these times are so small, below about 1e-4, that the statistic "
    "cannot be told on shares: use smaller p and q"
)


def _observed(opened: _Opened, times: Times, by: str) -> pd.DataFrame:
    """Return rows, observed and expected events of each group."""
    d, n = opened.d.sum(axis=1, keepdims=True), opened.n.sum(axis=1, keepdims=True)
    expected = (opened.n * np.where(d > 0, d / np.maximum(n, 1.0), 0.0)).sum(axis=(0, 2))
    rows = times.n_rows.reshape(len(times.strata), -1).sum(axis=0)
    return pd.DataFrame(
        {"rows": rows, "observed": opened.d.sum(axis=(0, 2)).astype(np.int64), "expected": expected},
        index=pd.Index(times.levels, name=by),
    )


# --- Result mode --------------------------------------------------------------------------------------


def _statistic_on_shares(run: Analysis, times: Times, weigh: Weighting) -> float:
    """Compute the statistic on shares of the counts, and open it.

    Events are whole numbers and multiply last: a time without any adds nothing, not even a rounding. From
    sums on, numbers are long (`protocols.long`), as variances of small groups may be of any size.
    """
    engine, rows, groups = run.engine, times.nobs, len(times.levels)
    shape = (len(times.strata), groups, times.size)
    local = np.stack([times.events()[:, 0], times.at_risk()]).reshape(2, *shape)
    both = sum_shares(engine, local, bound=rows).assume(rows)
    d, n = (both[k].sum(axis=1).assume(rows) for k in (0, 1))
    observed, at_risk = (both[k].transpose(1, 0, 2)[: groups - 1] for k in (0, 1))

    none = is_zero(stack([n, n - 1]))
    divisors = [n + none[0], n - 1 + none[1] + 2 * none[0]]
    needs_more = weigh.name == "peto"
    inverse = reciprocal(stack(divisors + [n + 1] * needs_more).assume(rows + 1), least=1)
    exact, digits = (d * inverse[0]).assume(ONE), finest(engine)
    hazard = exact.rescale(digits)
    left = ((n - d) * inverse[1]).assume(2 * ONE).rescale(digits)
    # A group that is alone has a rest of 0 but for one rounding, whatever the error of 1/n is.
    parts = (stack([at_risk, n - at_risk]) * inverse[0]).assume(ONE).rescale(digits)
    part, rest = parts[0], parts[1]

    first, second = np.triu_indices(groups - 1)
    same = first == second
    spread = (left * part).assume(2 * ONE)[first] * stack([-part, rest])[same.astype(np.int64), second]
    spread = spread.assume(2 * ONE)
    if weigh.is_flat:
        most = engine.room - 4 - times.n_events.bit_length()
        weighted, expected = observed.sum(axis=(1, 2)), exact.rescale(min(exact.format.fraction, most))
    else:
        more = (d * inverse[2]).assume(ONE).rescale(digits) if needs_more else None
        w = weigh.of_shares(n, hazard, more)
        weighted, expected = _total(observed, w), (hazard * w).assume(ONE)
        spread = (spread * (w * w).assume(ONE)).assume(2 * ONE)
    U = lengthen((weighted - _total(at_risk, expected)).assume(2 * times.n_events))
    upper = _total(d, spread).assume(2 * times.n_events)
    alone = (upper[same] < NO_VARIANCE * times.n_events).sum() > 0
    if run.reveal({"comparable": 1 - alone})["comparable"] == 0:
        raise EstimationError(_NOT_COMPARED if weigh.is_flat else _WEIGHTS_TOO_SMALL)
    precision = inverse_or_none(full(lengthen(upper), groups - 1))
    if precision is None:
        raise EstimationError(_NOT_COMPARED)
    statistic = floating(precision.quadratic(U.reshape(-1, 1)).reshape(1))
    return float(run.reveal({"statistic": statistic})["statistic"][0])


#: A variance below this part of the number of events is that of a group which is never at risk with others.
NO_VARIANCE = 2.0**-26


def _total(counts: SecretArray, x: SecretArray) -> SecretArray:
    """Return Σ counts·x over strata and times: exact, as counts are whole numbers."""
    shape = np.broadcast_shapes(counts.shape, x.shape)
    flat = (y.broadcast_to(shape).reshape(shape[0], math.prod(shape[1:])) for y in _raised(counts, x))
    return inner(*flat)


def _raised(*arrays: SecretArray) -> list[SecretArray]:
    """Give arrays by strata and times a first axis, if they have none."""
    return [x if x.ndim == 3 else x[np.newaxis] for x in arrays]


# --- Result -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class LogRankResult(Result):
    """A test of equal survival; the same at every site.

    Attributes
    ----------
    by, strata, weights
        What was compared, within which strata, and how times were weighted.
    statistic, df
        The statistic, and the degrees of freedom of its χ² distribution.
    nobs, n_missing, n_events
        Rows of all sites that were used, that were left out for a missing value, and events.
    observed
        Rows, observed and expected events of each group; None in the result mode.
    """

    by: str
    strata: str | None
    weights: str
    statistic: float
    df: int
    nobs: int
    n_missing: int
    n_events: int
    observed: pd.DataFrame | None = field(repr=False)

    @property
    def pvalue(self) -> float:
        """p-value of the statistic."""
        return float(stats.chi2.sf(self.statistic, self.df))

    def to_frame(self) -> pd.DataFrame:
        """Return ``statistic, df, pvalue``."""
        row = {"statistic": self.statistic, "df": self.df, "pvalue": self.pvalue}
        return pd.DataFrame([row], index=pd.Index([self.weights], name="test"))

    def summary(self) -> str:
        """Return the test as text."""
        pairs: list[tuple[str, object]] = [
            ("Statistic (χ²)", self.statistic),
            ("df", self.df),
            ("P", self.pvalue),
            ("Weights", self.weights),
            ("Rows", self.nobs),
            ("Rows left out (missing)", self.n_missing),
            ("Events", self.n_events),
            ("Sites", len(self.sites)),
        ]
        strata = f", stratified by {self.strata}" if self.strata else ""
        lines = [f"Log-rank test of {self.by}{strata}", "", *_table.pair_lines(pairs)]
        if self.observed is not None:
            lines += ["", *_table.frame_lines(self.observed)]
        return "\n".join([*lines, "", f"Cost: {self.cost}"])
