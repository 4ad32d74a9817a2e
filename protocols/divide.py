"""Reciprocals, quotients and square roots of fixed-point numbers, entry by entry.

A number is first brought between ½ and 1: by its public bounds where they are that tight, otherwise by the
secret number of zeros above its highest bit [1]_. Goldschmidt's iteration [2]_ then squares the error of a
reciprocal in each round, both of its products in one message; an inverse square root is a cubic polynomial
times the binomial series of what that leaves. The power of two comes back as an exact product, so that
reciprocals and roots have the same *relative* error over the whole range that the public bound allows.

The more parties, the coarser are the numbers that can be masked, and the more rounding errors add up. From
five parties on for reciprocals, and from seven for roots, a last step of Newton's iteration makes up for it:
the residual 1 − d·y is small, though neither factor is, and small numbers may have many fractional bits.

References
----------
.. [1] O. Catrina and A. Saxena, "Secure Computation with Fixed-Point Numbers", FC 2010, section 4.
.. [2] R. E. Goldschmidt, "Applications of Division by Convergence", MIT 1964.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from protocols import field
from protocols.compare import BIT, complement, negative
from protocols.decompose import leading_zeros, normalizer, power_of_two
from protocols.engine import Engine
from protocols.errors import PrecisionError
from protocols.fixed import Format
from protocols.reshare import fits
from protocols.secret import SecretArray, concatenate, known_product, multiply, public, stack, truncate

#: What Goldschmidt's iteration leaves out is below this.
ACCURACY = 2.0**-31
#: A divisor of d ≥ 2^−TIGHT by its public bounds is not normalised.
TIGHT = 3
#: Fractional bits of an iteration's numbers beyond those of the number that is inverted.
FINER = 4
#: Where rounding errors of an iteration may be larger than this, a last step in finer numbers follows.
TOLERATED = 4e-10
#: Fractional bits of that step: of what it makes better, of a divisor and a radicand, and of a residual.
CORRECTED, DIVISOR, RADICAND, RESIDUAL = 38, 44, 39, 45
#: Fractional bits of an inverse square root before it, and how large its residual then is.
ROUGH = 26
SMALL = Format.of(2.0**-15, RESIDUAL)
#: Fractional bits that the first approximation of an inverse square root does without.
COARSER = 8
#: Cubic with (c·(1, d, d², d³))² d within 1 ± 0.0185 for ¼ ≤ d ≤ 1, in sixteenths.
CUBIC = (49, -90, 92, -35)
#: How far the logarithms of numbers that are nearly others may be from those of these; and, where these are
#: nearly others themselves, and so on, from those of the numbers that were normalised.
NEAR, FARTHEST = 0.2, 0.28
#: The binomial series of (1 − e)^(−½), in 128ths.
SERIES = (128, 64, 48, 40, 35)


def reciprocal(x: SecretArray, *, least: float | None = None, signed: bool = False) -> SecretArray:
    """Return 1/x.

    Parameters
    ----------
    x
        Positive numbers, or of either sign if `signed`. None of them is zero.
    least
        Public: what no |x| is below. If it is within a factor of 4, or 8 at best, of the bound, x need not
        be normalised, which saves most rounds.
    signed
        Whether there are negative numbers: costs a comparison and two products.

    Returns
    -------
    SecretArray
        1/x with a relative error below 1e-9. It has as many fractional bits as that takes for the largest x.

    Raises
    ------
    PrecisionError
        x or 1/x needs too many bits. Nothing was sent.

    Notes
    -----
    **Leakage.** Nothing, for numbers within the stated range. Zero is not, nor are negative numbers unless
    `signed`: results are then without meaning, and may exceed what masks hide.

    **Cost.** For three parties and up to 64 bits 25 rounds, of which 19 find the power of two. With bounds
    within a factor of 2, 4 rounds; of 8, 8. From five parties on two more. Up to 16 elements an entry to each
    peer.
    """
    if signed:
        side = _side(x)
        return known_product(reciprocal(known_product(x, side), least=least), side)
    normal = normalized(x, least)
    y, length = _inverse(normal), normal.top + x.format.fraction
    fraction = y.format.fraction + normal.top
    largest = math.inf if least is None else 1.001 / least
    return _restored(y, normal.power, 1 << max(length - 1, 0), fraction, largest)


def divide(
    a: SecretArray,
    b: SecretArray,
    *,
    bound: float,
    fraction: int,
    least: float | None = None,
    signed: bool = False,
) -> SecretArray:
    """Return a/b.

    Parameters
    ----------
    a, b
        b is broadcast to the shape of a, and normalised once however many numbers it divides. No b is zero;
        all are positive unless `signed`.
    bound
        Public: what no |a/b| exceeds.
    fraction
        Fractional bits of the quotient: with those of the bound some 42 at most, for three parties.
    least, signed
        As for `reciprocal`, of b.

    Returns
    -------
    SecretArray
        a/b with the relative error of `reciprocal` and an absolute one of (2C + 2)·2^−fraction.

    Raises
    ------
    PrecisionError
        a, b or a/b needs too many bits. Nothing was sent.

    Notes
    -----
    **Leakage.** Nothing, within the stated ranges; see `reciprocal`. **Cost.** As `reciprocal`, with one
    round more, and with `signed` one product more.
    """
    if signed:
        side = _side(b)
        b = known_product(b, side)
        return divide(
            known_product(a, side.broadcast_to(a.shape)), b, bound=bound, fraction=fraction, least=least
        )
    return Divisor(b, least=least).into(a, bound=bound, fraction=fraction)


class Divisor:
    """Positive numbers, normalised and inverted once, by which several arrays are divided.

    Parameters
    ----------
    b, least
        As for `divide`.
    inverted
        `normal` and `y`, where they are known.

    Attributes
    ----------
    normal
        b = d·2^(top − s); see `Normal`.
    y
        1/d.
    """

    def __init__(
        self,
        b: SecretArray,
        *,
        least: float | None = None,
        inverted: tuple[Normal, SecretArray] | None = None,
    ) -> None:
        self._b, self._least = b, least
        self._top, octaves = _range(b, least)
        self._octaves = inverted[0].spare if inverted else max(1, octaves)
        self._inverted = inverted

    @property
    def normal(self) -> Normal:
        """See the class."""
        return self._invert()[0]

    @property
    def y(self) -> SecretArray:
        """See the class."""
        return self._invert()[1]

    def __getitem__(self, index: Any) -> Divisor:
        inverted = self.normal[index], self.y[index]
        return Divisor(self._b[index], least=self._least, inverted=inverted)

    def reaches(self, change: float) -> bool:
        """Tell whether numbers that differ from these by so much can be `near` them."""
        return change <= NEAR and math.log(self.normal.beyond) + change <= FARTHEST

    def near(self, b: SecretArray, change: float) -> Divisor:
        """Return numbers that are nearly these as a divisor, whose inverses are found from those of these.

        Parameters
        ----------
        b
            Of the same shape, format and bound.
        change
            Public: what no |log(b/b_0)| exceeds, b_0 the number here; `NEAR` at most, and `FARTHEST` with all
            changes since the numbers were normalised.

        Notes
        -----
        b is brought to d = b·2^(s − top) by the power of two of b_0, and d may so be a little larger than 1.

        **Leakage.** Nothing, within the stated range. **Cost.** For three parties 6 rounds, or 5 for a change
        up to 0.06; to normalise and invert takes 26.
        """
        if change < 0 or not self.reaches(change):
            raise ValueError(
                f"numbers that are nearly others differ from them by a factor of e^{NEAR} at most, and of "
                f"e^{FARTHEST} from those that were normalised"
            )
        if b.format != self._b.format:
            raise ValueError("numbers that are nearly others have their format")
        old = self.normal
        beyond = old.beyond * math.exp(change)
        digits = (
            DIVISOR if _is_coarse(b.engine, _digits(b.engine, old.octaves + 1)) else (old.d.format.fraction)
        )
        if old.power is None:
            d = _with_digits(b, self._top, digits)
        else:
            d = _product_with_digits(b, old.power, self._top, digits, beyond)
        normal = Normal(d, old.shift, old.power, old.top, old.octaves, beyond)
        inverse = _inverse(normal, self.y, math.exp(change))
        return Divisor(b, least=self._least, inverted=(normal, inverse))

    def finest(self, bound: float) -> int:
        """Return the fractional bits that quotients can have, see `into`, none of which exceeds a bound."""
        engine, octaves = self._b.engine, self._octaves
        return _room_for_numerators(engine, bound, _inverse_digits(engine, octaves) + octaves)

    def into(self, a: SecretArray, *, bound: float, fraction: int, digits: int | None = None) -> SecretArray:
        """Return a/b; see `divide`.

        Parameters
        ----------
        a, bound, fraction
            As for `divide`.
        digits
            Fractional bits of 1/b, brought between 1 and 2: as many as it has, or fewer, which makes the
            relative error (C + 1)·2^−digits and leaves room for larger quotients.
        """
        engine = self._b.engine
        # a/b = (a·2^s)·y, the first factor hardly larger than the quotient: it gets what bits y leaves.
        most = _inverse_digits(engine, self._octaves)
        kept = most if digits is None else min(digits, most)
        before = a.format.fraction + self._top - self._b.format.fraction
        after = _require_quotients(engine, bound, fraction, kept + self._octaves)
        _require_room(engine, Format.of(bound, max(before, 0)).bound or 0)
        y = self.y.rescale(kept)
        a = self.scaled(a, bound=bound, fraction=after)
        drop = a.format.fraction + y.format.fraction - fraction
        return known_product(a, y.broadcast_to(a.shape), Format.of(bound, fraction), drop=drop)

    def scaled(self, a: SecretArray, *, bound: float, fraction: int) -> SecretArray:
        """Return a·2^(s − top) = d·a/b, hardly more than a/b, with so many fractional bits or all there are.

        Parameters
        ----------
        a
            A shape to which that of b broadcasts.
        bound
            Public: what no |a/b| exceeds.
        fraction
            Fractional bits.

        Notes
        -----
        **Leakage.** Nothing, within the stated ranges. **Cost.** One round.
        """
        before, power = a.format.fraction + self._top - self._b.format.fraction, self.normal.power
        bound *= self.normal.beyond
        shorter, drop = Format.of(bound, min(before, fraction)), max(0, before - fraction)
        if power is not None:
            return known_product(a, power.broadcast_to(a.shape), shorter, drop=drop)
        if drop:
            return truncate(SecretArray(a.engine, a.shares, Format.of(bound, before)), drop)
        return SecretArray(a.engine, a.shares, shorter)

    def _invert(self) -> tuple[Normal, SecretArray]:
        """Normalise and invert, the first time that this is asked for; the cost is that of `reciprocal`."""
        if self._inverted is None:
            normal = normalized(self._b, self._least)
            self._inverted = normal, _inverse(normal)
        return self._inverted


def quotient(a: SecretArray, b: SecretArray) -> SecretArray:
    """Return a/b for what is known of a and b: the operator ``/`` of secrets.

    Parameters
    ----------
    a, b
        Of shapes that broadcast; b of either sign, and nowhere zero.

    Returns
    -------
    SecretArray
        With the finer fraction of the two; of integers, with 30 fractional bits or as many as fit. No |a/b|
        exceeds the bound of a over the smallest b there is, 1 or one unit in its last place.

    Raises
    ------
    PrecisionError
        So large quotients leave no room for their fraction: `divide` takes tighter bounds. Nothing was sent.

    Notes
    -----
    **Leakage and cost.** As `divide` with `signed`. Divisors that are known to be positive cost less there.
    """
    if a.format.bound is None or b.format.bound is None:
        raise PrecisionError("elements of the field have no size: give them a public bound (`assume`)")
    engine, shape = b.engine, np.broadcast_shapes(a.shape, b.shape)
    bound = math.ldexp(max(1, a.format.bound), b.format.fraction - a.format.fraction)
    room = engine.room - 4 - _inverse_digits(engine, 1) - math.frexp(bound)[1]
    fraction = max(a.format.fraction, b.format.fraction) or min(room, 30)
    if not 0 <= fraction <= room:
        raise PrecisionError(
            f"quotients by divisors down to 2^−{b.format.fraction} may be as large as {bound:g}: that leaves "
            f"no room for {fraction} fractional bits among {engine.n} parties: call divide(a, b, bound=…, "
            "fraction=…) with what you know of them"
        )
    return divide(a.broadcast_to(shape), b.broadcast_to(shape), bound=bound, fraction=fraction, signed=True)


def inverse_sqrt(x: SecretArray) -> SecretArray:
    """Return 1/√x of positive numbers.

    Returns
    -------
    SecretArray
        With a relative error below 1e-9.

    Notes
    -----
    **Leakage.** Nothing, for positive numbers; see `reciprocal`. **Cost.** 30 rounds for three parties and up
    to 64 bits; from seven parties on three more than their comparisons take.
    """
    root = _rooted(x)
    y = _refined(root)
    fraction = y.format.fraction + root.half
    return _restored(y, root.up, 1 << root.shift, fraction, math.inf)


def sqrt(x: SecretArray) -> SecretArray:
    """Return √x of numbers that are not negative, with the relative error of `inverse_sqrt`; 0 for 0.

    **Leakage.** Nothing; see `reciprocal`. **Cost.** As `inverse_sqrt`, and one round.
    """
    root = _rooted(x, or_zero=True)
    y = _refined(root)
    product = known_product(root.d, y, Format.of(1, y.format.fraction), drop=root.d.format.fraction)
    return _restored(
        product, root.down, 1 << root.shift, product.format.fraction + root.shift - root.half, math.inf
    )


def divide_by_sqrt(a: SecretArray, x: SecretArray, *, bound: float, fraction: int) -> SecretArray:
    """Return a/√x of positive x.

    Parameters
    ----------
    a, x
        Shapes that broadcast to that of a.
    bound, fraction
        As for `divide`.

    Returns
    -------
    SecretArray
        With the relative error of `inverse_sqrt` and an absolute one of (2C + 2)·2^−fraction.

    Raises
    ------
    PrecisionError
        a, x or the quotient needs too many bits. Nothing was sent.

    Notes
    -----
    **Leakage.** Nothing, within the stated ranges. **Cost.** As `inverse_sqrt`, and one round.
    """
    engine, reading = x.engine, Format.of(bound, fraction)
    digits, after = _root_digits(engine), require_root_quotients(engine, bound, fraction)
    before = a.format.fraction + _half(x)
    _require_room(engine, Format.of(bound, max(before, 0)).bound or 0)
    root = _rooted(x)
    up, y = (z.broadcast_to(a.shape) for z in (root.up, _refined(root)))
    # a·2^h is no larger than the quotient.
    scaled = known_product(a, up, Format.of(bound, min(before, after)), drop=max(0, before - after))
    return known_product(scaled, y, reading, drop=scaled.format.fraction + digits - fraction)


# --- Normalising -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Normal:
    """A number as d·2^(top − s), 2^−octaves ≤ d ≤ 1, or nearly so.

    Attributes
    ----------
    d
        With `_digits` fractional bits, or `DIVISOR` where a correction follows.
    shift, power
        s and 2^s; None stands for 0 and 1.
    top, octaves
        Public.
    beyond
        Public: by which factor d may be beyond these ends.
    """

    d: SecretArray
    shift: SecretArray | None
    power: SecretArray | None
    top: int
    octaves: int
    beyond: float = 1.0

    def __getitem__(self, index: Any) -> Normal:
        shift, power = (None if x is None else x[index] for x in (self.shift, self.power))
        return replace(self, d=self.d[index], shift=shift, power=power)

    @property
    def spare(self) -> int:
        """Return the bits that 1/d has before the point."""
        return self.octaves + (self.beyond > 1)

    @property
    def exponent(self) -> SecretArray:
        """Return top − s."""
        shift = public(self.d.engine, np.zeros(self.d.shape, np.int64)) if self.shift is None else self.shift
        return self.top - shift


def joined(numbers: Sequence[Normal]) -> Normal:
    """Join vectors of numbers that are normalised alike: within the same public bounds."""
    first = numbers[0]
    beyond = max(one.beyond for one in numbers)
    d = concatenate([one.d for one in numbers])
    if first.shift is None or first.power is None:
        return replace(first, d=d, beyond=beyond)
    shift, power = (concatenate([getattr(one, name) for one in numbers]) for name in ("shift", "power"))
    return replace(first, d=d, shift=shift, power=power, beyond=beyond)


def normalized(x: SecretArray, least: float | None = None) -> Normal:
    """Scale positive numbers: by a public power of two if that does, else a secret one; see `reciprocal`."""
    top, octaves = _range(x, least)
    digits = _digits(x.engine, max(1, octaves))
    if _is_coarse(x.engine, digits):
        digits = DIVISOR
    if octaves:
        return Normal(_with_digits(x, top, digits), None, None, top - x.format.fraction, octaves)
    power, shift = normalizer(SecretArray(x.engine, x.shares, Format(x.format.fraction, (1 << top) - 1)))
    d = _product_with_digits(x, power, top, digits)
    return Normal(d, shift, power, top - x.format.fraction, 1)


def _range(x: SecretArray, least: float | None) -> tuple[int, int]:
    """Return `top` and `octaves` of positive numbers, 0 octaves to be normalised; or refuse them."""
    top = _require_bound(x).bit_length()
    _require_room(x.engine, 1 << top)
    if least is not None:
        if not 0 < least <= x.format.magnitude:
            raise ValueError("the least divisor is positive and within the bound")
        # A bound that is a power of two itself is reached by d = 1.
        reached = (_require_bound(x) - 1).bit_length()
        octaves = reached - math.floor(math.ldexp(least, x.format.fraction)).bit_length() + 1
        if octaves <= TIGHT:
            return reached, max(1, octaves)
    return top, 0


def _require_bound(x: SecretArray) -> int:
    if x.format.bound is None:
        raise PrecisionError("elements of the field have no size: give them a public bound (`assume`)")
    return max(2, x.format.bound)


def _require_room(engine: Engine, bound: int) -> None:
    """Refuse what could not be masked, before anything is sent."""
    if not fits(engine, bound, max(0, bound.bit_length() - engine.prss.count.bit_length() - 2)):
        raise PrecisionError(
            f"numbers of {bound.bit_length()} bits, where {engine.n} parties can normalise "
            f"{engine.room - 3} with security {engine.security}: tighten the public bounds (`assume`)"
        )


def require_root_quotients(engine: Engine, bound: float, fraction: int) -> int:
    """Refuse what `divide_by_sqrt` cannot give; return the fractional bits of its numerators."""
    return _require_quotients(engine, bound, fraction, _root_digits(engine) + 1)


def _require_quotients(engine: Engine, bound: float, fraction: int, taken: int) -> int:
    """Return the fractional bits that numerators of quotients may have, where denominators take some bits."""
    after = _room_for_numerators(engine, bound, taken)
    if after < fraction:
        raise PrecisionError(
            f"quotients up to {bound:g} have {max(after, 0)} fractional bits at most among {engine.n} "
            "parties: tighten their bound, or ask for fewer"
        )
    return after


def _room_for_numerators(engine: Engine, bound: float, taken: int) -> int:
    return engine.room - 3 - taken - math.frexp(bound)[1]


def _digits(engine: Engine, octaves: int) -> int:
    """Return P: with that many fractional bits of d, the products of the iteration can be masked."""
    return (engine.room - 11 - octaves) // 2


def _is_coarse(engine: Engine, digits: int) -> bool:
    """Return whether numbers of so many fractional bits are in need of a correction."""
    return (engine.prss.count + 1) * 2.0 ** (1 - digits) > TOLERATED


def _inverse_digits(engine: Engine, octaves: int) -> int:
    """Return the fractional bits of `_inverse`."""
    digits = _digits(engine, octaves)
    return max(digits + FINER, CORRECTED) if _is_coarse(engine, digits) else digits + FINER


def _root_digits(engine: Engine) -> int:
    """Return the fractional bits of a `_Root`'s y."""
    digits = (engine.room - 6) // 2
    return CORRECTED if _is_coarse(engine, digits) else digits


