"""Adjugates of small correlation matrices, many at a time.

Faddeev and LeVerrier's recursion needs no division by a secret, and has as many products of matrices as the
matrix has rows, less two:

    M_1 = I,    M_k = A·M_(k−1) − tr(A·M_(k−1)) / (k − 1) · I,    adj(A) = (−1)^(k−1) M_k for k rows.

Partial correlations, what a column keeps beside the others, and determinants are quotients of its entries;
where they are only to be compared, nothing need be divided. A correlation matrix is positive semidefinite
with a diagonal of ones, so that no minor of it is beyond 1, and no entry of M_k beyond their number.
"""

from __future__ import annotations

import math

import numpy as np

from protocols import secret as secrets
from protocols.fixed import fraction_for
from protocols.secret import SecretArray


def adjugate(A: SecretArray) -> SecretArray:
    """Return the transposed cofactors of correlation matrices.

    Parameters
    ----------
    A
        Shape ``(..., k, k)`` with k ≥ 2, symmetric, positive semidefinite and with ones on the diagonal, all
        but for roundings.

    Returns
    -------
    SecretArray
        Of the same shape: A·adj(A) = det(A)·I. Entries are within 1, and off by (C(n, t) + 1)·C(k, k/2)²
        units in the last place or less, of some 40 fractional bits for three parties.

    Raises
    ------
    PrecisionError
        There are so many rows that the sums of minors cannot be masked. Nothing was sent.

    Notes
    -----
    **Leakage.** Nothing; see `reshare`. **Cost.** A round for three rows, and two for each row beyond two of
    more. An element an entry to each peer in half of them.
    """
    engine, k = A.engine, A.shape[-1]
    unit = np.eye(k, dtype=np.int64)
    # |A·M_(j − 1)| is at most a sum of minors beside one of principal minors.
    largest = [2.0 * math.comb(k, j - 1) for j in range(1, k + 1)]
    A = A.rescale(min(A.format.fraction, fraction_for(engine, math.sqrt(max(largest)))))
    found = A - k * unit  # the trace is k
    for j in range(3, k + 1):
        product = secrets.matmul(A, found, bound=largest[j - 1])
        trace = product[..., range(k), range(k)].sum(axis=-1).assume(largest[j - 1])
        found = product - (trace / (j - 1)).reshape(*A.shape[:-2], 1, 1) * unit
        if j < k:
            found = found.rescale(A.format.fraction)
    return (found if k % 2 else -found).assume(1.01)
