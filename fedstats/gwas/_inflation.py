"""Genomic control: how much the test statistics of a scan are inflated as a whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def lambda_gc(neg_log10_p: NDArray[np.float64]) -> float:
    """Median χ² of the tested variants over that under the null hypothesis [1]_.

    Parameters
    ----------
    neg_log10_p
        −log10 of P values; NaN where a variant was not tested.

    Returns
    -------
    float
        1 for a well-behaved scan, more where structure or relatedness is left; NaN without tests.

    References
    ----------
    .. [1] Devlin B., Roeder K. (1999), "Genomic control for association studies", Biometrics 55, 997-1004.
    """
    tested = neg_log10_p[~np.isnan(neg_log10_p)]
    if not tested.size:
        return float("nan")
    # χ² falls with p, so the median χ² is that of the median p.
    return float(stats.chi2.isf(10 ** -np.median(tested), 1) / stats.chi2.median(1))
