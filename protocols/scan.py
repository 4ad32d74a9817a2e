"""Scans: what each entry of a list is when it depends on the one before it, in few rounds.

    v_i = g_i · v_{i−1} + u_i,    v_{−1} = 0,

with secret bits g and secret numbers u, is a sum that starts anew where g is 0, or, where u is 0 but for
these places, a copy of the latest one. Neighbours are joined in pairs, which leaves a list half as long; what
that gives is passed back to the entries left out [1]_.

References
----------
.. [1] G. E. Blelloch, "Prefix Sums and Their Applications", Carnegie Mellon University CMU-CS-90-190, 1990,
   section 1.4.
"""

from __future__ import annotations

import numpy as np

from protocols import field
from protocols.fixed import Format
from protocols.secret import SecretArray, multiply


def segmented(go_on: SecretArray, u: SecretArray, *, bound: float) -> SecretArray:
    """Return v_i = g_i · v_{i−1} + u_i along the last axis.

    Parameters
    ----------
    go_on
        Secret bits g. The first one is of no account.
    u
        Integers, of the same shape.
    bound
        Public: what no |v| exceeds.

    Notes
    -----
    **Leakage.** Nothing; see `reshare`. **Cost.** For lists of m, 2⌊log2 m⌋ rounds at most, and fewer than 3m
    products.
    """
    if go_on.shape != u.shape or u.format.fraction:
        raise ValueError("a scan takes a bit for every integer")
    # As elements: no partial sum is refused for a bound that only all of them together keep.
    shares = _scan(SecretArray(go_on.engine, go_on.shares), SecretArray(u.engine, u.shares)).shares
    return SecretArray(u.engine, shares).assume(bound)


def _scan(g: SecretArray, u: SecretArray) -> SecretArray:
    size = u.shape[-1]
    if size < 2:
        return u
    pairs = size // 2
    low, high = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
    second = g[..., high]
    joined = multiply(second, _beside(g[..., low], u[..., low]))
    odd = _scan(joined[0], joined[1] + u[..., high])
    v = field.empty(u.shape)
    v[..., high, :] = odd.shares
    v[..., :1, :] = u.shares[..., :1, :]
    before = odd[..., : (size - 1) // 2]
    if before.size:
        inner = slice(2, None, 2)
        v[..., inner, :] = (multiply(g[..., inner], before) + u[..., inner]).shares
    return SecretArray(u.engine, v)


def _beside(x: SecretArray, y: SecretArray) -> SecretArray:
    return SecretArray(x.engine, np.stack([x.shares, y.shares]))


def running_sum(x: SecretArray) -> SecretArray:
    """Return the sums of each entry and all before it, along the last axis. Local."""
    bound = None if x.format.bound is None else x.format.bound * x.shape[-1]
    return SecretArray(x.engine, field.cumsum(x.shares), Format(x.format.fraction, bound))


def with_zero(x: SecretArray) -> SecretArray:
    """Append an entry of 0 to the last axis, for what sums to nothing. Local."""
    zero = np.zeros((*x.shape[:-1], 1, 2), np.uint64)
    return SecretArray(x.engine, np.concatenate([x.shares, zero], axis=-2), x.format)
