"""Least squares on linked columns: the matrix of products is computed on shares, and what follows from it.

The products of the columns, measured in coarse units, are exact sums of whole numbers. So are the sums of
squares of the residuals, of coefficients that were opened; nothing cancels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.regression import _equations
from fedstats.regression._results import OLSResult
from fedstats.vertical import joined, model
from fedstats.vertical.joined import ROWS
from fedstats.vertical.model import PUBLISHED
from protocols.floating import floating
from protocols.long import concatenate, lengthen, multiply

if TYPE_CHECKING:
    from fedstats.vertical.cohort import VerticalCohort

OLS = Declaration(
    "vertical.ols",
    result={
        "rows": ROWS,
        "coefficients": "the estimates, in the frame of the columns",
        "sums of squares": "of the residuals; of the response, about its mean",
        "variances": "of the estimates, but for the variance of the errors",
    },
    published=PUBLISHED,
)


def ols(formula: str, cohort: VerticalCohort, cov_type: str, missing: str, disclose: Disclose) -> OLSResult:
    """Fit a linear model to linked columns; see `fedstats.ols`.

    Notes
    -----
    **Leakage.** How many patients count, and what the result holds; of each column, by the site that has it,
    the coarse frame. A coalition of t < n/2 sites, or of n − 1 with a dishonest majority, learns nothing
    more.

    **Cost.** Some 125 rounds for three parties; each sends about 20 bytes for each patient and column. Two
    sites alone, of a and b columns: some 195 rounds, and of each patient 576·a·b bytes, or 770 by encryption.
    """
    if cov_type != "nonrobust":
        raise DataError("robust covariances need residuals, which no site has of linked columns")
    if missing != "drop":
        raise DataError("patients of whom linked columns miss a value do not count: missing='drop'")
    with cohort.federation.analysis(OLS, disclose) as run:
        part = model.agree_model(run, cohort, formula, f"{cov_type=}, {missing=}")
        p = len(part.names)
        with run.on_shares() as engine:
            products, patients = model.gram(engine, cohort, part)
        n = joined.open_number(run, patients, p)
        if n <= p:
            raise EstimationError(f"{n} patients cannot determine {p} terms: use fewer terms")
        with run.on_shares():
            gram = lengthen(products)
            inverse = _equations.inverted(gram[:p, :p], part.names, part.hint)
            right = gram[:p, p:]
            secret = _equations.coefficients(inverse.times(right)[:, 0])
        on_z = run.reveal({"coefficients": secret})["coefficients"]
        unframing = part.unframing
        with run.on_shares():
            explained = right[:, 0] * (2 * on_z) - (gram[:p, :p] @ on_z[:, np.newaxis])[:, 0] * on_z
            total = gram[p, p].reshape(1) - multiply(gram[0, p], gram[0, p]).reshape(1) * (1 / n)
            rest = gram[p, p].reshape(1) - explained.sum().reshape(1)
            variances = inverse.sandwich(L=unframing)[np.arange(p), np.arange(p)]
            found = floating(concatenate([rest, total, variances]))
        opened = run.reveal({"sums of squares": found[:2], "variances": found[2:]})
        ssr, tss = opened["sums of squares"]
        frame = part.variables.frame
        unit = float(frame.unit[-1])
        units = unit / part.units
        params = units * (unframing @ on_z)
        params[0] += frame.centre[-1]
        return OLSResult(
            **run.finish(),
            formula=part.formula.text,
            response=part.response_name,
            cov_type=cov_type,
            params=pd.Series(params, index=list(part.names), name="coef"),
            nobs=n,
            n_missing=cohort.sizes.common - n,
            df_resid=n - p,
            k_constant=1,
            ssr=unit * (unit * ssr),
            centered_tss=unit * (unit * tss),
            uncentered_tss=float("nan"),
            condition_number=float("nan"),
            bse=pd.Series(
                units * np.sqrt(opened["variances"] * ssr / (n - p)), index=list(part.names), name="std err"
            ),
            covariance=None,
            wald=None,
            coding=part.coding,
            weights=None,
            sum_log_weights=0.0,
            clusters=None,
        )
