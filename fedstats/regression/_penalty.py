"""What a penalised regression is asked for, and what its fits come to, whatever the family and the mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from fedstats.errors import DataError
from fedstats.expressions import Array
from fedstats.regression._folds import Folds, check_folds
from fedstats.regression._path import Curve

Rule: TypeAlias = Literal["min", "1se"]

#: A grid's smallest alpha as a part of its largest, with absolute values penalised and without.
EPS_L1, EPS_RIDGE = 1e-3, 1e-4


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
        Length of the grid, and its smallest alpha as a part of its largest; a default if None.
    cv, random_state
        How rows are held out.
    rule
        Which alpha is chosen.
    """

    alpha: float | None
    l1_ratio: float
    alphas: tuple[float, ...] | None
    n_alphas: int
    eps: float | None
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
        if not (isinstance(self.n_alphas, int) and self.n_alphas > 1 and 0 < (self.eps or EPS_L1) < 1):
            raise DataError("n_alphas is two at least, and eps lies between 0 and 1")
        if self.rule not in get_args(Rule):
            raise DataError(f"rule must be one of {', '.join(get_args(Rule))}, not {self.rule!r}")
        check_folds(self.cv)

    @property
    def needs_largest(self) -> bool:
        """Whether the grid begins where no term is left: there is none given, and absolute values count."""
        return self.alpha is None and self.alphas is None and self.l1_ratio > 0

    def grid(self, largest: float, terms: int) -> Array:
        """Return the alphas, descending.

        Parameters
        ----------
        largest
            Where `needs_largest`, the smallest alpha that leaves no term in a lasso.
        terms
            How many are penalised. It is the sum of the eigenvalues of their correlation matrix, beside
            which a penalty on squares alone is large or small.
        """
        if self.alpha is not None:
            return np.array([self.alpha])
        if self.alphas is not None:
            return np.sort(np.array(self.alphas))[::-1]
        first = largest / self.l1_ratio if self.l1_ratio else float(terms)
        eps = self.eps or (EPS_L1 if self.l1_ratio else EPS_RIDGE)
        return np.geomspace(first, first * eps, self.n_alphas)

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
