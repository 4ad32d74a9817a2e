"""Ridge, lasso and elastic net on shares: nothing is opened but errors and chosen coefficients.

All fits of all folds and penalties are computed at once, so that rounds depend on none of their numbers.

- *Standardising*: W'FW for each fold's cross-products F, with W of secret means and standard deviations.
- *Squares alone*: (A + l2)⁻¹c is a Chebyshev series in A with public coefficients, since l2 and a bound on
  A's eigenvalues are public. The same vectors T_j(A)c serve all penalties, by local sums; each takes a
  round.
- *Absolute values*: Douglas and Rachford's splitting [1]_, which needs one secret inverse for each fold. A
  step is a matrix product and a soft threshold, two secret comparisons for each coefficient. After every
  `BLOCK` steps, whether any moved is opened: one bit. The signs of the chosen fit's coefficients, which are
  part of the result, are then opened, and its coefficients solved for exactly.

How large coefficients can get is known: a minimiser's objective is no larger than that of none at all, and
the splitting never leaves the ball about the solution in which it began.

References
----------
.. [1] P. L. Lions, B. Mercier, "Splitting Algorithms for the Sum of Two Nonlinear Operators", SIAM Journal on
   Numerical Analysis 16 (6), 1979.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.regression._path import Curve
from fedstats.regression._penalty import Fitted, Penalty
from protocols import inputs, linalg
from protocols.compare import is_zero, negative
from protocols.divide import inverse_sqrt, reciprocal
from protocols.engine import Engine
from protocols.fixed import Format, fraction_for
from protocols.floating import floating, sqrt
from protocols.floating import stack as stack_floats
from protocols.secret import SecretArray, concatenate, inner, multiply, public, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What is opened always, where alphas are to be found, where one is chosen, where folds are sites, where
#: squares alone are penalised, and where absolute values are.
COEFFICIENTS: Mapping[str, str] = {"coefficients": "the chosen coefficients"}
GRID: Mapping[str, str] = {"largest alpha": "the smallest alpha that leaves no term"}
CURVE: Mapping[str, str] = {
    "bounded": "whether all coefficients of all fits are below 16 standard deviations (one bit)",
    "errors": "for each alpha, the mean squared error of held-out rows, and its standard error over folds",
}
BY_SITE: Mapping[str, str] = {
    "large fold": "whether a site holds more than nine tenths of all rows (one bit)"
}
SQUARES: Mapping[str, str] = {
    "eigenvalues": "a power of two above the norms of the correlation matrices of all folds"
}
ABSOLUTE: Mapping[str, str] = {
    "settled": "whether coefficients still move, after every 25 steps of their computation (one bit)",
    "signs": "the signs of the chosen coefficients",
}

#: A fold holds at most what leaves this part of all rows.
LEAST_LEFT = 0.1
#: Variances of framed columns, and mean squares, are below these; means below the last.
VARIANCE, SQUARE, MEAN = 4.1, 4.4, 0.75
#: Step of the splitting, in standardised columns, and how far it goes beyond.
STEP, RELAXATION = 0.15, 1.8
#: Steps between two looks at whether coefficients still move, and how many looks are taken.
BLOCK, LOOKS = 25, 120
#: A coefficient has settled if it moves by less in a step.
SETTLED = 2.0**-27
#: Coefficients of standardised columns, in units of the response, must stay below.
MOST = 16.0
#: Error of a Chebyshev series relative to its first term, and its largest degree.
ACCURACY, DEGREE = 1e-11, 3000
#: Least fractional bits of coefficients while they are computed.
DIGITS = 24


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
        columns = _standardise(_share(engine, products / n, by_site=by_site))
        least = LEAST_LEFT if by_site else 1 - 1 / folds - engine.n / n
        if folds > 1 and least < LEAST_LEFT:
            raise EstimationError(f"{n} complete rows over all sites are too few for {folds} folds")
        problems = _problems(run, columns.products, least if folds > 1 else 1.0, check=by_site)
        largest = 1.0
        if penalty.needs_largest:
            largest = float(run.reveal({"largest alpha": abs(problems.c[-1]).max()})["largest alpha"])
        alphas = penalty.grid(largest * unit, problems.A.shape[-1])
        l1, l2 = penalty.split(alphas, unit)
        signs: SecretArray | None = None
        if l1.any():
            b, signs = _by_splitting(run, problems, l1, l2)
        elif folds > 1:
            b = _by_series(run, problems, l2)
        chosen, curve = 0, None
        if folds > 1:
            _require_bounded(run, b)
            curve = _curve(run, columns.products, problems, b, alphas, unit)
            chosen = penalty.choose(curve)
        p = len(columns.scale)
        sign = np.ones(p) if signs is None else run.reveal({"signs": signs[:, chosen]})["signs"]
        active = np.flatnonzero(sign)
        pull = float(l1[chosen]) * sign[active]
        best = _solved(
            problems.A[-1][np.ix_(active, active)], problems.c[-1][active], pull, float(l2[chosen])
        )
        opened = run.reveal({"coefficients": _in_frame(best, columns, active)})["coefficients"]
    coefficients = np.zeros((1, 1 + p))
    coefficients[0, 0], coefficients[0, 1 + active] = opened[0], opened[1:]
    return Fitted(alphas, coefficients, chosen, curve)


# --- Sums in standardised columns ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class _Columns:
    """Cross-products divided by n, of 1, standardised columns and the centred response.

    Attributes
    ----------
    products
        By fold, shape ``(folds, q, q)``.
    mean
        Of the framed columns and the response, shape ``(p + 1,)``.
    scale
        Reciprocal standard deviations of the framed columns, shape ``(p,)``.
    """

    products: SecretArray
    mean: SecretArray
    scale: SecretArray


def _share(engine: Engine, products: Array, *, by_site: bool) -> SecretArray:
    """Return pooled products by fold."""
    fraction = fraction_for(engine, 2 * SQUARE, terms=products.shape[1])
    if by_site:
        return inputs.share(engine, products[engine.party.index], bound=SQUARE, fraction=fraction)
    return inputs.sum_shares(engine, products, bound=SQUARE, fraction=fraction).assume(SQUARE)


def _standardise(products: SecretArray) -> _Columns:
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
    return _Columns((W.T @ half).assume(SQUARE), mean, scale)


@dataclass(frozen=True, eq=False, repr=False)
class _Problems:
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


def _problems(run: Analysis, products: SecretArray, least: float, *, check: bool) -> _Problems:
    """Return the problems of all folds. Cost: without folds none; else a reciprocal and two rounds."""
    total = products.sum(axis=0).assume(SQUARE)
    A, c = total[np.newaxis, 1:-1, 1:-1], total[np.newaxis, 1:-1, -1]
    if len(products) == 1:
        return _Problems(A, c, total[:0, 1:], least)
    left = (total - products).assume(SQUARE)
    size = left[:, 0, 0].assume(1.001)
    if check:
        few = negative(size - least).sum()
        if not run.reveal({"large fold": is_zero(few)})["large fold"]:
            raise EstimationError(
                "a site holds more than nine tenths of all rows, and leaves too few when it is left out: "
                "use folds within sites (cv=5)"
            )
    factor = reciprocal(size, least=least * 0.999).rescale(left.format.fraction).assume(1.01 / least)
    moments = multiply(left, factor.reshape(len(products), 1, 1)).assume(SQUARE / least)
    mean = moments[:, 0, 1:].assume(math.sqrt(SQUARE / least))
    outer = multiply(mean.reshape(*mean.shape, 1), mean.reshape(len(mean), 1, mean.shape[1]))
    centred = moments[:, 1:, 1:] - outer
    problems = _Problems(A, c, mean, least)
    joined = concatenate([centred[:, :-1, :-1], A]).assume(1.01 / least)
    return _Problems(joined, concatenate([centred[:, :-1, -1], c]).assume(problems.covariance), mean, least)


# --- Squares alone ------------------------------------------------------------------------------------


def _by_series(run: Analysis, problems: _Problems, l2: Array) -> SecretArray:
    """Return (A + l2)⁻¹c for all problems and penalties, shape ``(k, p, alphas)``.

    With A = e/2·(1 + S), where e bounds its eigenvalues, 1/(s + a) for a = 1 + 2·l2/e is the series
    (1 + 2·Σ (−τ)^j·T_j(s)) / √(a² − 1), τ = a − √(a² − 1) < 1 [2]_.

    Cost: a round for each degree, and 25.

    References
    ----------
    .. [2] J. C. Mason, D. C. Handscomb, "Chebyshev Polynomials", 2003, section 5.
    """
    engine, (k, p) = problems.A.engine, problems.c.shape
    e = _largest_eigenvalue(run, problems)
    a = 1 + 2 * l2 / e
    root = np.sqrt(a * a - 1)
    tau = 1 / (a + root)
    degree = max(2, math.ceil(math.log(ACCURACY) / math.log(float(tau.max()))))
    if degree > DEGREE:
        raise EstimationError(_too_small(float(l2.min())))
    weights = (2 / e) / root * (-tau) ** np.arange(degree + 1)[:, np.newaxis]
    weights[1:] *= 2
    # |T_j(S)c| ≤ |c| in the Euclidean norm, and |c|² ≤ e·(variance of the response).
    bound = math.sqrt(e * VARIANCE / problems.least) * 1.01
    fraction = fraction_for(engine, 1.5 * math.sqrt(bound), terms=p)
    S = problems.A.rescale(fraction) * (2 / e) - np.eye(p)
    doubled = (2 * S).assume(2.001)
    first = problems.c.rescale(fraction).reshape(k, p, 1).assume(bound)
    vectors = [first, (S.assume(1.001) @ first).assume(bound)]
    while len(vectors) <= degree:
        vectors.append((doubled @ vectors[-1] - vectors[-2]).assume(bound))
    return _weighted(concatenate(vectors, axis=2), weights)


def _weighted(vectors: SecretArray, weights: Array) -> SecretArray:
    """Return vectors @ weights, with the weights exact to 2^−48: in two parts that leave room for masks."""
    fraction, engine = vectors.format.fraction, vectors.engine
    coarse = np.rint(weights * 2.0**24)
    fine = np.rint((weights - coarse / 2.0**24) * 2.0**48)
    parts = []
    for factor, places in ((coarse, 24), (fine, 48)):
        exact = vectors @ factor.astype(np.int64)
        finer = Format(fraction + places, exact.format.bound)
        parts.append(SecretArray(engine, exact.shares, finer).rescale(fraction))
    return parts[0] + parts[1]


def _largest_eigenvalue(run: Analysis, problems: _Problems) -> float:
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


# --- Absolute values ------------------------------------------------------------------------------------


def _by_splitting(
    run: Analysis, problems: _Problems, l1: Array, l2: Array
) -> tuple[SecretArray, SecretArray]:
    """Return minimisers of all problems and penalties, and the signs of the last problem's.

    v ← v + RELAXATION·(x − z), with z what the penalties make of v, and x = (A + STEP)⁻¹(c + STEP·(2z − v));
    z is the solution once v stays where it is.

    Cost: twelve rounds a step, 13 if squares are penalised too; 22 for every look; 20 for every inverse.
    """
    engine, (k, p) = problems.A.engine, problems.c.shape
    bound = _ball(problems, l1, l2)
    fraction = min(
        fraction_for(engine, math.sqrt(1.02 * RELAXATION * bound), terms=2 * p), problems.A.format.fraction
    )
    if fraction < DIGITS:
        raise EstimationError(_too_small(float((l1 + l2).min())))
    step, start = _step_matrices(problems, fraction)
    threshold, shrink = l1 / STEP, 1 / (1 + l2 / STEP)
    v = public(engine, np.zeros((k, p, len(l1))), fraction).assume(bound)
    tolerance = max(SETTLED, 2.0 ** (8 - fraction))
    for look in range(LOOKS):
        for _ in range(BLOCK):
            z, signs = _soft(v, threshold)
            if l2.any():
                z = (z * shrink).assume(bound)
            moved = (start + step @ concatenate([z, v], axis=1)).assume(4 * bound)
            v = (v + moved).assume(bound)
        beyond = negative(stack([tolerance - moved, tolerance + moved])).sum()
        if run.reveal({"settled": is_zero(beyond)}, part=look)["settled"]:
            z, signs = _soft(v, threshold)
            return ((z * shrink).assume(bound) if l2.any() else z), signs[-1]
    raise EstimationError(
        f"coefficients have not settled in {LOOKS * BLOCK} steps: columns depend on one another, and the "
        "smallest alpha is too small to choose among them; leave columns out, or use larger alphas"
    )


def _ball(problems: _Problems, l1: Array, l2: Array) -> float:
    """Return what no |v| exceeds: twice the largest norm that a solution can have.

    It is b + u for a minimiser b and u = (c − Ab)/STEP, which is the gradient of the penalties. The
    objective at b is at most that of 0, half the variance of the response: so l1·Σ|b| is, and l2/2·Σb².
    """
    half, p = VARIANCE / problems.least / 2, problems.A.shape[-1]
    with np.errstate(divide="ignore"):
        norm = np.minimum(half / l1, np.sqrt(2 * half / l2))
    gradient = np.minimum(l1 * math.sqrt(p) + l2 * norm, problems.covariance * math.sqrt(p))
    return float(np.max(2 * (norm + gradient / STEP))) + 1


def _step_matrices(problems: _Problems, fraction: int) -> tuple[SecretArray, SecretArray]:
    """Return what moves (z, v), shape ``(k, p, 2p)``, and what is always added, shape ``(k, p, 1)``."""
    k, p = problems.c.shape
    shifted = problems.A + STEP * np.eye(p)
    inverses = [
        linalg.inverse(one, bound=1.01 / STEP, fraction=fraction, definite=True)
        for one in (shifted[i] for i in range(k))
    ]
    M = stack(inverses).assume(1.01 / STEP)
    start = M @ problems.c.rescale(fraction).reshape(k, p, 1) * RELAXATION
    part = M * (RELAXATION * STEP)
    # 2·STEP·M − 1 has eigenvalues from −1 to 1.
    step = concatenate([2 * part - RELAXATION * np.eye(p), -part], axis=2)
    return step.assume(RELAXATION * 1.01), start


def _soft(v: SecretArray, threshold: Array) -> tuple[SecretArray, SecretArray]:
    """Return v drawn towards 0 by a threshold, and its sign. Cost: a comparison and a product."""
    above, below = v - threshold, v + threshold
    bits = negative(stack([-above, below]))
    sides = stack([above, below]).transpose(1, 2, 3, 0)
    drawn = inner(bits.transpose(1, 2, 3, 0), sides).assume(v.format.magnitude)
    return drawn, bits[0] - bits[1]


# --- Errors, and the chosen fit -----------------------------------------------------------------------


def _require_bounded(run: Analysis, b: SecretArray) -> None:
    """Open whether all coefficients are below `MOST`, or raise EstimationError."""
    beyond = negative(stack([MOST - b, MOST + b])).sum()
    if not run.reveal({"bounded": is_zero(beyond)})["bounded"]:
        raise EstimationError(
            f"a coefficient exceeds {MOST:g} standard deviations: columns depend on one another, and the "
            "smallest alpha is too small to choose among them; leave columns out, or use larger alphas"
        )


def _curve(
    run: Analysis,
    products: SecretArray,
    problems: _Problems,
    b: SecretArray,
    alphas: Array,
    unit: float,
) -> Curve:
    """Open mean squared errors of held-out rows, and their standard errors, as `_path.curve_of` has them."""
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
    joined = floating(concatenate([error, error.sum(axis=0).reshape(1, len(alphas))]))
    error_of, overall = joined[:-1], joined[-1:]
    size = floating(products[:, :1, 0])
    se = sqrt(((error_of - size * overall).square() / size).sum(axis=0)) * (1 / math.sqrt(k - 1))
    opened = run.reveal({"errors": stack_floats([overall[0], se])})["errors"]
    return Curve(alphas, opened[0] * unit * unit, opened[1] * unit * unit)


def _solved(A: SecretArray, c: SecretArray, pull: Array, l2: float) -> SecretArray:
    """Return the coefficients that are not 0, which the penalty pulls in known directions. 20 rounds."""
    if not len(c):
        return c
    matrix = A + l2 * np.eye(len(c))
    return linalg.solve(matrix, c - pull, bound=MOST, fraction=A.format.fraction, definite=True)


def _in_frame(best: SecretArray, columns: _Columns, active: NDArray[np.intp]) -> SecretArray:
    """Return intercept and slopes of framed columns, given those of standardised ones."""
    fraction = fraction_for(best.engine, math.sqrt(3 * best.format.magnitude), terms=max(len(best), 1))
    mean = columns.mean.rescale(fraction)
    if not len(best):
        return mean[-1:]
    slopes = multiply(best.rescale(fraction), columns.scale[active].rescale(fraction))
    return concatenate([mean[-1:] - inner(slopes, mean[:-1][active]).reshape(1), slopes])


def _too_small(alpha: float) -> str:
    return (
        f"an alpha of {alpha:.3g} in units of the response is too small for disclose='result': use larger "
        "alphas, or eps, or disclose='aggregate'"
    )
