"""Shamir's secret sharing [1]_ over F_p: pure functions of arrays, no network and no randomness.

A value is shared among n parties by a polynomial of degree t with the value at 0; party i, counted from
1, holds the polynomial at i. Any t shares say nothing, any t + 1 determine everything. Points, degrees
and modulus are MPyC's, so that shares pass to it and back as they are.

Shares of n parties have shape ``(n, …, 2)``: the party first, then the values, then the words.

References
----------
.. [1] A. Shamir, "How to Share a Secret", Communications of the ACM 22, 1979.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from protocols import field
from protocols.field import P
from protocols.mersenne import Elements


def threshold(n: int) -> int:
    """Return the largest degree t whose square n parties can still open: n ≥ 2t + 1."""
    return (n - 1) // 2


@lru_cache
def lagrange(points: tuple[int, ...], at: int = 0) -> tuple[int, ...]:
    """Return the coefficients that take values at some points to the value at another.

    Parameters
    ----------
    points
        Distinct points.
    at
        Where to evaluate the polynomial of degree less than ``len(points)`` through them.

    Returns
    -------
    tuple of int
        Modulo p, one for each point.
    """
    coefficients = []
    for i in points:
        top = bottom = 1
        for j in points:
            if j != i:
                top = top * (at - j) % P
                bottom = bottom * (i - j) % P
        coefficients.append(top * pow(bottom, -1, P) % P)
    return tuple(coefficients)


def interpolate(shares: Sequence[Elements] | Elements, points: Sequence[int], at: int = 0) -> Elements:
    """Return the value at a point of the polynomials through shares.

    Parameters
    ----------
    shares
        One array of elements for each point.
    points
        The points of these shares.
    at
        Where to evaluate: 0 is where the secret is.
    """
    first, *others = lagrange(tuple(points), at)
    total = field.mul(shares[0], field.from_ints(np.array(first, object)))
    for share, coefficient in zip(shares[1:], others, strict=True):
        field.add_scaled(total, share, coefficient)
    return total


def split(values: Elements, coefficients: Elements, n: int) -> Elements:
    """Share values among n parties.

    Parameters
    ----------
    values
        Shape ``(…, 2)``.
    coefficients
        Shape ``(t, …, 2)``: what stands before x, x², …, x^t. Uniform, independent and used once, or
        the shares hide nothing.
    n
        Number of parties.

    Returns
    -------
    ndarray
        Shape ``(n, …, 2)``.
    """
    shares = np.repeat(values[np.newaxis], n, axis=0)
    for point in range(1, n + 1):
        for exponent, coefficient in enumerate(coefficients, start=1):
            field.add_scaled(shares[point - 1], coefficient, pow(point, exponent, P))
    return shares


def complete(values: Elements, given: Mapping[int, Elements], n: int) -> list[Elements]:
    """Share values among n parties so that some of them get shares that are known beforehand.

    Parameters
    ----------
    values
        Shape ``(…, 2)``.
    given
        The shares at t points. Uniform, independent and used once, or the shares hide nothing.
    n
        Number of parties.

    Returns
    -------
    list of ndarray
        The shares of parties 1, …, n, of degree t, the given ones among them.
    """
    if len(given) == 1:  # lines take a third of the time
        ((point, share),) = given.items()
        others = list(field.lines(values, share, point, n))
        return [*others[: point - 1], share, *others[point - 1 :]]
    points, known = (0, *given), [values, *given.values()]
    return [
        given[point] if point in given else interpolate(known, points, at=point) for point in range(1, n + 1)
    ]


def reconstruct(shares: Sequence[Elements] | Elements, degree: int) -> Elements:
    """Return the values that the shares of parties 1, …, n stand for, from the first degree + 1."""
    return interpolate(shares[: degree + 1], range(1, degree + 2))


def lies_on_polynomial(shares: Sequence[Elements] | Elements, degree: int) -> bool:
    """Return whether the shares of parties 1, …, n all lie on polynomials of a degree.

    With n = 2t + 1 shares and degree t, up to t wrong ones are noticed, whatever they are: the other
    t + 1 determine the polynomial. With n ≤ degree + 1 there is nothing to compare.
    """
    points = range(1, degree + 2)
    return all(
        np.array_equal(interpolate(shares[: degree + 1], points, at=party), shares[party - 1])
        for party in range(degree + 2, len(shares) + 1)
    )
