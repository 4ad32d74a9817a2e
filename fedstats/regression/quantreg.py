"""Quantile regression over the rows of all sites: the exact minimiser, standard errors by a kernel's density.

`_check_loss` finds the coefficients. Their covariance is statsmodels' default: a sandwich with the density
of the residuals at 0, estimated by Epanechnikov's kernel with the bandwidth of Hall and Sheather [1]_, of
which every part is a sum over rows, but for the residuals' quartiles (`fedstats.quantiles`).

There is no aggregate mode: towards the end, the matrices of the steps are sums over as many rows as there are
terms.

References
----------
.. [1] P. Hall, S. J. Sheather, "On the Distribution of a Studentized Quantile", Journal of the Royal
   Statistical Society B 50, 1988.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
from scipy import stats

from fedstats import _frames, design
from fedstats.disclosure import Declaration
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.quantiles import OnlyResult, find_quantiles
from fedstats.regression import _check_loss
from fedstats.regression._coefficients import CoefficientResult, to_terms
from fedstats.regression._equations import covariance, scalars, solve

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

DECLARATION = Declaration(
    "quantreg",
    result={
        **design.AGGREGATE,
        **_frames.RESULT,
        "start": "the coefficients of least squares",
        **_check_loss.RESULT,
        "quantiles": "the quartiles of the residuals, digit by digit",
        "response spread": "Σy and Σy² of the scaled response",
        "density": "the sum of the kernel over the residuals",
        "covariance": "variances of the estimates",
    },
    published=design.PUBLISHED,
)

#: A fitted line goes through rows with smaller residuals, in units of the response.
_THROUGH = 1e-8


def quantreg(
    formula: str,
    cohort: Cohort,
    q: float = 0.5,
    *,
    missing: design.Missing = "drop",
    disclose: OnlyResult = "result",
) -> QuantRegResult:
    """Fit a linear model of a quantile of the response to the rows of all sites.

    Parameters
    ----------
    formula
        As for `ols`, with an intercept.
    cohort
        The rows, see `Federation.cohort`.
    q
        Which quantile, between 0 and 1.
    missing
        As for `ols`.
    disclose
        ``"result"``, the only mode: coefficients are opened at every step, and nothing that they are made of.

    Returns
    -------
    QuantRegResult
        With the names of statsmodels; standard errors as of ``QuantReg.fit()``. Where several
        solutions are as good, which happens in small tables of round numbers, one between them.

    Raises
    ------
    DataError
        The formula, or a column that it uses, or q cannot be used; says which and what to do.
    RemoteError
        The same at another site.
    EstimationError
        The design is singular, or there are too few rows.

    Notes
    -----
    **Leakage.** Every site learns the coefficients at every step, how far the predictions of
    all rows then move at most (to a power of two), the quartiles of the residuals, the spread of the
    response, and the variances of the estimates. The solution goes exactly through as many rows as there
    are terms, as any does: a site sees which of its own rows it goes through. Of each single site it learns
    which levels of the categorical columns occur there. A coalition of t sites learns the same.

    Cost: for three sites some 1,900 rounds.

    Examples
    --------
    >>> fs.quantreg("foodexp ~ income", cohort, q=0.9).params  # doctest: +SKIP
    """
    with cohort.federation.analysis(DECLARATION, disclose) as run:
        part = design.agree_design(
            run,
            cohort,
            formula,
            call=f"q={q!r}, missing={missing!r}",
            needs_response=True,
            missing=missing,
            check=lambda: _check(q),
        )
        if not part.has_intercept or len(part.names) < 2:
            raise DataError(
                f"a model of quantiles has an intercept and terms: change {formula!r}, or use quantile"
            )
        X, y, names = part.X[:, 1:], cast(Array, part.y), part.names
        n, dropped = _frames.open_rows(run, len(X), part.dropped)
        least = max(len(names) + 1, 4 * run.federation.shared_policy.min_cell + 1)
        if n < least:
            raise EstimationError(
                f"{n} complete rows over all sites are too few: {least} are needed at least"
            )
        run.check_rows(n, len(names))
        width = _bandwidth(n, q)
        frame = _frames.pooled_frame(run, np.column_stack([X, y]), (*names[1:], str(part.response_name)), n)
        scaled = frame.apply(np.column_stack([X, y]))
        Z, target = np.column_stack([np.ones(len(X)), scaled[:, :-1]]), scaled[:, -1]
        start = solve(run, "start", Z.T @ Z, Z.T @ target, names)
        b, steps = _check_loss.minimise(run, Z, target, q, start, n)

        unit = float(frame.unit[-1])
        L = to_terms(frame[: len(names) - 1], unit)
        params = L @ b
        params[0] += frame.centre[-1]
        residuals = target - Z @ b
        residuals[np.abs(residuals) < _THROUGH] = 0.0
        bandwidth, density = _density(run, residuals, target, q, width, n)
        weights = np.where(residuals > 0, q, 1 - q) ** 2
        found = covariance(run, "covariance", Z.T @ Z, names, meat=(Z.T * weights) @ Z, combinations=L)
        return QuantRegResult(
            **run.finish(),
            formula=part.coding.formula.text,
            response=str(part.response_name),
            q=q,
            params=pd.Series(params, index=list(names), name="coef"),
            bse=pd.Series(np.sqrt(found.variances) / density, index=list(names), name="std err"),
            nobs=n,
            n_missing=dropped,
            bandwidth=bandwidth * unit,
            sparsity=unit / density,
            iterations=steps,
            coding=part.coding,
        )


def _check(q: float) -> None:
    if not (isinstance(q, float) and 0 < q < 1):
        raise DataError(f"q is a number between 0 and 1, not {q!r}")


def _bandwidth(n: int, q: float) -> float:
    """Return Hall and Sheather's bandwidth, in terms of q."""
    z = stats.norm.ppf(q)
    width = float(
        n ** (-1 / 3)
        * stats.norm.ppf(0.975) ** (2 / 3)
        * (1.5 * stats.norm.pdf(z) ** 2 / (2 * z**2 + 1)) ** (1 / 3)
    )
    if not 0 < q - width < q + width < 1:
        raise EstimationError(
            f"{n} rows over all sites are too few for standard errors of the quantile {q:g}: they would rest "
            f"on those from {q - width:.2f} to {q + width:.2f}"
        )
    return width


