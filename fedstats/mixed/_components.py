"""Variance components as they are searched for: the entries of Cholesky factors, which nothing constrains.

The covariance matrix of a cluster's random effects, as parts of the error variance, is G = ΛΛ' with a lower
triangular Λ; the variance of the sites' intercepts is τ². The parameters θ are the entries of Λ, row by row,
and τ: where G or τ² is on the boundary of what is possible, the likelihood is as smooth in θ as elsewhere
[1]_.

References
----------
.. [1] D. Bates, M. Mächler, B. Bolker and S. Walker, "Fitting Linear Mixed-Effects Models Using lme4",
   Journal of Statistical Software 67, 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedstats.expressions import Array

#: A fit is singular if a diagonal entry of Λ, or τ, is below this; that of lme4.
SINGULAR = 1e-4


def symmetric_basis(q: int) -> Array:
    """Return the symmetric matrices that entries of the lower triangle stand for, row by row."""
    rows, columns = np.tril_indices(q)
    number = np.arange(len(rows))
    basis = np.zeros((len(rows), q, q))
    basis[number, rows, columns] = 1.0
    basis[number, columns, rows] = 1.0
    return basis


@dataclass(frozen=True)
class Components:
    """Which variance components a model has.

    Attributes
    ----------
    q
        Random effects of a cluster.
    site
        Whether sites have an intercept, too.
    """

    q: int
    site: bool

    @property
    def _lower(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        return np.tril_indices(self.q)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return len(self._lower[0]) + self.site

    @property
    def diagonal(self) -> NDArray[np.intp]:
        """Positions of the diagonal of Λ, and of τ, among the parameters."""
        on = np.flatnonzero(self._lower[0] == self._lower[1])
        return np.append(on, self.size - 1) if self.site else on

    def start(self) -> Array:
        """Return where the search begins: random effects that vary as the errors do."""
        theta = np.zeros(self.size)
        theta[self.diagonal] = 1.0
        return theta

    def factor(self, theta: Array) -> Array:
        """Return Λ, shape ``(q, q)``."""
        matrix = np.zeros((self.q, self.q))
        matrix[self._lower] = theta[: len(self._lower[0])]
        return matrix

    def covariances(self, theta: Array) -> tuple[Array, float | None]:
        """Return G and τ²."""
        factor = self.factor(theta)
        return factor @ factor.T, float(theta[-1] ** 2) if self.site else None

    def jacobian(self, theta: Array) -> Array:
        """Return the derivatives in θ of the lower triangle of G, and of τ², shape ``(size, size)``."""
        rows, columns = self._lower
        factor = self.factor(theta)
        found = np.zeros((self.size, self.size))
        inner = slice(0, len(rows))
        found[inner, inner] = (rows[:, np.newaxis] == rows) * factor[np.ix_(columns, columns)] + (
            columns[:, np.newaxis] == rows
        ) * factor[np.ix_(rows, columns)]
        if self.site:
            found[-1, -1] = 2 * theta[-1]
        return found

    @property
    def bends(self) -> Array:
        """The second derivatives of the same, shape ``(size, size, size)``; constant."""
        units = np.eye(self.size)
        # The derivatives are linear in θ, and odd.
        return np.stack([self.jacobian(unit) for unit in units], axis=2)
