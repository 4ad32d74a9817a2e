"""Where plots are drawn; matplotlib is imported when one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fedstats.formula import INTERCEPT

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def axes(ax: Axes | None, size: tuple[float, float] = (6.4, 4.0)) -> Axes:
    """Return the axes to draw in: those given, or those of a new figure of this size in inches.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'fedstats[plot]'") from error
    return plt.subplots(figsize=size, layout="constrained")[1]


def intervals(
    ax: Axes | None, frame: pd.DataFrame, xlabel: str, *, nothing: float, log: bool = False
) -> Axes:
    """Draw estimates with their intervals, one below the other.

    Parameters
    ----------
    ax
        Where to draw; a new figure by default.
    frame
        By name the estimate and the lower and the upper end of its interval.
    xlabel
        What is estimated.
    nothing
        Where a line stands for no effect.
    log
        Whether the axis is logarithmic.
    """
    target = axes(ax, (6.4, 0.3 * len(frame) + 1.2))
    middle, lower, upper = frame.iloc[::-1].to_numpy(float).T
    place = np.arange(len(frame))
    target.hlines(place, lower, upper, color="#7ba3cc")
    target.plot(middle, place, "s", color="#1d3f66")
    target.axvline(nothing, color="#6b7280", linewidth=0.9, linestyle=(0, (5, 4)))
    if log:
        target.set_xscale("log")
    target.set_yticks(place, [_name(key) for key in frame.index[::-1]])
    target.set_xlabel(xlabel)
    return target


def matrix(target: Axes, frame: pd.DataFrame, most: float, **labels: Any) -> None:
    """Draw a matrix as colours around 0, for magnitudes up to `most`; labels below it as `labels` say."""
    image = target.imshow(frame.to_numpy(float), cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
    target.set_xticks(np.arange(frame.shape[1]), [_name(key) for key in frame.columns], **labels)
    target.set_yticks(np.arange(len(frame)), [_name(key) for key in frame.index])
    target.figure.colorbar(image, ax=target)


def coefficients(ax: Axes | None, params: pd.Series[float], interval: pd.DataFrame) -> Axes:
    """Draw the coefficients of terms but the constant with their intervals of level 95 %."""
    of_terms = [INTERCEPT not in (key if isinstance(key, tuple) else (key,)) for key in params.index]
    frame = pd.concat([params, interval.loc[params.index]], axis=1)[of_terms]
    return intervals(ax, frame, "coefficient, with its 95 % confidence interval", nothing=0.0)


def _name(key: Any) -> str:
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)