def _density(
    run: Analysis, residuals: Array, response: Array, q: float, width: float, n: int
) -> tuple[float, float]:
    """Return the kernel's bandwidth, and the density of the residuals at 0, in the frame."""
    ((low, high),) = find_quantiles(run, [np.sort(residuals)], np.array([n]), np.array([0.25, 0.75]))
    total, squares = scalars(run, "response spread", np.array([response.sum(), response @ response])) / n
    spread = min(float(np.sqrt(squares - total**2)), (high - low) / 1.34)
    bandwidth = spread * float(stats.norm.ppf(q + width) - stats.norm.ppf(q - width))
    if not bandwidth > 0:
        raise EstimationError(
            "half of the rows of all sites lie on the fitted line: there are no standard errors"
        )
    u = residuals / bandwidth
    kernel = 0.75 * (1 - u**2) * (np.abs(u) <= 1)
    return bandwidth, float(scalars(run, "density", np.array([kernel.sum()]))[0]) / (n * bandwidth)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class QuantRegResult(CoefficientResult):
    """A fitted quantile regression, in the names of statsmodels; the same at every site.

    Attributes
    ----------
    q
        Which quantile.
    bandwidth, sparsity
        Of the kernel, and the reciprocal of the residuals' density at 0.
    iterations
        How many steps were taken.
    """

    q: float
    bandwidth: float
    sparsity: float
    iterations: int

    @property
    def use_t(self) -> bool:
        """P-values and intervals are of Student's t, as statsmodels has them."""
        return True

    def summary(self) -> str:
        """Return the fit as text."""
        pairs: list[tuple[str, object]] = [
            ("Residual df", self.df_resid),
            ("Quantile", self.q),
            ("Bandwidth", self.bandwidth),
            ("Sparsity", self.sparsity),
        ]
        return self._text(f"Quantile regression: {self.formula}", pairs)
