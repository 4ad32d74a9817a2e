"""Cox's proportional hazards model of the rows of all sites.

Newton's method finds the maximum of the pooled partial likelihood. It is a function of sums over risk sets,
which are sums over rows once all sites agree at which times there are events. Two modules evaluate it:
`_cox_open` opens the sums, `_cox_shares` keeps them shared.

References
----------
D. R. Cox, "Regression Models and Life-Tables", JRSS B 34, 1972; B. Efron, "The Efficiency of Cox's Likelihood
Function for Censored Data", JASA 72, 1977; D. Y. Lin and L. J. Wei, "The Robust Inference for the Cox
Proportional Hazards Model", JASA 84, 1989; P. M. Grambsch and T. M. Therneau, "Proportional Hazards Tests and
Diagnostics Based on Weighted Residuals", Biometrika 81, 1994.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fedstats import _clusters, _frames, design
from fedstats._complete import complete_rows
from fedstats._listed import listed_if_given
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.survival import _concordance, _cox_baseline, _cox_frame, _cox_km, _cox_robust
from fedstats.survival._cox_open import OpenModel
from fedstats.survival._cox_results import CoxResult
from fedstats.survival._cox_rows import Cells, Rows
from fedstats.survival._cox_shares import SharedModel
from fedstats.survival._cox_start import own_expansion
from fedstats.survival._times import PUBLISHED, ROWS, Codes, Times, agree_times
from fedstats.vertical import survival as linked
from fedstats.vertical.cohort import VerticalCohort
from fedstats.vertical.timeline import Columns

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

Ties: TypeAlias = Literal["efron", "breslow"]
Transform: TypeAlias = Literal["rank", "identity", "log", "km"]

_EVENTS = {"events": "numbers of events at each time of the grid, in each stratum"}
_PUBLISHED = {
    **design.PUBLISHED,
    **PUBLISHED,
}
_PREDICTORS = {
    "predictors": "at each step, how many sites have linear predictors beyond the range of weights, and how "
    "many on shares have smaller or larger weights than short numbers do for"
}
_AGGREGATE = {
    **design.AGGREGATE,
    **_frames.AGGREGATE,
    **ROWS,
    **_EVENTS,
    **_PREDICTORS,
    "event sums": "Σz over events",
    "risk sets": "Σw and Σwz over the risk set of each time of an event, and over events that are tied",
    "information": "Σw·zz' weighted by cumulative hazards",
}
_RESULT = {
    **_cox_frame.RESULT,
    **ROWS,
    **_EVENTS,
    **_PREDICTORS,
    "steps": "each step towards the estimates, the first as if every site were a stratum, the second with "
    "the information of the first; whether the inverse of that is near to the mean of the sites', and "
    "whether the information is near to that at the step before",
    "log-likelihood": "without covariates, and at the estimates",
    "variances": "of the estimates",
}
_NO_EVENT = {"strata without an event": "at how many sites each stratum in which there is no event has rows"}
_SCORES = {"score residuals": "Σrr' of the score residuals of rows, summed within clusters"}
_TEST = {"transformed terms": "Σgz over events, and Σgw·zz' and Σg²w·zz' weighted by cumulative hazards"}
_TEST_ON_SHARES = {"proportionality": "the statistics of the test of proportional hazards"}

#: Steps of Newton's method, and how often one of them is halved.
_MOST_STEPS, _MOST_HALVES = 30, 8
#: In standard deviations of the covariates: steps are taken up to this if they are not Newton's.
_NEAR = 0.01


def declaration(
    *,
    robust: bool,
    tested: bool,
    strata: bool = False,
    by_km: bool = False,
    concordance: bool = False,
    baseline: bool = False,
    clusters: bool = False,
    residuals: bool = False,
) -> Declaration:
    """Return what a fit opens.

    `clusters` says whether there are any, `residuals` whether those of clusters, or of rows that may enter
    late, are computed on shares.
    """
    both = {
        **(_concordance.RESULT if concordance else {}),
        **({**_clusters.COUNT, **_clusters.CROSSING} if clusters else {}),
    }
    test = {**(_TEST if tested else {}), **(_cox_km.AGGREGATE if by_km else {})}
    own = {**(_NO_EVENT if strata else {}), **(_SCORES if robust else {})}
    aggregate = {**_AGGREGATE, **test, **own, **both}
    result = {**design.AGGREGATE, **_RESULT, **(_TEST_ON_SHARES if tested else {}), **both}
    result |= _cox_baseline.RESULT if baseline else {}
    return Declaration(
        "coxph",
        aggregate=aggregate,
        result=result,
        published={
            **_PUBLISHED,
            **(_concordance.PUBLISHED if concordance else {}),
            **(_cox_robust.PUBLISHED if residuals else {}),
        },
    )


def coxph(
    formula: str,
    cohort: Cohort | VerticalCohort,
    *,
    duration: str,
    event: str,
    entry: str | None = None,
    strata: str | None = None,
    ties: Ties = "efron",
    robust: bool = False,
    cluster: str | None = None,
    local_groups: bool = False,
    ph_test: Transform | None = None,
    concordance: bool = False,
    times: float | Sequence[float] | None = None,
    missing: design.Missing = "drop",
    unit: float | None = None,
    grid: Sequence[float] | None = None,
    disclose: Disclose = "result",
) -> CoxResult:
    """Fit Cox's proportional hazards model to the rows of all sites.

    Parameters
    ----------
    formula
        Covariates, such as ``"age + C(sex)"``, as for `ols`; without a response, and without intercept.
    cohort
        The rows, see `Federation.cohort`. Of linked columns those of times, events and strata are at one
        site, and covariates at any.
    duration, event
        Columns: the time at which a row's observation ends, and whether that is an event (1) or censoring
        (0).
    entry
        Column of times from which rows are observed. With several rows for a subject, each over an interval
        of its own, covariates vary in time.
    strata
        Column of strata, each with a baseline hazard of its own.
    ties
        How events at the same time count: Efron's approximation, or Breslow's.
    robust, cluster
        Sandwich standard errors; with a column of clusters, such as subjects with several rows, of which
        each lies within one site.
    local_groups
        Whether sites have numbered their clusters by themselves, so that equal values at two sites are two
        clusters. Otherwise a value that occurs at two sites is refused; which one it is, nobody is told.
    ph_test
        Test proportional hazards: for each covariate, and for all together, that its product with a function
        of time has no effect. The function is the ``"rank"`` of event times, the time (``"identity"``), its
        ``"log"``, or 1 less the Kaplan–Meier estimate just before it (``"km"``, R's default).
    concordance
        Compute Harrell's concordance of the linear predictor with survival, as `fs.concordance` does, on
        shares in either mode.
    times
        One or more times at which the cumulative baseline hazard is opened in the result mode, see
        `CoxResult.baseline`; none by default. The aggregate mode tells it at all times of events.
    missing
        As for `ols`; of all columns that are named.
    unit, grid
        The grid of times, as for `kaplan_meier`. Linked columns need none: their times may be any
        that are not negative.
    disclose
        ``"result"``: estimates, with each step on the way to them, and their variances are opened.
        ``"aggregate"``: sums over risk sets are.

    Returns
    -------
    CoxResult
        Estimates, hazard ratios, tests, intervals, likelihoods, in the names of statsmodels.

    Raises
    ------
    DataError
        The formula, or a column, cannot be used; times are negative or not on the grid; rows leave before
        they enter; events are not coded as 0 and 1.
    RemoteError
        The same at another site.
    EstimationError
        There are no rows or no events; a covariate is constant, a combination of others, or separates events,
        so that its estimate grows without bound; there is one cluster alone, or one has rows at two sites.

    Notes
    -----
    **Leakage.** Every site learns, of the rows of all sites together, how many there are, how many were left
    out, and how many events there are at each time of the grid in each stratum. ``"result"`` adds a coarse
    unit and centre of each covariate, its largest magnitude to a power of two, how many sites have weights
    that are small or large, the sequence of estimates, of which the first is that of sites as strata and the
    second is made with the information of the first, whether the inverse of that is near to the mean of the
    sites', and the information to that at the estimates before, their variances, and two likelihoods; sums
    over risk sets stay shared. So do numbers at risk, of which ``ph_test="km"`` is made, and which it opens
    with ``"aggregate"``.
    `times` add the baseline hazard and the number at risk then, but where fewer than the federation's
    ``min_cell`` rows are at risk; of close ones what the risk sets between them have added follows.
    ``"aggregate"`` opens these: Σw and Σwz of successive risk sets, w = exp(z'β), **from which the covariates
    of a single row follow where it alone leaves between two events**, though not at which site it is; and the
    number of sites at which a stratum without an event has rows. Of each single site it is learnt which
    levels categorical columns have. A coalition of t sites learns nothing more with ``"result"``; with
    ``"aggregate"`` the same of the other sites.

    `concordance` adds this, its standard error, and of each site its number of rows, rounded up by an eighth
    at most; so do robust errors on shares with clusters, or with late entry, of the number of these. Either
    mode adds with `cluster` the number of all clusters, and that none has rows at two sites.

    Cost: with ``"aggregate"`` 11 rounds and 6 a step, 2 more if a stratum has no event, and 32·(1 + p) bytes
    a step for each time with an event and p covariates; with ``"result"`` 140 rounds and 45 a step after the
    third, 20 more where sites differ or estimates change much, and some 8·p·(p + 12) bytes a step for each
    time with an event, twice that if events are tied there, and 3 kB more. There are 3 to 5 steps as a rule.
    On shares a test of proportional hazards takes 145 rounds, by ``"km"`` 190, and a baseline hazard 85;
    concordance what `fs.concordance` does. Robust errors on shares take 90 rounds, and 1.5·(1 + p)² kB for
    each time with an event; with clusters or late entry 200·(2 + p) bytes for each of these times and each
    cluster, and beyond 4 million numbers they are refused. That no cluster has rows at two sites takes in
    either mode 50 rounds for 30 clusters at three sites, 75 for 1,000, 90 for 3,000 and 300 for 30,000, and 1
    to 1.5 kB for each cluster and site, which `local_groups` spares.

    Of linked columns there are estimates, with `entry`, `strata` and `ties`, in the result mode: see
    `fedstats.vertical.survival.coxph`. Neither when events are nor their numbers at each time are opened.

    Examples
    --------
    >>> fs.coxph("age + C(sex)", cohort, duration="time", event="status").hazard_ratios()  # doctest: +SKIP
    """
    robust = robust or cluster is not None
    if isinstance(cohort, VerticalCohort):
        columns = Columns(duration, event, entry, strata, unit, listed_if_given(grid))

        def check_options() -> None:
            _check_ties(ties)
            _refuse_for_linked(
                robust=robust,
                local_groups=local_groups,
                ph_test=ph_test is not None,
                concordance=concordance,
                times=times is not None,
                missing=missing != "drop",
            )

        return linked.coxph(formula, cohort, columns, ties, check_options, disclose)
    declared = declaration(
        robust=robust,
        tested=ph_test is not None,
        strata=strata is not None,
        by_km=ph_test == "km",
        concordance=concordance,
        baseline=times is not None,
        clusters=cluster is not None,
        residuals=disclose == "result" and (cluster is not None or (robust and entry is not None)),
    )
    with cohort.federation.analysis(declared, disclose) as run:

        def check() -> NDArray[np.bool_]:
            _check_ties(ties)
            if ph_test is not None and ph_test not in get_args(Transform):
                raise DataError(f"ph_test must be one of {', '.join(get_args(Transform))}, not {ph_test!r}")
            _clusters.check_groups(run, cohort, cluster, local_groups)
            return complete_rows(cohort, [duration, event, entry, strata, cluster], missing)

        part = design.agree_design(
            run,
            cohort,
            formula,
            call=f"ties={ties!r}, robust={robust!r}, cluster={cluster!r}, "
            f"local_groups={local_groups!r}, ph_test={ph_test!r}, concordance={concordance!r}, "
            f"times={listed_if_given(times)!r}, missing={missing!r}",
            needs_response=False,
            missing=missing,
            check=check,
        )
        X, names = part.X[:, part.has_intercept :], part.names[part.has_intercept :]
        if not names:
            raise DataError(f"formula {formula!r} has no covariates")
        selected = np.zeros(len(cohort), dtype=bool)
        selected[part.rows] = True
        local = agree_times(
            run,
            cohort,
            duration=duration,
            event=event,
            entry=entry,
            strata=strata,
            call="",
            unit=unit,
            grid=grid,
            counted=False,
            selected=selected,
        )
        run.check_rows(local.nobs, len(names))
        clusters, n_clusters = None, None
        if cluster is not None:
            clusters, n_clusters = _clusters.robust_clusters(run, cohort, cluster, part.rows, local_groups)
        at = None if times is None else local.grid.chosen(times, local.size, 0)
        cells = Cells.of(run.sum("events", local.events()[:, 0]))
        if disclose == "aggregate":
            frame, spread = _frames.pooled_frame(run, X, names, local.nobs), np.ones(len(names))
        else:
            frame, spread = _cox_frame.within_one(run, X, names, local.nobs)
        z = frame.apply(X)
        rows = Rows.of(z, local, cells)
        is_efron, first = ties == "efron", None
        if disclose == "aggregate":
            model: OpenModel | SharedModel = OpenModel(run, rows, names, is_efron)
        else:
            model = SharedModel(run, rows, names, is_efron, local.nobs, spread)
            own = Rows.of(z, local, Cells.of(local.events()[:, 0]))
            parabola = own_expansion(own, names, is_efron=is_efron, spread=spread, largest=model.largest)
            first = model.start(*parabola)
        beta, steps = _newton(run, names, model, first)
        tests = None if ph_test is None else _proportionality(run, model, ph_test, local, cells)
        if isinstance(model, OpenModel):
            found = model.finish()
            if robust:
                found = model.sandwich(found, np.arange(len(X)) if clusters is None else clusters)
        else:
            late, meat = entry is not None, None
            if robust:
                meat = _cox_robust.squared_residuals(
                    run, rows, beta, is_efron=is_efron, late=late, cluster=clusters
                )
            found = model.finish(meat)
        baseline = None
        if found.hazards is not None:
            baseline = _baseline(found.hazards, local, cells, _without_event(run, local, cells), strata)
        elif at is not None:
            enough = run.federation.shared_policy.min_cell
            told = _cox_baseline.opened_baseline(run, rows, local, beta, at, enough, is_efron=is_efron)
            baseline = _baseline_at(*told, local, at, strata)
        c_index, c_variance = np.nan, np.nan
        if concordance:
            # Summed in the same order at every site, so that equal rows have equal scores.
            score = sum((column * b for column, b in zip(rows.z.T, beta, strict=True)), np.zeros(len(X)))
            marks = entry is not None or strata is not None
            c_index, c_variance = _concordance.harrell(run, local, score, marks=marks, cluster=clusters)
        return CoxResult(
            **run.finish(),
            formula=part.coding.formula.text,
            duration=duration,
            event=event,
            strata=strata,
            ties=ties,
            robust=robust,
            params=pd.Series(beta / frame.unit, index=list(names), name="coef"),
            variances=found.variances / frame.unit**2,
            covariance=None if found.matrix is None else found.matrix / np.outer(frame.unit, frame.unit),
            nobs=local.nobs,
            n_missing=local.n_missing,
            n_events=local.n_events,
            n_clusters=n_clusters,
            steps=steps,
            llf=found.loglik,
            llnull=found.null,
            ph_test=None if tests is None else _tests(tests, names),
            concordance=c_index,
            concordance_std_err=float(np.sqrt(c_variance)),
            baseline=baseline,
            reference=pd.Series(frame.centre, index=list(names), name="reference"),
            coding=part.coding,
        )


def _check_ties(ties: Ties) -> None:
    if ties not in get_args(Ties):
        raise DataError(f"ties must be one of {', '.join(get_args(Ties))}, not {ties!r}")


def _refuse_for_linked(**asked: bool) -> None:
    """Refuse options that linked columns do not have."""
    given = [name for name, is_given in asked.items() if is_given]
    if given:
        raise DataError(f"models of linked columns have no {', '.join(given)}: leave it out")


def _newton(
    run: Analysis,
    names: tuple[str, ...],
    model: OpenModel | SharedModel,
    first: Array | None,
) -> tuple[Array, int]:
    """Return the estimates and the number of steps; a first one may be known, good or not."""
    steps, tries = count(), count()
    if first is not None:
        next(steps)
        try:
            return _steps(run, names, model, steps, tries, first)
        except EstimationError:
            pass  # all begins again without it
    return _steps(run, names, model, steps, tries, None)


def _steps(
    run: Analysis,
    names: tuple[str, ...],
    model: OpenModel | SharedModel,
    steps: Iterator[int],
    tries: Iterator[int],
    first: Array | None,
) -> tuple[Array, int]:
    """Take steps from 0 until one is small, or, if the first one is known, none becomes much smaller.

    A step is halved while it would take some site's weights out of the range of numbers. One that is
    not Newton's is taken only if it is small.
    """
    beta, last = np.zeros(len(names)), np.inf
    step = beta if first is None else first
    for number in range(_MOST_STEPS):
        if first is None or number:
            part = next(steps)
            step = model.step(beta, part)
            size = float(np.abs(model.spread * step).max())
            if model.is_newton:
                if size < model.tolerance:
                    return beta + step, part + 1
                if first is not None and size > last / 2:
                    break
                last = size
            elif size > _NEAR:
                continue
        for _ in range(_MOST_HALVES):
            many = run.sum("predictors", model.ranges(beta + step), part=next(tries))
            if model.is_within(many):
                break
            step = step / 2
        else:
            break
        beta = beta + step
    raise EstimationError(
        f"the estimates do not converge: {names[int(np.argmax(np.abs(step)))]!r} may separate events from "
        "other rows, so that its estimate grows without bound, or be extreme in some row; leave it out, "
        "merge rare levels, or transform it"
    )


# --- Around the estimates -----------------------------------------------------------------------------


def _proportionality(
    run: Analysis, model: OpenModel | SharedModel, transform: Transform, times: Times, cells: Cells
) -> Array:
    """Return the statistics of the test that effects do not change with a function of time."""
    if len(np.unique(cells.position)) < 2:
        raise EstimationError("all events are at the same time: proportional hazards cannot be tested")
    if transform == "km" and isinstance(model, SharedModel):
        return model.proportionality(_cox_km.on_shares(run, times, cells))
    time = times.grid.times(cells.position)
    g = _cox_km.opened(run, times, cells) if transform == "km" else time
    g = np.repeat(g, cells.events)
    if transform == "rank":
        g = stats.rankdata(g)
    elif transform == "log":
        if not (time > 0).all():
            raise EstimationError("ph_test='log' takes logarithms of event times, and one is 0: use 'rank'")
        g = np.log(g)
    # Centred and scaled: neither changes the test.
    g = g - g.mean()
    return model.proportionality((g / np.abs(g).max())[np.cumsum(cells.events) - 1])


def _tests(statistics: Array, names: tuple[str, ...]) -> pd.DataFrame:
    df = np.append(np.ones(len(names), np.int64), len(names))
    index = pd.Index([*names, "GLOBAL"], name="term")
    pvalues = stats.chi2.sf(statistics, df)
    return pd.DataFrame({"statistic": statistics, "df": df, "pvalue": pvalues}, index=index)


def _without_event(run: Analysis, times: Times, cells: Cells) -> Codes:
    """Return the strata that have rows and no event; declared levels may have neither."""
    silent = np.flatnonzero(np.diff(cells.edges) == 0)
    if not len(silent):
        return silent
    rows = np.bincount(times.cell, minlength=len(times.n_rows))[silent]
    return silent[run.sum("strata without an event", np.minimum(rows, 1).astype(np.int64)) > 0]


def _baseline(hazards: Array, times: Times, cells: Cells, silent: Codes, strata: str | None) -> pd.DataFrame:
    """Return the cumulative baseline hazard by stratum and time, of what each cell adds to it.

    Silent strata are those without an event, of which it is 0.
    """
    before = np.concatenate([[0.0], np.cumsum(hazards)])
    cumulative = before[1:] - before[cells.edges[cells.stratum]]
    stratum = np.concatenate([cells.stratum, silent])
    position = np.concatenate([cells.position, np.full_like(silent, cells.position.min())])
    order = np.argsort(stratum, kind="stable")
    cumulative = np.concatenate([cumulative, np.zeros(len(silent))])[order]
    return _hazard_table(cumulative, times, stratum[order], position[order], strata)


def _baseline_at(hazard: Array, at_risk: Array, times: Times, at: Codes, strata: str | None) -> pd.DataFrame:
    """Return the cumulative baseline hazard by stratum and declared time, ``(strata, times)``."""
    stratum, which = (index.ravel() for index in np.indices(hazard.shape))
    frame = _hazard_table(hazard.ravel(), times, stratum, at[which], strata)
    return frame.assign(at_risk=pd.array(at_risk.ravel()).astype("Int64"))


def _hazard_table(
    hazard: Array, times: Times, stratum: Codes, position: Codes, strata: str | None
) -> pd.DataFrame:
    time = pd.Index(times.grid.times(position), name="time")
    frame = pd.DataFrame({"cumulative_hazard": hazard, "survival": np.exp(-hazard)}, index=time)
    if strata is None:
        return frame
    levels = pd.Index(np.array(times.strata, dtype=object)[stratum], name=strata)
    return frame.set_index(levels, append=True).swaplevel()
