"""The rows of a model as vectors of integers of bounded length, and its coefficients in units of the columns.

Columns are clipped to their bounds and scaled to [−1, 1]; categories are coded by their declared levels, of
which a row has one. So the squared length of a row is at most the number of columns and the intercept,
whatever the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from scipy import stats

from fedstats import _table
from fedstats.errors import DataError
from fedstats.expressions import Array, Expression
from fedstats.formula import INTERCEPT, parse
from fedstats.privacy import _call
from fedstats.privacy._call import Bounds, Integers
from fedstats.privacy._result import PrivateResult, quantile_of
from fedstats.schema import Kind

if TYPE_CHECKING:
    from fedstats.cohort import Cohort

#: The integer that stands for 1.
UNIT: Final = 1 << 14


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """This site's complete rows, clipped, scaled and rounded; its repr shows none.

    Attributes
    ----------
    names
        The terms, the intercept first.
    X
        Shape ``(rows, terms)``, integers in units of `UNIT`.
    y
        The response, likewise.
    columns
        How many columns the terms are of, and the intercept: the squared length of a row of `X`, at most.
    response
        Bounds of the response.
    shift, scale
        Of each term: what is coded as 0 and as 1, less the former.
    """

    names: tuple[str, ...]
    X: Integers
    y: Integers
    columns: int
    response: Bounds
    shift: Array
    scale: Array

    @classmethod
    def of(
        cls, cohort: Cohort, formula: str, bounds: object, response: Callable[[Array], Array] | None = None
    ) -> Model:
        """Code this site's rows, whatever values they hold.

        Parameters
        ----------
        cohort
            The rows.
        formula
            ``"y ~ x + C(arm)"``: columns and categories, without products and functions.
        bounds
            A mapping from numeric columns to their bounds.
        response
            Turns the column of the response into one with the bounds −1 and 1, as of an event; without it
            `bounds` holds the response's too.
        """
        parsed = parse(formula)
        if parsed.response is None or not parsed.response.is_column or parsed.response.contrast is not None:
            raise DataError(f"formula {formula!r} needs a response, a column: write response ~ terms")
        if not isinstance(bounds, Mapping):
            raise DataError("bounds says between what each numeric column lies: bounds={'age': (18, 100)}")
        terms = list(parsed.terms)
        if not terms or str(terms[0]) != "1" or any(len(term.factors) != 1 for term in terms):
            raise DataError(
                f"formula {formula!r}: private models have an intercept, and terms of one column each; "
                "make a column of a product or a function before, at every site"
            )
        y = _call.numbers(cohort, parsed.response.columns[0])
        limits = Bounds(-1.0, 1.0)
        if response is None:
            limits = Bounds.of(bounds, parsed.response.columns[0])
        else:
            y = response(y)
        whole, used = limits.scaled(y, UNIT)
        coded = [_Coded.constant(len(y))]
        for factor in (str(term) for term in terms[1:]):
            coded.append(_Coded.of(cohort, parsed.factors[_unquoted(factor, parsed.factors)], bounds))
            used &= coded[-1].used
        return cls(
            tuple(name for one in coded for name in one.names),
            np.column_stack([one.X for one in coded])[used],
            whole[used],
            len(coded),
            limits,
            np.concatenate([one.shift for one in coded]),
            np.concatenate([one.scale for one in coded]),
        )

    def unscaled(self) -> Array:
        """Return the matrix that turns coefficients of coded terms and response into those of the columns.

        To be applied to coefficients, of which 1 stands for half the distance of the response's bounds; the
        intercept lacks the centre of these.
        """
        L = np.diag(1 / self.scale)
        L[0, 1:] = -self.shift[1:] / self.scale[1:]
        return L * self.response.half


def _unquoted(factor: str, known: Mapping[str, Any]) -> str:
    """Return the name of a factor as the formula's expressions have it."""
    return factor if factor in known else factor.strip("`")


@dataclass(frozen=True, eq=False, repr=False)
class _Coded:
    """The columns of one term."""

    names: tuple[str, ...]
    X: Integers
    used: Any
    shift: Array
    scale: Array

    @classmethod
    def constant(cls, rows: int) -> _Coded:
        return cls(
            (INTERCEPT,),
            np.full((rows, 1), UNIT, np.int64),
            np.ones(rows, np.bool_),
            np.zeros(1),
            np.ones(1),
        )

    @classmethod
    def of(cls, cohort: Cohort, factor: Expression, bounds: Mapping[str, Any]) -> _Coded:
        if not (factor.is_column or factor.contrast is not None):
            raise DataError(
                f"term {factor.text!r} is computed: make a column of it before, at every site, and give its "
                "bounds"
            )
        name = factor.columns[0]
        kind = cohort.schema.require(name)
        if factor.contrast is None and kind is not Kind.CATEGORICAL and kind is not Kind.BOOL:
            limits = Bounds.of(bounds, name)
            whole, used = limits.scaled(_call.numbers(cohort, name), UNIT)
            shift, scale = np.array([limits.centre]), np.array([limits.half])
            return cls((factor.text,), whole[:, np.newaxis], used, shift, scale)
        if factor.contrast is not None and factor.contrast.coding != "treatment":
            raise DataError(f"term {factor.text!r}: private models code categories by treatment only")
        levels = _call.declared(cohort, name)
        reference = levels[0]
        if factor.contrast is not None and factor.contrast.reference is not None:
            reference = factor.contrast.reference
        if reference not in levels or len(levels) < 2:
            raise DataError(f"term {factor.text!r}: its reference is none of two or more declared levels")
        code = _call.codes(cohort, name, levels)
        shown = [number for number, level in enumerate(levels) if level != reference]
        X = (code[:, np.newaxis] == np.array(shown)).astype(np.int64) * UNIT
        names = tuple(f"{factor.text}[T.{levels[number]}]" for number in shown)
        return cls(names, X, code >= 0, np.zeros(len(shown)), np.ones(len(shown)))


