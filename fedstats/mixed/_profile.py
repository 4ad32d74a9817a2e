"""The likelihood of a linear mixed model, with coefficients and error variance profiled out.

With A = X'V⁻¹X, b = X'V⁻¹y and c = y'V⁻¹y of given variance components θ, as parts of the error variance, the
coefficients are β = A⁻¹b and the error variance is rss/df with rss = c − b'β. All of these are blocks of
P = W'V⁻¹W for W = [X y], a pooled sum, and so are derivatives: with e = [−β 1]', rss = e'Pe and its
derivative is e'P_i e. −2 log likelihood is, but for constants,

    d(θ) = df·log rss + log det V + log det A,

the last term only if the likelihood is restricted; df is then the number of rows less that of terms.

Second derivatives have two parts: V bends in θ, and d bends in V. Of the latter the part of log det V and
log det A is negative definite (−F, Fisher's information), and so is its opposite number, of the data; so
is, apart from each other, what the two parts make of the bends of V. Without the parts of the data, F and the
bends that go with it are a matrix that is positive definite everywhere, as in Fisher's scoring: with that the
criterion falls where second derivatives do not bend upwards. At θ = 0 it does not vanish as F does.

The same matrix damps Newton's steps: where a variance is 0 some direction of θ is without effect, and second
derivatives in it are 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fedstats.errors import EstimationError
from fedstats.expressions import Array
from fedstats.mixed._blocks import Blocks
from fedstats.mixed._components import Components
from fedstats.mixed._maximum import Criterion, Found, numbers
from fedstats.regression._cholesky import cholesky

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: A matrix is not positive definite if an eigenvalue is below this part of a diagonal of 1.
FLAT = 1e-12


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """This site's rows, as the likelihood needs them.

    Attributes
    ----------
    blocks
        Their cross-products.
    components
        Which variance components there are.
    names
        Of the terms.
    n
        Rows of all sites.
    reml
        Whether the likelihood is restricted.
    """

    blocks: Blocks
    components: Components
    names: tuple[str, ...]
    n: int
    reml: bool

    @property
    def df(self) -> int:
        """Rows, less the terms for restricted likelihoods."""
        return self.n - len(self.names) if self.reml else self.n

    def value(self, theta: Array) -> Array:
        """Return this site's summand of P and log det V, shape ``(1, entries)``."""
        found = self.blocks.derivatives(*self.components.covariances(theta))
        return _packed(found.products[np.newaxis], np.array([found.logdet]))

    def summands(self, theta: Array) -> Array:
        """Return the same with derivatives, shape ``(1 + k + k·(k + 1), entries)``; see `Layout`."""
        found = self.blocks.derivatives(*self.components.covariances(theta))
        J, bends = self.components.jacobian(theta), self.components.bends
        upper = np.triu_indices(len(theta))
        value = _packed(found.products[np.newaxis], np.array([found.logdet]))
        first = _packed(found.first, found.first_logdet)
        second = _packed(found.second, found.second_logdet)
        straight = np.einsum("mi,mne,nj->ije", J, second, J, optimize=True)[upper]
        bent = np.einsum("mij,me->ije", bends, first)[upper]
        return np.concatenate([value, J.T @ first, straight, bent])


