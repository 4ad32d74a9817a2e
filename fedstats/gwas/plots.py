"""Manhattan and QQ plots of a scan, and plots of frequencies; matplotlib is imported when one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fedstats.gwas._inflation import lambda_gc

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: −log10 of the customary genome-wide threshold, 5·10⁻⁸.
GENOME_WIDE: Final = -np.log10(5e-8)

_CHROMOSOMES: Final = ("#1d3f66", "#7ba3cc")
_ACCENT: Final = "#c8452f"
_GREY: Final = "#6b7280"

#: Difference of frequencies that stands out.
_APART: Final = 0.2
#: Base pairs within which significant variants count as one locus, and how many loci are named.
_LOCUS: Final = 500_000
_MOST_NAMES: Final = 12
#: Variants that are considered for a name.
_CANDIDATES: Final = 2_000
#: Width and height of a name, in parts of the axes.
_NAME_SIZE: Final = (0.055, 0.05)
#: Chromosomes shorter than this part of the axis stay without a label.
_NARROW: Final = 0.018
#: Points of a QQ plot: the smallest P values all, the others thinned, as they overlap.
_ALL_SMALLEST: Final = 1_000
_THINNED: Final = 3_000


def manhattan(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw −log10 P of every variant along the genome.

    Variants beyond the genome-wide threshold stand out, and the foremost of each locus is named.

    Parameters
    ----------
    frame
        Columns `chromosome`, `base_pair_location`, `neg_log10_p` and, for the names, `rsid`, as from
        `GWASResult.to_frame`; variants without a P value are left out. Chromosomes are drawn in the
        order of the rows.
    ax
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    ax = axes(ax, (11, 4))
    tested = frame[frame["neg_log10_p"].notna()]
    x, spans = _genome_axis(tested)
    y = tested["neg_log10_p"].to_numpy()
    significant = y > GENOME_WIDE

    for number, (start, end) in enumerate(spans.to_numpy()):
        here = (x >= start) & (x <= end) & ~significant
        ax.scatter(x[here], y[here], s=5, linewidths=0, color=_CHROMOSOMES[number % 2], rasterized=True)
    ax.scatter(x[significant], y[significant], s=14, linewidths=0, color=_ACCENT, rasterized=True, zorder=3)
    ax.axhline(GENOME_WIDE, color=_ACCENT, linewidth=0.9, linestyle=(0, (5, 4)))
    ax.set_ylim(0, 1.12 * max(y.max(initial=0.0), GENOME_WIDE))
    if len(spans):
        first, last = spans["start"].iloc[0], spans["end"].iloc[-1]
        margin = 0.01 * (last - first) or 1.0
        ax.set_xlim(first - margin, last + margin)
        wide = spans[spans["end"] - spans["start"] >= _NARROW * (last - first)]
        ax.set_xticks(wide.mean(axis=1).to_numpy(), wide.index.to_list())
    ax.tick_params(axis="x", length=0)
    if "rsid" in tested:
        _name_loci(ax, tested.assign(x=x))
    ax.set_xlabel("Chromosome")
    ax.set_ylabel(r"$-\log_{10}\,P$")
    return ax


def qq(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw observed against expected −log10 P, with λ of genomic control in the title.

    The band holds 95 % of the P values of each rank under the null hypothesis, were the variants
    independent.

    Parameters
    ----------
    frame
        Column `neg_log10_p`; variants without a P value are left out.
    ax
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    ax = axes(ax, (4.8, 4.8))
    observed = np.sort(frame["neg_log10_p"].dropna().to_numpy())[::-1]
    rank = _thinned_ranks(observed.size)
    expected = -np.log10((rank - 0.5) / max(observed.size, 1))
    # The P value of a rank is a uniform order statistic, and so is Beta distributed.
    low, high = (-np.log10(stats.beta.ppf(q, rank, observed.size + 1 - rank)) for q in (0.975, 0.025))

    ax.fill_between(expected, low, high, color=_GREY, alpha=0.18, linewidth=0)
    limit = expected.max(initial=1.0)
    ax.plot([0, limit], [0, limit], color=_GREY, linewidth=0.9)
    ax.scatter(
        expected, observed[rank - 1], s=9, linewidths=0, color=_CHROMOSOMES[0], rasterized=True, zorder=3
    )
    ax.set_xlim(0, 1.04 * limit)
    ax.set_ylim(0, 1.06 * max(observed.max(initial=0.0), high.max(initial=0.0), limit))
    ax.set_xlabel(r"Expected $-\log_{10}\,P$")
    ax.set_ylabel(r"Observed $-\log_{10}\,P$")
    ax.set_title(rf"$\lambda_\mathrm{{GC}} = {lambda_gc(observed):.3f}$", loc="left")
    return ax


def frequencies(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw how many variants have which minor allele frequency.

    Parameters
    ----------
    frame
        Column `effect_allele_frequency`; variants without one are left out.
    ax
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    ax = axes(ax, (6, 4))
    frequency = frame["effect_allele_frequency"].dropna().to_numpy()
    ax.hist(np.minimum(frequency, 1 - frequency), np.linspace(0, 0.5, 51).tolist(), color=_CHROMOSOMES[0])
    ax.set_xlim(0, 0.5)
    ax.set_xlabel("Minor allele frequency")
    ax.set_ylabel("Variants")
    return ax


def against_reference(compared: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw allele frequencies against those of a reference; those that differ by more than 0.2 stand out.

    Parameters
    ----------
    compared
        Columns `effect_allele_frequency` and `reference_frequency`, as from `QCResult.compare`.
    ax
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    ax = axes(ax, (4.8, 4.8))
    x, y = compared["reference_frequency"], compared["effect_allele_frequency"]
    apart = (x - y).abs() > _APART
    for which, colour in ((~apart, _CHROMOSOMES[0]), (apart, _ACCENT)):
        ax.scatter(x[which], y[which], s=6, linewidths=0, color=colour, alpha=0.6, rasterized=True)
    ax.axline((0, 0), slope=1, color=_GREY, linewidth=0.9)
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("Allele frequency in the reference")
    ax.set_ylabel("Allele frequency")
    return ax


def components(scores: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw samples by their first two principal components.

    Parameters
    ----------
    scores
        Columns `pc1` and, if there is more than one component, `pc2`, as from `PCAResult.scores`.
    ax
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    ax = axes(ax, (5, 5))
    second = scores["pc2"] if "pc2" in scores else np.zeros(len(scores))
    ax.scatter(scores["pc1"], second, s=8, linewidths=0, color=_CHROMOSOMES[0], alpha=0.6, rasterized=True)
    ax.set_xlabel("First component")
    ax.set_ylabel("Second component")
    return ax


def axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return where to draw: what the caller gave, or a new figure of a size in inches."""
    if ax is None:
        try:
            from matplotlib import pyplot as plt
        except ImportError as error:
            raise ImportError("plots need matplotlib: pip install 'fedstats[plot]'") from error
        _, ax = plt.subplots(figsize=size, layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _genome_axis(variants: pd.DataFrame) -> tuple[NDArray[np.float64], pd.DataFrame]:
    """Lay the chromosomes one after another.

    Returns
    -------
    x : ndarray of float64, shape (variants,)
        Where each variant comes to lie.
    spans : DataFrame
        `start` and `end` of each chromosome.
    """
    position = variants["base_pair_location"].astype(np.float64)
    ends = position.groupby(variants["chromosome"], sort=False).agg(["min", "max"])
    length = ends["max"] - ends["min"]
    gap = 0.01 * length.sum() + 1
    start = (length + gap).cumsum() - (length + gap)
    shift = variants["chromosome"].map(start - ends["min"]).astype(np.float64)  # no floats, if empty
    x = position + shift
    return np.asarray(x, np.float64), pd.DataFrame({"start": start, "end": start + length})


def _name_loci(ax: Axes, variants: pd.DataFrame) -> None:
    """Name the foremost variant of each significant locus, strongest first, where there is room."""
    width, height = np.array(_NAME_SIZE) * (np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim()))
    loci: list[tuple[str, int]] = []
    names: list[tuple[float, float]] = []
    significant = variants[variants["neg_log10_p"] > GENOME_WIDE].nlargest(_CANDIDATES, "neg_log10_p")
    columns = ["chromosome", "base_pair_location", "x", "neg_log10_p", "rsid"]
    for chromosome, position, x, y, rsid in significant[columns].itertuples(index=False):
        if any(chromosome == other and abs(position - place) < _LOCUS for other, place in loci):
            continue
        loci.append((chromosome, position))
        if any(abs(x - other_x) < width and abs(y - other_y) < height for other_x, other_y in names):
            continue
        names.append((x, y))
        ax.annotate(
            rsid, (x, y), (0, 5), textcoords="offset points", ha="center", fontsize=7.5, color="#374151"
        )
        if len(names) == _MOST_NAMES:
            break


def _thinned_ranks(n: int) -> NDArray[np.int64]:
    """Ranks from 1 to n: all of the first, then ever sparser ones."""
    if n <= _ALL_SMALLEST + _THINNED:
        return np.arange(1, n + 1)
    sparse = np.geomspace(_ALL_SMALLEST + 1, n, _THINNED).round().astype(np.int64)
    return np.concatenate([np.arange(1, _ALL_SMALLEST + 1), np.unique(sparse)])