def pairs_squared(length: int) -> int:
    """Return a bound of Σ aᵢ²aⱼ² over pairs i ≤ j, for vectors of a squared length with entries up to 1.

    It is half of (Σ aᵢ²)² + Σ aᵢ⁴, and aᵢ⁴ ≤ aᵢ².
    """
    return (length * length + length) // 2


def symmetric(upper: Array, size: int) -> Array:
    """Return the matrix of which the upper triangle is given row by row."""
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size)] = upper
    return matrix + np.triu(matrix, 1).T


def ridge(matrix: Array, variance: float, failure: float = 0.05) -> float:
    """Return what to add to the diagonal so that noise does not make a matrix of sums nearly singular.

    A symmetric matrix of normal noise has a norm of at most √(2vd·log(2d/β)) with probability 1 − β, where
    each entry has variance v. The smallest eigenvalue is lifted to that.
    """
    size = len(matrix)
    bound = np.sqrt(2 * variance * size * np.log(2 * size / failure))
    return float(max(0.0, bound - np.linalg.eigvalsh(matrix)[0]))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PrivateModel(PrivateResult):
    """A model fitted to noisy sums, in the names of statsmodels; the same at every site.

    Attributes
    ----------
    title, formula
        What was fitted.
    params, bse
        Estimates and their standard errors by term, which account for sampling and noise.
    nobs
        Number of rows, with noise.
    ridge
        What was added to the diagonal of the scaled cross-products, as noise drowned them in some direction.
        If it is not 0, estimates are drawn towards 0 and intervals do not account for that.
    covariance
        Covariance matrix of the estimates.
    converged
        Whether the last iteration moved no coefficient by more than noise does. If not, estimates are not
        those of the model, and intervals do not hold them.
    """

    title: str
    formula: str
    params: pd.Series[float]
    bse: pd.Series[float]
    nobs: float
    ridge: float
    covariance: Array
    converged: bool = True

    @property
    def reliable(self) -> bool:
        """Whether intervals hold as often as they say: the fit converged, and noise drowned no direction."""
        return self.converged and not self.ridge

    @property
    def tvalues(self) -> pd.Series[float]:
        """Estimates divided by their standard errors."""
        return (self.params / self.bse).rename("z")

    @property
    def pvalues(self) -> pd.Series[float]:
        """Two-sided p-values that a parameter is 0, by the normal distribution."""
        p = 2 * stats.norm.sf(np.abs(self.tvalues.to_numpy()))
        return pd.Series(p, index=self.params.index, name="P>|z|")

    def conf_int(self, alpha: float | None = None) -> pd.DataFrame:
        """Return confidence intervals of level 1 − alpha, columns 0 (lower) and 1 (upper)."""
        level = self.level if alpha is None else 1 - alpha
        if not 0 < level < 1:
            raise ValueError("alpha lies between 0 and 1")
        reach = quantile_of(level) * self.bse
        return pd.DataFrame({0: self.params - reach, 1: self.params + reach})

    def cov_params(self) -> pd.DataFrame:
        """Return the covariance matrix of the estimates."""
        return pd.DataFrame(self.covariance.copy(), index=self.params.index, columns=self.params.index)

    def to_frame(self) -> pd.DataFrame:
        """Return the estimates: estimate, standard error, statistic, p-value, interval."""
        interval = self.conf_int().set_axis(["low", "high"], axis=1)
        return pd.concat([self.params, self.bse, self.tvalues, self.pvalues, interval], axis=1)

    def summary(self) -> str:
        """Return the fit as text."""
        lines = [f"{self.title}: {self.formula}, {self.nobs:.0f} rows over {len(self.sites)} sites", ""]
        lines += _table.frame_lines(self.to_frame(), digits=5)
        if self.ridge:
            lines += [
                "",
                "Do not rely on the intervals: noise drowns some direction, and estimates are drawn towards",
                "0; spend more, or use more rows",
            ]
        if not self.converged:
            lines += ["", "Not converged: estimates are still on their way; take more iterations"]
        return "\n".join([*lines, *self._closing()])


def fitted(
    names: tuple[str, ...], estimates: Array, covariance: Array
) -> tuple[pd.Series[float], pd.Series[float]]:
    """Return estimates and standard errors by term."""
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return pd.Series(estimates, list(names), name="coef"), pd.Series(errors, list(names), name="std err")
