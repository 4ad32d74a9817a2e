"""Numbers of rows over all sites, of which small ones are opened to nobody when counted on shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protocols.compare import negative
from protocols.inputs import sum_shares
from protocols.secret import SecretArray, select, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: More rows than any federation has.
MOST = 2.0**40
#: Stands for a count that is not shown.
HIDDEN = -1


def open_counts(
    run: Analysis,
    label: str,
    counts: NDArray[np.int64] | SecretArray,
    least: int,
    *,
    along: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Return pooled counts; in the result mode `HIDDEN` in place of 1, …, least − 1.

    Parameters
    ----------
    run
        The analysis, past `agree`.
    label
        What the counts are declared as.
    counts
        This site's, of any shape; or those of all sites, secret.
    least
        The smallest count that is shown, besides 0.
    along
        This site's counts that are shown and hidden together with its `counts`, shape ``(k, *shape)``.

    Returns
    -------
    ndarray
        Shape of `counts`, or ``(1 + k, *shape)``.

    Notes
    -----
    **Leakage.** The counts; in the result mode of small ones only that they are small.

    **Cost.** A sum of integers; or 15 rounds for three parties and 10⁴ counts.
    """
    if isinstance(counts, SecretArray):
        with run.on_shares():
            known = select(is_few(counts, least), HIDDEN, counts)
        return run.reveal({label: known})[label]
    everything = counts if along is None else np.concatenate([counts[np.newaxis], along])
    if run.disclose == "aggregate":
        return np.asarray(run.sum(label, everything))
    with run.on_shares() as engine:
        total = sum_shares(engine, everything, bound=MOST)
        few = is_few(total if along is None else total[0], least)
        shown = select(few, HIDDEN, total)
    return run.reveal({label: shown})[label]


def is_few(counts: SecretArray, least: int) -> SecretArray:
    """Return 1 where a secret count is one of 1, …, least − 1, else 0. 11 rounds for three parties."""
    bits = negative(stack([counts - least, -counts]))
    return bits[0] * bits[1]
