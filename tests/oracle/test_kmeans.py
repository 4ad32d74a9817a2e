"""k-means against scikit-learn on the pooled rows, in both modes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from stat_helpers import pooled, refused, split

import fedstats as fs
from fedstats.multivariate.kmeans import DECLARATION

NAMES = ["sl", "sw", "pl", "pw"]


def iris() -> pd.DataFrame:
    frame = load_iris(as_frame=True).frame.set_axis([*NAMES, "kind"], axis=1)
    frame.loc[7, "sw"] = np.nan
    return frame.assign(text="t", wild=np.inf)


@pytest.mark.parametrize("mode", ["aggregate", "result"])
@pytest.mark.parametrize("scale", [True, False])
def test_pooled_rows_stay_where_they_are(scale: bool, mode: str) -> None:
    frame = iris()
    sizes = [2, 40] if scale else [1, 10, 30, 60]
    found = pooled(lambda c: fs.kmeans(c, NAMES, 3, scale=scale, disclose=mode), split(frame, sizes))
    complete = frame[NAMES].dropna()
    unit = complete.std() if scale else pd.Series(1.0, complete.columns)
    x = (complete / unit).to_numpy()
    again = KMeans(3, init=(found.centers / unit).to_numpy(), n_init=1, tol=0, algorithm="lloyd").fit(x)
    np.testing.assert_allclose(found.centers / unit, again.cluster_centers_, rtol=1e-6)
    assert found.inertia == pytest.approx(again.inertia_, rel=1e-6)
    assert found.inertia <= 1.01 * KMeans(3, n_init=20, random_state=0).fit(x).inertia_
    assert found.sizes.tolist() == np.bincount(again.labels_).tolist()
    assert found.predict(frame).dropna().tolist() == again.labels_.tolist()
    assert found.predict(frame).isna().tolist().index(True) == 7
    assert (found.nobs, found.n_missing) == (149, 1)
    assert found.leakage.labels == {*DECLARATION.opened(mode), *DECLARATION.published}
    assert "3 clusters by k-means" in found.summary()


@pytest.mark.parametrize(
    ("columns", "options", "error", "message"),
    [
        (["sl", "text"], {"n_clusters": 2}, fs.DataError, "'text' is categorical"),
        (["sl", "wild"], {"n_clusters": 2}, fs.DataError, "infinite"),
        (NAMES, {"n_clusters": 0}, fs.DataError, "n_clusters is a whole number from 1"),
        (NAMES, {"n_clusters": 2, "seed": -1}, fs.DataError, "seed is a whole number"),
        (NAMES, {"n_clusters": 60}, fs.EstimationError, "use fewer clusters"),
        (NAMES, {"n_clusters": 3, "max_iter": 1}, fs.EstimationError, "raise max_iter"),
    ],
)
def test_refused(columns, options, error: type[Exception], message: str) -> None:
    program = lambda c: fs.kmeans(c, columns, disclose="aggregate", **options)  # noqa: E731
    for raised in refused(program, split(iris(), [20, 60])):
        with pytest.raises(error, match=message):
            raise raised
