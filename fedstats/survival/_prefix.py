"""Sums and products along a grid of times, of numbers that are public or shared.

The estimators of this package are written once, on these and on ``+ - *``.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from fedstats.expressions import Array
from fedstats.survival._times import Codes
from protocols import field
from protocols.engine import Engine
from protocols.fixed import Format
from protocols.long import lengthen
from protocols.scan import with_zero
from protocols.secret import SecretArray, concatenate, inner, public

#: Public numbers, or shares of them.
Numbers = TypeVar("Numbers", Array, SecretArray)


def finest(engine: Engine) -> int:
    """Return the most fractional bits of probabilities of which products can be masked."""
    return (engine.room - 5) // 2


#: Room for the last places of numbers that are 1 at most.
ONE = 1.0 + 2.0**-16


def cumulative_product(x: Numbers) -> Numbers:
    """Return the running products of numbers up to 1 along the last axis.

    Shares take ⌈log2 T⌉ rounds for T times, each of at most T elements.
    """
    if not isinstance(x, SecretArray):
        return np.asarray(np.cumprod(x, axis=-1), np.float64)
    reach = 1
    while reach < x.shape[-1]:
        further = (x[..., reach:] * x[..., :-reach]).assume(ONE)
        x = concatenate([x[..., :reach], further], axis=-1)
        reach *= 2
    return x


def cumulative_sum(x: Numbers) -> Numbers:
    """Return the running sums along the last axis. Local."""
    if not isinstance(x, SecretArray):
        return np.cumsum(x, axis=-1)
    size, shares, reach = x.shape[-1], x.shares.copy(), 1
    while reach < size:
        shares[..., reach:, :] = field.add(shares[..., reach:, :], shares[..., :-reach, :])
        reach *= 2
    whole = x.sum(axis=-1)
    return SecretArray(x.engine, shares, whole.format)


def remaining_sum(x: Numbers) -> Numbers:
    """Return Σ over the entry and all later ones, along the last axis. Local."""
    if not isinstance(x, SecretArray):
        return np.cumsum(x[..., ::-1], axis=-1)[..., ::-1]
    return cumulative_sum(x[..., ::-1])[..., ::-1]


def exact(x: Numbers) -> Any:
    """Return public numbers as they are, and shared ones as a `LongArray`, whose products are not rounded."""
    return lengthen(x) if isinstance(x, SecretArray) else x


def sums_of_products(x: Numbers, y: Numbers, at: Codes, *, bound: float) -> Any:
    """Return Σ x·y over the entries up to each of some positions, along the last axis; of shares, `exact`.

    Variances are such sums. Those of rare events are small, and rounded products would be too coarse.

    Parameters
    ----------
    x, y
        Shapes that broadcast.
    at
        Increasing positions.
    bound
        What no such sum exceeds.

    Notes
    -----
    Shares take two rounds and two elements a position: every stretch between two positions is one inner
    product.
    """
    if not isinstance(x, SecretArray):
        return np.cumsum(x * y, axis=-1)[..., at]
    return lengthen(shared_sums_of_products(x, y, at, bound=bound))


def shared_sums_of_products(x: SecretArray, y: SecretArray, at: Codes, *, bound: float) -> SecretArray:
    """Return `sums_of_products` of shares with all their fractional bits. One round."""
    edges = np.concatenate([[0], at + 1])
    longest = int(np.diff(edges).max())
    cells = edges[:-1, np.newaxis] + np.arange(longest)
    size = x.shape[-1]
    cells = np.where(cells < edges[1:, np.newaxis], cells, size)  # the entry of zeros
    fraction = x.format.fraction + y.format.fraction
    # As integers: the products are exact, and need no mask.
    left, right = (SecretArray(z.engine, with_zero(z).shares) for z in (x, y))
    stretches = cumulative_sum(inner(left[..., cells], right[..., cells]))
    return SecretArray(x.engine, stretches.shares, Format.of(bound, fraction))


def before(x: Numbers, first: int) -> Numbers:
    """Return each entry's predecessor along the last axis; `first` for the first."""
    shape = (*x.shape[:-1], 1)
    if not isinstance(x, SecretArray):
        return np.concatenate([np.full(shape, float(first)), x[..., :-1]], axis=-1)
    whole = public(x.engine, np.full(shape, first, np.int64))
    start = whole.rescale(x.format.fraction)
    return concatenate([start, x[..., :-1]], axis=-1)
