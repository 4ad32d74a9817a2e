"""Newton's method over the rows of all sites: every likelihood of this package is maximised here.

A step solves one pooled system (`_equations.solve`), so that is what leaves the sites: in
``disclose="result"`` the steps alone, hence the estimates at each iteration, never a gradient, a matrix or
a likelihood. Likelihoods are compared only where Newton's method may go astray, that is after a step that is
no shorter than half the last one, or where some parameters are impossible; of such a comparison the result
mode opens one bit.

Where estimates are infinite, because terms separate the response, the steps settle on a direction along
which the likelihood of no row falls. That is the definition of separation [1]_, and it is tested as such:
each site counts its rows whose likelihood falls along the direction, which is public, and none may.

References
----------
.. [1] A. Albert, J. A. Anderson, "On the existence of maximum likelihood estimates in logistic regression
   models", Biometrika 71, 1984, 1–10.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.formula import INTERCEPT
from fedstats.regression._equations import Recent, solve
from protocols import inputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedstats.analysis import Analysis

#: What `maximise` opens; part of the declaration of every method that calls it.
AGGREGATE: Mapping[str, str] = {
    "steps": "at each iteration the information matrix and the score, from which the next estimates follow",
    "gains": "where Newton's method may go astray: how much the log-likelihood changes by a step",
    "separation": "if the steps do not become shorter: how many rows become less likely along the last step, "
    "and along the estimates",
}
RESULT: Mapping[str, str] = {
    "steps": "the estimates at each iteration, and whether the information is near to that of the one before",
    "gains": "where Newton's method may go astray: whether the log-likelihood falls by a step, and no more",
    "separation": "if the steps do not become shorter: whether any row becomes less likely along the last "
    "step, and along the estimates, and no more",
}

#: Iterations end after a step of this size, relative to the largest parameter, or if the next one would be of
#: that size.
TOLERANCE, PRECISION = 1e-7, 1e-11
#: Parameters of less than this count as if they were this large.
_LITTLE = 0.01
#: After a step of this size the observed information is used, with which convergence is quadratic.
_NEAR = 0.1
#: Steps so small are not compared: what they gain drowns in the rounding of a likelihood.
_SMALL = 1e-4
#: How often a step is halved before the method gives up.
_HALVINGS = 12
#: Separation is looked for from this iteration on, which well-behaved models do not reach.
_PATIENCE = 7
#: Steps on the way to infinity are longer than this.
_STILL = 0.01
#: Along how many steps a row may lose how much log-likelihood before it counts as contradicting separation.
_FAR, _LOSS = 10.0, 0.01
#: Terms with less than this part of a separating direction have no part in it.
_SHARE = 0.01
#: Numbers are compared on shares as fixed-point numbers of this size, larger ones as if they were this large.
_BOUND, _FRACTION = 2.0**36, 34


class Likelihood(Protocol):
    """What is maximised: this site's part of a log-likelihood, and the names of its parameters.

    Parameters are in units in which it bends at about 1.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""

    @property
    def is_restricted(self) -> bool:
        """Whether some parameters are impossible."""

    def system(self, params: Array, *, near: bool) -> tuple[Array, Array]:
        """Return information and score, shapes ``(p, p)`` and ``(p,)``, summed over this site's rows.

        The information is positive definite over all sites: the observed one if the maximum is near.
        """

    def rows(self, params: Array) -> Array:
        """Return the log-likelihood of each row, −inf where the parameters are impossible."""

    def within(self, params: Array, step: Array) -> Array:
        """Return the step, shortened if it leads to what all sites know to be impossible."""


class Maximum(NamedTuple):
    """Where a likelihood is largest."""

    params: Array
    iterations: int
    recent: Recent


