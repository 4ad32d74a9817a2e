"""Proportional hazards on linked columns: times at one site, covariates at any, by Newton's method on shares.

Which patients are at risk when, only the site with the times knows; `timeline` brings what is shared of all
patients into its order, and `hazards` evaluates the likelihood there. What is opened is each step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fedstats._counts import open_counts
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError, ProtocolError
from fedstats.expressions import Array
from fedstats.regression._equations import Recent, coefficients
from fedstats.survival._cox_results import CoxResult
from fedstats.vertical import joined, model
from fedstats.vertical.hazards import COEFFICIENTS, DIGITS, FARTHEST, Evaluation, Likelihood
from fedstats.vertical.joined import ROWS, Variables
from fedstats.vertical.model import Model
from fedstats.vertical.timeline import MOST_BITS, Columns, Marks, Shape, Timeline
from protocols.floating import SecretFloat, floating
from protocols.secret import SecretArray, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.vertical.cohort import VerticalCohort

COXPH = Declaration(
    "vertical.coxph",
    result={
        "rows": ROWS,
        "events": "how many events the patients that count have",
        "constant": "of each covariate, whether it does not vary among those at risk at an event",
        "steps": "each step towards the estimates",
        "predictors": "whether a linear predictor is beyond the range of weights, where one could be",
        "log-likelihood": "without covariates, and at the estimates",
        "variances": "of the estimates",
    },
    published={
        **model.PUBLISHED,
        "times": "by the site that has the times, how many strata there are, and to a power of two how many "
        "of its events are at one time at most; of each covariate, by the site that has it, the power of two "
        "of its unit that no value exceeds",
    },
)

#: A step is small if no coefficient changes by this much, in units near the standard deviations of the
#: covariates; or by that much, if it is no smaller than half of the one before: rounding errors are left.
CLOSE, ROUNDING = 3e-7, 1e-4
#: Steps of Newton's method, and how often they are halved in all.
MOST_STEPS, MOST_HALVES = 30, 10
#: A covariate is constant if its mean variance at an event is less; its largest magnitude is 1.
CONSTANT = 2.0**-24


def coxph(
    formula: str,
    cohort: VerticalCohort,
    columns: Columns,
    ties: str,
    check_options: Callable[[], None],
    disclose: Disclose,
) -> CoxResult:
    """Fit a proportional hazards model to linked columns; see `fedstats.coxph`.

    Parameters
    ----------
    formula, cohort, ties, disclose
        As there.
    columns
        Those of times, events and strata.
    check_options
        Checks all others. May raise DataError.

    Notes
    -----
    **Leakage.** How many patients count and how many of them have an event, but not when; each step towards
    the estimates, and what the result holds. Of the site that has the times, how many of its events are at
    one time at most, to a power of two, and how many strata there are; of each column, by the site that has
    it, the coarse frame and extent. A coalition of t < n/2 sites, or of n − 1 with a dishonest majority,
    learns nothing more.

    **Cost.** Some 130 rounds for three parties, and 80 a step: two more for each bit b of the number of tied
    events, four for strata, and 22 where linear predictors could be beyond what weights are computed of: 12
    from that of a patient near the means, and with late entry some 6, or 4 for ten parties. Each party sends
    1.6 kB a step for each row of the site that has the times, and 160 + 64·b bytes for each covariate; twice
    that with late entry.
    """
    with cohort.federation.analysis(COXPH, disclose) as run:
        own: list[Marks] = []

        def check() -> None:
            check_options()
            if columns.owner(cohort) == cohort.federation.site:
                own.append(columns.read(cohort))

        part = model.agree_model(
            run, cohort, formula, f"{columns}, {ties=}", needs_response=False, check=check
        )
        names = part.names
        holder = columns.owner(cohort)
        cohort = cohort.listed_by(holder)
        shape, extents = _agree_shape(run, cohort, columns, part.variables, holder, own)
        n, likelihood = _share(run, cohort, part, extents, holder, shape, own, is_efron=ties == "efron")
        fit = _Newton(run, likelihood, part, 1 / extents)
        beta = fit.maximise()
        variances, (null, loglik) = fit.finish()
        frame = part.variables.frame
        unit = frame.unit * extents
        return CoxResult(
            **run.finish(),
            formula=part.formula.text,
            duration=columns.duration,
            event=columns.event,
            strata=columns.strata,
            ties=ties,
            robust=False,
            params=pd.Series(beta / unit, index=list(names), name="coef"),
            variances=variances / unit**2,
            covariance=None,
            nobs=n,
            n_missing=cohort.sizes.common - n,
            n_events=likelihood.events,
            steps=fit.steps,
            llf=loglik,
            llnull=null,
            ph_test=None,
            concordance=math.nan,
            concordance_std_err=math.nan,
            baseline=None,
            reference=pd.Series(frame.centre, index=list(names), name="reference"),
            coding=part.coding,
        )


def _agree_shape(
    run: Analysis,
    cohort: VerticalCohort,
    columns: Columns,
    variables: Variables,
    holder: str,
    own: Sequence[Marks],
) -> tuple[Shape, Array]:
    """Return what all know of the timeline, and of each variable the power of two that no value exceeds."""
    rows = cohort.sizes.each[cohort.federation.sites.index(holder)]

    def local() -> Mapping[str, Any]:
        run.joins_rows()
        mine = [np.abs(np.nan_to_num(variables.mine[place])) for place in sorted(variables.mine)]
        told: dict[str, Any] = {"extents": [math.frexp(z.max(initial=0.0))[1] for z in mine]}
        for marks in own:
            shape = marks.shape
            if (shape.strata - 1) * shape.marks > MOST_BITS:
                raise DataError(f"column {columns.strata!r} has {shape.strata} strata: merge some")
            told |= {"bits": shape.bits, "strata": shape.strata}
        return told

    told = run.agree("times", local)
    octaves = np.zeros(len(variables.names), np.int64)
    for site, its in told.items():
        places = [place for place, owner in enumerate(variables.owners) if owner == site]
        match its.get("extents"):
            case list(found) if len(found) == len(places) and all(
                type(one) is int and abs(one) <= 64 for one in found
            ):
                octaves[places] = found
            case _:
                raise ProtocolError(f"site {site} tells no extents: it runs a damaged version", site=site)
    match told[holder]:
        case {"bits": int(bits), "strata": int(strata)} if (
            0 <= bits <= rows.bit_length() and 0 < strata <= rows
        ):
            shape = Shape(rows, columns.entry is not None, bits, strata)
            return shape, np.ldexp(1.0, octaves)
    raise ProtocolError(f"site {holder} does not tell of its times: it runs a damaged version", site=holder)


def _share(
    run: Analysis,
    cohort: VerticalCohort,
    part: Model,
    extents: Array,
    holder: str,
    shape: Shape,
    own: Sequence[Marks],
    *,
    is_efron: bool,
) -> tuple[int, Likelihood]:
    """Return how many patients count, and their likelihood."""
    variables, marks = part.variables, own[0] if own else None
    within = {place: z / extents[place] for place, z in variables.mine.items()}
    with run.on_shares() as engine:
        values = joined.spread(
            engine, cohort, joined.with_values(variables, within), bound=1.0, fraction=DIGITS
        )
        among = None if marks is None else marks.there
        member = joined.counting(engine, cohort, variables, [range(len(part.names))], among)[0]
        patients = member.sum()
    n = joined.open_number(run, patients, len(part.names))
    with run.on_shares() as engine:
        line = Timeline.of(engine, cohort, holder, shape, marks)
        member, *covariates = line.arranged([member, *(values[place] for place in range(len(values)))])
        likelihood = Likelihood(line, member, stack(covariates), is_efron=is_efron)
        happened = likelihood.event.sum().reshape(1)
    enough = run.federation.shared_policy.min_cell
    likelihood.events = int(open_counts(run, "events", happened, enough)[0])
    if not likelihood.events:
        raise EstimationError("no patient that counts has an event: nothing can be estimated")
    if likelihood.events < 0:
        raise EstimationError(f"fewer than {enough} of the patients that count (min_cell) have an event")
    if likelihood.largest <= 0:
        raise EstimationError(
            f"{likelihood.events} events with late entry leave no room for weights among "
            f"{len(run.sites)} sites: fit without entry, or have fewer sites take part"
        )
    return n, likelihood


class _Newton:
    """Newton's method: each step is opened, and nothing of the derivatives.

    Parameters
    ----------
    run
        The analysis.
    likelihood
        What is maximised.
    part
        The covariates.
    spread
        Near their standard deviations, in the units in which they are at most 1.
    """

    def __init__(self, run: Analysis, likelihood: Likelihood, part: Model, spread: Array) -> None:
        self._run, self._likelihood = run, likelihood
        self._names, self._hint, self._spread = part.names, part.hint, spread
        self._recent = Recent()
        self.steps = 0

    def maximise(self) -> Array:
        """Return the estimates."""
        beta = step = np.zeros(len(self._names))
        halves, last = 0, np.inf
        while self.steps < MOST_STEPS and halves < MOST_HALVES:
            try:
                found = None if np.abs(beta).sum() > FARTHEST else self._step(beta)
            except EstimationError:
                if self.steps > 1:  # the information was not singular at first, but vanishes
                    break
                raise
            if found is None:
                halves, step = halves + 1, step / 2
                beta = _rounded(beta - step)
                continue
            size = float(np.abs(self._spread * found).max())
            if size < CLOSE or last / 2 < size < ROUNDING:
                return beta + found
            step, last = found, size
            beta = _rounded(beta + step)
        # How often steps were halved tells this, and was opened.
        beyond = (
            f" with linear predictors within {self._likelihood.largest:.1f} of that of a patient near the "
            "means, as weights are computed of no others"
            if halves == MOST_HALVES
            else ""
        )
        raise EstimationError(
            f"the estimates do not converge{beyond}: {self._names[int(np.argmax(np.abs(step)))]!r} may "
            "separate events from other rows, so that its estimate grows without bound, or be extreme in "
            "some row; leave it out, merge rare levels, or transform it"
        )

    def _step(self, beta: Array) -> Array | None:
        """Open the step from β, and whether a linear predictor is out of range, which makes it None."""
        number, run = self.steps, self._run
        results: dict[str, SecretArray | SecretFloat] = {}
        self.steps += 1
        with run.on_shares():
            found = self._likelihood.evaluate(beta)
        if number == 0:
            self._null = found
            self._require_varying(found)
        with run.on_shares():
            inverse = self._recent.inverted(found.information, self._names, self._hint)
            results["steps"] = coefficients(inverse.times(found.score.reshape(-1, 1))[:, 0])
            if found.beyond is not None:
                results["predictors"] = found.beyond
        opened = run.reveal(results, part=number)
        if opened.get("predictors", np.zeros(1)).any():
            return None
        self._found, self._inverse = found, inverse
        return np.asarray(opened["steps"])

    def _require_varying(self, found: Evaluation) -> None:
        places = np.arange(len(self._names))
        with self._run.on_shares():
            flat = found.information[places, places] < CONSTANT * self._likelihood.events
        constant = self._run.reveal({"constant": flat})["constant"]
        if constant.any():
            flat_ones = [self._names[place] for place in np.flatnonzero(constant)]
            names = ", ".join(map(repr, flat_ones))
            raise EstimationError(
                f"{names} does not vary among the patients at risk at the times of events: leave it out"
                f"{self._hint(flat_ones[0])}"
            )

    def finish(self) -> tuple[Array, tuple[float, float]]:
        """Open variances, and the log-likelihoods without covariates and at the estimates."""
        places = np.arange(len(self._names))
        with self._run.on_shares():
            matrix = self._inverse.sandwich(L=np.eye(len(places)))
            logs = self._likelihood.logarithms(self._null, self._found)
            variances = floating(matrix[places, places])
        opened = self._run.reveal({"variances": variances, "log-likelihood": logs})
        null, loglik = opened["log-likelihood"].tolist()
        return np.asarray(opened["variances"]), (null, loglik)


def _rounded(beta: Array) -> Array:
    """Return coefficients as they are computed with."""
    return np.asarray(np.ldexp(np.rint(np.ldexp(beta, COEFFICIENTS)), -COEFFICIENTS))
