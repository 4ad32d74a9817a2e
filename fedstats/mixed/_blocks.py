"""A site's part of a linear mixed model: what random effects leave of its cross-products.

The covariance of a site's rows, as parts of the error variance, is V = I + Σ Z_i Λ Λ' Z_i' over its clusters
i, and τ²·11' more for an intercept of the site. Cross-products W'V⁻¹W follow from those of each cluster
(Woodbury), so that a site needs its clusters' Z'Z and Z'W once, whatever Λ and τ are tried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedstats.expressions import Array

Complex = NDArray[np.complex128]


@dataclass(frozen=True, eq=False, repr=False)
class Blocks:
    """Cross-products of a site's rows.

    Attributes
    ----------
    total
        W'W, shape ``(w, w)``; W has the columns of the model, the response and a last column of ones.
    ZZ, ZW
        Z'Z and Z'W of each cluster, shapes ``(clusters, q, q)`` and ``(clusters, q, w)``.
    """

    total: Array
    ZZ: Array
    ZW: Array

    @classmethod
    def of(cls, X: Array, y: Array, Z: Array, cluster: NDArray[np.int64]) -> Blocks:
        """Return the cross-products, given the cluster of each row."""
        W = np.column_stack([X, y, np.ones(len(y))])
        order = np.argsort(cluster, kind="stable")
        starts = np.flatnonzero(np.diff(cluster[order], prepend=-1))
        W_, Z_ = W[order], Z[order]
        products = Z_[:, :, np.newaxis] * np.concatenate([Z_, W_], axis=1)[:, np.newaxis]
        q = Z.shape[1]
        sums = np.add.reduceat(products, starts) if len(y) else products
        return cls(W.T @ W, sums[:, :, :q], sums[:, :, q:])

    def absorbed(self, factor: Complex, site: complex) -> tuple[Complex, complex]:
        """Return W'V⁻¹W without the last column, and log det V.

        Parameters
        ----------
        factor
            Λ, shape ``(q, q)``, lower triangular.
        site
            τ; 0 for no intercept of the site.
        """
        q = len(factor)
        inner = np.eye(q) + factor.T @ self.ZZ @ factor
        right = factor.T @ self.ZW
        logdet = np.log(np.linalg.det(inner)).sum()
        products = self.total - np.einsum("cqv,cqw->vw", right, np.linalg.solve(inner, right))
        ones = products[:, -1]
        divisor = 1 + site**2 * ones[-1]
        products = products - site**2 * np.outer(ones, ones) / divisor
        return products[:-1, :-1], logdet + np.log(divisor)