class Layout(NamedTuple):
    """Where what is in `Rows.summands`, of k parameters.

    Attributes
    ----------
    first
        Derivatives in θ.
    straight, bent
        The two parts of second ones, of which V bends or does not: positions, shape ``(k, k)``.
    """

    first: slice
    straight: NDArray[np.intp]
    bent: NDArray[np.intp]

    @classmethod
    def of(cls, k: int) -> Layout:
        """Return the layout of k parameters."""
        pairs = np.zeros((k, k), np.intp)
        pairs[np.triu_indices(k)] = np.arange(k * (k + 1) // 2)
        pairs = np.maximum(pairs, pairs.T)
        return cls(slice(1, k + 1), 1 + k + pairs, 1 + k + k * (k + 1) // 2 + pairs)


def positions(p: int) -> NDArray[np.intp]:
    """Return where the entries of P are in its packed form, shape ``(p + 1, p + 1)``."""
    found = np.zeros((p + 1, p + 1), np.intp)
    found[np.triu_indices(p + 1)] = np.arange((p + 1) * (p + 2) // 2)
    return np.maximum(found, found.T)


def _packed(products: Array, logdet: Array) -> Array:
    """Return upper triangles, row by row, and logarithms of determinants behind them."""
    rows, columns = np.triu_indices(products.shape[-1])
    return np.concatenate([products[..., rows, columns], logdet[..., np.newaxis]], axis=-1)


class Fitted(NamedTuple):
    """Estimates in the frame, given the variance components.

    Attributes
    ----------
    beta
        Coefficients.
    variances, matrix
        Of combinations of them, as parts of the error variance; the matrix is None where it was not opened.
    scale
        The error variance.
    logdets
        log det V, and log det A for restricted likelihoods.
    """

    beta: Array
    variances: Array
    matrix: Array | None
    scale: float
    logdets: float


class Evaluation(NamedTuple):
    """The criterion at a point, with its derivatives.

    Attributes
    ----------
    value, gradient
        d, and its derivatives, shape ``(k,)``.
    second, scoring
        Second derivatives, and the matrix that is positive definite everywhere, shape ``(k, k)``.
    """

    value: float
    gradient: Array
    second: Array
    scoring: Array


class Likelihood(Criterion[Found], Protocol[Found]):
    """The likelihood of variance components, and the estimates that go with them."""

    def fitted(self, theta: Array, to_terms: Array) -> Fitted:
        """Open the estimates at given variance components, and variances of combinations of them."""


@dataclass(eq=False, repr=False)
class OpenLikelihood:
    """The likelihood of pooled sums that are opened; see `_maximum.Criterion`."""

    run: Analysis
    rows: Rows
    _parts: Iterator[int] = field(default_factory=numbers)

    def evaluate(self, theta: Array) -> Evaluation:
        """Return the criterion and its derivatives."""
        p, df, k = len(self.rows.names), self.rows.df, len(theta)
        products, logdet = self._opened(self.rows.summands(theta))
        inverse = self._inverse(products[0])
        A = products[:, :p, :p]
        e = np.append(-inverse @ products[0, :p, p], 1.0)
        Pe = products @ e
        quadratic = Pe @ e
        rss = _positive(quadratic[0])
        at = Layout.of(k)
        scores = Pe[at.first, :p]
        data = quadratic / rss
        straight = data[at.straight] - 2 * scores @ inverse @ scores.T / rss
        if self.rows.reml:
            AA = inverse @ A
            logdet = logdet + np.append(np.linalg.slogdet(A[0])[1], np.einsum("tii->t", AA[1:]))
            first = AA[at.first]
            crossed = np.einsum("iab,jba->ij", first, first)
        else:
            crossed = np.zeros((k, k))
        information = crossed - logdet[at.straight]
        gradient = df * data[at.first] + logdet[at.first]
        second = (
            df * (straight + data[at.bent] - np.outer(data[at.first], data[at.first]))
            - information
            + logdet[at.bent]
        )
        value = df * np.log(rss) + logdet[0]
        return Evaluation(float(value), gradient, second, information + logdet[at.bent])

    def step(self, found: Evaluation, dampings: Array) -> Array:
        """Return Newton's step, damped as far as it must be, or that of scoring."""
        scale = 1 / np.sqrt(np.diag(found.scoring))
        damped = (found.second + part * found.scoring for part in dampings)
        for matrix in (*damped, found.scoring):
            scaled = matrix * np.outer(scale, scale)
            if np.linalg.eigvalsh(scaled)[0] > FLAT:
                return np.asarray(-scale * np.linalg.solve(scaled, scale * found.gradient))
        raise EstimationError(UNDETERMINED)

    def is_worse(self, found: Evaluation, before: Evaluation) -> bool:
        """Return whether the criterion is larger than it was before, but for rounding."""
        return found.value > before.value + WORSE * self.rows.df

    def fitted(self, theta: Array, to_terms: Array) -> Fitted:
        """Return the estimates at given variance components. One sum."""
        p = len(self.rows.names)
        (products,), (logdet,) = self._opened(self.rows.value(theta))
        inverse = self._inverse(products)
        beta = inverse @ products[:p, p]
        e = np.append(-beta, 1.0)
        if self.rows.reml:
            logdet += np.linalg.slogdet(products[:p, :p])[1]
        matrix = to_terms @ inverse @ to_terms.T
        scale = _positive(float(e @ products @ e)) / self.rows.df
        return Fitted(beta, np.diag(matrix).copy(), matrix, scale, float(logdet))

    def _opened(self, summands: Array) -> tuple[Array, Array]:
        """Open sums over all sites: P, shape ``(entries, p + 1, p + 1)``, and log det V."""
        pooled = self.run.sum("weighted products", summands, part=next(self._parts))
        return pooled[:, positions(len(self.rows.names))], pooled[:, -1].copy()

    def _inverse(self, products: Array) -> Array:
        p = len(self.rows.names)
        factor = cholesky(np.ascontiguousarray(products[:p, :p]), self.rows.names)
        inverse = np.linalg.solve(factor, np.eye(p))
        return np.asarray(inverse @ inverse.T)


#: The criterion is taken for larger if it is so by this part of the degrees of freedom.
WORSE = 1e-7
UNDETERMINED = (
    "the rows do not determine the variance components: the terms may predict the response exactly, or leave "
    "nothing of the random effects; use fewer slopes, or fewer terms"
)


def _positive(rss: float) -> float:
    if not rss > 0:
        raise EstimationError(UNDETERMINED)
    return rss
