"""Logistic and Poisson regression on linked columns, by Newton's method on shares.

With coefficients that all know, each site has its own part of every patient's linear predictor; their sum,
the means, the residuals and the weights are on shares. Score and information are matrix products of these,
the step is solved for on shares, and what is opened is the coefficients after it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy

from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.regression import _equations
from fedstats.regression._families import family_of, link_of
from fedstats.regression._glm_results import FittedModel, GLMResult
from fedstats.vertical import joined, model
from fedstats.vertical.joined import LARGEST, ROWS
from fedstats.vertical.model import PUBLISHED, Model
from protocols import functions
from protocols.compare import maximum, minimum, negative
from protocols.floating import floating
from protocols.long import LongArray, concatenate, lengthen
from protocols.secret import SecretArray, matmul, select, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.regression._equations import Inverse
    from fedstats.vertical.cohort import VerticalCohort
    from protocols.engine import Engine

GLM = Declaration(
    "vertical.glm",
    result={
        "rows": ROWS,
        "response": "the sum of the response over the patients that count",
        "coefficients": "the estimates after each iteration, in the frame of the columns",
        "means": "whether a mean is beyond what can be computed",
        "fit": "log-likelihood and deviance, of the model and of that of a constant",
        "variances": "of the estimates",
    },
    published=PUBLISHED,
)

#: Largest magnitude of a site's part of a linear predictor, and fractional bits.
_PART, _DIGITS = 200.0, 30
#: A step that moves no coefficient further, in its column's frame, is the last.
_CLOSE = 1e-6


class Family(ABC):
    """What a family of distributions with its canonical link has of its own."""

    name: ClassVar[str]
    #: Largest magnitude of linear predictors of which the mean is computed, and whether it is one where no
    #: mean differs from that of any beyond; the largest response.
    most: ClassVar[float]
    saturates: ClassVar[bool]
    response: ClassVar[int]

    @abstractmethod
    def check(self, y: Array) -> None:
        """Raise DataError if a response cannot be of the family."""

    @abstractmethod
    def means(self, eta: SecretArray) -> SecretArray:
        """Return the means."""

    @abstractmethod
    def variance(self, mu: SecretArray) -> SecretArray:
        """Return the variance of each patient's response."""

    @abstractmethod
    def cumulant(self, eta: SecretArray, mu: SecretArray) -> SecretArray:
        """Return b(η), so that yη − b(η) is the log-likelihood but for what y alone makes."""

    @abstractmethod
    def of_response(self, y: Array) -> Array:
        """Return what y alone adds to the log-likelihood, and that of a model that fits y: ``(2, rows)``."""

    @abstractmethod
    def null(self, mean: float) -> tuple[float, float]:
        """Return η and b(η) of the model of a constant."""


class _Binomial(Family):
    name, most, saturates, response = "binomial", 25.0, True, 1

    def check(self, y: Array) -> None:
        if not np.isin(y, (0.0, 1.0)).all():
            raise DataError("the response of a logistic regression of linked columns is 0 or 1")

    def means(self, eta: SecretArray) -> SecretArray:
        return functions.logistic(eta)

    def variance(self, mu: SecretArray) -> SecretArray:
        return mu - (mu * mu).rescale(mu.format.fraction).assume(1.01)

    def cumulant(self, eta: SecretArray, mu: SecretArray) -> SecretArray:
        below = negative(eta)
        larger = select(below, 1 - mu, mu).assume(1.01)  # log(1 + e^η) = max(η, 0) − log(larger mean)
        digits = eta.format.fraction
        return select(below, 0, eta) - functions.log(larger).rescale(digits)

    def of_response(self, y: Array) -> Array:
        return np.zeros((2, len(y)))

    def null(self, mean: float) -> tuple[float, float]:
        return math.log(mean / (1 - mean)), -math.log(1 - mean)


class _Poisson(Family):
    name, most, saturates, response = "poisson", 9.0, False, 1 << 13

    def check(self, y: Array) -> None:
        if not ((y >= 0) & (y == np.rint(y)) & (y <= self.response)).all():
            raise DataError(
                "the response of a Poisson regression of linked columns is a whole number from 0 to "
                f"{self.response:,}"
            )

    def means(self, eta: SecretArray) -> SecretArray:
        return functions.exp(eta)

    def variance(self, mu: SecretArray) -> SecretArray:
        return mu

    def cumulant(self, eta: SecretArray, mu: SecretArray) -> SecretArray:
        return mu.rescale(eta.format.fraction)

    def of_response(self, y: Array) -> Array:
        return np.stack([-gammaln(y + 1), xlogy(y, y) - y - gammaln(y + 1)])

    def null(self, mean: float) -> tuple[float, float]:
        return math.log(mean), mean


FAMILIES: dict[str, Family] = {its.name: its for its in (_Binomial(), _Poisson())}


