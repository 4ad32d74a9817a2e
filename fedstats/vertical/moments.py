"""Descriptions, t-tests and correlations of linked columns: sums of powers and of products over patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats._counts import HIDDEN, is_few
from fedstats._moments import Frame, moments_of_ratios, secret_ratios
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.vertical import halves, joined
from fedstats.vertical.joined import LARGEST, PUBLISHED, Variables
from protocols.long import LongArray, lengthen, stack
from protocols.secret import SecretArray, select
from protocols.secret import stack as stack_short

if TYPE_CHECKING:
    from fedstats.describe import DescribeResult
    from fedstats.vertical.cohort import VerticalCohort
    from protocols.engine import Engine

DESCRIBE = Declaration(
    "vertical.describe",
    result={
        "counts": "of each column and group, of how many patients there is a value, and of how many none; of "
        "fewer than min_cell, that it is so",
        "moments": "mean, variance, skewness and kurtosis of each column and group",
    },
    published=PUBLISHED,
)

#: Significant bits of opened moments.
_DIGITS = 40


def power_sums(
    engine: Engine,
    cohort: VerticalCohort,
    variables: Variables,
    numeric: Sequence[int],
    by: Sequence[int],
    order: int,
) -> tuple[SecretArray, SecretArray, LongArray]:
    """Return what follows from each group's patients.

    Parameters
    ----------
    engine
        The computation.
    cohort, variables
        The linked columns, and what is used of them.
    numeric
        Positions of the variables that are summed.
    by
        Positions of the indicators of groups; none if all patients are one group.
    order
        The highest power.

    Returns
    -------
    counts : SecretArray
        Shape ``(groups, variables)``: patients with a value.
    absent : SecretArray
        The same, without one.
    sums : LongArray
        Shape ``(order, groups, variables)``: Σz, Σz², … in the variables' frames.

    Notes
    -----
    **Cost.** Five rounds for three parties, eight with groups; four for two, see `halves.power_sums`.
    """
    sums_of = halves.power_sums if halves.are_there(engine, cohort) else _power_sums
    patients, sums = sums_of(engine, cohort, variables, numeric, by, order)
    counts = patients[:, 1:]
    scale = np.array([LARGEST ** (power - 1) for power in range(1, order + 1)])
    return counts, patients[:, :1] - counts, lengthen(sums) * scale.reshape(order, 1, 1)


def _power_sums(
    engine: Engine,
    cohort: VerticalCohort,
    variables: Variables,
    numeric: Sequence[int],
    by: Sequence[int],
    order: int,
) -> tuple[SecretArray, SecretArray]:
    """Return `halves.power_sums` of columns of any number of sites."""
    chosen = variables[[place for _ in range(order) for place in numeric]]
    k = len(numeric)
    # Each power is at most `LARGEST` again.
    powers = {place: z * (z / LARGEST) ** (place // k) for place, z in chosen.mine.items()}
    sets = [[*by], *([place, *by] for place in numeric)]
    fraction = joined.fraction_of_sums(engine, cohort)
    values = joined.spread(
        engine, cohort, joined.with_values(chosen, powers), bound=LARGEST, fraction=fraction
    )
    counting = joined.counting(engine, cohort, variables, sets)
    each = (values.reshape(order, k, cohort.size) * counting[1:]).assume(LARGEST)
    if not by:
        return counting.sum(axis=1).reshape(1, -1), each.sum(axis=2).reshape(order, 1, k)
    member = joined.spread(engine, cohort, variables[by], bound=1, fraction=0)
    sums = joined.products(member, each.reshape(order * k, cohort.size))
    return joined.products(member, counting), sums.reshape(len(by), order, k).transpose(1, 0, 2)


def describe(
    cohort: VerticalCohort, columns: Sequence[str] | None, by: str | None, disclose: Disclose
) -> DescribeResult:
    """Describe linked columns; see `fedstats.describe`."""
    from fedstats.describe import DescribeResult

    def check() -> list[str]:
        numeric = [name for name, kind in cohort.schema.kinds.items() if kind.is_numeric and name != by]
        names = numeric if columns is None else list(columns)
        if not names or len(set(names)) != len(names) or by in names:
            raise DataError("columns names the columns of numbers to describe, each once, and not by")
        for name in names:
            cohort.schema.require_numeric(name)
        if by is not None:
            cohort.schema.require(by)
        return [*names, *([] if by is None else [by])]

    with cohort.federation.analysis(DESCRIBE, disclose) as run:
        variables = joined.agree(
            run,
            f"columns={columns!r}, by={by!r}",
            check,
            cohort.owners.__getitem__,
            lambda name: (joined.indicators if name == by else joined.number)(cohort, name),
        )
        groups = [] if by is None else variables.groups[by]
        numeric = [place for place in range(len(variables.names)) if place not in groups]
        enough = run.federation.shared_policy.min_cell
        with run.on_shares() as engine:
            counts, absent, sums = power_sums(engine, cohort, variables, numeric, groups, 4)
            run.decide_joint((counts + absent)[:, 0].sum())
            few = is_few(counts, enough)
            shown = run.reveal({"counts": select(few, HIDDEN, stack_short([counts, absent]))})["counts"]
        n, missing = shown
        usable = n >= max(enough, 2)
        found = np.full((5, *n.shape), np.nan)
        if usable.any():
            where = np.nonzero(usable)
            with run.on_shares():
                chosen = stack([sums[power][where] for power in range(4)])
                ratios = secret_ratios(n[where], chosen)
            opened = run.reveal({"moments": ratios}, digits=_DIGITS)["moments"]
            frame = Frame(variables.frame.centre[numeric][where[1]], variables.frame.unit[numeric][where[1]])
            moments = moments_of_ratios(n[where], opened, frame)
            for place, name in enumerate(("mean", "std", "var", "skew", "kurtosis")):
                found[place][where] = getattr(moments, name)
        names = [variables.names[place] for place in numeric]
        levels = () if by is None else variables.levels[by]
        return DescribeResult(
            **run.finish(),
            by=by,
            min_cell=enough,
            suppressed=int((n == HIDDEN).sum()),
            skipped={},
            frame=_frame(names, levels, by, n, missing, found),
        )


def _frame(
    names: list[str],
    levels: tuple[str, ...],
    by: str | None,
    n: NDArray[np.int64],
    missing: NDArray[np.int64],
    found: Array,
) -> pd.DataFrame:
    index: pd.Index | pd.MultiIndex = (
        pd.Index(names, name="column")
        if by is None
        else pd.MultiIndex.from_product([levels, names], names=[by, "column"])
    )
    hidden = (n == HIDDEN).ravel()
    counts: Mapping[str, NDArray[np.int64]] = {"count": n, "missing": missing}
    frame = pd.DataFrame(
        {name: pd.arrays.IntegerArray(its.ravel().copy(), hidden.copy()) for name, its in counts.items()},
        index,
    )
    for place, name in enumerate(("mean", "std", "var", "skew", "kurtosis")):
        frame[name] = found[place].ravel()
    return frame
