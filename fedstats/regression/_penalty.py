"""What a penalised regression is asked for, and what its fits come to, whatever the family and the mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.regression._folds import Folds, check_folds
from fedstats.regression._path import LEAST_L1, Curve, geometric_grid

Rule: TypeAlias = Literal["min", "1se"]


@dataclass(frozen=True)
class Penalty:
    """What was asked for.

    Attributes
    ----------
    alpha, alphas
        One alpha, or those to choose from, descending; None: to be chosen, from a grid.
    l1_ratio
        Share of absolute values.
    n_alphas, eps
        Length of the grid, and its smallest alpha as a part of its largest.
    cv, random_state
        How rows are held out.
    rule
        Which alpha is chosen.
    """

    alpha: float | None
    l1_ratio: float
    alphas: tuple[float, ...] | None
    n_alphas: int
    eps: float
    cv: Folds
    rule: Rule
    random_state: int

    def check(self) -> None:
        """Raise DataError for what makes no sense."""
        if not 0 <= self.l1_ratio <= 1:
            raise DataError(f"l1_ratio lies between 0 (ridge) and 1 (lasso), not at {self.l1_ratio!r}")
        given = [self.alpha] if self.alpha is not None else list(self.alphas or ())
        if not all(np.isfinite(alpha) and alpha > 0 for alpha in given):
            raise DataError("alphas are positive: without a penalty, use ols or logit")
        if self.alphas is not None and len(set(self.alphas)) != len(self.alphas):
            raise DataError("alphas names an alpha more than once")
        if self.alphas is not None and not self.alphas:
            raise DataError("alphas is empty")
        if self.alpha is not None and self.alphas is not None:
            raise DataError("give alpha, or alphas to choose from, not both")
        if not (isinstance(self.n_alphas, int) and self.n_alphas > 1 and 0 < self.eps < 1):
            raise DataError("n_alphas is two at least, and eps lies between 0 and 1")
        if self.rule not in get_args(Rule):
            raise DataError(f"rule must be one of {', '.join(get_args(Rule))}, not {self.rule!r}")
        check_folds(self.cv)

    def grid(self, largest: float) -> Array:
        """Return the alphas, descending; `largest` is the smallest one that leaves no term in a lasso."""
        if self.alpha is not None:
            return np.array([self.alpha])
        if self.alphas is not None:
            return np.sort(np.array(self.alphas))[::-1]
        return geometric_grid(largest / max(self.l1_ratio, LEAST_L1), self.n_alphas, self.eps)

    def split(self, alphas: Array, unit: float) -> tuple[Array, Array]:
        """Return the penalties on absolute values and on squares for a response in a unit."""
        return alphas * self.l1_ratio / unit, alphas * (1 - self.l1_ratio)

    def choose(self, curve: Curve) -> int:
        """Return the position of the alpha that the rule chooses."""
        return curve.best if self.rule == "min" else curve.within_one_se


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fit in framed columns.

    Attributes
    ----------
    alphas
        Descending, in units of the response.
    coefficients
        Shape ``(alphas, p)``, or ``(1, p)`` of the chosen alpha alone; intercept first.
    chosen
        Position of the chosen alpha.
    curve
        Errors of cross-validation, or None.
    """

    alphas: Array
    coefficients: Array
    chosen: int
    curve: Curve | None
