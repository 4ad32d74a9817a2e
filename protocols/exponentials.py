"""Exponentials of rational numbers, enclosed between integers at any precision: no floating point.

What is sampled exactly is decided by comparing random bits with probabilities such as e^(−1/3). A comparison
needs only as many bits as decide it, so an enclosure that can be narrowed at will is as good as the number.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

#: Bits beyond those asked for, which take up rounding.
_GUARD = 64


class Enclosure(NamedTuple):
    """A number x between two integers, in units of 2^−bits: low ≤ x·2^bits ≤ high."""

    low: int
    high: int


def exp_minus(x: Fraction, bits: int) -> Enclosure:
    """Enclose e^(−x) for a rational x ≥ 0, to about a unit of 2^−bits.

    The argument is halved until it is below ½, where the alternating series encloses what it converges to;
    the result is squared as often, rounded down and up.
    """
    if x < 0:
        raise ValueError("only exponentials of negative numbers are enclosed")
    halvings = max(0, (x.numerator // x.denominator).bit_length() + 1)
    work = bits + _GUARD + 2 * halvings
    one = 1 << work
    low, high = _series(x / (1 << halvings), work)
    for _ in range(halvings):
        low, high = (low * low) >> work, -((-high * high) >> work)
    spare = work - bits
    return Enclosure(low >> spare, min(-(-high >> spare), one >> spare))


def _series(y: Fraction, work: int) -> Enclosure:
    """Enclose e^(−y) for 0 ≤ y ≤ ½ by its series, in units of 2^−work."""
    scaled = (y.numerator << work) // y.denominator  # of y·2^work, less than 1 too small
    term, total, k = 1 << work, 0, 0
    while term:
        total += term if k % 2 == 0 else -term
        k += 1
        term = term * scaled // (k << work)
    # Each of the k terms is less than two units too small, since y < 1; those left out add up to one at most.
    return Enclosure(total - 2 * k - 1, total + 2 * k + 1)
