"""A site's part of a linear mixed model: what random effects leave of its cross-products, and derivatives.

The covariance of a site's rows, as parts of the error variance, is V = I + Σ Z_i G Z_i' over its clusters
i, and τ²·11' more for an intercept of the site. Cross-products W'V⁻¹W follow from those of each cluster
(Woodbury), so that a site needs its clusters' Z'Z and Z'W once, whatever G and τ² are tried. As V is linear
in the entries of G and in τ², derivatives in these are products of the same pieces: in the directions D and
E of V those of W'V⁻¹W are −W'V⁻¹DV⁻¹W and W'V⁻¹(DV⁻¹E + EV⁻¹D)V⁻¹W.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedstats.expressions import Array
from fedstats.mixed._components import symmetric_basis


@dataclass(frozen=True, eq=False, repr=False)
class Derivatives:
    """W'V⁻¹W and log det V with their derivatives in m variances and covariances.

    Attributes
    ----------
    products, logdet
        Shapes ``(w, w)`` and ``()``.
    first, first_logdet
        First derivatives, shapes ``(m, w, w)`` and ``(m,)``.
    second, second_logdet
        Second ones, shapes ``(m, m, w, w)`` and ``(m, m)``.
    """

    products: Array
    logdet: float
    first: Array
    first_logdet: Array
    second: Array
    second_logdet: Array


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

    def derivatives(self, G: Array, site: float | None) -> Derivatives:
        """Return what is left of W'W, but for its column of ones, with derivatives.

        Parameters
        ----------
        G
            Covariance matrix of a cluster's effects, shape ``(q, q)``.
        site
            τ²; None for no intercept of the site.
        """
        q = len(G)
        inner = np.eye(q) + self.ZZ @ G
        solved = np.linalg.solve(inner, np.concatenate([self.ZZ, self.ZW], axis=2))
        S, U = solved[:, :, :q], solved[:, :, q:]  # Z'V⁻¹Z and Z'V⁻¹W
        products = self.total - np.tensordot(self.ZW, G @ U, axes=([0, 1], [0, 1]))
        logdet = float(np.linalg.slogdet(inner)[1].sum())
        # Without an intercept of the site nothing else is taken off: κ is 0.
        ones, a = products[-1], U[:, :, -1]
        divisor = 1 + (site or 0.0) * ones[-1]
        kappa = (site or 0.0) / divisor
        products = products - kappa * np.outer(ones, ones)
        U = U - kappa * a[:, :, np.newaxis] * ones
        logdet += float(np.log(divisor))

        basis = symmetric_basis(q)
        BU = basis[:, np.newaxis] @ U
        BS = basis[:, np.newaxis] @ S
        Ba = (a @ basis)[:, :, :, np.newaxis]  # symmetric
        v = np.tensordot(BU, a, axes=([1, 2], [0, 1]))  # U'B'a, shape (m, w)
        c = np.tensordot(Ba[..., 0], a, axes=([1, 2], [0, 1]))
        first = -np.tensordot(BU, U, axes=([1, 2], [0, 1]))
        first_logdet = np.einsum("mcii->m", BS) - kappa * c
        half = np.tensordot(BU, S @ BU, axes=([1, 2], [1, 2])).swapaxes(1, 2)  # U'BSB'U, (m, m, w, w)
        half = half - kappa * v[:, np.newaxis, :, np.newaxis] * v[:, np.newaxis, :]
        crossed = np.tensordot(Ba, S @ Ba, axes=([1, 2], [1, 2]))[:, 0, :, 0]
        second_logdet = (
            2 * kappa * crossed
            - np.tensordot(BS, BS, axes=([1, 2, 3], [1, 3, 2]))
            - kappa**2 * np.outer(c, c)
        )
        second = half + half.swapaxes(2, 3)
        if site is not None:
            t, s = ones / divisor, ones[-1] / divisor
            first = np.concatenate([first, -np.outer(t, t)[np.newaxis]])
            first_logdet = np.append(first_logdet, s)
            mixed = v[:, :, np.newaxis] * t / divisor
            mixed = mixed + mixed.swapaxes(1, 2)
            second = _bordered(second, mixed, 2 * s * np.outer(t, t))
            second_logdet = _bordered(second_logdet, -c / divisor**2, np.asarray(-(s**2)))
        return Derivatives(
            products[:-1, :-1],
            logdet,
            first[:, :-1, :-1],
            first_logdet,
            second[:, :, :-1, :-1],
            second_logdet,
        )


def _bordered(inner: Array, border: Array, corner: Array) -> Array:
    """Return a symmetric array with a row and a column more."""
    rows = np.concatenate([inner, border[:, np.newaxis]], axis=1)
    last = np.concatenate([border, corner[np.newaxis]])
    return np.concatenate([rows, last[np.newaxis]])
