"""Where plots are drawn; matplotlib is imported when one is."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
