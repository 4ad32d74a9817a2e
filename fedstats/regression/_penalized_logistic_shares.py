"""Penalised logistic regression of which the coefficients are opened at each step, and nothing else.

As in `_penalized_logistic`, each of Newton's steps minimises the quadratic approximation of the loss with
the penalty as it is, for all folds and penalties at once. Gradients and matrices of second derivatives are
summed on shares, the approximations are minimised there (`_exchange`), and the sites learn where the next
ones are to be taken. (Steps along a gradient would give it away.) Of the objectives, by which steps that lead
too far are halved, they learn nothing.

These coefficients are of rows of all sites, whatever fold is left out. Of fits that leave a site out, they
would tell the gradient over the others, and by differences that of the site: `_penalized_logistic_rows` keeps
them secret.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.regression import _exchange
from fedstats.regression._exchange import MOST, Problems, States
from fedstats.regression._folds import products_by_fold
from fedstats.regression._penalized_shares import (
    LEAST_LEFT,
    open_curve,
    require_left,
    share_products,
    standardise,
)
from fedstats.regression._penalty import Fitted, Penalty
from protocols.compare import is_zero, negative
from protocols.divide import reciprocal
from protocols.engine import Engine
from protocols.fixed import fraction_for
from protocols.inputs import sum_shares
from protocols.secret import SecretArray, concatenate, inner, matmul, multiply, public, select, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What is opened always, where alphas are to be found, and where one is chosen.
STEPS: Mapping[str, str] = {
    **_exchange.RESULT,
    "outcomes": "whether both outcomes occur outside of each fold (one bit)",
    "steps": "for each fold left out and each alpha, the coefficients at each step",
}
GRID: Mapping[str, str] = {"largest alpha": "the smallest alpha that leaves no term"}
CURVE: Mapping[str, str] = {
    "errors": "for each alpha, the mean deviance of held-out rows, and its standard error over folds"
}

#: Coefficients in the frame of the columns have converged if a step changes them by less than this.
_TOLERANCE = 1e-5
_MOST_STEPS = 50
#: Mean squares of framed columns are below the first, and losses count as the second if they are larger.
_SQUARE, _LOSS = 4.4, 2.0**10
#: An objective may grow by this, for rounding; it has so many fractional bits, and errors so many.
_SLACK, _DIGITS, _EXACT = 2.0**-20, 28, 44


def fit(
    run: Analysis, Z: Array, y: Array, fold: NDArray[np.intp], folds: int, n: int, penalty: Penalty
) -> Fitted:
    """Fit for every alpha, to all rows and without each fold; see `_penalized_logistic.fit`.

    Notes
    -----
    **Cost.** Some 100 rounds a step for three parties, and 300.
    """
    X = np.column_stack([np.ones(len(Z)), Z])
    with run.on_shares() as engine:
        its = prepare(run, engine, X, y, fold, folds, n, penalty, by_site=False)
        alphas, factor = its.alphas, its.factor
        rows = np.concatenate([fold != np.arange(len(factor) - 1)[:, np.newaxis], np.ones((1, len(y)), bool)])
        fits = np.repeat(np.arange(len(factor)), len(alphas))
        beta = _Fits(
            X,
            y,
            n,
            rows[fits],
            its.W,
            factor[fits],
            its.most,
            its.l1,
            its.l2,
            fraction_for(engine, 2 * _SQUARE, terms=X.shape[1]),
        ).newton(run)
        beta = beta.reshape(len(factor), len(alphas), X.shape[1])
        curve, chosen = None, 0
        if folds > 1:
            held = [_losses(X[fold == k], y[fold == k], beta[k]).sum(axis=0) for k in range(folds)]
            error = sum_shares(engine, 2 / n * np.array(held), bound=_LOSS, fraction=_EXACT)
            curve = open_curve(run, alphas, error, its.sizes, 1.0)
            chosen = penalty.choose(curve)
    return Fitted(alphas, beta[-1], chosen, curve)


@dataclass(frozen=True, eq=False, repr=False)
class Prepared:
    """What fits have in common.

    Attributes
    ----------
    W
        From framed columns, 1 first, to standardised ones, shape ``(q, q)``.
    sizes
        Rows of each fold by all rows, shape ``(folds, 1)``.
    factor
        All rows by the rows that each fold leaves, and 1 at last; `most` is the largest one.
    alphas
        To choose from.
    l1, l2
        Penalties, first of all alphas without the first fold; shape ``(fits,)``.
    """

    W: SecretArray
    sizes: SecretArray
    factor: SecretArray
    most: float
    alphas: Array
    l1: Array
    l2: Array


def prepare(
    run: Analysis,
    engine: Engine,
    X: Array,
    y: Array,
    fold: NDArray[np.intp],
    folds: int,
    n: int,
    penalty: Penalty,
    *,
    by_site: bool,
) -> Prepared:
    """Standardise columns on shares, and find the alphas; for the parameters see `fit`."""
    least = LEAST_LEFT if by_site else 1 - 1 / folds - engine.n / n if folds > 1 else 1.0
    centred = np.column_stack([X, y - 0.5])
    products = share_products(engine, products_by_fold(centred, fold, folds) / n, by_site=False)
    left = (products.sum(axis=0) - products if folds > 1 else products)[:, 0]
    if by_site:
        require_left(run, left[:, 0].assume(1.001), least)
    _require_outcomes(run, left[:, 0], left[:, -1], n)
    columns = standardise(products)
    factor = public(engine, np.ones(1), products.format.fraction)
    if folds > 1:
        each = reciprocal(left[:, 0].assume(1.001), least=least * 0.999)
        factor = concatenate([each.rescale(products.format.fraction), factor])
    largest = 1.0
    if penalty.needs_largest:
        gradient = columns.products.sum(axis=0)[1:-1, -1].assume(1.0)
        largest = float(run.reveal({"largest alpha": abs(gradient).max()})["largest alpha"])
    alphas = penalty.grid(largest, X.shape[1] - 1)
    l1, l2 = (np.tile(part, len(factor)) for part in penalty.split(alphas, 1.0))
    most = 1.01 / least
    # Beyond what any gradient reaches, absolute values leave nothing in any case.
    l1 = np.minimum(l1, 1.1 * most)
    return Prepared(columns.matrix[:-1, :-1], products[:, :1, 0], factor.assume(most), most, alphas, l1, l2)


def _losses(X: Array, y: Array, beta: Array) -> Array:
    """Return minus the log-likelihood of each row, shape ``(rows, fits)``."""
    linear = X @ beta.T
    return np.asarray(np.logaddexp(0, linear) - y[:, np.newaxis] * linear)


def _require_outcomes(run: Analysis, size: SecretArray, sums: SecretArray, n: int) -> None:
    """Open whether there are cases and others outside of each fold, or raise EstimationError.

    Parameters
    ----------
    size, sums
        Rows, and Σ(y − ½), divided by n.
    """
    half = size / 2
    missing = negative(stack([half + sums, half - sums]) - 0.5 / n).sum()
    if not run.reveal({"outcomes": is_zero(missing)})["outcomes"]:
        raise EstimationError(
            "the outcome has the same value in all rows of all sites, or in all outside of a fold: use fewer "
            "folds, or give alpha"
        )


@dataclass(frozen=True, eq=False, repr=False)
class _Fits:
    """All fits, one after the other: this site's rows, and what is known of all.

    Attributes
    ----------
    X, y, n
        Framed columns, 1 first, outcomes, and the number of rows of all sites.
    rows
        Which rows each fit is to, shape ``(fits, rows)``.
    W
        From framed to standardised columns, shape ``(q, q)``.
    factor
        All rows by the rows of each fit, shape ``(fits,)``; `most` is the largest one.
    l1, l2
        Penalties, shape ``(fits,)``.
    fraction
        Fractional bits.
    """

    X: Array
    y: Array
    n: int
    rows: NDArray[np.bool_]
    W: SecretArray
    factor: SecretArray
    most: float
    l1: Array
    l2: Array
    fraction: int

    @property
    def largest(self) -> float:
        """What no eigenvalue of any matrix of second derivatives exceeds: their trace."""
        return 0.26 * float(self.X.shape[1]) * self.most

    def newton(self, run: Analysis) -> Array:
        """Return coefficients of framed columns, shape ``(fits, q)``, intercept first."""
        q, fits, parts = self.X.shape[1], len(self.rows), itertools.count()
        weights = np.append(0.0, np.ones(q - 1))
        l1, l2 = (part[:, np.newaxis] * weights for part in (self.l1, self.l2))
        b = public(self.W.engine, np.zeros((fits, q)), self.fraction).assume(MOST)
        beta = np.full((fits, q), np.inf)
        best: SecretArray | None = None
        states: States | None = None
        for step in range(_MOST_STEPS):
            last, beta = beta, self.opened(run, b, step)
            if np.abs(beta - last).max() <= _TOLERANCE:
                return beta
            A, gradient, loss = self.derivatives(beta)
            c = self.right(A, gradient, b)
            objective = self.objective(b, loss).reshape(fits, 1)
            here = concatenate([A.reshape(fits, q * q), c, b, objective], axis=1)
            middle, worse = b, public(b.engine, np.zeros((fits, 1), np.int64)).assume(1)
            if best is not None:
                middle = (b + best[:, -q - 1 : -1].assume(MOST)) / 2
                worse = negative(best[:, -1:] - objective + _SLACK)
                here = select(worse, best, here)
            best = here
            problems = Problems(
                best[:, : q * q].reshape(fits, q, q).assume(self.largest),
                best[:, q * q : -q - 1].assume(c.format.magnitude),
                l1,
                l2,
                self.largest,
            )
            x, states = _exchange.minimise(run, problems, parts, states)
            b = select(worse, middle, x).rescale(self.fraction).assume(MOST)
        raise EstimationError(f"fits did not converge in {_MOST_STEPS} steps: use larger alphas")

    def opened(self, run: Analysis, b: SecretArray, step: int) -> Array:
        """Open coefficients of framed columns, given those of standardised ones."""
        q = b.shape[1]
        beta = matmul(b, self.W.T, bound=MOST * math.sqrt(q) * (1 + 1.6 * math.sqrt(q)))
        opened = run.reveal({"steps": beta}, part=step)["steps"]
        # Zeros are off by rounding.
        return np.where(np.abs(opened) < 2.0**-_DIGITS, 0.0, opened)

    def derivatives(self, beta: Array) -> tuple[SecretArray, SecretArray, SecretArray]:
        """Return second derivatives, minus the gradient, and the loss: means over the rows of each fit.

        In standardised columns; shapes ``(fits, q, q)``, ``(fits, q)`` and ``(fits,)``. Six rounds.
        """
        q, fits = self.X.shape[1], len(beta)
        upper = np.triu_indices(q)
        sums = np.stack([self.sums(*fit) for fit in zip(self.rows, beta, strict=True)]) / self.n
        sums[:, -1] = np.minimum(sums[:, -1], _LOSS)
        shared = sum_shares(self.W.engine, sums, bound=_LOSS, fraction=self.fraction)
        positions = np.zeros((q, q), np.intp)
        positions[upper] = np.arange(len(upper[0]))
        H = shared[:, np.maximum(positions, positions.T)].assume(0.26 * _SQUARE)
        gradient = shared[:, len(upper[0]) : -1].reshape(fits, q, 1).assume(2.2)
        # Of standardised columns, mean squares are 1.
        half = matmul(H, self.W, bound=0.6)
        standard = matmul(self.W.T, concatenate([half, gradient], axis=2), bound=1.01)
        means = multiply(standard, self.factor.reshape(fits, 1, 1))
        loss = multiply(shared[:, -1].rescale(_DIGITS), self.factor.rescale(_DIGITS))
        return means[..., :q].assume(0.26 * self.most), means[..., q].assume(1.02 * self.most), loss

    def sums(self, rows: NDArray[np.bool_], beta: Array) -> Array:
        """Return Σwxx' (its upper triangle), Σx(y − μ) and the loss over this site's rows of a fit."""
        X, y = self.X[rows], self.y[rows]
        mu = expit(X @ beta)
        information = (X.T * (mu * (1 - mu))) @ X
        loss = _losses(X, y, beta[np.newaxis]).sum()
        return np.concatenate([information[np.triu_indices(X.shape[1])], X.T @ (y - mu), [loss]])

    def right(self, A: SecretArray, gradient: SecretArray, b: SecretArray) -> SecretArray:
        """Return c = Ab + gradient. One round."""
        bound = self.largest * MOST * math.sqrt(b.shape[1])
        fraction = min(A.format.fraction, fraction_for(b.engine, math.sqrt(1.01 * bound)))
        product = matmul(A.rescale(fraction), b.rescale(fraction).reshape(*b.shape, 1), bound=bound)
        return product.reshape(b.shape) + gradient

    def objective(self, b: SecretArray, loss: SecretArray) -> SecretArray:
        """Return the loss with its penalties, shape ``(fits,)``."""
        slopes = b[:, 1:].rescale(_DIGITS)
        total = loss
        if self.l1.any():
            total = total + abs(slopes).sum(axis=1) * self.l1
        if self.l2.any():
            total = total + inner(slopes, slopes) * (self.l2 / 2)
        return total
