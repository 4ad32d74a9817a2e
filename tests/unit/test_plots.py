"""Manhattan and QQ plots: what is drawn where, and what happens at the edges."""

from __future__ import annotations

import builtins
import sys

import numpy as np
import pandas as pd
import pytest

from fedstats.gwas._inflation import lambda_gc
from fedstats.gwas.plots import GENOME_WIDE, against_reference, manhattan, qq
from fedstats.gwas.regional import regional

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def scan() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "chromosome": np.repeat(["1", "2", "X"], 500),
            "base_pair_location": np.tile(np.arange(500) * 20_000 + 5_000_000, 3),
            "rsid": [f"rs{i}" for i in range(1500)],
            "neg_log10_p": -np.log10(rng.random(1500)),
        }
    )
    frame.loc[[100, 101, 102], "neg_log10_p"] = [20.0, 350.0, 25.0]
    frame.loc[1200, "neg_log10_p"] = 9.0
    frame.loc[7, "neg_log10_p"] = np.nan
    return frame


def points(ax) -> np.ndarray:
    return np.concatenate([collection.get_offsets() for collection in ax.collections])


def test_manhattan_shows_every_tested_variant_in_order(scan: pd.DataFrame) -> None:
    ax = manhattan(scan)
    ax.figure.canvas.draw()
    drawn = points(ax)
    tested = scan["neg_log10_p"].dropna()
    np.testing.assert_allclose(np.sort(drawn[:, 1]), np.sort(tested))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "X"]
    assert (np.diff(ax.get_xticks()) > 0).all()
    assert ax.get_ylim()[1] > 350
    assert [line.get_ydata()[0] for line in ax.lines] == [GENOME_WIDE]
    assert len(np.unique(drawn[:, 0])) == len(tested)


def test_manhattan_names_the_foremost_of_each_locus(scan: pd.DataFrame) -> None:
    assert [text.get_text() for text in manhattan(scan).texts] == ["rs101", "rs1200"]
    scan.loc[110, "neg_log10_p"] = 348.0  # another locus? no: within 500,000 base pairs
    scan.loc[140, "neg_log10_p"] = 349.0  # another, but its name would cover the first
    assert [text.get_text() for text in manhattan(scan).texts] == ["rs101", "rs1200"]
    assert not manhattan(scan.drop(columns="rsid")).texts


def test_qq_lies_on_the_diagonal_for_uniform_p(scan: pd.DataFrame) -> None:
    uniform = pd.DataFrame({"neg_log10_p": -np.log10((np.arange(1, 20_001) - 0.5) / 20_000)})
    ax = qq(uniform)
    drawn = ax.collections[-1].get_offsets()
    np.testing.assert_allclose(drawn[:, 0], drawn[:, 1], rtol=1e-9)
    assert len(drawn) < 5_000
    assert drawn[:, 1].max() == uniform["neg_log10_p"].max()
    assert "1.000" in ax.get_title(loc="left")
    assert len(qq(scan).collections[-1].get_offsets()) == 1499


@pytest.mark.parametrize("draw", [manhattan, qq])
@pytest.mark.parametrize("rows", [0, 1])
def test_few_variants_are_no_trouble(scan: pd.DataFrame, draw, rows: int) -> None:
    draw(scan.iloc[:rows]).figure.canvas.draw()
    draw(scan.iloc[7:8]).figure.canvas.draw()


@pytest.mark.parametrize("draw", [manhattan, qq])
def test_an_axes_of_the_callers_is_used(scan: pd.DataFrame, draw) -> None:
    _, ax = plt.subplots()
    assert draw(scan, ax=ax) is ax
    assert plt.get_fignums() == [1]


def test_without_matplotlib_the_remedy_is_named(scan: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'fedstats\[plot\]'"):
        manhattan(scan)


def test_lambda_of_genomic_control() -> None:
    """χ² inflated by a factor has that λ."""
    from scipy import stats

    chi2 = 1.3 * stats.chi2.isf((np.arange(1, 10_000) - 0.5) / 9_999, 1)
    assert lambda_gc(-np.log10(stats.chi2.sf(chi2, 1))) == pytest.approx(1.3, rel=1e-6)
    assert np.isnan(lambda_gc(np.array([np.nan])))


def test_a_region_shows_what_is_near(scan: pd.DataFrame) -> None:
    ax = regional(scan, window=100_000)
    drawn = points(ax)
    middle = scan.loc[101, "base_pair_location"] / 1e6
    assert len(drawn) == 11
    assert [text.get_text() for text in ax.texts] == ["rs101"]
    np.testing.assert_allclose(ax.get_xlim(), [middle - 0.1, middle + 0.1])
    assert np.abs(drawn[:, 0] - middle).max() < 0.1001
    assert ax.get_ylim()[1] > 350
    assert "chromosome 1 " in ax.get_xlabel()
    assert ax.get_legend() is None


def test_a_region_is_coloured_by_correlation(scan: pd.DataFrame) -> None:
    r2 = pd.Series({"rs1200": 1.0, "rs1201": 0.95, "rs1199": 0.5, "rs1202": 0.0})
    ax = regional(scan, "rs1200", window=60_000, r2=r2)
    sizes = [len(its.get_offsets()) for its in ax.collections]
    assert sizes == [3, 1, 0, 1, 0, 1, 1]  # unknown, five classes, and the one in the middle
    assert [text.get_text() for text in ax.get_legend().get_texts()][-1] == "0.8 to 1"
    with pytest.raises(ValueError, match="'rs7' is no tested variant"):
        regional(scan, "rs7")
    with pytest.raises(ValueError, match="no variant was tested"):
        regional(scan.iloc[:0])


def test_frequencies_that_are_apart_stand_out() -> None:
    frame = pd.DataFrame(
        {"effect_allele_frequency": [0.1, 0.5, 0.9], "reference_frequency": [0.12, 0.5, 0.1]}
    )
    alike, apart = against_reference(frame).collections
    assert alike.get_offsets().tolist() == [[0.12, 0.1], [0.5, 0.5]]
    assert apart.get_offsets().tolist() == [[0.1, 0.9]]