def _half(x: SecretArray) -> int:
    """Return the `half` of `_Root`."""
    return (_even_top(x) - x.format.fraction) // 2


def _even_top(x: SecretArray) -> int:
    """Return the bits of x's bound, or one more: those and the fractional ones are all even, or all odd."""
    top = _require_bound(x).bit_length()
    return top + (top - x.format.fraction) % 2


def _with_digits(x: SecretArray, top: int, digits: int, beyond: float = 1.0) -> SecretArray:
    """Return integers up to 2^top as numbers up to 1, or a little more, with so many fractional bits."""
    scaled = SecretArray(x.engine, x.shares, Format.of(beyond, top)).rescale(digits)
    bound = (Format.of(beyond, digits).bound or 0) + x.engine.prss.count
    return SecretArray(x.engine, scaled.shares, Format(digits, bound))


def _product_with_digits(
    x: SecretArray, power: SecretArray, top: int, digits: int, beyond: float = 1.0
) -> SecretArray:
    """Return x·2^s, of `top` bits, as numbers up to 1, or a little more, with so many fractional bits."""
    fewer = min(top, digits)
    d = known_product(x, power, Format.of(beyond, fewer), drop=top - fewer)
    return _with_digits(d, fewer, digits, beyond)


def _side(x: SecretArray) -> SecretArray:
    """Return −1 for negative numbers and 1 for others."""
    return SecretArray(x.engine, (1 - 2 * negative(x)).shares, BIT)


