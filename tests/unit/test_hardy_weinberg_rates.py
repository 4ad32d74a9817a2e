"""The exact test of rates: equal to that of counts where the rates are exact, and near it where rounded."""

from __future__ import annotations

import numpy as np
from scipy import stats

from fedstats.gwas._hardy_weinberg import mid_p, mid_p_of_rates


def test_exact_and_rounded_rates() -> None:
    random = np.random.default_rng(2)
    n = 20_000
    rare = random.integers(700, n, 3_000)
    expected = rare**2 / (4 * n)
    spread = rare * (2 * n - rare) / (2 * n) ** 1.5 / np.sqrt(2)
    two = np.clip(np.rint(expected + random.uniform(-6, 6, rare.size) * spread), 0, rare // 2).astype(
        np.int64
    )
    exact = mid_p(rare - 2 * two, two, n - rare + two)
    p = rare / (2 * n)
    ratio = (rare - 2 * two) / (2 * n * p * (1 - p))
    samples = np.full(rare.size, float(n))
    for frequency in (p, 1 - p):
        found = mid_p_of_rates(samples, frequency, ratio)
        np.testing.assert_allclose(found, exact, rtol=1e-6)
    # Rounded as by `gwas.qc`, with cells of 5.
    unit, of_frequency = 2.0 ** -np.ceil(np.log2(16 * np.sqrt(n))), 2.0 ** -np.floor(np.log2(2 * n / 5))
    rounded = [np.rint(its / step) * step for its, step in ((p, of_frequency), (ratio, unit))]
    change = np.exp(abs(np.log(mid_p_of_rates(samples, *rounded) / exact)))[exact > 1e-10]
    assert change.max() < 4
    assert np.quantile(change, 0.9) < 1.5
    chi2 = stats.chi2.sf(n * (1 - rounded[1]) ** 2, 1)
    assert np.exp(abs(np.log(chi2 / exact)))[exact > 1e-10].max() > 1000
    assert np.isnan(mid_p_of_rates(samples[:1], p[:1], np.array([np.nan]))).all()
