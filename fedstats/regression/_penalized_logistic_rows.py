"""Penalised logistic regression with sites held out: rows are shared, and nothing but the result is opened.

A site cannot be told the coefficients of fits to all sites but one (`_penalized_logistic_shares`), and so
cannot make its part of the sums of the next step. Instead all sites share their rows, and means, weights and
sums are computed on shares, of every row for every fit. Newton's steps are taken as they are: no likelihood
is compared.

Rows are padded with rows of zeros, whose number nobody else knows; a column of ones says which are none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats import _ranks
from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.regression import _exchange
from fedstats.regression._exchange import MOST, Problems, States
from fedstats.regression._penalized_logistic_shares import CURVE, Prepared, prepare
from fedstats.regression._penalized_shares import ABSOLUTE, BY_SITE, open_curve
from fedstats.regression._penalty import Fitted, Penalty
from protocols.compare import is_zero, maximum, minimum, negative
from protocols.fixed import fraction_for
from protocols.functions import exp, log, logistic
from protocols.inputs import share_rows
from protocols.secret import SecretArray, concatenate, matmul, multiply, public, select, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What is opened and published, besides the largest alpha where there is a grid to be found.
RESULT: Mapping[str, str] = {
    **_exchange.RESULT,
    **CURVE,
    **BY_SITE,
    **ABSOLUTE,
    "outcomes": "whether both outcomes occur outside of each fold (one bit)",
    "converged": "after each step, whether coefficients of any fit still change (one bit)",
    "coefficients": "the chosen coefficients",
}
PUBLISHED: Mapping[str, str] = {"lengths": _ranks.PUBLISHED["rows"]}

#: Coefficients of standardised columns have converged if a step changes them by less than this.
_TOLERANCE, _STEPS = 2.0**-17, 30
#: Linear predictors count as this where they are larger: probabilities are then off by less than 2^−34.
_REACH = 24.0
#: Mean squares of framed columns, and reciprocals of their standard deviations, are below these.
_SQUARE, _SCALE = 4.4, 2.1


def fit(
    run: Analysis, Z: Array, y: Array, fold: NDArray[np.intp], folds: int, n: int, penalty: Penalty
) -> Fitted:
    """Fit for every alpha, to all rows and without each site; see `_penalized_logistic.fit`.

    Notes
    -----
    **Cost.** Some 200 rounds a step for three parties; about 2 kB for each row and fit in each step.
    """
    lengths = _ranks.agree_lengths(run, len(Z), label="lengths")
    X = np.column_stack([np.ones(len(Z)), Z])
    with run.on_shares() as engine:
        its = prepare(run, engine, X, y, fold, folds, n, penalty, by_site=True)
        padding = np.zeros((lengths[engine.party.index] - len(X), X.shape[1] + 1))
        most = math.sqrt(_SQUARE * n)
        bound = _SCALE * (most + 1)
        fraction = fraction_for(engine, math.sqrt(1.1 * bound))
        own = np.concatenate([np.column_stack([X, y]), padding])
        shared = share_rows(engine, own, lengths, bound=most, fraction=fraction)
        standard = matmul(shared[:, :-1], its.W.rescale(fraction), bound=bound)
        site = np.repeat(np.arange(folds), lengths)
        rows = _Rows(standard, shared[:, -1].assume(1), shared[:, 0].assume(1), site, n, bound)
        b, states = rows.newton(run, its)
        m = len(its.alphas)
        curve = open_curve(run, its.alphas, rows.errors(b[: folds * m], m), its.sizes, 1.0)
        at = folds * m + penalty.choose(curve)
        active = np.ones(X.shape[1], bool)
        if its.l1.any():
            active[1:] = run.reveal({"signs": states.sign[at, 1:]})["signs"] != 0
        reach = MOST * math.sqrt(X.shape[1]) * (1 + 1.6 * math.sqrt(X.shape[1]))
        beta = matmul(b[at : at + 1], its.W.T, bound=reach)[0]
        opened = run.reveal({"coefficients": beta[np.flatnonzero(active)]})["coefficients"]
    coefficients = np.zeros((1, X.shape[1]))
    coefficients[0, active] = opened
    return Fitted(its.alphas, coefficients, at - folds * m, curve)


@dataclass(frozen=True, eq=False, repr=False)
class _Rows:
    """The rows of all sites, one site's after the other's.

    Attributes
    ----------
    X, y, real
        Standardised columns, 1 first, outcomes, and whether it is a row at all.
    site
        Whose row it is, public.
    n
        Real rows.
    largest
        What no entry of X exceeds.
    """

    X: SecretArray
    y: SecretArray
    real: SecretArray
    site: NDArray[np.intp]
    n: int
    largest: float

    def newton(self, run: Analysis, its: Prepared) -> tuple[SecretArray, States]:
        """Return coefficients of the standardised columns, shape ``(fits, q)``, and their states."""
        engine, q, parts = self.X.engine, self.X.shape[1], itertools.count()
        m = len(its.alphas)
        fits = np.repeat(np.arange(len(its.factor)), m)
        used = (self.site[:, np.newaxis] != fits).astype(np.int64)
        weights = np.append(0.0, np.ones(q - 1))
        l1, l2 = (part[:, np.newaxis] * weights for part in (its.l1, its.l2))
        largest = 0.26 * q * its.most
        fraction = fraction_for(engine, math.sqrt(1.1 * max(self.n, largest * MOST * math.sqrt(q))))
        upper = np.triu_indices(q)
        positions = np.zeros((q, q), np.intp)
        positions[upper] = np.arange(len(upper[0]))
        X = self.X.rescale(min(fraction, self.X.format.fraction))
        entries = X.rescale(min(fraction, fraction_for(engine, 1.1 * self.largest)))
        pairs = multiply(entries[:, upper[0]], entries[:, upper[1]])
        factor = its.factor[fits].rescale(fraction).reshape(-1, 1)
        b = public(engine, np.zeros((len(fits), q)), fraction).assume(MOST)
        states: States | None = None
        for step in range(_STEPS):
            mu = logistic(self.predictors(b)).rescale(fraction)
            weight = multiply(mu, 1 - mu).assume(0.251) * used
            residual = (self.y.rescale(fraction).reshape(-1, 1) - mu).assume(1.01) * used
            # Mean squares of columns are 1.
            H = matmul(weight.T, pairs, bound=0.26 * self.n)
            gradient = matmul(residual.T, X, bound=1.01 * self.n)
            means = multiply(concatenate([H, gradient], axis=1) * (1 / self.n), factor)
            A = means[:, np.maximum(positions, positions.T)].assume(0.26 * its.most)
            product = matmul(A, b.reshape(*b.shape, 1), bound=largest * MOST * math.sqrt(q))
            c = product.reshape(b.shape) + means[:, -q:].assume(1.02 * its.most)
            x, states = _exchange.minimise(run, Problems(A, c, l1, l2, largest), parts, states)
            x = x.rescale(fraction).assume(MOST)
            moved = negative(stack([_TOLERANCE - (x - b), _TOLERANCE + (x - b)])).sum()
            b = x
            if run.reveal({"converged": is_zero(moved)}, part=step)["converged"]:
                return b, states
        raise EstimationError(f"fits did not converge in {_STEPS} steps: use larger alphas")

    def predictors(self, b: SecretArray) -> SecretArray:
        """Return linear predictors, shape ``(rows, fits)``, cut at `_REACH`."""
        bound = self.largest * MOST * b.shape[1]
        fraction = fraction_for(b.engine, math.sqrt(1.1 * bound))
        X, b = (part.rescale(min(fraction, part.format.fraction)) for part in (self.X, b))
        return minimum(maximum(matmul(X, b.T, bound=bound), -_REACH), _REACH).assume(_REACH)

    def errors(self, b: SecretArray, m: int) -> SecretArray:
        """Return the deviance of each site's rows in the fits without it, by n; shape ``(sites, m)``."""
        sites: Sequence[int] = range(len(b) // m)
        which = self.site[:, np.newaxis] * m + np.arange(m)
        eta = self.predictors(b)[np.arange(len(self.site))[:, np.newaxis], which]
        size = select(negative(eta), -eta, eta).assume(_REACH)
        fraction = eta.format.fraction
        # log(1 + e^η) is the positive part of η and log(1 + e^−|η|).
        rest = log((1 + exp(-size)).assume(2.01)).rescale(fraction)
        case, real = (part.rescale(fraction).reshape(-1, 1) for part in (self.y, self.real))
        loss = ((eta + size) / 2).rescale(fraction) + rest - multiply(case, eta)
        own = multiply(real, loss) * (2 / self.n)
        return stack([own[np.flatnonzero(self.site == site)].sum(axis=0) for site in sites])
