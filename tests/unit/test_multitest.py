"""Corrections for multiple testing against statsmodels'."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.stats.multitest as reference
from hypothesis import given, settings
from hypothesis import strategies as st

import fedstats as fs


@settings(max_examples=25)
@given(
    p=st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.01, 0.05]), min_size=1, max_size=30),
    method=st.sampled_from(["bonferroni", "holm", "fdr_bh", "fdr_by"]),
    alpha=st.sampled_from([0.01, 0.05, 0.3]),
)
def test_agrees_with_statsmodels(p: list[float], method: str, alpha: float) -> None:
    found = fs.multipletests(p, alpha, method)
    _, corrected, *_ = reference.multipletests(p, alpha, method)
    np.testing.assert_allclose(found["pvalue_corrected"], corrected, rtol=1e-12)
    # Where rounding does not decide, so do the rejections.
    clear = np.abs(corrected - alpha) > 1e-12
    np.testing.assert_array_equal(found["reject"][clear], (corrected <= alpha)[clear])


def test_names_are_kept_and_tests_that_were_not_made_do_not_count() -> None:
    found = fs.multipletests(pd.Series({"a": 0.01, "b": np.nan, "c": 0.03}), method="bonferroni")
    assert found.index.tolist() == ["a", "b", "c"]
    assert found["pvalue_corrected"].tolist()[::2] == [0.02, 0.06]
    assert found["reject"].tolist() == [True, False, False]
    assert fs.multipletests({"x": 0.5}).loc["x", "pvalue_corrected"] == 0.5
    assert fs.multipletests([]).empty


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.1, 1.5],), "between 0 and 1"),
        (([0.1], 0.05, "sidak"), "method must be one of"),
        (([0.1], 5.0), "alpha lies between"),
    ],
)
def test_bad_arguments(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fs.multipletests(*arguments)
