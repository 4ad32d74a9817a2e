"""The analysis that real sites cannot make: the same questions, asked of all rows in one table.

Written with other tools than fedstats uses, and on one machine: pandas, statsmodels, and least
squares on each variant's genotypes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

#: Variants that are regressed at once.
_BLOCK = 1000


def describe(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return pandas' statistics of the numeric columns, a row for each group and column."""
    parts = {}
    for group, rows in table.groupby(by):
        numbers = rows.select_dtypes("number")
        found = numbers.agg(["count", "mean", "std", "var", "skew", "kurt"]).T
        parts[group] = found.rename(columns={"kurt": "kurtosis"})
    return pd.concat(parts)


def ols(table: pd.DataFrame, formula: str) -> pd.DataFrame:
    """Return statsmodels' estimates and standard errors, a row for each parameter."""
    from statsmodels.formula.api import ols as fit

    result = fit(formula, table).fit()
    return pd.DataFrame({"coef": result.params, "std err": result.bse})


def linear_gwas(
    genotypes: NDArray[np.int8], trait: NDArray[np.float64], covariates: NDArray[np.float64]
) -> pd.DataFrame:
    """Regress a trait on every variant, with covariates and missing genotypes set to the mean.

    Parameters
    ----------
    genotypes
        Counts of the effect allele, shape (variants, samples), −1 where missing.
    trait, covariates
        Shapes (samples,) and (samples, covariates).

    Returns
    -------
    pandas.DataFrame
        `beta`, `standard_error` and `neg_log10_p` of each variant.
    """
    design = np.column_stack([np.ones_like(trait), covariates])
    basis = np.linalg.qr(design).Q
    freedom = trait.size - design.shape[1] - 1
    y = _residuals(basis, trait[np.newaxis])[0]
    parts = [_scan(block, y, basis, freedom) for block in _imputed(genotypes)]
    return pd.concat(parts, ignore_index=True)


def _imputed(genotypes: NDArray[np.int8]) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(genotypes), _BLOCK):
        block = genotypes[start : start + _BLOCK].astype(np.float64)
        block[block < 0] = np.nan
        means = np.nanmean(block, axis=1, keepdims=True)
        yield np.where(np.isnan(block), means, block)


def _scan(
    block: NDArray[np.float64], y: NDArray[np.float64], basis: NDArray[np.float64], freedom: int
) -> pd.DataFrame:
    """Least squares on each variant by the theorem of Frisch, Waugh and Lovell."""
    g = _residuals(basis, block)
    squares = np.einsum("ij,ij->i", g, g)
    beta = g @ y / squares
    rest = y - beta[:, np.newaxis] * g
    error = np.sqrt(np.einsum("ij,ij->i", rest, rest) / freedom / squares)
    log_p = stats.t.logsf(np.abs(beta / error), freedom) + np.log(2)
    return pd.DataFrame({"beta": beta, "standard_error": error, "neg_log10_p": -log_p / np.log(10)})


def _residuals(basis: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Project rows off the columns of an orthonormal basis; twice, which removes rounding errors."""
    for _ in range(2):
        rows = rows - (rows @ basis) @ basis.T
    return rows
