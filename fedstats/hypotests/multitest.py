"""Corrections of p-values for how many there are. Nothing is sent: p-values are results that every site has.

References
----------
.. [1] S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics
   6, 1979.
.. [2] Y. Benjamini and Y. Hochberg, "Controlling the False Discovery Rate", Journal of the Royal Statistical
   Society B 57, 1995.
.. [3] Y. Benjamini and D. Yekutieli, "The Control of the False Discovery Rate in Multiple Testing Under
   Dependency", Annals of Statistics 29, 2001.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from fedstats.expressions import Array

Correction: TypeAlias = Literal["bonferroni", "holm", "fdr_bh", "fdr_by"]


def multipletests(
    pvals: Sequence[float] | Array | Mapping[str, float] | pd.Series[float],
    alpha: float = 0.05,
    method: Correction = "holm",
) -> pd.DataFrame:
    """Correct p-values for their number.

    Parameters
    ----------
    pvals
        p-values, by name if it is a mapping or a Series. NaN stands for a test that was not made, and does
        not count.
    alpha
        What is to be controlled: the probability of any false rejection (``"bonferroni"``, ``"holm"``), or
        the expected share of false ones (``"fdr_bh"``, ``"fdr_by"``).
    method
        ``"bonferroni"``; ``"holm"``, its improvement; ``"fdr_bh"`` of Benjamini and Hochberg for independent
        tests; ``"fdr_by"`` of Benjamini and Yekutieli for any.

    Returns
    -------
    pandas.DataFrame
        Columns ``pvalue``, ``pvalue_corrected`` and ``reject``, in the order of `pvals`.

    Raises
    ------
    ValueError
        A p-value is not between 0 and 1, or the method is not known.

    Examples
    --------
    >>> fs.multipletests({"age": 0.01, "sex": 0.04, "arm": 0.03})["pvalue_corrected"].tolist()  # doctest:
    +SKIP [0.03, 0.06, 0.06]
    """
    if method not in get_args(Correction):
        raise ValueError(f"method must be one of {', '.join(get_args(Correction))}")
    if not 0 < alpha < 1:
        raise ValueError("alpha lies between 0 and 1")
    series = pd.Series(dict(pvals) if isinstance(pvals, Mapping) else pvals, dtype=float, name="pvalue")
    made = series.notna().to_numpy()
    p: Array = np.asarray(series, np.float64)[made]
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values lie between 0 and 1")
    corrected = np.full(len(series), np.nan)
    corrected[made] = _corrected(p, method)
    return pd.DataFrame({"pvalue": series, "pvalue_corrected": corrected, "reject": corrected <= alpha})


def _corrected(p: Array, method: Correction) -> Array:
    m = len(p)
    if method == "bonferroni":
        return np.minimum(p * m, 1.0)
    order = np.argsort(p, kind="stable")
    place = np.arange(1, m + 1)
    corrected = np.empty(m)
    if method == "holm":
        corrected[order] = np.maximum.accumulate(p[order] * (m + 1 - place))
    else:
        factor = m / place * (float(np.sum(1 / place)) if method == "fdr_by" else 1.0)
        corrected[order] = np.minimum.accumulate((p[order] * factor)[::-1])[::-1]
    return np.minimum(corrected, 1.0)
