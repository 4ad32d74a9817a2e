"""What every private analysis does first: its call is agreed on, its columns are taken, its loss is reserved.

Nothing here may depend on single rows, or it would tell of them without noise. So levels are those that were
declared, never those that occur; values that are missing, infinite, beyond the bounds or of no declared level
are no errors; and no number of rows is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedstats.cohort import require_rows
from fedstats.design import check_same_call
from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.privacy.accounting import Number, loss
from fedstats.schema import Kind

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

T = TypeVar("T")
Integers = NDArray[np.int64]

#: What `agree_call` publishes; part of the declaration of every private analysis.
PUBLISHED: Mapping[str, str] = {"call": "the text of the call"}


@dataclass(frozen=True)
class Loss:
    """What a call may cost, as its caller gave it: ρ, or ε and δ; and its distance, see `epsilon_for`."""

    rho: Number | None
    epsilon: Number | None
    delta: Number | None
    distance: float = 0.0

    def value(self) -> Fraction:
        """Return it as ρ, or raise DataError."""
        return loss(self.rho, self.epsilon, self.delta, self.distance)


def agree_call(
    run: Analysis, cohort: Cohort, call: str, asked: Loss, local: Callable[[], T]
) -> tuple[T, Fraction]:
    """Agree with the other sites on a call, take this site's rows, and reserve what the call costs.

    Parameters
    ----------
    run
        The analysis, at its start; its declaration includes `PUBLISHED`.
    cohort
        The rows, whose data set's budget pays.
    call
        Every option that all sites must give alike, as text.
    asked
        What it may cost.
    local
        Checks the call and returns this site's part. May raise DataError, but not for values of rows.

    Returns
    -------
    tuple
        What `local` returned, and ρ.

    Raises
    ------
    DataError, PolicyError
        As `local` or the budget raised it; or the sites ask for different analyses.
    RemoteError
        The same at another site.
    """
    mine: list[tuple[T, Fraction]] = []

    def check() -> Mapping[str, Any]:
        require_rows(cohort)
        rho = asked.value()
        part = local()
        run.reserve(rho, cohort.source)
        mine.append((part, rho))
        return {"call": f"{call}, rho={rho}"}

    told = run.agree("call", check)
    check_same_call(told, run.federation.site)
    return mine[0]


@dataclass(frozen=True)
class Bounds:
    """Public bounds of a column, between which values are clipped; the unit of its integers.

    Attributes
    ----------
    low, high
        The bounds.
    """

    low: float
    high: float

    @classmethod
    def of(cls, bounds: object, name: str) -> Bounds:
        """Read the bounds of a column from a pair, or from the pair of its name in a mapping."""
        pair = bounds.get(name) if isinstance(bounds, Mapping) else bounds
        try:
            low, high = (float(end) for end in pair)  # type: ignore[union-attr]
        except (TypeError, ValueError):
            low = high = 0.0
        if not (-1e150 <= low < high <= 1e150) or not low < low / 2 + high / 2 < high:
            raise DataError(
                f"bounds of column {name!r} are two numbers, the lower one first, that are known without "
                f"looking at rows: bounds={{{name!r}: (0, 120)}}; values beyond are clipped"
            )
        return cls(low, high)

    @property
    def centre(self) -> float:
        """Midway between the bounds."""
        return self.low / 2 + self.high / 2

    @property
    def half(self) -> float:
        """Half of their distance."""
        return self.high / 2 - self.low / 2

    def scaled(self, values: Array, unit: int) -> tuple[Integers, NDArray[np.bool_]]:
        """Return values as integers from −unit to unit, 0 where missing, and which are not."""
        used = ~np.isnan(values)
        clipped = np.clip(np.where(used, values, self.centre), self.low, self.high)
        whole = np.rint((clipped - self.centre) / self.half * unit).astype(np.int64)
        return np.where(used, np.clip(whole, -unit, unit), 0), used


def written(values: object) -> str:
    """Return numbers as text, all of them: that of a long array leaves out what is in its middle."""
    try:
        return repr([float(one) for one in values])  # type: ignore[attr-defined]
    except (OverflowError, TypeError, ValueError):
        return repr(values)


def numbers(cohort: Cohort, name: object) -> Array:
    """Return this site's values of a numeric column, NaN where missing; infinite ones too."""
    if not isinstance(name, str):
        raise DataError("a column is given by its name")
    return cohort.numbers(name, np.inf)


def declared(cohort: Cohort, name: object) -> tuple[str, ...]:
    """Return the levels of a column that are known without looking at rows.

    Raises
    ------
    DataError
        They were not declared.
    """
    if not isinstance(name, str):
        raise DataError("a column is given by its name")
    kind = cohort.schema.require(name)
    if name in cohort.declared_levels:
        return cohort.declared_levels[name]
    if kind is Kind.BOOL:
        return ("False", "True")
    raise DataError(
        f"column {name!r} has no declared levels, and those that occur would tell of single rows: declare "
        f"them by federation.cohort(…, levels={{{name!r}: […]}})"
    )


def codes(cohort: Cohort, name: str, levels: Sequence[str]) -> NDArray[np.int64]:
    """Return the positions of this site's rows among the declared levels of a column, −1 for any others."""
    position: dict[object, int] = {level: code for code, level in enumerate(levels)}
    return np.array([position.get(text, -1) for text in cohort.texts(name, strict=False)], np.int64)


def grouped(cohort: Cohort, by: str | None) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the levels of a grouping column, and each row's position among them; one group without it."""
    if by is None:
        return ("",), np.zeros(len(cohort), np.int64)
    levels = declared(cohort, by)
    return levels, codes(cohort, by, levels)


def columns_of(columns: object) -> list[str]:
    """Return the names of one column or several."""
    names = [columns] if isinstance(columns, str) else columns
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
        raise DataError("columns is the name of a column, or a list of names")
    if len(set(names)) != len(names):
        raise DataError("columns names a column more than once")
    return list(names)


def check_level(level: object) -> None:
    """Refuse what is no level of an interval."""
    if not (isinstance(level, float) and 0 < level < 1):
        raise DataError("level is a number between 0 and 1, such as 0.95")


def check_ambiguous(ambiguous: object) -> None:
    """Refuse what tells strands by frequencies, which are opened without noise."""
    if ambiguous not in ("keep", "drop"):
        raise DataError(f"ambiguous={ambiguous!r}: 'keep' or 'drop', as frequencies have noise or are secret")
