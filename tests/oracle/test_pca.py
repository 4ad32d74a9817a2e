"""Principal components against NumPy on the pooled rows, in both modes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from stat_helpers import pooled, refused, split

import fedstats as fs
from fedstats.multivariate.pca import DECLARATION


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([2, 40], id="3 sites"),
        pytest.param([1, 10, 30, 60], id="5 sites", marks=pytest.mark.slow),
    ],
)
def test_iris(scale: bool, sizes: list[int]) -> None:
    frame = load_iris(as_frame=True).frame.drop(columns="target").set_axis(["sl", "sw", "pl", "pw"], axis=1)
    frame.iloc[5, 2] = np.nan
    names, complete = list(frame.columns), frame.dropna()
    x = ((complete - complete.mean()) / (complete.std() if scale else 1)).to_numpy()
    values, vectors = np.linalg.eigh(np.cov(x.T))
    for mode, rtol in (("aggregate", 1e-10), ("result", 1e-7)):
        found = pooled(
            lambda c, mode=mode: fs.pca(c, names, 3, scale=scale, disclose=mode), split(frame, sizes)
        )
        np.testing.assert_allclose(found.explained_variance, values[::-1][:3], rtol=rtol)
        expected = vectors[:, ::-1][:, :3].T
        signs = np.sign((found.components * expected).sum(axis=1)).to_numpy()[:, np.newaxis]
        np.testing.assert_allclose(found.components, signs * expected, atol=rtol)
        np.testing.assert_allclose(found.explained_variance_ratio, values[::-1][:3] / values.sum(), rtol=rtol)
        np.testing.assert_allclose(found.mean, complete.mean(), rtol=rtol)
        np.testing.assert_allclose(found.std, complete.std(), rtol=rtol)
        np.testing.assert_allclose(
            np.abs(found.transform(frame).dropna()), np.abs(x @ vectors[:, ::-1][:, :3]), atol=10 * rtol
        )
        assert found.transform(frame).isna().all(axis=1).sum() == 1
        assert (found.nobs, found.n_missing) == (149, 1)
        assert found.leakage.labels == {*DECLARATION.opened(mode), *DECLARATION.published}
    sizes_ = {reveal.label: reveal.size for reveal in found.leakage}
    assert sizes_["components"] == 3 * (4 + 1)
    if len(sizes) == 2:
        assert found.cost.rounds == (149 if scale else 105) + 3 * (66 + 15 * (3 + 4))
    assert "PC3" in found.summary()


def test_columns_of_very_different_units() -> None:
    frame = load_breast_cancer(as_frame=True).frame.iloc[:, :6].set_axis([*"abcdef"], axis=1)
    frame["a"] *= 1e6
    x = ((frame - frame.mean()) / frame.std()).to_numpy()
    values = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    found = pooled(lambda c: fs.pca(c, list(frame.columns), 2), split(frame, [20, 100]))
    np.testing.assert_allclose(found.explained_variance, values[:2], rtol=1e-8)


def test_columns_that_follow_from_others() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(90, 3))
    frame = pd.DataFrame(np.column_stack([x, x.sum(axis=1), x[:, 0] - 2 * x[:, 2]]), columns=[*"abcde"])
    values = np.linalg.eigvalsh(np.corrcoef(frame, rowvar=False))[::-1]
    found = pooled(lambda c: fs.pca(c, list(frame.columns), 5), split(frame, [20, 60]))
    np.testing.assert_allclose(found.explained_variance, values, rtol=1e-8, atol=1e-8 * 5)
    np.testing.assert_allclose(np.linalg.norm(found.components, axis=1), 1, rtol=1e-6)


@pytest.mark.slow  # of 11 sites, which leave quotients fewer digits
def test_eleven_sites() -> None:
    frame = load_iris(as_frame=True).frame.drop(columns="target").set_axis([*"abcd"], axis=1)
    values = np.linalg.eigvalsh(np.corrcoef(frame, rowvar=False))[::-1]
    found = pooled(lambda c: fs.pca(c, list(frame.columns), 1), split(frame, list(range(12, 140, 13))))
    np.testing.assert_allclose(found.explained_variance, values[:1], rtol=1e-7)


@pytest.mark.parametrize(
    ("columns", "count", "error", "message"),
    [
        (["sl", "x"], 1, fs.DataError, "no site has a column 'x'"),
        ("sl", 1, fs.DataError, "columns is a list"),
        (["sl", "sl"], 1, fs.DataError, "each once"),
        (["sl", "pl"], 3, fs.DataError, "n_components is a whole number from 1"),
        (["sl", "kind"], 1, fs.DataError, "'kind' is categorical"),
        (["sl", "const"], 1, fs.EstimationError, "'const' has the same value"),
        (["sl", "wild"], 1, fs.DataError, "infinite"),
    ],
)
def test_refused(columns, count: int, error: type[Exception], message: str) -> None:
    frame = load_iris(as_frame=True).frame.set_axis(["sl", "sw", "pl", "pw", "kind"], axis=1)
    frame = frame.assign(kind=frame.kind.map(str) + "k", const=3.0, wild=np.inf)
    for raised in refused(lambda c: fs.pca(c, columns, count, disclose="aggregate"), split(frame, [20, 60])):
        with pytest.raises(error, match=message):
            raise raised
