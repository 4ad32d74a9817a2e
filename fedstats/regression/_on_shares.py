"""Least squares of which only the results are opened.

The sites measure all columns in a coarse public frame (`_frames`), and share X'X and X'y. The coefficients
are solved for on shares and opened. With them each site has its residuals; their squares, plain or weighted
by pairs of columns, are summed on shares in turn. Of these, what is opened are the residual and the total sum
of squares, and the variances of the estimates. The residual sum of squares is off only by the square of what
the coefficients are off by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from fedstats import _frames
from fedstats._moments import Frame
from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.regression import _equations
from fedstats.regression._equations import Inverse
from fedstats.regression._results import CovType, OLSResult
from fedstats.regression._rows import Clusters, meat_of, small_sample
from fedstats.regression._weights import Weighting
from protocols.floating import floating
from protocols.long import LongArray, concatenate, lengthen, multiply
from protocols.secret import SecretArray

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.design import Design
    from protocols.engine import Engine

#: What `fit_on_shares` opens.
RESULT: Mapping[str, str] = {
    **_frames.RESULT,
    "coefficients": "the estimates, in the frame of the columns",
    "sums of squares": "of the residuals; of the response, about its mean if the terms span a constant",
    "variances": "of the estimates, but for the variance of the errors",
}
WITHOUT_INTERCEPT: Mapping[str, str] = {"constant": "whether the terms span a constant all the same"}
ROBUST: Mapping[str, str] = {
    **RESULT,
    "variances": "of the estimates; Wald's statistic that all but the intercept are 0",
}

#: The terms span a constant if they leave less than this share of its squared length.
_SPANNED = 1e-6


def fit_on_shares(
    run: Analysis, part: Design, cov_type: CovType, how: Weighting, clusters: Clusters | None
) -> OLSResult:
    """Fit a linear model, opening `RESULT`.

    Parameters
    ----------
    run
        The analysis, past `agree`, in the result mode.
    part
        This site's design, with a response.
    cov_type
        Not HC2 or HC3: leverages are known to nobody.
    how
        The weights of this site's rows.
    clusters
        Which of them belong together, for cov_type="cluster".

    Notes
    -----
    **Cost.** About 135 rounds for three parties; 50 more for robust covariances.
    """
    p, intercept = len(part.names), part.has_intercept
    n, dropped = _frames.open_rows(run, len(part.X), part.dropped)
    if n <= p:
        raise EstimationError(f"{n} complete rows over all sites cannot determine {p} terms: use fewer terms")
    run.check_rows(n, p)
    names = (*part.names[intercept:], str(part.response_name))
    columns = np.column_stack([part.X[:, intercept:], cast(Array, part.y)])
    frame = _frames.pooled_frame(run, columns, names, n)
    if not intercept:
        frame.centre[:] = 0.0
    framed = frame.apply(columns)
    framed = how.root[:, np.newaxis] * np.column_stack([np.ones(len(framed)), framed])
    ones, Z, y = framed[:, 0], framed[:, 1 - intercept : -1], framed[:, -1]

    upper = np.triu_indices(p)
    with run.on_shares() as engine:
        left, right = _equations.shared(engine, (Z.T @ Z)[upper], (Z.T @ y)[:, np.newaxis])
        inverse = _equations.inverted(_equations.full(left, p), part.names)
        secret = _equations.coefficients(inverse.times(right)[:, 0])
    on_z = run.reveal({"coefficients": secret})["coefficients"]

    residuals = y - Z @ on_z
    squares = np.array([residuals @ residuals, y @ y, ones @ y])
    unframing = _unframing(frame, intercept=intercept)
    estimates = unframing @ on_z
    robust = cov_type != "nonrobust"
    meat, count = meat_of(run, residuals[:, np.newaxis] * Z, clusters)
    with run.on_shares() as engine:
        if robust:
            sums, inner = _equations.shared(engine, squares, _equations.summand_of(meat))
            matrix = inverse.sandwich(_equations.inner_of(meat, inner), L=unframing)
        else:
            (sums,) = _equations.shared(engine, squares)
            matrix = inverse.sandwich(L=unframing)
        spans = None if intercept else _spans_constant(engine, inverse, ones @ Z, n)
        results = [sums[:1], _total_squares(sums, n, spans), matrix[np.arange(p), np.arange(p)]]
        if robust and p > intercept:
            tested = slice(int(intercept), None)
            results.append(_equations.secret_wald(matrix[tested, tested], estimates[tested]))
        found = floating(concatenate(results))
        opened = run.reveal(
            {
                "sums of squares": found[:2],
                "variances": found[2:],
                **({} if spans is None else {"constant": spans}),
            }
        )
    ssr, tss = opened["sums of squares"]
    constant = intercept or bool(opened["constant"])
    variances, wald = opened["variances"][:p], opened["variances"][p:]
    factor = small_sample(cov_type, n, p, count) if robust else ssr / (n - p)
    unit = frame.unit[-1]
    units = unit / np.concatenate([np.ones(int(intercept)), frame.unit[:-1]])
    params = units * estimates
    if intercept:
        params[0] += frame.centre[-1]
    return OLSResult(
        **run.finish(),
        formula=part.coding.formula.text,
        response=str(part.response_name),
        cov_type=cov_type,
        params=pd.Series(params, index=list(part.names), name="coef"),
        nobs=n,
        n_missing=dropped,
        df_resid=n - p,
        k_constant=int(constant),
        ssr=how.mean * (unit * (unit * ssr)),
        centered_tss=how.mean * (unit * (unit * tss)) if constant else float("nan"),
        uncentered_tss=float("nan") if constant else how.mean * (unit * (unit * tss)),
        condition_number=float("nan"),
        bse=pd.Series(units * np.sqrt(variances * factor), index=list(part.names), name="std err"),
        covariance=None,
        wald=float(wald[0]) / factor if len(wald) else None,
        coding=part.coding,
        weights=how.text,
        sum_log_weights=how.sum_log,
        clusters=count,
    )


def _unframing(frame: Frame, *, intercept: bool) -> Array:
    """Return the matrix that takes coefficients in a frame to those of the columns, but for the units."""
    p = len(frame.unit) - 1 + intercept
    matrix = np.eye(p)
    if intercept:
        matrix[0, 1:] = -(frame.centre / frame.unit)[:-1]
    return matrix


def _total_squares(sums: LongArray, n: int, spans: SecretArray | None) -> LongArray:
    """Return the sum of squares of the response, about its mean if the terms span a constant."""
    about_mean = multiply(sums[2:], sums[2:]) * (1 / n)
    if spans is not None:
        about_mean = multiply(lengthen(spans), about_mean)
    return sums[1:2] - about_mean


def _spans_constant(engine: Engine, inverse: Inverse, ones: Array, n: int) -> SecretArray:
    """Return whether the terms leave nothing of a constant: whether n − 1'Z (Z'Z)⁻¹ Z'1 is about 0."""
    (pooled,) = _equations.shared(engine, ones)
    explained = multiply(pooled, inverse.times(pooled.reshape(-1, 1))[:, 0]).sum()
    return n - explained < _SPANNED * n