def glm(
    formula: str,
    cohort: VerticalCohort,
    family: str,
    link: str | None,
    missing: str,
    maxiter: int,
    disclose: Disclose,
) -> GLMResult:
    """Fit a logistic or Poisson regression to linked columns; see `fedstats.glm`.

    Raises
    ------
    DataError
        The family is another, or the formula cannot be used.
    EstimationError
        The design is singular, the response does not vary, or the iterations do not converge: the terms may
        separate it.

    Notes
    -----
    **Leakage.** The coefficients at each iteration, and what the result holds. A coalition of t < n/2 sites,
    or of n − 1 with a dishonest majority, learns nothing more.

    **Cost.** Some 150 rounds for three parties and each iteration, and 4 kB for each patient; where all other
    sites may collude, as for two alone, some 180 kB.
    """
    if family not in FAMILIES or link not in (None, link_of(family_of(family), None).name):
        raise DataError(
            f"linked columns have the families {', '.join(FAMILIES)} with their canonical links, and not "
            f"family={family!r}, link={link!r}"
        )
    its = FAMILIES[family]
    with cohort.federation.analysis(GLM, disclose) as run:
        part = model.agree_model(
            run, cohort, formula, f"{family=}, {missing=}, {maxiter=}", its.check, frame_response=False
        )
        return _finished(run, cohort, part, its, fitted(run, cohort, part, its, maxiter))


@dataclass(frozen=True, eq=False, repr=False)
class Fitted:
    """A model at its maximum.

    Attributes
    ----------
    data, found
        What it is of, and where the maximum is.
    n, total
        How many patients count, and the sum of their responses.
    """

    data: Data
    found: Maximum
    n: int
    total: int


def fitted(
    run: Analysis,
    cohort: VerticalCohort,
    part: Model,
    family: Family,
    maxiter: int,
    *,
    among: NDArray[np.bool_] | None = None,
    close: float = _CLOSE,
) -> Fitted:
    """Share what the model is of, and maximise its likelihood; for `among` see `joined.counting`.

    A step that moves no coefficient further than `close`, in its column's frame, is the last.
    """
    with run.on_shares() as engine:
        data = _share(engine, cohort, part, family, among)
    n = joined.open_number(run, data.member.sum(), len(part.names))
    with run.on_shares():
        total = run.reveal({"response": (data.y * data.member).sum().reshape(1)})["response"][0]
    mean = total / n
    if not 0 < mean < (1 if family.name == "binomial" else math.inf):
        raise EstimationError(f"the response {part.response_name!r} is the same for all patients")
    return Fitted(
        data, _maximise(run, cohort, part, family, data, family.null(mean)[0], maxiter, close), n, int(total)
    )


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """What the iterations need, on shares: see `model.Terms`; and what y alone makes, shape (2, patients)."""

    Z: SecretArray
    y: SecretArray
    member: SecretArray
    of_response: SecretArray


@dataclass(frozen=True, eq=False, repr=False)
class Maximum:
    """Where the iterations end; but for `params`, at the coefficients before the last step.

    Attributes
    ----------
    params
        The coefficients, in the frame of the columns.
    step
        The last step towards them, shape ``(terms, 1)``.
    inverse
        Of the information.
    residuals, weights
        y − μ and the variance of y, of patients that count.
    weighted
        The terms times the weights, shape ``(terms, patients)``.
    iterations
        How many there were.
    """

    params: Array
    step: LongArray
    inverse: Inverse
    residuals: SecretArray
    weights: SecretArray
    weighted: SecretArray
    iterations: int


def _share(
    engine: Engine,
    cohort: VerticalCohort,
    part: Model,
    family: Family,
    among: NDArray[np.bool_] | None,
) -> Data:
    variables = part.variables
    last = len(variables.names) - 1
    # As many bits as are left for weights, in the sums over patients of products of terms and these.
    even = (_room(engine, cohort, family) - math.ceil(math.log2(LARGEST))) // 2
    fraction = min(joined.fraction_of_products(engine, cohort), even)
    values = joined.spread(engine, cohort, variables[range(last)], bound=LARGEST, fraction=fraction)
    counting = joined.counting(engine, cohort, variables, [range(last + 1)], among)
    response = variables[[last]]
    y = joined.spread(engine, cohort, response, bound=family.response, fraction=0)
    alone = variables[[last, last]]
    if 0 in response.mine:
        own = family.of_response(np.nan_to_num(response.mine[0]))
        alone = joined.with_values(alone, dict(enumerate(own)))
    bound = 2.0**18
    of_response = joined.spread(engine, cohort, alone, bound=bound, fraction=_DIGITS)
    kept = joined.masked(values, counting)
    return Data(
        model.with_intercept(counting, kept), y[0], counting[0], (of_response * counting).assume(bound)
    )


def _room(engine: Engine, cohort: VerticalCohort, family: Family) -> int:
    """Return the fractional bits of products of terms and residuals, or variances, summed over patients."""
    largest = LARGEST * 1.01 * max(family.response, 2) * max(cohort.size, 1)
    return engine.room - 2 - math.ceil(math.log2(largest))