def _restored(
    y: SecretArray, power: SecretArray | None, largest_power: int, fraction: int, largest: float
) -> SecretArray:
    """Return y·2^s, exact, with so many fractional bits, and no larger than a number known to be."""
    bound = (y.format.bound or 0) * (1 if power is None else largest_power)
    if math.isfinite(largest):
        numerator, denominator = largest.as_integer_ratio()
        bound = min(bound, -(-numerator * (1 << max(fraction, 0)) // denominator) >> max(-fraction, 0))
    reading = Format(max(fraction, 0), bound << max(-fraction, 0))
    if fraction < 0:
        y = SecretArray(y.engine, field.mul(y.shares, field.from_ints(1 << -fraction)), y.format)
    return SecretArray(y.engine, y.shares, reading) if power is None else known_product(y, power, reading)


# --- Iterations --------------------------------------------------------------------------------------


def _inverse(normal: Normal, guess: SecretArray | None = None, factor: float = 1.0) -> SecretArray:
    """Return 1/d with `_inverse_digits` fractional bits.

    From y_0 with a residual e = 1 − d·y_0 of at most 1/16, or less than 1 for wider ranges,
    1/d = y_0·(1 + e)·(1 + e²)·(1 + e⁴)…, unless a y_0 is given that is 1/d but for a factor: `factor` or its
    reciprocal at most.
    """
    engine, largest = normal.d.engine, 2.0**normal.octaves * normal.beyond
    digits = _digits(engine, normal.spare)
    coarse = _is_coarse(engine, digits)
    d = normal.d.rescale(digits)
    if guess is not None:
        y = guess.rescale(digits + FINER)
        e, worst = 1 - multiply(d, y), factor - 1 + ACCURACY
    elif normal.octaves == 1:
        y = _polynomial((45, -30), d)
        e, worst = 1 - multiply(d, y), 1 / 16
    else:
        start = math.floor(2 * 16 / (1 + 1 / largest))
        y = _polynomial((start,), d)
        # In sixteenths, as all of `_polynomial`: 1 − d·start/16.
        e, worst = _polynomial((16, -start), d), max(1 - start / 16 / largest, start / 16 - 1)
    y, e = y.assume(largest), e.assume(worst)
    while worst * worst > (math.sqrt(ACCURACY) if coarse else ACCURACY):
        both = multiply(stack([y, e]), stack([1 + e, e]))
        worst *= worst
        y, e = both[0].assume(largest), both[1].assume(worst + 2.0**-20)
    y = multiply(y, 1 + e).assume(largest)
    if not coarse:
        return y
    # Once more, with the residual as it is: y is taken for exact, whatever its error.
    exact = normal.d.format.fraction + y.format.fraction
    small = Format.of(1.1 * worst * worst + 2.0**-18, RESIDUAL)
    residual = known_product(normal.d, y, small, drop=exact - RESIDUAL, taken_from=1 << exact)
    return _corrected(y, residual, _inverse_digits(engine, normal.spare), largest, 0)


def _corrected(
    y: SecretArray, residual: SecretArray, digits: int, largest: float, halvings: int
) -> SecretArray:
    """Return y·(1 + e/2^halvings) with so many fractional bits, for a small e."""
    step = Format.of(residual.format.magnitude * largest, digits)
    drop = y.format.fraction + RESIDUAL + halvings - digits
    return (y.rescale(digits) + known_product(y, residual, step, drop=drop)).assume(largest)


def _polynomial(coefficients: tuple[int, ...], *powers: SecretArray) -> SecretArray:
    """Return c_0 + c_1·d + c_2·d² + … of coefficients in sixteenths, exact."""
    first = powers[0]
    total = field.from_ints(coefficients[0] << first.format.fraction)
    total = field.add(total, field.zeros(first.shape))
    for coefficient, power in zip(coefficients[1:], powers, strict=False):
        total = field.add(total, field.mul(power.shares, field.from_ints(coefficient)))
    return SecretArray(first.engine, total, Format.of(4, first.format.fraction + FINER))


@dataclass(frozen=True)
class _Root:
    """A number as d·2^(2·half) / 4^h with ¼ ≤ d ≤ 1, or d = 0, and y = 1/√d.

    Attributes
    ----------
    d
        A secret number.
    positive
        The same, but 1 instead of 0 where zeros are allowed and y is to be corrected.
    y
        1/√d, a rough one if it is to be corrected.
    up, down
        2^h and 2^(shift − h).
    half, shift
        Public.
    """

    d: SecretArray
    positive: SecretArray
    y: SecretArray
    up: SecretArray
    down: SecretArray
    half: int
    shift: int


def _rooted(x: SecretArray, *, or_zero: bool = False) -> _Root:
    """Normalise by a power of four, and take the inverse square root.

    A cubic leaves a residual e = 1 − d·y_0² of at most 0.0185; 1/√d is y_0 times the series of (1 − e)^(−½),
    of which e⁵ and higher powers are left out: 5.4e-10; e³ already, if y is to be corrected.
    """
    engine, top = x.engine, _even_top(x)
    _require_room(engine, 1 << top)
    digits = (engine.room - 6) // 2
    coarse = _is_coarse(engine, digits)
    padded = SecretArray(engine, x.shares, Format(x.format.fraction, (1 << top) - 1))
    zeros = leading_zeros(padded, or_none=coarse and or_zero)
    if coarse and or_zero:
        zeros, none = zeros[..., :-1], zeros[..., -1]
    twos = zeros[..., 1:]
    shift = (1 << twos.shape[-1]) - 1
    powers = power_of_two(stack([twos, complement(twos)]), 1 << shift)
    up, down = powers[0], powers[1]
    finest = RADICAND if coarse else digits
    normal = _product_with_digits(x, known_product(up, up, Format(0, 1 << top)), top, finest)
    # The residual of 0 would be 1, which is too large to be masked where it is to be small.
    positive = normal if not coarse or not or_zero else normal._with((normal + none).shares)
    d = positive.rescale(digits)

    square = multiply(d, d)
    cubic = _polynomial(CUBIC, d, square, multiply(square, d)).assume(2.1)
    start = truncate(cubic, COARSER + FINER)  # the residual makes up for what that drops
    squared = known_product(start, start, Format.of(4.1, digits), drop=digits - 2 * COARSER)
    e = (1 - multiply(squared, d)).assume(0.02)
    powers_of_e = [e, multiply(e, e).assume(2.0**-11)]
    if not coarse:
        higher = multiply(powers_of_e[1], stack(powers_of_e))
        powers_of_e += [higher[0], higher[1]]
    series = field.from_ints(SERIES[0] << digits)
    for coefficient, power in zip(SERIES[1:], powers_of_e, strict=False):
        series = field.add(series, field.mul(power.shares, field.from_ints(coefficient)))
    binomial = SecretArray(engine, series, Format.of(1.1, digits + 7))
    wanted = ROUGH if coarse else digits
    y = known_product(start, binomial, Format.of(2.1, wanted), drop=2 * digits - COARSER + 7 - wanted)
    return _Root(normal, positive, y, up, down, _half(x), shift)


def _refined(root: _Root) -> SecretArray:
    """Return 1/√d for d > 0: y·(1 + e/2) with e = 1 − d·y², if y is rough."""
    d, y = root.positive, root.y
    if y.format.fraction != ROUGH:
        return y
    exact = d.format.fraction + 2 * ROUGH
    square = known_product(y, y, Format.of(4.5, 2 * ROUGH))
    e = known_product(d, square, SMALL, drop=exact - RESIDUAL, taken_from=1 << exact)
    return _corrected(y, e, CORRECTED, 2.1, 1)