def maximise(
    run: Analysis,
    likelihood: Likelihood,
    start: Array,
    *,
    maxiter: int,
    parts: Iterator[int],
    recent: Recent | None = None,
) -> Maximum:
    """Maximise a likelihood over the rows of all sites.

    Parameters
    ----------
    run
        The analysis, past `agree`. Its declaration includes `AGGREGATE` and `RESULT`.
    likelihood
        This site's part of it.
    start
        Parameters to start from.
    maxiter
        How many steps are taken at most.
    parts
        Numbers what is opened, going on where earlier steps of the same analysis ended.
    recent
        What is kept of the system that led to the start.

    Raises
    ------
    EstimationError
        The estimates are infinite, not determined, or not found in so many steps. Raised at every site
        alike, naming the terms at fault.

    Notes
    -----
    **Leakage.** `AGGREGATE` or `RESULT`.

    **Cost.** One `solve` a step; one round more, or one comparison on shares, for a step that may go astray.
    """
    params, size, step = start, np.inf, np.zeros_like(start)
    recent = recent or Recent()
    for iteration in range(1, maxiter + 1):
        near = size <= _NEAR
        try:
            step = _next_step(run, likelihood, params, near, parts, recent)
        except EstimationError as error:
            if iteration == 1:
                raise
            _refuse_separation(run, likelihood, params, step, parts)
            raise EstimationError(
                f"no convergence: the estimates run to where the rows no longer determine them ({error}); "
                "change the link, or leave out terms"
            ) from error
        last, size = size, float(np.abs(step).max())
        reach = max(float(np.abs(params).max()), _LITTLE)
        # Convergence is quadratic by now: the next step would be about this long.
        expected = size**3 / last**2
        if size <= TOLERANCE * reach or (near and size < _SMALL and expected <= PRECISION * reach):
            return Maximum(params + step, iteration, recent)
        is_contracting = size < last / 2
        if iteration >= _PATIENCE and not is_contracting:
            _refuse_separation(run, likelihood, params, step, parts)
        step = likelihood.within(params, step)
        if size > _SMALL and (likelihood.is_restricted or not is_contracting):
            step = shortened(run, likelihood, params, step, parts)
        params = params + step
    moving = np.abs(step) > TOLERANCE * reach
    raise EstimationError(
        f"no convergence in {maxiter} iterations: the estimates of {_listed(likelihood.names, moving)} still "
        "change; allow more by maxiter=, leave out terms, or change the link"
    )


def _next_step(
    run: Analysis,
    likelihood: Likelihood,
    params: Array,
    near: bool,
    parts: Iterator[int],
    recent: Recent,
) -> Array:
    """Return the step that the information and the score suggest."""

    def step(near: bool) -> Array:
        A, b = likelihood.system(params, near=near)
        return solve(run, "steps", A, b, likelihood.names, part=next(parts), recent=recent)

    try:
        return step(near)
    except EstimationError:
        if not near:
            raise
    # Not near enough: the observed information is not positive definite.
    return step(near=False)


def shortened(
    run: Analysis, likelihood: Likelihood, params: Array, step: Array, parts: Iterator[int]
) -> Array:
    """Halve a step until the likelihood does not fall by it."""
    before = likelihood.rows(params)
    for _ in range(_HALVINGS):
        after = likelihood.rows(params + step)
        with np.errstate(invalid="ignore"):
            gain = np.where(np.isfinite(after), after - before, -_BOUND).sum()
        if reaches(run, "gains", np.array([gain]), 0.0, next(parts))[0]:
            return step
        step = step / 2
    raise EstimationError(
        f"no convergence: no step improves the estimates of {', '.join(map(repr, likelihood.names))}; change "
        "the link, or leave out terms"
    )


def _refuse_separation(
    run: Analysis, likelihood: Likelihood, params: Array, step: Array, parts: Iterator[int]
) -> None:
    """Raise EstimationError if the likelihood of no row falls along the last step, or along the estimates."""
    if np.abs(step).max() <= _STILL:
        return
    before = likelihood.rows(params)
    directions = [_FAR * step, params]
    falling = [
        float(np.count_nonzero(~(likelihood.rows(params + direction) > before - _LOSS)))
        for direction in directions
    ]
    is_contradicted = reaches(run, "separation", np.array(falling), 0.5, next(parts))
    for direction, contradicted in zip(directions, is_contradicted, strict=True):
        if not contradicted and direction.any():
            taking_part = np.abs(direction) > _SHARE * np.abs(direction).max()
            separating = _listed(likelihood.names, taking_part)
            raise EstimationError(
                f"the estimates are infinite: {separating} separates the response, that is, tells without "
                "error which rows have an extreme one; leave out these terms, or merge levels"
            )


def _listed(names: tuple[str, ...], chosen: NDArray[np.bool_]) -> str:
    """Return the chosen names, the constant only if there is nothing else."""
    terms = [name for name, is_chosen in zip(names, chosen, strict=True) if is_chosen]
    return ", ".join(map(repr, [name for name in terms if not name.endswith(INTERCEPT)] or terms))


def reaches(run: Analysis, label: str, values: Array, threshold: float, part: int) -> Array:
    """Return whether pooled sums reach a threshold: the sums are opened, or compared on shares."""
    values = np.clip(values, -_BOUND, _BOUND)
    if run.disclose == "aggregate":
        return np.asarray(run.sum(label, values, part=part) >= threshold)
    with run.on_shares() as engine:
        total = inputs.sum_shares(engine, values, bound=_BOUND, fraction=_FRACTION)
        reached = total >= threshold
    return run.reveal({label: reached}, part=part)[label].astype(bool)
