"""What every hypothesis test returns, in the names of scipy.stats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from fedstats import _table
from fedstats.errors import DataError
from fedstats.results import Result

Alternative: TypeAlias = Literal["two-sided", "less", "greater"]


class ConfidenceInterval(NamedTuple):
    """Limits of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class HypothesisTest(Result):
    """A test of one hypothesis; the same at every site.

    Attributes
    ----------
    title
        Which test, of which columns.
    statistic, pvalue
        As the function of that name in scipy.stats or statsmodels has them.
    alternative
        What the p-value is against; two-sided for tests that know no other.
    nobs
        Rows that were used, by group; of all sites together.
    """

    title: str
    statistic: float
    pvalue: float
    alternative: Alternative = "two-sided"
    nobs: pd.Series[int] = field(repr=False)

    @property
    def figures(self) -> dict[str, float]:
        """The numbers of the test by their names, as `to_frame` shows them."""
        return {"statistic": self.statistic, "pvalue": self.pvalue}

    def to_frame(self) -> pd.DataFrame:
        """Return the numbers of the test as a single row."""
        return pd.DataFrame([self.figures])

    def by_group(self) -> pd.DataFrame:
        """Return what is known of each group, one a row."""
        return pd.DataFrame({"nobs": self.nobs})

    def summary(self) -> str:
        """Return the test as text."""
        lines = [self.title, "", *_table.pair_lines(list(self.figures.items()))]
        if self.alternative != "two-sided":
            lines.append(f"alternative: {self.alternative}")
        if len(self.nobs) > 1:
            groups = self.by_group()
            groups.index = groups.index.map(str)
            lines += ["", *_table.frame_lines(groups)]
        return "\n".join([*lines, "", f"{self.nobs.sum()} rows", f"Cost: {self.cost}"])


#: Options of a call by name, each with its value and what it may be: a Literal's values, a truth value, a
#: finite number, a probability, or None for what is checked elsewhere.
Options: TypeAlias = Mapping[str, tuple[object, object]]


def check_options(options: Options) -> None:
    """Refuse options that are not what they may be."""
    for name, (value, allowed) in options.items():
        if allowed is None:
            continue
        if allowed is bool:
            sound, known = isinstance(value, bool), "True or False"
        elif allowed in (float, "probability"):
            number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
            sound, known = number and bool(np.isfinite(cast(float, value))), "a finite number"
            if allowed == "probability":
                sound, known = sound and 0 <= cast(float, value) <= 1, "between 0 and 1"
        else:
            sound, known = value in get_args(allowed), f"one of {', '.join(map(repr, get_args(allowed)))}"
        if not sound:
            raise DataError(f"{name} must be {known}, not {value!r}")


def call_text(options: Options) -> str:
    """Return the options as the text that must be the same at every site."""
    return ", ".join(f"{name}={value!r}" for name, (value, _) in options.items())


def tail(
    statistic: ArrayLike, law: stats.rv_continuous, *parameters: float, alternative: Alternative
) -> float:
    """Return the p-value of a statistic with a symmetric law about 0 under the hypothesis."""
    z = np.asarray(statistic, np.float64)
    if alternative == "two-sided":
        return float(2 * law.sf(np.abs(z), *parameters))
    return float(law.sf(z if alternative == "greater" else -z, *parameters))


def interval(
    estimate: float,
    error: float,
    level: float,
    law: stats.rv_continuous,
    *parameters: float,
    alternative: Alternative,
) -> ConfidenceInterval:
    """Return the interval of an estimate with a standard error, one-sided as the alternative is."""
    if not 0 < level < 1:
        raise ValueError("confidence_level lies between 0 and 1")
    outside = (1 - level) / (2 if alternative == "two-sided" else 1)
    reach = float(law.isf(outside, *parameters)) * error
    return ConfidenceInterval(
        -np.inf if alternative == "less" else estimate - reach,
        np.inf if alternative == "greater" else estimate + reach,
    )
