"""Regional plot: the variants around one, by position and P value; matplotlib is imported when needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from fedstats.gwas.plots import GENOME_WIDE, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Upper ends of classes of r², and their colours; the last is of variants whose r² nobody gave.
_CLASSES: Final = (0.2, 0.4, 0.6, 0.8, 1.0)
_COLOURS: Final = ("#1d3f66", "#4f9bc9", "#5aa46a", "#e3a23a", "#c8452f")
_UNKNOWN: Final = "#9aa3af"
_MARKED: Final = "#6d3fa0"
_MEGABASE: Final = 1e6


def regional(
    frame: pd.DataFrame,
    variant: str | None = None,
    *,
    window: int = 500_000,
    r2: pd.Series[float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw −log10 P of the variants near one.

    Parameters
    ----------
    frame
        Columns `chromosome`, `base_pair_location`, `neg_log10_p` and `rsid`, as from `GWASResult.to_frame`;
        variants without a P value are left out.
    variant
        The rsid in the middle; by default that of the smallest P value.
    window
        Base pairs to each side.
    r2
        Squared correlations with the one in the middle, by rsid, which colour the others.
    ax
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        The variant is not among those that were tested, or none was.
    ImportError
        matplotlib is not installed.
    """
    tested = frame[frame["neg_log10_p"].notna()]
    middle = tested.nlargest(1, "neg_log10_p") if variant is None else tested[tested["rsid"] == variant]
    if middle.empty:
        raise ValueError("no variant was tested" if variant is None else f"{variant!r} is no tested variant")
    lead = middle.iloc[0]
    place = tested["base_pair_location"]
    near = tested[
        (tested["chromosome"] == lead["chromosome"]) & ((place - lead["base_pair_location"]).abs() <= window)
    ]
    ax = axes(ax, (7, 4))
    others = near.drop(index=middle.index[0])
    known = others["rsid"].map(r2) if r2 is not None else pd.Series(np.nan, others.index)
    for here, colour, label in _by_class(known):
        shown = others[here]
        x, y = shown["base_pair_location"] / _MEGABASE, shown["neg_log10_p"]
        ax.scatter(x, y, s=16, linewidths=0, color=colour, label=label, rasterized=True)
    at = lead["base_pair_location"] / _MEGABASE, lead["neg_log10_p"]
    ax.scatter(*at, s=46, marker="D", linewidths=0, color=_MARKED, zorder=3)
    ax.annotate(
        lead["rsid"], at, (0, 6), textcoords="offset points", ha="center", fontsize=8, color="#374151"
    )
    ax.axhline(GENOME_WIDE, color="#c8452f", linewidth=0.9, linestyle=(0, (5, 4)))
    ax.set_xlim((lead["base_pair_location"] + np.array([-window, window])) / _MEGABASE)
    ax.set_ylim(0, 1.14 * max(float(near["neg_log10_p"].max()), GENOME_WIDE))
    if known.notna().any():
        ax.legend(title="$r^2$", fontsize=7.5, title_fontsize=8, frameon=False, loc="upper right")
    ax.set_xlabel(f"Position on chromosome {lead['chromosome']} (Mb)")
    ax.set_ylabel(r"$-\log_{10}\,P$")
    return ax


def _by_class(known: pd.Series[float]) -> list[tuple[pd.Series[bool], str, str | None]]:
    """Return which variants are in each class of r², its colour and its name; unknown ones first."""
    classes: list[tuple[pd.Series[bool], str, str | None]] = [(known.isna(), _UNKNOWN, None)]
    for low, high, colour in zip((0.0, *_CLASSES), _CLASSES, _COLOURS, strict=False):
        here = (known > low) & (known <= high) if low else known <= high
        classes.append((here, colour, f"{low:g} to {high:g}"))
    return classes
