"""Ridge, lasso and elastic net on shares: nothing is opened but errors and chosen coefficients.

All fits of all folds and penalties are computed at once, so that rounds depend on none of their numbers.

- *Standardising*: W'FW for each fold's cross-products F, with W of secret means and standard deviations.
- *Fitting*: systems of equations, and which coefficients are 0, of all fits together (`_exchange`). The signs
  of the chosen fit's coefficients are opened before them, as they are part of the result.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.regression import _exchange
from fedstats.regression._exchange import MOST, Problems
from fedstats.regression._path import Curve
from fedstats.regression._penalty import Fitted, Penalty
from protocols import inputs
from protocols.compare import is_zero, negative
from protocols.divide import inverse_sqrt, reciprocal
from protocols.engine import Engine
from protocols.fixed import fraction_for
from protocols.floating import floating, sqrt
from protocols.floating import stack as stack_floats
from protocols.secret import SecretArray, concatenate, inner, multiply, public

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What is opened always, where alphas are to be found, where one is chosen, where folds are sites, and where
#: absolute values are penalised.
COEFFICIENTS: Mapping[str, str] = {
    **_exchange.RESULT,
    "eigenvalues": "a power of two above the norms of the correlation matrices of all folds",
    "coefficients": "the chosen coefficients",
}
GRID: Mapping[str, str] = {"largest alpha": "the smallest alpha that leaves no term"}
CURVE: Mapping[str, str] = {
    "errors": "for each alpha, the mean squared error of held-out rows, and its standard error over folds"
}
BY_SITE: Mapping[str, str] = {
    "large fold": "whether a site holds more than nine tenths of all rows (one bit)"
}
ABSOLUTE: Mapping[str, str] = {"signs": "the signs of the chosen coefficients"}

#: A fold holds at most what leaves this part of all rows.
LEAST_LEFT = 0.1
#: Variances of framed columns, and mean squares, are below these; means below the last.
VARIANCE, SQUARE, MEAN = 4.1, 4.4, 0.75


def fit(run: Analysis, products: Array, penalty: Penalty, unit: float, n: int, *, by_site: bool) -> Fitted:
    """Fit from this site's cross-products by fold.

    Parameters
    ----------
    run
        The analysis, past `agree`.
    products
        Σxx' of (1, columns, response) in frames, over this site's rows of each fold, ``(folds, q, q)``.
    penalty
        In the response's units.
    unit
        Of the response.
    n
        Rows of all sites.
    by_site
        Whether folds are sites.

    Raises
    ------
    EstimationError
        A site holds too many rows to be left out, alphas are too small, columns are collinear.
    """
    with run.on_shares() as engine:
        folds = len(products)
        columns = standardise(share_products(engine, products / n, by_site=by_site))
        least = LEAST_LEFT if by_site else 1 - 1 / folds - engine.n / n
        if folds > 1 and least < LEAST_LEFT:
            raise EstimationError(f"{n} complete rows over all sites are too few for {folds} folds")
        problems = _problems(run, columns.products, least if folds > 1 else 1.0, check=by_site)
        largest = 1.0
        if penalty.needs_largest:
            largest = float(run.reveal({"largest alpha": abs(problems.c[-1]).max()})["largest alpha"])
        alphas = penalty.grid(largest * unit, problems.A.shape[-1])
        l1, l2 = penalty.split(alphas, unit)
        k, p = problems.c.shape
        fits = np.repeat(np.arange(k), len(alphas))
        every = np.ones((1, p))
        x, states = _exchange.minimise(
            run,
            Problems(
                problems.A[fits],
                problems.c[fits],
                np.tile(l1, k)[:, np.newaxis] * every,
                np.tile(l2, k)[:, np.newaxis] * every,
                _largest_eigenvalue(run, problems),
            ),
            itertools.count(),
        )
        b, signs = (part.reshape(k, len(alphas), p) for part in (x, states.sign))
        chosen, curve = 0, None
        if folds > 1:
            curve = _curve(run, columns.products, problems, b.transpose(0, 2, 1), alphas, unit)
            chosen = penalty.choose(curve)
        sign = run.reveal({"signs": signs[-1, chosen]})["signs"] if l1.any() else np.ones(p)
        active = np.flatnonzero(sign)
        best = _in_frame(b[-1, chosen][active], columns, active)
        opened = run.reveal({"coefficients": best})["coefficients"]
    coefficients = np.zeros((1, 1 + p))
    coefficients[0, 0], coefficients[0, 1 + active] = opened[0], opened[1:]
    return Fitted(alphas, coefficients, chosen, curve)


# --- Sums in standardised columns ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Columns:
    """Cross-products divided by n, of 1, standardised columns and the centred response.

    Attributes
    ----------
    products
        By fold, shape ``(folds, q, q)``.
    mean
        Of the framed columns and the response, shape ``(p + 1,)``.
    scale
        Reciprocal standard deviations of the framed columns, shape ``(p,)``.
    matrix
        From (1, columns, response) in frames to standardised ones, shape ``(q, q)``.
    """

    products: SecretArray
    mean: SecretArray
    scale: SecretArray
    matrix: SecretArray


def share_products(engine: Engine, products: Array, *, by_site: bool) -> SecretArray:
    """Return pooled products by fold."""
    fraction = fraction_for(engine, 2 * SQUARE, terms=products.shape[1])
    if by_site:
        return inputs.share(engine, products[engine.party.index], bound=SQUARE, fraction=fraction)
    return inputs.sum_shares(engine, products, bound=SQUARE, fraction=fraction).assume(SQUARE)


def standardise(products: SecretArray) -> Columns:
    """Return products in standardised columns. Cost: a root and four rounds."""
    engine, q, fraction = products.engine, products.shape[-1], products.format.fraction
    total = products.sum(axis=0).assume(SQUARE)
    mean = total[0, 1:].assume(MEAN)
    diagonal = np.arange(1, q)
    variance = (total[diagonal, diagonal] - multiply(mean, mean)).assume(VARIANCE)
    scale = inverse_sqrt(variance[:-1]).rescale(fraction).assume(2.1)
    W = public(engine, np.eye(q), fraction)
    shares = W.shares.copy()
    shares[0, 1:-1] = (-multiply(mean[:-1], scale)).shares
    shares[0, -1] = (-mean[-1]).shares
    shares[diagonal[:-1], diagonal[:-1]] = scale.shares
    W = SecretArray(engine, shares, W.format).assume(2.1)
    # Entries are inner products of columns: below the root of what the squares of both are.
    half = (products @ W).assume(SQUARE)
    return Columns((W.T @ half).assume(SQUARE), mean, scale, W)


@dataclass(frozen=True, eq=False, repr=False)
class _Covariances:
    """Covariances without each fold, and of all rows at last.

    Attributes
    ----------
    A, c
        Of the columns, and with the response: shapes ``(k, p, p)`` and ``(k, p)``.
    mean
        Of columns and response, shape ``(k - 1, p + 1)``; 0 of all rows.
    least
        The folds leave at least this part of all rows.
    """

    A: SecretArray
    c: SecretArray
    mean: SecretArray
    least: float

    @property
    def covariance(self) -> float:
        """What no |c| exceeds."""
        return math.sqrt(VARIANCE) / self.least


def _problems(run: Analysis, products: SecretArray, least: float, *, check: bool) -> _Covariances:
    """Return the problems of all folds. Cost: without folds none; else a reciprocal and two rounds."""
    total = products.sum(axis=0).assume(SQUARE)
    A, c = total[np.newaxis, 1:-1, 1:-1], total[np.newaxis, 1:-1, -1]
    if len(products) == 1:
        return _Covariances(A, c, total[:0, 1:], least)
    left = (total - products).assume(SQUARE)
    size = left[:, 0, 0].assume(1.001)
    if check:
        require_left(run, size, least)
    factor = reciprocal(size, least=least * 0.999).rescale(left.format.fraction).assume(1.01 / least)
    moments = multiply(left, factor.reshape(len(products), 1, 1)).assume(SQUARE / least)
    mean = moments[:, 0, 1:].assume(math.sqrt(SQUARE / least))
    outer = multiply(mean.reshape(*mean.shape, 1), mean.reshape(len(mean), 1, mean.shape[1]))
    centred = moments[:, 1:, 1:] - outer
    problems = _Covariances(A, c, mean, least)
    joined = concatenate([centred[:, :-1, :-1], A]).assume(1.01 / least)
    return _Covariances(
        joined, concatenate([centred[:, :-1, -1], c]).assume(problems.covariance), mean, least
    )


def require_left(run: Analysis, size: SecretArray, least: float) -> None:
    """Open whether every fold leaves this part of all rows, or raise EstimationError."""
    few = negative(size - least).sum()
    if not run.reveal({"large fold": is_zero(few)})["large fold"]:
        raise EstimationError(
            "a site holds more than nine tenths of all rows, and leaves too few when it is left out: "
            "use folds within sites (cv=5)"
        )


def _largest_eigenvalue(run: Analysis, problems: _Covariances) -> float:
    """Open the power of two above the Frobenius norms of all A, and so above their eigenvalues."""
    engine, (k, p) = problems.A.engine, problems.c.shape
    most = problems.A.format.magnitude
    entries = problems.A.reshape(k, p * p)
    entries = entries.rescale(min(entries.format.fraction, fraction_for(engine, most, terms=p * p)))
    powers = 2.0 ** np.arange(1, math.ceil(math.log2(p / problems.least)) + 1)
    squares = inner(entries, entries).reshape(k, 1)
    nobody = is_zero(negative(-(squares - 0.99 * powers**2)).sum(axis=0))
    within = int(run.reveal({"eigenvalues": nobody.sum()})["eigenvalues"])
    return float(powers[-1] * 1.01 if not within else powers[len(powers) - within])


# --- Errors, and the chosen fit -----------------------------------------------------------------------


def _curve(
    run: Analysis,
    products: SecretArray,
    problems: _Covariances,
    b: SecretArray,
    alphas: Array,
    unit: float,
) -> Curve:
    """Open mean squared errors of held-out rows, and their standard errors."""
    engine, (k, q) = products.engine, products.shape[:2]
    # Held-out rows about the means of the others; 1 is then no longer needed.
    off = problems.mean.format.magnitude
    largest = 2 * (SQUARE + off**2)
    between = math.sqrt(SQUARE * largest)
    fraction = min(products.format.fraction, fraction_for(engine, math.sqrt(off * between), terms=q))
    products, mean = products.rescale(fraction), problems.mean.rescale(fraction)
    shares = public(engine, np.tile(np.eye(q), (k, 1, 1)), fraction).shares.copy()
    shares[:, 0, 1:] = (-mean).shares
    shift = SecretArray(engine, shares, mean.format)
    half = (products @ shift).assume(between)
    about = (shift.transpose(0, 2, 1) @ half)[:, 1:, 1:]
    ones = public(engine, np.ones((k, 1, len(alphas))), b.format.fraction)
    u = concatenate([-b[:-1], ones], axis=1).assume(MOST)
    fraction = min(
        about.format.fraction, b.format.fraction, fraction_for(engine, math.sqrt(largest * q) * MOST, terms=q)
    )
    u = u.rescale(fraction)
    products_ = about.rescale(fraction).assume(largest) @ u
    # Sums over a fold divided by n, and the mean over all folds below them.
    error = inner(products_.transpose(0, 2, 1), u.transpose(0, 2, 1))
    return open_curve(run, alphas, error, products[:, :1, 0], unit * unit)


def open_curve(run: Analysis, alphas: Array, error: SecretArray, size: SecretArray, unit: float) -> Curve:
    """Open mean errors, and their standard errors, as `_path.curve_of` has them.

    Parameters
    ----------
    run, alphas
        The analysis, and what errors are known of.
    error, size
        Sums over the rows of each fold, and their numbers, divided by all rows: ``(k, alphas)``, ``(k, 1)``.
    unit
        Of the errors.
    """
    k = len(error)
    joined = floating(concatenate([error, error.sum(axis=0).reshape(1, len(alphas))]))
    error_of, overall, part = joined[:-1], joined[-1:], floating(size)
    se = sqrt(((error_of - part * overall).square() / part).sum(axis=0)) * (1 / math.sqrt(k - 1))
    opened = run.reveal({"errors": stack_floats([overall[0], se])})["errors"]
    return Curve(alphas, opened[0] * unit, opened[1] * unit)


def _in_frame(best: SecretArray, columns: Columns, active: NDArray[np.intp]) -> SecretArray:
    """Return intercept and slopes of framed columns, given those of standardised ones."""
    fraction = fraction_for(best.engine, math.sqrt(3 * best.format.magnitude), terms=max(len(best), 1))
    mean = columns.mean.rescale(fraction)
    if not len(best):
        return mean[-1:]
    slopes = multiply(best.rescale(fraction), columns.scale[active].rescale(fraction))
    return concatenate([mean[-1:] - inner(slopes, mean[:-1][active]).reshape(1), slopes])
