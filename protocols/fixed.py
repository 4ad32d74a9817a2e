"""Fixed-point numbers: what the integer that is shared stands for, and how large it can be.

A number is an integer times 2^−f. Both f and a bound on the integer's magnitude are public and carried
with every array. Sums and products carry them on, so that whether a result fits is known before anything
is sent: `PrecisionError` instead of a number that wrapped around.

How many bits there are depends on the parties only: with security 40, a product that is rounded must stay
below 2^84 before rounding for n = 3, 2^82 for n = 5 and 2^78 for n = 10. Two factors of f = 20 may so be of
2^22 each, two of f = 30 of 2^12. `fraction_for` chooses f from a public bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from protocols.engine import Engine
from protocols.errors import PrecisionError
from protocols.field import HALF


@dataclass(frozen=True)
class Format:
    """How shared integers are read.

    Attributes
    ----------
    fraction
        f: the integer m stands for m·2^−f. Whole numbers have 0.
    bound
        Largest |m|. None for elements of the field, which are no integers and may wrap around.
    """

    fraction: int = 0
    bound: int | None = None

    def __post_init__(self) -> None:
        if self.fraction < 0 or (self.bound is None and self.fraction):
            raise ValueError("fractional bits are not negative, and need a bound")
        if self.bound is not None and not 0 <= self.bound <= HALF:
            raise PrecisionError(
                f"numbers of {self.bound.bit_length()} bits, {self.fraction} of them fractional, may not fit "
                "the field's 126: tighten the public bounds (`assume`) or carry fewer fractional bits"
            )

    @classmethod
    def of(cls, bound: float, fraction: int) -> Format:
        """Return the format of numbers up to a magnitude, with so many fractional bits."""
        if not (math.isfinite(bound) and bound >= 0):
            raise ValueError("a public bound is finite and not negative")
        return cls(fraction, math.ceil(Fraction(bound) * (1 << fraction)))

    @property
    def magnitude(self) -> float:
        """Largest number; infinite for elements of the field."""
        return math.inf if self.bound is None else math.ldexp(self.bound, -self.fraction)

    def finer(self, bits: int) -> Format:
        """Return the format with more fractional bits, for integers multiplied by 2^bits."""
        return Format(self.fraction + bits, None if self.bound is None else self.bound << bits)

    def plus(self, other: Format) -> Format:
        """Return the format of a sum; both have the same fractional bits."""
        if self.bound is None or other.bound is None:
            return Format()
        return Format(self.fraction, self.bound + other.bound)

    def times(self, other: Format, terms: int = 1) -> Format:
        """Return the format of a sum of so many products, before any rounding."""
        if self.bound is None or other.bound is None:
            return Format(self.fraction + other.fraction)
        return Format(self.fraction + other.fraction, terms * self.bound * other.bound)

    def union(self, other: Format) -> Format:
        """Return a format for numbers of either; both have the same fractional bits."""
        if self.bound is None or other.bound is None:
            return Format()
        return Format(self.fraction, max(self.bound, other.bound))

    def rounded(self, engine: Engine, drop: int) -> Format:
        """Return the format after dropping fractional bits by masked truncation.

        Raises
        ------
        PrecisionError
            Numbers of this size cannot be masked.
        """
        if not drop:
            return self
        if self.bound is None or drop > self.fraction:
            raise ValueError("only fractional bits can be dropped")
        slack = engine.prss.count
        room = (1 << (engine.room - 1)) - (slack << drop)
        if self.bound > room:
            raise PrecisionError(
                f"numbers of {self.bound.bit_length()} bits before rounding, where {engine.n} parties can "
                f"mask {max(room, 1).bit_length() - 1} with security {engine.security}: tighten the public "
                "bounds (`assume`) or carry fewer fractional bits (`rescale`)"
            )
        # An error of less than (C + 1)/2 units, and one for rounding the bound down.
        return Format(self.fraction - drop, (self.bound >> drop) + slack // 2 + 2)


def fraction_for(engine: Engine, bound: float, *, terms: int = 1) -> int:
    """Return the most fractional bits with which inner products of so many terms still fit.

    Parameters
    ----------
    engine
        The computation.
    bound
        Largest magnitude of either factor.
    terms
        Length of the inner products.

    Raises
    ------
    PrecisionError
        Not even whole numbers fit.
    """
    for fraction in range(engine.room // 2, -1, -1):
        factor = math.ceil(Fraction(bound) * (1 << fraction))
        if terms * factor * factor + (engine.prss.count << fraction) <= 1 << (engine.room - 1):
            return fraction
    raise PrecisionError(f"no product of numbers up to {bound:g} fits; scale them by public factors")
