"""Folds of cross-validation: rows dealt to k folds within each site, or every site a fold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedstats.errors import DataError
from fedstats.expressions import Array

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: What `check_site` publishes.
PUBLISHED: Mapping[str, str] = {"folds": "that each site has min_cell complete rows at least"}
#: Number of folds that each site deals its rows to, or ``"sites"``: each site is left out in turn.
Folds: TypeAlias = int | Literal["sites"]


def check_folds(cv: Folds) -> None:
    """Raise DataError unless this says how to cross-validate."""
    if cv != "sites" and not (isinstance(cv, int) and not isinstance(cv, bool) and 2 <= cv <= 100):
        raise DataError(f"cv is a number of folds from 2 to 100, or 'sites', not {cv!r}")


def check_site(run: Analysis, rows: int) -> None:
    """Let all sites stop together if one has too few rows to be a fold; it is published as `PUBLISHED`."""
    least = run.federation.shared_policy.min_cell

    def check() -> Mapping[str, object]:
        if rows < least:
            raise DataError(
                f"this site has {rows} complete rows, too few to be left out (min_cell is {least}): use "
                "folds within sites (cv=5)"
            )
        return {}

    run.agree("folds", check, max_bytes=1 << 10)


def fold_count(run: Analysis, cv: Folds) -> int:
    """Return how many folds there are."""
    return len(run.sites) if cv == "sites" else cv


def deal(run: Analysis, cv: Folds, rows: int, random_state: int) -> NDArray[np.intp]:
    """Return the fold of each of this site's rows, shape ``(rows,)``.

    Rows are shuffled and dealt in turn, so that folds within a site differ by one row at most. Sites of as
    many rows shuffle alike.
    """
    if cv == "sites":
        return np.full(rows, run.sites.index(run.federation.site))
    return np.asarray(np.random.default_rng(random_state).permutation(rows) % cv, np.intp)


def products_by_fold(columns: Array, fold: NDArray[np.intp], count: int) -> Array:
    """Return Σxx' over the rows of each fold, shape ``(count, q, q)``."""
    return np.stack([columns[fold == k].T @ columns[fold == k] for k in range(count)])