def _predictors(
    engine: Engine, cohort: VerticalCohort, part: Model, family: Family, beta: Array
) -> tuple[SecretArray, SecretArray]:
    """Return linear predictors within what means are computed of, and which are beyond. Some 25 rounds."""
    last = len(part.variables.names) - 1
    terms = [beta[1 + place] * np.nan_to_num(z) for place, z in part.variables.mine.items() if place != last]
    parts = [np.clip(sum(terms, np.zeros(len(cohort))), -_PART, _PART)] if cohort.is_holder else []
    own = joined.placed(cohort, parts)
    counts = [int(site in cohort.holders) for site in cohort.federation.sites]
    linear = joined.shared_by_site(engine, cohort, own, counts, bound=_PART, fraction=_DIGITS)
    eta = stack([its[0] for its in linear if len(its)]).sum(axis=0) + float(np.clip(beta[0], -_PART, _PART))
    beyond = negative(family.most - eta) + negative(eta + family.most)
    return maximum(minimum(eta, family.most), -family.most).assume(family.most), beyond


def _maximise(
    run: Analysis,
    cohort: VerticalCohort,
    part: Model,
    family: Family,
    data: Data,
    start: float,
    maxiter: int,
    close: float,
) -> Maximum:
    p = len(part.names)
    beta = np.zeros(p)
    beta[0] = start
    for iteration in range(1, maxiter + 1):
        with run.on_shares() as engine:
            eta, _ = _predictors(engine, cohort, part, family, beta)
            mu = family.means(eta)
            # What is left for a factor beside the terms, and beside products of two, in sums over patients.
            left = _room(engine, cohort, family) - data.Z.format.fraction
            digits = left - math.ceil(math.log2(LARGEST))
            short = mu.rescale(min(left, mu.format.fraction)).assume(1.01 * family.response)
            residuals = ((data.y - short) * data.member).assume(1.01 * family.response)
            score = matmul(data.Z, residuals.reshape(-1, 1))
            coarse = family.variance(short.rescale(min(digits, short.format.fraction)))
            # Where they saturate they are never less than what rounding makes of them, or the information
            # might not be positive definite.
            least = 2.0 ** (4 - digits) if family.saturates else 0.0
            weights = ((coarse + least) * data.member).assume(1.01 * family.response)
            weighted = (data.Z * weights).assume(LARGEST * 1.01 * family.response).rescale(digits)
            information = lengthen(matmul(weighted, data.Z.T))
            inverse = _equations.inverted(information, part.names, part.hint)
            step = inverse.times(lengthen(score))
            secret = _equations.coefficients(step[:, 0] + beta)
        opened = run.reveal({"coefficients": secret}, part=iteration)["coefficients"]
        moved, beta = float(np.abs(opened - beta).max()), opened
        if moved < close:
            return Maximum(beta, step, inverse, residuals, weights, weighted, iteration)
        if np.abs(beta).max() > _PART:
            break
    raise EstimationError(
        f"the iterations do not converge ({maxiter} at most): the terms may separate the response; leave "
        "terms out, or merge rare levels"
    )


def _finished(
    run: Analysis,
    cohort: VerticalCohort,
    part: Model,
    family: Family,
    at: Fitted,
) -> GLMResult:
    data, found, n, mean = at.data, at.found, at.n, at.total / at.n
    unframing = part.unframing
    p = len(part.names)
    with run.on_shares() as engine:
        eta, beyond = _predictors(engine, cohort, part, family, found.params)
        mu = family.means(eta)
        rows = data.y * eta - family.cumulant(eta, mu)
        bound = family.response * 25.0 + 2.0**14
        of_fit = lengthen((rows * data.member).assume(bound).sum().reshape(1))
        alone = lengthen(data.of_response.sum(axis=1))
        at_null, of_null = family.null(mean)
        null = n * (mean * at_null - of_null)
        both = concatenate([of_fit + alone[:1], alone[:1] + null])  # log-likelihoods
        fit = floating(concatenate([both, (alone[1:] - both) * 2]))
        variances = floating(found.inverse.sandwich(L=unframing)[np.arange(p), np.arange(p)])
        too_large = negative(-(beyond * data.member).sum().reshape(1))
    opened = run.reveal({"means": too_large, "fit": fit, "variances": variances})
    if opened["means"].any() and not family.saturates:
        raise EstimationError(
            "the means of some patients are below 1e-4 or beyond 8,000, for which linked columns have no "
            "precision: leave out terms, or such patients"
        )
    terms = list(part.names)
    llf, llnull, deviance, null_deviance = (float(its) for its in opened["fit"])
    its_family = family_of(family.name)
    return GLMResult(
        **run.finish(),
        formula=part.formula.text,
        response=part.response_name,
        cov_type="nonrobust",
        params=pd.Series((unframing @ found.params) / part.units, index=terms, name="coef"),
        bse=pd.Series(np.sqrt(opened["variances"]) / part.units, index=terms, name="std err"),
        nobs=n,
        n_missing=cohort.sizes.union - n,
        covariance=None,
        llf=llf,
        llnull=llnull,
        iterations=found.iterations,
        family=family.name,
        link=link_of(its_family, None).name,
        scale=1.0,
        deviance=deviance,
        null_deviance=null_deviance,
        pearson_chi2=float("nan"),
        model=FittedModel(its_family, link_of(its_family, None), part.coding, {}),
    )
