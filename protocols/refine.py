"""Inverses of secret matrices that resemble one whose inverse is shared already.

With X an inverse of another matrix, the residual E = I − A·X is small, and

    A⁻¹ = X·(I − E)⁻¹ = X·(I + E)·(I + E²)·(I + E⁴)…

is Newton's iteration for inverses [1]_ in a form in which each round takes both of its products. It takes a
third of the rounds of an inversion, and a tenth of the work. Whether A resembles that matrix is decided on
shares: both are symmetric, so E has real eigenvalues, whatever the units of the unknowns are, and the sum of
their fourth powers is the trace of E⁴.

References
----------
.. [1] G. Schulz, "Iterative Berechnung der reziproken Matrix", ZAMM 13, 1933.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from protocols.crt import Ring
from protocols.digits import SHORT
from protocols.long import LongArray, LongFormat, mask_bits, unbiased
from protocols.wide import Round, are_within, capacity, multiplied, multiplied_matrices

#: Fractional bits of residuals and inverses, and of residuals whose eigenvalues are looked at.
FRACTION, COARSE = 72, 36
#: How often the error, √½ at most, is squared.
PASSES = 6
#: Entries of an inverse that may be refined, and of a residual whose eigenvalues are 1 at most.
LARGEST = 2.0**35


def refined_inverse(A: LongArray, X: LongArray, *, passes: int = PASSES) -> LongArray | None:
    """Return A⁻¹, or None if A is not near enough to the matrix whose inverse is X.

    Parameters
    ----------
    A
        Shape ``(k, k)``, symmetric.
    X
        The inverse of a positive definite matrix, likewise.
    passes
        How often the error of X is squared; once at least.

    Returns
    -------
    LongArray or None
        With a relative error below 2^−31, or, of fewer passes, of the largest eigenvalue of E^(2^passes). It
        is found whenever A = (I − E)·X⁻¹, where the fourth powers of the eigenvalues of E add up to
        1 / (16·(2C + 1)) at most, C = C(n, t), and never if they add up to more than ¼. So A is positive
        definite if it is found. None also after some refinements in a row, by public bounds.

    Notes
    -----
    **Leakage.** Whether A is near enough: one bit, which all learn.

    **Cost.** 12 rounds for three parties, or 6 and one for each pass, 6 if there is no result; 3·k² numbers
    of 168 bytes and 11·k² of 40, or 2·passes − 1, to each peer.
    """
    engine, on, k = A.engine, A.on, len(A)
    product = _product(A, X)
    coarse = LongFormat(COARSE, (product.format.bound >> (product.format.fraction - COARSE)) + (k << COARSE))
    square = coarse.times(coarse, k)
    fourth = square.times(square, k * k)
    if X.format.magnitude > LARGEST or fourth.bound.bit_length() > capacity(engine, on):
        return None
    step = Round(engine, "residual")
    residual = _rounded(step, -product + np.eye(k))
    carried = step.mask(on, X.shares, X.format.bound.bit_length())
    step.run()

    E = residual(on, COARSE, coarse.magnitude)
    step = Round(engine, "square")
    squared = step.reshare(on, _product(E, E).shares)
    step.run()
    (fourths,) = multiplied(engine, "fourth", on, [(squared.value, squared.value.swapaxes(1, 2))])
    trace = on.sum(fourths.reshape(len(on), 1, k * k))
    # Of what passes, it is ¼ at most: see `are_within`.
    above = fourth.fraction - 1 - (4 * engine.prss.count + 1).bit_length()
    step = Round(engine, "trace")
    masked = step.mask(on, trace, fourth.bound.bit_length(), above=above)
    step.run()
    if not are_within(engine, masked.value, above):
        return None

    Y = LongArray(engine, carried.value.shifted(engine, SHORT, 0), X.format, SHORT).rescale(FRACTION)
    E, bound = residual(SHORT, FRACTION, LARGEST), 4 * X.format.magnitude
    for _ in range(passes - 1):
        step = Round(engine, "refine")
        raised, squares = _rounded(step, _product(Y, E) + Y), _rounded(step, _product(E, E))
        step.run()
        Y, E = raised(SHORT, FRACTION, bound), squares(SHORT, FRACTION, LARGEST)
    step = Round(engine, "refine")
    raised = _rounded(step, _product(Y, E) + Y)
    step.run()
    return raised(on, FRACTION, bound)


def _product(x: LongArray, y: LongArray) -> LongArray:
    """Return x·y, of degree 2t: not to be computed with before it is rounded."""
    shares = multiplied_matrices(x.engine, "refine", x.on, x.shares, y.shares)
    return LongArray(x.engine, shares, x.format.times(y.format, len(y)), x.on)


def _rounded(step: Round, x: LongArray) -> Callable[[Ring, int, float], LongArray]:
    """Open numbers, of degree 2t, under masks, and return what rounds them.

    That takes the ring, the fractional bits, `FRACTION` at most, and the bound of the result.
    """
    engine, drop = x.engine, x.format.fraction - FRACTION
    masked = step.mask(x.on, unbiased(x, drop), mask_bits(engine, x.on, x.format, drop))

    def rounded(on: Ring, fraction: int, bound: float) -> LongArray:
        shares = masked.value.shifted(engine, on, x.format.fraction - fraction)
        return LongArray(engine, shares, LongFormat.of(bound, fraction), on)

    return rounded
